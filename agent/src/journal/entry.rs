//! The bytes of a journal: a header, then entries. Pure; every integer is little-endian or a LEB128 varint.

use crate::probe::{Outcome, Phase, Sample};
use crate::window::{Measured, SeriesSpec, Suspect};
use probefleet_proto::name::{FailureClass, InvalidReason, MissedReason, NAME_MAX_BYTES};
use probefleet_proto::plan::SpecHash;
use probefleet_proto::report::{LABEL_MAX_BYTES, Label};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// The version that this program writes, and the only one that it reads.
pub(super) const FORMAT_VERSION: u32 = 1;
/// `magic 8 ‖ version u32 ‖ crc32c u32`.
pub(super) const HEADER_BYTES: usize = 16;
/// Longest body of an entry: an attempt has a dozen phases, counters and values. Checked before anything is read.
pub(super) const BODY_MAX_BYTES: usize = 64 << 10;

const MAGIC: [u8; 8] = *b"PFJOURN\0";
/// `len u32 ‖ crc32c u32`.
const FRAME_BYTES: usize = 8;
/// Kinds of entries.
const SERIES: u8 = 1;
const NAME: u8 = 2;
const OK: u8 = 3;
const FAILED: u8 = 4;
const INVALID: u8 = 5;
const MISSED: u8 = 6;
const SUSPECT: u8 = 7;

/// An entry, as it is read back.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A due attempt.
    Attempt(Logged),
    /// A window that is not to be trusted.
    Suspect(Suspect),
}

impl Entry {
    /// The window that it is of, Unix s.
    #[must_use]
    pub const fn window_start_s(&self) -> u64 {
        match self {
            Self::Attempt(logged) => logged.window_start_s,
            Self::Suspect(suspect) => suspect.window_start_s,
        }
    }
}

/// What became of a due attempt, as it is read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// Which probe, with which spec.
    pub series: Arc<(String, SpecHash)>,
    /// Start of its window, Unix s.
    pub window_start_s: u64,
    /// Scheduled instant, Unix ns.
    pub scheduled_ns: u64,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a due attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It has ended.
    Ended {
        /// How late it began, ns.
        lag_ns: u64,
        /// What came out of it.
        result: LoggedResult,
    },
    /// It never started.
    Missed(MissedReason),
}

/// What an attempt measured, as it is read back: all that is counted of it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedResult {
    outcome: Outcome,
    code: String,
    phases_ns: Vec<(Phase, u64)>,
    counters: Vec<(Label, u64)>,
    values: Vec<(Label, u64)>,
}

impl Measured for LoggedResult {
    fn outcome(&self) -> Outcome {
        self.outcome
    }

    fn code(&self) -> &str {
        &self.code
    }

    fn phases_ns(&self) -> &[(Phase, u64)] {
        &self.phases_ns
    }

    fn counters(&self) -> impl ExactSizeIterator<Item = (Label, u64)> {
        self.counters.iter().cloned()
    }

    fn values(&self) -> impl ExactSizeIterator<Item = (Label, u64)> {
        self.values.iter().cloned()
    }
}

/// What a file begins with.
pub(super) fn header() -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The version of a file that begins so; `None` for one that is no journal, or damaged in its first bytes.
pub(super) fn version(bytes: &[u8]) -> Option<u32> {
    let header = bytes.get(..HEADER_BYTES)?;
    let number = |at: usize| header.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let intact = header.starts_with(&MAGIC) && number(12)? == crc32c::crc32c(&header[..12]);
    number(8).filter(|_| intact)
}

/// Where and when an attempt was due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// Of what.
    pub(super) series: &'a Arc<SeriesSpec>,
    /// Start of its window, Unix s.
    pub(super) window_start_s: u64,
    /// Scheduled instant, Unix ns.
    pub(super) scheduled_ns: u64,
}

/// Writes the entries of one file: what an entry refers to is written once before it.
#[derive(Debug, Default)]
pub(super) struct Writer {
    series: HashMap<Arc<SeriesSpec>, u64>,
    names: HashMap<Label, u64>,
    body: Vec<u8>,
}

