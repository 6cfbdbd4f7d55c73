//! Network Security's ServerTlsPolicy.

use std::path::Path;

use mtls_gate_core::config::resources::ServerTlsPolicy;
use serde_json::{Map, Value};

use super::{Lenient, Notes, ResourceError, Warning};

/// The fields of `mtlsPolicy`, none of which is a field of the policy itself.
const MTLS_POLICY_FIELDS: [&str; 4] = [
    "clientValidationMode",
    "clientValidationTrustConfig",
    "clientValidationCa",
    "tier",
];

/// Reads a ServerTlsPolicy, and says what had to be read leniently.
///
/// # Errors
/// It is not a ServerTlsPolicy.
pub fn server_tls_policy(
    path: &Path,
    text: &str,
) -> Result<(ServerTlsPolicy, Vec<Warning>), ResourceError> {
    let (value, warnings) = value(path, text)?;
    Ok((super::typed(path, value)?, warnings))
}

pub(super) fn value(path: &Path, text: &str) -> Result<Lenient, ResourceError> {
    let mut document = super::yaml_document(path, text)?;
    let mut notes = Notes::new(path);
    if let Value::Object(policy) = &mut document {
        notes.drop_comments(policy);
        mtls_policy(policy, &mut notes);
    }
    Ok((document, notes.warnings))
}

/// The guide for private CAs shows the fields without the line above them.
fn mtls_policy(policy: &mut Map<String, Value>, notes: &mut Notes<'_>) {
    if policy.contains_key("mtlsPolicy") {
        return;
    }
    let fields: Map<String, Value> = MTLS_POLICY_FIELDS
        .into_iter()
        .filter_map(|field| policy.remove_entry(field))
        .collect();
    if fields.is_empty() {
        return;
    }
    notes.lenient(
        "",
        "the line mtlsPolicy: is missing and is read as if it were there",
    );
    policy.insert("mtlsPolicy".to_owned(), Value::Object(fields));
}
