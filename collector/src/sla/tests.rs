//! Worked verdicts. A timeline is text, one character a minute (or another width) from a start:
//! `U` ok, `D` failed, `I` invalid, `M` missed, `F` failed but flagged, any other character no cell.

mod burn;
mod calls;
mod credits;
mod down;
mod evidence;
mod exclusions;
mod forms;
mod hours;
mod live;
mod measures;
mod parts;
mod projected;
mod properties;
mod response;
mod rounded;
mod vantages;

use super::verdict::{Measured, ObjectiveVerdict, Reason};
use super::*;
use crate::contract::model::Worth;
use crate::contract::number::{self, percent_text};
use crate::contract::period::instant_s;
use crate::verdict::value_text;
use probefleet_proto::histogram::Histogram;
use probefleet_proto::label::Labels;
use std::borrow::Cow;
use std::fmt::Write as _;

/// 1 April 2026, midnight in Berlin.
const APRIL: &str = "2026-04-01T00:00:00+02:00";
const MINUTES_OF_APRIL: usize = 43_200;

fn at(text: &str) -> i64 {
    instant_s(text).expect("an instant")
}

fn april() -> i64 {
    at(APRIL)
}

/// An agreement with objectives `NAME: {service: voice, probe: call, KEYS}`.
fn agreement(objectives: &[(&str, &str)], extra: &str) -> Agreement {
    let mut text = format!(
        "agreement: acme-voice\nversion: 1\nkind: sla\nlevel: service\ntitle: Voice\n\
         parties: {{provider: {{name: P}}, customer: {{name: C}}}}\n\
         time_zone: Europe/Berlin\ncurrency: EUR\nterm: {{from: 2026-01-01, until: 2029-01-01}}\nperiod: month\n\
         services: {{voice: {{monthly_charge: \"12000.00\"}}, data: {{monthly_charge: \"1000.00\"}}}}\n{extra}\nobjectives:\n"
    );
    for (name, keys) in objectives {
        let service = if keys.contains("service:") { "" } else { "service: voice, " };
        let probe = if keys.contains("probe:") { "" } else { "probe: call, " };
        writeln!(text, "  {name}: {{{service}{probe}{keys}}}").expect("a String");
    }
    // Extra keys replace those above.
    for key in ["term", "period", "kind", "services"] {
        if extra.starts_with(&format!("{key}:")) || extra.contains(&format!("\n{key}:")) {
            let first = text.find(&format!("\n{key}:")).expect("is there") + 1;
            let end = first + text[first..].find('\n').expect("a line") + 1;
            text.replace_range(first..end, "");
        }
    }
    match Agreement::load(&[("a.yaml", &text)]) {
        Ok(loaded) => loaded.agreement,
        Err(rejected) => panic!("{rejected}\n{text}"),
    }
}

/// Evidence that is written down cell by cell.
struct Bench {
    agreement: Agreement,
    windows: Windows,
    width_s: u32,
    interval_s: u32,
    probe: &'static str,
    flagged: bool,
    /// Records that claim time.
    exclusions: Exclusions,
    /// The latest agent and its labels.
    labels: (String, Labels),
}

/// The samples of a cell: all of one duration.
struct Samples {
    ns: u64,
    count: u32,
}

impl Phases for Samples {
    fn at_most(&self, phase: &str, threshold_ns: u64) -> Option<Within> {
        let count = if self.ns <= threshold_ns { self.count } else { 0 };
        (phase == "total").then(|| Within::exactly(count))
    }

    fn histogram(&self, phase: &str) -> Option<Cow<'_, Histogram>> {
        let mut histogram = Histogram::new();
        for _ in 0..self.count {
            histogram.record(self.ns);
        }
        (phase == "total").then_some(Cow::Owned(histogram))
    }

    fn total(&self, phase: &str) -> Option<Total> {
        let sum_ns = u128::from(self.ns) * u128::from(self.count);
        (phase == "total").then_some(Total { samples: self.count.into(), sum_ns })
    }

    fn counter(&self, _: &str) -> u64 {
        0
    }
}

