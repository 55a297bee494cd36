//! HTTP/2 by hand (RFC 9113), for what no library would send.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

/// Frame types.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
/// Flags of HEADERS.
pub const END_HEADERS: u8 = 4;

/// What a client begins with: the preface, and settings that give the largest windows.
pub fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE
    frame(&mut bytes, SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    bytes
}

/// Appends a frame.
pub fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    bytes.extend_from_slice(&length[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// The header of a call of the session, as literals without an index (RFC 7541 §6.2.2).
pub fn call() -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/probefleet.v1.Fleet/Session"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// Appends a gRPC message in one frame: compressed or not, the length that it says it has, and what it has.
pub fn message(bytes: &mut Vec<u8>, stream: u32, flag: u8, length: u32, message: &[u8]) {
    let mut payload = vec![flag];
    payload.extend_from_slice(&length.to_be_bytes());
    payload.extend_from_slice(message);
    payload.chunks(FRAME_MAX_BYTES).for_each(|part| frame(bytes, DATA, 0, stream, part));
}

/// SETTINGS_MAX_FRAME_SIZE, unless somebody says otherwise.
const FRAME_MAX_BYTES: usize = 16 << 10;
/// Flag of the last frame of a stream.
const END_STREAM: u8 = 1;

/// How a connection went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Went {
    /// It was closed by the other side, after so long.
    pub closed_after: Option<Duration>,
    /// The other side ended a stream, after so long.
    pub ended_after: Option<Duration>,
    /// The code of its GOAWAY.
    pub goaway: Option<u32>,
    /// Bytes that it took, after the first.
    pub taken: u64,
}

/// Writes `first`, then `again` as long as the other side takes it, and reads what it says, for so long at most. When
/// `again` has nothing more, the end of a stream is waited for.
pub async fn flood(
    stream: TlsStream<TcpStream>,
    first: Vec<u8>,
    mut again: impl FnMut(u32) -> Vec<u8>,
    most: Duration,
) -> Went {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let began = Instant::now();
    let (taken, is_quiet) = (AtomicU64::new(0), AtomicBool::new(false));
    let write = async {
        let mut bytes = first;
        for round in 0.. {
            if bytes.is_empty() || writer.write_all(&bytes).await.is_err() {
                break;
            }
            taken.fetch_add(bytes.len() as u64, Relaxed);
            bytes = again(round);
        }
        // What the other side still says is read until the end.
        is_quiet.store(writer.flush().await.is_ok(), Relaxed);
        std::future::pending::<()>().await;
    };
    let mut went = Went::default();
    let read = async {
        let mut head = [0; 9];
        while reader.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            if reader.read_exact(&mut payload).await.is_err() {
                break;
            }
            let (kind, flags) = (head[3], head[4]);
            if kind == GOAWAY {
                went.goaway =
                    Some(u32::from_be_bytes([payload[4], payload[5], payload[6], payload[7]]));
            }
            let ends = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
            if ends || kind == RST_STREAM {
                went.ended_after.get_or_insert(began.elapsed());
                if is_quiet.load(Relaxed) {
                    return;
                }
            }
        }
        went.closed_after = Some(began.elapsed());
    };
    let both = async {
        tokio::select! {
            () = write => {}
            () = read => {}
        }
    };
    drop(timeout(most, both).await);
    went.taken = taken.load(Relaxed);
    went
}
