//! Every code of the linter, each with the place it is reported at.

mod zones;

use super::*;
use probefleet_proto::yaml::Problem;

/// A valid agreement; tests replace parts of it.
const GOOD: &str = include_str!("../../tests/fixtures/contract/good.yaml");
const PLAN: &str = "probes:
  - {name: call, sip: {uri: 'sip:a@b.example', mode: call}, every: 60s}
  - {name: ask, sip: {uri: 'sip:a@b.example'}, every: 60s}
  - {name: register, sip: {uri: 'sip:a@b.example', mode: register}, every: 60s}
  - {name: slow, http: {url: 'https://a.example/'}, every: 5m}
";

fn plan() -> Plan {
    Plan::parse("plan.yaml", PLAN).expect("a plan")
}

fn errors(text: &str, plan: Option<&Plan>) -> Vec<String> {
    match Agreement::load_with_plan(&[("a.yaml", text)], plan) {
        Ok(_) => Vec::new(),
        Err(rejected) => rejected.0.iter().flat_map(Problems::sorted).map(placed).collect(),
    }
}

fn warnings(text: &str, plan: Option<&Plan>) -> Vec<&'static str> {
    let loaded = Agreement::load_with_plan(&[("a.yaml", text)], plan).expect("valid");
    loaded.warnings.sorted().into_iter().map(|problem| problem.code).collect()
}

fn placed(problem: &Problem) -> String {
    format!("{}:{} {}", problem.at.line, problem.at.column, problem.code)
}

/// The sample with one line replaced.
fn with(line: usize, text: &str) -> String {
    let mut lines: Vec<&str> = GOOD.lines().collect();
    lines[line - 1] = text;
    lines.join("\n")
}

#[test]
fn the_sample_is_clean() {
    assert_eq!(errors(GOOD, Some(&plan())), [""; 0]);
    assert_eq!(warnings(GOOD, Some(&plan())), [""; 0]);
}

