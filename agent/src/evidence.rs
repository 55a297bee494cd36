//! The evidence key: with it this agent signs every record that it seals, so that nobody, the collector's operator included,
//! can put other words in its mouth unseen (`proto/src/evidence.rs`, `formats.md` §6).
//!
//! # What it promises, and what not
//! * `STATE/evidence.key` (PKCS#8, RFC 5958, 0600) is made at the first start, whole and on disk before anything is signed
//!   with it, and is never made anew while it is there. It is never printed and never sent; the log names its fingerprint.
//! * It belongs to the state directory, not to the certificate: certificates are renewed, what was signed stays.
//! * A spool whose newest record another key has signed is not opened, so that no spool is signed by two. The collector pins
//!   the key to the spool at the first Hello and refuses another: the folder was copied, restored, or the key was swapped,
//!   and a person must say which.
//! * A signature says that the holder of the key sealed these bytes, not that it measured honestly.

use crate::secret::{self, SecretError};
use probefleet_proto::evidence::PublicKey;
use probefleet_proto::record::{Record, SpoolId};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Name of the file in the state directory.
const FILE: &str = "evidence.key";
/// Under this name it is written; what has it was never used.
const DRAFT: &str = "evidence.key.new";

/// Why there is no evidence key. No variant has a word of its content.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The file cannot be read, or others can read it.
    #[error("the evidence key cannot be used: {0}")]
    File(#[from] SecretError),
    /// The file holds something else.
    #[error(
        "{} holds no Ed25519 key (PKCS#8): put back the one that was here; without it the collector refuses this spool, and a new key needs a new one: move {} and the folder `spool` beside it away", .0.display(), .0.display()
    )]
    NotAKey(PathBuf),
    /// A new one cannot be made.
    #[error("cannot make the evidence key {}: {source}", path.display())]
    Make {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The key of this agent. Copies of it do not exist.
pub struct EvidenceKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// Of a secret only what everybody may know.
impl fmt::Debug for EvidenceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EvidenceKey({})", self.public)
    }
}

impl EvidenceKey {
    /// The key in a state directory, which is made if there is none. Nobody else may do the same at the same time: whoever
    /// holds the spool's lock is alone.
    ///
    /// # Errors
    /// [`EvidenceError`] naming the file and the cure.
    pub fn kept(state_dir: &Path) -> Result<Self, EvidenceError> {
        let path = state_dir.join(FILE);
        match std::fs::symlink_metadata(&path) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                make(state_dir, &path)
                    .map_err(|source| EvidenceError::Make { path: path.clone(), source })?;
                tracing::info!(file = %path.display(), "an evidence key was made");
            }
            // Whatever is there is looked at by the reader, which names what is wrong with it.
            _ => {}
        }
        let bytes = secret::read_bytes(&path)?;
        Self::of_pkcs8(&bytes).ok_or(EvidenceError::NotAKey(path))
    }

    fn of_pkcs8(bytes: &[u8]) -> Option<Self> {
        Self::of_pair(Ed25519KeyPair::from_pkcs8(bytes).ok()?)
    }

    /// The key of a seed of 32 bytes, for models and simulation: there nothing is random.
    #[must_use]
    pub(crate) fn of_seed(seed: &[u8; 32]) -> Option<Self> {
        Self::of_pair(Ed25519KeyPair::from_seed_unchecked(seed).ok()?)
    }

    fn of_pair(pair: Ed25519KeyPair) -> Option<Self> {
        let public = pair.public_key().as_ref().try_into().ok()?;
        Some(Self { pair, public: PublicKey::new(public).ok()? })
    }

    /// The half that everybody may know.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// Whether a record's signature is by this key.
    #[must_use]
    pub fn has_signed(&self, record: &Record, spool_id: &SpoolId) -> bool {
        self.pair.sign(&record.content_hash(spool_id)).as_ref() == record.signature
    }

    /// Signs a record that is otherwise complete. The same record always gets the same signature (RFC 8032 §5.1.6).
    pub fn sign(&self, record: &mut Record, spool_id: &SpoolId) {
        record.signature = self.pair.sign(&record.content_hash(spool_id)).as_ref().to_vec();
    }
}

/// Writes a new key so that a crash leaves either none or the whole of it.
fn make(state_dir: &Path, path: &Path) -> io::Result<()> {
    let random = SystemRandom::new();
    let key = Ed25519KeyPair::generate_pkcs8(&random)
        .map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let draft = state_dir.join(DRAFT);
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(key.as_ref())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    File::open(state_dir)?.sync_all()
}

/// A key for tests that care about no particular one.
#[cfg(test)]
pub(crate) fn any_key() -> std::sync::Arc<EvidenceKey> {
    std::sync::Arc::new(EvidenceKey::of_seed(&[1; 32]).expect("a key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use probefleet_proto::record::{Kind, genesis_hash};
    use ring::signature::{ED25519, UnparsedPublicKey};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join(DRAFT), "of a start that was cut off").expect("writes");
        let first = EvidenceKey::kept(dir.path()).expect("makes one").public();
        assert_eq!(EvidenceKey::kept(dir.path()).expect("reads it").public(), first);
        let mode = std::fs::metadata(dir.path().join(FILE)).expect("is there").mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!dir.path().join(DRAFT).exists());

        let other = tempfile::tempdir().expect("a folder");
        let other = EvidenceKey::kept(other.path()).expect("makes one").public();
        assert_ne!(other, first, "random");
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(FILE);
        EvidenceKey::kept(dir.path()).expect("makes one");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("is ours");
        let open = EvidenceKey::kept(dir.path()).expect_err("open to others").to_string();
        assert!(open.contains("chmod 600") && open.contains(FILE), "{open}");

        let mut key = std::fs::read(&path).expect("is there");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("is ours");
        for broken in [&key[..key.len() - 1], b"", b"-----BEGIN PRIVATE KEY-----"] {
            std::fs::write(&path, broken).expect("writes");
            let refused = EvidenceKey::kept(dir.path()).expect_err("broken").to_string();
            assert!(
                refused.contains("holds no Ed25519 key") && refused.contains("put back"),
                "{refused}"
            );
        }
        // The public half is kept beside the private one: a bit of either that flips does not go unseen.
        let last = key.len() - 1;
        key[last] ^= 1;
        std::fs::write(&path, &key).expect("writes");
        assert!(matches!(EvidenceKey::kept(dir.path()), Err(EvidenceError::NotAKey(_))));
    }

    #[test]
    fn nothing_of_the_private_half_is_printed() {
        let key = any_key();
        assert_eq!(format!("{key:?}"), format!("EvidenceKey({})", key.public().fingerprint()));
    }

    #[test]
    fn a_signature_is_over_the_hash_of_the_content() {
        let (key, spool_id) = (any_key(), [7; 16]);
        let mut record = Record {
            seq: 1,
            seq_to: 1,
            kind: Kind::Event,
            prev_hash: genesis_hash(&spool_id),
            payload: b"payload".to_vec(),
            signature: Vec::new(),
        };
        key.sign(&mut record, &spool_id);
        let public = key.public();
        let public = UnparsedPublicKey::new(&ED25519, public.as_bytes());
        public.verify(&record.content_hash(&spool_id), &record.signature).expect("verifies");
        let signature = record.signature.clone();
        key.sign(&mut record, &spool_id);
        assert_eq!(record.signature, signature, "no randomness");
        assert!(key.has_signed(&record, &spool_id));
        record.seq_to = 2;
        assert!(!key.has_signed(&record, &spool_id));
        assert!(public.verify(&record.content_hash(&spool_id), &signature).is_err());
    }
}
