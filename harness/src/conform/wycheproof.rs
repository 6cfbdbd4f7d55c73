//! Signature vectors of Wycheproof (`*_verify_schema`): each through every algorithm of the backend
//! that has the key's and the signature's identifier.

use std::path::PathBuf;

use clap::Args;
use mtls_gate_core::path::Algorithms;
use rustls_pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm, alg_id};
use serde::Deserialize;

use super::engine::{Verdict, timed};
use super::report::Progress;
use super::{Backend, Case, ConformError, Expected, Report, read_json, unhex};

const SUITE: &str = "wycheproof";

/// `conform wycheproof`
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Files of vectors, as JSON
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Which backend verifies
    #[arg(long, value_enum, default_value_t = Backend::Rustcrypto)]
    pub backend: Backend,
}

impl Options {
    /// These files with the usual backend.
    #[must_use]
    pub fn of(files: Vec<PathBuf>) -> Self {
        Self {
            files,
            backend: Backend::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    algorithm: String,
    test_groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    /// Absent in the oldest files.
    #[serde(rename = "type", default)]
    kind: String,
    /// The SubjectPublicKeyInfo; `keyDer` before version 1 of the schema.
    #[serde(alias = "keyDer")]
    public_key_der: Option<String>,
    #[serde(default)]
    sha: Option<String>,
    #[serde(default)]
    mgf: Option<String>,
    #[serde(default)]
    mgf_sha: Option<String>,
    #[serde(default)]
    s_len: Option<usize>,
    tests: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    tc_id: u64,
    msg: String,
    sig: String,
    result: Expectation,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expectation {
    Valid,
    Invalid,
    Acceptable,
}

/// Runs all vectors of all files.
///
/// # Errors
/// A file cannot be read, or is not of its schema.
pub fn run(options: &Options) -> Result<Report, ConformError> {
    let mut report = Report::default();
    for path in &options.files {
        let file: File = read_json(path)?;
        let fault = |id: u64, what: &str| ConformError::Case {
            path: path.clone(),
            id: format!("tcId {id}"),
            what: what.to_owned(),
        };
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let vectors = file.test_groups.iter().map(|group| group.tests.len());
        let mut progress = Progress::new(SUITE, vectors.sum());
        for group in file.test_groups {
            let claim = group.claim(options.backend.algorithms());
            for vector in &group.tests {
                let id = format!("{name}/{}", vector.tc_id);
                let (expected, class) = match vector.result {
                    Expectation::Valid => (Expected::Accept, file.algorithm.clone()),
                    Expectation::Invalid => (Expected::Refuse, file.algorithm.clone()),
                    Expectation::Acceptable => {
                        (Expected::Either, format!("{}, acceptable", file.algorithm))
                    }
                };
                let hex = |text, what| unhex(text).ok_or_else(|| fault(vector.tc_id, what));
                let message = hex(&vector.msg, "msg is not hexadecimal")?;
                let signature = hex(&vector.sig, "sig is not hexadecimal")?;
                report.cases.push(match &claim {
                    Ok((key, algorithms)) => {
                        let judged =
                            timed(|| verify(algorithms, key, &message, &signature, expected));
                        Case::judged(SUITE, &class, id, expected, judged)
                    }
                    Err(reason) => Case::skipped(SUITE, &class, id, expected, reason),
                });
                progress.step();
            }
        }
    }
    Ok(report)
}

/// If the algorithms disagree, the verdict is the one that was not expected.
fn verify(
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    key: &[u8],
    message: &[u8],
    signature: &[u8],
    expected: Expected,
) -> Verdict {
    let verified = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
        algorithm.verify_signature(key, message, signature).is_ok()
    };
    let count = algorithms.iter().filter(verified).count();
    let accepted = match expected {
        Expected::Accept => count == algorithms.len(),
        Expected::Refuse | Expected::Either => count > 0,
    };
    if accepted {
        Verdict::Accepted
    } else {
        Verdict::Refused("signature does not verify".to_owned())
    }
}

type Claim = (Vec<u8>, Vec<&'static dyn SignatureVerificationAlgorithm>);

impl Group {
    /// The key's bits and the algorithms for it, or why there are none.
    fn claim(&self, algorithms: Algorithms) -> Result<Claim, String> {
        let signature_ids = self.signature_ids().ok_or_else(|| {
            let part = |text: &Option<String>| text.clone().unwrap_or_default();
            format!(
                "the backend does not claim {} {} {} {}",
                self.kind,
                part(&self.sha),
                part(&self.mgf_sha),
                self.s_len
                    .map(|length| length.to_string())
                    .unwrap_or_default()
            )
            .trim_end()
            .to_owned()
        })?;
        let spki = self.public_key_der.as_deref().and_then(unhex);
        let spki = spki.ok_or("the group has no publicKeyDer")?;
        let (key_algorithm, bits) =
            public_key(&spki).ok_or("the group's key is no SubjectPublicKeyInfo")?;
        let claimed: Vec<_> = algorithms
            .iter()
            .copied()
            .filter(|algorithm| {
                let id = algorithm.signature_alg_id();
                // RFC 4055 section 5: an identifier whose NULL parameters are absent is the same
                // algorithm.
                let same = |wanted: &AlgorithmIdentifier| {
                    let wanted = wanted.as_ref();
                    id.as_ref() == wanted || Some(id.as_ref()) == wanted.strip_suffix(&[5, 0])
                };
                algorithm.public_key_alg_id().as_ref() == key_algorithm
                    && signature_ids.iter().any(same)
            })
            .collect();
        if claimed.is_empty() {
            return Err(format!(
                "the backend does not claim {} with this kind of key",
                self.kind
            ));
        }
        Ok((bits.to_vec(), claimed))
    }

    fn signature_ids(&self) -> Option<Vec<AlgorithmIdentifier>> {
        let sha = self.sha.as_deref().unwrap_or_default();
        Some(match (self.kind.as_str(), sha) {
            ("EcdsaVerify", "SHA-256") => vec![alg_id::ECDSA_SHA256],
            ("EcdsaVerify", "SHA-384") => vec![alg_id::ECDSA_SHA384],
            ("EcdsaVerify", "SHA-512") => vec![alg_id::ECDSA_SHA512],
            ("RsassaPkcs1Verify", "SHA-256") => vec![alg_id::RSA_PKCS1_SHA256],
            ("RsassaPkcs1Verify", "SHA-384") => vec![alg_id::RSA_PKCS1_SHA384],
            ("RsassaPkcs1Verify", "SHA-512") => vec![alg_id::RSA_PKCS1_SHA512],
            ("RsassaPssVerify", _) => {
                // RFC 4055 3.1 as everybody uses it: one digest, a salt of its length.
                let one_digest = self.mgf_sha.as_deref() == Some(sha)
                    && self.mgf.as_deref().is_none_or(|mgf| mgf == "MGF1");
                match (sha, self.s_len?) {
                    ("SHA-256", 32) if one_digest => vec![alg_id::RSA_PSS_SHA256],
                    ("SHA-384", 48) if one_digest => vec![alg_id::RSA_PSS_SHA384],
                    ("SHA-512", 64) if one_digest => vec![alg_id::RSA_PSS_SHA512],
                    _ => return None,
                }
            }
            ("EddsaVerify" | "EDDSAVer", _) => vec![alg_id::ED25519],
            _ => return None,
        })
    }
}

/// RFC 5280 4.1: SubjectPublicKeyInfo ::= SEQUENCE { AlgorithmIdentifier, BIT STRING }; the content
/// of the first, the octets of the second.
fn public_key(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let (content, _) = element(spki, 0x30)?;
    let (algorithm, rest) = element(content, 0x30)?;
    let (bits, _) = element(rest, 0x03)?;
    Some((algorithm, bits.strip_prefix(&[0])?))
}

/// The content of the first element, which must have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let length = octets.iter().try_fold(0_usize, |length, octet| {
            length.checked_mul(256)?.checked_add(usize::from(*octet))
        })?;
        (length, rest)
    };
    rest.split_at_checked(length)
}
