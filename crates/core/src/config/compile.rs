//! From the typed document to what a request needs, with Google's limits.

use std::collections::BTreeMap;

use super::resources::{
    ClientValidationMode, Document, HeaderAction, HeaderOption, Limits, PemCertificate,
    RejectionAction, ServerTlsPolicy, TrustConfig,
};
use super::{
    Config, ConfigError, Denial, DirectPeerAddress, HeaderRules, Mode, Rejection, Role, resources,
    source,
};
use crate::authz::{self, AuthzPolicies, DirectPeer};
use crate::forwarded::pem::{self, Around, Bounds, Label, PemFault};
use crate::headers::{FoldedName, is_token};
use crate::limits::{
    ALLOWLISTED_CERTIFICATES, CRL_BYTES, CRLS, CUSTOM_HEADER_BYTES, CUSTOM_HEADERS,
    NAME_CONSTRAINTS, PEM_ENTRY_BYTES, REJECTION_BODY_BYTES, RequestLimits, SAME_SUBJECT_AND_KEY,
    SPIFFE_TRUST_DOMAINS, STORE_CERTIFICATES, STORE_INTERMEDIATES,
};
use crate::path::Policy;
use crate::pipeline::FORWARDED_HEADER;
use crate::revocation::{Revocation, RevocationMode};
use crate::spiffe::TrustDomain;
use crate::template::Template;
use crate::trust::{Trust, TrustStore};
use crate::x509::{Certificate, Crl, KeyPurpose};

/// Google, custom headers: names that a load balancer does not set.
const FORBIDDEN_NAMES: [&str; 14] = [
    "authority",
    "cdn-loop",
    "connection",
    // Ours: a wrong length smuggles requests.
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-user-ip",
    // Ours: HTTP/1.1 to HTTP/2 upgrades belong to the proxy.
    "http2-settings",
];

/// Google, custom headers: prefixes that a load balancer keeps for itself.
const FORBIDDEN_PREFIXES: [&str; 4] = ["x-google", "x-goog-", "x-gfe", "x-amz-"];

/// Headers in which proxies tell backends of a client's certificate: what a client itself sends
/// under these names never goes on. RFC 9440 section 4 asks so for its two.
const CERTIFICATE_HEADERS: [&str; 3] = [FORWARDED_HEADER, "client-cert", "client-cert-chain"];

/// How much of a name is repeated in an error.
const SHOWN_CHARACTERS: usize = 64;

fn folded(name: &str) -> FoldedName {
    FoldedName::new(name.as_bytes())
}

/// A field of the document, for errors.
type Path<'a> = std::fmt::Arguments<'a>;

fn error(path: Path<'_>, reason: impl Into<String>) -> ConfigError {
    ConfigError::new(path.to_string(), reason)
}

