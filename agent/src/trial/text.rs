//! Results for people: where the time of an attempt went, and a summary of many.

use super::Ended;
use super::figure;
use super::load::Target;
use super::summary::{Summary, figures, outcome_text};
use crate::probe::{Outcome, Sample};
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};

/// Width of the bars, in characters.
const BAR_WIDTH: u64 = 40;
/// Longest name that is aligned to.
const NAME_WIDTH_MAX: usize = 30;
/// Least width of the names of phases, in characters: those of HTTP fit.
const PHASE_WIDTH_MIN: usize = 10;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const UNSURE: Style = AnsiColor::Yellow.on_default().bold();
const BAR: Style = AnsiColor::Cyan.on_default();

/// Shows attempts as they end.
pub(super) struct Text<'a> {
    targets: &'a [Target],
    summaries: Vec<Summary>,
    many: bool,
    name_width: usize,
}

/// Writes one line.
pub(super) fn line(text: &str) -> io::Result<()> {
    write(&format!("{text}\n"))
}

fn write(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

impl<'a> Text<'a> {
    pub(super) fn new(targets: &'a [Target], count: u64) -> Self {
        let summaries = targets.iter().map(|_| Summary::default()).collect();
        let longest = targets.iter().map(|target| target.name.len()).max().unwrap_or_default();
        Self { targets, summaries, many: count > 1, name_width: longest.min(NAME_WIDTH_MAX) }
    }

    /// Shows one attempt: alone with a bar for each phase, among many in a line.
    pub(super) fn write(&mut self, ended: &Ended) -> io::Result<()> {
        let target = &self.targets[ended.target];
        let text = if self.many {
            format!(
                "{:width$}  {:>4}  {}\n",
                target.name,
                ended.number,
                brief(&ended.sample),
                width = self.name_width
            )
        } else {
            alone(target, &ended.sample)
        };
        self.summaries[ended.target].add(&ended.sample);
        write(&text)
    }

    /// Shows the summary of each probe, if there were many attempts.
    pub(super) fn write_summary(&self) -> io::Result<()> {
        if !self.many {
            return Ok(());
        }
        for (target, summary) in self.targets.iter().zip(&self.summaries) {
            write(&summarised(target, summary))?;
        }
        Ok(())
    }
}

/// One attempt in one line.
fn brief(sample: &Sample) -> String {
    let style = style(sample.outcome);
    let mut text =
        format!("{style}{:<22}{style:#} {:>9} ", outcome_text(sample), duration(total(sample)));
    for (phase, ns) in phases(sample) {
        push(&mut text, format_args!(" {DIM}{phase}{DIM:#} {}", duration(ns)));
    }
    for (label, value) in figure::brief(sample) {
        push(&mut text, format_args!(" {DIM}{label}{DIM:#} {value}"));
    }
    if let Some(error) = error(sample) {
        push(&mut text, format_args!("  {DIM}{error}{DIM:#}"));
    }
    text
}

/// One attempt with a bar for each phase, each beginning where the one before ended, unless it would end too late; where
/// phases overlap, each is shown by its length alone.
fn alone(target: &Target, sample: &Sample) -> String {
    let style = style(sample.outcome);
    let (total, mut before) = (total(sample), 0);
    let mut text = format!("{BOLD}{}{BOLD:#}  {}\n", target.name, target.probe.target());
    push(
        &mut text,
        format_args!("  {style}{}{style:#}  {}\n", outcome_text(sample), duration(total)),
    );
    let width = width(phases(sample).map(|(phase, _)| phase));
    for (phase, ns) in phases(sample) {
        // A phase that covers others ends with them.
        let bar = bar(before.min(total.saturating_sub(ns)), ns, total);
        push(&mut text, format_args!("  {phase:<width$}{:>9}  {BAR}{bar}{BAR:#}\n", duration(ns)));
        before += if target.probe.phases_follow() { ns } else { 0 };
    }
    for line in figure::alone(sample, width) {
        push(&mut text, format_args!("  {line}\n"));
    }
    for (key, value) in &sample.detail {
        push(&mut text, format_args!("  {DIM}{key}: {}{DIM:#}\n", printable(&said(value))));
    }
    text
}

/// A detail in words: what is not known is left out.
fn said(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Object(members) => {
            let known = members.iter().filter(|(_, value)| !value.is_null());
            known.map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(", ")
        }
        value => value.to_string(),
    }
}

