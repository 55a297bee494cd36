//! The quickstart from outside: a whole fleet in one command, and what is left of it afterwards.

use harness::command::{listing, run, shell};
use harness::evidence::records;
use harness::fleet::get;
use harness::process::{Process, eventually};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How soon the portal's address must stand there.
const READY: Duration = Duration::from_secs(30);
/// How soon every objective must have a figure.
const JUDGED: Duration = Duration::from_secs(60);
/// How soon a break that comes half a minute after the start must be certain, projected and seen everywhere.
const BROKEN: Duration = Duration::from_secs(30 + 90);
/// How soon everything must have ended after Ctrl-C, and after a kill of the parent.
const ENDED: Duration = Duration::from_secs(2);
const ENDED_AFTER_KILL: Duration = Duration::from_secs(3);
/// How long a command may take.
const ENDS: Duration = Duration::from_secs(10);
const AGENTS: [&str; 3] = ["berlin", "london", "tokyo"];
/// What the agreement promises: two objectives each for page, hotline and, where there is PostgreSQL, report.
const OBJECTIVES: usize = 6;

/// A folder with one for the data, and one each for what should stay empty.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["home", "temp", "here"] {
            std::fs::create_dir(dir.path().join(name)).expect("a folder");
        }
        Self { dir }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A command line as its user would type it here.
    fn command(&self, line: &str) -> std::process::Command {
        let mut command = shell(&self.dir.path().join("here"), line);
        command.env("HOME", self.dir.path().join("home")).env_remove("XDG_STATE_HOME");
        command.env("TMPDIR", self.dir.path().join("temp"));
        command
    }

    fn start(&self, arguments: &str) -> Running {
        let running = self.start_by("exec", arguments);
        let roles = ["agent respond --http", "agent respond --sip", "postgres", "collector run"];
        let parts = running.children.iter().map(|id| arguments_of(*id).join(" "));
        let parts: Vec<String> = parts.collect();
        for role in roles {
            assert!(parts.iter().any(|part| part.contains(role)), "{role}: {parts:?}");
        }
        assert_eq!(parts.len(), roles.len() + AGENTS.len(), "{parts:?}");
        running
    }

    /// Starts it behind a prefix of the command line.
    fn start_by(&self, prefix: &str, arguments: &str) -> Running {
        let log = self.dir.path().join("output.log");
        let _of_the_run_before = std::fs::remove_file(&log);
        let began = Instant::now();
        let line =
            format!("{prefix} probefleet-quickstart --data {} {arguments}", self.data().display());
        let mut process = Process::start_command(self.command(&line), &log);
        let url = process.wait_for_output("Look at the portal:", READY);
        let portal = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        println!("the portal's address after {:?}", began.elapsed());
        let children = children(process.pid());
        Running { process, portal, children, data: self.data() }
    }

    /// The quickstart where it should not start: its exit code and what it says.
    fn refused(&self, data: &Path) -> String {
        let line = format!("probefleet-quickstart --data {}", data.display());
        let ran = run(&mut self.command(&line), "", ENDS);
        assert!(ran.code.is_some_and(|code| code != 0), "{ran:?}");
        ran.stderr
    }

    fn assert_nothing_strays(&self) {
        for name in ["home", "temp", "here"] {
            let strays = listing(&self.dir.path().join(name));
            assert!(strays.is_empty(), "outside of --data: {strays:?}");
        }
    }

    /// The agreement as the command line reports it.
    fn report(&self) -> Value {
        let config = self.data().join("collector.yaml");
        let line = format!(
            "probefleet-quickstart collector report --config {} --agreement quickstart-shop --format json",
            config.display()
        );
        let ran = run(&mut self.command(&line), "", ENDS);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).expect("JSON")
    }

    /// Who has delivered what so far.
    fn delivered(&self) -> (BTreeSet<[u8; 16]>, usize) {
        let records = records(&self.data().join("collector/collector.db"));
        (records.iter().map(|record| record.agent_id).collect(), records.len())
    }
}

