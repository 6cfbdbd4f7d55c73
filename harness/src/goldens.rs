//! The golden cases of `testdata/chains/` as every runner reads them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::testbed::client::ClientIdentity;
use crate::testbed::forwarded;
use mtls_gate_core::error::Refusal;
use mtls_gate_core::variables::Variable;
use mtls_gate_core::x509::UnixSeconds;
use mtls_gate_resources::yaml;
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// One case.
#[derive(Clone, Debug)]
pub struct Golden {
    /// The folder's name.
    pub name: String,
    /// `case.toml`
    pub case: CaseFile,
    /// `expected.json`
    pub expected: Expected,
    /// `chain.pem`: what the client presents, end entity first; empty if it presents nothing.
    pub chain_pem: String,
    /// `key.pem`: the end entity's private key.
    pub key_pem: String,
    anchors_pem: String,
    intermediates_pem: String,
    allowlist_pem: String,
    /// `crls.pem`
    pub crls_pem: String,
}

/// `case.toml`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// The rule it shows.
    pub why: String,
    /// `clientValidationMode`
    pub mode: String,
    /// The validation time.
    pub time: String,
    /// `GOOGLE` or `RFC5280`
    pub profile: String,
    /// `true`, or why it cannot be presented over TLS.
    pub tls: toml::Value,
    /// What a TLS server must offer beyond the usual.
    #[serde(default)]
    pub tls_signature_algorithms: Vec<String>,
    /// `revocation.mode`; absent is `OFF`.
    pub revocation: Option<String>,
    /// Limits that are not at their defaults.
    #[serde(default)]
    pub limits: BTreeMap<String, u64>,
    /// Trust domains, and which certificates of `anchors.pem` each one trusts, from 0. The
    /// configured intermediates go to each.
    #[serde(default)]
    pub spiffe_trust_stores: BTreeMap<String, Vec<usize>>,
}

/// `expected.json`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// `forward` or `reject`
    pub decision: String,
    /// The rule that a refused case breaks.
    pub rule: Option<String>,
    /// All 14, by name.
    pub variables: BTreeMap<String, String>,
}

/// Why the cases cannot be read.
#[derive(Debug, Error)]
#[error("{}: {what}", path.display())]
pub struct GoldenError {
    path: PathBuf,
    what: String,
}

/// The folder `testdata` of this project.
#[must_use]
pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")
}

/// All cases, by name.
///
/// # Errors
/// A file is missing or malformed.
pub fn all() -> Result<Vec<Golden>, GoldenError> {
    let folder = testdata().join("chains");
    let entries = fs::read_dir(&folder).map_err(at(&folder))?;
    let mut folders = Vec::new();
    for entry in entries {
        folders.push(entry.map_err(at(&folder))?.path());
    }
    folders.sort();
    folders.iter().map(|folder| Golden::read(folder)).collect()
}

/// The case of this name.
///
/// # Errors
/// There is none, or the cases cannot be read.
pub fn named(name: &str) -> Result<Golden, GoldenError> {
    let all = all()?;
    all.into_iter()
        .find(|golden| golden.name == name)
        .ok_or_else(|| at(Path::new(name))("no such golden"))
}

/// Cases that show what people run into, and their titles in the inspector.
const EXAMPLES: [(&str, &str); 12] = [
    ("one_intermediate", "A good chain"),
    ("expired_end_entity", "Expired"),
    ("intermediate_missing", "Intermediate missing"),
    ("eku_issuer_missing", "CA without clientAuth"),
    ("self_signed_end_entity", "Self-signed"),
    ("rsa_1024_end_entity", "RSA key too short"),
    ("name_constraint_dns_violated", "Name constraint"),
    ("impostor_root", "Another root of that name"),
    ("cross_signed_one_expired", "Cross-signed CA"),
    ("spiffe_svid", "SPIFFE"),
    ("uri_sans_over_512", "Too many names"),
    ("revocation_listed", "Revoked"),
];

