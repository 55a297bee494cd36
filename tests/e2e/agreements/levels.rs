//! What is inherited from an agreement of a higher level.

use super::{Desk, Evidence, agreement, seconds};
use serde_json::{Value, json};

/// What every customer is promised, by another service than the customer's own.
fn parent() -> String {
    let keys = "agreement: all\nlevel: corporate\n\
        services: {voice: {monthly_charge: \"100.00\"}, chat: {monthly_charge: \"300.00\"}}\n\
        calendars: {office: {weekly: {mon-fri: \"08:00-18:00\"}}}";
    agreement(
        keys,
        &[
            (
                "available",
                "measure: availability, target: \">= 99%\", hours: office, unknown: {as: up}, inherit: floor",
            ),
            (
                "answered",
                "measure: success, target: \">= 95%\", unknown: {as: up}, credit: {flat: 10%}, inherit: locked",
            ),
            (
                "chat",
                "service: chat, measure: success, target: \">= 95%\", unknown: {as: up}, credit: {flat: 10%}",
            ),
            ("setup", "measure: {within: 3s, phase: total}, target: \">= 95%\", unknown: {as: up}"),
        ],
    )
}

fn child(objectives: &[(&str, &str)]) -> String {
    agreement(
        "parent: all\nlevel: customer\ncalendars: {office: {weekly: {mon-fri: \"08:00-18:00\"}}}",
        objectives,
    )
}

fn desk(objectives: &[(&str, &str)]) -> Desk {
    let mut evidence = Evidence::new();
    evidence.cell(
        "berlin-1",
        seconds("2026-04-15T12:00:00+02:00"),
        &json!({"failed": {"timeout": 1}}),
    );
    let desk = Desk::new(&child(objectives), &evidence);
    desk.write("all.yaml", &parent());
    desk
}

