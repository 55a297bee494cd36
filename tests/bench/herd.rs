//! A herd: real sessions over mutual TLS that all come at once, lose their collector to SIGKILL, and come back as it told
//! them. What others notice of one that floods: [`flood`].

mod flood;

use crate::machine::MEASURED;
use crate::table::{Table, figure};
use anyhow::{Context as _, ensure};
use harness::fleet::Fleet;
use harness::ports::free_port;
use harness::process::Process;
use harness::secure::{Authority, Speaker, Spool, secure, small_report};
use probefleet_agent::simulation::Comings;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use uuid::Uuid;

/// All are to be in within this time.
const ALL_IN_MAX: Duration = Duration::from_secs(60);
/// Resident memory of the collector for each session: ten thousand fit into 1.5 GiB.
const SESSION_MAX_KIB: f64 = 150.0;
/// How long the collector is away: what it takes to be started again.
const AWAY: Duration = Duration::from_secs(1);
/// Longest that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(180);

/// The tables.
pub fn measure(window: Duration, agents: u32) -> anyhow::Result<Vec<Table>> {
    Ok(vec![herd(agents)?, flood::measure(window)?])
}

/// A collector with mutual TLS that comes back at the same place.
struct Collector {
    fleet: Fleet,
    authority: Authority,
    to: SocketAddr,
    process: Option<Process>,
}

impl Collector {
    fn new() -> anyhow::Result<Self> {
        let fleet = Fleet::new(
            "probes:\n  - {name: probe-0, every: 10s, http: {url: 'http://127.0.0.1:9/'}}\n",
            &[],
        );
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let config = std::fs::read_to_string(fleet.collector_config())?;
        let config = config.replace("listen: 127.0.0.1:0", &format!("listen: {to}"));
        std::fs::write(fleet.collector_config(), config)?;
        let authority = Authority::of(&fleet);
        Ok(Self { fleet, authority, to, process: None })
    }

    fn start(&mut self) {
        let _absent_at_first =
            std::fs::remove_file(self.fleet.dir().join("collector/addresses.json"));
        let config = self.fleet.collector_config();
        let args = ["run".as_ref(), "--config".as_ref(), config.as_os_str()];
        let program = harness::program("probefleet-collector");
        let log = self.fleet.dir().join("collector.log");
        let mut process = Process::start_on_core(MEASURED, &program, &args, &log);
        process.wait_for("its addresses", Duration::from_secs(20), || self.fleet.addresses());
        self.process = Some(process);
    }

    fn process(&self) -> anyhow::Result<&Process> {
        self.process.as_ref().context("it runs")
    }
}

// === a herd ===

/// An agent that keeps a session, and delivers a record as soon as it has one.
struct Member {
    to: SocketAddr,
    from: Ipv4Addr,
    config: Arc<rustls::ClientConfig>,
    spool: Spool,
    comings: Comings,
    /// Told when it has been acknowledged in a new session.
    in_again: mpsc::Sender<Instant>,
    tries: Arc<AtomicU32>,
}

impl Member {
    async fn run(mut self) {
        // Its first sessions of all stood for long, as far as its back-off knows.
        let long = Duration::from_secs(3_600);
        let mut welcomed = None;
        loop {
            self.tries.fetch_add(1, Ordering::Relaxed);
            if let Ok(speaker) = self.session().await {
                let within = Duration::from_millis(u64::from(speaker.welcome.reconnect_within_ms));
                welcomed = Some((tokio::time::Instant::now() - long, within));
                self.spool = speaker.spool;
                if self.in_again.send(Instant::now()).await.is_err() {
                    return;
                }
                stands(speaker).await;
            }
            let wait = self.comings.lost(welcomed.take(), tokio::time::Instant::now());
            tokio::time::sleep(wait).await;
        }
    }

    async fn session(&self) -> anyhow::Result<Speaker> {
        let connecting = secure(self.to, self.from, &self.config);
        let stream = tokio::time::timeout(Duration::from_secs(10), connecting).await??;
        let mut speaker = Speaker::open(stream, self.spool).await?;
        let last_seq = speaker.welcome.last_seq;
        ensure!(last_seq + 1 == speaker.spool.next_seq, "it has {last_seq}: lost or double");
        speaker.deliver(small_report(speaker.spool.next_seq)).await?;
        Ok(speaker)
    }
}

/// Waits for the end of a session.
async fn stands(mut speaker: Speaker) {
    while speaker.answer().await.is_ok() {}
}

/// How a herd came in.
struct CameIn {
    most: Duration,
    all: Duration,
    cpu: Duration,
    tries: u32,
}

