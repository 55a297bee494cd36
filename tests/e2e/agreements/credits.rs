//! What breaches are worth, in every form.

use super::{Desk, Evidence, agreement, seconds};
use serde_json::{Value, json};

const START: &str = "2026-04-15T00:00:00+02:00";

/// The verdict on so many failed of a thousand attempts.
fn failed(attempts: u64, target: &str, credit: &str, keys: &str) -> Value {
    let objective = format!(
        "measure: success, target: \"{target}\", unknown: {{as: up}}, credit: {{{credit}}}"
    );
    let mut evidence = Evidence::new();
    let says = json!({"ok": 1_000 - attempts, "failed": {"timeout": attempts}});
    evidence.cell("berlin-1", seconds(START), &says);
    Desk::new(&agreement(keys, &[("calls", &objective)]), &evidence).judge("--period 2026-04")
}

/// T21, Lumen: by cumulative Down time, to the second.
#[test]
fn cumulative_down_time_has_bands() {
    let credit = "by: downtime, bands: [{at_least: 5m, rate: 10%}, {at_least: 30m, rate: 20%}, {at_least: 1h, rate: 50%}, {at_least: 2h, rate: 100%}]";
    let keys = format!(
        "measure: availability, target: \">= 100%\", outage: {{after: 2}}, unknown: {{as: up}}, window: {{width: 1s}}, credit: {{{credit}}}"
    );
    for (down_s, amount) in [
        (299, None),
        (300, Some("1200.00")),
        (47 * 60, Some("2400.00")),
        (3_600, Some("6000.00")),
        (7_200, Some("12000.00")),
    ] {
        let mut evidence = Evidence::new();
        (evidence.width_s, evidence.interval_s) = (1, 1);
        let evidence = evidence.timeline("berlin-1", START, &format!("D{down_s} U"));
        let found =
            Desk::new(&agreement("", &[("up", &keys)]), &evidence).judge("--period 2026-04");
        assert_eq!(found["objectives"][0]["credit"]["amount"].as_str(), amount, "{down_s}");
        assert_eq!(found["credits"]["payable"].as_str(), Some(amount.unwrap_or("0.00")));
    }
}

/// T24: kcvoip's 5 % of 350.00, points for points of a UK call-off, and whole points begun or completed.
#[test]
fn published_credits_come_out_to_the_cent() {
    let begun = "by: excess, bands: [{above: 0%, rate: 10%}, {above: 1%, rate: 20%}, {above: 2%, rate: 30%}]";
    let completed = "by: excess, bands: [{at_least: 1%, rate: 10%}, {at_least: 2%, rate: 20%}]";
    for (attempts, target, credit, expected) in [
        (
            8,
            "99.5%",
            "flat: 5%, base: {amount: \"350.00\"}",
            json!({"rate": "5%", "base": "350.00", "amount": "17.50"}),
        ),
        (250, "98%", "linear: 1", json!({"rate": "23%", "base": "12000.00", "amount": "2760.00"})),
        (16, "99.9%", completed, json!({"rate": "10%", "base": "12000.00", "amount": "1200.00"})),
        (16, "99.9%", begun, json!({"rate": "20%", "base": "12000.00", "amount": "2400.00"})),
        (
            16,
            "99.9%",
            "linear: 10",
            json!({"rate": "15%", "base": "12000.00", "amount": "1800.00"}),
        ),
        (8, "99.5%", "days: 1", json!({"days": "1", "base": "12000.00", "amount": "400.00"})),
        (
            8,
            "99.5%",
            "per: {of: failed_days, days: 2}",
            json!({"days": "2", "units": "1", "base": "12000.00", "amount": "800.00"}),
        ),
    ] {
        let found = failed(attempts, &format!(">= {target}"), credit, "");
        // kcvoip: 99.2 % against 99.5 %.
        assert_eq!(found["objectives"][0]["credit"], expected, "{credit}");
        assert_eq!(found["credits"]["payable"], expected["amount"], "{credit}");
    }
}

/// Internet T1: a day for each four hours or fraction of what lies beyond the target, rounded to quarters of an hour.
#[test]
fn a_day_for_each_four_hours_or_fraction() {
    let credit = "per: {every: 4h, of: excess_downtime, days: 1, count: up, round: 15m}";
    let keys = format!(
        "measure: availability, target: \">= 99.99%\", unknown: {{as: up}}, credit: {{{credit}}}"
    );
    // The budget of April is 4.32 minutes. 251 minutes are 246.68 more, which round to 240; 252 round to 255.
    for (minutes, units, amount) in
        [(20, "1", "400.00"), (251, "1", "400.00"), (252, "2", "800.00")]
    {
        let evidence = Evidence::new().timeline("berlin-1", START, &format!("D{minutes} U"));
        let found =
            Desk::new(&agreement("", &[("up", &keys)]), &evidence).judge("--period 2026-04");
        let line = &found["objectives"][0]["credit"];
        assert_eq!(
            (line["units"].as_str(), line["amount"].as_str()),
            (Some(units), Some(amount)),
            "{minutes}"
        );
    }
}

/// T38, Twilio: within thirty days after the month's end is until 30 May is over.
#[test]
fn a_claim_ends_with_a_local_day() {
    let claim = "credits: {claim: {within: 30d, from: period_end}}";
    let found = failed(20, ">= 99%", "flat: 10%", claim);
    assert_eq!(found["credits"]["claim_until"], "2026-05-30T22:00:00Z");
    assert_eq!(failed(20, ">= 99%", "flat: 10%", "")["credits"].get("claim_until"), None);
    assert_eq!(
        failed(5, ">= 99%", "flat: 10%", claim)["credits"].get("claim_until"),
        None,
        "nothing is owed"
    );
}

/// Texas DIR: of several credits the sum is paid up to what is at risk, those first that are named first.
#[test]
fn a_cap_is_filled_in_order_of_priority() {
    let objective = |rate| {
        format!(
            "measure: success, target: \">= 99%\", unknown: {{as: up}}, credit: {{flat: {rate}}}"
        )
    };
    let (first, second) = (objective("8%"), objective("5%"));
    let mut evidence = Evidence::new();
    evidence.cell("berlin-1", seconds(START), &json!({"failed": {"timeout": 1}}));
    for (rules, amounts, sum, payable) in [
        ("cap: 10%", ["960.00", "240.00"], "1560.00", "1200.00"),
        ("cap: 10%, priority: [second]", ["600.00", "600.00"], "1560.00", "1200.00"),
        ("combine: max", ["960.00", "0.00"], "1560.00", "960.00"),
        ("minimum: \"1560.01\"", ["0.00", "0.00"], "1560.00", "0.00"),
        ("cap: 10%, minimum: \"1200.00\"", ["960.00", "240.00"], "1560.00", "1200.00"),
    ] {
        let text =
            agreement(&format!("credits: {{{rules}}}"), &[("first", &first), ("second", &second)]);
        let found = Desk::new(&text, &evidence).judge("--period 2026-04");
        let of = |index: usize| found["objectives"][index]["credit"]["amount"].as_str();
        assert_eq!([of(0), of(1)], amounts.map(Some), "{rules}");
        let credits = &found["credits"];
        assert_eq!(
            (credits["sum"].as_str(), credits["payable"].as_str()),
            (Some(sum), Some(payable)),
            "{rules}"
        );
    }
}
