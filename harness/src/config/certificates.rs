//! What is wrong with the certificates of a trust config, one by one and with each other. Entries
//! that are not certificates are the core's to refuse.

use mtls_gate_core::error::ClientCertError;
use mtls_gate_core::forwarded::pem::{self, Around, Bounds, Label};
use mtls_gate_core::limits::PEM_ENTRY_BYTES;
use mtls_gate_core::path::{self, KeyFault, PathFault, Policy, Profile};
use mtls_gate_core::trust::TrustStore;
use mtls_gate_core::x509::{Certificate, EcCurve, KeyKind, KeyPurpose, Name, UnixSeconds};
use mtls_gate_rustcrypto::ALGORITHMS;
use serde_json::Value;

use super::core_errors::at;
use super::finding::{FindingId, Findings};

/// What the checks go by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) profile: Profile,
    pub(super) time: UnixSeconds,
    /// How long before its end a certificate is mentioned.
    pub(super) expiry_seconds: i64,
}

/// A certificate and the path of its entry in the document.
struct Entry {
    path: String,
    certificate: Certificate,
}

/// One store, with every entry that can be read.
struct Store {
    anchors: Vec<Entry>,
    intermediates: Vec<Entry>,
    /// Every entry could be read: what is missing is missing.
    whole: bool,
}

/// Against what clients' certificates are validated, and relays'.
pub(super) fn check(document: &Value, rules: Rules, findings: &mut Findings<'_>) {
    for path in ["trustConfig", "source.header.relay.mtls.trustConfig"] {
        if let Some(trust_config) = at(document, path) {
            check_trust_config(trust_config, path, rules, findings);
        }
    }
}

fn check_trust_config(trust_config: &Value, path: &str, rules: Rules, findings: &mut Findings<'_>) {
    for store in stores(trust_config, path) {
        for entry in &store.anchors {
            issuer(entry, true, rules, findings);
        }
        for entry in &store.intermediates {
            issuer(entry, false, rules, findings);
            signature(entry, rules, findings);
            anchor_above(entry, &store, rules, findings);
        }
        for entry in store.entries() {
            client_auth(entry, &store, rules, findings);
        }
    }
    let allowlist = entries(
        trust_config.get("allowlistedCertificates"),
        &format!("{path}.allowlistedCertificates"),
    );
    for entry in allowlist {
        allowlisted(&entry, rules, findings);
    }
}

impl Store {
    fn read(store: &Value, path: &str) -> Self {
        let list = |name: &str| entries(store.get(name), &format!("{path}.{name}"));
        let count = |name: &str| {
            store
                .get(name)
                .and_then(Value::as_array)
                .map_or(0, Vec::len)
        };
        let anchors = list("trustAnchors");
        let intermediates = list("intermediateCas");
        Self {
            whole: anchors.len() == count("trustAnchors")
                && intermediates.len() == count("intermediateCas"),
            anchors,
            intermediates,
        }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.anchors.iter().chain(&self.intermediates)
    }

    /// Another configured CA has this one's name as its issuer.
    fn has_below(&self, certificate: &Certificate) -> bool {
        self.entries().any(|entry| {
            let below = &entry.certificate;
            below.issuer().matches(certificate.subject()) && !below.is_self_issued()
        })
    }
}

fn stores(trust_config: &Value, path: &str) -> Vec<Store> {
    let list = trust_config.get("trustStores").and_then(Value::as_array);
    let numbered = list
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(index, store)| Store::read(store, &format!("{path}.trustStores[{index}]")));
    let map = trust_config
        .get("spiffeTrustStores")
        .and_then(Value::as_object);
    let named = map.into_iter().flatten().map(|(domain, store)| {
        Store::read(store, &format!("{path}.spiffeTrustStores[\"{domain}\"]"))
    });
    numbered.chain(named).collect()
}

fn entries(list: Option<&Value>, path: &str) -> Vec<Entry> {
    let list = list.and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .enumerate()
        .filter_map(|(index, entry)| {
            let text = entry.get("pemCertificate")?.as_str()?;
            let bounds = Bounds {
                blocks: 1,
                der_bytes: PEM_ENTRY_BYTES,
            };
            let der = pem::blocks(text.as_bytes(), Label::Certificate, Around::Nothing, bounds);
            Some(Entry {
                path: format!("{path}[{index}].pemCertificate"),
                certificate: Certificate::parse(der.ok()?.pop()?).ok()?,
            })
        })
        .collect()
}

/// The subject, for people to recognise it.
fn subject(certificate: &Certificate) -> String {
    Name::display(certificate.name_der(certificate.subject()))
}

