//! Messages as they come: tortuous, foreign, broken, random.

mod torture;

use super::*;
use proptest::prelude::*;
use torture::torture;

fn response(headers: &str) -> Vec<u8> {
    format!("SIP/2.0 200 OK\r\n{headers}\r\n").into_bytes()
}

#[test]
fn what_is_valid_is_read() {
    let torture = torture();
    let cases: [(&str, usize, &[u8]); 13] = [
        ("wsinv", 3, b"390skdjuw"),
        ("intmeth", 1, b"z9hG4bK-.!%66*_+`'~"),
        ("esc01", 1, b"z9hG4bKkdjuw"),
        ("escnull", 1, b"z9hG4bKkdjuw"),
        ("esc02", 1, b"z9hG4bK209%fzsnel234"),
        ("lwsdisp", 1, b"z9hG4bKkdjuw"),
        ("longreq", 34, b""),
        ("dblreq", 1, b"z9hG4bKkdjuw23492"),
        ("semiuri", 1, b"z9hG4bKkdjuw"),
        ("transports", 5, b"z9hG4bKkdjuw"),
        ("mpart01", 1, b"z9hG4bK-d87543-4dade06d0bdb11ee-1--d87543-"),
        ("unreason", 1, b"z9hG4bK1324923"),
        ("noreason", 1, b"z9hG4bK2398ndaoe"),
    ];
    for (name, hops, branch) in cases {
        let message =
            Message::parse(&torture[name]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(message.values("Via").count(), hops, "{name}");
        let via = message.values("Via").next().and_then(Via::parse).expect(name);
        if !branch.is_empty() {
            assert_eq!(via.branch(), Some(branch), "{name}");
        }
        let (_, method) = cseq(message.first("CSeq").expect(name)).expect(name);
        assert!(message.method().is_none_or(|asked| asked == method), "{name}");
        assert!(message.first("Call-ID").is_some_and(|id| !id.is_empty()), "{name}");
        assert!(NameAddr::parse(message.first("To").expect(name)).is_some(), "{name}");
        assert!(NameAddr::parse(message.first("From").expect(name)).is_some(), "{name}");
    }
    let wsinv = Message::parse(&torture["wsinv"]).expect("valid");
    assert_eq!(wsinv.tag("To"), Some(&b"1918181833n"[..]));
    assert_eq!(wsinv.tag("From"), Some(&b"98asjd8"[..]));
    assert_eq!(cseq(wsinv.first("CSeq").expect("is there")), Some((9, &b"INVITE"[..])));
    assert_eq!(wsinv.body.len(), 150);
    // Octets behind the body, here a second request, are ignored.
    let dblreq = Message::parse(&torture["dblreq"]).expect("valid");
    assert_eq!((dblreq.body.len(), dblreq.method()), (0, Some(&b"REGISTER"[..])));
    let unreason = Message::parse(&torture["unreason"]).expect("valid");
    assert_eq!((unreason.status(), unreason.body.len()), (Some(200), 154));
    let noreason = Message::parse(&torture["noreason"]).expect("valid");
    assert_eq!(noreason.start, StartLine::Response { status: 100, reason: b"" });
}

#[test]
fn what_is_invalid_does_no_harm() {
    let torture = torture();
    for (name, expected) in [
        ("clerr", NotSip::ContentLength),
        ("ncl", NotSip::ContentLength),
        ("mcl01", NotSip::ContentLength),
        ("bigcode", NotSip::StartLine),
        ("badvers", NotSip::StartLine),
        ("lwsruri", NotSip::StartLine),
        ("lwsstart", NotSip::StartLine),
        ("trws", NotSip::StartLine),
    ] {
        assert_eq!(Message::parse(&torture[name]), Err(expected), "{name}");
    }
    let read = |name: &str| Message::parse(torture[name].as_slice()).expect(name);
    // A sequence number that is too large belongs to no transaction.
    assert_eq!(cseq(read("scalarlg").first("CSeq").expect("is there")), None);
    assert_eq!(cseq(read("scalar02").first("CSeq").expect("is there")), None);
    // A response with two hops is for somebody else.
    assert_eq!(read("bcast").only_via(), None);
    assert_eq!(read("bcast").values("Via").count(), 2);
    // A name with one quote names nobody, and costs no other header.
    assert_eq!(read("quotbal").tag("To"), None);
    assert_eq!(read("quotbal").tag("From"), Some(&b"93334"[..]));
    for name in ["mismatch01", "mismatch02"] {
        let message = read(name);
        let (_, method) = cseq(message.first("CSeq").expect(name)).expect(name);
        assert_ne!(Some(method), message.method(), "{name}");
    }
    assert_eq!(read("insuf").first("Call-ID"), None);
    let hop = read("badbranch");
    let branch = hop.values("Via").next().and_then(Via::parse).and_then(|via| via.branch());
    assert_eq!(branch, Some(&b"z9hG4bK"[..]));
    // RFC 2543: no tag, no branch, no Content-Length.
    let old = read("inv2543");
    assert_eq!((old.tag("From"), old.body.len()), (None, 105));
    // The URI in brackets is no URI.
    let StartLine::Request { uri, .. } = read("ltgtruri").start else { panic!("a request") };
    assert_eq!(crate::probe::sip::uri::Uri::parse(uri), None);
}

#[test]
fn a_header_that_is_not_text_costs_no_other() {
    let mut bytes = b"\r\n\r\nSIP/2.0 180\r\nFrom: \"J\xf6rg\" <sip:a@h>;tag=1\r\nno colon here\r\nX-\xff: y\r\n".to_vec();
    bytes.extend_from_slice(b"v: SIP/2.0/UDP h:5070;branch=z9hG4bK1\r\nt: <sip:b@h>\r\n ;tag=2\r\ni:c\r\nCSEQ: 1 INVITE\r\n\r\nrest");
    let message = Message::parse(&bytes).expect("is read");
    assert_eq!(message.status(), Some(180));
    assert_eq!((message.tag("From"), message.tag("To")), (Some(&b"1"[..]), Some(&b"2"[..])));
    assert_eq!(message.first("Call-ID"), Some(&b"c"[..]));
    let via = message.only_via().expect("one");
    assert_eq!(
        (via.sent_by, via.port(), via.branch()),
        (&b"h:5070"[..], Some(5070), Some(&b"z9hG4bK1"[..]))
    );
    assert_eq!(
        message.body, b"rest",
        "without Content-Length the body is all that is left (§18.3)"
    );
}

#[test]
fn lists_and_parameters_are_split_where_they_should_be() {
    let bytes = response(
        "Record-Route: <sip:a,b@h;lr>, \"x, <y\" <sip:c@h>;q=\"1,2\"\r\nRecord-Route:<sip:d@h>\r\nl: 0\r\n",
    );
    let message = Message::parse(&bytes).expect("is read");
    let routes: Vec<&[u8]> = message.values("Record-Route").collect();
    assert_eq!(routes, [&b"<sip:a,b@h;lr>"[..], b"\"x, <y\" <sip:c@h>;q=\"1,2\"", b"<sip:d@h>"]);
    let named = NameAddr::parse(routes[1]).expect("an address");
    assert_eq!(
        (named.uri, parameter(named.parameters, "Q")),
        (&b"sip:c@h"[..], Some(Some(&b"\"1,2\""[..])))
    );
    assert_eq!(parameter(b";rport;x = y ", "rport"), Some(None));
    assert_eq!(parameter(b";rport;x = y ", "x"), Some(Some(&b"y"[..])));
    assert_eq!(parameter(b";rport", "port"), None);
    for (via, port) in [
        ("SIP/2.0/UDP [::1]:5070", Some(5070)),
        ("SIP/2.0/UDP [::1];x=:1", None),
        ("SIP/2.0/UDP h", None),
    ] {
        assert_eq!(Via::parse(via.as_bytes()).expect(via).port(), port, "{via}");
    }
    for no_via in ["", "SIP/2.0", "SIP/2.0/UDP", "SIP/3.0/UDP h", "SIP/2.0/UDP ;branch=x"] {
        assert_eq!(Via::parse(no_via.as_bytes()), None, "{no_via}");
    }
}

#[test]
fn there_is_a_bound_for_everything() {
    let many = response(&"X: y\r\n".repeat(HEADERS_MAX));
    assert!(Message::parse(&many).is_ok());
    let too_many = response(&"X: y\r\n".repeat(HEADERS_MAX + 1));
    assert_eq!(Message::parse(&too_many), Err(NotSip::TooLarge));
    assert_eq!(Message::parse(&[b'x'; MESSAGE_MAX_BYTES + 1]), Err(NotSip::TooLarge));
    let long = response(&format!("Via: {}\r\n", "SIP/2.0/UDP h,".repeat(1_000)));
    assert_eq!(Message::parse(&long).expect("is read").values("Via").count(), VALUES_MAX);
    for (bytes, expected) in [
        (&b""[..], NotSip::Empty),
        (b"\r\n\r\n", NotSip::Empty),
        (b"SIP/2.0 200 OK\r\nX: y\r\n", NotSip::Truncated),
        (b"SIP/2.0 200 OK\r\nX: y", NotSip::Truncated),
        (b"SIP/2.0 700 OK\r\n\r\n", NotSip::StartLine),
        (b"SIP/2.0 099 OK\r\n\r\n", NotSip::StartLine),
        (b"SIP/2.0 20 OK\r\n\r\n", NotSip::StartLine),
        (b"HTTP/1.1 200 OK\r\n\r\n", NotSip::StartLine),
        (b"INVITE sip:a@h SIP/3.0\r\n\r\n", NotSip::StartLine),
        (b"\x00\x01\x02", NotSip::StartLine),
    ] {
        assert_eq!(Message::parse(bytes), Err(expected), "{bytes:?}");
    }
}

#[test]
fn what_is_repeated_of_a_stranger_begins_no_line() {
    let bytes = Builder::response(200, "OK\r\nX: y").header("To", b"a\r\nVia: z\0").empty();
    let message = Message::parse(&bytes).expect("is read");
    assert_eq!(message.first("To"), Some(&b"a  Via: z"[..]));
    assert_eq!((message.first("X"), message.first("Via")), (None, None));
}

#[test]
fn a_reply_says_where_it_saw_the_sender() {
    let source = crate::probe::sip::uri::Hop {
        host: "192.0.2.9".to_owned(),
        port: 4_000,
        transport: crate::probe::sip::transport::Transport::Udp,
    };
    let request = b"BYE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bK1;received=1.1.1.1, SIP/2.0/UDP x\r\nVia: SIP/2.0/UDP y\r\nFrom: <sip:b@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: c\r\nCSeq: 2 BYE\r\n\r\n";
    let request = Message::parse(request).expect("is read");
    let bytes = reply(&request, (200, "OK"), &source, Some("mine")).expect("has all").empty();
    let message = Message::parse(&bytes).expect("is read");
    let hops: Vec<&[u8]> = message.values("Via").collect();
    assert_eq!(
        hops,
        [
            &b"SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1;rport=4000;received=192.0.2.9"[..],
            b"SIP/2.0/UDP x",
            b"SIP/2.0/UDP y"
        ]
    );
    assert_eq!((message.tag("To"), message.tag("From")), (Some(&b"mine"[..]), Some(&b"1"[..])));
    assert_eq!(message.first("CSeq"), Some(&b"2 BYE"[..]));
    let lacking =
        Message::parse(b"BYE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n").expect("is read");
    assert!(reply(&lacking, (200, "OK"), &source, None).is_none());
}

// === properties ===

/// A change at a place, which is taken modulo the length.
#[derive(Clone, Debug)]
enum Change {
    Set(usize, u8),
    Cut(usize, usize),
    Repeat(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\r\n:;,<>\"\\ /=@".to_vec())];
    prop_oneof![
        (any::<usize>(), byte).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<usize>(), 0..60_usize).prop_map(|(at, length)| Change::Cut(at, length)),
        (any::<usize>(), 0..60_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let length = bytes.len().max(1);
        let range =
            |at: usize, size: usize| at % length..(at % length).saturating_add(size).min(length);
        match *change {
            _ if bytes.is_empty() => {}
            Change::Set(at, byte) => bytes[at % length] = byte,
            Change::Cut(at, size) => drop(bytes.drain(range(at, size))),
            Change::Repeat(at, size) => {
                let piece = bytes[range(at, size)].to_vec();
                bytes.extend(piece);
            }
        }
    }
    bytes
}

