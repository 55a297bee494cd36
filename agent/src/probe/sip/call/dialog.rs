//! A call as its caller has it, early or accepted: where its requests go, and what they say (RFC 3261 §12, §13.2.2.4).

use super::outgoing::Request;
use crate::probe::sip::caller::{Caller, Line, carried};
use crate::probe::sip::digest::Authorizer;
use crate::probe::sip::message::{Message, NameAddr};
use crate::probe::sip::scenario::{Path, Way};
use crate::probe::sip::sdp::CONTENT_TYPE;
use crate::probe::sip::uri::{Hop, Uri};
use tokio::time::Instant;

/// Most BYEs of one call: the first, and those that answer a challenge.
const BYES_MAX: u32 = 3;

/// The other side of a dialog.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    /// Its tag; empty where a peer of RFC 2543 gave none.
    pub(super) tag: Vec<u8>,
    /// `To` of the response, with its tag.
    to: Vec<u8>,
    uri: Uri,
    routes: Vec<Vec<u8>>,
    /// Where requests go.
    pub(super) path: Path,
    /// Number of the last request in it.
    pub(super) sequence: u32,
}

/// A request in a dialog.
#[derive(Clone, Copy, Debug)]
pub(super) struct Within<'a> {
    pub(super) method: &'static str,
    pub(super) branch: &'a str,
    pub(super) sequence: u32,
    pub(super) headers: &'a [(&'static str, String)],
    /// SDP, or nothing.
    pub(super) body: &'a str,
}

impl Remote {
    /// The dialog that a response to the INVITE of that number makes. `aside` is one of a fork.
    pub(super) fn new(caller: &Caller, response: &Message<'_>, sequence: u32, aside: bool) -> Self {
        let target = response.values("Contact").next().and_then(NameAddr::parse);
        // A 2xx must have a Contact (§13.3.1.4); where one has none, the call is where it was asked for.
        let target = target
            .and_then(|contact| Uri::parse(contact.uri))
            .unwrap_or_else(|| caller.target.as_request_uri());
        let mut routes: Vec<&[u8]> = response.values("Record-Route").collect();
        routes.reverse();
        let (uri, routes, hop) = route(&target, &routes);
        let transport = hop.transport;
        Self {
            tag: response.tag("To").unwrap_or_default().to_vec(),
            to: response.first("To").unwrap_or_default().to_vec(),
            uri,
            routes,
            path: Path { way: if aside { Way::Aside(hop) } else { Way::Hop(hop) }, transport },
            sequence,
        }
    }

    /// The Request-URI of its requests.
    pub(super) fn uri(&self) -> String {
        self.uri.to_string()
    }

    /// Writes a request, and says how it goes.
    pub(super) fn request(&self, caller: &Caller, within: Within<'_>) -> (Vec<u8>, Path) {
        let Within { method, branch, sequence, headers, body } = within;
        let write = |transport| {
            let line = Line { method, uri: &self.uri, branch, sequence, transport };
            let request = caller.request(&line, &self.to).headers("Route", &self.routes);
            let request =
                headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            if body.is_empty() {
                request.empty()
            } else {
                request.body(CONTENT_TYPE, body.as_bytes())
            }
        };
        let (bytes, transport) = carried(self.path.transport, write);
        (bytes, Path { way: self.path.way.clone(), transport })
    }
}

/// One accepted call. A fork makes several of one INVITE, told apart by the tag in `To`.
#[derive(Debug)]
pub(super) struct Dialog {
    pub(super) remote: Remote,
    ack: (Vec<u8>, Path),
    /// Our BYE, once it was sent.
    pub(super) bye: Option<Request>,
    byes: u32,
    /// The other side has hung up.
    pub(super) ended_by_peer: bool,
}

impl Dialog {
    /// The dialog that a 2xx to the INVITE of that number makes. `credentials` are those of the INVITE.
    pub(super) fn new(
        caller: &mut Caller,
        remote: Remote,
        sequence: u32,
        credentials: &[(&'static str, String)],
    ) -> Self {
        let branch = caller.identifiers.branch();
        let ack =
            Within { method: "ACK", branch: &branch, sequence, headers: credentials, body: "" };
        let ack = remote.request(caller, ack);
        Self { remote, ack, bye: None, byes: 0, ended_by_peer: false }
    }

    /// The ACK, the same for every repetition of the 2xx.
    pub(super) fn ack(&self) -> (Vec<u8>, &Path) {
        (self.ack.0.clone(), &self.ack.1)
    }

    /// Hangs up. Returns the BYE.
    pub(super) fn hang_up(
        &mut self,
        caller: &mut Caller,
        authorizer: Option<&mut Authorizer>,
        now: Instant,
    ) -> &Request {
        self.byes += 1;
        self.remote.sequence += 1;
        let bye = Request::within(&self.remote, caller, authorizer, ("BYE", &[], ""), now);
        self.bye.insert(bye)
    }

    /// Whether a challenge of the BYE may still be answered.
    pub(super) fn may_try_again(&self) -> bool {
        self.byes < BYES_MAX
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
