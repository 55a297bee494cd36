//! Connection strings as libpq has them, both forms (PostgreSQL 15 §34.1.1): `postgres://…` and `host=… user=…`.
//!
//! What is not known here is refused by its name: a parameter that did nothing would be believed to do something. No
//! message has a value in it that could be a password.

use crate::secret::Secret;
use percent_encoding::percent_decode_str;
use std::net::IpAddr;
use url::{ParseError, Url};

/// The port of PostgreSQL.
const PORT_DEFAULT: u16 = 5_432;
/// How the agent names itself to the server.
const APPLICATION_DEFAULT: &str = "probefleet";
/// What a string may say.
const KNOWN: &str =
    "host, port, user, password, dbname, sslmode, application_name, options, channel_binding";

const NO_HOST: &str = "it names no host: write postgres://user@host/database";

const MODES: [(&str, SslMode); 5] = [
    ("disable", SslMode::Disable),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];
const BINDINGS: [(&str, Binding); 3] =
    [("disable", Binding::Disable), ("prefer", Binding::Prefer), ("require", Binding::Require)];

/// Whether a session is private (PostgreSQL 15 §34.19.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SslMode {
    /// Never.
    Disable,
    /// If the server can.
    Prefer,
    /// Always, with whomever.
    Require,
    /// With somebody whom the issuer knows.
    VerifyCa,
    /// With that very host.
    VerifyFull,
}

/// Whether the login is bound to the TLS session (SCRAM-SHA-256-PLUS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    /// Never.
    Disable,
    /// If the server can.
    Prefer,
    /// Always.
    Require,
}

/// Where to connect and who logs in, without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    /// A name or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    /// The database; the server takes the user's name where there is none.
    pub(super) database: Option<String>,
    pub(super) ssl_mode: SslMode,
    pub(super) application: String,
    pub(super) options: Option<String>,
    pub(super) binding: Binding,
}

impl Login {
    /// The address, when the host is one.
    pub(super) fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The connection string again, without the password.
    pub(super) fn text(&self) -> String {
        let host = match self.literal() {
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.host.clone(),
        };
        let database = self.database.as_deref().unwrap_or(&self.user);
        let mode =
            MODES.iter().find(|(_, mode)| *mode == self.ssl_mode).map_or("", |(word, _)| word);
        format!("postgres://{}@{host}:{}/{database}?sslmode={mode}", self.user, self.port)
    }
}

/// Reads a connection string. The error says what to write instead.
pub(super) fn parse(text: &str) -> Result<(Login, Option<Secret>), String> {
    let mut parts = Parts::default();
    if ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
        read_url(text, &mut parts)?;
    } else if text.contains("://") {
        return Err("only postgres:// and postgresql:// are probed".to_owned());
    } else {
        read_pairs(text, &mut parts)?;
    }
    parts.login()
}

/// What was read so far.
#[derive(Default)]
struct Parts {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<Secret>,
    database: Option<String>,
    ssl_mode: Option<SslMode>,
    application: Option<String>,
    options: Option<String>,
    binding: Option<Binding>,
}

impl Parts {
    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        match key {
            "host" => once(&mut self.host, key, host(&value)?),
            "port" => once(&mut self.port, key, port(&value)?),
            "user" => once(&mut self.user, key, filled(key, value)?),
            "password" => once(&mut self.password, key, Secret::new(filled(key, value)?)),
            "dbname" => once(&mut self.database, key, filled(key, value)?),
            "sslmode" => once(&mut self.ssl_mode, key, word(key, &value, &MODES)?),
            "application_name" => once(&mut self.application, key, filled(key, value)?),
            "options" => once(&mut self.options, key, filled(key, value)?),
            "channel_binding" => once(&mut self.binding, key, word(key, &value, &BINDINGS)?),
            "sslrootcert" => {
                Err("`sslrootcert` is written as `ca_file` beside `url_file`".to_owned())
            }
            "connect_timeout" => {
                Err("the probe's `timeout` is the only one; leave out `connect_timeout`".to_owned())
            }
            _ => Err(format!("`{}` is not known; known are {KNOWN}", shown(key))),
        }
    }

    fn login(self) -> Result<(Login, Option<Secret>), String> {
        let host = self.host.ok_or(NO_HOST)?;
        let user =
            self.user.ok_or("it does not say who logs in: write postgres://user@host/database")?;
        let login = Login {
            host,
            port: self.port.unwrap_or(PORT_DEFAULT),
            user,
            database: self.database,
            ssl_mode: self.ssl_mode.unwrap_or(SslMode::Prefer),
            application: self.application.unwrap_or_else(|| APPLICATION_DEFAULT.to_owned()),
            options: self.options,
            binding: self.binding.unwrap_or(Binding::Prefer),
        };
        // The startup message is made of texts that end with a zero byte.
        let texts = [
            Some(&login.user),
            login.database.as_ref(),
            Some(&login.application),
            login.options.as_ref(),
        ];
        if texts.into_iter().flatten().any(|text| text.contains('\0')) {
            return Err("a zero byte is in it".to_owned());
        }
        Ok((login, self.password))
    }
}

