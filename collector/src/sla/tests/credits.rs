//! From breaches to money.

use super::*;

const BANDS: &str = "credit: {bands: [{below: 99.95%, rate: 10%}, {below: 99.8%, rate: 25%}, {below: 99%, rate: 50%}]}";

/// The amounts of all lines (`-` for none), the sum and what is payable.
fn money(verdict: &Verdict) -> (Vec<String>, String, String) {
    let currency = &verdict.credits.currency;
    let line = |objective: &ObjectiveVerdict| {
        objective.credit.as_ref().map_or("-".to_owned(), |line| currency.text(&line.amount))
    };
    let lines = verdict.objectives.iter().map(line).collect();
    (lines, currency.text(&verdict.credits.sum), currency.text(&verdict.credits.payable))
}

/// So many Down minutes in April; time that nobody measured is Up, so that the rest need not be written down.
fn judged(objectives: &[(&str, &str)], extra: &str, downs: usize) -> Verdict {
    let kept: Vec<(&str, String)> = objectives
        .iter()
        .map(|(name, keys)| (*name, format!("{keys}, unknown: {{as: up}}")))
        .collect();
    let kept: Vec<(&str, &str)> = kept.iter().map(|(name, keys)| (*name, keys.as_str())).collect();
    let mut bench = Bench::new(agreement(&kept, extra));
    bench.timeline("berlin-1", april() + 20_000 * 60, &"D".repeat(downs));
    bench.ask("2026-04", None)
}