/// A quickstart that runs.
struct Running {
    process: Process,
    portal: String,
    children: Vec<u32>,
    data: PathBuf,
}

impl Running {
    /// The status of every objective, by its metric.
    fn statuses(&self) -> Vec<String> {
        let (status, metrics) = get(&self.portal, "/metrics");
        assert_eq!(status, 200);
        let held = metrics.lines().filter(|line| {
            line.starts_with("probefleet_objective_status{") && line.ends_with(" 1")
        });
        held.filter_map(|line| Some(line.split("status=\"").nth(1)?.split('"').next()?.to_owned()))
            .collect()
    }

    /// Waits until every objective is kept so far.
    fn wait_until_kept(&mut self) {
        let began = Instant::now();
        let good = |status: &String| status == "on_track" || status == "met_certain";
        let kept = eventually(JUDGED, || {
            let statuses = self.statuses();
            (statuses.len() == OBJECTIVES && statuses.iter().all(good)).then_some(statuses)
        });
        let kept = kept.unwrap_or_else(|| {
            panic!("{:?} after {JUDGED:?}:\n{}", self.statuses(), self.process.output())
        });
        println!("{kept:?} after {:?}", began.elapsed());
    }

    /// Ctrl-C: everything ends well and in time.
    fn interrupt(mut self) {
        let began = Instant::now();
        self.process.signal(Signal::INT);
        assert!(self.process.wait(ENDED), "ends well:\n{}", self.process.output());
        let took = began.elapsed();
        assert!(took <= ENDED, "took {took:?} to end");
        assert!(alive(&self.children).is_empty(), "{:?} still run", alive(&self.children));
        assert!(TcpStream::connect(&self.portal).is_err(), "the portal is closed");
        println!("Ctrl-C ended everything in {took:?}");
    }

    /// Where agents deliver.
    fn agents_address(&self) -> String {
        let bytes = std::fs::read(self.data.join("collector/addresses.json")).expect("reads");
        let json: Value = serde_json::from_slice(&bytes).expect("JSON");
        json["agents"].as_str().expect("an address").to_owned()
    }
}

// === processes ===

/// The children of a process.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| parent_of(*id) == Some(parent)).collect()
}

/// The parent of a process that has not ended.
fn parent_of(id: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.next()?.parse().ok()
}

fn alive(processes: &[u32]) -> Vec<u32> {
    processes.iter().copied().filter(|id| parent_of(*id).is_some()).collect()
}

/// The command line of a process.
fn arguments_of(id: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Whether a process holds an established connection to a port of the loopback.
fn is_connected(id: u32, port: u16) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{id}/fd")) else { return false };
    let links = open.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let sockets: BTreeSet<String> = links
        .filter_map(|link| {
            let name = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(name.to_owned())
        })
        .collect();
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    // local, remote, state (01 is established), …, inode
    table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|line| {
        line[2] == format!("0100007F:{port:04X}") && line[3] == "01" && sockets.contains(line[9])
    })
}

/// Each agent is a process of its own with a connection to the collector, and the collector speaks nothing but TLS.
fn check_agents(running: &Running) {
    let address = running.agents_address();
    let port = address.rsplit(':').next().expect("a port").parse().expect("a number");
    for site in AGENTS {
        let config = format!("agents/{site}/agent.yaml");
        let agent = running.children.iter().find(|id| {
            let words = arguments_of(**id);
            words.iter().any(|word| word == "run")
                && words.iter().any(|word| word.ends_with(&config))
        });
        let agent = *agent.unwrap_or_else(|| panic!("{site} has a process"));
        let connected = eventually(ENDS, || is_connected(agent, port).then_some(()));
        assert!(connected.is_some(), "{site} (process {agent}) is connected to {address}");
        let config = std::fs::read_to_string(running.data.join(&config)).expect("reads");
        assert!(config.contains(&format!("https://{address}")), "{config}");
    }
    let mut plain = TcpStream::connect(&address).expect("listens");
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("writes");
    plain.set_read_timeout(Some(ENDS)).expect("a timeout");
    let mut answer = Vec::new();
    let _closed_or_reset = plain.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer[0] == 0x15, "an alert of TLS or nothing: {answer:?}");
}