fn once<T>(place: &mut Option<T>, key: &str, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("`{key}` is said twice")),
    }
}

fn filled(key: &str, value: String) -> Result<String, String> {
    if value.is_empty() { Err(format!("`{key}` is empty")) } else { Ok(value) }
}

fn word<T: Copy>(key: &str, value: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(word, _)| *word == value).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        format!("`{key}` is one of {}", words.join(", "))
    })
}

/// A key of the string as it may be shown: what stands there by mistake could be a secret, but not a short word.
fn shown(key: &str) -> &str {
    let harmless = key.len() <= 32 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if harmless { key } else { "a parameter" }
}

fn port(value: &str) -> Result<u16, String> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let port = value.parse().ok().filter(|port| *port > 0 && digits);
    port.ok_or_else(|| "a port is 1 to 65535".to_owned())
}

fn host(value: &str) -> Result<String, String> {
    if value.starts_with(['/', '@']) {
        return Err(
            "it names a socket of this machine; only TCP is probed: write a host".to_owned()
        );
    }
    if value.contains(',') {
        return Err(
            "it names several hosts; one a source, so that it is known who is measured".to_owned()
        );
    }
    let plain = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(value);
    let address = plain.parse::<IpAddr>().is_ok();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if address || (!plain.is_empty() && plain.len() <= 253 && plain.chars().all(legal)) {
        return Ok(plain.to_owned());
    }
    Err("its host is neither a name nor an address".to_owned())
}

// === postgres://user:password@host:port/database?key=value ===

fn read_url(text: &str, parts: &mut Parts) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| match error {
        ParseError::EmptyHost => NO_HOST.to_owned(),
        error => format!(
            "{error}; write postgres://user@host:5432/database, with %40 for an @ in a password"
        ),
    })?;
    if url.fragment().is_some() {
        return Err("it has a #; write %23".to_owned());
    }
    if !url.username().is_empty() {
        parts.set("user", decoded(url.username())?)?;
    }
    if let Some(password) = url.password() {
        parts.set("password", decoded(password)?)?;
    }
    if let Some(host) = url.host_str().filter(|host| !host.is_empty()) {
        parts.set("host", decoded(host)?)?;
    }
    if let Some(port) = url.port() {
        parts.set("port", port.to_string())?;
    }
    let database = url.path().strip_prefix('/').unwrap_or_default();
    if !database.is_empty() {
        parts.set("dbname", decoded(database)?)?;
    }
    for pair in url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or("a parameter is written key=value")?;
        parts.set(&decoded(key)?, decoded(value)?)?;
    }
    Ok(())
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(std::borrow::Cow::into_owned).map_err(|_| "it is no UTF-8 text".to_owned())
}

// === host=… user=… ===

fn read_pairs(text: &str, parts: &mut Parts) -> Result<(), String> {
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or("write postgres://user@host/database")?;
        let (value, after) = pair_value(after.trim_start())?;
        parts.set(key.trim_end(), value)?;
        rest = after.trim_start();
    }
    Ok(())
}

