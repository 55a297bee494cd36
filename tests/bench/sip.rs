//! SIP calls: a service that keeps thousands of them up, beside SIPp's own calling side, against the same SIPp.

use crate::machine::{MEASURED, Spent, watch};
use crate::table::{Figure, Table, figure};
use anyhow::{Context as _, ensure};
use harness::evidence::{Counts, cells, records, reports};
use harness::fleet::Fleet;
use harness::ports::free_port;
use harness::process::{Process, eventually};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A plan has a timeout of nine tenths of its interval at most, and a second of it is kept for the end of a call: calls of
/// ten seconds fit into thirteen, and 13,000 probes of thirteen seconds are a thousand calls a second.
const PROBES: u64 = 13_000;
/// How often each calls.
const EVERY: Duration = Duration::from_secs(13);
/// How long it may take.
const TIMEOUT: Duration = Duration::from_millis(11_500);
/// How long each is up.
const HOLD: Duration = Duration::from_secs(10);
/// Calls a second.
const CALLS_PER_S: u64 = 1_000;
/// The kernel's buffer that SIPp asks for: with the usual one it loses bursts itself.
const BUFFER_BYTES: &str = "4194304";
/// A window and its report.
const REPORTED: Duration = Duration::from_secs(12);
/// What is asked of the service, per cent of a core.
const BUSY_MAX: f64 = 25.0;
/// What is asked of it, MiB.
const RSS_MAX: f64 = 200.0;

/// The table.
pub fn measure(window: Duration) -> anyhow::Result<Vec<Table>> {
    let mut table = Table::new(
        "SIP calls of 10 s by UDP, 1,000 begun a second: what a service costs",
        &[
            "calls/s",
            "us/call",
            "busy %",
            "RSS MiB",
            "up at once",
            "failed",
            "missed",
            "sent again",
        ],
    );
    if !harness::has("sipp") {
        table.skip("everything", "sip-tester");
        return Ok(vec![table]);
    }
    let ours = ours(window)?;
    table.row("probefleet-agent run", &ours.figures());
    table.row("sipp -sn uac", &sipp(window)?.figures());
    table.note("run: 13,000 call probes, kernel timestamps, windows, spool with fsync and delivery to a collector included");
    table.note(
        "its environment is that of deploy/probefleet-agent.service: memory in pages of 2 MiB",
    );
    table.note("calls are counted by the SIPp that answers; it shares its core with the collector");
    table.note(&format!("limits of the service: {BUSY_MAX} % of a core, {RSS_MAX} MiB"));
    for (what, figure, most) in [
        ("busy %", ours.spent.busy_percent(), BUSY_MAX),
        ("RSS MiB", ours.spent.rss_mib(), RSS_MAX),
    ] {
        if figure > most {
            table.miss(&format!(
                "probefleet-agent run: {what} {figure:.1}, and {most} is the limit"
            ));
        }
    }
    Ok(vec![table])
}

/// What a caller did, and what became of its calls.
#[derive(Debug)]
struct Called {
    spent: Spent,
    /// Most calls that were up at once, as the other side counted.
    up: u64,
    /// Calls that were no success.
    failed: u64,
    /// Calls that were due and never made.
    missed: u64,
    /// Messages that the other side had to send again.
    again: u64,
}

impl Called {
    fn figures(&self) -> [Option<Figure>; 8] {
        let count = |count: u64| figure(count as f64, 0);
        [
            figure(self.spent.rate(), 0),
            figure(self.spent.us_each(), 1),
            figure(self.spent.busy_percent(), 1),
            figure(self.spent.rss_mib(), 1),
            count(self.up),
            count(self.failed),
            count(self.missed),
            count(self.again),
        ]
    }
}

/// SIPp that answers; each second it writes down what it has counted, by message.
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
        command.args(["-buff_size", BUFFER_BYTES, "-trace_counts", "-fd", "1"]);
        let process = Process::start_command(tame(command, dir.path()), &dir.path().join("log"));
        let answering = Self { process, port: port.parse()?, dir };
        eventually(Duration::from_secs(10), || answering.counts().into_iter().next())
            .context("SIPp does not count")?;
        Ok(answering)
    }

    /// All rows so far.
    fn counts(&self) -> Vec<Counted> {
        let files = std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten();
        let mut files = files.map(|file| file.path());
        let file = files.find(|path| path.to_string_lossy().ends_with("_counts.csv"));
        file.and_then(|file| Counted::rows(&file)).unwrap_or_default()
    }

    fn calls(&self) -> u64 {
        self.counts().last().map_or(0, |row| row.invites)
    }

    /// How many calls have begun, at the moment when that is written down next: between two of those it says nothing.
    fn calls_by_then(&self) -> u64 {
        let known = self.counts().len();
        eventually(Duration::from_secs(5), || (self.counts().len() > known).then_some(()));
        self.calls()
    }

    /// Most calls at once that were answered and not ended.
    fn up(&self) -> u64 {
        let up = |row: Counted| row.acknowledged.saturating_sub(row.ended);
        self.counts().into_iter().map(up).max().unwrap_or_default()
    }

    fn again(&self) -> u64 {
        self.counts().last().map_or(0, |row| row.again)
    }
}

