//! Names that lead to servers by way of NAPTR and SRV records (RFC 3403, RFC 2782).

use super::query::{Answer, ask};
use super::{Family, Resolver, failed, no_records};
use crate::probe::failure::Failure;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::net::IpAddr;
use std::str::FromStr;

/// What is asked about names on the way to a server.
pub(crate) trait Lookup {
    /// Whether this machine knows the name by itself (`/etc/hosts`): then nobody is asked about it.
    fn is_own(&self, name: &str) -> bool;
    /// Rules of a full name.
    async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, NoRecords>;
    /// Servers of a service, which is a full name.
    async fn srv(&self, name: &str) -> Result<Vec<Srv>, NoRecords>;
    /// All addresses of one family, at least one. A name that ends with a dot is full, others may be completed.
    async fn addresses(&self, name: &str, family: Family) -> Result<Vec<IpAddr>, NoRecords>;
}

/// A rule that leads from a domain to a service (RFC 3403 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Naptr {
    /// Lower ones bind first.
    pub(crate) order: u16,
    /// Lower ones are preferred among those of one order.
    pub(crate) preference: u16,
    /// What kind of record is next.
    pub(crate) flags: Vec<u8>,
    /// What it is good for.
    pub(crate) services: Vec<u8>,
    /// How the next name is made, where it does not simply stand there.
    pub(crate) regexp: Vec<u8>,
    /// The next name, with its dot.
    pub(crate) replacement: String,
}

/// A server of a service (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Srv {
    /// Lower ones come first.
    pub(crate) priority: u16,
    /// Its share among those of one priority.
    pub(crate) weight: u16,
    /// Where it listens.
    pub(crate) port: u16,
    /// Its name, with its dot; the dot alone means that there is no such service.
    pub(crate) target: String,
}

/// Why there are no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoRecords {
    /// No such name, or no such record.
    Absent(Failure),
    /// The servers could not or would not say.
    Broken(Failure),
    /// No server said anything.
    Silent(Failure),
}

impl NoRecords {
    /// As the end of an attempt.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Absent(failure) | Self::Broken(failure) | Self::Silent(failure) => failure,
        }
    }
}

impl Lookup for Resolver {
    fn is_own(&self, name: &str) -> bool {
        !self.hosts().find(&name.to_ascii_lowercase(), Family::Any).is_empty()
    }

    async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, NoRecords> {
        let records = self.records(name, RecordType::NAPTR).await?;
        let naptr = |record| match record {
            RData::NAPTR(naptr) => Some(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: naptr.flags.into_vec(),
                services: naptr.services.into_vec(),
                regexp: naptr.regexp.into_vec(),
                replacement: naptr.replacement.to_ascii(),
            }),
            _ => None,
        };
        Ok(records.into_iter().filter_map(naptr).collect())
    }

    async fn srv(&self, name: &str) -> Result<Vec<Srv>, NoRecords> {
        let records = self.records(name, RecordType::SRV).await?;
        let srv = |record| match record {
            RData::SRV(srv) => Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_ascii(),
            }),
            _ => None,
        };
        Ok(records.into_iter().filter_map(srv).collect())
    }

    async fn addresses(&self, name: &str, family: Family) -> Result<Vec<IpAddr>, NoRecords> {
        self.find(name, family).await
    }
}

impl Resolver {
    /// The records of a full name: the search list is for hosts.
    async fn records(&self, name: &str, record_type: RecordType) -> Result<Vec<RData>, NoRecords> {
        let mut full = Name::from_str(name)
            .map_err(|error| NoRecords::Absent(failed("nxdomain", format!("`{name}`: {error}"))))?;
        full.set_fqdn(true);
        match ask(&self.settings(), &full, record_type).await {
            Answer::Records(records) => Ok(records),
            answer => {
                Err(no_records(name, Some(answer), |name| format!("`{name}` leads to no service")))
            }
        }
    }
}
