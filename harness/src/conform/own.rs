//! This project's own golden cases in the same table: variables, decision and reason of each.

use std::path::Path;

use mtls_gate_core::authz::Request;
use mtls_gate_core::config::Config;
use mtls_gate_core::decision::Outcome as Decided;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::forwarded::connection::Connection;
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::variables::Variable;

use super::engine::timed;
use super::{Backend, Case, ConformError, Expected, Report};
use crate::goldens::{self, Golden};

/// Runs all of them.
///
/// # Errors
/// `testdata/` cannot be read.
pub fn run() -> Result<Report, ConformError> {
    let schema = |what: String| ConformError::Schema {
        path: Path::new("testdata").to_owned(),
        what,
    };
    let mut report = Report::default();
    for golden in goldens::all().map_err(|error| schema(error.to_string()))? {
        let judged = timed(|| check(&golden).into());
        report.cases.push(Case::judged(
            "goldens",
            &golden.case.profile,
            golden.name.clone(),
            Expected::Accept,
            judged,
        ));
    }
    Ok(report)
}

/// Whether everything is as the golden says: accepted here means agreed.
fn check(golden: &Golden) -> Result<(), String> {
    let document = golden.document().to_string();
    let config = Config::from_bytes(document.as_bytes()).map_err(|error| error.to_string())?;
    let pipeline = Pipeline::new(config, Backend::default().algorithms());
    let header = golden.forwarded_header();
    let forwarded = [header.as_bytes()];
    let chain = golden.chain();
    let connection = Connection {
        peer_certificate: chain.first().map(|pem| pem.as_bytes()),
        forwarded: if chain.is_empty() { &[] } else { &forwarded },
        ..Connection::default()
    };
    let time = golden.time().map_err(|error| error.to_string())?;
    let client_cert = pipeline.judge(&Presented::Connection(connection), Some(time));
    let variables = &client_cert.variables;
    for variable in Variable::ALL {
        let expected = golden.expected.variables.get(variable.name());
        let found = variables.get(variable);
        if expected.map(String::as_str) != Some(found) {
            return Err(format!(
                "{}: {found:?}, expected {expected:?}",
                variable.name()
            ));
        }
    }
    let decision = pipeline.run(
        &Presented::Connection(connection),
        &Request::default(),
        Some(time),
    );
    let forwards = decision.outcome == Decided::Forward;
    if forwards != (golden.expected.decision == "forward") {
        return Err(format!("decided: {:?}", decision.outcome));
    }
    if !golden.names_the_rule(&decision.report.reason) {
        return Err(format!("for another reason: {}", decision.report.reason));
    }
    Ok(())
}
