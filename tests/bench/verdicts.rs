//! Verdicts: a month of an agreement judged from a file, from what a collector holds and from digests, a thousand agreements
//! for now, and how long a collector takes to start.

mod digests;
mod start;

use crate::machine::MEASURED;
use crate::table::{Table, figure};
use anyhow::{Context as _, ensure};
use harness::process::{Process, rss_most_bytes};
use probefleet_collector::contract::Agreement;
use probefleet_collector::contract::exclusions::Exclusions;
use probefleet_collector::contract::period::PeriodLabel;
use probefleet_collector::sla::{
    Counts, Observed, Phases, Question, Total, Windows, Within, judge,
};
use probefleet_proto::histogram::Histogram;
use probefleet_proto::label::Labels;
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// 2026-04-01 in Berlin, s since 1970, and the minutes of that month.
const APRIL_S: i64 = 1_774_994_400;
const MINUTES: i64 = 30 * 24 * 60;
/// Agents of the month, when there is time for it: fewer in a short run.
const AGENTS_MAX: u64 = 50;
/// Every so many minutes one agent misses one attempt, and every agent does in an outage of two.
const FAILED_EVERY: i64 = 97;
const OUTAGE_EVERY: i64 = 10_007;
/// Limits, by what people wait for: a file on their desk, a page, a round of the collector.
const FILE_MAX_S: f64 = 10.0;
const HELD_MAX_MS: f64 = 50.0;
const ROUND_MAX_MS: f64 = 1_000.0;
/// Most memory of a cell of a file, and of everything else.
const CELL_MAX_BYTES: f64 = 64.0;
const REST_MAX_BYTES: f64 = 32.0 * MIB;
const MIB: f64 = 1_048_576.0;
/// Agreements of the round, each of three agents and a month that is half over; ten have their evidence in common, so
/// that the bench has room for it.
const AGREEMENTS: usize = 1_000;
const EVIDENCES: usize = 100;

/// What was promised.
const AGREEMENT: &str = r#"
agreement: bench
version: 1
kind: sla
level: service
title: Bench
parties: {provider: {name: P}, customer: {name: C}}
time_zone: Europe/Berlin
currency: EUR
term: {from: 2026-01-01, until: 2029-01-01}
period: month
services: {web: {title: Web, monthly_charge: "100.00"}}
objectives:
  promise: {service: web, probe: front, credit: {flat: 5%}, KEYS}
"#;

