//! Digest authentication as SIP has it (RFC 3261 §22, RFC 8760, RFC 7616): challenges are taken, credentials are given.
//! Pure.
//!
//! Of the challenges of one realm the topmost is taken whose algorithm is known (RFC 8760 §2.4); every realm that has
//! asked is answered in all later requests of the attempt (RFC 3261 §22.3). A password is tried once: who refuses it is
//! not asked again with the same.

mod algorithm;
mod challenge;

use super::identity::Identifiers;
use super::message::Message;
use crate::secret::Secret;
use algorithm::Algorithm;
use challenge::{Challenge, Protection, Unusable, challenges, quoted, unescaped};

/// Most realms that are answered: each proxy on the way may be one, and each costs a few hundred bytes of a request.
const REALMS_MAX: usize = 8;
/// How often a realm may ask again. An attempt has a handful of requests, and each may find its nonce used up; a server
/// whose nonces are never fresh must not be asked for ever.
const RENEWALS_MAX: u8 = 8;

/// Where challenges stand, and where their answers go (RFC 3261 §20.7, §20.28).
const HEADERS: [(&str, &str); 2] =
    [("WWW-Authenticate", "Authorization"), ("Proxy-Authenticate", "Proxy-Authorization")];

/// Who the agent is to a provider.
#[derive(Clone)]
pub(crate) struct Credentials {
    /// Name of the account.
    pub(crate) user: String,
    /// Its password.
    pub(crate) password: Secret,
}

// The password is nobody's business.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a challenge cannot be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Nothing that was offered is known here.
    #[error(
        "no algorithm is offered that is known here: MD5, SHA-256, SHA-512-256, each also with -sess"
    )]
    Unknown,
    /// These credentials were given, and are not accepted.
    #[error("user name or password is wrong")]
    Wrong,
    /// There is no challenge, none that can be read, or more realms than are answered.
    #[error("no challenge that can be read, or more than {REALMS_MAX} realms")]
    Malformed,
}

/// Answers the challenges of one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Authorizer {
    credentials: Credentials,
    /// In the order in which they first asked.
    sessions: Vec<Session>,
}

/// One realm that has asked, and what it was told (an authentication session, RFC 7616 §3.6).
#[derive(Clone, Debug)]
struct Session {
    header: &'static str,
    challenge: Challenge,
    /// How often its nonce was answered.
    count: u32,
    /// Of the first answer; `-sess` keeps it (RFC 7616 §3.4.2).
    first_cnonce: String,
    renewals: u8,
}

/// What of a request an answer covers.
#[derive(Clone, Copy, Debug)]
struct Request<'a> {
    method: &'a str,
    uri: &'a str,
    body: &'a [u8],
}

impl Authorizer {
    /// Nobody has asked yet.
    pub(crate) const fn new(credentials: Credentials) -> Self {
        Self { credentials, sessions: Vec::new() }
    }

    /// Takes the challenges of a 401 or a 407, so that the next request can be sent with an answer to each realm.
    ///
    /// # Errors
    /// [`Refused`]: to ask once more would be in vain.
    pub(crate) fn challenged(&mut self, response: &Message<'_>) -> Result<(), Refused> {
        let mut answered: Vec<(&str, Vec<u8>)> = Vec::new();
        let mut refused = Refused::Malformed;
        for (asking, header) in HEADERS {
            for read in challenges(response.lines(asking)) {
                let challenge = match read {
                    Ok(challenge) => challenge,
                    Err(Unusable::Unknown) => {
                        refused = Refused::Unknown;
                        continue;
                    }
                    Err(Unusable::Malformed) => continue,
                };
                // Below the one that is taken, a realm offers what it likes less.
                let realm = (header, unescaped(&challenge.realm));
                if !answered.contains(&realm) && self.take(header, challenge)? {
                    answered.push(realm);
                }
            }
        }
        if answered.is_empty() { Err(refused) } else { Ok(()) }
    }

    /// Whether there was room for one more realm.
    fn take(&mut self, header: &'static str, challenge: Challenge) -> Result<bool, Refused> {
        let realm = unescaped(&challenge.realm);
        let is_same = |session: &&mut Session| {
            session.header == header && unescaped(&session.challenge.realm) == realm
        };
        let Some(session) = self.sessions.iter_mut().find(is_same) else {
            let is_room = self.sessions.len() < REALMS_MAX;
            if is_room {
                self.sessions.push(Session::new(header, challenge));
            }
            return Ok(is_room);
        };
        if session.is_refusal(&challenge) || session.renewals == RENEWALS_MAX {
            return Err(Refused::Wrong);
        }
        let renewals = session.renewals + 1;
        *session = Session { renewals, ..Session::new(header, challenge) };
        Ok(true)
    }

