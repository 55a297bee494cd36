//! `agent.yaml`: who this agent is and where it delivers. What it measures comes from the collector; what it may do
//! stands in its policy file.

use crate::uplink::TlsFiles;
use probefleet_proto::label::{Labels, labels};
use probefleet_proto::name::Name;
use probefleet_proto::yaml::{Document, Map, Node, Problems, scalar};
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
        let text = std::fs::read_to_string(path)
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
        let collector = map.required("collector", problems, collector_url);
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
        map.finish(problems);
        let (collector, tls) = (collector?, tls?);
        if tls.is_none() && collector.starts_with("https:") {
            let cure = "add `tls: {ca: …, cert: …, key: …}`; http:// is for a collector on this machine only";
            return problems.report(root.at, "missing-key", "an https collector needs `tls`", cure);
        }
        Some(Self {
            collector,
            tls,
            state_dir: state_dir?,
            policy_file: policy_file?,
            name: name?,
            labels: labels?,
            spool_max_bytes: spool_max_bytes?,
        })
    }
}

fn collector_url(node: &Node, problems: &mut Problems) -> Option<String> {
    scalar(node, problems, "bad-value", |text| {
        let known = text.starts_with("https://") || text.starts_with("http://");
        if known { Ok(text.to_owned()) } else { Err("write https://HOST:7400") }
    })
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
    fn problems_are_told_together() {
        let text = "collector: collector:7400\nstate_dir: s\npolicy: p\nname: A\nspool: {max_size: 1KiB}\nlabel: {}\n";
        let problems =
            Config::parse("agent.yaml", text, Path::new("")).expect_err("wrong").to_string();
        let lines: Vec<&str> = problems.lines().collect();
        assert_eq!(lines.len(), 4, "{problems}");
        assert!(lines[3].contains("did you mean `labels`?"), "{problems}");
        let text = "collector: https://c:7400\nstate_dir: s\npolicy: p\nname: a\n";
        let problems =
            Config::parse("agent.yaml", text, Path::new("")).expect_err("no tls").to_string();
        assert!(problems.contains("an https collector needs `tls`"), "{problems}");
    }
}
