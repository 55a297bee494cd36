//! Names: of probes, agreements and agents, and the closed vocabulary of outcomes.

use std::fmt;

/// Longest name, in bytes: fits a DNS label, so that a name can become one.
pub const NAME_MAX_BYTES: usize = 63;

/// A name as people give them: `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The text is not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 63 of a-z, 0-9 and -, and does not begin with -")]
pub struct NameError;

impl Name {
    /// Takes the text if it is a name.
    ///
    /// # Errors
    /// [`NameError`] when it is empty, too long or has another character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let legal = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let length_fits = (1..=NAME_MAX_BYTES).contains(&bytes.len());
        if length_fits && bytes.iter().all(legal) && bytes.first() != Some(&b'-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError)
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Declares a closed set of names that travel as text.
macro_rules! vocabulary {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[$doc])* $variant,)+ }

        impl $type {
            /// Every member, in the order of the specification.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name that travels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The member of that name.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|member| member.as_str() == text)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use vocabulary;

vocabulary! {
    /// Why an attempt failed: the provider's side. (`formats.md` §9 has the table.)
    FailureClass {
        /// The name could not be resolved.
        Resolve = "resolve",
        /// The port is closed.
        Refused = "refused",
        /// Host or network unreachable, as the network said.
        Unreachable = "unreachable",
        /// No connection by the deadline.
        ConnectTimeout = "connect_timeout",
        /// The TLS handshake failed.
        Tls = "tls",
        /// The deadline passed after the connection stood.
        Timeout = "timeout",
        /// Bytes that are not the protocol.
        Protocol = "protocol",
        /// Credentials were given and refused.
        Auth = "auth",
        /// A status that was not expected.
        Status = "status",
        /// The answer is not the expected one.
        Assertion = "assertion",
        /// Reset, or end of stream too early.
        Closed = "closed",
        /// No audio.
        Media = "media",
    }
}

vocabulary! {
    /// Why an attempt that started says nothing about the provider: our side.
    InvalidReason {
        /// Started more than [`crate::window::START_LAG_MAX_NS`] late.
        AgentOverload = "agent_overload",
        /// The agent's own network or operating system refused before a packet left.
        LocalNetwork = "local_network",
        /// The agent's clock cannot be trusted.
        Clock = "clock",
        /// The agent's policy does not permit it.
        PolicyDenied = "policy_denied",
        /// A fault of the agent's program.
        AgentError = "agent_error",
        /// The agent was shutting down.
        Shutdown = "shutdown",
    }
}

vocabulary! {
    /// Why an attempt that was due never started: our side.
    MissedReason {
        /// The attempt before was still running.
        Overrun = "overrun",
        /// The agent was not running.
        AgentDown = "agent_down",
        /// The machine was suspended.
        Suspended = "suspended",
        /// Too many attempts in flight.
        NoSlot = "no_slot",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels() {
        for good in ["a", "0", "portal-login", &"x".repeat(63)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a.b", "ä", &"x".repeat(64)] {
            assert_eq!(Name::new(bad), Err(NameError), "{bad}");
        }
    }

    #[test]
    fn vocabulary_reads_what_it_writes() {
        for class in FailureClass::ALL {
            assert_eq!(FailureClass::parse(class.as_str()), Some(*class));
        }
        assert_eq!(MissedReason::parse("nothing"), None);
    }
}
