//! The thread that owns the spool's files, so that a slow disk never delays a probe.

use super::disk::Disk;
use super::files::Lock;
use super::store::Store;
use super::{Health, Lost, Refused, RefusedRecord, Retire, SpoolError, SpoolState};
use probefleet_proto::record::{Hash, Kind, Record};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

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
    AppendLost { lost: Lost, reply: Reply<(u64, Hash)> },
    Read { seq: u64, max_bytes: usize, reply: Reply<Vec<Record>> },
    HashOf { seq: u64, reply: Reply<Option<Hash>> },
    Release { seq: u64, reply: Reply<()> },
    Bridge { seq: u64, hash: Hash, reply: Reply<()> },
    Refuse { seq: u64, why: String, reply: Reply<Refused> },
    Retire { reason: Retire, event: Vec<u8>, reply: Reply<()> },
    Close { reply: Reply<()> },
}

/// What others may see of the spool.
#[derive(Debug)]
pub(super) struct Views {
    /// What it holds.
    pub(super) state: watch::Sender<SpoolState>,
    /// How it is.
    pub(super) health: watch::Sender<Health>,
}

impl Views {
    /// Whoever looks while the disk does not answer sees since when.
    fn begin(&self) {
        self.health.send_modify(|health| health.busy_since = Some(Instant::now()));
    }

    fn end(&self, store: &Store<impl Disk>) {
        self.health.send_modify(|health| {
            health.busy_since = None;
            health.mishaps = store.mishaps();
        });
    }

    fn publish(&self, store: &Store<impl Disk>) {
        self.state.send_replace(store.state());
    }

    /// Remembers whether records could be written. Whoever tries again every second says once that it fails, and once that it
    /// no longer does.
    fn note_append(&self, store: &Store<impl Disk>, error: Option<&SpoolError>) {
        let failed_before = self.health.borrow().append.is_some();
        self.health.send_modify(|health| health.note_append(error));
        self.publish(store);
        match error {
            Some(error) if !failed_before => {
                tracing::error!(%error, "records cannot be written to the spool; trying again and again");
            }
            None if failed_before => {
                tracing::info!("records can be written to the spool again");
            }
            _ => {}
        }
    }

    /// Remembers whether the disk let something be read or tidied up.
    fn note<T>(&self, asked: &Result<T, SpoolError>) {
        self.health.send_modify(|health| health.note_other(asked.as_ref().err()));
    }
}

/// Serves commands in order until the last handle is gone or one closes the spool.
pub(super) fn run<D: Disk>(
    (mut store, lock): (Store<D>, Lock),
    mut commands: mpsc::Receiver<Command>,
    views: &Views,
) {
    let mut next = None;
    while let Some(command) = next.take().or_else(|| commands.blocking_recv()) {
        views.begin();
        let reply = match command {
            Command::Append { kind, payload, reply } => {
                let mut group = Group::default();
                group.add(kind, payload, reply);
                next = group.collect(&mut commands);
                group.commit(&mut store, views);
                views.end(&store);
                continue;
            }
            Command::Close { reply } => reply,
            other => {
                serve(&mut store, other, views);
                views.end(&store);
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
    views: Views,
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
                group.commit(&mut store, &views);
            }
            Command::Close { reply } => return answer(reply, Ok(())),
            other => serve(&mut store, other, &views),
        }
    }
}

fn serve(store: &mut Store<impl Disk>, command: Command, views: &Views) {
    match command {
        Command::AppendLost { lost, reply } => {
            let appended = store.append_lost(&lost);
            views.note_append(store, appended.as_ref().err());
            answer(reply, appended.map_err(|error| SpoolError::NotWritten(error.to_string())));
        }
        Command::Read { seq, max_bytes, reply } => {
            let read = store.read_from(seq, max_bytes);
            views.note(&read);
            answer(reply, read);
        }
        Command::HashOf { seq, reply } => {
            let hash = store.hash_of(seq);
            views.note(&hash);
            answer(reply, hash);
        }
        Command::Release { seq, reply } => {
            let released = store.release(seq);
            views.health.send_modify(|health| health.released = Some(Instant::now()));
            views.note(&released);
            views.publish(store);
            answer(reply, released);
        }
        Command::Bridge { seq, hash, reply } => {
            let bridged = store.bridge(seq, hash);
            views.note(&bridged);
            views.publish(store);
            answer(reply, bridged);
        }
        Command::Refuse { seq, why, reply } => {
            let refused = store.refuse(seq);
            views.note(&refused);
            if let Ok(Refused::SetAside(_)) = &refused {
                views.health.send_modify(|health| {
                    health.mishaps = store.mishaps();
                    health.refused = RefusedRecord::last(store, &why);
                });
            }
            views.publish(store);
            answer(reply, refused);
        }
        Command::Retire { reason, event, reply } => {
            let retired = store.retire(reason, event);
            views.note(&retired);
            views.publish(store);
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

    fn commit(self, store: &mut Store<impl Disk>, views: &Views) {
        let appended = store.append_within_budget(&self.items);
        views.note_append(store, appended.as_ref().err());
        match appended {
            Ok(sealed) => {
                for (reply, sealed) in self.replies.into_iter().zip(sealed) {
                    answer(reply, Ok(sealed));
                }
            }
            Err(error) => {
                let text = error.to_string();
                for reply in self.replies {
                    answer(reply, Err(SpoolError::NotWritten(text.clone())));
                }
            }
        }
    }
}

fn answer<T>(reply: Reply<T>, answer: Result<T, SpoolError>) {
    // Nobody waits any more: what was asked has been done nevertheless.
    drop(reply.send(answer));
}
