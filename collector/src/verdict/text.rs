//! A verdict for people: what was promised, what was measured, what is due, and on what evidence.

use super::{next_threshold_text, value_text};
use crate::contract::model::{Good, Measure, Round, Scale, Unit, Worth};
use crate::contract::number::{self, Exact, fixed, percent_short, percent_text, short};
use crate::contract::period::local_text;
use crate::sla::burn::{Rate, length_text};
use crate::sla::verdict::{
    Budget, Distance, Measured, NextBand, ObjectiveVerdict, Outage, Reason, Refusal, Status,
    Verdict,
};
use jiff::tz::TimeZone;
use std::fmt::Write as _;

/// Outages that are listed; the rest are counted.
const OUTAGES_SHOWN: usize = 10;

/// Places of a burn rate that people read.
const BURN_PLACES: u32 = 2;

/// Records that claim time that are listed; the rest are counted.
const CLAIMS_SHOWN: usize = 20;

/// The colours of a text; all empty for a text without.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paint {
    /// Kept promises.
    pub good: anstyle::Style,
    /// What needs an eye.
    pub warning: anstyle::Style,
    /// Broken promises.
    pub bad: anstyle::Style,
    /// Headings.
    pub strong: anstyle::Style,
}

impl Paint {
    /// The colours of a terminal.
    #[must_use]
    pub fn terminal() -> Self {
        let colour =
            |colour: anstyle::AnsiColor| anstyle::Style::new().fg_color(Some(colour.into()));
        Self {
            good: colour(anstyle::AnsiColor::Green),
            warning: colour(anstyle::AnsiColor::Yellow),
            bad: colour(anstyle::AnsiColor::Red),
            strong: anstyle::Style::new().bold(),
        }
    }

    fn of(&self, status: Status) -> anstyle::Style {
        match status {
            Status::Met | Status::MetCertain | Status::OnTrack => self.good,
            Status::Breached | Status::BreachCertain => self.bad,
            Status::AtRisk | Status::Inconclusive | Status::Pending => self.warning,
            Status::NotApplicable => anstyle::Style::new(),
        }
    }
}

/// The text of a verdict, its times in the agreement's zone; `shown` chooses the objectives.
#[must_use]
pub fn render(
    verdict: &Verdict,
    zone: &TimeZone,
    paint: &Paint,
    shown: impl Fn(&ObjectiveVerdict) -> bool,
) -> String {
    let mut page = Page { text: String::new(), zone, paint };
    page.heading(verdict);
    for objective in verdict.objectives.iter().filter(|objective| shown(objective)) {
        page.objective(verdict, objective);
    }
    page.totals(verdict);
    page.text
}

/// A text that grows line by line.
struct Page<'a> {
    text: String,
    zone: &'a TimeZone,
    paint: &'a Paint,
}

