//! The block under `sip`: from what people wrote to a checked call.

use super::transport::Transport;
use super::uri::Uri;
use crate::probe::resolver::Family;
use crate::probe::statuses::Statuses;
use probefleet_proto::name::Name;
use probefleet_proto::units::{NS_PER_S, duration_text};
use probefleet_proto::yaml::{Map, Node, Position, Problems, Value as YamlValue};
use serde_json::{Map as JsonMap, Value, json};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::Host;

/// Longest URI: it stands twice in an INVITE, which should stay below 1,300 bytes to go by UDP (RFC 3261 §18.1.1).
const URI_MAX_BYTES: usize = 256;
/// The largest status (RFC 3261 §7.2).
const STATUS_MAX: u16 = 699;
/// How long a call is held when nothing is said.
const HOLD_DEFAULT_NS: u64 = NS_PER_S;

/// How long a call with audio is held when nothing is said: 250 packets, enough for a loss of 1 %.
const MEDIA_DEFAULT_S: u64 = 5;
/// Longest audio: a probe is a sample, not a load.
const MEDIA_MAX_S: u64 = 60;

const FAMILIES: [(&str, Family); 3] = [("any", Family::Any), ("4", Family::V4), ("6", Family::V6)];
const SWITCH: [(&str, bool); 2] = [("on", true), ("off", false)];
const MODES: [(&str, ModeName); 4] = [
    ("options", ModeName::Options),
    ("register", ModeName::Register),
    ("ring", ModeName::Ring),
    ("call", ModeName::Call),
];
/// Parameters of a URI that would send the probe elsewhere, or make it ask something else, than the plan says.
const FORBIDDEN_PARAMETERS: [&str; 2] = ["maddr", "method"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ModeName {
    Options,
    Register,
    Ring,
    Call,
}

/// A checked block.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) uri: Uri,
    pub(super) target: Target,
    pub(super) mode: Mode,
    pub(super) expected: Statuses,
    pub(super) family: Family,
    /// As the policy has it under that name.
    pub(super) account: Option<Name>,
    /// Who may have issued the server's certificate, beside the system's.
    pub(super) ca_file: Option<PathBuf>,
    /// Whether a further server of the name is asked where one fails (RFC 3263 §4.3).
    pub(super) failover: bool,
}

/// Where the URI leads.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// A name, or an address as it is usually written.
    pub(super) host: String,
    /// The address, where the URI has one.
    pub(super) address: Option<IpAddr>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One OPTIONS.
    Options,
    /// One REGISTER, and another that takes the binding back.
    Register,
    /// A call that is cancelled as soon as it rings.
    Ring,
    /// A whole call.
    Call {
        /// How long it is held.
        hold: Duration,
        /// Where that is written.
        hold_at: Position,
        /// Audio is sent and judged all the while.
        with_media: bool,
    },
}

impl Spec {
    /// Reads the block, reporting all its problems.
    pub(super) fn decode(block: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = Map::open(block, "a sip block", problems)?;
        let uri = map.required("uri", problems, uri);
        let mode = map.optional("mode", ModeName::Options, problems, |node, problems| {
            node.choice(problems, &MODES)
        });
        let hold = map.optional("hold", None, problems, |node, problems| {
            node.duration_ns(problems).map(|hold_ns| Some((hold_ns, node.at)))
        });
        let media = map.optional("media", None, problems, media);
        let expected = map.optional("expect", None, problems, expect);
        let family = map.optional("ip", Family::Any, problems, |node, problems| {
            node.choice(problems, &FAMILIES)
        });
        let account =
            map.optional("account", None, problems, |node, problems| node.name(problems).map(Some));
        let ca_file = map.optional("ca_file", None, problems, |node, problems| {
            node.text(problems).map(|path| Some(PathBuf::from(path)))
        });
        let failover = map
            .optional("failover", true, problems, |node, problems| node.choice(problems, &SWITCH));
        let at = map.at();
        map.finish(problems);
        let (uri, target) = uri?;
        let mode = settle(mode?, &Length { hold: hold?, media: media?, at }, problems)?;
        let expected = expected?.unwrap_or_else(|| mode.expected());
        let spec = Self {
            uri,
            target,
            mode,
            expected,
            family: family?,
            account: account?,
            ca_file: ca_file?,
            failover: failover?,
        };
        spec.check_family(block, problems)
    }

