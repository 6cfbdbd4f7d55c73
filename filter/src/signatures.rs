//! Signatures that the host verifies (Envoy's foreign function `verify_signature`), which takes a
//! small part of the time.
//!
//! It is asked only after it has answered known questions rightly, and only about what the core's
//! policy allows: hosts take weak keys. It knows neither PSS nor Ed25519 nor P-521; those, and whatever
//! it gives no clear answer to, are this module's.

use mtls_gate_core::config::SignatureBackend;
use mtls_gate_core::path::{Algorithms, Backend};
use prost::encoding::{WireType, decode_varint, encode_key, encode_varint};
use rustls_pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};

/// `verify_signature` of a host: digest (`sha256`), SubjectPublicKeyInfo, message, signature. `None`: no
/// clear answer.
pub type Verify = fn(&str, &[u8], &[u8], &[u8]) -> Option<bool>;

/// The host was to verify signatures and does not do it rightly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotByHost;

/// Who verifies signatures under this setting.
///
/// # Errors
/// `HOST`, and the host fails a known question.
pub fn backend(
    setting: SignatureBackend,
    verify: Verify,
    by_host: fn() -> Algorithms,
) -> Result<Backend, NotByHost> {
    if setting == SignatureBackend::Wasm {
        return Ok(mtls_gate_rustcrypto::BACKEND);
    }
    if knows_the_answers(verify) {
        // No prepared keys: the host is faster than those, too.
        return Ok(by_host().into());
    }
    match setting {
        SignatureBackend::Host => Err(NotByHost),
        SignatureBackend::Auto | SignatureBackend::Wasm => Ok(mtls_gate_rustcrypto::BACKEND),
    }
}

/// The argument of Envoy's function: `VerifySignatureArguments` of its `verify_signature.proto`.
#[must_use]
pub fn question(digest: &str, spki: &[u8], message: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut argument = Vec::new();
    for (number, value) in [
        (1, digest.as_bytes()),
        (2, spki),
        (3, signature),
        (4, message),
    ] {
        encode_key(number, WireType::LengthDelimited, &mut argument);
        encode_varint(
            u64::try_from(value.len()).unwrap_or(u64::MAX),
            &mut argument,
        );
        argument.extend(value);
    }
    argument
}

/// What `VerifySignatureResult` says. A signature is bad only if the host says just that: of a key or a
/// digest that it cannot use it knows nothing.
#[must_use]
pub fn clear_answer(result: &[u8]) -> Option<bool> {
    const TRUE: &[u8] = &[0x08, 1];
    const BAD: &[u8] = b"Failed to verify digest";
    if result == TRUE {
        return Some(true);
    }
    // The error, field 2; false is not written.
    let (&0x12, mut rest) = result.split_first()? else {
        return None;
    };
    let length = decode_varint(&mut rest).ok()?;
    let is_whole = u64::try_from(rest.len()) == Ok(length);
    (is_whole && rest.starts_with(BAD)).then_some(false)
}

/// One question with its answer: this signature is good, and any other is not.
///
/// `known_answers/` holds what OpenSSL made once, with keys that are gone: a SubjectPublicKeyInfo for each
/// key, and its signatures of `message`.
struct Known {
    digest: &'static str,
    spki: &'static [u8],
    signature: &'static [u8],
}

macro_rules! known {
    ($digest:literal, $key:literal, $signature:literal) => {
        Known {
            digest: $digest,
            spki: include_bytes!(concat!("known_answers/", $key, ".spki")),
            signature: include_bytes!(concat!("known_answers/", $signature, ".sig")),
        }
    };
}

const MESSAGE: &[u8] = include_bytes!("known_answers/message");
const KNOWN: [Known; 5] = [
    known!("sha256", "p256", "p256"),
    known!("sha384", "p384", "p384"),
    known!("sha256", "rsa", "rsa256"),
    known!("sha384", "rsa", "rsa384"),
    known!("sha512", "rsa", "rsa512"),
];

/// For each kind of signature: a good one, the same for another message, and one with another last
/// octet.
fn knows_the_answers(verify: Verify) -> bool {
    KNOWN.iter().all(|known| {
        let mut other = known.signature.to_vec();
        if let Some(last) = other.last_mut() {
            *last ^= 1;
        }
        let questions = [
            (MESSAGE, known.signature, true),
            (b"another message", known.signature, false),
            (MESSAGE, &other, false),
        ];
        questions.into_iter().all(|(message, signature, answer)| {
            verify(known.digest, known.spki, message, signature) == Some(answer)
        })
    })
}

/// The digest of those algorithms that a host knows.
fn digest(algorithm: &dyn SignatureVerificationAlgorithm) -> Option<&'static str> {
    const EC: [(AlgorithmIdentifier, AlgorithmIdentifier, &str); 2] = [
        (alg_id::ECDSA_P256, alg_id::ECDSA_SHA256, "sha256"),
        (alg_id::ECDSA_P384, alg_id::ECDSA_SHA384, "sha384"),
    ];
    const RSA: [(AlgorithmIdentifier, AlgorithmIdentifier, &str); 3] = [
        (alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA256, "sha256"),
        (alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA384, "sha384"),
        (alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA512, "sha512"),
    ];
    let (key, signature) = (algorithm.public_key_alg_id(), algorithm.signature_alg_id());
    let found = EC
        .iter()
        .chain(&RSA)
        .find(|(of_key, of_signature, _)| *of_key == key && *of_signature == signature);
    found.map(|(.., digest)| *digest)
}

/// An algorithm that the host is asked about first.
#[derive(Debug)]
struct ByHost {
    digest: &'static str,
    verify: Verify,
    plain: &'static dyn SignatureVerificationAlgorithm,
}

impl SignatureVerificationAlgorithm for ByHost {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let spki = spki(self.plain.public_key_alg_id().as_ref(), public_key);
        match (self.verify)(self.digest, &spki, message, signature) {
            Some(true) => Ok(()),
            Some(false) => Err(InvalidSignature),
            None => self.plain.verify_signature(public_key, message, signature),
        }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.plain.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.plain.signature_alg_id()
    }
}

/// All algorithms, by the host where it knows them. For the module's whole life: call it once.
#[must_use]
pub fn by_host(verify: Verify) -> Vec<&'static dyn SignatureVerificationAlgorithm> {
    let plain = mtls_gate_rustcrypto::ALGORITHMS.iter().copied();
    plain
        .map(|plain| match digest(plain) {
            None => plain,
            Some(digest) => {
                let algorithm: &'static ByHost = Box::leak(Box::new(ByHost {
                    digest,
                    verify,
                    plain,
                }));
                algorithm
            }
        })
        .collect()
}

/// RFC 5280 4.1: SubjectPublicKeyInfo ::= SEQUENCE { AlgorithmIdentifier, BIT STRING }
fn spki(algorithm: &[u8], key_bits: &[u8]) -> Vec<u8> {
    let mut bits = vec![0];
    bits.extend(key_bits);
    let mut content = element(0x30, algorithm);
    content.extend(element(0x03, &bits));
    element(0x30, &content)
}

/// A DER element (X.690 8.1.3).
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut der = vec![tag];
    match length.as_slice() {
        [] => der.push(0),
        [short] if *short < 0x80 => der.push(*short),
        // A length has at most as many octets as a usize.
        long => {
            der.push(u8::try_from(long.len()).unwrap_or(0) | 0x80);
            der.extend(long);
        }
    }
    der.extend(content);
    der
}
