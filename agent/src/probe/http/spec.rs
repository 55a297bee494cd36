//! The block under `http`: from what people wrote to a checked request.

use super::expect::Expect;
use crate::probe::resolver::Family;
use crate::probe::tls::Wanted;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use probefleet_proto::yaml::{Map, Node, Problems, Value as YamlValue};
use serde_json::{Map as JsonMap, Value, json};
use std::path::PathBuf;
use url::{Host, Url};

/// Longest URL: what common servers and proxies take.
const URL_MAX_BYTES: usize = 8 << 10;
/// Most headers of a request; real ones have a dozen.
const HEADERS_MAX: usize = 32;
/// Longest value of a header: tokens are long, but not longer.
const HEADER_MAX_BYTES: usize = 4 << 10;
/// Largest body of a request: it fits the socket's buffer, so that writing it takes no time that no phase would have.
const BODY_MAX_BYTES: usize = 64 << 10;
/// Most redirects that can be followed.
const REDIRECTS_MAX: u64 = 5;

const METHODS: [(&str, Method); 7] = [
    ("GET", Method::GET),
    ("HEAD", Method::HEAD),
    ("POST", Method::POST),
    ("PUT", Method::PUT),
    ("PATCH", Method::PATCH),
    ("DELETE", Method::DELETE),
    ("OPTIONS", Method::OPTIONS),
];
const FAMILIES: [(&str, Family); 3] = [("any", Family::Any), ("4", Family::V4), ("6", Family::V6)];

/// The protocol asked for in the handshake.
const ALPN: &[u8] = b"http/1.1";

/// Headers that frame the message, or that the URL decides: the probe sets them.
const OWN_HEADERS: [&str; 12] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];
/// Headers whose values are secrets: a spec has none.
const SECRET_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

/// A checked block.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<String>,
    pub(super) family: Family,
    pub(super) redirects: u64,
    pub(super) expect: Expect,
    pub(super) ca_file: Option<PathBuf>,
}

impl Spec {
    /// Reads the block, reporting all its problems.
    pub(super) fn decode(block: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = Map::open(block, "an http block", problems)?;
        let url = map.required("url", problems, url);
        let method = map.optional("method", Method::GET, problems, method);
        let headers = map.optional("headers", HeaderMap::new(), problems, headers);
        let body = map.optional("body", None, problems, body);
        let family = map.optional("ip", Family::Any, problems, |node, problems| {
            node.choice(problems, &FAMILIES)
        });
        let redirects = map.optional("redirects", 0, problems, redirects);
        let expect = map.optional("expect", Some(Expect::default()), problems, |node, problems| {
            Some(Expect::decode(node, problems))
        });
        let ca_file = map.optional("ca_file", None, problems, |node, problems| {
            node.text(problems).map(|path| Some(PathBuf::from(path)))
        });
        let body_at = map.get("body").map_or(map.at(), |node| node.at);
        map.finish(problems);
        let (url, method, body) = (url?, method?, body?);
        if body.is_some() && !matches!(method, Method::POST | Method::PUT | Method::PATCH) {
            let cure = "only POST, PUT and PATCH carry a body";
            return problems.report(body_at, "bad-value", format!("a body for {method}"), cure);
        }
        let spec = Self {
            url,
            method,
            headers: headers?,
            body,
            family: family?,
            redirects: redirects?,
            expect: expect??,
            ca_file: ca_file?,
        };
        spec.check_family(block, problems)
    }

    /// An address in the URL must belong to the family that is wanted.
    fn check_family(self, block: &Node, problems: &mut Problems) -> Option<Self> {
        let literal = match self.url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) | None => None,
        };
        if literal.is_none_or(|address| self.family.has(address)) {
            return Some(self);
        }
        let message = "the URL's address is not of the family in `ip`";
        problems.report(block.at, "bad-value", message, "leave `ip` out")
    }

    /// Whose certificates the probe trusts.
    pub(super) fn trusted(&self) -> Wanted {
        Wanted::public(self.ca_file.as_deref(), ALPN)
    }

    /// The block with its defaults, without secrets.
    pub(super) fn canonical(&self) -> Value {
        let word =
            |family| FAMILIES.iter().find(|(_, known)| *known == family).map(|(word, _)| *word);
        let mut block = JsonMap::new();
        block.insert("url".to_owned(), json!(self.url.as_str()));
        block.insert("method".to_owned(), json!(self.method.as_str()));
        block.insert("headers".to_owned(), canonical_headers(&self.headers));
        block.insert("ip".to_owned(), json!(word(self.family)));
        block.insert("redirects".to_owned(), json!(self.redirects));
        block.insert("expect".to_owned(), self.expect.canonical());
        if let Some(body) = &self.body {
            block.insert("body".to_owned(), json!(body));
        }
        if let Some(ca_file) = &self.ca_file {
            block.insert("ca_file".to_owned(), json!(ca_file));
        }
        Value::Object(block)
    }
}

