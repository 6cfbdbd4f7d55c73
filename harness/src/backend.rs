//! Managed workload identity on a command line: who a load balancer is to its backends, and whom it
//! expects there.

use std::path::{Path, PathBuf};

use clap::Args;
use mtls_gate_core::config::resources::TrustConfig;
use mtls_gate_core::config::{self, ConfigError};
use mtls_gate_core::spiffe::SpiffeId;
use mtls_gate_core::trust::Trust;
use thiserror::Error;

use crate::resources::{self, ResourceError, Warning};

/// The options for a backend that is known by its SPIFFE ID.
#[derive(Args, Clone, Debug, Default)]
pub struct BackendOptions {
    /// The X.509-SVID to show to a TLS backend, and its key, as PEM
    #[arg(long, value_name = "CERT,KEY", value_parser = parse_identity)]
    #[arg(requires = "backend_trust_config")]
    pub identity: Option<Identity>,
    /// The TrustConfig (spiffeTrustStores) that a TLS backend's certificate is validated against
    #[arg(long, value_name = "FILE", requires = "backend_identity")]
    pub backend_trust_config: Option<PathBuf>,
    /// A SPIFFE ID that the backend may have; give it again for more
    #[arg(long, value_name = "SPIFFE-ID", value_parser = parse_spiffe_id)]
    #[arg(requires = "backend_trust_config")]
    pub backend_identity: Vec<String>,
}

/// `--identity`
#[derive(Clone, Debug)]
pub struct Identity {
    /// The chain, end entity first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a trust config is none for backends.
#[derive(Debug, Error)]
pub enum BackendTrustError {
    /// The file cannot be read.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// It holds no SPIFFE trust store.
    #[error("{}: has no spiffeTrustStores: a backend is known by its SPIFFE ID", path.display())]
    NoStores {
        /// The file.
        path: PathBuf,
    },
    /// The core refuses it.
    #[error("{}: {source}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The field, and what is wrong with it.
        source: ConfigError,
    },
}

/// Reads `--backend-trust-config`: the resource, what the core makes of it, and what was read
/// leniently.
///
/// # Errors
/// It cannot be read, or backends cannot be validated against it.
pub fn backend_trust(path: &Path) -> Result<(TrustConfig, Trust, Vec<Warning>), BackendTrustError> {
    let (document, warnings) = resources::trust_config(path)?;
    if document.spiffe_trust_stores.is_empty() {
        return Err(BackendTrustError::NoStores {
            path: path.to_owned(),
        });
    }
    match config::trust(&document) {
        Ok(trust) => Ok((document, trust, warnings)),
        Err(source) => Err(BackendTrustError::Refused {
            path: path.to_owned(),
            source,
        }),
    }
}

fn parse_identity(text: &str) -> Result<Identity, String> {
    match text.split_once(',') {
        Some((cert, key)) if !cert.is_empty() && !key.is_empty() => Ok(Identity {
            cert: cert.into(),
            key: key.into(),
        }),
        _ => Err("not CERT,KEY: two files with a comma between them".to_owned()),
    }
}

fn parse_spiffe_id(text: &str) -> Result<String, String> {
    match SpiffeId::parse(text) {
        Ok(id) if !id.path().is_empty() => Ok(text.to_owned()),
        Ok(_) => Err("names a trust domain, not a workload: it has no path".to_owned()),
        Err(_) => Err("not a SPIFFE ID, such as spiffe://example.com/ns/a/sa/b".to_owned()),
    }
}
