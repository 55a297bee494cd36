mod refuse;

use super::segment::HEADER_BYTES;
use super::*;
use crate::evidence::any_key;
use probefleet_proto::record::genesis_hash;
use probefleet_proto::v1;
use prost::Message as _;
use std::fs;
use tempfile::TempDir;

/// Small enough that a test fills it: segments of 4 KiB, 16 of them.
const SMALL: Limits = Limits::exact(64 << 10, 4 << 10);

fn report(window: u64) -> Vec<u8> {
    let cells = v1::Cells {
        probe: vec![0],
        scheduled: vec![10],
        ok: vec![9],
        other_cell: vec![0],
        other_kind: vec![1],
        other_count: vec![1],
        ..v1::Cells::default()
    };
    let report = v1::Report {
        window_start_s: window * 60,
        window_s: 60,
        plan_hash: vec![0; 300],
        names: vec!["web".to_owned()],
        cells: Some(cells),
        ..v1::Report::default()
    };
    report.encode_to_vec()
}

fn store(dir: &TempDir) -> (Store<FileSystem>, Recovered) {
    open_store(FileSystem, dir.path(), SMALL, any_key()).expect("opens")
}

fn fill(store: &mut Store<FileSystem>, windows: std::ops::Range<u64>) {
    for window in windows {
        store.append(&[(Kind::Report, report(window))]).expect("appended");
        store.enforce_budget().expect("within the budget");
    }
}

/// Every record from the oldest on, checked to be dense and chained.
fn everything(store: &mut Store<FileSystem>) -> Vec<Record> {
    let state = store.state();
    let mut records: Vec<Record> = Vec::new();
    let mut seq = state.oldest_seq.max(1);
    while seq < state.next_seq {
        let read = store.read_from(seq, 10_000).expect("readable");
        seq = read.last().expect("not the end").seq_to + 1;
        records.extend(read);
    }
    let mut prev = store.hash_of(state.oldest_seq.saturating_sub(1)).expect("readable");
    for (index, record) in records.iter().enumerate() {
        assert_eq!(Some(record.prev_hash), prev, "record {}", record.seq);
        assert!(index == 0 || records[index - 1].seq_to + 1 == record.seq, "dense");
        prev = Some(record.hash(&state.spool_id).expect("a hash"));
    }
    assert_eq!(prev, Some(state.head_hash));
    records
}

fn live_dir(dir: &TempDir) -> PathBuf {
    let live = files::live_spools(&FileSystem, dir.path()).expect("listed");
    assert_eq!(live.len(), 1);
    live[0].1.clone()
}

fn segments(dir: &TempDir) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(live_dir(dir))
        .expect("listed")
        .map(|entry| entry.expect("listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    paths.sort();
    paths
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("read");
    bytes[at] ^= 0x10;
    fs::write(path, bytes).expect("written");
}

#[test]
fn what_is_appended_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut first, recovered) = store(&dir);
    assert!(recovered.was_new);
    assert_eq!((recovered.next_seq, recovered.oldest_seq), (1, 0));
    assert_eq!(recovered.head_hash, genesis_hash(&recovered.spool_id));
    fill(&mut first, 0..40);
    let before = everything(&mut first);
    assert!(segments(&dir).len() > 3, "it rolled");
    drop(first);
    let (mut second, again) = store(&dir);
    assert_eq!((again.spool_id, again.was_new, again.next_seq), (recovered.spool_id, false, 41));
    assert_eq!(again.last_sealed_window, Some((39 * 60, 60)));
    assert_eq!((again.torn_bytes, again.quarantined.len()), (0, 0));
    assert_eq!(everything(&mut second), before);
    assert_eq!(second.state().oldest_unsent_s, Some(0));
}

