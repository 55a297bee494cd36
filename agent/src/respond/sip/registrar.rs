//! A registrar that knows everybody and routes nothing (RFC 3261 §10.3): it keeps what was registered for as long as was
//! asked, so that whoever registers can see it. Pure.

use crate::probe::sip::message::{Message, NameAddr, cseq, parameter};
use crate::probe::sip::uri::Uri;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long a binding lasts that asks for nothing, or for more.
const EXPIRES_MAX_S: u32 = 3_600;
/// Most addresses of record: some hundred bytes each.
const RECORDS_MAX: usize = 1_024;
/// Most bindings of one address of record: all of them stand in every answer, which must not be much longer than what
/// was asked.
const BINDINGS_MAX: usize = 4;
/// Longest contact, in bytes, for the same reason.
const CONTACT_MAX_BYTES: usize = 200;

/// What was registered.
#[derive(Debug, Default)]
pub(super) struct Registrar {
    records: BTreeMap<String, Vec<Binding>>,
}

#[derive(Clone, Debug)]
struct Binding {
    /// As it was written: two that are written differently are two.
    contact: String,
    call_id: Vec<u8>,
    sequence: u32,
    until: Instant,
}

/// What a request asks for: contacts, each with how many seconds it is to last.
enum Wish {
    /// To be told what there is, or to have these changed.
    Bind(Vec<(String, u32)>),
    /// To have all of them forgotten: `Contact: *`.
    Forget,
}

impl Registrar {
    /// A REGISTER: what its 200 has as `Contact`, or the status that refuses it.
    pub(super) fn register(
        &mut self,
        message: &Message<'_>,
        now: Instant,
    ) -> Result<Vec<String>, (u16, &'static str)> {
        let record = record(message).ok_or((400, "Bad Request"))?;
        let wish = Wish::of(message).ok_or((400, "Bad Request"))?;
        let call_id = message.first("Call-ID").ok_or((400, "Bad Request"))?;
        let (sequence, _) = message.first("CSeq").and_then(cseq).ok_or((400, "Bad Request"))?;
        let mut bindings = self.records.get(&record).cloned().unwrap_or_default();
        bindings.retain(|binding| binding.until > now);
        // §10.3 step 7: an older request that comes later changes nothing.
        let newer = |binding: &Binding| binding.call_id == call_id && binding.sequence > sequence;
        let changed = |binding: &Binding| match &wish {
            Wish::Bind(wishes) => wishes.iter().any(|(contact, _)| *contact == binding.contact),
            Wish::Forget => true,
        };
        if bindings.iter().any(|binding| changed(binding) && newer(binding)) {
            return Err((500, "Server Internal Error"));
        }
        bindings.retain(|binding| !changed(binding));
        if let Wish::Bind(wishes) = wish {
            for (contact, expires_s) in wishes.into_iter().filter(|(_, expires_s)| *expires_s > 0) {
                let until = now + Duration::from_secs(u64::from(expires_s));
                bindings.push(Binding { contact, call_id: call_id.to_vec(), sequence, until });
            }
        }
        if bindings.len() > BINDINGS_MAX {
            return Err((403, "Forbidden"));
        }
        let told = bindings.iter().map(|binding| binding.told(now)).collect();
        self.keep(record, bindings, now).then_some(told).ok_or((503, "Service Unavailable"))
    }

    /// Whether there is room for them.
    fn keep(&mut self, record: String, bindings: Vec<Binding>, now: Instant) -> bool {
        if bindings.is_empty() {
            self.records.remove(&record);
            return true;
        }
        if self.records.len() >= RECORDS_MAX && !self.records.contains_key(&record) {
            self.records.retain(|_, all| all.iter().any(|binding| binding.until > now));
            if self.records.len() >= RECORDS_MAX {
                return false;
            }
        }
        self.records.insert(record, bindings);
        true
    }
}

impl Binding {
    /// As a 200 lists it (§10.3 step 8).
    fn told(&self, now: Instant) -> String {
        let left = self.until.saturating_duration_since(now);
        // Rounded up: what was just asked for is told as it was asked.
        let left_s = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        format!("<{}>;expires={left_s}", self.contact)
    }
}

impl Wish {
    fn of(message: &Message<'_>) -> Option<Self> {
        let expires = message.first("Expires").map(seconds);
        let contacts: Vec<&[u8]> = message.values("Contact").collect();
        if contacts.contains(&&b"*"[..]) {
            // §10.3 step 6.
            return (contacts.len() == 1 && expires == Some(0)).then_some(Self::Forget);
        }
        let wishes = contacts.into_iter().map(|value| {
            let named = NameAddr::parse(value)?;
            let uri = Uri::parse(named.uri)?.to_string();
            let own = parameter(named.parameters, "expires").flatten().map(seconds);
            let expires_s = own.or(expires).unwrap_or(EXPIRES_MAX_S).min(EXPIRES_MAX_S);
            (uri.len() <= CONTACT_MAX_BYTES).then_some((uri, expires_s))
        });
        wishes.collect::<Option<Vec<_>>>().map(Self::Bind)
    }
}

/// A number of seconds; what cannot be read is an hour (§10.2.1.1).
fn seconds(value: &[u8]) -> u32 {
    let text = std::str::from_utf8(value).ok().map(str::trim);
    let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).unwrap_or(EXPIRES_MAX_S)
}

