//! A SIP peer that does what no peer should: floods, cuts, drips, never ends. It knows as much of SIP as it takes to be
//! believed, and nothing of the code under test.

use crate::sip_relay::header;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it looks whether it is still wanted.
const TURN: Duration = Duration::from_millis(5);
/// Largest datagram, and most that is read of a connection before a request is whole.
const MESSAGE_BYTES: usize = 65_535;
/// A flood that is late by more than this does not catch up: a burst is another thing than a rate.
const LATE_MAX: Duration = Duration::from_millis(5);

/// What it does when it is asked something.
pub enum Act {
    /// Sends this, whole or not.
    Send(Vec<u8>),
    /// Sends this byte by byte, each in a segment of its own (TCP).
    Drip(Vec<u8>),
    /// Does nothing for a while.
    Wait(Duration),
    /// From now on, beside everything else.
    Flood(Flood),
    /// Sends this again and again until nobody listens (TCP).
    Endless(Vec<u8>),
    /// Resets the connection (TCP).
    Reset,
}

/// Datagrams at an even rate.
pub struct Flood {
    /// The n-th.
    pub piece: Box<dyn FnMut(u64) -> Vec<u8> + Send>,
    /// How many a second.
    pub per_s: u32,
    /// How long.
    pub lasts: Duration,
}

/// What it does, by what has come.
type Manners = Arc<dyn Fn(&Asked<'_>) -> Vec<Act> + Send + Sync>;

/// A message that came.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Such as `INVITE`; of a response, `SIP/2.0`.
    pub kind: String,
    /// All of it.
    pub text: String,
    /// When.
    pub at: Instant,
}

/// A message, as manners are asked about it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// All of it.
    pub text: &'a str,
    /// How many of its kind came before it.
    pub before: usize,
    /// Where it came to.
    pub local: SocketAddr,
}

/// The peer; hostile as long as it is held.
pub struct SipHostile {
    /// Where it is asked.
    pub address: SocketAddr,
    state: Arc<State>,
    running: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    heard: Mutex<Vec<Heard>>,
    ends: AtomicBool,
}

impl SipHostile {
    /// By UDP.
    pub fn by_udp(manners: impl Fn(&Asked<'_>) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(TURN)).expect("a timeout");
        let address = socket.local_addr().expect("bound");
        Self::start(address, move |state| datagrams(&socket, state, &manners))
    }

    /// By TCP.
    pub fn by_tcp(manners: impl Fn(&Asked<'_>) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("can");
        let address = listener.local_addr().expect("bound");
        let manners: Manners = Arc::new(manners);
        Self::start(address, move |state| accept(&listener, state, &manners))
    }

    fn start(address: SocketAddr, run: impl FnOnce(&Arc<State>) + Send + 'static) -> Self {
        let state = Arc::new(State::default());
        let own = Arc::clone(&state);
        Self { address, state, running: Some(std::thread::spawn(move || run(&own))) }
    }

    /// Everything that came so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.state.heard.lock().expect("not poisoned").clone()
    }

    /// Of that kind.
    pub fn of(&self, kind: &str) -> Vec<Heard> {
        self.heard().into_iter().filter(|heard| heard.kind == kind).collect()
    }
}

impl Drop for SipHostile {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::Relaxed);
        if let Some(running) = self.running.take() {
            let _panicked = running.join();
        }
    }
}

impl State {
    fn goes_on(&self) -> bool {
        !self.ends.load(Ordering::Relaxed)
    }

    /// Writes a message down. How many of its kind came before.
    fn note(&self, text: &str) -> usize {
        let kind = text.split(' ').next().unwrap_or_default().to_owned();
        let mut heard = self.heard.lock().expect("not poisoned");
        let before = heard.iter().filter(|heard| heard.kind == kind).count();
        heard.push(Heard { kind, text: text.to_owned(), at: Instant::now() });
        before
    }
}

// === UDP ===

