//! Objectives: what is promised, how it is measured, and what counts.

use super::credit::{Context, credit};
use super::scalar::{Written, bad_share, count, figure, period, share, share_above_zero, target};
use super::terms::NAME_CURE;
use super::{Entry, Placed};
use crate::contract::calendar::Calendar;
use crate::contract::model::{
    During, ExclusionRule, Failures, Good, Inherit, Measure, Objective, Operator, OutageRule,
    PLACES_MAX, Ratio, Round, Scale, Terms, Unit, UnknownAs, UnknownRule, Vantages, WindowRule,
};
use crate::contract::number::Exact;
use crate::contract::period::PeriodKind;
use crate::contract::phases;
use probefleet_proto::label::Selector;
use probefleet_proto::name::Name;
use probefleet_proto::yaml::{Map, Node, Position, Problems, Value, list, one_or_many, scalar};
use std::sync::Arc;

/// An evaluation window when nothing is agreed, in s.
const WIDTH_DEFAULT_S: u32 = 60;
/// Widest evaluation window, in s: a day.
const WIDTH_MAX_S: u64 = 86_400;

/// Longest interval of a mean, in s: a month, because what is longer is a period.
const INTERVAL_MAX_S: u64 = 31 * 86_400;

/// Reads the objectives; `terms` is `None` when the rest of the agreement has problems. What is inherited may be removed.
pub(super) fn objectives(
    node: &Node,
    terms: Option<&Terms>,
    inherits: bool,
    problems: &mut Problems,
) -> Option<Vec<Entry>> {
    let map = Map::open(node, "the objectives", problems)?;
    let (mut read, mut total) = (Vec::new(), 0);
    for (key, at, node) in map.entries() {
        total += 1;
        match Name::new(key) {
            Ok(name) => read.extend(entry(Named { name, at }, node, terms, problems)),
            Err(_) => {
                problems.report::<()>(at, "bad-name", format!("`{key}`"), NAME_CURE);
            }
        }
    }
    if total == 0 && !inherits {
        let cure = "an agreement promises at least one thing";
        return problems.report(node.at, "missing-key", "no objective", cure);
    }
    (read.len() == total).then_some(read)
}

/// An objective, or `{remove: true}`.
fn entry(
    named: Named,
    node: &Node,
    terms: Option<&Terms>,
    problems: &mut Problems,
) -> Option<Entry> {
    let removes = matches!(&node.value, Value::Mapping(entries)
        if matches!(entries.as_slice(), [(key, _)] if key.text == "remove"));
    if !removes {
        let placed = objective(named, node, terms, problems)?;
        return Some(Entry::Objective(Box::new(placed)));
    }
    let mut map = Map::open(node, "an objective", problems)?;
    map.required("remove", problems, |node, p| node.choice(p, &[("true", ())]))?;
    Some(Entry::Removed(named.name, named.at))
}

/// An objective's name and its place.
struct Named {
    name: Name,
    at: Position,
}

fn objective(
    named: Named,
    node: &Node,
    terms: Option<&Terms>,
    problems: &mut Problems,
) -> Option<Placed> {
    let mut map = Map::open(node, "an objective", problems)?;
    let service = map.required("service", problems, |node, p| service(node, terms, p));
    let probes = map.required("probe", problems, probes);
    let agents = map.optional("agents", Selector::default(), problems, Selector::decode);
    let measure = map.required("measure", problems, measure);
    // A measure that could not be read was reported; its target and credit are then taken as they are written.
    let scale = measure.as_ref().map(Measure::scale);
    let target = map.required("target", problems, |node, p| target(node, scale, p));
    let default_period = terms.map_or(PeriodKind::Month, |terms| terms.period);
    let period = map.optional("period", default_period, problems, period);
    let hours = map.optional("hours", None, problems, |node, p| hours(node, terms, p).map(Some));
    let window = map.optional("window", window_default(), problems, window);
    let vantages = map.optional("vantages", vantages_default(), problems, vantages);
    let outage = map.optional("outage", OUTAGE_DEFAULT, problems, outage);
    let exclusions = map.optional("exclusions", ExclusionRule::Removed, problems, |node, p| {
        node.choice(p, EXCLUSIONS)
    });
    let supported_by =
        map.optional("supported_by", Vec::new(), problems, |node, p| list(node, p, supporter));
    let inherit =
        map.optional("inherit", Inherit::Open, problems, |node, p| node.choice(p, INHERIT));
    let unknown = map.optional("unknown", unknown_default(), problems, unknown);
    let min_attempts = map.optional("min_attempts", 1, problems, count);
    let during =
        map.optional("during", During::Available, problems, |node, p| node.choice(p, DURING));
    let failures =
        map.optional("failures", Failures::AsWorst, problems, |node, p| node.choice(p, FAILURES));
    let round =
        map.optional("round", None, problems, |node, p| round(node, measure.as_ref(), p).map(Some));
    let context = Context {
        measure: measure.as_ref(),
        target: target.as_ref(),
        currency: terms.map(|terms| &terms.currency),
    };
    let credit =
        map.optional("credit", None, problems, |node, p| credit(node, context, p).map(Some));
    map.finish(problems);
    let (probes_at, probes) = probes?;
    let objective = Objective {
        name: named.name,
        service: service?,
        probes,
        agents: agents?,
        measure: measure?,
        target: target?,
        period: period?,
        hours: hours?,
        window: window?,
        vantages: vantages?,
        outage: outage?,
        exclusions: exclusions?,
        unknown: unknown?,
        min_attempts: min_attempts?,
        during: during?,
        failures: failures?,
        round: round?,
        credit: credit?,
        supported_by: supported_by?,
        inherit: inherit?,
    };
    Some(Placed { inherited: false, at: named.at, probes_at, objective })
}

