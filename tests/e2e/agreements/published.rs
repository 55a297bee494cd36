//! The samples of published agreements.

use super::{Desk, Evidence, instant, seconds};
use harness::root;
use serde_json::{Value, json};

/// A sample of `deploy/agreements`.
fn sample(name: &str) -> String {
    std::fs::read_to_string(root().join("deploy/agreements").join(name)).expect("reads")
}

/// What happened in April: everything worked but for some stretches of minutes, of which each cell says something.
struct April<'a> {
    probe: &'static str,
    /// The first instant of April where the agreement is.
    start: &'a str,
    /// What a cell says that worked.
    good: Value,
    /// Day of April, minutes from its noon on, what their cells say.
    bad: &'a [(i64, i64, Value)],
}

impl April<'_> {
    fn of(&self, evidence: &mut Evidence, agent: &str) {
        evidence.probe = self.probe;
        let start_s = seconds(self.start);
        // Where all is well one attempt a day will do: it holds until the next.
        evidence.interval_s = 86_400;
        for day in 0..30 {
            evidence.cell(agent, start_s + day * 86_400, &self.good);
        }
        for (day, minutes, says) in self.bad {
            let noon_s = start_s + (day - 1) * 86_400 + 43_200;
            evidence.interval_s = 60;
            for minute in 0..*minutes {
                evidence.cell(agent, noon_s + minute * 60, says);
            }
            evidence.interval_s = 86_400;
            evidence.cell(agent, noon_s + minutes * 60, &self.good);
        }
    }
}

/// What the sample says of a month as one agent has seen it.
fn judged(name: &str, april: &April<'_>, words: &str) -> Value {
    let mut evidence = Evidence::new();
    april.of(&mut evidence, "agent-1");
    let desk = Desk::new(&sample(name), &evidence);
    desk.write(
        "x.yaml",
        &format!(
            "exclusions:\n  - {{from: {}, until: {}, reason: force_majeure, approved: true}}\n",
            instant(seconds(april.start) + 20 * 86_400),
            instant(seconds(april.start) + 20 * 86_400 + 5_000 * 60),
        ),
    );
    desk.judge(&format!("--period 2026-04 {words}"))
}

fn down() -> Value {
    json!({"failed": {"timeout": 1}})
}

fn took_ms(ms: u64) -> Value {
    json!({"ok": 1, "phases": {"total": {"ns": [ms * 1_000_000]}}})
}

const UTC: &str = "2026-04-01T00:00:00Z";
const PACIFIC: &str = "2026-04-01T00:00:00-07:00";
const MOUNTAIN: &str = "2026-04-01T00:00:00-06:00";
const EASTERN: &str = "2026-04-01T00:00:00-04:00";

/// Every sample is free of errors, and is among those that are judged below.
#[test]
fn every_sample_is_checked() {
    let folder = std::fs::read_dir(root().join("deploy/agreements")).expect("a folder");
    let mut names: Vec<String> = folder
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("is text"))
        .collect();
    names.sort();
    let desk = Desk::new("", &Evidence::new());
    for name in &names {
        desk.write(name, &sample(name));
        let ran = desk.run(&format!("probefleet-collector contract check {name}"));
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.stderr);
        assert!(include_str!("published.rs").contains(&format!("\"{name}\"")), "{name} is judged");
    }
}

/// Minutes Down of 43,200, and what they cost.
#[test]
fn down_time_costs_what_was_published() {
    for (name, probe, start, minutes, value, payable) in [
        // 10 minutes are 99.976852 %, below 99.99 % but not below 99 %.
        ("aws-compute-region.yaml", "region", UTC, 10, "99.976852%", "500.00"),
        ("aws-compute-region.yaml", "region", UTC, 4, "99.990741%", "0.00"),
        ("aws-compute-region.yaml", "region", UTC, 433, "98.997685%", "1500.00"),
        // 252 minutes are 247.68 beyond the budget of 4.32, which round to 255: two times four hours or fraction.
        ("internet-t1.yaml", "circuit", EASTERN, 252, "99.416667%", "60.00"),
        ("internet-t1.yaml", "circuit", EASTERN, 251, "99.418981%", "30.00"),
        ("lumen-edge.yaml", "host", MOUNTAIN, 4, "99.990741%", "0.00"),
        ("lumen-edge.yaml", "host", MOUNTAIN, 47, "99.891204%", "100.00"),
        ("lumen-edge.yaml", "host", MOUNTAIN, 120, "99.722222%", "500.00"),
    ] {
        let april = April { probe, start, good: took_ms(10), bad: &[(15, minutes, down())] };
        let found = judged(name, &april, "");
        assert_eq!(found["objectives"][0]["value"], value, "{name}: {minutes}");
        assert_eq!(found["credits"]["payable"], payable, "{name}: {minutes}");
    }
}

