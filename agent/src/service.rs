//! The service: everything wired, in the order of the data.

use crate::applied::{Applied, AppliedPlans};
use crate::config::Config;
use crate::evidence::{EvidenceError, EvidenceKey};
use crate::identity::{Identity, IdentityError, kept_agent_id};
use crate::journal::{self, Journal};
use crate::policy::{Permission, Policy, PolicyError};
use crate::probe::Environment;
use crate::runner::{
    Desk, Era, Parts, Ports, Recovery, Runner, STRAGGLERS_S, Seal, SealedBefore, Waiting,
    run_sealer,
};
use crate::spool::{Limits, Recovered, Spool, SpoolError, SpoolHandle};
use crate::status::{Listener, Sources, Watcher};
use crate::task;
use crate::uplink::{ClockOffset, Links, Uplink, UplinkConfig, UplinkError, Views};
use probefleet_proto::clock::{Clock, unix_now_ns};
use probefleet_proto::evidence::PublicKey;
use probefleet_proto::record::{Kind, Record};
use probefleet_proto::report::Report;
use probefleet_proto::v1;
use prost::Message as _;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};
use uuid::Uuid;

/// Closed windows that may wait for the sealer: more wait in the runner, where they are still counted, not encoded.
const SEALS_MAX: usize = 64;
/// Records read back at a time when the agent takes up where it stopped.
const READ_BACK: u64 = 64;
/// Payload bytes of them at a time.
const READ_BACK_BYTES: usize = 1 << 20;

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The state directory.
    #[error("cannot use the state directory {path}: {source}")]
    StateDir {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The certificate.
    #[error("cannot read the certificate {path}: {source}")]
    Certificate {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The certificate does not say who this agent is.
    #[error("{path}: {source}")]
    NotOfAnAgent {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: IdentityError,
    },
    /// The kept id.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The policy file.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The evidence key.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The address of the status.
    #[error(
        "cannot say how the agent is at {address}: {source}; `status:` in the configuration names another address"
    )]
    Status {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The uplink.
    #[error(transparent)]
    Uplink(#[from] UplinkError),
}

/// Runs the agent until `shutdown`; then everything measured is on disk, and delivered as far as the collector takes it
/// within two seconds.
///
/// # Errors
/// [`ServiceError`] when it cannot start.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), ServiceError> {
    let mut policy = Policy::load(&config.policy_file)?;
    // What is wrong with the operator's files is said before anything is written.
    let certified =
        config.tls.as_ref().map(|tls| certified_agent_id(&tls.cert_file)).transpose()?;
    create_state_dir(&config.state_dir)?;
    let agent_id = match certified {
        Some(id) => id,
        None => kept_agent_id(&config.state_dir, unix_now_ns())?,
    };
    let listener = listen(&config).await?;
    if let Some(listener) = &listener {
        policy.deny_own(listener.address());
    }
    let environment = Environment::new(Permission::Policy(policy));
    let Opened { spool, recovered, limits, evidence_key } = open_spool(&config)?;
    let (uplink, views) = Uplink::new(uplink_config(&config, agent_id, evidence_key))?;
    let clock = Clock::start();
    let applied = kept_plans(&config.state_dir);
    let eras = build_eras(&applied, agent_id.as_bytes(), &environment);
    let sealed = read_back(&spool, &recovered).await?;
    let mut recovery = Recovery::new(eras.clone(), sealed, clock.now_ns());
    let journal_dir = config.state_dir.join("journal");
    let budget_bytes = limits.total_bytes();
    let journal = Journal::open(&journal_dir, budget_bytes, |logged| recovery.note(logged));
    let (ports, links, desk) = channels(clock, views.offset.clone(), budget_bytes);
    let waiting = desk.waiting.subscribe();
    let (links, telling) = tell(listener, (&spool, waiting), &recovered, (&views, links));
    info!(agent = %agent_id, name = %config.name, next_seq = recovered.next_seq, %evidence_key, "the agent runs");

    announce_start(&ports.seals, &recovery, clock.now_ns()).await;
    let shared = environment.clone();
    let agent_id = *agent_id.as_bytes();
    let parts = Parts { agent_id, environment: shared, clock, applied, eras, journal };
    let runner = Runner::new(parts, &mut recovery, ports);
    let sealer = tokio::spawn(run_sealer(spool.clone(), recovery, desk));
    let (stop_uplink, uplink_stopped) = oneshot::channel::<()>();
    let delivery = tokio::spawn(uplink.run(spool.clone(), links, async {
        uplink_stopped.await.unwrap_or_default();
    }));

    runner.run(shutdown).await;
    environment.settle().await;
    // The runner's end of `seals` is gone: the sealer ends when everything measured is on disk.
    if report_fault(sealer.await, "sealer") == Some(true) {
        clear(&journal_dir);
    }
    drop(stop_uplink);
    report_fault(delivery.await, "uplink");
    drop(telling);
    spool.close().await?;
    info!("the agent has stopped");
    Ok(())
}