fn herd(agents: u32) -> anyhow::Result<Table> {
    let mut table = Table::new(
        "A herd: sessions over mutual TLS, the collector on one core, each with Hello and one record",
        &["agents", "99 % in s", "all in s", "sessions/s", "us/session", "tries", "KiB/session"],
    );
    let mut collector = Collector::new()?;
    collector.start();
    let before = collector.process()?.rss_bytes();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (in_again, mut ins) = mpsc::channel(usize::try_from(agents)?);
    let tries = Arc::new(AtomicU32::new(0));
    let members: Vec<Member> = (0..agents)
        .map(|number| {
            let agent = Uuid::from_u128(u128::from(number) + 1);
            let [_, _, high, low] = number.to_be_bytes();
            Member {
                to: collector.to,
                from: Ipv4Addr::new(127, 1, high, low.max(1)),
                config: collector.authority.agent(agent),
                spool: Spool::of(agent),
                comings: Comings::new(u64::from(number)),
                in_again: in_again.clone(),
                tries: Arc::clone(&tries),
            }
        })
        .collect();
    let began = Instant::now();
    let tasks: Vec<_> = members.into_iter().map(|member| runtime.spawn(member.run())).collect();
    let cpu = collector.process()?.cpu();
    let first = came_in(&runtime, &mut ins, (agents, began), &tries)?;
    let first = CameIn { cpu: collector.process()?.cpu() - cpu, ..first };
    let rss = collector.process()?.rss_bytes().saturating_sub(before);
    let session_kib = rss as f64 / 1_024.0 / f64::from(agents);
    row(&mut table, "started at once", agents, &first, Some(session_kib));

    tries.store(0, Ordering::Relaxed);
    collector.process.as_mut().context("it runs")?.kill();
    std::thread::sleep(AWAY);
    collector.start();
    let began = Instant::now();
    let second = came_in(&runtime, &mut ins, (agents, began), &tries)?;
    let second = CameIn { cpu: collector.process()?.cpu(), ..second };
    row(&mut table, "after kill -9", agents, &second, None);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    check_store(&collector, agents)?;

    for (name, one) in [("started at once", &first), ("after kill -9", &second)] {
        if one.all > ALL_IN_MAX {
            table.miss(&format!("{name}: all in after {:?}, limit {ALL_IN_MAX:?}", one.all));
        }
    }
    if session_kib > SESSION_MAX_KIB {
        table.miss(&format!("a session takes {session_kib:.0} KiB, limit {SESSION_MAX_KIB:.0}"));
    }
    table.note(
        "in: welcomed, and its record acknowledged; each record of each agent is in the store once",
    );
    table.note("limits: all in within 60 s, 150 KiB of resident memory a session; started at once, nobody was told when to come");
    Ok(table)
}

fn came_in(
    runtime: &Runtime,
    ins: &mut mpsc::Receiver<Instant>,
    (agents, began): (u32, Instant),
    tries: &AtomicU32,
) -> anyhow::Result<CameIn> {
    let mut took = Vec::new();
    let all = async {
        for _ in 0..agents {
            let at = ins.recv().await.context("agents are there")?;
            took.push(at.saturating_duration_since(began));
        }
        anyhow::Ok(())
    };
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, all).await.context("not all came in")?
    })?;
    took.sort();
    let most = took[(took.len() - 1) * 99 / 100];
    let all = took[took.len() - 1];
    Ok(CameIn { most, all, cpu: Duration::ZERO, tries: tries.load(Ordering::Relaxed) })
}

fn row(table: &mut Table, name: &str, agents: u32, one: &CameIn, session_kib: Option<f64>) {
    let agents = f64::from(agents);
    table.row(
        name,
        &[
            figure(agents, 0),
            figure(one.most.as_secs_f64(), 1),
            figure(one.all.as_secs_f64(), 1),
            figure(agents / one.all.as_secs_f64(), 0),
            figure(one.cpu.as_secs_f64() * 1e6 / agents, 0),
            figure(f64::from(one.tries) / agents, 2),
            session_kib.and_then(|kib| figure(kib, 0)),
        ],
    );
}

/// Two records of each agent, each once.
fn check_store(collector: &Collector, agents: u32) -> anyhow::Result<()> {
    let connection = rusqlite::Connection::open(collector.fleet.store())?;
    let sql = "SELECT count(*), count(DISTINCT stream) FROM record";
    let held: (u32, u32) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    ensure!(held == (2 * agents, agents), "(records, agents): the store holds {held:?}");
    Ok(())
}
