//! For fuzzing: what reads the files that people give the collector, each as a function of bytes alone, and what is done
//! with what was read.
//!
//! None of them may panic, hang, or take more memory than its bounds permit, whatever the bytes are. Nothing else calls
//! them.

use crate::contract::exclusions::Exclusions;
use crate::contract::show::Reading;
use crate::contract::{Agreement, PeriodLabel};
use crate::sla::{Question, Windows, judge};
use crate::verdict::text::{Paint, render};
use crate::windows::read;
use std::hint::black_box;
use std::sync::LazyLock;

/// An agreement that asks for every kind of evidence.
static AGREEMENT: LazyLock<Option<Agreement>> = LazyLock::new(|| {
    let files = [("agreement.yaml", include_str!("fuzz/agreement.yaml"))];
    Agreement::load(&files).ok().map(|loaded| loaded.agreement)
});

/// Noon of the day that the seeds' windows lie in, in s since 1970.
const NOON_S: i64 = 1_775_044_800;

/// An agreement: read, said in sentences, and judged without any evidence, over the period in which it begins.
pub fn agreement(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let agreement = match Agreement::load(&[("agreement.yaml", text)]) {
        Ok(loaded) => loaded.agreement,
        Err(rejected) => {
            black_box(rejected.to_string());
            return;
        }
    };
    let reading = Reading::of(&agreement);
    black_box((reading.to_text(), reading.to_markdown(), reading.to_json()));
    if let Some(label) = agreement.period_at(agreement.terms().term.from_s) {
        judged(&agreement, &Windows::for_agreement(&agreement), &Exclusions::default(), label);
    }
}

/// A file of windows: read, and judged by an agreement that asks for all that they may say.
///
/// # Panics
/// When that agreement does not load.
pub fn windows(bytes: &[u8]) {
    let agreement = sample();
    let mut windows = Windows::for_agreement(agreement);
    if let Err(problem) = read(&mut windows, "w.jsonl", bytes) {
        black_box(problem.to_string());
    }
    for instant_s in windows.latest_end_s().into_iter().chain([NOON_S]) {
        if let Some(label) = agreement.period_at(instant_s) {
            judged(agreement, &windows, &Exclusions::default(), label);
        }
    }
}

/// A file of exclusions: read, and applied to the day that it is about.
///
/// # Panics
/// When the agreement that it is read for does not load.
pub fn exclusions(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let agreement = sample();
    match Exclusions::parse("x.yaml", text, agreement) {
        Err(problems) => drop(black_box(problems.to_string())),
        Ok(exclusions) => {
            if let Some(label) = agreement.period_at(NOON_S) {
                judged(agreement, &Windows::for_agreement(agreement), &exclusions, label);
            }
        }
    }
}

/// See [`AGREEMENT`].
#[expect(
    clippy::expect_used,
    reason = "the text is ours, and every run of the readers begins with it"
)]
fn sample() -> &'static Agreement {
    AGREEMENT.as_ref().expect("the agreement is sound")
}

/// A period, over and while it lasts, for people and for programs.
fn judged(agreement: &Agreement, windows: &Windows, exclusions: &Exclusions, label: PeriodLabel) {
    for as_of_s in [None, Some(NOON_S)] {
        let question = Question { label, as_of_s, signed: true };
        match judge(agreement, windows, exclusions, &question) {
            Err(error) => drop(black_box(error.to_string())),
            Ok(verdict) => {
                let text = render(&verdict, agreement.zone(), &Paint::terminal(), |_| true);
                black_box((text, verdict.to_json()));
            }
        }
    }
}
