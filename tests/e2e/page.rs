//! The pages in a real browser, of a real fleet whose service is broken and mended while somebody looks.
//!
//! Pictures of every state are kept in `target/screenshots`.

use harness::browser::{Browser, LAPTOP, PHONE, Screen, screenshots};
use harness::command::{run, shell};
use harness::fleet::{Fleet, get};
use harness::history::{Historian, p99};
use harness::ports::free_port;
use harness::process::{Process, eventually};
use serde_json::Value;
use std::time::Duration;

/// How soon a window that has ended stands on the page: 1 s until it is sealed, up to 5 s until it is judged, a round.
const JUDGED: Duration = Duration::from_secs(40);
/// How soon a break is seen: the window it happens in, one more, and until they are judged.
const SEEN: Duration = Duration::from_secs(60);
/// How long a command may take.
const ENDS: Duration = Duration::from_secs(10);

/// Requests for a page, enough for a 99th percentile that one stray second does not make.
const REQUESTS: u32 = 300;
/// How long a page may take; a program that is not optimised is several times as slow.
const PAGE_MOST: Duration = Duration::from_millis(if cfg!(debug_assertions) { 250 } else { 50 });
/// What a busy machine adds to one request of a hundred, whatever the page: below it, nothing is compared.
const NOISE: Duration = Duration::from_millis(5);

/// An agreement whose title tries to be more than text.
const AGREEMENT: &str = r#"
agreement: shop
version: 1
kind: sla
level: service
title: 'Web shop <img src="x" onerror="hacked = true"><script>hacked = true</script>'
parties:
  provider: {name: 'Provider <b onmouseover="hacked = true">AG</b>'}
  customer: {name: '"><script>hacked = true</script>'}
time_zone: NOON
currency: EUR
term: {from: 2020-01-01, until: 2090-01-01}
period: day
services:
  shop: {title: Web shop, monthly_charge: "3000.00"}
objectives:
  availability:
    service: shop
    probe: [front, search]
    measure: availability
    target: ">= 99.99%"
    window: {width: 10s}
    vantages: {quorum: 51%, at_least: 1}
    outage: {after: 1, until: 1, bridge: 1}
    credit:
      bands: [{below: 99.99%, rate: 10%}, {below: 99%, rate: 25%}]
  response-time:
    service: shop
    probe: front
    measure: {within: 250ms, phase: total}
    target: ">= 99%"
    window: {width: 10s}
    vantages: {quorum: 51%, at_least: 1}
    during: always
    credit: {flat: 5%}
"#;

/// The zone where it is noon now, so that the windows of a test never lie in two days; the signs point west.
pub(crate) fn noon() -> String {
    match probefleet_proto::clock::unix_now_ns() / 3_600_000_000_000 % 24 {
        hour @ 0..12 => format!("Etc/GMT-{}", 12 - hour),
        12 => "Etc/UTC".to_owned(),
        hour => format!("Etc/GMT+{}", hour - 12),
    }
}

/// A fleet, its target, and where they are.
struct Shop {
    fleet: Fleet,
    responder: Option<Process>,
    target: String,
    portal: String,
}

impl Shop {
    fn start() -> Self {
        let target = format!("127.0.0.1:{}", free_port());
        let plan = format!(
            "probes:\n  - {{name: front, every: 1s, http: {{url: 'http://{target}/delay/12ms'}}}}\n  - {{name: search, every: 2s, http: {{url: 'http://{target}/'}}}}\n"
        );
        let agreement = AGREEMENT.replace("NOON", &noon());
        let mut fleet = Fleet::new(&plan, &[("shop.yaml", &agreement)]);
        // The page must find the collector again after a restart.
        let portal = format!("127.0.0.1:{}", free_port());
        let config = std::fs::read_to_string(fleet.collector_config()).expect("reads");
        let config = config.replace("portal: 127.0.0.1:0", &format!("portal: {portal}"));
        std::fs::write(fleet.collector_config(), config).expect("writes");
        let collector = fleet.start_collector().agents;
        let mut shop = Self { fleet, responder: None, target, portal };
        shop.mend();
        for site in ["berlin", "london"] {
            shop.fleet.add_agent(site, site, &collector, &shop.target);
            shop.fleet.start_agent(site);
        }
        shop
    }

    fn mend(&mut self) {
        let args = ["respond", "--http", self.target.as_str()];
        let log = self.fleet.dir().join("responder.log");
        let program = harness::program("probefleet-agent");
        let mut responder = Process::start(&program, &args, &log);
        responder.wait_for_output("listening on http://", ENDS);
        self.responder = Some(responder);
    }

