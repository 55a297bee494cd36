//! What passes between us and the server, stamped and bounded on the wire itself, under the library that understands it.
//!
//! Only the framing is read here: a byte that says the kind of a message, four that say its length (PostgreSQL 15 §55.7).
//! So the instant of the first row is that of its first bytes, and a bound is kept before what is beyond it is held.

use super::super::failure::copied;
use super::super::stream::Watch;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;
use tokio_postgres::types::Type;

/// Most that is read in one exchange beside rows, in bytes: the description of 1,664 columns (the most that PostgreSQL
/// has) and some notices. No server may fill our memory with anything else.
const OTHER_MAX_BYTES: u64 = 256 << 10;
/// A message's kind and length.
const HEADER_BYTES: usize = 5;

/// How much is read of an answer's rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    pub(super) max_rows: u64,
    /// Messages of rows, whole, with their headers.
    pub(super) max_bytes: u64,
}

impl Caps {
    /// For what the probe itself asks.
    pub(super) const OWN: Self = Self { max_rows: 16, max_bytes: 64 << 10 };
}

/// Why reading was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// More rows than the cap.
    MaxRows,
    /// More bytes of rows than the cap.
    MaxBytes,
    /// More of anything else than a server has to say.
    Flood,
    /// Not the protocol.
    NotPostgres,
    /// `COPY`, which is no query.
    Copy,
    /// The column of that name has a type that the library would ask the server about, in the middle of what is measured.
    ForeignType(String),
}

/// What was seen of a connection, shared with whoever times it.
#[derive(Clone, Debug)]
pub(super) struct Wire(Arc<Mutex<Seen>>);

/// What was seen of an exchange.
#[derive(Debug)]
pub(super) struct Seen {
    /// When the last byte of the request was handed to the socket.
    pub(super) written: Option<Instant>,
    /// When the first row began to arrive.
    pub(super) first_row: Option<Instant>,
    /// When the word came that the statement is complete.
    pub(super) complete: Option<Instant>,
    /// Rows that have begun to arrive.
    pub(super) rows: u64,
    /// Their bytes.
    pub(super) row_bytes: u64,
    /// Why no more is read.
    pub(super) stopped: Option<Stop>,
    /// The other side ended its stream.
    pub(super) ended: bool,
    /// The error that broke the connection.
    pub(super) broken: Option<io::Error>,
    other_bytes: u64,
    caps: Caps,
    frames: Frames,
}

impl Wire {
    /// Before anything has passed.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Seen {
            written: None,
            first_row: None,
            complete: None,
            rows: 0,
            row_bytes: 0,
            stopped: None,
            ended: false,
            broken: None,
            other_bytes: 0,
            caps: Caps::OWN,
            frames: Frames::default(),
        })))
    }

    /// Looks at what was seen.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new exchange begins: what was seen of the one before is past.
    pub(super) fn begin(&self, caps: Caps) {
        self.with(|seen| {
            (seen.written, seen.first_row, seen.complete) = (None, None, None);
            (seen.rows, seen.row_bytes, seen.other_bytes) = (0, 0, 0);
            seen.caps = caps;
        });
    }
}

impl Seen {
    fn note_read(&mut self, read: &[u8], now: Instant) -> Result<(), Stop> {
        if read.is_empty() {
            self.ended = true;
            return Ok(());
        }
        let mut frames = std::mem::take(&mut self.frames);
        let noted = frames.feed(read, |frame| match frame {
            Frame::Header { kind, bytes } => self.note_message(kind, bytes, now),
            Frame::Description(fields) => known_types(fields),
        });
        self.frames = frames;
        if let Err(stop) = &noted {
            self.stopped.get_or_insert_with(|| stop.clone());
        }
        noted
    }

