//! Attempts over loopback: what only sockets can show. Calls against real peers: `tests/e2e/sip.rs`.

mod streams;

use crate::policy::{Permission, Policy};
use crate::probe::{Attempt, Environment, Outcome, Probe, Sample};
use crate::respond::SipResponder;
use probefleet_proto::name::{FailureClass, InvalidReason};
use probefleet_proto::yaml::{Document, Problems};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Attempts in tests are this long, unless they are about time.
const TIMEOUT: Duration = Duration::from_secs(5);
/// By so much everything may be late here, where many tests run at once.
const BUSY_SLACK: Duration = Duration::from_secs(1);

fn build(block: &str) -> Probe {
    let document = Document::parse("plan.yaml", block).expect("is YAML");
    let mut problems = Problems::new("plan.yaml");
    let probe = Probe::build("sip", &document.root, &mut problems);
    problems.into_result(probe).expect(block)
}

fn anywhere() -> Environment {
    Environment::new(Permission::Anywhere)
}

fn within(policy: &str) -> Environment {
    Environment::new(Permission::Policy(Policy::parse("policy", policy).expect("valid")))
}

async fn run_in(environment: &Environment, block: &str, timeout: Duration) -> Sample {
    let started = Instant::now();
    let attempt = Attempt { started, deadline: started + timeout, detailed: true };
    let sample = build(block).attempt(environment, attempt).await;
    assert!(started.elapsed() < timeout + BUSY_SLACK, "took {:?}", started.elapsed());
    assert_eq!(sample.phases_ns.last().expect("total").0, "total");
    sample
}

/// A responder, and where it is.
async fn responder(ring_ms: u64) -> (SocketAddr, JoinHandle<()>) {
    let address = "127.0.0.1:0".parse().expect("an address");
    let responder =
        SipResponder::bind(address, Duration::from_millis(ring_ms)).await.expect("a port");
    let address = responder.address().expect("bound");
    (address, tokio::spawn(responder.serve(std::future::pending())))
}

fn code(sample: &Sample) -> (Outcome, Option<&str>) {
    (sample.outcome, sample.code.as_deref())
}

const CALL: &str = "mode: call, hold: 50ms";

#[tokio::test]
async fn a_call_to_our_own_responder_is_ok() {
    let (address, _running) = responder(30).await;
    for host in [address.to_string(), format!("localhost:{}", address.port())] {
        let sample =
            run_in(&anywhere(), &format!("{{uri: 'sip:echo@{host}', {CALL}}}"), TIMEOUT).await;
        assert_eq!(code(&sample), (Outcome::Ok, Some("sip:200")), "{sample:?}");
        let phases: Vec<&str> = sample.phases_ns.iter().map(|(phase, _)| phase.as_ref()).collect();
        let expected = [
            "trying",
            "session_request_delay",
            "time_to_answer",
            "session_disconnect_delay",
            "total",
        ];
        let resolved = usize::from(host.starts_with("localhost"));
        assert_eq!(phases[resolved..], expected);
        assert_eq!(&phases[..resolved], &["resolve"][..resolved]);
        let answer = sample.phases_ns[resolved + 2].1;
        assert!((30_000_000..1_000_000_000).contains(&answer), "{sample:?}");
        assert!(!sample.detail.contains_key("teardown_failed"), "{sample:?}");
    }
}

#[tokio::test]
async fn a_call_goes_by_ipv6_too() {
    let address = "[::1]:0".parse().expect("an address");
    let Ok(responder) = SipResponder::bind(address, Duration::ZERO).await else {
        eprintln!("skipped: no IPv6 here");
        return;
    };
    let address = responder.address().expect("bound");
    let _running = tokio::spawn(responder.serve(std::future::pending()));
    let sample =
        run_in(&anywhere(), &format!("{{uri: 'sip:echo@{address}', {CALL}, ip: 6}}"), TIMEOUT)
            .await;
    assert_eq!(code(&sample), (Outcome::Ok, Some("sip:200")), "{sample:?}");
    assert_eq!(sample.detail["address"], address.to_string());
    assert!(
        sample.detail["media"].as_str().is_some_and(|media| media.contains("at ::1 port")),
        "{sample:?}"
    );
    assert!(!sample.detail.contains_key("seen_as"), "{sample:?}");
}