impl Writer {
    /// Appends an attempt that has ended.
    pub(super) fn ended(
        &mut self,
        out: &mut Vec<u8>,
        place: Place<'_>,
        lag_ns: u64,
        sample: &Sample,
    ) {
        let (kind, why) = match sample.outcome {
            Outcome::Ok => (OK, None),
            Outcome::Failed(class) => (FAILED, Some(class.as_str())),
            Outcome::Invalid(reason) => (INVALID, Some(reason.as_str())),
        };
        let mut body = self.begin(out, kind, place);
        if let Some(why) = why {
            let why = self.name(out, &Cow::Borrowed(why));
            number(&mut body, why);
        }
        number(&mut body, lag_ns);
        text(&mut body, sample.code.as_deref().unwrap_or(""));
        self.figures(out, &mut body, sample.phases_ns.iter().cloned());
        let borrowed = |(name, count): &(&'static str, u64)| (Cow::Borrowed(*name), *count);
        self.figures(out, &mut body, sample.counters.iter().map(borrowed));
        self.figures(out, &mut body, sample.values.iter().map(borrowed));
        self.end(out, body);
    }

    /// Appends an attempt that never started.
    pub(super) fn missed(&mut self, out: &mut Vec<u8>, place: Place<'_>, reason: MissedReason) {
        let mut body = self.begin(out, MISSED, place);
        let reason = self.name(out, &Cow::Borrowed(reason.as_str()));
        number(&mut body, reason);
        self.end(out, body);
    }

    /// Appends why a window is not to be trusted.
    pub(super) fn suspect(&mut self, out: &mut Vec<u8>, suspect: &Suspect) {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        body.push(SUSPECT);
        for figure in [suspect.window_start_s, suspect.flags.into(), suspect.stall_ns] {
            number(&mut body, figure);
        }
        self.end(out, body);
    }

    fn begin(&mut self, out: &mut Vec<u8>, kind: u8, place: Place<'_>) -> Vec<u8> {
        let series = self.series(out, place.series);
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        body.push(kind);
        for figure in [series, place.window_start_s, place.scheduled_ns] {
            number(&mut body, figure);
        }
        body
    }

    fn end(&mut self, out: &mut Vec<u8>, body: Vec<u8>) {
        frame(out, &body);
        self.body = body;
    }

    fn figures(
        &mut self,
        out: &mut Vec<u8>,
        body: &mut Vec<u8>,
        figures: impl ExactSizeIterator<Item = (Label, u64)>,
    ) {
        number(body, figures.len() as u64);
        for (name, figure) in figures {
            let name = self.name(out, &name);
            number(body, name);
            number(body, figure);
        }
    }

    fn series(&mut self, out: &mut Vec<u8>, series: &Arc<SeriesSpec>) -> u64 {
        if let Some(known) = self.series.get(series) {
            return *known;
        }
        let fresh = self.series.len() as u64;
        let mut body = vec![SERIES];
        body.extend_from_slice(&series.spec);
        body.extend_from_slice(series.probe.as_bytes());
        frame(out, &body);
        self.series.insert(Arc::clone(series), fresh);
        fresh
    }

    fn name(&mut self, out: &mut Vec<u8>, name: &Label) -> u64 {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let fresh = self.names.len() as u64;
        let mut body = vec![NAME];
        body.extend_from_slice(name.as_bytes());
        frame(out, &body);
        self.names.insert(name.clone(), fresh);
        fresh
    }
}

fn frame(out: &mut Vec<u8>, body: &[u8]) {
    // A length that does not fit is read back as no entry at all, never as another one.
    let len_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&len_bytes), body);
    out.extend_from_slice(&len_bytes);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(body);
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Reads the entries of one file up to the first byte that is not as it was written: what lies behind cannot be told
/// from rubbish, because what it refers to may lie before.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    series: Vec<Arc<(String, SpecHash)>>,
    names: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Reads a file of [`FORMAT_VERSION`].
    pub(super) fn new(file: &'a [u8]) -> Self {
        let bytes = file.get(HEADER_BYTES..).unwrap_or_default();
        Self { bytes, series: Vec::new(), names: Vec::new() }
    }

    /// Bytes behind the last entry that was read.
    pub(super) const fn left_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn entry(&mut self) -> Option<Entry> {
        loop {
            let (body, rest) = unframed(self.bytes)?;
            let (kind, mut fields) = body.split_first()?;
            let entry = match *kind {
                SERIES => self.read_series(fields).map(|()| None),
                NAME => self.read_name(fields).map(|()| None),
                SUSPECT => read_suspect(fields).map(|suspect| Some(Entry::Suspect(suspect))),
                OK..=MISSED => {
                    let logged = self.read_attempt(*kind, &mut fields);
                    logged.map(|logged| Some(Entry::Attempt(logged)))
                }
                _ => None,
            }?;
            self.bytes = rest;
            if entry.is_some() {
                return entry;
            }
        }
    }

    fn read_series(&mut self, fields: &[u8]) -> Option<()> {
        let (spec, probe) = fields.split_at_checked(size_of::<SpecHash>())?;
        let probe = std::str::from_utf8(probe).ok().filter(|p| p.len() <= NAME_MAX_BYTES)?;
        self.series.push(Arc::new((probe.to_owned(), spec.try_into().ok()?)));
        Some(())
    }

    fn read_name(&mut self, fields: &[u8]) -> Option<()> {
        let name = std::str::from_utf8(fields).ok().filter(|n| n.len() <= LABEL_MAX_BYTES)?;
        self.names.push(name.to_owned());
        Some(())
    }

    fn read_attempt(&self, kind: u8, fields: &mut &[u8]) -> Option<Logged> {
        let series = self.series.get(usize::try_from(read_number(fields)?).ok()?)?;
        let (window_start_s, scheduled_ns) = (read_number(fields)?, read_number(fields)?);
        let fate = if kind == MISSED {
            Fate::Missed(MissedReason::parse(self.read_label(fields)?)?)
        } else {
            let outcome = match kind {
                OK => Outcome::Ok,
                FAILED => Outcome::Failed(FailureClass::parse(self.read_label(fields)?)?),
                _ => Outcome::Invalid(InvalidReason::parse(self.read_label(fields)?)?),
            };
            let lag_ns = read_number(fields)?;
            let result = LoggedResult {
                outcome,
                code: read_text(fields)?,
                phases_ns: self.read_figures(fields)?,
                counters: self.read_figures(fields)?,
                values: self.read_figures(fields)?,
            };
            Fate::Ended { lag_ns, result }
        };
        fields.is_empty().then(|| Logged {
            series: Arc::clone(series),
            window_start_s,
            scheduled_ns,
            fate,
        })
    }

    fn read_label(&self, fields: &mut &[u8]) -> Option<&str> {
        let index = usize::try_from(read_number(fields)?).ok()?;
        self.names.get(index).map(String::as_str)
    }

    fn read_figures(&self, fields: &mut &[u8]) -> Option<Vec<(Label, u64)>> {
        let count = usize::try_from(read_number(fields)?).ok()?;
        // Each takes two bytes at least, so what is made room for is here already.
        if count > fields.len() / 2 {
            return None;
        }
        let mut figures = Vec::with_capacity(count);
        for _ in 0..count {
            let name = self.read_label(fields)?.to_owned();
            figures.push((Cow::Owned(name), read_number(fields)?));
        }
        Some(figures)
    }
}

