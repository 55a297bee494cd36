//! The month once more, from the digests that a collector keeps of its hours: how long it takes to load, and what the first
//! verdict after that takes beside later ones. And what it costs ingest that the store keeps track of them.

use super::start::cell;
use super::{
    AGENTS_MAX, APRIL_S, HELD_MAX_MS, MIB, MINUTES, OBJECTIVES, Sample, again, agreement, failed,
    median_ms, took_ns,
};
use crate::table::{Table, figure};
use anyhow::{Context as _, anyhow, ensure};
use probefleet_collector::contract::Agreement;
use probefleet_collector::contract::exclusions::{Exclusion, Exclusions, Reason};
use probefleet_collector::contract::period::{PeriodLabel, Span};
use probefleet_collector::digest::{Draft, Needs, read};
use probefleet_collector::evaluator::Docket as _;
use probefleet_collector::sla::{Counts, Observed, Question, Windows, judge};
use probefleet_collector::store::{
    Batch, HOUR_S, Introduction, KnownAgent, NewRecord, Opened, Outcome, SqliteStore, Store as _,
    TenantScope,
};
use probefleet_proto::label::Labels;
use probefleet_proto::name::Name;
use probefleet_proto::record::{Kind, Record, SpoolId};
use probefleet_proto::report::{Cell, Head, OtherKind, encode};
use std::path::Path;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Objectives beside those of the other tables: of sums, and of days.
const OTHERS: [(&str, &str); 2] = [
    ("mean", r#"measure: {mean: total}, target: "<= 30ms""#),
    (
        "good days",
        r#"measure: {good_days: {within: 25ms, phase: total, at: 50%}}, target: ">= 50%""#,
    ),
];
/// Most that ingest may take more for the digests' sake.
const TRIGGERS_MAX: f64 = 1.10;
/// Agents that deliver at once: as many as share a transaction.
const DELIVERING: usize = 64;
/// Deliveries of every agent in a turn of one of the two stores.
const TURN: u64 = 20;

/// The digests of an hour of an agent.
struct Hour {
    agent: usize,
    begin_s: u64,
    body: Vec<u8>,
}

/// The table.
pub fn of_digests(agents: u64, window: Duration) -> anyhow::Result<Table> {
    let mut table = Table::new(
        "The same month from digests, as a collector has it after a start",
        &["windows", "MiB of digests", "us/window to load", "first ms", "verdicts", "median ms"],
    );
    let known: Vec<KnownAgent> = (0..agents).map(known).collect::<anyhow::Result<_>>()?;
    let part = window / 8;
    for (name, keys) in OBJECTIVES.iter().chain(&OTHERS) {
        let agreement = agreement(keys)?;
        row(&mut table, name, (&agreement, &Exclusions::default()), &known, part)?;
    }
    // Excluded time cuts an hour of every day: its windows are summed one by one.
    let (_, percentile) = OBJECTIVES[3];
    let excluded = (0..MINUTES / 1_440).map(|day| {
        let from_s = APRIL_S + day * 86_400 + 36_610;
        let span = Span { from_s, until_s: from_s + 1_200 };
        let (reason, approved) = (Reason::Customer, true);
        Exclusion { span, reason, announced_s: None, objectives: Vec::new(), approved }
    });
    let cut = Exclusions::of(excluded.collect());
    row(&mut table, "percentile, 30 hours cut", (&agreement(percentile)?, &cut), &known, part)?;
    table.note("digests as they stand in the store, in memory; us/window until all of them are read and added up");
    table.note(&format!(
        "limit of the first verdict and of later ones, for {AGENTS_MAX} agents: {HELD_MAX_MS} ms"
    ));
    Ok(table)
}

fn row(
    table: &mut Table,
    name: &str,
    (agreement, exclusions): (&Agreement, &Exclusions),
    agents: &[KnownAgent],
    window: Duration,
) -> anyhow::Result<()> {
    let hours = digests(agreement, agents)?;
    let cells = agents.len() as f64 * MINUTES as f64;
    let began = Instant::now();
    let mut windows = [Windows::for_agreement(agreement)];
    for hour in &hours {
        let agent = agents.get(hour.agent).context("an agent")?;
        read(&hour.body, (agent, hour.begin_s, 0), &mut windows)?;
    }
    let load_us = began.elapsed().as_secs_f64() * 1e6 / cells;
    ensure!(windows[0].len() as f64 == cells, "windows are missing");
    let bytes: usize = hours.iter().map(|hour| hour.body.len()).sum();
    drop(hours);
    let verdict = || -> anyhow::Result<()> {
        let label = PeriodLabel::parse("2026-04").map_err(|error| anyhow!("{error}"))?;
        let question = Question { label, as_of_s: None, signed: true };
        let verdict = judge(agreement, &windows[0], exclusions, &question)?;
        let objective = verdict.objectives.first().context("an objective")?;
        ensure!(objective.value.is_some() && objective.attempts.failed > 0, "nothing was judged");
        Ok(())
    };
    let began = Instant::now();
    verdict()?;
    let first_ms = began.elapsed().as_secs_f64() * 1e3;
    let times = again(window, verdict)?;
    let median_ms = median_ms(&times);
    table.row(
        name,
        &[
            figure(cells, 0),
            figure(bytes as f64 / MIB, 1),
            figure(load_us, 2),
            figure(first_ms, 1),
            figure(times.len() as f64, 0),
            figure(median_ms, 1),
        ],
    );
    let most_ms = HELD_MAX_MS * agents.len() as f64 / AGENTS_MAX as f64;
    for (which, took_ms) in [("the first verdict", first_ms), ("a verdict", median_ms)] {
        if took_ms > most_ms {
            let agents = agents.len();
            table.miss(&format!(
                "{which} on {name} by {agents} agents, from digests: {took_ms:.1} ms"
            ));
        }
    }
    Ok(())
}

fn known(agent: u64) -> anyhow::Result<KnownAgent> {
    Ok(KnownAgent {
        agent: Uuid::from_u128(agent.into()),
        name: Name::new(&format!("agent-{agent:02}")).map_err(|error| anyhow!("{error}"))?,
        first_seen_s: 0,
        labels: vec![(0, Labels::new())],
        last_report_end_s: None,
        evidence_keys: Vec::new(),
    })
}

/// The digests of all hours, in the order in which the store hands them out.
fn digests(agreement: &Agreement, agents: &[KnownAgent]) -> anyhow::Result<Vec<Hour>> {
    let needs = Needs::of([&Windows::for_agreement(agreement).asked()]);
    let hour_s = HOUR_S.cast_signed();
    let mut hours = Vec::new();
    for begin_s in (APRIL_S..APRIL_S + MINUTES * 60).step_by(HOUR_S as usize) {
        for (agent, known) in agents.iter().enumerate() {
            let mut draft = Draft::new(&needs, begin_s.unsigned_abs());
            for start_s in (begin_s..begin_s + hour_s).step_by(60) {
                measure(&mut draft, (agent as u64, known), (start_s - APRIL_S) / 60)?;
            }
            hours.push(Hour { agent, begin_s: begin_s.unsigned_abs(), body: draft.encode() });
        }
    }
    Ok(hours)
}

/// Adds a window as an agent measures it.
fn measure(
    draft: &mut Draft<'_>,
    (number, agent): (u64, &KnownAgent),
    minute: i64,
) -> anyhow::Result<()> {
    let failed = failed(number, minute);
    let ns = (failed == 0).then(|| took_ns(minute));
    let mut cell = Cell {
        probe: "front".to_owned(),
        spec: [1; 16],
        interval_s: 60,
        scheduled: 1,
        ok: 1 - failed,
        others: Vec::new(),
        series: Vec::new(),
        counters: Vec::new(),
        values: Vec::new(),
    };
    if failed > 0 {
        cell.add_other(OtherKind::Failed, "timeout", "", failed);
    }
    let mut content = [0; 16];
    content[..8].copy_from_slice(&ns.unwrap_or(0).to_be_bytes());
    let observed = Observed {
        agent: agent.name.as_str(),
        labels: &Labels::new(),
        probe: "front",
        spec: cell.spec,
        start_s: APRIL_S + minute * 60,
        width_s: 60,
        interval_s: 60,
        counts: Counts { ok: cell.ok, failed, invalid: 0, missed: 0 },
        flagged: false,
        content,
        phases: &Sample(ns),
    };
    draft.take(&observed, &cell)?;
    Ok(())
}

// === what ingest pays ===

/// What became of the two stores.
#[derive(Default)]
struct Ingested {
    records: u64,
    wall: Duration,
    cpu: Duration,
}

/// The table: the same records into two stores, in turns, one of which keeps no track of hours.
pub fn of_triggers(window: Duration) -> anyhow::Result<Table> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (with, without) = (folder.path().join("with.db"), folder.path().join("without.db"));
    drop(SqliteStore::open(&without)?);
    rusqlite::Connection::open(&without)?.execute_batch(
        "DROP TRIGGER record_comes; DROP TRIGGER record_changes; DROP TRIGGER record_goes;",
    )?;
    let mut stores = Vec::new();
    for path in [&with, &without] {
        stores.push((runtime.block_on(Fleet::open(path))?, Ingested::default()));
    }
    let began = Instant::now();
    while began.elapsed() < window * 2 {
        for (fleet, ingested) in &mut stores {
            let (wall, cpu) = (Instant::now(), own_cpu()?);
            ingested.records += runtime.block_on(fleet.deliver())?;
            ingested.wall += wall.elapsed();
            ingested.cpu += own_cpu()?.saturating_sub(cpu);
        }
    }
    for (path, hours) in [(&with, true), (&without, false)] {
        let count: i64 = rusqlite::Connection::open(path)?.query_row(
            "SELECT count(*) FROM digest",
            [],
            |row| row.get(0),
        )?;
        ensure!((count > 0) == hours, "{count} hours are noted in {}", path.display());
    }
    let mut table = Table::new(
        "What it costs ingest to keep track of hours: a record a commit, 64 agents at once, windows of a minute with one probe",
        &["records", "records/s", "us/record", "of without"],
    );
    let us = |it: &Ingested| it.cpu.as_secs_f64() * 1e6 / it.records as f64;
    let base_us = us(&stores[1].1);
    for (name, (_, it)) in ["with", "without"].iter().zip(&stores) {
        table.row(
            name,
            &[
                figure(it.records as f64, 0),
                figure(it.records as f64 / it.wall.as_secs_f64(), 0),
                figure(us(it), 1),
                figure(us(it) / base_us, 3),
            ],
        );
    }
    table.note("straight into the store, in turns; us/record is processor time of commits, without session and checks");
    table.note(&format!("limit: {TRIGGERS_MAX} of without"));
    if us(&stores[0].1) / base_us > TRIGGERS_MAX {
        table.miss(&format!(
            "hours cost ingest {:.3} of what it takes without",
            us(&stores[0].1) / base_us
        ));
    }
    Ok(table)
}

