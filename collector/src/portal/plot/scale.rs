//! Scales and ticks: from instants and durations to places in a picture, in percent of its width and height.
//!
//! A picture's size is known to the browser only. So places are percentages, and texts keep the size of the page's text
//! on a phone, a screen and on paper.

use crate::contract::period::Span;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use probefleet_proto::units::duration_text;

/// Most ticks of the time axis: on a phone, so many times of day stand beside each other without touching.
const TIME_TICKS_MAX: i64 = 4;
/// Distances of ticks on the time axis, from the least: what divides an hour, a day or a year evenly.
const TIME_STEPS: [Step; 22] = [
    Step::Seconds(10),
    Step::Seconds(30),
    Step::Seconds(60),
    Step::Seconds(120),
    Step::Seconds(300),
    Step::Seconds(600),
    Step::Seconds(900),
    Step::Seconds(1_800),
    Step::Seconds(3_600),
    Step::Seconds(7_200),
    Step::Seconds(10_800),
    Step::Seconds(21_600),
    Step::Seconds(43_200),
    Step::Days(1),
    Step::Days(2),
    Step::Days(7),
    Step::Days(14),
    Step::Months(1),
    Step::Months(2),
    Step::Months(3),
    Step::Months(6),
    Step::Months(12),
];
/// How near to an end of the axis a label would stick out, in percent.
const EDGE_PERCENT: f64 = 7.0;
/// Intervals on a linear axis, about.
const LINEAR_INTERVALS: f64 = 4.0;
/// A spread from the least to the largest value beyond which a linear axis would press the small ones flat.
const LOGARITHMIC_FROM: u64 = 30;

/// Ticks of a logarithmic axis; of more, only powers of ten are kept.
const LOGARITHMIC_TICKS_MAX: usize = 7;
/// No axis is finer: clocks are not, and ticks stay whole numbers.
const LEAST_NS: u64 = 1_000;

/// A mark on an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::portal) struct Tick {
    /// Where, in percent.
    pub(in crate::portal) at: String,
    /// What it says.
    pub(in crate::portal) text: String,
    /// On which side of the mark the text stands: `first`, `middle` or `last` of the axis.
    pub(in crate::portal) class: &'static str,
}

/// A place as it stands in a picture: two decimals are a tenth of a pixel.
pub(in crate::portal) fn place(percent: f64) -> String {
    format!("{percent:.2}")
}

// === time ===

/// The time axis, from left to right.
#[derive(Clone, Copy, Debug)]
pub(in crate::portal) struct Times(pub(in crate::portal) Span);

impl Times {
    /// Where an instant lies.
    pub(in crate::portal) fn x(self, instant_s: i64) -> f64 {
        let whole_s = (self.0.until_s - self.0.from_s).max(1);
        (instant_s - self.0.from_s) as f64 * 100.0 / whole_s as f64
    }

    /// Round times of day, days or months in a zone.
    pub(in crate::portal) fn ticks(self, zone: &TimeZone) -> Vec<Tick> {
        let whole_s = self.0.until_s - self.0.from_s;
        let fits = |step: &&Step| whole_s / step.about_s() <= TIME_TICKS_MAX;
        let [.., longest] = TIME_STEPS;
        let step = TIME_STEPS.iter().find(fits).copied().unwrap_or(longest);
        let Ok(from) = Timestamp::from_second(self.0.from_s) else { return Vec::new() };
        let mut ticks = Vec::new();
        let mut next = step.first(&from.to_zoned(zone.clone()));
        while let Some(at) = next.filter(|at| at.timestamp().as_second() <= self.0.until_s) {
            let x = self.x(at.timestamp().as_second());
            let class = match x {
                ..EDGE_PERCENT => "first",
                x if x > 100.0 - EDGE_PERCENT => "last",
                _ => "middle",
            };
            let text = at.strftime(step.format()).to_string();
            ticks.push(Tick { at: place(x), text, class });
            next = step.after(&at);
        }
        ticks
    }
}

/// A distance of ticks on the time axis. Days and months are not equally long everywhere.
#[derive(Clone, Copy, Debug)]
enum Step {
    Seconds(i64),
    Days(i64),
    Months(i8),
}

// === impl Step ===

impl Step {
    fn about_s(self) -> i64 {
        match self {
            Self::Seconds(seconds) => seconds,
            Self::Days(days) => days * 86_400,
            Self::Months(months) => i64::from(months) * 30 * 86_400,
        }
    }

