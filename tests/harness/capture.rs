//! Datagrams of the loopback, as the kernel saw them pass: written down by tcpdump (Debian: `tcpdump`), read from its
//! file.

use crate::process::{Process, eventually};
use pcap_parser::{LegacyPcapBlock, Linktype, PcapCapture};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long tcpdump may take until it captures, and until it has written what it captured.
const WITHIN: Duration = Duration::from_secs(10);
/// The kernel's buffer for it, in KiB: 16,000 datagrams, seconds of all that suites send.
const BUFFER_KIB: &str = "65536";
/// Longest datagram that is kept, headers included.
const KEPT_BYTES: &str = "4096";
/// How much of the file's end is looked at for a mark.
const TAIL_BYTES: i64 = 64 << 10;

/// Ethernet, without addresses on the loopback; the type of what it carries is behind them.
const ETHERNET_BYTES: usize = 14;
/// The least header of IPv4 (RFC 791 §3.1), and what it says of UDP.
const IPV4_BYTES: usize = 20;
const UDP: u8 = 17;
/// The header of UDP (RFC 768).
const UDP_BYTES: usize = 8;

/// A capture under way.
pub struct Capture {
    tcpdump: Process,
    file: PathBuf,
    mark: UdpSocket,
    dir: tempfile::TempDir,
}

/// What was captured.
#[derive(Debug)]
pub struct Captured {
    /// In the kernel's order.
    pub datagrams: Vec<Datagram>,
    /// How many the kernel had no room for.
    pub dropped: u64,
}

/// A datagram by IPv4.
#[derive(Debug)]
pub struct Datagram {
    /// When it passed: wall clock, Unix ns.
    pub at_ns: u64,
    /// Port of the sender.
    pub from: u16,
    /// Port of whoever it is for.
    pub to: u16,
    /// What it says.
    pub payload: Vec<u8>,
}

impl Capture {
    /// Captures what comes from, or goes to, a UDP port of 127.0.0.1; the error is what that needs.
    pub fn start(port: u16) -> Result<Self, &'static str> {
        if !crate::has("tcpdump") {
            return Err("the Debian package tcpdump");
        }
        let dir = tempfile::tempdir().expect("a folder");
        // Named as Debian's profile for AppArmor wants it; opened here, as tcpdump gives its rights away before it would.
        let file = dir.path().join("capture.pcap");
        let output = File::create(&file).expect("a file");
        let mark = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let own = mark.local_addr().expect("bound").port();
        let mut command = Command::new("tcpdump");
        command.args(["-i", "lo", "-n", "-w", "-", "-U", "--immediate-mode", "-s", KEPT_BYTES]);
        command.args(["-B", BUFFER_KIB, "--time-stamp-precision=nano"]);
        command.arg(format!("ip and (udp port {port} or udp port {own})"));
        let log = dir.path().join("tcpdump.log");
        let mut capture =
            Self { tcpdump: Process::start_writing(command, output, &log), file, mark, dir };
        if capture.is_forbidden() {
            return Err("root, or CAP_NET_RAW for tcpdump");
        }
        capture.tcpdump.wait_for_output("listening on", WITHIN);
        capture.pass_mark("it begins");
        Ok(capture)
    }

    /// Whether the system does not let us.
    fn is_forbidden(&self) -> bool {
        let said = eventually(WITHIN, || {
            let output = self.tcpdump.output();
            output.contains('\n').then_some(output)
        });
        said.is_some_and(|said| said.contains("permission"))
    }

    /// Sends a datagram of our own until it is in the file: then all that passed before it is too.
    fn pass_mark(&self, words: &str) {
        let to = self.mark.local_addr().expect("bound");
        let again = Duration::from_millis(200);
        let began = Instant::now();
        let passed = eventually(WITHIN, || {
            self.mark.send_to(words.as_bytes(), to).expect("sends");
            eventually(again, || ends_with(&self.file, words).then_some(()))
        });
        assert!(passed.is_some(), "not captured in {:?}: {}", began.elapsed(), self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("tcpdump.log")).unwrap_or_default()
    }

    /// Ends it, and reads what has passed so far.
    pub fn finish(mut self) -> Captured {
        self.pass_mark("it ends");
        let (_, good) = self.tcpdump.terminate(WITHIN);
        assert!(good, "{}", self.log());
        let own = self.mark.local_addr().expect("bound").port();
        let bytes = std::fs::read(&self.file).expect("a file");
        let mut datagrams = datagrams(&bytes);
        datagrams.retain(|datagram| datagram.to != own);
        Captured { datagrams, dropped: dropped(&self.log()) }
    }
}

/// Whether words stand near the end of a file.
fn ends_with(file: &Path, words: &str) -> bool {
    let tail = || {
        let mut file = File::open(file)?;
        let length = file.metadata()?.len().min(TAIL_BYTES.unsigned_abs());
        file.seek(SeekFrom::End(-i64::try_from(length).unwrap_or(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        Ok::<_, std::io::Error>(tail)
    };
    tail().is_ok_and(|tail| tail.windows(words.len()).any(|part| part == words.as_bytes()))
}

/// "12 packets dropped by kernel", of what tcpdump says in the end.
fn dropped(log: &str) -> u64 {
    let line = log.lines().find(|line| line.contains("dropped by kernel"));
    let count = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    count.unwrap_or_else(|| panic!("tcpdump does not say what was dropped:\n{log}"))
}

fn datagrams(file: &[u8]) -> Vec<Datagram> {
    let capture = PcapCapture::from_file(file).expect("what tcpdump has written");
    assert!(capture.header.is_nanosecond_precision(), "{:?}", capture.header);
    assert_eq!(capture.header.network, Linktype::ETHERNET, "the loopback is an Ethernet");
    capture.blocks.iter().map(datagram).collect()
}

/// Reads what the filter has let through.
fn datagram(block: &LegacyPcapBlock<'_>) -> Datagram {
    assert_eq!(block.caplen, block.origlen, "a datagram was cut short");
    let (_, ip) = block.data.split_at(ETHERNET_BYTES);
    assert!(ip.len() >= IPV4_BYTES && ip[9] == UDP, "neither IPv4 nor UDP: {ip:?}");
    let udp = &ip[usize::from(ip[0] & 0x0f) * 4..];
    let number = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
    Datagram {
        // The crate's name for the field is that of the older format.
        at_ns: u64::from(block.ts_sec) * 1_000_000_000 + u64::from(block.ts_usec),
        from: number(0),
        to: number(2),
        payload: udp[UDP_BYTES..usize::from(number(4))].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_read_from_a_file() {
        // libpcap's header (nanoseconds, version 2.4, Ethernet), then one packet.
        let mut file = 0xa1b2_3c4d_u32.to_le_bytes().to_vec();
        file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 1, 0, 0, 0]);
        let mut packet = vec![0; 12];
        packet.extend([8, 0]);
        packet.extend([0x46, 0, 0, 34, 0, 0, 0, 0, 64, UDP, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
        packet.extend([1, 1, 1, 0]); // an option
        packet.extend([0x13, 0xc4, 0x27, 0x10, 0, 10, 0, 0, b'h', b'i']);
        packet.push(0); // padding
        for word in [7, 8, packet.len() as u32, packet.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
        let read = datagrams(&file);
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].at_ns, read[0].from, read[0].to), (7_000_000_008, 5060, 10_000));
        assert_eq!(read[0].payload, b"hi");
    }

    #[test]
    fn what_was_dropped_is_what_tcpdump_says() {
        let log = "3 packets captured\n6 packets received by filter\n2 packets dropped by kernel\n";
        assert_eq!(dropped(log), 2);
    }
}
