//! The messages of RFC 4475 and RFC 5118: what each of them has to be read as.

use crate::probe::sip::message::{Message, NameAddr, StartLine, Via, cseq, reply};
use crate::probe::sip::sdp::audio;
use crate::probe::sip::transport::Transport;
use crate::probe::sip::uri::{Hop, Uri};
use std::collections::BTreeMap;
use std::path::Path;

/// All of them, by name.
pub(super) fn torture() -> BTreeMap<String, Vec<u8>> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/probe/sip/message/torture");
    let mut messages = BTreeMap::new();
    for folder in ["rfc4475", "rfc5118"] {
        for entry in std::fs::read_dir(all.join(folder)).expect("is there") {
            let path = entry.expect("is there").path();
            let name = path.file_stem().expect("has a name").to_string_lossy().into_owned();
            messages.insert(name, std::fs::read(&path).expect("is read"));
        }
    }
    messages
}

/// What is made of a message, in words.
fn made_of(bytes: &[u8]) -> String {
    let message = match Message::parse(bytes) {
        Ok(message) => message,
        Err(error) => return format!("refused: {error}"),
    };
    let mut parts = Vec::new();
    match message.start {
        StartLine::Request { method, uri } => {
            parts.push(String::from_utf8_lossy(method).into_owned());
            parts.push(Uri::parse(uri).map_or("no SIP URI".to_owned(), |uri| {
                format!("for {} port {}", uri.hop().host, uri.hop().port)
            }));
        }
        StartLine::Response { status, .. } => parts.push(status.to_string()),
    }
    let hops: Vec<_> = message.values("Via").map(Via::parse).collect();
    parts.push(format!("hops {}", hops.len()));
    if hops.iter().any(Option::is_none) {
        parts.push("a Via that is none".to_owned());
    }
    match message.first("CSeq").map(cseq) {
        None | Some(None) => parts.push("no legal CSeq".to_owned()),
        Some(Some((_, method))) if message.method().is_some_and(|asked| asked != method) => {
            parts.push("CSeq of another method".to_owned());
        }
        Some(Some(_)) => {}
    }
    for name in ["From", "To"] {
        if message.first(name).and_then(NameAddr::parse).is_none() {
            parts.push(format!("{name} names nobody"));
        }
    }
    let source = Hop { host: "192.0.2.9".to_owned(), port: 5_060, transport: Transport::Udp };
    if message.method().is_some() && reply(&message, (400, "Bad Request"), &source, None).is_none()
    {
        parts.push("cannot be answered".to_owned());
    }
    if let Some(audio) = audio(message.body) {
        parts.push(format!("{} to {} port {}", audio.codec, audio.place.address, audio.place.port));
    }
    parts.join(", ")
}

const NO_START: &str = "refused: no request line and no status line of SIP/2.0";
const NO_LENGTH: &str = "refused: Content-Length is not that of the body";

/// RFC 4475 §3.1.1: all of them must be read.
const VALID: [(&str, &str); 13] = [
    ("wsinv", "INVITE, for chair-dnrc.example.com port 5060, hops 3, PCMU to 192.0.2.4 port 49217"),
    ("intmeth", "!interesting-Method0123456789_*+`.%indeed'~, for example.com port 5060, hops 1"),
    ("esc01", "INVITE, for example.net port 5060, hops 1, PCMU to 192.0.2.1 port 49217"),
    ("escnull", "REGISTER, for example.com port 5060, hops 1"),
    ("esc02", "RE%47IST%45R, for registrar.example.com port 5060, hops 1"),
    ("lwsdisp", "OPTIONS, for example.com port 5060, hops 1"),
    ("longreq", "INVITE, for example.com port 5060, hops 34, PCMU to 192.0.2.1 port 49217"),
    ("dblreq", "REGISTER, for example.com port 5060, hops 1"),
    ("semiuri", "OPTIONS, for example.com port 5060, hops 1"),
    ("transports", "OPTIONS, for example.com port 5060, hops 5"),
    ("mpart01", "MESSAGE, for example.org port 5060, hops 1"),
    ("unreason", "200, hops 1, PCMU to 192.0.2.198 port 49217"),
    ("noreason", "100, hops 1"),
];

