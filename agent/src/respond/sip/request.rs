//! A request as the one who is called reads it: what names its call, and where its answers go. Pure.

use super::answerer::{Asked, Key};
use crate::probe::sip::message::{Builder, Message, StartLine, Via, cseq, parameter, reply};
use crate::probe::sip::transport::Transport;
use crate::probe::sip::uri::{Hop, Uri};

/// How the responder names itself.
const SERVER: &str = concat!("probefleet-responder/", env!("CARGO_PKG_VERSION"));

/// A well-formed request: it has what every answer repeats.
pub(super) struct Request<'a> {
    pub(super) message: &'a Message<'a>,
    pub(super) asked: &'a Asked<'a>,
    pub(super) method: &'a [u8],
    pub(super) key: Key,
    pub(super) via: &'a [u8],
    /// Where its answers go (RFC 3261 §18.2.2, RFC 3581 §4).
    pub(super) to: Hop,
    pub(super) uri: Uri,
}

impl<'a> Request<'a> {
    /// Reads it; `None` when it lacks what every answer repeats.
    pub(super) fn of(message: &'a Message<'a>, asked: &'a Asked<'a>) -> Option<Self> {
        let StartLine::Request { method, uri } = message.start else { return None };
        let via = message.values("Via").next()?;
        let top = Via::parse(via)?;
        let (_, sequenced) = cseq(message.first("CSeq")?)?;
        let call_id = message.first("Call-ID").filter(|id| !id.is_empty())?;
        let (from, _) = (message.first("From")?, message.first("To")?);
        if sequenced != method || from.is_empty() {
            return None;
        }
        let asked_back = parameter(top.parameters, "rport").is_some();
        let port = if asked_back {
            asked.source.port
        } else {
            top.port().unwrap_or(Transport::Udp.port())
        };
        let to = Hop { port, ..asked.source.clone() };
        let key = (call_id.to_vec(), message.tag("From").unwrap_or_default().to_vec());
        Some(Self { message, asked, method, key, via, to, uri: Uri::parse(uri)? })
    }

    /// Whom it asks.
    pub(super) fn user(&self) -> &str {
        self.uri.user.as_deref().unwrap_or_default()
    }

    /// Whether it is within the dialog of that tag.
    pub(super) fn is_to(&self, tag: &str) -> bool {
        self.message.tag("To") == Some(tag.as_bytes())
    }

    /// Begins an answer.
    pub(super) fn reply(&self, status: (u16, &str), tag: &str) -> Option<Builder> {
        let builder = reply(self.message, status, self.asked.source, Some(tag))?;
        Some(builder.header("Server", SERVER))
    }
}
