//! Who is at the other end: mutual TLS 1.3, and the identity that a certificate names.
//!
//! An agent is who its certificate says, in the URI `spiffe://DEPLOYMENT/tenant/TENANT/agent/UUID` among its subject
//! alternative names; nothing that it sends can change that. Sessions are never resumed: a resumed one would not look at
//! the certificate again.

use crate::text::cut;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

/// Longest URI of an agent: deployment and tenant are names of 63 bytes at most.
const URI_MAX_BYTES: usize = 256;
/// What of a URI that is refused, or of its parts, is shown.
const URI_SHOWN_BYTES: usize = 200;

/// Where the files of the listener's TLS are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Roots that agents' certificates are issued under, PEM.
    pub ca: PathBuf,
    /// This collector's certificate and its intermediates, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// The files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read, or holds nothing of the kind.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// They do not fit together.
    #[error("tls: {0}; do `cert` and `key` belong together?")]
    Config(#[from] rustls::Error),
    /// The roots cannot verify anybody.
    #[error("tls: `ca`: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The server's side: TLS 1.3 only, a client certificate is required, HTTP/2.
///
/// # Errors
/// [`TlsError`] when a file is missing or wrong.
pub fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for root in certificates(&files.ca)? {
        roots.add(root).map_err(|error| file_error(&files.ca, error))?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()?;
    let chain = certificates(&files.cert)?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| file_error(&files.key, error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| file_error(path, error))?.collect();
    let found = found.map_err(|error| file_error(path, error))?;
    if found.is_empty() {
        return Err(file_error(path, "no certificate in it; write PEM"));
    }
    Ok(found)
}

fn file_error(path: &Path, why: impl std::fmt::Display) -> TlsError {
    TlsError::File { path: path.display().to_string(), why: why.to_string() }
}

/// What a certificate says of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The tenant that it belongs to.
    pub tenant: String,
    /// Its id.
    pub agent: Uuid,
    /// Until when the certificate holds, Unix seconds.
    pub expires_s: i64,
}

/// The certificate names no agent of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No certificate, or one that cannot be parsed.
    #[error("the client certificate cannot be read")]
    Unreadable,
    /// Not exactly one SPIFFE URI.
    #[error("the client certificate has {0} URIs that begin with spiffe://, it needs exactly one")]
    Uris(usize),
    /// The URI is not that of an agent.
    #[error("the client certificate names `{0}`, not spiffe://DEPLOYMENT/tenant/TENANT/agent/UUID")]
    Shape(String),
    /// An agent of another deployment.
    #[error(
        "the client certificate is of the deployment `{theirs}`, this collector serves `{ours}`"
    )]
    Deployment {
        /// What it names.
        theirs: String,
        /// What is served here.
        ours: String,
    },
}

impl Identity {
    /// Reads the identity of a verified certificate.
    ///
    /// # Errors
    /// [`IdentityError`] when it names no agent of this deployment.
    pub fn of(certificate: &CertificateDer<'_>, deployment: &str) -> Result<Self, IdentityError> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| IdentityError::Unreadable)?;
        let uris: Vec<&str> = spiffe_uris(&parsed).collect();
        let [uri] = uris.as_slice() else { return Err(IdentityError::Uris(uris.len())) };
        let (tenant, agent) = agent_of(uri, deployment)?;
        Ok(Self { tenant, agent, expires_s: parsed.validity().not_after.timestamp() })
    }
}

fn spiffe_uris<'a>(certificate: &'a X509Certificate<'_>) -> impl Iterator<Item = &'a str> {
    let names = certificate.extensions().iter().filter_map(|extension| {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        }
    });
    names.flatten().filter_map(|name| match name {
        GeneralName::URI(uri) if uri.starts_with("spiffe://") => Some(*uri),
        _ => None,
    })
}

fn agent_of(uri: &str, deployment: &str) -> Result<(String, Uuid), IdentityError> {
    let shape = || IdentityError::Shape(cut(uri, URI_SHOWN_BYTES));
    if uri.len() > URI_MAX_BYTES {
        return Err(shape());
    }
    let path = uri.strip_prefix("spiffe://").ok_or_else(shape)?;
    let parts: Vec<&str> = path.split('/').collect();
    let [theirs, "tenant", tenant, "agent", agent] = parts.as_slice() else { return Err(shape()) };
    let agent = Uuid::parse_str(agent).map_err(|_| shape())?;
    if *theirs != deployment {
        let (theirs, ours) = (cut(theirs, URI_SHOWN_BYTES), deployment.to_owned());
        return Err(IdentityError::Deployment { theirs, ours });
    }
    Ok((cut(tenant, URI_SHOWN_BYTES), agent))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = "0198c0de-0000-7000-8000-000000000001";

    fn identity(uris: &[&str]) -> Result<Identity, IdentityError> {
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names =
            uris.iter().map(|uri| rcgen::SanType::URI((*uri).try_into().expect("ASCII"))).collect();
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signs");
        Identity::of(certificate.der(), "acme")
    }

    #[test]
    fn an_agent_is_who_its_certificate_says() {
        let uri = format!("spiffe://acme/tenant/default/agent/{AGENT}");
        let found = identity(&[&uri, "https://example.com/"]).expect("an agent");
        assert_eq!((found.tenant.as_str(), found.agent.to_string().as_str()), ("default", AGENT));
        assert!(found.expires_s > 0);
    }

    #[test]
    fn everything_else_is_nobody() {
        let ours = format!("spiffe://acme/tenant/default/agent/{AGENT}");
        let others = format!("spiffe://umbrella/tenant/default/agent/{AGENT}");
        assert!(matches!(identity(&[&others]), Err(IdentityError::Deployment { .. })));
        assert_eq!(identity(&["https://example.com/"]), Err(IdentityError::Uris(0)));
        assert_eq!(identity(&[&ours, &ours]), Err(IdentityError::Uris(2)));
        for uri in [
            "spiffe://acme/tenant/default/agent/1",
            "spiffe://acme/agent/0198c0de-0000-7000-8000-000000000001",
            "spiffe://acme/tenant/a/b/agent/0198c0de-0000-7000-8000-000000000001",
            &ours.replace("default", &"x".repeat(4_000)),
        ] {
            assert!(matches!(identity(&[uri]), Err(IdentityError::Shape(_))), "{uri}");
        }
        assert_eq!(
            Identity::of(&CertificateDer::from(vec![1, 2, 3]), "acme"),
            Err(IdentityError::Unreadable)
        );
    }
}