#[test]
fn a_torn_tail_costs_what_was_not_finished() {
    for tail in [&[0_u8; 700][..], b"\x90\x00\x00\x00torn"] {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut first, _) = store(&dir);
        fill(&mut first, 0..3);
        drop(first);
        let path = segments(&dir).pop().expect("one");
        let mut bytes = fs::read(&path).expect("read");
        bytes.extend_from_slice(tail);
        fs::write(&path, &bytes).expect("written");
        let (mut second, recovered) = store(&dir);
        assert_eq!(recovered.torn_bytes, u64::try_from(tail.len()).expect("small"));
        assert_eq!(recovered.next_seq, 4);
        fill(&mut second, 3..5);
        assert_eq!(everything(&mut second).len(), 5);
    }
}

#[test]
fn a_roll_that_was_not_finished_is_done_again() {
    for bytes in [&b""[..], b"PFSP", &[0; HEADER_BYTES]] {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut first, id) = store(&dir);
        fill(&mut first, 0..3);
        drop(first);
        fs::write(live_dir(&dir).join("0000000004.seg"), bytes).expect("written");
        let (mut second, recovered) = store(&dir);
        assert_eq!((recovered.spool_id, recovered.next_seq), (id.spool_id, 4));
        fill(&mut second, 3..20);
        assert_eq!(everything(&mut second).len(), 20);
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (first, id) = store(&dir);
    drop(first);
    fs::write(live_dir(&dir).join("0000000001.seg"), b"").expect("written");
    let (mut second, recovered) = store(&dir);
    assert_eq!((recovered.spool_id, recovered.next_seq), (id.spool_id, 1));
    fill(&mut second, 0..2);
}

#[test]
fn damage_costs_one_record_and_nothing_is_deleted() {
    for (index, at, lost) in [(1, 200, 5..=10), (1, 3, 0..=0), (0, 80, 1..=1), (0, 60, 0..=0)] {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut first, _) = store(&dir);
        fill(&mut first, 0..40);
        let before = everything(&mut first);
        drop(first);
        let path = segments(&dir)[index].clone();
        flip(&path, at);
        let damaged = fs::read(&path).expect("read");
        let (mut second, recovered) = store(&dir);
        assert_eq!((recovered.next_seq, recovered.quarantined.len()), (41, 1), "{index} {at}");
        assert_eq!(fs::read(&recovered.quarantined[0]).expect("kept"), damaged);
        let after = everything(&mut second);
        let gaps: Vec<_> = after.iter().filter(|record| record.kind == Kind::Gap).collect();
        assert_eq!(gaps.len(), usize::from(*lost.end() > 0));
        for gap in gaps {
            assert_eq!(gap.seq, gap.seq_to);
            assert!(lost.contains(&gap.seq) || index == 1, "{}", gap.seq);
        }
        let kept = after.iter().filter(|record| before.contains(record)).count();
        assert_eq!(kept, 40 - usize::from(*lost.end() > 0));
        drop(second);
        let (_, third) = store(&dir);
        assert_eq!(third.quarantined.len(), 0, "mended for good");
    }
}

#[test]
fn damage_while_running_is_mended_when_it_is_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut store, _) = store(&dir);
    fill(&mut store, 0..30);
    let last = segments(&dir).len() - 1;
    flip(&segments(&dir)[1], 200);
    flip(&segments(&dir)[last], 200);
    let after = everything(&mut store);
    assert_eq!(after.iter().filter(|record| record.kind == Kind::Gap).count(), 2);
    fill(&mut store, 30..40);
    assert_eq!(everything(&mut store).last().expect("some").seq_to, 40);
}

#[test]
fn a_mending_that_was_interrupted_while_running_is_finished_by_the_next_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut store, _) = store(&dir);
    fill(&mut store, 0..30);
    let before = everything(&mut store);
    // The disk failed between the two names: the damaged segment has lost its own, the mended one does not have it yet.
    let path = segments(&dir)[1].clone();
    fs::rename(&path, files::mended(&path)).expect("renamed");
    assert_eq!(everything(&mut store), before);
    assert!(path.exists());
}

