//! Policies that are accepted and do other things than their author thinks.

use mtls_gate_core::error::ClientCertError;
use serde_json::{Map, Value};

use super::core_errors::at;
use super::finding::{FindingId, Findings};

pub(super) fn check(document: &Map<String, Value>, findings: &mut Findings<'_>) {
    let whole = Value::Object(document.clone());
    let mode =
        at(&whole, "serverTlsPolicy.mtlsPolicy.clientValidationMode").and_then(Value::as_str);
    let allow = mode.is_some_and(|mode| mode.starts_with("ALLOW"));
    let names_trust_config = at(
        &whole,
        "serverTlsPolicy.mtlsPolicy.clientValidationTrustConfig",
    )
    .is_some();
    if allow && !names_trust_config && !document.contains_key("trustConfig") {
        findings.warning(
            FindingId::ValidationNotPerformed,
            "serverTlsPolicy.mtlsPolicy",
            format!(
                "no trust config: no certificate is validated, and every one is reported with {}",
                ClientCertError::ValidationNotPerformed.as_str()
            ),
            "give the trust config with --trust-config",
        );
    }
    if trust_stores_beside_spiffe(&whole) {
        findings.error(
            FindingId::TrustStoresBesideSpiffe,
            "trustConfig.trustStores",
            "trustStores must be empty where spiffeTrustStores is set: a SPIFFE ID's trust domain \
             chooses the store",
            "remove trustStores, or move its certificates below their trust domain",
        );
    }
    let behind_relay = at(&whole, "source.header").is_some();
    let policies = document.get("authzPolicies").and_then(Value::as_array);
    for (index, policy) in policies.into_iter().flatten().enumerate() {
        let path = format!("authzPolicies[{index}]");
        // REJECT_INVALID lets nobody through without a certificate, so that nobody lacks a principal.
        if allow {
            dodged(policy, &path, findings);
        }
        if behind_relay {
            relay_address(policy, &path, findings);
        }
    }
}

/// Both are set and not empty.
pub(super) fn trust_stores_beside_spiffe(document: &Value) -> bool {
    let list = at(document, "trustConfig.trustStores").and_then(Value::as_array);
    let map = at(document, "trustConfig.spiffeTrustStores").and_then(Value::as_object);
    list.is_some_and(|list| !list.is_empty()) && map.is_some_and(|map| !map.is_empty())
}

/// Without a verified certificate there is no principal: what refuses by principal does not match,
/// and what lets everybody else in does.
fn dodged(policy: &Value, path: &str, findings: &mut Findings<'_>) {
    let (sources, why) = match policy.get("action").and_then(Value::as_str) {
        Some("DENY") => (
            "sources",
            "refuses a principal, and a client without a certificate has none: it is not refused",
        ),
        Some("ALLOW") => (
            "notSources",
            "lets everybody in but a principal, and a client without a certificate has none: it is let \
             in",
        ),
        _ => return,
    };
    for place in places(policy, path, sources, "principals") {
        findings.warning(
            FindingId::AuthzDodged,
            &place,
            format!(
                "under ALLOW_INVALID_OR_MISSING_CLIENT_CERT anybody may come without a certificate; \
                 this {why}"
            ),
            "use clientValidationMode REJECT_INVALID, or an ALLOW policy that names the principals \
             that may come",
        );
    }
}

/// With `source.header` the connection, and so the address, is the relay's.
fn relay_address(policy: &Value, path: &str, findings: &mut Findings<'_>) {
    for sources in ["sources", "notSources"] {
        for place in places(policy, path, sources, "ipBlocks") {
            findings.warning(
                FindingId::AuthzRelayAddress,
                &place,
                "with source.header these are compared with the relay's address, which is the same for \
                 all of its clients",
                "decide by address where the clients' connections end, and here by principals",
            );
        }
    }
}

/// Where `field` of a policy's sources holds anything.
fn places(policy: &Value, path: &str, sources: &str, field: &str) -> Vec<String> {
    let mut places = Vec::new();
    let rules = policy.get("httpRules").and_then(Value::as_array);
    for (rule_index, rule) in rules.into_iter().flatten().enumerate() {
        let list = rule.get("from").and_then(|from| from.get(sources));
        let list = list.and_then(Value::as_array).into_iter().flatten();
        for (index, source) in list.enumerate() {
            let entries = source.get(field).and_then(Value::as_array);
            if entries.is_some_and(|entries| !entries.is_empty()) {
                let place =
                    format!("{path}.httpRules[{rule_index}].from.{sources}[{index}].{field}");
                places.push(place);
            }
        }
    }
    places
}
