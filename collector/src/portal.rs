//! What people and scrapers see. Read only, without login: everything here is of one snapshot of the evaluator and of the
//! fleet's last words; age and coverage stand beside every figure.
//!
//! | path | |
//! |---|---|
//! | `/` | all agreements |
//! | `/agreements/ID` | one agreement: its open period, and the last closed one |
//! | `/agreements/ID/report.json?period=LABEL` | the same as `probefleet-collector report --format json`, of a shown period |
//! | `/agents` | how the agents are |
//! | `/events` | for the pages' script: says when there is something new to show |
//! | `/metrics` | for Prometheus: OpenMetrics when asked for, else the text format before it |
//! | `/healthz` | the process answers |
//! | `/readyz` | 200 when the collector works, else 503 and what does not; with notes on what others do wrong: [`readiness`] |
//!
//! Pages are complete without script: then they ask to be loaded anew every ten seconds. With it they follow the
//! collector's [`events`] and change in place. Unless the portal is public, only requests for a
//! loopback name are answered: a hostile page must not read it through the reader's browser (DNS rebinding).

mod assets;
mod events;
mod pages;
mod plot;
mod readiness;
mod scrape;
mod server;
mod words;

pub use events::places_for_followers;
pub use readiness::Check;
pub use server::serve;

use crate::evaluator::Snapshot;
use crate::fleet::Fleet;
use crate::metrics::IngestMetrics;
use crate::store::AnyStore;
use askama::Template;
use axum::Router;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use events::Marks;
use pages::{AgentsPage, AgreementPage, AgreementView, AgreementsPage, Frame, MissingPage};
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::units::NS_PER_S;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::Instant;

/// Nothing but our own stylesheet, pictures and script file, which talks to nobody but us; nothing inline, no frame, no form.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the pages are made from.
#[derive(Clone, Debug)]
pub struct Portal {
    /// What is known of agreements.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// What is known of agents.
    pub fleet: Arc<Fleet>,
    /// What is counted.
    pub metrics: Arc<IngestMetrics>,
    /// Where records go; asked only whether it can write.
    pub store: AnyStore,
    /// Where agents come, for people who want to start one.
    pub listen: SocketAddr,
    /// Requests under any name are answered.
    pub public: bool,
    /// The latest look at the store.
    pub check: Arc<Mutex<Option<Check>>>,
    /// When the collector began to listen.
    pub started: Instant,
    /// Places for those who follow the events.
    pub followers: Arc<Semaphore>,
}

/// The routes.
pub fn router(portal: Portal) -> Router {
    let public = portal.public;
    Router::new()
        .route("/", get(agreements))
        .route("/agreements/{id}", get(agreement))
        .route("/agreements/{id}/report.json", get(report))
        .route("/agents", get(agents))
        .route("/events", get(events::follow))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readiness::answer))
        .route("/assets/icon.svg", get(async || asset(assets::ICON, "image/svg+xml")))
        .route(&assets::style_path(), get(async || asset(assets::STYLE, "text/css; charset=utf-8")))
        .route(
            &assets::script_path(),
            get(async || asset(assets::SCRIPT, "text/javascript; charset=utf-8")),
        )
        .fallback(async |State(portal): State<Portal>| {
            missing(&portal, "The address may be mistyped.")
        })
        .layer(from_fn(harden))
        .layer(from_fn_with_state(public, known_name))
        .with_state(portal)
}

// === pages ===

async fn agreements(State(portal): State<Portal>) -> Response {
    let snapshot = portal.snapshot();
    page(&AgreementsPage {
        frame: portal.frame("agreements", &snapshot),
        agreements: snapshot.agreements.iter().map(AgreementView::open_only).collect(),
        no_agents: !snapshot.agreements.is_empty() && portal.fleet.board().is_empty(),
    })
}