/// Folders of PostgreSQL clusters that the quickstart has made as root.
fn cluster_folders() -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir("/tmp").expect("a folder").flatten();
    let ours = |name: &str| name.starts_with("probefleet-quickstart-");
    let names = entries.filter(|entry| entry.file_name().to_str().is_some_and(ours));
    names.map(|entry| entry.path()).collect()
}

/// The database asks for the password that only this user can read, and runs as nobody who matters.
fn check_database(running: &Running) {
    let ports = std::fs::read(running.data.join("ports.json")).expect("reads");
    let ports: Value = serde_json::from_slice(&ports).expect("JSON");
    let role = running.children.iter().find(|id| arguments_of(**id).contains(&"postgres".into()));
    let server = children(*role.expect("a part"))[0];
    assert!(arguments_of(server)[0].ends_with("/postgres"), "{:?}", arguments_of(server));
    let user = std::fs::metadata(format!("/proc/{server}")).expect("Linux").uid();
    assert_ne!(user, 0, "PostgreSQL as root");
    for file in ["postgres-password", "agents/berlin/shop.url"] {
        let mode = std::fs::metadata(running.data.join(file)).expect("is there").mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    // A start-up message of version 3.0 for the role: 10 with mechanism SCRAM, never 0 (trust).
    let mut stream =
        TcpStream::connect(format!("127.0.0.1:{}", ports["database"])).expect("listens");
    let body = b"\0\x03\0\0user\0probe\0\0";
    let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
    stream.write_all(&[&length[..], body].concat()).expect("writes");
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).expect("answers");
    assert_eq!((answer[0], answer[8]), (b'R', 10), "asks for SCRAM: {answer:?}");
}

// === figures ===

/// What the page says is what the report says, as soon as both are of the same moment.
fn check_page(place: &Place, running: &Running) {
    let same = |page: &str, report: &Value| {
        let objectives = report["objectives"].as_array().expect("a list");
        assert_eq!(objectives.len(), OBJECTIVES, "{report}");
        objectives.iter().all(|objective| {
            let text = |key: &str| objective[key].as_str().unwrap_or("–").replace('>', "&#62;");
            let card = page
                .split("<article")
                .find(|card| card.contains(&format!("<h3>{}</h3>", text("name"))));
            let card = card.unwrap_or_else(|| panic!("{} is on the page:\n{page}", text("name")));
            assert!(card.contains(&text("target")), "{} in {card}", text("target"));
            let value = format!("<span class=\"value\">{}</span>", text("value"));
            let due = format!("{} due: ", objective["attempts"]["scheduled"]);
            card.contains(&value) && card.contains(&due)
        })
    };
    let compared = eventually(JUDGED, || {
        let (status, page) = get(&running.portal, "/agreements/quickstart-shop");
        assert_eq!(status, 200);
        let report = place.report();
        same(&page, &report).then_some((page, report))
    });
    let (page, report) = compared.expect("page and report agree");
    let link = page.split("href=\"").find(|link| link.contains("report.json")).expect("a link");
    let (status, shown) = get(&running.portal, link.split('"').next().expect("an end"));
    assert_eq!(status, 200);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    for (at, objective) in report["objectives"].as_array().expect("a list").iter().enumerate() {
        assert_eq!(shown["objectives"][at]["name"], objective["name"]);
        assert_eq!(shown["objectives"][at]["target"], objective["target"]);
    }
    println!("page and report agree on {}", report["objectives"]);
}

