//! What the files say, loaded as a whole: a request sees all of one version or all of another.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use mtls_gate_core::config::{Config, ConfigError};
use mtls_gate_core::path::Profile;
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_rustls::{ALGORITHMS, ClientVerifier, without_resumption};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use serde_json::Value;
use thiserror::Error;
use tokio::sync::watch;

use super::ServeOptions;
use super::upstream::Upstream;
use crate::backend::{BackendTrustError, Identity, backend_trust};
use crate::resources::ResourceError;

/// Why the files cannot be served.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// A resource cannot be read.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// The resources do not make a configuration.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The trust config for backends is refused.
    #[error(transparent)]
    BackendTrust(#[from] BackendTrustError),
    /// A certificate or key file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A certificate or key file cannot be used.
    #[error("{}: {what}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The options do not go together.
    #[error("{0}")]
    Options(&'static str),
    /// rustls does not take it.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl SnapshotError {
    /// The file may be there and readable the next moment.
    fn may_pass(&self) -> bool {
        match self {
            Self::File { .. } => true,
            Self::Resource(error) | Self::BackendTrust(BackendTrustError::Resource(error)) => {
                matches!(error, ResourceError::File { .. })
            }
            _ => false,
        }
    }
}

/// One version of everything. Immutable.
pub(super) struct Snapshot {
    pub(super) pipeline: Arc<Pipeline>,
    certificate: Arc<SingleCertAndKey>,
    provider: Arc<CryptoProvider>,
    /// Absent in an explicit proxy.
    pub(super) upstream: Option<Upstream>,
}

/// The newest version.
pub(super) struct Live {
    sender: watch::Sender<Arc<Snapshot>>,
    /// What the files were like when they were read last, whether or not they could be used.
    seen: Mutex<Vec<Option<Seen>>>,
}

/// Enough of a file to see that it has changed.
type Seen = (u64, u64, u64, Option<SystemTime>);

impl Live {
    /// The first version, and what was read leniently.
    pub(super) fn load(options: &ServeOptions) -> Result<(Self, Vec<String>), SnapshotError> {
        // Before reading: a change while reading is then seen as one.
        let seen = seen(options);
        let (snapshot, warnings) = Snapshot::load(options)?;
        let live = Self {
            sender: watch::Sender::new(Arc::new(snapshot)),
            seen: Mutex::new(seen),
        };
        Ok((live, warnings))
    }

    pub(super) fn newest(&self) -> Arc<Snapshot> {
        Arc::clone(&self.sender.borrow())
    }

    /// Tells of newer versions.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.sender.subscribe()
    }

    /// Loads the files if one has changed, or if asked to; gives what was read leniently if it did.
    pub(super) fn reload(
        &self,
        options: &ServeOptions,
        asked: bool,
    ) -> Result<Option<Vec<String>>, SnapshotError> {
        let now = seen(options);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now && !asked {
                return Ok(None);
            }
            *seen = now;
        }
        let (snapshot, warnings) = Snapshot::load(options).inspect_err(|error| {
            // Without a file descriptor, say: a revocation must not wait for the next change.
            if error.may_pass() {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.clear();
            }
        })?;
        self.sender.send_replace(Arc::new(snapshot));
        Ok(Some(warnings))
    }
}

fn seen(options: &ServeOptions) -> Vec<Option<Seen>> {
    let mut files: Vec<PathBuf> = options.resources.files().map(Path::to_owned).collect();
    files.extend([&options.cert, &options.key].map(|file| file.to_path_buf()));
    files.extend(options.backend.backend_trust_config.clone());
    if let Some(Identity { cert, key }) = &options.backend.identity {
        files.extend([cert.clone(), key.clone()]);
    }
    let of = |path: &PathBuf| {
        let file = fs::metadata(path).ok()?;
        Some((file.dev(), file.ino(), file.len(), file.modified().ok()))
    };
    files.iter().map(of).collect()
}

impl Snapshot {
    fn load(options: &ServeOptions) -> Result<(Self, Vec<String>), SnapshotError> {
        let resources = options.resources.read()?;
        let mut warnings: Vec<String> =
            resources.warnings.iter().map(ToString::to_string).collect();
        let config = Config::native(Value::Object(resources.document))?;
        warnings.extend(config.warnings.iter().map(ToString::to_string));
        if options.explicit_proxy && !config.authz_policies.has_allow() {
            return Err(SnapshotError::Options(
                "--explicit-proxy needs at least one AuthzPolicy with action ALLOW",
            ));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let upstream = match &options.upstream {
            None => None,
            Some(url) if !url.is_https() && options.backend.backend_trust_config.is_some() => {
                return Err(SnapshotError::Options(
                    "--backend-trust-config is for an https --upstream",
                ));
            }
            Some(url) => {
                let tls = url
                    .is_https()
                    .then(|| backend_tls(options, config.policy.profile, &provider, &mut warnings))
                    .transpose()?;
                Some(Upstream::new(url, options, tls))
            }
        };
        let certificate = certified_key(&options.cert, &options.key, &provider)?;
        let snapshot = Self {
            pipeline: Arc::new(Pipeline::new(config, ALGORITHMS)),
            certificate: Arc::new(SingleCertAndKey::from(certificate)),
            provider,
            upstream,
        };
        Ok((snapshot, warnings))
    }

    /// For one connection, whose verifier tells its verdict to that connection alone.
    pub(super) fn server_config(
        &self,
        verifier: ClientVerifier,
    ) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(self.certificate.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Every connection is judged by the present policy and time.
        without_resumption(&mut config);
        Ok(config)
    }
}

/// Managed workload identity: who we are, and whom we expect.
fn backend_tls(
    options: &ServeOptions,
    profile: Profile,
    provider: &Arc<CryptoProvider>,
    warnings: &mut Vec<String>,
) -> Result<rustls::ClientConfig, SnapshotError> {
    let Some(path) = &options.backend.backend_trust_config else {
        return Err(SnapshotError::Options(
            "an https --upstream needs --backend-trust-config and --backend-identity: \
             a backend that is not known is not believed",
        ));
    };
    let (_, trust, more) = backend_trust(path)?;
    warnings.extend(more.iter().map(ToString::to_string));
    let verifier = mtls_gate_rustls::BackendVerifier::new(
        trust,
        profile,
        options.backend.backend_identity.clone(),
    );
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &options.backend.identity {
        None => builder.with_no_client_auth(),
        Some(Identity { cert, key }) => {
            // The same checks as for the server's own pair.
            let pair = certified_key(cert, key, provider)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)))
        }
    };
    // Each connection validates the backend by today's trust and time.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn certified_key(
    cert: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, SnapshotError> {
    let at = |path: &Path, what: String| SnapshotError::Pem {
        path: path.to_owned(),
        what,
    };
    let read = |path: &Path| {
        fs::read(path).map_err(|source| SnapshotError::File {
            path: path.to_owned(),
            source,
        })
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(cert)?)
        .collect::<Result<_, _>>()
        .map_err(|error| at(cert, format!("not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(at(cert, "no certificate".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| at(key, format!("no private key in PEM: {error}")))?;
    let private = provider
        .key_provider
        .load_private_key(private)
        .map_err(|error| at(key, error.to_string()))?;
    let pair = CertifiedKey::new(chain, private);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(pair)
        }
        Err(error) => Err(at(
            key,
            format!("not the key of {}: {error}", cert.display()),
        )),
    }
}