pub(super) fn config(document: Document, direct_peer: DirectPeer) -> Result<Config, ConfigError> {
    let mode = mode(document.server_tls_policy.as_ref())?;
    if document.role == Role::NetworkFilter {
        check_network_filter(&document, mode)?;
    }
    check_trust_config_name(&document)?;
    let configured = match (&document.trust_config, mode) {
        (Some(_), Mode::Off) => {
            return Err(error(
                format_args!("serverTlsPolicy.mtlsPolicy"),
                "is missing, so that trustConfig would not be used",
            ));
        }
        (None, Mode::RejectInvalid) => {
            return Err(error(
                format_args!("trustConfig"),
                "is missing, and REJECT_INVALID needs one",
            ));
        }
        (None, _) => None,
        (Some(trust_config), _) => Some(trust(trust_config)?),
    };
    let (mut request, response) =
        header_rules(&document.custom_request_headers, &document.header_action)?;
    let nothing_to_do = mode == Mode::Off
        && document.authz_policies.is_empty()
        && [&request, &response]
            .iter()
            .all(|rules| rules.add.is_empty() && rules.remove.is_empty());
    if nothing_to_do {
        return Err(error(
            format_args!("serverTlsPolicy"),
            "is missing, and there is no header to set or remove and no policy",
        ));
    }
    let forwarded = match &document.source.header {
        None => None,
        Some(header) => Some(source::forwarded(
            header,
            &document.source.connection,
            mode,
            direct_peer,
        )?),
    };
    let keep_forwarded_header = document.source.connection.keep_forwarded_header;
    let emits_forwarded_header = request
        .add
        .iter()
        .any(|(name, _)| folded(name) == folded(FORWARDED_HEADER));
    if keep_forwarded_header && emits_forwarded_header {
        return Err(error(
            format_args!("source.connection.keepForwardedHeader"),
            format!("{FORWARDED_HEADER} is set by a header rule too"),
        ));
    }
    request.remove.extend(CERTIFICATE_HEADERS.map(folded));
    if let Some(forwarded) = &forwarded {
        let names = forwarded.source.names();
        request.remove.extend(names.map(|name| folded(&name)));
    }
    let revocation = revocation(configured.is_some(), &document.revocation)?;
    let with_revocation = |trust: Trust| match &revocation {
        Some(revocation) => trust.with_revocation(revocation.clone()),
        None => trust,
    };
    let trust = configured.map(with_revocation);
    // A relay whose certificate is revoked is no relay.
    let forwarded = forwarded.map(|forwarded| forwarded.map_trust(with_revocation));
    let setting = authz::Setting {
        direct_peer,
        validates: trust.is_some(),
        removed: &request.remove,
    };
    let authz_policies = AuthzPolicies::compile(&document.authz_policies, setting)?;
    let rejection = rejection(document.rejection)?;
    let warnings = forwarded
        .iter()
        .flat_map(|forwarded| source::warnings(forwarded, trust.as_ref(), mode, &rejection))
        .collect();
    Ok(Config {
        role: document.role,
        mode,
        policy: Policy::new(document.profile, Some(KeyPurpose::ClientAuth)),
        limits: limits(&document.limits)?,
        signature_backend: document.signature_backend,
        request,
        response,
        rejection,
        denial: denial(document.authz_denial, !document.authz_policies.is_empty())?,
        authz_policies,
        keep_forwarded_header,
        direct_peer_address: document.source.connection.direct_peer_address,
        warnings,
        trust,
        forwarded,
    })
}

/// What needs a request is refused where there are connections only.
fn check_network_filter(document: &Document, mode: Mode) -> Result<(), ConfigError> {
    if mode == Mode::Off {
        return Err(error(
            format_args!("serverTlsPolicy.mtlsPolicy"),
            "is missing, and role NETWORK_FILTER needs one",
        ));
    }
    let action = &document.header_action;
    let edits_headers = !action.request_headers_to_add.is_empty()
        || !action.request_headers_to_remove.is_empty()
        || !action.response_headers_to_add.is_empty()
        || !action.response_headers_to_remove.is_empty();
    let connection = &document.source.connection;
    let of_requests = [
        (
            "customRequestHeaders",
            !document.custom_request_headers.is_empty(),
        ),
        ("headerAction", edits_headers),
        ("authzPolicies", !document.authz_policies.is_empty()),
        (
            "rejection.action",
            document.rejection.action == RejectionAction::Respond,
        ),
        (
            "limits.renderedBytes",
            document.limits.rendered_bytes.is_some(),
        ),
        (
            "source.connection.keepForwardedHeader",
            connection.keep_forwarded_header,
        ),
        (
            "source.connection.directPeerAddress",
            connection.direct_peer_address != DirectPeerAddress::Unknown,
        ),
        ("source.header", document.source.header.is_some()),
    ];
    match of_requests.into_iter().find(|(_, set)| *set) {
        Some((path, _)) => Err(error(
            format_args!("{path}"),
            "is about requests, and role NETWORK_FILTER sees connections only",
        )),
        None => Ok(()),
    }
}

fn mode(policy: Option<&ServerTlsPolicy>) -> Result<Mode, ConfigError> {
    let Some(policy) = policy else {
        return Ok(Mode::Off);
    };
    if policy.allow_open {
        return Err(error(
            format_args!("serverTlsPolicy.allowOpen"),
            "must be false: plaintext connections are not served",
        ));
    }
    if policy.server_certificate.is_some() {
        return Err(error(
            format_args!("serverTlsPolicy.serverCertificate"),
            "must be absent: it is for Traffic Director only",
        ));
    }
    let Some(mtls) = &policy.mtls_policy else {
        return Ok(Mode::Off);
    };
    if !mtls.client_validation_ca.is_empty() {
        return Err(error(
            format_args!("serverTlsPolicy.mtlsPolicy.clientValidationCa"),
            "must be empty: it is for Traffic Director only",
        ));
    }
    Ok(match mtls.client_validation_mode {
        ClientValidationMode::AllowInvalidOrMissingClientCert => Mode::AllowInvalidOrMissing,
        ClientValidationMode::RejectInvalid => Mode::RejectInvalid,
    })
}

