//! What packets say of calls: of each Call-ID its delays by RFC 6076, read from the datagrams alone.

use harness::capture::Datagram;
use std::collections::HashMap;

/// A call as it passed; Unix ns.
#[derive(Debug, Default)]
pub struct Call {
    /// The first INVITE.
    pub invite_ns: Option<u64>,
    provisional_ns: Option<u64>,
    final_ns: Option<u64>,
    answer_ns: Option<u64>,
    bye_ns: Option<u64>,
    bye_answer_ns: Option<u64>,
}

impl Call {
    /// Takes a message that passed. Of each kind the first counts: what is sent again moves nothing (RFC 6076 §3).
    fn add(&mut self, message: &Message<'_>, at_ns: u64) {
        let slots = match (message.status, message.method) {
            (None, "INVITE") => [Some(&mut self.invite_ns), None],
            (None, "BYE") => [Some(&mut self.bye_ns), None],
            (Some(101..=199), "INVITE") => [Some(&mut self.provisional_ns), None],
            (Some(200..=299), "INVITE") => [Some(&mut self.final_ns), Some(&mut self.answer_ns)],
            (Some(300..), "INVITE") => [Some(&mut self.final_ns), None],
            (Some(200..=299), "BYE") => [Some(&mut self.bye_answer_ns), None],
            _ => [None, None],
        };
        for slot in slots.into_iter().flatten() {
            slot.get_or_insert(at_ns);
        }
    }

    /// How long a phase took, if it did happen.
    pub fn phase_ns(&self, phase: &str) -> Option<u64> {
        let (from, until) = match phase {
            "session_request_delay" => (self.invite_ns, self.provisional_ns.or(self.final_ns)),
            "time_to_answer" => (self.invite_ns, self.answer_ns),
            "session_disconnect_delay" => (self.bye_ns, self.bye_answer_ns),
            _ => return None,
        };
        until?.checked_sub(from?)
    }
}

/// The calls that passed, by Call-ID.
pub fn calls(datagrams: &[Datagram]) -> HashMap<String, Call> {
    let mut calls: HashMap<String, Call> = HashMap::new();
    for datagram in datagrams {
        let text = String::from_utf8_lossy(&datagram.payload);
        if let Some(message) = Message::read(&text) {
            calls.entry(message.call_id.to_owned()).or_default().add(&message, datagram.at_ns);
        }
    }
    calls
}

/// As much of a message as delays need.
struct Message<'a> {
    /// Of a response.
    status: Option<u16>,
    /// Of the request, or of the one that it answers.
    method: &'a str,
    call_id: &'a str,
}

impl<'a> Message<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (first, headers) = text.split_once("\r\n")?;
        let mut words = first.split(' ');
        let status = match words.next()? {
            "SIP/2.0" => Some(words.next()?.parse().ok()?),
            _ => None,
        };
        let header = |name: &str| {
            let mut lines = headers.lines().take_while(|line| !line.is_empty());
            lines.find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let method = header("CSeq")?.split_whitespace().nth(1)?;
        Some(Self { status, method, call_id: header("Call-ID")? })
    }
}
