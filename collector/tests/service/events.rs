//! What pages follow: marks that change when there is something new, and no more followers than there are places for.

use crate::support::{AGENT, Chain, PATIENCE, Running, Site, Speaker, hello};
use probefleet_proto::v1::to_agent::Message as Answer;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Places that the portal has.
const FOLLOWERS_MAX: usize = 128;

/// A page that follows.
struct Follower {
    lines: BufReader<TcpStream>,
    status: String,
}

impl Follower {
    async fn open(running: &Running) -> Self {
        let mut stream = TcpStream::connect(running.addresses.portal).await.expect("connects");
        let request =
            "GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut follower = Self { lines: BufReader::new(stream), status: String::new() };
        follower.status = follower.line().await.expect("a status");
        follower
    }

    /// The next line, or `None` at the end.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.lines.read_line(&mut line)).await;
        // A connection that is cut ends too.
        let bytes = read.expect("in time").unwrap_or(0);
        (bytes > 0).then(|| line.trim_end().to_owned())
    }

    /// What follows a field's name in the next event that has it.
    async fn field(&mut self, name: &str) -> String {
        loop {
            let line = self.line().await.expect("not the end");
            if let Some(value) = line.strip_prefix(name) {
                return value.trim().to_owned();
            }
        }
    }

    async fn marks(&mut self) -> Value {
        serde_json::from_str(&self.field("data:").await).expect("JSON")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_change_when_there_is_something_new() {
    let site = Site::plain();
    let running = site.start().await;
    let page = running.page_with("/", "data-mark").await;
    let mut follower = Follower::open(&running).await;
    assert!(follower.status.contains("200"), "{}", follower.status);
    let first = follower.marks().await;
    assert!(first["verdicts"].is_string() && first["agents"].is_string(), "{first}");

    let mut client = site.client(&running, None).await.expect("connects");
    let mut agent = Speaker::open_as(&mut client, Some(AGENT)).await.expect("opens");
    let session = agent.welcome(hello()).await.session;
    agent.plan().await;
    let sent = agent.send(session, Chain::windows(3, 10, &[]).records).await;
    assert!(matches!(sent, Answer::Ack(_)), "{sent:?}");
    let (mut verdicts, mut agents) = (false, false);
    while !(verdicts && agents) {
        let marks = follower.marks().await;
        verdicts |= marks["verdicts"] != first["verdicts"];
        agents |= marks["agents"] != first["agents"];
    }
    // A page that was made before has another mark than the one it is told.
    let now = running.page_with("/", "On track").await;
    let mark = |page: &str| {
        page.split("data-mark=\"").nth(1).map(|rest| rest.split('"').next().map(str::to_owned))
    };
    assert_ne!(mark(&page), mark(&now));
    running.stop().await;
    // The stream ends with the collector.
    while follower.line().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_have_a_bound_and_come_back_one_after_the_other() {
    let site = Site::plain();
    let running = site.start().await;
    let mut followers = Vec::new();
    for _ in 0..FOLLOWERS_MAX {
        followers.push(Follower::open(&running).await);
    }
    assert!(followers.iter().all(|follower| follower.status.contains("200")));
    let refused = Follower::open(&running).await;
    assert!(refused.status.contains("503"), "{}", refused.status);
    assert_eq!(running.get("/healthz").await.status, 200, "pages are still served");
    let mut retries = std::collections::BTreeSet::new();
    for follower in &mut followers {
        retries.insert(follower.field("retry:").await);
    }
    assert_eq!(retries.len(), FOLLOWERS_MAX, "not all at once");
    // Whoever goes leaves a place.
    followers.clear();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !Follower::open(&running).await.status.contains("200") {
        assert!(tokio::time::Instant::now() < deadline, "no place becomes free");
    }
    running.stop().await;
}
