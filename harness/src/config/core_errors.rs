//! Everything that the core refuses, though it stops at the first: what was refused is replaced by
//! something harmless in a copy of the document, which is then read again. So no rule and no limit
//! is written a second time. And what the core itself warns of.

use mtls_gate_core::config::resources::Document;
use mtls_gate_core::config::{self, Config, ConfigError, ConfigWarning};
use mtls_gate_core::template::{Template, TemplateError};
use mtls_gate_core::variables::Variable;
use mtls_gate_resources::{private_key, reason};
use serde_json::{Map, Value, json};

use super::finding::{FindingId, Findings};
use super::policies;

/// Reading again costs as much as reading: more than this many errors are not listed.
const MAX_ERRORS: usize = 200;

/// A certificate that nothing is wrong with.
const HARMLESS_CERTIFICATE: &str = include_str!("neutral.pem");

const AUTHZ_POLICIES: &str = "authzPolicies";
const REJECTION: &str = "rejection.action";
const RELAY: &str = "source.header.relay";
const RELAY_TRUST_CONFIG: &str = "source.header.relay.mtls.trustConfig";

/// Lists of certificates; an entry is replaced and not removed, so that the others keep their place.
const CERTIFICATE_LISTS: [&str; 3] = ["trustAnchors", "intermediateCas", "allowlistedCertificates"];

/// One refusal.
struct Refused {
    error: ConfigError,
    /// By the schema, before anything was compiled.
    by_schema: bool,
}

/// Adds a finding for each thing that the core refuses or warns of.
pub(super) fn check(document: &Map<String, Value>, findings: &mut Findings<'_>) {
    let mut rest = Value::Object(document.clone());
    complete(&mut rest);
    let mut seen: Vec<ConfigError> = Vec::new();
    while seen.len() < MAX_ERRORS {
        let refused = match read(&rest) {
            Ok(config) => return warn(&config.warnings, &seen, findings),
            Err(refused) => refused,
        };
        if seen.contains(&refused.error) {
            return;
        }
        report(&refused, &rest, &seen, findings);
        if !neutralise(&mut rest, &refused.error) {
            return;
        }
        seen.push(refused.error);
    }
}

/// A single resource may be checked alone: what was not given at all is not missed.
fn complete(document: &mut Value) {
    let Value::Object(fields) = document else {
        return;
    };
    let no_certificates = ["serverTlsPolicy", "trustConfig"]
        .iter()
        .all(|field| !fields.contains_key(*field));
    if no_certificates {
        fields.insert(
            "trustConfig".to_owned(),
            json!({ "trustStores": harmless_trust_stores() }),
        );
    }
    fields
        .entry("serverTlsPolicy")
        .or_insert_with(harmless_policy);
}

fn harmless_policy() -> Value {
    json!({ "mtlsPolicy": { "clientValidationMode": "ALLOW_INVALID_OR_MISSING_CLIENT_CERT" } })
}

fn harmless_certificate() -> Value {
    json!({ "pemCertificate": HARMLESS_CERTIFICATE })
}

fn harmless_trust_stores() -> Value {
    json!([{ "trustAnchors": [harmless_certificate()] }])
}

fn read(document: &Value) -> Result<Config, Refused> {
    let refused = |by_schema| move |error| Refused { error, by_schema };
    config::typed::<Document>(document.clone()).map_err(refused(true))?;
    Config::from_bytes(document.to_string().as_bytes()).map_err(refused(false))
}

fn warn(warnings: &[ConfigWarning], seen: &[ConfigError], findings: &mut Findings<'_>) {
    // What stands in the place of something refused says nothing about it.
    let is_replaced = |error: &ConfigError| {
        error.path.starts_with("source") || error.path.starts_with("trustConfig")
    };
    if seen.iter().any(is_replaced) {
        return;
    }
    for warning in warnings {
        let (id, mend) = match warning.path {
            RELAY => (
                FindingId::RelayNobody,
                "name who is believed: mtls, or addresses with a network filter",
            ),
            REJECTION => (FindingId::RelayClosed, "set rejection.action to RESPOND"),
            RELAY_TRUST_CONFIG => (
                FindingId::RelayTrustShared,
                "let the relays' certificates come from a CA that is in no client's trust config",
            ),
            _ => (
                FindingId::RelayAnybody,
                "name the relay by mtls, unless nothing else can reach the listener",
            ),
        };
        findings.warning(id, warning.path, warning.what, mend);
    }
}