/// A policy that names a trust config must get that one.
fn check_trust_config_name(document: &Document) -> Result<(), ConfigError> {
    let reference = document
        .server_tls_policy
        .as_ref()
        .and_then(|policy| policy.mtls_policy.as_ref())
        .and_then(|mtls| mtls.client_validation_trust_config.as_deref());
    let Some(reference) = reference else {
        return Ok(());
    };
    let path = format_args!("serverTlsPolicy.mtlsPolicy.clientValidationTrustConfig").to_string();
    let Some(trust_config) = &document.trust_config else {
        return Err(ConfigError::new(
            path,
            "names a trust config, but trustConfig is missing",
        ));
    };
    let id = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    match &trust_config.name {
        Some(name) if id(name) != id(reference) => Err(ConfigError::new(
            path,
            "names another trust config than trustConfig.name",
        )),
        _ => Ok(()),
    }
}

/// Compiles a TrustConfig, with Google's limits.
///
/// # Errors
/// The first entry that is wrong.
pub fn trust(trust_config: &TrustConfig) -> Result<Trust, ConfigError> {
    let allowlist_path = "trustConfig.allowlistedCertificates";
    at_most(
        format_args!("{allowlist_path}"),
        trust_config.allowlisted_certificates.len(),
        ALLOWLISTED_CERTIFICATES,
        "certificates",
    )?;
    let allowlist = certificates(allowlist_path, &trust_config.allowlisted_certificates)?;
    let trust = if trust_config.spiffe_trust_stores.is_empty() {
        Trust::from(one_trust_store(trust_config)?)
    } else {
        Trust::spiffe(spiffe_trust_stores(trust_config)?)
    };
    Ok(trust.with_allowlist(&allowlist))
}

fn one_trust_store(trust_config: &TrustConfig) -> Result<TrustStore, ConfigError> {
    if trust_config.trust_stores.len() > 1 {
        return Err(error(
            format_args!("trustConfig.trustStores[1]"),
            "at most one trust store is used",
        ));
    }
    let empty = resources::TrustStore::default();
    let store = trust_config.trust_stores.first().unwrap_or(&empty);
    if store.trust_anchors.is_empty() && trust_config.allowlisted_certificates.is_empty() {
        return Err(error(
            format_args!("trustConfig"),
            "has neither a trust anchor nor an allowlisted certificate",
        ));
    }
    trust_store("trustConfig.trustStores[0]", store)
}

/// Google, managed workload identity: with `spiffeTrustStores`, `trustStores` remains empty.
fn spiffe_trust_stores(
    trust_config: &TrustConfig,
) -> Result<BTreeMap<Box<str>, TrustStore>, ConfigError> {
    if !trust_config.trust_stores.is_empty() {
        return Err(error(
            format_args!("trustConfig.trustStores"),
            "must be empty beside spiffeTrustStores",
        ));
    }
    let stores = &trust_config.spiffe_trust_stores;
    at_most(
        format_args!("trustConfig.spiffeTrustStores"),
        stores.len(),
        SPIFFE_TRUST_DOMAINS,
        "trust domains",
    )?;
    let mut compiled = BTreeMap::new();
    for (name, store) in stores {
        let shown: String = name.escape_debug().take(SHOWN_CHARACTERS).collect();
        let path = format!("trustConfig.spiffeTrustStores[\"{shown}\"]");
        // An ID in the place of a name would parse too, and never be found.
        if TrustDomain::parse(name).map(TrustDomain::as_str) != Ok(name.as_str()) {
            return Err(ConfigError::new(path, "is not a SPIFFE trust domain"));
        }
        if store.trust_anchors.is_empty() {
            return Err(ConfigError::new(path, "has no trust anchor"));
        }
        compiled.insert(name.as_str().into(), trust_store(&path, store)?);
    }
    Ok(compiled)
}

fn trust_store(path: &str, store: &resources::TrustStore) -> Result<TrustStore, ConfigError> {
    let anchors_path = &format!("{path}.trustAnchors");
    let intermediates_path = &format!("{path}.intermediateCas");
    at_most(
        format_args!("{intermediates_path}"),
        store.intermediate_cas.len(),
        STORE_INTERMEDIATES,
        "intermediates",
    )?;
    let in_store = store
        .trust_anchors
        .len()
        .saturating_add(store.intermediate_cas.len());
    at_most(
        format_args!("{path}"),
        in_store,
        STORE_CERTIFICATES,
        "trust anchors and intermediates",
    )?;
    let anchors = certificates(anchors_path, &store.trust_anchors)?;
    let intermediates = certificates(intermediates_path, &store.intermediate_cas)?;
    check_name_constraints(anchors_path, &anchors)?;
    check_name_constraints(intermediates_path, &intermediates)?;
    check_same_subject_and_key(intermediates_path, &intermediates)?;
    Ok(TrustStore::new(anchors, intermediates))
}

