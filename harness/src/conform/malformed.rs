//! Broken and odd certificates and CRLs: whatever they hold, there is a verdict, and soon.
//!
//! Each certificate that can be read is put where a path has an end entity, an intermediate and an
//! anchor. The certificates around it are made to fit: the one below names it as its issuer, the one
//! above has its issuer's name. No signature is right, so no path is expected; the verdict is only
//! that there is one, and the JSON tells which, so that native and wasm can be compared.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mtls_gate_core::path::{Policy, Profile, build};
use mtls_gate_core::trust::TrustStore;
use mtls_gate_core::x509::{Certificate, UnixSeconds};
use rustls_pki_types::alg_id;
use serde_json::{Value, json};

use super::engine::{Rules, Verdict, timed};
use super::report::Progress;
use super::{Case, ConformError, Expected, Outcome, Report, files_below, pem_blocks, read, rfc5280};
use crate::fixtures::der;

const SUITE: &str = "malformed";
/// One file, in every role, without optimisation.
const BOUND: Duration = Duration::from_secs(1);

/// `conform malformed`
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Folders of certificates and CRLs, DER or PEM, searched through
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<PathBuf>,
}

impl Options {
    /// One folder.
    #[must_use]
    pub fn of(folder: &std::path::Path) -> Self {
        Self {
            folders: vec![folder.to_owned()],
        }
    }
}

/// Runs every file.
///
/// # Errors
/// A file cannot be read.
pub fn run(options: &Options) -> Result<Report, ConformError> {
    let mut report = Report::default();
    for folder in &options.folders {
        let files = files_below(folder)?;
        let mut progress = Progress::new(SUITE, files.len());
        for path in files {
            let file = read(&path)?;
            let name = path.strip_prefix(folder).unwrap_or(&path);
            let id = name.to_string_lossy().into_owned();
            let class = name
                .parent()
                .and_then(|parent| parent.iter().next())
                .map(|parent| parent.to_string_lossy().into_owned())
                .unwrap_or_default();
            let mut detail = Vec::new();
            let judged = timed(|| {
                detail = ders_of(&file).into_iter().map(in_every_role).collect();
                Verdict::Refused("see detail".to_owned())
            });
            let mut case = Case::judged(SUITE, &class, id, Expected::Either, judged);
            if case.took > BOUND {
                case.outcome = Outcome::UnexpectedFailure;
                case.verdict = Verdict::Refused(format!("took longer than {BOUND:?}"));
            }
            case.detail = Some(Value::Array(detail));
            report.cases.push(case);
            progress.step();
        }
    }
    Ok(report)
}

/// The blocks of a PEM file, else the file as it is: what is neither is broken DER.
fn ders_of(file: &[u8]) -> Vec<Vec<u8>> {
    let blocks = core::str::from_utf8(file)
        .ok()
        .filter(|text| text.contains("-----BEGIN "))
        .and_then(|text| pem_blocks(text).ok());
    match blocks {
        Some(blocks) => blocks.into_iter().map(|(_, der)| der).collect(),
        None => vec![file.to_vec()],
    }
}

/// The verdicts on one certificate. Each role is asked for on its own, so that a panic names it.
fn in_every_role(der: Vec<u8>) -> Value {
    let certificate = match Certificate::parse(der) {
        Ok(certificate) => certificate,
        Err(error) => return json!({ "parse": error.to_string() }),
    };
    let algorithm = signed_with(&certificate);
    let subject = certificate.name_der(certificate.subject());
    let above = certificate.name_der(certificate.issuer());
    let below = Certificate::parse(minted(b"below", subject, &algorithm));
    let top = Certificate::parse(minted_named(above, above, &algorithm));
    let (below, top) = match (below, top) {
        (Ok(below), Ok(top)) => (below, top),
        (Err(error), _) | (_, Err(error)) => {
            return json!({ "parse": "", "around": error.to_string() });
        }
    };
    let verdict = |end_entity, presented: &[Certificate], anchors: Vec<Certificate>| {
        path_verdict(end_entity, presented, anchors, certificate.not_before())
    };
    let itself = || vec![certificate.clone()];
    json!({
        "parse": "",
        "end_entity": verdict(&certificate, &[], vec![top.clone(), certificate.clone()]),
        "intermediate": verdict(&below, &itself(), vec![top]),
        "anchor": verdict(&below, &[], itself()),
    })
}

