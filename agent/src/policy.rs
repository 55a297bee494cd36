//! The agent's own policy: where its probes may go, whatever the collector says (`formats.md` §10).

use std::path::Path;

/// What an agent may do.
#[derive(Clone, Debug)]
pub struct Policy {}

/// Where attempts may go.
#[derive(Clone, Debug)]
pub enum Permission {
    /// Everywhere: for `try`, which is the user's own command.
    Anywhere,
    /// Where the policy says.
    Policy(Policy),
}

impl Policy {
    /// Reads and checks the policy file.
    ///
    /// # Errors
    /// Every problem of the file, or who owns it that should not.
    pub fn load(_path: &Path) -> Result<Self, PolicyError> {
        Ok(Self {})
    }
}

/// The policy file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Wrong content.
    #[error("{0}")]
    Content(#[from] probefleet_proto::yaml::Problems),
}
