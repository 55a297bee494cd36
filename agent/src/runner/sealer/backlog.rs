//! Records that wait in memory for the disk, within a bound. Pure.

use super::Waiting;
use crate::spool::Lost;
use probefleet_proto::record::Kind;
use std::collections::VecDeque;
use tracing::error;

/// Most bytes of records that wait for a disk that takes none: an hour of 50 probes in windows of 10 s, and little beside what
/// an agent takes anyway, so that it goes on measuring on a machine whose disk is gone for good.
pub const WAITING_MAX_BYTES: usize = 8 << 20;

/// Something to be written at once, and how many of the windows that came are durable with it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) windows: u64,
}

#[derive(Debug)]
pub(super) enum Work {
    Record(Kind, Vec<u8>),
    /// A gap for what gave way.
    Lost(Lost),
}

#[derive(Debug)]
struct Record {
    kind: Kind,
    payload: Vec<u8>,
    /// It is the last one of a window.
    ends_window: bool,
}

impl Record {
    /// Small ones are many.
    const fn bytes(&self) -> usize {
        self.payload.capacity() + size_of::<Self>()
    }
}

/// What waits, in order.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    records: VecDeque<Record>,
    bytes: usize,
    /// What gave way, and how many windows ended in it: older than all that waits.
    lost: Option<(Lost, u64)>,
}

impl Backlog {
    pub(super) fn push_window(&mut self, payloads: Vec<Vec<u8>>) {
        let last = payloads.len().saturating_sub(1);
        for (index, payload) in payloads.into_iter().enumerate() {
            self.push(Record { kind: Kind::Report, payload, ends_window: index == last });
        }
    }

    pub(super) fn push_event(&mut self, payload: Vec<u8>) {
        self.push(Record { kind: Kind::Event, payload, ends_window: false });
    }

    fn push(&mut self, record: Record) {
        self.bytes += record.bytes();
        self.records.push_back(record);
    }

    fn pop(&mut self) -> Option<Record> {
        let record = self.records.pop_front()?;
        self.bytes -= record.bytes();
        Some(record)
    }

    pub(super) const fn is_full(&self) -> bool {
        self.bytes >= WAITING_MAX_BYTES
    }

    /// Comes back below the bound: the oldest records give way.
    pub(super) fn give_way(&mut self) {
        while self.bytes > WAITING_MAX_BYTES {
            let Some(Record { kind, payload, ends_window }) = self.pop() else { return };
            let (lost, windows) = self.lost.get_or_insert_with(|| {
                error!("nothing can be written and no more may wait in memory: the oldest reports are lost; a gap will count them");
                Default::default()
            });
            lost.add(kind, payload);
            *windows += u64::from(ends_window);
        }
    }

    pub(super) fn next_job(&mut self) -> Option<Job> {
        if let Some((lost, windows)) = self.lost.take() {
            return Some(Job { work: Work::Lost(lost), windows });
        }
        let Record { kind, payload, ends_window } = self.pop()?;
        Some(Job { work: Work::Record(kind, payload), windows: u64::from(ends_window) })
    }

    pub(super) fn waiting(&self) -> Waiting {
        let lost_reports = self.lost.as_ref().map_or(0, |(lost, _)| lost.reports());
        Waiting { bytes: self.bytes, lost_reports }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_give_way_and_every_window_is_counted_once() {
        let mut backlog = Backlog::default();
        let mebibyte = || vec![0; 1 << 20];
        for _ in 0..10 {
            backlog.push_window(vec![mebibyte(), mebibyte()]);
            backlog.push_event(vec![1]);
        }
        assert!(backlog.is_full());
        assert_eq!(backlog.waiting().lost_reports, 0, "a disk that is slow is waited for");
        backlog.give_way();
        let Waiting { bytes, lost_reports } = backlog.waiting();
        assert!(bytes <= WAITING_MAX_BYTES && bytes > WAITING_MAX_BYTES - (2 << 20), "{bytes}");
        assert_eq!(lost_reports, 13);
        let lost = backlog.next_job().expect("a gap goes first");
        assert!(matches!(lost.work, Work::Lost(_)), "{lost:?}");
        let (mut windows, mut reports) = (lost.windows, 0);
        assert_eq!(windows, 6, "of the seventh a part is lost, and it is not over");
        while let Some(job) = backlog.next_job() {
            windows += job.windows;
            reports += u64::from(matches!(job.work, Work::Record(Kind::Report, _)));
        }
        assert_eq!((windows, reports), (10, 7));
        assert_eq!(backlog.waiting(), Waiting::default());
    }
}
