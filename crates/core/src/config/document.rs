//! From the bytes a host hands over to the typed document.

use prost::Message as _;
use prost_types::value::Kind;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ConfigError;
use super::reader;
use super::resources::Document;
use super::unique::Unique;
use crate::limits::CONFIGURATION_BYTES;

/// The path of the document itself.
const DOCUMENT: &str = "configuration";

/// The label of PEM that must not be shown (RFC 7468 sections 10, 11 and 13).
const PRIVATE_KEY: &str = "PRIVATE KEY";

pub(super) fn read(bytes: &[u8]) -> Result<Document, ConfigError> {
    if bytes.is_empty() {
        return Err(ConfigError::new(DOCUMENT, "is empty"));
    }
    if bytes.len() > CONFIGURATION_BYTES {
        return Err(ConfigError::new(
            DOCUMENT,
            format!("is longer than {CONFIGURATION_BYTES} bytes"),
        ));
    }
    let value = if is_json_text(bytes) {
        let Unique(value) = serde_json::from_slice(bytes)
            .map_err(|error| ConfigError::new(DOCUMENT, said(&error.to_string())))?;
        value
    } else {
        let message = prost_types::Struct::decode(bytes).map_err(|_| {
            ConfigError::new(
                DOCUMENT,
                "is neither JSON text nor a google.protobuf.Struct",
            )
        })?;
        json_object(message)
    };
    typed(value)
}

/// JSON text holds no control characters but tabs and line ends; a serialized Struct with any entry
/// holds 0x12, the tag of that entry's value.
fn is_json_text(bytes: &[u8]) -> bool {
    !bytes
        .iter()
        .any(|byte| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r'))
}

/// Reads a resource or a whole document.
///
/// # Errors
/// The path of the first field that is wrong, and what is wrong with it.
pub fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ConfigError> {
    reader::read(&value).map_err(|fault| {
        let path = match fault.path() {
            path if path.is_empty() || path.contains(PRIVATE_KEY) => DOCUMENT.to_owned(),
            path => one_line(&path),
        };
        ConfigError::new(path, said(&fault.reason))
    })
}

fn said(error: &str) -> String {
    if error.contains(PRIVATE_KEY) {
        return "holds a private key, which belongs nowhere in here".to_owned();
    }
    one_line(error)
}

fn one_line(text: &str) -> String {
    const MAX_CHARACTERS: usize = 400;
    text.chars()
        .take(MAX_CHARACTERS)
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}

/// prost bounds the nesting while it decodes (100), so this recursion is bounded too.
fn json_object(message: prost_types::Struct) -> Value {
    Value::Object(
        message
            .fields
            .into_iter()
            .map(|(name, value)| (name, json_value(value)))
            .collect(),
    )
}

fn json_value(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::NumberValue(value)) => json_number(value),
        Some(Kind::StructValue(value)) => json_object(value),
        Some(Kind::ListValue(list)) => {
            Value::Array(list.values.into_iter().map(json_value).collect())
        }
    }
}

/// A Struct knows doubles only; whole numbers become integers, as they were in the YAML.
#[allow(clippy::as_conversions, clippy::cast_possible_truncation)]
fn json_number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.trunc() == value && value.abs() < EXACT {
        Value::from(value as i64)
    } else if value.is_finite() {
        Value::from(value)
    } else {
        // JSON has no such number; null would count as absent.
        Value::from("not a finite number")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_struct_are_told_apart() {
        assert!(is_json_text(b"\n {\"profile\":\"GOOGLE\"}"));
        let value = prost_types::Value {
            kind: Some(Kind::StringValue("x".repeat(100))),
        };
        let message = prost_types::Struct {
            fields: [("profile".to_owned(), value)].into(),
        };
        // Its second byte is `{`'s neighbour, whatever the length: content decides, not the start.
        assert!(!is_json_text(&message.encode_to_vec()));
    }

    #[test]
    fn values_are_not_repeated() {
        let error = |json: &str| read(json.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            error(r#"{"trustConfig":"s\", expected e"}"#),
            "trustConfig: invalid type: string, expected an object"
        );
        let key = "-----BEGIN PRIVATE KEY-----secret";
        for json in [
            format!(r#"{{"trustConfig":"{key}"}}"#),
            format!(r#"{{"{key}":1}}"#),
            format!(r#"{{"profile":"{key}"}}"#),
        ] {
            let error = error(&json);
            assert!(
                !error.contains("secret") || error.starts_with(key),
                "{error}"
            );
        }
    }

    #[test]
    fn numbers_stay_whole() {
        assert_eq!(json_number(403.0), Value::from(403));
        assert_eq!(json_number(0.5), Value::from(0.5));
        assert_eq!(
            json_number(f64::INFINITY),
            Value::from("not a finite number")
        );
    }
}
