use super::*;
use crate::spool::{Limits, Spool};
use probefleet_proto::record::Kind;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An agent's parts that say how they are, and the status of it.
struct Site {
    _dir: tempfile::TempDir,
    spool: SpoolHandle,
    link: watch::Sender<LinkState>,
    _held: (watch::Sender<u64>, watch::Sender<Vec<u8>>, watch::Sender<v1::Status>),
    statuses: watch::Receiver<v1::Status>,
    watcher: Watcher,
    reports: watch::Receiver<Arc<Report>>,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let (spool, recovered) =
            Spool::open(dir.path(), Limits::new(0), crate::evidence::any_key()).expect("opens");
        let (link, link_view) = watch::channel(LinkState::Up);
        let (sessions, sessions_view) = watch::channel(2);
        let (plan, plan_view) = watch::channel(vec![1; 32]);
        let (runner, runner_view) = watch::channel(v1::Status::default());
        let (watcher, reports, statuses) = Watcher::new(Sources {
            spool: spool.clone(),
            set_aside: recovered.quarantined.len(),
            link: link_view,
            sessions: sessions_view,
            plan_hash: plan_view,
            runner: runner_view,
            waiting: watch::channel(Waiting::default()).1,
        });
        let _held = (sessions, plan, runner);
        Self { _dir: dir, spool, link, _held, statuses, watcher, reports }
    }
}

/// What is answered to a request for a path, under a name.
async fn ask(address: SocketAddr, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("asks");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    answer
}

#[tokio::test]
async fn what_is_wrong_is_told_here_and_to_the_collector_with_its_cure() {
    let mut site = Site::new();
    let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).await.expect("binds");
    let address = listener.address();
    let serving = tokio::spawn(listener.serve(site.reports.clone()));
    let ready = ask(address, "/readyz", "localhost").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("\r\n\r\nready\n"), "{ready}");
    assert!(ask(address, "/healthz", "127.0.0.1").await.ends_with("alive\n"));

    site.link.send_replace(LinkState::Refused("revoked\nHTTP/1.1 200".to_owned()));
    site.watcher.look(Instant::now());
    let refused = ask(address, "/readyz", "localhost").await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    let line = "refused: the collector refuses this agent: revoked HTTP/1.1 200 (since 2";
    assert!(refused.contains(line) && refused.contains("a person must act"), "{refused}");
    let told = site.statuses.borrow_and_update().faults.clone();
    assert_eq!((told.len(), told[0].what.as_str()), (1, "refused"));
    assert!(told[0].since_s > 1_700_000_000, "{told:?}");

    site.link.send_replace(LinkState::Up);
    site.watcher.look(Instant::now());
    assert!(ask(address, "/readyz", "localhost").await.starts_with("HTTP/1.1 200"));
    assert_eq!(site.statuses.borrow_and_update().faults, []);
    serving.abort();
}

#[tokio::test]
async fn only_this_machine_is_answered_on_a_loopback_address() {
    let site = Site::new();
    let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).await.expect("binds");
    let address = listener.address();
    let serving = tokio::spawn(listener.serve(site.reports.clone()));
    for host in ["evil.example", "10.0.0.1:80", ""] {
        let answer = ask(address, "/metrics", host).await;
        assert!(answer.starts_with("HTTP/1.1 421"), "{host}: {answer}");
    }
    assert!(ask(address, "/else", "[::1]:80").await.starts_with("HTTP/1.1 404"));
    serving.abort();
}

#[tokio::test]
async fn metrics_say_what_the_spool_holds() {
    let mut site = Site::new();
    let report = v1::Report { window_start_s: 60, window_s: 60, ..v1::Report::default() };
    let payload = prost::Message::encode_to_vec(&report);
    let bytes = payload.len();
    site.spool.append(Kind::Report, payload).await.expect("appended");
    site.watcher.look(Instant::now());
    let report = Arc::clone(&site.reports.borrow_and_update());
    let text = metrics::render(&report, 200 * NS_PER_S).expect("renders");
    for line in [
        "probefleet_spool_records 1",
        &format!("probefleet_spool_unsent_bytes {bytes}"),
        "probefleet_spool_oldest_unsent_age_seconds 140",
        "probefleet_spool_writable 1",
        "probefleet_spool_dropped_reports_total 0",
        "probefleet_uplink_connected 1",
        "probefleet_uplink_sessions_total 2",
        "probefleet_plan_in_force 1",
        "probefleet_spool_refused_records_total 0",
        "probefleet_spool_unwritten_reports_total 0",
        "probefleet_spool_waiting_bytes 0",
        "probefleet_fault{fault=\"disk\"} 0",
        "probefleet_fault{fault=\"record_refused\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
    let classic = metrics::classic(&text);
    let line = "# TYPE probefleet_spool_dropped_reports_total counter";
    assert!(classic.contains(line) && !classic.contains("# EOF"), "{classic}");
}