impl Page<'_> {
    fn line(&mut self, label: &str, words: &str) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(self.text, "  {label:<11} {words}");
    }

    fn heading(&mut self, verdict: &Verdict) {
        let strong = self.paint.strong;
        let signed = if verdict.signed { "countersigned" } else { "not countersigned: no credits" };
        let state = match verdict.as_of_s {
            Some(as_of_s) if as_of_s < verdict.period.until_s => {
                format!("open, as of {}", self.time(as_of_s))
            }
            _ => "closed".to_owned(),
        };
        let _infallible = writeln!(
            self.text,
            "{strong}{}{strong:#}\n{} version {}, {signed}\nPeriod {}: {} to {} ({}), {state}",
            verdict.title,
            verdict.agreement,
            verdict.version,
            verdict.label,
            self.time(verdict.period.from_s),
            self.time(verdict.period.until_s),
            self.zone.iana_name().unwrap_or("local time"),
        );
    }

    fn objective(&mut self, verdict: &Verdict, objective: &ObjectiveVerdict) {
        let (strong, colour) = (self.paint.strong, self.paint.of(objective.status));
        let words = objective.status.as_str().replace('_', " ").to_uppercase();
        let _infallible = writeln!(
            self.text,
            "\n{strong}{}{strong:#}  {colour}{words}{colour:#}",
            objective.name
        );
        self.line("promised", &format!("{} {}", objective.target, objective.measure));
        self.line("measured", &measured(objective));
        if let Some(missed) = missed(objective) {
            self.line("missed by", &missed);
        }
        if let Some(reason) = objective.reason {
            self.line("because", because(reason));
        }
        if let Some(budget) = objective.budget_left {
            self.line("budget", &budget_text(budget));
        }
        if let Some(burning) = burning_text(objective) {
            self.line("burning", &burning);
        }
        self.credit(verdict, objective);
        self.line("evidence", &evidence(objective));
        self.outages(objective);
    }

    fn credit(&mut self, verdict: &Verdict, objective: &ObjectiveVerdict) {
        if let Some(credit) = &objective.credit {
            let currency = &verdict.credits.currency;
            let words = format!(
                "{} {}: {} of {}",
                currency.text(&credit.amount),
                currency.code(),
                worth_text(&credit.worth, credit.units.as_ref()),
                currency.text(&credit.base),
            );
            self.line(if verdict.is_open() { "projected" } else { "credit" }, &words);
        }
        if let Some(next) = &objective.next_band {
            self.line("next band", &next_band_text(objective, next));
        }
    }

    fn outages(&mut self, objective: &ObjectiveVerdict) {
        let outages = objective.outages.as_deref().unwrap_or_default();
        for (index, outage) in outages.iter().take(OUTAGES_SHOWN).enumerate() {
            let label = if index == 0 { "outages" } else { "" };
            let words = self.outage(*outage);
            self.line(label, &words);
        }
        if outages.len() > OUTAGES_SHOWN {
            self.line("", &format!("and {} more", outages.len() - OUTAGES_SHOWN));
        }
        if let Some([least, most]) = objective.downtime_bracket_s {
            let words =
                format!("true Down time {} to {}, by sampling", span_text(least), span_text(most));
            self.line("", &words);
        }
    }

    fn outage(&self, outage: Outage) -> String {
        let (start, end) = (self.time(outage.span.from_s), self.time(outage.span.until_s));
        format!("{start} to {end}, {}", span_text(outage.seconds))
    }

    fn claims(&mut self, verdict: &Verdict) {
        if !verdict.claims.is_empty() {
            self.text.push('\n');
        }
        for (index, claim) in verdict.claims.iter().take(CLAIMS_SHOWN).enumerate() {
            let label = if index == 0 { "Excluded" } else { "" };
            let (from, until) = (self.time(claim.span.from_s), self.time(claim.span.until_s));
            let reason = claim.reason.as_str().replace('_', " ");
            let holds = claim.refused.map_or("holds", refused);
            // Writing to a String cannot fail.
            let _infallible =
                writeln!(self.text, "{label:<13} {from} to {until}, {reason}: {holds}");
        }
        if verdict.claims.len() > CLAIMS_SHOWN {
            let more = verdict.claims.len() - CLAIMS_SHOWN;
            let _infallible = writeln!(self.text, "{:<13} and {more} more", "");
        }
    }

    fn totals(&mut self, verdict: &Verdict) {
        self.claims(verdict);
        self.amounts(verdict);
        if verdict.termination_right {
            let (bad, text) = (self.paint.bad, &mut self.text);
            let _infallible = writeln!(
                text,
                "{bad}Termination{bad:#}   the customer may terminate the agreement"
            );
        }
        let _infallible = writeln!(self.text, "Inputs        {}", verdict.inputs_digest);
    }

    fn amounts(&mut self, verdict: &Verdict) {
        let credits = &verdict.credits;
        let (sum, payable) =
            (credits.currency.text(&credits.sum), credits.currency.text(&credits.payable));
        let cut = if sum == payable { String::new() } else { format!(" (of {sum})") };
        let (word, until) = match credits.claim_until_s {
            _ if verdict.is_open() => ("Projected", ", if nothing more goes wrong".to_owned()),
            Some(until_s) => ("Payable", format!(", if asked for before {}", self.time(until_s))),
            None => ("Payable", String::new()),
        };
        let strong = self.paint.strong;
        let _infallible = writeln!(
            self.text,
            "\n{strong}{word:<9}{strong:#}     {payable} {}{cut}{until}",
            credits.currency.code(),
        );
    }

    /// A local time.
    fn time(&self, instant_s: i64) -> String {
        local_text(instant_s, self.zone)
    }
}

fn refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotAgreed => "does not hold, no maintenance is excluded",
        Refusal::NotAnnounced => "does not hold, it was not announced",
        Refusal::ShortNotice => "does not hold, it was announced too late",
        Refusal::NotApproved => "does not hold, it was not approved",
    }
}

fn measured(objective: &ObjectiveVerdict) -> String {
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
            let unit = match &objective.measure {
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
            let most = match share.numerator_most > share.numerator {
                true => format!(", at most {}", percent_text(&share.most)),
                false => String::new(),
            };
            format!("{value}{most} ({} of {} {unit}{of})", share.numerator, share.denominator)
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
fn missed(objective: &ObjectiveVerdict) -> Option<String> {
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
fn worth_text(worth: &Worth, units: Option<&Exact>) -> String {
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

fn evidence(objective: &ObjectiveVerdict) -> String {
    let mut parts = Vec::new();
    if let Some(coverage) = &objective.coverage {
        parts.push(format!("{} of the time known", percent_text(coverage)));
    }
    if objective.seconds.excluded > 0 {
        parts.push(format!("{} excluded", span_text(objective.seconds.excluded)));
    }
    let attempts = objective.attempts;
    parts.push(format!(
        "{} attempts ({} failed, {} invalid, {} missed)",
        attempts.scheduled, attempts.failed, attempts.invalid, attempts.missed
    ));
    parts.push(counted(objective.agents, "agent"));
    if objective.specs > 1 {
        parts.push(format!("{} versions of the probe", objective.specs));
    }
    if objective.flagged > 0 {
        parts.push(format!("{} not trusted", counted(objective.flagged, "cell")));
    }
    if objective.conflicts > 0 {
        parts.push(format!("{} contradictory", counted(objective.conflicts, "cell")));
    }
    parts.join(", ")
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
