use super::*;
use crate::evidence::tests::Signer;
use crate::store::StreamId;
use probefleet_proto::report;
use probefleet_proto::v1;
use prost::Message as _;
use uuid::Uuid;

const SPOOL: SpoolId = [7; 16];
/// Records of a stream: the first two from before the agent signed.
const COUNT: u64 = 8;
const SIGNED_FROM: u64 = 3;
/// The sixth is a gap, cut to [6, 7] where it was sealed as [5, 7].
const GAP: u64 = 6;

fn info(signer: &Signer, last: &SealedRecord) -> StreamInfo {
    StreamInfo {
        stream: StreamId(1),
        agent: Uuid::nil(),
        name: "berlin-1".to_owned(),
        spool_id: SPOOL,
        evidence: Some(Evidence { key: signer.public(), signed_from: SIGNED_FROM }),
        last_seq: last.seq_to,
        last_hash: last.hash.clone(),
    }
}

fn payload(seq: u64) -> Vec<u8> {
    let window_start_s = 60_000 + seq * 60;
    let head = report::Head { window_start_s, window_s: 60, ..report::Head::default() };
    report::encode(&head, &[]).remove(0)
}

/// What the store holds of a record that its agent sealed.
fn stored(record: Record, seq: u64, (window_s, window_start_s): (u64, u64)) -> SealedRecord {
    let reaches_back = (record.seq != seq).then(|| (record.seq, record.prev_hash.to_vec()));
    SealedRecord {
        seq,
        seq_to: record.seq_to,
        kind: u64::from(record.kind.code()),
        window_s,
        window_start_s,
        hash: record.hash(&SPOOL).expect("sound").to_vec(),
        signature: record.signature,
        payload: record.payload,
        reaches_back,
    }
}

/// A stream as it was delivered.
fn stream(signer: &Signer) -> Vec<SealedRecord> {
    let mut hashes = vec![genesis_hash(&SPOOL)];
    let mut all = Vec::new();
    let mut seq = 1;
    while seq <= COUNT {
        let last = *hashes.last().expect("one");
        let (from, seq_to, kind) =
            if seq == GAP { (5, 7, Kind::Gap) } else { (seq, seq, Kind::Report) };
        let prev_hash = if seq == GAP { hashes[4] } else { last };
        let gap =
            v1::Gap { to_hash: vec![9; 32], from_s: 60_300, until_s: 60_480, ..v1::Gap::default() };
        let (payload, filed) = match kind {
            Kind::Gap => (gap.encode_to_vec(), (0, 60_300)),
            _ => (payload(seq), (60, 60_000 + seq * 60)),
        };
        let mut record =
            Record { seq: from, seq_to, kind, prev_hash, payload, signature: Vec::new() };
        if seq >= SIGNED_FROM {
            signer.sign(&mut record, &SPOOL);
        }
        let stored = stored(record, seq, filed);
        hashes.push(stored.hash.as_slice().try_into().expect("32 bytes"));
        all.push(stored);
        seq = seq_to + 1;
    }
    all
}

fn audit(info: &StreamInfo, records: &[SealedRecord]) -> Account {
    let mut auditor = Auditor::new(info);
    records.iter().for_each(|record| auditor.take(record));
    auditor.end(Some((info.last_seq, &info.last_hash)))
}

/// What is found after a change: how many problems, and the first.
fn changed(change: impl FnOnce(&mut Vec<SealedRecord>)) -> (u64, u64, &'static str) {
    let signer = Signer::new(1);
    let mut records = stream(&signer);
    let info = info(&signer, records.last().expect("some"));
    change(&mut records);
    let account = audit(&info, &records);
    let (seq, problem) = account.first_problem.expect("is found");
    (account.problems, seq, problem.word())
}

#[test]
fn what_was_sealed_is_sound() {
    let signer = Signer::new(1);
    let records = stream(&signer);
    let info = info(&signer, records.last().expect("some"));
    let account = audit(&info, &records);
    assert_eq!((account.problems, &account.first_problem), (0, &None));
    assert_eq!((account.from_seq, account.to_seq, account.records), (1, COUNT, 7));
    assert_eq!((account.signed, account.unsigned, account.gaps, account.lost), (5, 2, 1, 2));
    assert_eq!(account.last_hash.map(|hash| hash.to_vec()), Some(info.last_hash.clone()));

    // A part is sound by itself, whatever lies before it.
    let mut auditor = Auditor::new(&info);
    auditor.begin_behind(&records[2]);
    records[3..5].iter().for_each(|record| auditor.take(record));
    let account = auditor.end(None);
    assert_eq!((account.problems, account.records, account.from_seq), (0, 2, 4));
}

