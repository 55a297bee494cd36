//! Private sessions: PostgreSQL's way into TLS, and what binds a login to it.

use super::dsn::SslMode;
use super::wire::Wire;
use crate::probe::failure::{Failure, from_io};
use crate::probe::progress::TLS;
use crate::probe::stream::{Connection, Watched};
use crate::probe::tls::{Proof, Roots, Wanted, handshake};
use probefleet_proto::name::FailureClass;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// PostgreSQL 15 §55.7: length 8, and the code that no version of the protocol has.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// The protocol asked for in the handshake, as libpq does since version 17.
const ALPN: &[u8] = b"postgresql";

/// How a session becomes private.
#[derive(Clone, Debug)]
pub(super) struct Privacy {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
    /// Goes on without, where the server cannot.
    pub(super) optional: bool,
}

/// Whose certificates a mode trusts; `None` for a session that is not private.
pub(super) fn wanted(
    mode: SslMode,
    ca_file: Option<PathBuf>,
) -> Result<Option<Wanted>, &'static str> {
    let (roots, proof) = match (mode, ca_file) {
        (SslMode::Disable, None) => return Ok(None),
        (SslMode::Prefer | SslMode::Require, None) => (Roots::System, Proof::Nothing),
        (SslMode::VerifyFull, None) => (Roots::System, Proof::Name),
        (SslMode::VerifyFull, Some(path)) => (Roots::Only(path), Proof::Name),
        (SslMode::VerifyCa, Some(path)) => (Roots::Only(path), Proof::Issuer),
        (SslMode::VerifyCa, None) => {
            return Err(
                "sslmode=verify-ca needs a `ca_file`: anybody can have a certificate of a public issuer",
            );
        }
        (SslMode::Disable | SslMode::Prefer | SslMode::Require, Some(_)) => {
            return Err(
                "`ca_file` needs sslmode=verify-full or verify-ca: the others verify nothing",
            );
        }
    };
    Ok(Some(Wanted { roots, proof, protocol: Some(ALPN) }))
}

/// The name in the handshake, which the certificate must be for where it must be for any.
pub(super) fn server_name(host: &str, mode: SslMode) -> Result<ServerName<'static>, Failure> {
    match ServerName::try_from(host.trim_end_matches('.').to_owned()) {
        Ok(name) => Ok(name),
        // No certificate can be for it; where nobody asks, an address stands for "no name".
        Err(_) if mode != SslMode::VerifyFull => Ok(ServerName::from(IpAddr::from([0, 0, 0, 0]))),
        Err(_) => {
            let why = format!("no certificate can be for `{host}`");
            Err(Failure::failed(FailureClass::Tls, "tls:name", why))
        }
    }
}

/// Makes a connection private, in the phase `tls`.
pub(super) async fn make_private(
    mut stream: TcpStream,
    privacy: &Privacy,
) -> Result<Connection, Failure> {
    if request(&mut stream).await? {
        let stream = handshake(stream, privacy.name.clone(), Arc::clone(&privacy.config)).await?;
        return Ok(Connection::Tls(Box::new(stream)));
    }
    if privacy.optional {
        return Ok(Connection::Plain(stream));
    }
    let why = "the server does not speak TLS; for a session that anybody can read: sslmode=disable";
    Err(Failure::failed(FailureClass::Tls, "tls:refused", why))
}

/// Asks whether the server speaks TLS. Not a byte is read beyond its answer: what an attacker sent in advance would pass
/// for what the server says in private.
async fn request(stream: &mut TcpStream) -> Result<bool, Failure> {
    stream.write_all(&SSL_REQUEST).await.map_err(|error| from_io(&error, TLS))?;
    let mut answer = [0];
    stream.read_exact(&mut answer).await.map_err(|error| from_io(&error, TLS))?;
    let protocol =
        |code: &'static str, why: &str| Failure::failed(FailureClass::Protocol, code, why);
    match answer[0] {
        b'S' => Ok(true),
        b'N' => Ok(false),
        // Its text is not shown: nobody knows yet who wrote it (CVE-2024-10977).
        b'E' => Err(protocol("ssl_request", "the server answered SSLRequest with an error")),
        _ => Err(protocol("not_postgresql", "the other side is no PostgreSQL server")),
    }
}

/// A stream that is private already, for a library that would make it so.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// RFC 5929 §4.
    pub(super) end_point: Option<Vec<u8>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsConnect<S> for Ready {
    type Stream = Private<S>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Private<S>, Infallible>>;

    fn connect(self, stream: S) -> Self::Future {
        std::future::ready(Ok(Private { stream, end_point: self.end_point }))
    }
}

/// A private stream.
#[derive(Debug)]
pub(super) struct Private<S = Watched<Wire>> {
    stream: S,
    end_point: Option<Vec<u8>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Private<S> {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.end_point {
            Some(hash) => ChannelBinding::tls_server_end_point(hash.clone()),
            None => ChannelBinding::none(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Private<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Private<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What binds a login to this TLS session: the hash of the server's certificate, by the hash function of its signature,
/// or SHA-256 in place of a weaker one (RFC 5929 §4.1). `None` where that is not defined.
pub(super) fn end_point(connection: &Connection) -> Option<Vec<u8>> {
    let Connection::Tls(stream) = connection else { return None };
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
        // RSA with MD5, SHA-1, SHA-256; ECDSA with SHA-1, SHA-256
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Some(Sha256::digest(certificate).to_vec()),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => {
            Some(Sha384::digest(certificate).to_vec())
        }
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => {
            Some(Sha512::digest(certificate).to_vec())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_trust_what_libpq_lets_them() {
        use SslMode::{Disable, Prefer, Require, VerifyCa, VerifyFull};
        let file = || Some(PathBuf::from("/ca.pem"));
        let only = || Roots::Only(PathBuf::from("/ca.pem"));
        for (mode, ca_file, expected) in [
            (Disable, None, Some(None)),
            (Prefer, None, Some(Some((Roots::System, Proof::Nothing)))),
            (Require, None, Some(Some((Roots::System, Proof::Nothing)))),
            (VerifyCa, file(), Some(Some((only(), Proof::Issuer)))),
            (VerifyFull, file(), Some(Some((only(), Proof::Name)))),
            (VerifyFull, None, Some(Some((Roots::System, Proof::Name)))),
            (VerifyCa, None, None),
            (Disable, file(), None),
            (Prefer, file(), None),
            (Require, file(), None),
        ] {
            let wanted = wanted(mode, ca_file).ok();
            let wanted = wanted.map(|wanted| wanted.map(|wanted| (wanted.roots, wanted.proof)));
            assert_eq!(wanted, expected, "{mode:?}");
        }
    }

    #[test]
    fn a_host_that_no_certificate_can_be_for_is_only_refused_where_it_matters() {
        assert!(server_name("db.example.", SslMode::VerifyFull).is_ok());
        assert!(server_name("::1", SslMode::VerifyFull).is_ok());
        assert!(server_name("a..b", SslMode::Require).is_ok());
        let failure = server_name("a..b", SslMode::VerifyFull).expect_err("no name");
        assert_eq!(failure.code.as_deref(), Some("tls:name"));
    }
}
