//! Broken and odd certificates and CRLs: whatever they hold, there is a verdict, and soon.
//!
//! Each certificate that can be read is put where a path has an end entity, an intermediate and an
//! anchor. The certificates around it are made to fit: the one below names it as its issuer, the one
//! above has its issuer's name. Their signatures have the right form and are wrong. What counts is that
//! there is a verdict; the JSON tells which, so that native and wasm can be compared.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mtls_gate_core::path::Profile;
use mtls_gate_core::x509::{Certificate, UnixSeconds};
use rustls_pki_types::alg_id;
use serde_json::{Map, Value};

use super::engine::{CRLS, Inputs, PolicyInputs, Rules, Verdict, judge, timed};
use super::report::Progress;
use super::{
    Case, ConformError, Expected, Outcome, Report, files_below, pem_blocks, read, rfc5280,
};
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
        let top = folder.file_name().unwrap_or_default().to_string_lossy();
        let mut progress = Progress::new(SUITE, files.len());
        for path in files {
            let file = read(&path)?;
            let name = path.strip_prefix(folder).unwrap_or(&path);
            let id = name.to_string_lossy().into_owned();
            let class = name
                .parent()
                .and_then(|parent| parent.iter().next())
                .map_or_else(|| top.clone(), |parent| parent.to_string_lossy());
            let mut detail = Vec::new();
            let judged = timed(|| {
                let mut panics = Vec::new();
                for der in ders_of(&file) {
                    detail.push(in_every_role(&der, &mut panics));
                }
                if panics.is_empty() {
                    Verdict::Refused("see detail".to_owned())
                } else {
                    Verdict::Panicked(panics.join("; "))
                }
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

/// The verdicts on one certificate under all rules, and the roles in which there was none.
fn in_every_role(der: &[u8], panics: &mut Vec<String>) -> Value {
    let certificate = match Certificate::parse(der.to_vec()) {
        Ok(certificate) => certificate,
        Err(error) => {
            let mut detail = Map::new();
            detail.insert("parse".to_owned(), error.to_string().into());
            if CRLS {
                detail.insert("crl".to_owned(), verdicts(&as_crl(der), "crl", panics));
            }
            return Value::Object(detail);
        }
    };
    let algorithm = signed_with(&certificate);
    let subject = certificate.name_der(certificate.subject());
    let issuer = certificate.name_der(certificate.issuer());
    let below = minted(&name_of(b"below"), subject, &algorithm);
    let above = minted(issuer, issuer, &algorithm);
    let itself = || der.to_vec();
    let roles = [
        (
            "end_entity",
            itself(),
            Vec::new(),
            vec![above.clone(), itself()],
        ),
        ("intermediate", below.clone(), vec![itself()], vec![above]),
        ("anchor", below, Vec::new(), vec![itself()]),
    ];
    let mut detail = Map::new();
    detail.insert("parse".to_owned(), "".into());
    for (role, end_entity, candidates, anchors) in roles {
        let inputs = Inputs {
            end_entity,
            candidates,
            anchors,
            crls: Vec::new(),
            // A date that ends no path early.
            time: certificate.not_before(),
            purpose: None,
            max_intermediates: None,
            policies: PolicyInputs::default(),
        };
        detail.insert(role.to_owned(), verdicts(&inputs, role, panics));
    }
    Value::Object(detail)
}

/// The verdicts under all rules.
fn verdicts(inputs: &Inputs, role: &str, panics: &mut Vec<String>) -> Value {
    let verdicts = every_rule().into_iter().map(|rules| {
        let (verdict, _) = judge(inputs, &rules);
        if let Verdict::Panicked(message) = &verdict {
            panics.push(format!("{role}, {}: {message}", rules.name()));
        }
        let text = format!("{}: {}", verdict.word(), verdict.reason());
        (rules.name().to_owned(), text.into())
    });
    Value::Object(verdicts.collect())
}

/// What is no certificate may be a CRL: it is put beside a chain that has nothing to do with it.
fn as_crl(der: &[u8]) -> Inputs {
    let algorithm = der::tlv(0x30, alg_id::ECDSA_SHA256.as_ref());
    let (below, above) = (name_of(b"below"), name_of(b"above"));
    Inputs {
        end_entity: minted(&below, &above, &algorithm),
        candidates: Vec::new(),
        anchors: vec![minted(&above, &above, &algorithm)],
        crls: vec![der.to_vec()],
        time: UnixSeconds(0),
        purpose: None,
        max_intermediates: None,
        policies: PolicyInputs::default(),
    }
}

fn every_rule() -> [Rules; 3] {
    let rules = rfc5280();
    [
        Rules {
            profile: Profile::Google,
            ..rules
        },
        rules,
        Rules {
            strict: true,
            ..rules
        },
    ]
}

/// An algorithm that fits the certificate's key, so that the key is used and not only compared.
fn signed_with(certificate: &Certificate) -> Vec<u8> {
    let fits = rfc5280()
        .algorithms
        .iter()
        .find(|algorithm| algorithm.public_key_alg_id().as_ref() == certificate.key_algorithm());
    let id = fits.map_or(alg_id::ECDSA_SHA256, |algorithm| {
        algorithm.signature_alg_id()
    });
    der::tlv(0x30, id.as_ref())
}

fn name_of(common_name: &[u8]) -> Vec<u8> {
    let attribute = der::sequence(&[vec![6, 3, 0x55, 4, 3], der::tlv(0x0c, common_name)]);
    der::sequence(&[der::set(&[attribute])])
}

/// A certificate over all time that nobody signed: the signature only has the right form.
fn minted(subject: &[u8], issuer: &[u8], algorithm: &[u8]) -> Vec<u8> {
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
        der::sequence(&[
            der::tlv(0x30, alg_id::ECDSA_P256.as_ref()),
            der::bits(&POINT),
        ]),
    ]);
    let numbers = der::sequence(&[der::unsigned(&[1]), der::unsigned(&[1])]);
    der::sequence(&[tbs, algorithm.to_vec(), der::bits(&numbers)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_around_lead_to_signatures() {
        let algorithm = der::tlv(0x30, alg_id::ECDSA_SHA256.as_ref());
        let itself = minted(&name_of(b"itself"), &name_of(b"above"), &algorithm);
        let mut panics = Vec::new();
        let verdicts = in_every_role(&itself, &mut panics);
        assert!(panics.is_empty());
        for role in ["end_entity", "anchor"] {
            let verdict = verdicts[role]["rfc5280"].as_str().unwrap();
            assert!(verdict.contains("signature does not verify"), "{verdicts}");
        }
        let verdict = verdicts["intermediate"]["rfc5280"].as_str().unwrap();
        assert!(
            verdict.contains("does not say that it is a CA"),
            "{verdict}"
        );
    }
}
