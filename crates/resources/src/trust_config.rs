//! Certificate Manager's TrustConfig.

use std::path::Path;

use mtls_gate_core::config::resources::TrustConfig;
use serde_json::{Map, Value};

use super::{Lenient, Notes, ResourceError, Warning};

/// Reads a TrustConfig, and says what had to be read leniently.
///
/// # Errors
/// It is not a TrustConfig.
pub fn trust_config(path: &Path, text: &str) -> Result<(TrustConfig, Vec<Warning>), ResourceError> {
    let (value, warnings) = value(path, text)?;
    Ok((super::typed(path, value)?, warnings))
}

pub(super) fn value(path: &Path, text: &str) -> Result<Lenient, ResourceError> {
    let document = super::yaml_document(path, text)?;
    let mut notes = Notes::new(path);
    let value = as_schema_has_it(document, &mut notes);
    Ok((value, notes.warnings))
}

fn as_schema_has_it(document: Value, notes: &mut Notes<'_>) -> Value {
    let mut document = match document {
        Value::Object(document) => document,
        // The guide for private CAs shows the list without the line above it.
        Value::Array(stores) => {
            notes.lenient("", "a bare list is read as trustStores");
            Map::from_iter([("trustStores".to_owned(), Value::Array(stores))])
        }
        other => return other,
    };
    notes.drop_comments(&mut document);
    if let Some(stores) = document.get_mut("trustStores") {
        // The guide for Secure Web Proxy shows a map from a name to a store.
        if let Value::Object(named) = stores {
            notes.lenient("trustStores", "trustStores is a map, read as a list");
            let named = core::mem::take(named);
            let is_one_store = named.contains_key("trustAnchors");
            *stores = Value::Array(if is_one_store {
                vec![Value::Object(named)]
            } else {
                named.into_iter().map(|(_, store)| store).collect()
            });
        }
        for (index, store) in stores.as_array_mut().into_iter().flatten().enumerate() {
            intermediate_cas(store, &format!("trustStores[{index}]"), notes);
        }
    }
    if let Some(Value::Object(stores)) = document.get_mut("spiffeTrustStores") {
        for (domain, store) in stores {
            intermediate_cas(store, &format!("spiffeTrustStores[\"{domain}\"]"), notes);
        }
    }
    Value::Object(document)
}

/// The guide for Secure Web Proxy spells it with a capital A.
fn intermediate_cas(store: &mut Value, path: &str, notes: &mut Notes<'_>) {
    let Value::Object(store) = store else {
        return;
    };
    if store.contains_key("intermediateCas") {
        return;
    }
    if let Some(intermediates) = store.remove("intermediateCAs") {
        notes.lenient(
            format!("{path}.intermediateCAs"),
            "intermediateCAs is read as intermediateCas",
        );
        store.insert("intermediateCas".to_owned(), intermediates);
    }
}
