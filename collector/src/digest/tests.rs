//! Whoever reads digests finds what whoever reads records finds, and nothing that is damaged is believed.

mod lines;

use super::*;
use crate::contract::Agreement;
use crate::contract::exclusions::{Exclusion, Exclusions, Reason};
use crate::contract::period::{PeriodLabel, Span};
use crate::evaluator::{Docket, add_record};
use crate::sla::evidence::Merged;
use crate::sla::{Added, EvidenceError, Observed, Question, Windows, judge};
use crate::store::StoredRecord;
use lines::{Line, agents, by_hour, lines, row};
use probefleet_proto::hex::hex;
use probefleet_proto::report::Cell;
use proptest::prelude::*;

/// 2026-04-01 in Berlin, s since 1970.
const APRIL_S: u64 = 1_774_994_400;
/// Version 2 of the form.
const GOLDEN: &str = include_str!("../../tests/golden/digest-v2.hex");

/// Everything that a digest must know: time, attempts, thresholds of both kinds, buckets, sums, counters, parts of the day.
const AGREEMENT: &str = r#"
agreement: acme
version: 1
kind: sla
level: service
title: ACME
parties: {provider: {name: P}, customer: {name: C}}
time_zone: Europe/Berlin
currency: EUR
term: {from: 2026-01-01, until: 2029-01-01}
period: day
services: {s: {}}
calendars:
  early: {weekly: {mon-sun: ["00:10-01:45", "02:00-23:00"]}}
objectives:
  up: {service: s, probe: front, measure: availability, target: ">= 99%", outage: {after: 2}, unknown: {coverage: 0%}}
  hours: {service: s, probe: front, measure: availability, target: ">= 99%", hours: early, agents: {site: berlin}, unknown: {coverage: 0%}}
  success: {service: s, probe: front, measure: success, target: ">= 99%", hours: early, unknown: {coverage: 0%}}
  fast: {service: s, probe: front, measure: {within: 25ms, phase: total}, target: ">= 95%", unknown: {coverage: 0%}}
  slow: {service: s, probe: front, measure: {percentile: 95%, phase: total}, target: "<= 30ms", hours: early, unknown: {coverage: 0%}}
  mean: {service: s, probe: front, measure: {mean: total}, target: "<= 30ms", unknown: {coverage: 0%}}
  days: {service: s, probe: front, measure: {good_days: {within: 25ms, phase: total, at: 60%}}, target: ">= 50%", unknown: {coverage: 0%}}
  calls: {service: s, probe: call, measure: {ratio: ser}, target: ">= 50%", unknown: {coverage: 0%}}
  voice: {service: s, probe: call, measure: {within: 4.0, phase: mos_centi}, target: ">= 50%", unknown: {coverage: 0%}}
  loss: {service: s, probe: call, measure: {mean: loss_ppm}, target: "<= 1%", unknown: {coverage: 0%}}
"#;

fn agreement() -> Agreement {
    Agreement::load(&[("acme.yaml", AGREEMENT)]).expect("valid").agreement
}

fn needs(agreement: &Agreement) -> Needs {
    Needs::of([&Windows::for_agreement(agreement).asked()])
}

fn digest_of(
    needs: &Needs,
    (agent, hour_s): (&KnownAgent, u64),
    records: &[StoredRecord],
) -> Vec<u8> {
    let mut draft = [Draft::new(needs, hour_s)];
    records.iter().for_each(|record| add_record(&mut draft, agent, record).expect("fits"));
    draft[0].encode()
}

/// Excluded time that cuts windows and hours.
fn exclusions(cut: Option<(i64, i64)>) -> Exclusions {
    let record = cut.map(|(from, length)| {
        let from_s = APRIL_S.cast_signed() + from;
        let span = Span { from_s, until_s: from_s + length };
        let (reason, approved) = (Reason::Customer, true);
        Exclusion { span, reason, announced_s: None, objectives: Vec::new(), approved }
    });
    Exclusions::of(record.into_iter().collect())
}