#[test]
fn every_change_is_found_and_counted_once() {
    // Record n stands at n - 1; the gap [6, 7] is the sixth, record 8 the seventh.
    assert_eq!(changed(|all| all[3].payload[3] ^= 1), (1, 4, "hash"));
    assert_eq!(changed(|all| all[0].payload[3] ^= 1), (1, 1, "hash"), "unsigned, but chained");
    assert_eq!(changed(|all| all[3].hash[0] ^= 1), (1, 4, "hash"));
    assert_eq!(changed(|all| all[3].hash.truncate(31)), (1, 4, "hash"));
    assert_eq!(changed(|all| all[3].signature[5] ^= 1), (1, 4, "signature"));
    assert_eq!(changed(|all| all[3].signature.clear()), (1, 4, "unsigned"));
    assert_eq!(changed(|all| all[0].signature = vec![1; 64]), (1, 1, "signature"));
    assert_eq!(changed(|all| all[3].kind = 3), (1, 4, "hash"));
    assert_eq!(changed(|all| all[3].kind = 9), (1, 4, "kind"));
    assert_eq!(changed(|all| all[3].window_start_s += 60), (1, 4, "filed"));
    assert_eq!(changed(|all| all[3].window_s = 0), (1, 4, "filed"));
    assert_eq!(changed(|all| all[3].payload = vec![0; 200_000]).1, 4);
    assert_eq!(changed(|all| drop(all.remove(3))), (1, 5, "missing"));
    assert_eq!(changed(|all| drop(all.remove(0))), (1, 2, "missing"));
    assert_eq!(changed(|all| drop(all.pop())), (1, 7, "head"));
    assert_eq!(changed(|all| all.clear()), (1, 0, "head"));
    let twice = changed(|all| all.insert(4, all[3].clone()));
    assert_eq!((twice.1, twice.2), (4, "order"));
    let swapped = changed(|all| {
        let (third, fourth) = (all[2].clone(), all[3].clone());
        (all[2].payload, all[2].signature, all[2].hash) =
            (fourth.payload, fourth.signature, fourth.hash);
        (all[3].payload, all[3].signature, all[3].hash) =
            (third.payload, third.signature, third.hash);
    });
    assert_eq!((swapped.1, swapped.2), (3, "hash"));
}

#[test]
fn a_gap_is_held_by_its_signature() {
    let counts = |all: &mut Vec<SealedRecord>| {
        let mut gap = v1::Gap::decode(all[5].payload.as_slice()).expect("a gap");
        gap.probes = vec![v1::GapProbe { probe: "web".to_owned(), scheduled: 1, ok: 1, failed: 0 }];
        all[5].payload = gap.encode_to_vec();
    };
    assert_eq!(changed(counts), (1, 6, "signature"), "it says other counts");
    assert_eq!(
        changed(|all| all[5].reaches_back = None),
        (1, 6, "signature"),
        "it is not as it was sealed"
    );
    let reaches = |all: &mut Vec<SealedRecord>| all[5].reaches_back = Some((4, vec![1; 32]));
    assert_eq!(changed(reaches), (1, 6, "signature"));
}

/// A gap that reaches back is only ever kept from a later record than it was sealed from.
#[test]
fn what_is_filed_as_another_is_a_gap_that_was_cut_at_its_front() {
    // The gap was sealed as [5, 7]: it is filed as if it stood for those before it, too.
    let removed = |all: &mut Vec<SealedRecord>| {
        all.drain(2..5);
        all[2].seq = 3;
    };
    assert_eq!(changed(removed), (1, 3, "reach"));
    // As it was sealed, yet with a hash before it that need not be that of the record before.
    let same = |all: &mut Vec<SealedRecord>| {
        all.remove(4);
        all[4].seq = 5;
    };
    assert_eq!(changed(same), (1, 5, "reach"));
    let report = |all: &mut Vec<SealedRecord>| {
        let before = all[2].hash.clone();
        all[3].reaches_back = Some((4, before));
    };
    assert_eq!(changed(report), (1, 4, "reach"), "no gap");

    // Behind its own end.
    let signer = Signer::new(1);
    let records = stream(&signer);
    let mut auditor = Auditor::new(&info(&signer, records.last().expect("some")));
    auditor.begin_behind(&records[5]);
    auditor.take(&SealedRecord { seq: 8, ..records[5].clone() });
    let found = auditor.end(None).first_problem.expect("is found");
    assert_eq!((found.0, found.1.word()), (8, "reach"));
}

