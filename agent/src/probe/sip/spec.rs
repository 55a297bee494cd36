//! The block under `sip`: from what people wrote to a checked call.

use super::uri::Uri;
use crate::probe::resolver::Family;
use probefleet_proto::units::{NS_PER_S, duration_text};
use probefleet_proto::yaml::{
    Map, Node, Position, Problems, Value as YamlValue, one_or_many, scalar,
};
use serde_json::{Map as JsonMap, Value, json};
use std::net::IpAddr;
use std::time::Duration;
use url::Host;

/// Longest URI: it stands twice in an INVITE, which must stay below 1,300 bytes to go by UDP (RFC 3261 §18.1.1).
const URI_MAX_BYTES: usize = 256;
/// Most statuses or ranges of `codes`.
const CODES_MAX: usize = 16;
/// How long a call is held when nothing is said.
const HOLD_DEFAULT_NS: u64 = NS_PER_S;

const FAMILIES: [(&str, Family); 3] = [("any", Family::Any), ("4", Family::V4), ("6", Family::V6)];
/// What stands in `mode`: of this version, or of a later one.
const MODES: [(&str, Option<ModeName>); 4] = [
    ("options", Some(ModeName::Options)),
    ("call", Some(ModeName::Call)),
    ("register", None),
    ("ring", None),
];
/// Keys of later versions, and what they are for.
const LATER_KEYS: [(&str, &str); 3] =
    [("account", "credentials of a provider"), ("ca_file", "TLS"), ("media", "audio")];
/// Parameters of a URI that would send the probe elsewhere, or make it ask something else, than the plan says.
const FORBIDDEN_PARAMETERS: [&str; 2] = ["maddr", "method"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ModeName {
    Options,
    Call,
}

/// A checked block.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) uri: Uri,
    pub(super) target: Target,
    pub(super) mode: Mode,
    pub(super) expected: Codes,
    pub(super) family: Family,
}

/// Where the URI leads.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// A name, or an address as it is usually written.
    pub(super) host: String,
    /// The address, where the URI has one.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One OPTIONS.
    Options,
    /// A whole call.
    Call {
        /// How long it is held.
        hold: Duration,
        /// Where that is written.
        hold_at: Position,
    },
}

/// Final statuses that are as expected: inclusive ranges, ascending, apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Codes(Vec<(u16, u16)>);

impl Codes {
    /// 200 and nothing else.
    pub(crate) fn ok() -> Self {
        Self(vec![(200, 200)])
    }

    /// Those of a list as a plan has it.
    #[cfg(test)]
    pub(crate) fn of(list: &str) -> Self {
        let document = probefleet_proto::yaml::Document::parse("codes", list).expect("is YAML");
        codes(&document.root, &mut Problems::new("codes")).expect("codes")
    }