impl Iterator for Reader<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.entry()
    }
}

/// The body of the entry that `bytes` begin with, and what follows it; none unless each of its bits is as it was
/// written.
fn unframed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (frame, rest) = bytes.split_at_checked(FRAME_BYTES)?;
    let number = |at: usize| frame.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let len = usize::try_from(number(0)?).ok().filter(|len| (1..=BODY_MAX_BYTES).contains(len))?;
    let (body, rest) = rest.split_at_checked(len)?;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), body);
    (checksum == number(4)?).then_some((body, rest))
}

fn read_suspect(mut fields: &[u8]) -> Option<Suspect> {
    let (window_start_s, flags) = (read_number(&mut fields)?, read_number(&mut fields)?);
    let (flags, stall_ns) = (u32::try_from(flags).ok()?, read_number(&mut fields)?);
    fields.is_empty().then_some(Suspect { window_start_s, flags, stall_ns })
}

fn read_number(fields: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = fields.split_first()?;
        *fields = rest;
        let low = u64::from(byte & 0x7f);
        if low != 0 && (low << shift) >> shift != low {
            return None;
        }
        number |= low << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn read_text(fields: &mut &[u8]) -> Option<String> {
    let len = usize::try_from(read_number(fields)?).ok()?;
    let (text, rest) = fields.split_at_checked(len)?;
    *fields = rest;
    std::str::from_utf8(text).ok().map(str::to_owned)
}

/// For fuzzing: how many attempts a file has whose entries have these bodies, each behind a byte that is its length.
pub(crate) fn read_bodies(mut bytes: &[u8]) -> usize {
    let mut file = header().to_vec();
    while let [length, rest @ ..] = bytes {
        let (body, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        frame(&mut file, body);
        bytes = rest;
    }
    Reader::new(&file).map(std::hint::black_box).count()
}