/// What the inspector offers as examples: `crates/inspector/web/examples.json`.
///
/// # Errors
/// The cases cannot be read.
pub fn examples() -> Result<Value, GoldenError> {
    let all = all()?;
    let example = |(name, title): (&str, &str)| {
        let golden = all.iter().find(|golden| golden.name == name);
        let golden = golden.ok_or_else(|| at(Path::new(name))("no such golden"))?;
        let state = golden.inspector_state()?;
        Ok(json!({ "name": name, "title": title, "why": golden.case.why, "state": state }))
    };
    EXAMPLES.into_iter().map(example).collect()
}

fn at<E: ToString>(path: &Path) -> impl FnOnce(E) -> GoldenError {
    let path = path.to_owned();
    move |error| GoldenError {
        path,
        what: error.to_string(),
    }
}

impl Golden {
    fn read(folder: &Path) -> Result<Self, GoldenError> {
        let required = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(at(&path))
        };
        let optional = |name: &str| {
            if folder.join(name).exists() {
                required(name)
            } else {
                Ok(String::new())
            }
        };
        Ok(Self {
            name: folder
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            case: toml::from_str(&required("case.toml")?).map_err(at(&folder.join("case.toml")))?,
            expected: serde_json::from_str(&required("expected.json")?)
                .map_err(at(&folder.join("expected.json")))?,
            chain_pem: optional("chain.pem")?,
            key_pem: optional("key.pem")?,
            anchors_pem: optional("anchors.pem")?,
            intermediates_pem: optional("intermediates.pem")?,
            allowlist_pem: optional("allowlist.pem")?,
            crls_pem: optional("crls.pem")?,
        })
    }

    /// What a client of the test bed presents.
    #[must_use]
    pub fn identity(&self) -> ClientIdentity {
        ClientIdentity {
            chain_pem: self.chain_pem.clone().into_bytes(),
            key_pem: self.key_pem.clone().into_bytes(),
        }
    }

    /// The validation time.
    ///
    /// # Errors
    /// It is not RFC 3339.
    pub fn time(&self) -> Result<UnixSeconds, GoldenError> {
        OffsetDateTime::parse(&self.case.time, &Rfc3339)
            .map(|time| UnixSeconds(time.unix_timestamp()))
            .map_err(at(Path::new(&self.name)))
    }

    /// The configuration document of the case, with all 14 variables as request headers named as
    /// in [`header_of`].
    #[must_use]
    pub fn document(&self) -> Value {
        let entries = |pem: &str| -> Vec<Value> {
            blocks(pem)
                .into_iter()
                .map(|block| json!({ "pemCertificate": block }))
                .collect()
        };
        let headers: Vec<String> = Variable::ALL
            .into_iter()
            .map(|variable| format!("{}:{{{}}}", header_of(variable), variable.name()))
            .collect();
        let mut document = json!({
            "serverTlsPolicy": { "mtlsPolicy": { "clientValidationMode": self.case.mode } },
            "customRequestHeaders": headers,
            "profile": self.case.profile,
            "limits": self.case.limits,
        });
        if let Some(mode) = &self.case.revocation
            && let Some(document) = document.as_object_mut()
        {
            let crls: Vec<Value> = labelled(&self.crls_pem, "X509 CRL")
                .into_iter()
                .map(|block| json!({ "pemCrl": block }))
                .collect();
            let revocation = json!({ "mode": mode, "crls": crls });
            document.insert("revocation".to_owned(), revocation);
        }
        let pems = [
            &self.anchors_pem,
            &self.intermediates_pem,
            &self.allowlist_pem,
        ];
        if pems.iter().any(|pem| !pem.is_empty())
            && let Some(document) = document.as_object_mut()
        {
            let anchors = entries(&self.anchors_pem);
            let store = |anchors: &[Value]| {
                json!({
                    "trustAnchors": anchors,
                    "intermediateCas": entries(&self.intermediates_pem),
                })
            };
            let spiffe: BTreeMap<&str, Value> = self
                .case
                .spiffe_trust_stores
                .iter()
                .map(|(domain, positions)| {
                    let chosen: Vec<Value> = positions
                        .iter()
                        .filter_map(|position| anchors.get(*position).cloned())
                        .collect();
                    (domain.as_str(), store(&chosen))
                })
                .collect();
            let stores = if spiffe.is_empty() {
                vec![store(&anchors)]
            } else {
                Vec::new()
            };
            let trust_config = json!({
                "trustStores": stores,
                "spiffeTrustStores": spiffe,
                "allowlistedCertificates": entries(&self.allowlist_pem),
            });
            document.insert("trustConfig".to_owned(), trust_config);
        }
        document
    }

    /// The same as the inspector's fields have it.
    ///
    /// # Errors
    /// It cannot be written as YAML.
    pub fn inspector_state(&self) -> Result<Value, GoldenError> {
        let mut document = self.document();
        let yaml = |value: &Value| yaml::write(value).map_err(at(Path::new(&self.name)));
        let mut take = |field: &str| document.as_object_mut().and_then(|all| all.remove(field));
        let trust = take("trustConfig").as_ref().map(yaml).transpose()?;
        let headers: Vec<String> = take("customRequestHeaders")
            .and_then(|headers| serde_json::from_value(headers).ok())
            .unwrap_or_default();
        let settings = ["limits", "revocation"]
            .into_iter()
            .filter_map(|field| Some((field.to_owned(), take(field)?)))
            .filter(|(_, value)| *value != json!({}))
            .collect::<serde_json::Map<_, _>>();
        let settings = match settings.is_empty() {
            true => String::new(),
            false => yaml(&Value::Object(settings))?,
        };
        Ok(json!({
            "chain": self.chain_pem,
            "format": "PEM",
            "trust": trust.unwrap_or_default(),
            "headers": headers.join("\n"),
            "settings": settings,
            "profile": self.case.profile,
            "mode": self.case.mode,
            "time": self.time()?.0,
        }))
    }

    /// The chain as Envoy forwards it.
    #[must_use]
    pub fn forwarded_header(&self) -> String {
        forwarded::xfcc(&self.chain())
    }

    /// The PEM blocks of the chain, end entity first.
    #[must_use]
    pub fn chain(&self) -> Vec<&str> {
        blocks(&self.chain_pem)
    }

    /// Whether the verdict's reason is the one that the case is about.
    #[must_use]
    pub fn names_the_rule(&self, reason: &str) -> bool {
        match self.expected.rule.as_deref() {
            None => true,
            Some(rule) => words_of(rule).is_some_and(|words| reason.contains(words)),
        }
    }
}

