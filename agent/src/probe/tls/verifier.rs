//! Certificates that need not prove a name as the web has them: any at all, one of a known issuer, or one of a SIP domain.
//!
//! Either way the other side must sign the handshake with the key of the certificate that it shows (RFC 8446 §4.4.3).

use super::sip_domain;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// Looks at who has issued a certificate, and for which SIP domain, as far as that is wanted.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Who must have issued the certificate; `None` = anybody.
    issuers: Option<Arc<RootCertStore>>,
    /// Whether it must be for the SIP domain that was asked.
    for_sip_domain: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Takes every certificate: what is sent cannot be read on the way, but nobody knows who reads it at the end.
    pub(super) fn of_anybody(algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { issuers: None, for_sip_domain: false, algorithms }
    }

    /// Takes the certificates of these issuers, within their time and for this use, whatever their name.
    pub(super) fn of_issuers(
        issuers: Arc<RootCertStore>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { issuers: Some(issuers), for_sip_domain: false, algorithms }
    }

    /// Likewise, for the SIP domain that was asked (RFC 5922).
    pub(super) fn of_sip_domain(
        issuers: Arc<RootCertStore>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { issuers: Some(issuers), for_sip_domain: true, algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(issuers) = &self.issuers {
            let leaf = ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(
                &leaf,
                issuers,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        if self.for_sip_domain && !sip_domain::is_for(end_entity, server_name)? {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
