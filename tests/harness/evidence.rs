//! An independent reader of the store: SQL and the wire's own types, nothing of the collector.

use probefleet_proto::v1;
use prost::Message as _;
use std::collections::BTreeMap;
use std::path::Path;

/// A record as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Name of the agent.
    pub agent: String,
    /// Identity of the agent.
    pub agent_id: [u8; 16],
    /// Identity of the spool.
    pub spool_id: Vec<u8>,
    /// Sequence.
    pub seq: u64,
    /// 1 report, 2 gap, 3 event.
    pub kind: u8,
    /// Hash.
    pub hash: Vec<u8>,
    /// Payload.
    pub payload: Vec<u8>,
}

/// Counts of one cell, by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts that were due.
    pub scheduled: u64,
    /// Attempts that were ok.
    pub ok: u64,
    /// The provider's failures.
    pub failed: u64,
    /// Started, spoiled by us.
    pub invalid: u64,
    /// Never started.
    pub missed: u64,
    /// Of the invalid and missed, by reason.
    pub ours: BTreeMap<String, u64>,
    /// In how many records the cell stands: more than one is a conflict.
    pub records: u64,
}

/// Agent, probe and start of the window (Unix s).
pub type CellKey = (String, String, u64);

/// All records of a store file, ordered by agent, spool and sequence.
pub fn records(store: &Path) -> Vec<StoredRecord> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(store, flags).expect("the store opens");
    let sql = "SELECT agent.name, agent.uuid, stream.spool_id, record.seq, record.kind, record.hash, record.payload
               FROM record JOIN stream ON stream.id = record.stream JOIN agent ON agent.id = stream.agent
               ORDER BY agent.name, stream.id, record.seq";
    let mut statement = connection.prepare(sql).expect("the schema is that of the format");
    let rows = statement.query_map([], |row| {
        Ok(StoredRecord {
            agent: row.get(0)?,
            agent_id: row.get::<_, Vec<u8>>(1)?.try_into().expect("16 bytes"),
            spool_id: row.get(2)?,
            seq: row.get::<_, i64>(3)? as u64,
            kind: row.get(4)?,
            hash: row.get(5)?,
            payload: row.get(6)?,
        })
    });
    rows.expect("reads").map(|row| row.expect("a row")).collect()
}

/// The reports among records, with the name of their agent.
pub fn reports(records: &[StoredRecord]) -> Vec<(String, v1::Report)> {
    let reports = records.iter().filter(|record| record.kind == 1);
    reports
        .map(|r| (r.agent.clone(), v1::Report::decode(r.payload.as_slice()).expect("a report")))
        .collect()
}

/// Every cell of the reports, by agent, probe and window.
pub fn cells(reports: &[(String, v1::Report)]) -> BTreeMap<CellKey, Counts> {
    let mut cells: BTreeMap<CellKey, Counts> = BTreeMap::new();
    for (agent, report) in reports {
        let columns = report.cells.clone().unwrap_or_default();
        let name = |index: u32| report.names[index as usize].clone();
        for (index, probe) in columns.probe.iter().enumerate() {
            let cell =
                cells.entry((agent.clone(), name(*probe), report.window_start_s)).or_default();
            cell.scheduled += u64::from(columns.scheduled[index]);
            cell.ok += u64::from(columns.ok[index]);
            cell.records += 1;
            let others =
                columns.other_cell.iter().enumerate().filter(|(_, cell)| **cell as usize == index);
            for (at, _) in others {
                let count = u64::from(columns.other_count[at]);
                match columns.other_kind[at] {
                    1 => cell.failed += count,
                    2 => cell.invalid += count,
                    _ => cell.missed += count,
                }
                if columns.other_kind[at] != 1 {
                    *cell.ours.entry(name(columns.other_name[at])).or_default() += count;
                }
            }
        }
    }
    cells
}