/// What a reason says when this rule of the fixture set is broken.
fn words_of(rule: &str) -> Option<&'static str> {
    Some(match rule {
        "aki_ski_mismatch" => "subject key identifier differs",
        "bad_signature" => "signature does not verify",
        "crl_critical" => "CRL: critical extension",
        "crl_expired" => "CRL expired at 2021",
        "crl_indirect" => "certificateIssuer in a CRL that is not indirect",
        "crl_missing" => "no CRL covers it",
        "crl_not_yet_issued" => "CRL not issued before 2055",
        "crl_next_update" => "CRL has no nextUpdate",
        "crl_number" => "CRL: cRLNumber is",
        "crl_points" => "cRLDistributionPoints is malformed",
        "crl_reasons" => "CRLs cover it for some reasons only",
        "crl_removal" => "removeFromCRL in a CRL that is not a delta CRL",
        "crl_sign" => "keyUsage of the CRL's issuer lacks cRLSign",
        "crl_signature" => "CRL's signature does not verify",
        "crl_signature_algorithm" => "CRL's signature algorithm",
        "crl_signer" => "no certificate of the CRL's issuer leads",
        "crl_signer_not_good" => "certificate of the CRL's issuer is revoked",
        "depth" => "path longer than 10 certificates",
        "duplicate_extension" => "occurs twice",
        "elliptic_curve" => "elliptic curve is not permitted",
        "end_entity_eku_forbidden" => "end entity: extKeyUsage holds",
        "end_entity_eku_missing" => "end entity: extKeyUsage lacks",
        "end_entity_is_ca" => "end entity: basicConstraints says that it is a CA",
        "equal_subject_and_key" => "share one subject and key",
        "expired" => "expired at 2021",
        "issuer_eku_missing" => "issuer at position 1: extKeyUsage lacks",
        "issuer_key_usage" => "keyUsage lacks keyCertSign",
        "issuer_not_ca" => "basicConstraints does not say that it is a CA",
        "issuer_name_mismatch" | "untrusted" => "no certificate found for its issuer",
        "key_algorithm" => "key algorithm is not supported",
        "malformed_subject" => "not an X.509 certificate: subject",
        "name_constraint_unclear" => "in a way that is not supported",
        "name_constraint_count" => "more than 10 name constraints",
        "name_constraint_excluded" | "name_constraint_not_permitted" => {
            "violates a name constraint"
        }
        "no_trust_config" => "no trust config",
        "not_provided" => "no client certificate",
        "not_yet_valid" => "not valid before 2055",
        "path_len" => "pathLenConstraint of",
        "payload_size" => "bytes of certificates presented",
        "policy" => "no certificate policy is valid",
        "policy_any_mapped" => "policyMappings maps anyPolicy",
        "presented_count" => "more than 10 certificates presented",
        "rsa_key_size" => "RSA key size is not permitted",
        "revoked" => "end entity: revoked, reason",
        "revoked_hold" => "revoked, reason certificateHold",
        "revoked_issuer" => "issuer at position 1: revoked, reason cACompromise",
        "search_budget" => "search stopped after",
        "self_signed" => "self-signed and not on the allowlist",
        "signature_algorithm_mismatch" => "signatureAlgorithm differs",
        "svid_ca" => "an X.509-SVID of a workload is no CA",
        "svid_crl_sign" => "X.509-SVID holds cRLSign",
        "svid_digital_signature" => "X.509-SVID lacks digitalSignature",
        "svid_id" => "URI alternative name is not a SPIFFE ID",
        "svid_key_cert_sign" => "X.509-SVID holds keyCertSign",
        "svid_no_uri" => "0 URI alternative names",
        "svid_path" => "SPIFFE ID has no path",
        "svid_trust_domain" => "no SPIFFE trust store for",
        "svid_two_uris" => "2 URI alternative names",
        "unknown_critical_extension" => "critical extension",
        "unsupported_signature_algorithm" | "weak_hash" => "signature algorithm",
        _ => return None,
    })
}

