//! The audio of an attempt: begun when the call is answered, ended with its BYE, and what it means for the outcome.

use super::links::Links;
use super::media::machine::{MediaPlan, MediaReport};
use super::media::session::{MediaSession, MediaSockets, Remote, Strays};
use super::media::tone::Codec;
use super::scenario::{Conclusion, Established};
use super::sdp::MediaPlace;
use crate::policy::Kind;
use crate::probe::Environment;
use crate::probe::failure::{Failure, denied};
use probefleet_proto::name::{FailureClass, InvalidReason};
use serde_json::{Map, Value, json};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// From the 200 to the first packet of audio.
const MEDIA_SETUP: &str = "media_setup";
/// Interarrival jitter (RFC 3550 §6.4.1).
const JITTER: &str = "jitter";
/// Share of packets that did not come, in millionths.
const LOSS_PPM: &str = "loss_ppm";
/// MOS-CQE, in hundredths.
const MOS_CENTI: &str = "mos_centi";

/// The audio of one attempt.
#[derive(Debug)]
pub(super) struct Audio {
    state: State,
    /// How long it lasts.
    hold: Duration,
    seed: u64,
}

#[derive(Debug)]
enum State {
    /// No call.
    None,
    /// No audio is wanted.
    Deaf(Arc<UdpSocket>),
    /// To begin with the answer.
    Waiting(MediaSockets),
    /// Under way.
    Running(Box<MediaSession>),
    /// Over.
    Ended(Box<(MediaReport, Strays)>),
    /// It never began.
    Refused(Failure),
}

impl Audio {
    /// Of an attempt that makes no call.
    pub(super) const fn none() -> Self {
        Self { state: State::None, hold: Duration::ZERO, seed: 0 }
    }

    /// A port that nobody reads.
    pub(super) const fn deaf(socket: Arc<UdpSocket>) -> Self {
        Self { state: State::Deaf(socket), hold: Duration::ZERO, seed: 0 }
    }

    /// Audio on a pair of ports beside that address.
    pub(super) fn of(local: IpAddr, hold: Duration, seed: u64) -> io::Result<Self> {
        Ok(Self { state: State::Waiting(MediaSockets::bind_pair(local)?), hold, seed })
    }

    /// Where audio may come, as an offer says it.
    pub(super) fn place(&self) -> io::Result<MediaPlace> {
        match &self.state {
            State::Deaf(socket) => {
                let address = socket.local_addr()?;
                Ok(MediaPlace { address: address.ip().to_string(), port: address.port() })
            }
            State::Waiting(sockets) => sockets.place(),
            _ => Err(io::Error::other("no port is bound for audio")),
        }
    }

    /// Begins where a call is up, and ends where it is not any more.
    pub(super) fn follow(
        &mut self,
        call: Option<&Established>,
        links: &Links,
        environment: &Environment,
    ) {
        match (std::mem::replace(&mut self.state, State::None), call) {
            (State::Waiting(sockets), Some(call)) => {
                self.state = self.begin(sockets, call, (links, environment))
            }
            (State::Running(session), None) => self.state = State::Ended(Box::new(session.end())),
            (state, _) => self.state = state,
        }
    }

    fn begin(
        &self,
        sockets: MediaSockets,
        call: &Established,
        ways: (&Links, &Environment),
    ) -> State {
        let begun = call
            .audio
            .as_ref()
            .ok_or_else(|| no_audio("sdp", "the answer has no audio that is known here"));
        let begun = begun.and_then(|audio| {
            let codec = Codec::named(audio.codec)
                .ok_or_else(|| no_audio("sdp", "the answer has no codec that is known here"))?;
            let remote = Remote {
                rtp: permitted(&audio.place, ways)?,
                rtcp: permitted(&audio.control, ways)?,
            };
            let plan = MediaPlan {
                codec,
                answered_at: call.answered_at,
                ends_at: call.answered_at + self.hold,
                direction: audio.direction,
                seed: self.seed,
            };
            Ok((remote, plan))
        });
        match begun {
            Ok((remote, plan)) => {
                State::Running(Box::new(MediaSession::new(sockets, remote, plan)))
            }
            Err(failure) => State::Refused(failure),
        }
    }