/// Compiles `revocation`; `None` if it is off.
fn revocation(
    has_trust: bool,
    document: &resources::Revocation,
) -> Result<Option<Revocation>, ConfigError> {
    let mode = match document.mode {
        resources::RevocationMode::Off if document.crls.is_empty() => return Ok(None),
        resources::RevocationMode::Off => {
            return Err(error(
                format_args!("revocation.mode"),
                "is OFF, so that crls would not be used",
            ));
        }
        resources::RevocationMode::BestEffort => RevocationMode::BestEffort,
        resources::RevocationMode::Required => RevocationMode::Required,
    };
    if !has_trust {
        return Err(error(
            format_args!("trustConfig"),
            "is missing, and revocation needs one",
        ));
    }
    if document.crls.is_empty() {
        return Err(error(
            format_args!("revocation.crls"),
            "is empty, and this mode needs at least one",
        ));
    }
    at_most(
        format_args!("revocation.crls"),
        document.crls.len(),
        CRLS,
        "CRLs",
    )?;
    let mut bytes_left = CRL_BYTES;
    let mut crls = Vec::with_capacity(document.crls.len());
    for (index, entry) in document.crls.iter().enumerate() {
        let crl = crl(&entry.pem_crl, &mut bytes_left)
            .map_err(|reason| error(format_args!("revocation.crls[{index}].pemCrl"), reason))?;
        crls.push(crl);
    }
    Ok(Some(Revocation::new(mode, crls)))
}

fn crl(text: &str, bytes_left: &mut usize) -> Result<Crl, String> {
    let bounds = Bounds {
        blocks: 1,
        der_bytes: *bytes_left,
    };
    let blocks = pem::blocks(text.as_bytes(), Label::Crl, Around::Nothing, bounds).map_err(
        |(index, fault)| match fault {
            PemFault::TooLarge => format!("more than {CRL_BYTES} bytes of CRLs in all"),
            fault => format!("not one PEM CRL: block {index}: {fault}"),
        },
    )?;
    let der = blocks
        .into_iter()
        .next()
        .ok_or("not one PEM CRL: no BEGIN X509 CRL")?;
    *bytes_left = bytes_left.saturating_sub(der.len());
    Crl::parse(der).map_err(|error| error.to_string())
}

pub(crate) fn at_most(
    path: Path<'_>,
    count: usize,
    limit: usize,
    what: &str,
) -> Result<(), ConfigError> {
    if count > limit {
        Err(error(path, format!("{count} {what}, the limit is {limit}")))
    } else {
        Ok(())
    }
}

fn certificates(path: &str, entries: &[PemCertificate]) -> Result<Vec<Certificate>, ConfigError> {
    entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            certificate(&entry.pem_certificate)
                .map_err(|reason| error(format_args!("{path}[{index}].pemCertificate"), reason))
        })
        .collect()
}

fn certificate(text: &str) -> Result<Certificate, String> {
    if text.len() > PEM_ENTRY_BYTES {
        return Err(format!(
            "{} bytes, the limit is {PEM_ENTRY_BYTES}",
            text.len()
        ));
    }
    let bounds = Bounds {
        blocks: 1,
        der_bytes: PEM_ENTRY_BYTES,
    };
    let certificates = pem::blocks(text.as_bytes(), Label::Certificate, Around::Nothing, bounds)
        .map_err(|(index, fault)| format!("not one PEM certificate: block {index}: {fault}"))?;
    let der = certificates
        .into_iter()
        .next()
        .ok_or("not one PEM certificate: no BEGIN CERTIFICATE")?;
    Certificate::parse(der).map_err(|error| error.to_string())
}

fn check_name_constraints(path: &str, certificates: &[Certificate]) -> Result<(), ConfigError> {
    for (index, certificate) in certificates.iter().enumerate() {
        let count = certificate
            .extensions()
            .name_constraints
            .as_ref()
            .map_or(0, |constraints| constraints.len());
        at_most(
            format_args!("{path}[{index}].pemCertificate"),
            count,
            NAME_CONSTRAINTS,
            "name constraints",
        )?;
    }
    Ok(())
}

