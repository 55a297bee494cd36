//! Response times as durations, from an agent's counters to the report, the page and the metrics.

use crate::support::{AGENT, Chain, Site, Speaker, agreement, hello, noon};
use probefleet_collector::cli::report;
use probefleet_proto::v1::to_agent::Message as Answer;

const WITHIN: &str = "    measure: {within: 150ms, phase: total}\n    target: \">= 95%\"\n";

/// A percentile with bands and a mean in place of a share.
const DURATIONS: &str = "    measure: {percentile: 95%, phase: total}
    target: \"< 150ms\"
    window: {width: 10s}
    credit:
      bands: [{above: 150ms, rate: 5%}, {at_least: 1s, rate: 20%}]
  mean:
    service: web
    probe: web
    measure: {mean: total}
    target: \"<= 50ms\"
    window: {width: 10s}
    credit: {flat: 10%}
";

#[tokio::test(flavor = "multi_thread")]
async fn durations_reach_agents_reports_pages_and_metrics() {
    let site = Site::plain();
    let text = agreement();
    assert!(text.contains(WITHIN), "{text}");
    std::fs::write(site.path("acme.yaml"), text.replace(WITHIN, DURATIONS)).expect("writes");
    let running = site.start().await;
    let mut client = site.client(&running, None).await.expect("connects");
    let mut agent = Speaker::open_as(&mut client, Some(AGENT)).await.expect("opens");
    let session = agent.welcome(hello()).await.session;

    // Agents count what verdicts turn on: below 150 ms, at most 150 ms, below 1 s.
    let plan: serde_json::Value =
        serde_json::from_slice(&agent.plan().await.canonical_json).expect("JSON");
    let thresholds = r#"{"total":[149999999,150000000,999999999]}"#;
    assert_eq!(plan["probes"][0]["at_most_ns"].to_string(), thresholds);

    // 30 attempts, two of which failed and are Down time; the others took 100 ms.
    let chain = Chain::windows(30, 10, &[10, 11]);
    let answer = agent.send(session, chain.records.clone()).await;
    assert!(matches!(answer, Answer::Ack(_)), "{answer:?}");
    let page = running.page_with("/agreements/acme-web", "30 due: 28 ok, 2 failed").await;
    for expected in ["100.007935ms", "&#60; 150ms</span> as the 95% percentile of total", "100ms"] {
        assert!(page.contains(expected), "{expected} in {page}");
    }

    let metrics = running.get("/metrics").await.body;
    for line in [
        "probefleet_objective_value_seconds{agreement=\"acme-web\",objective=\"fast\"} 0.100007935",
        "probefleet_objective_target_seconds{agreement=\"acme-web\",objective=\"fast\"} 0.15",
        "probefleet_objective_value_seconds{agreement=\"acme-web\",objective=\"mean\"} 0.1",
        "probefleet_objective_status{agreement=\"acme-web\",objective=\"mean\",status=\"at_risk\"} 1",
        "probefleet_objective_credit_projected{agreement=\"acme-web\",objective=\"mean\",currency=\"EUR\"} 10",
        "probefleet_objective_credit_projected{agreement=\"acme-web\",objective=\"fast\",currency=\"EUR\"} 0",
        "probefleet_agreement_credit_projected{agreement=\"acme-web\",currency=\"EUR\"} 10",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    for absent in ["value_ratio", "target_ratio"] {
        let line =
            format!("probefleet_objective_{absent}{{agreement=\"acme-web\",objective=\"fast\"");
        assert!(!metrics.contains(&line), "{line} in\n{metrics}");
    }
    reports(&site);
    running.stop().await;
}

fn reports(site: &Site) {
    let zone = jiff::tz::TimeZone::get(&noon()).expect("in the zone database");
    let day = jiff::Timestamp::now().to_zoned(zone).date().to_string();
    let ask = |format: report::Format| {
        let args = report::Args {
            revisions: false,
            revision: None,
            from_records: false,
            agreement: "acme-web".to_owned(),
            period: Some(day.clone()),
            config: site.path("collector.yaml"),
            format,
        };
        std::thread::spawn(move || report::make(&args)).join().expect("no panic").expect("a report")
    };
    let json: serde_json::Value = serde_json::from_str(&ask(report::Format::Json)).expect("JSON");
    let [fast, mean] = [&json["objectives"][1], &json["objectives"][2]];
    assert_eq!((&fast["value"], &fast["exact"]), (&"100.007935ms".into(), &"28/28".into()));
    assert_eq!(fast["needed"], 27);
    assert_eq!(fast["next_band"]["rate"], "5%");
    assert_eq!(fast["next_band"]["threshold"], "> 150ms");
    assert_eq!((&mean["value"], &mean["exact"]), (&"100ms".into(), &"2800000000/28".into()));
    assert_eq!(mean["credit_projected"]["amount"], "10.00");
    assert_eq!(json["credits"]["projected"], "10.00");
    assert_eq!(json["credits"]["payable"], "0.00");

    let csv = ask(report::Format::Csv);
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let column = |name: &str| rows[0].iter().position(|column| *column == name).expect("is there");
    let field = |row: usize, name: &str| rows[row][column(name)];
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{csv}");
    assert_eq!(field(2, "value_seconds"), "0.100007935");
    assert_eq!((field(2, "value_percent"), field(2, "attempts_needed")), ("", "27"));
    assert_eq!((field(3, "value_seconds"), field(3, "credit_projected")), ("0.100000000", "10.00"));
    assert_eq!((field(1, "value_seconds"), field(3, "credit")), ("", ""));

    let text = ask(report::Format::Text);
    for expected in [
        "promised    < 150ms as the 95% percentile of total",
        "measured    100.007935ms (28 of 28 attempts < 150ms, 27 needed)",
        "projected   10.00 EUR: 10% of 100.00",
        "10.00 EUR, if nothing more goes wrong",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
}