fn datagrams(socket: &UdpSocket, state: &Arc<State>, manners: &impl Fn(&Asked<'_>) -> Vec<Act>) {
    let local = socket.local_addr().expect("bound");
    let mut buffer = vec![0; MESSAGE_BYTES];
    let mut floods: Vec<JoinHandle<()>> = Vec::new();
    while state.goes_on() {
        let Ok((length, caller)) = socket.recv_from(&mut buffer) else { continue };
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let before = state.note(&text);
        for act in manners(&Asked { text: &text, before, local }) {
            match act {
                Act::Send(bytes) => drop(socket.send_to(&bytes, caller)),
                Act::Wait(time) => std::thread::sleep(time),
                Act::Flood(flood) => {
                    let (socket, state) =
                        (socket.try_clone().expect("a handle"), Arc::clone(state));
                    floods.push(std::thread::spawn(move || flood.run(&socket, caller, &state)));
                }
                Act::Drip(_) | Act::Endless(_) | Act::Reset => panic!("datagrams have no stream"),
            }
        }
    }
    for flood in floods {
        let _panicked = flood.join();
    }
}

impl Flood {
    fn run(mut self, socket: &UdpSocket, to: SocketAddr, state: &State) {
        let began = Instant::now();
        let (mut due, every) = (began, Duration::from_secs(1) / self.per_s);
        for number in 0.. {
            if !state.goes_on() || began.elapsed() > self.lasts {
                return;
            }
            // Nobody need listen any more.
            drop(socket.send_to(&(self.piece)(number), to));
            due += every;
            let now = Instant::now();
            if now > due + LATE_MAX {
                due = now;
            }
            // A short sleep is as long as the system's slack: several go together then.
            if due > now + Duration::from_micros(100) {
                std::thread::sleep(due - now);
            }
        }
    }
}

// === TCP ===

fn accept(listener: &TcpListener, state: &Arc<State>, manners: &Manners) {
    let mut open = Vec::new();
    while state.goes_on() {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(TURN);
            continue;
        };
        let (state, manners) = (Arc::clone(state), Arc::clone(manners));
        open.push(std::thread::spawn(move || drop(converse(stream, &state, &*manners))));
    }
    for connection in open {
        let _panicked = connection.join();
    }
}

fn converse(
    mut stream: TcpStream,
    state: &State,
    manners: &dyn Fn(&Asked<'_>) -> Vec<Act>,
) -> std::io::Result<()> {
    let local = stream.local_addr()?;
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TURN))?;
    stream.set_write_timeout(Some(TURN))?;
    let mut unread = Vec::new();
    while let Some(text) = next_message(&mut stream, &mut unread, state)? {
        let before = state.note(&text);
        for act in manners(&Asked { text: &text, before, local }) {
            match act {
                Act::Send(bytes) => stream.write_all(&bytes)?,
                Act::Drip(bytes) => bytes.iter().try_for_each(|byte| stream.write_all(&[*byte]))?,
                Act::Wait(time) => std::thread::sleep(time),
                // Up to an error: a full buffer is one too, some time after nobody has read.
                Act::Endless(bytes) => {
                    while state.goes_on() {
                        stream.write_all(&bytes)?;
                    }
                }
                Act::Reset => {
                    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
                    return Ok(());
                }
                Act::Flood(_) => panic!("a stream has one sender"),
            }
        }
    }
    Ok(())
}

/// The next request or response of a stream; `None` at its end.
fn next_message(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
    state: &State,
) -> std::io::Result<Option<String>> {
    let mut buffer = [0; 4_096];
    loop {
        if let Some(end) = whole(unread) {
            let rest = unread.split_off(end);
            let message = std::mem::replace(unread, rest);
            return Ok(Some(String::from_utf8_lossy(&message).into_owned()));
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(length) if unread.len() < MESSAGE_BYTES => unread.extend(&buffer[..length]),
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if !state.goes_on() {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Where the first message ends, if it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    let head = text.find("\r\n\r\n")? + 4;
    let body: usize = header(&text, "Content-Length")?.parse().ok()?;
    (bytes.len() >= head + body).then_some(head + body)
}

// === what it says ===

/// The first lines of a response to a request, up to and without `Content-Length`: `To` has the tag `h`.
pub fn head(request: &str, status: &str) -> String {
    let header = |name: &str| header(request, name).unwrap_or_default();
    let to = header("To");
    let tag = if to.contains(";tag=") { "" } else { ";tag=h" };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n",
        header("Via"),
        header("From"),
        header("Call-ID"),
        header("CSeq"),
    )
}

/// A response without a body.
pub fn bare(request: &str, status: &str) -> Vec<u8> {
    format!("{}Content-Length: 0\r\n\r\n", head(request, status)).into_bytes()
}

/// A 200 to an INVITE, with audio that nobody sends, and this as its `Contact`.
pub fn answer(request: &str, contact: &str) -> Vec<u8> {
    let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
    let head = head(request, "200 OK");
    format!(
        "{head}Contact: <{contact}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A request of this side within the call that an ACK has acknowledged; by another `tag` than `h` it is in no call.
pub fn within(ack: &str, method: &str, tag: &str, number: u64) -> Vec<u8> {
    let header = |name: &str| header(ack, name).unwrap_or_default();
    let from = header("To").replace(";tag=h", &format!(";tag={tag}"));
    format!(
        "{method} sip:probe@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKh{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: {from}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} {method}\r\nUser-Agent: {}\r\n\
         Content-Length: 0\r\n\r\n",
        header("From"),
        header("Call-ID"),
        number + 1,
        "hostile ".repeat(16),
    )
    .into_bytes()
}
