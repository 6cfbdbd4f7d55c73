//! A host that verifies signatures is asked only if it answers known questions rightly, and what it
//! does not know is worked out here. OpenSSL plays the host.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use mtls_gate_core::config::SignatureBackend::{self, Auto, Host, Wasm};
use mtls_gate_core::path::{Algorithms, Backend};
use mtls_gate_filter::signatures::{self, NotByHost, Verify};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Verifier;
use rustls::pki_types::alg_id;

fn honest(digest: &str, spki: &[u8], message: &[u8], signature: &[u8]) -> Option<bool> {
    let key = PKey::public_key_from_der(spki).ok()?;
    let digest = match digest {
        "sha256" => MessageDigest::sha256(),
        "sha384" => MessageDigest::sha384(),
        "sha512" => MessageDigest::sha512(),
        _ => return None,
    };
    let mut verifier = Verifier::new(digest, &key).ok()?;
    // An ill-formed signature is an error in OpenSSL's eyes.
    Some(verifier.verify_oneshot(signature, message).unwrap_or(false))
}

fn absent(_: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
    None
}

fn yes(_: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
    Some(true)
}

fn no(_: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
    Some(false)
}

/// Does not look at the message.
fn careless(digest: &str, spki: &[u8], message: &[u8], signature: &[u8]) -> Option<bool> {
    match message {
        b"another message" => Some(true),
        _ => honest(digest, spki, message, signature),
    }
}

/// Knows nothing of P-384.
fn partial(digest: &str, spki: &[u8], message: &[u8], signature: &[u8]) -> Option<bool> {
    let key = PKey::public_key_from_der(spki).ok()?;
    if key.bits() == 384 {
        return None;
    }
    honest(digest, spki, message, signature)
}

/// What stands for the host's algorithms.
fn by_host() -> Algorithms {
    &[]
}

fn chosen(setting: SignatureBackend, verify: Verify) -> Result<&'static str, NotByHost> {
    let Backend {
        algorithms,
        prepare,
    } = signatures::backend(setting, verify, by_host)?;
    Ok(match (algorithms.is_empty(), prepare.is_some()) {
        (true, false) => "host",
        (false, true) => "wasm",
        other => panic!("{other:?}"),
    })
}

#[test]
fn only_a_host_that_knows_the_answers() {
    assert_eq!(chosen(Auto, honest), Ok("host"));
    assert_eq!(chosen(Host, honest), Ok("host"));
    assert_eq!(chosen(Wasm, honest), Ok("wasm"));
    let wrong: [Verify; 5] = [absent, yes, no, careless, partial];
    for (index, verify) in wrong.into_iter().enumerate() {
        assert_eq!(chosen(Auto, verify), Ok("wasm"), "{index}");
        assert_eq!(chosen(Host, verify), Err(NotByHost), "{index}");
    }
}

/// The same verdicts as without a host, from one that knows the algorithm and from one that does not.
#[test]
fn the_host_is_asked_and_stood_in_for() {
    fn must_not_be_asked(_: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        panic!("asked")
    }
    let chain = openssl::x509::X509::stack_from_pem(
        &std::fs::read(mtls_gate::goldens::testdata().join("chains/one_intermediate/chain.pem"))
            .unwrap(),
    )
    .unwrap();
    let parsed = |at: usize| {
        let der = chain[at].to_der().unwrap();
        mtls_gate_core::x509::Certificate::parse(der).unwrap()
    };
    let (subject, issuer) = (parsed(0), parsed(1));
    let verify = |algorithms: Vec<_>, message: &[u8]| {
        let algorithm: &dyn rustls::pki_types::SignatureVerificationAlgorithm = algorithms
            .into_iter()
            .find(
                |one: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
                    one.signature_alg_id().as_ref() == subject.signature_algorithm()
                        && one.public_key_alg_id().as_ref() == issuer.key_algorithm()
                },
            )
            .unwrap();
        algorithm
            .verify_signature(issuer.key_bits(), message, subject.signature())
            .is_ok()
    };
    for host in [honest, absent] {
        assert!(verify(signatures::by_host(host), subject.tbs()));
        assert!(!verify(signatures::by_host(host), b"another"));
    }
    assert!(verify(signatures::by_host(yes), b"another"), "not asked");
    assert!(!verify(signatures::by_host(no), subject.tbs()), "not asked");

    let all = signatures::by_host(must_not_be_asked);
    assert_eq!(all.len(), mtls_gate_rustcrypto::ALGORITHMS.len());
    for id in [alg_id::RSA_PSS_SHA256, alg_id::ED25519] {
        let algorithm = all.iter().find(|one| one.signature_alg_id() == id).unwrap();
        assert!(algorithm.verify_signature(b"", b"", b"").is_err());
    }
    let p521 = all
        .iter()
        .find(|one| one.public_key_alg_id() == alg_id::ECDSA_P521);
    assert!(p521.unwrap().verify_signature(b"", b"", b"").is_err());
}

#[test]
fn only_clear_answers_count() {
    let error = |text: &str| {
        let mut result = vec![0x12, u8::try_from(text.len()).unwrap()];
        result.extend(text.bytes());
        result
    };
    let bad = error("Failed to verify digest. Error code: 0");
    assert_eq!(signatures::clear_answer(&[0x08, 1]), Some(true));
    assert_eq!(signatures::clear_answer(&bad), Some(false));
    let unclear: [&[u8]; 7] = [
        b"",
        &[0x08],
        &[0x08, 0],
        &[0x08, 2],
        &[0x08, 1, 0],
        &bad[..bad.len() - 1],
        &error("sha256 is not supported."),
    ];
    for result in unclear {
        assert_eq!(signatures::clear_answer(result), None, "{result:?}");
    }
}
