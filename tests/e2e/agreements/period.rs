//! The life of a period in a running collector: published once, restated with the difference in credit, never overwritten.

use super::command;
use crate::page::noon;
use harness::fleet::{Fleet, get};
use harness::history::put;
use harness::process::eventually;
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::report::{Cell, OtherKind};
use serde_json::{Value, json};
use std::time::Duration;

/// How soon what has changed is published: a round, and what a busy machine adds.
const PUBLISHED: Duration = Duration::from_secs(40);
/// How long a collector may take to stop.
const ENDS: Duration = Duration::from_secs(10);
const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 24 * HOUR_S;

/// A day costs 100 euros, a tenth of which is due.
const AGREEMENT: &str = r#"
agreement: shop
version: 1
kind: sla
level: service
title: Web shop
parties: {provider: {name: Hosting AG}, customer: {name: Shop GmbH}}
time_zone: NOON
currency: EUR
term: {from: 2020-01-01, until: 2090-01-01}
period: day
services: {shop: {monthly_charge: "3000.00"}}
objectives:
  availability: {service: shop, probe: front, measure: availability, target: ">= 99%",
    vantages: {quorum: 51%, at_least: 1}, credit: {flat: 10%}}
close: {grace: 1h, dispute: 30d}
"#;

/// A shop that was Down for half an hour yesterday, in the zone where it is noon now.
struct Shop {
    fleet: Fleet,
    portal: String,
    /// Its label, and its first second.
    yesterday: (String, u64),
}

impl Shop {
    fn start() -> Self {
        let plan = "probes:\n  - {name: front, every: 60s, http: {url: 'http://127.0.0.1:9/'}}\n";
        let zone = noon();
        let mut fleet = Fleet::new(plan, &[("shop.yaml", &AGREEMENT.replace("NOON", &zone))]);
        let config = std::fs::read_to_string(fleet.collector_config()).expect("reads");
        let config = config.replace("window: 10s", "window: 60s");
        let config = config.replace("true}", "true, exclusions: exclusions.yaml}");
        std::fs::write(fleet.collector_config(), config).expect("writes");
        std::fs::write(fleet.dir().join("exclusions.yaml"), "exclusions: []\n").expect("writes");
        let now = jiff::Timestamp::from_nanosecond(i128::from(unix_now_ns())).expect("in range");
        let today = now.in_tz(&zone).expect("a zone").start_of_day().expect("has one");
        let from_s = u64::try_from(today.timestamp().as_second()).expect("positive") - DAY_S;
        let label = today.date().yesterday().expect("in range").to_string();
        // Its own first start makes the tables.
        fleet.start_collector();
        fleet.collector.take().expect("runs").terminate(ENDS);
        put(&fleet.store(), (1, "berlin"), minutes(from_s, 600..630));
        let portal = fleet.start_collector().portal;
        Self { fleet, portal, yesterday: (label, from_s) }
    }

    /// Stops the collector, does something with its files, and starts it again.
    fn restart(&mut self, meanwhile: impl FnOnce(&Self)) {
        self.fleet.collector.take().expect("runs").terminate(ENDS);
        meanwhile(self);
        self.portal = self.fleet.start_collector().portal;
    }

    /// Half an hour of maintenance at the time of the outage, or whatever the text makes of it.
    fn exclude(&self, change: impl Fn(String) -> String) {
        let at = |minute: u64| {
            super::instant(i64::try_from(self.yesterday.1 + minute * 60).expect("fits"))
        };
        let text = format!(
            "exclusions:\n  - {{from: {}, until: {}, reason: force_majeure, approved: true}}\n",
            at(600),
            at(630)
        );
        std::fs::write(self.fleet.dir().join("exclusions.yaml"), change(text)).expect("writes");
    }

    fn report(&self, words: &str) -> String {
        let line = format!("probefleet-collector report --agreement shop {words}");
        let ran = command(self.fleet.dir(), &line);
        assert_eq!(ran.code, Some(0), "{words}: {}", ran.stderr);
        ran.stdout
    }

    fn yesterday(&self) -> Value {
        let report = self.report(&format!("--period {} --format json", self.yesterday.0));
        serde_json::from_str(&report).expect("JSON")
    }

    /// What the page's own report says, once the collector has published so many revisions.
    fn published(&self, count: usize) -> Value {
        let path = format!("/agreements/shop/report.json?period={}", self.yesterday.0);
        let found = eventually(PUBLISHED, || {
            let (status, body) = get(&self.portal, &path);
            let report: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
            (report["revisions"].as_array()?.len() >= count).then_some(report)
        });
        let found = found
            .unwrap_or_else(|| panic!("no {count} revisions: {} {}", self.yesterday(), self.log()));
        assert_eq!(found, self.yesterday(), "the store says the same");
        found
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.fleet.dir().join("collector.log")).expect("reads")
    }
}

