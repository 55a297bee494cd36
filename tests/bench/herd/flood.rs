//! One agent that floods while others deliver: with reports, as fast as it may, or with frames of HTTP/2 that mean nothing.

use super::Collector;
use crate::ingest::reports::Reports;
use crate::table::{Table, figure};
use anyhow::{Context as _, bail, ensure};
use harness::floods::FrameFlood;
use harness::secure::{Speaker, Spool, secure};
use probefleet_proto::record::Kind;
use probefleet_proto::v1::to_agent::Message as Down;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// What a flood may add to the slowest of a hundred acknowledgements of others.
const FACTOR_MAX: f64 = 1.1;
/// Agents that deliver beside a flood, and how often.
const BESIDE: u32 = 16;
const DELIVER_EVERY: Duration = Duration::from_millis(100);
/// Reports of the flood's frames.
const FLOOD_FRAME: usize = 8;
/// How long one of its connections goes on if nobody closes it.
const CONNECTION_MAX: Duration = Duration::from_secs(5);
/// The first agent that floods, none of the others; each flood has its own.
const EVIL: u32 = 1_000;

/// What the one agent does.
#[derive(Clone, Copy)]
enum Does {
    Nothing,
    /// It delivers whatever it gets credit for.
    Reports,
    /// It comes again each time it is closed.
    Frames(FrameFlood),
}

const ROUNDS: [(&str, Does); 6] = [
    ("alone", Does::Nothing),
    ("beside a flood of reports", Does::Reports),
    ("beside a rapid reset", Does::Frames(FrameFlood::RAPID_RESET)),
    ("beside a flood of CONTINUATION", Does::Frames(FrameFlood::CONTINUATIONS)),
    ("beside a flood of SETTINGS", Does::Frames(FrameFlood::SETTINGS)),
    ("beside a flood of PING", Does::Frames(FrameFlood::PINGS)),
];

/// The table.
pub fn measure(window: Duration) -> anyhow::Result<Table> {
    let mut table = Table::new(
        "One agent floods: acknowledgements of 16 agents that deliver a report of 50 probes ten times a second",
        &["acks", "p50 ms", "p99 ms", "p99 of alone", "flood reports/s", "flood KiB/s", "cores"],
    );
    let mut collector = Collector::new()?;
    collector.start();
    let mut scene = Scene {
        collector,
        runtime: tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?,
        reports: Arc::new(Reports::new()?),
        sessions: 0,
    };
    let mut alone_p99 = 0.0;
    for (name, does) in ROUNDS {
        let Round { took, flooded, seconds, cores } = scene.round(does, window)?;
        let at = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64() * 1e3;
        if matches!(does, Does::Nothing) {
            alone_p99 = at(99);
        }
        let factor = at(99) / alone_p99;
        let rate = |of: Option<u64>| of.and_then(|of| figure(of as f64 / seconds, 0));
        table.row(
            name,
            &[
                figure(took.len() as f64, 0),
                figure(at(50), 2),
                figure(at(99), 2),
                figure(factor, 2),
                rate(flooded.reports),
                rate(flooded.bytes.map(|bytes| bytes >> 10)),
                figure(cores, 2),
            ],
        );
        if factor > FACTOR_MAX {
            table.miss(&format!("p99 {name} is {factor:.2} of that alone, limit {FACTOR_MAX}"));
        }
    }
    table.note("limit: 99 of 100 acknowledgements take 10 % longer at most; the flood of reports has its share of 1 MiB/s, alone it has everything");
    table.note("floods of frames are closed, at the latest after 2 MiB that say nothing, and come again at once, to be closed after TLS for 30 s then; the client shares its core with the agents");
    Ok(table)
}

/// What came of one.
struct Round {
    /// How long acknowledgements took, sorted.
    took: Vec<Duration>,
    flooded: Flooded,
    seconds: f64,
    /// Processor time of the collector.
    cores: f64,
}

/// What the flood came to, by what it was of.
#[derive(Default)]
struct Flooded {
    reports: Option<u64>,
    bytes: Option<u64>,
}

struct Scene {
    collector: Collector,
    runtime: Runtime,
    reports: Arc<Reports>,
    /// Each has an agent of its own.
    sessions: u32,
}

