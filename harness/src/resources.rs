//! The files on a command line, together one configuration document.

use std::path::{Path, PathBuf};

use clap::Args;
use mtls_gate_core::config::resources::{Source, TrustConfig};
pub use mtls_gate_resources::{Place, ResourceError, Resources, Warning, WarningKind};

/// Google's resources as files, YAML or JSON. `gcloud … export` and `describe` write such files.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = true)]
pub struct ResourceFiles {
    /// A Certificate Manager TrustConfig
    #[arg(long, value_name = "FILE")]
    pub trust_config: Option<PathBuf>,
    /// A ServerTlsPolicy
    #[arg(long, value_name = "FILE")]
    pub server_tls_policy: Option<PathBuf>,
    /// A backend service with customRequestHeaders, or a URL map with a headerAction; may be
    /// repeated, once for each
    #[arg(long, value_name = "FILE")]
    pub headers: Vec<PathBuf>,
    /// One or several AuthzPolicies; may be repeated
    #[arg(long, value_name = "FILE")]
    pub authz_policy: Vec<PathBuf>,
    /// The document's fields that Google has no resource for: profile, revocation, limits,
    /// rejection, authzDenial, source
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

impl ResourceFiles {
    /// Every file that was named.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.trust_config
            .iter()
            .chain(&self.server_tls_policy)
            .chain(&self.headers)
            .chain(&self.authz_policy)
            .chain(&self.settings)
            .map(PathBuf::as_path)
    }

    /// Reads all files into one document. Whether it makes sense is for the core to say.
    ///
    /// # Errors
    /// The first file that cannot be read.
    pub fn read(&self) -> Result<Resources, ResourceError> {
        self.read_past(&mut Err)
    }

    /// The same, going on without a file if `fault` lets an error pass.
    pub(crate) fn read_past(
        &self,
        fault: &mut impl FnMut(ResourceError) -> Result<(), ResourceError>,
    ) -> Result<Resources, ResourceError> {
        type Add = fn(&mut Resources, &Path, &str) -> Result<(), ResourceError>;
        let all: [(&[PathBuf], Add); 5] = [
            (self.trust_config.as_slice(), Resources::add_trust_config),
            (
                self.server_tls_policy.as_slice(),
                Resources::add_server_tls_policy,
            ),
            (&self.headers, Resources::add_headers),
            (&self.authz_policy, Resources::add_authz_policies),
            (self.settings.as_slice(), Resources::add_settings),
        ];
        let mut resources = Resources::default();
        for (files, add) in all {
            for file in files {
                let read = read_text(file).and_then(|text| add(&mut resources, file, &text));
                read.or_else(&mut *fault)?;
            }
        }
        Ok(resources)
    }
}

/// Reads a TrustConfig, and says what had to be read leniently.
///
/// # Errors
/// The file cannot be read, or is not a TrustConfig.
pub fn trust_config(path: &Path) -> Result<(TrustConfig, Vec<Warning>), ResourceError> {
    mtls_gate_resources::trust_config(path, &read_text(path)?)
}

/// Reads the document's `source` field from a file of its own.
///
/// # Errors
/// The file cannot be read, or is no `source`.
pub fn source(path: &Path) -> Result<Source, ResourceError> {
    mtls_gate_resources::source(path, &read_text(path)?)
}

/// Reads a file as text.
///
/// # Errors
/// It cannot be read, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, ResourceError> {
    std::fs::read_to_string(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::InvalidData => ResourceError::NotText {
            path: path.to_owned(),
        },
        _ => ResourceError::File {
            path: path.to_owned(),
            source,
        },
    })
}
