//! Why an attempt was not ok: from errors of the machine to the names of the outcome table (`formats.md` §9).

use super::{CODE_MAX_BYTES, Code, Outcome};
use crate::policy::Denied;
use probefleet_proto::name::{FailureClass, InvalidReason};
use rustix::io::Errno;
use std::borrow::Cow;
use std::io;

/// Longest explanation that is kept beside a sample, in characters: it is for people.
const WHY_MAX_CHARS: usize = 200;

/// The end of an attempt that was not ok.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What it counts as.
    pub(crate) outcome: Outcome,
    /// What exactly.
    pub(crate) code: Option<Code>,
    /// For people; no secrets.
    pub(crate) why: String,
}

impl Failure {
    /// The provider's failure.
    pub(crate) fn failed(
        class: FailureClass,
        code: impl Into<Code>,
        why: impl Into<String>,
    ) -> Self {
        Self::new(Outcome::Failed(class), Some(code.into()), why)
    }

    /// Spoiled by us.
    pub(crate) fn invalid(
        reason: InvalidReason,
        code: impl Into<Code>,
        why: impl Into<String>,
    ) -> Self {
        Self::new(Outcome::Invalid(reason), Some(code.into()), why)
    }

    /// No connection by the deadline.
    pub(crate) fn connect_timeout() -> Self {
        let outcome = Outcome::Failed(FailureClass::ConnectTimeout);
        Self::new(outcome, None, "no connection by the deadline")
    }

    /// No resolver answered by the deadline.
    pub(crate) fn resolve_timeout() -> Self {
        let why = "no resolver answered by the deadline";
        Self::failed(FailureClass::Resolve, "dns_timeout", why)
    }

    /// The deadline passed in a phase after the connection stood.
    pub(crate) fn timeout(phase: &'static str) -> Self {
        let why = format!("still in `{phase}` at the deadline");
        Self::failed(FailureClass::Timeout, phase, why)
    }

    fn new(outcome: Outcome, code: Option<Code>, why: impl Into<String>) -> Self {
        Self { outcome, code: code.map(bounded_code), why: bounded_why(&why.into()) }
    }
}

/// Cuts a code at its bound, at a character.
fn bounded_code(code: Code) -> Code {
    if code.len() <= CODE_MAX_BYTES {
        return code;
    }
    let end = (0..=CODE_MAX_BYTES).rev().find(|end| code.is_char_boundary(*end)).unwrap_or(0);
    Cow::Owned(code[..end].to_owned())
}

/// Cuts an explanation at its bound, and replaces what could steer a terminal.
pub(crate) fn bounded_why(why: &str) -> String {
    why.chars().take(WHY_MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The policy does not permit a target.
#[expect(clippy::needless_pass_by_value, reason = "a mapping function of errors")]
pub(crate) fn denied(denied: Denied) -> Failure {
    Failure::invalid(InvalidReason::PolicyDenied, "target", denied.to_string())
}

/// What an error of a socket means once a connection was being made or stood, in that phase.
pub(crate) fn from_io(error: &io::Error, phase: &'static str) -> Failure {
    if let Some(errno) = errno_of(error) {
        return from_errno(errno, phase);
    }
    let why = error.to_string();
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero => {
            Failure::failed(FailureClass::Closed, "eof", "the stream ended too early")
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            Failure::failed(FailureClass::Closed, "econnreset", why)
        }
        _ => Failure::failed(FailureClass::Protocol, "io", why),
    }
}

fn from_errno(errno: Errno, phase: &'static str) -> Failure {
    let why = io::Error::from(errno).to_string();
    match errno {
        Errno::CONNREFUSED => Failure::failed(FailureClass::Refused, "econnrefused", why),
        Errno::TIMEDOUT if phase == "connect" => Failure::connect_timeout(),
        Errno::TIMEDOUT => Failure::failed(FailureClass::Timeout, phase, why),
        Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE | Errno::SHUTDOWN => {
            Failure::failed(FailureClass::Closed, "econnreset", why)
        }
        Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::HOSTDOWN => {
            Failure::failed(FailureClass::Unreachable, errno_name(errno), why)
        }
        _ if is_local(errno) => local(errno),
        _ => Failure::failed(FailureClass::Closed, errno_name(errno), why),
    }
}

/// What an error means that a call raised at once, before a packet left: the agent's own trouble, whatever it is (no
/// route, a `blackhole` route, a fault of ours), but for what only the other side or the network can have said.
pub(crate) fn from_io_at_once(error: &io::Error) -> Failure {
    let said_by_others = [
        Errno::CONNREFUSED,
        Errno::CONNRESET,
        Errno::HOSTUNREACH,
        Errno::HOSTDOWN,
        Errno::TIMEDOUT,
    ];
    match errno_of(error) {
        Some(errno) if !said_by_others.contains(&errno) => local(errno),
        _ => from_io(error, "connect"),
    }
}

/// Errors that the agent's own machine raises for want of routes, ports, files, memory or permission.
fn is_local(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ADDRNOTAVAIL
            | Errno::MFILE
            | Errno::NFILE
            | Errno::NOBUFS
            | Errno::NOMEM
            | Errno::PERM
            | Errno::ACCESS
            | Errno::NETDOWN
            | Errno::AFNOSUPPORT
    )
}