async fn listen(config: &Config) -> Result<Option<Listener>, ServiceError> {
    let Some(address) = config.status else { return Ok(None) };
    let bound = Listener::bind(address).await;
    bound.map(Some).map_err(|source| ServiceError::Status { address, source })
}

/// Begins to look how the agent is, and to say so: to the collector, and to whoever asks. It ends with what is returned.
fn tell(
    listener: Option<Listener>,
    (spool, waiting): (&SpoolHandle, watch::Receiver<Waiting>),
    recovered: &Recovered,
    (views, links): (&Views, Links),
) -> (Links, JoinSet<()>) {
    let (watcher, reports, status) = Watcher::new(Sources {
        spool: spool.clone(),
        set_aside: recovered.quarantined.len(),
        link: views.link.clone(),
        sessions: views.sessions.clone(),
        plan_hash: links.plan_hash.clone(),
        runner: links.status.clone(),
        waiting,
    });
    let mut telling = JoinSet::new();
    drop(telling.spawn(watcher.run()));
    if let Some(listener) = listener {
        info!("its status is at http://{}", listener.address());
        drop(telling.spawn(listener.serve(reports)));
    }
    (Links { status, ..links }, telling)
}

fn report_fault<T>(ended: Result<T, tokio::task::JoinError>, part: &str) -> Option<T> {
    let told = |error: &tokio::task::JoinError| {
        tracing::error!(%error, part, "a part of the agent ended by a fault of this program");
    };
    ended.inspect_err(told).ok()
}

/// Everything is sealed: nothing needs the journal any more.
fn clear(journal_dir: &Path) {
    if let Err(error) = journal::clear(journal_dir) {
        warn!(folder = %journal_dir.display(), %error, "the journal stays; the next start passes over it");
    }
}

fn create_state_dir(path: &Path) -> Result<(), ServiceError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|source| ServiceError::StateDir { path: path.to_owned(), source })
}

fn certified_agent_id(path: &Path) -> Result<Uuid, ServiceError> {
    let pem = std::fs::read(path)
        .map_err(|source| ServiceError::Certificate { path: path.to_owned(), source })?;
    let identity = Identity::of_certificate(&pem)
        .map_err(|source| ServiceError::NotOfAnAgent { path: path.to_owned(), source })?;
    Ok(identity.agent_id)
}

/// The spool as it was found, and the public half of the key that signs what goes into it.
struct Opened {
    spool: SpoolHandle,
    recovered: Recovered,
    limits: Limits,
    evidence_key: PublicKey,
}

fn open_spool(config: &Config) -> Result<Opened, ServiceError> {
    let dir = config.state_dir.join("spool");
    let limits = match config.spool_max_bytes {
        Some(bytes) => Limits::new(bytes),
        None => Limits::of_file_system(&config.state_dir)?,
    };
    let locked = Spool::lock(&dir)?;
    let key = Arc::new(EvidenceKey::kept(&config.state_dir)?);
    let evidence_key = key.public();
    let (spool, recovered) = locked.open(limits, key)?;
    Ok(Opened { spool, recovered, limits, evidence_key })
}

