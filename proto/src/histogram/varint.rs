//! Minimal LEB128, as histograms and what is derived from them are written.

use super::HistogramError;

/// Appends a number.
pub fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low_bits(number) | 0x80);
        number >>= 7;
    }
    out.push(low_bits(number));
}

/// The seven lowest bits.
fn low_bits(number: u64) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

/// Takes a number off the front.
///
/// # Errors
/// [`HistogramError`] for one that is cut off, or longer than needed.
#[inline]
pub fn read_varint(rest: &mut &[u8]) -> Result<u64, HistogramError> {
    // Nearly all numbers are so small.
    if let Some((byte, tail)) = rest.split_first().filter(|(byte, _)| **byte < 0x80) {
        *rest = tail;
        return Ok((*byte).into());
    }
    read_long(rest)
}

fn read_long(rest: &mut &[u8]) -> Result<u64, HistogramError> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first().ok_or(HistogramError::Truncated)?;
        *rest = tail;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(HistogramError::Varint);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            let minimal = *byte != 0 || shift == 0;
            return if minimal { Ok(number) } else { Err(HistogramError::Varint) };
        }
    }
    Err(HistogramError::Varint)
}
