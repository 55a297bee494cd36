//! The collector as a service: built from a configuration, run until it is told to stop, drained.
//!
//! In the order of the data: store, fleet, ingest, evaluator, portal. Whoever starts it owns the end: [`run`] returns when
//! the future it was given does.

use crate::config::Config;
use crate::evaluator::{self, Snapshot};
use crate::fleet::Fleet;
use crate::ingest::listener::Door;
use crate::ingest::service::{Ingest, serve as serve_agents};
use crate::metrics::IngestMetrics;
use crate::portal::{self, Portal};
use crate::store::{AnyStore, SqliteStore, Store as _, StoreError, TenantScope};
use crate::tls::{TlsError, server_config};
use serde_json::json;
use std::fs::{File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long agents are given to take their leave; whatever is not acknowledged then comes again.
const DRAIN_DEADLINE: Duration = Duration::from_millis(700);

/// The collector cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The TLS files are wrong: the operator's input.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store cannot be used.
    #[error("{}: {source}", path.display())]
    Store {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// Something of the machine.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Another collector uses the folder.
    #[error("{}: another collector is running on this folder", .0.display())]
    InUse(PathBuf),
    /// The server for agents failed.
    #[error("agents cannot be served: {0}")]
    Agents(#[from] tonic::transport::Error),
}

/// Where a running collector is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// By agents.
    pub agents: SocketAddr,
    /// By browsers and scrapers.
    pub portal: SocketAddr,
}

/// A collector that holds its folder and its ports, and has not served anybody yet.
#[derive(Debug)]
pub struct Collector {
    config: Config,
    tls: Option<Arc<rustls::ServerConfig>>,
    store: AnyStore,
    agents: TcpListener,
    portal: TcpListener,
    addresses: Addresses,
    folder: StateFolder,
}

impl Collector {
    /// Takes the folder, opens the store, binds the ports, and writes `addresses.json` into the folder: whoever started
    /// the collector with port 0 reads there where it is.
    ///
    /// # Errors
    /// [`ServiceError`] when any of that fails; nothing is served then.
    pub async fn build(config: Config) -> Result<Self, ServiceError> {
        let tls = config.tls.as_ref().map(server_config).transpose()?;
        let folder = StateFolder::take(&config.state_dir)?;
        let path = config.store_path();
        let (store, durability) = SqliteStore::open(&path)
            .map_err(|source| ServiceError::Store { path: path.clone(), source })?;
        tracing::info!(
            path = %path.display(),
            journal_mode = %durability.journal_mode,
            synchronous = durability.synchronous,
            version = durability.user_version,
            "store opened"
        );
        let agents = bind(config.listen).await?;
        let portal = bind(config.portal).await?;
        let addresses = Addresses { agents: local(&agents)?, portal: local(&portal)? };
        folder.publish(addresses)?;
        Ok(Self { config, tls, store: AnyStore::Sqlite(store), agents, portal, addresses, folder })
    }

    /// Where it will be reached.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until `end` is there, then lets agents take their leave.
    ///
    /// # Errors
    /// [`ServiceError`] when the store cannot be read or the server for agents fails.
    pub async fn run(self, end: impl Future<Output = ()>) -> Result<(), ServiceError> {
        let scope = TenantScope::default();
        let known = self.store.agents(&scope).await;
        let known = known
            .map_err(|source| ServiceError::Store { path: self.config.store_path(), source })?;
        let fleet = Arc::new(Fleet::new(self.config.assignment(), known));
        let metrics = Arc::new(IngestMetrics::default());
        let (stop, stopped) = watch::channel(false);

        let ingest = Ingest {
            store: self.store.clone(),
            scope: scope.clone(),
            fleet: Arc::clone(&fleet),
            metrics: Arc::clone(&metrics),
            pace: Arc::default(),
            newcomers: Arc::default(),
            stop: stopped.clone(),
        };
        let door = Door { tls: self.tls, deployment: self.config.deployment.as_str().into() };
        let mut agents = tokio::spawn(serve_agents(self.agents, door, ingest));

        let (publish, snapshots) = watch::channel(Arc::new(Snapshot::default()));
        let judged = (self.config.agreements.clone(), self.config.window_s);
        let evaluator = evaluator::run(self.store.clone(), scope, judged, publish);
        let evaluator = tokio::spawn(evaluator);

        let portal = Portal {
            snapshots,
            fleet,
            metrics,
            store: self.store,
            listen: self.addresses.agents,
            public: self.config.portal_public,
            check: Arc::default(),
            started: Instant::now(),
            followers: portal::places_for_followers(),
        };
        let portal = tokio::spawn(portal::serve(self.portal, portal, stopped));

        let Addresses { agents: listen, portal: page } = self.addresses;
        tracing::info!(agents = %listen, portal = %format!("http://{page}/"), "collector is up");
        let result = tokio::select! {
            ended = &mut agents => ended.map_or(Ok(()), |served| served.map_err(ServiceError::from)),
            () = end => Ok(()),
        };
        stop.send_replace(true);
        if tokio::time::timeout(DRAIN_DEADLINE, &mut agents).await.is_err() {
            agents.abort();
        }
        evaluator.abort();
        portal.abort();
        self.folder.leave();
        tracing::info!("collector has stopped");
        result
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServiceError> {
    let what = || format!("cannot listen on {address}");
    TcpListener::bind(address).await.map_err(|source| ServiceError::Io { what: what(), source })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, ServiceError> {
    let what = "cannot tell where it listens".to_owned();
    listener.local_addr().map_err(|source| ServiceError::Io { what, source })
}

/// The folder of one collector, locked as long as this lives.
#[derive(Debug)]
struct StateFolder {
    path: PathBuf,
    _lock: File,
}

impl StateFolder {
    fn take(path: &Path) -> Result<Self, ServiceError> {
        let io = |what: &str| {
            let what = format!("{}: {what}", path.display());
            |source| ServiceError::Io { what, source }
        };
        std::fs::create_dir_all(path).map_err(io("cannot make the folder"))?;
        let lock = File::create(path.join("collector.lock")).map_err(io("cannot write into it"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ServiceError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(io("cannot lock it")(source)),
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        // A file from a run that was killed must not send anybody to a port that is not ours.
        folder.leave();
        Ok(folder)
    }

    fn addresses_path(&self) -> PathBuf {
        self.path.join("addresses.json")
    }

    /// Whole or not at all: readers poll for the file.
    fn publish(&self, addresses: Addresses) -> Result<(), ServiceError> {
        let text = json!({
            "agents": addresses.agents.to_string(),
            "portal": addresses.portal.to_string(),
            "pid": std::process::id(),
        });
        let fresh = self.path.join("addresses.json.new");
        let written = std::fs::write(&fresh, format!("{text}\n"))
            .and_then(|()| std::fs::rename(&fresh, self.addresses_path()));
        let what = format!("cannot write {}", self.addresses_path().display());
        written.map_err(|source| ServiceError::Io { what, source })
    }

    fn leave(&self) {
        match std::fs::remove_file(self.addresses_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "addresses.json could not be removed");
            }
            _ => {}
        }
    }
}
