//! `collector.yaml`: what the operator decides. A file with a problem has no value, and all problems are told at once,
//! those of the plan and the agreements that it names included.
//!
//! Paths are relative to the file. Without `tls` both listeners stand on the loopback only: an agent would be whoever it
//! says. The portal has no login of its own, so it leaves the loopback only by the explicit `portal_public: true`, meant
//! for a place behind a reverse proxy that encrypts and asks who is there.

mod exclusions;

pub use exclusions::ExclusionsFile;

use crate::contract::exclusions::Exclusions;
use crate::contract::{Agreement, Rejected};
use crate::fleet::{Assignment, add_threshold};
use crate::tls::TlsFiles;
use probefleet_proto::label::label_text;
use probefleet_proto::plan::Plan;
use probefleet_proto::window::WIDTHS_S;
use probefleet_proto::yaml::{Document, Map, Node, Position, Problems, list, read_text, scalar};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where agents come, unless the file says otherwise.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7400);
/// Where browsers come, unless the file says otherwise.
pub const PORTAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7480);
/// Width of a window, unless the file says otherwise, s.
pub const WINDOW_S: u32 = 60;
/// The deployment that agents' certificates must name, unless the file says otherwise.
pub const DEPLOYMENT: &str = "probefleet";
/// Most agreements: each is judged every few seconds.
pub const AGREEMENTS_MAX: usize = 1_000;

/// What a collector is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where agents come.
    pub listen: SocketAddr,
    /// Where browsers and scrapers come.
    pub portal: SocketAddr,
    /// The portal may be asked under any name and from anywhere.
    pub portal_public: bool,
    /// Mutual TLS for agents; `None`: loopback only.
    pub tls: Option<TlsFiles>,
    /// The deployment that certificates must name.
    pub deployment: String,
    /// Where the store and the other files of this collector are.
    pub state_dir: PathBuf,
    /// What the fleet measures.
    pub plan: Plan,
    /// Width of the fleet's windows, s.
    pub window_s: u32,
    /// What is promised.
    pub agreements: Vec<Signed>,
    /// What is legal but probably not meant, file by file.
    pub warnings: Vec<Problems>,
}

/// An agreement and whether both parties have signed it.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The agreement.
    pub agreement: Agreement,
    /// The operator declares that it is countersigned; only then there are credits.
    pub countersigned: bool,
    /// Time that is to be excluded.
    pub exclusions: Option<ExclusionsFile>,
}

/// Files that are no configuration: the problems of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Problems>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the file and those that it names.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem of every file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let mut problems = Problems::new(&name);
        let mut others = Vec::new();
        let config = read(path)
            .map_err(|why| {
                problems.report::<()>(
                    Position::default(),
                    "unreadable-file",
                    why,
                    "give another path with --config",
                );
            })
            .ok()
            .and_then(|text| Document::parse(&name, &text).map_err(|found| others.push(found)).ok())
            .and_then(|document| {
                let base = path.parent().unwrap_or(Path::new(""));
                let mut reading = Reading {
                    base,
                    state_dir: PathBuf::new(),
                    problems: &mut problems,
                    others: &mut others,
                };
                reading.config(&document.root)
            });
        let own = problems.into_result(config);
        match (own, others.is_empty()) {
            (Ok(config), true) => Ok(config),
            (Ok(_), false) => Err(ConfigError(others)),
            (Err(own), _) => {
                if !own.is_empty() {
                    others.insert(0, own);
                }
                Err(ConfigError(others))
            }
        }
    }

    /// What the fleet should measure, with the thresholds that the agreements turn on.
    #[must_use]
    pub fn assignment(&self) -> Assignment {
        let mut thresholds = BTreeMap::new();
        for wanted in self.agreements.iter().flat_map(|signed| signed.agreement.thresholds()) {
            let (probe, phase) = (wanted.probe.as_str(), wanted.phase.as_str());
            if !add_threshold(&mut thresholds, probe, phase, wanted.at_most) {
                tracing::warn!(
                    probe,
                    phase,
                    wanted.at_most,
                    "too many thresholds; this one is judged from the histogram"
                );
            }
        }
        Assignment { plan: self.plan.clone(), window_s: self.window_s, thresholds }
    }

    /// The store's file.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.state_dir.join("collector.db")
    }
}

