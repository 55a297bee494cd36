//! Records that the collector can never accept.

use super::*;

fn gap_of(record: &Record) -> v1::Gap {
    assert_eq!(record.kind, Kind::Gap, "record {}", record.seq);
    v1::Gap::decode(record.payload.as_slice()).expect("a gap")
}

fn set_aside(store: &mut Store<FileSystem>, seq: u64) -> PathBuf {
    match store.refuse(seq).expect("the disk works") {
        Refused::SetAside(file) => file,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gap_takes_its_place_and_its_bytes_are_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut first, _) = store(&dir);
    fill(&mut first, 0..40);
    let before = everything(&mut first);
    let unacked = first.state().unacked_bytes;
    // In the first segment, in the middle, and the newest of all.
    for seq in [1, 20, 40] {
        let file = set_aside(&mut first, seq);
        let bytes = fs::read(&file).expect("kept");
        let header = segment::Header::decode(&bytes).expect("a header");
        assert_eq!((header.first_seq, header.spool_id), (seq, first.state().spool_id));
        let index = usize::try_from(seq).expect("small") - 1;
        let kept = segment::Stored::decode(&bytes[HEADER_BYTES..]).expect("intact");
        assert_eq!(kept.to_record(), before[index]);
    }
    let state = first.state();
    assert!(state.unacked_bytes < unacked && state.next_seq == 41);
    assert_eq!(state.oldest_unsent_s, Some(60), "record 1 was the oldest report");
    let after = everything(&mut first);
    for (record, was) in after.iter().zip(&before) {
        if ![1, 20, 40].contains(&record.seq) {
            assert_eq!(record, was);
            continue;
        }
        let gap = gap_of(record);
        assert_eq!((record.seq, record.seq_to), (was.seq, was.seq));
        assert_eq!(record.hash(&state.spool_id), was.hash(&state.spool_id));
        assert!(any_key().has_signed(record, &state.spool_id));
        assert_eq!((gap.from_s, gap.until_s), ((was.seq - 1) * 60, was.seq * 60));
        let web = v1::GapProbe { probe: "web".to_owned(), scheduled: 10, ok: 9, failed: 1 };
        assert_eq!((gap.reason.as_str(), gap.probes), ("record_refused", vec![web]));
    }
    assert_eq!(first.mishaps().refused_records, 3);
    fill(&mut first, 40..50);
    let grown = everything(&mut first);
    drop(first);
    let (mut second, recovered) = store(&dir);
    assert_eq!((recovered.next_seq, recovered.quarantined.len(), recovered.torn_bytes), (51, 0, 0));
    assert_eq!(everything(&mut second), grown);
    assert_eq!(inspect(dir.path()).expect("readable")[0].quarantined.len(), 3, "people are told");
}

#[test]
fn what_is_malformed_makes_a_gap_that_a_collector_takes() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut store, _) = store(&dir);
    let cells = v1::Cells {
        probe: vec![0, 1],
        scheduled: vec![7, 5],
        ok: vec![7, 9],
        ..v1::Cells::default()
    };
    let wild = v1::Report {
        window_start_s: u64::MAX,
        window_s: 61,
        names: vec!["x".repeat(100_000), "web".to_owned()],
        cells: Some(cells),
        ..v1::Report::default()
    };
    fill(&mut store, 5..6);
    for (kind, payload) in [
        (Kind::Report, wild.encode_to_vec()),
        (Kind::Report, b"\xff garbage".to_vec()),
        (Kind::Event, b"\xff garbage".to_vec()),
    ] {
        store.append(&[(kind, payload)]).expect("appended");
    }
    fill(&mut store, 9..10);
    for seq in 2..=4 {
        set_aside(&mut store, seq);
    }
    let records = everything(&mut store);
    let [wild, garbage, event] = [1, 2, 3].map(|index| gap_of(&records[index]));
    let counts: Vec<_> = wild.probes.iter().map(|p| (p.probe.as_str(), p.scheduled)).collect();
    assert_eq!(counts, [("", 7), ("web", 5)]);
    assert!(records[1].payload.len() < 1_000);
    assert_eq!(garbage.probes, []);
    // The reports around the wild one are those of its segment: it took a segment of its own.
    assert_eq!((wild.from_s, wild.until_s), (0, 0));
    assert_eq!((event.from_s, event.until_s, event.probes.len()), (0, 0, 0));
}

#[test]
fn a_window_that_is_not_known_lay_between_its_neighbours() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut store, _) = store(&dir);
    fill(&mut store, 5..6);
    store.append(&[(Kind::Report, b"\xff".to_vec())]).expect("appended");
    fill(&mut store, 7..8);
    set_aside(&mut store, 2);
    let gap = gap_of(&everything(&mut store)[1]);
    assert_eq!((gap.from_s, gap.until_s), (5 * 60, 8 * 60));
}

#[test]
fn gaps_stay_and_so_does_everything_behind_a_few() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut first, _) = store(&dir);
    fill(&mut first, 0..30);
    for seq in 1..=REFUSED_MAX {
        set_aside(&mut first, seq);
        assert_eq!(first.refuse(seq).expect("readable"), Refused::IsGap);
    }
    let before = everything(&mut first);
    assert_eq!(first.refuse(20).expect("readable"), Refused::TooMany);
    assert!(matches!(first.refuse(31), Err(SpoolError::NotHeld(31))));
    assert_eq!(everything(&mut first), before);
    drop(first);
    let (mut second, _) = store(&dir);
    assert_eq!(
        second.refuse(20).expect("readable"),
        Refused::TooMany,
        "a start is nobody who looked"
    );
    for (_, file) in second.refused_files().expect("listed") {
        fs::remove_file(file).expect("removed");
    }
    set_aside(&mut second, 20);
}

#[test]
fn a_full_disk_leaves_the_record_where_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut store, _) = store(&dir);
    fill(&mut store, 0..3);
    let before = everything(&mut store);
    // A folder in the way of the file that is to be written.
    let way = live_dir(&dir).join("0000000002.refused.quarantine");
    fs::create_dir(&way).expect("made");
    assert!(matches!(store.refuse(2), Err(SpoolError::Io { .. })));
    assert_eq!(everything(&mut store), before);
    fs::remove_dir(&way).expect("removed");
    // A try that was interrupted has left half a file.
    fs::write(&way, b"half").expect("written");
    assert_eq!(set_aside(&mut store, 2), way);
    assert!(fs::read(&way).expect("kept").len() > HEADER_BYTES);
}
