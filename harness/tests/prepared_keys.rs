//! Keys are made ready when it pays, and for no attacker.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mtls_gate::fixtures::keys::{Key, RsaKeys};
use mtls_gate::fixtures::mint::{Cert, Issued};
use mtls_gate::goldens::testdata;
use mtls_gate::testbed::front::pem;
use mtls_gate_core::config::Config;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::path::{Backend, PreparedKey};
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::x509::UnixSeconds;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use rustls::pki_types::{InvalidSignature, alg_id};
use serde_json::json;

/// 2026-11-21T12:00:00Z
const NOW: UnixSeconds = UnixSeconds(1_795_262_400);

static PREPARED: AtomicUsize = AtomicUsize::new(0);
static USED: AtomicUsize = AtomicUsize::new(0);
static ALONE: Mutex<()> = Mutex::new(());

#[derive(Debug)]
struct Counted(Arc<dyn PreparedKey>);

impl PreparedKey for Counted {
    fn verify(&self, id: &[u8], text: &[u8], by: &[u8]) -> Option<Result<(), InvalidSignature>> {
        USED.fetch_add(1, Ordering::SeqCst);
        self.0.verify(id, text, by)
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

fn prepare(algorithm: &[u8], key: &[u8]) -> Option<Arc<dyn PreparedKey>> {
    PREPARED.fetch_add(1, Ordering::SeqCst);
    Some(Arc::new(Counted(mtls_gate_rustcrypto::prepare(
        algorithm, key,
    )?)))
}

fn gate(root: &Issued, cache_bytes: usize) -> Pipeline {
    let document = json!({
        "trustConfig": {"trustStores": [{"trustAnchors": [{"pemCertificate": pem(root)}]}]},
        "serverTlsPolicy": {"mtlsPolicy": {"clientValidationMode": "REJECT_INVALID"}},
        "limits": {"cacheBytes": cache_bytes},
    });
    let backend = Backend {
        algorithms: mtls_gate_rustcrypto::ALGORITHMS,
        prepare: Some(prepare),
    };
    Pipeline::new(Config::native(document).unwrap(), backend)
}

/// What one chain made ready, and how many signatures went to keys that were.
fn cost(gate: &Pipeline, chain: &[&Issued], verified: bool) -> (usize, usize) {
    let before = (PREPARED.load(Ordering::SeqCst), USED.load(Ordering::SeqCst));
    let chain: Vec<&[u8]> = chain.iter().map(|one| one.der.as_slice()).collect();
    let judged = gate.judge(&Presented::Tls(&chain), Some(NOW));
    assert_eq!(judged.is_verified(), verified);
    (
        PREPARED.load(Ordering::SeqCst) - before.0,
        USED.load(Ordering::SeqCst) - before.1,
    )
}

#[test]
fn a_key_that_recurs_is_made_ready_once() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Cert::ca("root").self_signed();
    let gate = gate(&root, 16 << 20);
    let client = |number: usize| Cert::client(&format!("client {number}")).by(&root);
    let costs: Vec<_> = (0..6)
        .map(|number| cost(&gate, &[&client(number)], true))
        .collect();
    assert_eq!(costs, [(0, 0), (0, 0), (1, 0), (0, 1), (0, 1), (0, 1)]);
    // It says no as well.
    let mut forged = client(6);
    *forged.der.last_mut().unwrap() ^= 1;
    assert_eq!(cost(&gate, &[&forged], false), (0, 1));
}

/// One that does not fit is not made ready again and again.
#[test]
fn a_key_that_cannot_be_kept_is_tried_once() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Cert::ca("root").self_signed();
    let gate = gate(&root, 100_000);
    let client = |number: usize| Cert::client(&format!("client {number}")).by(&root);
    let prepared: usize = (0..20)
        .map(|number| cost(&gate, &[&client(number)], true).0)
        .sum();
    assert_eq!(prepared, 1);
}

/// The longest chain of CAs whose keys have all been met before: the next one to come makes one ready.
#[test]
fn one_search_makes_one_key_ready() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Cert::ca("root").self_signed();
    let gate = gate(&root, 16 << 20);
    for round in 0..6 {
        // Other certificates for the same names and keys, so that no link is known.
        let mut chain = vec![root.clone()];
        for depth in 0..8 {
            let name = format!("ca {depth}");
            let ca = Cert::ca(&name).key(Key::p256(&name)).serial(vec![1, round]);
            let issued = ca.by(chain.last().unwrap());
            chain.push(issued);
        }
        let client = Cert::client("client")
            .serial(vec![2, round])
            .by(chain.last().unwrap());
        let presented: Vec<&Issued> = [&client]
            .into_iter()
            .chain(chain.iter().skip(1).rev())
            .collect();
        let (prepared, _) = cost(&gate, &presented, true);
        assert!(prepared <= 1, "{round}: {prepared}");
        assert_eq!(prepared == 1, round >= 2, "{round}");
    }
}

