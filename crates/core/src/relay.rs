//! Who is believed about a client's certificate: the proxy in front, if it is one that is trusted.
//!
//! The relay's certificate and the client's are two. What is here judges the relay's, and gives away
//! nothing but whether it is believed.

use core::net::IpAddr;

use thiserror::Error;

use crate::authz::IpBlock;
use crate::client_cert::ClientCert;
use crate::error::Refusal;
use crate::forwarded::header::HeaderSource;
use crate::trust::Trust;

/// `source.header`, compiled.
#[derive(Clone, Debug)]
pub struct Forwarded {
    /// Where the client's certificate is.
    pub source: HeaderSource,
    /// Who is believed about it.
    pub relay: RelayRule,
}

/// `source.header.relay`, compiled.
#[derive(Clone, Debug)]
pub enum RelayRule {
    /// The default.
    Nobody,
    /// `trustAnyRelay`
    Anybody,
    /// `addresses`
    At(Addresses),
    /// `mtls`
    Named {
        /// What the relay's certificate is validated against.
        trust: Box<Trust>,
        /// Which names are a relay's.
        names: RelayNames,
    },
}

/// Where relays are.
#[derive(Clone, Debug)]
pub struct Addresses(pub(crate) Vec<IpBlock>);

/// Names of relays: one is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayNames {
    /// Compared byte by byte.
    pub uris: Vec<String>,
    /// Compared without case.
    pub dns_names: Vec<String>,
}

/// What of a connection's own certificate is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerEvidence {
    /// Nothing.
    None,
    /// Its digest.
    Digest,
    /// All of it.
    Certificate,
}

/// Why a relay is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RelayFault {
    /// No relay is configured.
    #[error("nobody is believed")]
    Nobody,
    /// Nobody told the direct peer's address.
    #[error("the direct peer's address is not known")]
    UnknownAddress,
    /// The direct peer is none of the relays.
    #[error("the direct peer's address is no relay's")]
    OtherAddress,
    /// The direct peer's certificate is not verified.
    #[error("the direct peer's certificate: {0}")]
    Certificate(Box<Refusal>),
    /// The direct peer's certificate is verified and none of the relays'.
    #[error("the direct peer's certificate has no relay's name")]
    OtherName,
}

impl Forwarded {
    /// What of the relay's own certificate is looked at.
    pub(crate) fn peer_evidence(&self) -> PeerEvidence {
        match &self.relay {
            RelayRule::Named { .. } => PeerEvidence::Certificate,
            RelayRule::Nobody => PeerEvidence::None,
            RelayRule::Anybody | RelayRule::At(_) if self.source.names_relay() => {
                PeerEvidence::Digest
            }
            RelayRule::Anybody | RelayRule::At(_) => PeerEvidence::None,
        }
    }

    /// What the relay's certificate is validated against.
    pub(crate) fn trust(&self) -> Option<&Trust> {
        match &self.relay {
            RelayRule::Named { trust, .. } => Some(trust),
            RelayRule::Nobody | RelayRule::Anybody | RelayRule::At(_) => None,
        }
    }

    pub(crate) fn map_trust(self, change: impl FnOnce(Trust) -> Trust) -> Self {
        let relay = match self.relay {
            RelayRule::Named { trust, names } => RelayRule::Named {
                trust: Box::new(change(*trust)),
                names,
            },
            other => other,
        };
        Self { relay, ..self }
    }
}

impl Addresses {
    pub(crate) fn hold(&self, direct_peer: Option<IpAddr>) -> Result<(), RelayFault> {
        let address = direct_peer.ok_or(RelayFault::UnknownAddress)?;
        if self.0.iter().any(|block| block.holds(address)) {
            Ok(())
        } else {
            Err(RelayFault::OtherAddress)
        }
    }
}

impl RelayNames {
    pub(crate) fn are_of(&self, relay: &ClientCert) -> Result<(), RelayFault> {
        let end_entity = match relay {
            ClientCert::Verified { end_entity, .. } => end_entity,
            ClientCert::Unverified { refusal, .. } => {
                return Err(RelayFault::Certificate(Box::new(refusal.clone())));
            }
            ClientCert::Off => return Err(RelayFault::Nobody),
        };
        let has_uri = |name: &String| end_entity.uri_sans().any(|uri| uri == name.as_bytes());
        let has_dns = |name: &String| {
            let mut names = end_entity.dns_sans();
            names.any(|found| found.eq_ignore_ascii_case(name.as_bytes()))
        };
        if self.uris.iter().any(has_uri) || self.dns_names.iter().any(has_dns) {
            Ok(())
        } else {
            Err(RelayFault::OtherName)
        }
    }
}
