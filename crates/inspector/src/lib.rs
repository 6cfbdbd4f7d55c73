//! The inspector: why a chain is accepted or refused, for a page in a browser. All of it runs there;
//! what is judged, and the reasons, are the core's.
//!
//! Every function takes text and gives JSON: an object with `problem` if something is wrong with what
//! was given, or the result.
#![forbid(unsafe_code)]

mod admit;
pub mod certificate;
mod chain;
mod graph;
mod inspect;
mod secret;
mod setup;
mod state;
pub mod trace;
mod variables;

use serde::Serialize;
use serde_json::json;

pub use state::{FIELD_BYTES, State};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen::prelude::wasm_bindgen;

/// What is wrong with what was given: one sentence, with the place in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The field of the page.
    pub field: &'static str,
    /// The line in that field, from 1.
    pub line: Option<usize>,
    /// What is wrong, and where.
    pub sentence: String,
    /// It must not stay on the page.
    pub private_key: bool,
}

impl Problem {
    fn new(field: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            field,
            line: None,
            sentence: sentence.into(),
            private_key: false,
        }
    }
}

fn answer<T: Serialize>(result: Result<T, Problem>) -> String {
    let json = match result {
        Ok(value) => serde_json::to_string(&value),
        Err(problem) => serde_json::to_string(&json!({ "problem": problem })),
    };
    json.unwrap_or_else(|_| r#"{"problem":{"field":"state","sentence":"No answer."}}"#.to_owned())
}

/// Judges a state at a time (used where the state has none): verdict, certificates, graph, variables,
/// headers, configuration.
#[cfg_attr(target_arch = "wasm32", wasm_bindgen)]
#[must_use]
pub fn inspect(state: &str, now: f64) -> String {
    answer(State::parse(state).and_then(|state| inspect::report(&state, seconds(now))))
}

/// The verdicts between the earliest notBefore and the latest notAfter.
#[cfg_attr(target_arch = "wasm32", wasm_bindgen)]
#[must_use]
pub fn timeline(state: &str) -> String {
    answer(State::parse(state).and_then(|state| inspect::timeline(&state)))
}

/// What a file, a drop or a paste comes to as text of a field; DER becomes PEM.
#[cfg_attr(target_arch = "wasm32", wasm_bindgen)]
#[must_use]
pub fn admit(field: &str, name: &str, bytes: &[u8]) -> String {
    answer(admit::text(field, name, bytes).map(|text| json!({ "text": text })))
}

/// The fragment of a link to a state.
#[cfg_attr(target_arch = "wasm32", wasm_bindgen(js_name = toFragment))]
#[must_use]
pub fn to_fragment(state: &str) -> String {
    let fragment = State::parse(state).and_then(|state| state.to_fragment());
    answer(fragment.map(|fragment| json!({ "fragment": fragment })))
}

/// The state that a link holds.
#[cfg_attr(target_arch = "wasm32", wasm_bindgen(js_name = fromFragment))]
#[must_use]
pub fn from_fragment(fragment: &str) -> String {
    answer(State::from_fragment(fragment).map(|state| json!({ "state": state })))
}

/// Bytes of one field at the most.
#[cfg_attr(target_arch = "wasm32", wasm_bindgen(js_name = fieldBytes))]
#[must_use]
pub fn field_bytes() -> u32 {
    u32::try_from(FIELD_BYTES).unwrap_or(u32::MAX)
}

/// JavaScript's numbers hold every second that a certificate can name.
#[allow(clippy::as_conversions, clippy::cast_possible_truncation)]
fn seconds(number: f64) -> i64 {
    number as i64
}
