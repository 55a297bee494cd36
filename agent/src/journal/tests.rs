use super::entry::{HEADER_BYTES, Reader, header, version};
use super::*;
use crate::probe::Outcome;
use probefleet_proto::name::{FailureClass, InvalidReason};
use proptest::prelude::*;

const NS: u64 = 1_000_000_000;

fn series(probe: &str) -> Arc<SeriesSpec> {
    let at_most_ns = std::collections::BTreeMap::new();
    let (probe, spec) = (probe.to_owned(), [probe.len().to_le_bytes()[0]; 16]);
    Arc::new(SeriesSpec { probe, spec, interval_s: 5, at_most_ns })
}

fn sample(outcome: Outcome, code: Option<&str>) -> Sample {
    Sample {
        outcome,
        code: code.map(|code| code.to_owned().into()),
        phases_ns: vec![("connect".into(), 1_000), ("total".into(), u64::MAX)],
        counters: vec![("call_attempts", 1), ("retransmissions", 300)],
        values: vec![("mos_centi", 399)],
        detail: serde_json::Map::new(),
    }
}

/// What a reader makes of the bytes of a file.
fn read(file: &[u8]) -> Vec<Logged> {
    Reader::new(file).filter_map(attempt).collect()
}

fn attempt(entry: Entry) -> Option<Logged> {
    match entry {
        Entry::Attempt(logged) => Some(logged),
        Entry::Suspect(_) => None,
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Ok),
        proptest::sample::select(FailureClass::ALL).prop_map(Outcome::Failed),
        proptest::sample::select(InvalidReason::ALL).prop_map(Outcome::Invalid),
    ]
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let phases = proptest::collection::vec(("[a-z_]{1,20}", any::<u64>()), 0..6);
    let names = || {
        proptest::sample::select(vec!["call_attempts", "retransmissions", "mos_centi", "loss_ppm"])
    };
    let figures = || proptest::collection::vec((names(), any::<u64>()), 0..4);
    let code = proptest::option::of("[ -~äöü]{0,40}");
    (outcome(), code, phases, figures(), figures()).prop_map(
        |(outcome, code, phases, counters, values)| Sample {
            outcome,
            code: code.map(Into::into),
            phases_ns: phases.into_iter().map(|(name, ns)| (name.into(), ns)).collect(),
            counters,
            values,
            detail: serde_json::Map::new(),
        },
    )
}

/// Attempts of three probes: which, window, instant, and lag with sample or the reason why it was missed.
type Attempt = (usize, u64, u64, Result<(u64, Sample), MissedReason>);

fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    let fate = prop_oneof![
        4 => (any::<u64>(), any_sample()).prop_map(Ok),
        1 => proptest::sample::select(MissedReason::ALL).prop_map(Err),
    ];
    proptest::collection::vec((0..3_usize, any::<u64>(), any::<u64>(), fate), 0..20)
}

/// The file that holds them, and where each of its entries ends.
fn write(attempts: &[Attempt]) -> (Vec<u8>, Vec<usize>) {
    let all = [series("home"), series("portal-login"), series("x")];
    let (mut writer, mut file, mut ends) = (Writer::default(), header().to_vec(), Vec::new());
    for (probe, window_start_s, scheduled_ns, fate) in attempts {
        let place = Place {
            series: &all[*probe],
            window_start_s: *window_start_s,
            scheduled_ns: *scheduled_ns,
        };
        match fate {
            Ok((lag_ns, sample)) => writer.ended(&mut file, place, *lag_ns, sample),
            Err(reason) => writer.missed(&mut file, place, *reason),
        }
        ends.push(file.len());
    }
    (file, ends)
}

