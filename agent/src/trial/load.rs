//! What is to be tried: the probes of a plan, or a bare URL.

use crate::probe::Probe;
use probefleet_proto::name::{NAME_MAX_BYTES, Name};
use probefleet_proto::plan::{Plan, PlannedProbe};
use probefleet_proto::window::TIMEOUT_DEFAULT_NS;
use probefleet_proto::yaml::{Document, Node, Problems, Value, read_text};
use std::fs::File;
use std::time::Duration;

/// A probe to be tried.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) probe: Probe,
    pub(super) timeout: Duration,
}

/// Reads what is to be tried; the error is every problem, a line each.
pub(super) fn targets(what: &str, probe: Option<&str>) -> Result<Vec<Target>, String> {
    let targets = if is_url(what) { vec![bare(what)?] } else { planned(what)? };
    let Some(wanted) = probe else { return Ok(targets) };
    let known: Vec<String> = targets.iter().map(|target| target.name.clone()).collect();
    let chosen: Vec<Target> = targets.into_iter().filter(|target| target.name == wanted).collect();
    if chosen.is_empty() {
        return Err(format!(
            "{what}: no probe is called `{wanted}`; there are: {}",
            known.join(", ")
        ));
    }
    Ok(chosen)
}

fn is_url(what: &str) -> bool {
    what.contains("://") || ["sip:", "sips:"].iter().any(|scheme| what.starts_with(scheme))
}

/// A probe of a URL alone, with all defaults.
fn bare(url: &str) -> Result<Target, String> {
    let mut problems = Problems::new("URL");
    let probe = Probe::from_url(url, &mut problems);
    let probe = problems.into_result(probe).map_err(|problems| problems.to_string())?;
    let timeout = Duration::from_nanos(TIMEOUT_DEFAULT_NS);
    Ok(Target { name: name_of(url), probe, timeout })
}

/// A name made of the URL's host.
fn name_of(url: &str) -> String {
    let host =
        url::Url::parse(&with_slashes(url)).ok().and_then(|url| url.host_str().map(str::to_owned));
    let legal = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = host.unwrap_or_default().chars().map(legal).collect();
    let name: String = name.trim_matches('-').chars().take(NAME_MAX_BYTES).collect();
    if name.is_empty() { "probe".to_owned() } else { name }
}

/// A SIP URI as other URLs are written, so that its host stands where theirs does.
fn with_slashes(url: &str) -> String {
    match url.split_once(':') {
        Some((scheme, rest))
            if ["sip", "sips"].iter().any(|sip| scheme.eq_ignore_ascii_case(sip)) =>
        {
            format!("{scheme}://{}", rest.split([';', '?']).next().unwrap_or_default())
        }
        _ => url.to_owned(),
    }
}

fn planned(path: &str) -> Result<Vec<Target>, String> {
    let text = File::open(path)
        .and_then(read_text)
        .map_err(|error| format!("{path}: {error}; give a plan file, or a URL with its scheme"))?;
    parse(path, &text).map_err(|problems| problems.to_string())
}

fn parse(file: &str, text: &str) -> Result<Vec<Target>, Problems> {
    match Plan::parse(file, text) {
        Ok(plan) => {
            let mut problems = Problems::new(file);
            let probes: Vec<Option<Target>> =
                plan.probes.iter().map(|planned| build(planned, &mut problems)).collect();
            problems.into_result(probes.into_iter().collect())
        }
        Err(mut problems) => {
            check_blocks(file, text, &mut problems);
            Err(problems)
        }
    }
}

fn build(planned: &PlannedProbe, problems: &mut Problems) -> Option<Target> {
    let probe = Probe::build(&planned.kind, &planned.block, problems)?;
    let schedule = &planned.schedule;
    let timeout = Duration::from_nanos(schedule.timeout_ns);
    probe.check_timeout(timeout, problems)?;
    Some(Target { name: Name::as_str(&schedule.name).to_owned(), probe, timeout })
}

/// Adds the problems of the kinds' blocks to those of the plan round them, so that one run shows all.
fn check_blocks(file: &str, text: &str, problems: &mut Problems) {
    let Ok(document) = Document::parse(file, text) else { return };
    let Some(Value::Sequence(probes)) = child(&document.root, "probes").map(|node| &node.value)
    else {
        return;
    };
    for probe in probes {
        for kind in Probe::KINDS {
            if let Some(block) = child(probe, kind) {
                drop(Probe::build(kind, block, problems));
            }
        }
    }
}

fn child<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    match &node.value {
        Value::Mapping(entries) => {
            entries.iter().find(|(name, _)| name.text == key).map(|(_, node)| node)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_needs_no_file() {
        let targets = targets("https://Portal.Example:8443/x", None).expect("a URL");
        assert_eq!(targets[0].name, "portal-example");
        assert_eq!(targets[0].timeout.as_secs(), 10);
        assert_eq!(name_of("http://[::1]:80/"), "1");
        assert_eq!(name_of("http://"), "probe");
        assert_eq!(name_of("sip:echo@sbc.example:5070;user=phone"), "sbc-example");
        assert_eq!(
            super::targets("sip:echo@sbc.example", None).expect("a URI")[0].name,
            "sbc-example"
        );
        assert_eq!(super::targets("sips:sbc.example", None).expect("a URI")[0].name, "sbc-example");
        for (url, expected) in [
            ("postgres://x/y", "does not say who logs in"),
            ("postgres://me:s3cret@x/y", "a password on the command line"),
            ("sip:echo@sbc.example;transport=ws", "write udp, tcp or tls"),
            ("sip:echo:secret@sbc.example", "no credentials"),
            ("ftp://x/y", "not in this version"),
            ("http://", "bad-url"),
            ("http://u:p@x/", "no credentials"),
        ] {
            let problem = super::targets(url, None).expect_err(url);
            assert!(problem.contains(expected), "{url}: {problem}");
            let secrets = [":p@", "s3cret", "secret"];
            assert!(!secrets.iter().any(|secret| problem.contains(secret)), "{problem}");
        }
    }

    #[test]
    fn one_run_shows_every_problem() {
        let text = "probes:\n  - {name: a, every: 0s, http: {url: x}}\n  - name: b\n    every: 1s\n    http: {url: 'http://x/', ip: 5}\n";
        let problems = parse("plan.yaml", text).expect_err("wrong").to_string();
        let lines: Vec<&str> = problems.lines().collect();
        assert_eq!(lines.len(), 3, "{problems}");
        assert!(lines[0].starts_with("plan.yaml:2:22: bad-value: `0s`"), "{problems}");
        assert!(lines[1].starts_with("plan.yaml:2:38: bad-url: `x`"), "{problems}");
        assert!(
            lines[2].starts_with("plan.yaml:5:34: bad-value: `5`; write one of any, 4, 6"),
            "{problems}"
        );
    }
}