fn report(refused: &Refused, document: &Value, seen: &[ConfigError], findings: &mut Findings<'_>) {
    let path = refused.error.path.as_str();
    let reason = reason(&refused.error);
    let mut error = |id, what: &str, mend: &str| findings.error(id, path, what, mend);
    let value = at(document, path);
    let text = value.and_then(Value::as_str);
    // Said by `check` and by `policies`, each with more to say.
    let holds_key = text.is_some_and(|text| text.contains(private_key::LABEL))
        || reason.contains("holds a private key");
    let spiffe = policies::trust_stores_beside_spiffe(document)
        && (path.starts_with("trustConfig.spiffeTrustStores") || path == "trustConfig.trustStores");
    let over_limit = |reason: &str| reason.contains("the limit is");
    // Only because of what was done about an earlier one.
    let follows = !refused.by_schema
        && seen.iter().any(|earlier| {
            (path == "trustConfig" && earlier.path.starts_with(path))
                || (earlier.path == path && over_limit(&earlier.reason) && over_limit(reason))
        });
    if holds_key || spiffe || follows {
        return;
    }
    if refused.by_schema {
        return error(
            FindingId::Schema,
            reason,
            "write the field as Google's schema has it, or leave it out",
        );
    }
    if over_limit(reason) || reason.starts_with("at most one") {
        return error(
            FindingId::OverLimit,
            reason,
            "leave something out; the limit is Google's or the filter's own and cannot be raised",
        );
    }
    if path.ends_with(".pemCertificate") {
        return error(
            FindingId::NotACertificate,
            reason,
            "put exactly one certificate there, from BEGIN CERTIFICATE to END CERTIFICATE, with real \
             line breaks or \\n in double quotes",
        );
    }
    if path.starts_with("customRequestHeaders") || path.starts_with("headerAction") {
        return header(path, reason, value, findings);
    }
    let missing = at(document, "trustConfig").is_none();
    match path {
        // No file holds what is missing: the place is what asks for it.
        "trustConfig" if missing => findings.error(
            FindingId::TrustConfigMissing,
            if reason.contains("revocation") {
                "revocation.mode"
            } else {
                "serverTlsPolicy.mtlsPolicy.clientValidationMode"
            },
            format!("trustConfig {reason}"),
            "give the trust config with --trust-config",
        ),
        "trustConfig" | RELAY_TRUST_CONFIG => error(
            FindingId::NothingTrusted,
            reason,
            "add a trust anchor, or an allowlisted certificate",
        ),
        "serverTlsPolicy.mtlsPolicy.clientValidationTrustConfig" if missing => error(
            FindingId::TrustConfigMissing,
            reason,
            "give the trust config that it names with --trust-config",
        ),
        "serverTlsPolicy.mtlsPolicy.clientValidationTrustConfig" => error(
            FindingId::TrustConfigOther,
            reason,
            "give the trust config that it names, or mend the name; IDs are compared, the part behind \
             the last slash",
        ),
        "serverTlsPolicy.mtlsPolicy" => error(
            FindingId::TrustConfigUnused,
            reason,
            "add mtlsPolicy with clientValidationMode to the policy: without it no client certificate \
             is looked at",
        ),
        _ => error(FindingId::Refused, reason, "change or remove the field"),
    }
}

fn header(path: &str, reason: &str, value: Option<&Value>, findings: &mut Findings<'_>) {
    let template = value.and_then(header_value).unwrap_or_default();
    match Template::parse(template.trim()) {
        Err(TemplateError::UnknownVariable { name }) => findings.error(
            FindingId::UnknownVariable,
            path,
            reason,
            match intended(&name) {
                Some(variable) => format!("write {{{}}}", variable.name()),
                None => format!(
                    "use one of {}, or double the brace for the text itself",
                    Variable::ALL.map(Variable::name).join(", ")
                ),
            },
        ),
        Err(TemplateError::UnsupportedVariable { .. }) => findings.error(
            FindingId::UnsupportedVariable,
            path,
            reason,
            "leave the header out here; Google's load balancers know the variable",
        ),
        _ => findings.error(
            FindingId::HeaderRefused,
            path,
            reason,
            "rename, mend or remove the header",
        ),
    }
}

/// The value of an entry of either list.
fn header_value(entry: &Value) -> Option<&str> {
    match entry {
        Value::String(header) => header.split_once(':').map(|(_, value)| value),
        Value::Object(header) => header.get("headerValue")?.as_str(),
        _ => None,
    }
}

/// The variable meant by a name that the guides' header names suggest, or that is met in posts.
fn intended(name: &str) -> Option<Variable> {
    let lower = name.trim().to_ascii_lowercase().replace('-', "_");
    if let Some(variable) = Variable::named(&lower) {
        return Some(variable);
    }
    Some(match lower.strip_prefix("client_cert_")? {
        "hash" | "fingerprint" | "sha256" => Variable::Sha256Fingerprint,
        "subject" => Variable::SubjectDn,
        "issuer" => Variable::IssuerDn,
        "serial" => Variable::SerialNumber,
        "spiffe" => Variable::SpiffeId,
        "verified" => Variable::ChainVerified,
        _ => return None,
    })
}

/// A step into a document.
enum Step {
    Field(String),
    Entry(usize),
}

