//! Windows that are counted again after a kill, against those of a process that was not killed.

use super::tests::{era, report, sealed_before};
use super::*;
use crate::journal::Journal;
use crate::probe::{Outcome, Sample};
use probefleet_proto::name::{FailureClass, InvalidReason};
use proptest::prelude::*;
use std::path::Path;
use tokio::time::Instant;

const FROM_S: u64 = 1_000;

/// What became of a due attempt before the kill.
#[derive(Clone, Debug)]
enum Became {
    Ended(u64, Sample),
    Missed(MissedReason),
    /// It was in flight, or its result had not landed.
    Lost,
    /// The same, and the agent knew that the window is not to be trusted.
    Stalled,
}

fn became() -> impl Strategy<Value = Became> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Ok),
        2 => proptest::sample::select(FailureClass::ALL).prop_map(Outcome::Failed),
        1 => proptest::sample::select(InvalidReason::ALL).prop_map(Outcome::Invalid),
    ];
    let sample = (outcome, 1..200_u64, 0..200_000_000_u64).prop_map(|(outcome, ms, lag_ns)| {
        let sample = Sample {
            outcome,
            code: (ms % 3 == 0).then(|| format!("{}", 500 + ms % 30).into()),
            phases_ns: vec![("connect".into(), ms), ("total".into(), ms * 1_000_000)],
            counters: vec![("call_attempts", 1), ("retransmissions", ms % 4)],
            values: vec![("mos_centi", 300 + ms)],
            detail: serde_json::Map::new(),
        };
        Became::Ended(lag_ns, sample)
    });
    prop_oneof![
        6 => sample,
        1 => proptest::sample::select(vec![MissedReason::Overrun, MissedReason::Suspended]).prop_map(Became::Missed),
        2 => Just(Became::Lost),
        1 => Just(Became::Stalled),
    ]
}

/// Each due instant of a stretch, in order: the index of its task, and when.
fn instants(era: &Era, from_s: u64, until_s: u64) -> Vec<(usize, u64)> {
    let mut all = Vec::new();
    for (index, task) in era.tasks.iter().enumerate() {
        let mut at_ns = task.grid.at_or_after(from_s * NS_PER_S);
        while at_ns < until_s * NS_PER_S {
            all.push((index, at_ns));
            at_ns += task.grid.every_ns;
        }
    }
    all.sort_by_key(|(index, at_ns)| (*at_ns, *index));
    all
}

fn window_of(at_ns: u64) -> u64 {
    start_s(at_ns / NS_PER_S, 10)
}

fn stall(at_ns: u64) -> Suspect {
    Suspect { window_start_s: window_of(at_ns), flags: 1, stall_ns: at_ns % 1_000 }
}

/// The windows of a process that was told what was lost, in the place of one that was killed.
fn expected(
    era: &Era,
    all: &[((usize, u64), Became)],
    is_sealed: impl Fn(u64, &str) -> bool,
) -> Vec<Sealed> {
    let mut windows = Windows::new(era.window_s, era.plan_hash.clone());
    let mut lost = Vec::new();
    for ((index, at_ns), became) in all {
        let series = &era.tasks[*index].series;
        windows.open(*at_ns);
        if is_sealed(window_of(*at_ns), &series.probe) {
            if matches!(became, Became::Stalled) {
                windows.mark(&stall(*at_ns));
            }
            continue;
        }
        match became {
            Became::Ended(lag_ns, sample) => {
                let window_start_s = windows.started(series, *at_ns);
                windows.ended(series, window_start_s, *lag_ns, sample);
            }
            Became::Missed(reason) => drop(windows.missed(series, *at_ns, *reason)),
            Became::Lost => lost.push((series, at_ns)),
            Became::Stalled => {
                lost.push((series, at_ns));
                windows.mark(&stall(*at_ns));
            }
        }
    }
    for (series, at_ns) in lost {
        windows.missed(series, *at_ns, MissedReason::AgentDown);
    }
    std::iter::from_fn(|| windows.seal_oldest()).collect()
}