#[test]
fn a_missing_segment_becomes_a_gap() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut first, _) = store(&dir);
    fill(&mut first, 0..40);
    drop(first);
    let paths = segments(&dir);
    fs::remove_file(&paths[2]).expect("deleted");
    let (mut second, _) = store(&dir);
    let gaps: Vec<_> =
        everything(&mut second).into_iter().filter(|r| r.kind == Kind::Gap).collect();
    let Some(Name::Segment { first_seq }) = paths[2].file_name().and_then(Name::parse) else {
        panic!("a name")
    };
    assert_eq!((gaps.len(), gaps[0].seq), (1, first_seq));
    fs::remove_file(&paths[0]).expect("deleted");
    drop(second);
    let (mut third, recovered) = store(&dir);
    assert!(recovered.oldest_seq > 1, "nothing says what came before");
    everything(&mut third);
}

#[test]
fn a_folder_whose_chain_is_lost_is_left_for_another() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut first, id) = store(&dir);
    fill(&mut first, 0..40);
    drop(first);
    let paths = segments(&dir);
    fs::copy(&paths[1], &paths[3]).expect("copied");
    fs::write(&paths[0], vec![0; 5000]).expect("written");
    fs::write(paths.last().expect("some"), vec![0; 5000]).expect("written");
    let (_, recovered) = store(&dir);
    assert!(recovered.was_new && recovered.spool_id != id.spool_id);
    assert_eq!(recovered.next_seq, 1);
    let aside = recovered.quarantined.last().expect("the folder");
    assert!(aside.extension().is_some_and(|extension| extension == "damaged"));
    assert!(fs::read_dir(aside).expect("listed").count() >= paths.len());
}

#[test]
fn a_newer_format_is_refused_and_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut first, _) = store(&dir);
    fill(&mut first, 0..2);
    drop(first);
    let path = segments(&dir).pop().expect("one");
    let mut bytes = fs::read(&path).expect("read");
    bytes[8] = 2;
    let checksum = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
    bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, &bytes).expect("written");
    let refused =
        open_store(FileSystem, dir.path(), SMALL, any_key()).expect_err("newer").to_string();
    assert!(refused.contains("format 2"), "{refused}");
    assert_eq!(fs::read(&path).expect("kept"), bytes);
}

#[test]
fn a_failed_write_goes_to_a_new_segment() {
    for synced in [0, 3] {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut first, _) = store(&dir);
        fill(&mut first, 0..synced);
        if synced > 0 {
            first.break_active();
        }
        fill(&mut first, synced..synced + 2);
        let before = everything(&mut first);
        drop(first);
        let (mut second, recovered) = store(&dir);
        assert_eq!(recovered.next_seq, synced + 3);
        assert_eq!(everything(&mut second), before);
    }
}

#[test]
fn what_a_failed_write_left_behind_is_ignored() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut first, _) = store(&dir);
    fill(&mut first, 0..3);
    // Record 4 reached the file, but its sync failed: it was written again, to the next segment, with other content.
    let path = segments(&dir).pop().expect("one");
    let synced = fs::metadata(&path).expect("there").len();
    fill(&mut first, 3..4);
    drop(first);
    let with_tail = fs::read(&path).expect("read");
    fs::write(&path, &with_tail[..usize::try_from(synced).expect("small")]).expect("written");
    let (mut second, _) = store(&dir);
    second.break_active();
    fill(&mut second, 70..73);
    let before = everything(&mut second);
    drop(second);
    fs::write(&path, &with_tail).expect("written");
    let (mut third, recovered) = store(&dir);
    assert_eq!((recovered.next_seq, recovered.quarantined.len()), (7, 0));
    assert_eq!(everything(&mut third), before);
}

