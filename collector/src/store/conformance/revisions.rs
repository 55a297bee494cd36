//! Revisions of periods.

use crate::revision::{Basis, Cause, Revision};
use crate::store::{AnyStore, PeriodKey, Store as _, TenantScope};
use probefleet_proto::name::Name;

pub(in crate::store) fn period(agreement: &str, label: &str) -> PeriodKey {
    PeriodKey { agreement: agreement.to_owned(), kind: "month", period: label.to_owned() }
}

pub(in crate::store) fn revision(number: u64) -> Revision {
    let text = |what: &str| format!("{what} {number}");
    Revision {
        number,
        version: 7,
        made_s: 1_800_000_000,
        cause: if number == 1 { Cause::Published } else { Cause::ExclusionsChanged },
        after_final: number > 1,
        basis: Basis {
            form: u32::try_from(number).expect("small"),
            inputs: text("i"),
            terms: text("t"),
            exclusions: text("x"),
        },
        payable: "0.00".to_owned(),
        currency: "EUR".to_owned(),
        delta: "-120.00".to_owned(),
    }
}

pub(super) async fn a_revision_is_added_once_and_stays(store: AnyStore) {
    let (ours, theirs) =
        (TenantScope::default(), TenantScope::new(&Name::new("other").expect("a name")));
    let april = period("acme", "2026-04");
    let publish = async |of: &PeriodKey, number, result: &str| {
        store.publish(&ours, of.clone(), revision(number), result.to_owned()).await.expect("writes")
    };
    assert!(!publish(&april, 2, "{}").await, "the first one is missing");
    assert!(publish(&april, 1, "first").await);
    assert!(!publish(&april, 1, "again").await, "is there already");
    assert!(!publish(&april, 3, "{}").await, "the second one is missing");
    assert!(publish(&april, 2, "second").await);
    assert!(publish(&period("acme", "2026-05"), 1, "of May").await);
    assert!(publish(&period("other", "2026-04"), 1, "of others").await);

    let of = async |scope: &TenantScope, period: Option<&str>| {
        store.revisions(scope, "acme", period).await.expect("reads")
    };
    let april_s = "2026-04".to_owned();
    let expected = [(april_s.clone(), revision(1)), (april_s, revision(2))];
    assert_eq!(of(&ours, Some("2026-04")).await, expected);
    let all: Vec<String> = of(&ours, None).await.into_iter().map(|(label, _)| label).collect();
    assert_eq!(all, ["2026-04", "2026-04", "2026-05"]);
    assert_eq!(of(&theirs, None).await, []);
    let result = async |number| store.result(&ours, &april, number).await.expect("reads");
    assert_eq!(result(1).await.as_deref(), Some("first"));
    assert_eq!(result(2).await.as_deref(), Some("second"));
    assert_eq!(result(3).await, None);
}