fn canonical_headers(headers: &HeaderMap) -> Value {
    let shown = |(name, value): (&HeaderName, &HeaderValue)| {
        let secret = SECRET_HEADERS.contains(&name.as_str());
        let value = if secret { "(secret)" } else { value.to_str().unwrap_or_default() };
        (name.as_str().to_owned(), Value::from(value))
    };
    Value::Object(headers.iter().map(shown).collect())
}

// === keys ===

fn url(node: &Node, problems: &mut Problems) -> Option<Url> {
    let YamlValue::Scalar { text, .. } = &node.value else {
        return problems.report(node.at, "bad-url", node.describe(), "write a single URL");
    };
    parse_url(text).map_or_else(
        |why| {
            // Before an @ may stand a password.
            let shown = if text.contains('@') { "the URL".to_owned() } else { node.describe() };
            problems.report(node.at, "bad-url", shown, why)
        },
        Some,
    )
}

/// Takes a URL that can be probed: `http` or `https`, a host, no user, no fragment.
pub(super) fn parse_url(text: &str) -> Result<Url, String> {
    if text.len() > URL_MAX_BYTES {
        return Err(format!("at most {} KiB", URL_MAX_BYTES >> 10));
    }
    let mut url = Url::parse(text).map_err(|error| format!("{error}; write https://host/path"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http:// and https:// can be probed".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a plan has no credentials; leave out `user:password@`".to_owned());
    }
    if url.port() == Some(0) {
        return Err("port 0 cannot be dialled".to_owned());
    }
    url.set_fragment(None);
    super::exchange::request_target(&url)
        .map_err(|_| "not a URL that HTTP can carry".to_owned())?;
    Ok(url)
}

fn method(node: &Node, problems: &mut Problems) -> Option<Method> {
    let indexes: Vec<(&str, usize)> =
        METHODS.iter().enumerate().map(|(index, (word, _))| (*word, index)).collect();
    node.choice(problems, &indexes).map(|index| METHODS[index].1.clone())
}

fn headers(node: &Node, problems: &mut Problems) -> Option<HeaderMap> {
    let map = Map::open(node, "headers", problems)?;
    if map.keys().count() > HEADERS_MAX {
        let cure = format!("at most {HEADERS_MAX}");
        return problems.report(node.at, "bad-header", "too many headers", cure);
    }
    let mut headers = Some(HeaderMap::new());
    for (key, at, value) in map.entries() {
        let name = match HeaderName::from_bytes(key.as_bytes()) {
            Ok(name) if OWN_HEADERS.contains(&name.as_str()) => problems.report(
                at,
                "bad-header",
                format!("`{key}` is set by the probe"),
                "leave it out",
            ),
            Ok(name) => Some(name),
            Err(_) => problems.report(at, "bad-header", format!("`{key}`"), "not a header's name"),
        };
        let value = header_value(value, problems);
        headers = match (headers, name, value) {
            (Some(mut headers), Some(name), Some(value)) => {
                headers.insert(name, value);
                Some(headers)
            }
            _ => None,
        };
    }
    headers
}

fn header_value(node: &Node, problems: &mut Problems) -> Option<HeaderValue> {
    // The message never shows the value: it may be a secret.
    let YamlValue::Scalar { text, .. } = &node.value else {
        return problems.report(node.at, "bad-header", node.describe(), "write a single value");
    };
    let value = HeaderValue::from_str(text).ok().filter(|_| text.len() <= HEADER_MAX_BYTES);
    value
        .map(|mut value| {
            value.set_sensitive(true);
            value
        })
        .or_else(|| {
            let cure = format!("printable ASCII, at most {} KiB", HEADER_MAX_BYTES >> 10);
            problems.report(node.at, "bad-header", "the value cannot be sent", cure)
        })
}

fn body(node: &Node, problems: &mut Problems) -> Option<Option<String>> {
    let text = node.text(problems)?;
    if text.len() <= BODY_MAX_BYTES {
        return Some(Some(text));
    }
    let cure = format!("at most {} KiB", BODY_MAX_BYTES >> 10);
    problems.report(node.at, "bad-value", "the body is too large", cure)
}

fn redirects(node: &Node, problems: &mut Problems) -> Option<u64> {
    let count = node.whole(problems)?;
    if count <= REDIRECTS_MAX {
        return Some(count);
    }
    let cure = format!("at most {REDIRECTS_MAX}");
    problems.report(node.at, "bad-value", node.describe(), cure)
}