/// Attempts of all objectives that were due so far.
fn attempts(report: &Value) -> u64 {
    let objectives = report["objectives"].as_array().expect("a list");
    objectives.iter().filter_map(|objective| objective["attempts"]["scheduled"].as_u64()).sum()
}

fn check_metrics(running: &Running) {
    if !harness::has("promtool") {
        harness::skip("a_whole_fleet_in_one_command", "promtool (Debian: prometheus)");
        return;
    }
    let (_, metrics) = get(&running.portal, "/metrics");
    let mut promtool = std::process::Command::new("promtool");
    let ran = run(promtool.args(["check", "metrics"]), &metrics, ENDS);
    assert_eq!(ran.code, Some(0), "{}{}\n{metrics}", ran.stdout, ran.stderr);
    println!("promtool has read {} lines", metrics.lines().count());
    check_alerts();
}

/// The sample rules are rules, and of metrics that there are; some have no series before enough is known.
fn check_alerts() {
    let path = harness::root().join("deploy/alerts.yaml");
    let mut promtool = std::process::Command::new("promtool");
    let ran = run(promtool.args(["check", "rules"]).arg(&path), "", ENDS);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let rules = std::fs::read_to_string(path).expect("reads");
    let said = rules.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = said.flat_map(|line| line.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()));
    let names: BTreeSet<&str> = words.filter(|word| word.starts_with("probefleet_")).collect();
    assert!(names.len() >= 4, "{rules}");
    let files = [
        "collector/src/metrics.rs",
        "collector/src/portal/scrape.rs",
        "collector/src/portal/scrape/periods.rs",
        "agent/src/status/metrics.rs",
    ];
    let read = files.map(|file| std::fs::read_to_string(harness::root().join(file)));
    let scrape: String = read.into_iter().map(|text| text.expect("reads")).collect();
    for name in names {
        // A counter gets its suffix from OpenMetrics.
        let own = format!("\"{}\"", name.trim_end_matches("_total"));
        assert!(scrape.contains(&own), "{name} is no metric of ours");
    }
}

// === the tests ===

#[test]
fn a_whole_fleet_in_one_command() {
    let (place, clusters) = (Place::new(), cluster_folders());
    let mut running = place.start("");
    let ready = eventually(READY, || {
        let (status, body) = get(&running.portal, "/readyz");
        (status == 200 && body == "ready\n").then_some(())
    });
    assert!(ready.is_some(), "{:?}", get(&running.portal, "/readyz"));
    check_agents(&running);
    check_database(&running);
    running.wait_until_kept();
    check_page(&place, &running);
    check_metrics(&running);
    let said = place.refused(&place.data());
    assert!(said.contains("another quickstart runs in") && said.contains("--data"), "{said}");
    let report = running.process.output();
    let line = report.lines().find_map(|line| line.strip_prefix("The same on the command line:"));
    let ran = run(&mut place.command(line.expect("a command line")), "", ENDS);
    assert_eq!(ran.code, Some(0), "{line:?}: {}", ran.stderr);
    assert!(ran.stdout.contains("availability"), "{}", ran.stdout);
    running.interrupt();
    place.assert_nothing_strays();

    // The next start goes on from there.
    let (agents, before) = (place.delivered(), attempts(&place.report()));
    let mut running = place.start("");
    let (again, more) = eventually(JUDGED, || {
        let (ids, records) = place.delivered();
        let more = attempts(&place.report());
        assert!(more >= before, "{before} attempts before the restart, {more} after it");
        (records > agents.1 && more > before).then_some((ids, more))
    })
    .expect("records go on coming");
    assert_eq!(again, agents.0, "the same agents");
    assert_eq!(again.len(), AGENTS.len());
    println!("{before} attempts before the restart, {more} after it");

    // Nobody is left when the parent is killed.
    let began = Instant::now();
    running.process.kill();
    let gone = eventually(ENDED_AFTER_KILL, || alive(&running.children).is_empty().then_some(()));
    assert!(gone.is_some(), "{:?} outlive their parent", alive(&running.children));
    assert!(cluster_folders().is_subset(&clusters), "{:?} are left", cluster_folders());
    println!("kill -9: all gone after {:?}", began.elapsed());

    // Forgotten when asked.
    let running = place.start("--reset");
    let ids = eventually(JUDGED, || {
        let (ids, _) = place.delivered();
        (ids.len() == AGENTS.len()).then_some(ids)
    });
    assert!(ids.expect("new agents").is_disjoint(&again), "--reset makes new agents");
    assert!(attempts(&place.report()) < before, "--reset forgets what was measured");
    running.interrupt();
    place.assert_nothing_strays();
}