    /// The lines of the next request, for all realms. The ACK of a 2xx and a CANCEL repeat those of their INVITE
    /// instead (RFC 3261 §13.2.2.4, §22.1): nobody can challenge them.
    pub(crate) fn headers(
        &mut self,
        method: &str,
        uri: &str,
        body: &[u8],
        identifiers: &mut Identifiers,
    ) -> Vec<(&'static str, String)> {
        let (credentials, request) = (&self.credentials, Request { method, uri, body });
        let answer = |session: &mut Session| {
            let cnonce = identifiers.next();
            (session.header, session.answer(credentials, request, cnonce))
        };
        self.sessions.iter_mut().map(answer).collect()
    }
}

impl Session {
    const fn new(header: &'static str, challenge: Challenge) -> Self {
        Self { header, challenge, count: 0, first_cnonce: String::new(), renewals: 0 }
    }

    /// Whether a further challenge means that the credentials are not accepted. Who went on to another request with
    /// them was accepted before, and is only asked anew; and a nonce may be too old for credentials that are right.
    fn is_refusal(&self, challenge: &Challenge) -> bool {
        match self.count {
            0 => false,
            1 => !challenge.stale || challenge.nonce == self.challenge.nonce,
            _ => challenge.nonce == self.challenge.nonce,
        }
    }

    /// The value of the header of one request.
    fn answer(
        &mut self,
        credentials: &Credentials,
        request: Request<'_>,
        cnonce: String,
    ) -> String {
        self.count = self.count.saturating_add(1);
        let challenge = &self.challenge;
        // RFC 7616 can be read as "the first client nonce" and, as servers do, as "that of the request": with one and
        // the same, both are right.
        let cnonce = if challenge.algorithm.is_session && self.count > 1 {
            self.first_cnonce.clone()
        } else {
            cnonce
        };
        if self.count == 1 {
            self.first_cnonce.clone_from(&cnonce);
        }
        let count = format!("{:08x}", self.count);
        let response = challenge.response(credentials, request, (&count, &cnonce));
        let mut text = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{response}\"",
            quoted(&credentials.user),
            challenge.realm,
            challenge.nonce,
            quoted(request.uri),
        );
        if let Some(algorithm) = &challenge.algorithm_text {
            text.push_str(", algorithm=");
            text.push_str(algorithm);
        }
        if let Some(opaque) = &challenge.opaque {
            text.push_str(&format!(", opaque=\"{opaque}\""));
        }
        if let Some(qop) = challenge.protection.name() {
            text.push_str(&format!(", qop={qop}, cnonce=\"{cnonce}\", nc={count}"));
        }
        text
    }
}

impl Challenge {
    /// The proof that the password is known (RFC 7616 §3.4.1 to §3.4.3; RFC 2069 §2.1.2 where no `qop` was offered).
    fn response(
        &self,
        credentials: &Credentials,
        request: Request<'_>,
        (count, cnonce): (&str, &str),
    ) -> String {
        let Algorithm { hash, is_session } = self.algorithm;
        let (realm, nonce) = (unescaped(&self.realm), unescaped(&self.nonce));
        let (user, password) = (credentials.user.as_bytes(), credentials.password.expose());
        let mut a1 = hash.of(&[user, &realm, password.as_bytes()]);
        if is_session {
            a1 = hash.of(&[a1.as_bytes(), &nonce, cnonce.as_bytes()]);
        }
        let (method, uri) = (request.method.as_bytes(), request.uri.as_bytes());
        let a2 = match self.protection {
            Protection::AuthInt => hash.of(&[method, uri, hash.of(&[request.body]).as_bytes()]),
            Protection::Auth | Protection::None => hash.of(&[method, uri]),
        };
        match self.protection.name() {
            None => hash.of(&[a1.as_bytes(), &nonce, a2.as_bytes()]),
            Some(qop) => hash.of(&[
                a1.as_bytes(),
                &nonce,
                count.as_bytes(),
                cnonce.as_bytes(),
                qop.as_bytes(),
                a2.as_bytes(),
            ]),
        }
    }
}

#[cfg(test)]
mod tests;
