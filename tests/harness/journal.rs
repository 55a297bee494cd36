//! An independent reader of an agent's journal, from the words of its specification alone; what it cannot read fails the
//! test, for nothing here is damaged.

use std::path::Path;

/// What became of a due attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// It was ok.
    Ok,
    /// It failed.
    Failed,
    /// It was spoiled, or never started.
    Ours,
}

/// An attempt that the journal knows: probe, scheduled instant (Unix ns), and what became of it.
pub type Attempt = (String, u64, Became);

/// All attempts of the journal in a folder, in the order in which they landed; none where there is no folder. A last
/// entry that is not whole was being written when the agent was killed.
pub fn attempts(dir: &Path) -> Vec<Attempt> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("is there").path()).collect();
    files.sort();
    files.iter().flat_map(|file| of_file(&std::fs::read(file).expect("is read"))).collect()
}

fn of_file(bytes: &[u8]) -> Vec<Attempt> {
    let Some((header, mut rest)) = bytes.split_at_checked(16) else { return Vec::new() };
    assert_eq!(&header[..12], b"PFJOURN\0\x01\0\0\0", "a journal of version 1");
    let (mut series, mut attempts) = (Vec::new(), Vec::new());
    while rest.len() >= 8 {
        let len = u32::from_le_bytes(rest[..4].try_into().expect("four bytes")) as usize;
        let Some(body) = rest.get(8..8 + len) else { break };
        rest = &rest[8 + len..];
        match body[0] {
            1 => series.push(String::from_utf8(body[17..].to_vec()).expect("a name")),
            kind @ 3..=6 => {
                let mut numbers = body[1..].iter();
                let [probe, _window_s, scheduled_ns] =
                    std::array::from_fn(|_| varint(&mut numbers));
                let became = match kind {
                    3 => Became::Ok,
                    4 => Became::Failed,
                    _ => Became::Ours,
                };
                attempts.push((series[probe as usize].clone(), scheduled_ns, became));
            }
            2 | 7 => {}
            kind => panic!("no entry is of kind {kind}"),
        }
    }
    attempts
}

fn varint<'a>(bytes: &mut impl Iterator<Item = &'a u8>) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = u64::from(*bytes.next().expect("is whole"));
        number |= (byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
        shift += 7;
    }
}
