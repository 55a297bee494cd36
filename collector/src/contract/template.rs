//! An agreement to begin with: one promise of availability and one of response time for each probe of a plan, and one of
//! established calls where it makes them.

use probefleet_proto::name::{NAME_MAX_BYTES, Name};
use probefleet_proto::plan::{Plan, PlannedProbe};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const HEAD: &str = "\
# An agreement to begin with. Go through it line by line, then check it:
#   probefleet-collector contract check THIS-FILE --plan PLAN
agreement: first-agreement         # its name: a-z, 0-9 and -
version: 1                         # any change of meaning is a new, higher version
kind: sla                          # sla | ola (inside one house) | underpinning (with a supplier)
level: service                     # corporate | customer | service
title: First agreement
overview: What is promised, to whom, and why.
not_included: []                   # what nobody should expect, as a list of texts
parties:
  provider: {name: Provider, contact: sla@provider.example}
  customer: {name: Customer, contact: it@customer.example}
responsibilities:
  - {party: customer, text: Lets the probes through its firewall.}
time_zone: Etc/UTC                 # every date here is in it, such as Europe/Berlin
currency: EUR
term: {from: 2026-01-01, until: 2029-01-01}   # until is the first date that no longer belongs to it
period: month                      # judged each month; or each day
services:
  service: {title: The service, monthly_charge: \"1000.00\"}   # credits are shares of this charge
objectives:
";

const TAIL: &str = "\
credits: {combine: sum, cap: 30%, sole_remedy: true, claim: automatic}   # all credits of a month, at most 30 % of its charges
close: {grace: 72h, dispute: 30d}  # late reports are taken for 72 h, objections for 30 days
";

/// The text of an agreement for the probes of a plan; it passes its own check.
#[must_use]
pub fn agreement(plan: &Plan) -> String {
    let mut text = HEAD.to_owned();
    let mut taken = BTreeSet::new();
    for probe in &plan.probes {
        objectives(&mut text, probe, &mut taken);
    }
    text.push_str(TAIL);
    text
}

fn objectives(text: &mut String, probe: &PlannedProbe, taken: &mut BTreeSet<String>) {
    let name = &probe.schedule.name;
    let (every_s, phase) = (probe.schedule.every_s, phase(probe));
    let held = every_s.div_ceil(60).max(1);
    // Writing to a String cannot fail.
    let _infallible = write!(
        text,
        "  {availability}:
    service: service
    probe: {name}
    measure: availability            # the share of the month in which it worked
    target: \">= 99.5%\"
    vantages: {{quorum: 51%, at_least: 1}}   # Down when 51 % of the agents that measured say so
    outage: {{after: {after}, until: 1, bridge: {bridge}}}   # in windows of a minute; one attempt every {every_s} s holds for {held}
    unknown: {{as: removed, coverage: 95%}}   # no verdict when less of the time is known
    credit:
      bands: [{{below: 99.5%, rate: 10%}}, {{below: 99%, rate: 25%}}]
  {within}:
    service: service
    probe: {name}
    measure: {{within: 2s, phase: {phase}}}   # the share of attempts that took at most so long
    target: \">= 95%\"                   # or {{percentile: 95%, phase: …}} or {{mean: …}}, with a duration: \"<= 2s\"
    credit: {{flat: 5%}}
",
        availability = objective_name(name, "available", taken),
        within = objective_name(name, "fast", taken),
        after = held + 1,
        bridge = held.max(2),
    );
    if makes_calls(probe) {
        let _infallible = write!(
            text,
            "  {established}:
    service: service
    probe: {name}
    measure: {{ratio: ser}}             # calls that were set up, of those not redirected (RFC 6076); or seer, isa, scr
    target: \">= 95%\"
    credit: {{flat: 5%}}
",
            established = objective_name(name, "established", taken),
        );
    }
}

fn makes_calls(probe: &PlannedProbe) -> bool {
    probe.kind == "sip" && matches!(mode(probe).as_deref(), Some("call" | "ring"))
}

fn mode(probe: &PlannedProbe) -> Option<String> {
    let block = probe.block.to_json();
    block.get("mode").and_then(|mode| mode.as_str()).map(str::to_owned)
}

/// The phase that users feel.
fn phase(probe: &PlannedProbe) -> &'static str {
    match (probe.kind.as_str(), mode(probe).as_deref()) {
        ("sql", _) => "query",
        ("sip", _) if makes_calls(probe) => "session_request_delay",
        // A probe that says no mode asks, and calls nobody.
        ("sip", None | Some("options")) => "options_request_delay",
        _ => "total",
    }
}

/// `PROBE-SUFFIX`, cut to the length of a name and still different from all others.
fn objective_name(probe: &Name, suffix: &str, taken: &mut BTreeSet<String>) -> String {
    let mut number = 1_u32;
    loop {
        let end = if number == 1 { format!("-{suffix}") } else { format!("-{suffix}-{number}") };
        let room = NAME_MAX_BYTES.saturating_sub(end.len());
        let start: String = probe.as_str().chars().take(room).collect();
        let name = format!("{start}{end}");
        if taken.insert(name.clone()) {
            return name;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Agreement;

    #[test]
    fn it_passes_its_own_check() {
        let long = "x".repeat(63);
        let plan = format!(
            "probes:
  - {{name: web, http: {{url: 'https://web.example/'}}, every: 30s}}
  - {{name: erp, sql: {{source: erp, query: SELECT 1}}, every: 5m}}
  - {{name: voice, sip: {{uri: 'sip:echo@sbc.example', mode: call}}, every: 60s}}
  - {{name: ping, sip: {{uri: 'sip:echo@sbc.example'}}, every: 60s}}
  - {{name: {long}, http: {{url: 'https://web.example/'}}, every: 60s}}
  - {{name: {long}a, http: {{url: 'https://web.example/'}}, every: 60s}}
"
        )
        .replace(&format!("{long}a"), &format!("{}a", &long[1..]));
        let plan = Plan::parse("plan.yaml", &plan).expect("a plan");
        let text = agreement(&plan);
        let loaded = Agreement::load_with_plan(&[("a.yaml", &text)], Some(&plan)).expect("valid");
        assert_eq!(loaded.agreement.objectives().len(), 2 * plan.probes.len() + 1);
        assert!(text.contains("  voice-established:\n"), "{text}");
        for phase in ["total", "query", "session_request_delay", "options_request_delay"] {
            assert!(text.contains(&format!("phase: {phase}}}")), "{text}");
        }
        let unwise = loaded.warnings.to_string();
        assert!(!unwise.contains("interval"), "{unwise}");
    }
}
