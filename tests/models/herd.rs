//! Ten thousand agents that lost their collector at once, on a virtual clock: real are the back-off with what follows the end
//! of a session, and the admission before TLS. Sockets, TLS and everything behind it are a cost in processor time, served by
//! one core in the order in which handshakes begin; `bench -- herd` has the real ones.
//!
//! What must hold: all are in within a minute, nobody is refused for ever, and afterwards nobody is in step with anybody.

use probefleet_agent::simulation::Comings;
use probefleet_collector::ingest::admission::{Admission, Refused, rate_of, reconnect_within};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// What a full handshake with both certificates takes of a core of the server, and what the session behind it.
const HANDSHAKE: Duration = Duration::from_micros(240);
const HELLO: Duration = Duration::from_micros(240);
/// Longest way through the network.
const WAY_US: u64 = 50_000;
/// The collector is watched for so long after it is there again.
const WATCHED_S: u64 = 3_600;
/// From then on nothing may be left of the herd.
const SETTLED_S: u64 = 120;
/// What agents do regularly: a status, windows of ten seconds and of a minute.
const INTERVALS_S: [usize; 3] = [5, 10, 60];

/// Something that is due.
#[derive(Clone, Copy, Debug)]
enum Event {
    Connect(usize),
    Arrive(usize),
    /// A handshake and the Hello behind it are done.
    Welcome(usize, u64),
    /// A session has lived its time; its number.
    Cycle(usize, u32),
    Wake,
    Down,
    Up,
}

/// An agent, as far as it comes and goes.
struct Agent {
    comings: Comings,
    welcomed: Option<(Instant, Duration)>,
    sessions: u32,
    refused: u32,
}

/// What is to happen.
struct Herd {
    agents: usize,
    /// Agents that share an address.
    per_site: usize,
    /// They had sessions before, and lose them at 0. Otherwise they are started at 0.
    established: bool,
    /// How long the collector is away from then on.
    away: Duration,
}

/// What became of it.
#[derive(Debug)]
struct Outcome {
    /// After the collector was there again, when the last of all agents was welcomed, s.
    all_in_s: f64,
    /// Likewise for 99 of 100.
    most_in_s: f64,
    /// How often the agent was refused that was most often.
    refused_most: u32,
    refused: BTreeMap<Refused, u32>,
    /// Most that waited at once.
    waiting_most: usize,
    /// Connections of each second after that.
    arrivals: Vec<u32>,
}

struct World {
    start: Instant,
    now: Instant,
    queue: BTreeMap<(Instant, u64), Event>,
    order: u64,
    random: fastrand::Rng,
    agents: Vec<Agent>,
    per_site: usize,
    admission: Option<Admission<usize, usize>>,
    handshakes: BTreeMap<u64, usize>,
    core_free: Instant,
    wake_at: Option<Instant>,
    up_at: Instant,
    welcomed: Vec<Duration>,
    outcome: Outcome,
}

impl World {
    fn new(herd: &Herd) -> Self {
        let start = Instant::now() + Duration::from_secs(86_400);
        let within = reconnect_within(herd.agents, rate_of(1));
        let stood = (start - Duration::from_secs(3_600), within);
        let agents = (0..herd.agents as u64).map(|seed| Agent {
            comings: Comings::new(seed),
            welcomed: herd.established.then_some(stood),
            sessions: 0,
            refused: 0,
        });
        let outcome = Outcome {
            all_in_s: f64::INFINITY,
            most_in_s: f64::INFINITY,
            refused_most: 0,
            refused: BTreeMap::new(),
            waiting_most: 0,
            arrivals: vec![0; WATCHED_S as usize],
        };
        Self {
            start,
            now: start,
            queue: BTreeMap::new(),
            order: 0,
            random: fastrand::Rng::with_seed(7),
            agents: agents.collect(),
            per_site: herd.per_site,
            admission: None,
            handshakes: BTreeMap::new(),
            core_free: start,
            wake_at: None,
            up_at: start + herd.away,
            welcomed: Vec::new(),
            outcome,
        }
    }

    fn push(&mut self, at: Instant, event: Event) {
        self.order += 1;
        self.queue.insert((at, self.order), event);
    }