    fn note_message(&mut self, kind: u8, bytes: u64, now: Instant) -> Result<(), Stop> {
        match kind {
            b'D' => {
                self.first_row.get_or_insert(now);
                self.rows += 1;
                self.row_bytes = self.row_bytes.saturating_add(bytes);
                return match () {
                    () if self.rows > self.caps.max_rows => Err(Stop::MaxRows),
                    () if self.row_bytes > self.caps.max_bytes => Err(Stop::MaxBytes),
                    () => Ok(()),
                };
            }
            _ if bytes > OTHER_MAX_BYTES => return Err(Stop::NotPostgres),
            // CommandComplete, or EmptyQueryResponse in its place.
            b'C' | b'I' => self.complete = Some(now),
            b'G' | b'H' | b'W' | b'c' | b'd' => return Err(Stop::Copy),
            b'1' | b'2' | b'3' | b'A' | b'E' | b'K' | b'N' | b'R' | b'S' | b'T' | b'Z' | b'n'
            | b's' | b't' | b'v' => {}
            _ => return Err(Stop::NotPostgres),
        }
        self.other_bytes = self.other_bytes.saturating_add(bytes);
        if self.other_bytes > OTHER_MAX_BYTES { Err(Stop::Flood) } else { Ok(()) }
    }
}

// === framing ===

/// The framing of what a server sends, however it is cut.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// What is still to come of the message under way, in bytes.
    left: u64,
    /// The content of a `RowDescription` so far.
    description: Option<Vec<u8>>,
}

/// A part of the stream that matters.
enum Frame<'a> {
    /// A message begins; its length includes the header.
    Header { kind: u8, bytes: u64 },
    /// The content of a `RowDescription`.
    Description(&'a [u8]),
}

impl Frames {
    fn feed(
        &mut self,
        mut bytes: &[u8],
        mut note: impl FnMut(Frame<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        while !bytes.is_empty() {
            bytes = if self.left > 0 {
                self.content(bytes, &mut note)?
            } else {
                self.header(bytes, &mut note)?
            };
        }
        Ok(())
    }

    fn header<'a>(
        &mut self,
        bytes: &'a [u8],
        note: &mut impl FnMut(Frame<'_>) -> Result<(), Stop>,
    ) -> Result<&'a [u8], Stop> {
        let missing = (HEADER_BYTES - self.header_bytes).min(bytes.len());
        let (part, rest) = bytes.split_at(missing);
        self.header[self.header_bytes..][..missing].copy_from_slice(part);
        self.header_bytes += missing;
        if self.header_bytes == HEADER_BYTES {
            self.header_bytes = 0;
            let [kind, length @ ..] = self.header;
            // The length includes itself, not the byte before it.
            let length = u64::from(u32::from_be_bytes(length));
            self.left = length.checked_sub(4).ok_or(Stop::NotPostgres)?;
            note(Frame::Header { kind, bytes: length + 1 })?;
            self.description = (kind == b'T').then(Vec::new);
        }
        Ok(rest)
    }

    fn content<'a>(
        &mut self,
        bytes: &'a [u8],
        note: &mut impl FnMut(Frame<'_>) -> Result<(), Stop>,
    ) -> Result<&'a [u8], Stop> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let (part, rest) = bytes.split_at(length);
        self.left -= part.len() as u64;
        if let Some(description) = &mut self.description {
            description.extend_from_slice(part);
            if self.left == 0 {
                note(Frame::Description(&self.description.take().unwrap_or_default()))?;
            }
        }
        Ok(rest)
    }
}

/// Whether the library knows every type of a `RowDescription` by itself. Each field is a name, and then 18 bytes, the type
/// at the seventh.
fn known_types(description: &[u8]) -> Result<(), Stop> {
    let mut rest = description.get(2..).unwrap_or_default();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let name = &rest[..end];
        let Some(fixed) = rest.get(end + 1..end + 19) else { return Err(Stop::NotPostgres) };
        let oid = [fixed[6], fixed[7], fixed[8], fixed[9]];
        if Type::from_oid(u32::from_be_bytes(oid)).is_none() {
            return Err(Stop::ForeignType(String::from_utf8_lossy(name).into_owned()));
        }
        rest = &rest[end + 19..];
    }
    Ok(())
}

// === the stream ===

impl Watch for Wire {
    fn written(&self, at: Instant) {
        self.with(|seen| seen.written = Some(at));
    }

