use super::*;
use crate::contract::Agreement;
use crate::contract::exclusions::Exclusions;
use crate::contract::period::PeriodLabel;
use crate::sla::verdict::Measured;
use crate::sla::{Question, judge};
use base64::Engine as _;
use probefleet_proto::histogram::Histogram;

const AGREEMENT: &str = r#"
agreement: a
version: 1
kind: sla
level: service
title: A
parties: {provider: {name: P}, customer: {name: C}}
time_zone: Europe/Berlin
currency: EUR
term: {from: 2026-01-01, until: 2029-01-01}
period: day
services: {s: {}}
objectives:
  fast: {service: s, probe: call, measure: {within: 2s, phase: total}, target: ">= 50%", unknown: {coverage: 0%}}
"#;

fn evidence() -> (Agreement, Windows) {
    let agreement = Agreement::load(&[("a.yaml", AGREEMENT)]).expect("valid").agreement;
    let windows = Windows::for_agreement(&agreement);
    (agreement, windows)
}

fn read_text(text: &str) -> Result<Tally, String> {
    let (_, mut windows) = evidence();
    read(&mut windows, "w.jsonl", text.as_bytes()).map_err(|error| error.to_string())
}

/// A line with other keys.
fn line(keys: &str) -> String {
    format!(
        r#"{{"agent":"berlin-1","probe":"call","start":"2026-04-01T00:00:00Z","width_s":60,"interval_s":60,{keys}}}"#
    )
}

#[test]
fn the_line_of_the_language_is_read() {
    let text = r#"{"agent":"berlin-1","labels":{"site":"berlin"},"probe":"call","spec":"9f0c2d","start":"2026-04-01T00:00:00Z","width_s":60,"interval_s":60,"scheduled":1,"ok":1,"failed":{},"invalid":{},"missed":{},"codes":{"sip:200":1},"counters":{},"flags":[],"phases":{"session_request_delay":{"ns":[1830000000]}}}"#;
    let tally = read_text(&format!("{text}\n\n{text}\r\n")).expect("valid");
    assert_eq!(tally, Tally { cells: 2, duplicates: 1, ..Tally::default() });
}

