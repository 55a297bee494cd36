//! What an attempt tells beside its outcome and its phases: counters, which are counts that are no outcomes, and values,
//! which are measurements that are no durations.
//!
//! A value has its unit in the ending of its name, and with the unit goes which way is good: parts per million (`_ppm`)
//! are shares of what went wrong, hundredths (`_centi`) are scores. Inside they are whole numbers of that unit.

/// Longest name of a counter or value, in bytes.
pub const NAME_MAX_BYTES: usize = 63;
/// Most counters of a cell: a call has a dozen.
pub const COUNTERS_MAX: usize = 32;
/// Most values of a cell: each is a histogram in every window.
pub const VALUES_MAX: usize = 8;

/// Calls that were tried: attempts that sent an INVITE.
pub const CALL_ATTEMPTS: &str = "call_attempts";
/// Those whose final response was a 2xx.
pub const ESTABLISHED: &str = "established";
/// Those whose final response was a 3xx.
pub const REDIRECTED: &str = "redirected";
/// Those that reached somebody, or somebody's will: 200, 480, 486, 600, 603 (RFC 6076 §4.7), 487 to a CANCEL of ours.
pub const EFFECTIVE: &str = "effective";
/// Those that a server failed: 408, 500, 503, 504 (RFC 6076 §4.8), and what counts as those here (RFC 3261 §8.1.3.1).
pub const INEFFECTIVE: &str = "ineffective";
/// Those that were set up and ended in due form.
pub const COMPLETED: &str = "completed";
/// Registrations that were tried.
pub const REGISTRATIONS: &str = "registrations";
/// Those that failed for another reason than missing credentials (RFC 6076 §4.2).
pub const REGISTRATIONS_INEFFECTIVE: &str = "registrations_ineffective";

/// True of `[a-z][a-z0-9_]{0,62}`, as counters and values are called.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    text.len() <= NAME_MAX_BYTES
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(legal)
}

/// True of a name that ends with a unit: that of a value.
#[must_use]
pub fn is_value_name(text: &str) -> bool {
    is_name(text) && ValueUnit::of_name(text).is_some()
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueUnit {
    /// Parts per million, shown as a percentage: good when low.
    Ppm,
    /// Hundredths, shown as a decimal: good when high.
    Centi,
}

impl ValueUnit {
    /// The unit that a name ends with; `None` is the name of a phase, whose samples are ns.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::split(name).map(|(_, unit)| unit)
    }

    /// A name without its unit, and the unit.
    #[must_use]
    pub fn split(name: &str) -> Option<(&str, Self)> {
        let ppm = name.strip_suffix("_ppm").map(|stem| (stem, Self::Ppm));
        ppm.or_else(|| name.strip_suffix("_centi").map(|stem| (stem, Self::Centi)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_with_underscores() {
        for good in ["a", CALL_ATTEMPTS, "loss_ppm", &"x".repeat(63), "r2"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "_a", "2r", "loss-ppm", "Loss", "ü", "a b", &"x".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_unit_is_the_end_of_a_name() {
        assert_eq!(ValueUnit::split("remote_loss_ppm"), Some(("remote_loss", ValueUnit::Ppm)));
        assert_eq!(ValueUnit::of_name("mos_centi"), Some(ValueUnit::Centi));
        assert_eq!(ValueUnit::of_name("jitter"), None);
        assert!(is_value_name("mos_centi"));
        assert!(!is_value_name("jitter") && !is_value_name("_ppm"));
    }
}
