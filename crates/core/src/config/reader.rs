//! Typed values out of JSON values, with the path of what is wrong.
//!
//! A deserializer of its own: serde_json's, wrapped for paths and for structures that are no lists, was 85 KB
//! more, and a host compiles all of the filter before it serves anybody.

use core::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer as _, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Number, Value};

/// Reads a `T`. Structures are written as objects and in no other way: serde would also take a list
/// of their fields, so that `[]` were a configuration with every field at its default.
pub(super) fn read<'v, T: Deserialize<'v>>(value: &'v Value) -> Result<T, Fault> {
    T::deserialize(Reader(value))
}

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Fault {
    /// The innermost first.
    path: Vec<Step>,
    pub(super) reason: String,
}

#[derive(Debug)]
enum Step {
    Field(String),
    Entry(usize),
}

impl Fault {
    /// `trustStores[0].trustAnchors`; empty for the document itself.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Field(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                }
                Step::Entry(index) => {
                    path.push('[');
                    path.push_str(&index.to_string());
                    path.push(']');
                }
            }
        }
        path
    }

    fn within(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    /// Without the value: a log is no place for what somebody pasted into the wrong field.
    fn unexpected(kind: &str, found: &Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
            Unexpected::Float(_) => "floating point",
            Unexpected::Str(_) | Unexpected::Char(_) => "string",
            Unexpected::Unit | Unexpected::Option => "null",
            Unexpected::Seq => "list",
            Unexpected::Map => "object",
            _ => "value",
        };
        Self::custom(format_args!("{kind}: {found}, expected {expected}"))
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path(), self.reason)
    }
}

impl core::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: Display>(reason: T) -> Self {
        Self {
            path: Vec::new(),
            reason: reason.to_string(),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::unexpected("invalid type", &found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::unexpected("invalid value", &found, expected)
    }
}

#[derive(Clone, Copy)]
struct Reader<'v>(&'v Value);

impl<'v> Reader<'v> {
    fn is_no(self, expected: &dyn Expected) -> Fault {
        let found = match self.0 {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(number) if number.is_f64() => Unexpected::Float(0.0),
            Value::Number(_) => Unexpected::Signed(0),
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        };
        Fault::invalid_type(found, expected)
    }

    fn fields(self) -> Result<Fields<'v>, Fault> {
        match self.0 {
            Value::Object(fields) => Ok(Fields {
                left: fields.iter(),
                last: None,
            }),
            _ => Err(self.is_no(&"an object")),
        }
    }
}

fn number<'v, V: Visitor<'v>>(number: &Number, visitor: V) -> Result<V::Value, Fault> {
    if let Some(value) = number.as_u64() {
        visitor.visit_u64(value)
    } else if let Some(value) = number.as_i64() {
        visitor.visit_i64(value)
    } else {
        visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
    }
}

impl<'v> Deserializer<'v> for Reader<'v> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(value) => number(value, visitor),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(entries) => visitor.visit_seq(Entries::of(entries)),
            Value::Object(_) => visitor.visit_map(self.fields()?),
        }
    }

    fn deserialize_bool<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.is_no(&visitor)),
        }
    }

    fn deserialize_u64<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Number(value) => number(value, visitor),
            _ => Err(self.is_no(&visitor)),
        }
    }

    fn deserialize_u16<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_i64<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_str<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::String(text) => visitor.visit_borrowed_str(text),
            _ => Err(self.is_no(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Array(entries) => visitor.visit_seq(Entries::of(entries)),
            _ => Err(self.is_no(&"a list")),
        }
    }

    fn deserialize_map<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(self.fields()?)
    }

    fn deserialize_struct<V: Visitor<'v>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_map(self.fields()?)
    }

    fn deserialize_enum<V: Visitor<'v>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(name(text)),
            _ => Err(self.is_no(&"a string")),
        }
    }

    forward_to_deserialize_any! {
        <W: Visitor<'v>>
        i8 i16 i32 i128 u8 u32 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct
        tuple tuple_struct identifier ignored_any
    }
}

/// A field's name, or a variant's.
fn name(text: &str) -> StrDeserializer<'_, Fault> {
    text.into_deserializer()
}

struct Entries<'v>(core::iter::Enumerate<core::slice::Iter<'v, Value>>);

