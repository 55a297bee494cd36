//! Starting the fleet, in the order of the data: what is measured, who judges it, who measures.

use crate::children::Part;
use crate::drill::Service;
use crate::files::{Data, Measured, SITES};
use crate::ports::{Ports, port_of};
use crate::postgres::{self, Programs};
use anyhow::Context as _;
use jiff::{SignedDuration, Zoned};
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

/// How long a part may take until it is ready: the first start makes keys and a database.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long a promise of a drill lasts: short, so that a breach is certain as soon as it is one.
const DRILL_LASTS: SignedDuration = SignedDuration::from_mins(15);
/// How the services that are measured are called among the parts.
pub(crate) const HOME_PAGE: &str = "home-page";
pub(crate) const HOTLINE: &str = "hotline";
pub(crate) const DATABASE: &str = "postgres";
/// What somebody does who has no PostgreSQL and wants the SQL probe.
const GET_POSTGRES: &str = "no PostgreSQL on this machine, so nothing is queried; to see a SQL probe too: \
     apt-get install --no-install-recommends postgresql, then start again with --reset";

/// Starts every part; gives the portal's address.
pub(crate) async fn start(
    data: &Data,
    parts: &mut Vec<Part>,
    breaks: Option<Service>,
) -> anyhow::Result<String> {
    let mut starting = Starting { data, parts, ports: Ports::load(&data.path("ports.json")) };
    std::fs::create_dir_all(data.path("logs"))?;
    let before = starting.ports.clone();
    // The slowest first: it gets ready while the others do.
    let database = starting.begin_database()?;
    let http = starting.responder(HOME_PAGE, "http", before.http).await?;
    let sip = starting.responder(HOTLINE, "sip", before.sip).await?;
    (starting.ports.http, starting.ports.sip) = (port_of(&http), port_of(&sip));
    for (from, to) in data.retarget(&[
        (format!("http://127.0.0.1:{}/", before.http), format!("http://{http}/")),
        (format!("@127.0.0.1:{}", before.sip), format!("@{sip}")),
    ])? {
        anstream::println!("plan.yaml probes {to} from now on, no longer {from}");
    }
    let database = if database { starting.database().await? } else { None };
    let measured = Measured { http, sip, database };
    if breaks == Some(Service::Sql) && measured.database.is_none() {
        anyhow::bail!("nothing is queried, so no query can break; see above");
    }
    data.write_lasting(&measured, &Zoned::now(), breaks.map(|_| DRILL_LASTS))?;
    let (agents, portal) = starting.collector().await?;
    starting.ports.keep(&data.path("ports.json"))?;
    for site in SITES {
        data.write_agent(site, &format!("https://{agents}"), &measured)?;
        let config = data.path("agents").join(site).join("agent.yaml");
        starting.part(site, &["agent".into(), "run".into(), "--config".into(), config.into()])?;
    }
    Ok(portal)
}

/// The fleet while it starts.
struct Starting<'a> {
    data: &'a Data,
    parts: &'a mut Vec<Part>,
    ports: Ports,
}