    /// An address in the URI must belong to the family that is wanted.
    fn check_family(self, block: &Node, problems: &mut Problems) -> Option<Self> {
        if self.target.address.is_none_or(|address| self.family.has(address)) {
            return Some(self);
        }
        let message = "the URI's address is not of the family in `ip`";
        problems.report(block.at, "bad-value", message, "leave `ip` out")
    }

    /// The block with its defaults.
    pub(super) fn canonical(&self) -> Value {
        let family =
            FAMILIES.iter().find(|(_, known)| *known == self.family).map(|(word, _)| *word);
        let mut block = JsonMap::new();
        block.insert("uri".to_owned(), json!(self.uri.to_string()));
        block.insert("mode".to_owned(), json!(self.mode.name()));
        if let Mode::Call { hold, with_media, .. } = self.mode {
            let hold_ns = u64::try_from(hold.as_nanos()).unwrap_or(u64::MAX);
            let media = json!({"seconds": hold.as_secs()});
            match with_media {
                true => block.insert("media".to_owned(), media),
                false => block.insert("hold".to_owned(), json!(duration_text(hold_ns))),
            };
        }
        block.insert("expect".to_owned(), json!({"codes": self.expected.canonical()}));
        block.insert("ip".to_owned(), json!(family));
        // Keys that came later stand there only where they say something, so that what was measured before them is still
        // one series with what is measured now.
        if let Some(account) = &self.account {
            block.insert("account".to_owned(), json!(account.as_str()));
        }
        if let Some(ca_file) = &self.ca_file {
            block.insert("ca_file".to_owned(), json!(ca_file));
        }
        if !self.failover {
            block.insert("failover".to_owned(), json!("off"));
        }
        Value::Object(block)
    }
}

impl Mode {
    /// As plans have it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Options => "options",
            Self::Register => "register",
            Self::Ring => "ring",
            Self::Call { .. } => "call",
        }
    }

    /// What is expected when nothing is said.
    fn expected(&self) -> Statuses {
        // A call that was cancelled has 487 (RFC 3261 §9.2).
        Statuses::one(if *self == Self::Ring { 487 } else { 200 })
    }
}

/// How long a call is, as it is written.
struct Length {
    hold: Option<(u64, Position)>,
    media: Option<(u64, Position)>,
    /// Where the block is.
    at: Position,
}

/// Puts `mode`, `hold` and `media` together.
fn settle(mode: ModeName, length: &Length, problems: &mut Problems) -> Option<Mode> {
    let Length { hold, media, at } = *length;
    if mode != ModeName::Call {
        let without = hold.map(|(_, at)| ("hold", at)).or(media.map(|(_, at)| ("media", at)));
        if let Some((key, at)) = without {
            let cure = "write `mode: call`, or leave it out";
            return problems.report(at, "bad-value", format!("`{key}` without a call"), cure);
        }
    }
    match (mode, hold, media) {
        (ModeName::Options, ..) => Some(Mode::Options),
        (ModeName::Register, ..) => Some(Mode::Register),
        (ModeName::Ring, ..) => Some(Mode::Ring),
        (ModeName::Call, Some((_, at)), Some(_)) => {
            let cure = "leave `hold` out: the call is held as long as there is audio";
            problems.report(at, "bad-value", "`hold` beside `media`", cure)
        }
        (ModeName::Call, None, Some((seconds, hold_at))) => {
            Some(Mode::Call { hold: Duration::from_secs(seconds), hold_at, with_media: true })
        }
        (ModeName::Call, hold, None) => {
            let (hold_ns, hold_at) = hold.unwrap_or((HOLD_DEFAULT_NS, at));
            Some(Mode::Call { hold: Duration::from_nanos(hold_ns), hold_at, with_media: false })
        }
    }
}

