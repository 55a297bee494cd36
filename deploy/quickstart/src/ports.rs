//! Ports that are tried first: those of the documentation, then whatever an earlier run had to take.

use crate::files::write_private;
use std::path::Path;

/// Where each part of the fleet listens on the loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    /// The HTTP responder, TCP.
    pub(crate) http: u16,
    /// The SIP responder, UDP.
    pub(crate) sip: u16,
    /// PostgreSQL, TCP.
    pub(crate) database: u16,
    /// The collector, for agents.
    pub(crate) agents: u16,
    /// The collector, for people.
    pub(crate) portal: u16,
}

impl Ports {
    pub(crate) fn load(path: &Path) -> Self {
        let kept: serde_json::Value = std::fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let port = |name: &str, first: u16| {
            kept[name].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(first)
        };
        Self {
            http: port("responder", 7_481),
            sip: port("sip", 7_483),
            database: port("database", 7_482),
            agents: port("agents", 7_400),
            portal: port("portal", 7_480),
        }
    }

    /// The responder's above all: another port is another target, and so another series.
    pub(crate) fn keep(&self, path: &Path) -> anyhow::Result<()> {
        let ports = serde_json::json!({
            "responder": self.http,
            "sip": self.sip,
            "database": self.database,
            "agents": self.agents,
            "portal": self.portal,
        });
        write_private(path, &ports.to_string())
    }
}

/// The port of `HOST:PORT`; 0, which takes a free one, where there is none.
pub(crate) fn port_of(address: &str) -> u16 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ports.json");
        let mut ports = Ports::load(&path);
        assert_eq!((ports.agents, ports.portal), (7_400, 7_480));
        ports.sip = 9;
        ports.keep(&path).expect("writes");
        assert_eq!(Ports::load(&path), ports);
    }
}
