//! How fast a budget is being used, while its period is open.

use super::{Desk, Evidence, agreement, seconds};
use serde_json::{Value, json};

const APRIL: &str = "2026-04-01T00:00:00+02:00";
const HOUR: &str = "2026-04-01T01:00:00+02:00";

/// What is judged of 99.9 % in April after an hour: 25 agents try every 12 s, which are 625 attempts in five minutes. So
/// many of them fail in each of twelve times five minutes, one an agent.
fn april(failed: [u32; 12]) -> (Desk, Value) {
    let mut evidence = Evidence::new();
    evidence.interval_s = 12;
    for minute in 0..60_u32 {
        for agent in 0..25 {
            let fails = minute % 5 == 0 && agent < failed[minute as usize / 5];
            let says = json!({"ok": 5 - u32::from(fails), "failed": {"timeout": u32::from(fails)}});
            let start_s = seconds(APRIL) + i64::from(minute) * 60;
            evidence.cell(&format!("agent-{agent}"), start_s, &says);
        }
    }
    let keys = "measure: success, target: \">= 99.9%\"";
    let desk = Desk::new(&agreement("", &[("answered", keys)]), &evidence);
    let found = desk.first(&format!("--period 2026-04 --as-of {HOUR}"));
    (desk, found["burn"].clone())
}

/// T31: 99.9 % in 30 days fires at 1.44 % over an hour and five minutes: at 9 of 625.
#[test]
fn a_pair_fires_from_its_factor_on() {
    let (desk, burn) = april([9; 12]);
    // 5,400 attempts may fail in April, 108 did; at 14.4 times the rate the rest lasts for 49 hours.
    let fires = json!({"long": "1h", "short": "5m", "factor": "14.4", "long_rate": "14.400000",
        "short_rate": "14.400000", "firing": true, "gone_in_s": 176_400});
    let frozen = |long: &str, short: &str, factor: &str| {
        json!({"long": long, "short": short, "factor": factor, "long_rate": "14.400000",
            "short_rate": "14.400000", "frozen": true})
    };
    // Only an hour is known.
    assert_eq!(burn, json!([fires, frozen("6h", "30m", "6"), frozen("3d", "6h", "1")]));
    let line = "probefleet-collector evaluate --agreement agreement.yaml --windows windows.jsonl --period 2026-04";
    let text = desk.run(&format!("{line} --as-of {HOUR}")).stdout;
    let burning = "  burning     14.4 x the budget over 1h and 14.4 x over 5m: at that rate it is gone in 49h of eligible time\n";
    assert!(text.contains(burning), "{text}");

    // One attempt of 7,500 fewer.
    let mut failed = [9; 12];
    failed[3] = 8;
    let (desk, burn) = april(failed);
    let quiet = json!({"long": "1h", "short": "5m", "factor": "14.4", "long_rate": "14.266667",
        "short_rate": "14.400000", "firing": false});
    assert_eq!(burn[0], quiet);
    let text = desk.run(&format!("{line} --as-of {HOUR}")).stdout;
    assert!(!text.contains("burning"), "{text}");
    // Many more, but over for five minutes.
    let mut failed = [25; 12];
    failed[11] = 0;
    let (_, burn) = april(failed);
    let over = json!({"long": "1h", "short": "5m", "factor": "14.4", "long_rate": "36.666667",
        "short_rate": "0.000000", "firing": false});
    assert_eq!(burn[0], over);
}

/// 31 days allow a little more, and an availability burns by the second.
#[test]
fn a_factor_is_a_share_of_the_period() {
    let evidence =
        Evidence::new().timeline("berlin-1", "2026-05-01T00:00:00+02:00", "U180 D2 U178");
    let keys = "measure: availability, target: \">= 99.9%\"";
    let desk = Desk::new(&agreement("", &[("available", keys)]), &evidence);
    let found = desk.first("--period 2026-05 --as-of 2026-05-01T06:00:00+02:00");
    let burn = found["burn"].as_array().expect("a list");
    let factors: Vec<&Value> = burn.iter().map(|pair| &pair["factor"]).collect();
    assert_eq!(factors, ["14.88", "6.2", "1.033333"]);
    // Two of 360 minutes are 0.5556 %.
    assert_eq!(burn[1]["long_rate"], "5.555556");
    assert_eq!(burn[1]["firing"], false);
    let found = desk.first("--period 2026-05");
    assert_eq!(found.get("burn"), None, "the period is over");
}
