//! Whose database: a name in the agent's policy, a file in a plan that is tried, or a bare URL.
//!
//! Where the credentials are is looked up anew for each session, so that a password can be changed under a running agent.

use super::dsn::{self, Login};
use super::passfile;
use super::tls;
use crate::policy::{Kind, Permission};
use crate::probe::failure::Failure;
use crate::probe::tls::Wanted;
use crate::secret::{self, Secret};
use probefleet_proto::name::{InvalidReason, Name};
use probefleet_proto::yaml::{Map, Node, Problems};
use serde_json::{Map as JsonMap, Value, json};
use std::path::PathBuf;

/// Whose database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// As the policy has it under that name.
    Named(Name),
    /// As a file of this machine says.
    File(UrlFile),
    /// As a URL says; the password is the keyboard's.
    Bare(Box<Login>),
}

/// A connection string in a file of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UrlFile {
    path: PathBuf,
    ca_file: Option<PathBuf>,
}

/// What a session needs.
pub(super) struct Credentials {
    pub(super) login: Login,
    /// The password, or why there is none.
    pub(super) password: Result<Secret, String>,
    /// How the session becomes private; `None` = it does not.
    pub(super) trusted: Option<Wanted>,
    /// The policy's owner takes the risk of a role that may write.
    pub(super) role_may_write: bool,
}

impl Source {
    /// Reads `source`, or `url_file` with its `ca_file`, of an open block.
    pub(super) fn decode(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let at = map.at();
        match (map.get("source"), map.get("url_file")) {
            (Some(node), None) => {
                if let Some(ca_file) = map.get("ca_file") {
                    let cure = "it stands beside `url_file`; for a named source, in the policy";
                    return problems.report(
                        ca_file.at,
                        "bad-value",
                        "`ca_file` beside `source`",
                        cure,
                    );
                }
                node.name(problems).map(Self::Named)
            }
            (None, Some(_)) => UrlFile::decode(map, problems).map(Self::File),
            (Some(_), Some(second)) => {
                let cure = "keep one: `source` for a plan, `url_file` to try one without a policy";
                problems.report(second.at, "bad-value", "`url_file` beside `source`", cure)
            }
            (None, None) => {
                let cure = "add `source: NAME`, which the agent's policy knows";
                problems.report(at, "missing-key", "`source` is missing", cure)
            }
        }
    }

    /// The source in a block without secrets.
    pub(super) fn note(&self, block: &mut JsonMap<String, Value>) {
        match self {
            Self::Named(name) => block.insert("source".to_owned(), json!(name.as_str())),
            Self::File(file) => {
                if let Some(ca_file) = &file.ca_file {
                    block.insert("ca_file".to_owned(), json!(ca_file));
                }
                block.insert("url_file".to_owned(), json!(file.path))
            }
            Self::Bare(login) => block.insert("url".to_owned(), json!(login.text())),
        };
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Named(name) => name.to_string(),
            Self::File(file) => file.path.display().to_string(),
            Self::Bare(login) => login.text(),
        }
    }

    /// Finds the credentials. Reads files.
    pub(super) fn load(&self, permission: &Permission) -> Result<Credentials, Failure> {
        match (self, permission) {
            (Self::Named(name), Permission::Policy(policy)) => {
                let node = policy.credentials(Kind::Sql, name.as_str());
                let node =
                    node.ok_or_else(|| denied(format!("the policy has no `sql: {{{name}: …}}`")))?;
                let (file, role_may_write) = named(node).map_err(broken)?;
                file.credentials(role_may_write)
            }
            (Self::Named(name), Permission::Anywhere) => Err(denied(format!(
                "`{name}` is the name of a policy: give `--policy FILE`, or write `url_file` in place of `source`"
            ))),
            (Self::File(file), Permission::Anywhere) => file.credentials(false),
            // Who writes the plan must not choose which of this machine's files is read.
            (Self::File(_), Permission::Policy(_)) => {
                Err(denied("with a policy, a plan names its `source`, never a file".to_owned()))
            }
            (Self::Bare(login), _) => {
                let trusted = tls::wanted(login.ssl_mode, None).map_err(broken)?;
                let password = passfile::password(login);
                Ok(Credentials {
                    login: Login::clone(login),
                    password,
                    trusted,
                    role_may_write: false,
                })
            }
        }
    }
}

impl UrlFile {
    fn decode(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let path = map.required("url_file", problems, path_of);
        let ca_file = map.optional("ca_file", None, problems, |node, problems| {
            path_of(node, problems).map(Some)
        });
        Some(Self { path: path?, ca_file: ca_file? })
    }

    fn credentials(&self, role_may_write: bool) -> Result<Credentials, Failure> {
        let text = secret::read(&self.path).map_err(|error| {
            let denied = error.is_unsafe();
            let reason =
                if denied { InvalidReason::PolicyDenied } else { InvalidReason::AgentError };
            Failure::invalid(reason, "url_file", error.to_string())
        })?;
        let at = |why: String| broken(format!("{}: {why}", self.path.display()));
        let (login, password) = dsn::parse(text.expose()).map_err(at)?;
        let trusted =
            tls::wanted(login.ssl_mode, self.ca_file.clone()).map_err(|why| at(why.to_owned()))?;
        let password = password
            .ok_or_else(|| format!("the connection string in {} has none", self.path.display()));
        Ok(Credentials { login, password, trusted, role_may_write })
    }
}

/// Reads what the policy has under a name.
fn named(node: &Node) -> Result<(UrlFile, bool), String> {
    let mut problems = Problems::new("policy");
    let decoded = decode_named(node, &mut problems);
    problems.into_result(decoded).map_err(|problems| problems.to_string())
}

fn decode_named(node: &Node, problems: &mut Problems) -> Option<(UrlFile, bool)> {
    let mut map = Map::open(node, "a source", problems)?;
    let file = UrlFile::decode(&mut map, problems);
    let role_may_write = map.optional("role_may_write", false, problems, Node::flag);
    map.finish(problems);
    Some((file?, role_may_write?))
}

fn path_of(node: &Node, problems: &mut Problems) -> Option<PathBuf> {
    node.text(problems).map(PathBuf::from)
}

fn denied(why: String) -> Failure {
    Failure::invalid(InvalidReason::PolicyDenied, "source", why)
}

fn broken(why: impl Into<String>) -> Failure {
    Failure::invalid(InvalidReason::AgentError, "source", why)
}