fn summarised(target: &Target, summary: &Summary) -> String {
    let mut text = format!("\n{BOLD}{}{BOLD:#}  {}\n", target.name, target.probe.target());
    push(
        &mut text,
        format_args!("  {} attempts, {GOOD}{} ok{GOOD:#}", summary.attempts, summary.ok),
    );
    for (outcome, count) in &summary.outcomes {
        let style = if outcome.starts_with("invalid") { UNSURE } else { BAD };
        push(&mut text, format_args!(", {style}{count} {outcome}{style:#}"));
    }
    text.push('\n');
    let all: Vec<_> =
        summary.phases_ns.iter().filter_map(|(phase, all)| Some((phase, figures(all)?))).collect();
    let longest = all.iter().map(|(_, figures)| figures.median).max().unwrap_or_default();
    let width = width(all.iter().map(|(phase, _)| phase.as_ref()));
    if !all.is_empty() {
        push(
            &mut text,
            format_args!("  {DIM}{:<width$}{:>9} {:>9} {:>9}{DIM:#}\n", "", "min", "median", "max"),
        );
    }
    for (phase, figures) in all {
        let (min, median, max) =
            (duration(figures.min), duration(figures.median), duration(figures.max));
        let bar = bar(0, figures.median, longest);
        push(
            &mut text,
            format_args!("  {phase:<width$}{min:>9} {median:>9} {max:>9}  {BAR}{bar}{BAR:#}\n"),
        );
    }
    for line in figure::summarised(summary, width) {
        push(&mut text, format_args!("  {line}\n"));
    }
    text
}

/// The column of phases, which ends with a space.
fn width<'a>(phases: impl Iterator<Item = &'a str>) -> usize {
    phases.map(|phase| phase.len() + 1).max().unwrap_or_default().max(PHASE_WIDTH_MIN)
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.push_str(&std::fmt::format(arguments));
}

fn style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Ok => GOOD,
        Outcome::Failed(_) => BAD,
        Outcome::Invalid(_) => UNSURE,
    }
}

/// All phases but `total`.
fn phases(sample: &Sample) -> impl Iterator<Item = (&str, u64)> {
    let phases = sample.phases_ns.iter().map(|(phase, ns)| (phase.as_ref(), *ns));
    phases.filter(|(phase, _)| *phase != "total")
}

fn total(sample: &Sample) -> u64 {
    let total = sample.phases_ns.iter().find(|(phase, _)| phase == "total");
    total.map_or(0, |(_, ns)| *ns)
}

fn error(sample: &Sample) -> Option<String> {
    sample.detail.get("error").and_then(|error| error.as_str()).map(printable)
}

/// Text of the other side must not steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A bar for `[before, before + part)` of `whole`; what happened has at least a mark.
fn bar(before: u64, part: u64, whole: u64) -> String {
    let place = |ns: u64| {
        let scaled = u128::from(ns) * u128::from(BAR_WIDTH) / u128::from(whole.max(1));
        usize::try_from(scaled.min(u128::from(BAR_WIDTH))).unwrap_or_default()
    };
    let (from, to) = (place(before), place(before.saturating_add(part)));
    let mark = if to > from { "━".repeat(to - from) } else { "╸".to_owned() };
    format!("{}{mark}", " ".repeat(from))
}

/// A duration in three digits or so: `412 µs`, `12.3 ms`, `1.234 s`.
fn duration(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..100_000_000 => format!("{}.{} ms", ns / 1_000_000, ns / 100_000 % 10),
        100_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{}.{:02} s", ns / 1_000_000_000, ns / 10_000_000 % 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_or_so() {
        for (ns, text) in [
            (0, "0 µs"),
            (412_345, "412 µs"),
            (12_345_678, "12.3 ms"),
            (345_678_901, "345 ms"),
            (1_239_999_999, "1.23 s"),
            (120_000_000_000, "120.00 s"),
        ] {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn bars_show_where_the_time_went() {
        assert_eq!(bar(0, 10, 20), "━".repeat(20));
        assert_eq!(bar(10, 10, 20), format!("{}{}", " ".repeat(20), "━".repeat(20)));
        assert_eq!(bar(0, 0, 20), "╸");
        assert_eq!(bar(u64::MAX, u64::MAX, u64::MAX).chars().count(), 41);
        assert_eq!(bar(0, 0, 0), "╸");
    }
}