    /// Whether a status is among them.
    pub(crate) fn has(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    fn canonical(&self) -> Vec<String> {
        let text = |(from, to): &(u16, u16)| {
            if from == to { from.to_string() } else { format!("{from}-{to}") }
        };
        self.0.iter().map(text).collect()
    }
}

impl Spec {
    /// Reads the block, reporting all its problems.
    pub(super) fn decode(block: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = Map::open(block, "a sip block", problems)?;
        let uri = map.required("uri", problems, uri);
        let mode = map.optional("mode", ModeName::Options, problems, mode);
        let hold = map.optional("hold", None, problems, |node, problems| {
            node.duration_ns(problems).map(|hold_ns| Some((hold_ns, node.at)))
        });
        let expected = map.optional("expect", Codes::ok(), problems, expect);
        let family = map.optional("ip", Family::Any, problems, |node, problems| {
            node.choice(problems, &FAMILIES)
        });
        let mut later = false;
        for (key, purpose) in LATER_KEYS {
            if let Some(node) = map.get(key) {
                later = true;
                let message = format!("`{key}`, which is for {purpose}, is not in this version");
                problems.report::<()>(node.at, "unsupported", message, "leave it out");
            }
        }
        let at = map.at();
        map.finish(problems);
        let (uri, target) = uri?;
        let mode = settle(mode?, hold?, at, problems)?;
        let spec = Self { uri, target, mode, expected: expected?, family: family? };
        if later { None } else { spec.check_family(block, problems) }
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
        match self.mode {
            Mode::Options => {
                block.insert("mode".to_owned(), json!("options"));
            }
            Mode::Call { hold, .. } => {
                let hold_ns = u64::try_from(hold.as_nanos()).unwrap_or(u64::MAX);
                block.insert("mode".to_owned(), json!("call"));
                block.insert("hold".to_owned(), json!(duration_text(hold_ns)));
            }
        }
        block.insert("expect".to_owned(), json!({"codes": self.expected.canonical()}));
        block.insert("ip".to_owned(), json!(family));
        Value::Object(block)
    }
}

/// Puts `mode` and `hold` together.
fn settle(
    mode: ModeName,
    hold: Option<(u64, Position)>,
    at: Position,
    problems: &mut Problems,
) -> Option<Mode> {
    match (mode, hold) {
        (ModeName::Options, None) => Some(Mode::Options),
        (ModeName::Options, Some((_, at))) => problems.report(
            at,
            "bad-value",
            "`hold` without a call",
            "write `mode: call`, or leave it out",
        ),
        (ModeName::Call, hold) => {
            let (hold_ns, hold_at) = hold.unwrap_or((HOLD_DEFAULT_NS, at));
            Some(Mode::Call { hold: Duration::from_nanos(hold_ns), hold_at })
        }
    }
}

/// A host as a URI, a route or a contact may have it: a name, or an address in any spelling that a URL may have too, so
/// that the policy sees what the network will.
pub(super) fn target(host: &str, port: u16) -> Option<Target> {
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let (host, address) = match Host::parse(&bracketed).ok()? {
        Host::Domain(name) => (name, None),
        Host::Ipv4(address) => (address.to_string(), Some(IpAddr::V4(address))),
        Host::Ipv6(address) => (address.to_string(), Some(IpAddr::V6(address).to_canonical())),
    };
    Some(Target { host, address, port })
}

// === keys ===

fn uri(node: &Node, problems: &mut Problems) -> Option<(Uri, Target)> {
    let YamlValue::Scalar { text, .. } = &node.value else {
        return problems.report(node.at, "bad-uri", node.describe(), "write a single SIP URI");
    };
    let read = parse_uri(text).and_then(|uri| {
        let hop = uri.hop();
        let target = target(&hop.host, hop.port).ok_or("no host that can be asked")?;
        Ok((uri, target))
    });
    match read {
        Ok((uri, target)) => match later_transport(&uri) {
            None => Some((uri, target)),
            Some(what) => problems.report(
                node.at,
                "unsupported",
                format!("{what} is not in this version"),
                "write `sip:user@host`, which goes by UDP",
            ),
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

/// What a URI asks for that only a later version has.
fn later_transport(uri: &Uri) -> Option<String> {
    if uri.secure {
        return Some("`sips:`".to_owned());
    }
    let transport = uri.parameter("transport")?;
    (!transport.eq_ignore_ascii_case("udp")).then(|| format!("`transport={transport}`"))
}

fn mode(node: &Node, problems: &mut Problems) -> Option<ModeName> {
    match node.choice(problems, &MODES)? {
        Some(mode) => Some(mode),
        None => {
            let message = format!("mode {} is not in this version", node.describe());
            problems.report(node.at, "unsupported", message, "write options or call")
        }
    }
}

fn expect(node: &Node, problems: &mut Problems) -> Option<Codes> {
    let mut map = Map::open(node, "expectations", problems)?;
    let codes = map.optional("codes", Codes::ok(), problems, codes);
    map.finish(problems);
    codes
}

/// Reads `[200, 400-499]`, sorted and merged, so that equal meaning is an equal spec.
fn codes(node: &Node, problems: &mut Problems) -> Option<Codes> {
    let mut ranges = one_or_many(node, problems, |node, problems| {
        scalar(node, problems, "bad-status", parse_range)
    })?;
    if ranges.is_empty() || ranges.len() > CODES_MAX {
        let cure = format!("write 1 to {CODES_MAX} statuses or ranges, such as 200-299");
        return problems.report(node.at, "bad-status", "no status, or too many", cure);
    }
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (from, to) in ranges {
        match merged.last_mut() {
            Some(last) if from <= last.1 + 1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    Some(Codes(merged))
}

fn parse_range(text: &str) -> Result<(u16, u16), &'static str> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|code| digits && (200..700).contains(code))
    };
    match (status(from.trim()), status(to.trim())) {
        (Some(from), Some(to)) if from <= to => Ok((from, to)),
        _ => Err("write a final status of 200 to 699, or a range such as 200-299"),
    }
}

#[cfg(test)]
mod tests;
