//! Certificates that are right, and wrong in each way (RFC 5922 §7).

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::sync::Arc;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// An authority with its certificate in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, folder }
    }

    fn config(&self, names: Vec<SanType>, expired: bool) -> Arc<ServerConfig> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        if expired {
            (params.not_before, params.not_after) =
                (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key);
        Arc::new(config.expect("a config"))
    }
}

/// Connects to a server with that certificate, as to one of `sip.example`, and has a message answered.
async fn asked(config: Arc<ServerConfig>, trusted: &Authority) -> Result<Links, Failure> {
    let (listener, address) = listener().await;
    drop(tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let Ok(mut stream) = TlsAcceptor::from(config).accept(stream).await else { return };
        let mut read = [0; 4_096];
        while stream.read(&mut read).await.is_ok_and(|length| length > 0) {
            stream.write_all(OK.as_bytes()).await.expect("written");
        }
    }));
    let ca_file = trusted.folder.path().join("ca.pem");
    let spec = spec(&format!("{{uri: 'sips:sip.example', ca_file: '{}'}}", ca_file.display()));
    let environment = Environment::new(Permission::Anywhere);
    let mut links = Links::new(vec![server(address, Transport::Tls)]);
    let dialler = Dialler { spec: &spec, environment: &environment };
    links.open_first(dialler, limit()).await?;
    links.send(0, &request(0, Transport::Tls), "invite")?;
    let Happened::Came { bytes, source, by, .. } = next(&mut links).await else { panic!() };
    assert_eq!((&*bytes, source.transport), (OK.as_bytes(), Transport::Tls));
    assert_eq!(by, Stamper::User);
    Ok(links)
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("is ASCII"))
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("is ASCII"))
}

#[tokio::test]
async fn a_certificate_of_the_domain_is_taken() {
    let authority = Authority::new("ours");
    for names in [vec![uri("sip:sip.example")], vec![dns("sip.example")]] {
        let links = asked(authority.config(names, false), &authority).await.expect("taken");
        let phases: Vec<&str> = links.opened().iter().map(|(phase, _)| *phase).collect();
        assert_eq!(phases, ["connect", "tls"]);
        assert!(links.notes.contains_key("cert_not_after"), "{:?}", links.notes);
    }
}

#[tokio::test]
async fn certificates_that_are_wrong_have_their_codes() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let right = || vec![uri("sip:sip.example")];
    for (config, code) in [
        (authority.config(vec![uri("sip:other.example")], false), "tls:name"),
        (authority.config(vec![dns("sip.example"), uri("sip:other.example")], false), "tls:name"),
        (authority.config(vec![dns("*.example")], false), "tls:name"),
        (authority.config(Vec::new(), false), "tls:name"),
        (authority.config(right(), true), "tls:expired"),
        (other.config(right(), false), "tls:issuer"),
    ] {
        let failure = asked(config, &authority).await.expect_err(code);
        assert_eq!(failure.outcome, Outcome::Failed(FailureClass::Tls), "{failure:?}");
        assert_eq!(failure.code.as_deref(), Some(code), "{failure:?}");
    }
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_apart() {
    let (listener, address) = listener().await;
    drop(tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.write_all(OK.as_bytes()).await.expect("written");
        tokio::time::sleep(COMES).await;
    }));
    let (_, local) = opened(vec![server(address, Transport::Tls)]).await;
    assert_eq!(local.expect_err("no TLS").code.as_deref(), Some("tls:not_tls"));
}
