//! An attempt from its beginning: as whom, to which servers, with what right, what for.

use super::account::{self, Account};
use super::audio::Audio;
use super::call::{Call, CallKind, CallPlan};
use super::caller::{AskPlan, Caller};
use super::conversation::{Conversation, Parts};
use super::dial::{Dialler, Limit};
use super::identity::{Identifiers, SEED_BYTES};
use super::links::{Links, Server};
use super::locate::{LOCATED_MAX, Located, Wanted, locate};
use super::options::Options;
use super::register::{Register, RegisterPlan};
use super::scenario::{Conclusion, Scenario, Targets};
use super::spec::{Mode, Spec};
use super::stamps::Stamps;
use super::uri::Hop;
use super::{INVITE, OPTIONS, REGISTER, agent_error};
use crate::policy::{Kind, UserPattern};
use crate::probe::environment::CallSlot;
use crate::probe::failure::{Failure, denied, from_io_at_once};
use crate::probe::progress::{Progress, RESOLVE};
use crate::probe::{Attempt, Environment, Outcome, Sample};
use probefleet_proto::name::InvalidReason;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a binding is to last, in seconds, should it not be taken back: a minute, as short as registrars take it.
const REGISTER_EXPIRES_S: u32 = 60;

/// Runs one attempt.
pub(super) async fn run(spec: &Spec, environment: &Environment, attempt: Attempt) -> Sample {
    let progress = Progress::new(attempt);
    let Attempt { deadline, detailed, .. } = attempt;
    let mut run = Run { spec, environment, progress, deadline, detailed };
    let mut sample = match Box::pin(run.converse()).await {
        Ok(conclusion) => {
            for (phase, delay) in conclusion.phases {
                run.progress.measured(phase, delay);
            }
            run.progress.counters = conclusion.counters;
            let result = conclusion.result.map(|status| Some(format!("sip:{status}").into()));
            run.progress.finish(conclusion.at, result)
        }
        Err(failure) => run.progress.finish(Instant::now(), Err(failure)),
    };
    match sample.outcome {
        Outcome::Invalid(_) => sample.counters.clear(),
        // Not even the first request could be sent: to whoever wanted it that is a 503 (RFC 3261 §8.1.3.1).
        Outcome::Failed(_) if sample.counters.is_empty() => {
            sample.counters = spec.mode.unreachable().iter().map(|name| (*name, 1)).collect();
        }
        Outcome::Ok | Outcome::Failed(_) => {}
    }
    sample
}

/// The right to what an attempt does.
#[derive(Debug, Default)]
struct Admitted {
    /// To one call.
    slot: Option<CallSlot>,
    /// Whom it may reach, should it be redirected; `None` = everybody.
    users: Option<Vec<UserPattern>>,
}

/// An attempt under way.
struct Run<'a> {
    spec: &'a Spec,
    environment: &'a Environment,
    progress: Progress,
    deadline: Instant,
    detailed: bool,
}

