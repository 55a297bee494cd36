//! Delivery, exhaustively within small bounds and at random beyond them, on the real spool, uplink session and ingest session.
//!
//! [`exhaustive`] tries everything in worlds of a few windows; taking one mechanism away must break it. [`simulation`] draws
//! fleets and faults by seed; its page says what counts as failure. [`outer`] has the real transport between real drivers,
//! [`herd`] brings ten thousand agents back at once. [`each`] lets every operation of a disk fail, [`refused`] likewise
//! while a record is set aside, [`flips`] bits of a spool rot; [`waiting`] takes it away for an hour. [`disk`] and
//! [`store`] stand in for the machine below the cores. `--bin simulate` runs most of it for longer.

mod agreement;
mod disk;
mod each;
mod exhaustive;
mod flips;
mod herd;
mod outer;
mod refused;
mod seeds;
mod simulation;
mod stage;
mod store;
mod waiting;

use exhaustive::{NEEDED, SOUND, SPARE, check};

#[test]
fn nothing_that_can_happen_loses_or_doubles_a_window() {
    for (name, bounds) in SOUND {
        assert!(check(name, bounds, None, true), "{name} breaks");
    }
}

#[test]
fn without_any_one_mechanism_something_breaks() {
    for (minus, bounds) in NEEDED {
        let name = format!("without {minus:?}");
        assert!(check(&name, bounds, Some(minus), false), "{name} nothing breaks");
    }
}

#[test]
fn without_the_fence_the_accounts_still_hold() {
    let (minus, bounds) = SPARE;
    assert!(check("without the fence", bounds, Some(minus), true), "it is needed");
}
