//! A throwaway PostgreSQL with something to query: made anew at each start, gone when the fleet ends.
//!
//! It runs as a child of the quickstart (`probefleet-quickstart postgres …`), which makes the cluster, fills it, serves
//! it and removes it. It listens on the loopback alone, takes passwords only (SCRAM), and never runs as root: as root,
//! the cluster belongs to `postgres` or `nobody` and stands in a temporary folder that they can reach.

mod account;
mod burden;
mod place;
mod programs;

pub(crate) use place::remove_earlier;
pub(crate) use programs::Programs;

use account::Account;
use anyhow::{Context as _, ensure};
use clap::Parser;
use place::Place;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// What the server says in its log when it can be asked.
pub(crate) const READY: &str = "database system is ready to accept connections";
/// The role that the agents' queries run as: it may read the table, and nothing else.
pub(crate) const ROLE: &str = "probe";
/// The database that has the table.
pub(crate) const DATABASE: &str = "postgres";

/// Who made the cluster: nobody but this process knows the password.
const SUPERUSER: &str = "admin";
/// How long the server may take to end before it is killed: nothing in it is to be kept.
const END_WITHIN: Duration = Duration::from_millis(500);

/// A server with little of everything: one table, a handful of connections, nothing that must survive.
const SETTINGS: [&str; 9] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=20",
    "shared_buffers=16MB",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "timezone=UTC",
    "lc_messages=C",
];

/// What the child is told by the quickstart.
#[derive(Debug, Parser)]
#[command(about = "A throwaway PostgreSQL for the quickstart")]
struct Args {
    /// Folder of `initdb` and `postgres`
    #[arg(long, value_name = "DIR")]
    programs: PathBuf,
    /// Where the cluster is kept while it runs
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Port on the loopback
    #[arg(long, value_name = "PORT")]
    port: u16,
    /// File with the password of the role that queries
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
}

/// Runs the server until it is asked to end, and removes everything then.
pub(crate) fn main(args: Vec<std::ffi::OsString>) -> ExitCode {
    let args = Args::parse_from(args);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(until_asked_to_end(&args)));
    ran.map_or_else(|error| crate::complain(&error, 3), |()| ExitCode::SUCCESS)
}

async fn until_asked_to_end(args: &Args) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let slow_down = signal(SignalKind::user_defined1())?;
    let account = Account::unprivileged()?;
    let place = Place::make(&args.folder, account.as_ref())?;
    let superuser_password = uuid::Uuid::new_v4().to_string();
    let cluster =
        Cluster { place: &place, account: account.as_ref(), password: &superuser_password };
    let mut server = None;
    let ran = tokio::select! {
        ran = serve(args, &cluster, &mut server) => ran,
        ran = burden::when_asked(slow_down, args.port, &superuser_password) => ran,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    if let Some(server) = server {
        end(server).await?;
    }
    place.remove()?;
    ran
}

/// A cluster, and who may do what with it.
struct Cluster<'a> {
    place: &'a Place,
    account: Option<&'a Account>,
    /// Of its superuser.
    password: &'a str,
}

/// Makes the cluster, fills it and serves it until it ends by itself.
async fn serve(
    args: &Args,
    cluster: &Cluster<'_>,
    server: &mut Option<Child>,
) -> anyhow::Result<()> {
    let place = cluster.place;
    let password = std::fs::read_to_string(&args.password_file)
        .with_context(|| format!("cannot read {}", args.password_file.display()))?;
    let program = |name: &str| command(&args.programs.join(name), cluster.account, place.dir());
    make(program("initdb"), cluster).await?;
    fill(program("postgres"), &sql(password.trim())).await?;
    let mut postgres = program("postgres");
    postgres.arg("-D").arg(place.cluster()).arg("-p").arg(args.port.to_string());
    for setting in SETTINGS {
        postgres.args(["-c", setting]);
    }
    let started = server.insert(postgres.stdin(Stdio::null()).spawn().context("postgres")?);
    let status = started.wait().await?;
    anyhow::bail!("PostgreSQL ended by itself ({status})");
}

async fn make(mut initdb: Command, cluster: &Cluster<'_>) -> anyhow::Result<()> {
    let password_file = cluster.place.dir().join("superuser-password");
    place::write_owned(&password_file, cluster.password, cluster.account)?;
    initdb.arg("-D").arg(cluster.place.cluster()).arg("--pwfile").arg(&password_file);
    initdb.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--username", SUPERUSER]);
    initdb.arg("--no-sync").stdin(Stdio::null()).stdout(Stdio::null());
    let status = initdb.status().await.context("initdb")?;
    ensure!(status.success(), "initdb has failed ({status})");
    std::fs::remove_file(&password_file)?;
    Ok(())
}

/// Runs statements in a server of one process that nobody can connect to.
async fn fill(mut postgres: Command, statements: &str) -> anyhow::Result<()> {
    postgres.args(["--single", "-j", "-c", "exit_on_error=true", "-c", "fsync=off", "-D"]);
    postgres.arg("cluster").arg(DATABASE).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = postgres.spawn().context("postgres --single")?;
    let mut input = child.stdin.take().context("a pipe")?;
    input.write_all(statements.as_bytes()).await?;
    drop(input);
    let status = child.wait().await?;
    ensure!(status.success(), "the sample table could not be made ({status})");
    Ok(())
}

/// 100,000 orders, a minute apart, and a role that may read them; each statement ends with an empty line.
fn sql(password: &str) -> String {
    format!(
        "CREATE TABLE orders (id bigint PRIMARY KEY, ordered_at timestamptz NOT NULL, amount_cents bigint NOT NULL);\n\n\
         INSERT INTO orders SELECT n, timestamptz '2026-01-01 00:00:00+00' + n * interval '1 minute', n * 7919 % 100000 FROM generate_series(1, 100000) AS n;\n\n\
         ANALYZE orders;\n\n\
         CREATE ROLE {ROLE} LOGIN PASSWORD '{password}';\n\n\
         GRANT SELECT ON orders TO {ROLE};\n\n"
    )
}

/// A command that runs in that folder, as that account, and ends with this process.
fn command(program: &Path, account: Option<&Account>, folder: &Path) -> Command {
    // `setpriv` (util-linux) asks for the signal after it has changed the user, which would undo it.
    let mut command = Command::new("setpriv");
    if let Some(account) = account {
        command.arg(format!("--reuid={}", account.user)).arg(format!("--regid={}", account.group));
        command.arg("--clear-groups");
    }
    command.args(["--pdeathsig", "QUIT", "--"]).arg(program).current_dir(folder);
    command.env("LC_ALL", "C").kill_on_drop(true);
    command
}

/// At once (SIGQUIT): nothing is to be kept.
async fn end(mut server: Child) -> anyhow::Result<()> {
    let id = server.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        kill_process(id, Signal::QUIT).context("cannot end PostgreSQL")?;
    }
    if tokio::time::timeout(END_WITHIN, server.wait()).await.is_err() {
        server.kill().await.context("cannot kill PostgreSQL")?;
    }
    Ok(())
}
