//! A search as it went, as a tree: for the page, and for `mtls-gate explain` in a terminal.

use mtls_gate_core::path::Origin;
use mtls_gate_core::path::trace::{Outcome, Step, Trace};
use mtls_gate_core::x509::Certificate;
use serde::Serialize;

use crate::certificate::name;

/// A search.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchView {
    /// Key purposes count. A search without them tells whether anything else is wrong.
    pub purposes: bool,
    /// The end entity first, then every potential issuer as it was tried.
    pub steps: Vec<StepView>,
}

/// A certificate at one place of the tree.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Which certificate: an index into the list beside.
    pub certificate: usize,
    /// Its subject.
    pub subject: String,
    /// The position on the path: 0 is the end entity.
    pub position: usize,
    /// The step below: an index into these steps.
    pub below: Option<usize>,
    /// Where it comes from.
    pub origin: &'static str,
    /// `accepted`, `rejected` or `fits`.
    pub outcome: &'static str,
    /// Why it was rejected; empty otherwise.
    pub reason: String,
    /// The certificate that is at fault, if it was rejected.
    pub at_fault: Option<usize>,
    /// The field of that certificate.
    pub field: Option<&'static str>,
}

/// Where a potential issuer comes from, for people.
#[must_use]
pub fn origin(origin: Option<Origin>) -> &'static str {
    match origin {
        None => "end entity",
        Some(Origin::Anchor) => "trust anchor",
        Some(Origin::Configured) => "configured intermediate",
        Some(Origin::Presented) => "presented",
    }
}

/// Every search of a run.
#[must_use]
pub fn searches(trace: &Trace) -> Vec<SearchView> {
    let steps = |steps: &[Step]| steps.iter().map(|one| step(trace, one)).collect();
    trace
        .searches()
        .iter()
        .map(|search| SearchView {
            purposes: search.purposes,
            steps: steps(&search.steps),
        })
        .collect()
}

fn step(trace: &Trace, step: &Step) -> StepView {
    let subject = trace.certificates().get(step.certificate).map(subject);
    let (outcome, rejected) = match &step.outcome {
        Outcome::Accepted => ("accepted", None),
        Outcome::Fits => ("fits", None),
        Outcome::Rejected { certificate, error } => ("rejected", Some((*certificate, error))),
    };
    StepView {
        certificate: step.certificate,
        subject: subject.unwrap_or_default(),
        position: step.position,
        below: step.below,
        origin: origin(step.origin),
        outcome,
        reason: rejected
            .map(|(_, error)| {
                if error.position == step.position {
                    error.fault.to_string()
                } else {
                    error.to_string()
                }
            })
            .unwrap_or_default(),
        at_fault: rejected.map(|(certificate, _)| certificate),
        field: rejected.map(|(_, error)| error.fault.field().as_str()),
    }
}

fn subject(certificate: &Certificate) -> String {
    name(certificate, certificate.subject())
}

/// The searches as lines for a terminal; empty if none was begun.
#[must_use]
pub fn text(searches: &[SearchView]) -> String {
    let mut text = String::new();
    for search in searches {
        text.push_str(if search.purposes {
            "search for a path\n"
        } else {
            "the same with key purposes left aside\n"
        });
        for step in &search.steps {
            let indent = "  ".repeat(step.position.saturating_add(1));
            text.push_str(&format!("{indent}{} ({})", step.subject, step.origin));
            match step.outcome {
                "fits" => {}
                outcome => text.push_str(&format!(": {outcome}")),
            }
            if !step.reason.is_empty() {
                text.push_str(&format!(": {}", step.reason));
            }
            text.push('\n');
        }
    }
    text
}
