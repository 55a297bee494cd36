//! `agent.yaml`: who this agent is and where it delivers. What it measures comes from the collector; what it may do
//! stands in its policy file.

use crate::uplink::{TlsFiles, check_url};
use probefleet_proto::label::{Labels, labels};
use probefleet_proto::name::Name;
use probefleet_proto::yaml::{Document, Map, Node, Problems, read_text};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The agent's configuration; file names are absolute or relative to the working directory.
#[derive(Clone, Debug)]
pub struct Config {
    /// `https://HOST:PORT`, or `http://HOST:PORT` of this machine.
    pub collector: String,
    /// Mutual TLS; left out = plaintext, to loopback only.
    pub tls: Option<TlsFiles>,
    /// Where spool, plan and identity are kept.
    pub state_dir: PathBuf,
    /// The policy file.
    pub policy_file: PathBuf,
    /// Name that is proposed to the collector.
    pub name: Name,
    /// Labels that are proposed with it.
    pub labels: Labels,
    /// Most bytes that the spool may take; left out = 1 GiB or a tenth of the file system.
    pub spool_max_bytes: Option<u64>,
    /// Where it says over HTTP how it is; left out = nowhere.
    pub status: Option<SocketAddr>,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Wrong content.
    #[error("{0}")]
    Content(#[from] Problems),
}

/// Least size of a spool: a few records of the largest size.
const SPOOL_MIN_BYTES: u64 = 4 << 20;

impl Config {
    /// Reads a configuration file; relative file names in it are relative to it.
    ///
    /// # Errors
    /// [`ConfigError`] with all problems of the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = File::open(path)
            .and_then(read_text)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Ok(Self::parse(&path.display().to_string(), &text, folder)?)
    }

    /// Reads a configuration whose relative file names are relative to `folder`.
    ///
    /// # Errors
    /// All problems of the file.
    pub fn parse(file: &str, text: &str, folder: &Path) -> Result<Self, Problems> {
        let document = Document::parse(file, text)?;
        let mut problems = Problems::new(file);
        let config = Self::decode(&document.root, folder, &mut problems);
        problems.into_result(config)
    }

    fn decode(root: &Node, folder: &Path, problems: &mut Problems) -> Option<Self> {
        let mut map = Map::open(root, "the agent's configuration", problems)?;
        let collector = map.required("collector", problems, |node, problems| {
            node.text(problems).map(|url| (url, node.at))
        });
        let tls = map.optional("tls", None, problems, |node, problems| {
            tls(node, folder, problems).map(Some)
        });
        let state_dir =
            map.required("state_dir", problems, |node, problems| file(node, folder, problems));
        let policy_file =
            map.required("policy", problems, |node, problems| file(node, folder, problems));
        let name = map.required("name", problems, Node::name);
        let labels = map.optional("labels", Labels::new(), problems, labels);
        let spool_max_bytes = map.optional("spool", None, problems, spool);
        let status = map.optional("status", None, problems, status);
        map.finish(problems);
        let ((collector, at), tls) = (collector?, tls?);
        if let Err(why) = check_url(&collector, tls.is_some()) {
            let cure = "write https://HOST:7400 with `tls: {ca: …, cert: …, key: …}`, or http://127.0.0.1:7400 without";
            return problems.report(at, "bad-url", format!("the collector's URL: {why}"), cure);
        }
        Some(Self {
            collector,
            tls,
            state_dir: state_dir?,
            policy_file: policy_file?,
            name: name?,
            labels: labels?,
            spool_max_bytes: spool_max_bytes?,
            status: status?,
        })
    }
}

fn tls(node: &Node, folder: &Path, problems: &mut Problems) -> Option<TlsFiles> {
    let mut map = Map::open(node, "`tls`", problems)?;
    let ca_file = map.required("ca", problems, |node, problems| file(node, folder, problems));
    let cert_file = map.required("cert", problems, |node, problems| file(node, folder, problems));
    let key_file = map.required("key", problems, |node, problems| file(node, folder, problems));
    map.finish(problems);
    Some(TlsFiles { ca_file: ca_file?, cert_file: cert_file?, key_file: key_file? })
}