#[test]
fn every_key_is_read() {
    let agreement = Agreement::load(&[("a.yaml", GOOD)]).expect("valid").agreement;
    let terms = agreement.terms();
    assert_eq!(
        (agreement.id().as_str(), agreement.version(), agreement.title()),
        ("acme-voice", 1, "Hosted voice")
    );
    assert_eq!(terms.not_included, ["Handsets"]);
    assert_eq!(terms.parties.auditors.len(), 1);
    assert_eq!(terms.responsibilities[0].party, "customer");
    assert_eq!(terms.close, model::CloseRules { grace_s: 259_200, dispute_s: 864_000 });
    assert_eq!(terms.credits.claim, model::Claim::WithinS(2_592_000));
    let names: Vec<&str> =
        agreement.objectives().iter().map(|objective| objective.name.as_str()).collect();
    assert_eq!(names, ["available", "fast"]);
    let thresholds = agreement.thresholds();
    assert_eq!(thresholds.len(), 1);
    assert_eq!(
        (thresholds[0].phase.as_str(), thresholds[0].at_most),
        ("time_to_answer", 3_000_000_000)
    );
    assert_eq!(
        agreement.period_at(1_775_001_600).map(|label| label.to_string()).as_deref(),
        Some("2026-04")
    );
}

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
fn ratios_and_values_are_read() {
    for (measure, rest, thresholds) in [
        ("{ratio: ser}", r#"target: ">= 95%", credit: {bands: [{below: 95%, rate: 5%}]}"#, vec![]),
        ("{ratio: ira}", r#"target: "<= 0%", credit: {bands: [{above: 1%, rate: 5%}]}"#, vec![]),
        ("{mean: loss_ppm}", r#"target: "< 0.00005%""#, vec![]),
        ("{mean: mos_centi}", r#"target: ">= 4.05""#, vec![]),
        ("{percentile: 95%, phase: jitter}", r#"target: "<= 30ms""#, vec![30_000_000]),
        (r#"{within: "1%", phase: loss_ppm}"#, r#"target: ">= 95%""#, vec![10_000]),
        ("{mean_success: 5m}", r#"target: ">= 99.9%", credit: {linear: 1}"#, vec![]),
        (
            "{good_days: {within: 2s, phase: time_to_answer, at: 95%}}",
            r#"target: ">= 97%", credit: {bands: [{below: 97%, rate: 5%}]}"#,
            vec![2_000_000_000],
        ),
        (
            "{good_days: {within: 4.0, phase: mos_centi, at: 100%}}",
            r#"target: ">= 97%""#,
            vec![399],
        ),
        ("{within: 1%, phase: loss_ppm}", r#"target: ">= 95%""#, vec![10_000]),
        ("{within: 4.0, phase: mos_centi}", r#"target: ">= 95%""#, vec![399]),
        (
            "{percentile: 95%, phase: loss_ppm}",
            r#"target: "< 1%", credit: {bands: [{at_least: 1.00005%, rate: 5%}, {above: 2.00005%, rate: 9%}]}"#,
            vec![9_999, 10_000, 20_000],
        ),
        (
            "{percentile: 95%, phase: mos_centi}",
            r#"target: ">= 4", credit: {bands: [{below: 3.5, rate: 5%}, {at_most: 3.1, rate: 9%}]}"#,
            vec![310, 349, 399],
        ),
        ("{percentile: 95%, phase: mos_centi}", r#"target: "> 4.0""#, vec![400]),
    ] {
        let text = duration(measure, rest);
        let loaded = Agreement::load(&[("a.yaml", &text)]);
        let agreement = loaded.unwrap_or_else(|rejected| panic!("{rejected}")).agreement;
        let found: Vec<u64> = agreement.thresholds().into_iter().map(|it| it.at_most).collect();
        assert_eq!(found, thresholds, "{measure} {rest}");
    }
}

#[test]
fn errors_of_targets_and_bands_of_values() {
    let mut missed = Vec::new();
    for (measure, rest, expected) in [
        ("{ratio: isa}", r#"target: ">= 3%""#, "measure-target-mismatch"),
        ("{ratio: isa}", r#"target: "<= 3s""#, "measure-target-mismatch"),
        ("{ratio: isa}", r#"target: "< 0%""#, "bad-value"),
        ("{ratio: isa}", r#"target: "<= 300%""#, "percent-over-100"),
        (
            "{ratio: isa}",
            r#"target: "<= 3%", credit: {bands: [{below: 3%, rate: 5%}]}"#,
            "measure-target-mismatch",
        ),
        ("{ratio: ser}", r#"target: "<= 95%""#, "measure-target-mismatch"),
        ("{mean: loss_ppm}", r#"target: "<= 1000""#, "measure-target-mismatch"),
        ("{mean: loss_ppm}", r#"target: "<= 1ms""#, "measure-target-mismatch"),
        ("{mean: loss_ppm}", r#"target: ">= 1%""#, "measure-target-mismatch"),
        ("{mean: loss_ppm}", r#"target: "< 0%""#, "bad-value"),
        ("{mean: loss_ppm}", r#"target: "<= 101%""#, "percent-over-100"),
        ("{mean: loss_ppm}", r#"target: "<= one%""#, "bad-value"),
        (
            "{mean: loss_ppm}",
            r#"target: "<= 1%", credit: {bands: [{above: 2, rate: 5%}]}"#,
            "measure-target-mismatch",
        ),
        (
            "{mean: loss_ppm}",
            r#"target: "<= 1%", credit: {bands: [{at_least: 0%, rate: 5%}]}"#,
            "bad-value",
        ),
        ("{mean: mos_centi}", r#"target: ">= 80%""#, "measure-target-mismatch"),
        ("{mean: mos_centi}", r#"target: ">= 4s""#, "measure-target-mismatch"),
        ("{mean: mos_centi}", r#"target: "<= 4.0""#, "measure-target-mismatch"),
        ("{mean: mos_centi}", r#"target: ">= 4.001""#, "bad-value"),
        ("{mean: mos_centi}", r#"target: ">= 0""#, "bad-value"),
        ("{mean: mos_centi}", r#"target: ">= four""#, "bad-value"),
        (
            "{mean: mos_centi}",
            r#"target: ">= 4.0", credit: {bands: [{above: 3, rate: 5%}]}"#,
            "measure-target-mismatch",
        ),
        (
            "{mean: mos_centi}",
            r#"target: ">= 4.0", credit: {bands: [{below: 3%, rate: 5%}]}"#,
            "measure-target-mismatch",
        ),
        (
            "{mean: mos_centi}",
            r#"target: ">= 4.0", credit: {bands: [{below: 0, rate: 5%}]}"#,
            "bad-value",
        ),
        (
            "{mean: mos_centi}",
            r#"target: ">= 4.0", credit: {bands: [{below: 3.5, rate: 9%}, {below: 3, rate: 5%}]}"#,
            "band-order",
        ),
    ] {
        let found = errors(&duration(measure, rest), None);
        if found.len() != 1 || !found[0].ends_with(&format!(" {expected}")) {
            missed.push(format!("{measure} {rest}: {found:?}, not {expected}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    // The cure shows how it is written.
    let text = duration("{mean: mos_centi}", r#"target: ">= 80%""#);
    let rejected = Agreement::load(&[("a.yaml", &text)]).expect_err("wrong").to_string();
    assert!(rejected.contains("this measure is a score: write a target such as \">= 4.0\""));
}

#[test]
fn down_time_and_outages_are_read() {
    let (per, excess) = ("per: {every: 1h, of", "excess_downtime, days: 1}");
    for (measure, rest, expected) in [
        ("downtime", r#"target: "<= 432m""#.to_owned(), ""),
        ("downtime", format!(r#"target: "< 1h", credit: {{{per}: {excess}}}"#), ""),
        ("downtime", r#"target: "<= 432""#.to_owned(), "bad-duration"),
        ("downtime", r#"target: "< 0s""#.to_owned(), "bad-value"),
        ("downtime", r#"target: ">= 432m""#.to_owned(), "measure-target-mismatch"),
        ("downtime", r#"target: "<= 1%""#.to_owned(), "measure-target-mismatch"),
        (
            "downtime",
            r#"target: "<= 1h", credit: {linear: 1}"#.to_owned(),
            "measure-target-mismatch",
        ),
        (
            "longest_outage",
            r#"target: "<= 1h", credit: {by: excess, bands: [{above: 30m, rate: 5%}]}"#.to_owned(),
            "",
        ),
        (
            "longest_outage",
            format!(r#"target: "<= 1h", credit: {{{per}: {excess}}}"#),
            "measure-target-mismatch",
        ),
        (
            "outages",
            r#"target: "<= 2", credit: {bands: [{above: 2, rate: 5%}, {at_least: 10, rate: 20%}]}"#
                .to_owned(),
            "",
        ),
        ("outages", r#"target: "< 1""#.to_owned(), ""),
        ("outages", r#"target: "< 0""#.to_owned(), "bad-value"),
        ("outages", r#"target: "<= 2.5""#.to_owned(), "bad-value"),
        ("outages", r#"target: "<= 1000000001""#.to_owned(), "bad-value"),
        ("outages", r#"target: "<= two""#.to_owned(), "bad-value"),
        ("outages", r#"target: "<= 2%""#.to_owned(), "measure-target-mismatch"),
        ("outages", r#"target: "<= 2m""#.to_owned(), "measure-target-mismatch"),
        ("outages", r#"target: ">= 2""#.to_owned(), "measure-target-mismatch"),
        (
            "outages",
            r#"target: "<= 2", credit: {bands: [{below: 2, rate: 5%}]}"#.to_owned(),
            "measure-target-mismatch",
        ),
        (
            "outages",
            r#"target: "<= 2", credit: {bands: [{above: 1.5, rate: 5%}]}"#.to_owned(),
            "bad-value",
        ),
    ] {
        let found = errors(&duration(measure, &rest), None);
        let codes: Vec<&str> =
            found.iter().filter_map(|found| Some(found.split_once(' ')?.1)).collect();
        let expected: Vec<&str> =
            Some(expected).filter(|code| !code.is_empty()).into_iter().collect();
        assert_eq!(codes, expected, "{measure} {rest}");
    }
    let text = duration("outages", r#"target: "<= 2%""#);
    let rejected = Agreement::load(&[("a.yaml", &text)]).expect_err("wrong").to_string();
    assert!(rejected.contains("this measure is a number: write a target such as \"<= 2\""));
}

/// Only percentages are rounded, and of a percentile attempts are counted.
#[test]
fn percentages_are_rounded_and_nothing_else() {
    for (measure, target, good) in [
        ("availability", ">= 99.9%", true),
        ("success", ">= 99.9%", true),
        ("{within: 2s, phase: total}", ">= 99.9%", true),
        ("{ratio: isa}", "<= 1%", true),
        ("{mean: loss_ppm}", "<= 1%", true),
        ("{mean_success: 5m}", ">= 99.9%", true),
        ("{good_days: {within: 2s, phase: total, at: 95%}}", ">= 97%", true),
        ("downtime", "<= 1h", false),
        ("longest_outage", "<= 1h", false),
        ("outages", "<= 1", false),
        ("{mean: total}", "<= 1s", false),
        ("{mean: mos_centi}", ">= 4.0", false),
        ("{percentile: 95%, phase: total}", "<= 1s", false),
        ("{percentile: 95%, phase: loss_ppm}", "<= 1%", false),
    ] {
        let text = duration(measure, &format!(r#"target: "{target}", round: {{places: 2}}"#));
        let found = errors(&text, None);
        assert_eq!(found.is_empty(), good, "{measure}: {found:?}");
        assert!(found.iter().all(|found| found.ends_with(" measure-target-mismatch")), "{found:?}");
    }
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

/// The sample whose second objective is of a duration, with that line of its target and credit.
fn duration(measure: &str, rest: &str) -> String {
    with(32, &format!("  fast: {{service: voice, probe: call, measure: {measure}, {rest}}}"))
}

#[test]
fn durations_are_read() {
    let ns = |agreement: &Agreement| -> Vec<u64> {
        agreement.thresholds().into_iter().map(|threshold| threshold.at_most).collect()
    };
    let percentile = "{percentile: 95%, phase: time_to_answer}";
    for (measure, rest, thresholds) in [
        (percentile, r#"target: "<= 3s""#, vec![3_000_000_000]),
        (percentile, r#"target: "< 10ms""#, vec![9_999_999]),
        (percentile, r#"target: "<= 3s", credit: {flat: 5%}"#, vec![3_000_000_000]),
        (
            percentile,
            r#"target: "<= 3s", credit: {bands: [{at_least: 5s, rate: 20%}, {above: 3s, rate: 5%}, {above: 5s, rate: 25%}]}"#,
            vec![3_000_000_000, 4_999_999_999, 5_000_000_000],
        ),
        ("{mean: time_to_answer}", r#"target: "<= 45ms""#, vec![]),
    ] {
        let text = duration(measure, rest);
        let loaded = Agreement::load(&[("a.yaml", &text)]);
        let agreement = loaded.unwrap_or_else(|rejected| panic!("{rejected}")).agreement;
        assert_eq!(ns(&agreement), thresholds, "{measure} {rest}");
    }
}

#[test]
fn errors_of_a_duration() {
    let mut missed = Vec::new();
    for (rest, expected) in [
        (r#"target: ">= 3s""#, "measure-target-mismatch"),
        (r#"target: "<= 99%""#, "measure-target-mismatch"),
        (r#"target: "<= 3""#, "bad-duration"),
        (r#"target: "<= 3 seconds""#, "bad-duration"),
        (r#"target: "< 0s""#, "bad-value"),
        (r#"target: "<= 3s", credit: {bands: [{below: 3s, rate: 5%}]}"#, "measure-target-mismatch"),
        (r#"target: "<= 3s", credit: {bands: [{above: 3%, rate: 5%}]}"#, "measure-target-mismatch"),
        (r#"target: "<= 3s", credit: {bands: [{above: 3, rate: 5%}]}"#, "bad-duration"),
        (r#"target: "<= 3s", credit: {bands: [{at_least: 0s, rate: 5%}]}"#, "bad-value"),
        (r#"target: "<= 3s", credit: {bands: [{above: 3s, at_least: 3s, rate: 5%}]}"#, "bad-value"),
        (r#"target: "<= 3s", credit: {bands: [{rate: 5%}]}"#, "missing-key"),
        (
            r#"target: "<= 3s", credit: {bands: [{above: 5s, rate: 5%}, {above: 3s, rate: 10%}]}"#,
            "band-order",
        ),
        (
            r#"target: "<= 3s", credit: {bands: [{above: 3s, rate: 5%}, {at_least: 3s, rate: 10%}]}"#,
            "band-order",
        ),
    ] {
        for measure in ["{percentile: 95%, phase: total}", "{mean: total}"] {
            let found = errors(&duration(measure, rest), None);
            if found.len() != 1 || !found[0].ends_with(&format!(" {expected}")) {
                missed.push(format!("{rest}: {found:?}, not {expected}"));
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    // The place is that of the value.
    let text = duration("{mean: total}", r#"target: ">= 3s""#);
    assert_eq!(errors(&text, None), ["32:71 measure-target-mismatch"]);
    let text =
        duration("{mean: total}", r#"target: "<= 3s", credit: {bands: [{below: 3s, rate: 5%}]}"#);
    assert_eq!(errors(&text, None), ["32:105 measure-target-mismatch"]);
}

/// What is wrong with a measure is said once, and its target and credit are not blamed for it.
#[test]
fn a_measure_that_cannot_be_read_is_reported_alone() {
    for (measure, rest) in [
        (
            "{percentile: 95, phase: total}",
            r#"target: "<= 3s", credit: {bands: [{above: 3s, rate: 5%}]}"#,
        ),
        ("{ratio: asr}", r#"target: "<= 5%", credit: {bands: [{above: 5%, rate: 5%}]}"#),
        ("speed", r#"target: ">= 99%", credit: {bands: [{below: 99%, rate: 5%}]}"#),
    ] {
        assert_eq!(errors(&duration(measure, rest), None).len(), 1, "{measure}");
    }
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

#[test]
fn errors_against_a_plan() {
    let found = errors(&with(22, "    probe: [call, nothing]"), Some(&plan()));
    assert_eq!(found, ["22:12 unknown-probe"]);
    let found = errors(&with(24, "    measure: {within: 2s, phase: query}"), Some(&plan()));
    assert_eq!(found, ["20:3 unknown-phase"]);
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

#[test]
fn files_that_are_no_family_are_refused() {
    let rejected = Agreement::load(&[("a.yaml", GOOD), ("b.yaml", GOOD)]).expect_err("several");
    assert!(rejected.to_string().contains("duplicate-name"), "{rejected}");
    assert!(Agreement::load(&[]).is_err());
    let rejected = Agreement::load(&[("a.yaml", "a: 1"), ("b.yaml", "[")]).expect_err("both bad");
    assert_eq!(rejected.0.len(), 2);
}

mod anything {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A file is read or refused, whatever was done to it.
        #[test]
        fn is_read_or_refused(
            cut in 0_usize..2_000, length in 0_usize..40,
            text in "[-a-z0-9%.:,{}\\[\\]\"'&*#<>= \n]{0,30}",
        ) {
            let mut changed = GOOD.to_owned();
            let start = cut.min(changed.len());
            let end = (start + length).min(changed.len());
            prop_assume!(changed.is_char_boundary(start) && changed.is_char_boundary(end));
            changed.replace_range(start..end, &text);
            match Agreement::load_with_plan(&[("a.yaml", &changed)], Some(&plan())) {
                Ok(loaded) => prop_assert!(!loaded.agreement.objectives().is_empty()),
                Err(rejected) => prop_assert!(!rejected.to_string().is_empty()),
            }
        }
    }
}