#[test]
fn acknowledged_segments_go_when_a_quarter_is_held() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut store, _) = store(&dir);
    fill(&mut store, 0..100);
    let held = store.state();
    store.release(100).expect("released");
    let state = store.state();
    assert!(
        state.bytes < held.bytes && state.bytes <= SMALL.retained_bytes() + 2 * SMALL.segment_bytes
    );
    assert_eq!((state.unacked_bytes, state.oldest_unsent_s), (0, None));
    assert!(state.oldest_seq > 1);
    everything(&mut store);
    store.append(&[(Kind::Report, report(500))]).expect("appended");
    assert_eq!(store.state().oldest_unsent_s, Some(500 * 60));
    assert_eq!(store.state().unacked_bytes, u64::try_from(report(500).len()).expect("small"));
    assert!(matches!(store.read_from(1, 100), Err(SpoolError::NotHeld(1))));
}

#[test]
fn a_full_spool_drops_what_was_never_sent_into_one_gap() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut first, _) = store(&dir);
    first.release(0).expect("connected once");
    fill(&mut first, 0..400);
    let check = |store: &mut Store<FileSystem>| {
        assert!(store.state().bytes <= SMALL.total_bytes);
        let records = everything(store);
        assert_eq!(
            (records[0].seq, records[0].kind),
            (1, Kind::Report),
            "what may have been sent is kept"
        );
        let gaps: Vec<_> = records.iter().filter(|record| record.kind == Kind::Gap).collect();
        assert_eq!(gaps.len(), 1, "one gap");
        let gap = v1::Gap::decode(gaps[0].payload.as_slice()).expect("a gap");
        let lost = gaps[0].seq_to - gaps[0].seq + 1;
        assert_eq!((gap.from_s, gap.until_s), ((gaps[0].seq - 1) * 60, gaps[0].seq_to * 60));
        let web = v1::GapProbe {
            probe: "web".to_owned(),
            scheduled: lost * 10,
            ok: lost * 9,
            failed: lost,
        };
        assert_eq!((gap.reason.as_str(), gap.probes), (gap::SPOOL_FULL, vec![web]));
        assert_eq!(records.last().expect("some").seq_to, store.state().next_seq - 1);
    };
    check(&mut first);
    drop(first);
    let (mut second, recovered) = store(&dir);
    assert_eq!((recovered.next_seq, recovered.oldest_seq), (401, 1));
    check(&mut second);
    // After a restart nothing is known to be acknowledged: what may have been kept for that reason counts as maybe sent.
    fill(&mut second, 400..500);
    let gaps = everything(&mut second).into_iter().filter(|record| record.kind == Kind::Gap);
    assert!(gaps.count() <= 2);
}

#[test]
fn a_succession_that_was_interrupted_is_settled() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut first, old) = store(&dir);
    fill(&mut first, 0..3);
    first.retire(Retire::Forked, v1::Event::default().encode_to_vec()).expect("a new one");
    let new = first.state().spool_id;
    drop(first);
    let at = |spool_id: &SpoolId, suffix: &str| {
        dir.path().join(format!("{}{suffix}", files::id_text(spool_id)))
    };
    // Both renames were still to come: the old one goes on.
    fs::rename(at(&new, ""), at(&new, ".next")).expect("renamed");
    fs::rename(at(&old.spool_id, ".forked"), at(&old.spool_id, "")).expect("renamed");
    let (mut store_again, recovered) = store(&dir);
    assert_eq!((recovered.spool_id, recovered.next_seq), (old.spool_id, 4));
    assert!(!at(&new, ".next").exists());
    // The second was: the new one has the event.
    store_again.retire(Retire::Forked, v1::Event::default().encode_to_vec()).expect("a new one");
    let new = store_again.state().spool_id;
    drop(store_again);
    fs::rename(at(&new, ""), at(&new, ".next")).expect("renamed");
    let (mut second, recovered) = store(&dir);
    assert_eq!((recovered.spool_id, recovered.next_seq, recovered.was_new), (new, 2, false));
    assert_eq!(everything(&mut second)[0].kind, Kind::Event);
}

