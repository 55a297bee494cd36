//! The compound packet that one side sends: a report, who it is, and perhaps that it leaves (RFC 3550 §6.1).

use super::{Block, GOODBYE, RECEIVER_REPORT, SENDER_REPORT, SOURCE_DESCRIPTION, SenderInfo};

/// The item of a description that every compound packet has (§6.5.1).
const CNAME: u8 = 1;

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    /// Who reports.
    pub(crate) ssrc: u32,
    /// Of one who has sent since its last report but one (§6.4).
    pub(crate) sender: Option<SenderInfo>,
    /// Of the one that was heard, if any.
    pub(crate) block: Option<Block>,
    /// The reporter's canonical name: at most 255 bytes of it are told.
    pub(crate) cname: &'a str,
    /// It leaves.
    pub(crate) goodbye: bool,
}

impl Outgoing<'_> {
    /// The datagram.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        let kind = if self.sender.is_some() { SENDER_REPORT } else { RECEIVER_REPORT };
        packet(&mut bytes, u8::from(self.block.is_some()), kind, |bytes| {
            bytes.extend_from_slice(&self.ssrc.to_be_bytes());
            if let Some(SenderInfo { ntp, timestamp, packets, octets }) = self.sender {
                bytes.extend_from_slice(&ntp.to_be_bytes());
                words(bytes, &[timestamp, packets, octets]);
            }
            if let Some(block) = &self.block {
                block.write(bytes);
            }
        });
        packet(&mut bytes, 1, SOURCE_DESCRIPTION, |bytes| {
            bytes.extend_from_slice(&self.ssrc.to_be_bytes());
            let length = u8::try_from(self.cname.len()).unwrap_or(u8::MAX);
            bytes.extend_from_slice(&[CNAME, length]);
            bytes.extend_from_slice(&self.cname.as_bytes()[..usize::from(length)]);
            // One null at least ends the list; `packet` fills the word.
            bytes.push(0);
        });
        if self.goodbye {
            packet(&mut bytes, 1, GOODBYE, |bytes| words(bytes, &[self.ssrc]));
        }
        bytes
    }
}

impl Block {
    fn write(&self, bytes: &mut Vec<u8>) {
        // A.3: clamped to what 24 bits hold.
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned();
        let lost = lost & 0x00ff_ffff | u32::from(self.fraction_lost) << 24;
        words(bytes, &[self.ssrc, lost, self.highest, self.jitter, self.last_report, self.delay]);
    }
}

/// Adds a packet, whose length is filled in when its body is there.
fn packet(bytes: &mut Vec<u8>, count: u8, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = bytes.len();
    bytes.extend_from_slice(&[0x80 | count, kind, 0, 0]);
    body(bytes);
    while !(bytes.len() - begin).is_multiple_of(4) {
        bytes.push(0);
    }
    let words = u16::try_from((bytes.len() - begin) / 4 - 1).unwrap_or(u16::MAX);
    bytes[begin + 2..begin + 4].copy_from_slice(&words.to_be_bytes());
}

fn words(bytes: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| bytes.extend_from_slice(&word.to_be_bytes()));
}