/// RFC 4475 §3.1.2: refused, or read as far as it makes sense, and never a panic.
const INVALID: [(&str, &str); 19] = [
    // Separators with nothing between them are passed over; the second Via is none.
    (
        "badinv01",
        "INVITE, for example.com port 5060, hops 2, a Via that is none, PCMU to 192.0.2.15 port 49217",
    ),
    // Over a stream the rest would be waited for.
    ("clerr", NO_LENGTH),
    ("ncl", NO_LENGTH),
    // To be refused for its sequence number alone.
    ("scalar02", "REGISTER, for example.com port 5060, hops 1, no legal CSeq"),
    // Belongs to no transaction: dropped.
    ("scalarlg", "503, hops 1, no legal CSeq"),
    (
        "quotbal",
        "INVITE, for example.com port 5060, hops 1, To names nobody, PCMU to 192.0.2.15 port 49217",
    ),
    ("ltgtruri", "INVITE, no SIP URI, hops 1, PCMU to 192.0.2.5 port 49217"),
    ("lwsruri", NO_START),
    ("lwsstart", NO_START),
    ("trws", NO_START),
    // Its headers are left out of what is asked.
    ("escruri", "INVITE, for example.com port 5060, hops 1, PCMU to 192.0.2.1 port 49217"),
    // Nobody looks at the date.
    ("baddate", "INVITE, for example.com port 5060, hops 1, PCMU to 192.0.2.5 port 49217"),
    ("regbadct", "REGISTER, for example.com port 5060, hops 1"),
    ("badaspec", "OPTIONS, for example.org port 5060, hops 1"),
    // The archive has it without the empty line behind its headers.
    ("baddn", "refused: no empty line ends the headers"),
    ("badvers", NO_START),
    ("mismatch01", "OPTIONS, for example.com port 5060, hops 1, CSeq of another method"),
    (
        "mismatch02",
        "NEWMETHOD, for example.com port 5060, hops 1, CSeq of another method, PCMU to 192.0.2.1 port 49217",
    ),
    ("bigcode", NO_START),
];

/// RFC 4475 §3.2 to §3.4: mostly well formed; what they mean is for others to judge.
const MEANT: [(&str, &str); 17] = [
    ("badbranch", "OPTIONS, for example.com port 5060, hops 1"),
    (
        "insuf",
        "INVITE, for example.com port 5060, hops 1, From names nobody, To names nobody, cannot be answered, PCMU to 192.0.2.95 port 49217",
    ),
    // Well formed: the URI is of a scheme that nobody knows.
    ("unkscm", "OPTIONS, no SIP URI, hops 1"),
    ("novelsc", "OPTIONS, no SIP URI, hops 1"),
    ("unksm2", "REGISTER, for example.com port 5060, hops 1"),
    ("bext01", "OPTIONS, for example.com port 5060, hops 1"),
    ("invut", "INVITE, for example.com port 5060, hops 1"),
    ("regaut01", "REGISTER, for example.com port 5060, hops 1"),
    // The first of each counts.
    ("multi01", "INVITE, for company.com port 5060, hops 1, PCMU to 192.0.2.25 port 49217"),
    ("mcl01", NO_LENGTH),
    // Two hops: for somebody else, dropped.
    ("bcast", "200, hops 2, PCMU to 192.0.2.198 port 49217"),
    ("zeromf", "OPTIONS, for example.com port 5060, hops 1"),
    ("cparam01", "REGISTER, for example.com port 5060, hops 1"),
    ("cparam02", "REGISTER, for example.com port 5060, hops 1"),
    ("regescrt", "REGISTER, for example.com port 5060, hops 1"),
    ("sdp01", "INVITE, for example.com port 5060, hops 1, PCMU to 192.0.2.5 port 49217"),
    ("inv2543", "INVITE, for example.com port 5060, hops 1, PCMU to 192.0.2.5 port 49217"),
];

