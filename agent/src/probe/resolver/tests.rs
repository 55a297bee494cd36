use super::*;

#[test]
fn of_two_negative_answers_the_more_telling_wins() {
    let failed = Answer::ServFail(String::new());
    assert_eq!(worse(Some(Answer::NxDomain), Answer::NoData), Answer::NoData);
    assert_eq!(worse(Some(Answer::NoData), Answer::NxDomain), Answer::NoData);
    assert_eq!(worse(Some(failed.clone()), Answer::NxDomain), failed);
    assert_eq!(worse(Some(failed), Answer::NoData), Answer::NoData);
}

#[tokio::test]
async fn hosts_come_first() {
    // Nobody answers there: what is found, the machine knows by itself.
    let resolver = Resolver::with_servers(vec!["127.0.0.1:1".parse().expect("an address")]);
    let found = resolver.resolve("LOCALHOST", Family::V4).await;
    assert_eq!(found, Ok("127.0.0.1".parse().expect("an address")));
}
