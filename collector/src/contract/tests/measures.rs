//! Measures with their targets and bands: what is read, and what does not go together.

use super::*;

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
