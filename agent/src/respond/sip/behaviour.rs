//! What a user part makes the responder do, as a path does for HTTP. Pure.

use probefleet_proto::units::{NS_PER_S, parse_duration_ns};
use std::time::Duration;

/// Longest time that a call rings, ns: longer than any attempt may take.
pub(crate) const RING_MAX_NS: u64 = 120 * NS_PER_S;

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// A call rings that long and is answered; any other request is answered at once.
    Answer {
        /// How long it rings.
        ring: Duration,
    },
    /// Refused with that status, 300 to 699.
    Refuse(u16),
    /// Nothing.
    Silent,
}

impl Behaviour {
    /// What that user part asks for; any that asks for nothing is answered after `ring`.
    pub(super) fn of(user: &str, ring: Duration) -> Self {
        let user = user.split(';').next().unwrap_or_default();
        match user {
            "busy" => Self::Refuse(486),
            "gone" => Self::Refuse(404),
            "over" => Self::Refuse(503),
            "silent" => Self::Silent,
            _ => {
                Self::refused(user).or_else(|| Self::ringing(user)).unwrap_or(Self::Answer { ring })
            }
        }
    }

    fn refused(user: &str) -> Option<Self> {
        let digits = user.strip_prefix("status-")?;
        let status = digits.parse().ok().filter(|status| (300..700).contains(status))?;
        (digits.len() == 3).then_some(Self::Refuse(status))
    }

    fn ringing(user: &str) -> Option<Self> {
        let ring_ns = parse_duration_ns(user.strip_prefix("ring-")?).ok()?;
        let ring = Duration::from_nanos(ring_ns);
        (ring_ns <= RING_MAX_NS).then_some(Self::Answer { ring })
    }
}

/// The words of common statuses (RFC 3261 §21).
const REASONS: [(u16, &str); 15] = [
    (302, "Moved Temporarily"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (407, "Proxy Authentication Required"),
    (408, "Request Timeout"),
    (480, "Temporarily Unavailable"),
    (486, "Busy Here"),
    (488, "Not Acceptable Here"),
    (500, "Server Internal Error"),
    (503, "Service Unavailable"),
    (504, "Server Time-out"),
    (600, "Busy Everywhere"),
    (603, "Decline"),
];

/// The words of a status; of one that has none here, those of its class.
pub(super) fn reason(status: u16) -> &'static str {
    let known = REASONS.iter().find(|(known, _)| *known == status).map(|(_, words)| *words);
    known.unwrap_or(match status / 100 {
        3 => "Redirection",
        4 => "Request Failure",
        5 => "Server Failure",
        _ => "Global Failure",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_part_says_what_happens() {
        let ring = Duration::from_millis(200);
        let answer = |ms| Behaviour::Answer { ring: Duration::from_millis(ms) };
        for (user, expected) in [
            ("busy", Behaviour::Refuse(486)),
            ("gone", Behaviour::Refuse(404)),
            ("over", Behaviour::Refuse(503)),
            ("silent", Behaviour::Silent),
            ("status-302", Behaviour::Refuse(302)),
            ("status-699", Behaviour::Refuse(699)),
            ("busy;phone-context=x", Behaviour::Refuse(486)),
            ("ring-0s", answer(0)),
            ("ring-500ms", answer(500)),
            ("ring-2m", answer(120_000)),
            ("ring-3m", answer(200)),
            ("status-200", answer(200)),
            ("status-0404", answer(200)),
            ("status-", answer(200)),
            ("echo", answer(200)),
            ("", answer(200)),
        ] {
            assert_eq!(Behaviour::of(user, ring), expected, "{user}");
        }
    }
}
