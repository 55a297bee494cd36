//! Challenges as the RFCs print them, as servers write them, and as strangers might.

use super::*;
use crate::probe::sip::identity::SEED_BYTES;

fn credentials(user: &str, password: &str) -> Credentials {
    Credentials { user: user.to_owned(), password: Secret::new(password.to_owned()) }
}

fn authorizer() -> Authorizer {
    Authorizer::new(credentials("probe", "secret"))
}

fn identifiers() -> Identifiers {
    Identifiers::new([7; SEED_BYTES])
}

/// Takes a response with these header lines.
fn challenged(authorizer: &mut Authorizer, lines: &[&str]) -> Result<(), Refused> {
    let bytes = format!("SIP/2.0 401 Unauthorized\r\n{}\r\n\r\n", lines.join("\r\n"));
    authorizer.challenged(&Message::parse(bytes.as_bytes()).expect("a response"))
}

fn asked(authorizer: &mut Authorizer, method: &str) -> Vec<(&'static str, String)> {
    authorizer.headers(method, "sip:b@sip.example", b"", &mut identifiers())
}

/// A parameter of an answer, as it is written.
fn parameter<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let parameters = answer.strip_prefix("Digest ")?.split(", ");
    parameters.filter_map(|piece| piece.split_once('=')).find(|(key, _)| *key == name).map(|p| p.1)
}

/// The answer to one challenge, with that client nonce.
fn answer(who: &Credentials, challenge: &str, request: Request<'_>, cnonce: &str) -> String {
    let challenge = challenges(std::iter::once(challenge.as_bytes())).next();
    let challenge = challenge.expect("one").expect("can be answered");
    Session::new("Authorization", challenge).answer(who, request, cnonce.to_owned())
}

// === what is computed ===

