//! A disk that the kernel lets nobody write any more.

use super::{FELT, SAID, Site, has_metric, is_ready, ready_says};
use harness::disks::{Ext4, Kind, is_within};

#[test]
fn an_agent_whose_disk_can_only_be_read_says_so_and_goes_on_after_a_repair() {
    let name =
        "disk::read_only::an_agent_whose_disk_can_only_be_read_says_so_and_goes_on_after_a_repair";
    if !is_within(name, Kind::Ext4) {
        return;
    }
    let site = Site::new(&["berlin"]);
    let image = site.fleet().dir().join("berlin.img");
    let disk = Ext4::make(&image, &site.state("berlin"));
    site.start();
    let (portal, status) = (site.portal(), site.status("berlin"));
    disk.becomes_read_only();
    ready_says(
        &status,
        503,
        &["disk: ", "Read-only file system", "for writing again"],
        FELT + SAID,
    );
    has_metric(&status, "probefleet_fault{fault=\"disk\"} 1");
    ready_says(&portal, 200, &["note: agent berlin: disk: "], SAID);

    site.fleet().kill_agent("berlin");
    ready_says(&portal, 200, &["note: agent berlin: not heard of"], SAID);
    disk.comes_back();
    site.fleet().start_agent("berlin");
    let status = site.status("berlin");
    is_ready(&status);
    is_ready(&portal);
    let sum = site.settle();
    assert!(
        sum.ours.contains_key("agent_down"),
        "what was in memory only is accounted for: {sum:?}"
    );
}
