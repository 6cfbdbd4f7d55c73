//! For people who look for a fault: which field of a certificate it is in, and how it is mended.

use crate::error::Refusal;
use crate::forwarded::DecodeError;
use crate::path::{KeyFault, PathFault};
use crate::relay::RelayFault;
use crate::revocation::CrlFault;
use crate::spiffe::SvidFault;

/// A part of a certificate that people look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The certificate as a whole.
    Certificate,
    /// `issuer`, and the authority key identifier.
    Issuer,
    /// `validity`
    Validity,
    /// `subject` and the subject alternative names.
    Names,
    /// `subjectPublicKeyInfo`
    Key,
    /// `signatureAlgorithm` and the signature.
    Signature,
    /// `basicConstraints`
    BasicConstraints,
    /// `keyUsage`
    KeyUsage,
    /// `extKeyUsage`
    ExtendedKeyUsage,
    /// `nameConstraints`
    NameConstraints,
    /// `certificatePolicies` and what goes with it.
    Policies,
    /// An extension that has no line of its own.
    Extensions,
    /// What CRLs say.
    Revocation,
}

impl Field {
    /// One word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Issuer => "issuer",
            Self::Validity => "validity",
            Self::Names => "names",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::BasicConstraints => "basicConstraints",
            Self::KeyUsage => "keyUsage",
            Self::ExtendedKeyUsage => "extKeyUsage",
            Self::NameConstraints => "nameConstraints",
            Self::Policies => "policies",
            Self::Extensions => "extensions",
            Self::Revocation => "revocation",
        }
    }
}

impl Refusal {
    /// The presented certificate that is at fault, 0 for the end entity, and its field. A path's
    /// faults are told by its trace.
    #[must_use]
    pub fn presented(&self) -> Option<(usize, Field)> {
        match self {
            Self::Parse { index, .. } => Some((*index, Field::Certificate)),
            Self::Key { index, .. } => Some((*index, Field::Key)),
            Self::TooManyNameConstraints { index, .. } => Some((*index, Field::NameConstraints)),
            Self::Svid(fault) => Some((0, svid_field(*fault))),
            Self::NotProvided
            | Self::UntrustedRelay(_)
            | Self::NotPerformed
            | Self::NoClock
            | Self::Decode(_)
            | Self::TooManyCertificates { .. }
            | Self::PayloadTooLarge { .. }
            | Self::PkiTooLarge { .. }
            | Self::Path(_) => None,
        }
    }

    /// How it is mended, in one sentence.
    #[must_use]
    pub fn mend(&self) -> &'static str {
        match self {
            Self::NotProvided => {
                "Have the client present a certificate: its TLS settings need a certificate and \
                 its key, and the proxy must ask for one."
            }
            Self::UntrustedRelay(fault) => relay(fault),
            Self::NotPerformed => {
                "Give a trust config with the CA that issues the clients' certificates."
            }
            Self::NoClock => "Give a time to validate at.",
            Self::Decode(error) => decode(error),
            Self::Parse { .. } => {
                "Have the certificate issued again by software that writes DER as RFC 5280 asks; \
                 nothing at the proxy mends it."
            }
            Self::TooManyCertificates { .. } => {
                "Have the client present its own certificate and the intermediates of its path \
                 only; intermediates may be configured in intermediateCas too."
            }
            Self::PayloadTooLarge { .. } => {
                "Have the client leave out certificates that are not on its path, or issue smaller \
                 ones; intermediates may be configured in intermediateCas."
            }
            Self::Key { fault, .. } => key(*fault),
            Self::PkiTooLarge { .. } => {
                "Leave out copies of the same CA: at most so many intermediates may share one \
                 subject and key."
            }
            Self::TooManyNameConstraints { .. } => {
                "Have the intermediate issued again with fewer name constraints."
            }
            Self::Svid(fault) => svid(*fault),
            Self::Path(error) => error.fault.mend(),
        }
    }
}

