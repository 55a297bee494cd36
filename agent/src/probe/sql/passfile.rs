//! The password of whoever sits at the keyboard: `PGPASSWORD`, else the password file, as libpq has them (PostgreSQL 15
//! §34.15, §34.16). Only for a bare URL: a service finds its own in its policy.

use super::dsn::Login;
use crate::secret::{self, Secret};
use std::path::PathBuf;

/// The password for a login, or why there is none: that only matters where the server asks for one.
pub(super) fn password(login: &Login) -> Result<Secret, String> {
    if let Some(password) = std::env::var_os("PGPASSWORD").filter(|password| !password.is_empty()) {
        return password
            .into_string()
            .map(Secret::new)
            .map_err(|_| "PGPASSWORD is no UTF-8 text".to_owned());
    }
    let path = match (std::env::var_os("PGPASSFILE"), std::env::var_os("HOME")) {
        (Some(path), _) => PathBuf::from(path),
        (None, Some(home)) => PathBuf::from(home).join(".pgpass"),
        (None, None) => return Err("PGPASSWORD is not set".to_owned()),
    };
    if !path.exists() {
        return Err(format!("neither PGPASSWORD nor {} is there", path.display()));
    }
    let text = secret::read(&path).map_err(|error| error.to_string())?;
    find(text.expose(), login)
        .ok_or_else(|| format!("PGPASSWORD is not set, and no line of {} fits", path.display()))
}

/// The password of the first line that fits: `host:port:database:user:password`, each of the first four perhaps `*`.
fn find(text: &str, login: &Login) -> Option<Secret> {
    let port = login.port.to_string();
    let database = login.database.as_deref().unwrap_or(&login.user);
    let wanted = [login.host.as_str(), &port, database, &login.user];
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| fitting(line, &wanted)).next()
}

fn fitting(line: &str, wanted: &[&str; 4]) -> Option<Secret> {
    let mut rest = line;
    for wanted in wanted {
        let (field, after) = field(rest)?;
        if field.raw != "*" && field.text != *wanted {
            return None;
        }
        rest = after;
    }
    // The password runs to the end of the line, or to a colon that is not escaped.
    let password = field(rest).map_or_else(|| unescaped(rest), |(field, _)| field.text);
    (!password.is_empty()).then(|| Secret::new(password))
}

/// A field of a line, as it is written and as it is meant.
struct Field<'a> {
    raw: &'a str,
    text: String,
}

/// The field before the next colon that is not escaped, and what follows it.
fn field(text: &str) -> Option<(Field<'_>, &str)> {
    let mut escaped = false;
    let end = text.char_indices().find_map(|(at, c)| {
        let ends = c == ':' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })?;
    let (raw, rest) = (&text[..end], &text[end + 1..]);
    Some((Field { raw, text: unescaped(raw) }, rest))
}

/// A backslash stands before a colon or another backslash.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::dsn;
    use super::*;

    fn found(text: &str, url: &str) -> Option<String> {
        let (login, _) = dsn::parse(url).expect(url);
        find(text, &login).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn the_first_line_that_fits_is_taken() {
        let file = "# db.example:5432:erp:probe:comment\n\
                    db.example:5432:erp:other:1\n\
                    db.example:5432:erp:probe:a\\:b\\\\c\n\
                    *:*:*:probe:2\n\
                    \\*:*:*:*:3\n\
                    broken\n\
                    *:*:*:*:4";
        for (url, expected) in [
            ("postgres://probe@db.example/erp", Some("a:b\\c")),
            ("postgres://probe@db.example:6432/erp", Some("2")),
            ("postgres://probe@db.example/other", Some("2")),
            ("postgres://nobody@db.example/erp", Some("4")),
        ] {
            assert_eq!(found(file, url).as_deref(), expected, "{url}");
        }
        assert_eq!(
            found("h:5432:u:u:own database\n", "postgres://u@h").as_deref(),
            Some("own database")
        );
        assert_eq!(found("h:5432:u:u:\n", "postgres://u@h"), None);
        assert_eq!(found("", "postgres://u@h"), None);
        assert_eq!(found("\\:\\:1:5432:u:u:six", "postgres://u@[::1]").as_deref(), Some("six"));
    }
}
