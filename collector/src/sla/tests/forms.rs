//! Every form of a credit, on a charge of 12,000.00 a month.

use super::*;

/// An availability of which so many minutes of April were Down, and the rest Up.
fn down(minutes: usize, target: &str, credit: &str) -> Verdict {
    let keys = format!(
        "measure: availability, target: \"{target}\", unknown: {{as: up}}, credit: {{{credit}}}"
    );
    let mut bench = Bench::of(&[("a", &keys)]);
    bench.timeline("berlin-1", april() + 14 * 86_400, &"D".repeat(minutes));
    bench.ask("2026-04", None)
}

/// A success of so many failed of a thousand attempts.
fn failed(attempts: u32, target: &str, credit: &str) -> Verdict {
    let keys = format!(
        "measure: success, target: \"{target}\", unknown: {{as: up}}, credit: {{{credit}}}"
    );
    let mut bench = Bench::of(&[("a", &keys)]);
    let counts = Counts { ok: 1_000 - attempts, failed: attempts, ..Counts::default() };
    bench.cell("berlin-1", april(), counts, 1);
    bench.ask("2026-04", None)
}

/// A mean of one sample.
fn mean(ns: u64, credit: &str) -> Verdict {
    let keys = format!(
        "measure: {{mean: total}}, target: \"<= 25ms\", unknown: {{as: up}}, credit: {{{credit}}}"
    );
    let mut bench = Bench::of(&[("a", &keys)]);
    bench.cell("berlin-1", april(), Counts { ok: 1, ..Counts::default() }, ns);
    bench.ask("2026-04", None)
}

/// The amount and the units of the only line.
fn line(verdict: &Verdict) -> (String, String) {
    let Some(line) = &verdict.objectives[0].credit else { return ("-".to_owned(), String::new()) };
    let units = line.units.as_ref().map(number::short).unwrap_or_default();
    (verdict.credits.currency.text(&line.amount), units)
}

fn amount(verdict: &Verdict) -> String {
    line(verdict).0
}

#[test]
fn a_day_is_a_thirtieth_or_one_of_the_periods_dates() {
    for (label, fraction, expected) in [
        ("2026-04", "", "400.00"),
        ("2026-05", "", "400.00"),
        ("2026-05", ", day_fraction: thirtieth", "400.00"),
        ("2026-05", ", day_fraction: actual", "387.10"),
        ("2026-02", ", day_fraction: actual", "428.57"),
    ] {
        let keys = format!(
            "measure: success, target: \">= 99%\", unknown: {{as: up}}, credit: {{days: 1{fraction}}}"
        );
        let mut bench = Bench::of(&[("a", &keys)]);
        let start_s = PeriodLabel::parse(label)
            .expect("a label")
            .span(bench.agreement.zone())
            .expect("in range")
            .from_s;
        bench.cell("berlin-1", start_s, Counts { failed: 1, ..Counts::default() }, 1);
        assert_eq!(amount(&bench.ask(label, None)), expected, "{label}{fraction}");
    }
    // Forty days of a month are a month.
    assert_eq!(amount(&failed(20, ">= 99%", "days: 40")), "12000.00");
}

#[test]
fn so_much_for_each_unit_of_down_time() {
    for (minutes, rest, expected) in [
        (100, "", ("400.00", "1")),
        (240, "", ("400.00", "1")),
        (241, "", ("800.00", "2")),
        (100, ", count: down", ("-", "")),
        (479, ", count: down", ("400.00", "1")),
        (100, ", count: prorata", ("166.67", "0.416667")),
        // 97 minutes are 6.47 quarters of an hour, which are six; 97.5 would be seven.
        (97, ", count: prorata, round: 15m", ("150.00", "0.375")),
        (98, ", count: prorata, round: 15m", ("175.00", "0.4375")),
    ] {
        let credit = format!("per: {{every: 4h, of: downtime, days: 1{rest}}}");
        let found = line(&down(minutes, ">= 99.9%", &credit));
        assert_eq!((found.0.as_str(), found.1.as_str()), expected, "{minutes} {rest}");
    }
    let all = down(100, ">= 99.9%", "per: {every: 1m, of: downtime, rate: 10%}");
    assert_eq!(line(&all), ("12000.00".to_owned(), "100".to_owned()), "at most the base");
}

/// Of 43,200 minutes 0.1 % are 43.2; a hundred are 56.8 more, which are four quarters of an hour begun.
#[test]
fn what_lies_beyond_the_budget() {
    let verdict = down(100, ">= 99.9%", "per: {every: 15m, of: excess_downtime, rate: 5%}");
    assert_eq!(line(&verdict), ("2400.00".to_owned(), "4".to_owned()));
    let verdict =
        down(100, ">= 99.9%", "per: {every: 1h, of: excess_downtime, rate: 5%, count: prorata}");
    assert_eq!(line(&verdict), ("568.00".to_owned(), "0.946667".to_owned()));
}

