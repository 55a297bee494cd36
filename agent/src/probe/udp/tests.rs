use super::*;
use std::sync::mpsc;

/// How long a test waits for what must come.
const COMES: Duration = Duration::from_secs(5);

/// Has the kernel stamp, for as long as all tests of this process run.
fn begin_stamping() {
    static KEPT: std::sync::OnceLock<Socket> = std::sync::OnceLock::new();
    if KEPT.get().is_none() && KEPT.set(keep_stamping().expect("this kernel stamps")).is_ok() {
        // It begins to a moment later. No runtime may be at hand.
        let (_never, told) = mpsc::channel::<()>();
        told.recv_timeout(Duration::from_millis(50)).unwrap_or_default();
    }
}

fn loopback() -> StampedUdp {
    begin_stamping();
    StampedUdp::bind("127.0.0.1:0".parse().expect("an address")).expect("a port")
}

/// The next datagram.
async fn received(socket: &StampedUdp, buffer: &mut [u8]) -> Received {
    let next = async {
        loop {
            socket.ready().await.expect("ready");
            while socket.report(&mut [0; 64]).is_some() {}
            if let Some(Ok(received)) = socket.receive(buffer) {
                return received;
            }
        }
    };
    tokio::time::timeout(COMES, next).await.expect("in time")
}

/// The next report.
async fn reported(socket: &StampedUdp, quote: &mut [u8]) -> Report {
    let next = async {
        loop {
            if let Some(report) = socket.report(quote) {
                return report;
            }
            socket.ready().await.expect("ready");
        }
    };
    tokio::time::timeout(COMES, next).await.expect("in time")
}

async fn left(socket: &StampedUdp) -> (u64, Instant) {
    match reported(socket, &mut [0; 64]).await {
        Report::Left { number, at } => (number, at),
        other @ Report::Undelivered { .. } => panic!("{other:?}"),
    }
}

/// An echo in a thread of its own. Of each datagram it tells how long it had it, by the kernel's word.
fn echo(rounds: usize, delay: Duration) -> (SocketAddr, mpsc::Receiver<Duration>) {
    let (ready, is_ready) = mpsc::channel();
    let (held, tells) = mpsc::channel();
    let run = async move {
        let socket = loopback();
        ready.send(socket.local()).expect("waited for");
        let mut buffer = [0; 64];
        for _ in 0..rounds {
            let asked = received(&socket, &mut buffer).await;
            assert_eq!(asked.by, Stamper::Kernel);
            tokio::time::sleep(delay).await;
            socket.send_to(&buffer[..asked.length], asked.source).expect("sent");
            held.send(left(&socket).await.1 - asked.at).expect("waited for");
        }
    };
    drop(std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(run);
    }));
    (is_ready.recv().expect("started"), tells)
}

/// A neighbour that never gives up its turn for less.
async fn burn(turn: Duration) {
    loop {
        let began = Instant::now();
        while began.elapsed() < turn {
            std::hint::spin_loop();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_busy_neighbour_does_not_move_a_figure() {
    const ROUNDS: usize = 30;
    let (address, held) = echo(ROUNDS, Duration::from_millis(2));
    let neighbour = tokio::spawn(burn(Duration::from_millis(3)));
    let socket = loopback();
    let (mut worst, mut latest) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let number = socket.send_to(b"ask", address).expect("sent");
        let (reported, sent_at) = left(&socket).await;
        assert_eq!(reported, number);
        let answer = received(&socket, &mut [0; 64]).await;
        let by_user = Instant::now();
        assert_eq!(answer.by, Stamper::Kernel);
        let held = held.recv().expect("told");
        worst = worst.max((answer.at - sent_at).abs_diff(held));
        latest = latest.max(by_user - answer.at);
    }
    neighbour.abort();
    // Two ways over loopback, within the kernel: microseconds, and a slow machine may be interrupted there too.
    assert!(worst < Duration::from_micros(500), "{worst:?}");
    assert!(latest > Duration::from_millis(1), "the neighbour was in nobody's way: {latest:?}");
    println!("by the kernel's stamps {worst:?} apart at most; by our own up to {latest:?} late");
}

#[tokio::test]
async fn stamps_belong_to_their_datagrams_also_after_a_failure() {
    let (socket, peer) = (loopback(), loopback());
    let mut last = None;
    for round in 0..3 {
        for _ in 0..5 {
            let before = Instant::now();
            let number = socket.send_to(b"x", peer.local()).expect("sent");
            let (reported, at) = left(&socket).await;
            assert_eq!(reported, number, "round {round}");
            assert!(Some(number) > last, "numbers are never used again");
            assert!(at + Duration::from_micros(100) >= before && at <= Instant::now());
            last = Some(number);
        }
        // Larger than any datagram; and a place that has no route from loopback.
        let error = socket.send_to(&[0; 70_000], peer.local()).expect_err("too large");
        assert_eq!(error.raw_os_error(), Some(Errno::EMSGSIZE as i32));
        let nowhere = "192.0.2.1:9".parse().expect("an address");
        socket.send_to(b"x", nowhere).expect_err("no way from there");
    }
}

#[tokio::test]
async fn what_the_network_says_is_said_of_the_datagram_alone() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(socket) = StampedUdp::bind(local.parse().expect("an address")) else {
            eprintln!("skipped: no {local} here");
            continue;
        };
        let peer = StampedUdp::bind(local.parse().expect("an address")).expect("a port");
        let closed = StampedUdp::bind(local.parse().expect("an address")).expect("a port").local();
        socket.send_to(b"is anybody there?", closed).expect("leaves");
        // The pending error is that of the datagram before, and costs this one nothing.
        let number = socket.send_to(b"hello", peer.local()).expect("leaves");
        let mut buffer = [0; 64];
        assert_eq!(received(&peer, &mut buffer).await.length, 5);
        let (mut refused, mut stamped) = (false, false);
        while !(refused && stamped) {
            match reported(&socket, &mut buffer).await {
                Report::Left { number: of, .. } => stamped |= of == number,
                Report::Undelivered { to, error, quoted } => {
                    assert_eq!((to, &buffer[..quoted]), (closed, &b"is anybody there?"[..]));
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
                    refused = true;
                }
            }
        }
    }
}

#[tokio::test]
async fn what_the_kernel_drops_is_counted() {
    let (socket, peer) = (loopback(), loopback());
    let mut buffer = vec![0; 1 << 16];
    let mut dropped = None;
    // More than any buffer holds; what comes after is told how many were lost before.
    for _ in 0..400 {
        peer.send_to(&[0; 60_000], socket.local()).expect("leaves");
    }
    while let Ok(received) =
        tokio::time::timeout(Duration::from_millis(100), received(&socket, &mut buffer)).await
    {
        dropped = received.dropped.or(dropped);
    }
    assert_eq!(dropped, None, "these were there before anything was lost");
    peer.send_to(b"last", socket.local()).expect("leaves");
    let last = received(&socket, &mut buffer).await;
    assert!(last.dropped.is_some_and(|dropped| dropped > 100), "{last:?}");
}
