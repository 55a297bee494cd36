//! Messages are counted before they are decoded: an empty message inside another takes two bytes on the wire and a hundred in
//! memory, so 256 KiB of them would take 12 MiB, and twice that while the list grows.
//!
//! [`Bounded`] is the codec of the generated service. It walks over a message once, allocates nothing, and lets pass only what
//! takes memory in proportion; what is inside a record's payload is counted as well, because it is decoded right after.

use crate::label::LABELS_MAX;
use crate::record::PAYLOAD_MAX_BYTES;
use crate::v1;
use prost::Message;
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstCodec;

/// Most records of a message: agents send 256 at most.
pub const RECORDS_MAX: usize = 1_024;
/// Most probes of a status: the collector shows a thousand.
pub const PROBES_MAX: usize = 4_096;
/// Most faults of a status: more than there can be.
pub const FAULTS_MAX: usize = 16;
/// Most labels of a Hello: twice what an agent can have, so that one with a few too many is told which are not used.
pub const LABELS_PROPOSED_MAX: usize = 2 * LABELS_MAX;
/// Most names of a report, and most probes of a gap: one that says anything takes eight of the 128 KiB at least, with the
/// column that refers to it.
pub const ENTRIES_MAX: usize = PAYLOAD_MAX_BYTES / 8;

/// Fields of `FromAgent` and of what they hold (`fleet.proto`); the last is that of `Report.names` and of `Gap.probes`.
const HELLO: u32 = 1;
const HELLO_LABELS: u32 = 10;
const DATA: u32 = 2;
const DATA_RECORDS: u32 = 2;
const RECORD_PAYLOAD: u32 = 5;
const PAYLOAD_ENTRIES: u32 = 5;
const STATUS: u32 = 3;
const STATUS_PROBES: u32 = 3;
const STATUS_FAULTS: u32 = 4;

/// A message whose memory is known before it is decoded.
pub trait Bound {
    /// Looks at a message that is to be decoded.
    ///
    /// # Errors
    /// What it has too many of, or that it cannot be read.
    fn check(_message: &[u8]) -> Result<(), &'static str> {
        Ok(())
    }
}

/// What a collector sends is believed.
impl Bound for v1::ToAgent {}

impl Bound for v1::FromAgent {
    fn check(message: &[u8]) -> Result<(), &'static str> {
        let (mut labels, mut records, mut probes, mut faults) = (0, 0, 0, 0);
        walk(message, |field, data| match field {
            HELLO => walk(data, |field, _| match field {
                HELLO_LABELS => count(&mut labels, LABELS_PROPOSED_MAX, "too many labels"),
                _ => Ok(()),
            }),
            DATA => walk(data, |field, record| match field {
                DATA_RECORDS => {
                    count(&mut records, RECORDS_MAX, "too many records")?;
                    check_record(record)
                }
                _ => Ok(()),
            }),
            STATUS => walk(data, |field, _| match field {
                STATUS_PROBES => count(&mut probes, PROBES_MAX, "too many probes"),
                STATUS_FAULTS => count(&mut faults, FAULTS_MAX, "too many faults"),
                _ => Ok(()),
            }),
            _ => Ok(()),
        })
    }
}

fn check_record(record: &[u8]) -> Result<(), &'static str> {
    let mut entries = 0;
    walk(record, |field, payload| match field {
        // A payload that cannot be read is refused by itself, where the record can be named.
        RECORD_PAYLOAD => match walk(payload, |field, _| match field {
            PAYLOAD_ENTRIES => count(&mut entries, ENTRIES_MAX, TOO_MANY_ENTRIES),
            _ => Ok(()),
        }) {
            Err(TOO_MANY_ENTRIES) => Err(TOO_MANY_ENTRIES),
            Ok(()) | Err(_) => Ok(()),
        },
        _ => Ok(()),
    })
}

const TOO_MANY_ENTRIES: &str = "too many entries in a record";
const UNREADABLE: &str = "a message that cannot be read";