fn path_verdict(
    end_entity: &Certificate,
    presented: &[Certificate],
    anchors: Vec<Certificate>,
    time: UnixSeconds,
) -> Value {
    let store = TrustStore::new(anchors, Vec::new(), &[]);
    let rules = rfc5280();
    let verdicts = [(Profile::Google, false), (Profile::Rfc5280, false), (Profile::Rfc5280, true)]
        .into_iter()
        .map(|(profile, strict)| {
            let rules = Rules {
                profile,
                strict,
                ..rules
            };
            let policy = policy(&rules);
            let path = build(end_entity, presented, &store, &policy, rules.algorithms, time);
            let reason = path.map_or_else(|error| error.to_string(), |_| "accepted".to_owned());
            (rules.name().to_owned(), reason.into())
        });
    Value::Object(verdicts.collect())
}

/// No purpose is asked for: it would end most of these early.
fn policy(rules: &Rules) -> Policy {
    Policy {
        profile: rules.profile,
        purpose: None,
        enforce_anchor_constraints: rules.strict,
    }
}

/// An algorithm that fits the certificate's key, so that the key is used and not only compared.
fn signed_with(certificate: &Certificate) -> Vec<u8> {
    let fits = rfc5280()
        .algorithms
        .iter()
        .find(|algorithm| algorithm.public_key_alg_id().as_ref() == certificate.key_algorithm());
    let id = fits.map_or(alg_id::ECDSA_SHA256, |algorithm| algorithm.signature_alg_id());
    der::tlv(0x30, id.as_ref())
}

fn minted(common_name: &[u8], issuer: &[u8], algorithm: &[u8]) -> Vec<u8> {
    let attribute = der::sequence(&[vec![6, 3, 0x55, 4, 3], der::tlv(0x0c, common_name)]);
    let subject = der::sequence(&[der::set(&[attribute])]);
    minted_named(&subject, issuer, algorithm)
}

/// A certificate over all time that nobody signed: the signature only has the right form.
fn minted_named(subject: &[u8], issuer: &[u8], algorithm: &[u8]) -> Vec<u8> {
    // The generator of P-256 (SEC 2, 2.4.2): a point, whatever else.
    const POINT: [u8; 65] = [
        0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4,
        0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8,
        0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a,
        0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40,
        0x68, 0x37, 0xbf, 0x51, 0xf5,
    ];
    let tbs = der::sequence(&[
        der::explicit(0, &der::unsigned(&[2])),
        der::unsigned(&[1]),
        algorithm.to_vec(),
        issuer.to_vec(),
        der::sequence(&[
            der::tlv(0x18, b"19500101000000Z"),
            der::tlv(0x18, b"99991231235959Z"),
        ]),
        subject.to_vec(),
        der::sequence(&[der::tlv(0x30, alg_id::ECDSA_P256.as_ref()), der::bits(&POINT)]),
    ]);
    let numbers = der::sequence(&[der::unsigned(&[1]), der::unsigned(&[1])]);
    der::sequence(&[tbs, algorithm.to_vec(), der::bits(&numbers)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_around_are_certificates() {
        let algorithm = der::tlv(0x30, alg_id::ECDSA_SHA256.as_ref());
        let empty = der::sequence(&[]);
        let top = Certificate::parse(minted_named(&empty, &empty, &algorithm)).unwrap();
        let verdicts = in_every_role(top.der().to_vec());
        assert_eq!(verdicts["parse"], "");
        for role in ["end_entity", "intermediate", "anchor"] {
            assert!(verdicts[role]["rfc5280"].is_string(), "{verdicts}");
        }
    }
}