fn check_same_subject_and_key(
    path: &str,
    intermediates: &[Certificate],
) -> Result<(), ConfigError> {
    for (index, certificate) in intermediates.iter().enumerate() {
        let mut same: Vec<&Certificate> = Vec::new();
        for other in intermediates.iter().take(index.saturating_add(1)) {
            // The same certificate again counts once.
            if other.spki() == certificate.spki()
                && other.subject().matches(certificate.subject())
                && !same.contains(&other)
            {
                same.push(other);
            }
        }
        at_most(
            format_args!("{path}[{index}].pemCertificate"),
            same.len(),
            SAME_SUBJECT_AND_KEY,
            "intermediates with one subject and key",
        )?;
    }
    Ok(())
}

/// One header to add, checked.
struct Addition {
    path: String,
    name: String,
    value: Template,
    replaces: bool,
}

fn header_rules(
    custom_request_headers: &[String],
    action: &HeaderAction,
) -> Result<(HeaderRules, HeaderRules), ConfigError> {
    let mut request = backend_service_headers(custom_request_headers)?;
    request.extend(url_map_headers(
        "headerAction.requestHeadersToAdd",
        &action.request_headers_to_add,
    )?);
    let request = rules(
        request,
        "headerAction.requestHeadersToRemove",
        &action.request_headers_to_remove,
    )?;
    let response = rules(
        url_map_headers(
            "headerAction.responseHeadersToAdd",
            &action.response_headers_to_add,
        )?,
        "headerAction.responseHeadersToRemove",
        &action.response_headers_to_remove,
    )?;
    Ok((request, response))
}

/// BackendService: `Name:value`, split at the first colon, always in the place of what was sent.
fn backend_service_headers(headers: &[String]) -> Result<Vec<Addition>, ConfigError> {
    let list = "customRequestHeaders";
    let bytes = headers.iter().map(String::len);
    check_list(list, headers.len(), bytes)?;
    headers
        .iter()
        .enumerate()
        .map(|(index, header)| {
            let path = format!("{list}[{index}]");
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| ConfigError::new(&path, "is not \"Name:value\""))?;
            addition(path, name.trim(), value.trim(), true)
        })
        .collect()
}

fn url_map_headers(list: &str, headers: &[HeaderOption]) -> Result<Vec<Addition>, ConfigError> {
    let bytes = headers.iter().map(|header| {
        header
            .header_name
            .len()
            .saturating_add(header.header_value.len())
    });
    check_list(list, headers.len(), bytes)?;
    headers
        .iter()
        .enumerate()
        .map(|(index, header)| {
            if header.header_value.trim().is_empty() {
                return Err(error(
                    format_args!("{list}[{index}].headerValue"),
                    "is empty",
                ));
            }
            addition(
                format!("{list}[{index}]"),
                &header.header_name,
                header.header_value.trim(),
                header.replace,
            )
        })
        .collect()
}

fn check_list(
    list: &str,
    count: usize,
    bytes: impl Iterator<Item = usize>,
) -> Result<(), ConfigError> {
    at_most(format_args!("{list}"), count, CUSTOM_HEADERS, "headers")?;
    let bytes = bytes.fold(0_usize, usize::saturating_add);
    at_most(
        format_args!("{list}"),
        bytes,
        CUSTOM_HEADER_BYTES,
        "bytes of names and values",
    )
}

fn addition(path: String, name: &str, value: &str, replace: bool) -> Result<Addition, ConfigError> {
    check_name(&path, name)?;
    let value =
        Template::parse(value).map_err(|fault| ConfigError::new(&path, fault.to_string()))?;
    Ok(Addition {
        replaces: replace || value.has_variable(),
        name: name.to_owned(),
        value,
        path,
    })
}

/// A token, and none of Google's reserved names.
pub(super) fn check_name(path: &str, name: &str) -> Result<(), ConfigError> {
    if !is_token(name.as_bytes()) {
        return Err(ConfigError::new(path, "header name is not a token"));
    }
    let lower = name.to_ascii_lowercase();
    let hyphened = lower.replace('_', "-");
    let reserved = FORBIDDEN_NAMES.contains(&hyphened.as_str())
        || FORBIDDEN_PREFIXES
            .iter()
            .any(|prefix| hyphened.starts_with(prefix));
    if reserved {
        return Err(ConfigError::new(
            path,
            format!("header name \"{lower}\" is reserved"),
        ));
    }
    Ok(())
}