/// The text of a file, or why there is none.
fn read(path: &Path) -> Result<String, String> {
    let why = |error: std::io::Error| format!("{}: {error}", path.display());
    std::fs::File::open(path).and_then(read_text).map_err(why)
}

/// A configuration being read.
struct Reading<'a> {
    base: &'a Path,
    state_dir: PathBuf,
    problems: &'a mut Problems,
    others: &'a mut Vec<Problems>,
}

/// A path and where it stands.
type Named = (PathBuf, Position);

/// What is said of an agreement.
struct Entry {
    file: Named,
    countersigned: bool,
    exclusions: Option<Named>,
}

impl Reading<'_> {
    fn config(&mut self, root: &Node) -> Option<Config> {
        let problems = &mut *self.problems;
        let mut map = Map::open(root, "a configuration", problems)?;
        let listen = map.optional("listen", (LISTEN, None), problems, address);
        let portal = map.optional("portal", (PORTAL, None), problems, address);
        let portal_public = map.optional("portal_public", false, problems, Node::flag);
        let tls =
            map.optional("tls", None, problems, |node, problems| tls(node, problems).map(Some));
        let deployment =
            map.optional("deployment", DEPLOYMENT.to_owned(), problems, |node, problems| {
                scalar(node, problems, "bad-value", label_text)
            });
        let state_dir = map.required("state_dir", problems, Node::text);
        let window_s = map.optional("window", WINDOW_S, problems, window_s);
        let plan = map.required("plan", problems, named_path);
        let agreements = map.optional("agreements", Vec::new(), problems, |node, problems| {
            list(node, problems, agreement_entry)
        });
        map.finish(problems);
        if let (Some(listen), Some(portal), Some(public), Some(tls)) =
            (listen, portal, portal_public, &tls)
        {
            check_reach(listen, portal, (public, tls.is_some()), problems);
        }
        let plan = plan.and_then(|plan| self.plan(&plan));
        let state_dir = state_dir.map(|path| self.base.join(path));
        self.state_dir = state_dir.clone().unwrap_or_default();
        let (agreements, warnings) = self.agreements(agreements?, plan.as_ref())?;
        let tls = tls?.map(|files| TlsFiles {
            ca: self.base.join(files.ca),
            cert: self.base.join(files.cert),
            key: self.base.join(files.key),
        });
        Some(Config {
            listen: listen?.0,
            portal: portal?.0,
            portal_public: portal_public?,
            tls,
            deployment: deployment?,
            state_dir: state_dir?,
            plan: plan?,
            window_s: window_s?,
            agreements,
            warnings,
        })
    }

    fn read(&mut self, (path, at): &Named) -> Option<(String, String)> {
        let path = self.base.join(path);
        match read(&path) {
            Ok(text) => Some((path.display().to_string(), text)),
            Err(why) => {
                self.problems.report(*at, "unreadable-file", why, "paths are relative to this file")
            }
        }
    }

    fn plan(&mut self, named: &Named) -> Option<Plan> {
        let (name, text) = self.read(named)?;
        Plan::parse(&name, &text).map_err(|problems| self.others.push(problems)).ok()
    }

    fn agreements(
        &mut self,
        entries: Vec<Entry>,
        plan: Option<&Plan>,
    ) -> Option<(Vec<Signed>, Vec<Problems>)> {
        let mut agreements: Vec<Signed> = Vec::new();
        let mut warnings = Vec::new();
        let mut complete = true;
        if let Some(Entry { file: (_, at), .. }) = entries.get(AGREEMENTS_MAX) {
            let cure = format!("at most {AGREEMENTS_MAX}");
            return self.problems.report(*at, "bad-value", "too many agreements", cure);
        }
        let mut read = Vec::new();
        for entry in entries {
            match self.read(&entry.file) {
                Some(file) => read.push((file, entry)),
                None => complete = false,
            }
        }
        // One may inherit from another, in whatever order they are named.
        let files: Vec<(&str, &str)> =
            read.iter().map(|((name, text), _)| (name.as_str(), text.as_str())).collect();
        for (number, (_, entry)) in read.iter().enumerate() {
            match Agreement::load_among(&files, number, plan) {
                Ok(loaded) => {
                    let same = |known: &Signed| known.agreement.id() == loaded.agreement.id();
                    if agreements.iter().any(same) {
                        let message =
                            format!("agreement `{}` a second time", loaded.agreement.id());
                        self.problems.report::<()>(
                            entry.file.1,
                            "duplicate-name",
                            message,
                            "each agreement has its own name",
                        );
                    }
                    let exclusions = match &entry.exclusions {
                        None => None,
                        Some(named) => match self.exclusions(named, &loaded.agreement) {
                            Some(file) => Some(file),
                            None => {
                                complete = false;
                                None
                            }
                        },
                    };
                    let (agreement, countersigned) = (loaded.agreement, entry.countersigned);
                    agreements.push(Signed { agreement, countersigned, exclusions });
                    if !loaded.warnings.is_empty() {
                        warnings.push(loaded.warnings);
                    }
                }
                Err(Rejected(problems)) => {
                    complete = false;
                    // A parent's problems are found with each of its children.
                    for problems in problems {
                        if !self.others.contains(&problems) {
                            self.others.push(problems);
                        }
                    }
                }
            }
        }
        complete.then_some((agreements, warnings))
    }

    fn exclusions(&mut self, named: &Named, agreement: &Agreement) -> Option<ExclusionsFile> {
        let file = ExclusionsFile::new(self.base.join(&named.0), &self.state_dir, agreement);
        if let Some(file) = file.load(agreement) {
            return Some(file);
        }
        // Said with its place in whichever file has the problem.
        let (name, text) = self.read(named)?;
        let records = Exclusions::parse(&name, &text, agreement);
        let records = records.map_err(|problems| self.others.push(problems)).ok()?;
        Some(ExclusionsFile { records, ..file })
    }
}