fn assert_same(logged: &Logged, (probe, window_start_s, scheduled_ns, fate): &Attempt) {
    use crate::window::Measured as _;
    let all = [series("home"), series("portal-login"), series("x")];
    assert_eq!(*logged.series, (all[*probe].probe.clone(), all[*probe].spec));
    assert_eq!((logged.window_start_s, logged.scheduled_ns), (*window_start_s, *scheduled_ns));
    match (&logged.fate, fate) {
        (Fate::Missed(read), Err(written)) => assert_eq!(read, written),
        (Fate::Ended { lag_ns, result }, Ok((written_lag_ns, sample))) => {
            assert_eq!((lag_ns, result.outcome()), (written_lag_ns, sample.outcome));
            assert_eq!((result.code(), result.phases_ns()), (sample.code(), sample.phases_ns()));
            assert!(result.counters().eq(sample.counters()) && result.values().eq(sample.values()));
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(attempts in attempts()) {
        let (file, _) = write(&attempts);
        let mut reader = Reader::new(&file);
        let logged: Vec<Logged> = reader.by_ref().filter_map(attempt).collect();
        prop_assert_eq!(reader.left_bytes(), 0);
        prop_assert_eq!(logged.len(), attempts.len());
        logged.iter().zip(&attempts).for_each(|(logged, attempt)| assert_same(logged, attempt));
    }

    /// Cut anywhere, overwritten with zeros from anywhere, or with one bit of it flipped: what stands before the damage
    /// is read, nothing else is, and nothing panics.
    #[test]
    fn damage_costs_what_lies_behind_it(
        attempts in attempts(),
        at in any::<proptest::sample::Index>(),
        kind in 0..3,
        bit in 0..8_u32,
    ) {
        let (mut file, ends) = write(&attempts);
        let at = at.index(file.len());
        match kind {
            0 => file.truncate(at),
            1 => file[at..].fill(0),
            _ => file[at] ^= 1 << bit,
        }
        let whole = ends.iter().take_while(|end| **end <= at).count();
        if version(&file) == Some(entry::FORMAT_VERSION) {
            let logged = read(&file);
            logged.iter().zip(&attempts).for_each(|(logged, attempt)| assert_same(logged, attempt));
            // Zeros over zeros change nothing.
            prop_assert!(logged.len() == whole || (kind == 1 && logged.len() > whole), "{} of {whole}", logged.len());
        } else {
            prop_assert!(at < HEADER_BYTES);
        }
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let _any_number = read(&bytes).len();
    }
}

#[test]
fn an_entry_beyond_the_limit_is_refused_before_it_is_read() {
    let mut file = header().to_vec();
    file.extend_from_slice(&u32::MAX.to_le_bytes());
    file.extend_from_slice(&[0; 64]);
    assert_eq!(read(&file), []);
}

// === on disk ===

fn open(dir: &Path) -> (Journal, Vec<Logged>) {
    let mut logged = Vec::new();
    let journal = Journal::open(dir, 1 << 30, |one| {
        logged.extend(attempt(one.clone()));
        true
    });
    (journal, logged)
}

fn files(dir: &Path) -> Vec<String> {
    let name = |entry: io::Result<std::fs::DirEntry>| entry.expect("is there").file_name();
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .map(|entries| entries.map(|e| name(e).into_string().expect("text")).collect())
        .unwrap_or_default();
    names.sort();
    names
}

fn ended(journal: &mut Journal, window_start_s: u64, at_s: u64) {
    journal.ended(&series("home"), (window_start_s, at_s * NS), 7, &sample(Outcome::Ok, None));
}

/// Tends it until something holds: syncs and deletions are done aside.
async fn tend_until(journal: &mut Journal, mut holds: impl FnMut(&mut Journal) -> bool) {
    for round in 0..1_000_u32 {
        journal.tend(Instant::now() + SYNC_EVERY * round);
        if holds(journal) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within five seconds");
}

#[tokio::test]
async fn a_killed_process_leaves_what_landed_and_what_is_sealed_goes() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut journal, logged) = open(dir.path());
    assert_eq!(logged, []);
    for (window_start_s, at_s) in [(10, 11), (10, 12), (20, 21)] {
        ended(&mut journal, window_start_s, at_s);
        journal.flush(Instant::now());
    }
    journal.missed(&series("x"), (20, 22 * NS), MissedReason::Overrun);
    journal.flush(Instant::now());
    assert!(journal.next().is_some(), "there is something to sync");
    drop(journal);
    assert_eq!(files(dir.path()), ["0000000001.log", "0000000002.log"]);

    let (mut journal, logged) = open(dir.path());
    let places: Vec<_> = logged.iter().map(|one| (one.window_start_s, one.scheduled_ns)).collect();
    assert_eq!(places, [(10, 11 * NS), (10, 12 * NS), (20, 21 * NS), (20, 22 * NS)]);
    ended(&mut journal, 20, 23);
    journal.flush(Instant::now());
    assert_eq!(files(dir.path()).len(), 3, "no file is written to again");
    journal.sealed_before(20);
    tend_until(&mut journal, |_| files(dir.path()) == ["0000000002.log", "0000000003.log"]).await;
    journal.sealed(20);
    ended(&mut journal, 30, 31);
    journal.flush(Instant::now());
    tend_until(&mut journal, |_| files(dir.path()) == ["0000000004.log"]).await;
    assert_eq!(open(dir.path()).1.len(), 1);
    assert_eq!(journal.take_notice(), None);
    clear(dir.path()).expect("can be deleted");
    assert_eq!(files(dir.path()), [""; 0]);
}

#[tokio::test]
async fn where_the_disk_fails_it_says_so_and_recovers() {
    let parent = tempfile::tempdir().expect("a folder");
    let dir = parent.path().join("journal");
    std::fs::write(&dir, "no folder").expect("writes");
    let (mut journal, _) = open(&dir);
    for at_s in 11..15 {
        ended(&mut journal, 10, at_s);
        journal.flush(Instant::now());
    }
    let notice = journal.take_notice().expect("an auditor should know");
    assert_eq!(notice.what, "journal_failed");
    std::fs::remove_file(&dir).expect("is ours");
    tokio::time::sleep(RETRY).await;
    ended(&mut journal, 10, 15);
    journal.flush(Instant::now());
    let notice = journal.take_notice().expect("it works again");
    assert_eq!((notice.what, notice.detail.starts_with("4 ")), ("journal_recovered", true));
    assert_eq!(open(&dir).1.len(), 1);
}

#[tokio::test]
async fn no_file_is_begun_while_the_disk_is_busy() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut journal, _) = open(dir.path());
    ended(&mut journal, 10, 11);
    journal.flush(Instant::now());
    // A sync that takes long: nobody asks whether it has ended.
    journal.tend(Instant::now());
    tokio::time::sleep(2 * SYNC_SLOW).await;
    ended(&mut journal, 20, 21);
    journal.flush(Instant::now());
    assert_eq!(files(dir.path()), ["0000000001.log"], "another window waits as well");
    assert!(!journal.pending.is_empty());
    // It has given up its file, as after `PENDING_MAX_BYTES`, and it is time to try another.
    journal.fail(Instant::now() - RETRY, 0, BUSY);
    ended(&mut journal, 20, 22);
    assert_eq!(files(dir.path()), ["0000000001.log"]);

    tokio::time::sleep(RETRY).await;
    tend_until(&mut journal, |journal| !journal.keeper.is_slow(Instant::now())).await;
    ended(&mut journal, 20, 23);
    journal.flush(Instant::now());
    assert_eq!(files(dir.path()), ["0000000001.log", "0000000002.log"]);
    let notice = journal.take_notice().expect("it works again");
    assert_eq!((notice.what, notice.detail.starts_with("2 ")), ("journal_recovered", true));
}