impl Run<'_> {
    /// Finds out as whom and who can be asked, and asks.
    async fn converse(&mut self) -> Result<Conclusion, Failure> {
        let account = self.account().await?;
        let mut identifiers = Identifiers::new(seed()?);
        let servers = self.servers(&account, identifiers.number()).await?;
        let first = servers.first().ok_or_else(|| agent_error("nobody to ask"))?;
        self.note("address", || first.address.to_string());
        let admitted = self.admit(first)?;
        let parts = self.begin((account, identifiers), &servers, admitted).await?;
        let mut conversation = Conversation::new(self.environment.tails(), parts);
        let conclusion = conversation.run(self.dialler(), self.deadline).await;
        if self.detailed {
            self.progress.detail.extend(conversation.notes());
        }
        let mut conclusion =
            conclusion.ok_or_else(|| agent_error("the conversation was over before it began"))?;
        self.progress.values = conversation.judge(&mut conclusion, &mut self.progress.detail);
        Ok(conclusion)
    }

    fn note(&mut self, key: &str, value: impl FnOnce() -> String) {
        if self.detailed {
            self.progress.detail.insert(key.to_owned(), value().into());
        }
    }

    fn dialler(&self) -> Dialler<'_> {
        Dialler { spec: self.spec, environment: self.environment }
    }

    /// The account that the plan names. Its password stands in a file.
    async fn account(&self) -> Result<Account, Failure> {
        let Some(name) = self.spec.account.clone() else { return Ok(Account::default()) };
        let environment = self.environment.clone();
        let load = move || account::load(&name, environment.permission());
        let mut account = tokio::task::spawn_blocking(load)
            .await
            .unwrap_or_else(|error| Err(agent_error(&error.to_string())))?;
        // What must be private is private on every way, that to the proxy too (RFC 3261 §26.2.2).
        if let Some(proxy) = &mut account.proxy {
            proxy.secure |= self.spec.uri.secure;
        }
        Ok(account)
    }

    /// Those who can be asked, in that order, as far as the policy permits them.
    async fn servers(&mut self, account: &Account, random: u64) -> Result<Vec<Server>, Failure> {
        let uri = account.proxy.as_ref().unwrap_or(&self.spec.uri);
        let Hop { host, port, .. } = uri.hop();
        let permission = self.environment.permission();
        permission.check_host(Kind::Sip, &host, port).map_err(denied)?;
        self.progress.enter(RESOLVE);
        let most = if self.spec.failover { LOCATED_MAX } else { 1 };
        let wanted = Wanted { family: self.spec.family, most };
        let mut random = fastrand::Rng::with_seed(random);
        let finding = locate(uri, wanted, self.environment.resolver(), &mut random);
        let found = timeout_at(self.deadline, Box::pin(finding)).await;
        let found = found.unwrap_or_else(|_| Err(self.progress.deadline_passed()))?;
        if host.parse::<IpAddr>().is_err() {
            self.progress.done();
        }
        let mut servers = Vec::new();
        let mut refused = None;
        for server in found {
            match self.permitted(&host, server) {
                Ok(server) => servers.push(server),
                Err(failure) => refused = refused.or(Some(failure)),
            }
        }
        match refused {
            Some(failure) if servers.is_empty() => Err(failure),
            _ => Ok(servers),
        }
    }

    /// A server, if the policy permits it by the name that was asked for or by its own.
    fn permitted(&self, asked: &str, server: Located) -> Result<Server, Failure> {
        // A v4-mapped address is asked as what it is, so that the policy sees what the network will.
        let address = SocketAddr::new(server.address.ip().to_canonical(), server.address.port());
        let permission = self.environment.permission();
        permission
            .check(Kind::Sip, asked, address)
            .or_else(|refused| {
                permission.check(Kind::Sip, &server.host, address).map_err(|_| refused)
            })
            .map_err(denied)?;
        let name = Hop { host: server.host, port: address.port(), transport: server.transport };
        Ok(Server { address, name, domain: asked.to_owned() })
    }

    /// The right to make the call: calls cost money.
    fn admit(&self, server: &Server) -> Result<Admitted, Failure> {
        let Some(hold) = self.spec.mode.hold() else { return Ok(Admitted::default()) };
        let permission = self.environment.permission();
        // By the names by which the server was permitted, so that some entry covers it.
        let limits = permission
            .call_limits(&server.domain, server.address)
            .or_else(|| permission.call_limits(&server.name.host, server.address));
        let Some((entry, limits)) = limits else { return Ok(Admitted::default()) };
        let user = self.spec.uri.user.as_deref().unwrap_or_default();
        let slot = self.environment.admit_call(entry, &limits, (user, hold));
        let slot = slot.map_err(|refused| {
            Failure::invalid(InvalidReason::PolicyDenied, refused.code(), refused.to_string())
        })?;
        Ok(Admitted { slot: Some(slot), users: limits.users })
    }

    /// Opens the way to the first server that can be had (RFC 3263 §4.3).
    async fn open(&mut self, servers: &[Server]) -> Result<(Links, SocketAddr), Failure> {
        let limit = Limit { deadline: self.deadline, phase: self.spec.mode.waiting() };
        let mut refused = agent_error("nobody to ask");
        for index in 0..servers.len() {
            let mut links = Links::new(servers[index..].to_vec());
            self.note("address", || servers[index].address.to_string());
            match links.open_first(self.dialler(), limit).await {
                Ok(local) => return Ok((links, local)),
                Err(failure) => refused = failure,
            }
            // What is wrong here is wrong for the next one too.
            let is_ours = matches!(refused.outcome, Outcome::Invalid(_));
            if is_ours || !self.spec.failover || Instant::now() >= self.deadline {
                break;
            }
        }
        Err(refused)
    }

    /// Opens a way and writes the first request.
    async fn begin(
        &mut self,
        (account, mut identifiers): (Account, Identifiers),
        servers: &[Server],
        Admitted { slot, users }: Admitted,
    ) -> Result<Parts, Failure> {
        let at_once = |error| from_io_at_once(&error);
        // The future is large, and this is soon done.
        let (links, local) = Box::pin(self.open(servers)).await?;
        let transports = links.servers().iter().map(|server| server.name.transport).collect();
        let ask = AskPlan {
            expected: self.spec.expected.clone(),
            credentials: account.credentials,
            from: account.from.map(Box::new),
            proxy: account.proxy.map(Box::new),
            targets: Targets { transports, failover: self.spec.failover },
        };
        let audio_random = identifiers.number();
        let caller = Caller::new(self.spec.uri.clone(), local.to_string(), identifiers);
        // By it, traces and logs of the other side have the same call.
        self.note("call_id", || caller.call_id().to_owned());
        let now = Instant::now();
        let scenario: Box<dyn Scenario>;
        let mut audio = Audio::none();
        match self.spec.mode {
            Mode::Options => scenario = Box::new(Options::new(caller, ask, now)),
            Mode::Register => {
                let plan = RegisterPlan { ask, expires_s: REGISTER_EXPIRES_S };
                scenario = Box::new(Register::new(caller, plan, now));
            }
            Mode::Ring | Mode::Call { .. } => {
                audio = self.audio(local, audio_random).map_err(at_once)?;
                let place = audio.place().map_err(at_once)?;
                let ring = self.spec.mode == Mode::Ring;
                let kind = if ring { CallKind::Ring } else { CallKind::Answer };
                let hold = self.spec.mode.hold().unwrap_or_default();
                let deadline = self.deadline;
                let plan = CallPlan { ask, kind, users, hold, deadline, media: place };
                scenario = Box::new(Call::new(caller, plan, now));
            }
        }
        let phase = self.spec.mode.waiting();
        Ok(Parts { scenario, links, stamps: Stamps::default(), audio, slot, phase })
    }
}