/// What comes of a stream when whoever asks names the key, and perhaps from which record on it signs.
fn expected(info: &StreamInfo, records: &[SealedRecord], signed_from: Option<u64>) -> Account {
    let key = info.evidence.expect("a key is pinned").key;
    let mut auditor = Auditor::new(info);
    auditor.expect(key.fingerprint(), signed_from);
    records.iter().for_each(|record| auditor.take(record));
    auditor.end(Some((info.last_seq, &info.last_hash)))
}

#[test]
fn with_a_key_what_may_be_unsigned_is_not_for_the_store_to_say() {
    let signer = Signer::new(1);
    let records = stream(&signer);
    let whole = info(&signer, records.last().expect("some"));
    let found = |account: Account| {
        let (seq, problem) = account.first_problem.expect("is found");
        (account.problems, seq, problem)
    };
    // The first two are unsigned, and the store says that they may be.
    assert_eq!(audit(&whole, &records).problems, 0);
    assert_eq!(found(expected(&whole, &records, None)), (2, 1, Problem::Unvouched));
    assert_eq!(found(expected(&whole, &records, Some(2))), (1, 2, Problem::Unsigned(2)));
    assert_eq!(expected(&whole, &records, Some(SIGNED_FROM)).problems, 0);
    // A later one than the store says does not excuse what it does not.
    let mut stripped = records.clone();
    stripped[3].signature.clear();
    let (problems, seq, problem) = found(expected(&whole, &stripped, Some(9)));
    assert_eq!((problems, seq, problem.word()), (1, 4, "unsigned"));
    assert!(Problem::Unvouched.to_string().contains("--signed-from"), "it says what to do");
}

/// Whoever can write the store writes another one, of records that nobody signed, under the right key.
#[test]
fn a_history_without_a_signature_is_nobodys() {
    let signer = Signer::new(1);
    let all = stream(&signer);
    let forged = &all[..2];
    let mut info = info(&signer, &forged[1]);
    info.evidence = Some(Evidence { key: signer.public(), signed_from: 1_000 });
    assert_eq!(audit(&info, forged).problems, 0, "the store is believed");
    assert_eq!(expected(&info, forged, None).problems, 2);
    let account = expected(&info, forged, Some(3));
    assert_eq!((account.problems, account.first_problem), (1, Some((2, Problem::NoneSigned))));
    // Nothing is nobody's word.
    let empty = StreamInfo { last_seq: 0, last_hash: genesis_hash(&SPOOL).to_vec(), ..info };
    assert_eq!(expected(&empty, &[], None).problems, 0);
}

/// Who rewrites all of it, hashes too, has no signature; with a key of his own he has another fingerprint.
#[test]
fn a_history_that_was_made_up_is_not_signed_by_the_key() {
    let (ours, theirs) = (Signer::new(1), Signer::new(2));
    let forged = stream(&theirs);
    let account = audit(&info(&ours, forged.last().expect("some")), &forged);
    assert_eq!(account.problems, 5, "each that is signed");
    let forged_info = info(&theirs, forged.last().expect("some"));
    assert_eq!(audit(&forged_info, &forged).problems, 0);
    let mut auditor = Auditor::new(&forged_info);
    auditor.expect(ours.public().fingerprint(), None);
    let found = auditor.end(None).first_problem.expect("is found");
    assert_eq!((found.0, found.1.word()), (0, "key"));
}

#[test]
fn whatever_stands_in_the_columns_is_told_and_ends() {
    let signer = Signer::new(1);
    let records = stream(&signer);
    let info = info(&signer, records.last().expect("some"));
    for (seq, seq_to, kind) in [(0, 0, 0), (u64::MAX, u64::MAX, 1), (5, 2, 1), (5, u64::MAX, 2)] {
        let odd = SealedRecord {
            seq,
            seq_to,
            kind,
            payload: Vec::new(),
            hash: Vec::new(),
            ..records[3].clone()
        };
        let account = audit(&info, &[records[0].clone(), odd, records[1].clone()]);
        assert!(account.problems > 0, "{seq} {seq_to} {kind}");
    }
}
