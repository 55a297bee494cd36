//! Who this agent is.

use std::path::Path;
use uuid::Uuid;

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
    #[error("x")]
    X,
}

impl Identity {
    /// The identity that a PEM certificate names.
    ///
    /// # Errors
    /// [`IdentityError`] when it names none, or several.
    pub fn of_certificate(_pem: &[u8]) -> Result<Self, IdentityError> {
        todo!()
    }
}

/// The id of an agent without a certificate, kept in `STATE/agent-id`; made at first start.
///
/// # Errors
/// [`IdentityError`] when the file cannot be read or written, or holds something else.
pub fn kept_agent_id(_state_dir: &Path, _now_ns: u64) -> Result<Uuid, IdentityError> {
    todo!()
}
