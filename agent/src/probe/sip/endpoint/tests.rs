use super::*;
use crate::probe::udp::Stamper;
use tokio::net::UdpSocket;

/// How long a test waits for what must come.
const COMES: Duration = Duration::from_secs(5);

async fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

fn message(call_id: &str) -> Vec<u8> {
    format!("OPTIONS sip:h SIP/2.0\r\nCall-ID: {call_id}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

async fn next(events: &mut mpsc::Receiver<Event>) -> Event {
    timeout(COMES, events.recv()).await.expect("in time").expect("open")
}

#[tokio::test]
async fn attempts_share_a_socket_and_hear_what_is_their_own() {
    let endpoints = Endpoints::default();
    endpoints.prepare();
    // The kernel begins to stamp a moment later.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (socket, address) = peer().await;
    let (first, mut at_first) = events();
    let (second, mut at_second) = events();
    let mut first = endpoints.towards(address, first).expect("a line");
    let mut second = endpoints.towards(address, second).expect("a line");
    assert_eq!(first.local(), second.local());
    let before = Instant::now();
    let number = first.send(&message("one"), address, true).expect("sent");
    second.send(&message("two"), address, false).expect("sent");
    match next(&mut at_first).await {
        Event::Left { number: left, at } => assert!(left == number && at >= before),
        other => panic!("{other:?}"),
    }
    for call_id in ["two", "one", "three"] {
        socket.send_to(&message(call_id), first.local()).await.expect("sent");
    }
    for (events, expected) in [(&mut at_first, "one"), (&mut at_second, "two")] {
        let Event::Datagram { bytes, source, by, .. } = next(events).await else { panic!() };
        assert_eq!((&*bytes, source, by), (&*message(expected), address, Stamper::Kernel));
    }
    assert!(at_first.try_recv().is_err() && at_second.try_recv().is_err());
}

#[tokio::test]
async fn a_closed_port_is_told_to_whom_it_concerns_and_costs_nobody_else_a_message() {
    let endpoints = Endpoints::default();
    let (closed, nobody) = peer().await;
    drop(closed);
    let (socket, address) = peer().await;
    let (first, mut at_first) = events();
    let (second, mut at_second) = events();
    let mut first = endpoints.towards(nobody, first).expect("a line");
    let mut second = endpoints.towards(address, second).expect("a line");
    for _ in 0..20 {
        first.send(&message("one"), nobody, false).expect("leaves");
        second.send(&message("two"), address, false).expect("leaves");
        let mut buffer = [0; 200];
        let came = timeout(COMES, socket.recv(&mut buffer)).await;
        came.expect("in time").expect("read");
        let Event::Undelivered { errno } = next(&mut at_first).await else { panic!() };
        assert_eq!(io::Error::from_raw_os_error(errno).kind(), io::ErrorKind::ConnectionRefused);
    }
    assert!(at_second.try_recv().is_err(), "not its affair");
}

#[tokio::test]
async fn who_asks_about_a_call_that_is_over_is_told_so() {
    let endpoints = Endpoints::default();
    let (socket, address) = peer().await;
    let (sender, _events) = events();
    let line = endpoints.towards(address, sender).expect("a line");
    let local = line.local();
    drop(line);
    let bye = "BYE sip:probefleet@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx;rport\r\n\
               From: <sip:a@127.0.0.1>;tag=f\r\nTo: <sip:b@127.0.0.1>;tag=t\r\nCall-ID: gone\r\nCSeq: 2 BYE\r\n\
               Max-Forwards: 70\r\nUser-Agent: somebody\r\nContent-Length: 0\r\n\r\n";
    socket.send_to(bye.as_bytes(), local).await.expect("sent");
    let mut buffer = [0; 1_000];
    let answer = timeout(COMES, socket.recv(&mut buffer)).await;
    let length = answer.expect("in time").expect("read");
    let text = String::from_utf8_lossy(&buffer[..length]);
    assert!(text.starts_with("SIP/2.0 481 "), "{text}");
}

#[tokio::test]
async fn a_socket_is_closed_when_no_attempt_needs_it() {
    let endpoints = Endpoints::default();
    let (_socket, address) = peer().await;
    let (sender, _events) = events();
    let line = endpoints.towards(address, sender.clone()).expect("a line");
    let endpoint = Arc::clone(&line.endpoint);
    let (key, open) =
        (source_towards(address, None).expect("a way"), Arc::downgrade(&endpoints.open));
    assert!(!endpoint.retire(key, &open), "somebody is here");
    drop(line);
    assert!(endpoint.retire(key, &open));
    let line = endpoints.towards(address, sender).expect("a line");
    assert_ne!(line.local(), endpoint.socket.local(), "a new one");
}
