//! From what a proxy hands over to DER: the end entity and the certificates presented with it.
//!
//! Nothing here is believed. The end entity is decided by the source alone; a value that cannot be
//! decoded never makes another certificate the end entity.

mod base64;
pub mod connection;
pub mod der;
pub mod header;
pub mod pem;
mod percent;
pub mod presets;
pub mod rfc9440;
mod scan;
pub mod xfcc;
pub mod xfcc_elements;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::error::Refusal;
use crate::limits::RequestLimits;

/// Where a client's certificate comes from.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'a> {
    /// From an Envoy that terminated the connection.
    Connection(connection::Connection<'a>),
    /// From this process's own TLS stack: DER in the order of the handshake, the end entity first.
    Tls(&'a [&'a [u8]]),
}

impl Presented<'_> {
    /// Decodes what there is; counts and sizes are bounded first.
    #[must_use]
    pub fn decode(&self, limits: &RequestLimits) -> ForwardedChain {
        match self {
            Self::Connection(connection) => connection.decode(limits),
            // TLS bounds these before anything else does (RFC 8446 4.4.2: 2^24 octets; rustls: 2^16).
            Self::Tls(chain) => {
                ForwardedChain::from_der(chain.iter().map(|der| der.to_vec()).collect(), limits)
            }
        }
    }

    /// All that [`decode`](Self::decode) looks at.
    pub(crate) fn evidence(&self) -> Vec<&[u8]> {
        match self {
            Self::Connection(connection) => connection.evidence(),
            Self::Tls(chain) => {
                let kind: &[u8] = b"tls";
                core::iter::once(kind)
                    .chain(chain.iter().copied())
                    .collect()
            }
        }
    }

    /// SHA-256 of the end entity, if it is shown or its digest is.
    #[must_use]
    pub fn digest(&self, limits: &RequestLimits) -> Option<[u8; 32]> {
        match (self.decode(limits), self) {
            (ForwardedChain::Present { end_entity, .. }, _) => Some(end_entity.sha256),
            (_, Self::Connection(connection)) => connection.digest(),
            (_, Self::Tls(_)) => None,
        }
    }
}

/// What was presented, as DER that nobody has looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardedChain {
    /// No certificate.
    Absent,
    /// There is a certificate, but the end entity's bytes cannot be had.
    Undecodable(Refusal),
    /// The end entity, and what came with it.
    Present {
        /// The end entity.
        end_entity: EndEntity,
        /// DER of the other certificates in the order presented, the end entity left out; or why
        /// they cannot be had.
        others: Result<Vec<Vec<u8>>, Refusal>,
    },
}

/// The end entity's DER, and the digest that both its source and its verdict ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndEntity {
    der: Vec<u8>,
    sha256: [u8; 32],
}

impl EndEntity {
    /// Works the digest out.
    #[must_use]
    pub fn new(der: Vec<u8>) -> Self {
        Self {
            sha256: Sha256::digest(&der).into(),
            der,
        }
    }

    /// The DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The DER, for whoever parses it.
    #[must_use]
    pub fn into_der(self) -> Vec<u8> {
        self.der
    }

    /// SHA-256 of the DER.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

impl ForwardedChain {
    /// From DER in TLS order, the end entity first; copies of it among the others are left out.
    #[must_use]
    pub fn from_der(certificates: Vec<Vec<u8>>, limits: &RequestLimits) -> Self {
        let mut certificates = certificates.into_iter();
        let Some(end_entity) = certificates.next() else {
            return Self::Absent;
        };
        let others = within_limits(&end_entity, certificates.collect(), limits);
        Self::Present {
            end_entity: EndEntity::new(end_entity),
            others,
        }
    }
}

/// What came with the end entity, without copies of it, if its count and size are allowed.
fn within_limits(
    end_entity: &[u8],
    mut others: Vec<Vec<u8>>,
    limits: &RequestLimits,
) -> Result<Vec<Vec<u8>>, Refusal> {
    others.retain(|der| der != end_entity);
    if others.len() > limits.presented_certificates {
        return Err(Refusal::TooManyCertificates {
            limit: limits.presented_certificates,
        });
    }
    let payload = others
        .iter()
        .fold(end_entity.len(), |sum, der| sum.saturating_add(der.len()));
    if payload > limits.payload_bytes {
        return Err(Refusal::PayloadTooLarge {
            limit_bytes: limits.payload_bytes,
        });
    }
    Ok(others)
}

/// Why a forwarded value could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The proxy says that there is a certificate but does not show it.
    #[error("the proxy reports a client certificate but does not show it")]
    NotShown,
    /// `Cert=` of the forwarded header is not the certificate of this connection.
    #[error("x-forwarded-client-cert Cert= is not this connection's certificate")]
    NotThisConnection,
    /// More than one header where one is written by the proxy.
    #[error("{what} occurs {count} times")]
    RepeatedHeader {
        /// Which header.
        what: &'static str,
        /// How often.
        count: usize,
    },
    /// `%` without two hexadecimal digits behind it.
    #[error("{what}: incomplete percent-encoding")]
    PercentEncoding {
        /// Which value.
        what: &'static str,
    },
    /// The text is not a sequence of PEM certificates.
    #[error("{what}: PEM block {index}: {fault}")]
    Pem {
        /// Which value.
        what: &'static str,
        /// Which block, from 0.
        index: usize,
        /// What is wrong with it.
        fault: pem::PemFault,
    },
    /// A forwarded value is not encoded as configured.
    #[error("{what}: certificate {index}: {fault}")]
    Value {
        /// Which value.
        what: &'static str,
        /// Which certificate of it, from 0.
        index: usize,
        /// What is wrong with it.
        fault: ValueFault,
    },
    /// A forwarded chain without the end entity that it belongs to.
    #[error("a chain is forwarded without an end entity")]
    ChainAlone,
    /// A chain that holds the end entity first does not begin with the one that is forwarded.
    #[error("the forwarded chain does not begin with the end entity")]
    OtherChain,
    /// Of numbered headers one is missing, or there are more than anybody reads.
    #[error("numbered chain headers: {index} is missing or out of place")]
    Numbering {
        /// Which number.
        index: usize,
    },
    /// `x-forwarded-client-cert` as a whole.
    #[error("x-forwarded-client-cert: {0}")]
    Xfcc(#[from] xfcc_elements::XfccFault),
}

/// What is wrong with an encoded certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ValueFault {
    /// `%` without two hexadecimal digits behind it.
    #[error("incomplete percent-encoding")]
    PercentEncoding,
    /// Not the PEM that it should be.
    #[error(transparent)]
    Pem(pem::PemFault),
    /// Not base64 of at least one octet.
    #[error("not base64")]
    Base64,
    /// Not DER, one value after another.
    #[error("not DER")]
    NotDer,
    /// Not the Item or List of RFC 8941 that it should be.
    #[error("not a Byte Sequence")]
    StructuredField,
    /// No certificate where there is text.
    #[error("no certificate in it")]
    Empty,
    /// More certificates than allowed.
    #[error("more certificates than allowed")]
    TooMany,
    /// More octets than allowed.
    #[error("more octets than allowed")]
    TooLarge,
}
