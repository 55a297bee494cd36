//! One session with a server, over a socket of our own: nothing of it runs but while somebody waits for it.

use super::LOGIN;
use super::dsn::{Binding, Login};
use super::error::{Trouble, of_exchange, of_login};
use super::tls::{Privacy, Private, Ready, end_point, make_private};
use super::wire::{Caps, Wire};
use crate::probe::connect::connect;
use crate::probe::stream::{Connection, Watched};
use crate::secret::Secret;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation};
use tokio_postgres::{Client, Config, Error};

/// Longest farewell: it is written at once, or it does not matter any more.
const FAREWELL_MAX: Duration = Duration::from_millis(20);

/// What reads and writes for a client.
type Driver = tokio_postgres::Connection<Watched<Wire>, Private>;

/// Where a session is, for whoever has to say something beside it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) privacy: Option<Privacy>,
}

/// A session that is logged in.
pub(super) struct Session {
    client: Client,
    /// Gone when the connection has ended.
    driver: Option<Pin<Box<Driver>>>,
    pub(super) wire: Wire,
    pub(super) peer: Peer,
    /// What the way there and back takes, as the connection did.
    pub(super) round_trip: Duration,
    /// The role was asked about, and may stay.
    pub(super) cleared: bool,
    /// Something was asked that is not answered yet.
    busy: bool,
}

impl Session {
    /// Logs in over a connection that stands.
    pub(super) async fn log_in(
        connection: Connection,
        login: &Login,
        password: &Result<Secret, String>,
        (peer, round_trip): (Peer, Duration),
    ) -> Result<Self, Trouble> {
        let wire = Wire::new();
        let private = matches!(connection, Connection::Tls(_));
        let ready = Ready { end_point: end_point(&connection) };
        let config = config(login, password.as_ref().ok(), private);
        let stamped = Watched::new(connection, wire.clone());
        // The future is large and is needed once: not on everybody's stack.
        let logged_in = Box::pin(config.connect_raw(stamped, ready)).await;
        let (client, driver) = logged_in.map_err(|error| {
            of_login(&error, &wire, password.as_ref().err().map(String::as_str), LOGIN)
        })?;
        let driver = Some(Box::pin(driver));
        Ok(Self { client, driver, wire, peer, round_trip, cleared: false, busy: false })
    }

    /// What the server said about itself when it was logged in to.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.driver.as_ref()?.parameter(name)
    }

    /// Whether an answer is still due: then nobody may use the session again.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Lets `work` talk with the server while the connection is driven.
    pub(super) async fn talk<T>(
        &mut self,
        caps: Caps,
        phase: &'static str,
        work: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, Trouble> {
        self.busy = true;
        self.wire.begin(caps);
        let mut last = None;
        let mut working = Box::pin(work(&self.client));
        let worked = loop {
            let Some(driver) = &mut self.driver else { break working.as_mut().await };
            tokio::select! {
                biased;
                worked = &mut working => break worked,
                ended = driver.as_mut() => {
                    last = ended.err();
                    // What waits for an answer hears that there will be none when the driver is gone.
                    self.driver = None;
                }
            }
        };
        drop(working);
        self.busy = self.wire.with(|seen| seen.stopped.is_some());
        worked.map_err(|error| of_exchange(&error, last.as_ref(), &self.wire, phase))
    }

    /// Ends the transaction, and forgets everything that a statement could have left in the session. Whether the session
    /// is as new.
    pub(super) async fn clear(&mut self) -> bool {
        let cleared = self.talk(Caps::OWN, "clear", async |client: &Client| {
            // Sent at once, one after the other: DISCARD ALL stands in no transaction.
            let (ended, cleared) =
                tokio::join!(client.batch_execute("ROLLBACK"), client.batch_execute("DISCARD ALL"));
            ended.and(cleared)
        });
        cleared.await.is_ok() && self.driver.is_some()
    }

    /// Returns when the connection has ended, whatever ended it.
    pub(super) async fn ended(&mut self) {
        if let Some(driver) = &mut self.driver {
            drop(driver.as_mut().await);
        }
        self.driver = None;
    }

    /// Ends the session as a good guest; the server ends its transaction.
    pub(super) async fn farewell(self) {
        let Self { client, driver, .. } = self;
        drop(client);
        if let Some(driver) = driver {
            drop(timeout(FAREWELL_MAX, driver).await);
        }
    }

    /// Asks the server, beside the session, to stop what it does for it; closes the session when the server has passed
    /// that on, for which it answers nothing but an end of stream. A session that is reset before that may never hear it.
    pub(super) async fn cancel(self) {
        let token = self.client.cancel_token();
        let Ok(stream) = connect(self.peer.address).await else { return };
        let connection = match &self.peer.privacy {
            Some(privacy) => make_private(stream, privacy).await,
            None => Ok(Connection::Plain(stream)),
        };
        if let Ok(connection) = connection {
            let mut stamped = Watched::new(connection, Wire::new());
            drop(token.cancel_query_raw(&mut stamped, Ready::default()).await);
            drop(stamped.read(&mut [0]).await);
        }
    }
}

/// The library's form of a login. A private stream is handed over as one that needs no negotiation.
fn config(login: &Login, password: Option<&Secret>, private: bool) -> Config {
    let mut config = Config::new();
    config
        .user(&login.user)
        .application_name(&login.application)
        .ssl_mode(if private { SslMode::Require } else { SslMode::Disable })
        .ssl_negotiation(SslNegotiation::Direct)
        .channel_binding(match login.binding {
            Binding::Disable => ChannelBinding::Disable,
            Binding::Prefer => ChannelBinding::Prefer,
            Binding::Require => ChannelBinding::Require,
        });
    if let Some(database) = &login.database {
        config.dbname(database);
    }
    if let Some(options) = &login.options {
        config.options(options);
    }
    if let Some(password) = password {
        config.password(password.expose());
    }
    config
}