// === values ===

/// An address and where it stands, if it stands in the file.
type Address = (SocketAddr, Option<Position>);

fn address(node: &Node, problems: &mut Problems) -> Option<Address> {
    let parse = |text: &str| {
        text.parse::<SocketAddr>().map_err(|_| {
            "write an IP address and a port, such as 127.0.0.1:7400 or [::]:7400; port 0 takes a free one"
        })
    };
    scalar(node, problems, "bad-value", parse).map(|address| (address, Some(node.at)))
}

/// Refuses what would let strangers in. `(portal_public, tls)`.
fn check_reach(listen: Address, portal: Address, open: (bool, bool), problems: &mut Problems) {
    let (portal_public, tls) = open;
    let beyond =
        |(address, at): Address| (!address.ip().is_loopback()).then_some(at.unwrap_or_default());
    if let Some(at) = beyond(listen).filter(|_| !tls) {
        problems.report::<()>(
            at,
            "needs-tls",
            format!("agents reach {} without TLS", listen.0),
            "add `tls: {ca: …, cert: …, key: …}`, or listen on 127.0.0.1",
        );
    }
    if let Some(at) = beyond(portal).filter(|_| !portal_public) {
        problems.report::<()>(
            at,
            "needs-portal-public",
            format!("the portal has no login, and {} can be reached from elsewhere", portal.0),
            "put it behind a reverse proxy and say `portal_public: true`, or use 127.0.0.1",
        );
    }
}

fn window_s(node: &Node, problems: &mut Problems) -> Option<u32> {
    let width = node.duration_s(problems)?;
    let known = u32::try_from(width).ok().filter(|width| WIDTHS_S.contains(width));
    known.or_else(|| {
        problems.report(node.at, "bad-value", node.describe(), "one of 10s, 15s, 30s, 60s, 5m, 15m")
    })
}

fn tls(node: &Node, problems: &mut Problems) -> Option<TlsFiles> {
    let mut map = Map::open(node, "tls", problems)?;
    let ca = map.required("ca", problems, Node::text);
    let cert = map.required("cert", problems, Node::text);
    let key = map.required("key", problems, Node::text);
    map.finish(problems);
    Some(TlsFiles { ca: ca?.into(), cert: cert?.into(), key: key?.into() })
}

fn named_path(node: &Node, problems: &mut Problems) -> Option<Named> {
    Some((node.text(problems)?.into(), node.at))
}

fn agreement_entry(node: &Node, problems: &mut Problems) -> Option<Entry> {
    let mut map = Map::open(node, "an agreement", problems)?;
    let file = map.required("file", problems, named_path);
    let countersigned = map.optional("countersigned", false, problems, Node::flag);
    let exclusions = map.optional("exclusions", None, problems, |node, problems| {
        named_path(node, problems).map(Some)
    });
    map.finish(problems);
    Some(Entry { file: file?, countersigned: countersigned?, exclusions: exclusions? })
}

#[cfg(test)]
mod tests;
