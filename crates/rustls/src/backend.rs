//! Backends' certificates, judged by the client: managed workload identity, where a backend is known
//! by the SPIFFE ID of its X.509-SVID and its host name says nothing.

use std::sync::Arc;

use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::error::Refusal;
use mtls_gate_core::forwarded::ForwardedChain;
use mtls_gate_core::limits::RequestLimits;
use mtls_gate_core::path::{Policy, Profile};
use mtls_gate_core::spiffe::{SvidFault, svid_id};
use mtls_gate_core::trust::Trust;
use mtls_gate_core::x509::{KeyPurpose, UnixSeconds};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use thiserror::Error as ThisError;

use crate::ALGORITHMS;
use crate::possession::{self, Version};

/// Why a backend is not believed; the source of `CertificateError::Other`.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum BackendRefused {
    /// Its certificate is not verified.
    #[error("backend's certificate is refused: {0}")]
    NotVerified(Refusal),
    /// It is verified without a path (an allowlist), and is no X.509-SVID.
    #[error("backend's certificate is refused: {0}")]
    NotAnSvid(SvidFault),
    /// It is somebody else.
    #[error("backend's SPIFFE ID is not one of those expected")]
    UnexpectedIdentity,
}

/// A `ServerCertVerifier` that validates a backend's X.509-SVID (server EKU) against trust stores
/// and knows the backend by its SPIFFE ID.
#[derive(Debug)]
pub struct BackendVerifier {
    trust: Trust,
    policy: Policy,
    limits: RequestLimits,
    /// Any one of them.
    identities: Vec<String>,
}

impl BackendVerifier {
    /// Accepts a backend that `trust` verifies under the profile and that is one of `identities`,
    /// which are SPIFFE IDs, compared byte for byte.
    #[must_use]
    pub fn new(trust: Trust, profile: Profile, identities: Vec<String>) -> Self {
        Self {
            trust,
            policy: Policy::new(profile, Some(KeyPurpose::ServerAuth)),
            limits: RequestLimits::default(),
            identities,
        }
    }

    /// Judges a chain as it came in the handshake.
    ///
    /// # Errors
    /// It is not verified, or another backend's.
    pub fn judge(
        &self,
        chain: Vec<Vec<u8>>,
        now: Option<UnixSeconds>,
    ) -> Result<(), BackendRefused> {
        let backend_cert = ClientCert::judge(
            ForwardedChain::from_der(chain, &self.limits),
            Some(&self.trust),
            &self.policy,
            &self.limits,
            ALGORITHMS,
            now,
        );
        let end_entity = match &backend_cert {
            ClientCert::Verified { end_entity, .. } => end_entity,
            ClientCert::Unverified { refusal, .. } => {
                return Err(BackendRefused::NotVerified(refusal.clone()));
            }
            ClientCert::Off => return Err(BackendRefused::NotVerified(Refusal::NotPerformed)),
        };
        let id = svid_id(end_entity).map_err(BackendRefused::NotAnSvid)?;
        if self
            .identities
            .iter()
            .any(|expected| expected == id.as_str())
        {
            Ok(())
        } else {
            Err(BackendRefused::UnexpectedIdentity)
        }
    }
}

impl ServerCertVerifier for BackendVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = core::iter::once(end_entity)
            .chain(intermediates)
            .map(|der| der.to_vec())
            .collect();
        let now = i64::try_from(now.as_secs()).ok().map(UnixSeconds);
        match self.judge(chain, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(refused) => Err(CertificateError::Other(OtherError(Arc::new(refused))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        possession::prove(Version::Tls12, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        possession::prove(Version::Tls13, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        possession::schemes()
    }
}
