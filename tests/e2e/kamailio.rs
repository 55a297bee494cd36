//! Calls through a provider's proxy that nobody here wrote: what it challenges, forks, redirects and records, and what it
//! has to say by TCP and TLS.

use harness::command::run;
use harness::fleet::get;
use harness::kamailio::{Kamailio, Manners};
use harness::process::{Process, eventually};
use harness::program;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long a telephone may take until it is up.
const UP: Duration = Duration::from_secs(10);
/// How long a command may take.
const ENDS: Duration = Duration::from_secs(30);

/// A proxy, two telephones behind it, and a policy with accounts at it.
struct Desk {
    kamailio: Kamailio,
    near: Telephone,
    far: Telephone,
    dir: tempfile::TempDir,
}

/// A responder that answers at once.
struct Telephone {
    _process: Process,
    http: String,
    port: u16,
}

impl Telephone {
    fn start(log: &Path) -> Self {
        let args = ["respond", "--http", "0", "--sip", "0", "--ring", "0ms"];
        let mut process = Process::start(&program("probefleet-agent"), &args, log);
        let http = process.wait_for_output("listening on http://", UP);
        let port = process.wait_for_output("listening on sip:127.0.0.1:", UP);
        Self { _process: process, http, port: port.parse().expect("a port") }
    }

    /// How many calls it has answered, and how many of them were acknowledged and ended.
    fn calls(&self) -> [u64; 3] {
        let (_, body) = get(&self.http, "/requests");
        let counts: Value = serde_json::from_str(&body).expect(&body);
        ["answered", "acknowledged", "ended"].map(|key| counts["sip"][key].as_u64().expect(key))
    }
}

/// An authority's certificate, and one that it gave to `localhost` with its key, all in PEM.
fn identity(dir: &Path, expired: bool) -> (String, String) {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signs")
    };
    let issuer = authority("an authority");
    std::fs::write(dir.join("ca.pem"), issuer.pem()).expect("writes");
    std::fs::write(dir.join("other.pem"), authority("another").pem()).expect("writes");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
    if expired {
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    let leaf = params.signed_by(&key, &issuer).expect("signs");
    (leaf.pem(), key.serialize_pem())
}

impl Desk {
    /// `None`, with a word about it, where there is no Kamailio.
    fn new(test: &str, algorithm: &'static str) -> Option<Self> {
        Self::with(test, algorithm, false)
    }

    fn with(test: &str, algorithm: &'static str, expired: bool) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a folder");
        let near = Telephone::start(&dir.path().join("near.log"));
        let far = Telephone::start(&dir.path().join("far.log"));
        let identity = identity(dir.path(), expired);
        let manners = Manners { algorithm, near: near.port, far: far.port, identity };
        let Some(kamailio) = Kamailio::start(&manners) else {
            harness::skip(test, "kamailio and kamailio-tls-modules");
            return None;
        };
        for (name, password) in [("right", "secret"), ("wrong", "guessed")] {
            let path = dir.path().join(name);
            std::fs::write(&path, password).expect("writes");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("ours");
        }
        let folder = dir.path().display();
        let account = |file: &str| {
            format!("{{user: probe, password_file: {folder}/{file}, from: 'sip:kept@lab.example'}}")
        };
        let policy = format!(
            "allow: [{{kind: sip, to: [127.0.0.1, localhost]}}]\nsip:\n  trunk: {}\n  guess: {}\n  \
             by-proxy: {{proxy: 'sip:localhost:{}'}}\n",
            account("right"),
            account("wrong"),
            kamailio.tls_port
        );
        std::fs::write(dir.path().join("policy.yaml"), policy).expect("writes");
        Some(Self { kamailio, near, far, dir })
    }

    /// One attempt at a user of the proxy, by UDP.
    fn tried(&self, user: &str, keys: &str) -> Value {
        self.asked(&format!("sip:{user}@127.0.0.1:{}", self.kamailio.port), keys)
    }

    fn asked(&self, uri: &str, keys: &str) -> Value {
        let plan = self.dir.path().join("plan.yaml");
        let text = format!(
            "probes:\n  - {{name: a, every: 60s, timeout: 5s, sip: {{uri: '{uri}', {keys}}}}}\n"
        );
        std::fs::write(&plan, text).expect("writes");
        let mut command = Command::new(program("probefleet-agent"));
        command.arg("try").arg(&plan).args(["--format", "json", "--policy"]);
        let ran = run(command.arg(self.dir.path().join("policy.yaml")), "", ENDS);
        let line = ran.stdout.lines().next().unwrap_or_else(|| panic!("{}", ran.stderr));
        serde_json::from_str(line).expect(line)
    }
}