/// What validation will ask of every CA of the store.
fn issuer(entry: &Entry, is_anchor: bool, rules: Rules, findings: &mut Findings<'_>) {
    let Entry { path, certificate } = entry;
    let who = subject(certificate);
    key(entry, rules, findings);
    // RFC 5280 6.1.1 d: of an anchor only name, key and constraints count.
    if is_anchor && rules.profile == Profile::Rfc5280 {
        return;
    }
    validity(entry, rules, findings);
    let extensions = certificate.extensions();
    if !extensions
        .basic_constraints
        .is_some_and(|constraints| constraints.ca)
    {
        return findings.error(
            FindingId::NotACa,
            path,
            format!("{who}: basicConstraints does not say CA:TRUE, so that no path leads through it"),
            "put the issuing CA's certificate here; a client certificate that is to be accepted as it \
             is belongs into allowlistedCertificates",
        );
    }
    let cert_sign = match extensions.key_usage {
        Some(usage) => usage.key_cert_sign(),
        None => rules.profile == Profile::Rfc5280,
    };
    if !cert_sign {
        findings.error(
            FindingId::NoCertSign,
            path,
            format!("{who}: keyUsage lacks keyCertSign, so that no path leads through it"),
            "reissue the CA's certificate with keyUsage keyCertSign; its key may stay",
        );
    }
    if let Some(oid) = &extensions.unprocessed_critical {
        findings.error(
            FindingId::CriticalExtension,
            path,
            format!(
                "{who}: critical extension {oid} is not supported, so that no path leads through it"
            ),
            "reissue the CA's certificate without it, or with it not critical",
        );
    }
}

fn key(entry: &Entry, rules: Rules, findings: &mut Findings<'_>) {
    let Entry { path, certificate } = entry;
    let Err(fault) = rules.profile.check_key(certificate.key()) else {
        return;
    };
    let error = match fault {
        KeyFault::UnsupportedAlgorithm => ClientCertError::UnsupportedKeyAlgorithm,
        KeyFault::RsaSize => ClientCertError::InvalidRsaKeySize,
        KeyFault::Curve => ClientCertError::UnsupportedEllipticCurveKey,
    };
    findings.error(
        FindingId::KeyNotAllowed,
        path,
        format!(
            "{}: {} is not allowed by profile {} ({} where a client presents it)",
            subject(certificate),
            key_name(certificate.key()),
            rules.profile.as_str(),
            error.as_str(),
        ),
        match rules.profile {
            Profile::Google => {
                "use a CA with RSA of 2048 to 4096 bits, P-256 or P-384; the profile RFC5280, which \
                 Google does not have, also allows RSA to 8192, P-521 and Ed25519"
            }
            Profile::Rfc5280 => "use a CA with RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519",
        },
    );
}

fn key_name(key: KeyKind) -> String {
    match key {
        KeyKind::Rsa { modulus_bits } => format!("an RSA key of {modulus_bits} bits"),
        KeyKind::RsaPss { modulus_bits } => format!("an RSA-PSS key of {modulus_bits} bits"),
        KeyKind::Ec(EcCurve::P256) => "a key on P-256".to_owned(),
        KeyKind::Ec(EcCurve::P384) => "a key on P-384".to_owned(),
        KeyKind::Ec(EcCurve::P521) => "a key on P-521".to_owned(),
        KeyKind::Ec(EcCurve::Other) => "a key on another curve".to_owned(),
        KeyKind::Ed25519 => "an Ed25519 key".to_owned(),
        KeyKind::Other => "a key of another algorithm".to_owned(),
    }
}

fn validity(entry: &Entry, rules: Rules, findings: &mut Findings<'_>) {
    let Entry { path, certificate } = entry;
    let who = subject(certificate);
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    if rules.time > not_after {
        findings.error(
            FindingId::CertificateExpired,
            path,
            format!("{who}: expired at {not_after}, so that no path leads through it any more"),
            "replace it by its successor, or remove it",
        );
    } else if rules.time < not_before {
        findings.warning(
            FindingId::CertificateNotYetValid,
            path,
            format!(
                "{who}: not valid before {not_before}, and no path leads through it until then"
            ),
            "nothing, if it is there for a coming change; otherwise look at the CA's clock",
        );
    } else if rules.time.0.saturating_add(rules.expiry_seconds) > not_after.0 {
        findings.warning(
            FindingId::CertificateExpiresSoon,
            path,
            format!(
                "{who}: expires at {not_after}; every client certificate under it is refused then"
            ),
            "add its successor beside it now, and remove it when clients have changed",
        );
    }
}

fn signature(entry: &Entry, rules: Rules, findings: &mut Findings<'_>) {
    if signature_allowed(&entry.certificate, rules.profile) {
        return;
    }
    findings.error(
        FindingId::WeakSignature,
        &entry.path,
        format!(
            "{}: signed with an algorithm that is not allowed (SHA-1, MD5, or another that profile {} \
             lacks), so that no path leads through it",
            subject(&entry.certificate),
            rules.profile.as_str(),
        ),
        "have the CA above sign it again with SHA-256 or stronger; its key may stay",
    );
}