/// What SIPp had counted at one moment.
#[derive(Clone, Copy, Debug)]
struct Counted {
    invites: u64,
    acknowledged: u64,
    ended: u64,
    /// What it had to send again.
    again: u64,
}

impl Counted {
    fn rows(file: &Path) -> Option<Vec<Self>> {
        let text = std::fs::read_to_string(file).ok()?;
        let mut lines = text.lines().filter(|line| line.ends_with(';'));
        let heads: Vec<&str> = lines.next()?.split(';').collect();
        let sum = |row: &[&str], end: &str| -> u64 {
            let cells = heads.iter().zip(row).filter(|(head, _)| head.ends_with(end));
            cells.filter_map(|(_, cell)| cell.parse::<u64>().ok()).sum()
        };
        let rows = lines.map(|line| {
            let row: Vec<&str> = line.split(';').collect();
            Self {
                invites: sum(&row, "_INVITE_Recv"),
                acknowledged: sum(&row, "_ACK_Recv"),
                ended: sum(&row, "_BYE_Recv"),
                again: sum(&row, "_180_Retrans") + sum(&row, "_200_Retrans"),
            }
        });
        Some(rows.collect())
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
    let (every_s, timeout_ms, hold_s) = (EVERY.as_secs(), TIMEOUT.as_millis(), HOLD.as_secs());
    let probe = |n: u64| {
        format!(
            "  - {{name: call-{n}, every: {every_s}s, timeout: {timeout_ms}ms, \
             sip: {{uri: 'sip:{n}@127.0.0.1:{port}', mode: call, hold: {hold_s}s}}}}\n"
        )
    };
    format!("probes:\n{}", (0..PROBES).map(probe).collect::<String>())
}

/// When all calls are up that there will be: one hold after the plan has taken effect.
fn wait_until_full(sipp: &Answering) -> anyhow::Result<()> {
    let full = CALLS_PER_S * (HOLD.as_secs() + 1);
    let begun = eventually(Duration::from_secs(90), || (sipp.calls() > full).then_some(()));
    ensure!(begun.is_some(), "nobody calls: {} calls", sipp.calls());
    Ok(())
}

/// The service with a collector.
fn ours(window: Duration) -> anyhow::Result<Called> {
    let mut sipp = Answering::start()?;
    let mut fleet = Fleet::new(&plan(sipp.port), &[]);
    let collector = fleet.start_collector().agents;
    fleet.add_agent("bench", "bench", &collector, &format!("127.0.0.1:{}", sipp.port));
    let policy = format!("allow: [{{kind: sip, to: ['127.0.0.1:{}']}}]\n", sipp.port);
    std::fs::write(fleet.dir().join("bench/policy.yaml"), policy)?;
    fleet.start_agent_on_core("bench", MEASURED);
    wait_until_full(&sipp)?;
    let spent = watch(fleet.agent("bench"), window, || sipp.calls_by_then());
    std::thread::sleep(REPORTED);
    let mut sum = Counts::default();
    for cell in cells(&reports(&records(&fleet.store()))).values() {
        sum.ok += cell.ok;
        sum.failed += cell.failed + cell.invalid;
        sum.missed += cell.missed;
    }
    ensure!(sum.ok > 0 && spent.done > 0, "no call was reported");
    let (up, again) = (sipp.up(), sipp.again());
    let (_, good) = fleet.agent("bench").terminate(Duration::from_secs(20));
    ensure!(good, "the agent did not stop cleanly");
    if let Some(mut collector) = fleet.collector.take() {
        collector.terminate(Duration::from_secs(10));
    }
    sipp.process.terminate(Duration::from_secs(10));
    Ok(Called { spent, up, failed: sum.failed, missed: sum.missed, again })
}

/// SIPp's own calling side at the same rate.
fn sipp(window: Duration) -> anyhow::Result<Called> {
    let mut answering = Answering::start()?;
    let dir = tempfile::tempdir()?;
    let calls = CALLS_PER_S * (window.as_secs() + 3 * HOLD.as_secs() + 10);
    let (port, media) = (free_port().to_string(), free_port().to_string());
    let to = format!("127.0.0.1:{}", answering.port);
    let (hold_ms, calls) = (HOLD.as_millis().to_string(), calls.to_string());
    let core = MEASURED.to_string();
    let mut command = Command::new("taskset");
    command.args(["-c", &core, "sipp", "-sn", "uac", &to, "-i", "127.0.0.1", "-nostdin"]);
    command.args(["-p", &port, "-mp", &media, "-buff_size", BUFFER_BYTES]);
    command.args(["-r", &CALLS_PER_S.to_string(), "-m", &calls, "-d", &hold_ms, "-l", "20000"]);
    command.args(["-trace_stat", "-stf", "uac.csv", "-fd", "1"]);
    let mut calling = Process::start_command(tame(command, dir.path()), &dir.path().join("log"));
    wait_until_full(&answering)?;
    let spent = watch(&calling, window, || answering.calls_by_then());
    let failed = latest(&dir.path().join("uac.csv"), "FailedCall(C)").unwrap_or_default();
    let (up, again) = (answering.up(), answering.again());
    calling.kill();
    answering.process.terminate(Duration::from_secs(10));
    // What SIPp cannot send in time it sends later: it misses none.
    Ok(Called { spent, up, failed, missed: 0, again })
}
