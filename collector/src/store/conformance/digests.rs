//! Digests of hours.

use super::{NOW_S, SPOOL, after, batch, introduction, records};
use crate::store::{
    AnyStore, Digest, HOUR_S, HOURS_PAGE, HourCursor, NewDigest, Outcome, Store as _, TenantScope,
};
use probefleet_proto::name::Name;
use uuid::Uuid;

pub(super) async fn a_digest_lasts_until_a_record_of_its_hour_comes(store: AnyStore) {
    let (ours, theirs) =
        (TenantScope::default(), TenantScope::new(&Name::new("other").expect("a name")));
    let opened = store.open_session(&ours, introduction(1, SPOOL, "a")).await.expect("opens");
    let mut head = opened.head;
    // The 60th begins in the next hour.
    for expected in [2, 57] {
        let more = records(&SPOOL, &head, expected);
        let outcome = store.commit(&ours, batch(&opened, head, &more)).await;
        assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
        head = after(head, &more);
    }
    let digest = Digest { basis: vec![1], body: vec![2, 3] };
    let keep = async |scope: &TenantScope, read_to| {
        let made = NewDigest { stream: opened.stream, read_to, digest: digest.clone() };
        store.keep_digests(scope, NOW_S, vec![made]).await.expect("writes");
    };
    let kept = async || {
        let hours = store.hours_after(&ours, HourCursor::before(NOW_S + 5), NOW_S + HOUR_S).await;
        let hours = hours.expect("reads");
        assert_eq!(hours.len(), 1);
        assert_eq!((hours[0].hour_s, hours[0].agent), (NOW_S, Uuid::from_u128(1)));
        hours.into_iter().find_map(|hour| hour.digest)
    };
    let due = async |until_s| store.hour_due(&ours, 0, until_s).await.expect("reads");
    assert_eq!((kept().await, due(NOW_S).await, due(NOW_S + 1).await), (None, None, Some(NOW_S)));
    keep(&ours, 58).await;
    assert_eq!(kept().await, None, "it knows of 58 records, and there are 59");
    keep(&theirs, 59).await;
    assert_eq!(kept().await, None, "of another tenant");
    keep(&ours, 59).await;
    assert_eq!((kept().await, due(NOW_S + 1).await), (Some(digest.clone()), None));
    assert_eq!(store.hour_due(&theirs, 0, NOW_S + 1).await.expect("reads"), None);
    let seen = store.hours_after(&theirs, HourCursor::before(0), u64::MAX).await;
    assert_eq!(seen.expect("reads"), []);

    // Of the next hour: this one keeps its digest.
    let next = records(&SPOOL, &head, 1);
    let outcome = store.commit(&ours, batch(&opened, head, &next)).await;
    assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
    head = after(head, &next);
    assert_eq!(kept().await, Some(digest.clone()));
    keep(&ours, 59).await;
    assert_eq!(kept().await, Some(digest.clone()), "the 60th is of another hour");
    // A late one.
    let mut late = records(&SPOOL, &head, 1);
    late[0].window_start_s = NOW_S + 1_800;
    let outcome = store.commit(&ours, batch(&opened, head, &late)).await;
    assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
    assert_eq!(kept().await, None);
    keep(&ours, 60).await;
    assert_eq!(kept().await, None, "it does not know the late one");
    keep(&ours, 61).await;
    assert_eq!(kept().await, Some(digest.clone()));
}

pub(super) async fn hours_page_through_everything_once(store: AnyStore) {
    let scope = TenantScope::default();
    let hours = u64::from(HOURS_PAGE) + 6;
    for (agent, spool) in [(1, SPOOL), (2, [8; 16])] {
        let name = format!("agent-{agent}");
        let opened =
            store.open_session(&scope, introduction(agent, spool, &name)).await.expect("opens");
        let mut all = records(&spool, &opened.head, hours);
        for (hour, record) in (0..).zip(&mut all) {
            record.window_start_s = NOW_S + hour * HOUR_S + 17;
        }
        let outcome = store.commit(&scope, batch(&opened, opened.head, &all)).await;
        assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
    }
    let (mut cursor, mut seen) = (HourCursor::before(NOW_S + HOUR_S), Vec::new());
    loop {
        let page = store.hours_after(&scope, cursor, NOW_S + hours * HOUR_S).await;
        let page = page.expect("reads");
        let Some(last) = page.last() else { break };
        cursor = last.into();
        seen.extend(page.iter().map(|hour| (hour.hour_s, hour.agent)));
    }
    let expected: Vec<(u64, Uuid)> = (1..hours)
        .flat_map(|hour| [1, 2].map(|agent| (NOW_S + hour * HOUR_S, Uuid::from_u128(agent))))
        .collect();
    assert_eq!(seen, expected);
}
