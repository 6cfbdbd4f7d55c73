//! From what a proxy hands over to DER: the end entity and the certificates presented with it.
//!
//! Nothing here is believed. The end entity is decided by the source alone; a value that cannot be
//! decoded never makes another certificate the end entity.

pub mod connection;
pub mod pem;
pub mod xfcc;

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
        /// DER of the end entity.
        end_entity: Vec<u8>,
        /// DER of the other certificates in the order presented, the end entity left out; or why
        /// they cannot be had.
        others: Result<Vec<Vec<u8>>, Refusal>,
    },
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
        Self::Present { end_entity, others }
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
    #[error("x-forwarded-client-cert occurs {count} times")]
    RepeatedHeader {
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
}