fn rules(
    additions: Vec<Addition>,
    remove_list: &str,
    remove: &[String],
) -> Result<HeaderRules, ConfigError> {
    let mut rules = HeaderRules::default();
    let mut names: Vec<FoldedName> = Vec::new();
    for addition in additions {
        let name = folded(&addition.name);
        // Folded: two spellings of one name would reach a backend as one header.
        if names.contains(&name) {
            return Err(ConfigError::new(
                addition.path,
                format!("header \"{}\" is added twice", addition.name),
            ));
        }
        names.push(name.clone());
        if addition.replaces {
            rules.remove.insert(name);
        }
        rules.add.push((addition.name, addition.value));
    }
    at_most(
        format_args!("{remove_list}"),
        remove.len(),
        CUSTOM_HEADERS,
        "headers",
    )?;
    for (index, name) in remove.iter().enumerate() {
        check_name(&format!("{remove_list}[{index}]"), name)?;
        rules.remove.insert(folded(name));
    }
    Ok(rules)
}

fn limits(document: &Limits) -> Result<RequestLimits, ConfigError> {
    let mut limits = RequestLimits::default();
    let set_from = |min, name: &str, slot: &mut usize, value: Option<usize>, max: usize| match value
    {
        None => Ok(()),
        Some(value) if (min..=max).contains(&value) => {
            *slot = value;
            Ok(())
        }
        Some(value) => Err(error(
            format_args!("limits.{name}"),
            format!("{value} is not between {min} and {max}"),
        )),
    };
    let set = |name: &str, slot: &mut usize, value: Option<usize>, max: usize| {
        set_from(1, name, slot, value, max)
    };
    let max = RequestLimits::MAX;
    set(
        "presentedCertificates",
        &mut limits.presented_certificates,
        document.presented_certificates,
        max.presented_certificates,
    )?;
    set(
        "payloadBytes",
        &mut limits.payload_bytes,
        document.payload_bytes,
        max.payload_bytes,
    )?;
    set(
        "forwardedHeaderBytes",
        &mut limits.forwarded_header_bytes,
        document.forwarded_header_bytes,
        max.forwarded_header_bytes,
    )?;
    set(
        "renderedBytes",
        &mut limits.rendered_bytes,
        document.rendered_bytes,
        max.rendered_bytes,
    )?;
    set_from(
        0,
        "cacheBytes",
        &mut limits.cache_bytes,
        document.cache_bytes,
        max.cache_bytes,
    )?;
    Ok(limits)
}

fn rejection(document: resources::Rejection) -> Result<Rejection, ConfigError> {
    if document.action == RejectionAction::Close {
        let set = [
            ("status", document.status.is_some()),
            ("body", document.body.is_some()),
            ("showReason", document.show_reason.is_some()),
        ];
        return match set.into_iter().find(|(_, set)| *set) {
            Some((name, _)) => Err(error(
                format_args!("rejection.{name}"),
                "goes with action RESPOND only",
            )),
            None => Ok(Rejection::Close),
        };
    }
    Ok(Rejection::Respond {
        status: status("rejection", document.status)?,
        body: body("rejection", document.body, "client certificate required\n")?,
        show_reason: document.show_reason.unwrap_or(false),
    })
}

fn denial(document: resources::AuthzDenial, has_policies: bool) -> Result<Denial, ConfigError> {
    let is_set = document.status.is_some() || document.body.is_some();
    if is_set && !has_policies {
        return Err(error(
            format_args!("authzDenial"),
            "goes with authzPolicies only",
        ));
    }
    Ok(Denial {
        status: status("authzDenial", document.status)?,
        body: body("authzDenial", document.body, "denied\n")?,
    })
}

/// Of a local answer.
fn status(path: &str, status: Option<u16>) -> Result<u16, ConfigError> {
    let status = status.unwrap_or(403);
    if (400..=599).contains(&status) {
        Ok(status)
    } else {
        Err(error(
            format_args!("{path}.status"),
            format!("{status} is not between 400 and 599"),
        ))
    }
}

fn body(path: &str, body: Option<String>, default: &str) -> Result<String, ConfigError> {
    let body = body.unwrap_or_else(|| default.to_owned());
    at_most(
        format_args!("{path}.body"),
        body.len(),
        REJECTION_BODY_BYTES,
        "bytes",
    )?;
    Ok(body)
}
