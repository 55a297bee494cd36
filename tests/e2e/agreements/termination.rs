//! When the customer may leave.

use super::{Desk, Evidence, agreement, instant, seconds};
use serde_json::json;

/// Days of April from the first on: `B` breached, `M` met, `-` nothing was measured.
fn days(text: &str) -> Evidence {
    let mut evidence = Evidence::new();
    for (day, letter) in (0_i64..).zip(text.chars()) {
        let start_s = seconds("2026-04-01T00:00:00+02:00") + day * 86_400;
        let (ok, failed) = match letter {
            'B' => (90, 10),
            'M' => (100, 0),
            _ => continue,
        };
        let failed = if failed > 0 { json!({"timeout": failed}) } else { json!({}) };
        // One attempt holds for the day, so that all of it is known.
        evidence.interval_s = 86_400;
        evidence.cell("berlin-1", start_s, &json!({"ok": ok, "failed": failed}));
    }
    evidence
}

fn right(rule: &str, text: &str, words: &str) -> bool {
    let keys = format!("period: day\ntermination: [{rule}]");
    let objective = "measure: success, target: \">= 95%\", credit: {flat: 1%}";
    let last = seconds("2026-04-01T12:00:00+02:00") + (text.len() as i64 - 1) * 86_400;
    let period = &instant(last)[..10];
    let verdict = Desk::new(&agreement(&keys, &[("calls", objective)]), &days(text))
        .judge(&format!("--period {period} {words}"));
    verdict["termination_right"].as_bool().expect("true or false")
}

#[test]
fn a_right_opens_after_enough_breaches() {
    for (rule, text, open) in [
        ("{breached: 3, of_last: 6}", "BMBMMB", true),
        ("{breached: 3, of_last: 6}", "BBMMMMB", false),
        ("{breached: 3, of_last: 6}", "BBB", true),
        ("{breached: 3, of_last: 6}", "BB", false),
        // Days without a verdict are left out: the last six that have one.
        ("{breached: 3, of_last: 6}", "BB-MM-MB", true),
        ("{consecutive: 2}", "MBB", true),
        ("{consecutive: 2}", "B-B", true),
        ("{consecutive: 2}", "BMB", false),
        ("{consecutive: 2}", "B", false),
        ("{consecutive: 2}", "BBM", false),
        ("{consecutive: 3}, {consecutive: 2}", "MBB", true),
        // Of 90, 90 and 100 per cent the mean is 93.33.
        ("{objective: calls, mean_below: 94%, over: 3}", "MBBM", true),
        ("{objective: calls, mean_below: 93%, over: 3}", "MBBM", false),
        ("{objective: calls, mean_below: 94%, over: 3}", "BB", false),
        ("{objective: calls, mean_below: 94%, over: 3, combine: pooled}", "MBBM", true),
    ] {
        assert_eq!(right(rule, text, ""), open, "{rule} {text}");
    }
}

/// A day that is not over is not counted, and what was not countersigned gives no right.
#[test]
fn only_closed_periods_of_a_signed_agreement_count() {
    let rule = "{consecutive: 2}";
    assert!(!right(rule, "MBB", "--as-of 2026-04-03T12:00:00+02:00"));
    assert!(right(rule, "BBM", "--as-of 2026-04-03T12:00:00+02:00"));
    let keys = format!("period: day\ntermination: [{rule}]");
    let objective = "measure: success, target: \">= 95%\", credit: {flat: 1%}";
    let desk = Desk::new(&agreement(&keys, &[("calls", objective)]), &days("BB"));
    let ran = desk.run("probefleet-collector evaluate --agreement agreement.yaml --windows windows.jsonl --period 2026-04-02 --signed");
    assert!(ran.stdout.contains("the customer may terminate the agreement"), "{}", ran.stdout);
    let ran = desk.run("probefleet-collector evaluate --agreement agreement.yaml --windows windows.jsonl --period 2026-04-02");
    assert!(!ran.stdout.contains("terminate"), "{}", ran.stdout);
}

/// The mean of periods is not that of what they count: 90 of 100, and 1,000 of 1,000.
#[test]
fn pooled_is_not_the_mean_of_periods() {
    for (combine, open) in [("mean_of_periods", true), ("pooled", false)] {
        let keys = format!(
            "period: day\ntermination: [{{objective: calls, mean_below: 96%, over: 2, combine: {combine}}}]"
        );
        let objective =
            "measure: success, target: \">= 95%\", unknown: {as: up}, credit: {flat: 1%}";
        let mut evidence = Evidence::new();
        evidence.cell(
            "a",
            seconds("2026-04-01T00:00:00+02:00"),
            &json!({"ok": 90, "failed": {"timeout": 10}}),
        );
        evidence.cell("a", seconds("2026-04-02T00:00:00+02:00"), &json!({"ok": 1_000}));
        let verdict = Desk::new(&agreement(&keys, &[("calls", objective)]), &evidence)
            .judge("--period 2026-04-02");
        assert_eq!(verdict["termination_right"], open, "{combine}");
    }
}