#[test]
fn a_deletion_that_was_interrupted_is_finished() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut first, _) = store(&dir);
    first.release(0).expect("connected once");
    let mut copies = Vec::new();
    for window in 0..400 {
        fill(&mut first, window..window + 1);
        for entry in fs::read_dir(live_dir(&dir)).expect("listed") {
            let path = entry.expect("listed").path();
            if path.extension().is_some_and(|extension| extension == "gap")
                && !copies.iter().any(|(known, _)| *known == path)
            {
                copies.push((path.clone(), fs::read(&path).expect("read")));
            }
        }
    }
    let before = everything(&mut first);
    drop(first);
    for (path, bytes) in &copies {
        fs::write(path, bytes).expect("written");
    }
    fs::write(live_dir(&dir).join("0000000030-0000000900.gap"), b"torn").expect("written");
    let (mut second, recovered) = store(&dir);
    assert_eq!(recovered.quarantined.len(), 1);
    assert_eq!(everything(&mut second), before);
}

#[test]
fn a_collector_that_lost_what_is_no_longer_held_gets_a_gap() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut first, _) = store(&dir);
    fill(&mut first, 0..100);
    first.release(100).expect("released");
    let oldest = first.state().oldest_seq;
    first.bridge(3, [5; 32]).expect("bridged");
    let records = everything(&mut first);
    let gap = v1::Gap::decode(records[0].payload.as_slice()).expect("a gap");
    assert_eq!((records[0].seq, records[0].seq_to, records[0].prev_hash), (4, oldest - 1, [5; 32]));
    assert_eq!((gap.reason.as_str(), gap.until_s), (gap::COLLECTOR_ROLLBACK, (oldest - 1) * 60));
    assert_eq!(first.hash_of(3).expect("readable"), Some([5; 32]));
    drop(first);
    let (mut second, recovered) = store(&dir);
    assert_eq!((recovered.oldest_seq, recovered.next_seq), (4, 101));
    assert_eq!(everything(&mut second), records);
}

#[test]
fn a_forked_spool_is_kept_and_another_begins() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut first, id) = store(&dir);
    fill(&mut first, 0..10);
    first.retire(Retire::Forked, b"why".to_vec()).expect("retired");
    let state = first.state();
    assert_ne!(state.spool_id, id.spool_id);
    assert_eq!((state.oldest_seq, state.next_seq), (1, 2));
    fill(&mut first, 10..12);
    let records = everything(&mut first);
    assert_eq!((records[0].kind, records[0].payload.as_slice()), (Kind::Event, &b"why"[..]));
    drop(first);
    let (_, recovered) = store(&dir);
    assert_eq!((recovered.spool_id, recovered.next_seq), (state.spool_id, 4));
    assert!(dir.path().join(format!("{}.forked", files::id_text(&id.spool_id))).is_dir());
    fs::create_dir(dir.path().join("0".repeat(32))).expect("made");
    assert!(matches!(
        open_store(FileSystem, dir.path(), SMALL, any_key()),
        Err(SpoolError::Several(..))
    ));
}

#[tokio::test]
async fn concurrent_appends_are_all_durable_and_dense() {
    let dir = tempfile::tempdir().expect("a folder");
    let (spool, _) = Spool::open(dir.path(), Limits::new(0), any_key()).expect("opens");
    let mut tasks = tokio::task::JoinSet::new();
    for window in 0..200 {
        let spool = spool.clone();
        tasks.spawn(async move {
            spool.append(Kind::Report, report(window)).await.expect("appended").0
        });
    }
    let mut seqs = tasks.join_all().await;
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=200).collect::<Vec<_>>());
    assert_eq!(spool.state().borrow().next_seq, 201);
    let too_large = spool.append(Kind::Event, vec![0; PAYLOAD_MAX_BYTES + 1]).await;
    assert!(matches!(too_large, Err(SpoolError::PayloadSize(_))));
    assert!(matches!(spool.append(Kind::Gap, vec![]).await, Err(SpoolError::GapAppended)));
    assert!(matches!(
        Spool::open(dir.path(), Limits::new(0), any_key()),
        Err(SpoolError::Locked { .. })
    ));
    spool.close().await.expect("closed");
    assert!(matches!(spool.append(Kind::Event, vec![]).await, Err(SpoolError::Closed)));
    let (_, recovered) = Spool::open(dir.path(), Limits::new(0), any_key()).expect("free again");
    assert_eq!(recovered.next_seq, 201);
}

