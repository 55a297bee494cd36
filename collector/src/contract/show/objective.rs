//! One promise: what, measured how, and what of the time and of the attempts counts.

use super::lineage::{Lineage, Origin};
use super::time::calendar_name;
use super::words::{all_of, compared, count, each_period, figure, one_of, percent, seconds};
use super::{Section, credit, frame};
use crate::contract::Agreement;
use crate::contract::model::{
    During, ExclusionRule, Failures, Good, Inherit, Measure, Objective, OutageRule, Ratio, Round,
    Scale, UnknownAs, UnknownRule, Vantages, WindowRule,
};
use crate::contract::number;

/// The clauses of a promise.
pub(super) fn section(agreement: &Agreement, promise: &Objective, lineage: &Lineage) -> Section {
    let name = &promise.name;
    let mut section = Section::new(format!("objectives.{name}"), format!("Promise: {name}"));
    section.say(what(agreement, promise));
    section.say(measured(promise));
    section.say(match calendar_name(agreement, promise, lineage) {
        Some(hours) => format!("It holds in the service hours {hours} only."),
        None => "It holds around the clock.".to_owned(),
    });
    section.say(window(&promise.window));
    section.say(vantages(&promise.vantages));
    section.say(outage(promise.outage));
    section.say(unknown(promise));
    section.say(excluded(promise));
    section.say(attempts(promise));
    if let Some(Round { places }) = promise.round {
        section.say(format!(
            "The percentage is rounded to {}, half away from zero, before it is compared or averaged.",
            count(places, "decimal place")
        ));
    }
    if let Some(credit) = &promise.credit {
        credit::clauses(agreement, promise, credit, &mut section);
    } else {
        section.say("A breach gives no credit.");
    }
    if !promise.supported_by.is_empty() {
        let rests = promise.supported_by.iter();
        let rests: Vec<String> =
            rests.map(|(agreement, name)| format!("{name} of agreement {agreement}")).collect();
        section.say(format!(
            "It rests on {}, on all of them: it may not promise more than the product of their targets.",
            all_of(&rests)
        ));
    }
    section.say(inheritance(promise, lineage));
    section
}

// === what is promised ===

fn what(agreement: &Agreement, promise: &Objective) -> String {
    let service = agreement.service_of(promise).map(frame::titled).unwrap_or_default();
    let target = &promise.target;
    let figure = figure(promise.measure.unit(), &target.limit);
    let limit = compared(target.operator, &figure);
    format!(
        "For {service}, in {}, the provider promises that {}.",
        each_period(promise.period),
        claim(&promise.measure, &limit)
    )
}

/// The promise of a measure, with its limit in words.
fn claim(measure: &Measure, limit: &str) -> String {
    match measure {
        Measure::Availability => format!("{limit} of the eligible time is Up"),
        Measure::Success => format!("{limit} of the attempts are ok"),
        Measure::Downtime => format!("the Down time in the eligible time is {limit}"),
        Measure::LongestOutage => format!("the Down time of the longest outage is {limit}"),
        Measure::Outages => format!("the number of outages is {limit}"),
        Measure::Within { phase, limit: threshold } => {
            format!("{limit} of the attempts have {}", as_good(phase, *threshold))
        }
        Measure::Percentile { share, phase } => {
            let (share, phase) = (percent(share), with_article(phase));
            format!(
                "at least {share} of the attempts, rounded up to a whole attempt, have {phase} of {limit}"
            )
        }
        Measure::Mean { phase } => {
            format!("the mean of {phase}, over the ok attempts that have it, is {limit}")
        }
        Measure::Ratio(ratio) => format!("{limit} of the {}", ended(*ratio)),
        Measure::MeanSuccess { every_s } => format!(
            "the mean, over intervals of {}, of the share of the attempts in each that are ok is {limit}",
            seconds(*every_s)
        ),
        Measure::GoodDays { phase, limit: threshold, at } => format!(
            "on {limit} of the dates with an attempt that counts, at least {} of the attempts have {}",
            percent(at),
            as_good(phase, *threshold)
        ),
    }
}

/// A sample that is at least as good as a threshold.
fn as_good(phase: &str, threshold: u64) -> String {
    let Scale { unit, good } = Scale::of_samples(phase);
    let threshold = figure(unit, &number::whole(threshold));
    let side = match good {
        Good::High => "at least",
        Good::Low => "at most",
    };
    format!("{} of {side} {threshold}", with_article(phase))
}

fn with_article(phase: &str) -> String {
    let article = if phase.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {phase}")
}

/// What became of calls or registrations, and where that is defined.
fn ended(ratio: Ratio) -> String {
    let ended = match ratio {
        Ratio::Ser => "calls that were not redirected are established",
        Ratio::Seer => "calls that were not redirected reach somebody, or somebody's will",
        Ratio::Isa => "calls fail by a server",
        Ratio::Scr => "calls are established and ended in due form",
        Ratio::Ira => "registrations fail by a server",
    };
    format!("{ended} ({}, RFC 6076 {})", ratio.as_str().to_uppercase(), ratio.section())
}

/// By which probes, from where.
fn measured(promise: &Objective) -> String {
    let probes: Vec<&str> = promise.probes.iter().map(AsRef::as_ref).collect();
    let noun = if probes.len() == 1 { "the probe" } else { "the probes" };
    let labels: Vec<String> = promise
        .agents
        .wanted()
        .map(|(key, values)| format!("label {key} is {}", one_of(values)))
        .collect();
    let agents = if labels.is_empty() {
        "from every agent that runs it".to_owned()
    } else {
        format!("from every agent whose {}", all_of(&labels))
    };
    format!("It is measured by {noun} {}, {agents}.", all_of(&probes))
}

// === time ===