#[track_caller]
fn assert_ended(attempt: &Value, expected: &str) {
    let word = |key: &str| attempt[key].as_str().unwrap_or_default().to_owned();
    let ended = [word("outcome"), word("class"), word("code")];
    let ended: Vec<&str> =
        ended.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
    assert_eq!(ended.join(" "), expected, "{attempt}");
}

#[track_caller]
fn assert_counts(attempt: &Value, expected: &Value) {
    assert_eq!(&attempt["counters"], expected, "{attempt}");
}

/// A call that went through, in so many INVITEs.
fn whole_call(invites: u64) -> Value {
    json!({"call_attempts": 1, "established": 1, "effective": 1, "completed": 1, "invite_transactions": invites})
}

fn digest(test: &str, algorithm: &'static str) {
    let Some(desk) = Desk::new(test, algorithm) else { return };
    let call = "mode: call, hold: 50ms";
    let attempt = desk.tried("auth", &format!("{call}, account: trunk"));
    assert_ended(&attempt, "ok sip:200");
    assert_counts(&attempt, &whole_call(2));
    assert!(attempt["phases_ns"]["session_disconnect_delay"].is_u64(), "{attempt}");
    // Once, and no second guess.
    let refused = desk.tried("auth", &format!("{call}, account: guess"));
    assert_ended(&refused, "failed auth sip:407");
    assert_counts(&refused, &json!({"call_attempts": 1, "invite_transactions": 2}));
    assert!(!refused.to_string().contains("guessed"), "the password is nowhere");
    let nobody = desk.tried("auth", call);
    assert_ended(&nobody, "failed status sip:407");
    assert!(
        nobody["phases_ns"]["session_request_delay_failed"].is_null(),
        "no failure of a session"
    );
    // A registration, which is gone again: whoever it was of is not to be found.
    let registered = desk.tried("kept", "mode: register, account: trunk");
    assert_ended(&registered, "ok sip:200");
    assert_counts(&registered, &json!({"registrations": 1}));
    assert!(registered["phases_ns"]["registration_request_delay"].is_u64(), "{registered}");
    assert_ended(&desk.tried("kept", "mode: options"), "failed status sip:404");
    let unknown = desk.tried("kept", "mode: register, account: guess");
    assert_ended(&unknown, "failed auth sip:401");
    assert_counts(&unknown, &json!({"registrations": 1}));
}

#[test]
fn challenges_of_md5_are_answered() {
    digest("challenges_of_md5_are_answered", "MD5");
}

#[test]
fn challenges_of_sha_256_are_answered() {
    digest("challenges_of_sha_256_are_answered", "SHA-256");
}

#[test]
fn calls_go_through_the_recorded_route() {
    let Some(desk) = Desk::new("calls_go_through_the_recorded_route", "MD5") else { return };
    // The proxy answers 404 to whatever goes past its route.
    for uri in [
        format!("sip:echo@127.0.0.1:{}", desk.kamailio.port),
        format!("sip:echo@127.0.0.1:{};transport=tcp", desk.kamailio.port),
    ] {
        let attempt = desk.asked(&uri, "mode: call, hold: 50ms");
        assert_ended(&attempt, "ok sip:200");
        assert_counts(&attempt, &whole_call(1));
        assert!(attempt["phases_ns"]["trying"].is_u64(), "a proxy says 100: {attempt}");
    }
    // Long enough that the CANCEL always comes before the answer.
    let rings = desk.tried("rings", "mode: ring");
    assert_ended(&rings, "ok sip:487");
    let counts = json!({"call_attempts": 1, "effective": 1, "invite_transactions": 1});
    assert_counts(&rings, &counts);
    let audio = desk.tried("echo", "mode: call, media: {seconds: 1}");
    assert_ended(&audio, "ok sip:200");
    assert_eq!(audio["values"]["loss_ppm"], 0, "{audio}");
}

