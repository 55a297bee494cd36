//! What is legal, but rarely meant.

use super::*;

#[test]
fn what_is_unwise_is_a_warning() {
    for (line, text, expected) in [
        (3, "kind: ola", "credit-cannot-occur"),
        (11, "  # none", "no-customer"),
        (25, "    target: \">= 99.9999%\"", "budget-under-one-window"),
        (25, "    target: \">= 100%\"", "hundred-percent-without-grace"),
        (25, "    target: \">= 99.999%\"", "unprovable"),
        (22, "    probe: slow", "after-under-interval"),
        (22, "    probe: slow", "bridge-under-interval"),
        (23, "    agents: {agent: [a-1, a-2]}", "quorum-over-agents"),
        (23, "    agents: {operator: provider}", "provider-only-vantages"),
        (23, "    agents: {operator: [provider, Provider]}", "provider-only-vantages"),
        (29, "    unknown: {as: up}", "unknown-as-up"),
        (29, "    failures: exclude", "failures-excluded"),
        (31, "      bands: [{below: 0%, rate: 10%}]", "credit-cannot-occur"),
    ] {
        let mut text = with(line, text);
        if expected.starts_with("hundred") {
            text = text.replace("after: 2", "after: 1");
        }
        let found = warnings(&text, Some(&plan()));
        assert!(found.contains(&expected), "{expected}: {found:?}");
    }
}

#[test]
fn agents_of_both_are_no_reason_to_warn() {
    let text = with(23, "    agents: {operator: [provider, customer]}");
    assert!(!warnings(&text, Some(&plan())).contains(&"provider-only-vantages"));
    let ola = with(23, "    agents: {operator: provider}").replace("kind: sla", "kind: ola");
    assert!(!warnings(&ola, Some(&plan())).contains(&"provider-only-vantages"));
}

#[test]
fn unwise_promises_of_down_time_are_warnings() {
    for (measure, target, keys, expected) in [
        ("downtime", "<= 432m", "", vec![]),
        ("downtime", "<= 59s", "", vec!["budget-under-one-window"]),
        ("downtime", "<= 0s", "", vec!["hundred-percent-without-grace"]),
        ("downtime", "<= 0s", ", outage: {after: 2}", vec![]),
        ("downtime", "<= 1h", ", exclusions: as_up", vec!["as-up-no-effect"]),
        ("longest_outage", "<= 30s", "", vec!["budget-under-one-window"]),
        ("outages", "<= 0", "", vec!["hundred-percent-without-grace"]),
        ("outages", "<= 2", "", vec![]),
        ("availability", ">= 100%", "", vec!["hundred-percent-without-grace", "unprovable"]),
        // 0.005 % of February are two minutes.
        ("availability", ">= 100%", ", round: {places: 2}", vec!["unprovable"]),
    ] {
        let text = duration(measure, &format!(r#"target: "{target}", credit: {{flat: 5%}}{keys}"#));
        assert_eq!(warnings(&text, Some(&plan())), expected, "{measure} {target} {keys}");
    }
}

#[test]
fn intervals_that_stay_empty_are_a_warning() {
    for (interval, keys, expected) in [
        ("5m", "", vec![]),
        ("59s", "", vec!["interval-mostly-empty"]),
        ("5m", ", window: {width: 10m}", vec!["interval-mostly-empty"]),
        ("10m", ", window: {width: 10m}", vec![]),
    ] {
        let measure = format!("{{mean_success: {interval}}}");
        let text = duration(&measure, &format!(r#"target: ">= 99%", credit: {{flat: 5%}}{keys}"#));
        assert_eq!(warnings(&text, Some(&plan())), expected, "{interval} {keys}");
    }
    let text = duration("{mean_success: 4m}", r#"target: ">= 99%", credit: {flat: 5%}"#);
    let slow = text.replace("probe: call, measure", "probe: slow, measure");
    assert_eq!(warnings(&slow, Some(&plan())), ["interval-mostly-empty"]);
}

#[test]
fn unwise_promises_of_durations_are_warnings() {
    let mean = duration("{mean: total}", r#"target: "<= 45ms", credit: {flat: 5%}"#);
    assert_eq!(warnings(&mean, Some(&plan())), ["mean-without-success"]);
    let success = "  ok: {service: voice, probe: call, measure: success, target: \">= 99%\"}";
    let lines: Vec<&str> = mean.lines().collect();
    let paired = [&lines[..32], &[success], &lines[33..]].concat().join("\n");
    assert_eq!(warnings(&paired, Some(&plan())), [""; 0]);
    for (q, keys, expected) in [
        ("95%", "", vec![]),
        ("95%", ", failures: exclude", vec!["failures-excluded"]),
        ("99.999%", "", vec!["unprovable"]),
    ] {
        let measure = format!("{{percentile: {q}, phase: total}}");
        let text = duration(&measure, &format!(r#"target: "<= 3s", credit: {{flat: 5%}}{keys}"#));
        assert_eq!(warnings(&text, Some(&plan())), expected, "{q} {keys}");
    }
    for (measure, rest, expected) in [
        (
            "{ratio: isa}",
            r#"target: "<= 1%", credit: {bands: [{above: 100%, rate: 5%}]}"#,
            vec!["credit-cannot-occur"],
        ),
        ("{ratio: isa}", r#"target: "<= 0.001%", credit: {flat: 5%}"#, vec!["unprovable"]),
        ("{ratio: isa}", r#"target: "<= 1%", credit: {flat: 5%}"#, vec![]),
        (
            "{mean: mos_centi}",
            r#"target: ">= 4.0", credit: {flat: 5%}"#,
            vec!["mean-without-success"],
        ),
        (
            "{percentile: 95%, phase: loss_ppm}",
            r#"target: "<= 1%", credit: {bands: [{above: 100%, rate: 5%}]}"#,
            vec!["credit-cannot-occur"],
        ),
    ] {
        assert_eq!(warnings(&duration(measure, rest), Some(&plan())), expected, "{measure} {rest}");
    }
    let query = duration("{mean: query}", r#"target: "<= 3s""#);
    assert_eq!(errors(&query, Some(&plan())), ["32:3 unknown-phase"]);
}

/// Only breaches that have a price open a right to terminate, and an OLA prices none.
#[test]
fn a_right_that_never_opens_is_a_warning() {
    let right = with(37, "termination: [{breached: 3, of_last: 6}]");
    let priced: Vec<&str> = right.lines().collect();
    // Without the credit of the one, and without the other.
    let free = [&priced[..29], &priced[32..]].concat().join("\n").replace("priority: [fast], ", "");
    for (text, expected) in
        [(right.clone(), false), (free, true), (right.replace("kind: sla", "kind: ola"), true)]
    {
        let found = warnings(&text, Some(&plan()));
        assert_eq!(found.contains(&"termination-without-credit"), expected, "{found:?}");
    }
}

/// Of February, 0.05 % are 20 minutes and 10 seconds.
#[test]
fn maintenance_that_breaks_the_promise_is_a_warning() {
    for (at_most, rule, expected) in [
        ("21m", "none", true),
        ("20m", "none", false),
        ("21m", "removed", false),
        ("21m", "as_up", false),
    ] {
        let allowed =
            format!("maintenance: {{notice: 48h, at_most: {at_most}, approval: automatic}}");
        let text =
            with(37, &allowed).replace("exclusions: removed", &format!("exclusions: {rule}"));
        let found = warnings(&text, Some(&plan()));
        assert_eq!(found.contains(&"maintenance-over-budget"), expected, "{at_most} {rule}");
    }
}
