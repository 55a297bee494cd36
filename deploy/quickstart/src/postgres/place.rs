//! The folder of the cluster: inside the quickstart's data where the server runs as this user, else in a temporary
//! folder, because nobody but root gets into root's folders.

use super::account::Account;
use anyhow::Context as _;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown,
};
use std::path::{Path, PathBuf};

/// How temporary folders of ours begin; nothing else is removed outside of the data.
const PREFIX: &str = "probefleet-quickstart-";
/// Says in the data where the temporary folder is, so that a later start removes what a killed one left.
const ELSEWHERE: &str = "elsewhere";

/// Where a cluster stands.
#[derive(Debug)]
pub(super) struct Place {
    /// In the quickstart's data.
    kept: PathBuf,
    dir: PathBuf,
}

impl Place {
    /// Makes an empty folder that belongs to the account; removes what an earlier run left.
    pub(super) fn make(kept: &Path, account: Option<&Account>) -> anyhow::Result<Self> {
        remove_earlier(kept)?;
        create_private(kept)?;
        let dir = match account {
            None => kept.to_owned(),
            Some(account) => {
                let private = Permissions::from_mode(0o700);
                let mut builder = tempfile::Builder::new();
                let dir =
                    builder.prefix(PREFIX).permissions(private).tempdir_in(reachable())?.keep();
                // On record before anything else is done with it.
                std::fs::write(kept.join(ELSEWHERE), dir.as_os_str().as_encoded_bytes())?;
                chown(&dir, Some(account.user), Some(account.group))?;
                dir
            }
        };
        Ok(Self { kept: kept.to_owned(), dir })
    }

    /// The folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The cluster in it.
    pub(super) fn cluster(&self) -> PathBuf {
        self.dir.join("cluster")
    }

    /// Removes it with everything in it.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        remove(&self.dir)?;
        remove(&self.kept)
    }
}

/// Writes a file that only the account may read.
pub(super) fn write_owned(
    path: &Path,
    text: &str,
    account: Option<&Account>,
) -> anyhow::Result<()> {
    let mut file =
        std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    if let Some(account) = account {
        chown(path, Some(account.user), Some(account.group))?;
    }
    Ok(())
}

/// Removes what an earlier run left that was killed before it could.
pub(crate) fn remove_earlier(kept: &Path) -> anyhow::Result<()> {
    if let Ok(text) = std::fs::read_to_string(kept.join(ELSEWHERE)) {
        let dir = PathBuf::from(text);
        if dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
            remove(&dir)?;
        }
    }
    remove(kept)
}

fn remove(dir: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn create_private(dir: &Path) -> anyhow::Result<()> {
    let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    created.with_context(|| format!("cannot create {}", dir.display()))
}

/// The folder for temporary files, if everybody gets there; else the one that every system has.
fn reachable() -> PathBuf {
    let usual = std::env::temp_dir();
    let everybody_enters =
        |dir: &Path| std::fs::metadata(dir).is_ok_and(|metadata| metadata.mode() & 0o001 != 0);
    if usual.ancestors().all(everybody_enters) { usual } else { PathBuf::from("/tmp") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = folder.path().join("postgres");
        let ours = folder.path().join(format!("{PREFIX}abc"));
        let foreign = folder.path().join("letters");
        for (elsewhere, stays) in [(&ours, false), (&foreign, true)] {
            std::fs::create_dir_all(&kept).expect("a folder");
            std::fs::create_dir_all(elsewhere).expect("a folder");
            std::fs::write(kept.join(ELSEWHERE), elsewhere.as_os_str().as_encoded_bytes())
                .expect("writes");
            let place = Place::make(&kept, None).expect("a place");
            assert_eq!(elsewhere.exists(), stays, "{}", elsewhere.display());
            place.remove().expect("removes");
            assert!(!kept.exists());
        }
    }
}
