//! The figures of a verdict in words, as the text and the pages have them.

use super::{next_threshold_text, value_text};
use crate::contract::model::{Good, Measure, Round, Scale, Unit, Worth};
use crate::contract::number::{self, Exact, fixed, percent_short, percent_text, short};
use crate::sla::burn::{Rate, length_text};
use crate::sla::verdict::{
    Budget, Distance, Measured, NextBand, ObjectiveVerdict, Reason, Share, Status,
};

/// Places of a burn rate that people read.
const BURN_PLACES: u32 = 2;

/// What was measured, and of how much.
pub(super) fn measured(objective: &ObjectiveVerdict) -> String {
    let Some(measured) = &objective.value else { return "nothing".to_owned() };
    let value = value_text(objective.measure.unit(), measured);
    let value = match objective.round {
        Some(Round { places: 1 }) => format!("{value}, rounded to 1 place"),
        Some(Round { places }) => format!("{value}, rounded to {places} places"),
        None => value,
    };
    let of =
        objective.agent.as_ref().map_or(String::new(), |agent| format!(", by {agent}, the worst"));
    match measured {
        Measured::Share(share) => {
            format!("{value}{} ({}{of})", at_most(share), parts(&objective.measure, share))
        }
        Measured::Percentile(it) => {
            let most = match it.good_most > it.good {
                true => format!(" to {}", it.good_most),
                false => String::new(),
            };
            let (good, all, needed, target) = (it.good, it.all, it.needed, &objective.target);
            format!("{value} ({good}{most} of {all} attempts {target}, {needed} needed{of})")
        }
        Measured::Mean(mean) => {
            format!("{value} (mean of {}{of})", counted(mean.samples, "sample"))
        }
        Measured::Amount(amount) => {
            let of = of.trim_start_matches(", ");
            match (in_words(objective.measure.unit(), amount), of) {
                (words, "") => words,
                (words, of) => format!("{words} ({of})"),
            }
        }
        Measured::Intervals(it) => {
            let intervals = counted(it.all, "interval");
            format!("{value} (mean of {intervals}, {} without attempts{of})", it.empty)
        }
    }
}

/// How much higher a share may be, where that is not known.
fn at_most(share: &Share) -> String {
    match share.numerator_most > share.numerator {
        true => format!(", at most {}", percent_text(&share.most)),
        false => String::new(),
    }
}

/// What a share is of: `43199 of 43200 seconds up`.
fn parts(measure: &Measure, share: &Share) -> String {
    let unit = match measure {
        Measure::Availability => "seconds up",
        Measure::Ratio(ratio) => ratio.counted(),
        Measure::Success | Measure::Within { .. } => "attempts good",
        Measure::GoodDays { .. } => "days good",
        Measure::Downtime
        | Measure::LongestOutage
        | Measure::Outages
        | Measure::Percentile { .. }
        | Measure::Mean { .. }
        | Measure::MeanSuccess { .. } => "",
    };
    format!("{} of {} {unit}", share.numerator, share.denominator)
}

/// Down time in hours, minutes and seconds; a number of outages with the word.
fn in_words(unit: Unit, amount: &Exact) -> String {
    let in_one = amount / number::whole(unit.in_one());
    let whole = Some(&in_one).filter(|it| it.is_integer());
    match (unit, whole.and_then(|it| u64::try_from(it.to_integer()).ok())) {
        (Unit::Duration, Some(seconds)) => span_text(seconds),
        (Unit::Count, Some(outages)) => counted(outages, "outage"),
        _ => unit.text(amount),
    }
}

/// By how much a value misses its target.
pub(super) fn missed(objective: &ObjectiveVerdict) -> Option<String> {
    let misses = matches!(objective.status, Status::Breached | Status::BreachCertain);
    let Scale { unit, good } = objective.measure.scale();
    let beyond = |value: &Exact| {
        let beyond = match good {
            Good::High => &objective.limit - value,
            Good::Low => value - &objective.limit,
        };
        beyond.max(number::whole(0))
    };
    let missed = match objective.value.as_ref().filter(|_| misses)? {
        Measured::Share(share) => points_text(&beyond(&share.most)),
        Measured::Intervals(it) => points_text(&beyond(&it.mean)),
        Measured::Percentile(it) => counted(it.needed.saturating_sub(it.good_most), "attempt"),
        Measured::Mean(mean) => difference_text(unit, &beyond(&mean.mean)),
        Measured::Amount(amount) => in_words(unit, &beyond(amount)),
    };
    Some(missed)
}