/// A spool of seven small records in two segments, with the bytes of each file.
fn small_spool(dir: &TempDir) -> (Vec<Record>, Vec<(PathBuf, Vec<u8>)>) {
    let tiny = Limits { segment_bytes: 600, ..SMALL };
    let (mut store, _) = open_store(FileSystem, dir.path(), tiny, any_key()).expect("opens");
    for length in [1, 2, 0, 30, 4, 5, 6] {
        store.append(&[(Kind::Event, vec![b'x'; length])]).expect("appended");
    }
    let records = everything(&mut store);
    drop(store);
    let files = segments(dir).into_iter().map(|path| {
        let bytes = fs::read(&path).expect("read");
        (path, bytes)
    });
    (records, files.collect())
}

/// Opens, and checks that nothing but what was written is there, dense and chained. Returns what was found.
fn open_and_check(dir: &TempDir, written: &[Record]) -> (Recovered, Vec<Record>) {
    let (mut store, recovered) = store(dir);
    let found = everything(&mut store);
    for record in found.iter().filter(|record| record.kind != Kind::Gap) {
        assert_eq!(written.iter().find(|written| written.seq == record.seq), Some(record));
    }
    (recovered, found)
}

fn restore(dir: &TempDir, files: &[(PathBuf, Vec<u8>)]) {
    for entry in fs::read_dir(live_dir(dir)).expect("listed") {
        fs::remove_file(entry.expect("listed").path()).expect("deleted");
    }
    for (path, bytes) in files {
        fs::write(path, bytes).expect("written");
    }
}

#[test]
fn a_kill_at_any_byte_leaves_a_spool_that_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let (written, files) = small_spool(&dir);
    let (path, last) = files.last().expect("two").clone();
    for cut in (0..last.len()).step_by(5) {
        restore(&dir, &files);
        fs::write(&path, &last[..cut]).expect("written");
        let (recovered, found) = open_and_check(&dir, &written);
        assert_eq!(recovered.quarantined.len(), 0, "a write that was not finished is no damage");
        assert_eq!(found, written[..found.len()], "cut at {cut}");
        assert_eq!(recovered.next_seq, u64::try_from(found.len()).expect("few") + 1);
    }
}

#[test]
fn a_bit_flipped_anywhere_costs_at_most_one_record() {
    let dir = tempfile::tempdir().expect("a folder");
    let (written, files) = small_spool(&dir);
    for (index, (path, bytes)) in files.iter().enumerate() {
        // Every bit and every cut of a segment is tried without files, where it costs nothing: see the tests of `scan`.
        for at in (0..bytes.len()).step_by(11) {
            restore(&dir, &files);
            flip(path, at);
            let (recovered, found) = open_and_check(&dir, &written);
            let kept = found.iter().filter(|record| record.kind != Kind::Gap).count();
            assert!(kept + 1 >= written.len(), "{index}: {at}");
            let seen = recovered.quarantined.len() == 1 || recovered.torn_bytes > 0;
            assert!(seen, "{index}: {at} went unseen");
        }
    }
}

fn key(seed: u8) -> Arc<EvidenceKey> {
    Arc::new(EvidenceKey::of_seed(&[seed; 32]).expect("a key"))
}

