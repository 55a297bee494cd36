//! What people and scrapers see of what agents delivered.

use crate::support::{AGENT, Chain, Running, Site, Speaker, agreement, get, get_with, hello, noon};
use probefleet_collector::cli::report;
use probefleet_proto::v1;
use probefleet_proto::v1::from_agent::Message as Said;
use probefleet_proto::v1::to_agent::Message as Answer;

/// An agent that has delivered these windows and still stands there.
async fn delivered(site: &Site, running: &Running, chain: &Chain) -> Speaker {
    let mut client = site.client(running, None).await.expect("connects");
    let mut agent = Speaker::open_as(&mut client, Some(AGENT)).await.expect("opens");
    let session = agent.welcome(hello()).await.session;
    agent.plan().await;
    let answer = agent.send(session, chain.records.clone()).await;
    assert!(matches!(answer, Answer::Ack(_)), "{answer:?}");
    agent
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_pages_say_what_to_do_next() {
    let site = Site::plain();
    let running = site.start().await;
    let agents = running.get("/agents").await.body;
    assert!(agents.contains("probefleet-agent run"), "{agents}");
    assert!(agents.contains(&running.addresses.agents.to_string()), "{agents}");
    running.page_with("/", "No agent has reported yet").await;
    running.page_with("/", "No data yet").await;
    running.page_with("/readyz", "ready").await;
    assert_eq!(running.get("/readyz").await.status, 200);
    assert_eq!(running.get("/healthz").await.body, "alive\n");
    let missing = running.get("/agreements/nope").await;
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("acme-web"), "{}", missing.body);
    assert_eq!(running.get("/nowhere").await.status, 404);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_stand_on_every_page() {
    let site = Site::plain();
    let running = site.start().await;
    // Two failed windows of thirty: an outage of 20 s.
    let chain = Chain::windows(30, 10, &[10, 11]);
    let agent = delivered(&site, &running, &chain).await;
    let latest = v1::ProbeNow {
        probe: "web".to_owned(),
        outcome: "ok".to_owned(),
        total_ns: 100_000_000,
        ..v1::ProbeNow::default()
    };
    let (what, text) = ("disk".to_owned(), "cannot sync x; make <u>room</u>".to_owned());
    let fault = v1::Fault { what, since_s: 0, text };
    let status = v1::Status {
        backlog_bytes: 4_096,
        probes: vec![latest],
        faults: vec![fault],
        ..v1::Status::default()
    };
    agent.say(Said::Status(status)).await;
    let error = "probe `web`: <u>no such thing</u>".to_owned();
    agent.say(Said::PlanApplied(v1::PlanApplied { hash: vec![0; 32], error })).await;

    let page = running.page_with("/agreements/acme-web", "30 due: 28 ok, 2 failed").await;
    for expected in [
        "availability",
        "93.333333%",
        "20s down",
        "countersigned",
        "At risk",
        "fast",
        "Outages: 1",
        "timeout (wait) ×2",
        "class=\"window\"",
        "Availability by window",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
    let board = running.page_with("/agents", "refused by the agent").await;
    for expected in ["berlin-1", "site: berlin", "4 KiB", "100 ms", "connected"] {
        assert!(board.contains(expected), "{expected} in {board}");
    }

    let ready = running.get("/readyz").await;
    assert_eq!(
        ready.status, 200,
        "what is wrong with an agent is not the collector's: {}",
        ready.body
    );
    assert!(
        ready.body.contains("note: agent berlin-1: disk: cannot sync x; make"),
        "{}",
        ready.body
    );

    // Whatever a name holds, it stays text.
    let list = running.get("/").await.body;
    for (page, name) in [(&list, "list"), (&page, "agreement"), (&board, "board")] {
        for tag in ["<script>", "<img", "<b>", "<u>", "onerror=alert(2)>"] {
            assert!(!page.contains(tag), "{tag} on the {name}");
        }
    }
    assert!(list.contains("&#60;script&#62;"), "{list}");

    let older = running.get("/metrics").await;
    assert!(older.head.contains("text/plain; version=0.0.4"), "{}", older.head);
    assert!(
        older.body.contains("# TYPE probefleet_ingest_records_total counter"),
        "{}",
        older.body
    );
    let accepting =
        "Host: localhost\r\nAccept: application/openmetrics-text;version=1.0.0,*/*;q=0.1";
    let metrics = get_with(running.addresses.portal, "/metrics", accepting).await;
    assert!(metrics.head.contains("application/openmetrics-text"), "{}", metrics.head);
    well_formed(&metrics.body);
    for line in [
        "probefleet_objective_target_ratio{agreement=\"acme-web\",objective=\"availability\"} 0.99",
        "probefleet_objective_value_ratio{agreement=\"acme-web\",objective=\"availability\"} 0.93333333333333",
        "probefleet_objective_status{agreement=\"acme-web\",objective=\"availability\",status=\"at_risk\"} 1",
        "probefleet_objective_status{agreement=\"acme-web\",objective=\"availability\",status=\"met\"} 0",
        "probefleet_agent_last_report_age_seconds{agent=\"berlin-1\"} ",
        "probefleet_agent_fault{agent=\"berlin-1\",fault=\"disk\"} 1",
        "probefleet_agent_silence_seconds{agent=\"berlin-1\"} ",
        "probefleet_ready 1",
        "probefleet_ingest_records_total 30",
        "probefleet_collector_build_info{version=",
    ] {
        assert!(metrics.body.contains(line), "{line} in\n{}", metrics.body);
    }
    running.stop().await;
}

/// An hour and more of nothing but failures, of which the last seconds may not have been judged yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_burning_budget_is_seen_and_scraped() {
    let site = Site::plain();
    let width = "    window: {width: 10s}\n";
    let text = agreement();
    assert!(text.contains(width), "{text}");
    let lenient = format!("{width}    unknown: {{coverage: 50%}}\n");
    std::fs::write(site.path("acme.yaml"), text.replace(width, &lenient)).expect("writes");
    let running = site.start().await;
    let all: Vec<u64> = (0..370).collect();
    let agent = delivered(&site, &running, &Chain::windows(370, 10, &all)).await;
    let burning = "Burning 100 x the budget over 1h and 100 x over 5m: it is gone";
    running.page_with("/agreements/acme-web", burning).await;
    let metrics = running.get("/metrics").await.body;
    let line = |name: &str, window: &str| {
        format!(
            "probefleet_objective_{name}{{agreement=\"acme-web\",objective=\"availability\",window=\"{window}\"}}"
        )
    };
    for line in [
        line("burn_rate", "1h") + " 100.0",
        line("burn_rate", "5m") + " 100.0",
        // 2 % of a day's budget in an hour would be 0.48, at which the budget lasts.
        line("burn_factor", "1h") + " 1.0",
        line("burning", "1h") + " 1",
        line("burn_factor", "6h") + " 1.0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
    // Of six hours only one is known.
    for absent in [line("burn_rate", "6h"), line("burning", "6h"), line("burn_factor", "3d")] {
        assert!(!metrics.contains(&absent), "{absent} in\n{metrics}");
    }
    drop(agent);
    running.stop().await;
}

/// Every line is a comment or `name{labels} number`, and the end is marked.
fn well_formed(metrics: &str) {
    assert!(metrics.ends_with("# EOF\n"));
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        assert!(name.starts_with("probefleet_"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_made_while_the_service_runs() {
    let site = Site::plain();
    let running = site.start().await;
    let chain = Chain::windows(30, 10, &[10, 11]);
    drop(delivered(&site, &running, &chain).await);
    running.page_with("/agreements/acme-web", "30 due").await;

    let zone = jiff::tz::TimeZone::get(&noon()).expect("in the zone database");
    let day = jiff::Timestamp::now().to_zoned(zone).date().to_string();
    let ask = |agreement: &str, period: Option<&str>, format: report::Format| {
        let args = report::Args {
            revisions: false,
            revision: None,
            from_records: false,
            agreement: agreement.to_owned(),
            period: period.map(str::to_owned),
            config: site.path("collector.yaml"),
            format,
        };
        std::thread::spawn(move || report::make(&args)).join().expect("no panic")
    };
    let json = ask("acme-web", Some(&day), report::Format::Json);
    let report: serde_json::Value = serde_json::from_str(&json.expect("a report")).expect("JSON");
    assert_eq!(report["agreement"], "acme-web");
    assert_eq!(report["objectives"][0]["attempts"]["failed"], 2);
    assert_eq!(report["objectives"][0]["seconds"]["down"], 20);
    assert_eq!(report["signed"], true);
    let page = running.get(&format!("/agreements/acme-web/report.json?period={day}")).await;
    let page: serde_json::Value = serde_json::from_str(&page.body).expect("JSON");
    assert_eq!(page["objectives"][0]["attempts"], report["objectives"][0]["attempts"]);

    let csv = ask("acme-web", None, report::Format::Csv).expect("a report");
    assert_eq!(csv.lines().count(), 3);
    assert!(csv.contains("acme-web,1,true,"), "{csv}");
    let text = ask("acme-web", None, report::Format::Text).expect("a report");
    assert!(text.contains("availability"), "{text}");

    let unknown = ask("acme", None, report::Format::Text).expect_err("refused").to_string();
    assert!(unknown.contains("acme-web"), "{unknown}");
    let misfit = ask("acme-web", Some("2026-04"), report::Format::Text).expect_err("refused");
    assert!(misfit.to_string().contains("period"), "{misfit}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_hardened() {
    let site = Site::plain();
    let running = site.start().await;
    let page = running.get("/").await;
    for header in [
        "default-src 'none'; style-src 'self'",
        "script-src 'self';",
        "nosniff",
        "no-referrer",
        "no-store",
    ] {
        assert!(page.head.contains(header), "{header} in {}", page.head);
    }
    let style = page.body.split('"').find(|part| part.starts_with("/assets/style-"));
    let style = running.get(style.expect("a stylesheet")).await;
    assert_eq!(style.status, 200);
    assert!(style.head.contains("immutable") && style.head.contains("text/css"), "{}", style.head);
    assert_eq!(running.get("/assets/icon.svg").await.status, 200);
    // Nothing is inline: one script file and no style, so the policy needs no exception.
    let scripts: Vec<&str> = page.body.split("<script").skip(1).collect();
    assert!(scripts.len() == 1 && scripts[0].starts_with(" src=\"/assets/refresh-"), "{scripts:?}");
    for inline in [" style=", "<style", " onclick=", " onload=", "javascript:", "'unsafe"] {
        assert!(!page.body.contains(inline) && !page.head.contains(inline), "{inline}");
    }
    let script = running.get(scripts[0].split('"').nth(1).expect("a path")).await;
    assert_eq!(script.status, 200);
    assert!(
        script.head.contains("immutable") && script.head.contains("text/javascript"),
        "{}",
        script.head
    );

    let rebound = get(running.addresses.portal, "/", "evil.example").await;
    assert_eq!(rebound.status, 421);
    running.stop().await;
}
