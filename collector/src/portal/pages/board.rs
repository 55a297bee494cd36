//! The board: how every agent is, and what each of its probes met last.

use super::Frame;
use crate::fleet::{AgentNow, PlanState};
use crate::portal::words::{self, Marked};
use crate::verdict::words::counted;
use askama::Template;
use probefleet_proto::health::is_suspect;
use probefleet_proto::units::{NS_PER_S, seconds_text};
use probefleet_proto::v1::ProbeNow;

/// A report that is older than so many windows is late.
const LATE_WINDOWS: u64 = 3;
/// Agents that the board shows; of more, those first that need an eye. The metrics have all.
const AGENTS_SHOWN: usize = 200;
/// Probes that are shown of an agent; of more, those first that failed.
const PROBES_SHOWN: usize = 50;
/// Probes of an agent that stand there without being asked for.
const PROBES_OPEN: usize = 8;

#[derive(Template)]
#[template(path = "agents.html")]
pub(in crate::portal) struct AgentsPage {
    frame: Frame,
    /// How many there are in which state.
    summary: Vec<Marked>,
    agents: Vec<AgentView>,
    agents_more: usize,
    listen: String,
    window: String,
}

impl AgentsPage {
    /// The board at an instant; `listen` is where agents connect.
    pub(in crate::portal) fn new(
        frame: Frame,
        board: &[AgentNow],
        (window_s, now_ns): (u32, u64),
        listen: String,
    ) -> Self {
        let state = |agent: &AgentNow| state(agent, window_s, now_ns);
        let mut summary = Vec::new();
        for word in [CONNECTED, IN_TROUBLE, LATE, AWAY] {
            let count = board.iter().filter(|agent| state(agent).text == word.0).count();
            if count > 0 {
                summary.push(Marked::new(format!("{count} {}", word.0), word.1));
            }
        }
        let mut shown: Vec<&AgentNow> = board.iter().collect();
        if shown.len() > AGENTS_SHOWN {
            shown.sort_by_key(|agent| state(agent).text == CONNECTED.0);
            shown.truncate(AGENTS_SHOWN);
        }
        Self {
            frame,
            summary,
            agents: shown.iter().map(|agent| AgentView::new(agent, window_s, now_ns)).collect(),
            agents_more: board.len().saturating_sub(AGENTS_SHOWN),
            listen,
            window: seconds_text(u64::from(window_s)),
        }
    }
}

/// The states of an agent, each with the class of its colour.
const CONNECTED: (&str, &str) = ("connected", "good");
const IN_TROUBLE: (&str, &str) = ("connected, in trouble", "warn");
const LATE: (&str, &str) = ("connected, reports late", "warn");
const AWAY: (&str, &str) = ("not connected", "bad");

fn state(agent: &AgentNow, window_s: u32, now_ns: u64) -> Marked {
    let late_s = LATE_WINDOWS * u64::from(window_s);
    let late = agent.report_age_s(now_ns).is_some_and(|age_s| age_s > late_s);
    let (text, class) = match (agent.session.is_some(), late) {
        (true, false) if !agent.faults.is_empty() => IN_TROUBLE,
        (true, false) => CONNECTED,
        (true, true) => LATE,
        (false, _) => AWAY,
    };
    Marked::new(text, class)
}

struct AgentView {
    name: String,
    id: String,
    labels: Vec<String>,
    state: Marked,
    report: String,
    plan: Marked,
    backlog: String,
    clock: String,
    trust: Marked,
    version: String,
    key: Marked,
    probes: Vec<ProbeView>,
    probes_total: usize,
    probes_open: bool,
}

struct ProbeView {
    name: String,
    outcome: Marked,
    took: String,
    when: String,
}

impl AgentView {
    fn new(agent: &AgentNow, window_s: u32, now_ns: u64) -> Self {
        let age_s = agent.report_age_s(now_ns);
        let seen = agent.last_seen_s.map_or_else(String::new, |seen_s| {
            let ago = words::age((now_ns / NS_PER_S).saturating_sub(seen_s));
            format!("; heard of {ago} ago")
        });
        let report = match age_s {
            Some(age_s) => format!("window ended {} ago{seen}", words::age(age_s)),
            None => format!("none yet{seen}"),
        };
        let faults = agent.faults.iter().map(|fault| format!("; {}: {}", fault.what, fault.text));
        let report = report + &faults.collect::<String>();
        let mut probes = probes(agent, now_ns);
        let probes_total = probes.len();
        let failed = |probe: &ProbeView| probe.outcome.class == "bad";
        let probes_open = probes_total <= PROBES_OPEN || probes.iter().any(failed);
        if probes_total > PROBES_SHOWN {
            probes.sort_by_key(|probe| !failed(probe));
            probes.truncate(PROBES_SHOWN);
        }
        Self {
            name: agent.name.to_string(),
            id: agent.agent.to_string(),
            labels: agent.labels.iter().map(|(key, value)| format!("{key}: {value}")).collect(),
            state: state(agent, window_s, now_ns),
            report,
            plan: plan(agent),
            backlog: agent.backlog_bytes.map_or_else(|| "–".to_owned(), words::size),
            clock: clock(agent.clock),
            trust: trust(agent),
            version: if agent.version.is_empty() {
                "–".to_owned()
            } else {
                agent.version.clone()
            },
            key: key(agent),
            probes,
            probes_total,
            probes_open,
        }
    }
}

