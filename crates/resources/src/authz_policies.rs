//! Network Security's AuthzPolicies: one, a list, or several documents in one file.

use std::path::Path;

use mtls_gate_core::authz::resources::AuthzPolicy;
use serde_json::Value;

use super::{Notes, ResourceError, Warning};

/// Reads the policies of a file, in order.
///
/// # Errors
/// It holds something else than policies.
pub fn authz_policies(
    path: &Path,
    text: &str,
) -> Result<(Vec<AuthzPolicy>, Vec<Warning>), ResourceError> {
    let (policies, warnings) = values(path, text)?;
    let typed = policies
        .into_iter()
        .map(|(_, policy)| super::typed(path, policy));
    Ok((typed.collect::<Result<_, _>>()?, warnings))
}

/// Policies, each with its path within the file.
type Placed = Vec<(String, Value)>;

pub(super) fn values(path: &Path, text: &str) -> Result<(Placed, Vec<Warning>), ResourceError> {
    let mut notes = Notes::new(path);
    let mut policies = Placed::new();
    let documents = super::documents(path, text)?;
    let several = documents.len() > 1;
    for (index, document) in documents.into_iter().enumerate() {
        let at = if several {
            format!("document[{index}]")
        } else {
            String::new()
        };
        match document {
            Value::Array(list) => policies.extend(
                list.into_iter()
                    .enumerate()
                    .map(|(index, policy)| (format!("{at}[{index}]"), policy)),
            ),
            // What a `---` at the end leaves.
            Value::Null if several => {}
            policy => policies.push((at, policy)),
        }
    }
    if policies.is_empty() || policies.iter().any(|(_, policy)| !policy.is_object()) {
        return Err(ResourceError::Kind {
            path: path.to_owned(),
            wanted: "an authorization policy, or a list of them",
        });
    }
    for (at, policy) in &mut policies {
        if let Value::Object(policy) = policy {
            let seen = notes.warnings.len();
            notes.drop_comments(policy);
            for warning in notes.warnings.iter_mut().skip(seen) {
                warning.path = format!("{at}.{}", warning.path);
            }
        }
    }
    Ok((policies, notes.warnings))
}
