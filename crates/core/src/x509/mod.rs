//! Certificates: from DER to the few fields that validation, variables and reasons need.
//!
//! All of it is read strictly (see `der.rs`). `x509-parser`, whose types never leave this folder, shows
//! names to people, and its reading of certificates is what ours is tested against: what it refuses
//! is refused.

mod certificate;
mod crl;
mod der;
mod distribution;
mod error;
mod extension_list;
mod extensions;
mod name;
mod oid;
mod spki;
mod time;

pub use certificate::{Certificate, SubjectPublicKey};
pub(crate) use crl::EntryStatus;
pub use crl::{Crl, CrlDefect, RevocationReason};
pub use distribution::{
    DistributionPoint, DistributionPoints, IssuingDistributionPoint, NameKey, PointName, Reasons,
    Scope,
};
pub use error::{CrlParseError, ParseError};
pub use extensions::{
    BasicConstraints, ExtensionKind, Extensions, GeneralName, GeneralSubtree, KeyPurpose, KeyUsage,
    NameConstraints, PolicyConstraints, PolicyMapping,
};
pub use name::Name;
pub use spki::{EcCurve, KeyKind};
pub use time::UnixSeconds;

/// A range of bytes inside the certificate it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: usize,
    end: usize,
}

impl Span {
    const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The bytes of this span in `der`; empty if it lies outside.
    fn of(self, der: &[u8]) -> &[u8] {
        der.get(self.start..self.end).unwrap_or_default()
    }
}

/// `anyPolicy` (RFC 5280 4.2.1.4), content octets.
pub const ANY_POLICY: &[u8] = &[0x55, 0x1d, 0x20, 0x00];

/// The content octets of an object identifier, dotted, for messages.
#[must_use]
pub fn dotted_oid(oid: &[u8]) -> String {
    der::dotted(oid)
}

/// The identifier of an AlgorithmIdentifier's content, dotted, for messages.
#[must_use]
pub fn dotted_algorithm(algorithm: &[u8]) -> String {
    let oid = der::Reader::new(algorithm)
        .require(der::tag::OID)
        .map(|element| element.content);
    der::dotted(oid.unwrap_or_default())
}