#[tokio::test]
async fn a_responder_for_everybody_says_where_it_is() {
    // Bound to every address, it names the one that the caller has reached.
    let address = "0.0.0.0:0".parse().expect("an address");
    let responder = SipResponder::bind(address, Duration::ZERO).await.expect("a port");
    let port = responder.address().expect("bound").port();
    let _running = tokio::spawn(responder.serve(std::future::pending()));
    let environment = within(&format!("allow: [{{kind: sip, to: '127.0.0.1:{port}'}}]"));
    let sample =
        run_in(&environment, &format!("{{uri: 'sip:echo@127.0.0.1:{port}', {CALL}}}"), TIMEOUT)
            .await;
    assert_eq!(code(&sample), (Outcome::Ok, Some("sip:200")), "{sample:?}");
}

#[tokio::test]
async fn a_closed_port_refuses_at_once() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound");
    drop(socket);
    for mode in ["mode: options", CALL] {
        let began = Instant::now();
        let sample =
            run_in(&anywhere(), &format!("{{uri: 'sip:a@{address}', {mode}}}"), TIMEOUT).await;
        let expected = (Outcome::Failed(FailureClass::Refused), Some("econnrefused"));
        assert_eq!(code(&sample), expected, "{sample:?}");
        assert!(began.elapsed() < Duration::from_millis(400), "before it is sent again");
    }
}

#[tokio::test]
async fn a_flood_of_garbage_holds_up_no_deadline() {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port"));
    let address = socket.local_addr().expect("bound");
    let done = Arc::new(AtomicBool::new(false));
    let (flooding, stop) = (Arc::clone(&socket), Arc::clone(&done));
    // A thread of its own: on one runtime both would wait for each other.
    let flood = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut buffer = [0; 2_048];
            let (_, peer) = socket.recv_from(&mut buffer).await.expect("a request");
            while !stop.load(Ordering::Relaxed) {
                drop(flooding.try_send_to(&[b'x'; 600], peer));
            }
        });
    });
    let timeout = Duration::from_millis(400);
    let sample = run_in(&anywhere(), &format!("uri: sip:a@{address}"), timeout).await;
    done.store(true, Ordering::Relaxed);
    flood.join().expect("ends");
    // As long as this machine could take all of it, nobody but the other side was silent.
    let silent = (Outcome::Failed(FailureClass::Timeout), Some("options"));
    let deaf = (Outcome::Invalid(InvalidReason::AgentOverload), Some("rx_overflow"));
    assert!([silent, deaf].contains(&code(&sample)), "{sample:?}");
    let discarded = sample.detail["discarded"].as_u64().expect("a count");
    assert!(discarded > 100, "{sample:?}");
}

/// An attempt that is answered among more than its socket holds, while the agent has no turn: by whom it was asked of, or
/// by somebody else. The answer is lost.
async fn flooded(by_whom_it_asks: bool) -> Sample {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound");
    socket.set_read_timeout(Some(TIMEOUT)).expect("can");
    let environment = anywhere();
    let block = format!("uri: sip:a@{address}");
    let timeout = Duration::from_millis(900);
    let attempt = run_in(&environment, &block, timeout);
    let flood = async {
        let mut buffer = [0; 2_048];
        while socket.set_nonblocking(true).is_ok() && socket.peek(&mut buffer).is_err() {
            tokio::task::yield_now().await;
        }
        let (_, caller) = socket.recv_from(&mut buffer).expect("a request");
        let flooder = if by_whom_it_asks { &socket } else { &stranger };
        for _ in 0..20_000 {
            drop(flooder.send_to(&[b'x'; 1_000], caller));
        }
        // Something that still arrives tells how much did not.
        tokio::time::sleep(Duration::from_millis(100)).await;
        flooder.send_to(b"y", caller).expect("sent");
    };
    tokio::join!(attempt, flood).0
}

