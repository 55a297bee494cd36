//! Data packets (RFC 3550 §5.1): the fixed header, and what may stand round the payload. Pure.

/// Bytes of the fixed header.
pub(crate) const HEADER_BYTES: usize = 12;
/// The version of RFC 3550, in the two highest bits.
const VERSION: u8 = 2;
/// Payload types that would look like RTCP with the marker before them (RFC 3550 §5.1, RFC 5761 §4): 192 to 223, of
/// which SR, RR, SDES, BYE and APP are 200 to 204.
const CONTROL_TYPES: std::ops::RangeInclusive<u8> = 64..=95;

/// What is read of the fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Audio begins again after silence (RFC 3551 §4.1).
    pub(crate) marker: bool,
    /// 0 is PCMU, 8 is PCMA (RFC 3551 §6).
    pub(crate) payload_type: u8,
    /// One more for each packet.
    pub(crate) sequence: u16,
    /// When the first sample was taken, in ticks of the sender's clock.
    pub(crate) timestamp: u32,
    /// Who sends.
    pub(crate) ssrc: u32,
}

/// A packet that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    pub(crate) header: Header,
    /// Without contributing sources, extension and padding.
    pub(crate) payload: &'a [u8],
}

/// Why a datagram is no packet of RTP (RFC 3550 A.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotRtp {
    /// Not even a header, or an extension or sources that it has no room for.
    #[error("shorter than its header says")]
    Short,
    /// Not version 2.
    #[error("not RTP version 2")]
    Version,
    /// More padding than payload, or none where there should be.
    #[error("padding that does not fit")]
    Padding,
    /// A control packet at the port of the data.
    #[error("a control packet")]
    Control,
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, NotRtp> {
        let (fixed, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(NotRtp::Short)?;
        let [flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        if flags >> 6 != VERSION {
            return Err(NotRtp::Version);
        }
        let payload_type = kind & 0x7f;
        if CONTROL_TYPES.contains(&payload_type) {
            return Err(NotRtp::Control);
        }
        let sources = usize::from(flags & 0x0f) * 4;
        rest = rest.get(sources..).ok_or(NotRtp::Short)?;
        if flags & 0x10 != 0 {
            // §5.3.1: a profile's own 16 bits, then how many words follow.
            let ([_, _, high, low], after) = rest.split_first_chunk().ok_or(NotRtp::Short)?;
            let words = usize::from(u16::from_be_bytes([*high, *low]));
            rest = after.get(words * 4..).ok_or(NotRtp::Short)?;
        }
        if flags & 0x20 != 0 {
            // The last byte counts itself.
            let padding = usize::from(*rest.last().ok_or(NotRtp::Padding)?);
            let kept = rest.len().checked_sub(padding).filter(|_| padding > 0);
            rest = &rest[..kept.ok_or(NotRtp::Padding)?];
        }
        let header = Header {
            marker: kind & 0x80 != 0,
            payload_type,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
        };
        Ok(Self { header, payload: rest })
    }

    /// Writes it: no contributing sources, no extension, no padding.
    pub(crate) fn write(&self) -> Vec<u8> {
        let Header { marker, payload_type, sequence, timestamp, ssrc } = self.header;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.payload.len());
        bytes.push(VERSION << 6);
        bytes.push(u8::from(marker) << 7 | payload_type & 0x7f);
        bytes.extend_from_slice(&sequence.to_be_bytes());
        bytes.extend_from_slice(&timestamp.to_be_bytes());
        bytes.extend_from_slice(&ssrc.to_be_bytes());
        bytes.extend_from_slice(self.payload);
        bytes
    }
}

/// Makes a packet that was read before another sender's: only its SSRC changes, so that sources, extension and padding
/// stay as they came.
pub(crate) fn readdress(bytes: &mut [u8], ssrc: u32) {
    if let Some(place) = bytes.get_mut(8..HEADER_BYTES) {
        place.copy_from_slice(&ssrc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: Header =
        Header { marker: true, payload_type: 8, sequence: 0x1234, timestamp: 0x0102_0304, ssrc: 9 };

    #[test]
    fn a_packet_is_these_bytes() {
        let bytes = Packet { header: HEADER, payload: b"ab" }.write();
        assert_eq!(bytes, [0x80, 0x88, 0x12, 0x34, 1, 2, 3, 4, 0, 0, 0, 9, b'a', b'b']);
        assert_eq!(Packet::read(&bytes), Ok(Packet { header: HEADER, payload: b"ab" }));
        let mut other = bytes.clone();
        readdress(&mut other, 0xa0b0_c0d0);
        assert_eq!(other[8..12], [0xa0, 0xb0, 0xc0, 0xd0]);
        assert_eq!((&other[..8], &other[12..]), (&bytes[..8], &bytes[12..]));
    }

    /// A packet with two sources, an extension of one word, and three bytes of padding.
    fn full() -> Vec<u8> {
        let mut bytes = Packet { header: HEADER, payload: &[] }.write();
        bytes[0] |= 0x20 | 0x10 | 2;
        bytes.extend_from_slice(&[1; 8]);
        bytes.extend_from_slice(&[0xbe, 0xde, 0, 1, 7, 7, 7, 7]);
        bytes.extend_from_slice(b"payload");
        bytes.extend_from_slice(&[0, 0, 3]);
        bytes
    }

    #[test]
    fn what_stands_round_the_payload_is_skipped() {
        let bytes = full();
        assert_eq!(Packet::read(&bytes), Ok(Packet { header: HEADER, payload: b"payload" }));
        for end in 0..HEADER_BYTES + 16 {
            assert!(Packet::read(&bytes[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn what_is_no_packet_is_told_apart() {
        let changed = |place: usize, byte: u8| {
            let mut bytes = full();
            bytes[place] = byte;
            Packet::read(&bytes).map(|_| ()).expect_err("is none")
        };
        let last = full().len() - 1;
        assert_eq!(changed(0, 0x40), NotRtp::Version);
        assert_eq!(changed(1, 200), NotRtp::Control);
        assert_eq!(changed(last, 0), NotRtp::Padding);
        assert_eq!(changed(last, 11), NotRtp::Padding, "one more than there is");
        assert_eq!(changed(23, 200), NotRtp::Short, "an extension of 200 words");
        assert_eq!(Packet::read(&[0xa0; HEADER_BYTES]).err(), Some(NotRtp::Padding));
        assert_eq!(Packet::read(&[]).err(), Some(NotRtp::Short));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(packet) = Packet::read(&bytes) {
                prop_assert!(packet.payload.len() + HEADER_BYTES <= bytes.len());
            }
        }

        #[test]
        fn what_is_written_is_read(
            (marker, payload_type) in (any::<bool>(), 0..64_u8),
            (sequence, timestamp, ssrc) in any::<(u16, u32, u32)>(),
            payload in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            let packet = Packet { header, payload: &payload };
            let bytes = packet.write();
            prop_assert_eq!(Packet::read(&bytes), Ok(packet));
        }
    }
}
