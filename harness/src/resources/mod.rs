//! Google's resources as people keep them: exports and samples of Google's own guides, in YAML or
//! JSON. Read leniently where the guides differ from the schema, with a warning for each.

use std::path::{Path, PathBuf};

use mtls_gate_core::config::resources::TrustConfig;
use mtls_gate_core::config::{self, ConfigError, Object};
use serde_json::{Map, Value};
use thiserror::Error;

/// Why a resource could not be read.
#[derive(Debug, Error)]
pub enum ResourceError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Neither YAML nor JSON.
    #[error("{}: not YAML: {what}", path.display())]
    Yaml {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// PEM where a resource should be.
    #[error("{}: PEM, not YAML or JSON (certificates go to --anchors)", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
    },
    /// Not text.
    #[error("{}: not text (DER? `openssl x509 -inform DER` makes PEM of it)", path.display())]
    NotText {
        /// Which file.
        path: PathBuf,
    },
    /// Not the resource it should be.
    #[error("{}: {source}", path.display())]
    Schema {
        /// Which file.
        path: PathBuf,
        /// The field, and what is wrong with it.
        source: ConfigError,
    },
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

/// Reads a TrustConfig, and says what had to be read leniently.
///
/// # Errors
/// The file cannot be read, or is not a TrustConfig.
pub fn trust_config(path: &Path) -> Result<(TrustConfig, Vec<String>), ResourceError> {
    let text = read_text(path)?;
    if text.trim_start().starts_with("-----BEGIN") {
        return Err(ResourceError::Pem {
            path: path.to_owned(),
        });
    }
    let document: Value = serde_saphyr::from_str(&text).map_err(|error| ResourceError::Yaml {
        path: path.to_owned(),
        what: error.to_string().replace('\n', " "),
    })?;
    let mut warnings = Vec::new();
    let document = as_schema_has_it(document, &mut warnings);
    let config: Object<TrustConfig> =
        config::typed(document).map_err(|source| ResourceError::Schema {
            path: path.to_owned(),
            source,
        })?;
    Ok((config.0, warnings))
}

fn as_schema_has_it(document: Value, warnings: &mut Vec<String>) -> Value {
    let mut document = match document {
        Value::Object(document) => document,
        // The guide for private CAs shows the list without the line above it.
        Value::Array(stores) => {
            warnings.push("a bare list is read as trustStores".to_owned());
            Map::from_iter([("trustStores".to_owned(), Value::Array(stores))])
        }
        other => return other,
    };
    for extra in ["COMMENT", "UNKNOWN"] {
        if document.remove(extra).is_some() {
            warnings.push(format!("{extra} is not used"));
        }
    }
    if let Some(stores) = document.get_mut("trustStores") {
        // The guide for Secure Web Proxy shows a map from a name to a store.
        if let Value::Object(named) = stores {
            warnings.push("trustStores is a map, read as a list".to_owned());
            let named = core::mem::take(named);
            let is_one_store = named.contains_key("trustAnchors");
            *stores = Value::Array(if is_one_store {
                vec![Value::Object(named)]
            } else {
                named.into_iter().map(|(_, store)| store).collect()
            });
        }
        for store in stores.as_array_mut().into_iter().flatten() {
            let Value::Object(store) = store else {
                continue;
            };
            if store.contains_key("intermediateCas") {
                continue;
            }
            if let Some(intermediates) = store.remove("intermediateCAs") {
                warnings.push("intermediateCAs is read as intermediateCas".to_owned());
                store.insert("intermediateCas".to_owned(), intermediates);
            }
        }
    }
    Value::Object(document)
}
