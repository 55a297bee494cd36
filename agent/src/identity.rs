//! Who this agent is: what its certificate says, or, without one, an id that it keeps.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use uuid::{NoContext, Timestamp, Uuid};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

/// Name of the file that keeps the id of an agent without a certificate.
const AGENT_ID_FILE: &str = "agent-id";
/// Most bytes of that file that are read: a UUID and a line end fit many times.
const AGENT_ID_MAX_BYTES: u64 = 256;
const SCHEME: &str = "spiffe://";

/// Who an agent is, by its certificate: `spiffe://DEPLOYMENT/tenant/TENANT/agent/UUID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The deployment that issued the certificate.
    pub deployment: String,
    /// The tenant.
    pub tenant: String,
    /// The agent.
    pub agent_id: Uuid,
}

/// Why it is not known who this agent is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No certificate in the file.
    #[error("no PEM certificate is in it")]
    NoCertificate,
    /// A certificate that cannot be parsed.
    #[error("its first certificate is malformed: {0}")]
    Malformed(String),
    /// The certificate is not one of an agent.
    #[error(
        "its first certificate names no agent: a URI SAN spiffe://DEPLOYMENT/tenant/TENANT/agent/UUID is needed, enrol again"
    )]
    NoAgent,
    /// The certificate names more than one identity.
    #[error("its first certificate names more than one URI, so it is not clear which agent it is")]
    Ambiguous,
    /// The kept id cannot be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kept id is no UUID.
    #[error("{} holds no UUID: restore it, or delete it to become another agent", .0.display())]
    NotAnId(PathBuf),
}

impl Identity {
    /// The identity that the first certificate of a PEM text names.
    ///
    /// # Errors
    /// [`IdentityError`] when it names none, or several.
    pub fn of_certificate(pem: &[u8]) -> Result<Self, IdentityError> {
        let malformed = |error: &dyn std::fmt::Display| IdentityError::Malformed(error.to_string());
        let leaf = Pem::iter_from_buffer(pem)
            .find(|block| block.as_ref().map_or(true, |block| block.label == "CERTIFICATE"))
            .ok_or(IdentityError::NoCertificate)?
            .map_err(|error| malformed(&error))?;
        let certificate = leaf.parse_x509().map_err(|error| malformed(&error))?;
        let names = certificate.subject_alternative_name().map_err(|error| malformed(&error))?;
        let mut uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(
            |name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            },
        );
        let uri = uris.next().ok_or(IdentityError::NoAgent)?;
        if uris.next().is_some() {
            return Err(IdentityError::Ambiguous);
        }
        Self::of_uri(uri).ok_or(IdentityError::NoAgent)
    }

    /// The identity that a URI spells, if it is one.
    #[must_use]
    pub fn of_uri(uri: &str) -> Option<Self> {
        let parts: Vec<_> = uri.strip_prefix(SCHEME)?.split('/').collect();
        let [deployment, "tenant", tenant, "agent", agent] = parts.as_slice() else { return None };
        if deployment.is_empty() || tenant.is_empty() {
            return None;
        }
        let agent_id = parse_id(agent)?;
        Some(Self { deployment: (*deployment).to_owned(), tenant: (*tenant).to_owned(), agent_id })
    }
}

/// One spelling only, so that two spellings are never two agents.
fn parse_id(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|id| id.to_string() == text)
}

/// The id of an agent without a certificate, kept in `STATE/agent-id`; made at first start, when `now_ns` (Unix) goes into
/// it.
///
/// # Errors
/// [`IdentityError`] when the file cannot be read or written, or holds something else.
pub fn kept_agent_id(state_dir: &Path, now_ns: u64) -> Result<Uuid, IdentityError> {
    let path = state_dir.join(AGENT_ID_FILE);
    let mut text = String::new();
    match File::open(&path).and_then(|file| file.take(AGENT_ID_MAX_BYTES).read_to_string(&mut text))
    {
        Ok(_) => parse_id(text.trim()).ok_or(IdentityError::NotAnId(path)),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            let (seconds, nanos) = (now_ns / 1_000_000_000, now_ns % 1_000_000_000);
            let nanos = u32::try_from(nanos).unwrap_or(0);
            let id = Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, nanos));
            keep(state_dir, &path, id).map_err(|source| IdentityError::Io {
                what: "write",
                path,
                source,
            })?;
            Ok(id)
        }
        Err(source) => Err(IdentityError::Io { what: "read", path, source }),
    }
}

/// Writes the id so that a crash leaves either none or the whole of it.
fn keep(state_dir: &Path, path: &Path, id: Uuid) -> io::Result<()> {
    std::fs::create_dir_all(state_dir)?;
    let draft = path.with_extension("new");
    let mut file = File::create(&draft)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    File::open(state_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    const URI: &str = "spiffe://acme/tenant/default/agent/01890a5d-ac96-774b-bcce-b302099a8057";

    fn certificate(uris: &[&str]) -> String {
        let mut params = CertificateParams::new(vec!["agent".to_owned()]).expect("a name");
        params
            .subject_alt_names
            .extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("ASCII"))));
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").pem()
    }

    #[test]
    fn a_certificate_names_its_agent() {
        let identity = Identity::of_certificate(certificate(&[URI]).as_bytes()).expect("an agent");
        assert_eq!((identity.deployment.as_str(), identity.tenant.as_str()), ("acme", "default"));
        assert_eq!(identity.agent_id.to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
    }

    #[test]
    fn only_one_agent_is_named_and_only_as_agreed() {
        let refused = |uris: &[&str]| {
            Identity::of_certificate(certificate(uris).as_bytes()).expect_err("refused")
        };
        assert!(matches!(refused(&[]), IdentityError::NoAgent));
        assert!(matches!(refused(&[URI, URI]), IdentityError::Ambiguous));
        for other in [
            "https://acme/tenant/default/agent/01890a5d-ac96-774b-bcce-b302099a8057",
            "spiffe://acme/tenant//agent/01890a5d-ac96-774b-bcce-b302099a8057",
            "spiffe://acme/tenant/default/agent/01890A5D-AC96-774B-BCCE-B302099A8057",
            "spiffe://acme/tenant/default/agent/01890a5d-ac96-774b-bcce-b302099a8057/",
            "spiffe://acme/agent/01890a5d-ac96-774b-bcce-b302099a8057",
        ] {
            assert!(matches!(refused(&[other]), IdentityError::NoAgent), "{other}");
        }
        assert!(matches!(Identity::of_certificate(b"no PEM"), Err(IdentityError::NoCertificate)));
        let junk = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(Identity::of_certificate(junk), Err(IdentityError::Malformed(_))));
    }

    #[test]
    fn an_id_is_made_once_and_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join("state");
        let id = kept_agent_id(&state, 1_700_000_000_123_456_789).expect("made");
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(kept_agent_id(&state, 5).expect("kept"), id);
        std::fs::write(state.join(AGENT_ID_FILE), "x").expect("written");
        assert!(matches!(kept_agent_id(&state, 5), Err(IdentityError::NotAnId(_))));
    }
}