fn window(rule: &WindowRule) -> String {
    let bad = compared(rule.bad_operator, &percent(&rule.bad_share));
    format!(
        "Time is judged in windows of {}. An agent calls a window Down when {bad} of its attempts in it failed, and Up \
         otherwise; with fewer than {} it says nothing. Where a probe is slower than that, what it found holds until \
         its next attempt is due.",
        seconds(u64::from(rule.width_s)),
        count(rule.attempts, "attempt")
    )
}

fn vantages(rule: &Vantages) -> String {
    match rule {
        Vantages::Quorum { share, at_least } => format!(
            "The service is Down in a window when at least {} of the agents that said Up or Down say Down, and Up \
             otherwise. Where fewer than {} said either, its state is unknown.",
            percent(share),
            count(*at_least, "agent")
        ),
        Vantages::Each(agents) if agents.is_empty() => {
            "Every agent with a window in the period is judged alone, and the worst one decides."
                .to_owned()
        }
        Vantages::Each(agents) => format!(
            "Each of these agents is judged alone, and the worst one decides: {}. One without a window in the period \
             leaves the promise without a verdict.",
            all_of(agents)
        ),
    }
}

fn outage(rule: OutageRule) -> String {
    let OutageRule { after, until, bridge } = rule;
    let in_a_row = |windows: u64, state: &str| match windows {
        1 => format!("the first {state} window"),
        windows => format!("the first of {windows} {state} windows in a row"),
    };
    let too_short = if after > 1 { "; fewer Down windows than that count as Up" } else { "" };
    let gap = match bridge {
        0 => "A window of unknown state ends it.".to_owned(),
        bridge => format!(
            "Up to {} of unknown state within it belong to it; more of them in a row end it.",
            count(bridge, "window")
        ),
    };
    format!(
        "Down time begins with {} and ends before {}{too_short}. {gap} It runs on over the end of a period, and each \
         period has its part of it.",
        in_a_row(after, "Down"),
        in_a_row(until, "Up")
    )
}

fn unknown(promise: &Objective) -> String {
    let UnknownRule { counts_as, coverage } = &promise.unknown;
    let of_time = matches!(promise.measure, Measure::Availability | Measure::Downtime);
    match counts_as {
        UnknownAs::Removed => {
            let unless = if of_time {
                ", unless the verdict would be the same with all unknown time Up and with all of it Down"
            } else {
                ""
            };
            format!(
                "Unknown time is left out. Where less than {} of the eligible time is known, there is no \
                 verdict{unless}.",
                percent(coverage)
            )
        }
        UnknownAs::Up => "Unknown time counts as Up, however much there is of it.".to_owned(),
        UnknownAs::Down
            if matches!(promise.measure, Measure::LongestOutage | Measure::Outages) =>
        {
            "Unknown time is part of no outage, but counts as Down, however much there is of it, in every Down time that \
             a credit is for."
                .to_owned()
        }
        UnknownAs::Down => {
            "Unknown time counts as Down, however much there is of it, and in every Down time that a credit is for."
                .to_owned()
        }
    }
}

fn excluded(promise: &Objective) -> &'static str {
    match promise.exclusions {
        ExclusionRule::Removed => "Excluded time is left out: it is not eligible.",
        ExclusionRule::AsUp if promise.measure == Measure::Availability => {
            "Excluded time counts as Up, and as part of the whole."
        }
        ExclusionRule::AsUp if promise.measure.is_of_time() => "Excluded time is left out.",
        ExclusionRule::AsUp => "Excluded time is left out of the attempts that count.",
        ExclusionRule::None => "Nothing is excluded: excluded time counts like any other.",
    }
}

// === attempts ===

/// Which attempts count, where the measure is of attempts, and how many there must be.
fn attempts(promise: &Objective) -> String {
    let least = format!(
        "With fewer than {} that counted in the period, there is no verdict.",
        count(promise.min_attempts, "attempt")
    );
    let during = match promise.during {
        During::Available => {
            " Attempts in Down time of an availability that is promised of the same service, by the same probe, are not \
             counted a second time."
        }
        During::Always => " Attempts count in Down time too.",
    };
    let failures = match promise.failures {
        Failures::AsWorst => " A failed attempt counts as worse than any limit.",
        Failures::Exclude => " Failed attempts are left out.",
    };
    let whole = "An attempt counts when all of its window is eligible.";
    match &promise.measure {
        Measure::Availability | Measure::Downtime | Measure::LongestOutage | Measure::Outages => {
            least
        }
        Measure::Success | Measure::Ratio(_) => format!("{whole} {least}"),
        Measure::Within { .. } | Measure::Percentile { .. } => {
            format!("{whole}{during}{failures} {least}")
        }
        Measure::Mean { .. } => format!("{whole}{during} {least}"),
        Measure::MeanSuccess { .. } => format!(
            "{whole} It belongs to the interval in which its window begins; intervals follow each other from the start \
             of the period, each that has an eligible second once, and one without attempts counts as 100%. {least}"
        ),
        Measure::GoodDays { .. } => format!(
            "{whole} It belongs to the date on which its window begins.{during}{failures} {least}"
        ),
    }
}

// === levels ===

fn inheritance(promise: &Objective, lineage: &Lineage) -> String {
    let origin = match lineage.origin(promise.name.as_str()) {
        Origin::Own => String::new(),
        Origin::Replaces(from) => format!("It stands in the place of that of {from}. "),
        Origin::Inherited(from) => format!("It is inherited from {from}. "),
    };
    let rule = match promise.inherit {
        Inherit::Open => "Agreements that inherit it may change it or take it away.",
        Inherit::Floor => {
            "Agreements that inherit it may only promise more: a target at least as strict, and another credit."
        }
        Inherit::Locked => "Agreements that inherit it may not change it.",
    };
    format!("{origin}{rule}")
}
