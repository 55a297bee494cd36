//! Disks that are full.

use super::{FELT, SAID, Site, has_metric, is_ready, is_well_formed, ready_says};
use harness::disks::{Kind, Tmpfs, is_within};
use harness::fleet::get;

#[test]
fn an_agent_on_a_full_disk_waits_says_so_and_loses_nothing() {
    if !is_within(
        "disk::full::an_agent_on_a_full_disk_waits_says_so_and_loses_nothing",
        Kind::Tmpfs,
    ) {
        return;
    }
    let site = Site::new(&["berlin"]);
    let disk = Tmpfs::mount(&site.state("berlin"), 16);
    site.start();
    let status = site.status("berlin");
    is_ready(&status);
    is_well_formed(&status);
    has_metric(&status, "probefleet_fault{fault=\"disk\"} 0");

    site.fleet().kill_collector();
    disk.fill();
    ready_says(&status, 503, &["uplink: not connected", "what is measured waits"], SAID);
    ready_says(&status, 503, &["disk: ", "No space left", "make room"], FELT + SAID);
    has_metric(&status, "probefleet_fault{fault=\"disk\"} 1");
    has_metric(&status, "probefleet_spool_writable 0");

    // The collector is back first, and is told by the agent itself.
    site.fleet().start_collector();
    let portal = site.portal();
    ready_says(&portal, 200, &["note: agent berlin: disk: ", "make room"], SAID);
    has_metric(&portal, "probefleet_agent_fault{agent=\"berlin\",fault=\"disk\"} 1");
    disk.make_room();
    is_ready(&status);
    is_ready(&portal);
    site.wait_for_windows();
    for (of, cell) in site.cells() {
        assert_eq!((cell.missed, cell.invalid), (0, 0), "what was measured is there: {of:?}");
    }

    // It also comes up on a disk that is full, and goes on: what was delivered makes way for what was not.
    site.fleet().kill_agent("berlin");
    disk.fill();
    site.fleet().start_agent("berlin");
    let status = site.status("berlin");
    is_ready(&status);
    let sum = site.settle();
    assert!(sum.ours.contains_key("agent_down"), "what a kill took is accounted for: {sum:?}");
}

#[test]
fn a_collector_on_a_full_disk_acknowledges_nothing_and_says_so() {
    let name = "disk::full::a_collector_on_a_full_disk_acknowledges_nothing_and_says_so";
    if !is_within(name, Kind::Tmpfs) {
        return;
    }
    let site = Site::new(&["berlin"]);
    let folder = site.fleet().dir().join("collector");
    let disk = Tmpfs::mount(&folder, 24);
    site.start();
    let (portal, status) = (site.portal(), site.status("berlin"));
    is_ready(&portal);

    disk.fill();
    ready_says(&portal, 503, &["full", "agents keep"], FELT + SAID);
    has_metric(&portal, "probefleet_ready 0");
    let acknowledged = site.acknowledged();
    ready_says(&status, 503, &["delivery: connected, but", "/readyz"], FELT + SAID);
    assert_eq!(site.acknowledged(), acknowledged, "what is not on disk is not acknowledged");
    assert_eq!(get(&portal, "/").0, 200, "the pages stay up");

    disk.make_room();
    is_ready(&portal);
    is_ready(&status);
    has_metric(&portal, "probefleet_ready 1");
    site.settle();
    assert!(site.acknowledged() > acknowledged, "and then it goes on");
}
