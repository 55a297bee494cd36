//! A way to the collector that swallows everything without a word, and a store that does not answer: both ends notice, nothing
//! piles up, and all goes on when it is mended.

use harness::command::run;
use harness::fleet::{Fleet, get, start_responder};
use harness::namespace::is_within;
use harness::ports::free_port;
use harness::process::eventually;
use harness::secure::{Authority, Speaker, Spool, secure, small_report};
use probefleet_proto::record::Kind;
use probefleet_proto::v1::nack::Code;
use probefleet_proto::v1::to_agent::Message as Down;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A PING is sent every 12 s by an agent and every 15 s by a collector, and waited for for 10 s; an agent tells four seconds later,
/// because a session that is followed by another at once is no fault. The rest is the machine's own.
const NOTICED_MAX: Duration = Duration::from_secs(30);
/// An agent whose session had stood for a few seconds only is patient: it may be part of the trouble.
const BACK_MAX: Duration = Duration::from_secs(40);

fn nft(rule: &str) {
    let ran = run(Command::new("nft").arg(rule), "", Duration::from_secs(5));
    assert_eq!(ran.code, Some(0), "nft {rule}: {}", ran.stderr);
}

#[test]
fn a_silent_partition_is_noticed_at_both_ends() {
    const TEST: &str = "broken_uplink::a_silent_partition_is_noticed_at_both_ends";
    if !harness::has("nft") {
        return harness::skip(TEST, "nft (tests/run installs it)");
    }
    if !is_within(TEST) {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (_responder, target) = start_responder(&dir.path().join("responder.log"));
    let plan =
        format!("probes:\n  - {{name: web, every: 1s, http: {{url: 'http://{target}/'}}}}\n");
    let mut fleet = Fleet::new(&plan, &[]);
    let collector = fleet.start_collector().agents;
    fleet.add_agent("berlin", "berlin", &collector, &target);
    let status = format!("127.0.0.1:{}", free_port());
    let config = fleet.dir().join("berlin/agent.yaml");
    let text = std::fs::read_to_string(&config).expect("reads");
    std::fs::write(config, format!("{text}status: {status}\n")).expect("writes");
    fleet.start_agent("berlin");
    let log = |name: &str| {
        std::fs::read_to_string(fleet.dir().join(format!("{name}.log"))).unwrap_or_default()
    };
    let says = |name: &str, what: &str, times: usize, within: Duration| {
        let said = || (log(name).matches(what).count() >= times).then_some(());
        eventually(within, said).unwrap_or_else(|| panic!("no `{what}`:\n{}", log(name)));
    };
    says("collector", "plan in force", 1, Duration::from_secs(20));
    let (_, port) = collector.rsplit_once(':').expect("a port");
    nft("add table t");
    nft("add chain t in { type filter hook input priority 0; }");
    nft(&format!("add rule t in tcp dport {port} drop"));
    nft(&format!("add rule t in tcp sport {port} drop"));
    let cut = Instant::now();
    says("berlin", "not connected to the collector", 1, NOTICED_MAX);
    let agent_noticed = cut.elapsed();
    says("collector", "session ended", 1, NOTICED_MAX.saturating_sub(cut.elapsed()));
    let told = eventually(NOTICED_MAX.saturating_sub(cut.elapsed()), || {
        let (code, said) = get(&status, "/readyz");
        (code == 503 && said.contains("uplink: ")).then(|| cut.elapsed())
    });
    let told = told.unwrap_or_else(|| panic!("not told: {:?}", get(&status, "/readyz")));
    println!("told by the agent's /readyz after {told:?}");
    println!(
        "noticed by the agent after {agent_noticed:?}, by the collector after {:?}",
        cut.elapsed()
    );

    nft("flush ruleset");
    let mended = Instant::now();
    says("berlin", "connected to the collector\n", 2, BACK_MAX);
    println!("connected again {:?} after it was mended", mended.elapsed());
}

#[test]
fn a_store_that_does_not_answer_holds_agents_off() {
    let mut fleet = Fleet::new(
        "probes:\n  - {name: web, every: 10s, http: {url: 'http://127.0.0.1:9/'}}\n",
        &[],
    );
    let authority = Authority::of(&fleet);
    let to = fleet.start_collector().agents.parse().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let open = |number: u128| {
            let agent = Uuid::from_u128(number);
            let config = authority.agent(agent);
            async move {
                let stream = secure(to, Ipv4Addr::LOCALHOST, &config).await.expect("connects");
                Speaker::open(stream, Spool::of(agent)).await.expect("a session")
            }
        };
        let (mut first, mut second) = (open(1).await, open(2).await);
        assert_eq!(first.welcome.reconnect_within_ms, 1_000, "two agents need no more");
        let lock = rusqlite::Connection::open(fleet.store()).expect("opens");
        lock.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
        let record = first.spool.seal(Kind::Report, small_report(1));
        first.send(vec![record]).await.expect("a session");
        tokio::time::sleep(Duration::from_millis(5_300)).await;

        // Five seconds for one commit: no further frame is added to the queue.
        let mut again = second.spool;
        let record = second.spool.seal(Kind::Report, small_report(1));
        let began = Instant::now();
        second.send(vec![record]).await.expect("a session");
        let answer = second.answer().await.expect("the session goes on");
        let Down::Nack(nack) = answer else { panic!("not a refusal: {answer:?}") };
        assert_eq!((nack.code(), nack.expected_seq), (Code::Busy, 1), "{nack:?}");
        assert!((5_000..=10_000).contains(&nack.retry_after_ms), "{nack:?}");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());

        lock.execute_batch("ROLLBACK").expect("is held");
        let answer = first.answer().await.expect("the session goes on");
        let Down::Ack(ack) = answer else { panic!("not an acknowledgement: {answer:?}") };
        assert_eq!(ack.last_seq, 1);
        assert!(ack.credit_bytes < first.welcome.credit_bytes, "the commit was slow: {ack:?}");
        assert!(ack.credit_bytes >= 256 << 10, "{ack:?}");
        let record = again.seal(Kind::Report, small_report(1));
        second.send(vec![record]).await.expect("a session");
        let answer = second.answer().await.expect("the session goes on");
        assert!(matches!(&answer, Down::Ack(ack) if ack.last_seq == 1), "{answer:?}");
    });
}
