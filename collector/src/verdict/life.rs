//! What was published of a period as others read it: keys beside those of its verdict, and lines for people.
//!
//! A collector's result has, at its end, `stage` (`open`, `closed`, `published`, `final`), `stage_ends` (the first instant of
//! the next one, of a closed or published period), `final_since`, `revision` (the number of the latest one) and `revisions`:
//! each with `number`, `made`, `reason` (`published`, `late_data`, `exclusions_changed`, `agreement_changed`), `payable`,
//! `delta` (what it changed about that; of the first, all of it), the agreement's `version`, its `inputs_digest`, and
//! `after_final` where it came then. `period.final` is true from `final_since` on.

use super::text::Paint;
use crate::contract::period::{instant_text, local_text};
use crate::revision::{Cause, Revision};
use crate::sla::Verdict;
use crate::sla::life::{Life, Stage, differs};
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The stable result of a period in a collector.
#[must_use]
pub fn to_json(verdict: &Verdict, life: &Life) -> Value {
    let mut keys = verdict.to_json();
    if let Some(is_final) = keys.pointer_mut("/period/final") {
        *is_final = json!(matches!(life.stage, Stage::Final { .. }));
    }
    let Some(keys_of) = keys.as_object_mut() else { return keys };
    keys_of.insert("stage".to_owned(), json!(life.stage.as_str()));
    match life.stage {
        Stage::Open => {}
        Stage::Closed { until_s } | Stage::Published { until_s } => {
            keys_of.insert("stage_ends".to_owned(), json!(instant_text(until_s)));
        }
        Stage::Final { since_s } => {
            keys_of.insert("final_since".to_owned(), json!(instant_text(since_s)));
        }
    }
    if let Some(latest) = life.revisions.last() {
        keys_of.insert("revision".to_owned(), json!(latest.number));
    }
    keys_of.insert("revisions".to_owned(), life.revisions.iter().map(revision_json).collect());
    keys
}

/// A revision, with its keys as they stand in a result.
#[must_use]
pub fn revision_json(revision: &Revision) -> Value {
    let mut keys = json!({
        "number": revision.number,
        "made": instant_text(revision.made_s),
        "reason": revision.cause.as_str(),
        "payable": revision.payable,
        "delta": revision.delta,
        "version": revision.version,
        "inputs_digest": revision.basis.inputs,
    });
    if let Some(keys) = keys.as_object_mut().filter(|_| revision.after_final) {
        keys.insert("after_final".to_owned(), json!(true));
    }
    keys
}

/// Where a period stands, in words.
#[must_use]
pub fn sentence(life: &Life, now_s: i64, zone: &TimeZone) -> String {
    let time = |instant_s| local_text(instant_s, zone);
    let latest = life.revisions.last();
    let published = latest.map_or(String::new(), |latest| match latest.number {
        1 => format!("published on {}", time(latest.made_s)),
        number => format!("revision {number}, published on {}", time(latest.made_s)),
    });
    match life.stage {
        Stage::Open => "open".to_owned(),
        Stage::Closed { until_s } if now_s < until_s => {
            format!("closed, late reports are taken until {}", time(until_s))
        }
        Stage::Closed { .. } => "closed, nothing was published".to_owned(),
        Stage::Published { until_s } => format!("{published}, final on {}", time(until_s)),
        Stage::Final { since_s } => format!("final since {}, {published}", time(since_s)),
    }
}

/// The lines of a text about a period, below its verdict: where it stands, and its revisions where there is one.
#[must_use]
pub fn lines(verdict: &Verdict, life: &Life, now_s: i64, zone: &TimeZone, paint: &Paint) -> String {
    let mut text = String::new();
    if matches!(life.stage, Stage::Open) {
        return text;
    }
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "Stage         {}", sentence(life, now_s, zone));
    for revision in life.revisions.iter() {
        let label = format!("Revision {}", revision.number);
        let _infallible = writeln!(text, "{label:<13} {}", revision_text(revision, zone));
    }
    let latest = life.revisions.last();
    if latest.is_some_and(|latest| differs(verdict, latest)) {
        let warning = paint.warning;
        let _infallible = writeln!(
            text,
            "{warning}What is known now differs from what was published last{warning:#}"
        );
    }
    text
}

/// A revision in one line: `2026-05-04 00:00, late data: 0.00 EUR payable (-120.00)`.
#[must_use]
pub fn revision_text(revision: &Revision, zone: &TimeZone) -> String {
    let cause = match revision.cause {
        Cause::Published => "published",
        Cause::LateData => "late data",
        Cause::ExclusionsChanged => "exclusions changed",
        Cause::AgreementChanged => "agreement changed",
    };
    let (made, currency) = (local_text(revision.made_s, zone), &revision.currency);
    let delta = match revision.delta.starts_with('-') {
        _ if revision.number == 1 => String::new(),
        true => format!(" ({})", revision.delta),
        false => format!(" (+{})", revision.delta),
    };
    let late = if revision.after_final { ", after it was final" } else { "" };
    format!("{made}, {cause}{late}: {} {currency} payable{delta}", revision.payable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::Basis;

    fn revision(number: u64, cause: Cause, delta: &str) -> Revision {
        let text = String::new;
        Revision {
            number,
            version: 1,
            made_s: 1_800_000_000,
            cause,
            after_final: number > 2,
            basis: Basis { form: 1, inputs: text(), terms: text(), exclusions: text() },
            payable: "0.00".to_owned(),
            currency: "EUR".to_owned(),
            delta: delta.to_owned(),
        }
    }

    #[test]
    fn revisions_are_lines() {
        for (number, cause, delta, expected) in [
            (1, Cause::Published, "0.00", "published: 0.00 EUR payable"),
            (2, Cause::LateData, "-120.00", "late data: 0.00 EUR payable (-120.00)"),
            (
                3,
                Cause::ExclusionsChanged,
                "7.50",
                "exclusions changed, after it was final: 0.00 EUR payable (+7.50)",
            ),
        ] {
            let text = revision_text(&revision(number, cause, delta), &TimeZone::UTC);
            assert_eq!(text, format!("2027-01-15 08:00, {expected}"));
        }
    }

    #[test]
    fn stages_are_sentences() {
        let revisions = [revision(1, Cause::Published, "0.00")];
        let (now_s, later_s) = (1_800_000_060, 1_800_000_120);
        for (stage, revisions, expected) in [
            (Stage::Open, &[][..], "open"),
            (
                Stage::Closed { until_s: later_s },
                &[],
                "closed, late reports are taken until 2027-01-15 08:02",
            ),
            (Stage::Closed { until_s: now_s }, &[], "closed, nothing was published"),
            (
                Stage::Published { until_s: later_s },
                &revisions,
                "published on 2027-01-15 08:00, final on 2027-01-15 08:02",
            ),
            (
                Stage::Final { since_s: now_s },
                &revisions,
                "final since 2027-01-15 08:01, published on 2027-01-15 08:00",
            ),
        ] {
            let life = Life { stage, revisions: revisions.into() };
            assert_eq!(sentence(&life, now_s, &TimeZone::UTC), expected);
        }
    }
}
