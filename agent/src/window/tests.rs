use super::*;
use probefleet_proto::name::FailureClass;
use probefleet_proto::report::{Head, Report, encode};
use proptest::prelude::*;

const WIDTH_S: u32 = 10;

fn series(probe: &str) -> Arc<SeriesSpec> {
    let at_most_ns = [("total", vec![1_000]), ("mos_centi", vec![399])];
    let at_most_ns =
        at_most_ns.into_iter().map(|(name, limits)| (name.to_owned(), limits)).collect();
    Arc::new(SeriesSpec { probe: probe.to_owned(), spec: [1; 16], interval_s: 5, at_most_ns })
}

fn sample(outcome: Outcome) -> Sample {
    let phases_ns = vec![("total".into(), 1_000), ("ring_failed".into(), 7)];
    Sample {
        outcome,
        code: Some("503".into()),
        phases_ns,
        counters: vec![("call_attempts", 1), ("retransmissions", 2), ("established", 0)],
        values: vec![("mos_centi", 399), ("loss_ppm", 1_000)],
        detail: serde_json::Map::new(),
    }
}

fn at(s: u64) -> u64 {
    s * NS_PER_S
}

fn phases(cell: &Cell) -> Vec<(&str, u64)> {
    cell.series.iter().map(|series| (series.phase.as_ref(), series.histogram.count())).collect()
}

#[test]
fn a_sample_belongs_to_the_window_of_its_scheduled_instant() {
    let (mut windows, home) = (Windows::new(WIDTH_S, Vec::new()), series("home"));
    let window = windows.started(&home, at(19) + 999_999_999);
    windows.started(&home, at(20));
    windows.ended(&home, window, 0, &sample(Outcome::Ok));
    assert_eq!(windows.seal(at(21) - 1), None, "sealed one second after the end");
    let sealed = windows.seal(at(21)).expect("due");
    assert_eq!((sealed.window_start_s, sealed.stragglers_follow), (10, false));
    assert_eq!((sealed.cells[0].scheduled, sealed.cells[0].ok), (1, 1));
    assert_eq!(sealed.cells[0].series[1].at_most, [(1_000, 1)]);
}

#[test]
fn stragglers_follow_in_a_report_of_their_own() {
    let (mut windows, home, login) =
        (Windows::new(WIDTH_S, Vec::new()), series("home"), series("login"));
    let first = windows.started(&home, at(10));
    let second = windows.started(&login, at(11));
    windows.ended(&home, first, 0, &sample(Outcome::Ok));
    let sealed = windows.seal(at(21)).expect("due");
    assert_eq!((sealed.cells.len(), sealed.stragglers_follow), (1, true));
    assert_eq!(windows.seal(at(30)), None);
    windows.ended(&login, second, 0, &sample(Outcome::Failed(FailureClass::Timeout)));
    let straggler = windows.seal(at(30)).expect("has arrived");
    assert_eq!((straggler.window_start_s, straggler.cells[0].probe.as_str()), (10, "login"));
    assert!(!straggler.stragglers_follow);
    assert_eq!(windows.seal_oldest(), None);
}

#[test]
fn stragglers_are_gathered_for_a_second() {
    let mut windows = Windows::new(WIDTH_S, Vec::new());
    let probes: Vec<_> = (0..3).map(|n| series(&format!("probe-{n}"))).collect();
    let starts: Vec<u64> = probes.iter().map(|probe| windows.started(probe, at(19))).collect();
    assert_eq!(windows.seal(at(21)).expect("due").cells, []);
    assert_eq!(windows.next_seal_ns(), None, "nothing is here that could be sealed");
    for (probe, start) in probes.iter().zip(&starts).take(2) {
        windows.ended(probe, *start, 0, &sample(Outcome::Ok));
        assert_eq!(windows.seal(at(22) - 1), None, "more may come");
    }
    assert_eq!(windows.next_seal_ns(), Some(at(22)));
    let sealed = windows.seal(at(22)).expect("due");
    assert_eq!((sealed.cells.len(), sealed.stragglers_follow), (2, true));
    assert_eq!(windows.seal(at(25)), None);
    windows.ended(&probes[2], starts[2], 0, &sample(Outcome::Ok));
    let sealed = windows.seal(at(25)).expect("the last report was a while ago");
    assert_eq!((sealed.cells.len(), sealed.stragglers_follow), (1, false));
}