    fn run(mut self) -> Outcome {
        self.push(self.start, Event::Down);
        self.push(self.up_at, Event::Up);
        let end = self.up_at + Duration::from_secs(WATCHED_S);
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at >= end {
                break;
            }
            self.now = at;
            self.happen(event);
            self.admit();
        }
        self.welcomed.sort();
        let all = self.agents.len();
        if self.welcomed.len() == all {
            self.outcome.all_in_s = self.welcomed[all - 1].as_secs_f64();
            self.outcome.most_in_s = self.welcomed[all - 1 - all / 100].as_secs_f64();
        }
        self.outcome.refused_most =
            self.agents.iter().map(|agent| agent.refused).max().unwrap_or(0);
        self.outcome
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Down => (0..self.agents.len()).for_each(|agent| {
                if self.agents[agent].welcomed.is_some() {
                    self.lost(agent);
                } else {
                    self.push(self.now, Event::Connect(agent));
                }
            }),
            Event::Up => self.admission = Some(Admission::new(rate_of(1), |_| None)),
            Event::Connect(agent) => {
                let at = self.now + Duration::from_micros(self.random.u64(..WAY_US));
                self.push(at, Event::Arrive(agent));
            }
            Event::Arrive(agent) => self.arrive(agent),
            Event::Welcome(agent, ticket) => self.welcome(agent, ticket),
            Event::Cycle(agent, session) if self.agents[agent].sessions == session => {
                let agent_state = &mut self.agents[agent];
                let welcomed = agent_state.welcomed.take().expect("its session stands");
                let at = self.now + agent_state.comings.cycled(welcomed, self.now);
                self.push(at, Event::Connect(agent));
            }
            Event::Cycle(..) => {}
            Event::Wake => self.wake_at = None,
        }
    }

    fn arrive(&mut self, agent: usize) {
        let now = self.now;
        let Some(admission) = &mut self.admission else { return self.lost(agent) };
        let second = usize::try_from((now - self.up_at).as_secs()).expect("few");
        self.outcome.arrivals[second] += 1;
        if let Some((closed, why)) = admission.arrive(agent / self.per_site, agent, now) {
            self.refused(closed, why);
        }
    }

    fn refused(&mut self, agent: usize, why: Refused) {
        *self.outcome.refused.entry(why).or_default() += 1;
        self.agents[agent].refused += 1;
        self.lost(agent);
    }

    fn lost(&mut self, agent: usize) {
        let state = &mut self.agents[agent];
        let at = self.now + state.comings.lost(state.welcomed.take(), self.now);
        self.push(at, Event::Connect(agent));
    }

    /// What the listener does after everything that happens.
    fn admit(&mut self) {
        let Some(admission) = &mut self.admission else { return };
        let closed = admission.sweep(self.now);
        let begun: Vec<_> = std::iter::from_fn(|| admission.next(self.now)).collect();
        self.outcome.waiting_most = self.outcome.waiting_most.max(admission.waiting());
        let wake_at = admission.wake_at();
        closed.into_iter().for_each(|agent| self.refused(agent, Refused::Waited));
        for begin in begun {
            if let Some(broken_off) = begin.instead_of.and_then(|old| self.handshakes.remove(&old))
            {
                self.refused(broken_off, Refused::Displaced);
            }
            self.handshakes.insert(begin.ticket, begin.connection);
            self.core_free = self.core_free.max(self.now) + HANDSHAKE + HELLO;
            self.push(self.core_free, Event::Welcome(begin.connection, begin.ticket));
        }
        if let Some(at) = wake_at.filter(|at| self.wake_at.is_none_or(|known| *at < known)) {
            self.wake_at = Some(at);
            self.push(at, Event::Wake);
        }
    }

    fn welcome(&mut self, agent: usize, ticket: u64) {
        if self.handshakes.remove(&ticket).is_none() {
            return; // it gave way
        }
        let (now, within) = (self.now, reconnect_within(self.agents.len(), rate_of(1)));
        self.admission.as_mut().expect("is up").ended(agent / self.per_site, ticket);
        let state = &mut self.agents[agent];
        state.welcomed = Some((now, within));
        state.sessions += 1;
        let (session, end) = (state.sessions, now + state.comings.lifetime());
        if session == 1 {
            self.welcomed.push(now - self.up_at);
        }
        self.push(end, Event::Cycle(agent, session));
    }
}

/// Peak over mean in bins of so many seconds.
fn peak_over_mean(arrivals: &[u32], bin_s: usize) -> f64 {
    let bins: Vec<u32> = arrivals.chunks_exact(bin_s).map(|bin| bin.iter().sum()).collect();
    let mean = f64::from(bins.iter().sum::<u32>()) / bins.len() as f64;
    f64::from(bins.iter().copied().max().unwrap_or(0)) / mean
}

