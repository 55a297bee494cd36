//! Maintenance and other time that does not count.

use super::{Desk, Evidence, agreement};

const RULE: &str = "maintenance: {notice: 48h, at_most: 70h, approval: automatic}";
/// Two hours on Sunday 12 April, announced five days before.
const TWO_HOURS: &str = "exclusions:
  - {from: 2026-04-12T01:00:00+02:00, until: 2026-04-12T03:00:00+02:00, reason: maintenance,
     announced: 2026-04-07T09:00:00+02:00}
";

/// T1: fifty minutes Down, thirty of them in two hours of maintenance.
#[test]
fn excluded_time_is_removed_or_up_or_counted() {
    let evidence = Evidence::new()
        .timeline("berlin-1", "2026-04-12T01:10:00+02:00", "D30 U")
        .timeline("berlin-1", "2026-04-19T10:00:00+02:00", "D20 U");
    for (exclusions, exact, value) in [
        ("removed", "2583600/2584800", "99.953575%"),
        ("as_up", "2590800/2592000", "99.953704%"),
        ("none", "2589000/2592000", "99.884259%"),
    ] {
        let keys = format!(
            "measure: availability, target: \">= 99.95%\", unknown: {{as: up}}, exclusions: {exclusions}"
        );
        let desk = Desk::new(&agreement(RULE, &[("available", &keys)]), &evidence);
        desk.write("x.yaml", TWO_HOURS);
        let verdict = desk.first("--period 2026-04 --exclusions x.yaml");
        assert_eq!(
            (verdict["exact"].as_str(), verdict["value"].as_str()),
            (Some(exact), Some(value))
        );
        let excluded = if exclusions == "none" { 0 } else { 7_200 };
        assert_eq!(verdict["seconds"]["excluded"], excluded, "{exclusions}");
    }
}

/// T1, the flip case: 4,000 minutes excluded and 20.5 Down are breached or met by what excluded time counts as.
#[test]
fn what_excluded_time_counts_as_can_decide() {
    let mut evidence = Evidence::new();
    (evidence.width_s, evidence.interval_s) = (30, 30);
    let evidence = evidence.timeline("berlin-1", "2026-04-19T10:00:00+02:00", "D41 U");
    let record = "exclusions:\n  - {from: 2026-04-10T00:00:00+02:00, until: 2026-04-12T18:40:00+02:00, reason: maintenance, \
                  announced: 2026-04-01T00:00:00+02:00}\n";
    for (exclusions, value, status) in
        [("removed", "99.947704%", "breached"), ("as_up", "99.952546%", "met")]
    {
        let keys = format!(
            "measure: availability, target: \">= 99.95%\", unknown: {{as: up}}, window: {{width: 30s}}, exclusions: {exclusions}"
        );
        let desk = Desk::new(&agreement(RULE, &[("available", &keys)]), &evidence);
        desk.write("x.yaml", record);
        let verdict = desk.first("--period 2026-04 --exclusions x.yaml");
        assert_eq!(
            (verdict["value"].as_str(), verdict["status"].as_str()),
            (Some(value), Some(status))
        );
        assert_eq!(verdict["seconds"]["excluded"], 4_000 * 60);
    }
}

/// Work that was announced 20 hours before is not excluded; what was, is no longer once the agreement asks for approval.
#[test]
fn notice_and_approval_are_asked_for() {
    let keys = "measure: availability, target: \">= 99.95%\", unknown: {as: up}";
    let late = TWO_HOURS.replace("2026-04-07T09:00:00", "2026-04-11T05:00:00");
    let approved = TWO_HOURS.replace("announced:", "approved: true, announced:");
    let emergency = approved.replace("reason: maintenance", "reason: emergency_maintenance");
    let by_customer = RULE.replace("automatic", "customer");
    let unannounced = TWO_HOURS.replace(",\n     announced: 2026-04-07T09:00:00+02:00", "");
    for (rule, records, excluded, because) in [
        (RULE, TWO_HOURS, 7_200, None),
        (RULE, &late, 0, Some("short_notice")),
        (RULE, &unannounced, 0, Some("not_announced")),
        (&*by_customer, TWO_HOURS, 0, Some("not_approved")),
        (&*by_customer, &approved, 7_200, None),
        ("", &approved, 0, Some("not_agreed")),
        ("", &emergency, 7_200, None),
        ("maintenance: {notice: 0s, at_most: 45m, approval: automatic}", &late, 2_700, None),
    ] {
        let desk = Desk::new(&agreement(rule, &[("available", keys)]), &Evidence::new());
        desk.write("x.yaml", records);
        let verdict = desk.judge("--period 2026-04 --exclusions x.yaml");
        assert_eq!(verdict["objectives"][0]["seconds"]["excluded"], excluded, "{rule} {records}");
        let claim = &verdict["exclusions"][0];
        assert_eq!(
            (claim["holds"].as_bool(), claim["because"].as_str()),
            (Some(because.is_none()), because),
            "{rule} {records}"
        );
        let without = desk.judge("--period 2026-04");
        assert_ne!(without["inputs_digest"], verdict["inputs_digest"], "records are inputs");
    }
}

/// Problems of the file are told with their place, and nothing is judged.
#[test]
fn a_wrong_file_is_refused() {
    let keys = "measure: availability, target: \">= 99.95%\"";
    let desk = Desk::new(&agreement("", &[("available", keys)]), &Evidence::new());
    let wrong = TWO_HOURS.replace("reason: maintenance", "reason: holiday, objectives: [speed]");
    desk.write("x.yaml", &wrong);
    let line = "probefleet-collector evaluate --agreement agreement.yaml --windows windows.jsonl --period 2026-04";
    let ran = desk.run(&format!("{line} --exclusions x.yaml"));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("x.yaml:2:81: bad-value"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("unknown-objective: `speed`; objectives here: available"),
        "{}",
        ran.stderr
    );
    let ran = desk.run(&format!("{line} --exclusions y.yaml"));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.starts_with("y.yaml: cannot be read"), "{}", ran.stderr);
}