/// What excluded time may count as.
pub(in crate::contract) const EXCLUSIONS: &[(&str, ExclusionRule)] = &[
    ("removed", ExclusionRule::Removed),
    ("as_up", ExclusionRule::AsUp),
    ("none", ExclusionRule::None),
];

/// What heirs may do.
pub(in crate::contract) const INHERIT: &[(&str, Inherit)] =
    &[("open", Inherit::Open), ("floor", Inherit::Floor), ("locked", Inherit::Locked)];

/// Whether attempts in Down time may count.
pub(in crate::contract) const DURING: &[(&str, During)] =
    &[("available", During::Available), ("always", During::Always)];

/// What failed attempts may count as.
pub(in crate::contract) const FAILURES: &[(&str, Failures)] =
    &[("as_worst", Failures::AsWorst), ("exclude", Failures::Exclude)];

/// What unknown time may count as.
pub(in crate::contract) const UNKNOWN_AS: &[(&str, UnknownAs)] =
    &[("removed", UnknownAs::Removed), ("up", UnknownAs::Up), ("down", UnknownAs::Down)];

/// Measures that are one word.
pub(in crate::contract) const PLAIN_MEASURES: &[(&str, Measure)] = &[
    ("availability", Measure::Availability),
    ("downtime", Measure::Downtime),
    ("longest_outage", Measure::LongestOutage),
    ("outages", Measure::Outages),
    ("success", Measure::Success),
];

/// `agreement/objective`.
fn supporter(node: &Node, problems: &mut Problems) -> Option<(Name, Name)> {
    scalar(node, problems, "bad-value", |text| {
        let cure = "write an agreement and its objective, such as network-ola/available";
        let (agreement, objective) = text.split_once('/').ok_or(cure)?;
        let names = Name::new(agreement).ok().zip(Name::new(objective).ok());
        names.ok_or(cure)
    })
}

fn service(node: &Node, terms: Option<&Terms>, problems: &mut Problems) -> Option<usize> {
    let name = node.name(problems)?;
    let services = &terms?.services;
    let found = services.iter().position(|service| service.name == name);
    found.or_else(|| {
        let known: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        let cure = format!("services here: {}", known.join(", "));
        problems.report(node.at, "unknown-service", format!("`{name}`"), cure)
    })
}

fn hours(node: &Node, terms: Option<&Terms>, problems: &mut Problems) -> Option<Arc<Calendar>> {
    let name = node.name(problems)?;
    let calendars = &terms?.calendars;
    let found = calendars.iter().find(|calendar| calendar.name == name);
    found.cloned().or_else(|| {
        let known: Vec<&str> = calendars.iter().map(|calendar| calendar.name.as_str()).collect();
        let cure = match known.as_slice() {
            [] => "add it under `calendars`; without `hours`, the objective holds around the clock"
                .to_owned(),
            known => format!("calendars here: {}", known.join(", ")),
        };
        problems.report(node.at, "unknown-calendar", format!("`{name}`"), cure)
    })
}

fn probes(node: &Node, problems: &mut Problems) -> Option<(Position, Vec<Name>)> {
    let names = one_or_many(node, problems, Node::name)?;
    if names.is_empty() {
        return problems.report(node.at, "bad-value", "an empty list", "name a probe");
    }
    let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
    if let Some((_, name)) = twice {
        let message = format!("`{name}` stands here twice");
        return problems.report(node.at, "bad-value", message, "name each probe once");
    }
    Some((node.at, names))
}

