use super::*;
use crate::record::PAYLOAD_MAX_BYTES;
use crate::v1;
use proptest::prelude::*;
use prost::Message as _;

fn head() -> Head {
    Head { window_start_s: 1_700_000_040, window_s: 60, plan_hash: vec![1; 32], ..Head::default() }
}

fn cell(probe: &str, latencies_ns: &[u64], failed: u32) -> Cell {
    let ok = u32::try_from(latencies_ns.len()).expect("few");
    let mut total = Series::new("total", &[1_000, 2_000_000]);
    latencies_ns.iter().for_each(|ns| total.record(*ns));
    let mut cell = Cell {
        probe: probe.to_owned(),
        spec: [3; 16],
        interval_s: 10,
        scheduled: ok + failed,
        ok,
        others: Vec::new(),
        series: if latencies_ns.is_empty() { Vec::new() } else { vec![total] },
    };
    (0..failed).for_each(|_| cell.add_other(OtherKind::Failed, "status", "503", 1));
    cell
}

fn decoded(cells: &[Cell]) -> Vec<Cell> {
    encode(&head(), cells)
        .iter()
        .flat_map(|payload| Report::decode(payload).expect("valid").cells)
        .collect()
}

#[test]
fn a_report_reads_what_it_wrote() {
    let cells = [cell("home", &[5, 7, 1_000_000, 7_200_000_000_000], 2), cell("login", &[], 1)];
    let payloads = encode(&head(), &cells);
    assert_eq!(payloads.len(), 1);
    let report = Report::decode(&payloads[0]).expect("valid");
    assert_eq!((report.head, report.cells), (head(), cells.to_vec()));
    assert_eq!(cells[0].series[0].at_most, [(1_000, 2), (2_000_000, 3)]);
    assert_eq!(cells[0].series[0].clamped, 1);
}

#[test]
fn a_window_without_cells_is_a_report() {
    let payloads = encode(&head(), &[]);
    assert_eq!(Report::decode(&payloads[0]).expect("valid").cells, []);
    assert_eq!(payloads.len(), 1);
}

#[test]
fn more_cells_are_more_reports_and_none_is_too_large() {
    let cells: Vec<Cell> = (0..3_000)
        .map(|n| {
            cell(
                &format!("probe-{n}"),
                &(0..40).map(|k| 1_000_000 + n * 7_919 + k * 65_537).collect::<Vec<_>>(),
                1,
            )
        })
        .collect();
    let payloads = encode(&Head { stragglers_follow: true, ..head() }, &cells);
    assert!(payloads.len() > 1);
    assert!(payloads.iter().all(|payload| payload.len() <= PAYLOAD_MAX_BYTES));
    let reports: Vec<Report> =
        payloads.iter().map(|payload| Report::decode(payload).expect("valid")).collect();
    let following: Vec<bool> = reports.iter().map(|report| report.head.stragglers_follow).collect();
    assert_eq!(following.iter().filter(|follows| **follows).count(), 1);
    assert_eq!(following.last(), Some(&true));
    assert_eq!(reports.into_iter().flat_map(|report| report.cells).collect::<Vec<_>>(), cells);
}

#[test]
fn codes_of_a_cell_are_bounded() {
    let mut cell = cell("home", &[], 0);
    for code in 0..100 {
        cell.add_other(OtherKind::Failed, "status", &code.to_string(), 1);
    }
    cell.scheduled = 100;
    assert_eq!(cell.others.len(), CODES_MAX + 1);
    assert_eq!(cell.count(OtherKind::Failed), 100);
    assert_eq!(decoded(&[cell.clone()]), [cell]);
}

#[test]
fn contradictions_are_refused() {
    let good = encode(&head(), &[cell("home", &[5, 7, 1_000_000], 1)]).remove(0);
    let wire = v1::Report::decode(good.as_slice()).expect("valid");
    let broken = |change: fn(&mut v1::Report)| {
        let mut wire = wire.clone();
        change(&mut wire);
        Report::decode(&wire.encode_to_vec()).expect_err("broken").to_string()
    };
    fn cells(report: &mut v1::Report) -> &mut v1::Cells {
        report.cells.as_mut().expect("has cells")
    }
    fn series(report: &mut v1::Report) -> &mut v1::Series {
        report.series.as_mut().expect("has series")
    }
    for (change, expected) in [
        ((|r| r.window_s = 61) as fn(&mut v1::Report), "not on the grid"),
        (|r| r.window_start_s += 1, "not on the grid"),
        (|r| cells(r).ok[0] = 2, "scheduled differs"),
        (|r| cells(r).ok.clear(), "column `ok`"),
        (|r| cells(r).spec_hash.truncate(15), "column `spec_hash`"),
        (|r| cells(r).probe[0] = 99, "`probe` points nowhere"),
        (|r| cells(r).other_kind[0] = 4, "`other_kind` points nowhere"),
        (|r| r.names[0] = "No Name".to_owned(), "`probe` is no name"),
        (|r| r.names[0] = "x".repeat(65), "`probe` is no name"),
        (|r| series(r).max_ns[0] = 2_000_000, "maximum in another bucket"),
        (|r| series(r).sum_ns[0] = 7, "sum that its histogram cannot have"),
        (|r| series(r).clamped[0] = 1, "maximum in another bucket"),
        (|r| series(r).at_most[0] = 3, "counter that its histogram cannot have"),
        (|r| series(r).histograms.push(0), "column `histograms`"),
        (|r| series(r).histograms.clear(), "cut off"),
        (|r| series(r).cell[0] = 1, "`cell` points nowhere"),
        (|r| cells(r).interval_s[0] = 0, "column `interval_s`"),
    ] {
        let message = broken(change);
        assert!(message.contains(expected), "{message} should say: {expected}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(Report::decode(&bytes));
    }

    #[test]
    fn any_cells_survive(latencies in proptest::collection::vec(1..8_000_000_000_000_u64, 0..60), failed in 0..5_u32) {
        prop_assume!(failed > 0 || !latencies.is_empty());
        let cells = [cell("home", &latencies, failed)];
        prop_assert_eq!(decoded(&cells), cells);
    }

    #[test]
    fn a_flipped_byte_never_panics(at in 0..200_usize, value in any::<u8>()) {
        let mut bytes = encode(&head(), &[cell("home", &[5, 7, 1_000_000], 1)]).remove(0);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        drop(Report::decode(&bytes));
    }
}