fn signature_allowed(certificate: &Certificate, profile: Profile) -> bool {
    let algorithm = certificate.signature_algorithm();
    profile.allows_signature(algorithm)
        && ALGORITHMS
            .iter()
            .any(|known| known.signature_alg_id().as_ref() == algorithm)
}

/// Asks the core for a path. RFC5280, and a time at which the intermediate is valid: what else is
/// wrong with it is said elsewhere.
fn anchor_above(entry: &Entry, store: &Store, rules: Rules, findings: &mut Findings<'_>) {
    let Entry { path, certificate } = entry;
    if !store.whole || !signature_allowed(certificate, rules.profile) {
        return;
    }
    let certificates = |entries: &[Entry]| {
        entries
            .iter()
            .map(|entry| entry.certificate.clone())
            .collect()
    };
    let store = TrustStore::new(
        certificates(&store.anchors),
        certificates(&store.intermediates),
    );
    let result = path::build(
        certificate,
        &[],
        &store,
        &Policy::new(Profile::Rfc5280, None),
        ALGORITHMS,
        rules
            .time
            .max(certificate.not_before())
            .min(certificate.not_after()),
    );
    let Err(error) = result else {
        return;
    };
    let nothing_above = matches!(
        error.fault,
        PathFault::UnknownIssuer | PathFault::KeyIdentifierMismatch | PathFault::InvalidSignature
    );
    if nothing_above {
        findings.warning(
            FindingId::NoAnchorAbove,
            path,
            format!(
                "{}: leads to no trust anchor of this store ({})",
                subject(certificate),
                error.fault
            ),
            "add the trust anchor (or the intermediate) that issued it, or remove it; to trust it by \
             itself, put it into trustAnchors",
        );
    }
}

/// The commonest trap: Google asks for clientAuth in the CA that issued the client certificate.
fn client_auth(entry: &Entry, store: &Store, rules: Rules, findings: &mut Findings<'_>) {
    let Entry { path, certificate } = entry;
    let extensions = certificate.extensions();
    let Some(constraints) = extensions
        .basic_constraints
        .filter(|constraints| constraints.ca)
    else {
        return;
    };
    let who = subject(certificate);
    let refused = ClientCertError::ChainInvalidEku.as_str();
    let purposes = extensions.extended_key_usage.as_deref();
    let has = |purpose| purposes.is_some_and(|purposes| purposes.contains(&purpose));
    if has(KeyPurpose::ClientAuth) {
        return;
    }
    if rules.profile == Profile::Rfc5280 {
        let is_anchor = store.anchors.iter().any(|anchor| anchor.path == *path);
        if purposes.is_some() && !has(KeyPurpose::Any) && !is_anchor {
            findings.error(
                FindingId::IssuerWithoutClientAuth,
                path,
                format!(
                    "{who}: extendedKeyUsage lacks clientAuth, so that every client certificate under \
                     it is refused with {refused}"
                ),
                "reissue the CA's certificate with extendedKeyUsage clientAuth, or without \
                 extendedKeyUsage",
            );
        }
        return;
    }
    let found = match purposes {
        None => "no extendedKeyUsage",
        Some(_) if has(KeyPurpose::Any) => {
            "extendedKeyUsage with anyExtendedKeyUsage in the place of clientAuth"
        }
        Some(_) => "extendedKeyUsage without clientAuth",
    };
    let mend = "reissue the CA's certificate with extendedKeyUsage clientAuth (its key may stay); where \
                the CA cannot (Vault, OpenBao), set profile RFC5280, which Google does not have";
    let only_end_entities = constraints.path_len == Some(0);
    if only_end_entities || (!certificate.is_self_issued() && !store.has_below(certificate)) {
        findings.error(
            FindingId::IssuerWithoutClientAuth,
            path,
            format!(
                "{who}: {found}: every client certificate that it issued is refused with {refused}"
            ),
            mend,
        );
    } else if !store.has_below(certificate) {
        findings.warning(
            FindingId::IssuerWithoutClientAuth,
            path,
            format!(
                "{who}: {found}: every client certificate that it issued itself is refused with \
                 {refused}; those of a CA below it, with clientAuth, are accepted"
            ),
            mend,
        );
    }
}

fn allowlisted(entry: &Entry, rules: Rules, findings: &mut Findings<'_>) {
    let not_after = entry.certificate.not_after();
    if rules.time > not_after {
        findings.warning(
            FindingId::AllowlistedExpired,
            &entry.path,
            format!(
                "{}: expired at {not_after} and is accepted all the same, here and by Google",
                subject(&entry.certificate)
            ),
            "remove it if it is out of use; nothing but your own monitoring tells when an allowlisted \
             certificate expires",
        );
    }
}
