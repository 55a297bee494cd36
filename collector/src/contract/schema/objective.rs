//! The schema of objectives: what is promised, how it is measured, and what counts.

use super::scalar::{
    bad_share, choice, count, duration, figure, labels, list, name, object, one_or_many, phase,
    reference, share, supporter, target, whole, whole_to,
};
use crate::contract::model::{PLACES_MAX, Ratio};
use crate::contract::parse::objective::{
    DURING, EXCLUSIONS, FAILURES, INHERIT, PLAIN_MEASURES, UNKNOWN_AS,
};
use serde_json::{Value, json};

/// What an objective is made of.
pub(super) fn definitions() -> Vec<(&'static str, Value)> {
    let mut definitions = vec![("objective", objective())];
    definitions.extend(measures());
    definitions.extend(states());
    definitions.extend(counting());
    definitions
}

fn objective() -> Value {
    object(
        &["service", "probe", "measure", "target"],
        vec![
            ("service", name("The service whose charge credits are shares of.")),
            ("probe", one_or_many(name("A probe of the plan."))),
            ("agents", labels()),
            ("measure", reference("measure")),
            (
                "target",
                target(
                    "An operator and a value of the measure's kind, in quotes: \">= 99.95%\", \"<= 3s\".",
                ),
            ),
            ("period", reference("period")),
            ("hours", name("A calendar of service hours; around the clock, if left out.")),
            ("window", reference("window")),
            ("vantages", reference("vantages")),
            ("outage", reference("outage")),
            (
                "exclusions",
                choice(
                    EXCLUSIONS,
                    "Excluded time: removed; as_up: counts as Up in an availability; none: nothing is excluded.",
                ),
            ),
            ("unknown", reference("unknown")),
            (
                "min_attempts",
                count("With fewer counted attempts there is no verdict; 1 if left out."),
            ),
            (
                "during",
                choice(
                    DURING,
                    "available: attempts in Down time of the service's availability are not counted a second time.",
                ),
            ),
            (
                "failures",
                choice(FAILURES, "Failed attempts: worse than any threshold, or not counted."),
            ),
            ("round", reference("round")),
            ("credit", reference("credit")),
            ("supported_by", list(supporter("What it rests on: agreement/objective."), 0)),
            (
                "inherit",
                choice(
                    INHERIT,
                    "For heirs. open: may change it; floor: may only promise more; locked: may not change it.",
                ),
            ),
        ],
    )
}

fn measures() -> Vec<(&'static str, Value)> {
    const SHARE: &str = "The share of attempts with the phase at least as good as this.";
    let plain = choice(
        PLAIN_MEASURES,
        "availability: the share of eligible time that is Up; downtime: the Down time in it; longest_outage: Down time of the \
         longest; outages: how many; success: the share of attempts that are ok.",
    );
    let keyed = ["within", "percentile", "mean", "ratio", "mean_success", "good_days"];
    let keyed = keyed.map(reference);
    let any: Vec<Value> = std::iter::once(plain).chain(keyed).collect();
    vec![
        ("measure", json!({"description": "What is measured.", "anyOf": any})),
        (
            "within",
            object(
                &["within", "phase"],
                vec![("within", figure(SHARE)), ("phase", reference("phase"))],
            ),
        ),
        (
            "percentile",
            object(
                &["percentile", "phase"],
                vec![
                    ("percentile", share("What so many of the attempts are at least as good as.")),
                    ("phase", reference("phase")),
                ],
            ),
        ),
        ("mean", object(&["mean"], vec![("mean", reference("phase"))])),
        (
            "ratio",
            object(&["ratio"], vec![("ratio", choice(Ratio::WORDS, "A ratio of RFC 6076."))]),
        ),
        (
            "mean_success",
            object(
                &["mean_success"],
                vec![(
                    "mean_success",
                    duration("The mean, over intervals of so long, of each one's success."),
                )],
            ),
        ),
        ("good_days", object(&["good_days"], vec![("good_days", reference("good_day"))])),
        ("phase", phase()),
        (
            "good_day",
            object(
                &["within", "phase", "at"],
                vec![
                    ("within", figure(SHARE)),
                    ("phase", reference("phase")),
                    ("at", share("A day on which the share is at least this is good.")),
                ],
            ),
        ),
    ]
}

/// How the state of the service is told.
fn states() -> Vec<(&'static str, Value)> {
    let each = json!({
        "description": "Agents that are judged alone, or all of them; the worst decides.",
        "anyOf": [choice(&[("all", ())], "Every agent."), list(name("An agent."), 1)],
    });
    vec![
        (
            "window",
            object(
                &[],
                vec![
                    ("width", duration("How wide a window is; 60s if left out.")),
                    (
                        "bad",
                        bad_share(
                            "An agent says Down when so many of its attempts failed; \"> 50%\" if left out.",
                        ),
                    ),
                    ("attempts", count("With fewer attempts it says nothing; 1 if left out.")),
                ],
            ),
        ),
        (
            "vantages",
            json!({
                "description": "How what agents say makes the state of the service.",
                "anyOf": (["quorum", "each"].map(reference)),
            }),
        ),
        (
            "quorum",
            object(
                &[],
                vec![
                    (
                        "quorum",
                        share(
                            "Down when at least so many of those that said Up or Down say Down; 51% if left out.",
                        ),
                    ),
                    ("at_least", count("With fewer voices the state is unknown; 1 if left out.")),
                ],
            ),
        ),
        ("each", object(&["each"], vec![("each", each)])),
    ]
}

/// When Down time is an outage, and what counts.
fn counting() -> Vec<(&'static str, Value)> {
    vec![
        (
            "outage",
            object(
                &[],
                vec![
                    (
                        "after",
                        count(
                            "It begins with the first of so many Down windows in a row; 1 if left out.",
                        ),
                    ),
                    (
                        "until",
                        count(
                            "It ends before the first of so many Up windows in a row; 1 if left out.",
                        ),
                    ),
                    (
                        "bridge",
                        whole(
                            "Up to so many unknown windows within it belong to it; 2 if left out.",
                        ),
                    ),
                ],
            ),
        ),
        (
            "round",
            object(
                &["places"],
                vec![(
                    "places",
                    whole_to(
                        PLACES_MAX.into(),
                        "The measured percentage is first rounded to so many.",
                    ),
                )],
            ),
        ),
        (
            "unknown",
            object(
                &[],
                vec![
                    ("as", choice(UNKNOWN_AS, "What unknown time counts as.")),
                    (
                        "coverage",
                        share("No verdict when less of the time is known; 95% if left out."),
                    ),
                ],
            ),
        ),
    ]
}
