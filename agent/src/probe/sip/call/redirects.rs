//! Where a call is redirected to: the contacts of 3xx responses, best first, none twice (RFC 3261 §8.1.3.4). Pure.

use crate::policy::UserPattern;
use crate::probe::sip::message::{Message, NameAddr, parameter};
use crate::probe::sip::uri::Uri;

/// Most places that a call is redirected to, one after the other: more is a loop.
const REDIRECTS_MAX: u64 = 5;
/// Most places that wait to be asked: more than are ever asked.
const WAITING_MAX: usize = 16;
/// `q=1`, which is what a contact without one has (RFC 3261 §20.10), in thousandths.
const Q_ONE: u16 = 1_000;

/// Places asked, and to be asked.
#[derive(Debug)]
pub(super) struct Redirects {
    /// Only `sips:` may follow.
    secure: bool,
    asked: Vec<Uri>,
    /// With their q, the best first.
    waiting: Vec<(u16, Uri)>,
    /// Who may be called; `None` = everybody.
    users: Option<Vec<UserPattern>>,
    /// What was not followed, because it would have left TLS.
    insecure: Option<Box<Uri>>,
    /// What was not followed, because the policy does not let it be called.
    forbidden: Option<Box<Uri>>,
    /// How often it was followed.
    pub(super) followed: u64,
}

impl Redirects {
    /// That URI is asked first, and nobody but those users.
    pub(super) fn new(first: &Uri, users: Option<Vec<UserPattern>>) -> Self {
        let asked = vec![comparable(first)];
        Self {
            secure: first.secure,
            users,
            asked,
            waiting: Vec::new(),
            insecure: None,
            forbidden: None,
            followed: 0,
        }
    }

    /// Whether a status sends elsewhere: 305 and 380 do not say so of the same call, and an unknown one is a 300 (RFC
    /// 3261 §8.1.3.2, §21.3).
    pub(super) fn is_redirection(status: u16) -> bool {
        (300..400).contains(&status) && !matches!(status, 305 | 380)
    }

    /// Takes the contacts of a redirection.
    pub(super) fn add(&mut self, response: &Message<'_>) {
        for value in response.values("Contact") {
            let Some(contact) = NameAddr::parse(value) else { continue };
            let Some(uri) = Uri::parse(contact.uri) else { continue };
            let uri = uri.as_request_uri();
            if self.secure && !uri.secure {
                self.insecure.get_or_insert_with(|| Box::new(uri));
                continue;
            }
            let user = uri.user.as_deref().unwrap_or_default();
            if self.users.as_ref().is_some_and(|users| !users.iter().any(|one| one.has(user))) {
                self.forbidden.get_or_insert_with(|| Box::new(uri));
                continue;
            }
            let known = comparable(&uri);
            let is_new = !self.asked.contains(&known)
                && self.waiting.iter().all(|(_, waiting)| comparable(waiting) != known);
            if is_new && self.waiting.len() < WAITING_MAX {
                self.waiting.push((q(contact.parameters), uri));
            }
        }
        self.waiting.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
    }

    /// The next to be asked.
    pub(super) fn follow(&mut self) -> Option<Uri> {
        if self.followed == REDIRECTS_MAX || self.waiting.is_empty() {
            return None;
        }
        let (_, uri) = self.waiting.remove(0);
        self.followed += 1;
        self.asked.push(comparable(&uri));
        Some(uri)
    }

    /// Whether it is ours that a redirection was not followed: the policy forbids the call.
    pub(super) fn is_forbidden(&self) -> bool {
        self.forbidden.is_some()
    }

    /// Why a redirection is not followed.
    pub(super) fn why(&self) -> String {
        if let Some(uri) = &self.forbidden {
            return format!("not followed: the policy does not let {uri} be called (`users`)");
        }
        match &self.insecure {
            _ if self.followed == REDIRECTS_MAX => {
                format!("not followed: redirected {REDIRECTS_MAX} times already")
            }
            Some(uri) => format!("not followed: {uri} would leave TLS"),
            None if self.followed > 0 => "not followed: a loop, all were asked already".to_owned(),
            None => "not followed: it names nobody else who can be asked".to_owned(),
        }
    }
}

/// A URI as far as it says who is asked: hosts are equal in any case (RFC 3261 §19.1.4).
fn comparable(uri: &Uri) -> Uri {
    Uri { host: uri.host.to_ascii_lowercase(), ..uri.as_request_uri() }
}

/// `q` of a contact, in thousandths: three digits at most (RFC 3261 §25.1).
fn q(parameters: &[u8]) -> u16 {
    let text = parameter(parameters, "q").flatten().and_then(|q| std::str::from_utf8(q).ok());
    let Some((whole, rest)) = text.map(|text| text.split_once('.').unwrap_or((text, ""))) else {
        return Q_ONE;
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).take(3);
    let (value, _) = digits.fold((0, Q_ONE), |(value, scale), digit| {
        (value + u16::from(digit - b'0') * (scale / 10), scale / 10)
    });
    if whole.trim() == "1" { Q_ONE } else { value }
}