/// A day of one attempt a minute, some of which failed.
fn minutes(from_s: u64, down: std::ops::Range<u64>) -> impl Iterator<Item = (u64, Cell)> {
    (0..1_440).map(move |minute| {
        let good = !down.contains(&minute);
        let mut cell = Cell {
            probe: "front".to_owned(),
            spec: [1; 16],
            interval_s: 60,
            scheduled: 1,
            ok: u32::from(good),
            others: Vec::new(),
            series: Vec::new(),
            counters: Vec::new(),
            values: Vec::new(),
        };
        if !good {
            cell.add_other(OtherKind::Failed, "timeout", "wait", 1);
        }
        (from_s + minute * 60, cell)
    })
}

/// Reason, what is payable, and what the revision changed about it.
fn told(report: &Value) -> Vec<[&str; 3]> {
    let revisions = report["revisions"].as_array().expect("a list").iter();
    let told = revisions.map(|revision| {
        ["reason", "payable", "delta"].map(|key| revision[key].as_str().expect("text"))
    });
    told.collect()
}

#[test]
fn a_day_is_published_once_and_restated_with_the_difference() {
    let mut shop = Shop::start();
    let first = shop.published(1);
    let published = ["published", "10.00", "10.00"];
    assert_eq!(told(&first), [published]);
    assert_eq!(
        (&first["stage"], &first["revision"], &first["period"]["final"]),
        (&json!("published"), &json!(1), &json!(false))
    );
    // A restart has nothing new to say.
    shop.restart(|_| {});
    assert_eq!(shop.published(1), first);

    // The outage is excused, then a broken file changes nothing, then it is not excused any more.
    shop.exclude(|text| text);
    let excused = ["exclusions_changed", "0.00", "-10.00"];
    assert_eq!(told(&shop.published(2)), [published, excused]);
    shop.exclude(|text| text.replace("force_majeure", "bad_luck"));
    let complained = eventually(PUBLISHED, || {
        let (_, page) = get(&shop.portal, "/agreements/shop");
        page.contains("exclusions.yaml:2:").then_some(page)
    });
    assert!(complained.is_some_and(|page| page.contains("Revision 2: ")), "{}", shop.log());
    let (_, metrics) = get(&shop.portal, "/metrics");
    for line in [
        "probefleet_agreement_exclusions_ok{agreement=\"shop\"} 0",
        "probefleet_agreement_period_stage{agreement=\"shop\",period=\"day\",stage=\"published\"} 1",
        "probefleet_agreement_period_revisions{agreement=\"shop\",period=\"day\"} 2",
        "probefleet_agreement_period_credit{agreement=\"shop\",period=\"day\",currency=\"EUR\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    // A restart stands on the last good file, and complains as well.
    shop.restart(|_| {});
    assert_eq!(told(&shop.published(2)), [published, excused]);
    let (_, page) = get(&shop.portal, "/agreements/shop");
    assert!(page.contains("exclusions.yaml:2:"), "{}", shop.log());
    assert!(shop.log().contains("the exclusions stay as they were"), "{}", shop.log());
    shop.exclude(|_| "exclusions: []\n".to_owned());
    let revoked = ["exclusions_changed", "10.00", "10.00"];
    assert_eq!(told(&shop.published(3)), [published, excused, revoked]);

    // Another agent comes back from a long silence: it has seen no outage, so no majority has.
    shop.restart(|shop| {
        put(&shop.fleet.store(), (2, "london"), minutes(shop.yesterday.1, 0..0));
    });
    let late = ["late_data", "0.00", "-10.00"];
    assert_eq!(told(&shop.published(4)), [published, excused, revoked, late]);

    // What was said first can still be read, and the list has it all.
    let said = shop.report(&format!("--period {} --revision 1", shop.yesterday.0));
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["objectives"], first["objectives"]);
    assert_eq!(said["inputs_digest"], first["revisions"][0]["inputs_digest"]);
    let list = shop.report("--revisions");
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 4, "{list}");
    assert!(lines[3].starts_with(&format!("{}  revision 4  ", shop.yesterday.0)), "{list}");
    assert!(lines[3].ends_with("late data: 0.00 EUR payable (-10.00)"), "{list}");
    let text = shop.report(&format!("--period {}", shop.yesterday.0));
    assert!(text.contains("Stage         revision 4, published on "), "{text}");
}
