//! Agents that mean harm, and strangers, before a real collector with mutual TLS: each is refused, costs little, and an agent
//! beside it goes on being acknowledged.
//!
//! What is said of processor time and latency holds for an unoptimised collector on a machine that does other things too,
//! so it is asserted with room, and printed as it was.

use harness::fleet::Fleet;
use harness::floods::FrameFlood;
use harness::frames::{END_HEADERS, HEADERS, call, flood, frame, message, preface};
use harness::process::{eventually, rss_most_bytes};
use harness::secure::{Authority, Speaker, Spool, dial, secure, small_report};
use probefleet_proto::histogram::varint::write_varint;
use probefleet_proto::record::Kind;
use probefleet_proto::report::{self, Cell, Head, Series};
use probefleet_proto::v1;
use probefleet_proto::v1::from_agent::Message as Up;
use probefleet_proto::v1::nack::Code;
use probefleet_proto::v1::to_agent::Message as Down;
use prost::Message as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;

/// How long a flood goes on that nobody stops.
const FLOOD: Duration = Duration::from_secs(3);
/// What one of them may cost in memory: two mebibytes of its own, and what an honest connection with the largest message takes
/// (measured first, in the same run: TLS, windows of HTTP/2, a message that is being put together and decoded).
const GROWTH_MAX_BYTES: u64 = 2 << 20;
/// How much longer the slowest of a hundred acknowledgements may take beside a flood: on this machine the flood itself takes
/// one core of two, and so do neighbours.
const P99_FACTOR: u32 = 5;
const P99_SLACK: Duration = Duration::from_millis(200);

/// The kernel counts processor time in these: what takes a few milliseconds may seem to take one (proc(5), stat).
const TICK: Duration = Duration::from_millis(10);
/// However busy the machine is, who is honest is acknowledged.
const ACKNOWLEDGED: Duration = Duration::from_secs(5);
const GOOD: Ipv4Addr = Ipv4Addr::LOCALHOST;
const EVIL: Ipv4Addr = Ipv4Addr::new(127, 0, 6, 66);

/// A collector, and an agent that delivers a record every 10 ms.
struct Scene {
    fleet: Fleet,
    authority: Authority,
    to: SocketAddr,
    portal: String,
    runtime: tokio::runtime::Runtime,
    acks: Arc<Mutex<Vec<(Instant, Duration)>>>,
    stop: Arc<AtomicBool>,
    good: Option<std::thread::JoinHandle<anyhow::Result<()>>>,
}

impl Scene {
    fn new() -> Self {
        let mut fleet = Fleet::new(
            "probes:\n  - {name: web, every: 10s, http: {url: 'http://127.0.0.1:9/'}}\n",
            &[],
        );
        let authority = Authority::of(&fleet);
        let addresses = fleet.start_collector();
        let to = addresses.agents.parse().expect("an address");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let (acks, stop) = (Arc::default(), Arc::default());
        let portal = addresses.portal;
        let runtime = runtime.expect("a runtime");
        let mut scene = Self { fleet, authority, to, portal, runtime, acks, stop, good: None };
        scene.good = Some(scene.start_good());
        scene
    }