/// Reads `{seconds: 5}`, and where it stands.
fn media(node: &Node, problems: &mut Problems) -> Option<Option<(u64, Position)>> {
    let mut map = Map::open(node, "media", problems)?;
    let seconds = map.optional("seconds", MEDIA_DEFAULT_S, problems, |node, problems| {
        let seconds = node.whole(problems)?;
        if (1..=MEDIA_MAX_S).contains(&seconds) {
            return Some(seconds);
        }
        let cure = format!("write 1 to {MEDIA_MAX_S}");
        problems.report(node.at, "bad-value", node.describe(), cure)
    });
    map.finish(problems);
    Some(Some((seconds?, node.at)))
}

/// A host as a URI, a route or a contact may have it: a name, or an address in any spelling that a URL may have too, so
/// that the policy sees what the network will.
pub(super) fn target(host: &str) -> Option<Target> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Target { host: address.to_string(), address: Some(address.to_canonical()) });
    }
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let (host, address) = match Host::parse(&bracketed).ok()? {
        Host::Domain(name) => (name, None),
        Host::Ipv4(address) => (address.to_string(), Some(IpAddr::V4(address))),
        Host::Ipv6(address) => (address.to_string(), Some(IpAddr::V6(address).to_canonical())),
    };
    Some(Target { host, address })
}

// === keys ===

/// Reads what stands under `expect`; `None` inside where it names no statuses.
fn expect(node: &Node, problems: &mut Problems) -> Option<Option<Statuses>> {
    let mut map = Map::open(node, "expectations", problems)?;
    let codes = map.optional("codes", None, problems, |node, problems| {
        Statuses::decode(node, problems, STATUS_MAX).map(Some)
    });
    map.finish(problems);
    codes
}

fn uri(node: &Node, problems: &mut Problems) -> Option<(Uri, Target)> {
    let YamlValue::Scalar { text, .. } = &node.value else {
        return problems.report(node.at, "bad-uri", node.describe(), "write a single SIP URI");
    };
    let read = parse_uri(text).and_then(|uri| {
        let hop = uri.hop();
        let target = target(&hop.host).ok_or("no host that can be asked")?;
        Ok((uri, target))
    });
    match read {
        Ok((uri, target)) => match foreign_transport(&uri) {
            None => Some((uri, target)),
            Some((what, cure)) => problems.report(node.at, "unsupported", what, cure),
        },
        Err(why) => {
            // Between a colon and the @ may stand a password.
            let user = text.rsplit_once('@').map_or("", |(user, _)| user);
            let secret = user.matches(':').count() > 1;
            let shown = if secret { "the URI".to_owned() } else { node.describe() };
            problems.report(node.at, "bad-uri", shown, why)
        }
    }
}

fn parse_uri(text: &str) -> Result<Uri, String> {
    if text.len() > URI_MAX_BYTES {
        return Err(format!("at most {URI_MAX_BYTES} bytes"));
    }
    let mut uri = Uri::parse(text.as_bytes()).ok_or("write sip:user@host or sip:user@host:port")?;
    // Equal hosts are an equal spec (RFC 3261 §19.1.4); users differ by case.
    uri.host.make_ascii_lowercase();
    if uri.user.as_ref().is_some_and(|user| user.contains(':')) {
        return Err("a plan has no credentials; leave out the password".to_owned());
    }
    if !uri.headers.is_empty() {
        return Err("leave out everything from the `?` on".to_owned());
    }
    let forbidden = FORBIDDEN_PARAMETERS.iter().find(|name| uri.parameter(name).is_some());
    match forbidden {
        Some(name) => Err(format!("leave out `{name}`; the host and `mode` say it")),
        None => Ok(uri),
    }
}

/// What a URI asks for that is not spoken here, and the cure.
fn foreign_transport(uri: &Uri) -> Option<(String, &'static str)> {
    let transport = uri.parameter("transport")?;
    match Transport::parse(transport) {
        None => Some((format!("`transport={transport}`"), "write udp, tcp or tls")),
        Some(Transport::Udp) if uri.secure => {
            let cure = "leave the transport out: `sips:` goes by TLS over TCP";
            Some((format!("`sips:` by `transport={transport}`"), cure))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests;