impl PathFault {
    /// The field in which the fault is.
    #[must_use]
    pub fn field(&self) -> Field {
        match self {
            Self::UnknownIssuer | Self::EmptyIssuer | Self::SelfSigned => Field::Issuer,
            Self::KeyIdentifierMismatch => Field::Issuer,
            Self::UnsupportedKey => Field::Key,
            Self::NotCa | Self::EndEntityIsCa | Self::PathLenExceeded { .. } => {
                Field::BasicConstraints
            }
            Self::KeyCertSignMissing => Field::KeyUsage,
            Self::UnprocessedCriticalExtension { .. } => Field::Extensions,
            Self::NotYetValid { .. } | Self::Expired { .. } => Field::Validity,
            Self::UnsupportedSignatureAlgorithm { .. } | Self::InvalidSignature => Field::Signature,
            Self::NameConstraintViolated { .. } | Self::NameConstraintUnsupported { .. } => {
                Field::Names
            }
            Self::NoValidPolicy | Self::AnyPolicyMapped => Field::Policies,
            Self::PurposeMissing | Self::PurposeForbidden => Field::ExtendedKeyUsage,
            Self::Revoked { .. } | Self::RevocationUnknown { .. } => Field::Revocation,
            Self::NotVersion3
            | Self::Strict { .. }
            | Self::TooManyIntermediates { .. }
            | Self::DepthExceeded { .. }
            | Self::BudgetSpent { .. } => Field::Certificate,
        }
    }

    /// How it is mended, in one sentence.
    #[must_use]
    pub fn mend(&self) -> &'static str {
        match self {
            Self::UnknownIssuer => {
                "Add the CA that issued it to the trust config (trustAnchors or intermediateCas), or \
                 have the client present the intermediate that is missing."
            }
            Self::KeyIdentifierMismatch => {
                "Use the CA certificate with the key that signed: its subjectKeyIdentifier must \
                 be the authorityKeyIdentifier below."
            }
            Self::UnsupportedKey => {
                "Issue with a key that the profile allows: RSA of 2048 to 4096 bits, P-256 or P-384 \
                 (GOOGLE)."
            }
            Self::NotCa => {
                "Have the CA's certificate issued again with basicConstraints CA:TRUE, or put a client \
                 certificate that is to be accepted as it is into allowlistedCertificates."
            }
            Self::KeyCertSignMissing => {
                "Have the CA's certificate issued again with keyUsage keyCertSign; its key may stay."
            }
            Self::PathLenExceeded { .. } => {
                "Issue from a CA with fewer CAs below the constraint, or have that CA's certificate \
                 issued again with a larger pathLenConstraint."
            }
            Self::UnprocessedCriticalExtension { .. } => {
                "Have the certificate issued again without that extension, or with it not critical."
            }
            Self::NotYetValid { .. } => {
                "Wait until it is valid, or look at the clocks of the CA and of the proxy."
            }
            Self::Expired { .. } => "Renew the certificate.",
            Self::SelfSigned => {
                "Put the certificate into allowlistedCertificates, or have a CA issue one."
            }
            Self::EndEntityIsCa => {
                "Use a client certificate with basicConstraints CA:FALSE, or without the extension."
            }
            Self::UnsupportedSignatureAlgorithm { .. } => {
                "Have it signed again with SHA-256 or stronger, by a key that the profile allows."
            }
            Self::InvalidSignature => {
                "Look for the CA certificate whose key really signed it: one of the same name with \
                 another key, or a certificate that was changed after it was signed."
            }
            Self::NameConstraintViolated { .. } => {
                "Issue it with names that the CA above may use, or change that CA's nameConstraints."
            }
            Self::NameConstraintUnsupported { .. } => {
                "Have the CA issued again without constraints on that form of name."
            }
            Self::NoValidPolicy => {
                "Issue it with a certificate policy that is valid all the way up, or have the CA that \
                 requires one issued again without requireExplicitPolicy."
            }
            Self::AnyPolicyMapped => {
                "Have the CA issued again without a policyMapping of anyPolicy."
            }
            Self::NotVersion3 => "Have it issued again as an X.509 version 3 certificate.",
            Self::EmptyIssuer => "Have it issued again by a CA with a name.",
            Self::Strict { .. } => {
                "Have it issued again as that rule asks, or do without the strict switch."
            }
            Self::TooManyIntermediates { .. } | Self::DepthExceeded { .. } => {
                "Issue from a CA nearer to the trust anchor, or make a CA on the way a trust anchor."
            }
            Self::PurposeMissing => {
                "Have it issued again with extKeyUsage clientAuth (its key may stay). GOOGLE asks that \
                 of the client certificate and of the CA that issued it; where the CA cannot, profile \
                 RFC5280, which Google does not have, asks less."
            }
            Self::PurposeForbidden => {
                "Have the client certificate issued again with clientAuth and without codeSigning, \
                 timeStamping and OCSPSigning."
            }
            Self::Revoked { .. } => {
                "Issue a new certificate with a new key; if it was revoked by mistake, configure a newer \
                 CRL."
            }
            Self::RevocationUnknown { why } => crl(why),
            Self::BudgetSpent { .. } => {
                "Leave out CAs that share a name, and certificates that are not on the path."
            }
        }
    }
}