/// Whoever is not let in has no key made ready, and none counted.
#[test]
fn a_chain_that_fails_makes_no_key_ready() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Cert::ca("root").self_signed();
    let gate = gate(&root, 16 << 20);
    let issuer = Cert::ca("issuer").by(&root);
    let client = |number: usize| Cert::client(&format!("client {number}")).by(&issuer);
    for number in 0..6 {
        let mut forged = client(number);
        *forged.der.last_mut().unwrap() ^= 1;
        assert_eq!(cost(&gate, &[&forged, &issuer], false), (0, 0));
    }
    // The root has signed one certificate here, and is not asked again about it.
    let costs: Vec<_> = (0..4)
        .map(|number| cost(&gate, &[&client(number), &issuer], true))
        .collect();
    assert_eq!(costs, [(0, 0), (0, 0), (1, 0), (0, 1)]);
}

type Prepare = fn(&[u8], &[u8]) -> Option<Arc<dyn PreparedKey>>;

/// Of a key of RSA: the verdicts when it is made ready, in either way, and the plain algorithm's.
fn rsa_verdicts(key_bits: &[u8], message: &[u8], signature: &[u8]) -> [bool; 3] {
    let (of_key, of_signature) = (alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA256);
    let ready = |prepare: Prepare| {
        let verdict = prepare(&of_key, key_bits)
            .unwrap()
            .verify(&of_signature, message, signature);
        verdict.unwrap().is_ok()
    };
    let plain = mtls_gate_rustcrypto::ALGORITHMS
        .iter()
        .find(|one| one.public_key_alg_id() == of_key && one.signature_alg_id() == of_signature);
    let plain = plain
        .unwrap()
        .verify_signature(key_bits, message, signature);
    [
        ready(mtls_gate_rustcrypto::prepare),
        ready(mtls_gate_rustcrypto::prepare_as_in_wasm),
        plain.is_ok(),
    ]
}

/// Whatever is changed of a signature, or added to it.
#[test]
fn rsa_keys_made_ready_verify_nothing_else() {
    let message = b"signed";
    let keys = RsaKeys {
        folder: testdata().join("keys"),
    };
    for name in [
        "1024-a", "2048-a", "2048-b", "2048-c", "3072-a", "4096-a", "8192-a",
    ] {
        let key = keys.load(name).unwrap();
        let bits = key.public_bytes();
        let signature = key.sign(key.usual_signature(), message);
        assert_eq!(
            rsa_verdicts(&bits, message, &signature),
            [true; 3],
            "{name}"
        );
        assert_eq!(rsa_verdicts(&bits, b"another", &signature), [false; 3]);
        let ready = [
            mtls_gate_rustcrypto::prepare,
            mtls_gate_rustcrypto::prepare_as_in_wasm,
        ]
        .map(|prepare| prepare(&alg_id::RSA_ENCRYPTION, &bits).unwrap());
        let verified = |signature: &[u8]| {
            ready.iter().any(|key| {
                let verdict = key.verify(&alg_id::RSA_PKCS1_SHA256, message, signature);
                verdict.unwrap().is_ok()
            })
        };
        for at in 0..signature.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = signature.clone();
                changed[at] ^= change;
                assert!(!verified(&changed), "{name}: {at} {change}");
            }
        }
        assert!(!verified(&signature[1..]));
        assert!(!verified(&[&[0], signature.as_slice()].concat()));
        assert!(!verified(&[signature.as_slice(), &[0]].concat()));
    }
}

/// Moduli that end within an octet, or where a limb of 27 bits ends.
#[test]
fn rsa_keys_of_unusual_sizes() {
    for bits in [1031, 1079, 1080, 2041, 2047, 2049, 2051, 2052, 2053] {
        let key = Rsa::generate(bits).unwrap();
        let key_bits = key.public_key_to_der_pkcs1().unwrap();
        let length = usize::try_from(key.size()).unwrap();
        let key = PKey::from_rsa(key).unwrap();
        for round in 0..8_u8 {
            let message = [round];
            let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
            let signature = signer.sign_oneshot_to_vec(&message).unwrap();
            let verdicts = |signature: &[u8]| rsa_verdicts(&key_bits, &message, signature);
            assert_eq!(verdicts(&signature), [true; 3], "{bits}");
            // The same residue, but no longer below the modulus (RFC 8017 5.2.2 step 1).
            let mut sum = BigNum::from_slice(&signature).unwrap();
            for _ in 0..3 {
                sum = &sum + key.rsa().unwrap().n();
                if let Ok(padded) = sum.to_vec_padded(i32::try_from(length).unwrap()) {
                    assert_eq!(verdicts(&padded), [false; 3], "{bits}");
                }
                assert_eq!(verdicts(&sum.to_vec()), [false; 3], "{bits}");
            }
        }
    }
}
