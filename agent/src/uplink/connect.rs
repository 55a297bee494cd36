//! The way to the collector: URL, TLS, HTTP/2.

use super::dial::{Dial, DialError, Tcp};
use super::{TlsFiles, UplinkConfig, UplinkError};
use crate::identity::Identity;
use hyper_util::rt::TokioIo;
use std::error::Error as StdError;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};
use uuid::Uuid;

/// Where agents are served when the URL does not say.
const DEFAULT_PORT: u16 = 7400;
/// Longest wait for TLS and HTTP/2 to be agreed.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How often a connection is asked whether it lives, and how long the answer may take: one that is dead is known to be after
/// 22 s, and told by `/readyz` within half a minute.
const PING_EVERY: Duration = Duration::from_secs(12);
const PING_ANSWER_MAX: Duration = Duration::from_secs(10);
/// What the collector may send ahead of our reading; its messages are small and few.
const WINDOW_BYTES: u32 = 256 << 10;

/// A collector's address, checked, and how it is dialled.
#[derive(Clone, Debug)]
pub(super) struct Target<D = Tcp> {
    url: String,
    host: String,
    tls: Option<TlsFiles>,
    agent_id: Uuid,
    dial: D,
}

/// Why there is no connection this time.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("cannot read {0}: {1}")]
    File(String, std::io::Error),
    #[error("{0}: {1}")]
    Identity(String, crate::identity::IdentityError),
    #[error("{0} is the certificate of agent {1}, not of {2}: restart the agent to take it over")]
    OtherAgent(String, Uuid, Uuid),
    #[error("no session with the collector: {0}")]
    Handshake(String),
}

impl<D: Dial> Target<D> {
    /// Checks a configuration's URL against its TLS files; `dial` is told where it leads.
    pub(super) fn of(
        config: &UplinkConfig,
        dial: impl FnOnce(String, u16) -> D,
    ) -> Result<Self, UplinkError> {
        let bad = |why| UplinkError::Url { url: config.collector.clone(), why };
        let Place { url, host, port } =
            Place::of(&config.collector, config.tls.is_some()).map_err(bad)?;
        let (tls, agent_id, dial) = (config.tls.clone(), config.agent_id, dial(host.clone(), port));
        Ok(Self { url, host, tls, agent_id, dial })
    }

    /// Connects, from the name on.
    pub(super) async fn connect(&mut self) -> Result<Channel, ConnectError> {
        let mut endpoint = self.endpoint()?;
        if let Some(tls) = self.tls_config()? {
            endpoint = endpoint.tls_config(tls).map_err(|error| handshake(&error))?;
        }
        let stream = self.dial.dial().await?;
        let mut stream = Some(TokioIo::new(stream));
        let connector = tower::service_fn(move |_: Uri| {
            // One connection, one session: the next connect resolves the name again.
            let stream =
                stream.take().ok_or_else(|| std::io::Error::other("the connection is over"));
            std::future::ready(stream)
        });
        match timeout(HANDSHAKE_MAX, endpoint.connect_with_connector(connector)).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(handshake(&error)),
            Err(_) => Err(ConnectError::Handshake("it does not answer".to_owned())),
        }
    }

    fn endpoint(&self) -> Result<Endpoint, ConnectError> {
        let endpoint =
            Endpoint::from_shared(self.url.clone()).map_err(|error| handshake(&error))?;
        Ok(endpoint
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_ANSWER_MAX)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES))
    }

    fn tls_config(&self) -> Result<Option<ClientTlsConfig>, ConnectError> {
        let Some(files) = &self.tls else { return Ok(None) };
        let (ca, cert, key) =
            (read(&files.ca_file)?, read(&files.cert_file)?, read(&files.key_file)?);
        let name = files.cert_file.display().to_string();
        let found = Identity::of_certificate(&cert)
            .map_err(|error| ConnectError::Identity(name.clone(), error))?;
        if found.agent_id != self.agent_id {
            return Err(ConnectError::OtherAgent(name, found.agent_id, self.agent_id));
        }
        Ok(Some(
            ClientTlsConfig::new()
                .domain_name(self.host.clone())
                .ca_certificate(Certificate::from_pem(ca))
                .identity(tonic::transport::Identity::from_pem(cert, key)),
        ))
    }
}

/// Where a collector's URL leads.
pub(super) struct Place {
    url: String,
    host: String,
    port: u16,
}

impl Place {
    /// Reads a URL, if it is one that may be used with or without TLS.
    pub(super) fn of(url: &str, tls: bool) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "it is no URL")?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("it has a path");
        }
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it has a user");
        }
        match (uri.scheme_str(), tls) {
            (Some("https"), true) | (Some("http"), false) => {}
            (Some("https"), false) => return Err("https needs tls files"),
            (Some("http"), true) => return Err("http does not use tls files; say https"),
            _ => return Err("it begins neither with https:// nor with http://"),
        }
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() {
            return Err("it names no host");
        }
        if !tls && bare.parse().is_ok_and(|ip: IpAddr| !ip.to_canonical().is_loopback()) {
            return Err("it is another machine, and without tls nothing is sent there");
        }
        let port = authority.port_u16().unwrap_or(DEFAULT_PORT);
        let scheme = if tls { "https" } else { "http" };
        Ok(Self { url: format!("{scheme}://{host}:{port}"), host: bare.to_owned(), port })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(path).map_err(|error| ConnectError::File(path.display().to_string(), error))
}

fn handshake(error: &tonic::transport::Error) -> ConnectError {
    ConnectError::Handshake(chain(error))
}

/// An error with its causes: the outermost alone often says "transport error".
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplink::tests::config;

    fn place(config: &UplinkConfig) -> Result<(String, String, u16), UplinkError> {
        let mut place = None;
        let target = Target::of(config, |host, port| {
            place = Some(port);
            Tcp::to(host, port, config.tls.is_some())
        })?;
        Ok((target.url, target.host, place.expect("was told")))
    }

    fn files() -> TlsFiles {
        TlsFiles { ca_file: "ca".into(), cert_file: "cert".into(), key_file: "key".into() }
    }

    #[test]
    fn urls_are_checked_before_anything_is_contacted() {
        let (_, host, port) = place(&config("http://127.0.0.1")).expect("this machine");
        assert_eq!((host.as_str(), port), ("127.0.0.1", DEFAULT_PORT));
        let (url, host, port) = place(&config("http://[::1]:7")).expect("this machine");
        assert_eq!((host.as_str(), port, url.as_str()), ("::1", 7, "http://[::1]:7"));
        let mut secure = config("https://collector.example:1");
        secure.tls = Some(files());
        assert_eq!(place(&secure).expect("https").1, "collector.example");
        for (url, why) in [
            ("https://127.0.0.1", "tls files"),
            ("http://192.0.2.1", "another machine"),
            ("ftp://127.0.0.1", "neither"),
            ("127.0.0.1:7400", "neither"),
            ("http://127.0.0.1/x", "path"),
            ("http://me@127.0.0.1", "user"),
            ("http:// ", "no URL"),
        ] {
            let refused = place(&config(url)).expect_err(url).to_string();
            assert!(refused.contains(why), "{url}: {refused}");
        }
        secure.collector = "http://127.0.0.1".to_owned();
        assert!(place(&secure).is_err(), "files that would not be used");
    }
}
