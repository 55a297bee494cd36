//! A verdict as others read it: JSON with a frozen order of keys here, and text for people in [`text`].
//!
//! Percentages are exact until here, where six places of them are shown, half away from zero.

pub mod csv;
pub mod text;

use crate::contract::number::{percent_short, percent_text};
use crate::contract::period::instant_text;
use crate::sla::verdict::{
    Attempts, Budget, CreditLine, CreditTotals, Measured, ObjectiveVerdict, Outage, Seconds,
    Verdict,
};
use serde_json::{Map, Value, json};

/// What the deterministic bracket of sampled outages is quoted at.
const CONFIDENCE: &str = "95%";

impl Verdict {
    /// The stable result: keys in the order of the specification.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.to_json_of(|_| true)
    }

    /// The stable result with some of the objectives; the others were judged all the same.
    #[must_use]
    pub fn to_json_of(&self, shown: impl Fn(&ObjectiveVerdict) -> bool) -> Value {
        let objectives = self.objectives.iter().filter(|verdict| shown(verdict));
        let objectives: Vec<Value> =
            objectives.map(|verdict| objective(verdict, &self.credits)).collect();
        json!({
            "agreement": self.agreement,
            "version": self.version,
            "signed": self.signed,
            "period": {
                "label": self.label,
                "start": instant_text(self.period.from_s),
                "end": instant_text(self.period.until_s),
                "final": false,
            },
            "objectives": objectives,
            "credits": {
                "sum": self.credits.currency.text(&self.credits.sum),
                "payable": self.credits.currency.text(&self.credits.payable),
                "currency": self.credits.currency.code(),
            },
            "termination_right": self.termination_right,
            "inputs_digest": self.inputs_digest,
        })
    }
}

fn objective(verdict: &ObjectiveVerdict, credits: &CreditTotals) -> Value {
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
    put("name", json!(verdict.name));
    if let Some(agent) = &verdict.agent {
        put("agent", json!(agent));
    }
    put("status", json!(verdict.status.as_str()));
    if let Some(reason) = verdict.reason {
        put("reason", json!(reason.as_str()));
    }
    put("target", json!(verdict.target));
    if let Some(value) = &verdict.value {
        put("value", json!(percent_text(&value.share)));
        put("exact", json!(exact_text(value)));
        if value.numerator_most > value.numerator {
            put("value_at_most", json!(percent_text(&value.share_most())));
        }
    }
    if let Some([low, high]) = &verdict.band {
        put("band", json!([percent_text(low), percent_text(high)]));
    }
    if let Some(coverage) = &verdict.coverage {
        put("coverage", json!(percent_text(coverage)));
    }
    put("seconds", seconds(&verdict.seconds));
    if let Some(list) = &verdict.outages {
        put("outages", list.iter().map(outage).collect());
    }
    put("attempts", attempts(&verdict.attempts));
    if let Some(bracket) = verdict.downtime_bracket_s {
        put("uncertainty", json!({"downtime_s": bracket, "confidence": CONFIDENCE}));
    }
    if let Some(credit) = &verdict.credit {
        put("credit", credit_line(credit, credits));
    }
    match verdict.budget_left {
        Some(Budget::Seconds(left)) => put("budget_left_s", json!(left)),
        Some(Budget::Attempts(left)) => put("budget_left_attempts", json!(left)),
        None => None,
    };
    put("agents", json!(verdict.agents));
    for (key, count, least) in [
        ("specs", verdict.specs, 2),
        ("flagged", verdict.flagged, 1),
        ("conflicts", verdict.conflicts, 1),
    ] {
        if count >= least {
            put(key, json!(count));
        }
    }
    Value::Object(keys)
}

/// The unreduced fraction that was compared.
fn exact_text(value: &Measured) -> String {
    format!("{}/{}", value.numerator, value.denominator)
}

fn seconds(seconds: &Seconds) -> Value {
    let mut value = json!({
        "eligible": seconds.eligible,
        "up": seconds.up,
        "down": seconds.down,
        "unknown": seconds.unknown,
        "excluded": seconds.excluded,
    });
    if let (Some(remaining), Some(keys)) = (seconds.remaining, value.as_object_mut()) {
        keys.insert("remaining".to_owned(), json!(remaining));
    }
    value
}

fn outage(outage: &Outage) -> Value {
    json!({
        "start": instant_text(outage.span.from_s),
        "end": instant_text(outage.span.until_s),
        "seconds": outage.seconds,
    })
}

fn attempts(attempts: &Attempts) -> Value {
    json!({
        "scheduled": attempts.scheduled,
        "ok": attempts.ok,
        "failed": attempts.failed,
        "invalid": attempts.invalid,
        "missed": attempts.missed,
    })
}

fn credit_line(line: &CreditLine, credits: &CreditTotals) -> Value {
    json!({
        "rate": percent_short(&line.rate),
        "base": credits.currency.text(&line.base),
        "amount": credits.currency.text(&line.amount),
    })
}