#[test]
fn the_examples_of_the_rfcs_are_met() {
    let get = |uri| Request { method: "GET", uri, body: b"" };
    let shared = "realm=\"http-auth@example.org\", qop=\"auth, auth-int\", nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
    let mufasa = credentials("Mufasa", "Circle of Life");
    let cases = [
        // RFC 7616 §3.9.1
        (
            &mufasa,
            format!("Digest {shared}, algorithm=SHA-256"),
            get("/dir/index.html"),
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
        (
            &mufasa,
            format!("Digest {shared}, algorithm=MD5"),
            get("/dir/index.html"),
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            "8ca523f5e9506fed4657c9700eebdbec",
        ),
        // RFC 7616 §3.9.2, with the response of its erratum 4897: the RFC's own is that of a cut SHA-512.
        (
            &credentials("Jäsøn Doe", "Secret, or not?"),
            "Digest realm=\"api@example.org\", qop=\"auth\", algorithm=SHA-512-256, nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", opaque=\"HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS\", charset=UTF-8, userhash=true".to_owned(),
            get("/doe.json"),
            "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
            "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
        ),
        // RFC 2617 §3.5
        (
            &credentials("Mufasa", "Circle Of Life"),
            "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"".to_owned(),
            get("/dir/index.html"),
            "0a4f113b",
            "6629fae49393a05397450978507c4ef1",
        ),
    ];
    for (who, challenge, request, cnonce, expected) in &cases {
        let answer = answer(who, challenge, *request, cnonce);
        assert_eq!(parameter(&answer, "response"), Some(&*format!("\"{expected}\"")), "{answer}");
    }
}

/// Computed with Python's hashlib, where `h` joins its parts with colons:
/// `a1 = h(user, realm, password)`, for -sess `h(a1, nonce, cnonce)`; `a2 = h(method, uri)`, for auth-int
/// `h(method, uri, h(body))`; `h(a1, nonce, nc, cnonce, qop, a2)`, without qop `h(a1, nonce, a2)`;
/// `h = lambda *p: hashlib.new("sha512_256", ":".join(p).encode()).hexdigest()`.
#[test]
fn every_algorithm_answers_every_protection() {
    let cases = [
        ("MD5", "", "91d2b4803f2afaf3f92388ac953d3cbb"),
        ("MD5", "auth", "0a43fc651ff3bfff59ff8f9ef8b501cf"),
        ("MD5", "auth-int", "12ccdd6ebff1c51eed846a2f552107b0"),
        ("MD5-sess", "auth", "46616da676b32be973ccfb8a04fdcfaa"),
        ("MD5-sess", "auth-int", "f3123b006f855f2da62b15db6f32309b"),
        ("SHA-256", "", "02ec9068486eb6571ffec044d296d105d9722fdd6ecd2b021cac0cee0883380f"),
        ("SHA-256", "auth", "9499e5f8f94c6f76381b04aa7c48d8decb5c84c19bfb35a180c290a5daf48563"),
        ("SHA-256", "auth-int", "50cb59fb1c3577116682eba49f636d2f7ee1cea868af2b3ee51d578959230efb"),
        (
            "SHA-256-sess",
            "auth",
            "67e308bb54d96ca2968b7d7bc7f5d0753c53c50a46ad298e753bbd9685f713ec",
        ),
        (
            "SHA-256-sess",
            "auth-int",
            "c5a1686ca40045646b0f50888088d51a8156198adaeda37f6168e94dca95f901",
        ),
        ("SHA-512-256", "", "6f92e5c92b4916edb27553d00806ae668a523598ac7196f70e4302fcfa75f07c"),
        ("SHA-512-256", "auth", "35a4a779bec6d2cd27937fc1e48e8aa2f45aaa962252615bdbde0c26069ad4bf"),
        (
            "SHA-512-256",
            "auth-int",
            "dffb03b1084875ec1eef7d264a248c8241f207281545de08750dd7a0e6a49a71",
        ),
        (
            "SHA-512-256-sess",
            "auth",
            "516f4a71b21d1dc139d1dbda1df8a19c221d779402516f683094538c462b0c0a",
        ),
        (
            "SHA-512-256-sess",
            "auth-int",
            "3d586b641d0a2caf329ade8ee6ecad755496cb680a238b42819c8a762f8be36f",
        ),
    ];
    let who = credentials("probe", "s3cret: ä");
    for (algorithm, qop, expected) in cases {
        let offered = if qop.is_empty() { String::new() } else { format!(", qop=\"{qop}\"") };
        let challenge = format!(
            "Digest realm=\"sip.example\", nonce=\"n0nce\", algorithm={algorithm}{offered}"
        );
        let request = Request { method: "REGISTER", uri: "sip:sip.example", body: b"v=0\r\n" };
        let answer = answer(&who, &challenge, request, "c");
        assert_eq!(parameter(&answer, "response"), Some(&*format!("\"{expected}\"")), "{answer}");
        assert_eq!(parameter(&answer, "qop"), Some(qop).filter(|qop| !qop.is_empty()));
        // Without qop neither may be sent (RFC 2617 §3.2.2).
        assert_eq!(parameter(&answer, "cnonce").is_some(), !qop.is_empty(), "{answer}");
        assert_eq!(parameter(&answer, "nc").is_some(), !qop.is_empty(), "{answer}");
    }
}

#[test]
fn a_body_that_is_not_there_is_empty() {
    let who = credentials("probe", "s3cret: ä");
    let challenge = "Digest realm=\"sip.example\", nonce=\"n0nce\", qop=\"auth-int\"";
    let request = Request { method: "REGISTER", uri: "sip:sip.example", body: b"" };
    let answer = answer(&who, challenge, request, "c");
    assert_eq!(parameter(&answer, "response"), Some("\"574d01e609e4d3c93ffcbeb04602f1a9\""));
}

#[test]
fn quotes_are_kept_on_the_way_and_taken_off_for_the_hash() {
    let who = credentials("pr\"o\\be", "s3cret: ä");
    let challenge =
        r#"Digest realm="my \"PBX\"", nonce="n0nce", qop="auth", opaque="a\\b, c=\"d\"""#;
    let request = Request { method: "REGISTER", uri: "sip:sip.example", body: b"" };
    let answer = answer(&who, challenge, request, "c");
    assert_eq!(
        answer,
        r#"Digest username="pr\"o\\be", realm="my \"PBX\"", nonce="n0nce", uri="sip:sip.example", response="e6b31d896dcbd6c3c7732a2f733bbff8", opaque="a\\b, c=\"d\"", qop=auth, cnonce="c", nc=00000001"#
    );
}

// === what is taken ===

#[test]
fn of_a_realm_the_topmost_that_is_known_is_taken() {
    let mut authorizer = authorizer();
    let lines = [
        "WWW-Authenticate: Basic realm=\"sip.example\"",
        "WWW-Authenticate: Digest realm=\"sip.example\", nonce=\"1\", algorithm=SHA3-512, qop=\"auth\"",
        "WWW-Authenticate: Digest realm=\"sip.example\", nonce=\"2\", algorithm=SHA-256, qop=\"token\"",
        "www-authenticate:digest REALM = \"sip.example\" ,nonce=\"3\",Algorithm=\"sha-256\", QOP=\"auth-int , AUTH\", stale=FALSE",
        "WWW-Authenticate: Digest realm=\"sip.example\", nonce=\"4\", algorithm=MD5, qop=\"auth\"",
    ];
    assert_eq!(challenged(&mut authorizer, &lines), Ok(()));
    let headers = asked(&mut authorizer, "INVITE");
    assert_eq!(headers.len(), 1);
    let (name, answer) = &headers[0];
    assert_eq!(*name, "Authorization");
    assert_eq!(parameter(answer, "nonce"), Some("\"3\""));
    assert_eq!(parameter(answer, "algorithm"), Some("sha-256"), "as the server writes it");
    assert_eq!(parameter(answer, "qop"), Some("auth"));
    assert_eq!(parameter(answer, "uri"), Some("\"sip:b@sip.example\""));
}

#[test]
fn every_realm_is_answered_in_all_later_requests() {
    let mut authorizer = authorizer();
    assert_eq!(asked(&mut authorizer, "INVITE"), [], "nobody has asked yet");
    let proxy = "Proxy-Authenticate: Digest realm=\"one\", nonce=\"a\", qop=\"auth\"";
    assert_eq!(challenged(&mut authorizer, &[proxy]), Ok(()));
    assert_eq!(asked(&mut authorizer, "INVITE").len(), 1);
    // A fork gathers what both say; a proxy and a server of one realm are two.
    let lines = [
        "Proxy-Authenticate: Digest realm=\"two\", nonce=\"b\"",
        "WWW-Authenticate: Digest realm=\"one\", nonce=\"c\", qop=\"auth\"",
    ];
    assert_eq!(challenged(&mut authorizer, &lines), Ok(()));
    for (method, counts) in [("INVITE", "00000002"), ("BYE", "00000003")] {
        let headers = asked(&mut authorizer, method);
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["Proxy-Authorization", "Authorization", "Proxy-Authorization"]);
        assert_eq!(parameter(&headers[0].1, "realm"), Some("\"one\""));
        assert_eq!(parameter(&headers[0].1, "nc"), Some(counts), "counted by nonce");
        assert_eq!(parameter(&headers[2].1, "nc"), None);
    }
}

