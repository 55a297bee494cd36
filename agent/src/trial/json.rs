//! One JSON object a line: an interface that others script against.

use super::Ended;
use crate::probe::Outcome;
use serde_json::{Map, Value, json};
use std::io::{self, Write as _};

/// Writes one attempt and flushes it.
pub(super) fn write(probe: &str, ended: &Ended) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", object(probe, ended))?;
    out.flush()
}

fn object(probe: &str, ended: &Ended) -> Value {
    let sample = &ended.sample;
    let (outcome, class, reason) = match sample.outcome {
        Outcome::Ok => ("ok", None, None),
        Outcome::Failed(class) => ("failed", Some(class.as_str()), None),
        Outcome::Invalid(reason) => ("invalid", None, Some(reason.as_str())),
    };
    let phases = sample.phases_ns.iter().map(|(phase, ns)| (phase.to_string(), Value::from(*ns)));
    let mut object = json!({
        "probe": probe,
        "scheduled": rfc3339_us(ended.scheduled_ns),
        "outcome": outcome,
        "class": class,
        "reason": reason,
        "code": sample.code,
        "phases_ns": phases.collect::<Map<String, Value>>(),
    });
    if let Value::Object(members) = &mut object {
        // Only where there are some: most probes have none.
        for (key, figures) in [("counters", &sample.counters), ("values", &sample.values)] {
            if !figures.is_empty() {
                members.insert(key.to_owned(), added_up(figures).into());
            }
        }
        members.insert("detail".to_owned(), Value::Object(sample.detail.clone()));
    }
    object
}

/// Each name once.
fn added_up(figures: &[(&'static str, u64)]) -> Map<String, Value> {
    let mut sums = Map::new();
    for (name, figure) in figures {
        let before = sums.get(*name).and_then(Value::as_u64).unwrap_or_default();
        sums.insert((*name).to_owned(), before.saturating_add(*figure).into());
    }
    sums
}

/// Unix ns as RFC 3339 in UTC with six digits.
fn rfc3339_us(unix_ns: u64) -> String {
    let timestamp = jiff::Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default();
    format!("{timestamp:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Sample;
    use probefleet_proto::name::{FailureClass, InvalidReason};

    fn sample(outcome: Outcome, code: Option<&'static str>) -> Sample {
        Sample {
            outcome,
            code: code.map(Into::into),
            phases_ns: vec![("connect".into(), 1_000), ("total".into(), 2_000)],
            counters: Vec::new(),
            values: Vec::new(),
            detail: Map::new(),
        }
    }

    fn line_of(sample: Sample) -> String {
        let ended = Ended { target: 0, number: 1, scheduled_ns: 1_700_000_000_123_456_789, sample };
        object("home", &ended).to_string()
    }

    fn line(outcome: Outcome, code: Option<&'static str>) -> String {
        line_of(sample(outcome, code))
    }

    #[test]
    fn counters_and_values_stand_where_there_are_some() {
        let counters = vec![("call_attempts", 1), ("redirects", 1), ("redirects", 2)];
        let call = Sample {
            counters,
            values: vec![("loss_ppm", 1_000), ("mos_centi", 438)],
            ..sample(Outcome::Ok, None)
        };
        let line = line_of(call);
        let expected = r#""counters":{"call_attempts":1,"redirects":3},"values":{"loss_ppm":1000,"mos_centi":438},"detail":{}}"#;
        assert!(line.ends_with(expected), "{line}");
    }

    #[test]
    fn the_interface_is_fixed() {
        assert_eq!(
            line(Outcome::Ok, Some("200")),
            r#"{"probe":"home","scheduled":"2023-11-14T22:13:20.123456Z","outcome":"ok","class":null,"reason":null,"code":"200","phases_ns":{"connect":1000,"total":2000},"detail":{}}"#
        );
        let failed = line(Outcome::Failed(FailureClass::ConnectTimeout), None);
        assert!(
            failed.contains(
                r#""outcome":"failed","class":"connect_timeout","reason":null,"code":null"#
            ),
            "{failed}"
        );
        let invalid = line(Outcome::Invalid(InvalidReason::PolicyDenied), Some("target"));
        assert!(
            invalid.contains(
                r#""outcome":"invalid","class":null,"reason":"policy_denied","code":"target""#
            ),
            "{invalid}"
        );
    }
}
