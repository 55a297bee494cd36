//! SIP calls: a service that keeps thousands of them up, beside SIPp's own calling side, against the same SIPp.

use crate::machine::{MEASURED, Spent, watch};
use crate::table::{Table, figure};
use anyhow::{Context as _, ensure};
use harness::evidence::{Counts, cells, records, reports};
use harness::fleet::Fleet;
use harness::ports::free_port;
use harness::process::{Process, eventually};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// As many probes as a plan may have, each every ten seconds: a thousand calls begin every second.
const PROBES: u64 = 10_000;
/// How long each is up. With the second that an end may take it fits into nine tenths of the interval, which is the longest
/// timeout.
const HOLD: Duration = Duration::from_millis(7_900);
/// Calls a second.
const CALLS_PER_S: u64 = 1_000;
/// The kernel's buffer that SIPp asks for: with the usual one it loses bursts itself.
const BUFFER_BYTES: &str = "4194304";
/// A window and its report.
const REPORTED: Duration = Duration::from_secs(12);

/// The table.
pub fn measure(window: Duration) -> anyhow::Result<Vec<Table>> {
    let mut table = Table::new(
        "SIP calls of 7.9 s by UDP, 1,000 begun a second: what a service costs",
        &["calls/s", "us/call", "busy %", "RSS MiB", "up at once", "failed", "sent again"],
    );
    if !harness::has("sipp") {
        table.skip("everything", "sip-tester");
        return Ok(vec![table]);
    }
    let (spent, up, counts, again) = ours(window)?;
    table.row(
        "probefleet-agent run",
        &[
            figure(spent.rate(), 0),
            figure(spent.us_each(), 1),
            figure(spent.busy_percent(), 1),
            figure(spent.rss_mib(), 1),
            figure(up as f64, 0),
            figure((counts.failed + counts.invalid) as f64, 0),
            figure(again as f64, 0),
        ],
    );
    let (spent, up, failed, again) = sipp(window)?;
    table.row(
        "sipp -sn uac",
        &[
            figure(spent.rate(), 0),
            figure(spent.us_each(), 1),
            figure(spent.busy_percent(), 1),
            figure(spent.rss_mib(), 1),
            figure(up as f64, 0),
            figure(failed as f64, 0),
            figure(again as f64, 0),
        ],
    );
    table.note("run: 10,000 call probes, kernel timestamps, windows, spool with fsync and delivery to a collector included");
    table.note(
        "calls are counted by the SIPp that answers both; it shares its core with the collector",
    );
    Ok(vec![table])
}

/// SIPp that answers; writes down each second what it has counted.
pub struct Answering {
    /// SIPp.
    pub process: Process,
    /// Where it listens.
    pub port: u16,
    dir: tempfile::TempDir,
}

impl Answering {
    /// Starts it, and waits until it counts.
    pub fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let (port, media) = (free_port().to_string(), free_port().to_string());
        let mut command = Command::new("sipp");
        command.args(["-sn", "uas", "-i", "127.0.0.1", "-p", &port, "-mp", &media, "-nostdin"]);
        command.args(["-buff_size", BUFFER_BYTES, "-trace_stat", "-stf", "uas.csv", "-fd", "1"]);
        let process = Process::start_command(tame(command, dir.path()), &dir.path().join("log"));
        let answering = Self { process, port: port.parse()?, dir };
        eventually(Duration::from_secs(10), || answering.counted("CurrentCall"))
            .context("SIPp does not count")?;
        Ok(answering)
    }

    /// The latest figure of a column.
    fn counted(&self, column: &str) -> Option<u64> {
        latest(&self.dir.path().join("uas.csv"), column)
    }

    fn calls(&self) -> u64 {
        self.counted("IncomingCall(C)").unwrap_or_default()
    }
}

fn tame(mut command: Command, dir: &Path) -> Command {
    command.current_dir(dir);
    command
}

/// The latest figure of a column of SIPp's statistics.
fn latest(file: &PathBuf, column: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let mut lines = text.lines().filter(|line| line.ends_with(';'));
    let index = lines.next()?.split(';').position(|name| name == column)?;
    lines.next_back()?.split(';').nth(index)?.parse().ok()
}

