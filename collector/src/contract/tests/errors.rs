//! What is refused, key by key, with its place.

use super::*;

/// Line, its replacement, and what is reported where.
type Case = (usize, &'static str, &'static str);

fn assert_reported(cases: &[Case]) {
    let mut missed = Vec::new();
    for (line, text, expected) in cases {
        let found = errors(&with(*line, text), None);
        if !found.iter().any(|found| found == expected) {
            missed.push(format!("{text}: {found:?}, not {expected}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn errors_of_the_agreement() {
    assert_reported(&[
        (1, "agreement: Acme", "1:12 bad-name"),
        (2, "version: 0", "2:10 bad-value"),
        (2, "vershun: 1", "1:1 missing-key"),
        (3, "kind: contract", "3:7 bad-value"),
        (4, "level: top", "4:8 bad-value"),
        (5, "title: ''", "5:8 bad-value"),
        (5, "title: a\ntitle: b", "6:1 duplicate-key"),
        (8, "colour: red", "8:1 unknown-key"),
        (13, "time_zone: Europe/Atlantis", "13:12 unknown-zone"),
        (13, "time_zone: localtime", "13:12 unknown-zone"),
        (14, "currency: EURO", "14:11 bad-value"),
        (15, "term: {from: 2026-01-01}", "15:7 missing-key"),
        (15, "term: {from: 2026-01-01, until: 2026-01-01}", "15:7 term-empty"),
        (15, "term: {from: 2026-02-30, until: 2027-01-01}", "15:14 bad-date"),
        (16, "period: fortnight", "16:9 bad-value"),
        (16, "period: {billing_day: 32}", "16:23 bad-value"),
        (18, "  voice: {monthly_charge: 12000.00}", "18:27 bad-value"),
        (18, "  voice: {monthly_charge: \"0.001\"}", "18:27 bad-value"),
        (18, "  voice: {}", "20:3 missing-key"),
        (18, "  data: {monthly_charge: \"1.00\"}", "21:14 unknown-service"),
        (36, "credits: {cap: 130%}", "36:16 percent-over-100"),
        (36, "credits: {priority: [nothing]}", "36:10 unknown-objective"),
        (36, "credits: {minimum: 1.00}", "36:20 bad-value"),
        (37, "close: {grace: 72}", "37:16 bad-duration"),
        (37, "parent: acme", "37:9 unknown-parent"),
        (37, "parent: acme-voice", "37:9 unknown-parent"),
        (37, "calendars: {office: {}}", "37:21 missing-key"),
        (37, "calendars: {Office: {weekly: {mon: \"08:00-18:00\"}}}", "37:13 bad-name"),
        (37, "calendars: {office: {weekly: {}}}", "37:30 missing-key"),
        (37, "calendars: {office: {weekly: {mon: []}}}", "37:30 missing-key"),
        (37, "calendars: {office: {weekly: {monday: \"08:00-18:00\"}}}", "37:31 bad-value"),
        (37, "calendars: {office: {weekly: {mon-: \"08:00-18:00\"}}}", "37:31 bad-value"),
        (37, "calendars: {office: {weekly: {mon: \"8:00-18:00\"}}}", "37:36 bad-value"),
        (37, "calendars: {office: {weekly: {mon: \"08:00-24:01\"}}}", "37:36 bad-value"),
        (37, "calendars: {office: {weekly: {mon: \"24:00-08:00\"}}}", "37:36 bad-value"),
        (37, "calendars: {office: {weekly: {mon: \"08:60-09:00\"}}}", "37:36 bad-value"),
        (37, "calendars: {office: {weekly: {mon: \"08:00-08:00\"}}}", "37:36 bad-value"),
        (37, "calendars: {office: {weekly: {mon: [\"08:00\"]}}}", "37:37 bad-value"),
        (
            37,
            "calendars: {office: {weekly: {mon: \"08:00-18:00\"}, holidays: [2026-02-30]}}",
            "37:63 bad-date",
        ),
        (37, "maintenance: {notice: 48h, at_most: 8h}", "37:14 missing-key"),
        (37, "maintenance: {notice: 48, at_most: 8h, approval: automatic}", "37:23 bad-duration"),
        (37, "maintenance: {notice: 48h, at_most: 8h, approval: both}", "37:51 bad-value"),
        (37, "termination: [{consecutive: 0}]", "37:29 bad-value"),
        (37, "termination: [{consecutive: 121}]", "37:29 bad-value"),
        (37, "termination: [{breached: 3}]", "37:15 missing-key"),
        (37, "termination: [{breached: 3, of_last: 2}]", "37:15 bad-value"),
        (37, "termination: [{mean_below: 97%, over: 3}]", "37:15 missing-key"),
        (
            37,
            "termination: [{objective: nothing, mean_below: 97%, over: 3}]",
            "37:15 unknown-objective",
        ),
        (37, "close: &a {}", "37:8 bad-yaml"),
    ]);
}

#[test]
fn errors_of_an_objective() {
    assert_reported(&[
        (20, "  Available:", "20:3 bad-name"),
        (22, "    probe: []", "22:12 bad-value"),
        (22, "    probe: [call, call]", "22:12 bad-value"),
        (25, "    target: \">= 99.95\"", "25:13 measure-target-mismatch"),
        (25, "    target: \">= 3s\"", "25:13 measure-target-mismatch"),
        (25, "    target: \"<= 99%\"", "25:13 measure-target-mismatch"),
        (25, "    target: \">= 100.5%\"", "25:13 percent-over-100"),
        (25, "    target: \"> 100%\"", "25:13 bad-value"),
        (25, "    target: 99%", "25:13 bad-value"),
        (26, "    vantages: {quorum: 0%}", "26:24 bad-value"),
        (26, "    vantages: {quorum: 51%, each: all}", "26:16 unknown-key"),
        (26, "    vantages: {each: []}", "26:22 bad-value"),
        (27, "    outage: {after: 0}", "27:21 bad-value"),
        (28, "    exclusions: as_down", "28:17 bad-value"),
        (29, "    unknown: {as: guess}", "29:19 bad-value"),
        (29, "    unknown: {coverage: 101%}", "29:25 percent-over-100"),
        (29, "    window: {width: 0s}", "29:21 bad-value"),
        (29, "    window: {width: 1.5s}", "29:21 bad-duration"),
        (29, "    window: {bad: \"< 50%\"}", "29:19 bad-value"),
        (29, "    window: {bad: \"> 100%\"}", "29:19 bad-value"),
        (29, "    hours: office", "29:12 unknown-calendar"),
        (29, "    period: {billing_day: 1}", "32:3 period-ambiguous"),
        (29, "    round: 2", "29:12 bad-value"),
        (29, "    round: {}", "29:12 missing-key"),
        (29, "    round: {places: 7}", "29:21 bad-value"),
        (29, "    round: {places: -1}", "29:21 bad-value"),
        (29, "    round: {places: 2, half: even}", "29:24 unknown-key"),
        (29, "    supported_by: [b]", "29:20 bad-value"),
        (29, "    supported_by: [b/C]", "29:20 bad-value"),
        (29, "    inherit: closed", "29:14 bad-value"),
        (29, "    remove: true", "29:5 unknown-key"),
    ]);
}

#[test]
fn errors_of_a_credit() {
    assert_reported(&[
        (31, "      bands: []", "31:14 bad-value"),
        (
            31,
            "      bands: [{below: 99.9%, rate: 10%}, {below: 99%, rate: 5%}]",
            "31:14 band-order",
        ),
        (
            31,
            "      bands: [{below: 99.9%, rate: 10%}, {below: 99.9%, rate: 15%}]",
            "31:14 band-order",
        ),
        (31, "      bands: [{above: 99.9%, rate: 10%}]", "31:23 measure-target-mismatch"),
        (31, "      bands: [{below: 99.9%, rate: 110%}]", "31:36 percent-over-100"),
        (31, "      bands: [{below: 99.9%}]", "31:15 missing-key"),
        (31, "      {bands: [{below: 99.9%, rate: 10%}], flat: 5%}", "31:7 two-credit-forms"),
        (31, "      {days: 1, base: {amount: \"1.00\"}}", "31:23 base-with-days"),
        (31, "      {days: 0}", "31:14 bad-value"),
        (31, "      {days: 1, day_fraction: half}", "31:31 bad-value"),
        (31, "      {linear: 0}", "31:16 bad-value"),
        (31, "      {flat: 5%, base: 1.00}", "31:24 bad-value"),
        (31, "      {flat: 5%, base: {amount: 1.00}}", "31:33 bad-value"),
        (31, "      {flat: 5%, base: {greater_of: [monthly_charge]}}", "31:37 bad-value"),
        (31, "      {flat: 5%, by: excess}", "31:22 bad-value"),
        (31, "      {per: {of: downtime, days: 1}}", "31:13 missing-key"),
        (31, "      {per: {every: 0s, of: downtime, days: 1}}", "31:21 bad-duration"),
        (31, "      {per: {every: 4h, of: outages, days: 1}}", "31:29 bad-value"),
        (31, "      {per: {every: 4h, of: downtime}}", "31:13 missing-key"),
        (31, "      {per: {every: 4h, of: downtime, days: 1, rate: 5%}}", "31:13 two-credit-forms"),
        (31, "      {per: {of: failed_days, days: 1, round: 15m}}", "31:47 bad-value"),
        (
            31,
            "      {per: {every: 4h, of: downtime, days: 1}, base: monthly_charge}",
            "31:55 base-with-days",
        ),
        (31, "      {by: speed, bands: [{above: 1%, rate: 5%}]}", "31:12 bad-value"),
        (31, "      {by: excess, bands: [{below: 1%, rate: 5%}]}", "31:36 measure-target-mismatch"),
        (31, "      {by: excess, bands: [{above: 99.96%, rate: 5%}]}", "31:27 bad-value"),
        (
            31,
            "      {by: downtime, bands: [{above: 1%, rate: 5%}]}",
            "31:38 measure-target-mismatch",
        ),
        (
            31,
            "      {by: downtime, precision: 1s, bands: [{above: 1m, rate: 5%}]}",
            "31:33 bad-value",
        ),
        (31, "      {by: excess_ratio, bands: [{rate: 5%}]}", "31:34 missing-key"),
        (31, "      {}", "31:7 missing-key"),
    ]);
}

#[test]
fn errors_of_a_measure() {
    assert_reported(&[
        (24, "    measure: speed", "24:14 bad-value"),
        (24, "    measure: downtime", "25:13 measure-target-mismatch"),
        (24, "    measure: longest_outage", "25:13 measure-target-mismatch"),
        (24, "    measure: outages", "25:13 measure-target-mismatch"),
        (24, "    measure: {downtime: 1m}", "24:14 missing-key"),
        (24, "    measure: {percentile: 95%, phase: total}", "25:13 measure-target-mismatch"),
        (24, "    measure: {percentile: 0%, phase: total}", "24:27 bad-value"),
        (24, "    measure: {percentile: 101%, phase: total}", "24:27 percent-over-100"),
        (24, "    measure: {percentile: 95, phase: total}", "24:27 bad-percentage"),
        (24, "    measure: {percentile: 95%, phase: totale}", "24:39 unknown-phase"),
        (24, "    measure: {percentile: 95%}", "24:14 missing-key"),
        (24, "    measure: {percentile: 95%, within: 2s, phase: total}", "24:32 unknown-key"),
        (24, "    measure: {mean: total}", "25:13 measure-target-mismatch"),
        (24, "    measure: {mean: totale}", "24:21 unknown-phase"),
        (24, "    measure: {mean: total_failed}", "24:21 unknown-phase"),
        (24, "    measure: {mean: total, phase: total}", "24:28 unknown-key"),
        (24, "    measure: {mean_success: 5}", "24:29 bad-duration"),
        (24, "    measure: {mean_success: 0s}", "24:29 bad-value"),
        (24, "    measure: {mean_success: 1500ms}", "24:29 bad-duration"),
        (24, "    measure: {mean_success: 32d}", "24:29 bad-value"),
        (24, "    measure: {mean_success: 5m, phase: total}", "24:33 unknown-key"),
        (24, "    measure: {good_days: {}}", "24:26 missing-key"),
        (24, "    measure: {good_days: 95%}", "24:26 bad-value"),
        (24, "    measure: {good_days: {within: 2s, phase: total}}", "24:26 missing-key"),
        (24, "    measure: {good_days: {within: 2s, phase: total, at: 0%}}", "24:57 bad-value"),
        (
            24,
            "    measure: {good_days: {within: 2s, phase: totale, at: 95%}}",
            "24:46 unknown-phase",
        ),
        (24, "    measure: {good_days: {within: 2, phase: total, at: 95%}}", "24:35 bad-duration"),
        (
            24,
            "    measure: {good_days: {within: 2s, phase: total, at: 95%}, within: 2s}",
            "24:63 unknown-key",
        ),
        (24, "    measure: {within: 2s, phase: totale}", "24:34 unknown-phase"),
        (24, "    measure: {within: 2s, phase: total_failed}", "24:34 unknown-phase"),
        (24, "    measure: {within: 2, phase: total}", "24:23 bad-duration"),
        (24, "    measure: {ratio: asr}", "24:22 bad-value"),
        (24, "    measure: {ratio: ser, phase: total}", "24:27 unknown-key"),
        (24, "    measure: {ratio: isa}", "25:13 measure-target-mismatch"),
        (24, "    measure: {mean: mos}", "24:21 unknown-phase"),
        (24, "    measure: {mean: loss_ppm}", "25:13 measure-target-mismatch"),
        (24, "    measure: {within: 1s, phase: loss_ppm}", "24:23 measure-target-mismatch"),
        (24, "    measure: {within: 4.0, phase: loss_ppm}", "24:23 measure-target-mismatch"),
        (24, "    measure: {within: \"0.00001%\", phase: loss_ppm}", "24:23 bad-value"),
        (24, "    measure: {within: \"101%\", phase: loss_ppm}", "24:23 percent-over-100"),
        (24, "    measure: {within: \"80%\", phase: mos_centi}", "24:23 measure-target-mismatch"),
        (24, "    measure: {within: 4s, phase: mos_centi}", "24:23 measure-target-mismatch"),
        (24, "    measure: {within: 4.005, phase: mos_centi}", "24:23 bad-value"),
        (24, "    measure: {within: 1000.01, phase: mos_centi}", "24:23 bad-value"),
        (24, "    measure: {within: 0, phase: mos_centi}", "24:23 bad-value"),
        (24, "    measure: {within: [1], phase: mos_centi}", "24:23 bad-value"),
        (24, "    measure: {phase: mos_centi}", "24:14 missing-key"),
    ]);
}

#[test]
fn errors_against_a_plan() {
    let found = errors(&with(22, "    probe: [call, nothing]"), Some(&plan()));
    assert_eq!(found, ["22:12 unknown-probe"]);
    let found = errors(&with(24, "    measure: {within: 2s, phase: query}"), Some(&plan()));
    assert_eq!(found, ["20:3 unknown-phase"]);
}

/// A ratio is of what a probe does.
#[test]
fn a_ratio_needs_a_probe_that_makes_its_calls() {
    let ratio = |ratio: &str, probe: &str| {
        let target = if ratio == "ser" { ">= 90%" } else { "<= 5%" };
        let measure = format!("{{ratio: {ratio}}}");
        let text = duration(&measure, &format!(r#"target: "{target}", credit: {{flat: 5%}}"#));
        errors(
            &text.replace("probe: call, measure", &format!("probe: {probe}, measure")),
            Some(&plan()),
        )
    };
    for (name, probe, expected) in [
        ("ser", "call", vec![]),
        ("isa", "call", vec![]),
        ("ira", "register", vec![]),
        ("ser", "slow", vec!["32:3 ratio-mismatch"]),
        ("ser", "ask", vec!["32:3 ratio-mismatch"]),
        ("ser", "register", vec!["32:3 ratio-mismatch"]),
        ("ira", "call", vec!["32:3 ratio-mismatch"]),
    ] {
        assert_eq!(ratio(name, probe), expected, "{name} of {probe}");
    }
}

#[test]
fn all_problems_come_in_one_run() {
    let text = with(2, "version: 0").replace(">= 99.95%", ">= 3s").replace("EUR", "EURO");
    assert_eq!(
        errors(&text, None),
        ["2:10 bad-value", "14:11 bad-value", "25:13 measure-target-mismatch"]
    );
}

#[test]
fn files_that_are_no_family_are_refused() {
    let rejected = Agreement::load(&[("a.yaml", GOOD), ("b.yaml", GOOD)]).expect_err("several");
    assert!(rejected.to_string().contains("duplicate-name"), "{rejected}");
    assert!(Agreement::load(&[]).is_err());
    let rejected = Agreement::load(&[("a.yaml", "a: 1"), ("b.yaml", "[")]).expect_err("both bad");
    assert_eq!(rejected.0.len(), 2);
}
