//! Percentiles and means: worked figures.

mod bands;
mod by_the_book;

use super::*;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

/// A cell whose ok attempts took these; `counted` says whether its thresholds were counted exactly.
struct Each<'a> {
    ns: &'a [u64],
    counted: bool,
}

impl Each<'_> {
    fn buckets(&self) -> Histogram {
        let mut histogram = Histogram::new();
        for ns in self.ns {
            histogram.record(*ns);
        }
        histogram
    }
}

impl Phases for Each<'_> {
    fn at_most(&self, phase: &str, threshold_ns: u64) -> Option<Within> {
        let count = |count: u64| u32::try_from(count).expect("few");
        let exactly = self.ns.iter().filter(|ns| **ns <= threshold_ns).count() as u64;
        let (certain, possible) = self.buckets().count_at_most(threshold_ns);
        let within = if self.counted {
            Within::exactly(count(exactly))
        } else {
            Within { certain: count(certain), possible: count(possible) }
        };
        (phase == "total").then_some(within)
    }

    fn histogram(&self, phase: &str) -> Option<Cow<'_, Histogram>> {
        (phase == "total").then(|| Cow::Owned(self.buckets()))
    }

    fn total(&self, phase: &str) -> Option<Total> {
        let sum_ns = self.ns.iter().copied().map(u128::from).sum();
        (phase == "total").then_some(Total { samples: self.ns.len() as u64, sum_ns })
    }

    fn counter(&self, _: &str) -> u64 {
        0
    }
}

/// An agent's attempts in one window.
#[derive(Clone, Debug, Default)]
struct Attempted {
    agent: String,
    minute: i64,
    ns: Vec<u64>,
    failed: u32,
    /// Ok attempts without a sample of the phase.
    without: u32,
    uncounted: bool,
}

fn attempted(minute: i64, ns: &[u64], failed: u32) -> Attempted {
    Attempted {
        agent: "berlin-1".to_owned(),
        minute,
        ns: ns.to_vec(),
        failed,
        ..Attempted::default()
    }
}

impl Bench {
    fn attempt(&mut self, attempted: &Attempted) {
        let Attempted { agent, minute, ns, failed, without, uncounted } = attempted;
        let ok = u32::try_from(ns.len()).expect("few") + without;
        let labels = Labels::new();
        let observed = Observed {
            agent,
            labels: &labels,
            probe: self.probe,
            spec: [0; 16],
            start_s: april() + minute * 60,
            width_s: 60,
            interval_s: self.interval_s,
            counts: Counts { ok, failed: *failed, ..Counts::default() },
            flagged: false,
            content: [0; 16],
            phases: &Each { ns, counted: !uncounted },
        };
        assert_eq!(self.windows.add(&observed), Ok(Added::New));
    }
}

/// A day on which nothing else is known, judged all the same.
fn day(keys: &str, attempts: &[Attempted]) -> ObjectiveVerdict {
    let keys = format!("{keys}, period: day, unknown: {{coverage: 0%}}");
    let mut bench = Bench::of(&[("fast", &keys)]);
    attempts.iter().for_each(|attempted| bench.attempt(attempted));
    bench.ask("2026-04-01", None).objectives.remove(0)
}

