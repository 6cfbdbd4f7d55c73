//! The upstream side of managed workload identity: this Envoy shows its X.509-SVID to the backend,
//! and Envoy's SPIFFE validator knows the backend by its own.

use std::collections::BTreeSet;
use std::path::Path;

use mtls_gate_core::config::resources::{PemCertificate, TrustConfig, TrustStore};
use mtls_gate_core::spiffe::SpiffeId;
use mtls_gate_resources::envoy::with;
use serde_json::{Value, json};

use super::ConfigCommandError;
use crate::backend::{BackendOptions, Identity, backend_trust};
use crate::resources::Place;

/// The cluster's transport socket; `None` without `--backend-trust-config`: the backend speaks clear
/// text then.
pub(super) fn transport_socket(
    options: &BackendOptions,
    server_name: Option<&str>,
) -> Result<Option<Value>, ConfigCommandError> {
    let Some(path) = &options.backend_trust_config else {
        return Ok(None);
    };
    let (trust, _, warnings) = backend_trust(path)?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    if !trust.allowlisted_certificates.is_empty() {
        return Err(refused(
            path,
            "allowlistedCertificates",
            "Envoy's SPIFFE validator has no allowlist",
        ));
    }
    let common = json!({ "validation_context": validation_context(options, path, &trust)? });
    let certificates = options.identity.as_ref().map(|Identity { cert, key }| {
        json!([{
            "certificate_chain": { "filename": cert },
            "private_key": { "filename": key },
        }])
    });
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        // No sessions are resumed: each connection validates the backend by today's time.
        "max_session_keys": 0,
        "common_tls_context": with(common, "tls_certificates", certificates),
    });
    Ok(Some(json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": with(tls, "sni", server_name.map(Value::from)),
    })))
}

fn validation_context(
    options: &BackendOptions,
    path: &Path,
    trust: &TrustConfig,
) -> Result<Value, ConfigCommandError> {
    let identities: Vec<Value> = options
        .backend_identity
        .iter()
        .map(|id| json!({ "san_type": "URI", "matcher": { "exact": id } }))
        .collect();
    Ok(json!({
        "match_typed_subject_alt_names": identities,
        "custom_validator_config": {
            "name": "envoy.tls.cert_validator.spiffe",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig",
                "trust_domains": trust_domains(options, path, trust)?,
            },
        },
    }))
}

/// The stores of the expected IDs' trust domains, and no others. Envoy picks the store by the first
/// URI of a certificate and compares all of them: the CAs of any store could claim an expected ID
/// behind one of their own.
fn trust_domains(
    options: &BackendOptions,
    path: &Path,
    trust: &TrustConfig,
) -> Result<Vec<Value>, ConfigCommandError> {
    let wanted: BTreeSet<&str> = options
        .backend_identity
        .iter()
        .filter_map(|id| SpiffeId::parse(id).ok())
        .map(|id| id.trust_domain().as_str())
        .collect();
    if wanted.len() > 1 {
        eprintln!(
            "warning: --backend-identity names {} trust domains: Envoy lets the CAs of each speak \
             for all of them (see docs/differences.md)",
            wanted.len()
        );
    }
    let domain = |name: &str| match trust.spiffe_trust_stores.get(name) {
        Some(store) => Ok(json!({
            "name": name,
            "trust_bundle": { "inline_string": bundle(store) },
        })),
        None => Err(refused(
            path,
            "spiffeTrustStores",
            &format!("has no {name:?}, the trust domain of a --backend-identity"),
        )),
    };
    wanted.into_iter().map(domain).collect()
}

/// All certificates of a store. Envoy takes self-signed ones alone as anchors.
fn bundle(store: &TrustStore) -> String {
    let certificates = store.trust_anchors.iter().chain(&store.intermediate_cas);
    certificates
        .map(|entry| {
            let PemCertificate { pem_certificate } = entry;
            format!("{}\n", pem_certificate.trim())
        })
        .collect()
}

fn refused(file: &Path, path: &str, reason: &str) -> ConfigCommandError {
    ConfigCommandError::Refused {
        place: Place {
            file: Some(file.to_owned()),
            path: path.to_owned(),
        },
        reason: reason.to_owned(),
    }
}
