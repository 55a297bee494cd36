//! The fleet: started in the order of the data, shown while it runs, ended in the opposite order.

use crate::children::Part;
use crate::files::{Data, SITES, write_private};
use crate::status::Status;
use anyhow::Context as _;
use jiff::Zoned;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// How long a part may take until it is ready: the first start makes keys and a database.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// When whatever is left is ended the hard way, counted from Ctrl-C.
const END_WITHIN: Duration = Duration::from_millis(1_800);
/// How much of that the agents may use to deliver their last windows, while the collector still runs.
const DELIVER_WITHIN: Duration = Duration::from_millis(1_100);
/// How often the figures are shown anew.
const SHOW_EVERY: Duration = Duration::from_secs(2);

/// Ports that are tried first: those of the documentation, then whatever an earlier run had to take.
#[derive(Debug)]
struct Ports {
    responder: u16,
    agents: u16,
    portal: u16,
}

/// Runs the fleet until Ctrl-C.
pub(crate) async fn run(data: &Data) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let started = Instant::now();
    let mut parts = Vec::new();
    let ran = tokio::select! {
        ran = start_and_watch(data, &mut parts, started) => ran,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    anstream::println!("\nEnding the fleet; the next start goes on from here.");
    end(parts).await;
    ran
}

async fn start_and_watch(
    data: &Data,
    parts: &mut Vec<Part>,
    started: Instant,
) -> anyhow::Result<()> {
    let addresses = start(data, parts).await?;
    let agreement = data.path("agreement.yaml");
    anstream::println!(
        "\nReady in {:.1} s. Look at the portal:  http://{portal}/\n\
         The same on the command line:      {program} collector report --config {config} --agreement quickstart-shop --period {day}\n\
         What was promised:                 {agreement}\n\
         Metrics for Prometheus:            http://{portal}/metrics\n\
         Ctrl-C ends the fleet.\n",
        started.elapsed().as_secs_f64(),
        portal = addresses.portal,
        program = program(),
        config = data.path("collector.yaml").display(),
        day = Zoned::now().date(),
        agreement = agreement.display(),
    );
    let mut status = Status::new(addresses.portal);
    let mut tick = tokio::time::interval(SHOW_EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => status.show().await,
            (name, ended, log) = first_end(parts) => {
                anyhow::bail!("{name} has ended ({ended}):\n{}", crate::children::last_lines(&log));
            }
        }
    }
}

