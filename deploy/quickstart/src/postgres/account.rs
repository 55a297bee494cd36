//! Whom a server may run as that refuses to run as root.

use anyhow::Context as _;

/// A user without rights, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: u32,
    pub(super) group: u32,
}

/// In this order: Debian's own account for PostgreSQL, and the one that every system has.
const NAMES: [&str; 2] = ["postgres", "nobody"];

impl Account {
    /// The account that is changed to; `None` where this process has no rights to give up.
    pub(super) fn unprivileged() -> anyhow::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let accounts = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        Self::of(&accounts).map(Some).context("this machine has no user `nobody` to run it as")
    }

    /// `name:password:user:group:…`, a line each (passwd(5)).
    fn of(accounts: &str) -> Option<Self> {
        let number = |field: Option<&str>| field.and_then(|field| field.parse().ok());
        NAMES.into_iter().find_map(|name| {
            let mut fields = accounts.lines().find_map(|line| {
                let mut fields = line.split(':');
                (fields.next() == Some(name)).then_some(fields)
            })?;
            Some(Self { user: number(fields.nth(1))?, group: number(fields.next())? })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_name() {
        let nobody = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65533:nobody:/:/bin/false\n";
        assert_eq!(Account::of(nobody), Some(Account { user: 65_534, group: 65_533 }));
        let both = format!("{nobody}postgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n");
        assert_eq!(Account::of(&both), Some(Account { user: 101, group: 104 }));
        assert_eq!(Account::of("root:x:0:0:root:/:/bin/sh\n"), None);
    }
}
