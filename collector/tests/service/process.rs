//! The program itself: signals, exit codes, and what a `kill -9` leaves.

use crate::support::{AGENT, Chain, PATIENCE, Site, Speaker, hello};
use probefleet_proto::v1::fleet_client::FleetClient;
use probefleet_proto::v1::to_agent::Message as Answer;
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probefleet-collector"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

pub(crate) fn start(site: &Site) -> Child {
    program().args(["run", "--config"]).arg(site.path("collector.yaml")).spawn().expect("starts")
}

/// Waits for the file that says where the process is reached.
pub(crate) async fn client(site: &Site, child: &Child) -> FleetClient<Channel> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(site.path("state/addresses.json")).unwrap_or_default();
        let addresses: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        if addresses["pid"] == child.id() {
            let agents = addresses["agents"].as_str().expect("an address");
            let channel = Endpoint::new(format!("http://{agents}")).expect("a URL").connect().await;
            return FleetClient::new(channel.expect("connects"));
        }
        assert!(tokio::time::Instant::now() < deadline, "the collector does not come up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_that_was_acknowledged() {
    let site = Site::plain();
    let chain = Chain::windows(40, 10, &[]);
    let mut acknowledged = 0;
    for round in 1..=5_usize {
        let mut child = start(&site);
        let mut client = client(&site, &child).await;
        let mut agent = Speaker::open_as(&mut client, Some(AGENT)).await.expect("opens");
        let welcome = agent.welcome(hello()).await;
        agent.plan().await;
        assert!(welcome.last_seq >= acknowledged, "{} < {acknowledged}", welcome.last_seq);
        assert_eq!(welcome.session, u64::try_from(round).expect("small"), "the fence is durable");
        let answer = agent.send(welcome.session, chain.records[..8 * round].to_vec()).await;
        let Answer::Ack(ack) = answer else { panic!("{answer:?}") };
        acknowledged = ack.last_seq;
        signal(&child, Signal::KILL);
        child.wait().expect("ends");
    }
    assert_eq!(acknowledged, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_end_it_cleanly_and_soon() {
    let site = Site::plain();
    for end in [Signal::TERM, Signal::INT] {
        let mut child = start(&site);
        let mut client = client(&site, &child).await;
        let mut agent = Speaker::open_as(&mut client, Some(AGENT)).await.expect("opens");
        agent.welcome(hello()).await;
        signal(&child, end);
        let wait = tokio::task::spawn_blocking(move || child.wait().expect("ends"));
        let status = tokio::time::timeout(Duration::from_secs(2), wait).await;
        assert_eq!(status.expect("soon").expect("no panic").code(), Some(0));
        assert!(!site.path("state/addresses.json").exists());
    }
}

#[test]
fn exit_codes_tell_whose_fault_it_is() {
    let site = Site::plain();
    let code = |args: &[&str]| {
        let config = site.path("collector.yaml");
        let config = config.to_str().expect("UTF-8");
        let args: Vec<&str> =
            args.iter().map(|arg| if *arg == "CONFIG" { config } else { arg }).collect();
        program().args(args).status().expect("runs").code()
    };
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["run", "--config", "/nowhere.yaml"]), Some(2));
    assert_eq!(code(&["no-such-command"]), Some(2));
    assert_eq!(code(&["report", "--agreement", "nope", "--config", "CONFIG"]), Some(2));
    // No collector has ever run here.
    assert_eq!(code(&["report", "--agreement", "acme-web", "--config", "CONFIG"]), Some(3));
}