#[test]
fn content_is_compared_whatever_its_order() {
    let a = line(r#""ok":2,"failed":{"timeout":1,"tls":2},"phases":{"total":{"ns":[1,2]}}"#);
    let same = line(
        r#""phases":{"total":{"ns":[2,1]}},"failed":{"tls":2,"timeout":1},"ok":2,"scheduled":5"#,
    );
    let codes = line(
        r#""ok":2,"failed":{"timeout":1,"tls":2},"phases":{"total":{"ns":[1,2]}},"codes":{"200":2}"#,
    );
    let sample = line(r#""ok":2,"failed":{"timeout":1,"tls":2},"phases":{"total":{"ns":[1,3]}}"#);
    let class = line(r#""ok":2,"failed":{"timeout":2,"tls":1},"phases":{"total":{"ns":[1,2]}}"#);
    for (other, duplicates, conflicts) in
        [(&same, 1, 0), (&codes, 0, 1), (&sample, 0, 1), (&class, 0, 1)]
    {
        let tally = read_text(&format!("{a}\n{other}")).expect("valid");
        assert_eq!((tally.duplicates, tally.conflicts), (duplicates, conflicts), "{other}");
    }
}

#[test]
fn lines_that_contradict_themselves_are_refused_with_their_place() {
    for (keys, expected) in [
        (r#""ok":1,"scheduled":2"#, "scheduled is 2, but ok + failed + invalid + missed is 1"),
        (r#""ok":0,"failed":{"bored":1}"#, "`bored` is no name for failed attempts"),
        (r#""ok":0,"failed":{"overrun":1}"#, "`overrun` is no name for failed attempts"),
        (r#""ok":0,"flags":["late"]"#, "`late` is no flag"),
        (r#""ok":-1"#, "invalid value"),
        (r#""ok":1.5"#, "invalid type: floating point"),
        (r#""ok":4294967296"#, "invalid value"),
        (r#""ok":4294967295,"failed":{"tls":1}"#, "too many attempts"),
        (r#""ok":1,"ok":1"#, "duplicate field `ok`"),
        (r#""ok":0,"failed":{"tls":1,"tls":1}"#, "`tls` stands twice"),
        (r#""ok":1,"okay":1"#, "unknown field `okay`"),
        (r#""failed":{}"#, "missing field `ok`"),
        (r#""ok":1,"phases":{"total":{"ns":[1,2]}}"#, "phase `total`: 2 samples of 1 attempts"),
        (r#""ok":1,"phases":{"total":{}}"#, "write either ns, or histogram"),
        (r#""ok":1,"phases":{"total":{"histogram":"!","sum_ns":1}}"#, "phase `total`: histogram"),
        (
            r#""ok":1,"phases":{"total":{"histogram":"AAAA","sum_ns":1}}"#,
            "phase `total`: histogram",
        ),
    ] {
        let error = read_text(&format!("{}\n{}", line(r#""ok":1"#), line(keys))).expect_err(keys);
        assert!(error.starts_with("w.jsonl:2: bad-value: ") && error.contains(expected), "{error}");
    }
    let many = |of: &str| {
        let all: Vec<String> = (0..33).map(|number| of.replace('#', &number.to_string())).collect();
        all.join(",")
    };
    for (keys, expected) in [
        (r#""ok":1,"counters":{"Forked":1}"#.to_owned(), "counter `Forked`: write a-z"),
        (
            r#""ok":0,"invalid":{"shutdown":1},"counters":{"forked":1}"#.to_owned(),
            "no attempt was ok or failed",
        ),
        (r#""ok":1,"counters":{"forked":-1}"#.to_owned(), "invalid value"),
        (format!(r#""ok":1,"counters":{{{}}}"#, many(r#""c#":1"#)), "more than 32 counters"),
        (
            r#""ok":1,"values":{"mos":{"n":[1]}}"#.to_owned(),
            "value `mos`: the name ends with its unit",
        ),
        (
            r#""ok":1,"values":{"mos_centi":{"n":[1,2]}}"#.to_owned(),
            "value `mos_centi`: 2 samples of 1 attempts",
        ),
        (r#""ok":1,"values":{"mos_centi":{"ns":[1]}}"#.to_owned(), "unknown field `ns`"),
        (
            r#""ok":1,"values":{"mos_centi":{}}"#.to_owned(),
            "write either n, or histogram with sum and at_most",
        ),
        (format!(r#""ok":1,"values":{{{}}}"#, many(r#""v#_ppm":{"n":[]}"#)), "more than 8 values"),
    ] {
        let error = read_text(&line(&keys)).expect_err(&keys);
        assert!(error.starts_with("w.jsonl:1: bad-value: ") && error.contains(expected), "{error}");
    }
    for (from, to, expected) in [
        ("T00:00:00Z", "T00:00:30Z", "no multiple of width_s"),
        ("T00:00:00Z", "", "RFC 3339"),
        ("\"width_s\":60", "\"width_s\":0", "are 1 to 86400"),
        ("\"interval_s\":60", "\"interval_s\":86401", "are 1 to 86400"),
        ("berlin-1", "Berlin", "a name is"),
        ("}", "", "EOF"),
        ("}", "} x", "trailing characters"),
    ] {
        let error = read_text(&line(r#""ok":1"#).replace(from, to)).expect_err(expected);
        assert!(error.starts_with("w.jsonl:1: bad-value: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_line_without_end_is_refused() {
    let error = read_text(&" x".repeat(3 << 20)).expect_err("too long");
    assert!(error.contains("longer than 4 MiB"), "{error}");
}

/// A histogram of these samples, as a phase.
fn histogram(samples: &[u64], at_most_ns: &str) -> String {
    let mut histogram = Histogram::default();
    for ns in samples {
        histogram.record(*ns);
    }
    let encoded = base64::engine::general_purpose::STANDARD.encode(histogram.to_hdr_v2());
    let sum: u64 = samples.iter().sum();
    let ok = samples.len();
    line(&format!(
        r#""ok":{ok},"phases":{{"total":{{"histogram":"{encoded}","sum_ns":{sum},"at_most_ns":{at_most_ns}}}}}"#
    ))
}

fn counted(text: &str) -> (u64, u64) {
    let (agreement, mut windows) = evidence();
    read(&mut windows, "w.jsonl", text.as_bytes()).expect("valid");
    let label = PeriodLabel::parse("2026-04-01").expect("a label");
    let question = Question { label, as_of_s: None, signed: false };
    let verdict = judge(&agreement, &windows, &Exclusions::default(), &question)
        .expect("judged")
        .objectives
        .remove(0);
    let Some(Measured::Share(value)) = verdict.value else { panic!("{verdict:?}") };
    (value.numerator, value.numerator_most)
}

/// 2 s lies inside the bucket of 1 999 872 … 2 000 895 µs.
#[test]
fn exact_counters_decide_beside_a_histogram() {
    let samples = [1_000_000_000, 2_000_000_000, 2_000_000_001];
    assert_eq!(counted(&histogram(&samples, r#"{"2000000000":2}"#)), (2, 2));
    assert_eq!(counted(&histogram(&samples, "{}")), (1, 3), "the bucket straddles the threshold");
    assert_eq!(counted(&histogram(&[1_000_000_000, 3_000_000_000], "{}")), (1, 1));
    for bad in [r#"{"2000000000":4}"#, r#"{"2000000000":0}"#, r#"{"2e9":2}"#, r#"{"+1":0}"#] {
        assert!(read_text(&histogram(&samples, bad)).is_err(), "{bad}");
    }
}

/// 1 ns and 2 s: 2 s lie in the bucket of 1 999 634 432 … 2 000 683 007 ns, and 2 h beyond all buckets.
#[test]
fn a_sum_must_be_possible_by_its_histogram() {
    let sums = |samples: &[u64], sum: u128| {
        let written = histogram(samples, "{}");
        let own: u64 = samples.iter().sum();
        let changed = written.replace(&format!("\"sum_ns\":{own}"), &format!("\"sum_ns\":{sum}"));
        read_text(&changed).map(drop)
    };
    let (two_s, two_h) = (2_000_000_000, 7_200_000_000_000);
    for sum in [1_999_634_433, 2_000_000_001, 2_000_683_008] {
        assert_eq!(sums(&[1, two_s], sum), Ok(()), "{sum}");
    }
    for sum in [0, 1_999_634_432, 2_000_683_009] {
        let error = sums(&[1, two_s], sum).expect_err("impossible");
        assert!(error.contains("is no sum that the histogram can have"), "{error}");
    }
    assert_eq!(sums(&[two_h], u128::from(u64::MAX) + 1), Ok(()));
    assert!(sums(&[two_h], 3_500_000_000_000).is_err());
}

#[test]
fn an_ok_attempt_without_a_sample_is_worse_than_any_threshold() {
    assert_eq!(counted(&line(r#""ok":3,"phases":{"total":{"ns":[1,2000000000]}}"#)), (2, 2));
    assert_eq!(counted(&line(r#""ok":3"#)), (0, 0));
}

/// No loss at all is a sample too, in a histogram as well.
#[test]
fn a_value_may_be_a_histogram() {
    let mut histogram = Histogram::default();
    for loss_ppm in [0, 0, 1_000, 1_000_000] {
        histogram.record(loss_ppm);
    }
    let encoded = base64::engine::general_purpose::STANDARD.encode(histogram.to_hdr_v2());
    let with = |rest: &str| {
        line(&format!(r#""ok":4,"values":{{"loss_ppm":{{"histogram":"{encoded}",{rest}}}}}"#))
    };
    let good = with(r#""sum":1001000,"at_most":{"0":2,"999":2,"1000":3}"#);
    assert_eq!(read_text(&good).map(|tally| tally.cells), Ok(1));
    for (rest, expected) in [
        (r#""at_most":{}"#, "sum is missing beside the histogram"),
        (r#""sum":7"#, "sum 7 is no sum that the histogram can have"),
        (r#""sum":1001000,"at_most":{"0":1}"#, "at_most 0 counts 1, but the histogram has 2 to 2"),
        (r#""sum":1001000,"at_most":{"1%":3}"#, "at_most `1%`: write whole numbers"),
        (r#""sum_ns":1001000"#, "unknown field `sum_ns`"),
    ] {
        let error = read_text(&with(rest)).expect_err(rest);
        assert!(error.contains(expected), "{error}");
    }
}

/// Counters and values are content too, in any order, and each in its own place.
#[test]
fn counters_and_values_are_compared() {
    let a = line(
        r#""ok":2,"counters":{"call_attempts":2,"forked":1},"values":{"loss_ppm":{"n":[7,5]},"mos_centi":{"n":[438]}}"#,
    );
    let same = line(
        r#""ok":2,"values":{"mos_centi":{"n":[438]},"loss_ppm":{"n":[5,7]}},"counters":{"forked":1,"call_attempts":2}"#,
    );
    let counter = a.replace("\"forked\":1", "\"forked\":2");
    let value = a.replace("438", "437");
    let name = a.replace("loss_ppm", "lost_ppm");
    for (other, duplicates, conflicts) in
        [(&same, 1, 0), (&counter, 0, 1), (&value, 0, 1), (&name, 0, 1)]
    {
        let tally = read_text(&format!("{a}\n{other}")).expect("valid");
        assert_eq!((tally.duplicates, tally.conflicts), (duplicates, conflicts), "{other}");
    }
}

mod anything {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A line is read or refused, whatever was done to it.
        #[test]
        fn is_read_or_refused(cut in 0_usize..300, length in 0_usize..20, text in "[-a-z0-9.:,{}\\[\\]\"eE+]{0,12}") {
            let mut changed = line(r#""ok":2,"failed":{"tls":1},"flags":["clock"],"phases":{"total":{"ns":[1,2]}},"counters":{"forked":1},"values":{"loss_ppm":{"n":[1,2]}}"#);
            let start = cut.min(changed.len());
            let end = (start + length).min(changed.len());
            changed.replace_range(start..end, &text);
            if let Err(error) = read_text(&changed) {
                prop_assert!(error.starts_with("w.jsonl:1: "));
            }
        }
    }
}
