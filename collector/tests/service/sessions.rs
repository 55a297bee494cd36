//! Sessions that go well, and those that must not.

use crate::support::{AGENT, Chain, Site, Speaker, hello};
use probefleet_proto::plan::AgentPlan;
use probefleet_proto::record::{Kind, MESSAGE_MAX_BYTES};
use probefleet_proto::v1;
use probefleet_proto::v1::from_agent::Message as Said;
use probefleet_proto::v1::nack::Code;
use probefleet_proto::v1::to_agent::Message as Answer;

fn acknowledged(answer: &Answer) -> u64 {
    match answer {
        Answer::Ack(ack) => ack.last_seq,
        other => panic!("{other:?}"),
    }
}

fn refused(answer: &Answer) -> (Code, u64) {
    match answer {
        Answer::Nack(nack) => (nack.code(), nack.expected_seq),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_delivers_breaks_off_and_resumes() {
    let site = Site::secured();
    let running = site.start().await;
    let credentials = site.authority().agent(AGENT);
    let chain = Chain::windows(6, 10, &[]);

    let mut client = site.client(&running, Some(&credentials)).await.expect("connects");
    let mut agent = Speaker::open(&mut client).await.expect("opens");
    let welcome = agent.welcome(hello()).await;
    assert_eq!(welcome.agent_id, AGENT.parse::<uuid::Uuid>().expect("a UUID").as_bytes());
    assert_eq!((welcome.last_seq, welcome.credit_bytes), (0, 1 << 20));

    // It gets the probe that is meant for it, with the threshold that the agreement turns on.
    let plan = agent.plan().await;
    assert_eq!(AgentPlan::hash(&plan.canonical_json).to_vec(), plan.hash);
    let handed = AgentPlan::from_canonical_json(&plan.canonical_json).expect("a plan");
    let names: Vec<&str> = handed.probes.iter().map(|probe| probe.schedule.name.as_str()).collect();
    assert_eq!(names, ["web"]);
    assert_eq!(handed.probes[0].at_most_ns.get("total"), Some(&vec![150_000_000]));
    assert_eq!(handed.window_s, 10);

    let answer = agent.send(welcome.session, chain.records[..3].to_vec()).await;
    assert_eq!(acknowledged(&answer), 3);
    // The connection is gone before the next acknowledgement arrives.
    agent
        .say(Said::Data(v1::Data {
            session: welcome.session,
            records: chain.records[3..4].to_vec(),
        }))
        .await;
    drop((agent, client));

    let mut client = site.client(&running, Some(&credentials)).await.expect("connects");
    let mut agent = Speaker::open(&mut client).await.expect("opens");
    let again = agent.welcome(v1::Hello { plan_hash: plan.hash.clone(), ..hello() }).await;
    assert_eq!(again.session, welcome.session + 1);
    assert!((3..=4).contains(&again.last_seq), "{}", again.last_seq);
    // The plan is in force already, so the next answer is the acknowledgement. Everything comes again; nothing doubles.
    let answer = agent.send(again.session, chain.records.clone()).await;
    assert_eq!(acknowledged(&answer), 6);
    // A frame of the session before.
    let answer = agent.send(welcome.session, chain.records.clone()).await;
    assert_eq!(refused(&answer), (Code::Fenced, 7));
    running.stop().await;

    // What was acknowledged outlives the collector.
    let running = site.start().await;
    let mut client = site.client(&running, Some(&credentials)).await.expect("connects");
    let mut agent = Speaker::open(&mut client).await.expect("opens");
    let after = agent.welcome(hello()).await;
    assert_eq!((after.last_seq, after.session), (6, again.session + 1));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_says_what_to_do() {
    let site = Site::plain();
    let running = site.start().await;
    let mut client = site.client(&running, None).await.expect("connects");
    let mut agent = Speaker::open_as(&mut client, Some(AGENT)).await.expect("opens");
    let session = agent.welcome(hello()).await.session;
    agent.plan().await;
    let mut chain = Chain::windows(3, 10, &[]);

    let ahead = agent.send(session, chain.records[1..].to_vec()).await;
    assert_eq!(refused(&ahead), (Code::OutOfOrder, 1));
    assert_eq!(acknowledged(&agent.send(session, chain.records.clone()).await), 3);

    chain.push(Kind::Report, b"poison".to_vec());
    let poison = agent.send(session, chain.records[3..].to_vec()).await;
    assert_eq!(refused(&poison), (Code::Poison, 4));

    let other = Chain::windows(3, 1_000, &[]);
    let fork = agent.send(session, other.records).await;
    assert_eq!(refused(&fork), (Code::Fork, 4));
    assert!(agent.answer().await.expect("an end").is_none(), "a fork ends the session");

    let mut old = Speaker::open_as(&mut client, Some(AGENT)).await.expect("opens");
    old.say(Said::Hello(v1::Hello { protocol: 9, ..hello() })).await;
    let answer = old.answer().await.expect("an answer").expect("not the end");
    assert_eq!(refused(&answer).0, Code::Version);

    // The spool of another agent.
    let mut thief = Speaker::open_as(&mut client, Some("0198c0de-0000-7000-8000-00000000000b"))
        .await
        .expect("opens");
    thief.say(Said::Hello(hello())).await;
    let answer = thief.answer().await.expect("an answer").expect("not the end");
    assert_eq!(refused(&answer).0, Code::Fork);

    let metrics = running.get("/metrics").await.body;
    for code in ["out_of_order", "poison", "fork", "version"] {
        assert!(
            metrics.contains(&format!("probefleet_ingest_nacks_total{{code=\"{code}\"}}")),
            "{code}: {metrics}"
        );
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_messages_end_the_session_and_nothing_else() {
    let site = Site::plain();
    let running = site.start().await;
    let mut client = site.client(&running, None).await.expect("connects");
    let mut rude = Speaker::open_as(&mut client, Some(AGENT)).await.expect("opens");
    rude.say(Said::Status(v1::Status::default())).await;
    let status = rude.answer().await.expect_err("refused");
    assert!(status.message().contains("Hello"), "{status}");

    let mut large = Speaker::open_as(&mut client, Some(AGENT)).await.expect("opens");
    let session = large.welcome(hello()).await.session;
    large.plan().await;
    let payload = vec![0; MESSAGE_MAX_BYTES];
    let record = v1::Record { payload, ..v1::Record::default() };
    large.say(Said::Data(v1::Data { session, records: vec![record] })).await;
    assert!(!matches!(large.answer().await, Ok(Some(_))), "too large for a message");

    let mut fine = Speaker::open_as(&mut client, Some(AGENT)).await.expect("opens");
    assert_eq!(fine.welcome(hello()).await.session, session + 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_collector_says_goodbye() {
    let site = Site::plain();
    let running = site.start().await;
    let mut client = site.client(&running, None).await.expect("connects");
    let mut agent = Speaker::open_as(&mut client, Some(AGENT)).await.expect("opens");
    agent.welcome(hello()).await;
    agent.plan().await;
    let stop = tokio::spawn(running.stop());
    assert!(matches!(agent.answer().await, Ok(Some(Answer::GoAway(_)))));
    stop.await.expect("stops");
    assert!(!site.path("state/addresses.json").exists());
}