    fn break_it(&mut self) {
        self.responder.take().expect("is whole").kill();
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.portal)
    }

    fn report(&self) -> Value {
        let config = self.fleet.collector_config();
        let line = format!(
            "probefleet-collector report --agreement shop --format json --config {}",
            config.display()
        );
        let ran = run(&mut shell(self.fleet.dir(), &line), "", ENDS);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).expect("JSON")
    }

    /// SIGTERM to the agents: from then on no window changes any more.
    fn stop_agents(&mut self) {
        for site in ["berlin", "london"] {
            let (_, good) = self.fleet.agent(site).terminate(ENDS);
            assert!(good, "{site} stops cleanly");
        }
    }
}

/// What the page in the browser says of its objectives: name, value, target and credit of the open period.
const FIGURES: &str = "
    const text = (card, part) => card.querySelector(part).textContent.trim();
    const first = document.querySelector('main section');
    return [...first.querySelectorAll('[data-objective]')].map((card) => ({
        name: card.dataset.objective, status: text(card, '.badge'), value: text(card, '.value'),
        target: text(card, '.target'), credit: text(card, '.money'),
        windows: card.querySelectorAll('.plot .window').length, points: card.querySelectorAll('.plot .point').length,
        up: card.querySelectorAll('figure:has(.plot) + figure .up').length,
        outages: [...card.querySelectorAll('details tbody tr')].map((row) => row.textContent),
    }));";

fn status(browser: &Browser) -> String {
    browser.run(FIGURES)[0]["status"].as_str().unwrap_or_default().to_owned()
}

/// Nothing is wider than the screen, on any page; and a picture of each.
fn look_at_all(shop: &Shop, browser: &Browser, state: &str) {
    let dark = |screen: Screen| Screen { dark: true, ..screen };
    let paper = Screen { width: 794, height: 1_123, dark: false, print: true };
    let screens = [
        ("laptop", LAPTOP),
        ("laptop-dark", dark(LAPTOP)),
        ("phone", PHONE),
        ("phone-dark", dark(PHONE)),
        ("paper", paper),
    ];
    for (page, path) in
        [("agreements", "/"), ("agreement", "/agreements/shop"), ("agents", "/agents")]
    {
        browser.open(&shop.url(path));
        for (name, screen) in screens {
            browser.look_through(screen);
            let wide = browser.run(
                "const all = [...document.querySelectorAll('body *')];
                 const wide = all.filter((element) => element.getBoundingClientRect().right > innerWidth + 1);
                 return [document.documentElement.scrollWidth, innerWidth, wide.map((element) => element.outerHTML.slice(0, 80))];",
            );
            let (needed, has) = (wide[0].as_u64(), wide[1].as_u64());
            assert!(needed <= has, "{page} on a {name}: {wide}");
            browser.keep_picture(&format!("{state}-{page}-{name}"));
        }
    }
    browser.look_through(LAPTOP);
}

/// Value, target and credit of every objective, as the report has them.
fn agrees(report: &Value, page: &Value) -> bool {
    let objectives = report["objectives"].as_array().expect("objectives");
    let shown = page.as_array().expect("objectives");
    assert_eq!(objectives.len(), shown.len(), "{page}");
    objectives.iter().zip(shown).all(|(told, shown)| {
        let credit = told["credit_projected"]["amount"].as_str();
        let credit = credit.map_or("none due".to_owned(), |amount| format!("{amount} EUR"));
        told["name"] == shown["name"]
            && told["value"] == shown["value"]
            && told["target"] == shown["target"]
            && shown["credit"].as_str().is_some_and(|text| text.starts_with(&credit))
    })
}