/// Whom it is about: the URI in `To`, without its parameters (§10.3 step 5).
fn record(message: &Message<'_>) -> Option<String> {
    let uri = Uri::parse(NameAddr::parse(message.first("To")?)?.uri)?;
    let bare = Uri {
        host: uri.host.to_ascii_lowercase(),
        parameters: String::new(),
        headers: String::new(),
        ..uri
    };
    Some(bare.to_string())
}

/// The user that is registered: it says what becomes of it, as it does for a call.
pub(super) fn user(message: &Message<'_>) -> Option<String> {
    Uri::parse(NameAddr::parse(message.first("To")?)?.uri)?.user
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(
        registrar: &mut Registrar,
        now: Instant,
        (to, sequence): (&str, u32),
        headers: &str,
    ) -> Result<Vec<String>, u16> {
        let text = format!(
            "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <{to}>;tag=a\r\nTo: <{to}>\r\n\
             Call-ID: c\r\nCSeq: {sequence} REGISTER\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        let message = Message::parse(text.as_bytes()).expect("is read");
        registrar.register(&message, now).map_err(|(status, _)| status)
    }

    const ALICE: &str = "sip:alice@h";

    #[test]
    fn bindings_last_as_long_as_was_asked() {
        let (mut registrar, now) = (Registrar::default(), Instant::now());
        let later = |s| now + Duration::from_secs(s);
        let mut ask = |at, sequence, headers| ask(&mut registrar, at, (ALICE, sequence), headers);
        let one = "Contact: <sip:a@192.0.2.1>;expires=60\r\n";
        assert_eq!(ask(now, 1, one), Ok(vec!["<sip:a@192.0.2.1>;expires=60".to_owned()]));
        let two = "Contact: sip:b@192.0.2.2\r\nExpires: 600\r\n";
        let both = ask(later(20), 2, two).expect("room");
        assert_eq!(both, ["<sip:a@192.0.2.1>;expires=40", "<sip:b@192.0.2.2>;expires=600"]);
        assert_eq!(ask(later(60), 3, ""), Ok(vec!["<sip:b@192.0.2.2>;expires=560".to_owned()]));
        let away = "Contact: <sip:b@192.0.2.2>;expires=0\r\n";
        assert_eq!(ask(later(60), 4, away), Ok(Vec::new()));
        assert!(registrar.records.is_empty());
    }

    #[test]
    fn all_can_be_forgotten_at_once() {
        let (mut registrar, now) = (Registrar::default(), Instant::now());
        let mut ask = |sequence, headers| ask(&mut registrar, now, (ALICE, sequence), headers);
        let two = "Contact: <sip:a@h>, <sip:b@h>;expires=junk\r\n";
        assert_eq!(
            ask(1, two).map(|told| told[1].clone()),
            Ok("<sip:b@h>;expires=3600".to_owned())
        );
        for wrong in ["Contact: *\r\n", "Contact: *\r\nContact: <sip:a@h>\r\nExpires: 0\r\n"] {
            assert_eq!(ask(2, wrong), Err(400), "{wrong}");
        }
        assert_eq!(ask(2, "Contact: *\r\nExpires: 0\r\n"), Ok(Vec::new()));
    }

    #[test]
    fn what_comes_too_late_changes_nothing() {
        let (mut registrar, now) = (Registrar::default(), Instant::now());
        let mut ask = |sequence, headers| ask(&mut registrar, now, (ALICE, sequence), headers);
        let (up, down) = ("Contact: <sip:a@h>\r\n", "Contact: <sip:a@h>\r\nExpires: 0\r\n");
        assert!(ask(2, up).is_ok());
        assert_eq!(ask(1, down), Err(500));
        assert_eq!(ask(2, up), Ok(vec!["<sip:a@h>;expires=3600".to_owned()]), "asked again");
        assert_eq!(ask(3, down), Ok(Vec::new()));
    }

    #[test]
    fn nobody_can_fill_it() {
        let (mut registrar, now) = (Registrar::default(), Instant::now());
        for number in 0..RECORDS_MAX {
            let to = format!("sip:{number}@h");
            let headers = "Contact: <sip:a@h>;expires=10\r\n";
            assert!(ask(&mut registrar, now, (&to, 1), headers).is_ok());
        }
        let contact = "Contact: <sip:a@h>\r\n";
        assert_eq!(ask(&mut registrar, now, (ALICE, 1), contact), Err(503));
        assert_eq!(ask(&mut registrar, now, (ALICE, 1), ""), Ok(Vec::new()), "asking is free");
        let later = now + Duration::from_secs(11);
        assert!(ask(&mut registrar, later, (ALICE, 1), contact).is_ok());
        assert_eq!(registrar.records.len(), 1);
        let five = "Contact: <sip:1@h>, <sip:2@h>, <sip:3@h>, <sip:4@h>\r\n";
        assert_eq!(ask(&mut registrar, later, (ALICE, 2), five), Err(403));
        let long = format!("Contact: <sip:{}@h>\r\n", "x".repeat(CONTACT_MAX_BYTES));
        assert_eq!(ask(&mut registrar, later, (ALICE, 2), &long), Err(400));
        assert_eq!(ask(&mut registrar, later, (ALICE, 2), "Contact: <tel:1>\r\n"), Err(400));
    }
}