    /// It has a thread of its own, so that what it measures is the collector and not the flood beside it.
    fn start_good(&self) -> std::thread::JoinHandle<anyhow::Result<()>> {
        let (to, acks, stop) = (self.to, Arc::clone(&self.acks), Arc::clone(&self.stop));
        let agent = Uuid::from_u128(1);
        let config = self.authority.agent(agent);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let stream = secure(to, GOOD, &config).await?;
                let mut speaker = Speaker::open(stream, Spool::of(agent)).await?;
                while !stop.load(Ordering::Relaxed) {
                    let took = speaker.deliver(small_report(speaker.spool.next_seq)).await?;
                    acks.lock().expect("no panic").push((Instant::now(), took));
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Ok(())
            })
        })
    }

    fn p99_since(&self, since: Instant) -> Duration {
        let acks = self.acks.lock().expect("no panic");
        let mut took: Vec<Duration> =
            acks.iter().filter(|(at, _)| *at >= since).map(|(_, took)| *took).collect();
        assert!(!took.is_empty(), "no acknowledgement since {:?}", since.elapsed());
        took.sort();
        took[(took.len() - 1) * 99 / 100]
    }

    fn rss_bytes(&self) -> u64 {
        self.fleet.collector.as_ref().expect("runs").rss_bytes()
    }

    /// A connection of an agent that means harm.
    async fn evil(&self, number: u128) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
        let config = self.authority.agent(Uuid::from_u128(0xe_0000 + number));
        secure(self.to, EVIL, &config).await.expect("it has a certificate")
    }

    async fn evil_session(&self, number: u128) -> Speaker {
        let spool = Spool::of(Uuid::from_u128(0xe_0000 + number));
        Speaker::open(self.evil(number).await, spool).await.expect("a session")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.fleet.dir().join("collector.log")).expect("written")
    }

    /// A counter of `/metrics`.
    fn counted(&self, name: &str) -> u64 {
        let (_, text) = harness::fleet::get(&self.portal, "/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse::<f64>().expect("a number") as u64)
    }

    /// Does something, and gives what it came to and what most it took of memory.
    fn watch<T>(&self, name: &str, act: impl Future<Output = T>) -> (T, Cost) {
        let collector = self.fleet.collector.as_ref().expect("runs");
        // proc(5): resets the peak to what is resident now.
        std::fs::write(format!("/proc/{}/clear_refs", collector.pid()), "5").expect("is ours");
        let (rss, cpu, began) = (self.rss_bytes(), collector.cpu(), Instant::now());
        let outcome = self.runtime.block_on(act);
        // At least one acknowledgement lies wholly behind it.
        let done = Instant::now();
        let behind = || {
            let acks = self.acks.lock().expect("no panic");
            acks.last().filter(|(at, took)| *at >= done + *took).map(drop)
        };
        eventually(ACKNOWLEDGED, behind).expect("who is honest is acknowledged");
        let most = rss_most_bytes(collector.pid()).expect("runs");
        let used = (collector.cpu() - cpu).saturating_sub(TICK);
        let cores = used.as_secs_f64() / began.elapsed().as_secs_f64();
        let cost =
            Cost { growth_bytes: most.saturating_sub(rss), cores, p99: self.p99_since(began) };
        println!(
            "{name:<34} {:>6.0} KiB {:>5.2} cores, acknowledged beside it within {:>5.1} ms",
            cost.growth_bytes as f64 / 1_024.0,
            cost.cores,
            cost.p99.as_secs_f64() * 1e3
        );
        (outcome, cost)
    }
}

#[derive(Clone, Copy, Debug)]
struct Cost {
    growth_bytes: u64,
    cores: f64,
    p99: Duration,
}

/// What is normal here.
struct Normal {
    growth_bytes: u64,
    p99: Duration,
}

impl Normal {
    fn of(scene: &Scene) -> Self {
        let first = || (!scene.acks.lock().expect("no panic").is_empty()).then_some(());
        eventually(Duration::from_secs(20), first).expect("the agent delivers");
        let began = Instant::now();
        std::thread::sleep(Duration::from_secs(1));
        let p99 = scene.p99_since(began);
        let (_, cost) = scene.watch("an honest agent, 192 KiB at once", async {
            let mut speaker = scene.evil_session(99).await;
            let report = v1::Report { plan_hash: vec![0; 64 << 10], ..v1::Report::default() };
            let report = report.encode_to_vec();
            let records =
                (0..3).map(|_| speaker.spool.seal(Kind::Report, report.clone())).collect();
            speaker.send(records).await.expect("a session");
            speaker.answer().await.expect("an answer")
        });
        Self { growth_bytes: cost.growth_bytes, p99 }
    }

    fn judge(&self, name: &str, cost: Cost) {
        let most = GROWTH_MAX_BYTES + self.growth_bytes;
        assert!(cost.growth_bytes <= most, "{name}: {cost:?}, at most {most} bytes");
        assert!(cost.cores < 1.5, "{name}: {cost:?}");
        assert!(cost.p99 <= self.p99 * P99_FACTOR + P99_SLACK, "{name}: {cost:?}, {:?}", self.p99);
    }
}

/// The bombs of HdrHistogram's decoders, said in our encoding; the last are our own.
fn histogram_bombs() -> Vec<(&'static str, Vec<u8>)> {
    let varints = |numbers: &[u64]| {
        let mut bytes = Vec::new();
        numbers.iter().for_each(|number| write_varint(&mut bytes, *number));
        bytes
    };
    vec![
        ("2^31 buckets, none there", varints(&[1 << 31])),
        ("2^64 - 1 buckets, none there", varints(&[u64::MAX])),
        ("a bucket at 2^63", varints(&[1, u64::MAX - 1])),
        ("a bucket behind the last", varints(&[2, 33_420 * 2, 0])),
        ("a count of 2^64 - 1", varints(&[1, 1, u64::MAX - 2])),
        ("counts whose sum overflows", varints(&[3, 1, 1 << 63, 1, 1 << 63, 1, 1 << 63])),
        ("100 KiB of zero counts", [varints(&[100 << 10]), vec![0; 100 << 10]].concat()),
        ("a number that is too long", [vec![0x80; 20], vec![1]].concat()),
        ("a number that is cut off", vec![0xff; 3]),
        ("a number that is not minimal", vec![0x81, 0x80, 0x00]),
    ]
}

