//! Drives one session over one connection: carries the state machine's wishes to spool, socket and runner.

use super::connect::chain;
use super::offset::{Estimate, Exchange};
use super::reconnect::Welcomed;
use super::session::{End, Input, Output, Session};
use super::{AGENT_ID_METADATA, ClockOffset, LinkState, Links, UplinkConfig, hello};
use crate::spool::{Refused, SpoolError, SpoolHandle, SpoolState};
use probefleet_proto::clock::Clock;
use probefleet_proto::record::{MESSAGE_MAX_BYTES, PLAN_MESSAGE_MAX_BYTES};
use probefleet_proto::v1;
use probefleet_proto::v1::fleet_client::FleetClient;
use probefleet_proto::v1::from_agent::Message as Up;
use probefleet_proto::v1::to_agent::Message as Down;
use prost::Message as _;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

/// Messages handed to the transport ahead of the socket; the rest waits here, bounded by credit.
const OUTBOX_DEPTH: usize = 4;
/// A snapshot of the state is sent at most so often.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// Largest snapshot: it must not delay what money hangs on.
const STATUS_MAX_BYTES: usize = 64 << 10;
/// How long the first answer of a call may take.
const OPEN_MAX: Duration = Duration::from_secs(30);
/// How long a stopping agent tries to deliver what it holds.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// A clock that was set by more than this makes earlier offsets worthless, ns.
const CLOCK_STEP_NS: u64 = 1_000_000;

/// What lasts longer than one connection.
pub(super) struct Shared<'a> {
    pub(super) config: &'a UplinkConfig,
    pub(super) spool: &'a SpoolHandle,
    pub(super) links: &'a mut Links,
    pub(super) link: &'a watch::Sender<LinkState>,
    pub(super) sessions: &'a watch::Sender<u64>,
    pub(super) offset: &'a watch::Sender<Option<ClockOffset>>,
    pub(super) estimate: &'a mut Estimate,
    pub(super) stop: &'a mut watch::Receiver<bool>,
}

/// How a connection was used.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) end: End,
    /// The collector's Welcome.
    pub(super) welcomed: Option<Welcomed>,
}

/// One session in progress.
struct Drive<'a> {
    shared: Shared<'a>,
    session: Session,
    state: watch::Receiver<SpoolState>,
    to_collector: mpsc::Sender<v1::FromAgent>,
    outbox: VecDeque<Up>,
    /// The newest plan that the runner has not taken yet.
    plan: Option<v1::Plan>,
    clock: Clock,
    /// What Welcome said.
    reconnect_within: Duration,
    welcomed: Option<Welcomed>,
    end: Option<End>,
}

/// What a session waits for.
enum Happened {
    Received(Result<Option<v1::ToAgent>, tonic::Status>),
    /// The spool's state changed; false: it is gone.
    Spool(bool),
    Applied(v1::PlanApplied),
    PlanTaken,
    StatusDue,
    Writable,
    Deadline,
    Stopping,
}

/// Speaks with the collector until the session ends or the agent stops.
pub(super) async fn run(channel: Channel, lifetime: Duration, shared: Shared<'_>) -> Outcome {
    let mut state = shared.spool.state();
    let spool = state.borrow_and_update().clone();
    let now = Instant::now();
    let (to_collector, stream) = mpsc::channel(OUTBOX_DEPTH);
    let clock = *shared.links.clock.borrow();
    let session = Session::open(shared.config.agent_id.into_bytes(), spool.clone(), now, lifetime);
    let plan_hash = shared.links.plan_hash.borrow().clone();
    let hello = hello(shared.config, &spool, plan_hash, clock.to_unix_ns(now));
    let outbox = VecDeque::from([Up::Hello(hello)]);
    let mut drive = Drive {
        shared,
        session,
        state,
        to_collector,
        outbox,
        plan: None,
        clock,
        reconnect_within: Duration::ZERO,
        welcomed: None,
        end: None,
    };
    // Hello leaves with the request: a collector may answer the call only after it.
    drive.flush();
    let opening = timeout(OPEN_MAX, open(channel, stream, drive.shared.config));
    let opened = tokio::select! {
        opened = opening => Some(opened),
        _ = drive.shared.stop.wait_for(|stop| *stop) => None,
    };
    let end = match opened {
        Some(Ok(Ok(inbound))) => drive.converse(inbound).await,
        Some(Ok(Err(status))) => retry(status_text(&status)),
        Some(Err(_)) => retry("the collector does not answer the call".to_owned()),
        None => stopped(),
    };
    Outcome { end, welcomed: drive.welcomed }
}

