//! TLS as a client: which roots are trusted, and what a failed handshake is called.

mod sip_domain;
mod verifier;

use super::failure::{Failure, errno_of, from_io};
use super::progress::TLS;
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::name::{FailureClass, InvalidReason};
use probefleet_proto::units::NS_PER_S;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, InvalidMessage, RootCertStore};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use verifier::Verifier;

/// Largest file of extra roots: every public root together is under 300 KiB.
const CA_FILE_MAX_BYTES: u64 = 4 << 20;

/// The trusted roots, loaded once and at their first use.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    system: OnceLock<Arc<RootCertStore>>,
    configs: Mutex<HashMap<Wanted, Kept>>,
}

/// What distinguishes one client configuration from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    /// Whose certificates are trusted.
    pub(crate) roots: Roots,
    /// What a certificate must prove.
    pub(crate) proof: Proof,
    /// The protocol asked for in the handshake (ALPN).
    pub(crate) protocol: Option<&'static [u8]>,
}

/// Whose certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Roots {
    /// Those that the system trusts.
    System,
    /// These too.
    SystemAnd(PathBuf),
    /// These alone.
    Only(PathBuf),
}

/// What a certificate must prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Proof {
    /// That a trusted issuer gave it to that name.
    Name,
    /// That a trusted issuer gave it to that SIP domain.
    SipDomain,
    /// That a trusted issuer gave it to somebody.
    Issuer,
    /// Nothing: privacy alone is wanted.
    Nothing,
}

/// A configuration, and when the file of roots in it was last changed.
#[derive(Clone, Debug)]
struct Kept {
    changed: Option<SystemTime>,
    config: Arc<ClientConfig>,
}

impl Wanted {
    /// As browsers do it: the system's roots, and perhaps more, for that very name.
    pub(crate) fn public(ca_file: Option<&Path>, protocol: &'static [u8]) -> Self {
        let roots = ca_file.map_or(Roots::System, |path| Roots::SystemAnd(path.to_owned()));
        Self { roots, proof: Proof::Name, protocol: Some(protocol) }
    }

    /// As SIP does it: the system's roots, and perhaps more, for the domain of a URI (RFC 5922).
    pub(crate) fn sip(ca_file: Option<&Path>) -> Self {
        let roots = ca_file.map_or(Roots::System, |path| Roots::SystemAnd(path.to_owned()));
        Self { roots, proof: Proof::SipDomain, protocol: None }
    }

    fn file(&self) -> Option<&Path> {
        match &self.roots {
            Roots::System => None,
            Roots::SystemAnd(path) | Roots::Only(path) => Some(path),
        }
    }
}

impl Trust {
    /// The configuration that is wanted.
    ///
    /// Reads files when it is asked for the first time. A missing or broken file is the agent's fault, never the
    /// provider's.
    pub(crate) fn client(&self, wanted: &Wanted) -> Result<Arc<ClientConfig>, Failure> {
        if let Some(config) = self.kept(wanted) {
            return Ok(config);
        }
        let changed = last_change(wanted.file());
        let config = Arc::new(self.build(wanted)?);
        self.configs().insert(wanted.clone(), Kept { changed, config: Arc::clone(&config) });
        Ok(config)
    }

    /// The configuration, if it was loaded before and its file has not changed since. Never slow.
    pub(crate) fn kept(&self, wanted: &Wanted) -> Option<Arc<ClientConfig>> {
        let changed = last_change(wanted.file());
        let configs = self.configs();
        let kept = configs.get(wanted)?;
        (kept.changed == changed).then(|| Arc::clone(&kept.config))
    }

    fn configs(&self) -> MutexGuard<'_, HashMap<Wanted, Kept>> {
        self.configs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn build(&self, wanted: &Wanted) -> Result<ClientConfig, Failure> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                Failure::invalid(InvalidReason::AgentError, "tls_setup", error.to_string())
            })?;
        let by = |verifier: Arc<dyn ServerCertVerifier>| {
            builder.clone().dangerous().with_custom_certificate_verifier(verifier)
        };
        let builder = match wanted.proof {
            Proof::Name => builder.with_root_certificates(self.roots(&wanted.roots)?),
            Proof::SipDomain => {
                by(Arc::new(Verifier::of_sip_domain(self.roots(&wanted.roots)?, algorithms)))
            }
            Proof::Issuer => {
                by(Arc::new(Verifier::of_issuers(self.roots(&wanted.roots)?, algorithms)))
            }
            Proof::Nothing => by(Arc::new(Verifier::of_anybody(algorithms))),
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = wanted.protocol.map(<[u8]>::to_vec).into_iter().collect();
        // A resumed handshake is shorter: the figures of one attempt would depend on the attempt before.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn roots(&self, wanted: &Roots) -> Result<Arc<RootCertStore>, Failure> {
        let system = || Arc::clone(self.system.get_or_init(|| Arc::new(system_roots())));
        let roots = match wanted {
            Roots::System => system(),
            Roots::SystemAnd(path) => Arc::new(add(RootCertStore::clone(&system()), path)?),
            Roots::Only(path) => Arc::new(add(RootCertStore::empty(), path)?),
        };
        if roots.is_empty() {
            let why = "this machine has no root certificates; install them, or name a ca_file";
            return Err(Failure::invalid(InvalidReason::AgentError, "no_roots", why));
        }
        Ok(roots)
    }
}