/// The bytes of verdicts: of a day, of an open one, and of the day before.
fn verdicts(agreement: &Agreement, windows: &Windows, cut: Option<(i64, i64)>) -> Vec<String> {
    let ask = |(day, as_of_s): (&str, Option<u64>)| {
        let label = PeriodLabel::parse(day).expect("a label");
        let as_of_s = as_of_s.map(u64::cast_signed);
        let question = Question { label, as_of_s, signed: true };
        let verdict = judge(agreement, windows, &exclusions(cut), &question).expect("judged");
        verdict.to_json().to_string()
    };
    let questions =
        [("2026-04-01", None), ("2026-04-01", Some(APRIL_S + 4_230)), ("2026-03-31", None)];
    questions.into_iter().map(ask).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whichever hours are read from digests, and whatever came late, twice or contradicting itself.
    #[test]
    fn digests_and_records_give_the_same_verdicts(
        lines in lines(), mask in any::<u16>(), cut in prop::option::of((-100..20_000_i64, 1..9_000_i64)),
        late in any::<prop::sample::Index>(),
    ) {
        let (agreement, agents) = (agreement(), agents());
        let needs = needs(&agreement);
        let mut from_records = [Windows::for_agreement(&agreement)];
        for (seq, line) in (1..).zip(&lines) {
            add_record(&mut from_records, &agents[line.agent], &line.record(seq)).expect("fits");
        }
        let mut mixed = [Windows::for_agreement(&agreement)];
        for (number, ((agent, hour_s), records)) in by_hour(&lines).into_iter().enumerate() {
            let agent = &agents[agent];
            if mask >> (number % 16) & 1 == 1 {
                let body = digest_of(&needs, (agent, hour_s), &records);
                read(&body, (agent, hour_s, 0), &mut mixed).expect("is whole");
            } else {
                records.iter().for_each(|record| add_record(&mut mixed, agent, record).expect("fits"));
            }
        }
        let expected = verdicts(&agreement, &from_records[0], cut);
        prop_assert_eq!(&expected, &verdicts(&agreement, &mixed[0], cut));
        // Once more, from what was made for that.
        prop_assert_eq!(expected, verdicts(&agreement, &mixed[0], cut));
        // One that contradicts what is known undoes what stretches came to.
        if !lines.is_empty() {
            let told = lines[late.index(lines.len())];
            let other = Line { ok: told.ok + 1, ..told }.record(1_000);
            for windows in [&mut from_records, &mut mixed] {
                add_record(windows, &agents[told.agent], &other).expect("fits");
            }
            prop_assert_eq!(
                verdicts(&agreement, &from_records[0], cut), verdicts(&agreement, &mixed[0], cut)
            );
        }
    }

    /// Nothing that is damaged is taken, and a hostile body with a right check neither panics nor takes more than it is.
    #[test]
    fn damage_is_noticed(lines in lines(), place in any::<prop::sample::Index>(), bits in 1..=u8::MAX) {
        let (agreement, agents) = (agreement(), agents());
        let needs = needs(&agreement);
        for ((agent, hour_s), records) in by_hour(&lines).into_iter().take(2) {
            let place_of = (&agents[agent], hour_s, 0);
            let mut body = digest_of(&needs, (&agents[agent], hour_s), &records);
            let at = place.index(body.len());
            body[at] ^= bits;
            let mut windows = [Windows::for_agreement(&agreement)];
            let refused = read(&body, place_of, &mut windows);
            prop_assert!(matches!(refused, Err(DigestError::Damaged(_))), "{refused:?}");
            prop_assert!(read(&body[..at], place_of, &mut windows).is_err());
            prop_assert!(windows[0].is_empty());

            let said = body.len() - CHECK_BYTES;
            let sealed = check(&body[..said]);
            body.truncate(said);
            body.extend(sealed);
            let _whatever_it_says = read(&body, place_of, &mut windows);
        }
    }
}

