//! Counters and values of attempts, for people.

use super::summary::{Summary, figures};
use crate::probe::Sample;
use probefleet_proto::extras::ValueUnit;

/// The values of an attempt that stand in one line with others.
pub(super) fn brief(sample: &Sample) -> impl Iterator<Item = (String, String)> + '_ {
    sample.values.iter().map(|(name, value)| (label(name), text(name, *value)))
}

/// The values of an attempt, a line each, then its counters in one, in columns of phases.
pub(super) fn alone(sample: &Sample, width: usize) -> Vec<String> {
    let line = |(label, text): (String, String)| format!("{label:<width$}{text:>9}");
    brief(sample).map(line).chain(counted(sample.counters.iter().copied())).collect()
}

/// Least, median and greatest of the values of many attempts, then the sums of their counters.
pub(super) fn summarised(summary: &Summary, width: usize) -> Vec<String> {
    let line = |(name, all): (&&str, &Vec<u64>)| {
        let figures = figures(all)?;
        let [min, median, max] =
            [figures.min, figures.median, figures.max].map(|value| text(name, value));
        Some(format!("{:<width$}{min:>9} {median:>9} {max:>9}", label(name)))
    };
    let counters = summary.counters.iter().map(|(name, count)| (*name, *count));
    summary.values.iter().filter_map(line).chain(counted(counters)).collect()
}

/// `call_attempts 1, established 1`: those that counted something, if any did.
fn counted(counters: impl Iterator<Item = (&'static str, u64)>) -> Option<String> {
    let counted: Vec<String> = counters
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    (!counted.is_empty()).then(|| counted.join(", "))
}

/// A value's name without its unit.
fn label(name: &str) -> String {
    let stem = ValueUnit::split(name).map_or(name, |(stem, _)| stem);
    if stem == "mos" { "MOS".to_owned() } else { stem.replace('_', " ") }
}

/// A value in the unit of its name: `0.10 %`, `4.38`.
fn text(name: &str, value: u64) -> String {
    match ValueUnit::of_name(name) {
        Some(ValueUnit::Ppm) => {
            let rest = format!("{:04}", value % 10_000);
            let places = rest.trim_end_matches('0').len().max(2);
            format!("{}.{} %", value / 10_000, &rest[..places])
        }
        Some(ValueUnit::Centi) => format!("{}.{:02}", value / 100, value % 100),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Outcome;

    fn call() -> Sample {
        Sample {
            outcome: Outcome::Ok,
            code: None,
            phases_ns: Vec::new(),
            counters: vec![("call_attempts", 1), ("retransmissions", 0), ("established", 1)],
            values: vec![("loss_ppm", 1_000), ("mos_centi", 438)],
            detail: serde_json::Map::new(),
        }
    }

    #[test]
    fn values_stand_in_the_unit_of_their_names() {
        for (name, value, expected) in [
            ("loss_ppm", 0, "0.00 %"),
            ("loss_ppm", 1_000, "0.10 %"),
            ("loss_ppm", 1_025, "0.1025 %"),
            ("loss_ppm", 1_000_000, "100.00 %"),
            ("mos_centi", 405, "4.05"),
            ("hops", 3, "3"),
        ] {
            assert_eq!(text(name, value), expected);
        }
        assert_eq!(
            (label("mos_centi"), label("remote_loss_ppm")),
            ("MOS".into(), "remote loss".into())
        );
    }

    #[test]
    fn an_attempt_shows_its_values_and_what_it_counted() {
        assert_eq!(
            alone(&call(), 8),
            ["loss       0.10 %", "MOS          4.38", "call_attempts 1, established 1"]
        );
        let mut summary = Summary::default();
        summary.add(&call());
        summary.add(&Sample { values: vec![("mos_centi", 410)], ..call() });
        assert_eq!(
            summarised(&summary, 8),
            [
                "loss       0.10 %    0.10 %    0.10 %",
                "MOS          4.10      4.10      4.38",
                "call_attempts 2, established 2",
            ]
        );
    }
}
