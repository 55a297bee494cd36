use super::*;
use proptest::prelude::*;

const OK: &str = "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h\r\nContent-Length: 4\r\n\r\nbody";
const BYE: &str = "BYE sip:a SIP/2.0\r\nl : 0\r\n\r\n";

/// All that is in a stream which comes in such pieces, and why it ended, if it broke.
fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<Broken>) {
    let (mut framing, mut frames) = (Framing::default(), Vec::new());
    for piece in pieces {
        framing.push(piece);
        loop {
            match framing.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(broken) => return (frames, Some(broken)),
            }
        }
        assert!(framing.buffer.len() <= MESSAGE_MAX_BYTES + piece.len());
    }
    (frames, None)
}

fn whole(stream: &str) -> (Vec<Frame>, Option<Broken>) {
    frames([stream.as_bytes()])
}

fn message(text: &str) -> Frame {
    Frame::Message(text.as_bytes().to_vec())
}

#[test]
fn messages_are_told_apart_however_the_stream_is_cut() {
    let stream = format!("{OK}{BYE}\r\n{OK}\r\n\r\n{BYE}");
    let expected = vec![message(OK), message(BYE), message(OK), Frame::Ping, message(BYE)];
    assert_eq!(whole(&stream), (expected.clone(), None), "at once");
    assert_eq!(frames(stream.as_bytes().chunks(1)), (expected.clone(), None), "byte by byte");
    for at in 0..stream.len() {
        let (first, second) = stream.as_bytes().split_at(at);
        assert_eq!(frames([first, second]), (expected.clone(), None), "cut at {at}");
    }
}

#[test]
fn a_double_line_end_asks_for_an_answer_and_a_single_one_does_not() {
    for (stream, pings) in [
        ("\r\n", 0),
        ("\r\n\r\n", 1),
        ("\r\n\r\n\r\n", 1),
        ("\r\n\r\n\r\n\r\n", 2),
        ("\n\n\n", 0),
        ("\r\n\n\r\n", 0),
    ] {
        assert_eq!(whole(stream), (vec![Frame::Ping; pings], None), "{stream:?}");
        assert_eq!(frames(stream.as_bytes().chunks(1)).0.len(), pings, "{stream:?}");
    }
    // A single one behind each of two messages is none.
    let apart = format!("\r\n{BYE}\r\n{BYE}");
    assert_eq!(whole(&apart).0, [message(BYE), message(BYE)]);
}

#[test]
fn what_ends_nowhere_breaks_the_stream() {
    for (stream, expected) in [
        ("SIP/2.0 200 OK\r\nVia: x\r\n\r\n", Broken::NoLength),
        ("SIP/2.0 200 OK\r\nContent-Length: x\r\n\r\n", Broken::Length),
        ("SIP/2.0 200 OK\r\nContent-Length: -1\r\n\r\n", Broken::Length),
        ("SIP/2.0 200 OK\r\nContent-Length:\r\n\r\n", Broken::Length),
        ("SIP/2.0 200 OK\r\nl: 1\r\nContent-Length: 2\r\n\r\n", Broken::Length),
        ("SIP/2.0 200 OK\r\nl: 65535\r\n\r\n", Broken::TooLarge),
        ("SIP/2.0 200 OK\r\nl: 99999999999999999999999999\r\n\r\n", Broken::TooLarge),
        ("SSH-2.0-OpenSSH_9.2\r\n", Broken::NotSip),
        ("HTTP/1.1 400 Bad Request\r\n", Broken::NotSip),
        ("\u{15}\u{3}\u{1}", Broken::NotSip),
    ] {
        assert_eq!(whole(stream), (Vec::new(), Some(expected)), "{stream:?}");
        assert_eq!(frames(stream.as_bytes().chunks(1)).1, Some(expected), "{stream:?}");
    }
    // What was whole before is handed out all the same.
    let (before, broken) = whole(&format!("{OK}garbage\r\n"));
    assert_eq!((before, broken), (vec![message(OK)], Some(Broken::NotSip)));
}

#[test]
fn equal_lengths_and_folded_ones_are_one() {
    for head in
        ["l: 4\r\nContent-Length: 4\r\n", "Content-Length:\r\n 4\r\n", "CONTENT-LENGTH :004\r\n"]
    {
        let text = format!("SIP/2.0 200 OK\r\n{head}\r\nbody");
        assert_eq!(whole(&text), (vec![message(&text)], None), "{head:?}");
    }
}

#[test]
fn a_head_without_end_is_not_read_for_ever() {
    let endless = format!("SIP/2.0 200 OK\r\n{}", "X: y\r\n".repeat(10_000));
    assert_eq!(whole(&endless).1, Some(Broken::TooLarge));
    let line = "a".repeat(100_000);
    assert_eq!(frames(line.as_bytes().chunks(1_000)).1, Some(Broken::TooLarge));
}

proptest! {
    #[test]
    fn cuts_change_nothing(
        parts in prop::collection::vec(
            prop_oneof![
                Just(OK.as_bytes().to_vec()),
                Just(BYE.as_bytes().to_vec()),
                Just(b"\r\n".to_vec()),
                Just(b"Content-Length: 3\r\n\r\n".to_vec()),
                prop::collection::vec(any::<u8>(), 0..20),
            ],
            0..8,
        ),
        cut in 1_u8..40,
    ) {
        crate::fuzz::stream(&[&[cut][..], &parts.concat()].concat());
    }
}
