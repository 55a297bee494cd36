//! Real reports, as an agent seals them.

use crate::histogram::latency_ns;
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::report::{Cell, Head, Series, encode};
use probefleet_proto::units::NS_PER_S;
use probefleet_proto::v1;
use prost::Message as _;

/// Probes of a report.
pub const CELLS: usize = 50;
/// Phases of a probe.
pub const PHASES: [&str; 6] = ["start_lag", "connect", "tls", "wait", "receive", "total"];
/// Attempts of a probe in a window: every ten seconds of a minute.
const SAMPLES: u32 = 6;
/// Width of a window, s.
const WINDOW_S: u32 = 60;
/// Different reports; from then on they repeat, in later windows.
const DIFFERENT: usize = 64;
/// How far back the first window lies, s: room for more windows than any run sends.
const BACK_S: u64 = 400 * 86_400;

/// Reports of one window after the other.
pub struct Reports {
    templates: Vec<v1::Report>,
    first_window_s: u64,
}

impl Reports {
    /// All of the same shape, each with its own samples.
    pub fn new() -> anyhow::Result<Self> {
        let mut state = 1;
        let head = Head { window_s: WINDOW_S, plan_hash: vec![7; 32], ..Head::default() };
        let mut templates = Vec::new();
        for _ in 0..DIFFERENT {
            let cells: Vec<Cell> = (0..CELLS).map(|number| cell(number, &mut state)).collect();
            for payload in encode(&head, &cells) {
                templates.push(v1::Report::decode(payload.as_slice())?);
            }
        }
        anyhow::ensure!(templates.len() == DIFFERENT, "a report fits into one record");
        let now_s = unix_now_ns() / NS_PER_S;
        let first_window_s = (now_s - BACK_S).next_multiple_of(u64::from(WINDOW_S));
        Ok(Self { templates, first_window_s })
    }

    /// The payload of a record of that sequence: the report of its window.
    pub fn payload(&self, seq: u64) -> Vec<u8> {
        let mut report = self.templates[seq as usize % DIFFERENT].clone();
        report.window_start_s = self.first_window_s + seq * u64::from(WINDOW_S);
        report.encode_to_vec()
    }
}

fn cell(number: usize, state: &mut u64) -> Cell {
    let series = PHASES.iter().map(|phase| {
        let mut series = Series::new(*phase, &[]);
        (0..SAMPLES).for_each(|_| series.record(latency_ns(state)));
        series
    });
    Cell {
        probe: format!("probe-{number}"),
        spec: [number as u8; 16],
        interval_s: WINDOW_S / SAMPLES,
        scheduled: SAMPLES,
        ok: SAMPLES,
        others: Vec::new(),
        series: series.collect(),
        counters: Vec::new(),
        values: Vec::new(),
    }
}
