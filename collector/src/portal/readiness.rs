//! `/readyz`: what does not work, for whoever has to be told.
//!
//! What the collector itself cannot do is a fault: 503, and agents had better not be sent here. What others cannot do is
//! said beside it and changes nothing: an agent that was switched off must not take the collector from those that still
//! deliver. Each line says what, since when where that is known, and what to do.

use super::{Portal, pages, words};
use crate::fleet::AgentNow;
use crate::store::Store as _;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::units::NS_PER_S;
use std::time::Duration;
use tokio::time::Instant;

/// How long a look at the store is believed: it writes, and anybody may ask.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How long the store may take to answer before it counts as not writable.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);
/// A write that takes longer holds up every acknowledgement: two hundred times what a disk that is well needs.
const CHECK_SLOW: Duration = Duration::from_secs(1);
/// An agent says every five seconds how it is; after three that did not come something is wrong.
const SILENT_S: u64 = 20;
/// Who has not reported for so long is taken for switched off: nobody waits for it.
const GONE_S: u64 = 7 * 86_400;
/// A report may be late by so many windows, and the time to seal and send it.
const LATE_WINDOWS: u64 = 3;
/// Lines about agents; the metrics have all.
const AGENTS_TOLD: usize = 20;

/// A look at the store.
#[derive(Clone, Debug)]
pub struct Check {
    at: Instant,
    /// Why it is not well, and since when it was found so.
    trouble: Option<(String, Instant)>,
}

/// What does not work.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    /// Of the collector itself.
    pub(super) faults: Vec<String>,
    /// Of others.
    notes: Vec<String>,
}

impl Readiness {
    pub(super) fn is_ready(&self) -> bool {
        self.faults.is_empty()
    }

    fn text(&self) -> String {
        let mut text = if self.is_ready() { "ready\n" } else { "not ready\n" }.to_owned();
        for line in &self.faults {
            // Texts of agents and of the system: they stay on their line.
            text.push_str(&format!("{}\n", line.replace(char::is_control, " ")));
        }
        for line in &self.notes {
            text.push_str(&format!("note: {}\n", line.replace(char::is_control, " ")));
        }
        text
    }
}

/// The page.
pub(super) async fn answer(State(portal): State<Portal>) -> Response {
    let found = look(&portal).await;
    let status = if found.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, found.text()).into_response()
}

/// What does not work now.
pub(super) async fn look(portal: &Portal) -> Readiness {
    let now_s = unix_now_ns() / NS_PER_S;
    let mut faults = Vec::new();
    faults.extend(store(portal).await);
    faults.extend(ingest(portal));
    faults.extend(evaluator(portal, now_s));
    let mut notes = agents(portal, now_s);
    for now in &portal.snapshot().agreements {
        let id = now.agreement.id();
        notes.extend(now.complaint.as_ref().map(|what| {
            format!("exclusions of {id}: {what}; the last good file counts until this is mended")
        }));
    }
    Readiness { faults, notes }
}

// === of the collector ===

/// Whether the store takes a write, looked at every few seconds at most.
async fn store(portal: &Portal) -> Option<String> {
    let mut check = portal.check.lock().await;
    let known = check.as_ref().filter(|check| check.at.elapsed() < CHECK_INTERVAL);
    let trouble = match known {
        Some(check) => check.trouble.clone(),
        None => {
            let before = check.take().and_then(|check| check.trouble).map(|(_, since)| since);
            let since = before.unwrap_or_else(Instant::now);
            let trouble = check_store(portal).await.map(|trouble| (trouble, since));
            *check = Some(Check { at: Instant::now(), trouble: trouble.clone() });
            trouble
        }
    };
    trouble.map(|(what, since)| {
        format!(
            "store: {what} (for {}); look at the disk of the state directory: space, mount, the kernel's log. Nothing is acknowledged meanwhile, agents keep it",
            words::age(since.elapsed().as_secs())
        )
    })
}

async fn check_store(portal: &Portal) -> Option<String> {
    let began = Instant::now();
    match tokio::time::timeout(CHECK_DEADLINE, portal.store.check_writable()).await {
        Ok(Ok(())) => {
            let took = began.elapsed();
            (took > CHECK_SLOW).then(|| format!("slow: a write took {} ms", took.as_millis()))
        }
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {CHECK_DEADLINE:?}")),
    }
}

/// A small write may find room where records do not.
fn ingest(portal: &Portal) -> Option<String> {
    let (why, since) = portal.metrics.refusing()?;
    let age = words::age(since.elapsed().as_secs());
    Some(format!("ingest: records are refused, {why} (for {age}); agents keep them and come again"))
}

fn evaluator(portal: &Portal, now_s: u64) -> Option<String> {
    let snapshot = portal.snapshot();
    let idle_s = now_s.saturating_sub(snapshot.fresh_s);
    if portal.snapshots.has_changed().is_err() {
        return Some(
            "evaluator: it has ended by a fault of this program; restart the collector, and report this"
                .to_owned(),
        );
    }
    if let Some(failure) = &snapshot.failure {
        return Some(format!("evaluator: {failure}"));
    }
    if snapshot.made_s == 0 {
        return Some("evaluator: the records are still being read".to_owned());
    }
    (idle_s > pages::STALE_S).then(|| format!("evaluator: the last round was {idle_s} s ago"))
}

// === of agents ===

fn agents(portal: &Portal, now_s: u64) -> Vec<String> {
    let window_s = u64::from(portal.fleet.assignment().window_s);
    let up_s = portal.started.elapsed().as_secs();
    let board = portal.fleet.board();
    let mut notes: Vec<String> =
        board.iter().flat_map(|agent| agent_notes(agent, (now_s, up_s), window_s)).collect();
    if notes.len() > AGENTS_TOLD {
        let more = notes.len() - AGENTS_TOLD;
        notes.truncate(AGENTS_TOLD);
        notes.push(format!("and {more} more about agents; /metrics has all"));
    }
    notes
}

/// What is wrong with an agent, `up_s` seconds after the collector was started: what it says itself, that it says nothing,
/// or that it says everything but delivers nothing.
fn agent_notes(agent: &AgentNow, (now_s, up_s): (u64, u64), window_s: u64) -> Vec<String> {
    let name = &agent.name;
    let report_age_s = agent.last_report_end_s.map(|end_s| now_s.saturating_sub(end_s));
    let cure = "look at its /readyz, its log and the network between";
    let silent_s = match agent.last_seen_s {
        Some(seen_s) => now_s.saturating_sub(seen_s),
        None => up_s,
    };
    if silent_s > SILENT_S {
        if report_age_s.is_some_and(|age_s| age_s > GONE_S) {
            return Vec::new();
        }
        let since = match agent.last_seen_s {
            Some(_) => format!("for {}", words::age(silent_s)),
            None => "since the collector was started".to_owned(),
        };
        return vec![format!("agent {name}: not heard of {since}; {cure}")];
    }
    let mut notes: Vec<String> = agent
        .faults
        .iter()
        .map(|fault| {
            let age = words::age(now_s.saturating_sub(fault.since_s));
            format!("agent {name}: {}: {} (for {age})", fault.what, fault.text)
        })
        .collect();
    let late_s = LATE_WINDOWS * window_s;
    if let Some(age_s) = report_age_s.filter(|age_s| *age_s > late_s && agent.session.is_some()) {
        let age = words::age(age_s);
        notes.push(format!(
            "agent {name}: connected, but its newest window ended {age} ago; {cure}"
        ));
    }
    notes
}

#[cfg(test)]
mod tests;
