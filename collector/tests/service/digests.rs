//! Digests of hours, seen through the program's own commands: a report says the same from them, from records and from
//! both, and what comes late is in the next revision, although its period is out of memory.

use crate::process::{client, signal, start};
use crate::support::{AGENT, PATIENCE, SPOOL, Site, Speaker, agreement, hello};
use jiff::Timestamp;
use probefleet_proto::record::{Hash, Kind, Record, genesis_hash};
use probefleet_proto::report::{self, Cell, OtherKind, Series};
use probefleet_proto::units::NS_PER_S;
use probefleet_proto::v1;
use probefleet_proto::v1::to_agent::Message as Answer;
use rusqlite::Connection;
use rustix::process::Signal;
use std::process::{Child, Command};
use std::time::Duration;

const DAY_S: u64 = 86_400;
/// Width of a window, s.
const WINDOW_S: u32 = 10;
/// Records of a message.
const FRAME: usize = 128;
/// A closed period is kept in memory for so long after its grace, s.
const CATCH_UP_S: u64 = 86_400;

/// Beside those of the site's agreement: every kind of measure, and hours that cut windows' hours.
const OBJECTIVES: &str = r#"
  early: {service: web, probe: web, measure: availability, target: ">= 99%", hours: early, outage: {after: 2}}
  success: {service: web, probe: web, measure: success, target: ">= 99%", hours: early}
  slow: {service: web, probe: web, measure: {percentile: 95%, phase: total}, target: "<= 120ms"}
  slow-early: {service: web, probe: web, measure: {percentile: 50%, phase: total}, target: "<= 120ms", hours: early}
  mean: {service: web, probe: web, measure: {mean: total}, target: "<= 120ms"}
  days: {service: web, probe: web, measure: {good_days: {within: 150ms, phase: total, at: 60%}}, target: ">= 50%"}
  parts: {service: web, probe: web, measure: {mean_success: 5m}, target: ">= 99%"}
  calls: {service: web, probe: voice, measure: {ratio: ser}, target: ">= 50%"}
  mos: {service: web, probe: voice, measure: {within: 4.0, phase: mos_centi}, target: ">= 50%"}
  loss: {service: web, probe: voice, measure: {mean: loss_ppm}, target: "<= 1%"}
"#;
const CALENDARS: &str =
    "calendars:\n  early: {weekly: {mon-sun: [\"00:25-01:40\", \"02:10-23:00\"]}}\n";