fn crl(fault: &CrlFault) -> &'static str {
    match fault {
        CrlFault::NoCrl | CrlFault::SomeReasonsOnly => {
            "Configure the CRL of the CA that issued it, for all reasons, or set revocation.mode \
             BEST_EFFORT."
        }
        CrlFault::MalformedDistributionPoints => {
            "Have the certificate issued again with cRLDistributionPoints as RFC 5280 asks."
        }
        CrlFault::NotYetIssued { .. } | CrlFault::Expired { .. } | CrlFault::NextUpdateMissing => {
            "Configure a CRL that is current at the validation time."
        }
        CrlFault::Defect(_)
        | CrlFault::CrlSignMissing
        | CrlFault::UnsupportedSignatureAlgorithm { .. } => {
            "Have the CA issue a CRL as RFC 5280 asks, with a key that may sign CRLs."
        }
        CrlFault::NoSigner | CrlFault::SignerNotGood | CrlFault::InvalidSignature => {
            "Configure the CRL that the CA really signed, and the certificate of its signer."
        }
    }
}

fn key(fault: KeyFault) -> &'static str {
    match fault {
        KeyFault::UnsupportedAlgorithm => {
            "Use an RSA key, or an EC key on P-256 or P-384; profile RFC5280, which Google does not \
             have, also allows P-521 and Ed25519."
        }
        KeyFault::RsaSize => {
            "Use RSA of 2048 to 4096 bits; profile RFC5280, which Google does not have, allows up to 8192."
        }
        KeyFault::Curve => {
            "Use P-256 or P-384; profile RFC5280, which Google does not have, also allows P-521."
        }
    }
}

fn svid(fault: SvidFault) -> &'static str {
    match fault {
        SvidFault::UriCount { .. } | SvidFault::NotSpiffeId | SvidFault::NoPath => {
            "Issue the certificate with exactly one URI alternative name: a SPIFFE ID with a path, such \
             as spiffe://example.test/workload."
        }
        SvidFault::IsCa => "Use a workload's certificate: basicConstraints must not say CA:TRUE.",
        SvidFault::KeyCertSign | SvidFault::CrlSign | SvidFault::NoDigitalSignature => {
            "Issue the certificate with keyUsage digitalSignature, without keyCertSign and cRLSign."
        }
        SvidFault::UnknownTrustDomain => {
            "Add the trust domain to spiffeTrustStores, with the CAs that speak for it."
        }
    }
}

fn svid_field(fault: SvidFault) -> Field {
    match fault {
        SvidFault::UriCount { .. }
        | SvidFault::NotSpiffeId
        | SvidFault::NoPath
        | SvidFault::UnknownTrustDomain => Field::Names,
        SvidFault::IsCa => Field::BasicConstraints,
        SvidFault::KeyCertSign | SvidFault::CrlSign | SvidFault::NoDigitalSignature => {
            Field::KeyUsage
        }
    }
}

fn relay(fault: &RelayFault) -> &'static str {
    match fault {
        RelayFault::Nobody => "Say in source.header.relay which proxy is believed.",
        RelayFault::UnknownAddress => {
            "Have the network filter tell the address (source.connection.directPeerAddress), or believe \
             the relay by its certificate (relay.mtls)."
        }
        RelayFault::OtherAddress => "Add the proxy's address to source.header.relay.addresses.",
        RelayFault::Certificate(refusal) => refusal.mend(),
        RelayFault::OtherName => "Add a name of the proxy's certificate to relay.mtls.sanMatch.",
    }
}

fn decode(error: &DecodeError) -> &'static str {
    match error {
        DecodeError::NotShown => {
            "Have the proxy forward the certificate itself: in Envoy, \
             set_current_client_cert_details with cert and chain."
        }
        DecodeError::NotThisConnection | DecodeError::RepeatedHeader { .. } => {
            "Have the proxy overwrite the header (in Envoy, SANITIZE_SET), and remove what clients send."
        }
        DecodeError::PercentEncoding { .. } | DecodeError::Value { .. } => {
            "Compare the value with what the product documents, and see that nothing cuts, folds or \
             decodes it on its way."
        }
        DecodeError::Pem { .. } => {
            "Paste whole PEM blocks, from BEGIN CERTIFICATE to END CERTIFICATE."
        }
        DecodeError::ChainAlone => "Have the proxy forward the end entity too, in its own header.",
        DecodeError::OtherChain => {
            "Have the proxy write end entity and chain of the same connection."
        }
        DecodeError::Numbering { .. } => {
            "Have the proxy number the chain's headers from 0, without a gap."
        }
        DecodeError::Xfcc(_) => {
            "Have the last proxy overwrite x-forwarded-client-cert, and configure as many elements as \
             there are proxies."
        }
    }
}
