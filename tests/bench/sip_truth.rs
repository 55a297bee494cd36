//! Delays of SIP calls as the agent reports them, beside the same calls as tcpdump saw them pass: how far they are apart.

mod downloads;
mod wire;

use crate::machine::{MEASURED, watch};
use crate::sip::Answering;
use crate::table::{Table, figure};
use anyhow::{Context as _, ensure};
use downloads::Downloads;
use harness::capture::Capture;
use harness::process::Process;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use wire::Call;

/// Call probes of a plan: with a call of each every [`EVERY`], 500 calls begin a second.
const PROBES: u64 = 50;
/// Time between two calls of a probe.
const EVERY: Duration = Duration::from_millis(100);
/// How long the shortest call is up; each further one is up a millisecond longer, so that they do not end together.
const HOLD_MIN_MS: u64 = 10;
/// Downloads beside the calls: with them there are as many attempts as `try` lets run at once.
const DOWNLOADS: u64 = 14;
/// How long calls are made before the program is watched, and at least as long after it.
const WARM_UP: Duration = Duration::from_millis(200);
/// How long all attempts may take beyond their schedule.
const LATE_MAX: Duration = Duration::from_secs(60);

/// Most that reported delays of 99 of 100 calls may differ from those of their packets.
const LIMIT: Duration = Duration::from_micros(50);
/// The same in a program that is busy with other probes.
const LIMIT_BUSY: Duration = Duration::from_micros(200);

/// What is compared.
const PHASES: [&str; 3] = ["session_request_delay", "time_to_answer", "session_disconnect_delay"];

/// Both tables.
pub fn measure(window: Duration) -> anyhow::Result<Vec<Table>> {
    let quiet = compared(
        "SIP delays as reported, beside their packets: 500 calls a second",
        LIMIT,
        window,
        None,
    )?;
    let downloads = Downloads::start()?;
    let title = "The same, while endless downloads by 14 HTTP probes keep the same program busy";
    let mut busy = compared(title, LIMIT_BUSY, window, Some(&downloads))?;
    busy.note(
        "no stamp: calls of which the kernel did not stamp everything, so that the program had to",
    );
    busy.note("on the loopback tcpdump and the receiver have one stamp of an arrival: what can differ is that of what left,");
    busy.note("whether it is the right packet's, and how the stamps got from the wall clock to the monotonic one");
    Ok(vec![quiet, busy])
}

fn compared(
    title: &str,
    limit: Duration,
    window: Duration,
    downloads: Option<&Downloads>,
) -> anyhow::Result<Table> {
    let columns = [
        "calls",
        "calls/s",
        "busy %",
        "p50 us",
        "p99 us",
        "max us",
        "limit us",
        "no stamp",
        "not compared",
    ];
    let mut table = Table::new(title, &columns);
    if !harness::has("sipp") {
        table.skip("everything", "sip-tester");
        return Ok(table);
    }
    let mut sipp = Answering::start()?;
    let capture = match Capture::start(sipp.port) {
        Ok(capture) => capture,
        Err(needs) => {
            table.skip("everything", needs);
            return Ok(table);
        }
    };
    let (samples, busy_percent) = attempts(&plan(sipp.port, downloads), window)?;
    let captured = capture.finish();
    sipp.process.terminate(Duration::from_secs(10));
    let calls = wire::calls(&captured.datagrams);
    let side_by_side = SideBySide { samples: &samples, calls: &calls, dropped: captured.dropped };
    side_by_side.check()?;
    for phase in PHASES {
        let differences = side_by_side.differences_ns(phase);
        let us = |percent| figure(percentile(&differences, percent) / 1e3, 1);
        let p99_ns = percentile(&differences, 99);
        // Nothing that could be compared keeps no limit either.
        if p99_ns.is_nan() || p99_ns > limit.as_nanos() as f64 {
            table.miss(&format!(
                "{phase}: p99 {:.1} us, limit {} us",
                p99_ns / 1e3,
                limit.as_micros()
            ));
        }
        table.row(
            phase,
            &[
                figure(differences.len() as f64, 0),
                figure(side_by_side.calls_per_s(), 0),
                figure(busy_percent, 0),
                us(50),
                us(99),
                us(100),
                figure(limit.as_micros() as f64, 0),
                figure(side_by_side.without_stamp() as f64, 0),
                figure((samples.len() - differences.len()) as f64, 0),
            ],
        );
    }
    table.note(&side_by_side.note());
    Ok(table)
}

/// Calls that overlap, and downloads that are given up after [`EVERY`], to begin again.
fn plan(port: u16, downloads: Option<&Downloads>) -> String {
    let call = |n: u64| {
        let hold_ms = HOLD_MIN_MS + n;
        format!(
            "  - {{name: call-{n}, every: 10s, timeout: 5s, sip: {{uri: 'sip:{n}@127.0.0.1:{port}', mode: call, hold: {hold_ms}ms}}}}\n"
        )
    };
    let download = |address, n: u64| {
        let every_ms = EVERY.as_millis();
        format!(
            "  - {{name: download-{n}, every: 1s, timeout: {every_ms}ms, http: {{url: 'http://{address}/', expect: {{max_size: 1GiB}}}}}}\n"
        )
    };
    let mut plan = "probes:\n".to_owned();
    plan.extend((0..PROBES).map(call));
    if let Some(Downloads { address, .. }) = downloads {
        plan.extend((0..DOWNLOADS).map(|n| download(address, n)));
    }
    plan
}

