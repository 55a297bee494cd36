//! What carries a message: UDP, TCP or TLS (RFC 3261 §18). Pure.

/// A transport, as `Via` and the parameter of a URI name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    /// Datagrams: requests are sent again until they are answered.
    Udp,
    /// A stream.
    Tcp,
    /// A stream that is private (`sips:`, RFC 3261 §26.3.2.1).
    Tls,
}

impl Transport {
    /// As a URI's `transport` has it (RFC 3261 §19.1.1).
    pub(crate) fn parse(parameter: &str) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls]
            .into_iter()
            .find(|transport| transport.via().eq_ignore_ascii_case(parameter))
    }

    /// As `Via` has it (RFC 3261 §20.42).
    pub(crate) const fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// What a URI of this side adds to say so; UDP is what nothing says.
    pub(crate) const fn parameter(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls => ";transport=tls",
        }
    }

    /// The port of a URI that names none (RFC 3261 §19.1.2).
    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5_060,
            Self::Tls => 5_061,
        }
    }

    /// Whether nothing has to be sent again (RFC 3261 §17.1.1.2, §17.1.2.2).
    pub(crate) const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_read_in_any_case() {
        assert_eq!(Transport::parse("tcp"), Some(Transport::Tcp));
        assert_eq!(Transport::parse("TLS"), Some(Transport::Tls));
        assert_eq!(Transport::parse("Udp"), Some(Transport::Udp));
        assert_eq!(Transport::parse("ws"), None);
    }
}