#[test]
fn a_window_without_attempts_is_reported() {
    let mut windows = Windows::new(WIDTH_S, Vec::new());
    windows.open(at(15));
    assert_eq!(windows.next_seal_ns(), Some(at(21)));
    assert_eq!(windows.seal(at(21)).expect("due").cells, []);
}

#[test]
fn phases_hold_what_they_may() {
    let (mut windows, home) = (Windows::new(WIDTH_S, Vec::new()), series("home"));
    let late = START_LAG_MAX_NS + 1;
    for (lag_ns, outcome, expected, kind) in [
        (0, Outcome::Ok, &["start_lag", "total", "ring_failed"][..], None),
        (
            0,
            Outcome::Failed(FailureClass::Status),
            &["start_lag", "ring_failed"],
            Some((OtherKind::Failed, "status")),
        ),
        (
            0,
            Outcome::Invalid(InvalidReason::Shutdown),
            &["start_lag"],
            Some((OtherKind::Invalid, "shutdown")),
        ),
        (late, Outcome::Ok, &["start_lag"], Some((OtherKind::Invalid, "agent_overload"))),
    ] {
        let window = windows.started(&home, at(10));
        windows.ended(&home, window, lag_ns, &sample(outcome));
        let sealed = windows.seal_oldest().expect("open");
        let cell = &sealed.cells[0];
        assert_eq!(phases(cell).iter().map(|(phase, _)| *phase).collect::<Vec<_>>(), expected);
        assert_eq!(cell.others.first().map(|other| (other.kind, other.name.as_str())), kind);
        assert_eq!(sealed.own.start_lag_max_ns, lag_ns);
        assert_eq!(sealed.own.flags, if lag_ns == late { health::LAG } else { 0 });
    }
}

#[test]
fn counters_are_of_every_attempt_that_was_not_spoiled_and_values_of_ok_ones() {
    let (mut windows, home) = (Windows::new(WIDTH_S, Vec::new()), series("home"));
    let late = START_LAG_MAX_NS + 1;
    for (lag_ns, outcome) in [
        (0, Outcome::Ok),
        (0, Outcome::Failed(FailureClass::Timeout)),
        (0, Outcome::Invalid(InvalidReason::LocalNetwork)),
        (late, Outcome::Ok),
        (0, Outcome::Ok),
    ] {
        let window = windows.started(&home, at(10));
        windows.ended(&home, window, lag_ns, &sample(outcome));
    }
    let cell = windows.seal_oldest().expect("open").cells.remove(0);
    let counters: Vec<(&str, u64)> =
        cell.counters.iter().map(|(name, count)| (name.as_ref(), *count)).collect();
    assert_eq!(counters, [("call_attempts", 3), ("retransmissions", 6)]);
    let values: Vec<(&str, u64, u64)> = cell
        .values
        .iter()
        .map(|value| (value.phase.as_ref(), value.histogram.count(), value.sum_ns))
        .collect();
    assert_eq!(values, [("mos_centi", 2, 798), ("loss_ppm", 2, 2_000)]);
    assert_eq!(cell.values[0].at_most, [(399, 2)], "as the agreement needs it");
}