#[tokio::test]
async fn an_answer_that_this_machine_dropped_is_nobodys_fault() {
    let sample = flooded(false).await;
    let expected = (Outcome::Invalid(InvalidReason::AgentOverload), Some("rx_overflow"));
    assert_eq!(code(&sample), expected, "{sample:?}");
}

#[tokio::test]
async fn who_floods_is_not_forgiven_his_silence() {
    let sample = flooded(true).await;
    let expected = (Outcome::Failed(FailureClass::Timeout), Some("options"));
    assert_eq!(code(&sample), expected, "{sample:?}");
}

#[tokio::test]
async fn a_busy_neighbour_does_not_move_a_delay() {
    // The responder rings for 30 ms, in a thread of its own; beside the caller something takes 20 ms at a time.
    let (told, address) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let responding = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let address = "127.0.0.1:0".parse().expect("an address");
            let responder =
                SipResponder::bind(address, Duration::from_millis(30)).await.expect("a port");
            told.send(responder.address().expect("bound")).expect("waited for");
            responder.serve(async { stopped.await.unwrap_or_default() }).await;
        });
    });
    let address = address.recv().expect("started");
    let neighbour = tokio::spawn(async {
        loop {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(20) {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
        }
    });
    let environment = anywhere();
    build(&format!("uri: 'sip:echo@{address}'")).prepare(&environment);
    // The kernel begins to stamp a moment later.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut disconnects = Vec::new();
    for _ in 0..10 {
        let block = format!("{{uri: 'sip:echo@{address}', mode: call, hold: 5ms}}");
        let sample = run_in(&environment, &block, TIMEOUT).await;
        assert_eq!(code(&sample), (Outcome::Ok, Some("sip:200")), "{sample:?}");
        assert_eq!(sample.detail["timestamps"], "kernel", "{sample:?}");
        let phase = |name| sample.phases_ns.iter().find(|(phase, _)| phase == name);
        disconnects.push(phase("session_disconnect_delay").expect("measured").1);
    }
    neighbour.abort();
    stop.send(()).expect("running");
    responding.join().expect("ends");
    disconnects.sort_unstable();
    // The responder answers a BYE at once, as soon as it has its turn; by our own stamps half would take 10 ms and more.
    assert!(disconnects[5] < 5_000_000, "{disconnects:?}");
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let (address, _running) = responder(0).await;
    for (mode, phase) in [("mode: options", "options"), (CALL, "invite")] {
        let timeout = Duration::from_millis(700);
        let block = format!("{{uri: 'sip:silent@{address}', {mode}}}");
        let sample = run_in(&anywhere(), &block, timeout).await;
        assert_eq!(
            code(&sample),
            (Outcome::Failed(FailureClass::Timeout), Some(phase)),
            "{sample:?}"
        );
        assert_eq!(sample.detail["retransmits"], 1);
        assert_eq!(sample.phases_ns.len(), 1, "no delay but total: {sample:?}");
        assert!(sample.phases_ns[0].1 >= 700_000_000);
    }
}

#[tokio::test]
async fn a_denied_target_sees_no_packet() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    for to in ["any", "10.0.0.0/8", "sbc.example", "'127.0.0.1:1'"] {
        let environment = within(&format!("allow: [{{kind: sip, to: {to}}}]"));
        for host in ["127.0.0.1", "localhost", "0x7f.1", "[::ffff:127.0.0.1]"] {
            let block = format!("uri: 'sip:a@{host}:{}'", address.port());
            let sample = run_in(&environment, &block, TIMEOUT).await;
            let expected = (Outcome::Invalid(InvalidReason::PolicyDenied), Some("target"));
            assert_eq!(code(&sample), expected, "{to} {host}: {sample:?}");
        }
    }
    let mut buffer = [0; 100];
    assert!(socket.try_recv(&mut buffer).is_err(), "nothing came");
}

