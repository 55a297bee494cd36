//! The phases and values that agents report, by kind of probe: what a measure may be of.

/// The phases and values that agents report of good attempts, by kind of probe.
pub(super) const PHASES: [(&str, &[&str]); 3] = [
    ("http", &["resolve", "connect", "tls", "redirect", "wait", "receive", "total"]),
    ("sql", &["resolve", "connect", "tls", "login", "first_row", "fetch", "query", "total"]),
    (
        "sip",
        &[
            "resolve",
            "connect",
            "tls",
            "options_request_delay",
            "trying",
            "session_request_delay",
            "time_to_answer",
            "session_disconnect_delay",
            "registration_request_delay",
            "media_setup",
            "jitter",
            "loss_ppm",
            "mos_centi",
            "total",
        ],
    ),
];

/// Begins the phases that are named by a journey's steps.
pub(super) const STEP: &str = "step.";

/// True when agents report such a phase of good attempts.
pub(super) fn known_phase(phase: &str) -> bool {
    PHASES.iter().any(|(kind, _)| kind_has_phase(kind, phase)) || is_step(phase)
}

pub(super) fn kind_has_phase(kind: &str, phase: &str) -> bool {
    let listed = PHASES.iter().any(|(name, phases)| *name == kind && phases.contains(&phase));
    listed || (kind == "http" && is_step(phase))
}

fn is_step(phase: &str) -> bool {
    phase.strip_prefix(STEP).is_some_and(|name| !name.is_empty())
}

/// All phases, for messages.
pub(super) fn phases_text() -> String {
    let lists: Vec<String> =
        PHASES.iter().map(|(kind, phases)| format!("{kind}: {}", phases.join(" "))).collect();
    format!("phases of good attempts are {}, {STEP}NAME", lists.join("; "))
}
