//! A file as it was written once: an agent that was upgraded must read what the one before left.

use super::entry::{Place, Reader, Writer, header};
use super::{Entry, Fate, Logged};
use crate::probe::{Outcome, Sample};
use crate::window::{Measured as _, SeriesSpec, Suspect};
use probefleet_proto::name::{FailureClass, InvalidReason, MissedReason};
use std::path::PathBuf;
use std::sync::Arc;

fn series(probe: &str, spec: u8) -> Arc<SeriesSpec> {
    let at_most_ns = std::collections::BTreeMap::new();
    Arc::new(SeriesSpec { probe: probe.to_owned(), spec: [spec; 16], interval_s: 10, at_most_ns })
}

fn sample(outcome: Outcome, code: Option<&'static str>) -> Sample {
    Sample {
        outcome,
        code: code.map(Into::into),
        phases_ns: vec![("connect".into(), 300_000), ("total".into(), 30_000_001)],
        counters: Vec::new(),
        values: Vec::new(),
        detail: serde_json::Map::new(),
    }
}

/// One of each kind.
fn written() -> Vec<u8> {
    let (login, call) = (series("login", 0xab), series("voice-call", 0xcd));
    let (mut writer, mut file) = (Writer::default(), header().to_vec());
    let place = |series, n: u64| Place {
        series,
        window_start_s: 1_800_000_000,
        scheduled_ns: 1_800_000_000_000_000_000 + n * 1_234_567_891,
    };
    let mut spoken = sample(Outcome::Ok, Some("sip:200"));
    spoken.counters = vec![("call_attempts", 1), ("retransmissions", 300)];
    spoken.values = vec![("mos_centi", 438), ("loss_ppm", 1_000)];
    let failed = sample(Outcome::Failed(FailureClass::Status), Some("503"));
    let invalid = sample(Outcome::Invalid(InvalidReason::LocalNetwork), Some("enetunreach"));
    writer.ended(&mut file, place(&login, 0), 70_000, &sample(Outcome::Ok, None));
    writer.ended(&mut file, place(&login, 1), 80_000, &failed);
    writer.ended(&mut file, place(&call, 2), 90_000, &spoken);
    writer.missed(&mut file, place(&call, 3), MissedReason::Overrun);
    writer.ended(&mut file, place(&login, 4), 0, &invalid);
    let stalled = Suspect { window_start_s: 1_800_000_000, flags: 5, stall_ns: 5_000_000_000 };
    writer.suspect(&mut file, &stalled);
    file
}

#[test]
fn what_was_written_once_is_written_and_read_for_ever() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/journal/golden/v1.log");
    let written = written();
    if std::env::var_os("KEEP").is_some() && !path.exists() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("is made");
        std::fs::write(&path, &written).expect("is kept");
    }
    let kept = std::fs::read(&path).expect("is kept; KEEP=1 writes one that is not there");
    assert_eq!(kept.escape_ascii().to_string(), written.escape_ascii().to_string());

    let told: Vec<String> = Reader::new(&kept).map(|entry| told(&entry)).collect();
    assert_eq!(
        told,
        [
            "login ab 1800000000 +0 lag 70000 Ok `` connect=300000 total=30000001",
            "login ab 1800000000 +1234567891 lag 80000 Failed(Status) `503` connect=300000 total=30000001",
            "voice-call cd 1800000000 +2469135782 lag 90000 Ok `sip:200` connect=300000 total=30000001 call_attempts=1 retransmissions=300 mos_centi=438 loss_ppm=1000",
            "voice-call cd 1800000000 +3703703673 Overrun",
            "login ab 1800000000 +4938271564 lag 0 Invalid(LocalNetwork) `enetunreach` connect=300000 total=30000001",
            "1800000000 suspect 5 stall 5000000000",
        ]
    );
}

fn told(entry: &Entry) -> String {
    let Logged { series, window_start_s, scheduled_ns, fate } = match entry {
        Entry::Attempt(logged) => logged,
        Entry::Suspect(Suspect { window_start_s, flags, stall_ns }) => {
            return format!("{window_start_s} suspect {flags} stall {stall_ns}");
        }
    };
    let after_ns = scheduled_ns - window_start_s * 1_000_000_000;
    let place = format!("{} {:x} {window_start_s} +{after_ns}", series.0, series.1[0]);
    match fate {
        Fate::Missed(reason) => format!("{place} {reason:?}"),
        Fate::Ended { lag_ns, result } => {
            let phases = result.phases_ns().iter().cloned();
            let figures = phases.chain(result.counters()).chain(result.values());
            let figures: String = figures.map(|(name, n)| format!(" {name}={n}")).collect();
            format!("{place} lag {lag_ns} {:?} `{}`{figures}", result.outcome(), result.code())
        }
    }
}