/// Instances in two zones: three minutes without one of them are no Down time, five without both are 5 of 43,200.
#[test]
fn instances_are_down_together() {
    let mut evidence = Evidence::new();
    let (start_s, minutes) = (seconds(PACIFIC), 43_200);
    evidence.interval_s = 60;
    for (probe, failing) in [("instance-zone-a", 600..608), ("instance-zone-b", 603..608)] {
        evidence.probe = probe;
        for minute in 0..minutes {
            let says = if failing.contains(&minute) { down() } else { took_ms(10) };
            evidence.cell("agent-1", start_s + minute * 60, &says);
        }
    }
    let desk = Desk::new(&sample("google-compute-engine.yaml"), &evidence);
    let found = desk.judge("--period 2026-04");
    assert_eq!(found["objectives"][0]["value"], "99.988426%");
    assert_eq!(found["objectives"][0]["seconds"]["down"], 300);
    assert_eq!(found["credits"]["payable"], "300.00");
}

/// Five minutes in a row with 10 % of 100 requests failed are Down; four are not, and neither are five with 5 %.
#[test]
fn a_minute_is_down_by_its_error_rate() {
    let requests = |failed: u64| json!({"ok": 100 - failed, "failed": {"status": failed}});
    for (minutes, failed, payable) in [(5, 10, "200.00"), (4, 10, "0.00"), (5, 5, "0.00")] {
        let good = json!({"ok": 100});
        let april = April {
            probe: "tables",
            start: PACIFIC,
            good,
            bad: &[(15, minutes, requests(failed))],
        };
        let found = judged("google-bigtable.yaml", &april, "");
        assert_eq!(found["credits"]["payable"], payable, "{minutes} minutes with {failed}");
    }
}

/// 21 minutes Down and 5,000 excluded: 43,179 of 43,200 where they count as Up, 38,179 of 38,200 where they do not.
#[test]
fn two_years_of_one_agreement_differ() {
    for (name, value, payable) in
        [("twilio-2021.yaml", "99.951389%", "0.00"), ("twilio-2023.yaml", "99.945026%", "100.00")]
    {
        let april =
            April { probe: "apis", start: PACIFIC, good: took_ms(10), bad: &[(15, 21, down())] };
        let found = judged(name, &april, "--exclusions x.yaml");
        assert_eq!(found["objectives"][0]["value"], value, "{name}");
        assert_eq!(found["credits"]["payable"], payable, "{name}");
    }
}

/// A month has 8,640 intervals of five minutes. Of minutes in which all of 100 requests fail, five from noon on are one
/// interval: nine such intervals are 99.895833 %.
#[test]
fn error_rates_are_averaged_by_interval() {
    let all_failed = || json!({"failed": {"status": 100}});
    for (minutes, value, payable) in [
        (40, "99.907407%", "0.00"),
        (45, "99.895833%", "300.00"),
        (430, "99.004630%", "300.00"),
        (435, "98.993056%", "750.00"),
    ] {
        let good = json!({"ok": 100});
        let bad = [(15, minutes, all_failed())];
        let found =
            judged("aws-s3.yaml", &April { probe: "objects", start: UTC, good, bad: &bad }, "");
        assert_eq!(found["objectives"][0]["value"], value, "{minutes}");
        assert_eq!(found["credits"]["payable"], payable, "{minutes}");
    }
}