fn uplink_config(config: &Config, agent_id: Uuid, evidence_key: PublicKey) -> UplinkConfig {
    UplinkConfig {
        collector: config.collector.clone(),
        tls: config.tls.clone(),
        agent_id,
        boot_id: *Uuid::now_v7().as_bytes(),
        name: config.name.to_string(),
        labels: config.labels.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        evidence_key,
    }
}

/// The plans that were kept. Damage costs the account of a downtime, not the measuring: the collector sends the plan
/// again.
fn kept_plans(state_dir: &Path) -> AppliedPlans {
    AppliedPlans::load(state_dir).unwrap_or_else(|error| {
        warn!(%error, "the kept plans cannot be used; waiting for the collector's");
        AppliedPlans::none(state_dir)
    })
}

fn build_eras(applied: &AppliedPlans, agent_id: &[u8; 16], environment: &Environment) -> Vec<Era> {
    let build = |kept: &Applied| {
        let plan = kept.plan().map_err(|error| error.to_string())?;
        let tasks = task::build(&plan, agent_id).map_err(|problems| problems.to_string())?;
        let (from_s, window_s, plan_hash) = (kept.from_s, plan.window_s, kept.hash().to_vec());
        Ok(Era { from_s, window_s, plan_hash, tasks })
    };
    let build = |kept: &Applied| {
        let told = |error: &String| warn!(error, "a kept plan cannot be run by this version");
        build(kept).inspect_err(told).ok()
    };
    let eras: Vec<Era> = applied.list().iter().filter_map(build).collect();
    if let Some(newest) = eras.last() {
        task::prepare(&newest.tasks, environment);
    }
    eras
}

/// What the newest records say was sealed, far enough back that no straggler can be older.
async fn read_back(
    spool: &SpoolHandle,
    recovered: &Recovered,
) -> Result<SealedBefore, ServiceError> {
    let mut sealed = SealedBefore::default();
    let mut reports: Vec<Report> = Vec::new();
    let mut from = recovered.next_seq;
    let oldest = recovered.oldest_seq.max(1);
    while from > oldest && !reaches_back(&reports) {
        let until = from;
        from = from.saturating_sub(READ_BACK).max(oldest);
        let mut seq = from;
        while seq < until {
            let records = read_on(spool, seq, until).await?;
            let Some(last) = records.last() else { break };
            seq = last.seq_to + 1;
            for record in records.iter().filter(|record| record.seq < until) {
                match record.kind {
                    Kind::Report => reports.extend(Report::decode(&record.payload).ok()),
                    Kind::Event => note_event(&mut sealed, &record.payload),
                    Kind::Gap => {
                        let gap = v1::Gap::decode(record.payload.as_slice());
                        gap.iter().for_each(|gap| sealed.note_gap(gap));
                    }
                }
            }
        }
    }
    reports.iter().for_each(|report| sealed.note(report));
    if from > 1 {
        sealed.forget_oldest();
    }
    Ok(sealed)
}

/// Records from `seq` on, or, inside of a gap, from behind it; none where nothing begins before `until`. What cannot be read
/// for another reason is an error: passed over, it would be counted a second time.
async fn read_on(spool: &SpoolHandle, mut seq: u64, until: u64) -> Result<Vec<Record>, SpoolError> {
    while seq < until {
        match spool.read_from(seq, READ_BACK_BYTES).await {
            Err(SpoolError::NotHeld(at)) if at == seq => seq += 1,
            read => return read,
        }
    }
    Ok(Vec::new())
}

fn note_event(sealed: &mut SealedBefore, payload: &[u8]) {
    if let Ok(event) = v1::Event::decode(payload) {
        sealed.note_in_use(event.wall_time_ns);
    }
}

fn reaches_back(reports: &[Report]) -> bool {
    let starts = || reports.iter().map(|report| report.head.window_start_s);
    match (starts().min(), starts().max()) {
        (Some(oldest_s), Some(newest_s)) => newest_s - oldest_s > STRAGGLERS_S,
        _ => false,
    }
}