#[tokio::test]
async fn a_policys_limits_on_calls_are_kept() {
    let (address, _running) = responder(100).await;
    let call = format!("{{uri: 'sip:echo@{address}', {CALL}}}");
    let denied = |code: &'static str| (Outcome::Invalid(InvalidReason::PolicyDenied), Some(code));

    let environment = within("allow: [{kind: sip, to: 127.0.0.1, concurrent: 1, hold: 1s}]");
    let (first, second) =
        tokio::join!(run_in(&environment, &call, TIMEOUT), run_in(&environment, &call, TIMEOUT));
    assert_eq!(code(&first), (Outcome::Ok, Some("sip:200")), "{first:?}");
    assert_eq!(code(&second), denied("concurrent"), "{second:?}");
    let third = run_in(&environment, &call, TIMEOUT).await;
    assert_eq!(third.outcome, Outcome::Ok, "a call that has ended makes room: {third:?}");
    let long = format!("{{uri: 'sip:echo@{address}', mode: call, hold: 1100ms}}");
    assert_eq!(code(&run_in(&environment, &long, TIMEOUT).await), denied("hold"));
    let asked = run_in(&environment, &format!("uri: sip:echo@{address}"), TIMEOUT).await;
    assert_eq!(asked.outcome, Outcome::Ok, "OPTIONS is no call: {asked:?}");

    let environment = within("allow: [{kind: sip, to: 127.0.0.1, calls_per_hour: 2}]");
    for expected in
        [(Outcome::Ok, Some("sip:200")), (Outcome::Ok, Some("sip:200")), denied("calls_per_hour")]
    {
        let sample = run_in(&environment, &call, TIMEOUT).await;
        assert_eq!(code(&sample), expected, "{sample:?}");
    }
}

#[tokio::test]
async fn a_call_leads_nowhere_that_the_policy_forbids() {
    // The peer answers, and names a Contact elsewhere.
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    let elsewhere = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let port = elsewhere.local_addr().expect("bound").port();
    let peer = tokio::spawn(async move {
        let mut buffer = [0; 2_048];
        let (length, source) = socket.recv_from(&mut buffer).await.expect("an INVITE");
        let invite = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let repeated = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let lines =
            invite.lines().filter(|line| repeated.iter().any(|name| line.starts_with(name)));
        let lines: Vec<String> = lines.map(|line| format!("{line}\r\n")).collect();
        let ok = format!(
            "SIP/2.0 200 OK\r\n{}Contact: <sip:a@127.0.0.1:{port}>\r\n\r\n",
            lines.concat()
        );
        socket.send_to(ok.as_bytes(), source).await.expect("sent");
        let mut methods = Vec::new();
        for _ in 0..2 {
            let (length, _) = socket.recv_from(&mut buffer).await.expect("a request");
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            methods.push(text.split(' ').next().unwrap_or_default().to_owned());
        }
        methods
    });
    let environment = within(&format!("allow: [{{kind: sip, to: '{address}'}}]"));
    let sample =
        run_in(&environment, &format!("{{uri: 'sip:a@{address}', {CALL}}}"), TIMEOUT).await;
    assert_eq!(
        code(&sample),
        (Outcome::Invalid(InvalidReason::PolicyDenied), Some("target")),
        "{sample:?}"
    );
    let methods = tokio::time::timeout(TIMEOUT, peer).await.expect("in time").expect("no panic");
    assert_eq!(methods, ["ACK", "BYE"], "the call is ended the way it was made");
    let mut buffer = [0; 100];
    assert!(elsewhere.try_recv(&mut buffer).is_err(), "nothing came there");
}

#[tokio::test]
async fn a_call_that_is_dropped_is_ended() {
    let (address, _running) = responder(20).await;
    let environment = within("allow: [{kind: sip, to: 127.0.0.1, concurrent: 1}]");
    let block = format!("{{uri: 'sip:echo@{address}', mode: call, hold: 2s}}");
    let dropped =
        tokio::time::timeout(Duration::from_millis(300), run_in(&environment, &block, TIMEOUT));
    assert!(dropped.await.is_err(), "dropped in the middle of the call");
    environment.settle().await;
    let next =
        run_in(&environment, &format!("{{uri: 'sip:echo@{address}', {CALL}}}"), TIMEOUT).await;
    assert_eq!(next.outcome, Outcome::Ok, "no call is up any more: {next:?}");
}
