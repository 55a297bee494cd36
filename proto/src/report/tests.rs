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
        counters: Vec::new(),
        values: Vec::new(),
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

/// A cell of calls: each counted, and with a MOS and a loss where it was ok.
fn calls(probe: &str, mos_centi: &[u64], failed: u32) -> Cell {
    let mut cell = cell(probe, mos_centi, failed);
    let ok = mos_centi.len() as u64;
    for (name, count) in [
        ("established", ok),
        ("call_attempts", ok + u64::from(failed)),
        ("redirected", 0),
        ("No Name", 7),
    ] {
        cell.add_counter(name, count);
    }
    for mos_centi in mos_centi {
        cell.record_value("mos_centi", *mos_centi, &[399]);
        cell.record_value("loss_ppm", mos_centi * 1_001, &[]);
        cell.record_value("hops", 3, &[]);
    }
    cell
}

#[test]
fn counters_and_values_are_read_as_they_were_written() {
    let cells = [cell("home", &[5], 0), calls("call", &[438, 399, 400], 2), calls("echo", &[], 1)];
    let payloads = encode(&head(), &cells);
    assert_eq!(Report::decode(&payloads[0]).expect("valid").cells, cells);
    let call = &cells[1];
    assert_eq!(call.counters, [("call_attempts".into(), 5), ("established".into(), 3)]);
    assert_eq!((call.counter("established"), call.counter("redirected")), (3, 0));
    let names: Vec<&str> = call.values.iter().map(|value| value.phase.as_ref()).collect();
    assert_eq!(names, ["mos_centi", "loss_ppm"], "without a unit it is no value");
    assert_eq!((&call.values[0].at_most[..], call.values[0].sum_ns), (&[(399, 1)][..], 1_237));
    let plain = encode(&head(), &cells[..1]);
    assert_eq!(v1::Report::decode(plain[0].as_slice()).expect("valid").extras, None);
}

#[test]
fn counters_and_values_of_a_cell_are_bounded() {
    let mut cell = calls("call", &[400], 0);
    for number in 0..100 {
        cell.add_counter(format!("counter_{number:02}"), 1);
        cell.record_value(format!("value_{number}_ppm"), 1, &[]);
    }
    assert_eq!((cell.counters.len(), cell.values.len()), (COUNTERS_MAX, VALUES_MAX));
    cell.add_counter("call_attempts", u64::MAX);
    cell.record_value("mos_centi", 410, &[]);
    assert_eq!((cell.counter("call_attempts"), cell.values[0].max_ns), (u64::MAX, 410));
    cell.values[0] = Series::new("mos_centi", &[]);
    cell.values[0].record(400);
    assert_eq!(decoded(&[cell.clone()]), [cell]);
}

#[test]
fn payloads_of_calls_are_none_too_large() {
    let mos_centi: Vec<u64> = (0..300).map(|number| 100 + number).collect();
    let cells: Vec<Cell> = (0..150)
        .map(|number| {
            let mut cell = calls(&format!("call-{number}"), &mos_centi, 1);
            (0..20).for_each(|n| cell.add_counter(format!("counter_{number}_{n}"), u64::MAX - n));
            cell
        })
        .collect();
    let payloads = encode(&head(), &cells);
    assert!(payloads.len() > 1);
    assert!(payloads.iter().all(|payload| payload.len() <= PAYLOAD_MAX_BYTES));
    assert_eq!(decoded(&cells), cells);
}

#[test]
fn contradictory_counters_and_values_are_refused() {
    let good = encode(&head(), &[calls("call", &[438, 399, 400], 1)]).remove(0);
    let wire = v1::Report::decode(good.as_slice()).expect("valid");
    let broken = |change: fn(&mut v1::Report)| {
        let mut wire = wire.clone();
        change(&mut wire);
        Report::decode(&wire.encode_to_vec()).expect_err("broken")
    };
    fn extras(report: &mut v1::Report) -> &mut v1::Extras {
        report.extras.as_mut().expect("has some")
    }
    fn counters(report: &mut v1::Report) -> &mut v1::Counters {
        extras(report).counters.as_mut().expect("has some")
    }
    fn values(report: &mut v1::Report) -> &mut v1::Values {
        extras(report).values.as_mut().expect("has some")
    }
    fn rename(report: &mut v1::Report, from: &str, to: &str) {
        let name = report.names.iter_mut().find(|name| *name == from).expect("is there");
        to.clone_into(name);
    }
    for (change, expected) in [
        ((|r| counters(r).count[0] = 0) as fn(&mut v1::Report), "counts nothing"),
        (|r| counters(r).count.clear(), "column `counters.count`"),
        (|r| counters(r).name[1] = counters(r).name[0], "stands twice or out of order"),
        (|r| counters(r).name.swap(0, 1), "stands twice or out of order"),
        (|r| counters(r).name[0] = 99, "`counters.name` points nowhere"),
        (|r| counters(r).cell[0] = 1, "`counters.cell` points nowhere"),
        (|r| rename(r, "call_attempts", "call-attempts"), "no name of a counter"),
        (
            |r| {
                let cells = r.cells.as_mut().expect("has cells");
                (cells.ok[0], cells.other_kind[0], cells.other_count[0]) = (0, 2, 4);
                r.series = None;
            },
            "counts where no attempt was ok or failed",
        ),
        (|r| rename(r, "mos_centi", "mos"), "`values.name` is no name"),
        (|r| values(r).name[1] = values(r).name[0], "stands twice"),
        (|r| values(r).max[0] = 439, "maximum in another bucket"),
        (|r| values(r).sum[0] += 1, "sum that its histogram cannot have"),
        (|r| values(r).at_most[0] = 2, "counter that its histogram cannot have"),
        (|r| values(r).histograms.push(0), "column `histograms`"),
        (
            |r| {
                let cells = r.cells.as_mut().expect("has cells");
                (cells.ok[0], cells.other_count[0]) = (2, 2);
            },
            "more samples than there were attempts",
        ),
    ] {
        let message = broken(change).to_string();
        assert!(message.contains(expected), "{message} should say: {expected}");
    }
    for version in [0, 2] {
        let mut later = wire.clone();
        extras(&mut later).version = version;
        let refused = Report::decode(&later.encode_to_vec());
        assert_eq!(refused, Err(ReportError::Version(version)), "never passed over");
    }
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
    fn any_counters_and_values_survive(
        counts in proptest::collection::btree_map("[a-z][a-z0-9_]{0,62}", 1..u64::MAX, 0..COUNTERS_MAX),
        values in proptest::collection::vec(("[a-z_]{0,8}_(ppm|centi)", 0..2_000_000_u64), 0..40),
    ) {
        let mut cell = cell("call", &[7; 40], 1);
        counts.iter().for_each(|(name, count)| cell.add_counter(name.clone(), *count));
        values.iter().for_each(|(name, value)| cell.record_value(name.clone(), *value, &[40_000]));
        for (name, count) in &counts {
            prop_assert_eq!(cell.counter(name), *count);
        }
        prop_assert_eq!(decoded(&[cell.clone()]), [cell]);
    }

    #[test]
    fn a_flipped_byte_never_panics(at in 0..400_usize, value in any::<u8>()) {
        let mut bytes = encode(&head(), &[calls("call", &[5, 7, 1_000_000], 1)]).remove(0);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        drop(Report::decode(&bytes));
    }
}
