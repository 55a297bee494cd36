//! What is said: the digital milliwatt, the 1 kHz sine at 0 dBm0 that ITU-T G.711 defines by its bytes. Pure.
//!
//! Its eight bytes go into a packet twenty times, so that every packet is the same and the tone has no seam.

use super::PACKET_SAMPLES;

/// The two laws of G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// µ-law.
    Pcmu,
    /// A-law.
    Pcma,
}

/// ITU-T G.711 table 6.
const PCMU: [u8; 8] = [0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e];
/// ITU-T G.711 table 5.
const PCMA: [u8; 8] = [0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4];

impl Codec {
    /// By the name that SDP has for it (RFC 3551 §6).
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "PCMU" => Some(Self::Pcmu),
            "PCMA" => Some(Self::Pcma),
            _ => None,
        }
    }

    /// Its payload type (RFC 3551 §6).
    pub(crate) const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    /// The payload of every packet.
    pub(crate) fn tone(self) -> [u8; PACKET_SAMPLES] {
        let period = match self {
            Self::Pcmu => PCMU,
            Self::Pcma => PCMA,
        };
        std::array::from_fn(|sample| period[sample % period.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a byte of µ-law stands for, of 8 159 at most (G.711 table 2).
    fn of_pcmu(byte: u8) -> i32 {
        let byte = !byte;
        let (segment, step) = (byte >> 4 & 7, i32::from(byte & 15));
        let size = ((step * 2 + 33) << segment) - 33;
        if byte & 0x80 == 0 { size } else { -size }
    }

    /// What a byte of A-law stands for, of 4 096 at most (G.711 table 1).
    fn of_pcma(byte: u8) -> i32 {
        let byte = byte ^ 0x55;
        let (segment, step) = (byte >> 4 & 7, i32::from(byte & 15));
        let size = if segment == 0 { step * 2 + 1 } else { (step * 2 + 33) << (segment - 1) };
        if byte & 0x80 == 0 { -size } else { size }
    }

    #[test]
    fn the_tone_is_a_sine_of_1_khz() {
        type Expand = fn(u8) -> i32;
        // 0 dBm0 is 3.17 and 3.14 dB below the loudest sine (G.711 tables 1 and 2).
        for (codec, expand, largest, below_db) in [
            (Codec::Pcmu, of_pcmu as Expand, 8_159.0, 3.17),
            (Codec::Pcma, of_pcma, 4_096.0, 314.0 / 100.0),
        ] {
            let samples: Vec<f64> =
                codec.tone().into_iter().map(|byte| f64::from(expand(byte))).collect();
            let loudest = largest * 10_f64.powf(-below_db / 20.0);
            for (index, sample) in samples.iter().enumerate() {
                // Eight samples a period, none of them at zero; a step of the law is 1/32 of its value at most.
                let phase = (index as f64 + 0.5) / 8.0 * std::f64::consts::TAU;
                let (is, should) = (sample.abs(), (loudest * phase.sin()).abs());
                assert!((is - should).abs() <= should / 30.0, "{codec:?} {index}: {is}, {should}");
                assert!(
                    sample * samples[index % 8] > 0.0 && sample * samples[(index + 4) % 8] < 0.0
                );
            }
            let power = samples.iter().map(|sample| sample * sample).sum::<f64>() / 160.0;
            let off_db = 10.0 * (power / (loudest * loudest / 2.0)).log10();
            assert!(off_db.abs() < 0.05, "{codec:?}: {off_db} dB from 0 dBm0");
        }
    }

    #[test]
    fn names_and_numbers_are_those_of_rfc_3551() {
        assert_eq!(Codec::named("PCMU").map(Codec::payload_type), Some(0));
        assert_eq!(Codec::named("PCMA").map(Codec::payload_type), Some(8));
        assert_eq!(Codec::named("opus"), None);
    }
}
