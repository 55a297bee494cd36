//! Every code of the linter, each with the place it is reported at: errors by key in `errors`, those of a measure with its
//! target and bands in `measures`, what is legal but unwise in `warnings`.

mod errors;
mod measures;
mod warnings;
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

/// The sample whose second objective is of a duration, with that line of its target and credit.
fn duration(measure: &str, rest: &str) -> String {
    with(32, &format!("  fast: {{service: voice, probe: call, measure: {measure}, {rest}}}"))
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
