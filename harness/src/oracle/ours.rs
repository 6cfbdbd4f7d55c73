//! Our core, asked the way the filter asks it.

use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::error::{ClientCertError, Refusal};
use mtls_gate_core::forwarded::ForwardedChain;
use mtls_gate_core::limits::RequestLimits;
use mtls_gate_core::path::{Policy, Profile};
use mtls_gate_core::revocation::{Revocation, RevocationMode};
use mtls_gate_core::trust::{Trust, TrustStore};
use mtls_gate_core::x509::{Certificate, Crl, KeyPurpose};
use mtls_gate_rustcrypto::ALGORITHMS;

use super::{Oracle, Purpose, Question, Verdict};

/// Counts and sizes are no part of a question, so nothing is refused for them.
const LIMITS: RequestLimits = RequestLimits {
    presented_certificates: usize::MAX,
    payload_bytes: usize::MAX,
    ..RequestLimits::MAX
};

/// The core of mtls-gate.
#[derive(Clone, Copy, Debug)]
pub struct Ours {
    /// Whose rules apply.
    pub profile: Profile,
    /// RFC5280 only: dates, basicConstraints and keyUsage of trust anchors count too.
    pub enforce_anchor_constraints: bool,
}

impl Default for Ours {
    fn default() -> Self {
        Self {
            profile: Profile::Rfc5280,
            enforce_anchor_constraints: false,
        }
    }
}

impl Ours {
    /// The one place where a policy is made from a question.
    fn policy(&self, question: &Question) -> Policy {
        let purpose = question.purpose.map(|purpose| match purpose {
            Purpose::Client => KeyPurpose::ClientAuth,
            Purpose::Server => KeyPurpose::ServerAuth,
        });
        Policy {
            enforce_anchor_constraints: self.enforce_anchor_constraints,
            max_intermediates: question.max_intermediates,
            ..Policy::new(self.profile, purpose)
        }
    }

    /// The verdict as the filter has it. An anchor that cannot be parsed is left out, as the
    /// peers do; a configuration with it would not be loaded.
    #[must_use]
    pub fn client_cert(&self, question: &Question) -> ClientCert {
        let anchors = question
            .anchors
            .iter()
            .filter_map(|der| Certificate::parse(der.clone()).ok())
            .collect();
        let mode = if question.crls.is_empty() {
            RevocationMode::Off
        } else {
            RevocationMode::Required
        };
        let crls = question
            .crls
            .iter()
            .filter_map(|der| Crl::parse(der.clone()).ok())
            .collect();
        let store =
            TrustStore::new(anchors, Vec::new()).with_revocation(Revocation::new(mode, crls));
        let presented = core::iter::once(&question.end_entity)
            .chain(&question.intermediates)
            .cloned()
            .collect();
        ClientCert::judge(
            ForwardedChain::from_der(presented, &LIMITS),
            Some(&Trust::from(store)),
            &self.policy(question),
            &LIMITS,
            ALGORITHMS,
            Some(question.time),
        )
    }

    /// Why the certificate is refused, and the string for it on the wire.
    #[must_use]
    pub fn refusal(&self, question: &Question) -> Option<(Refusal, &'static str)> {
        match self.client_cert(question) {
            ClientCert::Unverified { refusal, .. } => {
                let wire = ClientCertError::from(&refusal).as_str();
                Some((refusal, wire))
            }
            _ => None,
        }
    }
}

impl Oracle for Ours {
    fn name(&self) -> &'static str {
        "mtls-gate"
    }

    fn judge(&self, question: &Question) -> Verdict {
        match self.client_cert(question) {
            ClientCert::Off => Verdict::refused("client certificates are not asked for"),
            ClientCert::Unverified { refusal, .. } => Verdict::refused(refusal),
            ClientCert::Verified { end_entity, path } => {
                let whole = core::iter::once(&end_entity).chain(&path);
                Verdict::accepted(whole.map(|one| one.der().to_vec()).collect())
            }
        }
    }
}