async fn agreement(State(portal): State<Portal>, Path(id): Path<String>) -> Response {
    let snapshot = portal.snapshot();
    let mut all = snapshot.agreements.iter();
    let Some(now) = all.find(|now| now.agreement.id().as_str() == id) else {
        return missing(&portal, &unknown_agreement(&snapshot, &id));
    };
    let frame = portal.frame("agreement", &snapshot);
    page(&AgreementPage { frame, agreement: AgreementView::new(now) })
}

async fn report(
    State(portal): State<Portal>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let snapshot = portal.snapshot();
    let mut all = snapshot.agreements.iter();
    let Some(now) = all.find(|now| now.agreement.id().as_str() == id) else {
        return (StatusCode::NOT_FOUND, unknown_agreement(&snapshot, &id)).into_response();
    };
    let label = query.as_deref().and_then(|query| query.strip_prefix("period="));
    let mut periods = now.periods.iter().chain(&now.waiting);
    let shown = periods.find(|period| label.is_none_or(|label| period.label.to_string() == label));
    match shown.map(|period| (&period.verdict, &period.life)) {
        Some((Ok(verdict), life)) => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (json, format!("{}\n", crate::verdict::life::to_json(verdict, life))).into_response()
        }
        Some((Err(error), _)) => (StatusCode::CONFLICT, error.clone()).into_response(),
        None => {
            let text = format!(
                "this period is not shown here; run: probefleet-collector report --agreement {} --period LABEL\n",
                now.agreement.id()
            );
            (StatusCode::NOT_FOUND, text).into_response()
        }
    }
}

async fn agents(State(portal): State<Portal>) -> Response {
    let now = (portal.fleet.assignment().window_s, unix_now_ns());
    let frame = portal.frame("agents", &portal.snapshot());
    page(&AgentsPage::new(frame, &portal.fleet.board(), now, portal.listen.to_string()))
}

fn unknown_agreement(snapshot: &Snapshot, id: &str) -> String {
    if snapshot.made_s == 0 {
        return "The records are still being read; come back in a moment.".to_owned();
    }
    let known: Vec<&str> =
        snapshot.agreements.iter().map(|now| now.agreement.id().as_str()).collect();
    format!("There is no agreement `{id}`. There is: {}", known.join(", "))
}

fn missing(portal: &Portal, what: &str) -> Response {
    let snapshot = portal.snapshot();
    let frame = portal.frame("missing", &snapshot);
    (StatusCode::NOT_FOUND, page(&MissingPage { frame, what: what.to_owned() })).into_response()
}

fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn asset(content: &'static str, kind: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, content).into_response()
}

// === for programs ===

/// OpenMetrics for those who ask for it, as Prometheus does; to all others the older format, which every reader knows.
async fn metrics(State(portal): State<Portal>, request: HeaderMap) -> Response {
    let accepts = request.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let open = accepts.into_iter().any(|kinds| kinds.contains("application/openmetrics-text"));
    let ready = readiness::look(&portal).await.is_ready();
    match scrape::render(&portal, ready) {
        Ok(text) if open => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Ok(text) => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], scrape::classic(&text)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

impl Portal {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    fn frame(&self, at: &'static str, snapshot: &Snapshot) -> Frame {
        let now_s = unix_now_ns() / NS_PER_S;
        Frame::new(at, snapshot, Marks::of(snapshot, &self.fleet, now_s), now_s)
    }
}

// === every answer ===

async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::CACHE_CONTROL, "no-store");
    response
}

/// Answers only to names of the loopback, unless the portal is public.
async fn known_name(State(public): State<bool>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if public || host.is_some_and(is_loopback) {
        return next.run(request).await;
    }
    let text = "the portal answers to localhost only; `portal_public: true` in the configuration opens it\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_is_this_machine() {
        for host in
            ["localhost", "localhost:7480", "127.0.0.1:1", "[::1]:7480", "[::1]", "127.8.8.8"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:80", "", "localhost.evil:80"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