impl Run<'_> {
    /// Ports for the audio of a call.
    fn audio(&self, local: SocketAddr, random: u64) -> io::Result<Audio> {
        match self.spec.mode {
            Mode::Call { hold, with_media: true, .. } => Audio::of(local.ip(), hold, random),
            _ => self.environment.deaf_ports().at(local.ip()).map(Audio::deaf),
        }
    }
}

impl Mode {
    /// How long a call is to be up; `None` where no call is made.
    fn hold(&self) -> Option<Duration> {
        match self {
            Self::Options | Self::Register => None,
            Self::Ring => Some(Duration::ZERO),
            Self::Call { hold, .. } => Some(*hold),
        }
    }

    /// The phase in which nothing is answered yet.
    const fn waiting(&self) -> &'static str {
        match self {
            Self::Options => OPTIONS,
            Self::Register => REGISTER,
            Self::Ring | Self::Call { .. } => INVITE,
        }
    }

    /// What an attempt counts that reached nobody.
    const fn unreachable(&self) -> &'static [&'static str] {
        match self {
            Self::Options => &[],
            Self::Register => &["registrations", "registrations_ineffective"],
            Self::Ring | Self::Call { .. } => &["call_attempts", "ineffective"],
        }
    }
}

/// Bytes that nobody can guess.
pub(super) fn seed() -> Result<[u8; SEED_BYTES], Failure> {
    let mut seed = [0; SEED_BYTES];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut seed).map_err(|_| agent_error("the system gives no random numbers"))?;
    Ok(seed)
}
