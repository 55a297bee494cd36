//! Connections over loopback, plain and private.

mod private;

use super::*;
use crate::policy::Permission;
use crate::probe::Outcome;
use crate::probe::sip::spec::Spec;
use probefleet_proto::yaml::{Document, Problems};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How long a test waits for what must come.
const COMES: Duration = Duration::from_secs(5);
const OK: &str = "SIP/2.0 200 OK\r\nCall-ID: x\r\nContent-Length: 2\r\n\r\nhi";

fn spec(block: &str) -> Spec {
    let document = Document::parse("plan.yaml", block).expect("is YAML");
    let mut problems = Problems::new("plan.yaml");
    let spec = Spec::decode(&document.root, &mut problems);
    problems.into_result(spec).expect(block)
}

fn limit() -> Limit {
    Limit { deadline: Instant::now() + COMES, phase: "invite" }
}

fn server(address: SocketAddr, transport: Transport) -> Server {
    // A server of that domain, by a name of its own.
    let name = Hop { host: "edge.sip.example".to_owned(), port: 5_060, transport };
    Server { address, name, domain: "sip.example".to_owned() }
}

fn request(index: usize, transport: Transport) -> Outgoing {
    let bytes = b"OPTIONS sip:a SIP/2.0\r\nCall-ID: x\r\nContent-Length: 0\r\n\r\n".to_vec();
    Outgoing { way: Way::Target(index), transport, bytes, stamp: None }
}