    fn format(self) -> &'static str {
        match self {
            Self::Seconds(..60) => "%H:%M:%S",
            Self::Seconds(_) => "%H:%M",
            Self::Days(_) => "%-d %b",
            Self::Months(..12) => "%b",
            Self::Months(_) => "%Y",
        }
    }

    /// The first tick that is not before an instant.
    fn first(self, from: &Zoned) -> Option<Zoned> {
        let midnight = || from.start_of_day().ok();
        match self {
            Self::Seconds(step_s) => {
                // From midnight on, so that it is round in the zone.
                let since_s = from.timestamp().as_second() - midnight()?.timestamp().as_second();
                let missing_s = (step_s - since_s.rem_euclid(step_s)) % step_s;
                from.checked_add(SignedDuration::from_secs(missing_s)).ok()
            }
            Self::Days(_) => {
                let midnight = midnight()?;
                if midnight == *from { Some(midnight) } else { midnight.tomorrow().ok() }
            }
            Self::Months(step) => {
                let first = from.first_of_month().ok()?.start_of_day().ok()?;
                let round = |at: &Zoned| (at.month() - 1) % step == 0 && at >= from;
                let mut months =
                    (0..=12_i64).map(|months| first.checked_add(jiff::Span::new().months(months)));
                months.find_map(|at| at.ok().filter(round))
            }
        }
    }

    fn after(self, at: &Zoned) -> Option<Zoned> {
        let next = match self {
            Self::Seconds(seconds) => at.checked_add(SignedDuration::from_secs(seconds)),
            Self::Days(days) => at.checked_add(jiff::Span::new().days(days)),
            Self::Months(months) => at.checked_add(jiff::Span::new().months(months)),
        };
        next.ok()
    }
}

// === durations ===

/// The axis of durations, from the bottom up: linear from zero, or logarithmic where the spread needs it.
#[derive(Clone, Copy, Debug)]
pub(in crate::portal) struct Durations {
    bottom_ns: f64,
    top_ns: f64,
    /// Distance of the ticks of a linear axis, ns; `None` for a logarithmic one.
    step_ns: Option<f64>,
}

impl Durations {
    /// An axis on which durations from the least to the largest have room; ns.
    pub(in crate::portal) fn fitting(least_ns: u64, largest_ns: u64) -> Self {
        let (least_ns, largest_ns) = (least_ns.max(LEAST_NS), largest_ns.max(LEAST_NS));
        let (least, largest) = (least_ns as f64, largest_ns as f64);
        if largest_ns / least_ns >= LOGARITHMIC_FROM {
            return Self { bottom_ns: round_down(least), top_ns: round_up(largest), step_ns: None };
        }
        let step_ns = round_up(largest / LINEAR_INTERVALS);
        let top_ns = (largest / step_ns).ceil() * step_ns;
        Self { bottom_ns: 0.0, top_ns, step_ns: Some(step_ns) }
    }

    /// Whether equal distances are equal ratios.
    pub(in crate::portal) fn is_logarithmic(self) -> bool {
        self.step_ns.is_none()
    }

    /// Where a duration lies, from the top.
    pub(in crate::portal) fn y(self, ns: u64) -> f64 {
        let ns = (ns as f64).clamp(self.bottom_ns, self.top_ns);
        let share = match self.step_ns {
            None => (ns / self.bottom_ns).log10() / (self.top_ns / self.bottom_ns).log10(),
            Some(_) => ns / self.top_ns,
        };
        100.0 - share * 100.0
    }

    /// Round durations, from the bottom up.
    pub(in crate::portal) fn ticks(self) -> Vec<Tick> {
        let tick = |value: f64| {
            let ns = whole_ns(value);
            Tick { at: place(self.y(ns)), text: duration_text(ns), class: "middle" }
        };
        self.values().into_iter().map(tick).collect()
    }

    fn values(self) -> Vec<f64> {
        // Sums and products of floats are not exact.
        let most = self.top_ns * 1.001;
        let mut values = Vec::new();
        let mut value = self.bottom_ns;
        while value <= most {
            values.push(value);
            value = self.step_ns.map_or_else(|| round_up(value * 1.5), |step_ns| value + step_ns);
        }
        if self.is_logarithmic() && values.len() > LOGARITHMIC_TICKS_MAX {
            values.retain(|value| decade(*value) >= *value * 0.999);
        }
        values
    }
}

/// The next of 1, 2, 5, 10, 20, … that is not smaller.
fn round_up(value: f64) -> f64 {
    let decade = decade(value);
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| value <= step * decade * 1.000_001);
    step.unwrap_or(10.0) * decade
}