/// RFC 5118 §4: all but `ipv6-bad` must be read.
const IPV6: [(&str, &str); 12] = [
    ("ipv6-good", "REGISTER, for 2001:db8::10 port 5060, hops 1"),
    ("ipv6-bad", "REGISTER, no SIP URI, hops 1"),
    // Well formed, if not what was meant.
    ("port-ambiguous", "REGISTER, for 2001:db8::10:5070 port 5060, hops 1"),
    ("port-unambiguous", "REGISTER, for 2001:db8::10 port 5070, hops 1"),
    // With or without brackets.
    ("via-received-param-with-delim", "BYE, for 2001:db8::10 port 5060, hops 1"),
    ("via-received-param-no-delim", "OPTIONS, for 2001:db8::10 port 5060, hops 1"),
    ("ipv6-in-sdp", "INVITE, for 2001:db8::10 port 5060, hops 1"),
    ("mult-ip-in-header", "BYE, for host.example.net port 5060, hops 3"),
    ("mult-ip-in-sdp", "INVITE, for 2001:db8::10 port 5060, hops 1, PCMU to 192.0.2.1 port 22334"),
    ("ipv4-mapped-ipv6", "INVITE, for example.com port 5060, hops 2"),
    // Read, though no address: nobody can be asked there.
    ("ipv6-bug-abnf-3-colons", "OPTIONS, for 2001:db8:::192.0.2.1 port 5060, hops 1"),
    ("ipv6-correct-abnf-2-colons", "OPTIONS, for 2001:db8::192.0.2.1 port 5060, hops 1"),
];

#[test]
fn every_message_is_what_it_has_to_be() {
    let torture = torture();
    let table = [&VALID[..], &INVALID, &MEANT, &IPV6].concat();
    for (name, expected) in &table {
        assert_eq!(made_of(&torture[*name]), *expected, "{name}");
    }
    let all: BTreeMap<_, _> = table.into_iter().collect();
    let untold: Vec<_> = torture.keys().filter(|name| !all.contains_key(name.as_str())).collect();
    assert_eq!((untold, torture.len()), (vec![], 49 + 12));
}

#[test]
fn names_that_should_be_quoted_cost_nothing() {
    let bytes = [torture()["baddn"].as_slice(), b"\r\n"].concat();
    let message = Message::parse(&bytes).expect("now it ends");
    assert_eq!(message.tag("From"), Some(&b"43"[..]));
    let to = message.first("To").and_then(NameAddr::parse).expect("an address");
    assert_eq!(to.uri, b"sip:t.watson@example.org");
}

#[test]
fn addresses_of_version_6_are_read_where_they_stand() {
    let torture = torture();
    for name in ["via-received-param-with-delim", "via-received-param-no-delim"] {
        let message = Message::parse(&torture[name]).expect(name);
        let via = message.only_via().expect("one");
        assert!(via.branch().is_some_and(|branch| branch.starts_with(b"z9hG4bKas3")), "{name}");
        assert_eq!((via.sent_by, via.port()), (&b"[2001:db8::9:1]"[..], None), "{name}");
    }
    let mapped = Message::parse(&torture["ipv4-mapped-ipv6"]).expect("valid");
    let ports: Vec<_> = mapped.values("Via").filter_map(Via::parse).map(|via| via.port()).collect();
    assert_eq!(ports, [Some(19_823), None]);
    let contact = mapped.first("Contact").and_then(NameAddr::parse).expect("an address");
    assert_eq!(Uri::parse(contact.uri).expect("a URI").hop().host, "::ffff:192.0.2.2");
}
