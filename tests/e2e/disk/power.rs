//! Power that goes: what an ext4 file system had on its disk is there afterwards, and no more. The processes stop before it,
//! as processors do: a sync that is under way at that moment may come back as a success, and must not be acted upon.

use super::{SAID, Site, ready_says};
use crate::accounting::Dice;
use harness::disks::{Ext4, Kind, is_within};
use rustix::process::Signal;
use std::time::Duration;

/// Cuts of a run of all tests, and with `--soak`.
const CUTS: usize = 2;
const SOAK_CUTS: usize = 50;

fn cuts() -> usize {
    if std::env::var_os("PROBEFLEET_SOAK").is_some() { SOAK_CUTS } else { CUTS }
}

#[test]
fn a_power_cut_of_an_agent_loses_nothing_that_it_had_sent() {
    let name = "disk::power::a_power_cut_of_an_agent_loses_nothing_that_it_had_sent";
    if !is_within(name, Kind::Ext4) {
        return;
    }
    let site = Site::new(&["berlin"]);
    let image = site.fleet().dir().join("berlin.img");
    let disk = Ext4::make(&image, &site.state("berlin"));
    site.start();
    let mut dice = Dice(0xc07);
    for _ in 0..cuts() {
        // A start is a record; so soon after it some are on their way.
        std::thread::sleep(Duration::from_millis(100 + dice.below(2_500)));
        site.fleet().agent("berlin").signal(Signal::STOP);
        disk.cut();
        site.fleet().kill_agent("berlin");
        disk.comes_back();
        site.fleet().start_agent("berlin");
        ready_says(&site.status("berlin"), 200, &[], SAID);
    }
    let sum = site.settle();
    assert!(sum.ours.contains_key("agent_down"), "what the cuts took is accounted for: {sum:?}");
}

#[test]
fn a_power_cut_of_the_collector_loses_nothing_that_it_had_acknowledged() {
    let name = "disk::power::a_power_cut_of_the_collector_loses_nothing_that_it_had_acknowledged";
    if !is_within(name, Kind::Ext4) {
        return;
    }
    let site = Site::new(&["berlin", "london"]);
    let (image, folder) = {
        let fleet = site.fleet();
        (fleet.dir().join("collector.img"), fleet.dir().join("collector"))
    };
    let disk = Ext4::make(&image, &folder);
    site.start();
    let mut dice = Dice(0xc011);
    for cycle in 0..cuts() {
        // Each start of an agent is a record that is committed within a second.
        let name = site.names[cycle % site.names.len()];
        site.fleet().kill_agent(name);
        site.fleet().start_agent(name);
        std::thread::sleep(Duration::from_millis(100 + dice.below(2_500)));
        site.fleet().collector.as_ref().expect("runs").signal(Signal::STOP);
        disk.cut();
        site.fleet().kill_collector();
        let before = site.relay.acknowledged();
        disk.comes_back();
        let stored = harness::evidence::records(&site.fleet().store());
        crate::accounting::check_delivery(&stored, &before);
        site.fleet().start_collector();
    }
    site.settle();
}
