//! `mtls-gate config`: Google's resources, looked over and made into an Envoy configuration.

mod certificates;
mod check;
mod core_errors;
mod envoy;
mod finding;
mod headers;
mod policies;
mod upstream_tls;

use std::io;
use std::path::PathBuf;

use clap::Subcommand;
use thiserror::Error;

use crate::backend::BackendTrustError;
use crate::resources::{Place, ResourceError};

pub use check::CheckOptions;
pub use envoy::{EnvoyOptions, HostPort, Part};
pub use finding::{Finding, FindingId, Severity};

/// `mtls-gate config …`
#[derive(Subcommand, Clone, Debug)]
pub enum ConfigCommand {
    /// Look Google's resources over: what the filter refuses, and what does not do what it seems to
    ///
    /// Any of the files may be given alone. Exit status: 0 no errors (there may be warnings), 1
    /// errors, or warnings with --strict, 2 bad usage or unreadable input.
    Check(CheckOptions),
    /// Make an Envoy configuration from Google's resources
    ///
    /// The resources are validated first, as the filter validates them. Exit status: 0 written, 2
    /// bad usage, unreadable input, or a configuration that the filter would refuse.
    Envoy(Box<EnvoyOptions>),
}

/// Why there is no result at all.
#[derive(Debug, Error)]
pub enum ConfigCommandError {
    /// A file could not be read.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// Backends cannot be validated against --backend-trust-config.
    #[error(transparent)]
    BackendTrust(#[from] BackendTrustError),
    /// The configuration is refused.
    #[error("{}{}", prefix(place), reason)]
    Refused {
        /// Where.
        place: Place,
        /// What is wrong.
        reason: String,
    },
    /// The result could not be written.
    #[error("{}: {source}", path.display())]
    Output {
        /// Where to.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The result could not be printed.
    #[error("printing: {0}")]
    Print(#[from] io::Error),
    /// The result cannot be written as YAML.
    #[error("writing YAML: {0}")]
    Yaml(String),
}

/// Does it, and tells whether all is well.
///
/// # Errors
/// The input cannot be read, or nothing can be made of it.
pub fn run(command: &ConfigCommand, out: &mut impl io::Write) -> Result<bool, ConfigCommandError> {
    match command {
        ConfigCommand::Check(options) => check::run(options, out),
        ConfigCommand::Envoy(options) => envoy::run(options, out).map(|()| true),
    }
}

/// `file: path: `, as far as known.
fn prefix(place: &Place) -> String {
    let file = place
        .file
        .as_ref()
        .map(|file| format!("{}: ", file.display()));
    let path = (!place.path.is_empty()).then(|| format!("{}: ", place.path));
    [file, path].into_iter().flatten().collect()
}