    fn read(&self, bytes: &[u8], at: Instant) -> bool {
        self.with(|seen| seen.note_read(bytes, at)).is_ok()
    }

    fn broken(&self, error: &io::Error) {
        self.with(|seen| {
            seen.broken.get_or_insert_with(|| copied(error));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn message(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len() + 4).expect("short");
        [&[kind][..], &length.to_be_bytes(), content].concat()
    }

    fn description(oid: u32) -> Vec<u8> {
        let mut content = vec![0, 1];
        content.extend(b"mood\0");
        content.extend([0; 6]);
        content.extend(oid.to_be_bytes());
        content.extend([0; 8]);
        message(b'T', &content)
    }

    fn read(wire: &Wire, bytes: &[u8], now: Instant) -> Result<(), Stop> {
        wire.with(|seen| seen.note_read(bytes, now))
    }

    #[test]
    fn the_first_row_and_the_end_are_stamped_however_the_bytes_are_cut() {
        let parts = [
            message(b'2', b""),
            description(25),
            message(b'D', &[7; 20]),
            message(b'D', &[7; 3]),
            message(b'C', b"SELECT 2\0"),
            message(b'Z', b"T"),
        ];
        let bytes = parts.concat();
        let began = Instant::now();
        for size in [1, 2, 3, 7, bytes.len()] {
            let wire = Wire::new();
            for (index, part) in bytes.chunks(size).enumerate() {
                let at = began + Duration::from_millis(index as u64);
                read(&wire, part, at).expect("is the protocol");
            }
            // The chunk that holds the last byte of the header.
            let stamp = |before: usize| {
                let header_end = parts[..before].concat().len() + HEADER_BYTES;
                Some(began + Duration::from_millis((header_end.div_ceil(size) - 1) as u64))
            };
            wire.with(|seen| {
                assert_eq!((seen.first_row, seen.complete), (stamp(2), stamp(4)), "{size}");
                assert_eq!((seen.rows, seen.row_bytes), (2, 33));
            });
        }
    }

    #[test]
    fn reading_stops_at_the_header_of_what_is_too_much() {
        let now = Instant::now();
        let row = message(b'D', &[0; 95]);
        for (caps, expected) in [
            (Caps { max_rows: 2, max_bytes: 300 }, Err(Stop::MaxRows)),
            (Caps { max_rows: 3, max_bytes: 299 }, Err(Stop::MaxBytes)),
            (Caps { max_rows: 3, max_bytes: 300 }, Ok(())),
        ] {
            let wire = Wire::new();
            wire.begin(caps);
            read(&wire, &row.repeat(2), now).expect("within");
            assert_eq!(read(&wire, &row[..HEADER_BYTES], now), expected);
            assert_eq!(wire.with(|seen| seen.stopped.clone()), expected.err());
        }
    }

    #[test]
    fn what_is_not_the_protocol_is_told_by_its_first_bytes() {
        let now = Instant::now();
        for (bytes, expected) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], Stop::NotPostgres),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Stop::NotPostgres),
            (b"\x4a\0\0\0\x0a8.0.36\0", Stop::NotPostgres),
            (b"R\0\0\0\x03", Stop::NotPostgres),
            (b"H\0\0\0\x08", Stop::Copy),
            (b"220 mail.example ESMTP\r\n", Stop::NotPostgres),
        ] {
            assert_eq!(read(&Wire::new(), bytes, now), Err(expected));
        }
        let wire = Wire::new();
        let notice = message(b'N', &[b'x'; 60_000]);
        for _ in 0..4 {
            read(&wire, &notice, now).expect("some are usual");
        }
        assert_eq!(read(&wire, &notice, now), Err(Stop::Flood));
    }

    #[test]
    fn types_that_only_the_server_knows_are_found() {
        let now = Instant::now();
        read(&Wire::new(), &description(25), now).expect("text");
        let foreign = Err(Stop::ForeignType("mood".to_owned()));
        assert_eq!(read(&Wire::new(), &description(16_385), now), foreign);
        assert_eq!(
            read(&Wire::new(), &message(b'T', b"\0\x01mood\0"), now),
            Err(Stop::NotPostgres)
        );
    }
}
