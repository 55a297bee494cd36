//! Accounts: who asks, as the agent's policy has it under a name. The plan says the name, and no more.
//!
//! The password is read anew for each attempt, so that it can be changed under a running agent.

use super::uri::Uri;
use crate::policy::{Kind, Permission};
use crate::probe::failure::Failure;
use crate::secret::{self, Secret};
use probefleet_proto::name::{InvalidReason, Name};
use probefleet_proto::yaml::{Map, Node, Problems, scalar};
use std::path::PathBuf;

/// An account as the policy has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    user: Option<(String, PathBuf)>,
    from: Option<Uri>,
    proxy: Option<Uri>,
}

/// Who asks, and what proves it.
#[derive(Default)]
pub(super) struct Account {
    /// User and password for a challenge (RFC 3261 §22).
    pub(super) credentials: Option<(String, Secret)>,
    /// What stands in `From`, in place of the agent's own address.
    pub(super) from: Option<Uri>,
    /// The server that every request goes to first (RFC 3261 §8.1.2).
    pub(super) proxy: Option<Uri>,
}

/// Finds an account. Reads a file.
pub(super) fn load(name: &Name, permission: &Permission) -> Result<Account, Failure> {
    let Permission::Policy(policy) = permission else {
        let why = format!("`{name}` is the name of a policy: give `--policy FILE`");
        return Err(denied("account", why));
    };
    let node = policy
        .credentials(Kind::Sip, name.as_str())
        .ok_or_else(|| denied("account", format!("the policy has no `sip: {{{name}: …}}`")))?;
    let mut problems = Problems::new("policy");
    let entry = Entry::decode(node, &mut problems);
    let entry =
        problems.into_result(entry).map_err(|problems| broken("account", problems.to_string()))?;
    let credentials = entry.user.map(|(user, path)| password(&path).map(|secret| (user, secret)));
    Ok(Account { credentials: credentials.transpose()?, from: entry.from, proxy: entry.proxy })
}

impl Entry {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = Map::open(node, "an account", problems)?;
        let at = map.at();
        let user =
            map.optional("user", None, problems, |node, problems| node.text(problems).map(Some));
        let file = map.optional("password_file", None, problems, |node, problems| {
            node.text(problems).map(|path| Some(PathBuf::from(path)))
        });
        let from = map.optional("from", None, problems, uri);
        let proxy = map.optional("proxy", None, problems, uri);
        map.finish(problems);
        let user = match (user?, file?) {
            (Some(user), Some(file)) => Some((user, file)),
            (None, None) => None,
            (Some(_), None) => {
                let cure = "add `password_file: …`, or leave `user` out";
                return problems.report(at, "missing-key", "`user` without `password_file`", cure);
            }
            (None, Some(_)) => {
                let cure = "add `user: …`, or leave `password_file` out";
                return problems.report(at, "missing-key", "`password_file` without `user`", cure);
            }
        };
        Some(Self { user, from: from?, proxy: proxy? })
    }
}

fn uri(node: &Node, problems: &mut Problems) -> Option<Option<Uri>> {
    scalar(node, problems, "bad-uri", |text| {
        Uri::parse(text.as_bytes())
            .filter(|uri| uri.headers.is_empty())
            .ok_or("write sip:user@host or sip:host")
    })
    .map(Some)
}

fn password(path: &std::path::Path) -> Result<Secret, Failure> {
    secret::read(path).map_err(|error| {
        let text = error.to_string();
        if error.is_unsafe() {
            denied("password_file", text)
        } else {
            broken("password_file", text)
        }
    })
}

fn denied(code: &'static str, why: String) -> Failure {
    Failure::invalid(InvalidReason::PolicyDenied, code, why)
}

fn broken(code: &'static str, why: String) -> Failure {
    Failure::invalid(InvalidReason::AgentError, code, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use std::os::unix::fs::PermissionsExt as _;

    fn found(sip: &str) -> Result<Account, Failure> {
        let text = format!("allow: []\nsip: {sip}\n");
        let policy = Policy::parse("policy.yaml", &text).expect("a policy");
        load(&Name::new("trunk").expect("a name"), &Permission::Policy(policy))
    }

    fn said(sip: &str) -> String {
        found(sip).err().expect("no account").why
    }

    #[test]
    fn an_account_is_what_the_policy_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trunk");
        std::fs::write(&path, "geheim\n").expect("writes");
        let mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
        };
        mode(0o600);
        let file = path.display();
        let sip = format!(
            "{{trunk: {{user: probe, password_file: '{file}', from: 'sip:probe@acme.example', proxy: 'sip:sbc.example;lr'}}}}"
        );
        let account = found(&sip).unwrap_or_else(|failure| panic!("{}", failure.why));
        let (user, password) = account.credentials.expect("credentials");
        assert_eq!((user.as_str(), password.expose()), ("probe", "geheim"));
        assert_eq!(account.from.expect("from").to_string(), "sip:probe@acme.example");
        assert_eq!(account.proxy.expect("proxy").host, "sbc.example");
        mode(0o644);
        let text = said(&sip);
        assert!(text.contains("chmod 600") && !text.contains("geheim"), "{text}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (sip, expected) in [
            ("{}", "the policy has no `sip: {trunk: …}`"),
            ("{trunk: {user: a}}", "`user` without `password_file`"),
            ("{trunk: {password_file: a}}", "`password_file` without `user`"),
            ("{trunk: {from: 'tel:1'}}", "write sip:user@host or sip:host"),
            ("{trunk: {user: a, password_file: /nowhere/x}}", "/nowhere/x: No such file"),
            ("{trunk: {usr: a}}", "did you mean `user`?"),
        ] {
            let text = said(sip);
            assert!(text.contains(expected), "{sip}: {text}");
        }
        let failure = load(&Name::new("trunk").expect("a name"), &Permission::Anywhere).err();
        assert!(failure.expect("refused").why.contains("--policy FILE"));
    }
}