/// A report whose only histogram is of those bytes.
fn with_histogram(bytes: Vec<u8>) -> Vec<u8> {
    let mut series = Series::new("total", &[]);
    series.record(1_000_000);
    let cell = Cell {
        probe: "web".to_owned(),
        spec: [1; 16],
        interval_s: 10,
        scheduled: 1,
        ok: 1,
        others: Vec::new(),
        series: vec![series],
        counters: Vec::new(),
        values: Vec::new(),
    };
    let head = Head { window_start_s: 1_800_000_000, window_s: 10, ..Head::default() };
    let report = report::encode(&head, &[cell]).remove(0);
    let mut report = v1::Report::decode(report.as_slice()).expect("ours");
    report.series.as_mut().expect("there is one").histograms = bytes;
    report.encode_to_vec()
}

fn bombs_in_records(scene: &Scene, normal: &Normal) {
    let mut speaker = scene.runtime.block_on(scene.evil_session(1));
    let mut bombs: Vec<_> = histogram_bombs()
        .into_iter()
        .map(|(name, bytes)| (name, Kind::Report, with_histogram(bytes)))
        .collect();
    bombs.push(("128 KiB of nested groups", Kind::Report, vec![0x0b; 128 << 10]));
    bombs.push((
        "a string that ends elsewhere",
        Kind::Report,
        b"\x2a\xff\xff\xff\xff\x0fx".to_vec(),
    ));
    for (name, kind, payload) in bombs {
        let mut spool = speaker.spool;
        let record = spool.seal(kind, payload);
        let (answer, cost) = scene.watch(name, async {
            speaker.send(vec![record]).await.expect("the session goes on");
            speaker.answer().await.expect("the session goes on")
        });
        let Down::Nack(nack) = answer else { panic!("{name}: {answer:?}") };
        assert_eq!((nack.code(), nack.expected_seq), (Code::Poison, 1), "{name}: {nack:?}");
        normal.judge(name, cost);
    }
    // Nothing is wrong with the agent: its next record is taken.
    scene.runtime.block_on(speaker.deliver(small_report(1))).expect("acknowledged");
}

fn bombs_in_messages(scene: &Scene, normal: &Normal) {
    let many = 130_000;
    let record = |payload: Vec<u8>| v1::Record {
        seq: 1,
        seq_to: 1,
        kind: v1::Kind::Report.into(),
        payload,
        ..v1::Record::default()
    };
    let data = |records| Up::Data(v1::Data { session: 1, records });
    let names = v1::Report { names: vec![String::new(); 60_000], ..v1::Report::default() };
    let gap = v1::Gap { probes: vec![v1::GapProbe::default(); 60_000], ..v1::Gap::default() };
    for (number, (name, said)) in [
        ("130,000 empty records", data(vec![v1::Record::default(); many])),
        (
            "130,000 empty probes",
            Up::Status(v1::Status {
                probes: vec![v1::ProbeNow::default(); many],
                ..v1::Status::default()
            }),
        ),
        ("60,000 empty names", data(vec![record(names.encode_to_vec())])),
        ("60,000 empty probes of a gap", data(vec![record(gap.encode_to_vec())])),
        ("a message of 300 KiB", data(vec![record(vec![0; 300 << 10])])),
    ]
    .into_iter()
    .enumerate()
    {
        let mut speaker = scene.runtime.block_on(scene.evil_session(20 + number as u128));
        let (answer, cost) = scene.watch(name, async {
            speaker.say(said).await.expect("a session");
            tokio::time::timeout(FLOOD, speaker.answer()).await
        });
        let ended = answer.unwrap_or_else(|_| panic!("{name}: nobody answers"));
        assert!(ended.is_err(), "{name}: the session ends: {ended:?}");
        normal.judge(name, cost);
    }
}

