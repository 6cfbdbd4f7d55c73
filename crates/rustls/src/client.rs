//! Clients' certificates, judged in the handshake.

use core::fmt;
use std::sync::Arc;

use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::config::Mode;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::x509::UnixSeconds;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::possession::{self, Version};

type Observer = dyn Fn(&ClientCert) + Send + Sync;

/// A `ClientCertVerifier` that does what the configuration's mode says.
///
/// Under `REJECT_INVALID` the handshake of a client whose certificate is not verified ends with the
/// alert `access_denied`, one for every reason, and without a certificate with
/// `certificate_required` (RFC 8446 6.2), unless `rejection` asks for an HTTP answer. Under
/// `ALLOW_INVALID_OR_MISSING_CLIENT_CERT` every certificate passes. Without an `mtlsPolicy` none is asked for. A client always has to prove that
/// it holds the key. No list of acceptable CAs is sent, as Google sends none.
///
/// With `source.header` the other end is a relay, and its certificate no client's: every one passes,
/// and is judged with each request (`Pipeline::run`).
pub struct ClientVerifier {
    pipeline: Arc<Pipeline>,
    observer: Option<Box<Observer>>,
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientVerifier")
            .field("mode", &self.pipeline.config().mode)
            .finish_non_exhaustive()
    }
}

impl ClientVerifier {
    /// Judges by this configuration.
    #[must_use]
    pub fn new(pipeline: Arc<Pipeline>) -> Self {
        Self {
            pipeline,
            observer: None,
        }
    }

    /// The same, telling each verdict, refusals too: the alert tells the client nothing. Not called
    /// for a handshake without a certificate, which rustls ends by itself
    /// (`Error::NoCertificatesPresented`).
    #[must_use]
    pub fn on_verdict(mut self, observer: impl Fn(&ClientCert) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Where certificates are refused in the handshake, another alert here would tell whether one that
    /// somebody else holds is trusted.
    fn prove(
        &self,
        version: Version,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        possession::prove(version, message, certificate, signed).map_err(|error| {
            if self.pipeline.config().refuses_connections() {
                CertificateError::ApplicationVerificationFailure.into()
            } else {
                error
            }
        })
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        self.pipeline.config().mode != Mode::Off
    }

    fn client_auth_mandatory(&self) -> bool {
        self.pipeline.config().refuses_connections()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<&[u8]> = core::iter::once(end_entity)
            .chain(intermediates)
            .map(AsRef::as_ref)
            .collect();
        let now = i64::try_from(now.as_secs()).ok().map(UnixSeconds);
        let client_cert = self.pipeline.judge(&Presented::Tls(&chain), now);
        if let Some(observer) = &self.observer {
            observer(&client_cert);
        }
        if client_cert.is_verified() || !self.pipeline.config().refuses_connections() {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.prove(Version::Tls12, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.prove(Version::Tls13, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        possession::schemes()
    }
}