/// `try PLAN`: what it says of each call, and how busy its core was.
fn attempts(plan: &str, window: Duration) -> anyhow::Result<(Vec<Value>, f64)> {
    let dir = tempfile::tempdir()?;
    let (file, output) = (dir.path().join("plan.yaml"), dir.path().join("samples.jsonl"));
    std::fs::write(&file, plan)?;
    let each = (window + 2 * WARM_UP).as_millis().div_ceil(EVERY.as_millis());
    let log = dir.path().join("agent.log");
    let mut process = start_try(&file, each, File::create(&output)?, &log);
    std::thread::sleep(WARM_UP);
    let spent = watch(&process, window, || 0);
    // Whether attempts failed stands in their samples: downloads do, by their deadline.
    process.wait(2 * window + LATE_MAX);
    let text = std::fs::read_to_string(&output)?;
    let mut samples: Vec<Value> =
        text.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("its output")?;
    samples.retain(|sample| sample["probe"].as_str().is_some_and(|name| name.starts_with("call")));
    let made = u128::from(PROBES) * each;
    ensure!(
        samples.len() as u128 == made,
        "{} of {made} calls: {}",
        samples.len(),
        process.output()
    );
    Ok((samples, spent.busy_percent()))
}

fn start_try(plan: &Path, each: u128, output: File, log: &Path) -> Process {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(MEASURED.to_string()).arg(harness::program("probefleet-agent"));
    command.arg("try").arg(plan).args(["--format", "json", "--count", &each.to_string()]);
    command.args(["--every", &format!("{}ms", EVERY.as_millis())]);
    Process::start_writing(command, output, log)
}

/// Samples and packets of the same calls.
struct SideBySide<'a> {
    samples: &'a [Value],
    calls: &'a HashMap<String, Call>,
    /// Datagrams that the capture has lost.
    dropped: u64,
}

impl SideBySide<'_> {
    /// Whatever is on one side only has its reason.
    fn check(&self) -> anyhow::Result<()> {
        let reported: HashSet<&str> = self.samples.iter().filter_map(call_id).collect();
        let strangers = self.calls.keys().filter(|call| !reported.contains(call.as_str())).count();
        ensure!(strangers == 0, "{strangers} calls passed that nobody has reported");
        for phase in PHASES {
            let unseen = self.count(phase, |reported, passed| reported && !passed);
            ensure!(
                unseen <= self.dropped,
                "{phase}: {unseen} calls did not pass as reported, and the capture has lost {}",
                self.dropped
            );
            let untold = self.count(phase, |reported, passed| !reported && passed);
            ensure!(
                untold <= self.not_ok(),
                "{phase}: {untold} calls passed and were not reported, {} were not ok",
                self.not_ok()
            );
        }
        Ok(())
    }

    fn count(&self, phase: &str, of: impl Fn(bool, bool) -> bool) -> u64 {
        let both = |sample| {
            (reported_ns(sample, phase).is_some(), self.passed_ns(sample, phase).is_some())
        };
        let matching =
            self.samples.iter().map(both).filter(|(reported, passed)| of(*reported, *passed));
        matching.count() as u64
    }

    fn passed_ns(&self, sample: &Value, phase: &str) -> Option<u64> {
        self.calls.get(call_id(sample)?)?.phase_ns(phase)
    }

    /// Ascending.
    fn differences_ns(&self, phase: &str) -> Vec<u64> {
        let difference =
            |sample| Some(reported_ns(sample, phase)?.abs_diff(self.passed_ns(sample, phase)?));
        let mut differences: Vec<u64> = self.samples.iter().filter_map(difference).collect();
        differences.sort_unstable();
        differences
    }

    /// Calls that were begun a second, by their packets.
    fn calls_per_s(&self) -> f64 {
        let begun = || self.calls.values().filter_map(|call| call.invite_ns);
        let (first, last) = (begun().min().unwrap_or(0), begun().max().unwrap_or(0));
        (begun().count() as f64 - 1.0) / Duration::from_nanos(last - first).as_secs_f64()
    }

    fn not_ok(&self) -> u64 {
        self.samples.iter().filter(|sample| sample["outcome"] != "ok").count() as u64
    }

    /// Calls of which the program has stamped something itself.
    fn without_stamp(&self) -> u64 {
        let stamped = |sample: &&Value| sample["detail"]["timestamps"] != "kernel";
        self.samples.iter().filter(stamped).count() as u64
    }

    fn note(&self) -> String {
        format!(
            "not compared: {} calls were not ok, {} datagrams were lost by the capture; any other reason is an error",
            self.not_ok(),
            self.dropped
        )
    }
}

fn call_id(sample: &Value) -> Option<&str> {
    sample["detail"]["call_id"].as_str()
}

fn reported_ns(sample: &Value, phase: &str) -> Option<u64> {
    sample["phases_ns"][phase].as_u64()
}

/// The least value that so many per cent do not exceed; no number where there is none.
fn percentile(ascending: &[u64], percent: usize) -> f64 {
    let rank = (ascending.len() * percent).div_ceil(100);
    rank.checked_sub(1).map_or(f64::NAN, |index| ascending[index] as f64)
}
