//! For fuzzing: what reads the bytes of strangers, each as a function of bytes alone.
//!
//! None of them may panic, or take more memory than its bounds permit, whatever the bytes are. Nothing else calls
//! them.

mod zone;

use crate::probe::sip::digest::{Authorizer, Credentials};
use crate::probe::sip::identity::{Identifiers, SEED_BYTES};
use crate::probe::sip::message::Message;
use crate::secret::Secret;
pub use zone::zone;

/// Challenges of a 401 (RFC 3261 §22): a line each. What answers them must stay one line.
///
/// # Panics
/// When it does not.
pub fn challenge(bytes: &[u8]) {
    let mut response = b"SIP/2.0 401 Unauthorized\r\n".to_vec();
    for line in bytes.split(|byte| *byte == b'\n') {
        response.extend_from_slice(b"WWW-Authenticate: ");
        response.extend(line.iter().filter(|byte| **byte != b'\r'));
        response.extend_from_slice(b"\r\n");
    }
    response.extend_from_slice(b"\r\n");
    let Ok(response) = Message::parse(&response) else { return };
    let password = Secret::new("secret".to_owned());
    let mut authorizer = Authorizer::new(Credentials { user: "probe".to_owned(), password });
    let mut identifiers = Identifiers::new([0; SEED_BYTES]);
    // Asked for ever, it gives up.
    while authorizer.challenged(&response).is_ok() {
        for (_, value) in authorizer.headers("INVITE", "sip:a@h", b"", &mut identifiers) {
            assert!(!value.contains(['\r', '\n']), "begins a line of its own: {value:?}");
        }
    }
}
