//! Spools that earlier versions wrote must be read for ever. The files were not made by this program: a script computed
//! them from the specification.

use probefleet_agent::evidence::EvidenceKey;
use probefleet_agent::spool::{Limits, Spool, inspect};
use probefleet_proto::record::{Kind, Record};
use probefleet_proto::v1;
use prost::Message as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

const HEAD_HASH: &str = "1afaf4a8686671d1c2305be179785a8b866f817e2336dd7195fde2d9c5a69bf0";

/// A copy that may be opened: opening writes.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn version_1_is_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = tempfile::tempdir().expect("a folder");
    let key = Arc::new(EvidenceKey::kept(keys.path()).expect("makes one"));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/spool-v1");
    copy(&golden, dir.path()).expect("copied");
    let seen = inspect(dir.path()).expect("readable").pop().expect("one");
    assert_eq!((seen.files, seen.oldest_seq, seen.next_seq), (3, 1, 12));
    assert_eq!((seen.reports, seen.events, seen.lost, seen.damaged.len()), (3, 1, 7, 0));
    assert_eq!(
        (seen.oldest_window_s, seen.newest_window_s),
        (Some(1_700_000_040), Some(1_700_000_400))
    );

    let (spool, recovered) =
        Spool::open(dir.path(), Limits::new(0), Arc::clone(&key)).expect("opens");
    assert_eq!(hex(&recovered.spool_id), "000102030405060708090a0b0c0d0e0f");
    assert_eq!((recovered.oldest_seq, recovered.next_seq, recovered.was_new), (1, 12, false));
    assert_eq!((recovered.torn_bytes, recovered.quarantined.len()), (0, 0));
    assert_eq!(recovered.last_sealed_window, Some((1_700_000_400, 60)));
    assert_eq!(hex(&recovered.head_hash), HEAD_HASH);

    let (mut records, mut seq) = (Vec::<Record>::new(), 1);
    while seq < recovered.next_seq {
        records.extend(spool.read_from(seq, 1 << 20).await.expect("readable"));
        seq = records.last().map_or(seq, |record| record.seq_to + 1);
    }
    let shape: Vec<_> =
        records.iter().map(|record| (record.kind, record.seq, record.seq_to)).collect();
    let (report, gap, event) = (Kind::Report, Kind::Gap, Kind::Event);
    assert_eq!(
        shape,
        [
            (event, 1, 1),
            (report, 2, 2),
            (gap, 3, 5),
            (report, 6, 6),
            (gap, 7, 10),
            (report, 11, 11)
        ]
    );
    let signature: Vec<u8> = (0..64).collect();
    assert_eq!(records[1].signature, signature, "as it was written");
    for unsigned in records.iter().filter(|record| record.seq != 2) {
        assert!(key.has_signed(unsigned, &recovered.spool_id), "{}: as it is read", unsigned.seq);
    }
    let dropped = v1::Gap::decode(records[4].payload.as_slice()).expect("a gap");
    assert_eq!((dropped.reason.as_str(), dropped.probes[0].scheduled), ("spool_full", 40));
    let start = v1::Event::decode(records[0].payload.as_slice()).expect("an event");
    assert_eq!((start.what.as_str(), start.detail.as_str()), ("start", "golden"));

    let (seq, _) = spool.append(Kind::Event, b"goes on".to_vec()).await.expect("appended");
    assert_eq!(seq, 12);
    let signed = spool.read_from(12, 1 << 20).await.expect("readable");
    assert_eq!(signed[0].signature.len(), 64, "from now on");
    spool.close().await.expect("closed");
}
