//! The pictures of an objective: its latencies over time, and its states by window.
//!
//! Drawn by compile-time templates (`plot.html`, `strip.html`) with classes only: the charting crates looked at
//! (plotters, charts-rs, poloto) write colours, sizes or styles into the picture, which a strict content security policy,
//! dark mode and paper all rule out. Everything a picture shows also stands in its `<desc>`, and per window in a
//! `<title>` that appears under the pointer.

pub(super) mod scale;

use super::words;
use crate::contract::period::Span;
use crate::sla::states::States;
use crate::sla::verdict::Seconds;
use crate::timeline::{Course, Latency, Point};
use crate::verdict::words::counted;
use jiff::tz::TimeZone;
use probefleet_proto::units::{duration_text, seconds_text};
use scale::{Durations, Tick, Times, place};
use std::fmt::Write as _;

/// Fewest windows that the time axis has room for, so that the first few do not fill the picture.
const WINDOWS_LEAST: i64 = 30;
/// Most stretches that a whole period is cut into for its strip.
const STRETCHES_MAX: i64 = 180;
/// Least width of a cell, in percent: what was Down is never too small to be seen.
const CELL_LEAST: f64 = 0.3;
/// What is left free between two cells of a strip, in percent of its width; of narrow cells a seventh.
const CELL_GAP: f64 = 0.08;

/// A percentile of a window.
type Percentile = fn(&Latency) -> u64;

/// The percentiles that are drawn, each a line of its own kind.
const LINES: [(&str, Percentile); 3] = [
    ("p50", |latency| latency.p50_ns),
    ("p95", |latency| latency.p95_ns),
    ("p99", |latency| latency.p99_ns),
];

/// Latencies over time.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) desc: String,
    pub(super) lines: Vec<Line>,
    pub(super) threshold: Option<Tick>,
    pub(super) durations: Vec<Tick>,
    pub(super) times: Vec<Tick>,
    pub(super) windows: Vec<WindowMark>,
}

/// One percentile.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// Path in a square of 1000; it breaks where there is no sample.
    pub(super) path: String,
    /// The latest value.
    pub(super) latest: String,
}

/// What stands under the pointer of one window.
pub(super) struct WindowMark {
    pub(super) x: String,
    pub(super) width: String,
    pub(super) middle: String,
    /// Where its 95th percentile lies.
    pub(super) point: Option<String>,
    pub(super) failed: bool,
    pub(super) title: String,
}

/// States side by side.
pub(super) struct Strip {
    pub(super) title: String,
    pub(super) desc: String,
    pub(super) cells: Vec<StripCell>,
    /// Marks of time, where no plot above has them.
    pub(super) times: Vec<Tick>,
}

/// One state of a strip.
pub(super) struct StripCell {
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) width: String,
    /// Top and height, in percent.
    pub(super) y: u8,
    pub(super) height: u8,
    pub(super) title: String,
}

/// The time that is drawn of an objective's latest windows.
fn drawn(course: &Course) -> Span {
    let least_s = WINDOWS_LEAST * i64::from(course.width_s);
    Span { from_s: course.span.from_s.min(course.span.until_s - least_s), ..course.span }
}

fn width_percent(times: Times, stretch: Span) -> f64 {
    times.x(stretch.until_s) - times.x(stretch.from_s)
}

/// The window of a point.
fn window(course: &Course, point: &Point) -> Span {
    Span { from_s: point.start_s, until_s: point.start_s + i64::from(course.width_s) }
}

// === impl Plot ===

impl Plot {
    /// The plot of an objective's latest windows, times in the agreement's zone.
    pub(super) fn new(course: &Course, zone: &TimeZone) -> Self {
        let times = Times(drawn(course));
        let latencies = || course.points.iter().filter_map(|point| point.latency);
        let least_ns = latencies().map(|it| it.p50_ns).chain(course.threshold_ns).min();
        let largest_ns = latencies().map(|it| it.p99_ns).chain(course.threshold_ns).max();
        let durations = Durations::fitting(
            least_ns.unwrap_or_default(),
            // Without any value, a second is as good as anything.
            largest_ns.unwrap_or(1_000_000_000),
        );
        let lines = LINES.into_iter().map(|(name, value)| Line {
            name,
            path: path(course, times, durations, value),
            latest: latencies()
                .next_back()
                .map_or_else(|| "–".to_owned(), |latency| words::milliseconds(value(&latency))),
        });
        let marks = course.points.iter().map(|point| mark(course, point, (times, durations), zone));
        Self {
            title: format!("Latency of {}", course.phase),
            desc: described(course, durations.is_logarithmic()),
            lines: lines.collect(),
            threshold: course.threshold_ns.map(|ns| Tick {
                at: place(durations.y(ns)),
                text: format!("at most {}", duration_text(ns)),
                class: "middle",
            }),
            durations: durations.ticks(),
            times: times.ticks(zone),
            windows: marks.collect(),
        }
    }
}

