//! Certificates of SIP domains (RFC 5922 §7).
//!
//! A certificate is that of a domain if it names it as `sip:domain`; a DNS name counts only where there is no such URI
//! at all. Names are compared whole: no wildcard, no suffix, no Common Name. RFC 5922 does not speak of URIs with an
//! address in place of a domain: then the certificate must be for that address (RFC 5280 §4.2.1.6).

use rustls::pki_types::{IpAddr, ServerName};
use rustls::{CertificateError, Error};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// Whether a certificate is that of the domain that was asked.
pub(super) fn is_for(certificate: &[u8], name: &ServerName<'_>) -> Result<bool, Error> {
    let malformed = || Error::from(CertificateError::BadEncoding);
    let (_, certificate) = parse_x509_certificate(certificate).map_err(|_| malformed())?;
    let names = certificate.subject_alternative_name().map_err(|_| malformed())?;
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let by_uri: Vec<&str> = names.iter().filter_map(sip_domain).collect();
    let same = |known: &str, asked: &str| {
        known.trim_end_matches('.').eq_ignore_ascii_case(asked.trim_end_matches('.'))
    };
    Ok(match name {
        ServerName::DnsName(asked) if !by_uri.is_empty() => {
            by_uri.iter().any(|domain| same(domain, asked.as_ref()))
        }
        ServerName::DnsName(asked) => names.iter().any(
            |known| matches!(known, GeneralName::DNSName(known) if same(known, asked.as_ref())),
        ),
        ServerName::IpAddress(asked) => {
            let octets: &[u8] = match asked {
                IpAddr::V4(address) => address.as_ref(),
                IpAddr::V6(address) => address.as_ref(),
            };
            names
                .iter()
                .any(|known| matches!(known, GeneralName::IPAddress(known) if *known == octets))
        }
        _ => false,
    })
}

/// The domain that a URI in a certificate names: one with a user names somebody in it (RFC 5922 §7.1).
fn sip_domain<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    let GeneralName::URI(uri) = name else { return None };
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("sip") || rest.contains('@') {
        return None;
    }
    let end = rest.find([';', '?', ':']).unwrap_or(rest.len());
    Some(&rest[..end]).filter(|domain| !domain.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().expect("is ASCII"))
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().expect("is ASCII"))
    }

    fn accepts(names: Vec<SanType>, asked: &str) -> bool {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        is_for(certificate.der(), &ServerName::try_from(asked).expect("a name")).expect("is sound")
    }

    #[test]
    fn a_sip_uri_is_the_domains_identity() {
        assert!(accepts(vec![uri("sip:example.com")], "example.com"));
        assert!(accepts(vec![uri("SIP:Example.COM;transport=tls")], "example.com"));
        assert!(accepts(vec![uri("sip:other.net"), uri("sip:example.com")], "example.com"));
        assert!(!accepts(vec![uri("sip:proxy.example.com")], "example.com"), "no suffix");
        assert!(!accepts(vec![uri("sip:example.com")], "proxy.example.com"));
        assert!(!accepts(vec![uri("sip:bob@example.com")], "example.com"), "somebody's");
        assert!(!accepts(vec![uri("sips:example.com")], "example.com"), "not the scheme");
    }

    #[test]
    fn a_dns_name_counts_where_there_is_no_sip_uri() {
        assert!(accepts(vec![dns("example.com")], "example.com"));
        assert!(accepts(vec![dns("EXAMPLE.com"), uri("https://example.com/")], "example.com"));
        assert!(accepts(vec![dns("example.com"), uri("sip:bob@other.net")], "example.com"));
        assert!(!accepts(vec![dns("example.com"), uri("sip:other.net")], "example.com"));
        assert!(!accepts(vec![dns("*.example.com")], "proxy.example.com"), "no wildcard");
        assert!(!accepts(Vec::new(), "example.com"), "no Common Name");
    }

    #[test]
    fn an_address_must_be_in_the_certificate() {
        let address = |text: &str| SanType::IpAddress(text.parse().expect("an address"));
        assert!(accepts(vec![address("127.0.0.1")], "127.0.0.1"));
        assert!(accepts(vec![address("::1"), uri("sip:example.com")], "::1"));
        assert!(!accepts(vec![address("127.0.0.2")], "127.0.0.1"));
        assert!(!accepts(vec![dns("127.0.0.1")], "127.0.0.1"));
    }
}
