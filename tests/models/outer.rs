//! The outer simulation: the real uplink and the real service for agents with the real tonic and HTTP/2 between them, over
//! turmoil's network, by seed.
//!
//! Less is drawn than in [`crate::simulation`], and a hundred times fewer seeds are run: this is about what that leaves out,
//! the drivers round the cores. Spools are on disks in memory, without a thread; the store stands in for SQLite.
//!
//! # What counts as failure
//! * A window that a spool called durable is not in the store after the quiet, or is there twice, or a fork is reported.
//! * The same seed comes to another store.
//!
//! # What does not
//! * Windows that were being written when the process died, and how long anything takes while there are faults.
//!
//! # Known sources of nondeterminism
//! * The wall clock is read for `Hello`, `Welcome`, `Ack` and `received_s`: only messages of equal length come of it, and it
//!   is not compared.
//! * turmoil draws latencies and losses from the seed; hosts run in the order in which they were added.

use crate::disk::MemoryDisk;
use crate::stage::{audit, config, key_of, report, spool};
use crate::store::MemoryStore;
use probefleet_agent::simulation::{Dial, DialError, Links, SpoolHandle, Uplink, open_spool};
use probefleet_collector::fleet::{Assignment, Fleet};
use probefleet_collector::ingest::listener::{ConnectionInfo, Peer};
use probefleet_collector::ingest::service::{Ingest, serve_on};
use probefleet_collector::store::TenantScope;
use probefleet_proto::clock::Clock;
use probefleet_proto::record::Kind;
use probefleet_proto::v1;
use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};
use uuid::Uuid;

const COLLECTOR: &str = "collector";
const PORT: u16 = 7400;
const DIR: &str = "/state/spool";
/// A window is sealed so often.
const SEAL: Duration = Duration::from_secs(10);
/// How long there are faults, and how long there are none after that: the longest back-off, twice.
const ACTIVE: Duration = Duration::from_secs(300);
const QUIET: Duration = Duration::from_secs(300);
/// Nothing is sealed in the last minute: what was is to be delivered.
const LAST: Duration = Duration::from_secs(60);
/// Resolution of the simulated time.
const TICK: Duration = Duration::from_millis(20);
/// Connections that wait to be served.
const BACKLOG: usize = 16;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The agent's process dies and comes back.
    AgentDies,
    /// Likewise the collector's.
    CollectorDies,
    /// Nothing passes between them any more, and nobody is told.
    Partition,
    /// What is sent arrives late, all at once.
    Hold,
}

impl Fault {
    pub const ALL: [Self; 4] = [Self::AgentDies, Self::CollectorDies, Self::Partition, Self::Hold];
}

/// What became of a seed.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    pub windows: usize,
    pub fired: Vec<Fault>,
    /// Hash of what the store holds.
    pub store: u64,
}

/// A machine with an agent: what outlives its process.
#[derive(Clone)]
struct Machine {
    id: Uuid,
    disk: MemoryDisk,
    lives: Rc<Cell<u64>>,
    sealed: Rc<Cell<u64>>,
    promised: Rc<RefCell<Vec<u64>>>,
}

/// Dials within the simulation.
struct Dialler;

/// A connection that the collector has accepted.
struct Accepted {
    stream: TcpStream,
    info: ConnectionInfo,
}

impl Dial for Dialler {
    type Stream = TcpStream;

