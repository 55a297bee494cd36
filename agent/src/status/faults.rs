//! What of an agent does not work: one rule a fault. Pure: whoever looks says what was seen, and when.

use crate::runner::Waiting;
use crate::spool::{Health, RefusedRecord, SpoolState};
use crate::uplink::LinkState;
use probefleet_proto::health::FaultName;
use probefleet_proto::v1;
use std::time::Duration;
use tokio::time::Instant;

/// An operation of the spool that takes that long holds everything up that is measured.
const SLOW: Duration = Duration::from_secs(5);
/// A session ends every quarter of an hour, and the next begins within seconds: that is no fault. A silent partition takes
/// 22 s to be noticed, and is so told within half a minute.
const RECONNECTS: Duration = Duration::from_secs(4);
/// What waits is acknowledged within milliseconds by a collector that works, within seconds by one that is busy.
const DELIVERS: Duration = Duration::from_secs(15);
/// A plan follows the first session at once and takes effect at a window's edge.
const PLANS: Duration = Duration::from_secs(10);
/// The runner says every second what it is doing.
const TURNS: Duration = Duration::from_secs(10);

/// Something that does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub what: FaultName,
    /// Since when, as far as anybody looked.
    pub since: Instant,
    /// What happened.
    pub text: String,
    /// What a person can do about it.
    pub cure: &'static str,
}

/// How the agent was found.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// What the spool holds.
    pub(super) spool: SpoolState,
    /// How its disk is; none when its thread has ended.
    pub(super) health: Option<Health>,
    /// The connection.
    pub(super) link: LinkState,
    /// A plan is in force.
    pub(super) has_plan: bool,
    /// Why the newest plan is not.
    pub(super) plan_refused: Option<v1::Fault>,
    /// When the runner last said anything.
    pub(super) runner_at: Instant,
    /// What waits in memory for the spool.
    pub(super) waiting: Waiting,
}

/// What a rule finds: what happened, and the cure.
type Symptom = (String, &'static str);

/// A fault that there can be.
struct Rule {
    what: FaultName,
    /// It is one only when it lasts that long.
    grace: Duration,
    finds: fn(&Seen, Instant) -> Option<Symptom>,
}

/// In the order of the data.
const RULES: [Rule; 9] = [
    Rule { what: FaultName::Runner, grace: Duration::ZERO, finds: runner },
    Rule { what: FaultName::Plan, grace: PLANS, finds: plan },
    Rule { what: FaultName::Disk, grace: Duration::ZERO, finds: disk },
    Rule { what: FaultName::DiskSlow, grace: Duration::ZERO, finds: disk_slow },
    Rule { what: FaultName::SpoolFull, grace: Duration::ZERO, finds: spool_full },
    Rule { what: FaultName::RecordRefused, grace: Duration::ZERO, finds: record_refused },
    Rule { what: FaultName::Refused, grace: Duration::ZERO, finds: refused },
    Rule { what: FaultName::Uplink, grace: RECONNECTS, finds: uplink },
    Rule { what: FaultName::Delivery, grace: DELIVERS, finds: delivery },
];

/// Remembers since when which rule finds something.
#[derive(Debug, Default)]
pub(super) struct Watch {
    since: [Option<Instant>; RULES.len()],
}

impl Watch {
    /// The faults at an instant.
    pub(super) fn look(&mut self, seen: &Seen, now: Instant) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (rule, since) in RULES.iter().zip(&mut self.since) {
            let Some((text, cure)) = (rule.finds)(seen, now) else {
                *since = None;
                continue;
            };
            let since = *since.get_or_insert(now);
            if now.saturating_duration_since(since) >= rule.grace {
                faults.push(Fault { what: rule.what, since, text, cure });
            }
        }
        faults
    }
}

fn runner(seen: &Seen, now: Instant) -> Option<Symptom> {
    let quiet = now.saturating_duration_since(seen.runner_at);
    (quiet >= TURNS).then(|| {
        let text = format!("nothing was scheduled for {} s", quiet.as_secs());
        (text, "restart the agent, and report this: it is a fault of the program")
    })
}