impl Bench {
    fn new(agreement: Agreement) -> Self {
        let windows = Windows::for_agreement(&agreement);
        Self {
            agreement,
            windows,
            width_s: 60,
            interval_s: 60,
            probe: "call",
            flagged: false,
            exclusions: Exclusions::default(),
            labels: (String::new(), Labels::new()),
        }
    }

    fn of(objectives: &[(&str, &str)]) -> Self {
        Self::new(agreement(objectives, ""))
    }

    fn timeline(&mut self, agent: &str, start_s: i64, text: &str) -> &mut Self {
        for (index, state) in (0_i64..).zip(text.chars()) {
            let start_s = start_s + index * i64::from(self.width_s);
            let counts = match state {
                'U' => Counts { ok: 1, ..Counts::default() },
                'D' | 'F' => Counts { failed: 1, ..Counts::default() },
                'I' => Counts { invalid: 1, ..Counts::default() },
                'M' => Counts { missed: 1, ..Counts::default() },
                _ => continue,
            };
            self.flagged = state == 'F';
            self.cell(agent, start_s, counts, 1_000_000);
        }
        self.flagged = false;
        self
    }

    /// A cell whose ok attempts all took `ns`.
    fn cell(&mut self, agent: &str, start_s: i64, counts: Counts, ns: u64) -> Added {
        if self.labels.0 != agent {
            let site = Labels::from([("site".to_owned(), agent[..3].to_owned())]);
            self.labels = (agent.to_owned(), site);
        }
        let labels = &self.labels.1;
        let flagged = self.flagged;
        let mut content = [u8::from(flagged); 16];
        content[..4].copy_from_slice(&counts.ok.to_be_bytes());
        content[4..8].copy_from_slice(&counts.failed.to_be_bytes());
        content[8..].copy_from_slice(&ns.to_be_bytes());
        content[8] ^= u8::from(flagged);
        let observed = Observed {
            agent,
            labels,
            probe: self.probe,
            spec: [0; 16],
            start_s,
            width_s: self.width_s,
            interval_s: self.interval_s,
            counts,
            flagged,
            content,
            phases: &Samples { ns, count: counts.ok },
        };
        self.windows.add(&observed).expect("fits")
    }

    fn ask(&self, label: &str, as_of: Option<&str>) -> Verdict {
        let label = PeriodLabel::parse(label).expect("a label");
        let question = Question { label, as_of_s: as_of.map(at), signed: true };
        judge(&self.agreement, &self.windows, &self.exclusions, &question).expect("can be judged")
    }

    fn april(&self) -> ObjectiveVerdict {
        self.ask("2026-04", None).objectives.remove(0)
    }
}

fn value(verdict: &ObjectiveVerdict) -> String {
    verdict
        .value
        .as_ref()
        .map_or("none".to_owned(), |value| value_text(verdict.measure.unit(), value))
}

fn exact(verdict: &ObjectiveVerdict) -> String {
    match &verdict.value {
        None => "none".to_owned(),
        Some(Measured::Share(it)) => format!("{}/{}", it.numerator, it.denominator),
        Some(Measured::Percentile(it)) => format!("{}/{} of {}", it.good, it.all, it.needed),
        Some(Measured::Mean(it)) => format!("{}/{}", it.sum, it.samples),
        Some(Measured::Amount(it)) => it.to_string(),
        Some(Measured::Intervals(it)) => format!("{} of {}, {} empty", it.mean, it.all, it.empty),
    }
}

/// A share of the base, or days.
fn worth(worth: &Worth) -> String {
    match worth {
        Worth::Rate(rate) => number::percent_short(rate),
        Worth::Days(days) => format!("{} days", number::short(days)),
    }
}

/// `text` in the middle of a month of Up, after `before` minutes.
fn month_with(before: usize, text: &str) -> String {
    let after = MINUTES_OF_APRIL - before - text.len();
    format!("{}{text}{}", "U".repeat(before), "U".repeat(after))
}