    /// Speaks and listens until then, if there is anything to say; else never returns.
    pub(super) async fn run(&mut self, until: Instant) {
        match &mut self.state {
            State::Running(session) => session.run(until).await,
            _ => std::future::pending().await,
        }
    }

    /// Nobody listens any more. The ports stay bound as long as the other side may take the call for established.
    pub(super) fn end(&mut self, may_be_up: bool) {
        if !may_be_up || matches!(self.state, State::Running(_)) {
            self.state = State::None;
        }
    }

    /// Adds what was heard to what came of the call. Returns the values.
    pub(super) fn judge(
        &mut self,
        conclusion: &mut Conclusion,
        notes: &mut Map<String, Value>,
    ) -> Vec<(&'static str, u64)> {
        let (report, strays) = match std::mem::replace(&mut self.state, State::None) {
            State::Ended(ended) => *ended,
            State::Running(session) => session.end(),
            State::Refused(failure) => {
                spoil(conclusion, failure);
                return Vec::new();
            }
            State::None | State::Deaf(_) | State::Waiting(_) => return Vec::new(),
        };
        notes.insert("audio".to_owned(), shown(&report, &strays));
        if report.no_audio {
            spoil(
                conclusion,
                no_audio("no_audio", "the call was answered, and nothing was to be heard"),
            );
            return Vec::new();
        }
        let Some(setup_ns) = report.media_setup_ns else { return Vec::new() };
        conclusion.phases.push((MEDIA_SETUP, Duration::from_nanos(setup_ns)));
        conclusion.phases.push((JITTER, Duration::from_nanos(report.reception.jitter_ns)));
        let mos = report.rating.map(|rating| (MOS_CENTI, rating.mos_centi));
        std::iter::once((LOSS_PPM, report.loss_ppm)).chain(mos).collect()
    }
}

/// A call that failed is what it is; one that went well was no call without its audio.
fn spoil(conclusion: &mut Conclusion, failure: Failure) {
    if conclusion.result.is_ok() {
        conclusion.result = Err(failure);
    }
}

fn no_audio(code: &'static str, why: &str) -> Failure {
    Failure::failed(FailureClass::Media, code, why)
}

/// The address of audio, if it may be spoken to: the machine that was asked for the call, or one that the policy permits by
/// itself.
fn permitted(
    place: &MediaPlace,
    (links, environment): (&Links, &Environment),
) -> Result<SocketAddr, Failure> {
    let ip: IpAddr = place.address.parse().map_err(|_| {
        let why = format!("the answer wants its audio at `{}`, which is no address", place.address);
        no_audio("sdp", &why)
    })?;
    let address = SocketAddr::new(ip.to_canonical(), place.port);
    if links.has_asked(address.ip()) {
        return Ok(address);
    }
    let permission = environment.permission();
    permission.check(Kind::Sip, &place.address, address).map(|()| address).map_err(|refused| {
        let failure = denied(refused);
        Failure::invalid(InvalidReason::PolicyDenied, "media_target", failure.why)
    })
}

/// What `try` shows of it.
fn shown(report: &MediaReport, strays: &Strays) -> Value {
    let heard = &report.reception;
    json!({
        "expected": heard.expected, "received": heard.received, "lost": report.lost(), "late": heard.late,
        "duplicates": heard.duplicates, "reordered": heard.reordered,
        "other_payload": heard.other_payload, "source_changes": heard.source_changes,
        "gap_max_ns": heard.gap_max_ns, "sent": report.sent, "skipped": report.skipped,
        "rtt_ns": report.rtt_ns, "r_centi": report.rating.map(|rating| rating.r_centi),
        "remote_loss_ppm": report.remote_loss_ppm, "remote_jitter_ns": report.remote_jitter_ns,
        "early": strays.early, "foreign": strays.foreign,
    })
}
