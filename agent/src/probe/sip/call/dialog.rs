//! A call as its caller has it, early or accepted: where its requests go, and what they say (RFC 3261 §12, §13.2.2.4).

use super::outgoing::Request;
use crate::probe::sip::caller::{Caller, Line, carried};
use crate::probe::sip::digest::Authorizer;
use crate::probe::sip::message::{Message, NameAddr};
use crate::probe::sip::scenario::{Path, Way};
use crate::probe::sip::sdp::CONTENT_TYPE;
use crate::probe::sip::uri::Uri;
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
    /// No stream could be had for what is too large for a datagram.
    datagrams_only: bool,
    /// Number of the last request in it.
    pub(super) sequence: u32,
}

/// What a request says, beside whom it goes to.
#[derive(Clone, Debug)]
pub(super) struct Says {
    pub(super) method: &'static str,
    pub(super) sequence: u32,
    /// Headers of its own.
    pub(super) headers: Vec<(&'static str, String)>,
    /// SDP, or nothing.
    pub(super) body: String,
}

impl Says {
    /// Nothing of its own.
    pub(super) const fn only(method: &'static str, sequence: u32) -> Self {
        Self { method, sequence, headers: Vec::new(), body: String::new() }
    }
}

/// A request as it was written.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) says: Says,
    pub(super) branch: String,
    /// The whole of it, for when it is sent again.
    pub(super) bytes: Vec<u8>,
    /// How it goes.
    pub(super) path: Path,
}

impl Remote {
    /// The dialog that a response makes to an INVITE for the URI `asked`; `sequence` is the number of the last request.
    /// `aside` is one of a fork.
    pub(super) fn new(asked: &Uri, response: &Message<'_>, sequence: u32, aside: bool) -> Self {
        let target = response.values("Contact").next().and_then(NameAddr::parse);
        // A 2xx must have a Contact (§13.3.1.4); where one has none, the call is where it was asked for.
        let target =
            target.and_then(|contact| Uri::parse(contact.uri)).unwrap_or_else(|| asked.clone());
        let mut routes: Vec<&[u8]> = response.values("Record-Route").collect();
        routes.reverse();
        let (uri, routes, mut next) = route(&target, &routes);
        // Where the call was asked for by `sips:`, every request of it stays private, whatever the other side names (RFC
        // 3261 §12.1.2, §26.2.2).
        next.secure |= asked.secure;
        let hop = next.hop();
        let transport = hop.transport;
        Self {
            tag: response.tag("To").unwrap_or_default().to_vec(),
            to: response.first("To").unwrap_or_default().to_vec(),
            uri,
            routes,
            path: Path { way: if aside { Way::Aside(hop) } else { Way::Hop(hop) }, transport },
            datagrams_only: false,
            sequence,
        }
    }

    /// The Request-URI of its requests.
    pub(super) fn uri(&self) -> String {
        self.uri.to_string()
    }

    /// Writes a request.
    pub(super) fn write(&self, caller: &mut Caller, says: Says) -> Written {
        let branch = caller.identifiers.branch();
        let Says { method, sequence, ref headers, ref body } = says;
        let write = |transport| {
            let line = Line { method, uri: &self.uri, branch: &branch, sequence, transport };
            let request = caller.request(&line, &self.to).headers("Route", &self.routes);
            let request =
                headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            if body.is_empty() {
                request.empty()
            } else {
                request.body(CONTENT_TYPE, body.as_bytes())
            }
        };
        let (bytes, path) = carried(&self.path, self.datagrams_only, write);
        let path = match path.way {
            // Another way than the dialog's: whether there is one shows when it is opened.
            Way::Hop(hop) | Way::Aside(hop) if path.transport != self.path.transport => {
                Path { way: Way::Onward(hop), ..path }
            }
            way => Path { way, ..path },
        };
        Written { says, branch, bytes, path }
    }

    /// The same as a datagram, and so whatever follows; `None` where it went the dialog's own way.
    pub(super) fn as_datagram(
        &mut self,
        caller: &mut Caller,
        outgrown: &Written,
    ) -> Option<Written> {
        if outgrown.path == self.path {
            return None;
        }
        self.datagrams_only = true;
        Some(self.write(caller, outgrown.says.clone()))
    }
}

/// One accepted call. A fork makes several of one INVITE, told apart by the tag in `To`.
#[derive(Debug)]
pub(super) struct Dialog {
    pub(super) remote: Remote,
    /// The same for every repetition of the 2xx.
    pub(super) ack: Written,
    /// Our BYE, once it was sent.
    pub(super) bye: Option<Box<Request>>,
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
        let ack = Says { headers: credentials.to_vec(), ..Says::only("ACK", sequence) };
        let ack = remote.write(caller, ack);
        Self { remote, ack, bye: None, byes: 0, ended_by_peer: false }
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
        let says = Says::only("BYE", self.remote.sequence);
        self.bye.insert(Box::new(Request::within(&self.remote, caller, authorizer, says, now)))
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

/// Request-URI, `Route` and whoever is next on the way of requests in a dialog (RFC 3261 §12.2.1.1): through loose
/// routers, or, where the first is of RFC 2543, with its own address as the Request-URI.
fn route(target: &Uri, routes: &[&[u8]]) -> (Uri, Vec<Vec<u8>>, Uri) {
    let first = routes.first().and_then(|route| Uri::parse(NameAddr::parse(route)?.uri));
    let owned = |routes: &[&[u8]]| routes.iter().map(|route| route.to_vec()).collect::<Vec<_>>();
    match first {
        None => (target.as_request_uri(), Vec::new(), target.clone()),
        Some(first) if first.parameter("lr").is_some() => {
            (target.as_request_uri(), owned(routes), first)
        }
        Some(first) => {
            let mut rest = owned(&routes[1..]);
            rest.push(format!("<{target}>").into_bytes());
            (first.as_request_uri(), rest, first)
        }
    }
}