/// With the certificates of a file.
fn add(mut roots: RootCertStore, path: &Path) -> Result<RootCertStore, Failure> {
    let extra = read_certificates(path).map_err(|why| {
        let why = format!("ca_file {}: {why}", path.display());
        Failure::invalid(InvalidReason::AgentError, "ca_file", why)
    })?;
    roots.add_parsable_certificates(extra);
    Ok(roots)
}

fn last_change(ca_file: Option<&Path>) -> Option<SystemTime> {
    std::fs::metadata(ca_file?).ok()?.modified().ok()
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        tracing::warn!(%error, "some of the system's root certificates could not be read");
    }
    roots.add_parsable_certificates(loaded.certs);
    roots
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > CA_FILE_MAX_BYTES {
        return Err(format!("larger than {} MiB", CA_FILE_MAX_BYTES >> 20));
    }
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        // The parser's own words could show a line of a file that is no certificate.
        Err(_) => Err("not a PEM file".to_owned()),
        Ok(list) if list.is_empty() => Err("has no certificate".to_owned()),
        Ok(list) => Ok(list),
    }
}

/// Makes a connection private.
pub(crate) async fn handshake(
    stream: TcpStream,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, Failure> {
    let connecting = TlsConnector::from(config).connect(name, stream);
    // The future is large and most attempts need it once: not on everybody's stack.
    Box::pin(connecting).await.map_err(|error| from_handshake(&error))
}

fn from_handshake(error: &io::Error) -> Failure {
    if let Some(failure) = from_tls(error) {
        return failure;
    }
    if errno_of(error).is_none() && error.kind() == io::ErrorKind::UnexpectedEof {
        let why = "the stream ended within the handshake";
        return Failure::failed(FailureClass::Tls, "tls:eof", why);
    }
    from_io(error, TLS)
}

/// What an error of a private stream means, if it is the protocol's own.
pub(crate) fn from_tls(error: &io::Error) -> Option<Failure> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let failed =
        |code: &'static str| Some(Failure::failed(FailureClass::Tls, code, error.to_string()));
    match error {
        rustls::Error::AlertReceived(alert) => {
            let code = format!("tls:alert:{}", u8::from(*alert));
            Some(Failure::failed(FailureClass::Tls, code, error.to_string()))
        }
        rustls::Error::InvalidCertificate(problem) => failed(certificate_code(problem)),
        rustls::Error::NoCertificatesPresented => failed("tls:no_certificate"),
        rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => failed("tls:not_tls"),
        rustls::Error::InvalidMessage(_) | rustls::Error::PeerSentOversizedRecord => {
            failed("tls:malformed")
        }
        rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol => {
            failed("tls:incompatible")
        }
        rustls::Error::DecryptError => failed("tls:decrypt"),
        _ => failed("tls:misbehaved"),
    }
}

fn certificate_code(problem: &CertificateError) -> &'static str {
    match problem {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "tls:name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "tls:expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "tls:not_yet_valid"
        }
        CertificateError::UnknownIssuer => "tls:issuer",
        CertificateError::Revoked => "tls:revoked",
        CertificateError::BadSignature => "tls:signature",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "tls:purpose"
        }
        // What `openssl req -x509` makes: a self-signed certificate that calls itself an authority.
        CertificateError::Other(other)
            if other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
        {
            "tls:issuer"
        }
        _ => "tls:certificate",
    }
}

/// Notes until when the other side's certificate is valid.
pub(crate) fn note_certificate(stream: &TlsStream<TcpStream>, detail: &mut Map<String, Value>) {
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(<[_]>::first);
    // A certificate that was not verified may be no certificate: then there is nothing to note.
    let Some(Ok((_, leaf))) = leaf.map(|leaf| x509_parser::parse_x509_certificate(leaf)) else {
        return;
    };
    let not_after_s = leaf.validity().not_after.timestamp();
    note_expiry(not_after_s, detail);
}

fn note_expiry(not_after_s: i64, detail: &mut Map<String, Value>) {
    let Ok(not_after) = jiff::Timestamp::from_second(not_after_s) else { return };
    let now_s = i64::try_from(unix_now_ns() / NS_PER_S).unwrap_or(i64::MAX);
    detail.insert("cert_not_after".to_owned(), not_after.to_string().into());
    detail.insert("cert_expires_in_s".to_owned(), not_after_s.saturating_sub(now_s).into());
}