/// A line through the middle of every window with samples; windows without break it.
fn path(course: &Course, times: Times, durations: Durations, value: Percentile) -> String {
    let mut path = String::new();
    let mut before: Option<i64> = None;
    for point in &course.points {
        let Some(latency) = point.latency else { continue };
        let joined = before == Some(point.start_s);
        let (x, y) = (middle(course, point, times) * 10.0, durations.y(value(&latency)) * 10.0);
        // A point without neighbours is a line of no length: its round ends make it a dot.
        let end = if joined { "" } else { "h0" };
        let letter = if joined { 'L' } else { 'M' };
        // Writing to a String cannot fail.
        let _infallible = write!(path, "{letter}{x:.1} {y:.1}{end}");
        before = Some(window(course, point).until_s);
    }
    path
}

fn middle(course: &Course, point: &Point, times: Times) -> f64 {
    let window = window(course, point);
    times.x(window.from_s) + width_percent(times, window) / 2.0
}

fn mark(
    course: &Course,
    point: &Point,
    (times, durations): (Times, Durations),
    zone: &TimeZone,
) -> WindowMark {
    let window = window(course, point);
    WindowMark {
        x: place(times.x(window.from_s)),
        width: place(width_percent(times, window)),
        middle: place(middle(course, point, times)),
        point: point.latency.map(|latency| place(durations.y(latency.p95_ns))),
        failed: point.attempts.failed > 0,
        title: format!("{}: {}", words::stretch(window, zone), told(point)),
    }
}

/// A window in words.
fn told(point: &Point) -> String {
    let attempts = point.attempts;
    let mut text = format!("{} ok", attempts.ok);
    if attempts.failed > 0 {
        let kinds = point.failures.iter().map(|(kind, count)| format!("{kind} ×{count}"));
        let kinds: Vec<String> = kinds.collect();
        let kinds =
            if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
        let _infallible = write!(text, ", {} failed{kinds}", attempts.failed);
    }
    if attempts.invalid + attempts.missed > 0 {
        let _infallible = write!(text, ", {} not counted", attempts.invalid + attempts.missed);
    }
    if let Some(latency) = point.latency {
        for (name, value) in LINES {
            let _infallible = write!(text, ", {name} {}", words::milliseconds(value(&latency)));
        }
    }
    text
}

/// The plot in words, for those who do not see it.
fn described(course: &Course, logarithmic: bool) -> String {
    let windows = u64::try_from(course.points.len()).unwrap_or(u64::MAX);
    let mut text = format!(
        "Percentiles of the phase {} in {} of {}",
        course.phase,
        counted(windows, "window"),
        seconds_text(course.width_s.into())
    );
    let p95 = || course.points.iter().filter_map(|point| point.latency).map(|it| it.p95_ns);
    match (p95().min(), p95().max(), p95().next_back()) {
        (Some(least), Some(largest), Some(last)) => {
            let [least, largest, last] = [least, largest, last].map(words::milliseconds);
            let _infallible =
                write!(text, "; p95 from {least} to {largest}, in the latest window {last}");
        }
        _ => text.push_str("; no attempt was ok yet"),
    }
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    if let Some(threshold_ns) = course.threshold_ns {
        let over = number(p95().filter(|ns| *ns > threshold_ns).count());
        let limit = duration_text(threshold_ns);
        let _infallible = write!(text, "; p95 above {limit} in {}", counted(over, "window"));
    }
    let gaps = number(course.points.iter().filter(|point| point.latency.is_none()).count());
    let failing = number(course.points.iter().filter(|point| point.attempts.failed > 0).count());
    let _infallible = write!(
        text,
        "; attempts failed in {}; {} without an ok attempt",
        counted(failing, "window"),
        counted(gaps, "window")
    );
    text.push_str(if logarithmic { ". Logarithmic scale." } else { "." });
    text
}

// === impl Strip ===

