//! The way to the collector: URL, name, socket, TLS.

use super::{TlsFiles, UplinkConfig, UplinkError};
use crate::identity::Identity;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hyper_util::rt::TokioIo;
use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};
use uuid::Uuid;

/// Where agents are served when the URL does not say.
const DEFAULT_PORT: u16 = 7400;
/// Longest wait for a name to be resolved.
const RESOLVE_MAX: Duration = Duration::from_secs(10);
/// Longest wait for one address to accept.
const DIAL_MAX: Duration = Duration::from_secs(5);
/// Longest wait for TLS and HTTP/2 to be agreed.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Most addresses of a name that are tried: the back-off comes after them.
const ADDRESSES_MAX: usize = 4;
/// How often a connection is asked whether it lives, and how long the answer may take: one that is dead is known to be after
/// 25 s, within the half minute of [`TCP_USER_TIMEOUT`].
const PING_EVERY: Duration = Duration::from_secs(15);
const PING_ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long sent bytes may stay unacknowledged by TCP.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
/// What the collector may send ahead of our reading; its messages are small and few.
const WINDOW_BYTES: u32 = 256 << 10;

/// A collector's address, checked.
#[derive(Clone, Debug)]
pub(super) struct Target {
    url: String,
    host: String,
    port: u16,
    tls: Option<TlsFiles>,
    agent_id: Uuid,
    /// The name's addresses that last led to a connection: used when the name does not resolve.
    last_good: Option<IpAddr>,
}

/// Why there is no connection this time.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the collector's name {0} does not resolve: {1}")]
    Resolve(String, String),
    #[error("{0} is not this machine, and without TLS nothing is sent to another: configure tls")]
    NotLoopback(IpAddr),
    #[error("cannot connect to {0}: {1}")]
    Dial(SocketAddr, String),
    #[error("cannot read {0}: {1}")]
    File(String, std::io::Error),
    #[error("{0}: {1}")]
    Identity(String, crate::identity::IdentityError),
    #[error("{0} is the certificate of agent {1}, not of {2}: restart the agent to take it over")]
    OtherAgent(String, Uuid, Uuid),
    #[error("no session with the collector: {0}")]
    Handshake(String),
}

impl Target {
    /// Checks a configuration's URL against its TLS files.
    pub(super) fn of(config: &UplinkConfig) -> Result<Self, UplinkError> {
        let bad = |why| UplinkError::Url { url: config.collector.clone(), why };
        let Place { url, host, port } =
            Place::of(&config.collector, config.tls.is_some()).map_err(bad)?;
        let (tls, agent_id) = (config.tls.clone(), config.agent_id);
        Ok(Self { url, host, port, tls, agent_id, last_good: None })
    }

    /// Connects, from the name on.
    pub(super) async fn connect(&mut self) -> Result<Channel, ConnectError> {
        let mut endpoint = self.endpoint()?;
        if let Some(tls) = self.tls_config()? {
            endpoint = endpoint.tls_config(tls).map_err(|error| handshake(&error))?;
        }
        let stream = self.dial().await?;
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

    async fn dial(&mut self) -> Result<TcpStream, ConnectError> {
        let mut last = ConnectError::Resolve(self.host.clone(), "it has no address".to_owned());
        for ip in self.addresses().await?.into_iter().take(ADDRESSES_MAX) {
            self.permit(ip)?;
            let address = SocketAddr::new(ip, self.port);
            let refused = match timeout(DIAL_MAX, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => match tune(&stream) {
                    Ok(()) => {
                        self.last_good = Some(ip);
                        return Ok(stream);
                    }
                    Err(error) => error.to_string(),
                },
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it does not answer".to_owned(),
            };
            last = ConnectError::Dial(address, refused);
        }
        Err(last)
    }

    fn permit(&self, ip: IpAddr) -> Result<(), ConnectError> {
        if self.tls.is_some() || ip.to_canonical().is_loopback() {
            Ok(())
        } else {
            Err(ConnectError::NotLoopback(ip))
        }
    }

    async fn addresses(&self) -> Result<Vec<IpAddr>, ConnectError> {
        if let Ok(ip) = self.host.parse() {
            return Ok(vec![ip]);
        }
        match (timeout(RESOLVE_MAX, lookup(&self.host)).await, self.last_good) {
            (Ok(Ok(addresses)), _) => Ok(addresses),
            (Ok(Err(_)) | Err(_), Some(ip)) => Ok(vec![ip]),
            (Ok(Err(why)), None) => Err(ConnectError::Resolve(self.host.clone(), why)),
            (Err(_), None) => Err(ConnectError::Resolve(self.host.clone(), "no answer".to_owned())),
        }
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

/// Asks anew each time: a collector that moved is found at the next connect.
async fn lookup(host: &str) -> Result<Vec<IpAddr>, String> {
    let mut builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
    builder.options_mut().cache_size = 0;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let resolver = builder.build().map_err(|error| error.to_string())?;
    let found = resolver.lookup_ip(host).await.map_err(|error| error.to_string())?;
    Ok(found.iter().collect())
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))
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

    fn files() -> TlsFiles {
        TlsFiles { ca_file: "ca".into(), cert_file: "cert".into(), key_file: "key".into() }
    }

    #[test]
    fn urls_are_checked_before_anything_is_contacted() {
        let plain = Target::of(&config("http://127.0.0.1")).expect("this machine");
        assert_eq!((plain.host.as_str(), plain.port), ("127.0.0.1", DEFAULT_PORT));
        let v6 = Target::of(&config("http://[::1]:7")).expect("this machine");
        assert_eq!((v6.host.as_str(), v6.port, v6.url.as_str()), ("::1", 7, "http://[::1]:7"));
        let mut secure = config("https://collector.example:1");
        secure.tls = Some(files());
        assert_eq!(Target::of(&secure).expect("https").host, "collector.example");
        for (url, why) in [
            ("https://127.0.0.1", "tls files"),
            ("http://192.0.2.1", "another machine"),
            ("ftp://127.0.0.1", "neither"),
            ("127.0.0.1:7400", "neither"),
            ("http://127.0.0.1/x", "path"),
            ("http://me@127.0.0.1", "user"),
            ("http:// ", "no URL"),
        ] {
            let refused = Target::of(&config(url)).expect_err(url).to_string();
            assert!(refused.contains(why), "{url}: {refused}");
        }
        secure.collector = "http://127.0.0.1".to_owned();
        assert!(Target::of(&secure).is_err(), "files that would not be used");
    }

    #[tokio::test]
    async fn a_name_that_leaves_this_machine_is_refused_without_tls() {
        let target = Target::of(&config("http://localhost:1")).expect("a name");
        assert!(target.permit("192.0.2.1".parse().expect("an address")).is_err());
        assert!(target.permit("::ffff:127.0.0.1".parse().expect("an address")).is_ok());
        let addresses = target.addresses().await.expect("localhost");
        assert!(
            !addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback),
            "{addresses:?}"
        );
    }
}
