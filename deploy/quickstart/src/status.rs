//! The live table: what the collector publishes at `/metrics`, as a person reads it.

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;
use tokio::net::TcpStream;

/// Largest answer that is read: a thousand times what three agents need.
const ANSWER_MAX_BYTES: usize = 4 << 20;
/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Shows the fleet's figures: redrawn in place on a terminal, otherwise a line when a status changes.
#[derive(Debug)]
pub(crate) struct Status {
    portal: String,
    lines_shown: usize,
    told: BTreeMap<String, String>,
}

/// One sample of a metric: labels and value.
type Samples = BTreeMap<String, Vec<(BTreeMap<String, String>, f64)>>;

impl Status {
    /// Of the collector whose portal has that address.
    pub(crate) fn new(portal: String) -> Self {
        Self { portal, lines_shown: 0, told: BTreeMap::new() }
    }

    /// Shows the figures of now; says so when they cannot be had.
    pub(crate) async fn show(&mut self) {
        let figures = tokio::time::timeout(ANSWER_WITHIN, fetch(&self.portal)).await;
        match figures {
            Ok(Ok(text)) if std::io::stdout().is_terminal() => self.redraw(&table(&parse(&text))),
            Ok(Ok(text)) => self.tell_changes(&parse(&text)),
            Ok(Err(error)) => self.redraw(&format!("the portal does not answer: {error:#}\n")),
            Err(_) => self.redraw("the portal does not answer in time\n"),
        }
    }

    /// Says something that stays, above the table.
    pub(crate) fn say(&mut self, text: &str) {
        self.redraw(&format!("{text}\n\n"));
        self.lines_shown = 0;
    }

    /// Replaces what was drawn last.
    fn redraw(&mut self, text: &str) {
        let up = if self.lines_shown > 0 {
            format!("\x1b[{}A\x1b[0J", self.lines_shown)
        } else {
            String::new()
        };
        self.lines_shown = text.lines().count();
        let mut out = anstream::stdout();
        if write!(out, "{up}{text}").and_then(|()| out.flush()).is_err() {
            self.lines_shown = 0;
        }
    }

    fn tell_changes(&mut self, samples: &Samples) {
        for objective in objectives(samples) {
            if self.told.get(&objective.name) != Some(&objective.status) {
                anstream::println!("{}: {}", objective.name, objective.status);
                self.told.insert(objective.name, objective.status);
            }
        }
    }
}

/// An objective's row.
struct Objective {
    name: String,
    status: String,
    value: Option<f64>,
    target: Option<f64>,
    budget_left_s: Option<f64>,
    coverage: Option<f64>,
}

fn objectives(samples: &Samples) -> Vec<Objective> {
    let of = |metric: &str| samples.get(metric).map_or(&[][..], Vec::as_slice);
    let active = of("probefleet_objective_status").iter().filter(|(_, value)| *value > 0.5);
    active
        .map(|(labels, _)| {
            let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
            let same = |other: &BTreeMap<String, String>| {
                ["agreement", "objective"].iter().all(|name| other.get(*name) == labels.get(*name))
            };
            let figure = |metric: &str| {
                of(metric).iter().find(|(other, _)| same(other)).map(|(_, value)| *value)
            };
            Objective {
                name: format!("{} / {}", label("agreement"), label("objective")),
                status: label("status"),
                value: figure("probefleet_objective_value_ratio"),
                target: figure("probefleet_objective_target_ratio"),
                budget_left_s: figure("probefleet_objective_budget_left_seconds"),
                coverage: figure("probefleet_objective_coverage_ratio"),
            }
        })
        .collect()
}

fn table(samples: &Samples) -> String {
    let percent = |ratio: Option<f64>| {
        ratio.map_or("–".to_owned(), |ratio| format!("{:.3}%", ratio * 100.0))
    };
    let mut text = format!(
        "{:<34} {:<15} {:>10} {:>10} {:>12} {:>10}\n",
        "objective", "status", "value", "target", "budget left", "coverage"
    );
    for row in objectives(samples) {
        let left = row.budget_left_s.map_or("–".to_owned(), |s| format!("{s:.0} s"));
        let (value, target, coverage) =
            (percent(row.value), percent(row.target), percent(row.coverage));
        let line = format!(
            "{:<34} {:<15} {value:>10} {target:>10} {left:>12} {coverage:>10}\n",
            row.name, row.status
        );
        text.push_str(&line);
    }
    let ages =
        samples.get("probefleet_agent_last_report_age_seconds").map_or(&[][..], Vec::as_slice);
    let mut agents = String::new();
    for (labels, age_s) in ages {
        let name = labels.get("agent").map_or("?", String::as_str);
        // Writing to a String cannot fail.
        write!(agents, "  {name} {age_s:.0} s ago").unwrap_or_default();
    }
    let agents = if agents.is_empty() {
        "  none yet: the first windows end in a few seconds".to_owned()
    } else {
        agents
    };
    text.push_str(&format!("last report of each agent:{agents}\n"));
    text
}

/// Reads the text format of Prometheus, as far as a table needs it.
fn parse(text: &str) -> Samples {
    let mut samples = Samples::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse() else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| {
            let (name, value) = label.split_once("=\"")?;
            Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
        });
        samples.entry(name.to_owned()).or_default().push((labels.collect(), value));
    }
    samples
}

async fn fetch(portal: &str) -> anyhow::Result<String> {
    let stream = TcpStream::connect(portal).await.context("cannot connect")?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request =
        hyper::Request::get("/metrics").header("host", portal).body(Empty::<Bytes>::new())?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES).collect().await;
        Ok(body.map_err(|error| anyhow::anyhow!(error))?.to_bytes())
    };
    tokio::pin!(connection);
    let body: anyhow::Result<Bytes> = tokio::select! {
        body = exchange => body,
        ended = &mut connection => Err(ended.err().map_or_else(|| anyhow::anyhow!("closed"), anyhow::Error::from)),
    };
    Ok(String::from_utf8_lossy(&body?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_become_a_table() {
        let text = "# TYPE probefleet_objective_status gauge\n\
            probefleet_objective_status{agreement=\"a\",objective=\"o\",status=\"met\"} 0\n\
            probefleet_objective_status{agreement=\"a\",objective=\"o\",status=\"on_track\"} 1\n\
            probefleet_objective_value_ratio{agreement=\"a\",objective=\"o\"} 0.99932621\n\
            probefleet_agent_last_report_age_seconds{agent=\"berlin-1\"} 3.2\n# EOF\n";
        let table = table(&parse(text));
        assert!(table.contains("a / o"), "{table}");
        assert!(table.contains("on_track"), "{table}");
        assert!(table.contains("99.933%"), "{table}");
        assert!(table.contains("berlin-1 3 s ago"), "{table}");
    }
}
