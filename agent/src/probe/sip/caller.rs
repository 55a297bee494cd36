//! Who calls: what stands alike in every request of one attempt (RFC 3261 §8.1.1). Pure.

use super::identity::Identifiers;
use super::message::Builder;
use super::uri::Uri;

/// How the agent names itself.
pub(crate) const AGENT: &str = concat!("probefleet/", env!("CARGO_PKG_VERSION"));
/// What the other side may ask within a call.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";
/// The user that calls, unless a provider has given one.
const USER: &str = "probefleet";
/// Most hops of a request (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: &str = "70";

/// One side of one call.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Who is asked.
    pub(crate) target: Uri,
    /// Address and port of the socket as a URI has them: IPv6 in brackets.
    local: String,
    call_id: String,
    tag: String,
    /// What is drawn for this attempt.
    pub(crate) identifiers: Identifiers,
}

/// What differs from one request of an attempt to another.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    /// Such as `INVITE`.
    pub(crate) method: &'a str,
    /// The Request-URI.
    pub(crate) uri: &'a Uri,
    /// Names the transaction.
    pub(crate) branch: &'a str,
    /// Number of the request in its dialog.
    pub(crate) sequence: u32,
}

impl Caller {
    /// A new attempt from the socket of that address and port.
    pub(crate) fn new(target: Uri, local: String, mut identifiers: Identifiers) -> Self {
        let (call_id, tag) = (identifiers.next(), identifiers.next());
        Self { target, local, call_id, tag, identifiers }
    }

    /// Begins a request. `to` is who is asked, with a tag once there is one.
    pub(crate) fn request(&self, line: &Line<'_>, to: impl AsRef<[u8]>) -> Builder {
        let host = self.local.rsplit_once(':').map_or(self.local.as_str(), |(host, _)| host);
        Builder::request(line.method, &line.uri.to_string())
            .header("Via", format!("SIP/2.0/UDP {};branch={};rport", self.local, line.branch))
            .header("Max-Forwards", MAX_FORWARDS)
            .header("From", format!("<sip:{USER}@{host}>;tag={}", self.tag))
            .header("To", to)
            .header("Call-ID", &self.call_id)
            .header("CSeq", format!("{} {}", line.sequence, line.method))
            .header("User-Agent", AGENT)
    }

    /// Who is asked, before there is a dialog.
    pub(crate) fn to(&self) -> String {
        let to = Uri {
            parameters: String::new(),
            headers: String::new(),
            port: None,
            ..self.target.clone()
        };
        format!("<{to}>")
    }

    /// Where this side wants to be asked.
    pub(crate) fn contact(&self) -> String {
        format!("<sip:{USER}@{}>", self.local)
    }

    /// Whether a `Via` is one of ours (RFC 3261 §18.1.2).
    pub(crate) fn is_local(&self, sent_by: &[u8]) -> bool {
        sent_by.eq_ignore_ascii_case(self.local.as_bytes())
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