async fn first_end(parts: &mut [Part]) -> (String, String, std::path::PathBuf) {
    let waits = parts.iter_mut().map(|part| {
        Box::pin(async move {
            let ended = part
                .ended()
                .await
                .map_or_else(|error| error.to_string(), |status| status.to_string());
            (part.name.clone(), ended, part.log.clone())
        })
    });
    let mut waits: Vec<_> = waits.collect();
    std::future::poll_fn(|context| {
        for wait in &mut waits {
            if let std::task::Poll::Ready(ended) = wait.as_mut().poll(context) {
                return std::task::Poll::Ready(ended);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Agents first, so that their last windows still reach the collector.
async fn end(mut parts: Vec<Part>) {
    let now = Instant::now();
    let (agents, others): (Vec<_>, Vec<_>) =
        parts.iter_mut().partition(|part| SITES.contains(&part.name.as_str()));
    agents.iter().for_each(|part| part.ask_to_end());
    for part in agents {
        part.end_by(now + DELIVER_WITHIN).await;
    }
    others.iter().for_each(|part| part.ask_to_end());
    for part in others {
        part.end_by(now + END_WITHIN).await;
    }
}

// === starting ===

/// Where the fleet is reached.
struct Addresses {
    portal: String,
}

async fn start(data: &Data, parts: &mut Vec<Part>) -> anyhow::Result<Addresses> {
    let mut ports = Ports::load(&data.path("ports.json"));
    std::fs::create_dir_all(data.path("logs"))?;
    let before = format!("http://127.0.0.1:{}", ports.responder);
    let responder = start_responder(data, parts, &mut ports).await?;
    let target = format!("http://{responder}");
    if data.retarget(&before, &target)? {
        anstream::println!("plan.yaml probes {target}/ from now on, no longer {before}/");
    }
    data.write_lasting(&target, &Zoned::now())?;
    let (agents, portal) = start_collector(data, parts, &mut ports).await?;
    ports.keep(&data.path("ports.json"))?;
    for site in SITES {
        data.write_agent(site, &format!("https://{agents}"), &responder)?;
        let config = data.path("agents").join(site).join("agent.yaml");
        start_part(
            data,
            parts,
            site,
            &["agent".into(), "run".into(), "--config".into(), config.into()],
        )?;
    }
    Ok(Addresses { portal })
}

async fn start_responder(
    data: &Data,
    parts: &mut Vec<Part>,
    ports: &mut Ports,
) -> anyhow::Result<String> {
    let args = |port: u16| -> [OsString; 4] {
        ["agent".into(), "respond".into(), "--http".into(), format!("127.0.0.1:{port}").into()]
    };
    start_part(data, parts, "responder", &args(ports.responder))?;
    let ready = |log: &Path| {
        let text = std::fs::read_to_string(log).ok()?;
        let address = text.split("listening on http://").nth(1)?.split_whitespace().next()?;
        Some(address.trim_end_matches('/').to_owned())
    };
    let address = match wait_for_newest(parts, ready).await {
        Err(error) if is_taken(&error) => {
            parts.pop();
            anstream::println!("port {} is taken; the responder takes a free one", ports.responder);
            start_part(data, parts, "responder", &args(0))?;
            wait_for_newest(parts, ready).await?
        }
        other => other?,
    };
    ports.responder = port_of(&address);
    Ok(address)
}

async fn start_collector(
    data: &Data,
    parts: &mut Vec<Part>,
    ports: &mut Ports,
) -> anyhow::Result<(String, String)> {
    let config = data.path("collector.yaml");
    let args: [OsString; 4] = ["collector".into(), "run".into(), "--config".into(), config.into()];
    let addresses_file = data.path("collector/addresses.json");
    let ready = |_: &Path| {
        let addresses: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&addresses_file).ok()?).ok()?;
        let address = |name: &str| addresses[name].as_str().map(without_scheme);
        Some((address("agents")?, address("portal")?))
    };
    let mut started = None;
    for (agents, portal) in [(ports.agents, ports.portal), (0, 0)] {
        remove_if_there(&addresses_file)?;
        data.write_collector(&format!("127.0.0.1:{agents}"), &format!("127.0.0.1:{portal}"))?;
        start_part(data, parts, "collector", &args)?;
        match wait_for_newest(parts, ready).await {
            Err(error) if is_taken(&error) => {
                parts.pop();
                anstream::println!(
                    "port {agents} or {portal} is taken; the collector takes free ones"
                );
            }
            other => {
                started = Some(other?);
                break;
            }
        }
    }
    let (agents, portal) = started.context("the collector found no free port")?;
    (ports.agents, ports.portal) = (port_of(&agents), port_of(&portal));
    Ok((agents, portal))
}

fn start_part(
    data: &Data,
    parts: &mut Vec<Part>,
    name: &str,
    args: &[OsString],
) -> anyhow::Result<()> {
    let line: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    anstream::println!("{name:>10}:  {} {}", program(), line.join(" "));
    parts.push(Part::start(name, data.path("logs").join(format!("{name}.log")), args)?);
    Ok(())
}

async fn wait_for_newest<T>(
    parts: &mut [Part],
    ready: impl Fn(&Path) -> Option<T>,
) -> anyhow::Result<T> {
    let part = parts.last_mut().context("no part was started")?;
    let log = part.log.clone();
    part.wait_for(READY_WITHIN, || ready(&log)).await
}

fn is_taken(error: &anyhow::Error) -> bool {
    let text = error.to_string().to_lowercase();
    text.contains("address already in use") || text.contains("address in use")
}

/// `http://127.0.0.1:7480/` and `127.0.0.1:7480` alike as the latter.
fn without_scheme(address: &str) -> String {
    address.rsplit("://").next().unwrap_or(address).trim_end_matches('/').to_owned()
}

fn port_of(address: &str) -> u16 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0)
}

fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// How this program was called, for command lines that a person can copy.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "probefleet-quickstart".to_owned())
}

impl Ports {
    fn load(path: &Path) -> Self {
        let kept: serde_json::Value = std::fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let port = |name: &str, first: u16| {
            kept[name].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(first)
        };
        Self {
            responder: port("responder", 7_481),
            agents: port("agents", 7_400),
            portal: port("portal", 7_480),
        }
    }

    /// The responder's above all: another port is another target, and so another series.
    fn keep(&self, path: &Path) -> anyhow::Result<()> {
        let ports = serde_json::json!({"responder": self.responder, "agents": self.agents, "portal": self.portal});
        write_private(path, &ports.to_string())
    }
}
