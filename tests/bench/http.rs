//! HTTP attempts: each a connection of its own, against the same target, on one core.

mod ours;
mod peers;

use crate::machine::Spent;
use crate::table::{Figure, Table, figure};
use std::time::Duration;

/// How long a program runs before it is watched: caches are warm and memory is taken.
const WARM_UP: Duration = Duration::from_millis(700);
/// Attempts a second of the steady table.
const STEADY_PER_S: u32 = 1_000;

const BLACKBOX: &str = "prometheus-blackbox-exporter";
const WRK: &str = "wrk";

/// Both tables.
pub fn measure(window: Duration) -> anyhow::Result<Vec<Table>> {
    Ok(vec![saturated(window)?, steady(window)?])
}

/// As many attempts as one core makes.
fn saturated(window: Duration) -> anyhow::Result<Table> {
    let ours = ours::saturated(window)?;
    let blackbox = installed(BLACKBOX, || peers::blackbox(window, None))?;
    let wrk = installed(WRK, || peers::wrk(window))?;
    let mut table = Table::new(
        "HTTP attempts, one core saturated: a new connection for each, 64 at once",
        &["attempts/s", "us/attempt", "busy %", "RSS MiB", "of blackbox", "of wrk"],
    );
    let figures = |spent: &Spent| {
        [
            figure(spent.rate(), 0),
            figure(spent.us_each(), 1),
            figure(spent.busy_percent(), 0),
            figure(spent.rss_mib(), 1),
            ratio(spent, blackbox.as_ref()),
            ratio(spent, wrk.as_ref()),
        ]
    };
    table.row("probefleet-agent try", &figures(&ours));
    peer(&mut table, BLACKBOX, blackbox.as_ref().map(&figures));
    peer(&mut table, WRK, wrk.as_ref().map(&figures));
    table.note("one attempt of the blackbox exporter is one GET /probe?module=http_2xx over a connection kept open");
    table.note("wrk stamps no phases and judges no answer: the practical limit of a program that opens connections");
    Ok(table)
}

/// A thousand attempts a second, as an agent makes them day and night.
fn steady(window: Duration) -> anyhow::Result<Table> {
    let ours = ours::steady(window)?;
    let blackbox = installed(BLACKBOX, || peers::blackbox(window, Some(STEADY_PER_S)))?;
    let mut table = Table::new(
        "HTTP attempts, 1,000 a second: what a service costs",
        &["attempts/s", "us/attempt", "busy %", "RSS MiB", "of blackbox"],
    );
    let figures = |spent: &Spent| {
        [
            figure(spent.rate(), 0),
            figure(spent.us_each(), 1),
            figure(spent.busy_percent(), 1),
            figure(spent.rss_mib(), 1),
            ratio(spent, blackbox.as_ref()),
        ]
    };
    table.row("probefleet-agent run", &figures(&ours));
    peer(&mut table, BLACKBOX, blackbox.as_ref().map(&figures));
    table.note("run: 1,000 probes every second, windows, spool with fsync and delivery to a collector included");
    table.note("the exporter keeps nothing: whoever scrapes it stores what it says, and is not counted here");
    Ok(table)
}

fn installed(
    program: &str,
    measure: impl FnOnce() -> anyhow::Result<Spent>,
) -> anyhow::Result<Option<Spent>> {
    harness::has(program).then(measure).transpose()
}

fn peer<const N: usize>(table: &mut Table, name: &str, figures: Option<[Option<Figure>; N]>) {
    match figures {
        Some(figures) => table.row(name, &figures),
        None => table.skip(name, &format!("the Debian package {name}")),
    }
}

/// Work for a second of processor time, in units of a peer's.
fn ratio(ours: &Spent, peer: Option<&Spent>) -> Option<Figure> {
    peer.and_then(|peer| figure(ours.per_core() / peer.per_core(), 2))
}
