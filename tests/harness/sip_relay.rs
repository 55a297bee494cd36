//! A relay between a caller and the one who is called: writes down what passes when, loses what it is told to lose, and
//! stays in the way of every later request if asked, as a proxy does (RFC 3261 §16.6, Record-Route).

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it looks for messages: so much later, at most, a message goes on.
const TURN: Duration = Duration::from_micros(200);
/// Largest datagram.
const DATAGRAM_BYTES: usize = 65_535;

/// A message that came to the relay.
#[derive(Clone, Debug)]
pub struct Passed {
    /// `INVITE`, or for a response `200 INVITE`.
    pub kind: String,
    /// All of it.
    pub text: String,
    /// When.
    pub at: Instant,
    /// It was lost here.
    pub lost: bool,
}

/// The relay; runs as long as it is held.
pub struct SipRelay {
    /// Where callers ask.
    pub address: SocketAddr,
    passed: Arc<Mutex<Vec<Passed>>>,
    ends: Arc<AtomicBool>,
    running: Option<JoinHandle<()>>,
}

/// What a relay does beside passing messages on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// Loses so many messages of that kind, the first ones.
    pub loses: Option<(&'static str, usize)>,
    /// Writes itself into the route of the call.
    pub records_route: bool,
}

impl SipRelay {
    /// Starts on a port of its own, before whoever listens on `port`.
    pub fn start(port: u16, manners: Manners) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let back = UdpSocket::bind("127.0.0.1:0").expect("a port");
        back.connect(("127.0.0.1", port)).expect("connects");
        for socket in [&front, &back] {
            socket.set_nonblocking(true).expect("can");
        }
        let address = front.local_addr().expect("bound");
        let (passed, ends) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let way = Way { front, back, address, manners, passed: Arc::clone(&passed) };
        let ended = Arc::clone(&ends);
        let running = std::thread::spawn(move || way.run(&ended));
        Self { address, passed, ends, running: Some(running) }
    }

    /// Everything that came so far.
    pub fn passed(&self) -> Vec<Passed> {
        self.passed.lock().expect("not poisoned").clone()
    }

    /// Of that kind.
    pub fn of(&self, kind: &str) -> Vec<Passed> {
        self.passed().into_iter().filter(|passed| passed.kind == kind).collect()
    }
}

impl Drop for SipRelay {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(running) = self.running.take() {
            let _panicked = running.join();
        }
    }
}

struct Way {
    front: UdpSocket,
    back: UdpSocket,
    address: SocketAddr,
    manners: Manners,
    passed: Arc<Mutex<Vec<Passed>>>,
}

impl Way {
    fn run(self, ends: &AtomicBool) {
        let mut caller = None;
        let mut buffer = vec![0; DATAGRAM_BYTES];
        while !ends.load(Ordering::Relaxed) {
            let mut idle = true;
            while let Ok((length, from)) = self.front.recv_from(&mut buffer) {
                (idle, caller) = (false, Some(from));
                if let Some(text) = self.note(&buffer[..length]) {
                    let _closed = self.back.send(self.recorded(text).as_bytes());
                }
            }
            while let Ok(length) = self.back.recv(&mut buffer) {
                idle = false;
                if let (Some(text), Some(caller)) = (self.note(&buffer[..length]), caller) {
                    let _gone = self.front.send_to(text.as_bytes(), caller);
                }
            }
            if idle {
                std::thread::sleep(TURN);
            }
        }
    }

    /// Writes a message down. `None` when it is lost here.
    fn note(&self, bytes: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let first = text.split(' ').next().unwrap_or_default();
        let kind = if first == "SIP/2.0" {
            let method =
                header(&text, "CSeq").and_then(|cseq| cseq.split(' ').nth(1).map(str::to_owned));
            format!("{} {}", text.split(' ').nth(1).unwrap_or_default(), method.unwrap_or_default())
        } else {
            first.to_owned()
        };
        let mut passed = self.passed.lock().expect("not poisoned");
        let before = passed.iter().filter(|before| before.kind == kind).count();
        let lost = self.manners.loses.is_some_and(|(loses, most)| loses == kind && before < most);
        passed.push(Passed { kind, text: text.clone(), at: Instant::now(), lost });
        (!lost).then_some(text)
    }

    /// An INVITE with this relay in its route; everything else as it is.
    fn recorded(&self, text: String) -> String {
        if !self.manners.records_route || !text.starts_with("INVITE ") {
            return text;
        }
        let address = self.address;
        text.replacen("\r\n", &format!("\r\nRecord-Route: <sip:{address};lr>\r\n"), 1)
    }
}

/// The first value of a header.
pub fn header(text: &str, name: &str) -> Option<String> {
    let lines = text.lines().take_while(|line| !line.is_empty());
    let named = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.trim().to_owned())
}
