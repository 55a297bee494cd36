//! SIP URIs (RFC 3261 §19.1): taken apart as far as a client needs, and written again as they came. Pure.

use super::message::parameter;
use super::transport::Transport;
use std::fmt;

/// `sip:user@host:port;parameters?headers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uri {
    /// `sips:`.
    pub(crate) secure: bool,
    /// What stands before the `@`, as it is written.
    pub(crate) user: Option<String>,
    /// A name or an address; IPv6 in its brackets.
    pub(crate) host: String,
    /// As it is written.
    pub(crate) port: Option<u16>,
    /// With their semicolons.
    pub(crate) parameters: String,
    /// With their question mark.
    pub(crate) headers: String,
}

/// Where a message goes next, and by what: a host, which may be a name, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    /// IPv6 without brackets.
    pub(crate) host: String,
    /// Never 0.
    pub(crate) port: u16,
    /// What carries it.
    pub(crate) transport: Transport,
}

impl Uri {
    /// Reads a URI; `None` when it is not one of SIP.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let legal = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"');
        if !text.chars().all(legal) {
            return None;
        }
        let (scheme, rest) = text.split_once(':')?;
        let secure = scheme.eq_ignore_ascii_case("sips");
        if !secure && !scheme.eq_ignore_ascii_case("sip") {
            return None;
        }
        // A user may have ; and ? of its own, but no @: that would be escaped.
        let (user, rest) = match rest.split_once('@') {
            Some((user, rest)) => (Some(user.to_owned()).filter(|user| !user.is_empty())?, rest),
            None => (String::new(), rest),
        };
        let (rest, headers) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let (place, parameters) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let (host, port) = host_and_port(place)?;
        Some(Self {
            secure,
            user: Some(user).filter(|user| !user.is_empty()),
            host: host.to_owned(),
            port,
            parameters: parameters.to_owned(),
            headers: headers.to_owned(),
        })
    }

    /// The value of a parameter; `Some("")` when it has none.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let value = parameter(self.parameters.as_bytes(), name)?;
        std::str::from_utf8(value.unwrap_or_default()).ok()
    }

    /// Where a request for it is sent, without looking its name up for services (RFC 3263 §4.2, first and last case).
    pub(crate) fn hop(&self) -> Hop {
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = self.parameter("maddr").filter(|maddr| !maddr.is_empty());
        let host = host.or(bare).unwrap_or(&self.host).to_owned();
        let transport = self.transport();
        Hop { host, port: self.port.unwrap_or(transport.port()), transport }
    }

    /// What carries a request for it. One that names a transport that nobody here speaks is asked by UDP, as one that
    /// names none.
    pub(crate) fn transport(&self) -> Transport {
        if self.secure {
            return Transport::Tls;
        }
        self.parameter("transport").and_then(Transport::parse).unwrap_or(Transport::Udp)
    }

    /// As a Request-URI may stand there: without headers and `method` (RFC 3261 §12.2.1.1, §19.1.1).
    pub(crate) fn as_request_uri(&self) -> Self {
        let is_method = |piece: &&str| {
            piece.split('=').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("method"))
        };
        let kept = self.parameters.split(';').skip(1).filter(|piece| !is_method(piece));
        let parameters = kept.map(|piece| format!(";{piece}")).collect();
        Self { parameters, headers: String::new(), ..self.clone() }
    }
}

impl Uri {
    /// The name alone, as `From` and `To` have it: without where it is reached (RFC 3261 §19.1.1).
    pub(crate) fn name(&self) -> impl fmt::Display {
        fmt::from_fn(|f| self.write_name(f))
    }

    fn write_name(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "sips:" } else { "sip:" })?;
        if let Some(user) = &self.user {
            f.write_str(user)?;
            f.write_str("@")?;
        }
        f.write_str(&self.host)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_name(f)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.parameters)?;
        f.write_str(&self.headers)
    }
}

fn host_and_port(place: &str) -> Option<(&str, Option<u16>)> {
    let end = match place.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => place.find(':').unwrap_or(place.len()),
    };
    let (host, rest) = place.split_at(end);
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let numbered = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
    let sound = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => !address.is_empty() && address.chars().all(numbered),
        None => !host.is_empty() && host.chars().all(named),
    };
    if !sound {
        return None;
    }
    if rest.is_empty() {
        return Some((host, None));
    }
    let digits = rest.strip_prefix(':').filter(|port| port.bytes().all(|b| b.is_ascii_digit()))?;
    let port = digits.parse().ok().filter(|port| *port > 0)?;
    Some((host, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_written_as_they_came() {
        const PORT: u16 = 5_060;
        for (text, user, host, port) in [
            ("sip:h", None, "h", PORT),
            ("sip:echo@sbc.example", Some("echo"), "sbc.example", PORT),
            ("sip:+4930123@sbc.example:5070;user=phone", Some("+4930123"), "sbc.example", 5070),
            ("sip:a@[2001:db8::1]:5062;lr", Some("a"), "2001:db8::1", 5062),
            ("sips:a@[::1]", Some("a"), "::1", 5_061),
            (
                "sip:user;par=u%40example.net@example.com",
                Some("user;par=u%40example.net"),
                "example.com",
                PORT,
            ),
            ("sip:a@h;maddr=192.0.2.1?Subject=x", Some("a"), "192.0.2.1", PORT),
            (
                "sip:sips%3Auser%40example.com@example.net",
                Some("sips%3Auser%40example.com"),
                "example.net",
                PORT,
            ),
        ] {
            let uri = Uri::parse(text.as_bytes()).expect(text);
            assert_eq!(uri.to_string(), text);
            assert_eq!(uri.user.as_deref(), user);
            assert_eq!((uri.hop().host.as_str(), uri.hop().port), (host, port));
        }
        for text in [
            "",
            "sip",
            "sip:",
            "tel:+4930",
            "sip:@h",
            "sip:a@",
            "sip:a@h:0",
            "sip:a@h:x",
            "sip:a@h:99999",
            "sip:a@[::1",
            "sip:a b@h",
            "sip:a@h\r\nX: y",
            "sip:a@<h>",
            "sip:ä@h",
            "http://h/",
            "sip:a@h:",
        ] {
            assert_eq!(Uri::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_request_uri_has_no_headers_and_no_method() {
        let uri = Uri::parse(b"sip:a@h;lr;method=BYE;x=1?Subject=y").expect("a URI");
        assert_eq!(uri.as_request_uri().to_string(), "sip:a@h;lr;x=1");
        assert_eq!((uri.parameter("LR"), uri.parameter("x")), (Some(""), Some("1")));
        assert_eq!(uri.parameter("y"), None);
    }
}
