//! Provisional responses that must not be lost: each is acknowledged by a PRACK of its early dialog (RFC 3262).

use super::dialog::{Remote, Says};
use super::outgoing::Request;
use super::{Call, DIALOGS_MAX};
use crate::probe::sip::message::Message;
use crate::probe::sip::sdp::{Audio, CONTENT_TYPE, audio};
use tokio::time::Instant;

/// Largest `RSeq` (RFC 3262 §7.1).
const RSEQ_MAX: u32 = (1 << 31) - 1;

/// One branch of the call that rings.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) remote: Remote,
    /// The last that was acknowledged.
    rseq: u32,
    /// The first description of the other side: the answer to our offer.
    described: Option<Vec<u8>>,
    /// The PRACK under way.
    pub(super) prack: Option<Request>,
}

impl Early {
    /// Where the other side expects audio, as far as it has said so.
    pub(super) fn audio(&self) -> Option<Audio> {
        audio(self.described.as_deref()?)
    }
}

impl Call {
    /// Whether a provisional response may be processed: one that comes again, or out of its order, may not (RFC 3262 §4).
    /// One that is to be acknowledged is.
    pub(super) fn is_in_order(&mut self, response: &Message<'_>, at: Instant) -> bool {
        let Some((tag, rseq)) = reliable(response) else { return true };
        let known = self.early.iter().position(|early| early.remote.tag == tag);
        let index = match known {
            Some(index) if self.early[index].rseq.checked_add(1) == Some(rseq) => index,
            Some(_) => return false,
            None if self.early.len() == DIALOGS_MAX => return false,
            None => {
                let (aim, aside) = (&self.current().aim, !self.early.is_empty());
                let remote = Remote::new(&aim.uri, response, aim.sequence, aside);
                self.early.push(Early { remote, rseq, described: None, prack: None });
                self.early.len() - 1
            }
        };
        self.early[index].rseq = rseq;
        self.acknowledge(index, response, at);
        true
    }

    fn acknowledge(&mut self, index: usize, response: &Message<'_>, now: Instant) {
        let body = self.early[index].reply(response).map(|offer| {
            // An offer is answered in the PRACK (RFC 3262 §5), if need be by taking nothing of it.
            let media = &self.plan.media;
            media.answer(&offer, self.session).unwrap_or_else(|| {
                let ours = media.offer(self.session);
                declined(&ours, &offer)
            })
        });
        let invite = self.current().aim.sequence;
        let early = &mut self.early[index];
        early.remote.sequence += 1;
        let headers = vec![("RAck", format!("{} {invite} INVITE", early.rseq))];
        let (method, sequence, body) = ("PRACK", early.remote.sequence, body.unwrap_or_default());
        let says = Says { method, sequence, headers, body };
        let (caller, authorizer) = (&mut self.caller, self.authorizer.as_mut());
        let prack = Request::within(&early.remote, caller, authorizer, says, now);
        self.outbox.push(&prack.written.path, prack.written.bytes.clone(), None);
        early.prack = Some(prack);
    }
}

impl Early {
    /// The offer in a response, if it is one: what describes the other side first is the answer to ours, and what says
    /// the same again is nothing new.
    fn reply(&mut self, response: &Message<'_>) -> Option<Vec<u8>> {
        let is_sdp = response
            .first("Content-Type")
            .is_some_and(|kind| kind.to_ascii_lowercase().starts_with(CONTENT_TYPE.as_bytes()));
        if response.body.is_empty() || !is_sdp {
            return None;
        }
        let body = response.body.to_vec();
        match &self.described {
            None => {
                self.described = Some(body);
                None
            }
            Some(before) if *before == body => None,
            Some(_) => Some(body),
        }
    }
}

/// Tag and `RSeq` of a provisional response that is to be acknowledged.
fn reliable<'a>(response: &'a Message<'_>) -> Option<(&'a [u8], u32)> {
    let required = response.values("Require").any(|option| option.eq_ignore_ascii_case(b"100rel"));
    let rseq: u32 = std::str::from_utf8(response.first("RSeq")?).ok()?.parse().ok()?;
    let tag = response.tag("To")?;
    let sound = required && response.status() != Some(100) && (1..=RSEQ_MAX).contains(&rseq);
    sound.then_some((tag, rseq))
}

/// The answer that takes nothing of an offer: each of its media with port 0 (RFC 3264 §6).
fn declined(ours: &str, offer: &[u8]) -> String {
    let session = ours.split_inclusive('\n').take_while(|line| !line.starts_with("m="));
    let offer = String::from_utf8_lossy(offer);
    let media = offer.lines().filter_map(|line| {
        let (kind, rest) = line.strip_prefix("m=")?.split_once(' ')?;
        let (_, rest) = rest.split_once(' ')?;
        Some(format!("m={kind} 0 {rest}\r\n"))
    });
    session.map(str::to_owned).chain(media).collect()
}