async fn open(
    channel: Channel,
    stream: mpsc::Receiver<v1::FromAgent>,
    config: &UplinkConfig,
) -> Result<Streaming<v1::ToAgent>, tonic::Status> {
    let mut client = FleetClient::new(channel)
        .max_decoding_message_size(PLAN_MESSAGE_MAX_BYTES)
        .max_encoding_message_size(MESSAGE_MAX_BYTES);
    let mut request = Request::new(ReceiverStream::new(stream));
    if config.tls.is_none() {
        let id = config.agent_id.to_string();
        let id = id.parse().map_err(|_| tonic::Status::internal("the agent's id is no header"))?;
        request.metadata_mut().insert(AGENT_ID_METADATA, id);
    }
    Ok(client.session(request).await?.into_inner())
}

impl Drive<'_> {
    async fn converse(&mut self, mut inbound: Streaming<v1::ToAgent>) -> End {
        let mut status = interval(STATUS_EVERY);
        status.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut farewell = None;
        loop {
            self.flush();
            if let Some(end) = self.end.take() {
                return end;
            }
            let stopping = *self.shared.stop.borrow();
            if stopping {
                let until = *farewell.get_or_insert_with(|| Instant::now() + FAREWELL_MAX);
                let heard = !self.state.has_changed().unwrap_or(false);
                let delivered = heard && self.session.is_idle() && self.outbox.is_empty();
                if delivered || Instant::now() >= until {
                    return stopped();
                }
            }
            let deadline = self.session.deadline(Instant::now());
            let deadline = farewell.map_or(deadline, |until| deadline.min(until));
            if let Err(end) = self.step(&mut inbound, &mut status, deadline).await {
                return end;
            }
        }
    }

    /// Waits for one thing to happen, and acts on it.
    async fn step(
        &mut self,
        inbound: &mut Streaming<v1::ToAgent>,
        status: &mut Interval,
        deadline: Instant,
    ) -> Result<(), End> {
        match self.wait(inbound, status, deadline).await {
            Happened::Received(Ok(Some(message))) => self.received(message).await,
            Happened::Received(Ok(None)) => {
                Err(retry("the collector ended the session".to_owned()))
            }
            Happened::Received(Err(error)) => Err(retry(status_text(&error))),
            Happened::Spool(true) => {
                let state = self.state.borrow_and_update().clone();
                self.give(Input::Spool(state)).await
            }
            Happened::Spool(false) => Err(retry("the spool is closed".to_owned())),
            Happened::Applied(applied) => {
                self.outbox.push_back(Up::PlanApplied(applied));
                Ok(())
            }
            Happened::PlanTaken => {
                if let Some(plan) = self.plan.take()
                    && let Err(kept) = self.shared.links.plans.try_send(plan)
                {
                    self.plan = Some(kept.into_inner());
                }
                Ok(())
            }
            Happened::StatusDue => {
                self.push_status();
                Ok(())
            }
            Happened::Deadline => self.give(Input::Tick).await,
            Happened::Writable | Happened::Stopping => Ok(()),
        }
    }

    async fn wait(
        &mut self,
        inbound: &mut Streaming<v1::ToAgent>,
        status: &mut Interval,
        deadline: Instant,
    ) -> Happened {
        let welcomed = self.welcomed.is_some();
        let links = &mut *self.shared.links;
        tokio::select! {
            message = inbound.message() => Happened::Received(message),
            changed = self.state.changed() => Happened::Spool(changed.is_ok()),
            // A call that takes no more ends with its answers: there the reason is.
            Ok(_) = self.to_collector.reserve(), if !self.outbox.is_empty() => Happened::Writable,
            Ok(_) = links.plans.reserve(), if self.plan.is_some() => Happened::PlanTaken,
            Some(applied) = links.applied.recv(), if welcomed => Happened::Applied(applied),
            _ = status.tick(), if welcomed => Happened::StatusDue,
            () = sleep_until(deadline) => Happened::Deadline,
            Ok(()) = self.shared.stop.changed() => Happened::Stopping,
        }
    }

    /// Hands over what the transport takes at once.
    fn flush(&mut self) {
        while let Some(message) = self.outbox.pop_front() {
            if let Err(full) = self.to_collector.try_send(v1::FromAgent { message: Some(message) })
            {
                self.outbox.extend(full.into_inner().message);
                self.outbox.rotate_right(1);
                return;
            }
        }
    }

    async fn received(&mut self, message: v1::ToAgent) -> Result<(), End> {
        match message.message {
            Some(Down::Welcome(welcome)) => {
                self.reconnect_within =
                    Duration::from_millis(u64::from(welcome.reconnect_within_ms));
                self.give(Input::Welcome(welcome)).await
            }
            Some(Down::Ack(ack)) => self.give(Input::Ack(ack)).await,
            Some(Down::Nack(nack)) => self.give(Input::Nack(nack)).await,
            Some(Down::GoAway(go_away)) => self.give(Input::GoAway(go_away)).await,
            Some(Down::Plan(plan)) => {
                self.plan = Some(plan); // an older one that nobody took is overtaken
                Ok(())
            }
            None => Ok(()), // of a newer collector
        }
    }

    /// Feeds the state machine, and what comes of it, until it wants nothing more at once.
    async fn give(&mut self, input: Input) -> Result<(), End> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in self.session.handle(input, Instant::now()) {
                let answer = self.act(output).await.map_err(|error| retry(error.to_string()))?;
                if answer.is_some() {
                    // The answer is about the spool as it is now, so the session should know that first.
                    inputs.push_back(Input::Spool(self.state.borrow().clone()));
                }
                inputs.extend(answer);
            }
        }
        Ok(())
    }

    async fn act(&mut self, output: Output) -> Result<Option<Input>, SpoolError> {
        match output {
            Output::AskHash(seq) => {
                let hash = self.shared.spool.hash_of(seq).await?;
                return Ok(Some(Input::Hash { seq, hash }));
            }
            Output::Bridge { seq, hash } => {
                tracing::warn!(
                    seq,
                    "the collector lost records that are no longer held here; a gap says so"
                );
                self.shared.spool.bridge(seq, hash).await?;
                return Ok(Some(Input::Bridged));
            }
            Output::Refuse { seq, why } => {
                let refused = self.shared.spool.refused(seq, why.clone()).await?;
                if let Refused::SetAside(file) = &refused {
                    tracing::error!(seq, %why, file = %file.display(), "a record was set aside; a gap stands for it");
                }
                return Ok(Some(Input::Refused { seq, refused }));
            }
            Output::Read { from, max_bytes } => {
                let records = self.shared.spool.read_from(from, max_bytes).await?;
                return Ok(Some(Input::Records { from, records }));
            }
            Output::Send(data) => self.outbox.push_back(Up::Data(data)),
            Output::Release(seq) => self.shared.spool.released(seq).await?,
            Output::Clock { since, collector_ns } => self.compare_clocks(since, collector_ns),
            Output::Welcomed => {
                let (at, reconnect_within) = (Instant::now(), self.reconnect_within);
                self.welcomed = Some(Welcomed { at, reconnect_within });
                self.shared.link.send_replace(LinkState::Up);
                self.shared.sessions.send_modify(|sessions| *sessions += 1);
                tracing::info!("connected to the collector");
            }
            Output::End(end) => self.end = Some(end),
        }
        Ok(None)
    }

    fn compare_clocks(&mut self, since: Instant, collector_ns: u64) {
        let now = Instant::now();
        let clock = *self.shared.links.clock.borrow();
        if clock.to_unix_ns(now).abs_diff(self.clock.to_unix_ns(now)) > CLOCK_STEP_NS {
            self.shared.estimate.forget();
        }
        self.clock = clock;
        let exchange = Exchange {
            sent_ns: clock.to_unix_ns(since),
            collector_ns,
            received_ns: clock.to_unix_ns(now),
        };
        let best = exchange.offset().and_then(|measured| self.shared.estimate.offer(measured, now));
        if best.is_some() {
            self.shared.offset.send_replace(best);
        }
    }

    /// Sends what is happening now, unless the line is busy: then the next one says it better.
    /// What is happening now goes before what waits: while a spool is drained something always does.
    fn push_status(&mut self) {
        if self.outbox.iter().any(|waiting| matches!(waiting, Up::Status(_))) {
            return;
        }
        let state = self.state.borrow().clone();
        let mut status = self.shared.links.status.borrow_and_update().clone();
        status.backlog_bytes = state.unacked_bytes;
        status.oldest_unsent_s = state.oldest_unsent_s.unwrap_or(0);
        while status.encoded_len() > STATUS_MAX_BYTES {
            status.probes.truncate(status.probes.len() / 2);
        }
        self.outbox.push_front(Up::Status(status));
    }
}

fn stopped() -> End {
    End::Stopped("the agent stops".to_owned())
}

fn retry(why: String) -> End {
    End::Retry { why, after: None }
}

fn status_text(status: &tonic::Status) -> String {
    let what =
        if status.message().is_empty() { status.code().description() } else { status.message() };
    let what: String = what.chars().filter(|c| !c.is_control()).take(200).collect();
    std::error::Error::source(status)
        .map_or_else(|| what.clone(), |source| format!("{what}: {}", chain(source)))
}