/// Agents with an open session each.
struct Fleet {
    store: SqliteStore,
    agents: Vec<(SpoolId, Opened)>,
}

impl Fleet {
    async fn open(path: &Path) -> anyhow::Result<Self> {
        let (store, _) = SqliteStore::open(path)?;
        let mut agents = Vec::new();
        for number in 1..=DELIVERING as u128 {
            let agent = Uuid::from_u128(number);
            let spool_id = *agent.as_bytes();
            let introduction = Introduction {
                agent,
                spool_id,
                proposed_name: Name::new(&format!("agent-{number}"))
                    .map_err(|error| anyhow!("{error}"))?,
                proposed_labels: Labels::new(),
                evidence: None,
                now_s: APRIL_S.unsigned_abs(),
                may_begin: true,
            };
            agents
                .push((spool_id, store.open_session(&TenantScope::default(), introduction).await?));
        }
        Ok(Self { store, agents })
    }

    /// Some windows of every agent, all agents at once; how many.
    async fn deliver(&mut self) -> anyhow::Result<u64> {
        for _ in 0..TURN {
            let mut commits = tokio::task::JoinSet::new();
            for (number, (spool_id, opened)) in (0..).zip(&mut self.agents) {
                let batch = next(number, spool_id, opened)?;
                let store = self.store.clone();
                commits.spawn(async move { store.commit(&TenantScope::default(), batch).await });
            }
            for outcome in commits.join_all().await {
                ensure!(matches!(outcome, Outcome::Committed), "{outcome:?}");
            }
        }
        Ok(TURN * self.agents.len() as u64)
    }
}

/// The next record of a stream.
fn next(agent: u64, spool_id: &SpoolId, opened: &mut Opened) -> anyhow::Result<Batch> {
    let expected = opened.head;
    let seq = expected.last_seq + 1;
    let window_start_s = APRIL_S.unsigned_abs() + seq * 60;
    let head = Head { window_start_s, window_s: 60, ..Head::default() };
    let record = Record {
        seq,
        seq_to: seq,
        kind: Kind::Report,
        prev_hash: expected.last_hash,
        payload: encode(&head, &[cell(agent, seq)]).remove(0),
        signature: Vec::new(),
    };
    let hash = record.content_hash(spool_id);
    (opened.head.last_seq, opened.head.last_hash) = (seq, hash);
    let records = vec![NewRecord { record, sealed_seq: seq, hash, window_s: 60, window_start_s }];
    Ok(Batch { stream: opened.stream, expected, records, received_s: window_start_s + 61 })
}

/// Processor time of this process so far.
fn own_cpu() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').context("a name")?.1.split_whitespace();
    let ticks: Result<Vec<u64>, _> = fields.skip(11).take(2).map(str::parse).collect();
    let ticks: u64 = ticks?.iter().sum();
    Ok(Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
}
