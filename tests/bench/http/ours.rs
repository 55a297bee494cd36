//! Our own programs: `try` for all that a core can do, the service for what it costs.

use super::{STEADY_PER_S, WARM_UP};
use crate::machine::{MEASURED, Spent, watch};
use anyhow::ensure;
use harness::evidence::{Counts, cells, records, reports};
use harness::fleet::Fleet;
use harness::process::{Process, eventually};
use harness::target::Target;
use std::path::Path;
use std::time::{Duration, Instant};

/// Probes of `try`: as many as it lets run at once.
const PROBES: u64 = 64;
/// Attempts of each probe in the run that finds out how many fit into the window.
const TRIAL_COUNT: u64 = 60;

fn plan(target: &Target, probes: u64) -> String {
    let probe = |n: u64| {
        format!(
            "  - {{name: probe-{n}, every: 1s, http: {{url: 'http://{}/{n}'}}}}\n",
            target.address
        )
    };
    format!("probes:\n{}", (0..probes).map(probe).collect::<String>())
}

/// `try PLAN --every 0s`: every probe asks again as soon as it has its answer.
pub fn saturated(window: Duration) -> anyhow::Result<Spent> {
    let dir = tempfile::tempdir()?;
    let target = Target::start();
    let file = dir.path().join("plan.yaml");
    std::fs::write(&file, plan(&target, PROBES))?;
    let began = Instant::now();
    let mut trial = start_try(&file, TRIAL_COUNT);
    ensure!(trial.wait(Duration::from_secs(60)), "attempts of the trial failed");
    let per_s = TRIAL_COUNT as f64 / began.elapsed().as_secs_f64();
    // Half more than fits, so that it is still at it when the window ends.
    let count = (per_s * (window + WARM_UP).as_secs_f64() * 1.5) as u64 + 1;
    let mut process = start_try(&file, count);
    std::thread::sleep(WARM_UP);
    let spent = watch(&process, window, || target.count());
    ensure!(process.wait(3 * window + Duration::from_secs(60)), "attempts failed");
    let (asked, made) = (target.count(), PROBES * (TRIAL_COUNT + count));
    ensure!(asked == made, "the target was asked {asked} times, not {made}");
    Ok(spent)
}

fn start_try(plan: &Path, count: u64) -> Process {
    let (plan, count) = (plan.display().to_string(), count.to_string());
    let args = ["try", &plan, "--every", "0s", "--count", &count];
    let agent = harness::program("probefleet-agent");
    Process::start_on_core(MEASURED, &agent, &args, Path::new("/dev/null"))
}

/// The service with a collector: a thousand probes every second.
pub fn steady(window: Duration) -> anyhow::Result<Spent> {
    let target = Target::start();
    let probes = u64::from(STEADY_PER_S);
    let mut fleet = Fleet::new(&plan(&target, probes), &[]);
    let collector = fleet.start_collector().agents;
    fleet.add_agent("bench", "bench", &collector, &target.address.to_string());
    fleet.start_agent_on_core("bench", MEASURED);
    // The plan takes effect at the edge of a window of ten seconds.
    let begun = eventually(Duration::from_secs(40), || (target.count() > 2 * probes).then_some(()));
    ensure!(begun.is_some(), "the agent does not probe");
    let spent = watch(fleet.agent("bench"), window, || target.count());
    let (_, good) = fleet.agent("bench").terminate(Duration::from_secs(10));
    ensure!(good, "the agent did not stop cleanly");
    if let Some(mut collector) = fleet.collector.take() {
        collector.terminate(Duration::from_secs(10));
    }
    check_accounts(&fleet, &target)?;
    Ok(spent)
}

/// What the agent accounted for is what the target was asked.
fn check_accounts(fleet: &Fleet, target: &Target) -> anyhow::Result<()> {
    let mut sum = Counts::default();
    for cell in cells(&reports(&records(&fleet.store()))).values() {
        sum.ok += cell.ok;
        sum.failed += cell.failed;
        sum.invalid += cell.invalid;
    }
    let asked = target.count();
    ensure!(sum.failed == 0, "{} attempts failed", sum.failed);
    // Attempts in flight at the stop are invalid; some of them had reached the target.
    ensure!(
        (sum.ok..=sum.ok + sum.invalid).contains(&asked),
        "the target was asked {asked} times, the agent accounts for {sum:?}"
    );
    Ok(())
}
