//! Signatures: which must be there, which are looked at, and what a Hello may name.

use super::*;
use crate::evidence::tests::Signer;
use crate::store::OpenError;

impl Chain {
    /// The same records, signed from a sequence on. Signatures are not part of the chain.
    fn signed(mut self, signer: &Signer, from: u64) -> Self {
        self.records.iter_mut().for_each(|wire| {
            if wire.seq >= from {
                *wire = sign(signer, wire);
            }
        });
        self
    }
}

fn sign(signer: &Signer, wire: &v1::Record) -> v1::Record {
    let mut record = Record::try_from(wire.clone()).expect("sound");
    signer.sign(&mut record, &SPOOL);
    record.into()
}

impl Desk {
    /// A session of an agent that names that key, pinned from `signed_from` on.
    async fn session_with(&self, signer: &Signer, signed_from: u64) -> Session {
        let evidence = Some(Evidence { key: signer.public(), signed_from });
        let introduction = Introduction {
            agent: AGENT,
            spool_id: SPOOL,
            proposed_name: Name::new("a").expect("a name"),
            proposed_labels: Labels::new(),
            evidence,
            now_s: 1,
            may_begin: true,
        };
        let opened = self.store.open_session(&self.scope, introduction).await.expect("opens");
        Session::new(SPOOL, &opened)
    }
}

fn why(accepted: &Accepted) -> &str {
    accepted.refused.as_ref().map_or("", |refusal| refusal.text.as_str())
}

#[tokio::test]
async fn what_is_signed_by_the_pinned_key_is_taken() {
    let (desk, signer) = (Desk::new(), Signer::new(1));
    let chain = Chain::new(6, 0).signed(&signer, 3);
    let mut session = desk.session_with(&signer, 4).await;
    let accepted = desk.send(&mut session, chain.range(1, 6)).await;
    assert_eq!((accepted.records, code(&accepted)), (6, None), "{}", why(&accepted));
}

#[tokio::test]
async fn what_must_be_signed_and_is_not_is_poison() {
    let (desk, signer) = (Desk::new(), Signer::new(1));
    let chain = Chain::new(6, 0).signed(&signer, 6);
    let mut session = desk.session_with(&signer, 4).await;
    let accepted = desk.send(&mut session, chain.range(1, 6)).await;
    assert_eq!((accepted.records, code(&accepted)), (3, Some(Code::Poison)));
    let text = why(&accepted);
    assert!(
        text.starts_with("record 4 cannot be taken: it is not signed, and from record 4 on"),
        "{text}"
    );
    assert!(
        text.contains(&signer.public().to_string()) && text.contains("Run the later one"),
        "{text}"
    );
    // A version that does not sign comes back: what it signed before is taken, no more.
    let mut session = desk.session().await;
    let accepted = desk.send(&mut session, chain.range(4, 4)).await;
    assert_eq!((accepted.records, code(&accepted)), (0, Some(Code::Poison)));
    let fourth = sign(&signer, chain.at(4));
    let accepted = desk.send(&mut session, vec![fourth]).await;
    assert_eq!((accepted.records, code(&accepted)), (1, None), "{}", why(&accepted));
}

#[tokio::test]
async fn a_signature_that_is_there_must_fit() {
    let (signer, thief) = (Signer::new(1), Signer::new(2));
    let refused = async |forge: &dyn Fn(&mut v1::Record)| {
        let desk = Desk::new();
        let mut chain = Chain::new(2, 0).signed(&signer, 1);
        forge(&mut chain.records[1]);
        let mut session = desk.session_with(&signer, 2).await;
        let accepted = desk.send(&mut session, chain.range(1, 2)).await;
        assert_eq!(
            (accepted.records, code(&accepted)),
            (1, Some(Code::Poison)),
            "{}",
            why(&accepted)
        );
        assert_eq!(desk.stored(&session).await.len(), 1);
        why(&accepted).to_owned()
    };
    let by_another = refused(&|wire| *wire = sign(&thief, wire)).await;
    assert!(
        by_another.contains("record 2 cannot be taken: its signature is not by the key"),
        "{by_another}"
    );
    refused(&|wire| wire.payload = empty_report(60 * 5_000, 9)).await;
    refused(&|wire| wire.signature[7] ^= 1).await;
    // Also before the sequence from which there must be one.
    let desk = Desk::new();
    let chain = Chain::new(1, 0).signed(&thief, 1);
    let mut session = desk.session_with(&signer, 9).await;
    assert_eq!(code(&desk.send(&mut session, chain.range(1, 1)).await), Some(Code::Poison));
    // And where no key is known there is none that fits.
    let desk = Desk::new();
    let mut session = desk.session().await;
    let accepted = desk.send(&mut session, chain.range(1, 1)).await;
    assert!(why(&accepted).contains("the agent names no key"), "{}", why(&accepted));
}