#[test]
fn without_postgresql_nothing_is_queried() {
    const TEST: &str = "without_postgresql_nothing_is_queried";
    let hidden = "unshare --map-root-user --mount sh -c 'mount -t tmpfs none /usr/lib/postgresql && exec \"$@\"' -";
    let place = Place::new();
    if run(&mut place.command(&format!("{hidden} true")), "", ENDS).code != Some(0) {
        return harness::skip(TEST, "the right to make a mount namespace");
    }
    let running = place.start_by(&format!("exec {hidden}"), "");
    let said = running.process.output();
    assert!(said.contains("apt-get install --no-install-recommends postgresql"), "{said}");
    assert_eq!(running.children.len(), 3 + AGENTS.len(), "{said}");
    let plan = std::fs::read_to_string(place.data().join("plan.yaml")).expect("reads");
    assert!(plan.contains("sip:") && !plan.contains("sql:"), "{plan}");
    running.interrupt();

    // PostgreSQL has come since: the plan is the user's by now, and the quickstart says so.
    let running = place.start("");
    let judged = eventually(JUDGED, || (running.statuses().len() == OBJECTIVES - 2).then_some(()));
    assert!(judged.is_some(), "{:?}", running.statuses());
    let said = running.process.output();
    assert!(said.contains("plan.yaml has no SQL probe"), "{said}");
    running.interrupt();
}

/// A drill from its start to the moment at which the break stands on the page, in the report and among the metrics.
fn drill(service: &str, objective: &str) {
    let place = Place::new();
    let running = place.start(&format!("--break {service}"));
    let began = Instant::now();
    let certain = format!(
        "probefleet_objective_status{{agreement=\"quickstart-shop\",objective=\"{objective}\",status=\"breach_certain\"}} 1"
    );
    let metrics = eventually(BROKEN, || {
        Some(get(&running.portal, "/metrics").1).filter(|metrics| metrics.contains(&certain))
    });
    let metrics = metrics.unwrap_or_else(|| panic!("{service}: {}", running.process.output()));
    println!("--break {service}: {objective} is breach_certain after {:?}", began.elapsed());
    let projected = metrics.lines().find_map(|line| {
        let labels = format!(
            "{{agreement=\"quickstart-shop\",objective=\"{objective}\",currency=\"EUR\"}} "
        );
        line.strip_prefix("probefleet_objective_credit_projected")?.strip_prefix(&labels)
    });
    let projected: f64 = projected.expect("a metric").parse().expect("a number");
    assert!(projected > 0.0, "{projected} EUR");
    let report = place.report();
    let judged = report["objectives"].as_array().expect("a list").iter();
    let judged = judged.clone().find(|judged| judged["name"] == objective).expect("is judged");
    assert_eq!(judged["status"], "breach_certain", "{judged}");
    let amount = judged["credit_projected"]["amount"].as_str().expect("an amount");
    assert_eq!(amount.parse::<f64>().expect("a number"), projected, "{judged}");
    let (status, page) = get(&running.portal, "/agreements/quickstart-shop");
    assert_eq!(status, 200);
    let card = page.split("<article").find(|card| card.contains(&format!("<h3>{objective}</h3>")));
    let card = card.expect("a card");
    assert!(card.contains("Breach certain") && card.contains(&format!("{amount} EUR")), "{card}");
    let said = running.process.output();
    assert!(said.contains("becomes slow") && said.contains("is gone"), "{said}");
    running.interrupt();
    place.assert_nothing_strays();
}

