//! What `config check` finds, one name each.

use serde_json::{Value, json};

use crate::resources::Place;

/// One thing that is wrong, or probably not as it was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its stable name.
    pub id: FindingId,
    /// Whether it stops anything.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The filter refuses the configuration, or a part of it can never do what it is there for.
    Error,
    /// It works, but probably not as it was meant, or not for long.
    Warning,
}

impl Severity {
    /// As it is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// The stable names, in kebab-case where they are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingId {
    /// A field is unknown, missing or of the wrong type.
    Schema,
    /// More of something than Google or the filter allows.
    OverLimit,
    /// The filter refuses it for another reason.
    Refused,
    /// A private key where none belongs.
    PrivateKey,
    /// Read leniently; the filter and Google refuse it as it is written.
    LenientForm,
    /// A part of a file that is not read.
    NotUsed,
    /// `pemCertificate` is not one certificate.
    NotACertificate,
    /// Neither a trust anchor nor an allowlisted certificate.
    NothingTrusted,
    /// A policy needs a trust config and there is none.
    TrustConfigMissing,
    /// A policy names another trust config.
    TrustConfigOther,
    /// A trust config and a policy without `mtlsPolicy`.
    TrustConfigUnused,
    /// `trustStores` beside `spiffeTrustStores`.
    TrustStoresBesideSpiffe,
    /// Certificates are asked for and never validated.
    ValidationNotPerformed,
    /// A trusted certificate's time is over.
    CertificateExpired,
    /// A trusted certificate's time has not come.
    CertificateNotYetValid,
    /// A trusted certificate's time is over soon.
    CertificateExpiresSoon,
    /// An allowlisted certificate's time is over, and it is accepted all the same.
    AllowlistedExpired,
    /// A CA's own end entities are refused for its key purposes.
    IssuerWithoutClientAuth,
    /// `basicConstraints` does not say that it is a CA.
    NotACa,
    /// `keyUsage` does not let it sign certificates.
    NoCertSign,
    /// A kind or size of key that the profile does not allow.
    KeyNotAllowed,
    /// A signature that the profile does not allow, such as SHA-1.
    WeakSignature,
    /// A critical extension that is not processed.
    CriticalExtension,
    /// A configured intermediate that leads to no configured anchor.
    NoAnchorAbove,
    /// A header rule that the filter refuses.
    HeaderRefused,
    /// Header rules for some of the requests only.
    HeaderActionNested,
    /// A variable that does not exist.
    UnknownVariable,
    /// A variable of Google's that does not exist here.
    UnsupportedVariable,
    /// A header that is added to what the client sent.
    HeaderAppended,
    /// A header that the client can forge behind Google's load balancer.
    HeaderSpoofableAtGoogle,
    /// Certificate variables without mTLS.
    VariablesAlwaysEmpty,
    /// A policy that a client evades by sending no certificate.
    AuthzDodged,
    /// A policy about addresses, where the connection is a relay's.
    AuthzRelayAddress,
    /// Whoever reaches the listener is believed about certificates.
    RelayAnybody,
    /// What a refused client gets lets its relay take the gate for broken.
    RelayClosed,
    /// A header is read and nobody is believed about it.
    RelayNobody,
    /// Clients and relays have their certificates from the same CA.
    RelayTrustShared,
}

impl FindingId {
    /// As it is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::OverLimit => "over-limit",
            Self::Refused => "refused",
            Self::PrivateKey => "private-key",
            Self::LenientForm => "lenient-form",
            Self::NotUsed => "not-used",
            Self::NotACertificate => "not-a-certificate",
            Self::NothingTrusted => "nothing-trusted",
            Self::TrustConfigMissing => "trust-config-missing",
            Self::TrustConfigOther => "trust-config-other",
            Self::TrustConfigUnused => "trust-config-unused",
            Self::TrustStoresBesideSpiffe => "trust-stores-beside-spiffe",
            Self::ValidationNotPerformed => "validation-not-performed",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotYetValid => "certificate-not-yet-valid",
            Self::CertificateExpiresSoon => "certificate-expires-soon",
            Self::AllowlistedExpired => "allowlisted-expired",
            Self::IssuerWithoutClientAuth => "issuer-without-client-auth",
            Self::NotACa => "not-a-ca",
            Self::NoCertSign => "no-cert-sign",
            Self::KeyNotAllowed => "key-not-allowed",
            Self::WeakSignature => "weak-signature",
            Self::CriticalExtension => "critical-extension",
            Self::NoAnchorAbove => "no-anchor-above",
            Self::HeaderRefused => "header-refused",
            Self::HeaderActionNested => "header-action-nested",
            Self::UnknownVariable => "unknown-variable",
            Self::UnsupportedVariable => "unsupported-variable",
            Self::HeaderAppended => "header-appended",
            Self::HeaderSpoofableAtGoogle => "header-spoofable-at-google",
            Self::VariablesAlwaysEmpty => "variables-always-empty",
            Self::AuthzDodged => "authz-dodged",
            Self::AuthzRelayAddress => "authz-relay-address",
            Self::RelayAnybody => "relay-anybody",
            Self::RelayClosed => "relay-closed",
            Self::RelayNobody => "relay-nobody",
            Self::RelayTrustShared => "relay-trust-shared",
        }
    }
}

impl Finding {
    /// For machines.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id.as_str(),
            "severity": self.severity.as_str(),
            "file": self.place.file,
            "path": self.place.path,
            "what": self.what,
            "mend": self.mend,
        })
    }
}

/// Collects findings by the document's paths.
pub(super) struct Findings<'a> {
    place: &'a dyn Fn(&str) -> Place,
    pub(super) list: Vec<Finding>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(place: &'a dyn Fn(&str) -> Place) -> Self {
        Self {
            place,
            list: Vec::new(),
        }
    }

    pub(super) fn error(
        &mut self,
        id: FindingId,
        path: &str,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(id, Severity::Error, path, what, mend);
    }

    pub(super) fn warning(
        &mut self,
        id: FindingId,
        path: &str,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(id, Severity::Warning, path, what, mend);
    }

    fn add(
        &mut self,
        id: FindingId,
        severity: Severity,
        path: &str,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.list.push(Finding {
            id,
            severity,
            place: (self.place)(path),
            what: what.into(),
            mend: mend.into(),
        });
    }
}