#[test]
fn every_branch_of_a_fork_is_ended() {
    let Some(desk) = Desk::new("every_branch_of_a_fork_is_ended", "MD5") else { return };
    let attempt = desk.tried("fork", "mode: call, hold: 300ms");
    assert_ended(&attempt, "ok sip:200");
    // The proxy cancels the other branch when one has answered. Where that comes too late there are two answers, and each
    // is acknowledged and ended.
    let forked = attempt["counters"]["forked"].as_u64().unwrap_or_default();
    let mut expected = whole_call(1);
    if forked > 0 {
        expected["forked"] = json!(forked);
    }
    assert_counts(&attempt, &expected);
    let done = |calls: [u64; 3]| calls.iter().all(|count| *count == calls[0]).then_some(calls[0]);
    let ended = eventually(UP, || {
        let answered = done(desk.near.calls())? + done(desk.far.calls())?;
        (answered == 1 + forked).then_some(())
    });
    let (near, far) = (desk.near.calls(), desk.far.calls());
    assert!(ended.is_some(), "answered, acknowledged, ended: {near:?} {far:?}, forked {forked}");
}

#[test]
fn refusals_and_redirections_are_what_they_are() {
    let Some(desk) = Desk::new("refusals_and_redirections_are_what_they_are", "MD5") else {
        return;
    };
    let busy = desk.tried("busy", "mode: call");
    assert_ended(&busy, "failed status sip:486");
    assert_counts(&busy, &json!({"call_attempts": 1, "effective": 1, "invite_transactions": 1}));
    let over = desk.tried("over", "mode: call");
    assert_ended(&over, "failed status sip:503");
    assert_counts(&over, &json!({"call_attempts": 1, "ineffective": 1, "invite_transactions": 1}));
    let moved = desk.tried("moved", "mode: call, hold: 50ms");
    assert_ended(&moved, "ok sip:200");
    assert_eq!(moved["counters"]["redirects"], 1, "{moved}");
    let stays = desk.tried("moved", "mode: call, expect: {codes: [302]}");
    assert_ended(&stays, "ok sip:302");
    assert_counts(&stays, &json!({"call_attempts": 1, "redirected": 1, "invite_transactions": 1}));
    // The proxy gives up on a telephone that says nothing after 2 s.
    let silent = desk.tried("hole", "mode: call");
    assert_ended(&silent, "failed status sip:408");
    let delay_ns = silent["phases_ns"]["session_request_delay_failed"].as_u64().expect("answered");
    assert!((1_900_000_000..3_000_000_000).contains(&delay_ns), "{silent}");
}

#[test]
fn private_calls_are_those_of_the_domain() {
    let Some(desk) = Desk::new("private_calls_are_those_of_the_domain", "MD5") else { return };
    let (port, folder) = (desk.kamailio.tls_port, desk.dir.path().display());
    let trusts = |file: &str| format!("mode: call, hold: 50ms, ip: 4, ca_file: {folder}/{file}");
    for uri in
        [format!("sip:echo@localhost:{port};transport=tls"), format!("sips:echo@localhost:{port}")]
    {
        let attempt = desk.asked(&uri, &trusts("ca.pem"));
        assert_ended(&attempt, "ok sip:200");
        assert_counts(&attempt, &whole_call(1));
        for phase in ["connect", "tls", "time_to_answer", "session_disconnect_delay"] {
            assert!(attempt["phases_ns"][phase].is_u64(), "{phase}: {attempt}");
        }
        assert_eq!(attempt["detail"]["timestamps"], "user");
    }
    // What is asked by `sips:` is private on the way to the proxy too, whatever the account says.
    let keys = format!("{}, account: by-proxy", trusts("ca.pem"));
    let attempt = desk.asked(&format!("sips:echo@localhost:{port}"), &keys);
    assert_ended(&attempt, "ok sip:200");
    assert!(attempt["phases_ns"]["tls"].is_u64(), "{attempt}");
    let uri = format!("sip:echo@localhost:{port};transport=tls");
    assert_ended(&desk.asked(&uri, &trusts("other.pem")), "failed tls tls:issuer");
    let by_address = format!("sip:echo@127.0.0.1:{port};transport=tls");
    let other = desk.asked(&by_address, &trusts("ca.pem"));
    assert_ended(&other, "failed tls tls:name");
    assert_counts(&other, &json!({"call_attempts": 1, "ineffective": 1}));
    drop(desk);
    let Some(desk) = Desk::with("private_calls_are_those_of_the_domain", "MD5", true) else {
        return;
    };
    let uri = format!("sip:echo@localhost:{};transport=tls", desk.kamailio.tls_port);
    let keys = format!("mode: call, ip: 4, ca_file: {}/ca.pem", desk.dir.path().display());
    assert_ended(&desk.asked(&uri, &keys), "failed tls tls:expired");
}