/// The mean of 30 days that all took as long.
#[test]
fn means_cost_by_how_far_they_are_over() {
    for (name, probe, start, ns, payable) in [
        ("level3-delay.yaml", "port", MOUNTAIN, 25_000_000_u64, "0.00"),
        ("level3-delay.yaml", "port", MOUNTAIN, 25_049_999, "0.00"),
        ("level3-delay.yaml", "port", MOUNTAIN, 25_050_000, "140.00"),
        ("level3-delay.yaml", "port", MOUNTAIN, 30_050_000, "280.00"),
        ("level3-delay.yaml", "port", MOUNTAIN, 50_100_000, "1400.00"),
        ("packetfabric-latency.yaml", "link", PACIFIC, 55_000_000, "0.00"),
        ("packetfabric-latency.yaml", "link", PACIFIC, 62_000_000, "200.00"),
        ("packetfabric-latency.yaml", "link", PACIFIC, 101_000_000, "600.00"),
    ] {
        let good = json!({"ok": 1, "phases": {"total": {"ns": [ns]}}});
        let found = judged(name, &April { probe, start, good, bad: &[] }, "");
        assert_eq!(found["credits"]["payable"], payable, "{name}: {ns} ns");
    }
}

/// Shares of attempts.
#[test]
fn attempts_cost_what_was_published() {
    let attempts = |ok: u64, failed: u64| json!({"ok": ok, "failed": {"timeout": failed}});
    for (name, probe, start, ok, failed, payable) in [
        ("uk-call-off.yaml", "desk", "2026-04-01T00:00:00+01:00", 75, 25, "2300.00"),
        ("texas-dir.yaml", "tickets", "2026-04-01T00:00:00-05:00", 98, 2, "2000.00"),
        ("texas-dir.yaml", "tickets", "2026-04-01T00:00:00-05:00", 99, 1, "0.00"),
    ] {
        let april = April { probe, start, good: attempts(ok, failed), bad: &[] };
        assert_eq!(judged(name, &april, "")["credits"]["payable"], payable, "{name}");
    }
}

/// Of 100 requests a month so many are slow.
#[test]
fn slow_requests_break_a_promise() {
    let of = |slow: usize, fast_ns: u64, slow_ns: u64| {
        let ns: Vec<u64> =
            (0..100).map(|number| if number < slow { slow_ns } else { fast_ns }).collect();
        json!({"ok": 100, "phases": {"total": {"ns": ns}}})
    };
    for (slow, payable) in [(5, "0.00"), (6, "700.00")] {
        let good = of(slow, 100_000_000, 100_000_001);
        let found = judged(
            "forcepoint-requests.yaml",
            &April { probe: "filter", start: UTC, good, bad: &[] },
            "",
        );
        assert_eq!(found["credits"]["payable"], payable, "{slow}");
    }
    for (slow, status) in [(1, "met"), (2, "breached")] {
        let good = of(slow, 9_999_999, 10_000_000);
        let found = judged(
            "cosmos-db-reads.yaml",
            &April { probe: "reads", start: UTC, good, bad: &[] },
            "",
        );
        assert_eq!(found["objectives"][1]["status"], status, "{slow}");
    }
}

/// Eleven of twenty probes make a minute Down and a month breached; ten do not, and of nineteen nobody knows.
#[test]
fn probes_decide_together() {
    for (agents, down_ones, status, down_s) in
        [(20, 11, "breached", 60), (20, 10, "met", 0), (19, 19, "inconclusive", 0)]
    {
        let mut evidence = Evidence::new();
        for agent in 0..agents {
            let bad = [(15, 1, down())];
            let bad = if agent < down_ones { &bad[..] } else { &[] };
            April { probe: "query", start: UTC, good: took_ms(100), bad }
                .of(&mut evidence, &format!("agent-{agent}"));
        }
        let found = Desk::new(&sample("icann-dns.yaml"), &evidence).judge("--period 2026-04");
        let service = &found["objectives"][0];
        assert_eq!(
            (&service["status"], &service["seconds"]["down"]),
            (&status.into(), &down_s.into()),
            "{down_ones} of {agents}"
        );
        assert_eq!(found["objectives"][1]["status"], "met", "of all queries few were lost");
    }
}
