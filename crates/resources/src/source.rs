//! The document's `source` field in a file of its own: where the client's certificate comes from.

use std::path::Path;

use mtls_gate_core::config::resources::Source;

use super::ResourceError;

/// Reads a `source`.
///
/// # Errors
/// It is no `source`.
pub fn source(path: &Path, text: &str) -> Result<Source, ResourceError> {
    super::typed(path, super::yaml_document(path, text)?)
}