impl<'v> Entries<'v> {
    fn of(entries: &'v [Value]) -> Self {
        Self(entries.iter().enumerate())
    }
}

impl<'v> SeqAccess<'v> for Entries<'v> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'v>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        let Some((index, value)) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(Reader(value))
            .map(Some)
            .map_err(|fault| fault.within(Step::Entry(index)))
    }
}

struct Fields<'v> {
    left: serde_json::map::Iter<'v>,
    last: Option<(&'v String, &'v Value)>,
}

impl Fields<'_> {
    fn within(&self, fault: Fault) -> Fault {
        match self.last {
            Some((name, _)) => fault.within(Step::Field(name.clone())),
            None => fault,
        }
    }
}

impl<'v> MapAccess<'v> for Fields<'v> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'v>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        self.last = self.left.next();
        let Some((field, _)) = self.last else {
            return Ok(None);
        };
        seed.deserialize(name(field))
            .map(Some)
            .map_err(|fault| self.within(fault))
    }

    fn next_value_seed<S: DeserializeSeed<'v>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let value = self.last.map_or(&Value::Null, |(_, value)| value);
        seed.deserialize(Reader(value))
            .map_err(|fault| self.within(fault))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Outer {
        inner: Vec<Inner>,
        kind: Option<Kind>,
        size: Option<u16>,
        labels: BTreeMap<String, Inner>,
        any: Option<Value>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        flag: bool,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    enum Kind {
        One,
        Other,
    }

    fn fault(value: &Value) -> (String, String) {
        let fault = read::<Outer>(value).unwrap_err();
        (fault.path(), fault.reason)
    }

    #[test]
    fn values_are_read() {
        let any = json!({"a": [1, -2, 0.5, null, "text", true]});
        let document = json!({
            "inner": [{"flag": true}], "kind": "Other", "size": 65535,
            "labels": {"a": {"flag": false}}, "any": any,
        });
        let expected = Outer {
            inner: vec![Inner { flag: true }],
            kind: Some(Kind::Other),
            size: Some(65535),
            labels: [("a".to_owned(), Inner { flag: false })].into(),
            any: Some(any),
        };
        assert_eq!(read::<Outer>(&document).unwrap(), expected);
        let nothing = json!({"kind": null, "size": null, "any": null});
        assert_eq!(read::<Outer>(&nothing).unwrap(), Outer::default());
    }

    #[test]
    fn faults_have_their_place_and_no_value() {
        let cases = [
            (json!([]), "", "invalid type: list, expected an object"),
            (
                json!("secret"),
                "",
                "invalid type: string, expected an object",
            ),
            (
                json!({"inner": {}}),
                "inner",
                "invalid type: object, expected a list",
            ),
            (
                json!({"inner": [{"flag": true}, []]}),
                "inner[1]",
                "invalid type: list, expected an object",
            ),
            (json!({"inner": [{}]}), "inner[0]", "missing field `flag`"),
            (
                json!({"inner": [{"flag": "secret"}]}),
                "inner[0].flag",
                "invalid type: string, expected a boolean",
            ),
            (
                json!({"inner": [{"flag": null}]}),
                "inner[0].flag",
                "invalid type: null, expected a boolean",
            ),
            (
                json!({"inner": [{"flags": 1}]}),
                "inner[0].flags",
                "unknown field `flags`, expected `flag`",
            ),
            (
                json!({"labels": {"a": {"flag": 1}}}),
                "labels.a.flag",
                "invalid type: integer, expected a boolean",
            ),
            (
                json!({"kind": "Third"}),
                "kind",
                "unknown variant `Third`, expected `One` or `Other`",
            ),
            (
                json!({"kind": {"One": null}}),
                "kind",
                "invalid type: object, expected a string",
            ),
            (
                json!({"size": 65536}),
                "size",
                "invalid value: integer, expected u16",
            ),
            (
                json!({"size": -1}),
                "size",
                "invalid value: integer, expected u16",
            ),
            (
                json!({"size": 1.5}),
                "size",
                "invalid type: floating point, expected u16",
            ),
            (
                json!({"size": "1"}),
                "size",
                "invalid type: string, expected u16",
            ),
        ];
        for (document, path, reason) in cases {
            assert_eq!(
                fault(&document),
                (path.to_owned(), reason.to_owned()),
                "{document}"
            );
        }
    }
}