/// Opened to the first of these servers, which may be asked.
async fn opened(servers: Vec<Server>) -> (Links, Result<SocketAddr, Failure>) {
    let (spec, environment) =
        (spec("uri: sip:sip.example"), Environment::new(Permission::Anywhere));
    let mut links = Links::new(servers);
    let dialler = Dialler { spec: &spec, environment: &environment };
    let local = links.open_first(dialler, limit()).await;
    (links, local)
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// A connection, and its other end.
async fn connected() -> (Links, TcpStream) {
    let (listener, address) = listener().await;
    let (mut links, local) = opened(vec![server(address, Transport::Tcp)]).await;
    let (stream, peer) = listener.accept().await.expect("a connection");
    assert_eq!(local.expect("opened"), peer, "this side names the connection's own port");
    let asked = request(0, Transport::Tcp);
    let index = links.known(&asked).expect("is open");
    assert!(matches!(links.send(index, &asked, "invite"), Ok(Sent::Stream)));
    (links, stream)
}

async fn next(links: &mut Links) -> Happened {
    tokio::time::timeout(COMES, links.next("invite")).await.expect("in time")
}

async fn message(links: &mut Links) -> String {
    let Happened::Came { bytes, source, by, .. } = next(links).await else { panic!("a message") };
    assert_eq!((source.transport, by), (Transport::Tcp, Stamper::User));
    String::from_utf8(bytes.into()).expect("is text")
}

async fn lost(links: &mut Links) -> Failure {
    match next(links).await {
        Happened::Lost(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn messages_come_whole_however_they_are_cut() {
    let (mut links, mut peer) = connected().await;
    peer.set_nodelay(true).expect("can");
    assert_eq!(links.opened().iter().map(|(phase, _)| *phase).collect::<Vec<_>>(), ["connect"]);
    peer.write_all(format!("{OK}{OK}").as_bytes()).await.expect("written");
    assert_eq!((message(&mut links).await, message(&mut links).await), (OK.into(), OK.into()));
    let slowly = async {
        for byte in OK.as_bytes() {
            peer.write_all(&[*byte]).await.expect("written");
            tokio::task::yield_now().await;
        }
    };
    let (came, ()) = tokio::join!(message(&mut links), slowly);
    assert_eq!(came, OK);
    // What is asked by a connection is answered by it.
    links.answer(b"SIP/2.0 481 x\r\nContent-Length: 0\r\n\r\n");
    let mut read = vec![0; 4_096];
    let mut told = String::new();
    while !told.contains("481 x") {
        let length = peer.read(&mut read).await.expect("read");
        assert!(length > 0, "{told}");
        told.push_str(&String::from_utf8_lossy(&read[..length]));
    }
    assert!(told.starts_with("OPTIONS sip:a SIP/2.0\r\n"), "{told}");
}

#[tokio::test]
async fn a_keep_alive_is_answered() {
    let (mut links, mut peer) = connected().await;
    let mut request = vec![0; request(0, Transport::Tcp).bytes.len()];
    peer.read_exact(&mut request).await.expect("the request");
    peer.write_all(b"\r\n\r\n").await.expect("written");
    peer.write_all(OK.as_bytes()).await.expect("written");
    message(&mut links).await;
    let mut pong = [0; 2];
    let came = tokio::time::timeout(COMES, peer.read_exact(&mut pong)).await;
    came.expect("in time").expect("read");
    assert_eq!(&pong, b"\r\n");
}

#[tokio::test]
async fn a_connection_that_ends_is_told_and_asked_no_more() {
    for (how, class, code) in [
        ("end", FailureClass::Closed, "eof"),
        ("within", FailureClass::Closed, "eof"),
        ("reset", FailureClass::Closed, "econnreset"),
        ("lengthless", FailureClass::Protocol, "no_content_length"),
        ("stranger", FailureClass::Protocol, "not_sip"),
    ] {
        let (mut links, mut peer) = connected().await;
        match how {
            "within" => peer.write_all(&OK.as_bytes()[..30]).await.expect("written"),
            "reset" => socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("can"),
            "lengthless" => peer.write_all(b"SIP/2.0 200 OK\r\n\r\n").await.expect("written"),
            "stranger" => peer.write_all(b"SSH-2.0-x\r\n").await.expect("written"),
            _ => {
                // Read to its end, so that closing is no reset.
                let mut request = vec![0; request(0, Transport::Tcp).bytes.len()];
                peer.read_exact(&mut request).await.expect("the request");
            }
        }
        if how == "within" {
            peer.shutdown().await.expect("can");
        } else if how != "lengthless" && how != "stranger" {
            drop(peer);
        }
        let failure = lost(&mut links).await;
        assert_eq!(failure.outcome, Outcome::Failed(class), "{how}: {failure:?}");
        assert_eq!(failure.code.as_deref(), Some(code), "{how}");
        let again = request(0, Transport::Tcp);
        assert_eq!(links.known(&again), None, "{how}: it is to be opened anew");
        let failure = links.send(0, &again, "invite").expect_err("closed");
        assert_eq!(failure.outcome, Outcome::Failed(FailureClass::Closed), "{how}: {failure:?}");
    }
}

#[tokio::test]
async fn each_server_has_a_way_of_its_own() {
    let (closed, nobody) = listener().await;
    drop(closed);
    let (_first, first) = listener().await;
    let (_second, second) = listener().await;
    let servers = [first, second, nobody].map(|address| server(address, Transport::Tcp));
    let (mut links, local) = opened(servers.to_vec()).await;
    local.expect("the first");
    let (spec, environment) = (spec("uri: sip:a@h"), Environment::new(Permission::Anywhere));
    let dialler = Dialler { spec: &spec, environment: &environment };
    let ways: Vec<Option<usize>> =
        (0..3).map(|index| links.known(&request(index, Transport::Tcp))).collect();
    assert_eq!(ways, [Some(0), None, None]);
    let next = links.server(1).expect("known");
    let way = links.open(next, dialler, limit()).await.expect("opened");
    assert_eq!(links.known(&request(1, Transport::Tcp)), Some(way));
    let next = links.server(2).expect("known");
    let failure = links.open(next, dialler, limit()).await.expect_err("refused");
    assert_eq!(failure.outcome, Outcome::Failed(FailureClass::Refused));
    assert_eq!(links.known(&request(2, Transport::Tcp)), None);

    let (_, local) = opened(vec![server(nobody, Transport::Tcp)]).await;
    assert_eq!(local.expect_err("refused").outcome, Outcome::Failed(FailureClass::Refused));
}

#[tokio::test]
async fn datagrams_and_connections_to_one_server_stand_side_by_side() {
    let (_listener, address) = listener().await;
    let (mut links, local) = opened(vec![server(address, Transport::Udp)]).await;
    local.expect("opened");
    assert!(links.known(&request(0, Transport::Udp)).is_some() && links.opened().is_empty());
    let large = request(0, Transport::Tcp);
    assert_eq!(links.known(&large), None, "too large for a datagram");
    let (spec, environment) = (spec("uri: sip:a@h"), Environment::new(Permission::Anywhere));
    let dialler = Dialler { spec: &spec, environment: &environment };
    let opened = links.open(server(address, Transport::Tcp), dialler, limit()).await;
    let link = opened.expect("opened");
    assert_eq!(links.known(&large), Some(link));
    let hop = Hop { host: "EDGE.sip.example".to_owned(), port: 5_060, transport: Transport::Udp };
    let within = Outgoing { way: Way::Hop(hop), ..request(0, Transport::Tcp) };
    assert_eq!(links.known(&within), Some(link), "by its name too");
}

#[tokio::test]
async fn who_takes_nothing_is_not_written_to_for_ever() {
    let (mut links, _peer) = connected().await;
    let mut large = request(0, Transport::Tcp);
    large.bytes = vec![b'x'; 60_000];
    let failure = (0..1_000).find_map(|_| links.send(0, &large, "invite").err());
    let failure = failure.expect("the buffers of both machines are full at some time");
    assert_eq!(failure.outcome, Outcome::Failed(FailureClass::Closed), "{failure:?}");
}