/// Measures with keys, for messages.
const KEYED_MEASURES: &str = "{within: 2s, phase: total}, {percentile: 95%, phase: total}, {mean: total}, \
     {ratio: ser}, {mean_success: 5m} or {good_days: {within: 2s, phase: total, at: 95%}}";

fn measure(node: &Node, problems: &mut Problems) -> Option<Measure> {
    match &node.value {
        Value::Scalar { .. } => scalar(node, problems, "bad-value", |text| {
            let found = PLAIN_MEASURES.iter().find(|(word, _)| *word == text);
            found.map(|(_, measure)| measure.clone()).ok_or_else(|| {
                let words: Vec<&str> = PLAIN_MEASURES.iter().map(|(word, _)| *word).collect();
                format!("write {}, {KEYED_MEASURES}", words.join(", "))
            })
        }),
        _ => measure_with_keys(node, problems),
    }
}

fn measure_with_keys(node: &Node, problems: &mut Problems) -> Option<Measure> {
    let mut map = Map::open(node, "a measure", problems)?;
    let measure = if map.get("ratio").is_some() {
        let ratio = map.required("ratio", problems, |node, p| node.choice(p, Ratio::WORDS));
        ratio.map(Measure::Ratio)
    } else if map.get("mean_success").is_some() {
        let every_s = map.required("mean_success", problems, interval_s);
        every_s.map(|every_s| Measure::MeanSuccess { every_s })
    } else if map.get("good_days").is_some() {
        map.required("good_days", problems, good_days)
    } else if map.get("mean").is_some() {
        map.required("mean", problems, phase).map(|phase| Measure::Mean { phase })
    } else if map.get("percentile").is_some() {
        let share = map.required("percentile", problems, share_above_zero);
        let phase = map.required("phase", problems, phase);
        share.zip(phase).map(|(share, phase)| Measure::Percentile { share, phase })
    } else {
        threshold(&mut map, problems).map(|(phase, limit)| Measure::Within { phase, limit })
    };
    map.finish(problems);
    measure
}

/// `phase` and `within`.
fn threshold(map: &mut Map<'_>, problems: &mut Problems) -> Option<(String, u64)> {
    let phase = map.required("phase", problems, phase);
    let scale = phase.as_deref().map(Scale::of_samples);
    let limit = map.required("within", problems, |node, p| within(node, scale, p));
    phase.zip(limit)
}

/// `{within: 2s, phase: total, at: 95%}`.
fn good_days(node: &Node, problems: &mut Problems) -> Option<Measure> {
    let mut map = Map::open(node, "the good days", problems)?;
    let threshold = threshold(&mut map, problems);
    let at = map.required("at", problems, share_above_zero);
    map.finish(problems);
    let ((phase, limit), at) = (threshold?, at?);
    Some(Measure::GoodDays { phase, limit, at })
}

/// The length of the intervals of a mean.
fn interval_s(node: &Node, problems: &mut Problems) -> Option<u64> {
    match node.duration_s(problems)? {
        every_s @ 1..=INTERVAL_MAX_S => Some(every_s),
        _ => problems.report(node.at, "bad-value", node.describe(), "write 1s to 31d"),
    }
}

/// The threshold of a `within`; `scale` is `None` for a phase that could not be read.
fn within(node: &Node, scale: Option<Scale>, problems: &mut Problems) -> Option<u64> {
    let Some(Scale { unit, good }) = scale else { return Some(0) };
    if unit == Unit::Duration {
        return node.duration_ns(problems);
    }
    let Value::Scalar { text, .. } = &node.value else {
        return problems.report(node.at, "bad-value", node.describe(), "write a single value");
    };
    let sample = if unit == Unit::Centi { "a score such as 4.0" } else { "one such as \"1%\"" };
    let limit = figure(node, text, Written { unit, sample }, problems)?;
    let whole = limit.is_integer().then(|| u64::try_from(limit.to_integer()).ok()).flatten();
    match whole {
        None => problems.report(
            node.at,
            "bad-value",
            node.describe(),
            "samples are whole parts per million: write at most four places",
        ),
        Some(0) if good == Good::High => {
            let cure = "everything is at least that: write more than 0";
            problems.report(node.at, "bad-value", node.describe(), cure)
        }
        limit => limit,
    }
}