impl Starting<'_> {
    fn part(&mut self, name: &str, args: &[OsString]) -> anyhow::Result<()> {
        let line: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        anstream::println!("{name:>10}:  {} {}", program(), line.join(" "));
        let log = self.data.path("logs").join(format!("{name}.log"));
        self.parts.push(Part::start(name, log, args)?);
        Ok(())
    }

    /// Waits until a part is ready; one that cannot be is no part of the fleet.
    async fn wait<T>(
        &mut self,
        name: &str,
        ready: impl Fn(&Path) -> Option<T>,
    ) -> anyhow::Result<T> {
        let index = self.parts.iter().rposition(|part| part.name == name);
        let index = index.with_context(|| format!("{name} was not started"))?;
        let log = self.parts[index].log.clone();
        let waited = self.parts[index].wait_for(READY_WITHIN, || ready(&log)).await;
        if waited.is_err() {
            self.parts.remove(index);
        }
        waited
    }

    // === what is measured ===

    /// Starts a responder of that kind on its port, or on a free one; gives its address.
    async fn responder(&mut self, name: &str, scheme: &str, port: u16) -> anyhow::Result<String> {
        let args = |port: u16| -> [OsString; 4] {
            let address = format!("127.0.0.1:{port}");
            ["agent".into(), "respond".into(), format!("--{scheme}").into(), address.into()]
        };
        let ready = |log: &Path| {
            let text = std::fs::read_to_string(log).ok()?;
            let (_, after) = text.split_once(&format!("listening on {scheme}:"))?;
            let address = after.split_whitespace().next()?;
            Some(address.trim_matches('/').to_owned())
        };
        self.part(name, &args(port))?;
        match self.wait(name, ready).await {
            Err(error) if is_taken(&error) => {
                anstream::println!("port {port} is taken; {name} takes a free one");
                self.part(name, &args(0))?;
                self.wait(name, ready).await
            }
            other => other,
        }
    }

    /// Starts a throwaway PostgreSQL, if this machine has one; false when it has none.
    fn begin_database(&mut self) -> anyhow::Result<bool> {
        let Some(programs) = Programs::find() else {
            anstream::println!("{GET_POSTGRES}");
            return Ok(false);
        };
        self.data.ensure_database_password()?;
        let args: [OsString; 9] = [
            "postgres".into(),
            "--programs".into(),
            programs.dir.into(),
            "--folder".into(),
            self.data.path("postgres").into(),
            "--port".into(),
            self.ports.database.to_string().into(),
            "--password-file".into(),
            self.data.database_password_file().into(),
        ];
        self.part(DATABASE, &args)?;
        Ok(true)
    }

    /// The database's address, when it is ready. A fleet without it is a fleet all the same.
    async fn database(&mut self) -> anyhow::Result<Option<String>> {
        let ready =
            |log: &Path| std::fs::read_to_string(log).ok()?.contains(postgres::READY).then_some(());
        let waited = match self.wait(DATABASE, ready).await {
            Err(error) if is_taken(&error) => {
                let taken = std::mem::replace(&mut self.ports.database, free_port()?);
                anstream::println!("port {taken} is taken; PostgreSQL takes a free one");
                self.begin_database()?;
                self.wait(DATABASE, ready).await
            }
            other => other,
        };
        if let Err(error) = waited {
            anstream::println!("PostgreSQL does not start, so nothing is queried: {error:#}");
            return Ok(None);
        }
        Ok(Some(format!("127.0.0.1:{}", self.ports.database)))
    }

    // === who judges it ===

    /// Where agents and people reach the collector.
    async fn collector(&mut self) -> anyhow::Result<(String, String)> {
        let config = self.data.path("collector.yaml");
        let args: [OsString; 4] =
            ["collector".into(), "run".into(), "--config".into(), config.into()];
        let addresses_file = self.data.path("collector/addresses.json");
        let ready = |_: &Path| {
            let addresses: serde_json::Value =
                serde_json::from_slice(&std::fs::read(&addresses_file).ok()?).ok()?;
            let address = |name: &str| addresses[name].as_str().map(without_scheme);
            Some((address("agents")?, address("portal")?))
        };
        for (agents, portal) in [(self.ports.agents, self.ports.portal), (0, 0)] {
            remove_if_there(&addresses_file)?;
            let address = |port: u16| format!("127.0.0.1:{port}");
            self.data.write_collector(&address(agents), &address(portal))?;
            self.part("collector", &args)?;
            match self.wait("collector", ready).await {
                Err(error) if is_taken(&error) => anstream::println!(
                    "port {agents} or {portal} is taken; the collector takes free ones"
                ),
                other => {
                    let (agents, portal) = other?;
                    (self.ports.agents, self.ports.portal) = (port_of(&agents), port_of(&portal));
                    return Ok((agents, portal));
                }
            }
        }
        anyhow::bail!("the collector found no free port")
    }
}

fn is_taken(error: &anyhow::Error) -> bool {
    let text = error.to_string().to_lowercase();
    text.contains("address already in use") || text.contains("address in use")
}

/// A port that is free now: PostgreSQL cannot be asked to take one.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// `http://127.0.0.1:7480/` and `127.0.0.1:7480` alike as the latter.
fn without_scheme(address: &str) -> String {
    address.rsplit("://").next().unwrap_or(address).trim_end_matches('/').to_owned()
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
pub(crate) fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "probefleet-quickstart".to_owned())
}