fn plan(seen: &Seen, _: Instant) -> Option<Symptom> {
    if let Some(refused) = &seen.plan_refused {
        let cure = "mend the collector's plan, or upgrade this agent; the last good plan goes on";
        return Some((format!("the collector's plan is not applied: {}", refused.text), cure));
    }
    (!seen.has_plan).then(|| {
        let cure =
            "check that the collector is reached and that its plan has probes for this agent";
        ("there is no plan yet: nothing is measured".to_owned(), cure)
    })
}

fn disk(seen: &Seen, _: Instant) -> Option<Symptom> {
    let Some(health) = &seen.health else {
        let text = "the thread that owns the spool has ended: nothing is kept any more".to_owned();
        return Some((text, "restart the agent, and report this: it is a fault of the program"));
    };
    let failure = health.append.as_ref().or(health.other.as_ref())?;
    Some((failure.text.clone() + &lost(seen), failure.cure))
}

/// What an unwritable disk has cost.
fn lost(seen: &Seen) -> String {
    match seen.waiting.lost_reports {
        0 => String::new(),
        reports => format!(
            "; {reports} reports for which memory had no room are lost, a gap will count them"
        ),
    }
}

fn disk_slow(seen: &Seen, now: Instant) -> Option<Symptom> {
    let since = seen.health.as_ref()?.busy_since?;
    let busy = now.saturating_duration_since(since);
    (busy >= SLOW).then(|| {
        let text = format!("the disk has not answered the spool for {} s", busy.as_secs());
        (text + &lost(seen), "look at the kernel's log and at what else writes to this disk")
    })
}

/// Once reports were dropped, until half of the budget is free again.
fn spool_full(seen: &Seen, _: Instant) -> Option<Symptom> {
    let health = seen.health.as_ref()?;
    let dropped = health.mishaps.dropped_reports;
    let held = seen.spool.unacked_bytes;
    (dropped > 0 && held > health.budget_bytes / 2).then(|| {
        let text = format!("the spool is full: {dropped} reports were dropped, gaps count them");
        (text, "let the agent reach its collector, or raise `spool: {max_size: …}`")
    })
}

/// While a record is kept that was set aside: that its file was moved elsewhere shows that a person has looked.
fn record_refused(seen: &Seen, _: Instant) -> Option<Symptom> {
    let health = seen.health.as_ref()?;
    let RefusedRecord { seq, why, file, kept } = health.refused.as_ref()?;
    let text = format!(
        "the collector can never accept {kept} records, a gap stands for each; the last is record {seq}, kept in {}: {why}",
        file.display()
    );
    Some((text, "report this with the files, move them elsewhere, and start the agent again"))
}

fn refused(seen: &Seen, _: Instant) -> Option<Symptom> {
    let LinkState::Refused(why) = &seen.link else { return None };
    let cure = "a person must act: nothing is delivered, everything is kept";
    Some((format!("the collector refuses this agent: {why}"), cure))
}

fn uplink(seen: &Seen, _: Instant) -> Option<Symptom> {
    let LinkState::Down(why) = &seen.link else { return None };
    let cure = "check the address, the network and the collector; what is measured waits on disk";
    Some((format!("not connected to the collector: {why}"), cure))
}

fn delivery(seen: &Seen, now: Instant) -> Option<Symptom> {
    let waits = seen.spool.unacked_bytes;
    let released = seen.health.as_ref().and_then(|health| health.released);
    let quiet = released.is_none_or(|at| now.saturating_duration_since(at) >= DELIVERS);
    (seen.link == LinkState::Up && waits > 0 && quiet).then(|| {
        let text = format!("connected, but the collector acknowledges nothing; {waits} bytes wait");
        (text, "look at the collector's /readyz: its disk may be full")
    })
}

#[cfg(test)]
mod tests;
