//! Takes records from agents: acknowledged only after commit; a duplicate is acknowledged again and changes nothing.
//!
//! [`session`] has the rules, [`admission`] says who may come to the doors of [`listener`] and when, [`budget`] what a connection
//! may send without saying anything, [`newcomers`] how often an agent may come with a new spool, [`pace`] how much may be
//! under way, [`sparing`] what of all that is logged, [`service`] has the gRPC streams. [`open`] is what becomes of a Hello, and
//! [`accept`] what becomes of a frame: sort, compare with the store, commit, answer.

pub mod admission;
pub mod budget;
pub mod listener;
pub mod newcomers;
pub mod pace;
pub mod service;
pub mod session;
pub mod sparing;

use crate::store::{Introduction, OpenError, Opened, Outcome, Store, TenantScope};
use probefleet_proto::record::Hash;
use probefleet_proto::report;
use probefleet_proto::units::NS_PER_S;
use probefleet_proto::v1;
use probefleet_proto::v1::nack::Code;
use probefleet_proto::v1::to_agent::Message as Answer;
use session::{Greeting, Refusal, Session, Sorted, compare, greet};
use uuid::Uuid;

/// How often a frame is sorted again after its stream moved under it: somebody else commits to it at the same time,
/// and one of the two is fenced by the second time round.
const ATTEMPTS_MAX: usize = 4;

/// What became of a frame.
#[derive(Debug, Default)]
pub struct Accepted {
    /// Records that were committed.
    pub records: usize,
    /// Their payload bytes.
    pub bytes: usize,
    /// Records that were held already.
    pub duplicates: usize,
    /// What all records of the newest committed report share.
    pub newest: Option<report::Head>,
    /// Reports among them that their agent does not trust.
    pub suspects: u64,
    /// Something is committed that the agent should know of.
    pub acknowledge: bool,
    /// The rest of the frame was not taken.
    pub refused: Option<Refusal>,
}

/// Opens a session for an agent that said Hello, with a spool that is not known only if it may begin a stream: the answer is
/// [`Session::welcome`].
///
/// # Errors
/// [`Refusal`] where there will be no session.
pub async fn open<S: Store>(
    store: &S,
    scope: &TenantScope,
    hello: v1::Hello,
    (agent, may_begin): (Uuid, bool),
    now_ns: u64,
) -> Result<(Greeting, Opened), Refusal> {
    let greeting = greet(hello, agent)?;
    let introduction = Introduction {
        agent,
        spool_id: greeting.spool_id,
        proposed_name: greeting.proposed_name.clone(),
        proposed_labels: greeting.proposed_labels.clone(),
        evidence: greeting.evidence,
        now_s: now_ns / NS_PER_S,
        may_begin,
    };
    let opened = store.open_session(scope, introduction).await;
    let opened = opened.map_err(|error| match error {
        OpenError::ForeignSpool => Refusal::new(Code::Fork, error.to_string()),
        OpenError::OtherKey { .. } => Refusal::new(Code::Key, error.to_string()),
        OpenError::ForeignAgent => Refusal::new(Code::Revoked, error.to_string()),
        OpenError::NewSpool => Refusal::new_spool(error.to_string()),
        OpenError::Store(_) => Refusal::busy(error.to_string()),
    })?;
    Ok((greeting, opened))
}

impl Accepted {
    /// What the agent is told of it, in order, and whether the session is over then.
    #[must_use]
    pub fn answers(self, session: &Session, now_ns: u64) -> (Vec<Answer>, bool) {
        let over = self.refused.as_ref().is_some_and(Refusal::ends_session);
        let ack = self.acknowledge.then(|| Answer::Ack(session.ack(now_ns)));
        let nack = self.refused.map(|refusal| Answer::Nack(session.nack(refusal)));
        (ack.into_iter().chain(nack).collect(), over)
    }
}

/// Takes a frame: what of it is new and continues the chain is durable when this returns.
pub async fn accept<S: Store>(
    store: &S,
    scope: &TenantScope,
    session: &mut Session,
    data: &v1::Data,
    now_ns: u64,
) -> Accepted {
    let mut why = None;
    for _ in 0..ATTEMPTS_MAX {
        let sorted = session.sort(data);
        if let Err(refusal) = check_claims(store, scope, session, &sorted).await {
            return Accepted { refused: Some(refusal), ..Accepted::default() };
        }
        match commit(store, scope, session, sorted, now_ns).await {
            Ok(accepted) => return accepted,
            Err(Retry::Sort(failed)) => why = failed,
            Err(Retry::Never(refusal)) => {
                return Accepted { refused: Some(refusal), ..Accepted::default() };
            }
        }
    }
    let why = why.unwrap_or_else(|| "this stream is being written from elsewhere".to_owned());
    let refused = Some(Refusal::busy(why));
    Accepted { refused, ..Accepted::default() }
}

async fn check_claims<S: Store>(
    store: &S,
    scope: &TenantScope,
    session: &Session,
    sorted: &Sorted,
) -> Result<(), Refusal> {
    if sorted.claims.is_empty() {
        return Ok(());
    }
    let sequences = sorted.claims.iter().map(|claim| claim.seq_to).collect();
    match store.held(scope, session.stream(), sequences).await {
        Ok(held) => compare(&sorted.claims, &held),
        Err(error) => Err(Refusal::busy(error.to_string())),
    }
}

/// The commit did not simply succeed.
enum Retry {
    /// The head is known again: sort the frame anew. With what the store said, if it failed.
    Sort(Option<String>),
    /// There is no use in it.
    Never(Refusal),
}

async fn commit<S: Store>(
    store: &S,
    scope: &TenantScope,
    session: &mut Session,
    sorted: Sorted,
    now_ns: u64,
) -> Result<Accepted, Retry> {
    let Sorted { fresh, newest, suspects, duplicates, refused, .. } = sorted;
    // A refused frame of which nothing was taken is answered by the refusal alone.
    let acknowledge = refused.is_none() || duplicates > 0 || !fresh.is_empty();
    let mut accepted =
        Accepted { duplicates, newest, suspects, acknowledge, refused, ..Accepted::default() };
    let Some(last) = fresh.last() else { return Ok(accepted) };
    let last: (u64, Hash) = (last.record.seq_to, last.hash);
    accepted.records = fresh.len();
    accepted.bytes = fresh.iter().map(|new| new.record.payload.len()).sum();
    let batch = session.batch(fresh, now_ns / NS_PER_S);
    match store.commit(scope, batch).await {
        Outcome::Committed => {
            session.committed(last);
            Ok(accepted)
        }
        Outcome::Conflict => Err(reread(store, scope, session).await),
        Outcome::Unknown(error) => {
            tracing::warn!(%error, "commit did not say how it ended; reading the head again");
            Err(match reread(store, scope, session).await {
                Retry::Sort(_) => Retry::Sort(Some(error.to_string())),
                never @ Retry::Never(_) => never,
            })
        }
    }
}

/// Asks the store where the stream ends.
async fn reread<S: Store>(store: &S, scope: &TenantScope, session: &mut Session) -> Retry {
    match store.head(scope, session.stream()).await {
        Ok(Some(head)) => match session.reread(head) {
            Ok(()) => Retry::Sort(None),
            Err(refusal) => Retry::Never(refusal),
        },
        Ok(None) => Retry::Never(Refusal::busy("the stream is gone from the store")),
        Err(error) => Retry::Never(Refusal::busy(error.to_string())),
    }
}