#[test]
fn what_was_open_or_in_flight_while_the_agent_stood_still_is_not_trusted() {
    let (mut windows, home, slow) =
        (Windows::new(WIDTH_S, Vec::new()), series("home"), series("slow"));
    let [first, second, third] = [10, 20, 30].map(|s| windows.started(&home, at(s)));
    windows.started(&slow, at(19));
    for window in [first, second, third] {
        windows.ended(&home, window, 0, &sample(Outcome::Ok));
    }
    let spoiled = windows.suspect(at(30), health::LAG, 5);
    let starts: Vec<u64> = spoiled.iter().map(|suspect| suspect.window_start_s).collect();
    assert_eq!(starts, [10, 30], "nothing of the second was under way any more");
    let flags = [10, 20, 30].map(|s| windows.seal_window(s).expect("open").own);
    assert_eq!(flags.map(|own| (own.flags, own.stall_max_ns)), [(1, 5), (0, 0), (1, 5)]);
    windows.ended(&slow, 10, 0, &sample(Outcome::Failed(FailureClass::Timeout)));
    assert_eq!(windows.seal_window(10).expect("a straggler").own.flags, health::LAG);
}

#[test]
fn windows_with_attempts_that_were_passed_over_or_had_no_socket_say_so() {
    let (mut windows, home) = (Windows::new(WIDTH_S, Vec::new()), series("home"));
    windows.missed(&home, at(10), MissedReason::Suspended);
    windows.missed(&home, at(20), MissedReason::Overrun);
    let window = windows.started(&home, at(21));
    let refused = Sample {
        code: Some("emfile".into()),
        ..sample(Outcome::Invalid(InvalidReason::LocalNetwork))
    };
    windows.ended(&home, window, 0, &refused);
    let own: Vec<Own> = std::iter::from_fn(|| windows.seal_oldest()).map(|s| s.own).collect();
    assert_eq!((own[0].flags, own[0].sockets_refused), (health::SUSPENDED, 0));
    assert_eq!((own[1].flags, own[1].sockets_refused), (0, 1), "the provider is not blamed anyway");
}

#[derive(Clone, Debug)]
enum Step {
    Start(usize),
    Miss(usize),
    End(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_usize).prop_map(Step::Start),
        (0..3_usize).prop_map(Step::Miss),
        (0..9_usize).prop_map(Step::End),
        (1..15_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens in whatever order: every instant is in exactly one cell, cells add up, and none is sealed twice.
    #[test]
    fn every_attempt_is_accounted_for(steps in proptest::collection::vec(step(), 0..200)) {
        let specs = [series("a"), series("b"), series("c")];
        let (mut windows, mut now_ns, mut due) = (Windows::new(WIDTH_S, Vec::new()), at(100), 0_u64);
        let (mut flights, mut sealed) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Start(probe) => {
                    flights.push((probe, windows.started(&specs[probe], now_ns)));
                    due += 1;
                }
                Step::Miss(probe) => {
                    windows.missed(&specs[probe], now_ns, MissedReason::Overrun);
                    due += 1;
                }
                Step::End(index) if index < flights.len() => {
                    let (probe, window) = flights.swap_remove(index);
                    windows.ended(&specs[probe], window, 5, &sample(Outcome::Ok));
                }
                Step::End(_) => {}
                Step::Wait(s) => {
                    now_ns += at(s);
                    sealed.extend(std::iter::from_fn(|| windows.seal(now_ns)));
                }
            }
        }
        for (probe, window) in flights {
            windows.ended(&specs[probe], window, 5, &sample(Outcome::Invalid(InvalidReason::Shutdown)));
        }
        sealed.extend(std::iter::from_fn(|| windows.seal_oldest()));

        let mut seen = std::collections::HashSet::new();
        let mut scheduled = 0;
        for window in sealed {
            let head = Head { window_start_s: window.window_start_s, window_s: window.window_s, ..Head::default() };
            for payload in encode(&head, &window.cells) {
                for cell in Report::decode(&payload).expect("what is sealed can be read").cells {
                    prop_assert!(seen.insert((window.window_start_s, cell.probe.clone())), "sealed twice");
                    scheduled += u64::from(cell.scheduled);
                    let failed = cell.count(OtherKind::Failed);
                    prop_assert_eq!(cell.counter("call_attempts"), u64::from(cell.ok) + failed);
                }
            }
        }
        prop_assert_eq!(scheduled, due);
    }
}