/// A day allows 8.64 seconds: two minutes on three days and one on a fourth are four failed days.
#[test]
fn days_fail_by_their_own_value() {
    for (of, expected) in [
        ("of: failed_days, days: 1", ("1600.00", "4")),
        ("of: failed_days, every: 3, days: 1", ("800.00", "2")),
        ("of: failed_days, every: 3, rate: 5%, count: down", ("600.00", "1")),
    ] {
        let keys = format!(
            "measure: availability, target: \">= 99.99%\", unknown: {{as: up}}, credit: {{per: {{{of}}}}}"
        );
        let mut bench = Bench::of(&[("a", &keys)]);
        for (day, minutes) in [(2, 2), (9, 2), (10, 2), (20, 1)] {
            bench.timeline("berlin-1", april() + day * 86_400 + 3_600, &"D".repeat(minutes));
        }
        let found = line(&bench.ask("2026-04", None));
        assert_eq!((found.0.as_str(), found.1.as_str()), expected, "{of}");
    }
    // Of attempts, a day without any has no value and does not fail.
    let keys = "measure: success, target: \">= 99%\", unknown: {as: up}, credit: {per: {of: failed_days, days: 1}}";
    let mut bench = Bench::of(&[("a", keys)]);
    for (day, ok, failed) in [(0, 99, 1), (1, 98, 2), (2, 0, 1)] {
        bench.cell(
            "berlin-1",
            april() + day * 86_400,
            Counts { ok, failed, ..Counts::default() },
            1,
        );
    }
    assert_eq!(line(&bench.ask("2026-04", None)), ("800.00".to_owned(), "2".to_owned()));
}

/// T24: a UK call-off credits the points missed; ten for each point are 15 % of 98.4 against 99.9 %.
#[test]
fn points_for_points() {
    assert_eq!(amount(&failed(250, ">= 98%", "linear: 1")), "2760.00");
    assert_eq!(amount(&failed(16, ">= 99.9%", "linear: 10")), "1800.00");
    assert_eq!(amount(&failed(250, ">= 98%", "linear: 10")), "12000.00", "at most the base");
    let isa = down(10_800, ">= 98%", "linear: 1");
    assert_eq!(amount(&isa), "2760.00", "of time it is the same");
}

/// T24: whole points begun, or whole points completed.
#[test]
fn bands_on_what_was_missed() {
    let begun = "by: excess, bands: [{above: 0%, rate: 10%}, {above: 1%, rate: 20%}, {above: 2%, rate: 30%}]";
    let done = "by: excess, bands: [{at_least: 1%, rate: 10%}, {at_least: 2%, rate: 20%}]";
    for (attempts, credit, expected) in [
        (16, begun, "2400.00"),
        (11, begun, "1200.00"),
        (16, done, "1200.00"),
        (11, done, "1200.00"),
        (10, done, "-"),
        (21, done, "2400.00"),
    ] {
        assert_eq!(amount(&failed(attempts, ">= 99.9%", credit)), expected, "{attempts} {credit}");
    }
}

/// Level 3: "0.1–5 ms 10 %, 5.1–10 ms 20 %" has no gap on a grid of 0.1 ms.
#[test]
fn an_excess_is_rounded_half_up_before_it_is_banded() {
    let credit = "by: excess, precision: 0.1ms, bands: [{at_least: 0.1ms, rate: 10%}, {at_least: 5.1ms, rate: 20%}]";
    for (ns, expected) in [
        (25_049_999, "-"),
        (25_050_000, "1200.00"),
        (30_049_999, "1200.00"),
        (30_050_000, "2400.00"),
    ] {
        let verdict = mean(ns, credit);
        assert_eq!(verdict.objectives[0].status, Status::Breached);
        assert_eq!(amount(&verdict), expected, "{ns}");
    }
    let above = "by: excess, precision: 0.1ms, bands: [{above: 5ms, rate: 20%}]";
    assert_eq!(
        (amount(&mean(30_049_999, above)), amount(&mean(30_050_000, above))),
        ("-".to_owned(), "2400.00".to_owned())
    );
}

/// By how many per cent of the target it is over, as one carrier's latency is priced.
#[test]
fn bands_on_the_excess_as_a_share_of_the_target() {
    let credit = "by: excess_ratio, bands: [{above: 10%, rate: 10%}, {at_least: 100%, rate: 60%}]";
    for (ns, expected) in [
        (27_500_000, "-"),
        (27_500_001, "1200.00"),
        (49_999_999, "1200.00"),
        (50_000_000, "7200.00"),
    ] {
        assert_eq!(amount(&mean(ns, credit)), expected, "{ns}");
    }
    let valid = agreement(
        &[(
            "a",
            "measure: success, target: \">= 1%\", credit: {by: excess_ratio, bands: [{above: 1%, rate: 1%}]}",
        )],
        "",
    );
    let text = valid.texts()[0].replace(">= 1%", ">= 0%");
    let rejected = Agreement::load(&[("a.yaml", &text)]).expect_err("nothing is a share of zero");
    assert!(rejected.to_string().contains("excess-of-zero-target"), "{rejected}");
}