/// Both ends of every channel between runner, sealer and uplink.
fn channels(
    clock: Clock,
    offset: watch::Receiver<Option<ClockOffset>>,
    spool_max_bytes: u64,
) -> (Ports, Links, Desk) {
    let (plans_in, plans) = mpsc::channel(1);
    let (applied, applied_out) = mpsc::channel(1);
    let (plan_hash, plan_hash_out) = watch::channel(Vec::new());
    let (status, status_out) = watch::channel(v1::Status::default());
    let (clock, clock_out) = watch::channel(clock);
    let (seals, seals_out) = mpsc::channel(SEALS_MAX);
    let (kept, kept_out) = watch::channel(0);
    let waiting = watch::Sender::default();
    let ports = Ports { plans, applied, plan_hash, status, clock, seals, kept: kept_out };
    let links = Links {
        plans: plans_in,
        applied: applied_out,
        plan_hash: plan_hash_out,
        status: status_out,
        clock: clock_out,
    };
    (ports, links, Desk { seals: seals_out, kept, waiting, offset, spool_max_bytes })
}

async fn announce_start(seals: &mpsc::Sender<Seal>, recovery: &Recovery, now_ns: u64) {
    let start = Seal::Event {
        what: "start",
        wall_time_ns: now_ns,
        detail: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let down = recovery.down_since_s().map(|since_s| Seal::Event {
        what: "agent_down",
        wall_time_ns: now_ns,
        detail: format!("nothing was sealed since {since_s} (Unix s)"),
    });
    for event in down.into_iter().chain([start]) {
        if seals.send(event).await.is_err() {
            warn!("the spool has ended before the start was on record");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::any_key;
    use probefleet_proto::hex::hex;
    use probefleet_proto::report::{Head, encode};

    /// Of a window (Unix s), without a cell.
    fn report(window_start_s: u64) -> Vec<u8> {
        let head = Head { window_start_s, window_s: 10, ..Head::default() };
        encode(&head, &[]).concat()
    }

    #[tokio::test]
    async fn what_was_sealed_is_read_back_from_inside_of_a_gap() {
        let dir = tempfile::tempdir().expect("a folder");
        let (spool, began) =
            Spool::open(dir.path(), Limits::new(0), any_key()).expect("a new spool");
        let last = 80;
        // As far back is read first: it is the second of two records that one gap will stand for.
        let inside = last + 1 - READ_BACK;
        let lost = [inside - 1, inside];
        let text = |seq: u64| format!("will be lost: {seq}").into_bytes();
        for seq in 1..=last {
            let (kind, payload) = if lost.contains(&seq) {
                (Kind::Event, text(seq))
            } else {
                (Kind::Report, report(seq * 10))
            };
            spool.append(kind, payload).await.expect("appended");
        }
        spool.close().await.expect("closed");
        let path = dir.path().join(hex(&began.spool_id)).join("0000000001.seg");
        let mut bytes = std::fs::read(&path).expect("is there");
        for text in lost.map(text) {
            let mut places = bytes.windows(text.len());
            let at = places.position(|place| place == text.as_slice()).expect("is there");
            bytes[at] ^= 1;
        }
        std::fs::write(&path, bytes).expect("is ours");

        let (spool, recovered) =
            Spool::open(dir.path(), Limits::new(0), any_key()).expect("is mended");
        assert_eq!((recovered.next_seq, recovered.quarantined.len()), (last + 1, 1));
        let read = spool.read_from(inside, READ_BACK_BYTES).await;
        assert!(matches!(read, Err(SpoolError::NotHeld(_))), "it lies inside of a gap");
        let behind = read_on(&spool, inside, last + 1).await.expect("readable");
        assert_eq!(behind.first().map(|record| record.seq), Some(inside + 1));
        assert_eq!(behind.last().map(|record| record.seq), Some(last));
        assert_eq!(read_on(&spool, inside, inside + 1).await.expect("readable"), []);
        let sealed = read_back(&spool, &recovered).await.expect("the agent starts");
        assert_eq!((sealed.newest_s(), sealed.end_s()), (Some(last * 10), Some(last * 10 + 10)));
    }
}
