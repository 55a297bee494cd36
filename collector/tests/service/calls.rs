//! Calls, from an agent's counters and values to the report, the page and the metrics.

use crate::support::{AGENT, Chain, Site, Speaker, agreement, hello, noon, payload};
use probefleet_collector::cli::report;
use probefleet_proto::record::Kind;
use probefleet_proto::report::{Cell, OtherKind};
use probefleet_proto::v1::to_agent::Message as Answer;

const PLAN: &str = "\
probes:
  - {name: web, http: {url: https://a.example/}, every: 10s}
  - {name: voice, sip: {uri: 'sip:echo@sbc.example', mode: call}, every: 10s}
";

const OBJECTIVES: &str = r#"  established:
    service: web
    probe: voice
    measure: {ratio: ser}
    target: ">= 99%"
    window: {width: 10s}
    credit: {flat: 10%}
  ineffective:
    service: web
    probe: voice
    measure: {ratio: isa}
    target: "<= 50%"
    window: {width: 10s}
  lost:
    service: web
    probe: voice
    measure: {mean: loss_ppm}
    target: "<= 0.1%"
    window: {width: 10s}
    credit:
      bands: [{above: 0.1%, rate: 5%}]
  clear:
    service: web
    probe: voice
    measure: {percentile: 95%, phase: mos_centi}
    target: ">= 4.3"
    window: {width: 10s}
    failures: exclude
"#;

/// 30 calls, of which a server failed three; the others lost 800 ppm and had a MOS of 4.38, but two of 4.29.
fn calls() -> Chain {
    let now_s = probefleet_proto::clock::unix_now_ns() / 1_000_000_000;
    let last_s = (now_s - 10) / 10 * 10 - 10;
    let mut chain = Chain::new();
    for index in 0..30 {
        let mut cell = Cell {
            probe: "voice".to_owned(),
            spec: [2; 16],
            interval_s: 10,
            scheduled: 1,
            ok: u32::from(index >= 3),
            others: Vec::new(),
            series: Vec::new(),
            counters: Vec::new(),
            values: Vec::new(),
        };
        cell.add_counter("call_attempts", 1);
        if index < 3 {
            cell.add_other(OtherKind::Failed, "status", "sip:503", 1);
            cell.add_counter("ineffective", 1);
        } else {
            cell.add_counter("established", 1);
            cell.record_value("loss_ppm", 800, &[]);
            cell.record_value("mos_centi", if index < 5 { 429 } else { 438 }, &[429]);
        }
        chain.push(Kind::Report, payload(last_s - (29 - index) * 10, &[cell]));
    }
    chain
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_reach_agents_reports_pages_and_metrics() {
    let site = Site::plain();
    std::fs::write(site.path("plan.yaml"), PLAN).expect("writes");
    std::fs::write(site.path("acme.yaml"), agreement() + OBJECTIVES).expect("writes");
    let running = site.start().await;
    let mut client = site.client(&running, None).await.expect("connects");
    let mut agent = Speaker::open_as(&mut client, Some(AGENT)).await.expect("opens");
    let session = agent.welcome(hello()).await.session;

    // Agents count what verdicts turn on: at least 4.3 is more than 4.29.
    let plan: serde_json::Value =
        serde_json::from_slice(&agent.plan().await.canonical_json).expect("JSON");
    assert_eq!(plan["probes"][1]["at_most_ns"].to_string(), r#"{"mos_centi":[429]}"#);

    let answer = agent.send(session, calls().records).await;
    assert!(matches!(answer, Answer::Ack(_)), "{answer:?}");
    let page = running.page_with("/agreements/acme-web", "30 due: 27 ok, 3 failed").await;
    for expected in [
        "90.000000%",
        "&#62;= 99%</span> of calls established (SER, RFC 6076 §4.6)",
        "10.000000%",
        "0.08%",
        "&#60;= 0.1%</span> as the mean of loss_ppm",
        "&#62;= 4.3</span> as mos_centi of 95% of attempts",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }

    let metrics = running.get("/metrics").await.body;
    for line in [
        "value_ratio{agreement=\"acme-web\",objective=\"established\"} 0.9\n",
        "target_ratio{agreement=\"acme-web\",objective=\"established\"} 0.99\n",
        "value_ratio{agreement=\"acme-web\",objective=\"ineffective\"} 0.1\n",
        "value_ratio{agreement=\"acme-web\",objective=\"lost\"} 0.0008\n",
        "target_ratio{agreement=\"acme-web\",objective=\"lost\"} 0.001\n",
        "value_score{agreement=\"acme-web\",objective=\"clear\"} 4.29\n",
        "target_score{agreement=\"acme-web\",objective=\"clear\"} 4.3\n",
        "credit_projected{agreement=\"acme-web\",objective=\"lost\",currency=\"EUR\"} 0.0\n",
    ] {
        let line = format!("probefleet_objective_{line}");
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
    assert!(!metrics.contains("seconds{agreement=\"acme-web\",objective=\"clear\""), "{metrics}");
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
    for (index, value, exact) in [
        (2, "90.000000%", "27/30"),
        (3, "10.000000%", "3/30"),
        (4, "0.08%", "21600/27"),
        (5, "4.29", "25/27"),
    ] {
        let objective = &json["objectives"][index];
        let found = (objective["value"].as_str(), objective["exact"].as_str());
        assert_eq!(found, (Some(value), Some(exact)), "{objective}");
    }
    let away = &json["objectives"][4]["next_band"];
    assert_eq!((&away["threshold"], &away["away"]), (&"> 0.1%".into(), &"0.02%".into()));

    let csv = ask(report::Format::Csv);
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let column = |name: &str| rows[0].iter().position(|column| *column == name).expect("is there");
    let field = |row: usize, name: &str| rows[row][column(name)];
    assert_eq!((field(5, "value_percent"), field(5, "value_score")), ("0.08", ""));
    assert_eq!((field(6, "value_percent"), field(6, "value_score")), ("", "4.29"));
    assert_eq!(field(6, "attempts_needed"), "26");

    let text = ask(report::Format::Text);
    for expected in [
        "measured    90.000000% (27 of 30 calls established)",
        "measured    10.000000% (3 of 30 calls ineffective)",
        "measured    0.08% (mean of 27 samples)",
        "next band   5% when > 0.1%: 0.02 percentage points more",
        "measured    4.29 (25 of 27 attempts >= 4.3, 26 needed)",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
}
