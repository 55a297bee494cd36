//! Who calls: what stands alike in every request of one attempt (RFC 3261 §8.1.1). Pure.

use super::digest::Credentials;
use super::identity::Identifiers;
use super::message::Builder;
use super::scenario::{Path, Targets};
use super::transport::Transport;
use super::uri::Uri;
use crate::probe::statuses::Statuses;

/// How the agent names itself.
pub(crate) const AGENT: &str = concat!("probefleet/", env!("CARGO_PKG_VERSION"));
/// What the other side may ask within a call.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";
/// The user that calls, unless a provider has given one.
const USER: &str = "probefleet";
/// Most hops of a request (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: &str = "70";
/// Largest request that goes by UDP where nobody knows how much the path takes (RFC 3261 §18.1.1).
pub(crate) const DATAGRAM_REQUEST_MAX_BYTES: usize = 1_300;

/// Whom to ask, as whom, and what answer is expected.
#[derive(Debug)]
pub(crate) struct AskPlan {
    /// Statuses that are as expected.
    pub(crate) expected: Statuses,
    /// What challenges are answered with; without them a challenge is the answer.
    pub(crate) credentials: Option<Credentials>,
    /// Who asks; `None` is the agent, by its address.
    pub(crate) from: Option<Box<Uri>>,
    /// The proxy that every request outside a dialog goes through; [`targets`](Self::targets) are its servers then.
    pub(crate) proxy: Option<Box<Uri>>,
    /// Where requests go.
    pub(crate) targets: Targets,
}

/// One side of one call.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Who is asked.
    pub(crate) target: Uri,
    /// Who asks.
    from: Uri,
    proxy: Option<Box<Uri>>,
    /// Address and port of the socket as a URI has them: IPv6 in brackets.
    local: String,
    call_id: String,
    tag: String,
    /// What is drawn for this attempt.
    pub(crate) identifiers: Identifiers,
}

/// What differs from one request of an attempt to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// Such as `INVITE`.
    pub(crate) method: &'a str,
    /// The Request-URI.
    pub(crate) uri: &'a Uri,
    /// Names the transaction.
    pub(crate) branch: &'a str,
    /// Number of the request in its dialog.
    pub(crate) sequence: u32,
    /// What carries it.
    pub(crate) transport: Transport,
}

impl Caller {
    /// A new attempt from the socket of that address and port.
    pub(crate) fn new(target: Uri, local: String, mut identifiers: Identifiers) -> Self {
        let (call_id, tag) = (identifiers.next(), identifiers.next());
        let host = local.rsplit_once(':').map_or(local.as_str(), |(host, _)| host);
        let from = Uri {
            secure: false,
            user: Some(USER.to_owned()),
            host: host.to_owned(),
            port: None,
            parameters: String::new(),
            headers: String::new(),
        };
        Self { target, from, proxy: None, local, call_id, tag, identifiers }
    }

    /// The same, asking as whom and through whom that plan says.
    pub(crate) fn by(mut self, plan: &AskPlan) -> Self {
        if let Some(from) = &plan.from {
            self.from.clone_from(from);
        }
        self.proxy.clone_from(&plan.proxy);
        self
    }

    /// Begins a request. `to` is who is asked, with a tag once there is one.
    pub(crate) fn request(&self, line: &Line<'_>, to: impl AsRef<[u8]>) -> Builder {
        let via = line.transport.via();
        Builder::request(line.method, &line.uri.to_string())
            .written(
                "Via",
                format_args!("SIP/2.0/{via} {};branch={};rport", self.local, line.branch),
            )
            .header("Max-Forwards", MAX_FORWARDS)
            .written("From", format_args!("<{}>;tag={}", self.from.name(), self.tag))
            .header("To", to)
            .header("Call-ID", &self.call_id)
            .written("CSeq", format_args!("{} {}", line.sequence, line.method))
            .header("User-Agent", AGENT)
    }

    /// Begins a request outside a dialog: it goes through the proxy, if there is one (RFC 3261 §8.1.2).
    pub(crate) fn initial(&self, line: &Line<'_>, to: impl AsRef<[u8]>) -> Builder {
        self.request(line, to).headers("Route", self.route())
    }

    fn route(&self) -> Option<String> {
        let proxy = self.proxy.as_ref()?;
        let loose = if proxy.parameter("lr").is_some() { "" } else { ";lr" };
        Some(format!("<{proxy}{loose}>"))
    }

    /// Whether requests outside a dialog go through a proxy.
    pub(crate) fn has_proxy(&self) -> bool {
        self.proxy.is_some()
    }

    /// Who is asked, before there is a dialog.
    pub(crate) fn to(&self) -> String {
        format!("<{}>", self.target.name())
    }

    /// Where this side wants to be asked, in a request for that URI by a server of that transport: by `sips:` where it asks
    /// so itself (RFC 3261 §8.1.1.8). A request that goes by a stream only because of its size is still one of this side's
    /// UDP port: no other listens.
    pub(crate) fn contact(&self, asked: &Uri, transport: Transport) -> String {
        let user = self.from.user.as_deref().unwrap_or(USER);
        if asked.secure || self.proxy.as_ref().is_some_and(|proxy| proxy.secure) {
            return format!("<sips:{user}@{}>", self.local);
        }
        format!("<sip:{user}@{}{}>", self.local, transport.parameter())
    }

    /// Whether a `Via` is one of ours (RFC 3261 §18.1.2).
    pub(crate) fn is_local(&self, sent_by: &[u8]) -> bool {
        sent_by.eq_ignore_ascii_case(self.local.as_bytes())
    }

    /// The Call-ID of all its requests.
    pub(crate) fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Whether a message is of this attempt.
    pub(crate) fn is_call_id(&self, call_id: Option<&[u8]>) -> bool {
        call_id == Some(self.call_id.as_bytes())
    }

    /// Whether a tag is this side's.
    pub(crate) fn is_tag(&self, tag: Option<&[u8]>) -> bool {
        tag == Some(self.tag.as_bytes())
    }
}

/// A URI as `From` and `To` have it: the name alone, without where it is reached (RFC 3261 §19.1.1).
pub(crate) fn named(uri: &Uri) -> Uri {
    Uri { parameters: String::new(), headers: String::new(), port: None, ..uri.clone() }
}

/// A request as it is written for what will carry it, and how it goes: one that is too large for a datagram goes by a
/// stream, and says so, unless none could be had (RFC 3261 §18.1.1).
pub(crate) fn carried(
    path: &Path,
    datagrams_only: bool,
    write: impl Fn(Transport) -> Vec<u8>,
) -> (Vec<u8>, Path) {
    let bytes = write(path.transport);
    let outgrown = path.transport == Transport::Udp && bytes.len() > DATAGRAM_REQUEST_MAX_BYTES;
    if outgrown && !datagrams_only {
        return (write(Transport::Tcp), Path { transport: Transport::Tcp, ..path.clone() });
    }
    (bytes, path.clone())
}