/// How much what happens in a second is that of `lag` seconds ago, -1 to 1. The mean of the two lags around it is taken away
/// before: what has that period stays, what rises and falls more slowly has none.
fn autocorrelation(arrivals: &[u32], lag: usize) -> f64 {
    let rest: Vec<f64> = (0..arrivals.len())
        .map(|at| {
            let around = &arrivals[at.saturating_sub(lag)..(at + lag).min(arrivals.len())];
            f64::from(arrivals[at]) - f64::from(around.iter().sum::<u32>()) / around.len() as f64
        })
        .collect();
    let variance: f64 = rest.iter().map(|value| value * value).sum();
    let shared: f64 = rest.iter().zip(&rest[lag..]).map(|(a, b)| a * b).sum();
    shared / variance
}

fn run(name: &str, herd: &Herd) -> Outcome {
    let outcome = World::new(herd).run();
    println!(
        "{name}: {} agents, 99 of 100 in after {:.1} s, all after {:.1} s; {} waited at once, refused {:?}, the same one {} times",
        herd.agents,
        outcome.most_in_s,
        outcome.all_in_s,
        outcome.waiting_most,
        outcome.refused,
        outcome.refused_most
    );
    outcome
}

/// Nothing is left of the herd.
fn has_no_echo(name: &str, outcome: &Outcome) {
    let settled = &outcome.arrivals[SETTLED_S as usize..];
    let peak = peak_over_mean(settled, 10);
    let echoes = INTERVALS_S.map(|lag| autocorrelation(settled, lag));
    println!("{name}: peak over mean {peak:.2}, autocorrelation at {INTERVALS_S:?} s {echoes:.3?}");
    assert!(peak <= 3.0, "{name}: {peak}");
    assert!(echoes.iter().all(|echo| *echo < 0.1), "{name}: {echoes:?}");
}

const HERD: Herd = Herd { agents: 10_000, per_site: 1, established: true, away: Duration::ZERO };

#[test]
fn ten_thousand_agents_are_back_within_a_minute_and_leave_no_echo() {
    for (name, herd) in [
        ("all connections cut", HERD),
        ("collector away for 5 s", Herd { away: Duration::from_secs(5), ..HERD }),
        ("collector away for a minute", Herd { away: Duration::from_secs(60), ..HERD }),
        ("collector away for an hour", Herd { away: Duration::from_secs(3_600), ..HERD }),
        ("a hundred sites of a hundred", Herd { per_site: 100, ..HERD }),
    ] {
        let outcome = run(name, &herd);
        assert!(outcome.all_in_s <= 60.0, "{name}: {outcome:?}");
        assert!(outcome.refused_most <= 2, "{name}: {outcome:?}");
        has_no_echo(name, &outcome);
    }
}

#[test]
fn ten_thousand_agents_that_start_at_once_all_come_in() {
    // Nobody told them anything yet: what the door lets in each second is the limit, and the back-off of the others.
    let outcome = run("all started at once", &Herd { established: false, ..HERD });
    assert!(outcome.most_in_s <= 60.0 && outcome.all_in_s <= 150.0, "{outcome:?}");
    has_no_echo("all started at once", &outcome);
}

#[test]
fn three_agents_are_back_within_seconds() {
    for away_s in [0, 5, 60, 300] {
        let name = format!("three agents, {away_s} s");
        let away = Duration::from_secs(away_s);
        let outcome = run(&name, &Herd { agents: 3, away, ..HERD });
        assert!(outcome.all_in_s <= 10.1, "{outcome:?}");
    }
}

#[test]
fn an_echo_would_be_seen() {
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u32> = (0..3_600).map(|_| random.u32(0..20)).collect();
    let beat = |every: usize| -> Vec<u32> {
        noise.iter().enumerate().map(|(at, n)| n + 20 * u32::from(at % every == 0)).collect()
    };
    for lag in INTERVALS_S {
        assert!(autocorrelation(&noise, lag) < 0.1);
        assert!(autocorrelation(&beat(lag), lag) > 0.1, "{lag}");
    }
    let mut burst = noise.clone();
    burst[1_000..1_010].iter_mut().for_each(|n| *n = 100);
    assert!(peak_over_mean(&noise, 10) < 3.0 && peak_over_mean(&burst, 10) > 3.0);
}