#[test]
fn the_most_severe_band_that_was_passed() {
    let keys = format!(r#"measure: availability, target: ">= 99.95%", {BANDS}"#);
    for (downs, amount) in [
        (21, "-"),
        (22, "1200.00"),
        (86, "1200.00"),
        (87, "3000.00"),
        (432, "3000.00"),
        (433, "6000.00"),
    ] {
        let verdict = judged(&[("a", &keys)], "", downs);
        assert_eq!(money(&verdict).0, [amount], "{downs}");
    }
}

/// 99 % exactly: `at_most` has been passed, `below` has not.
#[test]
fn band_edges_are_read_exactly() {
    for (band, amount) in [("below: 99%", "-"), ("at_most: 99%", "600.00")] {
        let keys = format!(
            r#"measure: availability, target: ">= 99.5%", credit: {{bands: [{{{band}, rate: 5%}}]}}"#
        );
        let verdict = judged(&[("a", &keys)], "", 432);
        assert_eq!(verdict.objectives[0].status, Status::Breached);
        assert_eq!(money(&verdict).0, [amount], "{band}");
    }
}

#[test]
fn only_a_countersigned_contract_has_credits() {
    let keys = r#"measure: availability, target: ">= 99.95%", credit: {flat: 5%}"#;
    for (kind, amount) in [("sla", "600.00"), ("underpinning", "600.00"), ("ola", "-")] {
        let verdict = judged(&[("a", keys)], &format!("kind: {kind}"), 100);
        assert_eq!(money(&verdict).0, [amount], "{kind}");
    }
    let mut bench = Bench::of(&[("a", keys)]);
    bench.timeline("berlin-1", april(), &month_with(0, &"D".repeat(100)));
    let label = PeriodLabel::parse("2026-04").expect("a label");
    let question = Question { label, as_of_s: None, signed: false };
    let verdict =
        judge(&bench.agreement, &bench.windows, &Exclusions::default(), &question).expect("judged");
    assert_eq!(verdict.objectives[0].status, Status::Breached);
    assert_eq!(money(&verdict), (vec!["-".to_owned()], "0.00".to_owned(), "0.00".to_owned()));
}

const TWO: [(&str, &str); 2] = [
    ("first", r#"measure: availability, target: ">= 99.95%", credit: {flat: 10%}"#),
    ("second", r#"measure: success, target: ">= 99.95%", credit: {flat: 25%}"#),
];

fn together(credits: &str) -> (Vec<String>, String, String) {
    money(&judged(&TWO, &format!("credits: {credits}"), 100))
}

#[test]
fn credits_combine_cap_and_fill_in_order() {
    let expected = |lines: [&str; 2], sum: &str, payable: &str| {
        (lines.map(str::to_owned).to_vec(), sum.to_owned(), payable.to_owned())
    };
    assert_eq!(together("{combine: sum}"), expected(["1200.00", "3000.00"], "4200.00", "4200.00"));
    assert_eq!(together("{combine: max}"), expected(["0.00", "3000.00"], "4200.00", "3000.00"));
    assert_eq!(together("{cap: 30%}"), expected(["1200.00", "2400.00"], "4200.00", "3600.00"));
    assert_eq!(
        together("{cap: 30%, priority: [second]}"),
        expected(["600.00", "3000.00"], "4200.00", "3600.00")
    );
    assert_eq!(together("{cap: 5%}"), expected(["600.00", "0.00"], "4200.00", "600.00"));
    assert_eq!(
        together("{minimum: \"4200.00\"}"),
        expected(["1200.00", "3000.00"], "4200.00", "4200.00")
    );
    assert_eq!(together("{minimum: \"4200.01\"}"), expected(["0.00", "0.00"], "4200.00", "0.00"));
    assert_eq!(
        together("{combine: max, cap: 20%}"),
        expected(["0.00", "2400.00"], "4200.00", "2400.00")
    );
}

#[test]
fn of_equal_lines_the_first_in_priority_stays() {
    let equal =
        [TWO[0], ("second", r#"measure: success, target: ">= 99.95%", credit: {flat: 10%}"#)];
    let lines = |credits: &str| money(&judged(&equal, &format!("credits: {credits}"), 100)).0;
    assert_eq!(lines("{combine: max}"), ["1200.00", "0.00"]);
    assert_eq!(lines("{combine: max, priority: [second, first]}"), ["0.00", "1200.00"]);
}

/// The cap is a share of the charges of the services that have a line, each once.
#[test]
fn the_cap_counts_each_service_once() {
    let objectives = [
        TWO[0],
        ("other", r#"service: data, measure: success, target: ">= 99.95%", credit: {flat: 10%}"#),
    ];
    let (lines, _, payable) = money(&judged(&objectives, "credits: {cap: 1%}", 100));
    assert_eq!((lines, payable.as_str()), (vec!["130.00".to_owned(), "0.00".to_owned()], "130.00"));
}

/// From 11 April: 20 of 30 dates. A day is a thirtieth of a month.
#[test]
fn the_base_is_cut_to_the_term() {
    let keys = r#"measure: availability, target: ">= 99.95%", credit: {flat: 10%}"#;
    let verdict = judged(&[("a", keys)], "term: {from: 2026-04-11, until: 2026-05-01}", 100);
    let line = verdict.objectives[0].credit.clone().expect("due");
    let currency = &verdict.credits.currency;
    assert_eq!(
        (currency.text(&line.base), currency.text(&line.amount)),
        ("8000.00".into(), "800.00".into())
    );
    let mut bench = Bench::new(agreement(&[("a", &format!("{keys}, period: day"))], ""));
    bench.timeline("berlin-1", april(), &"D".repeat(1_440));
    let verdict = bench.ask("2026-04-01", None);
    assert_eq!(money(&verdict), (vec!["40.00".to_owned()], "40.00".to_owned(), "40.00".to_owned()));
}

/// A week is seven thirtieths of a month, a quarter is three months.
#[test]
fn the_base_is_that_of_the_period() {
    let keys = r#"measure: success, target: ">= 99.95%", unknown: {as: up}, credit: {flat: 10%}"#;
    for (period, label, amount) in [
        ("week", "2026-W15", "280.00"),
        ("quarter", "2026-Q2", "3600.00"),
        ("year", "2026", "14400.00"),
    ] {
        let mut bench = Bench::new(agreement(&[("a", &format!("{keys}, period: {period}"))], ""));
        bench.timeline("berlin-1", at("2026-04-06T00:00:00+02:00"), "D");
        assert_eq!(money(&bench.ask(label, None)).0, [amount], "{label}");
    }
}

/// 350.00 × 5 % = 17.50 (T24); half a cent goes away from zero, or to the even neighbour.
#[test]
fn lines_are_rounded_once() {
    let keys = r#"measure: availability, target: ">= 99.95%", credit: {flat: 5%}"#;
    let services = |charge: &str| format!("services: {{voice: {{monthly_charge: \"{charge}\"}}}}");
    let amount = |charge: &str, credits: &str| {
        money(&judged(&[("a", keys)], &format!("{}\n{credits}", services(charge)), 100)).0.remove(0)
    };
    assert_eq!(amount("350.00", ""), "17.50");
    assert_eq!(amount("0.10", ""), "0.01");
    assert_eq!(amount("0.10", "credits: {rounding: half_even}"), "0.00");
    assert_eq!(amount("0.30", "credits: {rounding: half_even}"), "0.02");
}