fn header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let value = prop::collection::vec(prop_oneof![32..127_u8, 128..=255_u8], 0..40);
    ("[A-Za-z][A-Za-z0-9-]{0,20}", value.prop_map(|value| value.trim_ascii().to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// No change of any of these messages makes the reader panic, nor what it answers unreadable.
    #[test]
    fn reading_never_panics(which in any::<prop::sample::Index>(), changes in prop::collection::vec(change(), 0..12)) {
        let torture = torture();
        let bytes: Vec<Vec<u8>> = torture.into_values().collect();
        crate::fuzz::message(&changed(bytes[which.index(bytes.len())].clone(), &changes));
    }

    /// Nor do bytes at random.
    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzz::message(&bytes);
        crate::fuzz::message(&[b"SIP/2.0 200 OK\r\n", bytes.as_slice(), b"\r\n\r\n"].concat());
    }

    /// What is written is read as it was meant, and written again the same.
    #[test]
    fn what_is_written_is_read(
        headers in prop::collection::vec(header(), 0..20),
        status in 100..700_u16,
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let own = |name: &str| ["content-length", "content-type", "l", "c"].contains(&name.to_ascii_lowercase().as_str());
        let headers: Vec<_> = headers.into_iter().filter(|(name, _)| !own(name)).collect();
        let write = || {
            let builder = Builder::response(status, "Some Reason");
            headers.iter().fold(builder, |builder, (name, value)| builder.header(name, value)).body("text/plain", &body)
        };
        let bytes = write();
        let message = Message::parse(&bytes).expect("is read");
        prop_assert_eq!(message.start, StartLine::Response { status, reason: b"Some Reason" });
        let read: Vec<_> = message.headers.iter().map(|header| (header.name, header.value.as_ref())).collect();
        let written: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
        prop_assert_eq!(&read[..headers.len()], written.as_slice());
        prop_assert_eq!(message.body, body.as_slice());
        // Read, written, read: nothing is lost or added.
        let again = read[..headers.len()].iter().fold(Builder::response(status, "Some Reason"), |builder, (name, value)| {
            builder.header(std::str::from_utf8(name).expect("a token"), value)
        });
        let again = again.body("text/plain", message.body);
        prop_assert_eq!(Message::parse(&again).expect("is read"), message);
    }
}