#[test]
fn a_break_is_seen_without_a_reload() {
    let Some(browser) = Browser::start() else {
        harness::skip("a_break_is_seen_without_a_reload", "chromium and chromium-driver");
        return;
    };
    println!("pictures are kept in {}", screenshots().display());
    let mut shop = Shop::start();
    browser.look_through(LAPTOP);
    browser.open(&shop.url("/agreements/shop"));
    browser.run("window.unreloaded = true;");
    let kept = eventually(JUDGED, || {
        let figures = browser.run(FIGURES);
        let good = |objective: &Value| {
            objective["status"] == "On track" && objective["points"].as_u64() >= Some(2)
        };
        figures
            .as_array()
            .is_some_and(|all| all.len() == 2 && all.iter().all(good))
            .then_some(figures)
    });
    let kept = kept.unwrap_or_else(|| panic!("not on track: {}", browser.run(FIGURES)));
    for objective in kept.as_array().expect("objectives") {
        assert_eq!(objective["points"], objective["windows"], "a point a window: {objective}");
        assert_eq!(objective["up"], objective["windows"], "a cell a window: {objective}");
    }
    assert_eq!(browser.run("return window.unreloaded === true"), true, "no reload until here");
    look_at_all(&shop, &browser, "whole");

    // A reader who stands somewhere and has scrolled.
    browser.open(&shop.url("/agreements/shop"));
    browser.run(
        "window.unreloaded = true; scrollTo(0, 120); document.querySelector('main a').focus({preventScroll: true});",
    );
    shop.break_it();
    let seen =
        eventually(SEEN, || (status(&browser) == "Breach certain").then(|| browser.run(FIGURES)));
    let seen = seen.unwrap_or_else(|| panic!("no breach: {}", browser.run(FIGURES)));
    let outage = seen[0]["outages"][0].as_str().expect("an outage");
    for told in ["berlin", "london", "refused (econnrefused)"] {
        assert!(outage.contains(told), "{told} in {outage}");
    }
    let kept = browser.run(
        "return [window.unreloaded, document.activeElement === document.querySelector('main a'), scrollY,
                 document.getElementById('said').textContent, window.hacked === undefined]",
    );
    assert_eq!(kept[0], true, "the page was loaded anew");
    assert_eq!(
        (&kept[1], &kept[2]),
        (&Value::from(true), &Value::from(120)),
        "focus and place: {kept}"
    );
    assert!(kept[3].as_str().is_some_and(|said| said.contains("Breach certain")), "{kept}");
    assert_eq!(kept[4], true, "a name has run as a script");
    assert_eq!(browser.complaints(), Vec::<String>::new());

    shop.stop_agents();
    look_at_all(&shop, &browser, "broken");
    browser.open(&shop.url("/agreements/shop"));
    let same = eventually(JUDGED, || {
        let (report, page) = (shop.report(), browser.run(FIGURES));
        agrees(&report, &page).then_some(page)
    });
    let same = same.unwrap_or_else(|| panic!("{}\n{}", shop.report(), browser.run(FIGURES)));
    println!("as the report says: {same}");
    restart(&mut shop, &browser);
}

/// A collector that stops is not held up by a page that follows it; the page says so, and finds the next one.
fn restart(shop: &mut Shop, browser: &Browser) {
    browser.run("window.unreloaded = true;");
    let (took, good) = shop.fleet.collector.as_mut().expect("runs").terminate(ENDS);
    assert!(good && took < Duration::from_secs(2), "{took:?}");
    let notice = || browser.run("return document.getElementById('connection').textContent");
    let told = eventually(Duration::from_secs(20), || {
        notice().as_str().is_some_and(|text| text.contains("stand still")).then_some(())
    });
    told.unwrap_or_else(|| panic!("the page does not say that it stands still"));
    browser.keep_picture("lost-agreement-laptop");
    shop.fleet.start_collector();
    let back = eventually(JUDGED, || {
        (notice() == "" && status(browser) == "Breach certain").then_some(())
    });
    back.unwrap_or_else(|| panic!("{} {}", notice(), browser.run(FIGURES)));
    assert_eq!(browser.run("return window.unreloaded === true"), true);
}

#[test]
fn without_a_script_the_page_is_complete() {
    let mut shop = Shop::start();
    let page = eventually(JUDGED, || {
        let (status, html) = get(&shop.portal, "/agreements/shop");
        (status == 200 && html.contains("class=\"point\"") && html.contains("On track"))
            .then_some(html)
    });
    let page = page.expect("figures");
    for part in
        ["<noscript><meta http-equiv=\"refresh\"", "<desc", "class=\"window\"", "class=\"up\""]
    {
        assert!(page.contains(part), "{part} in {page}");
    }
    shop.stop_agents();
}

/// A page is made from what was judged last, so it does not matter how much there was.
#[test]
fn a_long_history_makes_no_page_slow() {
    let (day, month) = (Historian::start(1), Historian::start(30));
    for path in ["/", "/agreements/shop", "/agents"] {
        let (mut of_day, mut of_month) = (Vec::new(), Vec::new());
        // In turns, so that whatever else the machine does falls on both.
        for _ in 0..REQUESTS {
            of_day.push(day.time(path).0);
            of_month.push(month.time(path).0);
        }
        let (of_day, of_month) = (p99(of_day), p99(of_month));
        println!("{path}: p99 {of_day:?} with a day of history, {of_month:?} with thirty");
        assert!(
            of_month <= 3 * of_day.max(NOISE),
            "{path}: {of_month:?} with thirty days, {of_day:?} with one"
        );
        assert!(of_month <= PAGE_MOST, "{path}: {of_month:?}");
    }
    let Some(browser) = Browser::start() else {
        harness::skip(
            "a_long_history_makes_no_page_slow: the pictures",
            "chromium and chromium-driver",
        );
        return;
    };
    for (name, screen) in [("laptop", LAPTOP), ("phone", PHONE)] {
        for dark in [false, true] {
            browser.look_through(Screen { dark, ..screen });
            browser.open(&format!("http://{}/agreements/shop", month.portal));
            let width = browser.run("return [document.documentElement.scrollWidth, innerWidth]");
            assert!(width[0].as_u64() <= width[1].as_u64(), "{name}: {width}");
            let scheme = if dark { "-dark" } else { "" };
            browser.keep_picture(&format!("month-agreement-{name}{scheme}"));
        }
    }
}
