//! TLS as libpq's `sslmode` has it.

use super::{ACTIVE, Desk, assert_outcome, detail, phases};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use std::time::Duration;

/// An authority, with its certificate and one that it gave to `localhost`, in PEM.
struct Authority {
    ca: String,
    leaf: String,
    key: String,
}

impl Authority {
    fn of(authority: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.distinguished_name.push(DnType::CommonName, authority);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
            .expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
        let leaf = params.signed_by(&key, &issuer).expect("a certificate");
        Self { ca: issuer.pem(), leaf: leaf.pem(), key: key.serialize_pem() }
    }
}

/// A server that speaks TLS as `localhost`.
fn desk(test: &str) -> Option<Desk> {
    let mut desk = Desk::new(test)?;
    let authority = Authority::of("an authority");
    desk.postgres.write("data/server.crt", &authority.leaf);
    desk.postgres.write("data/server.key", &authority.key);
    desk.postgres.stop();
    desk.postgres.set("ssl", "on");
    desk.postgres.boot();
    desk.write("ca.pem", &authority.ca, 0o644);
    desk.write("other.pem", &Authority::of("another authority").ca, 0o644);
    Some(desk)
}

fn attempt(desk: &Desk, host: &str, parameters: &str, ca_file: Option<&str>) -> Value {
    desk.write_url_of(host, desk.postgres.port, parameters);
    let mut block =
        json!({"query": "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"});
    if let Some(ca_file) = ca_file {
        block["ca_file"] = json!(ca_file);
    }
    desk.attempt_of(block)
}

#[test]
fn each_mode_encrypts_and_verifies_what_libpq_does() {
    let Some(desk) = desk("each_mode_encrypts_and_verifies_what_libpq_does") else { return };
    let (ok, by_name, by_address) = ("ok", "localhost", "127.0.0.1");
    for (host, mode, ca_file, expected, is_private) in [
        (by_name, "verify-full", Some("ca.pem"), ok, true),
        (by_address, "verify-full", Some("ca.pem"), "failed tls tls:name", false),
        (by_name, "verify-full", Some("other.pem"), "failed tls tls:issuer", false),
        // The system's issuers do not know ours.
        (by_name, "verify-full", None, "failed tls tls:issuer", false),
        (by_name, "verify-ca", Some("ca.pem"), ok, true),
        (by_address, "verify-ca", Some("ca.pem"), ok, true),
        (by_address, "verify-ca", Some("other.pem"), "failed tls tls:issuer", false),
        (by_address, "verify-ca", None, "invalid agent_error source", false),
        (by_address, "require", None, ok, true),
        (by_name, "require", Some("ca.pem"), "invalid agent_error source", false),
        (by_address, "prefer", None, ok, true),
        (by_address, "disable", None, ok, false),
    ] {
        let attempt = attempt(&desk, host, &format!("sslmode={mode}"), ca_file);
        assert_outcome(&attempt, expected);
        if expected == ok {
            let tls: &[&str] = if is_private { &["tls"] } else { &[] };
            let resolve: &[&str] = if host == by_name { &["resolve"] } else { &[] };
            let all =
                [resolve, &["connect"], tls, &["login", "first_row", "fetch", "query", "total"]]
                    .concat();
            assert_eq!(phases(&attempt), all, "{mode}");
            assert_eq!(detail(&attempt, "tls") == "TLSv1_3", is_private, "{attempt}");
            assert_eq!(detail(&attempt, "cert_not_after").is_empty(), !is_private, "{attempt}");
        }
    }
}

#[test]
fn a_login_is_bound_to_its_session() {
    let Some(desk) = desk("a_login_is_bound_to_its_session") else { return };
    let bound =
        attempt(&desk, "localhost", "sslmode=verify-full&channel_binding=require", Some("ca.pem"));
    assert_outcome(&bound, "ok");
    let open = attempt(&desk, "127.0.0.1", "sslmode=disable&channel_binding=require", None);
    assert_outcome(&open, "failed auth auth");
}

#[test]
fn a_cancel_request_is_as_private_as_its_session() {
    let Some(desk) = desk("a_cancel_request_is_as_private_as_its_session") else { return };
    // Whoever comes in the open is not answered at all.
    desk.postgres.write(
        "data/pg_hba.conf",
        "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
    );
    desk.postgres.sql("SELECT pg_reload_conf()");
    desk.write_url_of("localhost", desk.postgres.port, "sslmode=require");
    let query =
        "SELECT i, CASE WHEN i = 11000 THEN pg_sleep(15) END FROM generate_series(1, 12000) i";
    let tried = desk.tries("20s", json!({"query": query}), "");
    assert_outcome(&tried.attempts[0], "failed assertion max_rows");
    desk.postgres.wait_until(ACTIVE, "0", Duration::from_secs(2));
    assert!(
        desk.postgres.log().contains("canceling statement due to user request"),
        "{}",
        desk.postgres.log()
    );
    desk.write_url("sslmode=disable");
    assert_outcome(&desk.attempt("SELECT 1"), "failed auth sqlstate:28000");
}

#[test]
fn a_server_that_does_not_speak_tls() {
    let Some(desk) = Desk::new("a_server_that_does_not_speak_tls") else { return };
    let refused = attempt(&desk, "127.0.0.1", "sslmode=require", None);
    assert_outcome(&refused, "failed tls tls:refused");
    assert_eq!(phases(&refused), ["connect", "total"]);
    let open = attempt(&desk, "127.0.0.1", "sslmode=prefer", None);
    assert_outcome(&open, "ok");
    assert!(!phases(&open).contains(&"tls"), "{open}");
}