#[tokio::test]
async fn it_never_holds_more_than_its_share_and_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(dir.path(), 0, |_| true);
    let mut notice = None;
    for n in 0..40_000 {
        ended(&mut journal, 900, 900 + n);
        journal.flush(Instant::now());
        notice = notice.or(journal.take_notice());
    }
    let Notice { what, detail } = notice.expect("an auditor should know");
    assert_eq!((what, detail.as_str()), ("journal_failed", "its 1048576 bytes are used up"));
    let size = |name: &String| dir.path().join(name).metadata().expect("is there").len();
    let held: u64 = files(dir.path()).iter().map(size).sum();
    assert!((TOTAL_MIN_BYTES - 2 * ROOM_BYTES..=TOTAL_MIN_BYTES).contains(&held), "{held}");
    journal.sealed(900);
    tokio::time::sleep(RETRY).await;
    ended(&mut journal, 1_800, 1_800);
    journal.flush(Instant::now());
    assert_eq!(journal.take_notice().expect("there is room").what, "journal_recovered");
}

#[test]
fn files_of_another_version_are_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut bytes = header();
    bytes[8] = 2;
    let checksum = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&checksum.to_le_bytes());
    std::fs::write(dir.path().join("0000000007.log"), bytes).expect("writes");
    std::fs::write(dir.path().join("notes.txt"), "of a person").expect("writes");
    let (journal, logged) = open(dir.path());
    assert_eq!((logged.len(), journal.past.len(), journal.next_number), (0, 0, 8));
}
