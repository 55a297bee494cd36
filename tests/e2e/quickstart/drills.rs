//! `--break`: a service fails before everybody's eyes.

use super::ENDS;
use super::place::Place;
use harness::command::{listing, run};
use harness::fleet::get;
use harness::process::eventually;
use std::time::{Duration, Instant};

/// How soon a break that comes half a minute after the start must be certain, projected and seen everywhere.
const BROKEN: Duration = Duration::from_secs(30 + 90);

/// A drill from its start to the moment at which the break stands on the page, in the report and among the metrics.
fn drill(service: &str, objective: &str) {
    let place = Place::new();
    let running = place.start(&format!("--break {service}"));
    let began = Instant::now();
    let certain = format!(
        "probefleet_objective_status{{agreement=\"quickstart-shop\",objective=\"{objective}\",status=\"breach_certain\"}} 1"
    );
    let metrics = eventually(BROKEN, || {
        Some(get(&running.portal, "/metrics").1).filter(|metrics| metrics.contains(&certain))
    });
    let metrics = metrics.unwrap_or_else(|| panic!("{service}: {}", running.process.output()));
    println!("--break {service}: {objective} is breach_certain after {:?}", began.elapsed());
    let projected = metrics.lines().find_map(|line| {
        let labels = format!(
            "{{agreement=\"quickstart-shop\",objective=\"{objective}\",currency=\"EUR\"}} "
        );
        line.strip_prefix("probefleet_objective_credit_projected")?.strip_prefix(&labels)
    });
    let projected: f64 = projected.expect("a metric").parse().expect("a number");
    assert!(projected > 0.0, "{projected} EUR");
    let report = place.report();
    let judged = report["objectives"].as_array().expect("a list").iter();
    let judged = judged.clone().find(|judged| judged["name"] == objective).expect("is judged");
    assert_eq!(judged["status"], "breach_certain", "{judged}");
    let amount = judged["credit_projected"]["amount"].as_str().expect("an amount");
    assert_eq!(amount.parse::<f64>().expect("a number"), projected, "{judged}");
    let (status, page) = get(&running.portal, "/agreements/quickstart-shop");
    assert_eq!(status, 200);
    let card = page.split("<article").find(|card| card.contains(&format!("<h3>{objective}</h3>")));
    let card = card.expect("a card");
    assert!(card.contains("Breach certain") && card.contains(&format!("{amount} EUR")), "{card}");
    let said = running.process.output();
    assert!(said.contains("becomes slow") && said.contains("is gone"), "{said}");
    running.interrupt();
    place.assert_nothing_strays();
}

#[test]
fn a_drill_breaks_a_promise_before_everybodys_eyes() {
    // Side by side, because most of it is waiting.
    let drills =
        [("http", "availability"), ("sip", "hotline-availability"), ("sql", "report-availability")];
    std::thread::scope(|scope| {
        // A drill that fails ends the scope with its panic.
        for (service, objective) in drills {
            let _joined_by_the_scope = scope.spawn(move || drill(service, objective));
        }
    });
}

#[test]
fn a_drill_spoils_nothing_that_was_measured() {
    let place = Place::new();
    place.start("").interrupt();
    let before = listing(&place.data().join("collector"));
    let line = format!("probefleet-quickstart --break http --data {}", place.data().display());
    let ran = run(&mut place.command(&line), "", ENDS);
    assert!(ran.code == Some(2) && ran.stderr.contains("a drill begins anew"), "{ran:?}");
    assert_eq!(listing(&place.data().join("collector")), before, "nothing is changed");
}