/// The header that carries a variable in tests: `X-` and the variable's name with hyphens.
#[must_use]
pub fn header_of(variable: Variable) -> String {
    format!("x-{}", variable.name().replace('_', "-"))
}

/// The reason that stands for "no certificate was presented".
#[must_use]
pub fn not_provided() -> String {
    Refusal::NotProvided.to_string()
}

/// One element of `x-forwarded-client-cert` as Envoy writes it: five characters percent-encoded. The
/// chain begins with the end entity.
#[must_use]
pub fn forwarded_element(hash: &str, end_entity_pem: &str, chain_pem: &str) -> String {
    let encode = |pem: &str| {
        pem.replace('\n', "%0A")
            .replace(' ', "%20")
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D")
    };
    let [end_entity, chain] = [end_entity_pem, chain_pem].map(encode);
    format!("Hash={hash};Cert=\"{end_entity}\";Chain=\"{chain}\"")
}

fn blocks(pem: &str) -> Vec<&str> {
    labelled(pem, "CERTIFICATE")
}

fn labelled<'a>(pem: &'a str, label: &str) -> Vec<&'a str> {
    let end = format!("-----END {label}-----\n");
    pem.split_inclusive(end.as_str())
        .filter(|block| block.ends_with(&end))
        .collect()
}
