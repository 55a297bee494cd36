//! Name resolution as part of what is measured: as the system is configured, asked anew by every attempt.
//!
//! Order, timeouts and search domains are those of `resolv.conf` and `hosts` (both read again when they change), as
//! glibc has them: one server after the other, `attempts` rounds. Nothing is cached and nothing is shared between
//! attempts, so that each `resolve` is a measurement of its own. Nothing blocks.

mod files;
mod query;
mod services;
mod transport;

pub(crate) use services::{Lookup, Naptr, NoRecords, Srv};

use super::failure::Failure;
use files::{Hosts, Settings, Watched};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use probefleet_proto::name::FailureClass;
use query::{Answer, ask, worse};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which addresses of a name are dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4, or IPv6 where a name has no IPv4 address.
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Family {
    /// Whether an address belongs to it.
    #[must_use]
    pub const fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }

    /// The addresses to look for, in order.
    const fn in_order(self) -> &'static [RecordType] {
        match self {
            Self::Any => &[RecordType::A, RecordType::AAAA],
            Self::V4 => &[RecordType::A],
            Self::V6 => &[RecordType::AAAA],
        }
    }
}

/// Resolves names to the addresses that are dialled.
#[derive(Debug)]
pub struct Resolver {
    settings: Source,
    hosts: Mutex<Watched<Hosts>>,
}

/// Where the servers come from.
#[derive(Debug)]
enum Source {
    System(Mutex<Watched<Settings>>),
    Fixed(Arc<Settings>),
}

impl Resolver {
    /// As the machine is configured: `/etc/resolv.conf` and `/etc/hosts`.
    #[must_use]
    pub fn system() -> Self {
        let settings = Watched::new("/etc/resolv.conf", Settings::parse);
        Self { settings: Source::System(Mutex::new(settings)), hosts: system_hosts() }
    }

    /// Asks these servers instead of the system's, without search domains; `/etc/hosts` still comes first.
    #[must_use]
    pub fn with_servers(servers: Vec<SocketAddr>) -> Self {
        let settings = Settings { servers, ..Settings::default() };
        Self { settings: Source::Fixed(Arc::new(settings)), hosts: system_hosts() }
    }

    /// The first address of a name that fits. Never longer than the servers' timeouts allow; the caller has a deadline.
    pub(crate) async fn resolve(&self, host: &str, family: Family) -> Result<IpAddr, Failure> {
        let found = self.find(host, family).await.map_err(NoRecords::into_failure)?;
        found.first().copied().ok_or_else(|| failed("nodata", no_address(host)))
    }

    /// All addresses of a name that fit, of one family, in the order of the answer.
    async fn find(&self, host: &str, family: Family) -> Result<Vec<IpAddr>, NoRecords> {
        let host = host.to_ascii_lowercase();
        let known = self.hosts().find(&host, family);
        if !known.is_empty() {
            return Ok(known);
        }
        let settings = self.settings();
        let names = settings
            .names(&host)
            .map_err(|why| NoRecords::Absent(failed("nxdomain", format!("`{host}`: {why}"))))?;
        let mut worst = None;
        for name in names {
            match find(&settings, &name, family).await {
                Answer::Records(records) => return Ok(addresses(&records)),
                Answer::Silence(failure) => return Err(NoRecords::Silent(failure)),
                answer => worst = Some(worse(worst, answer)),
            }
        }
        Err(no_records(&host, worst, no_address))
    }

    fn settings(&self) -> Arc<Settings> {
        match &self.settings {
            Source::System(watched) => lock(watched).current(),
            Source::Fixed(settings) => Arc::clone(settings),
        }
    }

    fn hosts(&self) -> Arc<Hosts> {
        lock(&self.hosts).current()
    }
}

fn system_hosts() -> Mutex<Watched<Hosts>> {
    Mutex::new(Watched::new(Path::new("/etc/hosts"), Hosts::parse))
}

/// A panic elsewhere leaves these values whole: they are replaced, never edited.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(code: &'static str, why: String) -> Failure {
    Failure::failed(FailureClass::Resolve, code, why)
}

fn no_address(host: &str) -> String {
    format!("`{host}` has no address of that family")
}

/// What a negative answer means; `no_data` says what a name that exists has not.
fn no_records(name: &str, answer: Option<Answer>, no_data: fn(&str) -> String) -> NoRecords {
    match answer {
        Some(Answer::NoData) => NoRecords::Absent(failed("nodata", no_data(name))),
        Some(Answer::ServFail(why)) => {
            NoRecords::Broken(failed("servfail", format!("`{name}`: {why}")))
        }
        Some(Answer::Silence(failure)) => NoRecords::Silent(failure),
        _ => NoRecords::Absent(failed("nxdomain", format!("`{name}` does not exist"))),
    }
}

/// Asks about one full name, one family after the other.
async fn find(settings: &Settings, name: &Name, family: Family) -> Answer {
    let mut last = Answer::NxDomain;
    for record_type in family.in_order() {
        last = ask(settings, name, *record_type).await;
        if last != Answer::NoData {
            return last;
        }
    }
    last
}

fn addresses(records: &[RData]) -> Vec<IpAddr> {
    let address = |record: &RData| match record {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    records.iter().filter_map(address).collect()
}

#[cfg(test)]
mod tests;