const PLAN: &str = "\
probes:
  - {name: web, http: {url: https://a.example/}, every: 10s}
  - {name: voice, sip: {uri: 'sip:echo@sbc.example', mode: call}, every: 10s}
";

/// A day that is over, its label, and when it began.
struct Day {
    label: String,
    from_s: u64,
}

impl Day {
    /// So many days before today, UTC.
    fn ago(days: u64) -> Self {
        let from_s = now_s() / DAY_S * DAY_S - days * DAY_S;
        let start = Timestamp::from_second(from_s.cast_signed()).expect("is in the calendar");
        Self { label: start.strftime("%Y-%m-%d").to_string(), from_s }
    }
}

fn now_s() -> u64 {
    probefleet_proto::clock::unix_now_ns() / NS_PER_S
}

/// The end of a spool.
struct Spool {
    seq: u64,
    tip: Hash,
}

impl Spool {
    fn new() -> Self {
        Self { seq: 0, tip: genesis_hash(&SPOOL) }
    }

    fn record(&mut self, start_s: u64, cells: &[Cell]) -> v1::Record {
        let head =
            report::Head { window_start_s: start_s, window_s: WINDOW_S, ..report::Head::default() };
        self.seq += 1;
        let (seq, prev_hash, signature) = (self.seq, self.tip, Vec::new());
        let payload = report::encode(&head, cells).remove(0);
        let record = Record { seq, seq_to: seq, kind: Kind::Report, prev_hash, payload, signature };
        self.tip = record.hash(&SPOOL).expect("no gap");
        record.into()
    }
}

fn cell(probe: &str, number: u64, failed: bool) -> Cell {
    let mut cell = Cell {
        probe: probe.to_owned(),
        spec: [1; 16],
        interval_s: WINDOW_S,
        scheduled: 1,
        ok: u32::from(!failed),
        others: Vec::new(),
        series: Vec::new(),
        counters: Vec::new(),
        values: Vec::new(),
    };
    if failed {
        cell.add_other(OtherKind::Failed, "status", "503", 1);
    } else {
        let mut total = Series::new("total", &[150_000_000]);
        total.record(50_000_000 + number * 7_919_003 % 110_000_000);
        cell.series.push(total);
    }
    if probe == "voice" {
        cell.add_counter("call_attempts", 1);
        cell.add_counter("established", u64::from(!failed));
        if !failed {
            cell.record_value("mos_centi", 380 + number % 40, &[399]);
            cell.record_value("loss_ppm", number % 20_000, &[]);
        }
    }
    cell
}

/// A collector's process, which a failed test ends, too.
struct Service(Child);

impl Service {
    fn start(site: &Site) -> Self {
        Self(start(site))
    }

    /// Ends it as a user does.
    fn stop(mut self) {
        signal(&self.0, Signal::TERM);
        assert!(self.0.wait().expect("ends").success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// What an agent delivers to a collector.
async fn deliver(site: &Site, service: &Service, records: Vec<v1::Record>) {
    let mut client = client(site, &service.0).await;
    let mut agent = Speaker::open_as(&mut client, Some(AGENT)).await.expect("opens");
    let session = agent.welcome(hello()).await.session;
    agent.plan().await;
    for records in records.chunks(FRAME) {
        let answer = agent.send(session, records.to_vec()).await;
        assert!(matches!(answer, Answer::Ack(_)), "{answer:?}");
    }
}

/// What a command of the collector prints.
fn asked(site: &Site, more: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probefleet-collector"));
    command
        .args(["report", "--agreement", "acme-web", "--config"])
        .arg(site.path("collector.yaml"));
    let ran = command.args(more).output().expect("runs");
    let text = String::from_utf8(ran.stdout).expect("UTF-8");
    assert!(ran.status.success(), "{more:?}: {}", String::from_utf8_lossy(&ran.stderr));
    text
}

fn store(site: &Site) -> Connection {
    let file = Connection::open(site.path("state/collector.db")).expect("opens");
    file.busy_timeout(PATIENCE).expect("may wait");
    file
}

fn count(site: &Site, what: &str) -> i64 {
    let read = store(site).query_row(what, [], |row| row.get(0));
    read.expect("reads")
}

async fn until(what: &str, mut holds: impl FnMut() -> bool, patience: Duration) {
    let deadline = tokio::time::Instant::now() + patience;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Three hours of a day: a failure now and then, an outage, a hole, and a window that says two things.
fn morning(spool: &mut Spool, day: &Day) -> Vec<v1::Record> {
    let mut records = Vec::new();
    for number in (0..1_080_u64).filter(|number| !(400..420).contains(number)) {
        let failed = number % 53 == 7 || (700..706).contains(&number);
        let cells = [cell("voice", number, number % 31 == 3), cell("web", number, failed)];
        records.push(spool.record(day.from_s + number * u64::from(WINDOW_S), &cells));
        if number == 555 {
            let other = [cell("web", number + 1, false)];
            records.push(spool.record(day.from_s + number * u64::from(WINDOW_S), &other));
        }
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_has_the_same_bytes_from_digests_and_from_records() {
    let day = Day::ago(2);
    let site = Site::plain();
    let write = |name: &str, text: &str| std::fs::write(site.path(name), text).expect("writes");
    let head = agreement()
        .replace("objectives:\n", &format!("{CALENDARS}close: {{grace: 96h}}\nobjectives:\n"));
    write("acme.yaml", &utc(&(head + OBJECTIVES.trim_start_matches('\n'))));
    // Another agreement asks for something else: digests are of what both ask.
    let other = utc(&agreement()).replace("acme-web", "other").replace("150ms", "90ms");
    write("other.yaml", &other.replace("objectives:\n", "close: {grace: 96h}\nobjectives:\n"));
    write("plan.yaml", PLAN);
    let excluded = |from: u64, until: u64| {
        let text = |s: u64| Timestamp::from_second((day.from_s + s).cast_signed()).expect("fits");
        format!(
            "  - {{from: {}, until: {}, reason: customer, approved: true}}\n",
            text(from),
            text(until)
        )
    };
    let cuts = excluded(2_345, 3_001) + &excluded(5_000, 5_015);
    write("excluded.yaml", &format!("exclusions:\n{cuts}"));
    let config = std::fs::read_to_string(site.path("collector.yaml")).expect("reads");
    let more = "countersigned: true, exclusions: excluded.yaml}\n  - {file: other.yaml, countersigned: true}";
    write("collector.yaml", &config.replace("countersigned: true}", more));

    let service = Service::start(&site);
    deliver(&site, &service, morning(&mut Spool::new(), &day)).await;
    service.stop();
    // As if it had come at once: an hour gets its digest when nothing has come for it for a while. And it was moved.
    let moved = format!(
        "UPDATE record SET received_s = window_start_s + 11;
         UPDATE agent_labels SET from_s = 0;
         INSERT INTO agent_labels SELECT agent, {}, '{{\"site\":\"bonn\"}}' FROM agent_labels;",
        day.from_s + 4_321
    );
    store(&site).execute_batch(&moved).expect("runs");
    let none = "SELECT count(*) FROM digest WHERE body IS NULL";
    assert_eq!(count(&site, none), 3, "none has come to rest yet");
    let service = Service::start(&site);
    until("a digest of each hour", || count(&site, none) == 0, PATIENCE).await;
    service.stop();

    let reports = || {
        ["json", "text", "csv"]
            .map(|format| asked(&site, &["--period", &day.label, "--format", format]))
    };
    let from_digests = reports();
    assert!(from_digests[0].contains("\"conflicts\":1"), "{}", from_digests[0]);
    let asked_to = asked(&site, &["--period", &day.label, "--format", "json", "--from-records"]);
    assert_eq!(asked_to, from_digests[0], "from records, although there are digests");
    let run = |statements: &str| store(&site).execute_batch(statements).expect("runs");
    run("CREATE TABLE kept AS SELECT * FROM digest; UPDATE digest SET basis = NULL, body = NULL");
    assert_eq!(reports(), from_digests, "from records");
    assert_eq!(count(&site, none), 3, "it only reads");
    let restored = "UPDATE digest SET basis = kept.basis, body = kept.body FROM kept WHERE kept.hour_s = digest.hour_s";
    run(restored);
    run(&format!("UPDATE digest SET body = zeroblob(length(body)) WHERE hour_s = {}", day.from_s));
    run(&format!("UPDATE digest SET basis = x'00' WHERE hour_s = {}", day.from_s + 7_200));
    assert_eq!(
        reports(),
        from_digests,
        "a digest, and where it is damaged or of something else records"
    );
    run(restored);
    run("DROP TRIGGER record_goes; DELETE FROM record");
    assert_eq!(reports(), from_digests, "from digests, without a record");
}

/// In a zone whose days are those of the store.
fn utc(agreement: &str) -> String {
    let zoned = agreement.lines().map(|line| match line.strip_prefix("time_zone:") {
        Some(_) => "time_zone: Etc/UTC",
        None => line,
    });
    zoned.map(|line| format!("{line}\n")).collect()
}

/// The day was published and is let go; then an agent comes back that was cut off in it.
#[tokio::test(flavor = "multi_thread")]
async fn late_data_restates_a_period_that_is_no_longer_in_memory() {
    let day = Day::ago(3);
    let site = Site::plain();
    let windows = |spool: &mut Spool, numbers: std::ops::Range<u64>| -> Vec<v1::Record> {
        let cells = |number| [cell("web", number, number < 12)];
        numbers
            .map(|number| spool.record(day.from_s + number * u64::from(WINDOW_S), &cells(number)))
            .collect()
    };
    let mut spool = Spool::new();
    // Two minutes of it, Down, reach the collector in time.
    let service = Service::start(&site);
    deliver(&site, &service, windows(&mut spool, 0..12)).await;
    service.stop();

    // It is published now, and let go some seconds later.
    let let_go_s = now_s() + 8;
    let grace_s = let_go_s - CATCH_UP_S - (day.from_s + DAY_S);
    let close = format!("close: {{grace: {grace_s}s}}\nobjectives:\n");
    let text = utc(&agreement()).replace("objectives:\n", &close);
    let text =
        text.replace("target: \">= 99%\"", "target: \">= 99%\"\n    unknown: {coverage: 0%}");
    std::fs::write(site.path("acme.yaml"), text).expect("writes");
    let service = Service::start(&site);
    let published = || -> Vec<(u64, String, String)> {
        let text = asked(&site, &["--revisions", "--period", &day.label, "--format", "json"]);
        let listed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let revisions = listed["revisions"].as_array().expect("a list").clone();
        let word = |revision: &serde_json::Value, key: &str| {
            revision[key].as_str().expect("a text").to_owned()
        };
        revisions
            .iter()
            .map(|it| {
                (it["number"].as_u64().expect("a number"), word(it, "reason"), word(it, "delta"))
            })
            .collect()
    };
    let first = (1, "published".to_owned(), "10.00".to_owned());
    until("revision 1", || !published().is_empty(), PATIENCE).await;
    assert_eq!(published(), std::slice::from_ref(&first));

    // Nobody holds the day any more when the rest of its windows comes.
    // It is let go by the first round after that with a new window to judge by.
    let gone_s = let_go_s + u64::from(WINDOW_S) + 3;
    until("the end of its time in memory", || now_s() > gone_s, PATIENCE * 2).await;
    deliver(&site, &service, windows(&mut spool, 12..2_000)).await;
    let came_s = now_s();
    until("revision 2", || published().len() > 1, PATIENCE * 4).await;
    assert!(now_s() >= came_s + 29, "more may have come");
    assert_eq!(published(), [first, (2, "late_data".to_owned(), "-10.00".to_owned())]);
    // What is reported now is what was published, and the first result is still there to the last byte.
    let result = |number| asked(&site, &["--period", &day.label, "--revision", number]);
    assert!(result("1").contains("\"breached\"") && !result("2").contains("\"breached\""));
    let digest = |text: &str| {
        let verdict: serde_json::Value = serde_json::from_str(text).expect("JSON");
        verdict["inputs_digest"].clone()
    };
    let now = asked(&site, &["--period", &day.label, "--format", "json"]);
    assert_eq!(digest(&now), digest(&result("2")));
    service.stop();
}