fn count(so_far: &mut usize, most: usize, why: &'static str) -> Result<(), &'static str> {
    *so_far += 1;
    if *so_far > most { Err(why) } else { Ok(()) }
}

/// Looks at each field of a message that has a length.
fn walk<'a>(
    mut message: &'a [u8],
    mut look: impl FnMut(u32, &'a [u8]) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    while !message.is_empty() {
        let (field, wire_type) = decode_key(&mut message).map_err(|_| UNREADABLE)?;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, field, &mut message, DecodeContext::default())
                .map_err(|_| UNREADABLE)?;
            continue;
        }
        let length = decode_varint(&mut message).map_err(|_| UNREADABLE)?;
        let length = usize::try_from(length).map_err(|_| UNREADABLE)?;
        let (inside, rest) = message.split_at_checked(length).ok_or(UNREADABLE)?;
        look(field, inside)?;
        message = rest;
    }
    Ok(())
}

/// Protobuf, counted before it is decoded.
#[derive(Clone, Debug)]
pub struct Bounded<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Bounded<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Bounded<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Bound + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

/// The decoder of [`Bounded`].
#[derive(Clone, Debug)]
pub struct BoundedDecoder<U>(PhantomData<U>);

impl<U: Message + Default + Bound> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // tonic has put the message together: it is one piece.
        U::check(source.chunk()).map_err(Status::invalid_argument)?;
        U::decode(source).map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::from_agent::Message as Said;

    fn check(said: Said) -> Result<(), &'static str> {
        v1::FromAgent::check(&v1::FromAgent { message: Some(said) }.encode_to_vec())
    }

    fn data(records: usize, payload: &[u8]) -> Said {
        let record = v1::Record { payload: payload.to_vec(), ..v1::Record::default() };
        Said::Data(v1::Data { session: 1, records: vec![record; records] })
    }

    #[test]
    fn what_takes_memory_out_of_proportion_is_counted() {
        assert_eq!(check(data(RECORDS_MAX, b"")), Ok(()));
        assert_eq!(check(data(RECORDS_MAX + 1, b"")), Err("too many records"));
        let hello = |labels: usize| {
            let labels = (0..labels).map(|key| (key.to_string(), String::new())).collect();
            Said::Hello(v1::Hello { proposed_labels: labels, ..v1::Hello::default() })
        };
        assert_eq!(check(hello(LABELS_PROPOSED_MAX)), Ok(()));
        assert_eq!(check(hello(LABELS_PROPOSED_MAX + 1)), Err("too many labels"));
        let status = |probes| {
            let probes = vec![v1::ProbeNow::default(); probes];
            Said::Status(v1::Status { probes, ..v1::Status::default() })
        };
        assert_eq!(check(status(PROBES_MAX)), Ok(()));
        assert_eq!(check(status(PROBES_MAX + 1)), Err("too many probes"));
        let troubled = |faults| {
            let faults = vec![v1::Fault::default(); faults];
            Said::Status(v1::Status { faults, ..v1::Status::default() })
        };
        assert_eq!(check(troubled(FAULTS_MAX)), Ok(()));
        assert_eq!(check(troubled(FAULTS_MAX + 1)), Err("too many faults"));
        let names =
            |names| v1::Report { names: vec![String::new(); names], ..v1::Report::default() };
        let gap = |probes| v1::Gap {
            probes: vec![v1::GapProbe::default(); probes],
            ..v1::Gap::default()
        };
        assert_eq!(check(data(1, &names(ENTRIES_MAX).encode_to_vec())), Ok(()));
        assert_eq!(check(data(1, &names(ENTRIES_MAX + 1).encode_to_vec())), Err(TOO_MANY_ENTRIES));
        assert_eq!(check(data(1, &gap(ENTRIES_MAX).encode_to_vec())), Ok(()));
        assert_eq!(check(data(1, &gap(ENTRIES_MAX + 1).encode_to_vec())), Err(TOO_MANY_ENTRIES));
    }

    #[test]
    fn several_messages_of_one_kind_are_one() {
        // Protobuf merges what comes again, so it is counted together.
        let half = v1::FromAgent { message: Some(data(RECORDS_MAX / 2 + 1, b"")) }.encode_to_vec();
        assert_eq!(v1::FromAgent::check(&half), Ok(()));
        assert_eq!(v1::FromAgent::check(&[half.clone(), half].concat()), Err("too many records"));
    }

    #[test]
    fn a_payload_of_anything_is_left_to_who_can_name_its_record() {
        assert_eq!(check(data(1, &[0xff; 64])), Ok(()));
        assert_eq!(check(Said::Hello(v1::Hello::default())), Ok(()));
        for garbage in [&b"\x12"[..], b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\xff"] {
            assert_eq!(v1::FromAgent::check(garbage), Err(UNREADABLE), "{garbage:?}");
        }
    }
}