/// Records never are; an engine that flags them keeps digests of that, too.
struct Flagged<D>(D, fn(&Observed<'_>) -> bool);

impl<D: Docket> Docket for Flagged<D> {
    fn take(&mut self, observed: &Observed<'_>, cell: &Cell) -> Result<Added, EvidenceError> {
        let Observed { agent, labels, probe, spec, start_s, .. } = *observed;
        let Observed { width_s, interval_s, counts, content, phases, .. } = *observed;
        let flagged = self.1(observed);
        let told = Observed {
            agent,
            labels,
            probe,
            spec,
            start_s,
            width_s,
            interval_s,
            counts,
            flagged,
            content,
            phases,
        };
        self.0.take(&told, cell)
    }
}

#[test]
fn a_flagged_window_counts_for_nothing_in_either() {
    let (agreement, [_, agent]) = (agreement(), agents());
    let needs = needs(&agreement);
    let flagged = |observed: &Observed<'_>| observed.start_s % 1_200 == 0;
    let records = row(0..60);
    let mut from_records = [Flagged(Windows::for_agreement(&agreement), flagged)];
    let mut draft = [Flagged(Draft::new(&needs, APRIL_S), flagged)];
    for record in &records {
        add_record(&mut from_records, &agent, record).expect("fits");
        add_record(&mut draft, &agent, record).expect("fits");
    }
    let mut from_digest = [Windows::for_agreement(&agreement)];
    read(&draft[0].0.encode(), (&agent, APRIL_S, 0), &mut from_digest).expect("is whole");
    for cut in [None, Some((600, 1_234))] {
        let expected = verdicts(&agreement, &from_records[0].0, cut);
        assert!(expected[0].contains("\"flagged\":"), "{}", expected[0]);
        assert_eq!(verdicts(&agreement, &from_digest[0], cut), expected);
    }
}

/// Somebody takes over what a digest says of stretches.
#[derive(Default)]
struct Told(Vec<(i64, usize, u64, Option<Total>, u64)>);

impl Docket for Told {
    fn take(&mut self, _: &Observed<'_>, _: &Cell) -> Result<Added, EvidenceError> {
        Ok(Added::New)
    }

    fn take_over(&mut self, merged: &Merged<'_>) {
        let Merged { start_s, cells, samples, .. } = *merged;
        let histogram = samples.histogram("total").expect("is a histogram");
        let most = samples.at_most("total", 25_000_000).expect("is asked");
        let count = histogram.count();
        self.0.push((start_s, cells, count, samples.total("total"), most.certain.into()));
    }
}

#[test]
fn a_digest_says_what_its_hour_comes_to() {
    let (needs, [_, agent]) = (needs(&agreement()), agents());
    let mut records = row(0..20);
    records.extend(row(21..60));
    // One of them came with another content, too: nobody believes either.
    let told_twice =
        Line { agent: 1, minute: 30, probe: "front", spec: 3, ok: 1, failed: 1, ns: 20_000_000 };
    records.push(told_twice.record(99));
    let mut told = [Told::default()];
    read(&digest_of(&needs, (&agent, APRIL_S), &records), (&agent, APRIL_S, 0), &mut told)
        .expect("is whole");
    let expected = [(0..20_i64), (21..30), (31..60)].map(|minutes| {
        let samples: Vec<u64> = minutes
            .clone()
            .flat_map(|minute| {
                let ns = 20_000_000 + minute.unsigned_abs() * 90_001;
                [ns, ns + 5_000_000]
            })
            .collect();
        let at_most = samples.iter().filter(|ns| **ns <= 25_000_000).count() as u64;
        let sum_ns = samples.iter().map(|ns| u128::from(*ns)).sum();
        let (all, cells) = (samples.len() as u64, minutes.clone().count());
        let total = Some(Total { samples: all, sum_ns });
        (APRIL_S.cast_signed() + minutes.start * 60, cells, all, total, at_most)
    });
    assert_eq!(told[0].0, expected);
}

/// Whoever could write a right check still cannot have a stretch come to what its windows do not.
#[test]
fn a_sum_that_is_not_that_of_its_windows_is_damage() {
    let (agreement, [_, agent]) = (agreement(), agents());
    let records = row(0..60);
    let sound = digest_of(&needs(&agreement), (&agent, APRIL_S), &records);
    let mut contents = Contents::default();
    let place = (&agent, APRIL_S, 0);
    read(&sound, place, std::slice::from_mut(&mut contents)).expect("is whole");
    let first = sound.windows(16).position(|bytes| bytes == contents.0[0]).expect("is in it");
    // Sixty histograms of two samples each, together, take more than a hundred bytes before the first window.
    for at in first - 100..first {
        for bit in 0..8 {
            let mut forged = sound[..sound.len() - CHECK_BYTES].to_vec();
            forged[at] ^= 1 << bit;
            let sealed = check(&forged);
            forged.extend(sealed);
            let refused = read(&forged, place, &mut [Windows::for_agreement(&agreement)]);
            assert!(matches!(refused, Err(DigestError::Damaged(_))), "byte {at}: {refused:?}");
        }
    }
}

/// The contents of cells.
#[derive(Default)]
struct Contents(Vec<[u8; 16]>);

impl Docket for Contents {
    fn take(&mut self, observed: &Observed<'_>, _: &Cell) -> Result<Added, EvidenceError> {
        self.0.push(observed.content);
        Ok(Added::New)
    }
}

#[test]
fn a_digest_holds_for_what_was_asked_and_for_the_labels_of_its_hour() {
    let [moved, stayed] = agents();
    let needs = needs(&agreement());
    let less = Agreement::load(&[("a.yaml", &AGREEMENT.replace("within: 25ms", "within: 26ms"))]);
    let other = self::needs(&less.expect("valid").agreement);
    let hour_s = APRIL_S / HOUR_S * HOUR_S;
    assert_ne!(needs.basis(&stayed, hour_s), other.basis(&stayed, hour_s));
    assert_ne!(needs.basis(&stayed, hour_s), needs.basis(&moved, hour_s), "it moved in that hour");
    assert_eq!(needs.basis(&stayed, hour_s - HOUR_S), needs.basis(&moved, hour_s - HOUR_S));
    assert_ne!(needs.basis(&stayed, hour_s + HOUR_S), needs.basis(&moved, hour_s + HOUR_S));
}

#[test]
fn an_hour_that_is_too_long_has_no_digest() {
    let (needs, [agent, _]) = (needs(&agreement()), agents());
    let line = |number: u64| Line {
        agent: 0,
        minute: 0,
        probe: "front",
        spec: 0,
        ok: 2,
        failed: 0,
        ns: 1_000_000 + number,
    };
    let mut draft = [Draft::new(&needs, APRIL_S)];
    for number in 0..3_u64 {
        add_record(&mut draft, &agent, &line(number).record(number)).expect("fits");
    }
    let two = draft[0].encode();
    let few = digest_of(&needs, (&agent, APRIL_S), &[line(0).record(0), line(1).record(1)]);
    assert!(!two.is_empty() && two.len() == few.len(), "of all that contradict it one is kept");
    assert_eq!(
        read(&[], (&agent, APRIL_S, 0), &mut [Windows::for_agreement(&agreement())]),
        Err(DigestError::TooLong)
    );
}

/// What was written once is read by every later version, or has another number.
#[test]
fn the_golden_digest() {
    let (agreement, [agent, _]) = (agreement(), agents());
    let line = |minute, probe, ok, failed| Line {
        agent: 0,
        minute,
        probe,
        spec: 7,
        ok,
        failed,
        ns: 20_000_000,
    };
    let lines = [
        line(0, "front", 2, 0),
        line(1, "front", 2, 0),
        line(1, "front", 1, 1),
        line(3, "front", 0, 2),
        line(5, "front", 1, 0),
        line(6, "front", 1, 0),
        line(7, "front", 1, 0),
        line(0, "call", 2, 1),
    ];
    let records: Vec<StoredRecord> =
        (1..).zip(&lines).map(|(seq, line)| line.record(seq)).collect();
    let body = digest_of(&needs(&agreement), (&agent, APRIL_S), &records);
    assert_eq!(hex(&body), GOLDEN.trim(), "the form has changed: so must its version");
}