/// A difference of shares, with all its places.
fn points_text(difference: &Exact) -> String {
    format!("{} percentage points", percent_text(difference).trim_end_matches('%'))
}

/// How far two figures lie apart: a percentage lies so many points from another.
fn difference_text(unit: Unit, difference: &Exact) -> String {
    let text = unit.text(difference);
    match text.strip_suffix('%') {
        Some(points) => format!("{points} percentage points"),
        None => text,
    }
}

/// What costs more, and how far away it is: `25% when < 99.8%: 1h 4m 48s more Down time`.
pub(crate) fn next_band_text(objective: &ObjectiveVerdict, next: &NextBand) -> String {
    let Scale { unit, good } = objective.measure.scale();
    let threshold = next_threshold_text(unit, next);
    let away = match &next.away {
        Distance::Seconds(seconds) => format!("{} more Down time", span_text(*seconds)),
        Distance::Attempts(1) => "1 more bad attempt".to_owned(),
        Distance::Attempts(attempts) => format!("{attempts} more bad attempts"),
        Distance::Value(away) => {
            let direction = if good == Good::High { "less" } else { "more" };
            let away = match objective.measure.is_of_time() {
                true => in_words(unit, away),
                false => difference_text(unit, away),
            };
            format!("{away} {direction}")
        }
    };
    format!("{} when {threshold}: {away}", worth_text(&next.worth, None))
}

/// What is due, in words: `10%`, `1 day`, `3 times 5%`.
pub(super) fn worth_text(worth: &Worth, units: Option<&Exact>) -> String {
    let one = match worth {
        Worth::Rate(rate) => percent_short(rate),
        Worth::Days(days) if *days == number::whole(1) => "1 day".to_owned(),
        Worth::Days(days) => format!("{} days", short(days)),
    };
    units.map_or(one.clone(), |units| format!("{} times {one}", short(units)))
}

pub(crate) fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::Coverage => "too little of the time is known",
        Reason::Attempts => "too few attempts were counted",
        Reason::Resolution => {
            "the threshold lies inside a histogram bucket and was not counted exactly"
        }
        Reason::NoWindows => "this agent reported nothing in the period",
        Reason::NoValue => "nothing was counted",
    }
}

pub(crate) fn budget_text(budget: Budget) -> String {
    let (left, text) = match budget {
        Budget::Seconds(left) => (left, span_text(left.unsigned_abs())),
        Budget::Attempts(left) => (left, format!("{} attempts", left.unsigned_abs())),
        Budget::Outages(left) => (left, counted(left.unsigned_abs(), "outage")),
    };
    if left < 0 { format!("overdrawn by {text}") } else { format!("{text} left") }
}

/// How fast the budget is being used, where that is too fast: by the fastest pair of windows that fires.
pub(crate) fn burning_text(objective: &ObjectiveVerdict) -> Option<String> {
    let pair = objective.burn.iter().find(|pair| pair.is_firing())?;
    let rate = |of: &Rate| {
        let rate = of.rate.as_ref().map_or(String::new(), |rate| fixed(rate, BURN_PLACES));
        let rate = rate.trim_end_matches('0').trim_end_matches('.').to_owned();
        (rate, length_text(of.window_s))
    };
    let ((long, long_window), (short, short_window)) = (rate(&pair.long), rate(&pair.short));
    let end = match pair.gone_in_s {
        Some(0) => "it is gone".to_owned(),
        Some(seconds) => {
            format!("at that rate it is gone in {} of eligible time", span_text(seconds))
        }
        None => "at that rate it lasts until the period ends".to_owned(),
    };
    Some(format!("{long} x the budget over {long_window} and {short} x over {short_window}: {end}"))
}

pub(crate) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A number of seconds as hours, minutes and seconds that are not zero: `1h 5s`, `17m`.
pub(crate) fn span_text(seconds: u64) -> String {
    if seconds == 0 {
        return "0s".to_owned();
    }
    let parts = [(seconds / 3_600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let shown = parts.iter().filter(|(count, _)| *count > 0);
    shown.map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}