    async fn dial(&mut self) -> Result<TcpStream, DialError> {
        let refused = |error: io::Error| {
            DialError::Refused(SocketAddr::from(([127, 0, 0, 1], PORT)), error.to_string())
        };
        match tokio::time::timeout(Duration::from_secs(5), TcpStream::connect((COLLECTOR, PORT)))
            .await
        {
            Ok(connected) => connected.map_err(refused),
            Err(_) => Err(refused(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl Connected for Accepted {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A collector's process.
async fn collect(store: MemoryStore) -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let (ready, connections) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        while let Ok((stream, address)) = listener.accept().await {
            let info = ConnectionInfo { peer: Peer::Local, address, budget: Default::default() };
            if ready.send(Ok(Accepted { stream, info })).await.is_err() {
                return;
            }
        }
    });
    let (_running, stop) = watch::channel(false);
    let ingest = Ingest {
        store,
        scope: TenantScope::default(),
        fleet: Arc::new(Fleet::new(Assignment::default(), Vec::new())),
        metrics: Arc::default(),
        pace: Arc::default(),
        newcomers: Arc::default(),
        stop,
    };
    Ok(serve_on(ReceiverStream::new(connections), ingest).await?)
}

/// An agent's process: it seals a window every few seconds, and delivers.
async fn measure(machine: Machine, until: Duration) -> turmoil::Result {
    machine.lives.set(machine.lives.get() + 1);
    let (handle, spool) =
        open_spool(machine.disk.clone(), Path::new(DIR), spool(64, 16 << 10), key_of(machine.id))?;
    let mut config = config(machine.id, machine.lives.get());
    config.collector = format!("http://127.0.0.1:{PORT}");
    let (uplink, _views) = Uplink::dialling(config, |_, _| Dialler)?;
    let (plans, mut handed) = mpsc::channel(1);
    let (_applied, applied) = mpsc::channel(1);
    let (_plan, plan_hash) = watch::channel(Vec::new());
    let (_status, status) = watch::channel(v1::Status::default());
    let (_clock, clock) = watch::channel(Clock::start());
    let links = Links { plans, applied, plan_hash, status, clock };
    let plans = async { while handed.recv().await.is_some() {} };
    let delivered = uplink.run(handle.clone(), links, std::future::pending());
    tokio::join!(spool, delivered, plans, seal(machine, handle, until));
    Ok(())
}

async fn seal(machine: Machine, spool: SpoolHandle, until: Duration) {
    while turmoil::sim_elapsed().is_some_and(|now| now < until) {
        tokio::time::sleep(SEAL).await;
        let window = machine.sealed.get() + 1;
        machine.sealed.set(window);
        let number = (machine.id.as_u128() as u64 & 0xff) * 100_000 + window;
        if spool.append(Kind::Report, report(number, 0)).await.is_ok() {
            machine.promised.borrow_mut().push(number);
        }
    }
}

/// Runs a seed.
///
/// # Errors
/// What failed.
pub fn run(seed: u64) -> Result<Run, String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let store = MemoryStore::default().shared();
    let mut sim = Builder::new()
        .rng_seed(seed)
        .simulation_duration(ACTIVE + QUIET + LAST)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(random.u64(2..200)))
        .build();
    let of_process = store.clone();
    sim.host(COLLECTOR, move || collect(of_process.clone()));
    let mut machines = Vec::new();
    for number in 0..random.u128(1..=3) {
        let machine = Machine {
            id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number),
            disk: MemoryDisk::new(seed << 8 | number as u64, Path::new(DIR)),
            lives: Rc::default(),
            sealed: Rc::default(),
            promised: Rc::default(),
        };
        machines.push(machine.clone());
        sim.host(name(number as usize), move || measure(machine.clone(), ACTIVE + QUIET - LAST));
    }
    let fired = live(&mut sim, &mut random, machines.len()).map_err(|error| error.to_string())?;
    judge(&store, &machines).map(|(windows, store)| Run { windows, fired, store })
}

fn name(agent: usize) -> String {
    format!("agent-{agent}")
}

/// Lets time pass, and things go wrong, until all is quiet and over.
fn live(
    sim: &mut Sim<'_>,
    random: &mut fastrand::Rng,
    agents: usize,
) -> turmoil::Result<Vec<Fault>> {
    let (mut fired, mut mended) = (Vec::new(), Vec::<(Duration, Fault, usize)>::new());
    let mut next = Duration::from_secs(random.u64(1..60));
    while sim.elapsed() < ACTIVE + QUIET {
        sim.step()?;
        let now = sim.elapsed();
        let is_quiet = now >= ACTIVE;
        let (due, later): (Vec<_>, Vec<_>) =
            mended.into_iter().partition(|(at, ..)| is_quiet || *at <= now);
        mended = later;
        due.into_iter().for_each(|(_, fault, agent)| mend(sim, fault, agent));
        if is_quiet || now < next {
            continue;
        }
        next = now + Duration::from_secs(random.u64(1..60));
        let (fault, agent) = (Fault::ALL[random.usize(..4)], random.usize(..agents));
        if mended.iter().any(|(_, other, of)| {
            of == &agent || *other == Fault::CollectorDies || fault == Fault::CollectorDies
        }) {
            continue;
        }
        fired.push(fault);
        strike(sim, fault, agent);
        mended.push((now + Duration::from_secs(random.u64(1..50)), fault, agent));
    }
    Ok(fired)
}

fn strike(sim: &mut Sim<'_>, fault: Fault, agent: usize) {
    match fault {
        Fault::AgentDies => sim.crash(name(agent)),
        Fault::CollectorDies => sim.crash(COLLECTOR),
        Fault::Partition => sim.partition(name(agent), COLLECTOR),
        Fault::Hold => sim.hold(name(agent), COLLECTOR),
    }
}

fn mend(sim: &mut Sim<'_>, fault: Fault, agent: usize) {
    match fault {
        Fault::AgentDies => sim.bounce(name(agent)),
        Fault::CollectorDies => sim.bounce(COLLECTOR),
        Fault::Partition => sim.repair(name(agent), COLLECTOR),
        Fault::Hold => sim.release(name(agent), COLLECTOR),
    }
}

/// Every promised window is in the store, once. How many, and a hash of the store.
fn judge(store: &MemoryStore, machines: &[Machine]) -> Result<(usize, u64), String> {
    let accounts = audit(store);
    let twice = accounts.counted.iter().find(|(_, count)| **count > 1);
    if let Some((window, count)) = twice {
        return Err(format!("window {window} is counted {count} times"));
    }
    if !accounts.gaps.is_empty() || !accounts.events.is_empty() {
        return Err(format!("nothing was to be lost: {:?}, {:?}", accounts.gaps, accounts.events));
    }
    let promised = || machines.iter().flat_map(|machine| machine.promised.borrow().clone());
    if let Some(lost) = promised().find(|window| !accounts.counted.contains_key(window)) {
        return Err(format!("window {lost} is lost"));
    }
    let mut hasher = DefaultHasher::new();
    store.digest(&mut hasher);
    Ok((promised().count(), hasher.finish()))
}
