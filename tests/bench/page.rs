//! Pages: how long one takes with a day of history, and with thirty.

use crate::table::{Table, figure};
use harness::history::{Historian, p99};
use std::time::{Duration, Instant};

/// Histories that are compared, in days.
const DAYS: [u64; 2] = [1, 30];
/// Pages that are fetched.
const PAGES: [&str; 3] = ["/", "/agreements/shop", "/agents"];
const MIB: f64 = 1_048_576.0;

/// The table.
pub fn measure(window: Duration) -> anyhow::Result<Vec<Table>> {
    let mut table = Table::new(
        "Pages: a year's agreement with two objectives, 3 agents, windows of a minute",
        &["records", "requests", "median ms", "p99 ms", "KiB", "RSS MiB"],
    );
    for days in DAYS {
        let historian = Historian::start(days);
        for path in PAGES {
            let (mut times, mut size) = (Vec::new(), 0);
            let began = Instant::now();
            while began.elapsed() < window {
                let (took, bytes) = historian.time(path);
                times.push(took);
                size = bytes;
            }
            times.sort();
            let ms = |time: Duration| figure(time.as_secs_f64() * 1e3, 2);
            table.row(
                &format!("{path} after {days} d"),
                &[
                    figure(historian.records as f64, 0),
                    figure(times.len() as f64, 0),
                    ms(times[times.len() / 2]),
                    ms(p99(times)),
                    figure(size as f64 / 1024.0, 1),
                    figure(historian.rss_bytes() as f64 / MIB, 1),
                ],
            );
        }
    }
    table.note("one request after the other, each over a connection of its own, while the collector goes on judging");
    table.note("a page is made from what was judged last: its time and size should not depend on the history");
    Ok(vec![table])
}