impl Strip {
    /// One cell for each of an objective's latest windows; `states` of all its periods that are shown.
    pub(super) fn of_windows(course: &Course, states: &[&States], zone: &TimeZone) -> Self {
        let times = Times(drawn(course));
        let mut sum = Seconds::default();
        let mut cells = Vec::new();
        for window in pieces(course.span, i64::from(course.width_s)) {
            let of_periods = states.iter().map(|states| states.seconds(window));
            let seconds = of_periods.fold(Seconds::default(), |sum, part| add(&sum, &part));
            sum = add(&sum, &seconds);
            let state = Shown::of(&seconds);
            let title = format!("{}: {}", words::stretch(window, zone), state.word());
            cells.push(state.cell(window, times, title));
        }
        let desc = format!("The latest windows: {}.", words::time(&sum));
        Self { title: "Availability by window".to_owned(), desc, cells, times: Vec::new() }
    }

    /// A whole period in stretches of equal state, and on it what was Down; width of a window in s.
    pub(super) fn of_period(period: Span, width_s: u32, states: &States, zone: &TimeZone) -> Self {
        let width_s = i64::from(width_s).max(1);
        let windows = (period.until_s - period.from_s).div_euclid(width_s).max(1);
        let step_s = (windows + STRETCHES_MAX - 1).div_euclid(STRETCHES_MAX) * width_s;
        let mut runs: Vec<(Shown, Span)> = Vec::new();
        let mut downs: Vec<Span> = Vec::new();
        for piece in pieces(period, step_s) {
            let state = Shown::ground(&states.seconds(piece));
            match runs.last_mut() {
                Some((last, run)) if *last == state => run.until_s = piece.until_s,
                _ => runs.push((state, piece)),
            }
            let down = states.down.within(piece).hull();
            match (downs.last_mut(), down) {
                (Some(last), Some(down)) if last.until_s == down.from_s => {
                    last.until_s = down.until_s
                }
                (_, down) => downs.extend(down),
            }
        }
        let ground = runs.into_iter().filter(|(state, _)| *state != Shown::Outside);
        let downs = downs.into_iter().map(|down| (Shown::Down, down));
        let cells = ground.chain(downs).map(|(state, run)| {
            let told = words::time(&states.seconds(run));
            state.cell(run, Times(period), format!("{}: {told}", words::long_stretch(run, zone)))
        });
        let (cells, times) = (cells.collect(), Times(period).ticks(zone));
        let desc = format!("{}.", words::time(&states.seconds(period)));
        Self { title: "The whole period".to_owned(), desc, cells, times }
    }
}

/// A stretch cut into pieces of so many seconds; the last may be shorter.
fn pieces(whole: Span, step_s: i64) -> impl Iterator<Item = Span> {
    let step_s = step_s.max(1);
    let starts = (0..).map(move |number| whole.from_s + number * step_s);
    let starts = starts.take_while(move |from_s| *from_s < whole.until_s);
    starts.map(move |from_s| Span { from_s, until_s: (from_s + step_s).min(whole.until_s) })
}

fn add(a: &Seconds, b: &Seconds) -> Seconds {
    Seconds {
        eligible: a.eligible + b.eligible,
        up: a.up + b.up,
        down: a.down + b.down,
        unknown: a.unknown + b.unknown,
        excluded: a.excluded + b.excluded,
        remaining: None,
    }
}

/// What a stretch is shown as: the worst that is known of it; Unknown where most of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Up,
    Down,
    Unknown,
    Excluded,
    /// No second of it counts.
    Outside,
}

// === impl Shown ===

impl Shown {
    fn of(seconds: &Seconds) -> Self {
        if seconds.down > 0 { Self::Down } else { Self::ground(seconds) }
    }

    /// The state on which Down time is drawn.
    fn ground(seconds: &Seconds) -> Self {
        match seconds {
            Seconds { eligible: 0, excluded: 1.., .. } => Self::Excluded,
            Seconds { eligible: 0, .. } => Self::Outside,
            Seconds { eligible, unknown, .. } if unknown * 2 > *eligible => Self::Unknown,
            Seconds { .. } => Self::Up,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unknown => "unknown",
            Self::Excluded => "excluded",
            Self::Outside => "does not count",
        }
    }

    /// The state by shape as well as by colour: top and height in the strip, in percent.
    fn cell(self, stretch: Span, times: Times, title: String) -> StripCell {
        let (class, y, height) = match self {
            Self::Up => ("up", 50, 50),
            Self::Down => ("down", 0, 100),
            Self::Unknown => ("unknown", 80, 20),
            Self::Excluded => ("excluded", 65, 35),
            Self::Outside => ("outside", 94, 6),
        };
        let whole = width_percent(times, stretch);
        let width = (whole - CELL_GAP.min(whole / 7.0)).max(CELL_LEAST);
        StripCell {
            class,
            x: place(times.x(stretch.from_s)),
            width: place(width),
            y,
            height,
            title,
        }
    }
}

#[cfg(test)]
mod tests;
