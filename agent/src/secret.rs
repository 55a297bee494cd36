//! Secrets in files of their own: read where they are needed, never printed, never sent to the collector.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Largest secret file: a password or a connection string, not a key store.
const SECRET_MAX_BYTES: u64 = 64 << 10;

/// A secret text. It has no `Debug` and no `Display`, so that it is not printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for whom it is meant.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A secret file cannot be used. No variant has a word of its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Not readable.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Owned by somebody else, who could change it.
    #[error("{path} belongs to user {owner}, who could change it; `chown root {path}`")]
    Owner {
        /// The file.
        path: PathBuf,
        /// Number of its owner.
        owner: u32,
    },
    /// Readable or writable by others.
    #[error("{path} is open to group or others; `chmod 600 {path}`")]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// Not what a secret is.
    #[error("{path} {why}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
}

impl SecretError {
    /// Whether somebody else could have read or written it: then it is no secret, whatever is in it.
    #[must_use]
    pub const fn is_unsafe(&self) -> bool {
        matches!(self, Self::Owner { .. } | Self::Open { .. })
    }
}

/// Reads a secret file, if nobody but root and the running user can read or change it. Space round the secret is not
/// part of it.
///
/// # Errors
/// [`SecretError`] with the file and the cure.
pub fn read(path: &Path) -> Result<Secret, SecretError> {
    let content = |why| SecretError::Content { path: path.to_owned(), why };
    let text = String::from_utf8(read_bytes(path)?).map_err(|_| content("is no UTF-8 text"))?;
    match text.trim() {
        "" => Err(content("is empty")),
        secret => Ok(Secret(secret.to_owned())),
    }
}

/// Reads a secret file of any content under the same conditions. Whoever takes the bytes never prints them.
///
/// # Errors
/// [`SecretError`] with the file and the cure.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, SecretError> {
    let read = |error| SecretError::Read { path: path.to_owned(), error };
    // Owner and content are of one and the same open file, whatever the path names a moment later.
    let file = File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    let (owner, group, mode) = (metadata.uid(), metadata.gid(), metadata.mode());
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(SecretError::Owner { path: path.to_owned(), owner });
    }
    // systemd gives its credentials to a service by an access list, whose mask shows as the right of the group root.
    let forbidden = if (owner, group) == (0, 0) { 0o037 } else { 0o077 };
    if mode & forbidden != 0 {
        return Err(SecretError::Open { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(SECRET_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() as u64 > SECRET_MAX_BYTES {
        let why = "is larger than 64 KiB: not a secret";
        return Err(SecretError::Content { path: path.to_owned(), why });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, content).expect("writes");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("is ours");
        (folder, path)
    }

    #[test]
    fn a_secret_is_read() {
        for mode in [0o600, 0o400] {
            let (_folder, path) = file(b" s3cret\n", mode);
            assert!(read(&path).is_ok_and(|secret| secret.expose() == "s3cret"));
        }
    }

    #[test]
    fn what_others_can_read_or_write_is_no_secret() {
        for mode in [0o604, 0o602, 0o620, 0o644, 0o666] {
            let (_folder, path) = file(b"s3cret", mode);
            let error = read(&path).err().expect("refused");
            assert!(error.is_unsafe(), "{mode:o}");
            let text = error.to_string();
            assert!(text.contains("chmod 600") && !text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_is_named() {
        let large = vec![b'x'; 65_537];
        for (content, expected) in [
            (&b""[..], "is empty"),
            (b" \n", "is empty"),
            (b"\xff", "no UTF-8"),
            (&large, "larger than 64 KiB"),
        ] {
            let (_folder, path) = file(content, 0o600);
            let error = read(&path).err().expect("refused");
            assert!(!error.is_unsafe());
            assert!(error.to_string().contains(expected), "{error}");
        }
        let missing = read(Path::new("/nowhere/secret")).err().expect("missing");
        assert!(missing.to_string().starts_with("/nowhere/secret: No such file"), "{missing}");
    }
}