#[test]
fn a_drill_breaks_a_promise_before_everybodys_eyes() {
    // Side by side, because most of it is waiting.
    let drills =
        [("http", "availability"), ("sip", "hotline-availability"), ("sql", "report-availability")];
    std::thread::scope(|scope| {
        // A drill that fails ends the scope with its panic.
        for (service, objective) in drills {
            let _joined_by_the_scope = scope.spawn(move || drill(service, objective));
        }
    });
}

#[test]
fn a_drill_spoils_nothing_that_was_measured() {
    let place = Place::new();
    place.start("").interrupt();
    let before = listing(&place.data().join("collector"));
    let line = format!("probefleet-quickstart --break http --data {}", place.data().display());
    let ran = run(&mut place.command(&line), "", ENDS);
    assert!(ran.code == Some(2) && ran.stderr.contains("a drill begins anew"), "{ran:?}");
    assert_eq!(listing(&place.data().join("collector")), before, "nothing is changed");
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    let place = Place::new();
    let foreign = place.dir.path().join("foreign");
    std::fs::create_dir(&foreign).expect("a folder");
    std::fs::write(foreign.join("letter.txt"), "dear").expect("writes");
    let before = listing(&foreign);
    let said = place.refused(&foreign);
    assert!(said.contains("is not empty and was not made by the quickstart"), "{said}");
    let line = format!("probefleet-quickstart --reset --data {}", foreign.display());
    let ran = run(&mut place.command(&line), "", ENDS);
    assert!(ran.code != Some(0) && ran.stderr.contains("not made by the quickstart"), "{ran:?}");
    assert_eq!(listing(&foreign), before, "nothing is changed");
    let said = place.refused(&foreign.join("letter.txt"));
    assert!(said.contains("letter.txt"), "{said}");
}

/// Ports that the quickstart would like: held here, or by somebody else already.
fn hold(ports: impl IntoIterator<Item = u16>) -> Vec<TcpListener> {
    ports.into_iter().filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).collect()
}

#[test]
fn other_ports_are_taken_when_these_are_taken() {
    let place = Place::new();
    let held = hold([7_400, 7_480, 7_481, 7_482]);
    let running = place.start("");
    let said = running.process.output();
    for expected in ["port 7481 is taken", "port 7482 is taken", "port 7400 or 7480 is taken"] {
        assert!(said.contains(expected), "{expected}:\n{said}");
    }
    assert!(!running.portal.ends_with(":7480") && !running.agents_address().ends_with(":7400"));
    let (status, _) = get(&running.portal, "/healthz");
    assert_eq!(status, 200);
    running.interrupt();
    drop(held);

    // The responder's port of the first start is taken at the second: the plan must follow it.
    let plan = || std::fs::read_to_string(place.data().join("plan.yaml")).expect("reads");
    let before = plan();
    let ports = std::fs::read(place.data().join("ports.json")).expect("reads");
    let ports: Value = serde_json::from_slice(&ports).expect("JSON");
    let port =
        ports["responder"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
    let held = hold([port]);
    assert_eq!(held.len(), 1, "is free again");
    let mut running = place.start("");
    let said = running.process.output();
    assert!(said.contains(&format!("port {port} is taken")), "{said}");
    assert!(said.contains("plan.yaml probes http://127.0.0.1:"), "{said}");
    assert!(
        before.contains(&format!(":{port}/")) && !plan().contains(&format!(":{port}/")),
        "{}",
        plan()
    );
    running.wait_until_kept();
    running.interrupt();
}