fn local(errno: Errno) -> Failure {
    let why = format!("this machine: {}", io::Error::from(errno));
    Failure::invalid(InvalidReason::LocalNetwork, errno_name(errno), why)
}

/// The system's error number inside an error, if it has one.
pub(crate) fn errno_of(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

/// An error cannot be cloned; what its class depends on can.
pub(crate) fn copied(error: &io::Error) -> io::Error {
    if let Some(errno) = error.raw_os_error() {
        return io::Error::from_raw_os_error(errno);
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => io::Error::new(error.kind(), tls.clone()),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// Whether a socket could not even be used because of this machine, and why.
pub(crate) fn local_trouble(error: &io::Error) -> Option<Failure> {
    let errno = errno_of(error)?;
    (is_local(errno) || errno == Errno::NETUNREACH).then(|| local(errno))
}

/// Names as the system's headers have them, in lower case.
fn errno_name(errno: Errno) -> Code {
    let known = match errno {
        Errno::HOSTUNREACH => "ehostunreach",
        Errno::HOSTDOWN => "ehostdown",
        Errno::NETUNREACH => "enetunreach",
        Errno::NETDOWN => "enetdown",
        Errno::ADDRNOTAVAIL => "eaddrnotavail",
        Errno::MFILE => "emfile",
        Errno::NFILE => "enfile",
        Errno::NOBUFS => "enobufs",
        Errno::NOMEM => "enomem",
        Errno::PERM => "eperm",
        Errno::ACCESS => "eacces",
        Errno::AFNOSUPPORT => "eafnosupport",
        Errno::INVAL => "einval",
        Errno::PROTO => "eproto",
        Errno::NOPROTOOPT => "enoprotoopt",
        _ => return Cow::Owned(format!("errno:{}", errno.raw_os_error())),
    };
    Cow::Borrowed(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(errno: Errno) -> io::Error {
        io::Error::from(errno)
    }

    #[test]
    fn errors_have_the_names_of_the_table() {
        use FailureClass::{Closed, ConnectTimeout, Refused, Timeout, Unreachable};
        for (errno, class, code) in [
            (Errno::CONNREFUSED, Refused, Some("econnrefused")),
            (Errno::HOSTUNREACH, Unreachable, Some("ehostunreach")),
            (Errno::NETUNREACH, Unreachable, Some("enetunreach")),
            (Errno::CONNRESET, Closed, Some("econnreset")),
            (Errno::PIPE, Closed, Some("econnreset")),
            (Errno::TIMEDOUT, ConnectTimeout, None),
        ] {
            let failure = from_io(&raised(errno), "connect");
            assert_eq!(failure.outcome, Outcome::Failed(class), "{errno:?}");
            assert_eq!(failure.code.as_deref(), code, "{errno:?}");
        }
        let later = from_io(&raised(Errno::TIMEDOUT), "receive");
        assert_eq!(
            (later.outcome, later.code.as_deref()),
            (Outcome::Failed(Timeout), Some("receive"))
        );
    }

    #[test]
    fn what_was_raised_before_a_packet_left_is_ours() {
        for (errno, code) in [
            (Errno::NETUNREACH, "enetunreach"),
            (Errno::ADDRNOTAVAIL, "eaddrnotavail"),
            (Errno::MFILE, "emfile"),
            (Errno::NFILE, "enfile"),
            (Errno::NOBUFS, "enobufs"),
            (Errno::NOMEM, "enomem"),
            (Errno::PERM, "eperm"),
            (Errno::ACCESS, "eacces"),
            (Errno::INVAL, "einval"),
        ] {
            let failure = from_io_at_once(&raised(errno));
            assert_eq!(failure.outcome, Outcome::Invalid(InvalidReason::LocalNetwork), "{errno:?}");
            assert_eq!(failure.code.as_deref(), Some(code));
        }
        let refused = from_io_at_once(&raised(Errno::CONNREFUSED));
        assert_eq!(refused.outcome, Outcome::Failed(FailureClass::Refused));
    }

    #[test]
    fn codes_and_explanations_are_bounded() {
        let failure =
            Failure::failed(FailureClass::Protocol, "ä".repeat(100), "x\x1b[31m".repeat(100));
        assert_eq!(failure.code.map(|code| code.len()), Some(CODE_MAX_BYTES));
        assert_eq!(failure.why.chars().count(), WHY_MAX_CHARS);
        assert!(!failure.why.contains('\x1b'));
    }
}
