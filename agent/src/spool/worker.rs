//! The thread that owns the spool's files, so that a slow disk never delays a probe.

use super::disk::Disk;
use super::files::Lock;
use super::store::Store;
use super::{Retire, SpoolError, SpoolState};
use probefleet_proto::record::{Hash, Kind, Record};
use tokio::sync::{mpsc, oneshot, watch};

/// Most records that share one fdatasync: what is lost at once if it fails.
const GROUP_MAX_RECORDS: usize = 64;
/// Most payload that shares one fdatasync; at least one record does. Below the smallest segment.
const GROUP_MAX_BYTES: usize = 128 << 10;

/// Where an answer goes; the one who asked may have gone.
pub(super) type Reply<T> = oneshot::Sender<Result<T, SpoolError>>;

/// What may be asked of the thread.
#[derive(Debug)]
pub(super) enum Command {
    Append { kind: Kind, payload: Vec<u8>, reply: Reply<(u64, Hash)> },
    Read { seq: u64, max_bytes: usize, reply: Reply<Vec<Record>> },
    HashOf { seq: u64, reply: Reply<Option<Hash>> },
    Release { seq: u64, reply: Reply<()> },
    Bridge { seq: u64, hash: Hash, reply: Reply<()> },
    Retire { reason: Retire, event: Vec<u8>, reply: Reply<()> },
    Close { reply: Reply<()> },
}

/// Serves commands in order until the last handle is gone or one closes the spool.
pub(super) fn run<D: Disk>(
    (mut store, lock): (Store<D>, Lock),
    mut commands: mpsc::Receiver<Command>,
    state: &watch::Sender<SpoolState>,
) {
    let mut next = None;
    while let Some(command) = next.take().or_else(|| commands.blocking_recv()) {
        let reply = match command {
            Command::Append { kind, payload, reply } => {
                let mut group = Group::default();
                group.add(kind, payload, reply);
                next = group.collect(&mut commands);
                group.commit(&mut store, state);
                continue;
            }
            Command::Close { reply } => reply,
            other => {
                serve(&mut store, other, state);
                continue;
            }
        };
        // Everything that was answered is on disk already. The lock goes before the answer, so that whoever waits for it
        // can open the spool.
        drop((store, lock));
        answer(reply, Ok(()));
        return;
    }
}

/// Likewise on the task of whoever waits for it, where the disk answers at once; nothing locks the folder.
pub(super) async fn run_here<D: Disk>(
    mut store: Store<D>,
    mut commands: mpsc::Receiver<Command>,
    state: watch::Sender<SpoolState>,
) {
    let mut next = None;
    loop {
        let command = match next.take() {
            Some(command) => command,
            None => match commands.recv().await {
                Some(command) => command,
                None => return,
            },
        };
        match command {
            Command::Append { kind, payload, reply } => {
                let mut group = Group::default();
                group.add(kind, payload, reply);
                next = group.collect(&mut commands);
                group.commit(&mut store, &state);
            }
            Command::Close { reply } => return answer(reply, Ok(())),
            other => serve(&mut store, other, &state),
        }
    }
}

fn serve(store: &mut Store<impl Disk>, command: Command, state: &watch::Sender<SpoolState>) {
    match command {
        Command::Read { seq, max_bytes, reply } => answer(reply, store.read_from(seq, max_bytes)),
        Command::HashOf { seq, reply } => answer(reply, store.hash_of(seq)),
        Command::Release { seq, reply } => {
            let released = store.release(seq);
            publish(store, state);
            answer(reply, released);
        }
        Command::Bridge { seq, hash, reply } => {
            let bridged = store.bridge(seq, hash);
            publish(store, state);
            answer(reply, bridged);
        }
        Command::Retire { reason, event, reply } => {
            let retired = store.retire(reason, event);
            publish(store, state);
            answer(reply, retired);
        }
        Command::Append { .. } | Command::Close { .. } => {}
    }
}

/// Appends that become durable together.
#[derive(Default)]
struct Group {
    items: Vec<(Kind, Vec<u8>)>,
    replies: Vec<Reply<(u64, Hash)>>,
    bytes: usize,
}

impl Group {
    fn add(&mut self, kind: Kind, payload: Vec<u8>, reply: Reply<(u64, Hash)>) {
        self.bytes = self.bytes.saturating_add(payload.len());
        self.items.push((kind, payload));
        self.replies.push(reply);
    }

    /// Takes the appends that wait already, and returns the first command that is something else.
    fn collect(&mut self, commands: &mut mpsc::Receiver<Command>) -> Option<Command> {
        while self.items.len() < GROUP_MAX_RECORDS && self.bytes < GROUP_MAX_BYTES {
            match commands.try_recv().ok()? {
                Command::Append { kind, payload, reply } => self.add(kind, payload, reply),
                other => return Some(other),
            }
        }
        None
    }

    fn commit(self, store: &mut Store<impl Disk>, state: &watch::Sender<SpoolState>) {
        let appended = store.append_within_budget(&self.items);
        publish(store, state);
        match appended {
            Ok(sealed) => {
                for (reply, sealed) in self.replies.into_iter().zip(sealed) {
                    answer(reply, Ok(sealed));
                }
            }
            Err(error) => {
                let text = error.to_string();
                tracing::error!(error = %text, "records could not be written to the spool");
                for reply in self.replies {
                    answer(reply, Err(SpoolError::NotWritten(text.clone())));
                }
            }
        }
    }
}

fn publish(store: &Store<impl Disk>, state: &watch::Sender<SpoolState>) {
    state.send_replace(store.state());
}

fn answer<T>(reply: Reply<T>, answer: Result<T, SpoolError>) {
    // Nobody waits any more: what was asked has been done nevertheless.
    drop(reply.send(answer));
}
