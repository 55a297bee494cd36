//! What is wrong or unwise in an agreement that can be read.

use super::parse::Read;
use probefleet_proto::name::Name;
use probefleet_proto::yaml::Problems;

/// A probe of the plan, as far as agreements care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanProbe {
    /// Its name.
    pub name: Name,
    /// Its interval, in s.
    pub every_s: u64,
    /// `http`, `sql` or `sip`.
    pub kind: String,
}

/// The phases that agents report of good attempts, by kind of probe.
pub const PHASES: &[(&str, &[&str])] = &[
    ("http", &["resolve", "connect", "tls", "redirect", "wait", "receive", "total"]),
    ("sql", &["resolve", "connect", "tls", "login", "first_row", "fetch", "query", "total"]),
    (
        "sip",
        &[
            "resolve",
            "connect",
            "tls",
            "trying",
            "session_request_delay",
            "time_to_answer",
            "session_disconnect_delay",
            "registration_request_delay",
            "total",
        ],
    ),
];

/// Reports what is wrong and what is unwise.
pub(super) fn check(
    read: &Read,
    plan: &[PlanProbe],
    problems: &mut Problems,
    warnings: &mut Problems,
) {
    let _ = (read, plan, problems, warnings);
}
