//! The 14 variables, as they are sent and as people read them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::limits::{SERIAL_BYTES, SPIFFE_ID_BYTES, VARIABLE_BYTES, VARIABLE_DER_BYTES};
use mtls_gate_core::variables::{Variable, Variables};
use mtls_gate_core::x509::{Certificate, Name};
use serde::Serialize;

use crate::certificate::{hex, name, shown};

/// One variable.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VariableView {
    name: &'static str,
    value: String,
    /// What it says; empty if it is plain text.
    decoded: String,
    /// What counts against the limit.
    size: usize,
    limit: Option<usize>,
    /// What is counted.
    unit: &'static str,
    /// It was left out because it is over the limit.
    over: bool,
}

pub(crate) fn views(variables: &Variables, client_cert: &ClientCert) -> Vec<VariableView> {
    let error = variables.get(Variable::Error);
    let view = |variable: Variable| {
        let value = variables.get(variable);
        let (limit, unit) = limit(variable);
        VariableView {
            name: variable.name(),
            value: value.to_owned(),
            decoded: decoded(variable, value, client_cert),
            size: size(variable, value, client_cert),
            limit,
            unit,
            over: variable
                .size_error()
                .is_some_and(|over| error.split(',').any(|said| said == over)),
        }
    };
    Variable::ALL.into_iter().map(view).collect()
}

fn limit(variable: Variable) -> (Option<usize>, &'static str) {
    match variable {
        Variable::SerialNumber => (Some(SERIAL_BYTES), "octets"),
        Variable::SpiffeId => (Some(SPIFFE_ID_BYTES), "bytes"),
        Variable::UriSans | Variable::DnsnameSans | Variable::IssuerDn | Variable::SubjectDn => {
            (Some(VARIABLE_BYTES), "bytes")
        }
        Variable::Leaf => (Some(VARIABLE_DER_BYTES), "bytes of DER"),
        Variable::Chain => (Some(VARIABLE_DER_BYTES), "bytes of DER, with the leaf"),
        Variable::Present
        | Variable::ChainVerified
        | Variable::Error
        | Variable::Sha256Fingerprint
        | Variable::ValidNotBefore
        | Variable::ValidNotAfter => (None, "bytes"),
    }
}

fn verified(client_cert: &ClientCert) -> Option<(&Certificate, &[Certificate])> {
    match client_cert {
        ClientCert::Verified { end_entity, path } => Some((end_entity, path)),
        ClientCert::Off | ClientCert::Unverified { .. } => None,
    }
}

/// The path without its anchor, as `client_cert_chain` has it.
fn intermediates(path: &[Certificate]) -> &[Certificate] {
    match path {
        [intermediates @ .., _anchor] => intermediates,
        [] => &[],
    }
}

fn size(variable: Variable, value: &str, client_cert: &ClientCert) -> usize {
    match (variable, verified(client_cert)) {
        (Variable::SerialNumber, Some((end_entity, _))) => end_entity.serial().len(),
        (Variable::Leaf, Some((end_entity, _))) => end_entity.der().len(),
        (Variable::Chain, Some((end_entity, path))) => intermediates(path)
            .iter()
            .fold(end_entity.der().len(), |sum, one| {
                sum.saturating_add(one.der().len())
            }),
        _ => value.len(),
    }
}

fn decoded(variable: Variable, value: &str, client_cert: &ClientCert) -> String {
    if value.is_empty() {
        return String::new();
    }
    let path = verified(client_cert).map_or(&[][..], |(_, path)| path);
    match variable {
        Variable::Sha256Fingerprint => hex(&STANDARD_NO_PAD.decode(value).unwrap_or_default(), ""),
        Variable::UriSans | Variable::DnsnameSans => {
            let decode = |item: &str| shown(&STANDARD.decode(item).unwrap_or_default());
            let items: Vec<String> = value.split(',').map(decode).collect();
            items.join("\n")
        }
        Variable::IssuerDn | Variable::SubjectDn => {
            Name::display(&STANDARD.decode(value).unwrap_or_default())
        }
        Variable::Leaf => verified(client_cert)
            .map(|(end_entity, _)| name(end_entity, end_entity.subject()))
            .unwrap_or_default(),
        Variable::Chain => {
            let subject = |one: &Certificate| name(one, one.subject());
            let subjects: Vec<String> = intermediates(path).iter().map(subject).collect();
            subjects.join("\n")
        }
        Variable::Present
        | Variable::ChainVerified
        | Variable::Error
        | Variable::SerialNumber
        | Variable::SpiffeId
        | Variable::ValidNotBefore
        | Variable::ValidNotAfter => String::new(),
    }
}