fn file(node: &Node, folder: &Path, problems: &mut Problems) -> Option<PathBuf> {
    node.text(problems).map(|text| folder.join(text))
}

fn spool(node: &Node, problems: &mut Problems) -> Option<Option<u64>> {
    let mut map = Map::open(node, "`spool`", problems)?;
    let max_bytes = map.required("max_size", problems, |node, problems| {
        let bytes = node.size_bytes(problems)?;
        if bytes >= SPOOL_MIN_BYTES {
            return Some(bytes);
        }
        problems.report(node.at, "bad-value", node.describe(), "at least 4MiB")
    });
    map.finish(problems);
    max_bytes.map(Some)
}

/// A port alone is one of this machine: to answer others must be said.
fn status(node: &Node, problems: &mut Problems) -> Option<Option<SocketAddr>> {
    let text = node.text(problems)?;
    let port = text.parse().ok().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    if let Some(address) = port.or_else(|| text.parse().ok()) {
        return Some(Some(address));
    }
    let cure = "write an address and a port such as 127.0.0.1:9464, or a port of this machine";
    problems.report(node.at, "bad-value", node.describe(), cure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_sample_is_read() {
        let sample = include_str!("../../deploy/agent.yaml");
        let config = Config::parse("agent.yaml", sample, Path::new("/etc/probefleet"))
            .expect("the sample is valid");
        assert_eq!(config.name.as_str(), "berlin-1");
        assert_eq!(config.policy_file, Path::new("/etc/probefleet/policy.yaml"));
    }

    #[test]
    fn a_bare_port_answers_this_machine_alone() {
        let config = |status: &str| {
            let text =
                format!("collector: http://127.0.0.1\nstate_dir: s\npolicy: p\nname: a\n{status}");
            Config::parse("agent.yaml", &text, Path::new(""))
        };
        assert_eq!(config("").expect("good").status, None);
        for (text, address) in
            [("9464", "127.0.0.1:9464"), ("0.0.0.0:9464", "0.0.0.0:9464"), ("'[::1]:0'", "[::1]:0")]
        {
            let read = config(&format!("status: {text}")).expect("good").status;
            assert_eq!(read.map(|read| read.to_string()).as_deref(), Some(address));
        }
        for text in ["localhost:9464", "on", "70000", "127.0.0.1"] {
            let said = config(&format!("status: {text}")).expect_err(text).to_string();
            assert!(said.contains("such as 127.0.0.1:9464"), "{said}");
        }
    }

    #[test]
    fn problems_are_told_together() {
        let text = "collector: collector:7400\nstate_dir: s\npolicy: p\nname: A\nspool: {max_size: 1KiB}\nlabel: {}\n";
        let problems =
            Config::parse("agent.yaml", text, Path::new("")).expect_err("wrong").to_string();
        let lines: Vec<&str> = problems.lines().collect();
        assert_eq!(lines.len(), 4, "{problems}");
        assert!(lines[3].contains("did you mean `labels`?"), "{problems}");
    }

    #[test]
    fn a_collector_that_must_not_be_used_is_found_in_the_file() {
        for (url, tls, why) in [
            ("https://c:7400", "", "https needs tls files"),
            ("http://10.0.0.1:7400", "", "it is another machine"),
            ("http://127.0.0.1", "tls: {ca: a, cert: b, key: c}\n", "http does not use tls files"),
            ("collector:7400", "", "neither"),
        ] {
            let text = format!("state_dir: s\npolicy: p\nname: a\ncollector: {url}\n{tls}");
            let problems = Config::parse("agent.yaml", &text, Path::new("")).expect_err(url);
            let said = problems.to_string();
            assert!(said.starts_with("agent.yaml:4:12: bad-url") && said.contains(why), "{said}");
        }
    }
}