/// Windows of a process that was killed at an instant and read its journal, which was written in two lives.
fn rebuilt(
    era: &Era,
    all: &[((usize, u64), Became)],
    (sealed, now_s): (SealedBefore, u64),
) -> Vec<Sealed> {
    let dir = tempfile::tempdir().expect("a folder");
    for life in all.chunks(all.len() / 2 + 1) {
        let mut journal = Journal::open(dir.path(), 1 << 30, |_| true);
        for ((index, at_ns), became) in life {
            let (series, place) = (&era.tasks[*index].series, (window_of(*at_ns), *at_ns));
            match became {
                Became::Ended(lag_ns, sample) => journal.ended(series, place, *lag_ns, sample),
                Became::Missed(reason) => journal.missed(series, place, *reason),
                Became::Lost => {}
                Became::Stalled => journal.suspect(&stall(*at_ns)),
            }
        }
        journal.flush(Instant::now());
    }
    let mut recovery = Recovery::new(vec![era.clone()], sealed, now_s * NS_PER_S);
    drop(Journal::open(dir.path(), 1 << 30, |logged| recovery.note(logged)));
    let (_, mut open) = recovery.open_window();
    let open: Vec<Sealed> = std::iter::from_fn(|| open.seal_oldest()).collect();
    recovery.chain(open).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Wherever the process was killed, and whatever was sealed before: the windows of the journal are those of the
    /// attempts, but for what had not landed, which is missed; and nothing that is sealed is counted again.
    #[test]
    fn windows_are_as_if_there_had_been_no_kill(
        now_s in FROM_S + 1..FROM_S + 45,
        fates in proptest::collection::vec(became(), 60),
        sealed_cells in proptest::sample::select(vec![vec![], vec!["a"], vec!["b"], vec!["a", "b"]]),
    ) {
        let era = era(FROM_S);
        let due = instants(&era, FROM_S, now_s);
        prop_assert!(due.len() <= fates.len());
        let all: Vec<_> = due.into_iter().zip(fates).collect();
        // The first window has a record, unless it is still open.
        let some_sealed = now_s >= FROM_S + 11;
        let sealed = if some_sealed {
            sealed_before(&[report(FROM_S, &sealed_cells)])
        } else {
            sealed_before(&[report(FROM_S - 10, &["a", "b"])])
        };
        let is_sealed = |window_s: u64, probe: &str| {
            some_sealed && window_s == FROM_S && sealed_cells.contains(&probe)
        };
        let with_cells = |windows: Vec<Sealed>| -> Vec<Sealed> {
            windows.into_iter().filter(|window| !window.cells.is_empty()).collect()
        };
        prop_assert_eq!(
            with_cells(rebuilt(&era, &all, (sealed, now_s))),
            with_cells(expected(&era, &all, is_sealed))
        );
    }
}

#[test]
fn what_nobody_planned_or_is_still_to_come_is_passed_over() {
    let era = era(FROM_S);
    let dir = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(dir.path(), 1 << 30, |_| true);
    let (index, at_ns) = instants(&era, FROM_S, FROM_S + 5)[0];
    let series = &era.tasks[index].series;
    let unknown = Arc::new(SeriesSpec { spec: [0; 16], ..SeriesSpec::clone(series) });
    let every_ns = era.tasks[index].grid.every_ns;
    for (series, window_s, at_ns) in [
        (series, FROM_S, at_ns + 1),                  // off the grid
        (&unknown, FROM_S, at_ns),                    // another spec
        (series, FROM_S + 10, at_ns),                 // of another window
        (series, FROM_S + 3, at_ns),                  // of none
        (series, FROM_S, at_ns + 4 * every_ns),       // still to come
        (series, FROM_S - 10, at_ns - 10 * NS_PER_S), // before the plan
    ] {
        journal.missed(series, (window_s, at_ns), MissedReason::Overrun);
    }
    journal.missed(series, (FROM_S, at_ns), MissedReason::Overrun);
    journal.missed(series, (FROM_S, at_ns), MissedReason::Overrun);
    journal.flush(Instant::now());
    let sealed = sealed_before(&[report(FROM_S - 10, &["a", "b"])]);
    let mut recovery = Recovery::new(vec![era], sealed, (FROM_S + 5) * NS_PER_S);
    let mut used = 0;
    drop(Journal::open(dir.path(), 1 << 30, |logged| {
        let of_use = recovery.note(logged);
        used += u32::from(of_use);
        of_use
    }));
    assert_eq!(used, 3, "the same instant twice, and the one that is still to come");
    let window = recovery.open_window().1.seal_oldest().expect("is open");
    let overruns = window.cells.iter().flat_map(|cell| &cell.others);
    let overruns: u32 = overruns.filter(|o| o.name == "overrun").map(|o| o.count).sum();
    assert_eq!(overruns, 1, "is counted once");
}

