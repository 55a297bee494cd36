//! A verdict for people: what was promised, what was measured, what is due, and on what evidence.

use super::words::{
    because, budget_text, burning_text, counted, measured, missed, next_band_text, span_text,
    worth_text,
};
use crate::contract::number::percent_text;
use crate::contract::period::local_text;
use crate::sla::verdict::{ObjectiveVerdict, Outage, Refusal, Status, Verdict};
use jiff::tz::TimeZone;
use std::fmt::Write as _;

/// Outages that are listed; the rest are counted.
const OUTAGES_SHOWN: usize = 10;

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