/// Lumen: by cumulative Down time.
#[test]
fn bands_by_down_time() {
    let credit = "by: downtime, bands: [{at_least: 5m, rate: 10%}, {at_least: 30m, rate: 20%}, {above: 59m, rate: 50%}, {at_least: 2h, rate: 100%}]";
    for (minutes, expected) in [
        (4, "-"),
        (5, "1200.00"),
        (29, "1200.00"),
        (47, "2400.00"),
        (59, "2400.00"),
        (60, "6000.00"),
        (120, "12000.00"),
    ] {
        let verdict = down(minutes, ">= 100%", credit);
        assert_eq!(verdict.objectives[0].status, Status::Breached, "{minutes}");
        assert_eq!(amount(&verdict), expected, "{minutes}");
    }
}

/// T24: 5 % of 350.00 are 17.50. An amount is for the whole period, however much of it lies in the term.
#[test]
fn what_a_share_is_taken_of() {
    for (base, expected) in [
        ("{amount: \"350.00\"}", "17.50"),
        ("monthly_charge", "600.00"),
        ("{greater_of: [monthly_charge, {amount: \"1400.00\"}]}", "600.00"),
        ("{greater_of: [monthly_charge, {amount: \"14000.00\"}]}", "700.00"),
    ] {
        assert_eq!(
            amount(&failed(20, ">= 99%", &format!("flat: 5%, base: {base}"))),
            expected,
            "{base}"
        );
    }
    let half = "term: {from: 2026-04-16, until: 2029-01-01}";
    for (base, expected) in [("", "300.00"), (", base: {amount: \"350.00\"}", "17.50")] {
        let keys = format!(
            "measure: success, target: \">= 99%\", unknown: {{as: up}}, credit: {{flat: 5%{base}}}"
        );
        let mut bench = Bench::new(agreement(&[("a", &keys)], half));
        bench.cell("berlin-1", april() + 20 * 86_400, Counts { failed: 1, ..Counts::default() }, 1);
        assert_eq!(amount(&bench.ask("2026-04", None)), expected);
    }
}

/// T38: thirty days after April end with 30 May; half a day later, with 31 May.
#[test]
fn a_claim_has_until_the_end_of_a_local_day() {
    for (claim, until) in [
        ("automatic", None),
        ("{within: 30d, from: period_end}", Some("2026-05-31T00:00:00+02:00")),
        ("{within: 732h, from: period_end}", Some("2026-06-01T00:00:00+02:00")),
    ] {
        let keys = "measure: success, target: \">= 99%\", unknown: {as: up}, credit: {flat: 5%}";
        let mut bench =
            Bench::new(agreement(&[("a", keys)], &format!("credits: {{claim: {claim}}}")));
        let open = bench.ask("2026-04", None).credits.claim_until_s;
        assert_eq!(open, None, "nothing is payable");
        bench.cell("berlin-1", april(), Counts { failed: 1, ..Counts::default() }, 1);
        assert_eq!(bench.ask("2026-04", None).credits.claim_until_s, until.map(at), "{claim}");
    }
}

/// On the third day a hundred minutes are Down: more than the month's 43.2, so that what is due is certain.
#[test]
fn an_open_period_projects_every_form() {
    for (minutes, credit, expected, next) in [
        (43, "days: 1", "-", Some(("1 day", 13))),
        (100, "days: 1", "400.00", None),
        (43, "per: {every: 4h, of: downtime, days: 1}", "-", None),
        (300, "per: {every: 4h, of: downtime, days: 1}", "800.00", None),
        (100, "per: {every: 15m, of: excess_downtime, rate: 5%}", "2400.00", None),
        (100, "linear: 1", "15.78", None),
        (
            100,
            "by: downtime, bands: [{at_least: 1h, rate: 5%}, {at_least: 2h, rate: 10%}]",
            "600.00",
            Some(("10%", 1_200)),
        ),
    ] {
        let keys = format!("measure: availability, target: \">= 99.9%\", credit: {{{credit}}}");
        let mut bench = Bench::of(&[("a", &keys)]);
        bench.timeline(
            "berlin-1",
            april(),
            &format!("{}{}", "D".repeat(minutes), "U".repeat(4_320 - minutes)),
        );
        let verdict = bench.ask("2026-04", Some("2026-04-04T00:00:00+02:00"));
        assert_eq!(amount(&verdict), expected, "{minutes} {credit}");
        let found = verdict.objectives[0].next_band.as_ref().map(|band| {
            let verdict::Distance::Seconds(away) = band.away else { panic!("is of time") };
            (crate::verdict::words::next_band_text(&verdict.objectives[0], band), away)
        });
        assert_eq!(found.as_ref().map(|(_, away)| *away), next.map(|(_, away)| away), "{credit}");
        if let Some(((text, _), (worth, _))) = found.zip(next) {
            assert!(text.starts_with(&format!("{worth} when ")), "{text}");
        }
    }
}