fn percentile(q: &str, target: &str) -> String {
    format!(r#"measure: {{percentile: {q}, phase: total}}, target: "{target}""#)
}

fn mean(target: &str) -> String {
    format!(r#"measure: {{mean: total}}, target: "{target}""#)
}

// === ranks ===

/// T12: ⌈q·n⌉ of n attempts, without a float: 99.9 % of 1000 is 999, not 1000. All but the last are at most 1 s.
#[test]
fn the_rank_is_the_nearest_one() {
    for (q, all, needed) in [
        ("95%", 100, 95),
        ("95%", 60, 57),
        ("95%", 20, 19),
        ("95%", 1, 1),
        ("99%", 368, 365),
        ("99.9%", 1_000, 999),
        ("99.9%", 2_000, 1_998),
        ("7%", 100, 7),
        ("55%", 100, 55),
        ("0.001%", 5, 1),
        ("100%", 50, 50),
    ] {
        for (slow, status) in [(all - needed, Status::Met), (all - needed + 1, Status::Breached)] {
            let mut ns = vec![S; all - slow];
            ns.resize(all, 2 * S);
            let verdict = day(&percentile(q, "<= 1s"), &[attempted(0, &ns, 0)]);
            let expected = format!("{}/{all} of {needed}", all - slow);
            assert_eq!((exact(&verdict), verdict.status), (expected, status), "{q} of {all}");
        }
    }
}

/// T37b, RFC 2681 §4.1: of 100, 110, lost, 90 and 500 ms the median is 110 ms and the 95th percentile the lost one; of
/// 100, 110, lost and 90 the 50th percentile is 100 ms, where a median would be 105.
#[test]
fn lost_attempts_are_infinitely_late() {
    let first = [100 * MS, 110 * MS, 90 * MS, 500 * MS];
    let second = [100 * MS, 110 * MS, 90 * MS];
    for (ns, q, target, expected, status) in [
        (&first[..], "50%", "<= 110ms", "3/5 of 3", Status::Met),
        (&first, "50%", "< 110ms", "2/5 of 3", Status::Breached),
        (&first, "80%", "<= 500ms", "4/5 of 4", Status::Met),
        (&first, "95%", "<= 30d", "4/5 of 5", Status::Breached),
        (&second, "50%", "<= 100ms", "2/4 of 2", Status::Met),
        (&second, "50%", "< 100ms", "1/4 of 2", Status::Breached),
    ] {
        let verdict = day(&percentile(q, target), &[attempted(0, ns, 1)]);
        assert_eq!((exact(&verdict).as_str(), verdict.status), (expected, status), "{q} {target}");
        let lost = q == "95%";
        assert_eq!(value(&verdict) == "timeout", lost, "{q}: {}", value(&verdict));
    }
    let excluded = format!("{}, failures: exclude", percentile("95%", "<= 500ms"));
    let verdict = day(&excluded, &[attempted(0, &first, 1)]);
    assert_eq!((exact(&verdict).as_str(), verdict.status), ("4/4 of 4", Status::Met));
}

/// RFC 2330 §11.3, its sample moved up by six: {4, 13, 13, 10, 24, 1} has 4 at 25 %, 10 at 50 % and 24 at 100 %.
#[test]
fn ties_count_each() {
    for (q, expected) in [
        ("25%", "4ns"),
        ("50%", "10ns"),
        ("51%", "13ns"),
        ("83%", "13ns"),
        ("100%", "24ns"),
        ("1%", "1ns"),
    ] {
        let verdict = day(&percentile(q, "<= 1s"), &[attempted(0, &[4, 13, 13, 10, 24, 1], 0)]);
        assert_eq!(value(&verdict), expected, "{q}");
    }
}

/// The threshold itself is at most the threshold, and not below it.
#[test]
fn at_most_and_below() {
    for (target, ns, status) in [
        ("<= 10ms", 10 * MS, Status::Met),
        ("<= 10ms", 10 * MS + 1, Status::Breached),
        ("< 10ms", 10 * MS - 1, Status::Met),
        ("< 10ms", 10 * MS, Status::Breached),
    ] {
        let verdict = day(&percentile("95%", target), &[attempted(0, &[ns], 0)]);
        assert_eq!(verdict.status, status, "{ns} {target}");
    }
}

/// T14: the average of the two sites' percentiles would be 1.55 s; of all attempts together, rank 1900 of 2000 is 100 ms.
/// The other way round, 500 slow ones of 1 090 are not hidden by nine small sites.
#[test]
fn attempts_are_merged_and_percentiles_never_averaged() {
    let at = |agent: &str, fast: usize, slow: (usize, u64)| {
        let mut ns = vec![100 * MS; fast];
        ns.resize(fast + slow.0, slow.1);
        Attempted { agent: agent.to_owned(), ns, ..Attempted::default() }
    };
    let sites = [at("berlin-1", 949, (51, 3 * S)), at("oslo-1", 1_000, (0, 0))];
    let verdict = day(&percentile("95%", "<= 100ms"), &sites);
    assert_eq!((exact(&verdict).as_str(), verdict.status), ("1949/2000 of 1900", Status::Met));
    // 100 ms lie in the bucket of 99 942 400 … 100 007 935 ns.
    assert_eq!(value(&verdict), "100.007935ms");
    let mut sites = vec![at("berlin-1", 500, (500, 5 * S))];
    sites.extend((0..9).map(|number| at(&format!("small-{number}"), 10, (0, 0))));
    let verdict = day(&percentile("95%", "<= 590ms"), &sites);
    assert_eq!((exact(&verdict).as_str(), verdict.status), ("590/1090 of 1036", Status::Breached));
    assert_eq!(value(&verdict), "5.003804671s");
}

/// Two windows of two agents and two probes are one sample.
#[test]
fn windows_and_probes_are_merged() {
    let keys = format!(
        "probe: [call, ring], {}, period: day, unknown: {{coverage: 0%}}",
        percentile("75%", "<= 3ns")
    );
    let mut bench = Bench::of(&[("fast", &keys)]);
    bench.attempt(&attempted(0, &[1], 0));
    bench.attempt(&attempted(1, &[2], 0));
    bench.probe = "ring";
    bench.attempt(&attempted(0, &[3], 0));
    bench.attempt(&Attempted { agent: "oslo-1".to_owned(), ..attempted(0, &[4], 0) });
    let verdict = bench.ask("2026-04-01", None).objectives.remove(0);
    assert_eq!((exact(&verdict).as_str(), value(&verdict).as_str()), ("3/4 of 3", "3ns"));
}

/// Phases that an attempt did not reach have no sample, which is no reason to leave it out.
#[test]
fn an_ok_attempt_without_a_sample_is_worse_than_any_threshold() {
    let attempts = [Attempted { without: 1, ..attempted(0, &[1, 2, 3], 0) }];
    let verdict = day(&percentile("75%", "<= 3ns"), &attempts);
    assert_eq!((exact(&verdict).as_str(), verdict.status), ("3/4 of 3", Status::Met));
    let verdict = day(&percentile("76%", "<= 3ns"), &attempts);
    assert_eq!((exact(&verdict).as_str(), value(&verdict).as_str()), ("3/4 of 4", "timeout"));
    let verdict = day(&mean("<= 2ns"), &attempts);
    assert_eq!((exact(&verdict).as_str(), verdict.status), ("6/3", Status::Met));
}

/// T39: 43 011 calls of which 2 100 were late or failed; SQL 2 150 of 2 400 within 4 s, where 2 160 are needed.
#[test]
fn the_worked_month_by_ranks() {
    let calls = |late: usize| {
        let mut ns = vec![2_870 * MS; 43_011 - 2_100];
        ns.resize(43_011 - 2_100 + late, 4 * S);
        attempted(0, &ns, 2_100 - u32::try_from(late).expect("few"))
    };
    for late in [0, 900, 2_100] {
        let verdict = day(&percentile("95%", "<= 3s"), &[calls(late)]);
        assert_eq!(
            (exact(&verdict).as_str(), verdict.status),
            ("40911/43011 of 40861", Status::Met)
        );
        assert_eq!(value(&verdict), "2.871001087s");
    }
    let mut ns = vec![3_900 * MS; 2_150];
    ns.resize(2_400, 5 * S);
    let verdict = day(&percentile("90%", "<= 4s"), &[attempted(0, &ns, 0)]);
    assert_eq!((exact(&verdict).as_str(), verdict.status), ("2150/2400 of 2160", Status::Breached));
}

// === what counts ===

/// Attempts in Down time were judged there; failures outside of outages stay.
#[test]
fn down_time_is_not_punished_twice() {
    let timeline = format!("UUDUU{}{}", "D".repeat(100), "U".repeat(1_335));
    let available = r#"measure: availability, target: ">= 99%", outage: {after: 2}, period: day"#;
    let percentile = format!("{}, period: day", percentile("99.9%", "<= 2s"));
    let mean = format!("{}, period: day", mean("<= 2s"));
    for (keys, expected) in [
        (percentile.clone(), "1339/1340 of 1339"),
        (format!("{percentile}, during: always"), "1339/1440 of 1439"),
        (format!("{percentile}, during: always, failures: exclude"), "1339/1339 of 1338"),
        (mean, "1339000000/1339"),
    ] {
        let mut bench = Bench::of(&[("available", available), ("fast", &keys)]);
        bench.timeline("berlin-1", april(), &timeline);
        let verdict = bench.ask("2026-04-01", None).objectives.remove(1);
        assert_eq!(exact(&verdict), expected, "{keys}");
    }
}

#[test]
fn flagged_and_contradictory_cells_have_no_samples() {
    for keys in [percentile("95%", "<= 1s"), mean("<= 1s")] {
        let keys = format!("{keys}, period: day, unknown: {{coverage: 0%}}");
        let mut bench = Bench::of(&[("fast", &keys)]);
        bench.attempt(&attempted(0, &[1], 0));
        bench.timeline("berlin-1", april() + 60, "FF");
        bench.flagged = true;
        bench.cell("berlin-1", april() + 180, Counts { ok: 1, ..Counts::default() }, 60 * S);
        bench.flagged = false;
        for ns in [S, 2 * S] {
            bench.cell("berlin-1", april() + 240, Counts { ok: 1, ..Counts::default() }, ns);
        }
        let verdict = bench.ask("2026-04-01", None).objectives.remove(0);
        let expected = if keys.contains("mean") { "1/1" } else { "1/1 of 1" };
        assert_eq!((exact(&verdict).as_str(), value(&verdict).as_str()), (expected, "1ns"));
    }
}

#[test]
fn too_few_attempts_decide_nothing() {
    for (least, status) in [(4, Status::Met), (5, Status::Inconclusive)] {
        for keys in [percentile("50%", "<= 1s"), mean("<= 1s")] {
            let verdict =
                day(&format!("{keys}, min_attempts: {least}"), &[attempted(0, &[1, 2], 2)]);
            assert_eq!(verdict.status, status, "{keys}");
            let reason = (status == Status::Inconclusive).then_some(Reason::Attempts);
            assert_eq!(verdict.reason, reason);
        }
    }
    // Failures alone are attempts, but no samples.
    let verdict = day(&mean("<= 1s"), &[attempted(0, &[], 3)]);
    assert_eq!((verdict.status, verdict.reason), (Status::Inconclusive, Some(Reason::NoValue)));
    let verdict = day(&percentile("95%", "<= 1s"), &[attempted(0, &[], 3)]);
    assert_eq!((verdict.status, value(&verdict).as_str()), (Status::Breached, "timeout"));
    for keys in [percentile("95%", "<= 1s"), mean("<= 1s")] {
        assert_eq!(day(&keys, &[]).reason, Some(Reason::Attempts));
    }
}

/// The worst agent is the slowest; a timeout is slower than anything.
#[test]
fn each_agent_alone_and_the_slowest_decides() {
    let at = |agent: &str, ns: &[u64], failed| Attempted {
        agent: agent.to_owned(),
        ..attempted(0, ns, failed)
    };
    let each = "vantages: {each: all}";
    for (keys, agents, expected) in [
        (percentile("50%", "<= 1s"), [at("a", &[2 * S], 0), at("b", &[3 * S], 0)], "b"),
        (percentile("50%", "<= 1s"), [at("a", &[2 * S], 0), at("b", &[], 1)], "b"),
        (percentile("50%", "<= 1s"), [at("a", &[2 * S], 0), at("b", &[2 * S], 0)], "a"),
        (percentile("50%", "<= 5s"), [at("a", &[4 * S], 0), at("b", &[3 * S], 0)], "a"),
        (mean("<= 1s"), [at("a", &[2 * S], 0), at("b", &[2 * S + 1], 0)], "b"),
        (mean("<= 1s"), [at("a", &[2 * S], 0), at("b", &[1], 0)], "a"),
    ] {
        let verdict = day(&format!("{keys}, {each}"), &agents);
        assert_eq!(verdict.agent.as_deref(), Some(expected), "{keys}");
    }
}

// === histograms without a counter ===

/// 2 s lie in the bucket of 1 999 634 432 … 2 000 683 007 ns.
#[test]
fn a_threshold_inside_a_bucket_leaves_a_verdict_open_unless_it_does_not_matter() {
    for (ns, status, within) in [
        // Two of three are needed.
        ([S, S, 2 * S], Status::Met, (2, 3)),
        ([S, 2 * S, 3 * S], Status::Inconclusive, (1, 2)),
        ([2 * S + 1, 2 * S + 1, 3 * S], Status::Inconclusive, (0, 2)),
        ([2 * S, 3 * S, 3 * S], Status::Breached, (0, 1)),
        ([S, 2_000_683_008, 3 * S], Status::Breached, (1, 1)),
        ([S, 1_999_634_431, 3 * S], Status::Met, (2, 2)),
    ] {
        let uncounted = Attempted { uncounted: true, ..attempted(0, &ns, 0) };
        let verdict = day(&percentile("60%", "<= 2s"), &[uncounted]);
        assert_eq!(verdict.status, status, "{ns:?}");
        let reason = (status == Status::Inconclusive).then_some(Reason::Resolution);
        assert_eq!(verdict.reason, reason);
        let Some(Measured::Percentile(it)) = verdict.value else { panic!("{ns:?}") };
        assert_eq!((it.good, it.good_most, it.needed), (within.0, within.1, 2), "{ns:?}");
    }
}

// === means ===

#[test]
fn a_mean_is_an_exact_fraction() {
    for (target, ns, expected, shown, status) in [
        ("<= 2ns", &[1, 2, 3][..], "6/3", "2ns", Status::Met),
        ("< 2ns", &[1, 2, 3], "6/3", "2ns", Status::Breached),
        // 5/3 is below 2, though 2 ns are displayed.
        ("< 2ns", &[1, 2, 2], "5/3", "2ns", Status::Met),
        ("<= 1ns", &[1, 1, 2], "4/3", "1ns", Status::Breached),
        ("<= 45ms", &[46_200_000], "46200000/1", "46.2ms", Status::Breached),
        // Half a nanosecond, away from zero.
        ("<= 1s", &[2, 3], "5/2", "3ns", Status::Met),
    ] {
        let verdict = day(&mean(target), &[attempted(0, ns, 7)]);
        assert_eq!(
            (exact(&verdict).as_str(), value(&verdict).as_str(), verdict.status),
            (expected, shown, status),
            "{target} of {ns:?}"
        );
        assert_eq!(verdict.budget_left, None);
    }
}

/// Sums of 64 bits do not do, and histograms even less.
#[test]
fn a_mean_has_no_bounds() {
    let huge = [u64::MAX; 4];
    let attempts = [attempted(0, &huge, 0), attempted(1, &huge, 0)];
    let verdict = day(&mean("<= 1s"), &attempts);
    let sum = u128::from(u64::MAX) * 8;
    assert_eq!(exact(&verdict), format!("{sum}/8"));
}
