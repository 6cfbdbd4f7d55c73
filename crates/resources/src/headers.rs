//! Custom headers, from the export of a backend service or of a URL map. Exports hold much else,
//! which is not looked at; header rules that would be lost are refused.

use std::path::Path;

use mtls_gate_core::config::resources::HeaderAction;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Lenient, Notes, ResourceError, Warning};

/// BackendService
const CUSTOM_REQUEST_HEADERS: &str = "customRequestHeaders";
/// UrlMap, at its top level and in many places below
const HEADER_ACTION: &str = "headerAction";
/// HttpHeaderAction
const REQUEST_HEADERS_TO_ADD: &str = "requestHeadersToAdd";
const HEADER_ACTION_FIELDS: [&str; 4] = [
    REQUEST_HEADERS_TO_ADD,
    "requestHeadersToRemove",
    "responseHeadersToAdd",
    "responseHeadersToRemove",
];

/// The header rules of one file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Headers {
    /// BackendService: `Name:value`.
    pub custom_request_headers: Vec<String>,
    /// UrlMap.
    pub header_action: HeaderAction,
}

/// Reads the header rules of a BackendService or of a UrlMap.
///
/// # Errors
/// It holds no header rule, or one for some of the requests only.
pub fn headers(path: &Path, text: &str) -> Result<(Headers, Vec<Warning>), ResourceError> {
    let (value, warnings) = value(path, text)?;
    Ok((super::typed(path, value)?, warnings))
}

/// An object with `customRequestHeaders`, `headerAction` or both.
pub(super) fn value(path: &Path, text: &str) -> Result<Lenient, ResourceError> {
    let mut notes = Notes::new(path);
    let mut export = match super::yaml_document(path, text)? {
        Value::Object(export) => export,
        list if is_list_of_headers(&list) => {
            // The guide for private CAs shows the list without the lines above it.
            notes.lenient(
                "",
                format!("a bare list is read as {HEADER_ACTION}.{REQUEST_HEADERS_TO_ADD}"),
            );
            Map::from_iter([(REQUEST_HEADERS_TO_ADD.to_owned(), list)])
        }
        _ => {
            return Err(ResourceError::Kind {
                path: path.to_owned(),
                wanted: "a backend service or a URL map",
            });
        }
    };
    header_action_line(&mut export, &mut notes);
    let nested = export
        .iter()
        .filter(|(field, _)| *field != HEADER_ACTION)
        .find_map(|(field, value)| nested_action(field, value));
    if let Some(at) = nested {
        return Err(ResourceError::NestedHeaderAction {
            path: path.to_owned(),
            at,
        });
    }
    if export.contains_key("customResponseHeaders") {
        notes.not_used(
            "customResponseHeaders",
            "customResponseHeaders is not used; headerAction.responseHeadersToAdd is",
        );
    }
    let rules: Map<String, Value> = [CUSTOM_REQUEST_HEADERS, HEADER_ACTION]
        .into_iter()
        .filter_map(|field| export.remove_entry(field))
        .collect();
    if rules.is_empty() {
        return Err(ResourceError::NoHeaders {
            path: path.to_owned(),
        });
    }
    Ok((Value::Object(rules), notes.warnings))
}

fn is_list_of_headers(value: &Value) -> bool {
    value.as_array().is_some_and(|headers| {
        !headers.is_empty()
            && headers
                .iter()
                .all(|header| header.get("headerName").is_some())
    })
}

/// The rules without the line `headerAction:` above them; nothing else in either export has fields
/// of these names.
fn header_action_line(export: &mut Map<String, Value>, notes: &mut Notes<'_>) {
    if export.contains_key(HEADER_ACTION) {
        return;
    }
    let fields: Map<String, Value> = HEADER_ACTION_FIELDS
        .into_iter()
        .filter_map(|field| export.remove_entry(field))
        .collect();
    if fields.is_empty() {
        return;
    }
    if notes.warnings.is_empty() {
        notes.lenient(
            "",
            format!("the line {HEADER_ACTION}: is missing and is read as if it were there"),
        );
    }
    export.insert(HEADER_ACTION.to_owned(), Value::Object(fields));
}

/// The path of the first header rule in `value` or below; serde-saphyr bounds the nesting.
fn nested_action(path: &str, value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(field, value)| {
            let path = format!("{path}.{field}");
            if field == HEADER_ACTION && !value.is_null() {
                Some(path)
            } else {
                nested_action(&path, value)
            }
        }),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .find_map(|(index, value)| nested_action(&format!("{path}[{index}]"), value)),
        _ => None,
    }
}
