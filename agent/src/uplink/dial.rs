//! The byte stream to the collector: name, address, socket.

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for a name to be resolved.
const RESOLVE_MAX: Duration = Duration::from_secs(10);
/// Longest wait for one address to accept.
const DIAL_MAX: Duration = Duration::from_secs(5);
/// Most addresses of a name that are tried: the back-off comes after them.
const ADDRESSES_MAX: usize = 4;
/// How long sent bytes may stay unacknowledged by TCP.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens a byte stream to the collector.
pub trait Dial: Send {
    /// What TLS and HTTP/2 are spoken over.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens one.
    ///
    /// # Errors
    /// [`DialError`] when nobody answers.
    fn dial(&mut self) -> impl Future<Output = Result<Self::Stream, DialError>> + Send;
}

/// Why nobody answers.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name and why it has no address.
    #[error("the collector's name {0} does not resolve: {1}")]
    Resolve(String, String),
    /// An address that must not be dialled.
    #[error("{0} is not this machine, and without TLS nothing is sent to another: configure tls")]
    NotLoopback(IpAddr),
    /// The last address that was tried, and what came of it.
    #[error("cannot connect to {0}: {1}")]
    Refused(SocketAddr, String),
}

/// TCP, from the name on.
#[derive(Clone, Debug)]
pub struct Tcp {
    host: String,
    port: u16,
    /// Without TLS only this machine is dialled.
    is_secure: bool,
    /// The name's address that last led to a connection: used when the name does not resolve.
    last_good: Option<IpAddr>,
}

impl Tcp {
    /// To a host; without TLS it must be this machine.
    pub(super) const fn to(host: String, port: u16, is_secure: bool) -> Self {
        Self { host, port, is_secure, last_good: None }
    }

    fn permit(&self, ip: IpAddr) -> Result<(), DialError> {
        if self.is_secure || ip.to_canonical().is_loopback() {
            Ok(())
        } else {
            Err(DialError::NotLoopback(ip))
        }
    }

    async fn addresses(&self) -> Result<Vec<IpAddr>, DialError> {
        if let Ok(ip) = self.host.parse() {
            return Ok(vec![ip]);
        }
        match (timeout(RESOLVE_MAX, lookup(&self.host)).await, self.last_good) {
            (Ok(Ok(addresses)), _) => Ok(addresses),
            (Ok(Err(_)) | Err(_), Some(ip)) => Ok(vec![ip]),
            (Ok(Err(why)), None) => Err(DialError::Resolve(self.host.clone(), why)),
            (Err(_), None) => Err(DialError::Resolve(self.host.clone(), "no answer".to_owned())),
        }
    }
}

impl Dial for Tcp {
    type Stream = TcpStream;

    async fn dial(&mut self) -> Result<TcpStream, DialError> {
        let mut last = DialError::Resolve(self.host.clone(), "it has no address".to_owned());
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
            last = DialError::Refused(address, refused);
        }
        Err(last)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leaves_this_machine_is_refused_without_tls() {
        let tcp = Tcp::to("localhost".to_owned(), 1, false);
        assert!(tcp.permit("192.0.2.1".parse().expect("an address")).is_err());
        assert!(tcp.permit("::ffff:127.0.0.1".parse().expect("an address")).is_ok());
        let addresses = tcp.addresses().await.expect("localhost");
        assert!(
            !addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback),
            "{addresses:?}"
        );
    }
}
