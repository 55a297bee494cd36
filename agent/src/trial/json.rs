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
    json!({
        "probe": probe,
        "scheduled": rfc3339_us(ended.scheduled_ns),
        "outcome": outcome,
        "class": class,
        "reason": reason,
        "code": sample.code,
        "phases_ns": phases.collect::<Map<String, Value>>(),
        "detail": sample.detail,
    })
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

    fn line(outcome: Outcome, code: Option<&'static str>) -> String {
        let phases_ns = vec![("connect".into(), 1_000), ("total".into(), 2_000)];
        let sample = Sample { outcome, code: code.map(Into::into), phases_ns, detail: Map::new() };
        let ended = Ended { target: 0, number: 1, scheduled_ns: 1_700_000_000_123_456_789, sample };
        object("home", &ended).to_string()
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