/// What its records are signed with. Another key than before is no fault, but somebody should know why.
fn key(agent: &AgentNow) -> Marked {
    match agent.evidence_keys.as_slice() {
        [] => Marked::new("none: its records are not signed", "none"),
        [key] => Marked::new(key.to_string(), "good"),
        [before @ .., key] => {
            let before = counted(u64::try_from(before.len()).unwrap_or(u64::MAX), "other key");
            Marked::new(format!("{key}; {before} before it"), "warn")
        }
    }
}

fn plan(agent: &AgentNow) -> Marked {
    let probes = counted(u64::try_from(agent.probes.len()).unwrap_or(u64::MAX), "probe");
    match &agent.plan {
        PlanState::Unknown => Marked::new("not heard of since the collector started", "none"),
        PlanState::Handed => Marked::new(format!("{probes}, handed out"), "warn"),
        PlanState::Applied if agent.probes.is_empty() => {
            Marked::new("no probe is meant for its labels", "warn")
        }
        PlanState::Applied => Marked::new(format!("{probes}, in force"), "good"),
        PlanState::Refused(error) => Marked::new(format!("refused by the agent: {error}"), "bad"),
    }
}

fn clock(clock: Option<(i64, u64)>) -> String {
    match clock {
        None | Some((_, 0)) => "never compared".to_owned(),
        Some((offset_ns, error_ns)) => {
            let side = if offset_ns < 0 { "behind" } else { "ahead" };
            let [offset, error] = [offset_ns.unsigned_abs(), error_ns].map(words::milliseconds);
            format!("{offset} {side}, ± {error}")
        }
    }
}

/// Whether it trusts what it measures, and how full its spool is.
fn trust(agent: &AgentNow) -> Marked {
    let Some(health) = &agent.health else { return Marked::new("–", "none") };
    let before = match agent.suspect_reports {
        0 => String::new(),
        reports => format!("; {} that it did not trust", counted(reports, "report")),
    };
    let used = u128::from(health.spool_bytes) * 100;
    let full = used.checked_div(u128::from(health.spool_max_bytes));
    let full = full.map_or_else(String::new, |percent| format!("; spool {percent}% full"));
    if is_suspect(health.flags) {
        let held_up = words::milliseconds(health.stall_max_ns.max(health.start_lag_max_ns));
        let text = format!("does not trust its latest report, held up for {held_up}{before}{full}");
        return Marked::new(text, "warn");
    }
    Marked::new(format!("trusts its latest report{before}{full}"), "good")
}

/// The agent's probes: those of its plan, with the latest attempt where one is known.
fn probes(agent: &AgentNow, now_ns: u64) -> Vec<ProbeView> {
    let latest = |name: &str| agent.latest.iter().find(|now| now.probe == name);
    let unplanned = agent.latest.iter().map(|now| now.probe.as_str());
    let unplanned = unplanned.filter(|name| !agent.probes.iter().any(|probe| probe == name));
    let names = agent.probes.iter().map(String::as_str).chain(unplanned);
    names.map(|name| probe(name, latest(name), now_ns)).collect()
}

fn probe(name: &str, latest: Option<&ProbeNow>, now_ns: u64) -> ProbeView {
    let name = name.to_owned();
    let Some(now) = latest else {
        let outcome = Marked::new("not yet", "none");
        return ProbeView { name, outcome, took: "–".to_owned(), when: "–".to_owned() };
    };
    let text = if now.code.is_empty() {
        now.outcome.clone()
    } else {
        format!("{} ({})", now.outcome, now.code)
    };
    let class = if now.outcome == "ok" { "good" } else { "bad" };
    let ago_s = now_ns.saturating_sub(now.scheduled_ns) / NS_PER_S;
    ProbeView {
        name,
        outcome: Marked::new(text, class),
        took: words::milliseconds(now.total_ns),
        when: format!("{} ago", words::age(ago_s)),
    }
}
