//! The configuration: Google's resources as they are, and our own keys for what Google has no
//! word for. Parsed once, into what a request needs; anything wrong is refused with its path.

mod compile;
mod document;
mod object;
mod reader;
pub mod resources;
mod source;
mod unique;

use core::fmt;
use std::collections::BTreeSet;

use thiserror::Error;

use crate::authz::{AuthzPolicies, DirectPeer};
use crate::headers::FoldedName;
use crate::limits::RequestLimits;
use crate::path::Policy;
use crate::relay::Forwarded;
use crate::template::Template;
use crate::trust::Trust;

pub(crate) use compile::at_most;
pub use compile::trust;
pub use document::typed;
pub use object::Object;
pub use resources::{DirectPeerAddress, Role, SignatureBackend};
pub use source::source;

/// What a configuration document comes to. Immutable.
#[derive(Clone, Debug)]
pub struct Config {
    /// `role`
    pub role: Role,
    /// `serverTlsPolicy.mtlsPolicy.clientValidationMode`
    pub mode: Mode,
    /// `trustConfig`; absent in `ALLOW_INVALID_OR_MISSING_CLIENT_CERT` if nothing is validated.
    pub trust: Option<Trust>,
    /// `profile`
    pub policy: Policy,
    /// `limits`
    pub limits: RequestLimits,
    /// `signatureBackend`; an adapter without a host has the last word.
    pub signature_backend: SignatureBackend,
    /// Edits of requests, `customRequestHeaders` and `headerAction` together.
    pub request: HeaderRules,
    /// Edits of responses.
    pub response: HeaderRules,
    /// `rejection`
    pub rejection: Rejection,
    /// `authzPolicies`
    pub authz_policies: AuthzPolicies,
    /// `authzDenial`
    pub denial: Denial,
    /// `source.connection.keepForwardedHeader`
    pub keep_forwarded_header: bool,
    /// `source.connection.directPeerAddress`
    pub direct_peer_address: DirectPeerAddress,
    /// `source.header`
    pub forwarded: Option<Forwarded>,
    /// What is allowed and should not be done lightly; whoever loads the configuration tells it.
    pub warnings: Vec<ConfigWarning>,
}

/// Something in a configuration that is allowed and dangerous. One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWarning {
    /// The field's path.
    pub path: &'static str,
    /// What it leads to.
    pub what: &'static str,
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// What becomes of a request whose certificate is missing or not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No `serverTlsPolicy.mtlsPolicy`: client certificates mean nothing and all variables are
    /// empty, as behind a load balancer without mTLS.
    Off,
    /// `ALLOW_INVALID_OR_MISSING_CLIENT_CERT`
    AllowInvalidOrMissing,
    /// `REJECT_INVALID`
    RejectInvalid,
}

/// How a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No HTTP response: the stream is reset.
    Close,
    /// A local answer.
    Respond {
        /// 400 to 599.
        status: u16,
        /// The body, as it is.
        body: String,
        /// Whether the client may read why: `client_cert_error` follows the body.
        show_reason: bool,
    },
}

/// The answer to a request that an AuthzPolicy refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// 400 to 599.
    pub status: u16,
    /// The body, as it is.
    pub body: String,
}

/// Header edits of one direction.
#[derive(Clone, Debug, Default)]
pub struct HeaderRules {
    /// Names that go, in every spelling.
    pub remove: BTreeSet<FoldedName>,
    /// Names and values that come.
    pub add: Vec<(String, Template)>,
}

/// Why a configuration is refused: where, and what. One line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path}: {reason}")]
pub struct ConfigError {
    /// The field's path, such as `trustConfig.trustStores[0].trustAnchors[1].pemCertificate`.
    pub path: String,
    /// What is wrong.
    pub reason: String,
}

impl ConfigError {
    pub(crate) fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

impl Config {
    /// Reads a configuration as a proxy-wasm host hands it over: JSON text (from a `StringValue`)
    /// or a serialized `google.protobuf.Struct` (inline YAML in Envoy).
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        let document = document::read(bytes)?;
        let direct_peer = match document.source.connection.direct_peer_address {
            DirectPeerAddress::NetworkFilter => DirectPeer::Known,
            DirectPeerAddress::Unknown => DirectPeer::Unknown,
        };
        compile::config(document, direct_peer)
    }

    /// Reads the same document for an adapter that terminates connections itself, and so knows the
    /// address at the other end.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn native(document: serde_json::Value) -> Result<Self, ConfigError> {
        let document: resources::Document = typed(document)?;
        // Nobody but the other end writes x-forwarded-client-cert here.
        if document.source.connection != resources::ConnectionSource::default() {
            return Err(ConfigError::new(
                "source.connection",
                "goes with the filter only: this process terminates connections itself, and knows \
                 the address at the other end",
            ));
        }
        if document.role != Role::HttpFilter {
            return Err(ConfigError::new(
                "role",
                "is NETWORK_FILTER, and there is none here",
            ));
        }
        if document.signature_backend != SignatureBackend::Auto {
            return Err(ConfigError::new(
                "signatureBackend",
                "goes with the filter only: there is no wasm host here",
            ));
        }
        compile::config(document, DirectPeer::Known)
    }

    /// Whether a client without a verified certificate gets no connection at all. With
    /// `source.header` the connection is a relay's, and each request is judged by itself.
    #[must_use]
    pub fn refuses_connections(&self) -> bool {
        self.mode == Mode::RejectInvalid
            && self.rejection == Rejection::Close
            && self.forwarded.is_none()
    }
}