/// Writes a journal that knows of the first attempt of a window, and nothing else: it was overrun.
fn overrun(dir: &Path, era: &Era, window_start_s: u64) {
    let mut journal = Journal::open(dir, 1 << 30, |_| true);
    let (index, at_ns) = instants(era, window_start_s, window_start_s + 10)[0];
    let place = (window_start_s, at_ns);
    journal.missed(&era.tasks[index].series, place, MissedReason::Overrun);
    journal.flush(Instant::now());
}

/// The account at an instant (Unix s) with what a journal knows, and how many of its entries were of use. Sealed is the
/// window that begins at [`FROM_S`].
fn account(dir: &Path, era: &Era, now_s: u64) -> (Recovery, u32) {
    let sealed = sealed_before(&[report(FROM_S, &["a", "b"])]);
    let mut recovery = Recovery::new(vec![era.clone()], sealed, now_s * NS_PER_S);
    let mut used = 0;
    drop(Journal::open(dir, 1 << 30, |logged| {
        let of_use = recovery.note(logged);
        used += u32::from(of_use);
        of_use
    }));
    (recovery, used)
}

fn missed_for(window: &Sealed, reason: &str) -> u32 {
    let others = window.cells.iter().flat_map(|cell| &cell.others);
    others.filter(|other| other.name == reason).map(|other| other.count).sum()
}

#[test]
fn what_the_journal_knows_is_counted_however_long_the_agent_was_down() {
    let (era, dir) = (era(FROM_S), tempfile::tempdir().expect("a folder"));
    let known_s = FROM_S + 20;
    overrun(dir.path(), &era, known_s);
    let now_s = FROM_S + 3 * AGENT_DOWN_MAX_S;
    let (recovery, used) = account(dir.path(), &era, now_s);
    assert_eq!(used, 1);
    let windows: Vec<Sealed> = recovery.collect();
    let starts: Vec<u64> = windows.iter().map(|window| window.window_start_s).collect();
    let day_s = now_s - AGENT_DOWN_MAX_S;
    assert_eq!(starts[..3], [known_s, day_s, day_s + 10], "nothing else of before that day");
    let due = u32::try_from(instants(&era, known_s, known_s + 10).len()).expect("few");
    assert_eq!(missed_for(&windows[0], "overrun"), 1);
    assert_eq!(missed_for(&windows[0], "agent_down"), due - 1, "the rest of it");
}

#[test]
fn what_is_still_to_come_by_a_clock_that_is_behind_is_kept_for_a_later_start() {
    let (era, dir) = (era(FROM_S), tempfile::tempdir().expect("a folder"));
    overrun(dir.path(), &era, FROM_S + 20);
    let (mut behind, used) = account(dir.path(), &era, FROM_S + 15);
    assert_eq!(used, 1, "or the file is deleted");
    let open = behind.open_window().1.seal_oldest().expect("is open");
    assert_eq!((open.window_start_s, missed_for(&open, "overrun")), (FROM_S + 10, 0));
    assert_eq!(behind.count(), 0);
    let windows: Vec<Sealed> = account(dir.path(), &era, FROM_S + 30).0.collect();
    let overruns: Vec<u32> = windows.iter().map(|window| missed_for(window, "overrun")).collect();
    assert_eq!(overruns, [0, 1]);
}