/// Objectives: of time, of attempts, of counted samples, and of samples themselves.
const OBJECTIVES: [(&str, &str); 4] = [
    ("availability", r#"measure: availability, target: ">= 99.9%", outage: {after: 2}"#),
    ("success", r#"measure: success, target: ">= 99%""#),
    ("within 25 ms", r#"measure: {within: 25ms, phase: total}, target: ">= 95%""#),
    ("percentile", r#"measure: {percentile: 95%, phase: total}, target: "<= 30ms""#),
];

/// The text of the agreement with an objective.
fn text(keys: &str) -> String {
    AGREEMENT.replace("KEYS", keys)
}

fn agreement(keys: &str) -> anyhow::Result<Agreement> {
    let loaded = Agreement::load(&[("bench.yaml", &text(keys))]);
    Ok(loaded.map_err(|problems| anyhow::anyhow!("{problems}"))?.agreement)
}

/// Attempts that failed of the one of a minute.
fn failed(agent: u64, minute: i64) -> u32 {
    let outage = minute.rem_euclid(OUTAGE_EVERY) < 2;
    u32::from(outage || (minute + i64::try_from(agent).unwrap_or(0)).rem_euclid(FAILED_EVERY) == 0)
}

/// The duration of the attempt of a minute, ns.
fn took_ns(minute: i64) -> u64 {
    20_000_000 + (minute * 7_919 + 104_729).rem_euclid(9_999_991).unsigned_abs()
}

/// The sample of a cell; `None`: its attempt failed.
struct Sample(Option<u64>);

impl Phases for Sample {
    fn at_most(&self, _: &str, threshold_ns: u64) -> Option<Within> {
        self.0.map(|ns| Within::exactly(u32::from(ns <= threshold_ns)))
    }

    fn histogram(&self, _: &str) -> Option<Cow<'_, Histogram>> {
        let mut histogram = Histogram::new();
        self.0.iter().for_each(|ns| assert!(!histogram.record(*ns), "20 to 30 ms are not clamped"));
        Some(Cow::Owned(histogram))
    }

    fn total(&self, _: &str) -> Option<Total> {
        self.0.map(|ns| Total { samples: 1, sum_ns: ns.into() })
    }

    fn counter(&self, _: &str) -> u64 {
        0
    }
}

/// Adds minutes of some agents.
fn hold(windows: &mut Windows, agents: u64, minutes: i64) -> anyhow::Result<()> {
    let labels = Labels::default();
    for agent in 0..agents {
        let name = format!("agent-{agent:02}");
        for minute in 0..minutes {
            let failed = failed(agent, minute);
            let mut content = [0; 16];
            let ns = (failed == 0).then(|| took_ns(minute));
            content[..8].copy_from_slice(&ns.unwrap_or(0).to_be_bytes());
            windows.add(&Observed {
                agent: &name,
                labels: &labels,
                probe: "front",
                spec: [1; 16],
                start_s: APRIL_S + minute * 60,
                width_s: 60,
                interval_s: 60,
                counts: Counts { ok: 1 - failed, failed, invalid: 0, missed: 0 },
                flagged: false,
                content,
                phases: &Sample(ns),
            })?;
        }
    }
    Ok(())
}

/// The tables.
pub fn measure(window: Duration) -> anyhow::Result<Vec<Table>> {
    let agents = (window.as_secs() * 10).clamp(1, AGENTS_MAX);
    Ok(vec![
        of_a_file(agents)?,
        of_what_is_held(agents, window)?,
        digests::of_digests(agents, window)?,
        of_a_round(window)?,
        start::of_a_start(agents, window)?,
        digests::of_triggers(window)?,
    ])
}

// === from a file ===

fn write(path: &Path, agents: u64) -> anyhow::Result<u64> {
    let mut file = BufWriter::new(File::create(path)?);
    for minute in 0..MINUTES {
        let start = jiff::Timestamp::from_second(APRIL_S + minute * 60)?;
        for agent in 0..agents {
            let (ok, outcome) = match failed(agent, minute) {
                0 => (1, r#""failed":{}"#),
                _ => (0, r#""failed":{"timeout":1}"#),
            };
            let samples = if ok == 1 { took_ns(minute).to_string() } else { String::new() };
            writeln!(
                file,
                r#"{{"agent":"agent-{agent:02}","labels":{{"site":"s{agent}"}},"probe":"front","spec":"9f0c2d","start":"{start}","width_s":60,"interval_s":60,"scheduled":1,"ok":{ok},{outcome},"phases":{{"total":{{"ns":[{samples}]}}}}}}"#
            )?;
        }
    }
    file.flush()?;
    Ok(std::fs::metadata(path)?.len())
}

fn of_a_file(agents: u64) -> anyhow::Result<Table> {
    let folder = tempfile::tempdir()?;
    let (file, contract) = (folder.path().join("w.jsonl"), folder.path().join("bench.yaml"));
    let bytes = write(&file, agents)?;
    std::fs::write(&contract, text(OBJECTIVES[0].1))?;
    let cells = agents as f64 * MINUTES as f64;
    let program = harness::program("probefleet-collector");
    let arguments = ["evaluate", "--period", "2026-04", "--agreement"].map(std::ffi::OsStr::new);
    let mut arguments = arguments.to_vec();
    arguments.extend([contract.as_os_str(), "--windows".as_ref(), file.as_os_str()]);
    let began = Instant::now();
    let log = folder.path().join("log");
    let mut process = Process::start_on_core(MEASURED, &program, &arguments, &log);
    let mut rss = 0;
    while let Some(most) = rss_most_bytes(process.pid()).filter(|most| *most > 0) {
        rss = rss.max(most);
        std::thread::sleep(Duration::from_millis(5));
    }
    let took_s = began.elapsed().as_secs_f64();
    ensure!(process.wait(Duration::from_secs(5)), "evaluate fails: {}", process.output());
    let mut table = Table::new(
        "A month from a file, one core: windows of a minute, an objective of availability",
        &["windows", "MiB of text", "s", "windows/s", "RSS MiB", "B/window"],
    );
    let per_cell = (rss as f64 - REST_MAX_BYTES).max(0.0) / cells;
    table.row(
        &format!("{agents} agents"),
        &[
            figure(cells, 0),
            figure(bytes as f64 / MIB, 0),
            figure(took_s, 2),
            figure(cells / took_s, 0),
            figure(rss as f64 / MIB, 1),
            figure(per_cell, 1),
        ],
    );
    table.note("evaluate, from its start to its end; RSS is the most that it ever had, B/window what of it is above 32 MiB");
    table.note(&format!(
        "limits for {AGENTS_MAX} agents: {FILE_MAX_S} s; {CELL_MAX_BYTES} B a window beside 32 MiB"
    ));
    if took_s > FILE_MAX_S * agents as f64 / AGENTS_MAX as f64 {
        table.miss(&format!("evaluate: {took_s:.2} s for {agents} agents"));
    }
    if per_cell > CELL_MAX_BYTES {
        table.miss(&format!(
            "evaluate: {per_cell:.1} B a window, and {CELL_MAX_BYTES} is the limit"
        ));
    }
    Ok(table)
}

// === from what is held ===

fn verdict(windows: &Windows, agreement: &Agreement, as_of_s: Option<i64>) -> anyhow::Result<()> {
    let label = PeriodLabel::parse("2026-04").map_err(|error| anyhow::anyhow!("{error}"))?;
    let question = Question { label, as_of_s, signed: true };
    let verdict = judge(agreement, windows, &Exclusions::default(), &question)?;
    let objective = verdict.objectives.first().context("an objective")?;
    ensure!(objective.value.is_some() && objective.attempts.failed > 0, "nothing was judged");
    Ok(())
}

fn of_what_is_held(agents: u64, window: Duration) -> anyhow::Result<Table> {
    let mut table = Table::new(
        "The same month from what a collector holds",
        &["windows", "verdicts", "median ms", "ns/window"],
    );
    let cells = agents as f64 * MINUTES as f64;
    for (name, keys) in OBJECTIVES {
        let agreement = agreement(keys)?;
        let mut windows = Windows::for_agreement(&agreement);
        hold(&mut windows, agents, MINUTES)?;
        let times = again(window / 4, || verdict(&windows, &agreement, None))?;
        let median_ms = median_ms(&times);
        table.row(
            name,
            &[
                figure(cells, 0),
                figure(times.len() as f64, 0),
                figure(median_ms, 1),
                figure(median_ms * 1e6 / cells, 1),
            ],
        );
        if median_ms > HELD_MAX_MS * agents as f64 / AGENTS_MAX as f64 {
            table.miss(&format!("a verdict on {name} by {agents} agents: {median_ms:.1} ms"));
        }
    }
    table.note(&format!("limit for {AGENTS_MAX} agents: {HELD_MAX_MS} ms"));
    Ok(table)
}

/// How long each time took, for so long and at least thrice.
fn again(
    window: Duration,
    mut act: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Duration>> {
    let (mut times, began) = (Vec::new(), Instant::now());
    while times.len() < 3 || began.elapsed() < window {
        let one = Instant::now();
        act()?;
        times.push(one.elapsed());
    }
    times.sort();
    Ok(times)
}

fn median_ms(sorted: &[Duration]) -> f64 {
    sorted.get(sorted.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

fn of_a_round(window: Duration) -> anyhow::Result<Table> {
    let agreement = agreement(OBJECTIVES[0].1)?;
    let half = MINUTES / 2;
    let mut all = vec![Windows::for_agreement(&agreement); EVIDENCES];
    all.iter_mut().try_for_each(|windows| hold(windows, 3, half))?;
    let as_of_s = Some(APRIL_S + half * 60);
    let times = again(window, || {
        (0..AGREEMENTS / EVIDENCES).try_for_each(|_| {
            all.iter().try_for_each(|windows| verdict(windows, &agreement, as_of_s))
        })
    })?;
    let median_ms = median_ms(&times);
    let mut table = Table::new(
        "A thousand agreements for now, each of three agents and half a month",
        &["rounds", "median ms", "us/agreement"],
    );
    table.row(
        "1,000 agreements",
        &[
            figure(times.len() as f64, 0),
            figure(median_ms, 0),
            figure(median_ms * 1e3 / AGREEMENTS as f64, 1),
        ],
    );
    table.note(&format!("limit: {ROUND_MAX_MS} ms"));
    if median_ms > ROUND_MAX_MS {
        table.miss(&format!("1,000 agreements: {median_ms:.0} ms"));
    }
    Ok(table)
}