/// `{places: 2}`; `measure` is `None` where it could not be read.
fn round(node: &Node, measure: Option<&Measure>, problems: &mut Problems) -> Option<Round> {
    let mut map = Map::open(node, "the rounding", problems)?;
    let places = map.required("places", problems, |node, p| {
        let places = node.whole(p)?;
        u32::try_from(places).ok().filter(|places| *places <= PLACES_MAX).or_else(|| {
            let cure = format!("write at most {PLACES_MAX}");
            p.report(node.at, "bad-value", node.describe(), cure)
        })
    });
    map.finish(problems);
    if measure.is_some_and(|measure| !measure.is_percentage()) {
        let cure = "only percentages that are no percentiles are rounded: leave it out";
        return problems.report(node.at, "measure-target-mismatch", "`round`", cure);
    }
    Some(Round { places: places? })
}

/// A phase or value whose samples ok attempts have.
fn phase(node: &Node, problems: &mut Problems) -> Option<String> {
    scalar(node, problems, "unknown-phase", |text| {
        phases::known_phase(text).then(|| text.to_owned()).ok_or_else(phases::phases_text)
    })
}

fn window_default() -> WindowRule {
    WindowRule {
        width_s: WIDTH_DEFAULT_S,
        bad_operator: Operator::Above,
        bad_share: half(),
        attempts: 1,
    }
}

fn half() -> Exact {
    Exact::new(1.into(), 2.into())
}

fn window(node: &Node, problems: &mut Problems) -> Option<WindowRule> {
    let mut map = Map::open(node, "a window", problems)?;
    let width_s = map.optional("width", WIDTH_DEFAULT_S, problems, |node, problems| {
        match node.duration_s(problems)? {
            width_s @ 1..=WIDTH_MAX_S => u32::try_from(width_s).ok(),
            _ => problems.report(node.at, "bad-value", node.describe(), "write 1s to 24h"),
        }
    });
    let bad = map.optional("bad", (Operator::Above, half()), problems, bad_share);
    let attempts = map.optional("attempts", 1, problems, count);
    map.finish(problems);
    let (bad_operator, bad_share) = bad?;
    Some(WindowRule { width_s: width_s?, bad_operator, bad_share, attempts: attempts? })
}

fn vantages_default() -> Vantages {
    Vantages::Quorum { share: Exact::new(51.into(), 100.into()), at_least: 1 }
}

fn vantages(node: &Node, problems: &mut Problems) -> Option<Vantages> {
    let mut map = Map::open(node, "the vantages", problems)?;
    if let Some(each) = map.get("each") {
        let vantages = each_vantage(each, problems);
        map.finish(problems);
        return vantages;
    }
    let share =
        map.optional("quorum", Exact::new(51.into(), 100.into()), problems, share_above_zero);
    let at_least = map.optional("at_least", 1, problems, count);
    map.finish(problems);
    Some(Vantages::Quorum { share: share?, at_least: at_least? })
}

fn each_vantage(node: &Node, problems: &mut Problems) -> Option<Vantages> {
    if matches!(&node.value, Value::Scalar { text, .. } if text == "all") {
        return Some(Vantages::Each(Vec::new()));
    }
    let names = list(node, problems, |node, p| node.name(p).map(|name| name.to_string()))?;
    if names.is_empty() {
        let cure = "name agents, or write `each: all`";
        return problems.report(node.at, "bad-value", "an empty list", cure);
    }
    Some(Vantages::Each(names))
}

const OUTAGE_DEFAULT: OutageRule = OutageRule { after: 1, until: 1, bridge: 2 };

fn outage(node: &Node, problems: &mut Problems) -> Option<OutageRule> {
    let mut map = Map::open(node, "the outage rule", problems)?;
    let after = map.optional("after", OUTAGE_DEFAULT.after, problems, count);
    let until = map.optional("until", OUTAGE_DEFAULT.until, problems, count);
    let bridge = map.optional("bridge", OUTAGE_DEFAULT.bridge, problems, Node::whole);
    map.finish(problems);
    Some(OutageRule { after: after?, until: until?, bridge: bridge? })
}

fn unknown_default() -> UnknownRule {
    UnknownRule { counts_as: UnknownAs::Removed, coverage: Exact::new(95.into(), 100.into()) }
}

fn unknown(node: &Node, problems: &mut Problems) -> Option<UnknownRule> {
    let default = unknown_default();
    let mut map = Map::open(node, "the rule for unknown time", problems)?;
    let counts_as =
        map.optional("as", default.counts_as, problems, |node, p| node.choice(p, UNKNOWN_AS));
    let coverage = map.optional("coverage", default.coverage, problems, share);
    map.finish(problems);
    Some(UnknownRule { counts_as: counts_as?, coverage: coverage? })
}