fn plan(port: u16) -> String {
    let hold_ms = HOLD.as_millis();
    let probe = |n: u64| {
        format!(
            "  - {{name: call-{n}, every: 10s, timeout: 9s, sip: {{uri: 'sip:{n}@127.0.0.1:{port}', mode: call, hold: {hold_ms}ms}}}}\n"
        )
    };
    format!("probes:\n{}", (0..PROBES).map(probe).collect::<String>())
}

/// The service with a collector.
fn ours(window: Duration) -> anyhow::Result<(Spent, u64, Counts, u64)> {
    let mut sipp = Answering::start()?;
    let mut fleet = Fleet::new(&plan(sipp.port), &[]);
    let collector = fleet.start_collector().agents;
    fleet.add_agent("bench", "bench", &collector, &format!("127.0.0.1:{}", sipp.port));
    let policy = format!("allow: [{{kind: sip, to: ['127.0.0.1:{}']}}]\n", sipp.port);
    std::fs::write(fleet.dir().join("bench/policy.yaml"), policy)?;
    fleet.start_agent_on_core("bench", MEASURED);
    // As many as there will be at once: one hold after the plan has taken effect, and what SIPp still remembers.
    let full = CALLS_PER_S * HOLD.as_secs();
    let begun = eventually(Duration::from_secs(60), || (sipp.calls() > full).then_some(()));
    ensure!(begun.is_some(), "the agent does not call: {} calls", sipp.calls());
    let spent = watch(fleet.agent("bench"), window, || sipp.calls());
    let rate = spent.rate();
    std::thread::sleep(REPORTED);
    let mut sum = Counts::default();
    let mut called = 0;
    for cell in cells(&reports(&records(&fleet.store()))).values() {
        sum.ok += cell.ok;
        sum.failed += cell.failed;
        sum.invalid += cell.invalid;
        called += cell.ok + cell.failed;
    }
    let again = sipp.counted("Retransmissions(C)").unwrap_or_default();
    ensure!(called > 0 && rate > 0.0, "no call was reported");
    let (_, good) = fleet.agent("bench").terminate(Duration::from_secs(20));
    ensure!(good, "the agent did not stop cleanly");
    if let Some(mut collector) = fleet.collector.take() {
        collector.terminate(Duration::from_secs(10));
    }
    sipp.process.terminate(Duration::from_secs(10));
    Ok((spent, (rate * HOLD.as_secs_f64()) as u64, sum, again))
}

/// SIPp's own calling side at the same rate.
fn sipp(window: Duration) -> anyhow::Result<(Spent, u64, u64, u64)> {
    let mut answering = Answering::start()?;
    let dir = tempfile::tempdir()?;
    let calls = CALLS_PER_S * (window.as_secs() + 2 * HOLD.as_secs() + 10);
    let (port, media) = (free_port().to_string(), free_port().to_string());
    let to = format!("127.0.0.1:{}", answering.port);
    let (hold_ms, calls) = (HOLD.as_millis().to_string(), calls.to_string());
    let rate = CALLS_PER_S.to_string();
    let args = [
        "-c",
        "0",
        "sipp",
        "-sn",
        "uac",
        &to,
        "-i",
        "127.0.0.1",
        "-p",
        &port,
        "-mp",
        &media,
        "-nostdin",
        "-r",
        &rate,
        "-m",
        &calls,
        "-d",
        &hold_ms,
        "-l",
        "20000",
        "-buff_size",
        BUFFER_BYTES,
        "-trace_stat",
        "-stf",
        "uac.csv",
        "-fd",
        "1",
    ];
    let mut command = Command::new("taskset");
    command.args(args);
    let mut calling = Process::start_command(tame(command, dir.path()), &dir.path().join("log"));
    let full = CALLS_PER_S * HOLD.as_secs();
    let begun = eventually(Duration::from_secs(60), || (answering.calls() > full).then_some(()));
    ensure!(begun.is_some(), "SIPp does not call");
    let spent = watch(&calling, window, || answering.calls());
    let file = dir.path().join("uac.csv");
    let figure = |column: &str| latest(&file, column).unwrap_or_default();
    let (failed, again) = (figure("FailedCall(C)"), figure("Retransmissions(C)"));
    let up = (spent.rate() * HOLD.as_secs_f64()) as u64;
    calling.kill();
    answering.process.terminate(Duration::from_secs(10));
    Ok((spent, up, failed, again))
}