impl Scene {
    fn round(&mut self, does: Does, window: Duration) -> anyhow::Result<Round> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        let mut speakers = Vec::new();
        for number in 0..BESIDE {
            self.sessions += 1;
            let from = Ipv4Addr::new(127, 2, 0, u8::try_from(number + 1)?);
            speakers.push(self.runtime.block_on(self.open(self.sessions, from))?);
        }
        let flooding = self.start(does, &stop)?;
        let (began, cpu) = (Instant::now(), self.collector.process()?.cpu());
        for speaker in speakers {
            let reports = Arc::clone(&self.reports);
            tasks.push(self.runtime.spawn(modest(speaker, began + window, reports)));
        }
        let mut took = Vec::new();
        for task in tasks {
            took.extend(self.runtime.block_on(task)??);
        }
        let seconds = began.elapsed().as_secs_f64();
        let cores = (self.collector.process()?.cpu() - cpu).as_secs_f64() / seconds;
        stop.store(true, Ordering::Relaxed);
        let flooded = flooding.map(|task| self.runtime.block_on(task)).transpose()?.transpose()?;
        took.sort();
        Ok(Round { took, flooded: flooded.unwrap_or_default(), seconds, cores })
    }

    /// A session of an agent.
    fn open(
        &self,
        number: u32,
        from: Ipv4Addr,
    ) -> impl Future<Output = anyhow::Result<Speaker>> + use<> {
        let agent = Uuid::from_u128(u128::from(number));
        let (to, config) = (self.collector.to, self.collector.authority.agent(agent));
        async move { Speaker::open(secure(to, from, &config).await?, Spool::of(agent)).await }
    }

    /// Sets the flood going.
    fn start(
        &self,
        does: Does,
        stop: &Arc<AtomicBool>,
    ) -> anyhow::Result<Option<tokio::task::JoinHandle<anyhow::Result<Flooded>>>> {
        let (stop, from) = (Arc::clone(stop), Ipv4Addr::new(127, 2, 0, 200));
        let evil = EVIL + self.sessions;
        Ok(match does {
            Does::Nothing => None,
            Does::Reports => {
                let speaker = self.runtime.block_on(self.open(evil, from))?;
                let reports = Arc::clone(&self.reports);
                Some(self.runtime.spawn(async {
                    let reports = Some(greedy(speaker, stop, reports).await?);
                    Ok(Flooded { reports, bytes: None })
                }))
            }
            Does::Frames(flood) => {
                let agent = Uuid::from_u128(u128::from(evil));
                let (to, config) = (self.collector.to, self.collector.authority.agent(agent));
                Some(self.runtime.spawn(frames(flood, (to, from), config, stop)))
            }
        })
    }
}

/// Sends frames that mean nothing, over one connection after the other.
async fn frames(
    flood: FrameFlood,
    (to, from): (SocketAddr, Ipv4Addr),
    config: Arc<rustls::ClientConfig>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Flooded> {
    let (mut bytes, mut closed) = (0, 0_u64);
    while !stop.load(Ordering::Relaxed) {
        let stream = secure(to, from, &config).await.context("it has a certificate")?;
        let went = flood.run(stream, CONNECTION_MAX).await;
        bytes += went.taken;
        closed += u64::from(went.closed_after.is_some());
    }
    ensure!(closed > 0, "{}: no connection was closed", flood.name);
    Ok(Flooded { bytes: Some(bytes), reports: None })
}

/// Delivers a report every so often, and gives how long each acknowledgement took.
async fn modest(
    mut speaker: Speaker,
    until: Instant,
    reports: Arc<Reports>,
) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    while Instant::now() < until {
        took.push(speaker.deliver(reports.payload(speaker.spool.next_seq)).await?);
        tokio::time::sleep(DELIVER_EVERY).await;
    }
    Ok(took)
}

/// Delivers as much as it gets credit for; how many reports.
async fn greedy(
    mut speaker: Speaker,
    stop: Arc<AtomicBool>,
    reports: Arc<Reports>,
) -> anyhow::Result<u64> {
    let (mut waiting, mut in_flight, mut acknowledged) = (0, 0_usize, 0);
    let mut credit = speaker.welcome.credit_bytes as usize;
    while !stop.load(Ordering::Relaxed) || waiting > 0 {
        let mut frame = Vec::new();
        for _ in 0..FLOOD_FRAME {
            let payload = reports.payload(speaker.spool.next_seq);
            in_flight += payload.len();
            frame.push(speaker.spool.seal(Kind::Report, payload));
        }
        speaker.send(frame).await?;
        waiting += FLOOD_FRAME as u64;
        while waiting > 0 && (in_flight >= credit || stop.load(Ordering::Relaxed)) {
            match speaker.answer().await? {
                Down::Ack(ack) => {
                    credit = ack.credit_bytes as usize;
                    let left = speaker.spool.next_seq - 1 - ack.last_seq;
                    in_flight = in_flight / waiting as usize * left as usize;
                    acknowledged += waiting - left;
                    waiting = left;
                }
                other => bail!("not an acknowledgement: {other:?}"),
            }
        }
    }
    Ok(acknowledged)
}
