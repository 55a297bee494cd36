//! A call that was accepted, as its caller has it: where its requests go, and what they say (RFC 3261 §12, §13.2.2.4).

use super::outgoing::Request;
use crate::probe::sip::caller::{Caller, Line};
use crate::probe::sip::message::{Message, NameAddr};
use crate::probe::sip::scenario::Way;
use crate::probe::sip::uri::{Hop, Uri};
use tokio::time::Instant;

/// Sequence number of the INVITE, and so of the ACK to its 2xx (RFC 3261 §13.2.2.4).
pub(super) const INVITE_SEQUENCE: u32 = 1;
/// Sequence number of the BYE.
const BYE_SEQUENCE: u32 = INVITE_SEQUENCE + 1;

/// One accepted call. A fork makes several of one INVITE, told apart by the tag in `To`.
#[derive(Debug)]
pub(super) struct Dialog {
    /// The other side's tag; empty where a peer of RFC 2543 gave none.
    pub(super) remote_tag: Vec<u8>,
    /// The status that accepted it.
    pub(super) status: u16,
    /// `To` of the 2xx, with its tag.
    to: Vec<u8>,
    uri: Uri,
    routes: Vec<Vec<u8>>,
    /// Where its requests go.
    pub(super) way: Way,
    ack: Vec<u8>,
    /// Our BYE, once it was sent.
    pub(super) bye: Option<Request>,
    /// The other side has hung up.
    pub(super) ended_by_peer: bool,
}

impl Dialog {
    /// The dialog that a 2xx makes; the first is the call.
    pub(super) fn new(
        caller: &mut Caller,
        response: &Message<'_>,
        status: u16,
        is_first: bool,
    ) -> Self {
        let target = response.values("Contact").next().and_then(NameAddr::parse);
        // A 2xx must have a Contact (§13.3.1.4); where one has none, the call is where it was asked for.
        let target = target
            .and_then(|contact| Uri::parse(contact.uri))
            .unwrap_or_else(|| caller.target.as_request_uri());
        let mut routes: Vec<&[u8]> = response.values("Record-Route").collect();
        routes.reverse();
        let (uri, routes, hop) = route(&target, &routes);
        let mut dialog = Self {
            remote_tag: response.tag("To").unwrap_or_default().to_vec(),
            status,
            to: response.first("To").unwrap_or_default().to_vec(),
            uri,
            routes,
            way: if is_first { Way::Hop(hop) } else { Way::Aside(hop) },
            ack: Vec::new(),
            bye: None,
            ended_by_peer: false,
        };
        let branch = caller.identifiers.branch();
        dialog.ack = dialog.request(caller, "ACK", &branch, INVITE_SEQUENCE);
        dialog
    }

    fn request(&self, caller: &Caller, method: &str, branch: &str, sequence: u32) -> Vec<u8> {
        let line = Line { method, uri: &self.uri, branch, sequence };
        caller.request(&line, &self.to).headers("Route", &self.routes).empty()
    }

    /// The ACK, the same for every repetition of the 2xx.
    pub(super) fn ack(&self) -> Vec<u8> {
        self.ack.clone()
    }

    /// Hangs up. Returns the BYE.
    pub(super) fn hang_up(&mut self, caller: &mut Caller, now: Instant) -> Vec<u8> {
        let branch = caller.identifiers.branch();
        let bytes = self.request(caller, "BYE", &branch, BYE_SEQUENCE);
        self.bye = Some(Request::new("BYE", branch, bytes.clone(), now));
        bytes
    }

    /// Whether nobody has hung up yet.
    pub(super) fn is_up(&self) -> bool {
        self.bye.is_none() && !self.ended_by_peer
    }

    /// Whether our BYE is still to be answered.
    pub(super) fn is_ending(&self) -> bool {
        self.bye.as_ref().is_some_and(|bye| bye.transaction.is_pending())
    }
}

/// Request-URI, `Route` and next hop of requests in a dialog (RFC 3261 §12.2.1.1): through loose routers, or, where the
/// first is of RFC 2543, with its own address as the Request-URI.
fn route(target: &Uri, routes: &[&[u8]]) -> (Uri, Vec<Vec<u8>>, Hop) {
    let first = routes.first().and_then(|route| Uri::parse(NameAddr::parse(route)?.uri));
    let owned = |routes: &[&[u8]]| routes.iter().map(|route| route.to_vec()).collect::<Vec<_>>();
    match first {
        None => {
            let hop = target.hop();
            (target.as_request_uri(), Vec::new(), hop)
        }
        Some(first) if first.parameter("lr").is_some() => {
            (target.as_request_uri(), owned(routes), first.hop())
        }
        Some(first) => {
            let mut rest = owned(&routes[1..]);
            rest.push(format!("<{target}>").into_bytes());
            (first.as_request_uri(), rest, first.hop())
        }
    }
}
