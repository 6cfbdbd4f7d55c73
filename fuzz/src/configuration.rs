//! Configurations read as a host hands them over. An input that is a JSON object is also read as
//! the Struct that says the same.

use std::collections::BTreeMap;

use libfuzzer_sys::fuzzer_mutate;
use mtls_gate_core::config::{Config, ConfigError, HeaderRules};
use mtls_gate_core::limits::RequestLimits;
use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde_json::{Map, Value};

use crate::dice::Dice;
use crate::is_one_line;

/// Doubles hold whole numbers up to here.
const EXACT: u64 = 1 << 53;

pub fn run(data: &[u8]) {
    check(&Config::from_bytes(data));
    let Ok(Value::Object(document)) = serde_json::from_slice(data) else {
        return;
    };
    // The document without what only text can say: fields named twice, numbers with a fraction.
    let document = Value::Object(document);
    if !numbers_are_exact(&document) {
        return;
    }
    let text = Config::from_bytes(document.to_string().as_bytes());
    check(&text);
    if let Value::Object(fields) = &document
        && !fields.is_empty()
    {
        let message = Config::from_bytes(&to_struct(fields).encode_to_vec());
        check(&message);
        assert_eq!(text.is_ok(), message.is_ok(), "{text:?}\n{message:?}");
    }
}

fn check(outcome: &Result<Config, ConfigError>) {
    match outcome {
        Err(error) => {
            let error = error.to_string();
            assert!(is_one_line(&error) && error.len() < 8192, "{error:?}");
        }
        Ok(config) => {
            check_headers(&config.request);
            check_headers(&config.response);
            let (limits, max) = (&config.limits, RequestLimits::MAX);
            assert!(limits.presented_certificates <= max.presented_certificates);
            assert!(limits.payload_bytes <= max.payload_bytes);
            assert!(limits.forwarded_header_bytes <= max.forwarded_header_bytes);
            assert!(limits.rendered_bytes <= max.rendered_bytes);
        }
    }
}

fn check_headers(rules: &HeaderRules) {
    for (name, template) in &rules.add {
        let token = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        assert!(!name.is_empty() && name.bytes().all(token), "{name:?}");
        // What tells of the certificate never stands beside what the client sent.
        let removed = rules.remove.hold(name.as_bytes());
        assert!(
            removed || !template.has_variable(),
            "{name:?} can be forged"
        );
    }
}

fn numbers_are_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => number
            .as_i64()
            .is_some_and(|number| number.unsigned_abs() < EXACT),
        Value::Array(values) => values.iter().all(numbers_are_exact),
        Value::Object(fields) => fields.values().all(numbers_are_exact),
        _ => true,
    }
}

pub fn to_struct(fields: &Map<String, Value>) -> Struct {
    let fields: BTreeMap<String, prost_types::Value> = fields
        .iter()
        .map(|(name, value)| (name.clone(), to_value(value)))
        .collect();
    Struct { fields }
}

fn to_value(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(values) => Kind::ListValue(ListValue {
            values: values.iter().map(to_value).collect(),
        }),
        Value::Object(fields) => Kind::StructValue(to_struct(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// Changes JSON as a tree half of the time, plain bytes else.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut dice = Dice::new(seed);
    let document = serde_json::from_slice::<Value>(&data[..size]);
    let (Ok(mut document), false) = (document, dice.one_in(2)) else {
        return fuzzer_mutate(data, size, max_size);
    };
    let donor = document.clone();
    let chosen = dice.below(count(&donor));
    let replacement = match dice.below(8) {
        0 => Value::Null,
        1 => Value::Bool(dice.one_in(2)),
        2 => Value::from([0, 1, -1, 400, 599, 600, 1 << 20][dice.below(7)]),
        3 => Value::Array(vec![node(&donor, chosen).clone(); 1 + dice.below(20)]),
        4 => changed_text(node(&donor, chosen), &mut dice),
        _ => node(&donor, dice.below(count(&donor))).clone(),
    };
    replace(&mut document, chosen, &replacement, dice.one_in(4));
    let text = document.to_string();
    let size = text.len().min(max_size).min(data.len());
    data[..size].copy_from_slice(&text.as_bytes()[..size]);
    size
}

fn changed_text(value: &Value, dice: &mut Dice) -> Value {
    let Value::String(text) = value else {
        return Value::String(String::new());
    };
    let mut bytes = text.clone().into_bytes();
    let size = bytes.len();
    bytes.resize(size + 16, 0);
    // libFuzzer insists on room for an octet.
    let size = fuzzer_mutate(&mut bytes, size, size + 1 + dice.below(16));
    Value::String(String::from_utf8_lossy(&bytes[..size]).into_owned())
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

fn count(value: &Value) -> usize {
    1 + children(value).into_iter().map(count).sum::<usize>()
}

/// The value with this number in pre-order.
fn node(value: &Value, mut number: usize) -> &Value {
    if number > 0 {
        number -= 1;
        for child in children(value) {
            let size = count(child);
            if number < size {
                return node(child, number);
            }
            number -= size;
        }
    }
    value
}

/// Puts `replacement` in the place of the value with this number, or takes that one out.
fn replace(value: &mut Value, mut number: usize, replacement: &Value, remove: bool) {
    if number == 0 {
        *value = replacement.clone();
        return;
    }
    number -= 1;
    let mut chosen = None;
    for (index, child) in children(value).into_iter().enumerate() {
        let size = count(child);
        if number < size {
            chosen = Some(index);
            break;
        }
        number -= size;
    }
    let Some(index) = chosen else { return };
    let remove_here = remove && number == 0;
    match value {
        Value::Array(values) if remove_here => {
            values.remove(index);
        }
        Value::Array(values) => replace(&mut values[index], number, replacement, remove),
        Value::Object(fields) => {
            let Some(name) = fields.keys().nth(index).cloned() else {
                return;
            };
            if remove_here {
                fields.remove(&name);
            } else if let Some(child) = fields.get_mut(&name) {
                replace(child, number, replacement, remove);
            }
        }
        _ => {}
    }
}

pub fn describe(data: &[u8]) -> String {
    let outcome = Config::from_bytes(data).map(|_| "accepted");
    format!("{}\n{outcome:?}\n", data.escape_ascii())
}
