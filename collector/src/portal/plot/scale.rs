//! Scales and ticks: from instants and durations to places in a picture, in percent of its width and height.
//!
//! A picture's size is known to the browser only. So places are percentages, and texts keep the size of the page's text
//! on a phone, a screen and on paper.

use crate::contract::period::Span;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use probefleet_proto::units::duration_text;

/// Most ticks of the time axis: on a phone, so many times of day stand beside each other without touching.
const TIME_TICKS_MAX: i64 = 4;
/// Distances of ticks on the time axis, s: what divides an hour or a day evenly.
const TIME_STEPS_S: [i64; 15] =
    [10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 604_800];
/// Distances that labels would lie in the picture's edge within, in percent.
const EDGE_PERCENT: f64 = 7.0;
/// Intervals on a linear axis, about.
const LINEAR_INTERVALS: f64 = 4.0;
/// A spread from the least to the largest value beyond which a linear axis would press the small ones flat.
const LOGARITHMIC_FROM: u64 = 30;

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

    /// Round times of day in a zone.
    pub(in crate::portal) fn ticks(self, zone: &TimeZone) -> Vec<Tick> {
        let Span { from_s, until_s } = self.0;
        let fits = |step_s: &&i64| (until_s - from_s) / **step_s <= TIME_TICKS_MAX;
        let step_s = TIME_STEPS_S.iter().find(fits).copied().unwrap_or((until_s - from_s).max(1));
        let format = match step_s {
            ..60 => "%H:%M:%S",
            60..86_400 => "%H:%M",
            _ => "%d %b",
        };
        let Ok(first) = Timestamp::from_second(from_s) else { return Vec::new() };
        let offset_s = i64::from(zone.to_offset(first).seconds());
        let first_s = (from_s + offset_s + step_s - 1).div_euclid(step_s) * step_s - offset_s;
        let instants = (0..).map(|number| first_s + number * step_s);
        let inside = instants.take_while(|instant_s| *instant_s <= until_s);
        let tick = |instant_s: i64| {
            let at = Timestamp::from_second(instant_s).ok()?.to_zoned(zone.clone());
            let x = self.x(instant_s);
            let class = match x {
                ..EDGE_PERCENT => "first",
                x if x > 100.0 - EDGE_PERCENT => "last",
                _ => "middle",
            };
            Some(Tick { at: place(x), text: at.strftime(format).to_string(), class })
        };
        inside.filter_map(tick).collect()
    }
}

// === durations ===

/// The axis of durations, from the bottom up: linear from zero, or logarithmic where the spread needs it.
#[derive(Clone, Copy, Debug)]
pub(in crate::portal) struct Durations {
    bottom_ns: f64,
    top_ns: f64,
    /// Distance of the ticks of a linear axis, ns.
    step_ns: f64,
    logarithmic: bool,
}

impl Durations {
    /// An axis on which durations from the least to the largest have room; ns.
    pub(in crate::portal) fn fitting(least_ns: u64, largest_ns: u64) -> Self {
        let (least_ns, largest_ns) = (least_ns.max(LEAST_NS), largest_ns.max(LEAST_NS));
        let (least, largest) = (least_ns as f64, largest_ns as f64);
        if largest_ns / least_ns >= LOGARITHMIC_FROM {
            let bottom_ns = 10_f64.powf(least.log10().floor());
            let top_ns = 10_f64.powf(largest.log10().ceil());
            return Self { bottom_ns, top_ns, step_ns: 0.0, logarithmic: true };
        }
        let step_ns = round_up(largest / LINEAR_INTERVALS);
        let top_ns = (largest / step_ns).ceil() * step_ns;
        Self { bottom_ns: 0.0, top_ns, step_ns, logarithmic: false }
    }

    /// Whether equal distances are equal ratios.
    pub(in crate::portal) fn is_logarithmic(self) -> bool {
        self.logarithmic
    }

    /// Where a duration lies, from the top.
    pub(in crate::portal) fn y(self, ns: u64) -> f64 {
        let ns = (ns as f64).clamp(self.bottom_ns, self.top_ns);
        let share = if self.logarithmic {
            (ns / self.bottom_ns).log10() / (self.top_ns / self.bottom_ns).log10()
        } else {
            ns / self.top_ns
        };
        100.0 - share * 100.0
    }

    /// Round durations, from the bottom up.
    pub(in crate::portal) fn ticks(self) -> Vec<Tick> {
        let mut values = Vec::new();
        let mut value = self.bottom_ns;
        // Half a step of room: sums of floats are not exact.
        while value <= self.top_ns * 1.001 {
            values.push(value);
            value = if self.logarithmic { value * 10.0 } else { value + self.step_ns };
        }
        let tick = |value: f64| {
            let ns = whole_ns(value);
            Tick { at: place(self.y(ns)), text: duration_text(ns), class: "middle" }
        };
        values.into_iter().map(tick).collect()
    }
}

/// The next of 1, 2, 5, 10, 20, … that is not smaller.
fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| value <= step * decade * 1.000_001);
    step.unwrap_or(10.0) * decade
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
        assert_eq!(texts(&axis.ticks()), ["100us", "1ms", "10ms", "100ms", "1s", "10s"]);
        assert_eq!(place(axis.y(100_000)), "100.00");
        assert_eq!(place(axis.y(10_000_000)), "60.00");
        assert_eq!(place(axis.y(1)), "100.00");
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
        let month = Times(Span { from_s, until_s: from_s + 30 * 86_400 });
        assert!(month.ticks(&TimeZone::UTC).len() <= 5);
        assert_eq!(
            texts(&Times(Span { from_s, until_s: from_s }).ticks(&TimeZone::UTC)),
            ["13:30:00"]
        );
    }
}
