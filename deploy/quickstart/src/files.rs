//! The data folder: what the quickstart writes for its fleet, in the formats that an operator would write by hand.

use crate::postgres;
use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Zoned};
use rustix::fs::{FlockOperation, flock};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The agents' sites.
pub(crate) const SITES: [&str; 3] = ["berlin", "london", "tokyo"];
/// A folder without this file is not ours, and is never removed.
const MARKER: &str = ".probefleet-quickstart";
/// Width of the fleet's windows: an agreement begins at such an edge.
const WINDOW_S: i64 = 10;

/// The data folder, held by this process alone.
#[derive(Debug)]
pub(crate) struct Data {
    dir: PathBuf,
    _lock: std::fs::File,
}

impl Data {
    /// Opens the folder, or makes it; with `reset`, empties it first.
    pub(crate) fn open(dir: &Path, reset: bool) -> anyhow::Result<Self> {
        if dir.exists() && !dir.is_dir() {
            bail!("{} is no folder; choose another with --data", dir.display());
        }
        let is_empty = || std::fs::read_dir(dir).map(|mut entries| entries.next().is_none());
        if dir.exists()
            && !dir.join(MARKER).exists()
            && !is_empty().with_context(|| format!("cannot read {}", dir.display()))?
        {
            bail!(
                "{} is not empty and was not made by the quickstart; choose another with --data",
                dir.display()
            );
        }
        create_dir(dir)?;
        let lock = lock(&dir.join(MARKER))?;
        if reset {
            // Its record of a folder elsewhere goes with the rest.
            postgres::remove_earlier(&dir.join("postgres"))?;
            for entry in std::fs::read_dir(dir)? {
                remove(&entry?.path())?;
            }
        }
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    /// A path inside.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Plan and agreement, unless an earlier run left them or a person changed them; certificates likewise. What is
    /// promised may last for a time only.
    pub(crate) fn write_lasting(
        &self,
        measured: &Measured,
        now: &Zoned,
        lasts: Option<SignedDuration>,
    ) -> anyhow::Result<()> {
        crate::certificates::ensure(&self.path("tls"), &SITES, i32::from(now.year()))?;
        create_dir(&self.path("logs"))?;
        let parts =
            [include_str!("../templates/plan.yaml"), include_str!("../templates/plan-sql.yaml")];
        let plan = self.path("plan.yaml");
        write_once(&plan, &measured.fill(parts))?;
        let queries = std::fs::read_to_string(&plan)
            .with_context(|| format!("cannot read {}", plan.display()))?
            .contains("\n    sql:");
        match (queries, &measured.database) {
            (false, Some(_)) => anstream::println!(
                "plan.yaml has no SQL probe, as an earlier start left it; --reset begins again with one"
            ),
            (true, None) => anstream::println!(
                "plan.yaml has a SQL probe and nothing to ask: its attempts are invalid (policy_denied)"
            ),
            _ => {}
        }
        let agreement_file = self.path("agreement.yaml");
        write_once(&agreement_file, &agreement(&agreement_file, measured, now, lasts)?)
    }

    /// Points a plan of an earlier run elsewhere, if it still has the places before. Gives what has changed.
    pub(crate) fn retarget(
        &self,
        moves: &[(String, String)],
    ) -> anyhow::Result<Vec<(String, String)>> {
        let path = self.path("plan.yaml");
        if !path.exists() {
            return Ok(Vec::new());
        }
        let mut plan = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let moved = moves.iter().filter(|(from, to)| from != to && plan.contains(from.as_str()));
        let moved: Vec<(String, String)> = moved.cloned().collect();
        for (from, to) in &moved {
            plan = plan.replace(from.as_str(), to);
        }
        if !moved.is_empty() {
            write_private(&path, &plan)?;
        }
        Ok(moved)
    }

    /// Makes the password of the role that queries, unless there is one.
    pub(crate) fn ensure_database_password(&self) -> anyhow::Result<()> {
        write_once(&self.database_password_file(), &Uuid::new_v4().simple().to_string())
    }

    /// Where it is.
    pub(crate) fn database_password_file(&self) -> PathBuf {
        self.path("postgres-password")
    }

    /// The collector's configuration for these addresses.
    pub(crate) fn write_collector(&self, listen: &str, portal: &str) -> anyhow::Result<()> {
        let values = [("listen", listen), ("portal", portal)];
        write_private(
            &self.path("collector.yaml"),
            &fill(include_str!("../templates/collector.yaml"), &values),
        )
    }

    /// The configuration and policy of a site's agent.
    pub(crate) fn write_agent(
        &self,
        site: &str,
        collector: &str,
        measured: &Measured,
    ) -> anyhow::Result<()> {
        let dir = self.path("agents").join(site);
        create_dir(&dir)?;
        let agent = fill(
            include_str!("../templates/agent.yaml"),
            &[("collector", collector), ("site", site)],
        );
        write_private(&dir.join("agent.yaml"), &agent)?;
        let source = dir.join("shop.url");
        if let Some(database) = &measured.database {
            let password = std::fs::read_to_string(self.database_password_file())?;
            let (role, name) = (postgres::ROLE, postgres::DATABASE);
            let url = format!("postgres://{role}:{password}@{database}/{name}?sslmode=disable\n");
            write_private(&source, &url)?;
        }
        let parts = [
            include_str!("../templates/policy.yaml"),
            include_str!("../templates/policy-sql.yaml"),
        ];
        let policy = measured.fill(parts);
        let policy = fill(&policy, &[("source", &source.display().to_string())]);
        write_private(&dir.join("policy.yaml"), &policy)
    }
}

/// Addresses of what the fleet measures.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Of the HTTP responder.
    pub(crate) http: String,
    /// Of the SIP responder.
    pub(crate) sip: String,
    /// Of PostgreSQL; `None` where it is not installed.
    pub(crate) database: Option<String>,
}

