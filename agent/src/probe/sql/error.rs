//! What went wrong in a session, by the names of the outcome table (`formats.md` §9): what the server said, else what was
//! seen on the wire, else what the library makes of it.

use super::expect::assertion;
use super::wire::{Seen, Stop, Wire};
use crate::probe::failure::{Failure, bounded_why, from_io};
use crate::probe::tls::from_tls;
use probefleet_proto::name::{FailureClass, InvalidReason};
use std::error::Error as _;
use std::io;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, ErrorPosition};

/// A failure, with what the server said beside it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) failure: Failure,
    /// For `detail`.
    pub(super) notes: Vec<(&'static str, String)>,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { failure, notes: Vec::new() }
    }
}

/// What an exchange ended with: `error` is the library's, `last` what the connection itself ended with.
pub(super) fn of_exchange(
    error: &Error,
    last: Option<&Error>,
    wire: &Wire,
    phase: &'static str,
) -> Trouble {
    wire.with(|seen| {
        if let Some(stop) = &seen.stopped {
            return of_stop(stop, seen).into();
        }
        let said = [Some(error), last].into_iter().flatten().find_map(Error::as_db_error);
        if let Some(said) = said {
            return of_server(said);
        }
        if let Some(broken) = &seen.broken {
            return from_tls(broken).unwrap_or_else(|| from_io(broken, phase)).into();
        }
        if seen.ended {
            return from_io(&io::ErrorKind::UnexpectedEof.into(), phase).into();
        }
        protocol("postgresql", &innermost(error)).into()
    })
}

/// What a login ended with; `missing` says why there is no password, if there is none.
pub(super) fn of_login(
    error: &Error,
    wire: &Wire,
    missing: Option<&str>,
    phase: &'static str,
) -> Trouble {
    let quiet = wire.with(|seen| seen.stopped.is_none() && seen.broken.is_none() && !seen.ended);
    let by_itself = quiet && error.as_db_error().is_none();
    let of_io = error.source().is_some_and(|source| source.is::<io::Error>());
    match missing {
        // Without a password that is the only thing that the library itself has to refuse.
        Some(missing) if by_itself && !of_io && error.source().is_some() => {
            let why = format!("the server asks for a password: {missing}");
            Failure::invalid(InvalidReason::AgentError, "password", why).into()
        }
        None if by_itself && !of_io && error.source().is_some() => {
            let why = innermost(error);
            Failure::failed(FailureClass::Auth, "auth", why).into()
        }
        _ => of_exchange(error, None, wire, phase),
    }
}

fn of_stop(stop: &Stop, seen: &Seen) -> Failure {
    match stop {
        Stop::MaxRows => assertion("max_rows", format!("more than {} rows", seen.rows - 1)),
        Stop::MaxBytes => assertion(
            "max_bytes",
            format!("more rows than fit: {} bytes in {} rows", seen.row_bytes, seen.rows),
        ),
        Stop::Flood => protocol("flood", "256 KiB of messages that are no rows"),
        Stop::NotPostgres => protocol("not_postgresql", "the other side is no PostgreSQL server"),
        Stop::Copy => ours("copy", "COPY is no query; write a SELECT".to_owned()),
        Stop::ForeignType(column) => ours(
            "type",
            format!(
                "the column `{column}` has a type of this database's own: write `::text` behind it in the query"
            ),
        ),
    }
}

fn protocol(code: &'static str, why: &str) -> Failure {
    Failure::failed(FailureClass::Protocol, code, why)
}

/// What the probe cannot do is not the provider's fault.
fn ours(code: &'static str, why: String) -> Failure {
    Failure::invalid(InvalidReason::AgentError, code, why)
}

fn of_server(error: &DbError) -> Trouble {
    let state = error.code().code();
    // A code is a label: what a server that is none sends must not become one.
    if state.len() != 5 || !state.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) {
        return protocol("sqlstate", "an error without a proper SQLSTATE").into();
    }
    let failure = Failure::failed(class(state), format!("sqlstate:{state}"), error.message());
    let mut notes = Vec::new();
    if let Some(hint) = error.hint() {
        notes.push(("hint", bounded_why(hint)));
    }
    if let Some(ErrorPosition::Original(position)) = error.position() {
        notes.push(("position", position.to_string()));
    }
    Trouble { failure, notes }
}

/// PostgreSQL 15, Appendix A.
fn class(state: &str) -> FailureClass {
    match state {
        // query_canceled, lock_not_available: the limits that we set
        "57014" | "55P03" => FailureClass::Timeout,
        // admin_shutdown, crash_shutdown, cannot_connect_now
        "57P01" | "57P02" | "57P03" => FailureClass::Closed,
        // invalid authorization
        _ if state.starts_with("28") => FailureClass::Auth,
        _ => FailureClass::Status,
    }
}

/// The last error of the chain, which says what it was.
fn innermost(error: &Error) -> String {
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_classes_of_the_table() {
        use FailureClass::{Auth, Closed, Status, Timeout};
        for (state, expected) in [
            ("57014", Timeout),
            ("55P03", Timeout),
            ("57P01", Closed),
            ("57P02", Closed),
            ("57P03", Closed),
            ("57P04", Status),
            ("28P01", Auth),
            ("28000", Auth),
            ("42P01", Status),
            ("53300", Status),
            ("3D000", Status),
            ("25006", Status),
        ] {
            assert_eq!(class(state), expected, "{state}");
        }
    }
}
