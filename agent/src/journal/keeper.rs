//! What is done aside for the journal, on a thread that may wait for the disk: syncs and deletions.

use super::{SYNC_EVERY, SYNC_SLOW};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Does one thing at a time.
#[derive(Debug)]
pub(super) struct Keeper {
    dir: PathBuf,
    /// Files that are not written to any more, to be synced once.
    left: Vec<Arc<File>>,
    /// Files to be deleted.
    done_with: Vec<PathBuf>,
    running: Option<(oneshot::Receiver<io::Result<()>>, Instant)>,
    due: Option<Instant>,
}

/// What is to be synced now.
#[derive(Debug, Default)]
pub(super) struct Work {
    current: Option<Arc<File>>,
}

impl Work {
    /// The file that is written to, if anything was.
    pub(super) const fn of(current: Option<Arc<File>>) -> Self {
        Self { current }
    }
}

impl Keeper {
    /// For the files of a folder.
    pub(super) fn new(dir: &Path) -> Self {
        let (left, done_with) = (Vec::new(), Vec::new());
        Self { dir: dir.to_owned(), left, done_with, running: None, due: None }
    }

    /// A file is not written to any more.
    pub(super) fn sync_once_more(&mut self, file: Option<Arc<File>>) {
        self.left.extend(file);
    }

    /// A file is of no use any more.
    pub(super) fn delete(&mut self, path: PathBuf) {
        self.done_with.push(path);
    }

    /// The disk is so busy that a write may have to wait.
    pub(super) fn is_slow(&self, now: Instant) -> bool {
        self.running.as_ref().is_some_and(|(_, since)| now.duration_since(*since) > SYNC_SLOW)
    }

    /// What came of the last work, once.
    pub(super) fn finished(&mut self) -> Option<io::Result<()>> {
        let (answer, _) = self.running.as_mut()?;
        let finished = match answer.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => return None,
            Ok(finished) => finished,
            Err(oneshot::error::TryRecvError::Closed) => {
                Err(io::Error::other("the thread that syncs has ended"))
            }
        };
        self.running = None;
        Some(finished)
    }

    /// It is time for more.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.running.is_none() && self.due.is_none_or(|due| due <= now)
    }

    /// When it is time for something; `dirty` says that the file that is written to waits for it.
    pub(super) fn next(&self, dirty: bool) -> Option<Instant> {
        match &self.running {
            // A look at whether the disk is back, if anybody waits for that.
            Some(_) => dirty.then(|| Instant::now() + SYNC_SLOW),
            None if dirty || !self.left.is_empty() || !self.done_with.is_empty() => {
                Some(self.due.unwrap_or_else(Instant::now))
            }
            None => None,
        }
    }

    /// Starts what there is to do.
    pub(super) fn start(&mut self, now: Instant, work: Work) {
        let files: Vec<_> = self.left.drain(..).chain(work.current).collect();
        let paths = std::mem::take(&mut self.done_with);
        if files.is_empty() && paths.is_empty() {
            return;
        }
        let (answer, answered) = oneshot::channel();
        let dir = self.dir.clone();
        // Nobody may wait for the answer any more: it is done nevertheless.
        drop(tokio::task::spawn_blocking(move || drop(answer.send(tend(&dir, &files, &paths)))));
        self.running = Some((answered, now));
        self.due = Some(now + SYNC_EVERY);
    }
}

/// The folder is synced with the files: a new one would be nameless after a power cut.
fn tend(dir: &Path, files: &[Arc<File>], paths: &[PathBuf]) -> io::Result<()> {
    for file in files {
        file.sync_data()?;
    }
    if !files.is_empty() {
        File::open(dir)?.sync_all()?;
    }
    for path in paths {
        if let Err(error) = std::fs::remove_file(path) {
            // It is read and passed over at the next start, and deleted then.
            tracing::warn!(file = %path.display(), %error, "cannot be deleted");
        }
    }
    Ok(())
}
