//! `mtls-gate explain`: how a path was looked for, what was tried and why it was rejected.

use std::io::Write;

use clap::Args;
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::path::trace::Trace;
use mtls_gate_core::variables::{Variable, Variables};
use mtls_gate_inspector::certificate::CertificateView;
use mtls_gate_inspector::trace::{SearchView, searches, text};
use serde_json::json;

use crate::verify::{Inputs, VerifyError, VerifyOptions};

/// `mtls-gate explain`
#[derive(Args, Clone, Debug)]
pub struct ExplainOptions {
    #[command(flatten)]
    verify: VerifyOptions,
}

/// Judges the chain, prints the search, and tells whether it is verified.
///
/// # Errors
/// The input cannot be read.
pub fn run(options: &ExplainOptions, out: &mut impl Write) -> Result<bool, VerifyError> {
    let inputs = Inputs::read(&options.verify)?;
    let mut trace = Trace::default();
    let client_cert = inputs.judge(&mut trace);
    let (reason, mend) = match &client_cert {
        ClientCert::Unverified { refusal, .. } => (refusal.to_string(), refusal.mend()),
        ClientCert::Off | ClientCert::Verified { .. } => (String::new(), ""),
    };
    let variables = Variables::from(&client_cert);
    let error = variables.get(Variable::Error);
    let searches: Vec<SearchView> = searches(&trace);
    if options.verify.json {
        let certificates: Vec<CertificateView> = trace
            .certificates()
            .iter()
            .map(CertificateView::new)
            .collect();
        let explanation = json!({
            "verified": client_cert.is_verified(),
            "reason": reason,
            "error": error,
            "mend": mend,
            "certificates": certificates,
            "searches": searches,
            "warnings": inputs.warnings,
        });
        writeln!(out, "{explanation:#}")?;
        return Ok(client_cert.is_verified());
    }
    for warning in &inputs.warnings {
        eprintln!("warning: {warning}");
    }
    if client_cert.is_verified() {
        writeln!(out, "verified")?;
    } else {
        writeln!(out, "not verified: {reason}")?;
    }
    if !error.is_empty() {
        writeln!(out, "{} {error}", Variable::Error.name())?;
    }
    if !mend.is_empty() {
        writeln!(out, "→ {mend}")?;
    }
    if searches.is_empty() {
        writeln!(out, "\nno path was looked for")?;
    } else {
        write!(out, "\n{}", text(&searches))?;
    }
    Ok(client_cert.is_verified())
}
