//! The document's `source` field in a file of its own: where the client's certificate comes from.

use std::path::Path;

use mtls_gate_core::config::resources::Source;

use super::ResourceError;

/// Reads a `source`.
///
/// # Errors
/// The file cannot be read, or is no `source`.
pub(crate) fn source(path: &Path) -> Result<Source, ResourceError> {
    super::typed(path, super::document(path)?)
}