#[tokio::test]
async fn a_gap_is_signed_as_it_was_sealed() {
    let (desk, signer) = (Desk::new(), Signer::new(1));
    let chain = Chain::new(8, 0).signed(&signer, 1);
    let mut session = desk.session_with(&signer, 1).await;
    assert_eq!(desk.send(&mut session, chain.range(1, 4)).await.records, 4);
    // It reaches back over what is held: it is cut, and its signature is not.
    let gap = chain.gap(3, 6);
    assert_eq!(code(&desk.send(&mut session, vec![gap.clone()]).await), Some(Code::Poison));
    let accepted = desk.send(&mut session, vec![sign(&signer, &gap)]).await;
    assert_eq!((accepted.records, code(&accepted)), (1, None), "{}", why(&accepted));
    let sealed = desk.store.sealed_from(&desk.scope, session.stream(), 5).await.expect("reads");
    assert_eq!((sealed[0].seq, sealed[0].seq_to), (5, 6));
    assert_eq!(sealed[0].reaches_back, Some((3, gap.prev_hash)));
    // What comes twice is compared by its hash, and not looked at again.
    let accepted = desk.send(&mut session, Chain::new(2, 0).records).await;
    assert_eq!((accepted.duplicates, code(&accepted)), (2, None));
}

#[tokio::test]
async fn another_key_is_refused_and_says_what_to_do() {
    let (desk, signer, thief) = (Desk::new(), Signer::new(1), Signer::new(2));
    let hello = |signer: &Signer| v1::Hello {
        next_seq: 1,
        evidence_key: signer.public().as_bytes().to_vec(),
        ..hello()
    };
    let open = async |hello| {
        crate::ingest::open(&desk.store, &desk.scope, hello, (AGENT, true), NOW_NS).await
    };
    let (_, opened) = open(hello(&signer)).await.expect("opens");
    assert_eq!(opened.evidence, Some(Evidence { key: signer.public(), signed_from: 1 }));
    let refusal = open(hello(&thief)).await.expect_err("another key");
    assert_eq!((refusal.code, refusal.ends_session()), (Code::Key, true));
    for part in [
        &*signer.public().to_string(),
        &thief.public().to_string(),
        "copied or restored",
        "Put back",
    ] {
        assert!(refusal.text.contains(part), "{}", refusal.text);
    }
    let error = OpenError::OtherKey { pinned: signer.public(), offered: thief.public() };
    assert_eq!(refusal.text, error.to_string());
    assert!(refusal.text.len() <= 400, "agents log no more of it");
}

#[test]
fn a_hello_names_a_key_or_none() {
    let greet = |key: Vec<u8>, next_seq| {
        greet(v1::Hello { evidence_key: key, next_seq, ..hello() }, AGENT)
            .map(|greeting| greeting.evidence)
    };
    assert_eq!(greet(Vec::new(), 0), Ok(None));
    let key = Signer::new(1).public();
    let named = greet(key.as_bytes().to_vec(), 7);
    assert_eq!(named, Ok(Some(Evidence { key, signed_from: 7 })));
    for (wrong, next_seq) in [
        (vec![1; 31], 1),
        (vec![0; 32], 1),
        (key.as_bytes().to_vec(), 0),
        (key.as_bytes().to_vec(), u64::MAX),
    ] {
        let refusal = greet(wrong.clone(), next_seq).expect_err("unusable");
        assert_eq!(refusal.code, Code::Version, "{wrong:?}");
        assert!(refusal.text.contains("evidence_key"), "{}", refusal.text);
    }
}