/// A value, quoted or not, with backslashes taken as libpq does; and what follows it.
fn pair_value(text: &str) -> Result<(String, &str), String> {
    let (quoted, text) = text.strip_prefix('\'').map_or((false, text), |rest| (true, rest));
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            c if !quoted && c.is_whitespace() => return Ok((value, &text[at..])),
            c => value.push(c),
        }
    }
    if quoted { Err("a quote is not closed".to_owned()) } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> (Login, Option<String>) {
        let (login, password) = parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        (login, password.map(|secret| secret.expose().to_owned()))
    }

    #[test]
    fn both_forms_say_the_same() {
        let url = "postgresql://probe:p%40ss+w%2Ford@db.example:6432/erp%20x?sslmode=verify-full&application_name=a%26b&options=-c%20x%3D1&channel_binding=require";
        let pairs = r"host=db.example port = 6432 user=probe password='p@ss+w/ord' dbname='erp x' sslmode=verify-full application_name=a&b options='-c x=1' channel_binding=require";
        assert_eq!(good(url), good(pairs));
        let (login, password) = good(url);
        assert_eq!(password.as_deref(), Some("p@ss+w/ord"));
        assert_eq!(login.database.as_deref(), Some("erp x"));
        assert_eq!(
            (login.port, login.ssl_mode, login.binding),
            (6_432, SslMode::VerifyFull, Binding::Require)
        );
        assert_eq!((login.application.as_str(), login.options.as_deref()), ("a&b", Some("-c x=1")));
    }

    #[test]
    fn what_is_left_out_is_as_libpq_has_it() {
        let (login, password) = good("postgres://probe@[2001:db8::1]");
        assert_eq!((login.host.as_str(), login.port), ("2001:db8::1", 5_432));
        assert_eq!(
            (login.ssl_mode, login.binding, password),
            (SslMode::Prefer, Binding::Prefer, None)
        );
        assert_eq!(login.text(), "postgres://probe@[2001:db8::1]:5432/probe?sslmode=prefer");
        let (quoted, password) = good(r"host=127.0.0.1 user='it\'s' password=a\ b");
        assert_eq!((quoted.user.as_str(), password.as_deref()), ("it's", Some("a b")));
        assert_eq!(quoted.literal(), "127.0.0.1".parse().ok());
    }

    #[test]
    fn what_cannot_be_is_refused_without_its_secrets() {
        for (text, expected) in [
            ("postgres://h/db", "who logs in"),
            ("postgres:///db?user=s3cret", "no host"),
            ("mysql://u:s3cret@h/db", "only postgres://"),
            ("postgres://u:s3cret@h/db?sslmod=require", "`sslmod` is not known"),
            ("postgres://u:s3cret@h/db?S3cret@x=1", "`a parameter` is not known"),
            (
                "postgres://u:s3cret@h/db?sslmode=allow",
                "one of disable, prefer, require, verify-ca, verify-full",
            ),
            ("postgres://u:s3cret@h/db?sslrootcert=x", "`ca_file` beside `url_file`"),
            ("postgres://u:s3cret@h/db?connect_timeout=3", "the probe's `timeout`"),
            ("postgres://u:s3cret@h/db?user=v", "`user` is said twice"),
            ("postgres://u:s3cret@h1,h2/db", "several hosts"),
            ("postgres://u:s3cret@%2Frun%2Fpg/db", "a socket of this machine"),
            ("host=/run/pg user=u password=s3cret", "a socket of this machine"),
            ("postgres://u:s3#cret@h/db", ""),
            ("postgres://u:s3cret@h:0/db", "1 to 65535"),
            ("postgres://u:s3cret@h:99999/db", "port"),
            ("postgres://u:s3cret@h%20h/db", "neither a name nor an address"),
            ("postgres://u%00:s3cret@h/db", "zero byte"),
            ("host=h user=u password='s3cret", "not closed"),
            ("s3cret", "write postgres://"),
            ("", "no host"),
            ("postgres://u:s3cret@/db", "no host"),
        ] {
            let why = parse(text).err().unwrap_or_else(|| panic!("{text} was taken"));
            assert!(why.contains(expected), "{text}: {why}");
            assert!(!why.contains("s3cret") && !why.contains("S3cret"), "{text}: {why}");
        }
    }
}
