//! The agent's own policy: where its probes may go, whatever the collector says (`formats.md` §10).
//!
//! The policy is the wall between a captured collector and the network that an agent stands in. So the file must belong
//! to root or to the running user, nobody else may write it, and it is asked about the exact address that is about to be
//! dialled, again for every hop.

mod address;
mod decode;
mod destination;
mod user;

pub use user::UserPattern;

use address::forbidden;
use destination::Destination;
use probefleet_proto::yaml::{Document, Node, Problems, read_text};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where attempts may go.
#[derive(Clone, Debug)]
pub enum Permission {
    /// Everywhere: for `try` without a policy, which is the user's own command.
    Anywhere,
    /// Where the policy says.
    Policy(Policy),
}

/// What an agent may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    allow: Vec<Allow>,
    sql: BTreeMap<String, Node>,
    sip: BTreeMap<String, Node>,
    /// Where this agent itself listens.
    own: Option<SocketAddr>,
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Allow {
    kind: Kind,
    to: Vec<Destination>,
    calls: Option<CallLimits>,
}

/// Kinds that a policy can speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HTTP requests.
    Http,
    /// Database queries.
    Sql,
    /// Telephone calls.
    Sip,
}

/// What calls may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Who may be called; `None` = everybody.
    pub users: Option<Vec<UserPattern>>,
    /// Most calls in any hour; `None` = unlimited.
    pub calls_per_hour: Option<u64>,
    /// Most calls at once; `None` = unlimited.
    pub concurrent: Option<u64>,
    /// Longest call, ns; `None` = as the probe says.
    pub hold_ns: Option<u64>,
}

/// The policy does not permit a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No entry covers it.
    #[error("{0} is not in the policy")]
    NotListed(String),
    /// The agent's own listener: nothing permits that.
    #[error("{0} is where this agent says how it is: no probe may go there")]
    Own(SocketAddr),
    /// Denied unless an entry names exactly it.
    #[error("{address} is {range}: denied unless the policy lists it by host or CIDR")]
    BuiltIn {
        /// What was about to be dialled.
        address: SocketAddr,
        /// What kind of address that is.
        range: &'static str,
    },
}

/// The policy file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not readable.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Owned by somebody else, who could change it.
    #[error(
        "{path} belongs to user {owner}, who could change what this agent may do; `chown root {path}`"
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Number of its owner.
        owner: u32,
    },
    /// Writable by others.
    #[error("{path} can be written by group or others; `chmod go-w {path}`")]
    Writable {
        /// The file.
        path: PathBuf,
    },
    /// Wrong content.
    #[error("{0}")]
    Content(#[from] Problems),
}

impl CallLimits {
    /// Whether that user or number may be called.
    #[must_use]
    pub fn permits(&self, user: &str) -> bool {
        self.users.as_ref().is_none_or(|users| users.iter().any(|pattern| pattern.has(user)))
    }
}

impl Permission {
    /// The limits on calls to a destination, and which entry of the policy sets them; `None` = no limits.
    #[must_use]
    pub fn call_limits(&self, host: &str, address: SocketAddr) -> Option<(usize, CallLimits)> {
        match self {
            Self::Anywhere => None,
            Self::Policy(policy) => policy.call_limits(host, address),
        }
    }

    /// Whether any address of a host may be dialled at all; asked before the name is resolved, so that a forbidden name
    /// causes no packet.
    ///
    /// # Errors
    /// [`Denied`] when nothing could permit it.
    pub fn check_host(&self, kind: Kind, host: &str, port: u16) -> Result<(), Denied> {
        match self {
            Self::Anywhere => Ok(()),
            Self::Policy(policy) => policy.check_host(kind, host, port),
        }
    }

    /// Whether that exact address may be dialled for a host.
    ///
    /// # Errors
    /// [`Denied`] when it may not.
    pub fn check(&self, kind: Kind, host: &str, address: SocketAddr) -> Result<(), Denied> {
        match self {
            Self::Anywhere => Ok(()),
            Self::Policy(policy) => policy.check(kind, host, address),
        }
    }
}

impl Policy {
    /// Reads the policy file, if nobody but root and the running user could have written it.
    ///
    /// # Errors
    /// [`PolicyError`] with every problem of the file, or who could have written it.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let read = |error| PolicyError::Read { path: path.to_owned(), error };
        // Owner and content are of one and the same open file, whatever the path names a moment later.
        let file = File::open(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        let owner = metadata.uid();
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            return Err(PolicyError::Owner { path: path.to_owned(), owner });
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(PolicyError::Writable { path: path.to_owned() });
        }
        let text = read_text(file).map_err(read)?;
        Ok(Self::parse(&path.display().to_string(), &text)?)
    }

    /// Reads the text of a policy file.
    ///
    /// # Errors
    /// All problems of the file.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let document = Document::parse(file, text)?;
        let mut problems = Problems::new(file);
        let policy = Self::decode(&document.root, &mut problems);
        problems.into_result(policy)
    }

    /// Where this agent listens itself: a captured collector shall not read there how its agents are.
    pub fn deny_own(&mut self, address: SocketAddr) {
        self.own = Some(address);
    }

    /// The limits on calls to a destination, and the entry of the policy that sets them: the calls that it covers are
    /// counted together.
    #[must_use]
    pub fn call_limits(&self, host: &str, address: SocketAddr) -> Option<(usize, CallLimits)> {
        let covers = |allow: &Allow| {
            allow.to.iter().any(|to| {
                *to == Destination::Any || to.is_host(host, address.port()) || to.has(address)
            })
        };
        let mut entries = self.of_kind(Kind::Sip).enumerate();
        let (entry, allow) = entries.find(|(_, allow)| covers(allow))?;
        allow.calls.as_ref().map(|limits| (entry, limits.clone()))
    }

    /// The named credentials of a kind, as the file has them.
    #[must_use]
    pub fn credentials(&self, kind: Kind, name: &str) -> Option<&Node> {
        match kind {
            Kind::Http => None,
            Kind::Sql => self.sql.get(name),
            Kind::Sip => self.sip.get(name),
        }
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Allow> {
        self.allow.iter().filter(move |allow| allow.kind == kind)
    }

    fn destinations(&self, kind: Kind) -> impl Iterator<Item = &Destination> {
        self.of_kind(kind).flat_map(|allow| &allow.to)
    }

    fn check_host(&self, kind: Kind, host: &str, port: u16) -> Result<(), Denied> {
        let permits = |to: &Destination| match to {
            Destination::Any => true,
            Destination::Host { .. } => to.is_host(host, port),
            Destination::Net { port: only, .. } => only.is_none_or(|only| only == port),
        };
        if self.destinations(kind).any(permits) {
            return Ok(());
        }
        Err(Denied::NotListed(format!("{host}:{port}")))
    }

    fn check(&self, kind: Kind, host: &str, address: SocketAddr) -> Result<(), Denied> {
        if self.own.is_some_and(|own| address::leads_to(address, own)) {
            return Err(Denied::Own(address));
        }
        let explicit = |to: &Destination| to.is_host(host, address.port()) || to.has(address);
        if self.destinations(kind).any(explicit) {
            return Ok(());
        }
        if !self.destinations(kind).any(|to| *to == Destination::Any) {
            return Err(Denied::NotListed(format!("{host} ({address})")));
        }
        match forbidden(address.ip()) {
            None => Ok(()),
            Some(range) => Err(Denied::BuiltIn { address, range }),
        }
    }
}

#[cfg(test)]
mod tests;