impl Measured {
    /// A template, and what is added to it when there is a database.
    fn fill(&self, [always, with_database]: [&str; 2]) -> String {
        let mut text = always.to_owned();
        if self.database.is_some() {
            text.push_str(with_database);
        }
        let database = self.database.as_deref().unwrap_or_default();
        fill(&text, &[("http", &self.http), ("sip", &self.sip), ("database", database)])
    }
}

fn agreement(
    file: &Path,
    measured: &Measured,
    now: &Zoned,
    lasts: Option<SignedDuration>,
) -> anyhow::Result<String> {
    let zone = now.time_zone().iana_name().unwrap_or("UTC");
    let now = now.with_time_zone(jiff::tz::TimeZone::get(zone)?);
    // The first whole window after now: what was before is nobody's promise.
    let ahead_s = WINDOW_S - now.timestamp().as_second().rem_euclid(WINDOW_S);
    let active_from = now.checked_add(SignedDuration::from_secs(ahead_s))?;
    let instant = |at: &Zoned| at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    let mut active = format!("active_from: {}", instant(&active_from));
    if let Some(lasts) = lasts {
        active.push_str(&format!(
            "\n    active_until: {}",
            instant(&active_from.checked_add(lasts)?)
        ));
    }
    let until = now.date().checked_add(jiff::Span::new().years(1))?;
    let values = [
        ("agreement_file", file.display().to_string()),
        ("zone", zone.to_owned()),
        ("term_from", now.date().to_string()),
        ("term_until", until.to_string()),
        ("active", active),
    ];
    let values: Vec<(&str, &str)> =
        values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let parts = [
        include_str!("../templates/agreement.yaml"),
        include_str!("../templates/agreement-sql.yaml"),
    ];
    Ok(fill(&measured.fill(parts), &values))
}

/// Puts values in place of `{{name}}`.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{{name}}}}}"), value)
    })
}

fn lock(path: &Path) -> anyhow::Result<std::fs::File> {
    let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    let folder = path.parent().unwrap_or(path).display();
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("another quickstart runs in {folder}; end it, or choose another folder with --data");
    }
    Ok(file)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    if path.ends_with(MARKER) {
        return Ok(());
    }
    let removed =
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

fn create_dir(path: &Path) -> anyhow::Result<()> {
    let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.with_context(|| format!("cannot create {}", path.display()))
}

fn write_once(path: &Path, text: &str) -> anyhow::Result<()> {
    if path.exists() { Ok(()) } else { write_private(path, text) }
}

/// Writes a file that only this user may read.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let file =
        std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
