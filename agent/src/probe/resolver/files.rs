//! `resolv.conf` and `hosts`, read again when they change.

use super::Family;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::parse_resolv_conf;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Most servers that are asked, as in glibc.
const SERVERS_MAX: usize = 3;
/// Port of the domain name service.
const DNS_PORT: u16 = 53;
/// Largest file that is read: block lists in `hosts` reach a few MiB.
const FILE_MAX_BYTES: u64 = 16 << 20;

/// A small file and what it means, kept until the file changes.
pub(super) struct Watched<T> {
    path: PathBuf,
    stamp: Option<Stamp>,
    parse: fn(&[u8]) -> T,
    value: Arc<T>,
}

/// What tells two versions of a file apart.
type Stamp = (Option<SystemTime>, u64);

impl<T> Watched<T> {
    /// A file that is read at its first use.
    pub(super) fn new(path: impl AsRef<Path>, parse: fn(&[u8]) -> T) -> Self {
        Self { path: path.as_ref().to_owned(), stamp: None, parse, value: Arc::new(parse(b"")) }
    }

    /// The file's meaning now; a file that is not there means the same as an empty one.
    pub(super) fn current(&mut self) -> Arc<T> {
        let read = match std::fs::metadata(&self.path) {
            Ok(metadata) => self.read_if_changed((metadata.modified().ok(), metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.take_in(None, b"");
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = read {
            // As when files run out: what was known stays true until it can be read again.
            tracing::warn!(path = %self.path.display(), %error, "cannot be read");
        }
        Arc::clone(&self.value)
    }

    fn read_if_changed(&mut self, stamp: Stamp) -> io::Result<()> {
        if Some(stamp) == self.stamp {
            return Ok(());
        }
        if stamp.1 > FILE_MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let text = std::fs::read(&self.path)?;
        self.take_in(Some(stamp), &text);
        Ok(())
    }

    fn take_in(&mut self, stamp: Option<Stamp>, text: &[u8]) {
        if stamp.is_none() && self.stamp.is_none() {
            return;
        }
        self.value = Arc::new((self.parse)(text));
        self.stamp = stamp;
    }
}

impl<T: fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("path", &self.path)
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}

// === resolv.conf ===

/// How names are asked about.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Asked in this order.
    pub(super) servers: Vec<SocketAddr>,
    /// Appended to names that are not full.
    pub(super) search: Vec<Name>,
    /// A name with at least so many dots is first taken as it is.
    pub(super) ndots: usize,
    /// How long one server may take.
    pub(super) timeout: Duration,
    /// How often the list of servers is gone through.
    pub(super) attempts: usize,
    /// Whether answers may be larger than 512 bytes over UDP.
    pub(super) edns0: bool,
}

impl Default for Settings {
    /// What glibc does without a file: the machine itself is asked.
    fn default() -> Self {
        Self {
            servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, DNS_PORT))],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            edns0: false,
        }
    }
}

impl Settings {
    /// Reads a `resolv.conf`.
    pub(super) fn parse(text: &[u8]) -> Self {
        let Ok((config, options)) = parse_resolv_conf(text) else { return Self::default() };
        let servers = config.name_servers().iter().map(|server| (server.ip, DNS_PORT).into());
        let domain = config.domain().cloned().into_iter();
        let search =
            if config.search().is_empty() { domain.collect() } else { config.search().to_vec() };
        Self {
            servers: servers.take(SERVERS_MAX).collect(),
            search,
            ndots: options.ndots,
            timeout: options.timeout.max(Duration::from_secs(1)),
            attempts: options.attempts.max(1),
            edns0: options.edns0,
        }
    }

    /// The full names that a host's name may stand for, in the order in which they are tried.
    pub(super) fn names(&self, host: &str) -> Result<Vec<Name>, String> {
        let mut name = Name::from_str(host).map_err(|error| error.to_string())?;
        if name.is_fqdn() {
            return Ok(vec![name]);
        }
        let dots = host.matches('.').count();
        let searched = self.search.iter().filter_map(|domain| {
            let mut full = name.clone().append_domain(domain).ok()?;
            full.set_fqdn(true);
            Some(full)
        });
        let mut names: Vec<Name> = searched.collect();
        name.set_fqdn(true);
        if dots >= self.ndots || name.is_localhost() {
            names.insert(0, name);
        } else {
            names.push(name);
        }
        Ok(names)
    }

    /// The servers, for messages.
    pub(super) fn servers_text(&self) -> String {
        let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        servers.join(", ")
    }
}

// === hosts ===

/// Names that the machine knows by itself.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    addresses: HashMap<String, Vec<IpAddr>>,
}

impl Hosts {
    /// Reads a `hosts` file; lines that are not understood are skipped, as everywhere.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut hosts = Self::default();
        for line in String::from_utf8_lossy(text).lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
            for name in words {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                hosts.addresses.entry(name).or_default().push(address);
            }
        }
        hosts
    }

    /// The addresses of a name that fit, of one family.
    pub(super) fn find(&self, host: &str, family: Family) -> Vec<IpAddr> {
        let Some(all) = self.addresses.get(host.trim_end_matches('.')) else { return Vec::new() };
        let of = |wanted: Family| {
            all.iter().copied().filter(move |address| wanted.has(*address)).collect()
        };
        // As over the network: IPv4 before IPv6.
        match family {
            Family::Any if all.iter().any(IpAddr::is_ipv4) => of(Family::V4),
            family => of(family),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(settings: &Settings, host: &str) -> Vec<String> {
        settings.names(host).expect(host).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn resolv_conf_is_read_as_glibc_does() {
        let text = b"nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\nsearch corp.example lab.example\noptions ndots:2 timeout:1 attempts:3 edns0\n";
        let settings = Settings::parse(text);
        assert_eq!(settings.servers_text(), "10.0.0.1:53, 10.0.0.2:53, 10.0.0.3:53");
        assert_eq!((settings.timeout.as_secs(), settings.attempts, settings.edns0), (1, 3, true));
        assert_eq!(
            names(&settings, "portal.web"),
            ["portal.web.corp.example.", "portal.web.lab.example.", "portal.web."]
        );
        assert_eq!(names(&settings, "a.b.c")[0], "a.b.c.");
        assert_eq!(names(&settings, "portal."), ["portal."]);
        assert_eq!(names(&settings, "localhost")[0], "localhost.");
    }

    #[test]
    fn without_a_file_the_machine_itself_is_asked() {
        for text in ["", "options ndots:3\n", "\u{0}garbage"] {
            assert_eq!(Settings::parse(text.as_bytes()).servers_text(), "127.0.0.1:53", "{text:?}");
        }
    }

    #[test]
    fn hosts_are_read_again_when_they_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hosts");
        let mut watched = Watched::new(&path, Hosts::parse);
        assert_eq!(watched.current().find("portal", Family::Any), Vec::<IpAddr>::new());
        std::fs::write(&path, "::1 portal\n10.0.0.1 Portal. # office\n10.0.0.2 portal\nx y\n")
            .expect("written");
        let found = |watched: &mut Watched<Hosts>, family| {
            let all = watched.current().find("portal", family);
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found(&mut watched, Family::Any), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(found(&mut watched, Family::V6), ["::1"]);
        std::fs::write(&path, "10.0.0.22 portal\n").expect("written");
        assert_eq!(found(&mut watched, Family::V4), ["10.0.0.22"]);
        assert!(found(&mut watched, Family::V6).is_empty());
    }
}
