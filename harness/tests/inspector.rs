//! The inspector's answers, as the page gets them.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use mtls_gate::goldens::{self, Golden};
use mtls_gate_core::variables::Variable;
use mtls_gate_inspector::{admit, from_fragment, inspect, timeline, to_fragment};
use serde_json::{Value, json};

const NOW: f64 = 1_795_000_000.0;

fn ask(state: &Value) -> Value {
    serde_json::from_str(&inspect(&state.to_string(), NOW)).unwrap()
}

fn state(name: &str) -> Value {
    goldens::named(name).unwrap().inspector_state().unwrap()
}

fn with(mut state: Value, field: &str, value: impl Into<Value>) -> Value {
    state[field] = value.into();
    state
}

#[test]
fn goldens_give_the_same_variables() {
    let mut wrong = Vec::new();
    for golden in goldens::all().unwrap() {
        let report = ask(&golden.inspector_state().unwrap());
        wrong.extend(differences(&golden, &report));
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn differences(golden: &Golden, report: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(problem) = report.get("problem") {
        return vec![format!("{}: {problem}", golden.name)];
    }
    let found = report["variables"].as_array().unwrap();
    for (variable, found) in Variable::ALL.into_iter().zip(found) {
        let expected = &golden.expected.variables[variable.name()];
        if found["name"] != variable.name() || found["value"] != expected.as_str() {
            wrong.push(format!("{} {}: {found}", golden.name, variable.name()));
        }
    }
    let forwarded = golden.expected.decision == "forward";
    if report["headers"]["forwarded"] != forwarded {
        wrong.push(format!("{}: {}", golden.name, report["verdict"]));
    }
    if !golden.names_the_rule(report["verdict"]["sentence"].as_str().unwrap()) {
        wrong.push(format!(
            "{}: {}",
            golden.name, report["verdict"]["sentence"]
        ));
    }
    wrong
}
