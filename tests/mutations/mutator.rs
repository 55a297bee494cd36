//! Changes of sound inputs: what a broken, a hostile or merely another peer may send in their place.

use fastrand::Rng;

/// Longest input: somewhat more than a datagram can carry.
const INPUT_MAX_BYTES: usize = 66_000;
/// Most changes of one input.
const CHANGES_MAX: usize = 8;
/// Of so many inputs one is blown up to the most there may be; more would only take time.
const ONE_LARGE_OF: u32 = 2_000;
/// What has a meaning somewhere.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r\n ",
    b"\r\n\r\n",
    b"\0",
    b"\xff",
    b"\xc3\xa4",
    b",",
    b";",
    b"=",
    b":",
    b"\"",
    b"\\",
    b"<",
    b">",
    b"[::1]",
    b"@",
    b"%00",
    b"-1",
    b"0",
    b"65536",
    b"4294967296",
    b"18446744073709551616",
    b"SIP/2.0 ",
];

/// Changes inputs of a corpus, always the same way.
pub struct Mutator {
    corpus: Vec<Vec<u8>>,
    random: Rng,
}

impl Mutator {
    /// Begins with these; not empty.
    pub fn new(corpus: Vec<Vec<u8>>) -> Self {
        Self { corpus, random: Rng::with_seed(0x5EED) }
    }

    /// The next input.
    pub fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.any().to_vec();
        for _ in 0..self.random.usize(1..=CHANGES_MAX) {
            self.change(&mut bytes);
        }
        if self.random.u32(..ONE_LARGE_OF) == 0 {
            let piece = bytes[self.range(&bytes)].to_vec();
            let at = self.random.usize(..=bytes.len());
            let times = INPUT_MAX_BYTES / piece.len().max(1);
            drop(bytes.splice(at..at, piece.repeat(times)));
        }
        bytes.truncate(INPUT_MAX_BYTES);
        bytes
    }

    fn any(&mut self) -> &[u8] {
        let index = self.random.usize(..self.corpus.len());
        &self.corpus[index]
    }

    /// A piece: mostly a short one, sometimes up to all.
    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let begin = self.random.usize(..=bytes.len());
        let most = bytes.len() - begin;
        let length = if self.random.u8(..8) == 0 { most } else { most.min(40) };
        begin..begin + self.random.usize(..=length)
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let range = self.range(bytes);
        let at = range.start;
        match self.random.u8(..7) {
            0 => drop(bytes.drain(range)),
            1 => {
                let word = WORDS[self.random.usize(..WORDS.len())];
                drop(bytes.splice(range, word.iter().copied()));
            }
            2 => {
                let piece = bytes[range].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            3 => {
                let other = self.any().to_vec();
                let piece = self.range(&other);
                drop(bytes.splice(range, other[piece].iter().copied()));
            }
            4 => bytes[range].iter_mut().for_each(|byte| *byte ^= 0x20),
            5 => bytes[range].reverse(),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.random.u8(..8);
                }
            }
        }
    }
}