fn names(verdict: &Value) -> Vec<&str> {
    verdict["objectives"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect()
}

/// The parent's objectives in its order, one overridden in its place, one more at the end; the customer's
/// charges where it names the service.
#[test]
fn objectives_are_inherited() {
    let desk = desk(&[
        ("mine", "measure: success, target: \">= 1%\", unknown: {as: up}"),
        (
            "available",
            "measure: availability, target: \">= 99.999%\", hours: office, unknown: {as: up}, credit: {flat: 1%}, inherit: floor",
        ),
    ]);
    let verdict = desk.judge("--agreement all.yaml --period 2026-04");
    assert_eq!(names(&verdict), ["available", "answered", "chat", "setup", "mine"]);
    let of = |index: usize| &verdict["objectives"][index];
    assert_eq!(
        (&verdict["agreement"], of(0)["target"].as_str()),
        (&"acme".into(), Some(">= 99.999%"))
    );
    assert_eq!(
        of(0)["seconds"]["eligible"],
        22 * 36_000,
        "in the hours of the child's own calendar"
    );
    assert_eq!(of(0)["credit"], json!({"rate": "1%", "base": "12000.00", "amount": "120.00"}));
    assert_eq!(of(1)["credit"], json!({"rate": "10%", "base": "12000.00", "amount": "1200.00"}));
    assert_eq!(of(2)["credit"], json!({"rate": "10%", "base": "300.00", "amount": "30.00"}));
    assert_eq!(verdict["credits"]["payable"], "1350.00");
}

/// What a child may not do, each with its place.
#[test]
fn floors_and_locks_hold() {
    let floor = "measure: availability, unknown: {as: up}";
    for (name, keys, found) in [
        (
            "available",
            format!("{floor}, hours: office, target: \">= 98.9%\", inherit: floor"),
            "floor-violation",
        ),
        ("available", format!("{floor}, target: \">= 99.9%\", inherit: floor"), "floor-violation"),
        ("available", format!("{floor}, hours: office, target: \">= 99%\""), "floor-violation"),
        ("available", format!("{floor}, hours: office, target: \"> 99%\", inherit: locked"), ""),
        (
            "available",
            format!(
                "{floor}, hours: office, target: \">= 99%\", inherit: floor, credit: {{flat: 1%}}"
            ),
            "",
        ),
        ("available", "remove: true".to_owned(), "floor-violation"),
        ("answered", "measure: success, target: \">= 99%\"".to_owned(), "locked-override"),
        ("answered", "remove: true".to_owned(), "locked-override"),
        ("setup", "remove: true".to_owned(), ""),
        ("other", "remove: true".to_owned(), "unknown-objective"),
    ] {
        let desk = desk(&[("kept", "measure: success, target: \">= 1%\"")]);
        let what = if keys == "remove: true" { "" } else { "service: voice, probe: call, " };
        desk.write("agreement.yaml", &format!("{}  {name}: {{{what}{keys}}}\n", child(&[])));
        let ran = desk.run("probefleet-collector contract check agreement.yaml all.yaml");
        let expected = if found.is_empty() { Some(0) } else { Some(1) };
        assert_eq!(ran.code, expected, "{name}: {keys}\n{}", ran.stderr);
        assert!(ran.stderr.contains(found), "{name}: {keys}\n{}", ran.stderr);
    }
}

/// Files that do not belong together are told apart.
#[test]
fn a_family_has_one_youngest() {
    let desk = desk(&[("kept", "measure: success, target: \">= 1%\"")]);
    desk.write("zoned.yaml", &parent().replace("Europe/Berlin", "Europe/London"));
    desk.write("other.yaml", &parent().replace("agreement: all", "agreement: other"));
    desk.write("circle.yaml", &format!("parent: acme\n{}", parent()));
    for (files, found) in [
        ("agreement.yaml", "unknown-parent: agreement `all` was not given"),
        ("agreement.yaml --agreement zoned.yaml", "the parent's time_zone is Europe/London"),
        (
            "agreement.yaml --agreement all.yaml --agreement other.yaml",
            "neither `other` nor `acme` inherits from the other",
        ),
        ("agreement.yaml --agreement circle.yaml", "every one of them is the parent of another"),
        ("all.yaml --agreement all.yaml", "duplicate-name: agreement `all` a second time"),
    ] {
        let line =
            "probefleet-collector evaluate --windows windows.jsonl --period 2026-04 --agreement";
        let ran = desk.run(&format!("{line} {files}"));
        assert_eq!(ran.code, Some(2), "{files}: {}", ran.stdout);
        assert!(ran.stderr.contains(found), "{files}: {}", ran.stderr);
    }
}

/// T34: 99.95 % × 99.9 % × 99.99 % are 99.840065 %, which is less than 99.9 %.
#[test]
fn a_promise_is_no_stronger_than_what_it_rests_on() {
    let below = |id: &str, target: &str| {
        let objective = format!("measure: availability, target: \">= {target}\"");
        agreement(&format!("agreement: {id}\nkind: ola"), &[("up", &objective)])
    };
    let above = |target: &str, rests_on: &str| {
        agreement(
            "",
            &[(
                "up",
                &format!(
                    "measure: availability, target: \">= {target}\", supported_by: [{rests_on}]"
                ),
            )],
        )
    };
    let desk = Desk::new("", &Evidence::new());
    for (id, target) in [("network", "99.95%"), ("servers", "99.9%"), ("power", "99.99%")] {
        desk.write(&format!("{id}.yaml"), &below(id, target));
    }
    let all = "network/up, servers/up, power/up";
    for (target, rests_on, files, found) in [
        (
            "99.9%",
            all,
            "network.yaml servers.yaml power.yaml",
            "chain-too-weak: `up` promises >= 99.9%, and what it rests on comes to 99.840065%",
        ),
        ("99.84%", all, "network.yaml servers.yaml power.yaml", ""),
        // Whose file was not given may be as good as can be.
        ("99.9%", all, "network.yaml power.yaml", ""),
        (
            "99.9%",
            "network/down",
            "network.yaml",
            "unknown-objective: `network/down`; objectives there: up",
        ),
    ] {
        desk.write("agreement.yaml", &above(target, rests_on));
        let ran = desk.run(&format!("probefleet-collector contract check agreement.yaml {files}"));
        assert_eq!(
            ran.code,
            Some(i32::from(!found.is_empty())),
            "{target} {files}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains(found), "{target} {files}: {}", ran.stderr);
    }
}
