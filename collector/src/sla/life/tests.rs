use super::*;
use crate::contract::period::Span;
use crate::sla::verdict::CreditTotals;

/// The first instant after the period.
const END_S: i64 = 1_800_000_000;
const CLOSING: Closing =
    Closing { ended_s: END_S, rules: CloseRules { grace_s: 3_600, dispute_s: 86_400 } };
/// The first instant after the time for late reports.
const GRACE_OVER_S: i64 = END_S + 3_600;

/// A verdict by which so much is payable.
fn verdict(payable: &str, code: &str) -> Verdict {
    let currency = Currency::parse(code).expect("listed");
    let payable = currency.amount(payable).expect("an amount");
    Verdict {
        agreement: "acme".to_owned(),
        version: 1,
        title: "ACME".to_owned(),
        signed: true,
        label: "2027-01-14".to_owned(),
        period: Span { from_s: END_S - 86_400, until_s: END_S },
        as_of_s: None,
        objectives: Vec::new(),
        claims: Vec::new(),
        credits: CreditTotals { sum: payable.clone(), payable, currency, claim_until_s: None },
        termination_right: false,
        inputs_digest: String::new(),
    }
}

fn basis(inputs: &str, terms: &str, exclusions: &str) -> Basis {
    let [inputs, terms, exclusions] = [inputs, terms, exclusions].map(str::to_owned);
    Basis { form: digest::FORM, inputs, terms, exclusions }
}

/// The revision that is due at an instant for an amount in euros.
fn due(now_s: i64, so_far: &[Revision], payable: &str, basis: Basis) -> Option<Revision> {
    CLOSING.due(now_s, so_far, (&verdict(payable, "EUR"), basis), Heard::default())
}

/// A period that was published when it could be, with 120 euros payable.
fn published() -> Vec<Revision> {
    due(GRACE_OVER_S, &[], "120.00", basis("a", "t", "x")).into_iter().collect()
}

#[test]
fn stages_begin_with_their_first_instant() {
    let published = published();
    let final_s = GRACE_OVER_S + 86_400;
    for (now_s, so_far, stage) in [
        (END_S - 1, &[][..], Stage::Open),
        (END_S, &[], Stage::Closed { until_s: GRACE_OVER_S }),
        // Over, but nobody was there to publish it.
        (final_s, &[], Stage::Closed { until_s: GRACE_OVER_S }),
        (GRACE_OVER_S, &published[..], Stage::Published { until_s: final_s }),
        (final_s - 1, &published, Stage::Published { until_s: final_s }),
        (final_s, &published, Stage::Final { since_s: final_s }),
    ] {
        assert_eq!(CLOSING.stage(now_s, so_far), stage, "at {now_s}");
    }
}

#[test]
fn the_first_revision_comes_when_grace_is_over_and_only_once() {
    let same = || basis("a", "t", "x");
    assert_eq!(due(END_S, &[], "120.00", same()), None);
    assert_eq!(due(GRACE_OVER_S - 1, &[], "120.00", same()), None);
    let first = due(GRACE_OVER_S, &[], "120.00", same()).expect("is due");
    assert_eq!((first.number, first.made_s, first.cause), (1, GRACE_OVER_S, Cause::Published));
    assert_eq!((first.payable.as_str(), first.delta.as_str()), ("120.00", "120.00"));
    assert!(!first.after_final);
    let so_far = [first];
    for now_s in [GRACE_OVER_S, GRACE_OVER_S + 1, GRACE_OVER_S + 1_000_000] {
        assert_eq!(due(now_s, &so_far, "120.00", same()), None, "the same is not said twice");
    }
    let nothing = due(GRACE_OVER_S, &[], "0.00", same()).expect("nothing payable is a result too");
    assert_eq!((nothing.payable.as_str(), nothing.delta.as_str()), ("0.00", "0.00"));
}

#[test]
fn what_changes_restates_with_its_cause_and_the_difference() {
    let mut so_far = published();
    let later_s = GRACE_OVER_S + 60;
    for (payable, basis, cause, delta) in [
        ("0.00", basis("b", "t", "x"), Cause::LateData, "-120.00"),
        ("0.00", basis("c", "t", "x"), Cause::LateData, "0.00"),
        ("300.50", basis("d", "t", "y"), Cause::ExclusionsChanged, "300.50"),
        ("120.00", basis("e", "u", "z"), Cause::AgreementChanged, "-180.50"),
    ] {
        let next = due(later_s, &so_far, payable, basis).expect("is due");
        assert_eq!((next.cause, next.delta.as_str()), (cause, delta));
        assert_eq!(next.number, so_far.len() as u64 + 1);
        assert!(!next.after_final);
        so_far.push(next);
    }
    // Back to what it was judged from at first: that is news too.
    let back = due(later_s, &so_far, "120.00", basis("a", "t", "x")).expect("is due");
    assert_eq!((back.number, back.delta.as_str()), (6, "0.00"));
}

#[test]
fn after_the_dispute_a_revision_is_flagged() {
    let so_far = published();
    let changed = || basis("b", "t", "x");
    let last = due(GRACE_OVER_S + 86_399, &so_far, "0.00", changed()).expect("is due");
    assert!(!last.after_final);
    let late = due(GRACE_OVER_S + 86_400, &so_far, "0.00", changed()).expect("is due");
    assert!(late.after_final);
    let both = [so_far, vec![late]].concat();
    assert!(matches!(CLOSING.stage(GRACE_OVER_S + 86_400, &both), Stage::Final { .. }));
}

#[test]
fn an_amount_in_another_currency_stands_alone() {
    let now = (&verdict("350", "JPY"), basis("b", "u", "x"));
    let next = CLOSING.due(GRACE_OVER_S, &published(), now, Heard::default()).expect("is due");
    assert_eq!(
        (next.payable.as_str(), next.currency.as_str(), next.delta.as_str()),
        ("350", "JPY", "350")
    );
}

#[test]
fn a_program_that_hashes_otherwise_restates_only_what_it_has_heard_of() {
    let older = || {
        let mut so_far = published();
        so_far[0].basis.form -= 1;
        so_far
    };
    let late = Heard { late: true, exclusions: false };
    let excused = Heard { late: false, exclusions: true };
    for (heard, basis, cause) in [
        (Heard::default(), basis("b", "t", "y"), None),
        (late, basis("b", "t", "y"), Some(Cause::LateData)),
        (excused, basis("b", "t", "y"), Some(Cause::ExclusionsChanged)),
        // The terms are hashed as ever.
        (Heard::default(), basis("b", "u", "y"), Some(Cause::AgreementChanged)),
    ] {
        let now = (&verdict("0.00", "EUR"), basis);
        let next = CLOSING.due(GRACE_OVER_S, &older(), now, heard);
        assert_eq!(next.as_ref().map(|next| next.cause), cause, "{heard:?}");
        let form = next.map_or(digest::FORM, |next| next.basis.form);
        assert_eq!(form, digest::FORM, "from then on digests are compared again");
    }
    // Where digests cannot be compared, the outcome can.
    for (payable, other) in [("120.00", false), ("0.00", true)] {
        assert_eq!(differs(&verdict(payable, "EUR"), &older()[0]), other);
    }
}

#[test]
fn words_are_read_back() {
    for (word, cause) in Cause::WORDS {
        assert_eq!((cause.as_str(), Cause::parse(word)), (*word, Some(*cause)));
    }
    assert_eq!(Cause::parse("mistake"), None);
}
