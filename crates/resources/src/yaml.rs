//! JSON values as YAML for people: names first, PEM as a block.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

/// Fields that say what an object is, and those that are read before their neighbours.
const FIRST: [&str; 5] = ["name", "@type", "listeners", "address", "trustAnchors"];

/// Writes `value`, and makes sure that it reads back as it is.
///
/// # Errors
/// What went wrong.
pub fn write(value: &Value) -> Result<String, String> {
    let options = serde_saphyr::ser_options! {
        // Long lines stay what they are.
        folded_wrap_chars: usize::MAX,
    };
    let text = serde_saphyr::to_string_with_options(&Ordered(value), options)
        .map_err(|error| error.to_string())?;
    let back: Value = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
    if back == *value {
        Ok(text)
    } else {
        Err("it does not read back as it is (use --json)".to_owned())
    }
}

struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(list) => {
                let mut out = serializer.serialize_seq(Some(list.len()))?;
                for value in list {
                    out.serialize_element(&Ordered(value))?;
                }
                out.end()
            }
            Value::Object(fields) => {
                let mut out = serializer.serialize_map(Some(fields.len()))?;
                let rank = |field: &str| FIRST.iter().position(|first| *first == field);
                let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
                // Stable: the rest keeps its order.
                fields.sort_by_key(|(field, _)| rank(field).unwrap_or(FIRST.len()));
                for (field, value) in fields {
                    out.serialize_entry(field, &Ordered(value))?;
                }
                out.end()
            }
            scalar => scalar.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn strings_stay_strings_and_pem_is_a_block() {
        let strings: Vec<String> = [
            "true",
            "on",
            "off",
            "yes",
            "n",
            "~",
            "null",
            "",
            " a ",
            "1e3",
            "0x10",
            "0o7",
            "1_000",
            "012",
            ".inf",
            "2026-01-01",
            "12:30:00",
            "- a",
            "a: b",
            "a #b",
            "{a}",
            "[a]",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "'a'",
            "\"a\"",
            "---",
            "...",
            "?",
            "a\tb",
            "\u{feff}a",
            "=",
            "<<",
            "a\n",
            "a\n\n",
            "\na",
            " a\nb",
            "a\r\nb",
            "a\u{2028}b",
            "\u{85}",
        ]
        .map(str::to_owned)
        .into();
        let value = json!({
            "strings": strings,
            "keys": { "true": 1, "on": 2, "1": 3, "a: b": 4, "": 5, "spiffe.example.com": 6 },
            "others": [true, null, 0, -1, 1.5, 1e300, {}, []],
            "nested": [[1, [2]], [{ "a": [] }]],
        });
        write(&value).unwrap();
        for string in strings {
            write(&json!(string)).unwrap();
            write(&json!({ "a": [string] })).unwrap();
        }
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let text = write(&json!({ "b": [{ "name": "gate", "a": pem }] })).unwrap();
        assert_eq!(
            text,
            "b:\n- name: gate\n  a: |\n    -----BEGIN CERTIFICATE-----\n    MIIB\n    -----END CERTIFICATE-----\n"
        );
    }
}
