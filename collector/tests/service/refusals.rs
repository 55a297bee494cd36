//! Who is not let in.

use crate::support::{AGENT, Authority, Credentials, Site, Speaker, hello};
use probefleet_proto::v1::from_agent::Message as Said;
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};

/// What becomes of a session with these credentials: the message of the refusal.
async fn refusal(site: &Site, credentials: Option<&Credentials>) -> String {
    let running = site.start().await;
    let refusal = match site.client(&running, credentials).await {
        Err(error) => error,
        Ok(mut client) => match Speaker::open(&mut client).await {
            Err(status) => status.to_string(),
            // With TLS 1.3 a client learns of its refusal only when it reads.
            Ok(mut agent) => {
                agent.say(Said::Hello(hello())).await;
                match agent.answer().await {
                    Err(status) => status.to_string(),
                    Ok(answer) => panic!("let in: {answer:?}"),
                }
            }
        },
    };
    running.stop().await;
    refusal
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_without_a_certificate_of_ours() {
    let site = Site::secured();
    let ours = site.authority();
    let uri = format!("spiffe://acme/tenant/default/agent/{AGENT}");
    let expired = ours.client(&uri, |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let early = ours.client(&uri, |params| {
        params.not_before = date_time_ymd(2090, 1, 1);
        params.not_after = date_time_ymd(2091, 1, 1);
    });
    let server = ours.client(&uri, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    for (what, credentials) in [
        ("no certificate", None),
        ("another authority", Some(Authority::new().agent(AGENT))),
        ("expired", Some(expired)),
        ("not yet valid", Some(early)),
        ("a server's", Some(server)),
    ] {
        let text = refusal(&site, credentials.as_ref()).await;
        assert!(!text.is_empty(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_elsewhere_is_told_so() {
    let site = Site::secured();
    for (uri, expected) in [
        (format!("spiffe://umbrella/tenant/default/agent/{AGENT}"), "deployment `umbrella`"),
        (format!("spiffe://acme/tenant/other/agent/{AGENT}"), "tenant `other`"),
        ("https://acme.example/".to_owned(), "exactly one"),
        ("spiffe://acme/agent".to_owned(), "spiffe://DEPLOYMENT/tenant/TENANT/agent/UUID"),
    ] {
        let credentials = site.authority().client(&uri, |_| {});
        let text = refusal(&site, Some(&credentials)).await;
        assert!(text.contains(expected), "{uri}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_says_of_itself_counts_for_nothing() {
    let site = Site::secured();
    let running = site.start().await;
    let credentials = site.authority().agent(AGENT);
    let mut client = site.client(&running, Some(&credentials)).await.expect("connects");
    let other = "0198c0de-0000-7000-8000-0000000000ff";
    let mut agent = Speaker::open_as(&mut client, Some(other)).await.expect("opens");
    let welcome = agent.welcome(hello()).await;
    assert_eq!(welcome.agent_id, AGENT.parse::<uuid::Uuid>().expect("a UUID").as_bytes());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_an_agent_must_name_itself() {
    let site = Site::plain();
    let running = site.start().await;
    let mut client = site.client(&running, None).await.expect("connects");
    let status = Speaker::open(&mut client).await.err().expect("refused");
    assert!(status.message().contains("probefleet-agent-id"), "{status}");
    running.stop().await;
}