#[test]
fn several_challenges_on_one_line_are_read() {
    let mut authorizer = authorizer();
    let line = "WWW-Authenticate: NTLM, Digest realm=\"a\", nonce=\"1\", Negotiate oYG=, Digest realm=\"b, c\", nonce=\"2\"";
    assert_eq!(challenged(&mut authorizer, &[line]), Ok(()));
    let headers = asked(&mut authorizer, "INVITE");
    let realms: Vec<_> = headers.iter().map(|(_, answer)| parameter(answer, "nonce")).collect();
    assert_eq!(realms, [Some("\"1\""), Some("\"2\"")]);
}

#[test]
fn client_nonces_are_fresh_but_for_session_keys() {
    for (algorithm, is_fresh) in [("MD5", true), ("SHA-256-sess", false)] {
        let (mut authorizer, mut identifiers) = (authorizer(), identifiers());
        let line = format!(
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm={algorithm}"
        );
        assert_eq!(challenged(&mut authorizer, &[&line]), Ok(()));
        let mut nonce = || {
            let headers = authorizer.headers("BYE", "sip:h", b"", &mut identifiers);
            parameter(&headers[0].1, "cnonce").expect("is there").to_owned()
        };
        let (first, second) = (nonce(), nonce());
        assert_eq!(first != second, is_fresh, "{algorithm}");
        assert_eq!(first.len(), 34, "128 bits in quotes");
    }
}

// === who is refused ===

fn line(nonce: &str, more: &str) -> String {
    format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\"{more}")
}

#[test]
fn a_password_is_tried_once() {
    let mut authorizer = authorizer();
    assert_eq!(challenged(&mut authorizer, &[&line("1", "")]), Ok(()));
    asked(&mut authorizer, "INVITE");
    assert_eq!(challenged(&mut authorizer, &[&line("2", "")]), Err(Refused::Wrong));
    assert_eq!(challenged(&mut authorizer, &[&line("1", ", stale=true")]), Err(Refused::Wrong));
    let other = "Proxy-Authenticate: Digest realm=\"other\", nonce=\"3\"";
    assert_eq!(challenged(&mut authorizer, &[&line("2", ""), other]), Err(Refused::Wrong));
}

#[test]
fn a_nonce_that_is_too_old_is_replaced() {
    let mut authorizer = authorizer();
    assert_eq!(challenged(&mut authorizer, &[&line("1", "")]), Ok(()));
    asked(&mut authorizer, "INVITE");
    assert_eq!(challenged(&mut authorizer, &[&line("2", ", stale=\"TRUE\"")]), Ok(()));
    let headers = asked(&mut authorizer, "INVITE");
    assert_eq!(parameter(&headers[0].1, "nonce"), Some("\"2\""));
    assert_eq!(parameter(&headers[0].1, "nc"), Some("00000001"), "counted anew");
    assert_eq!(challenged(&mut authorizer, &[&line("2", ", stale=true")]), Err(Refused::Wrong));
}

