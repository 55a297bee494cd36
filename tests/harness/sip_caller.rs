//! A caller that knows as much of SIP and RTP as a test needs, and nothing of the code under test.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long an answer may take.
const ANSWERS: Duration = Duration::from_secs(5);
/// Bytes of a packet of 20 ms of G.711.
pub const PACKET_BYTES: usize = 172;

/// One caller, with the ports of one call.
pub struct SipCaller {
    signalling: UdpSocket,
    /// Where its audio comes and goes.
    pub rtp: UdpSocket,
    /// The next port.
    pub rtcp: UdpSocket,
    target: SocketAddr,
    user: &'static str,
    /// The other side of a call: `To` with its tag, and its `Contact`.
    dialog: Option<(String, String)>,
}

/// Where the other side expects audio.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Data.
    pub rtp: SocketAddr,
    /// Control.
    pub rtcp: SocketAddr,
}

impl SipCaller {
    /// Not in a call yet.
    pub fn new(port: u16, user: &'static str) -> Self {
        let signalling = UdpSocket::bind("127.0.0.1:0").expect("a port");
        signalling.set_read_timeout(Some(ANSWERS)).expect("a timeout");
        let (rtp, rtcp) = pair();
        let target = SocketAddr::from(([127, 0, 0, 1], port));
        Self { signalling, rtp, rtcp, target, user, dialog: None }
    }

    /// INVITE, waits for the 200, ACK: where audio is expected.
    pub fn call(&mut self) -> Place {
        let local = self.rtp.local_addr().expect("bound");
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n",
            local.port()
        );
        self.send("INVITE", 1, "Content-Type: application/sdp\r\n", &offer);
        let answer = self.response();
        let header = |name: &str| crate::sip_relay::header(&answer, name).expect(name);
        let contact = header("Contact");
        let uri = contact.trim_matches(['<', '>']).to_owned();
        self.dialog = Some((header("To"), uri));
        self.send("ACK", 1, "", "");
        let audio = answer.split_once("m=audio ").expect("audio").1;
        let port: u16 = audio.split(' ').next().expect("a port").parse().expect("a number");
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Place { rtp: at(port), rtcp: at(port + 1) }
    }

    /// BYE, and its 200.
    pub fn hang_up(&mut self) {
        self.send("BYE", 2, "", "");
        self.response();
    }

    /// Any other request; the final response.
    pub fn ask(&self, method: &str, sequence: u32, headers: &str) -> String {
        self.send(method, sequence, headers, "");
        self.response()
    }

    fn send(&self, method: &str, sequence: u32, headers: &str, body: &str) {
        let (user, target) = (self.user, self.target);
        let local = self.signalling.local_addr().expect("bound");
        let bare = (format!("<sip:{user}@{target}>"), format!("sip:{user}@{target}"));
        let (to, uri) = self.dialog.as_ref().unwrap_or(&bare);
        let port = local.port();
        let own = format!("Contact: <sip:caller@{local}>\r\n");
        let contact = if headers.contains("Contact:") { "" } else { &own };
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{method}{sequence}.{port};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:caller@{local}>;tag=c{port}\r\nTo: {to}\r\nCall-ID: {port}@caller\r\n\
             CSeq: {sequence} {method}\r\n{contact}{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.signalling.send_to(text.as_bytes(), target).expect("sends");
    }

    /// The next final response.
    fn response(&self) -> String {
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, _) = self.signalling.recv_from(&mut buffer).expect("an answer");
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with("SIP/2.0 ") && !text.starts_with("SIP/2.0 1") {
                return text;
            }
        }
    }
}

/// An even port of the loopback and the next one.
fn pair() -> (UdpSocket, UdpSocket) {
    loop {
        let rtp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = rtp.local_addr().expect("bound").port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind(("127.0.0.1", port + 1))
        {
            return (rtp, rtcp);
        }
    }
}

/// The n-th packet of a sender: 20 ms of PCMU.
pub fn packet(number: u16, ssrc: u32) -> [u8; PACKET_BYTES] {
    let mut bytes = [0xff; PACKET_BYTES];
    bytes[..2].copy_from_slice(&[0x80, 0]);
    bytes[2..4].copy_from_slice(&number.to_be_bytes());
    bytes[4..8].copy_from_slice(&(u32::from(number) * 160).to_be_bytes());
    bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
    bytes
}

/// Everything that comes at a socket until it is silent for that long.
pub fn heard(socket: &UdpSocket, silence: Duration) -> Vec<(Instant, Vec<u8>)> {
    socket.set_read_timeout(Some(silence)).expect("a timeout");
    let mut buffer = [0; 2_048];
    let mut all = Vec::new();
    while let Ok((length, _)) = socket.recv_from(&mut buffer) {
        all.push((Instant::now(), buffer[..length].to_vec()));
        assert!(all.len() < 100_000, "it never ends");
    }
    all
}