#[test]
fn everything_that_is_sealed_is_signed() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut store, _) = store(&dir);
    // So much that there is a gap, and, once the collector has lost what it had, another.
    fill(&mut store, 1..300);
    let gapped = everything(&mut store);
    store.release(store.state().next_seq - 1).expect("released");
    store.bridge(store.state().oldest_seq - 5, [4; 32]).expect("bridged");
    drop(store);
    let (mut store, _) = self::store(&dir);
    let (bridged, spool_id) = (everything(&mut store), store.state().spool_id);
    for records in [gapped, bridged] {
        assert!(records.iter().any(|record| record.kind == Kind::Gap));
        for record in records {
            assert!(any_key().has_signed(&record, &spool_id), "{} {:?}", record.seq, record.kind);
        }
    }
    store.retire(Retire::Forked, b"event".to_vec()).expect("retired");
    fill(&mut store, 1..3);
    let spool_id = store.state().spool_id;
    for record in everything(&mut store) {
        assert!(any_key().has_signed(&record, &spool_id), "{} {:?}", record.seq, record.kind);
    }
}

#[test]
fn a_spool_of_another_key_is_not_opened_and_stays_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut one, _) = store(&dir);
    fill(&mut one, 1..4);
    drop(one);
    let refused = open_store(FileSystem, dir.path(), SMALL, key(9)).expect_err("another key");
    let text = refused.to_string();
    assert!(matches!(refused, SpoolError::OtherKey { .. }), "{text}");
    assert!(text.contains(&key(9).public().to_string()) && text.contains("Put back"), "{text}");
    let (mut again, recovered) = store(&dir);
    assert_eq!((recovered.was_new, recovered.next_seq), (false, 4));
    assert_eq!(everything(&mut again).len(), 3);
}

/// Takes the signatures off the records of a segment: a version that does not sign leaves it like that.
fn unsign(path: &Path) {
    let bytes = fs::read(path).expect("read");
    let mut unsigned = bytes[..HEADER_BYTES].to_vec();
    for span in scan::Scan::of(&bytes, 1, u64::MAX).spans {
        let mut record = scan::stored_at(&bytes, &span).expect("intact").to_record();
        record.signature.clear();
        segment::encode_record(&record, &mut unsigned);
    }
    assert_eq!(unsigned.len(), bytes.len());
    fs::write(path, unsigned).expect("written");
}

#[test]
fn what_was_sealed_unsigned_is_signed_when_it_is_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut first, _) = store(&dir);
    fill(&mut first, 0..20);
    let signed = everything(&mut first);
    drop(first);
    for path in segments(&dir) {
        unsign(&path);
    }
    let (mut second, recovered) = store(&dir);
    assert_eq!((recovered.next_seq, recovered.quarantined.len()), (21, 0));
    assert_eq!(everything(&mut second), signed);
    fill(&mut second, 20..22);
    assert_eq!(everything(&mut second)[..20], signed, "each time alike");
}

#[test]
fn a_wrong_key_signs_nothing_of_what_is_mended() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut one, _) = store(&dir);
    fill(&mut one, 0..40);
    drop(one);
    // A record is lost, and a segment; in the last segment is none left, so that the newest record is a gap.
    let paths = segments(&dir);
    let [first, .., lost, last] = paths.as_slice() else { panic!("it rolled") };
    flip(first, 200);
    fs::remove_file(lost).expect("deleted");
    let bytes = fs::read(last).expect("read");
    fs::write(last, &bytes[..HEADER_BYTES]).expect("written");
    for opening in ["mends", "finds it mended"] {
        let refused = open_store(FileSystem, dir.path(), SMALL, key(9)).expect_err("another key");
        assert!(matches!(refused, SpoolError::OtherKey { .. }), "{opening}: {refused}");
    }
    let (mut again, recovered) = store(&dir);
    assert!(!recovered.was_new);
    let (records, spool_id) = (everything(&mut again), recovered.spool_id);
    assert_eq!(records.iter().filter(|record| record.kind == Kind::Gap).count(), 2);
    assert_eq!(records.last().expect("some").kind, Kind::Gap);
    for record in records {
        assert!(any_key().has_signed(&record, &spool_id), "{} {:?}", record.seq, record.kind);
    }
}