/// What is said of a call's messages, before anything is decoded.
fn bombs_in_prefixes(scene: &Scene, normal: &Normal) {
    for (number, (name, flag, length, bytes)) in [
        ("a length of 4 GiB", 0, u32::MAX, vec![0; 100]),
        ("a length of 256 KiB and one byte", 0, (256 << 10) + 1, vec![0; 100]),
        ("compressed, though nobody offered", 1, 100, vec![0x1f; 100]),
        ("an unknown flag", 7, 100, vec![0; 100]),
        ("100 KiB of nested groups", 0, 100 << 10, vec![0x0b; 100 << 10]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut first = preface();
        frame(&mut first, HEADERS, END_HEADERS, 1, &call());
        message(&mut first, 1, flag, length, &bytes);
        let (went, cost) = scene.watch(name, async {
            flood(scene.evil(40 + number as u128).await, first, |_| Vec::new(), FLOOD).await
        });
        assert!(went.ended_after.is_some() || went.closed_after.is_some(), "{name}: {went:?}");
        normal.judge(name, cost);
    }
}

/// Frames that mean nothing, without end: the connection is closed.
fn floods_of_frames(scene: &Scene, normal: &Normal) {
    for (number, flood_of) in FrameFlood::ALL.iter().enumerate() {
        let name = flood_of.name;
        let (went, cost) = scene.watch(name, async {
            flood_of.run(scene.evil(60 + number as u128).await, FLOOD).await
        });
        println!("    {went:?}");
        assert!(went.closed_after.is_some(), "{name}: the connection is closed: {went:?}");
        normal.judge(name, cost);
    }
}

/// An agent that is somebody else each time it says Hello: it may begin so many streams, and waits. What is known stays welcome.
fn spools_without_end(scene: &Scene, normal: &Normal) {
    const NAME: &str = "40 sessions, each with a new spool";
    let agent = Uuid::from_u128(0xe_0000 + 90);
    let config = scene.authority.agent(agent);
    let open = async |spool: Spool| {
        let stream = secure(scene.to, EVIL, &config).await.expect("it has a certificate");
        Speaker::greet(stream, spool).await.expect("an answer")
    };
    let ((began, known), cost) = scene.watch(NAME, async {
        let mut began = 0;
        for number in 0..40 {
            // The connection before is gone by then.
            tokio::time::sleep(Duration::from_millis(10)).await;
            match open(Spool::of(Uuid::from_u128(0xf_0000 + number))).await {
                Ok(_) => began += 1,
                Err(nack) => {
                    assert_eq!(nack.code(), Code::Busy, "{nack:?}");
                    assert!((5_000..=600_000).contains(&nack.retry_after_ms), "{nack:?}");
                }
            }
        }
        (began, open(Spool::of(Uuid::from_u128(0xf_0000))).await)
    });
    assert_eq!(began, 8, "at once, and one in ten minutes");
    assert_eq!(known.map(|speaker| speaker.welcome.session), Ok(2), "the first spool is known");
    normal.judge(NAME, cost);
    assert_eq!(scene.counted("probefleet_ingest_streams_refused_total"), 32);
    let store = rusqlite::Connection::open(scene.fleet.store()).expect("opens");
    let sql = "SELECT count(*) FROM stream JOIN agent ON agent.id = agent WHERE uuid = ?1";
    let streams = store.query_row(sql, [agent.as_bytes()], |row| row.get::<_, u32>(0));
    assert_eq!(streams.expect("reads"), 8);
    let (_, told) = harness::fleet::get(&scene.portal, "/readyz");
    assert!(!told.contains("ingest:"), "the store is well: {told}");
    let log = scene.log();
    assert_eq!(log.matches("no new stream for now").count(), 1, "{log}");
}

/// What an agent says of itself becomes no name of anything.
fn invented_words(scene: &Scene) {
    let speaker = scene.runtime.block_on(scene.evil_session(91));
    let fault = |number: u32| v1::Fault {
        what: format!("invented_{}", char::from(b'a' + number as u8)),
        since_s: 1,
        text: "x\ny\u{1b}[2J".to_owned(),
    };
    let said = v1::Status { faults: (0..16).map(fault).collect(), ..v1::Status::default() };
    let error = format!("{}\nINFO forged", "e".repeat(20 << 10));
    scene.runtime.block_on(async {
        speaker.say(Up::Status(said)).await.expect("a session");
        for _ in 0..40 {
            let applied = v1::PlanApplied { hash: vec![1; 32], error: error.clone() };
            speaker.say(Up::PlanApplied(applied)).await.expect("a session");
        }
    });
    let faults = || {
        let (_, text) = harness::fleet::get(&scene.portal, "/metrics");
        let ours = |line: &&str| line.starts_with("probefleet_agent_fault{");
        let lines: Vec<String> = text.lines().filter(ours).map(str::to_owned).collect();
        (!lines.is_empty()).then_some(lines)
    };
    let lines = eventually(ACKNOWLEDGED, faults).expect("the fault is told");
    assert!(lines.len() == 1 && lines[0].contains("fault=\"other\""), "{lines:?}");
    let refused = || {
        let log = scene.log();
        (log.matches("plan refused by the agent").count() == 16).then_some(log)
    };
    let log = eventually(ACKNOWLEDGED, refused).expect("some of them are logged");
    assert!(log.lines().all(|line| line.len() < 4_096), "no line is longer than what is kept");
    assert!(!log.lines().any(|line| line.starts_with("INFO forged")), "nor begins anew");
}

/// An agent that sends as much as it can and reads nothing: what it sends waits where it is.
fn slow_reader(scene: &Scene, normal: &Normal) {
    const NAME: &str = "records, and nobody reads the answers";
    let mut speaker = scene.runtime.block_on(scene.evil_session(70));
    let (sent, cost) = scene.watch(NAME, async {
        let deadline = tokio::time::Instant::now() + FLOOD;
        let mut sent = 0_u32;
        loop {
            let record = speaker.spool.seal(Kind::Report, small_report(u64::from(sent)));
            let sending = speaker.send(vec![record]);
            if !matches!(tokio::time::timeout_at(deadline, sending).await, Ok(Ok(()))) {
                return sent;
            }
            sent += 1;
        }
    });
    println!("    {sent} records were sent");
    normal.judge(NAME, cost);
}

/// Whoever says nothing is not waited for, and keeps nobody out.
fn silence(scene: &Scene, normal: &Normal) {
    let silent = |from: Ipv4Addr| async move {
        let mut stream = dial(scene.to, from).await.expect("the kernel accepts");
        // The beginning of a ClientHello.
        let _taken = stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await;
        let began = Instant::now();
        let mut rest = [0; 64];
        let _closed = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut rest)).await;
        began.elapsed()
    };
    let mut first = preface();
    frame(&mut first, HEADERS, END_HEADERS, 1, &call());
    let name = "800 handshakes that never end";
    let ((went, longest, honest), cost) = scene.watch(name, async {
        let addresses = (0..20).map(|last| Ipv4Addr::new(127, 0, 7, last + 1));
        let held: Vec<_> =
            addresses.flat_map(|from| (0..40).map(move |_| from)).map(silent).collect();
        let held = async {
            let mut longest = Duration::ZERO;
            for one in join_all(held).await {
                longest = longest.max(one);
            }
            longest
        };
        let honest = async {
            // All places are taken by now.
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            let began = Instant::now();
            drop(scene.evil_session(80).await);
            began.elapsed()
        };
        let mute = scene.evil(81).await;
        let mute = flood(mute, first, |_| Vec::new(), Duration::from_secs(13));
        tokio::join!(mute, held, honest)
    });
    println!(
        "    a session without Hello: {went:?}; the longest silence {longest:?}; an honest agent is in after {honest:?}"
    );
    assert!(went.ended_after.is_some_and(|after| after < Duration::from_secs(12)), "{went:?}");
    assert!(longest < Duration::from_secs(12), "{longest:?}");
    assert!(honest < Duration::from_secs(2), "{honest:?}");
    assert!(cost.growth_bytes < 64 << 20, "{cost:?}");
    assert!(cost.p99 <= normal.p99 * P99_FACTOR + P99_SLACK, "{cost:?}, {:?}", normal.p99);
    let closed: u64 = ["slow", "waited", "displaced", "crowded"]
        .map(|reason| {
            scene.counted(&format!("probefleet_connections_refused_total{{reason=\"{reason}\"}}"))
        })
        .iter()
        .sum();
    assert!(closed >= 800, "{closed} of 800 are counted");
}

async fn join_all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(|one| (Some(Box::pin(one)), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_ready = true;
        for (future, outcome) in &mut futures {
            if let Some(pending) = future {
                match pending.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => (*future, *outcome) = (None, Some(value)),
                    std::task::Poll::Pending => is_ready = false,
                }
            }
        }
        if is_ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    futures.into_iter().filter_map(|(_, outcome)| outcome).collect()
}

#[test]
fn whoever_means_harm_is_refused_and_costs_little() {
    let mut scene = Scene::new();
    let normal = Normal::of(&scene);
    bombs_in_records(&scene, &normal);
    bombs_in_messages(&scene, &normal);
    bombs_in_prefixes(&scene, &normal);
    floods_of_frames(&scene, &normal);
    slow_reader(&scene, &normal);
    spools_without_end(&scene, &normal);
    invented_words(&scene);
    silence(&scene, &normal);
    assert!(scene.counted("probefleet_ingest_nacks_total{code=\"poison\"}") >= 12);
    scene.stop.store(true, Ordering::Relaxed);
    let good = scene.good.take().expect("it was started").join().expect("no panic");
    good.expect("every record was acknowledged, in one session");
    let log = scene.log();
    assert!(!log.contains("panicked"), "{log}");
}