#[test]
fn who_was_accepted_may_be_asked_anew() {
    let mut authorizer = authorizer();
    assert_eq!(challenged(&mut authorizer, &[&line("1", "")]), Ok(()));
    asked(&mut authorizer, "INVITE");
    asked(&mut authorizer, "BYE");
    assert_eq!(challenged(&mut authorizer, &[&line("1", "")]), Err(Refused::Wrong));
    assert_eq!(challenged(&mut authorizer, &[&line("2", "")]), Ok(()));
    asked(&mut authorizer, "BYE");
    assert_eq!(challenged(&mut authorizer, &[&line("3", "")]), Err(Refused::Wrong));
}

#[test]
fn nobody_is_asked_for_ever() {
    let mut authorizer = authorizer();
    let mut tries = 0;
    while challenged(&mut authorizer, &[&line(&tries.to_string(), ", stale=true")]).is_ok() {
        asked(&mut authorizer, "INVITE");
        tries += 1;
    }
    assert_eq!(tries, u32::from(RENEWALS_MAX) + 1);
    for realm in 1..=REALMS_MAX {
        let line = format!("Proxy-Authenticate: Digest realm=\"{realm}\", nonce=\"1\"");
        let expected = if realm < REALMS_MAX { Ok(()) } else { Err(Refused::Malformed) };
        assert_eq!(challenged(&mut authorizer, &[&line]), expected, "{realm}");
    }
    assert_eq!(asked(&mut authorizer, "INVITE").len(), REALMS_MAX);
}

#[test]
fn what_cannot_be_answered_is_told_apart() {
    let long = format!("Digest realm=\"r\", nonce=\"{}\"", "n".repeat(1_025));
    let many = format!("Digest realm=\"r\", nonce=\"n\"{}", ", x=y".repeat(40));
    for (challenge, expected) in [
        ("Basic realm=\"r\"", Refused::Unknown),
        ("Negotiate", Refused::Unknown),
        ("Digest realm=\"r\", nonce=\"n\", algorithm=AKAv1-MD5", Refused::Unknown),
        ("Digest realm=\"r\", nonce=\"n\", algorithm=-sess", Refused::Unknown),
        ("Digest realm=\"r\", nonce=\"n\", qop=\"auth-conf\"", Refused::Unknown),
        ("Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess", Refused::Malformed),
        ("Digest nonce=\"n\"", Refused::Malformed),
        ("Digest realm=\"r\"", Refused::Malformed),
        ("Digest realm=\"r\", nonce=\"n", Refused::Malformed),
        ("Digest realm=\"r\"x, nonce=\"n\"", Refused::Malformed),
        ("Digest realm=\"r\", nonce=\"n\", nonce=\"m\"", Refused::Malformed),
        ("Digest realm=\"\u{1}\", nonce=\"n\"", Refused::Malformed),
        (&long, Refused::Malformed),
        (&many, Refused::Malformed),
        ("Digest", Refused::Malformed),
        ("=", Refused::Malformed),
        ("", Refused::Malformed),
    ] {
        let line = format!("WWW-Authenticate: {challenge}");
        assert_eq!(challenged(&mut authorizer(), &[&line]), Err(expected), "{challenge}");
    }
    assert_eq!(challenged(&mut authorizer(), &["X: y"]), Err(Refused::Malformed), "none at all");
    for (challenge, nonce) in
        [("Digest realm=r, nonce=n, qop=auth", "\"n\""), ("Digest realm=\"\", nonce=\"\"", "\"\"")]
    {
        let line = format!("WWW-Authenticate: {challenge}");
        let mut authorizer = authorizer();
        assert_eq!(challenged(&mut authorizer, &[&line]), Ok(()), "{challenge}");
        let headers = asked(&mut authorizer, "INVITE");
        assert_eq!(parameter(&headers[0].1, "nonce"), Some(nonce));
    }
}

#[test]
fn nothing_prints_the_password() {
    let mut authorizer = authorizer();
    assert_eq!(challenged(&mut authorizer, &[&line("1", "")]), Ok(()));
    let text = format!("{authorizer:?}");
    assert!(text.contains("probe") && !text.contains("secret"), "{text}");
    for refused in [Refused::Unknown, Refused::Wrong, Refused::Malformed] {
        assert!(!refused.to_string().contains("secret"));
    }
}