/// The last of 1, 2, 5, 10, 20, … that is not larger.
fn round_down(value: f64) -> f64 {
    let decade = decade(value);
    let step = [5.0, 2.0].into_iter().find(|step| value >= step * decade * 0.999_999);
    step.unwrap_or(1.0) * decade
}

/// The power of ten that is not larger.
fn decade(value: f64) -> f64 {
    10_f64.powf((value.log10() + 1e-9).floor())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ticks lie between zero and an hour or two in ns, far inside both types"
)]
fn whole_ns(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.text.as_str()).collect()
    }

    #[test]
    fn durations_near_each_other_are_linear_from_zero() {
        let axis = Durations::fitting(40_000_000, 260_000_000);
        assert_eq!(texts(&axis.ticks()), ["0s", "100ms", "200ms", "300ms"]);
        assert_eq!(place(axis.y(300_000_000)), "0.00");
        assert_eq!(place(axis.y(150_000_000)), "50.00");
        assert_eq!(place(axis.y(0)), "100.00");
        assert_eq!(place(axis.y(9_000_000_000)), "0.00", "never outside");
        assert_eq!(texts(&Durations::fitting(0, 0).ticks()), ["0s", "500ns", "1us"]);
        let seconds = Durations::fitting(1_000_000_000, 1_900_000_000);
        assert_eq!(texts(&seconds.ticks()), ["0s", "500ms", "1s", "1.5s", "2s"]);
    }

    #[test]
    fn durations_far_apart_are_logarithmic() {
        let axis = Durations::fitting(700_000, 2_000_000_000);
        assert!(axis.is_logarithmic());
        assert_eq!(texts(&axis.ticks()), ["1ms", "10ms", "100ms", "1s"]);
        assert_eq!(place(axis.y(500_000)), "100.00");
        assert_eq!(place(axis.y(2_000_000_000)), "0.00");
        assert_eq!(place(axis.y(1)), "100.00");
        let narrow = Durations::fitting(42_000_000, 1_300_000_000);
        assert_eq!(texts(&narrow.ticks()), ["20ms", "50ms", "100ms", "200ms", "500ms", "1s", "2s"]);
        assert_eq!(place(narrow.y(200_000_000)), "50.00");
    }

    #[test]
    fn times_are_round_in_their_zone() {
        // 13:30 UTC is 19:00 in Kolkata.
        let from_s = 1_800_019_800;
        let times = Times(Span { from_s, until_s: from_s + 1_800 });
        let kolkata = TimeZone::get("Asia/Kolkata").expect("in the zone database");
        let ticks = times.ticks(&kolkata);
        assert_eq!(texts(&ticks), ["19:00", "19:10", "19:20", "19:30"]);
        assert_eq!(ticks.iter().map(|tick| tick.class).collect::<Vec<_>>()[0], "first");
        assert_eq!(
            ticks.last().map(|tick| (tick.at.as_str(), tick.class)),
            Some(("100.00", "last"))
        );
        let short = Times(Span { from_s: from_s + 5, until_s: from_s + 45 });
        assert_eq!(
            texts(&short.ticks(&TimeZone::UTC)),
            ["13:30:10", "13:30:20", "13:30:30", "13:30:40"]
        );
        assert_eq!(
            texts(&Times(Span { from_s, until_s: from_s }).ticks(&TimeZone::UTC)),
            ["13:30:00"]
        );
    }

    #[test]
    fn days_and_months_begin_at_midnight_of_their_zone() {
        let berlin = TimeZone::get("Europe/Berlin").expect("in the zone database");
        // March 2026 in Berlin: the clocks go forward on the 29th.
        let march = Span { from_s: 1_772_319_600, until_s: 1_774_994_400 };
        let ticks = Times(march).ticks(&berlin);
        assert_eq!(texts(&ticks), ["1 Mar", "8 Mar", "15 Mar", "22 Mar", "29 Mar"]);
        let year = Span { from_s: 1_767_222_000, until_s: 1_798_758_000 };
        let ticks = Times(year).ticks(&berlin);
        assert_eq!(texts(&ticks), ["Jan", "Apr", "Jul", "Oct", "Jan"]);
        assert_eq!(ticks.last().map(|tick| tick.at.as_str()), Some("100.00"));
        let decade = Span { from_s: 1_767_222_000, until_s: 1_767_222_000 + 10 * 31_557_600 };
        assert!(Times(decade).ticks(&berlin).len() <= 11);
    }
}
