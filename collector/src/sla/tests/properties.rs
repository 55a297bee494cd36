//! What is true of every verdict, whatever was agreed and measured: over days on which clocks change, exclusions that cut
//! windows, and long stretches without data.

use super::*;
use crate::contract::exclusions::{Exclusion, Exclusions, Reason};
use crate::contract::number::Exact;
use crate::sla::span::Spans;
use crate::sla::states::States;
use crate::sla::verdict::Seconds;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

/// Worlds that each property is looked at in.
const CASES: u32 = if cfg!(debug_assertions) { 60 } else { 10_000 };

/// Days of Berlin with 24, 23 and 25 hours, and a Sunday before a short one.
const DAYS: [&str; 4] = ["2026-04-14", "2026-03-29", "2026-10-25", "2026-03-28"];
const HOURS: &str = "calendars:
  early: {weekly: {mon-sun: [\"01:30-02:45\", \"02:00-07:10\"]}}
  night: {weekly: {mon-sun: \"22:00-03:00\"}}
  noon: {weekly: {mon-sun: \"09:00-15:00\"}, holidays: [2026-04-14]}
maintenance: {notice: 1h, at_most: 45m, approval: automatic}";
/// What breaches cost, by what is promised: percentages, durations and numbers.
const CREDITS: [[&str; 8]; 3] = [
    [
        "flat: 40%",
        "days: 3",
        "bands: [{below: 99%, rate: 10%}, {below: 50%, rate: 100%}]",
        "by: excess, precision: 0.1%, bands: [{at_least: 0.5%, rate: 10%}, {above: 20%, rate: 55%}]",
        "by: excess_ratio, bands: [{above: 1%, rate: 10%}]",
        "by: downtime, bands: [{above: 10m, rate: 33.3%}, {at_least: 2h, rate: 80%}]",
        "per: {every: 7m, of: excess_downtime, rate: 15%, count: prorata}",
        "linear: 3",
    ],
    [
        "flat: 40%",
        "days: 3",
        "bands: [{above: 30m, rate: 10%}, {at_least: 5h, rate: 100%}]",
        "by: excess, precision: 1m, bands: [{at_least: 5m, rate: 10%}, {above: 2h, rate: 55%}]",
        "by: excess_ratio, bands: [{above: 1%, rate: 10%}]",
        "by: downtime, bands: [{above: 10m, rate: 33.3%}, {at_least: 2h, rate: 80%}]",
        "per: {every: 7m, of: excess_downtime, rate: 15%, count: prorata}",
        "per: {of: failed_days, rate: 70%}",
    ],
    [
        "flat: 40%",
        "days: 3",
        "bands: [{above: 2, rate: 10%}, {at_least: 6, rate: 100%}]",
        "by: excess, precision: 1, bands: [{at_least: 1, rate: 10%}, {above: 4, rate: 55%}]",
        "by: excess_ratio, bands: [{above: 50%, rate: 10%}]",
        "by: downtime, bands: [{above: 10m, rate: 33.3%}, {at_least: 2h, rate: 80%}]",
        "per: {every: 7m, of: downtime, rate: 15%, count: prorata}",
        "per: {of: failed_days, rate: 70%}",
    ],
];

/// What is measured, and which [`CREDITS`] it has; percentages also rounded.
const MEASURES: [(&str, usize); 9] = [
    ("availability", 0),
    ("availability, round: {places: 0}", 0),
    ("downtime", 1),
    ("longest_outage", 1),
    ("outages", 2),
    ("success, round: {places: 0}", 0),
    ("{mean_success: 25m}", 0),
    ("{mean_success: 7m}, round: {places: 1}", 0),
    ("{good_days: {within: 2s, phase: total, at: 60%}}", 0),
];

/// A day of one agreement, and what is known of it.
#[derive(Clone, Debug)]
struct World {
    day: usize,
    hours: &'static str,
    /// The place of its measure.
    measure: usize,
    /// How much is promised, of a hundred.
    target: u32,
    rules: String,
    /// How many windows of five minutes of which letter, from two hours before the day on.
    runs: Vec<(usize, char)>,
    /// From, until in s of the day; reason; seconds of notice; approved.
    records: Vec<(i64, i64, Reason, i64, bool)>,
    credit: usize,
    cap: u32,
}

fn world() -> impl Strategy<Value = World> {
    let rules = (
        1_u32..4,
        1_u32..3,
        0_u32..4,
        prop_oneof![Just("removed"), Just("as_up"), Just("none")],
        prop_oneof![Just("removed"), Just("up"), Just("down")],
    );
    let rules = rules.prop_map(|(after, until, bridge, exclusions, unknown)| {
        format!(
            "outage: {{after: {after}, until: {until}, bridge: {bridge}}}, exclusions: {exclusions}, unknown: {{as: {unknown}, coverage: 10%}}"
        )
    });
    let runs = proptest::collection::vec(
        (1_usize..30, prop_oneof![4 => Just('U'), 3 => Just('D'), 2 => Just('.'), 1 => Just('I')]),
        0..40,
    );
    let reason = prop_oneof![3 => Just(Reason::Maintenance), 1 => Just(Reason::Customer), 1 => Just(Reason::ForceMajeure)];
    let record = (-7_200_i64..93_600, 1_i64..20_000, reason, 0_i64..7_200, any::<bool>()).prop_map(
        |(from, length, reason, notice, approved)| (from, from + length, reason, notice, approved),
    );
    let hours = prop_oneof![
        Just(""),
        Just(", hours: early"),
        Just(", hours: night"),
        Just(", hours: noon")
    ];
    (
        0..DAYS.len(),
        hours,
        0..MEASURES.len(),
        30_u32..100,
        rules,
        runs,
        proptest::collection::vec(record, 0..5),
        0..CREDITS[0].len(),
        1_u32..100,
    )
        .prop_map(|(day, hours, measure, target, rules, runs, records, credit, cap)| World {
            day,
            hours,
            measure,
            target,
            rules,
            runs,
            records,
            credit,
            cap,
        })
}

impl World {
    fn keys(&self, target: u32) -> String {
        let (measure, credits) = MEASURES[self.measure];
        let mut credit = CREDITS[credits][self.credit].to_owned();
        if !["availability", "downtime"].iter().any(|budgeted| measure.starts_with(budgeted)) {
            credit = credit.replace("excess_downtime", "downtime");
        }
        let rest = 100 - target;
        let target = match credits {
            0 => format!(">= {target}%"),
            1 => format!("<= {}m", 1 + 14 * rest),
            _ => format!("<= {}", 1 + rest / 10),
        };
        format!(
            "measure: {measure}, target: \"{target}\", window: {{width: 5m}}, period: day, {}{}, credit: {{{credit}}}",
            self.rules, self.hours
        )
    }

    /// The day, judged by an agreement with two equal objectives beside one of a stricter target.
    fn bench(&self) -> Bench {
        let keys = self.keys(self.target);
        let stricter = self.keys((self.target + 7).min(100));
        let extra = format!("{HOURS}\ncredits: {{cap: {}%, rounding: half_even}}", self.cap);
        let objectives = [("a", keys.as_str()), ("b", &keys), ("c", &stricter)];
        let mut bench = Bench::new(agreement(&objectives, &extra));
        (bench.width_s, bench.interval_s) = (300, 300);
        bench.exclusions =
            Exclusions::of(self.records.iter().map(|record| self.record(record)).collect());
        bench
    }

    fn record(
        &self,
        &(from_s, until_s, reason, notice_s, approved): &(i64, i64, Reason, i64, bool),
    ) -> Exclusion {
        let begin_s = self.begin_s();
        let span = Span { from_s: begin_s + from_s, until_s: begin_s + until_s };
        Exclusion {
            span,
            reason,
            announced_s: Some(span.from_s - notice_s),
            objectives: Vec::new(),
            approved,
        }
    }

    fn begin_s(&self) -> i64 {
        let zone = jiff::tz::TimeZone::get("Europe/Berlin").expect("in the zone database");
        PeriodLabel::parse(DAYS[self.day]).expect("a label").span(&zone).expect("in range").from_s
    }

    fn letters(&self) -> String {
        self.runs.iter().map(|(count, letter)| letter.to_string().repeat(*count)).collect()
    }

    fn judged(&self) -> (Bench, Verdict) {
        let mut bench = self.bench();
        bench.timeline("ber-1", self.begin_s() - 7_200, &self.letters());
        let verdict = bench.ask(DAYS[self.day], None);
        (bench, verdict)
    }
}

/// How good the value is, where there is one.
fn goodness(verdict: &ObjectiveVerdict) -> Option<(bool, Exact)> {
    Some(verdict.value.as_ref()?.goodness(verdict.measure.scale().good))
}

fn every_second_is_in_one_state(world: &World, bench: &Bench, verdict: &Verdict) -> TestCaseResult {
    let objective = &bench.agreement.objectives()[0];
    let zone = bench.agreement.zone();
    let day = verdict.period;
    // Minute by minute, at whose edges hours begin and end.
    let service = match &objective.hours {
        None => day.seconds(),
        Some(hours) => {
            let spans = Spans::from_sorted(hours.hours_in(day, zone));
            (day.from_s..day.until_s)
                .step_by(60)
                .filter(|s| spans.covers(Span { from_s: *s, until_s: s + 60 }))
                .count() as u64
                * 60
        }
    };
    for judged in &verdict.objectives {
        let seconds = judged.seconds;
        prop_assert_eq!(seconds.up + seconds.down + seconds.unknown, seconds.eligible);
        prop_assert_eq!(seconds.eligible + seconds.excluded, service);
        let maintenance = world.records.iter().all(|record| record.2 == Reason::Maintenance);
        prop_assert!(!maintenance || seconds.excluded <= 45 * 60, "the allowance holds");
        if let Some(outages) = &judged.outages {
            let outages: u64 = outages.iter().map(|outage| outage.seconds).sum();
            prop_assert_eq!(outages, seconds.down);
        }
    }
    Ok(())
}

fn money_has_its_bounds(world: &World, verdict: &Verdict) -> TestCaseResult {
    let credits = &verdict.credits;
    let mut paid = crate::contract::money::Money::zero();
    for line in verdict.objectives.iter().filter_map(|judged| judged.credit.as_ref()) {
        prop_assert!(line.amount <= line.base, "a line is at most its base");
        paid = paid.plus(&line.amount);
    }
    prop_assert_eq!(&paid, &credits.payable);
    prop_assert!(credits.payable <= credits.sum);
    // A day of 12,000.00 a month is 400.00; the cap is a share of it, cut.
    let cap = number::whole(400 * world.cap);
    prop_assert!(credits.payable.exact() <= cap, "the cap holds");
    for judged in verdict.objectives.iter().filter(|judged| judged.status != Status::Breached) {
        prop_assert!(judged.credit.is_none(), "nothing is owed for {:?}", judged.status);
    }
    Ok(())
}

fn stricter_is_no_easier(verdict: &Verdict) -> TestCaseResult {
    let [weaker, _, stricter] = verdict.objectives.as_slice() else { panic!("there are three") };
    prop_assert!(weaker.status != Status::Breached || stricter.status != Status::Met);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// Every second of service time is in one state, money adds up and has its bounds, and a stricter target is not met
    /// where a weaker one is breached.
    #[test]
    fn every_verdict_is_sound(world in world()) {
        let (bench, verdict) = world.judged();
        every_second_is_in_one_state(&world, &bench, &verdict)?;
        money_has_its_bounds(&world, &verdict)?;
        stricter_is_no_easier(&verdict)?;
    }
}

/// What a window has at an instant, second by second: as much of the eligible time before it, by state.
fn last_seconds(states: &States, window_s: u64, as_of_s: i64) -> Option<Seconds> {
    let mut wanted = window_s;
    let mut from_s = as_of_s;
    let day_s = states.eligible.hull()?.from_s;
    while wanted > 0 && from_s > day_s {
        from_s -= 1;
        wanted -= u64::from(states.eligible.covers(Span { from_s, until_s: from_s + 1 }));
    }
    (wanted == 0).then(|| states.seconds(Span { from_s, until_s: as_of_s }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// Whatever hours and exclusions cut out.
    #[test]
    fn a_burn_rate_is_that_of_the_seconds_before(mut world in world(), window in 0_i64..276) {
        world.measure = 0;
        let mut bench = world.bench();
        bench.timeline("ber-1", world.begin_s() - 7_200, &world.letters());
        let label = PeriodLabel::parse(DAYS[world.day]).expect("a label");
        let as_of_s = world.begin_s() + window * 300;
        let question = Question { label, as_of_s: Some(as_of_s), signed: true };
        let verdict = judge(&bench.agreement, &bench.windows, &bench.exclusions, &question);
        let judged = verdict.expect("judged").objectives.remove(0);
        for rate in judged.burn.iter().flat_map(|pair| [&pair.long, &pair.short]) {
            let Some(seconds) = last_seconds(&judged.states, rate.window_s, as_of_s) else { continue };
            let Seconds { up, down, eligible, .. } = seconds;
            prop_assert_eq!(eligible, rate.window_s);
            let errors = number::ratio(down, up + down);
            prop_assert_eq!(&rate.rate, &errors.map(|errors| errors / (number::whole(1) - &judged.limit)));
            prop_assert_eq!(rate.covered, (up + down) * 10 >= eligible, "a tenth must be known");
        }
    }

    #[test]
    fn the_order_of_the_evidence_changes_nothing(world in world(), turn in 0_usize..1_000) {
        let (_, verdict) = world.judged();
        let letters: Vec<char> = world.letters().chars().collect();
        let mut other = world.bench();
        // Each window as a file of its own, from somewhere in the middle on, some of them twice.
        for index in 0..letters.len() {
            let index = (index + turn) % letters.len();
            let start_s = world.begin_s() - 7_200 + index as i64 * 300;
            for _ in 0..=usize::from(index.is_multiple_of(3)) {
                other.timeline("ber-1", start_s, &letters[index].to_string());
            }
        }
        prop_assert_eq!(other.ask(DAYS[world.day], None), verdict);
    }

    /// Where one Up window ends an outage. Where it takes two, a single one may join two outages that a long gap kept apart.
    /// An outage that an Up window cuts is two, so that their number is another matter.
    #[test]
    fn an_up_window_more_never_makes_it_worse(mut world in world(), place in 0_usize..400) {
        if MEASURES[world.measure].0 == "outages" {
            world.measure = 0;
        }
        world.rules = world.rules.replace("until: 2", "until: 1");
        let (_, before) = world.judged();
        let mut letters: Vec<char> = world.letters().chars().collect();
        let unknown = || (0..letters.len()).filter(|place| letters[*place] == '.');
        let Some(place) = unknown().nth(place % unknown().count().max(1)) else { return Ok(()) };
        letters[place] = 'U';
        world.runs = letters.into_iter().map(|letter| (1, letter)).collect();
        let (_, after) = world.judged();
        for (before, after) in before.objectives.iter().zip(&after.objectives) {
            let (before, after) = (goodness(before), goodness(after));
            prop_assert!(before <= after || before.is_none(), "{before:?} {after:?}");
        }
    }
}