/// The steps of a path, as far as they exist in `document`, and whether that is all of it. serde
/// writes a map's key as it is, dots and all, so that only the document tells where it ends; the
/// core itself writes `["key"]`.
fn steps(document: &Value, path: &str) -> (Vec<Step>, bool) {
    let mut steps = Vec::new();
    let (mut value, mut rest) = (document, path);
    loop {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let next = match value {
            Value::Object(fields) => fields
                .iter()
                .filter_map(|(field, value)| {
                    let behind = rest
                        .strip_prefix(&format!("[\"{field}\"]"))
                        .or_else(|| rest.strip_prefix(field.as_str()))?;
                    let whole = behind.is_empty() || behind.starts_with(['.', '[']);
                    whole.then_some((field, value, behind))
                })
                .max_by_key(|(field, ..)| field.len())
                .map(|(field, value, behind)| (Step::Field(field.clone()), value, behind)),
            Value::Array(list) => rest
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .and_then(|(index, behind)| {
                    let index: usize = index.parse().ok()?;
                    Some((Step::Entry(index), list.get(index)?, behind))
                }),
            _ => None,
        };
        let Some((step, inner, behind)) = next else {
            return (steps, rest.is_empty());
        };
        steps.push(step);
        (value, rest) = (inner, behind);
    }
}

fn walk<'a>(document: &'a Value, steps: &[Step]) -> Option<&'a Value> {
    steps.iter().try_fold(document, |value, step| match step {
        Step::Field(field) => value.get(field),
        Step::Entry(index) => value.get(index),
    })
}

fn walk_mut<'a>(document: &'a mut Value, steps: &[Step]) -> Option<&'a mut Value> {
    steps.iter().try_fold(document, |value, step| match step {
        Step::Field(field) => value.get_mut(field),
        Step::Entry(index) => value.get_mut(index),
    })
}

/// The value at a path, or None if there is none.
pub(super) fn at<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    match steps(document, path) {
        (steps, true) => walk(document, &steps),
        (_, false) => None,
    }
}

/// Replaces what was refused; false if there is nothing to replace.
fn neutralise(document: &mut Value, error: &ConfigError) -> bool {
    let path = error.path.as_str();
    if path.starts_with("serverTlsPolicy") {
        return put(document, "serverTlsPolicy", harmless_policy());
    }
    // Entries that go would change the place of others.
    if path.starts_with("revocation.") {
        return put(document, "revocation", json!({}));
    }
    let (steps, is_whole) = steps(document, path);
    // The nearest entry of a list for which there is something harmless.
    let entry = steps.iter().enumerate().rev().find_map(|(depth, step)| {
        let (Step::Entry(index), Some(above)) = (step, depth.checked_sub(1)) else {
            return None;
        };
        let Some(Step::Field(list)) = steps.get(above) else {
            return None;
        };
        Some((steps.get(..=depth)?, harmless_entry(list, *index)?))
    });
    if let Some((entry, harmless)) = entry
        && !error.reason.starts_with("unknown field")
        && let Some(entry) = walk_mut(document, entry)
    {
        *entry = harmless;
        return true;
    }
    if path == "trustConfig" || path == "trustConfig.trustStores" {
        return put(
            document,
            "trustConfig",
            json!({ "trustStores": harmless_trust_stores() }),
        );
    }
    if path == RELAY_TRUST_CONFIG {
        let mtls = document.pointer_mut("/source/header/relay/mtls");
        let harmless = json!({ "trustStores": harmless_trust_stores() });
        return mtls.is_some_and(|mtls| put(mtls, "trustConfig", harmless));
    }
    let Some((last, above)) = steps.split_last() else {
        return false;
    };
    if let Some(Value::Array(list)) = walk_mut(document, &steps)
        && is_whole
        && error.reason.contains("the limit is")
    {
        return list.pop().is_some();
    }
    match (walk_mut(document, above), last) {
        (Some(Value::Object(fields)), Step::Field(field)) => fields.remove(field).is_some(),
        (Some(Value::Array(list)), Step::Entry(index)) if *index < list.len() => {
            list.remove(*index);
            true
        }
        _ => false,
    }
}

fn put(document: &mut Value, field: &str, value: Value) -> bool {
    let Value::Object(fields) = document else {
        return false;
    };
    fields.insert(field.to_owned(), value);
    true
}

/// What takes the place of an entry, so that the others keep their index.
fn harmless_entry(list: &str, index: usize) -> Option<Value> {
    let name = format!("{list}-{index}");
    match list {
        list if CERTIFICATE_LISTS.contains(&list) => Some(harmless_certificate()),
        "customRequestHeaders" => Some(json!(format!("{name}:x"))),
        "requestHeadersToAdd" | "responseHeadersToAdd" => {
            Some(json!({ "headerName": name, "headerValue": "x" }))
        }
        "requestHeadersToRemove" | "responseHeadersToRemove" | "uris" | "dnsNames" => {
            Some(json!(name))
        }
        "addresses" => Some(json!("192.0.2.0/24")),
        AUTHZ_POLICIES => Some(json!({
            "name": name,
            "action": "ALLOW",
            "httpRules": [{ "to": { "operations": [{ "methods": ["GET"] }] } }],
        })),
        _ => None,
    }
}
