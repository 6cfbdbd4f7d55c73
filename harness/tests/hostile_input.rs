//! Chains with a byte changed: nothing panics, and nothing that was changed is verified.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use mtls_gate::goldens;
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::forwarded::ForwardedChain;
use mtls_gate_core::forwarded::pem::{self, Around, Bounds, Label};
use mtls_gate_core::revocation::{Revocation, RevocationMode};
use mtls_gate_core::x509::Crl;
use mtls_gate_rustcrypto::ALGORITHMS;
use support::pipeline;

const BOUNDS: Bounds = Bounds {
    blocks: 100,
    der_bytes: 1 << 20,
};

/// Every byte of the end entity and of its issuer, one at a time, with two changes.
#[test]
fn a_changed_certificate_is_never_verified() {
    // All kinds of keys and of extensions, but for the slow ones.
    let names = [
        "one_intermediate",
        "rsa_2048",
        "p384",
        "name_constraint_dns_satisfied",
        "spiffe_with_other_uris",
        "rfc5280_ed25519",
        "rfc5280_rsa_pss",
    ];
    let goldens = goldens::all().unwrap();
    let mut judged = 0;
    for golden in goldens
        .iter()
        .filter(|golden| names.contains(&golden.name.as_str()))
    {
        let pipeline = pipeline(golden);
        let config = pipeline.config();
        let time = golden.time().unwrap();
        let judge = |chain: Vec<Vec<u8>>| {
            ClientCert::judge(
                ForwardedChain::from_der(chain, &config.limits),
                config.trust.as_ref(),
                &config.policy,
                &config.limits,
                ALGORITHMS,
                Some(time),
            )
        };
        let chain = pem::blocks(
            golden.chain_pem.as_bytes(),
            Label::Certificate,
            Around::Nothing,
            BOUNDS,
        )
        .unwrap();
        assert!(judge(chain.clone()).is_verified(), "{}", golden.name);
        for which in 0..chain.len().min(2) {
            // An anchor that is presented too is not needed for the path.
            for at in 0..chain[which].len() {
                for change in [0x01, 0xff] {
                    let mut changed = chain.clone();
                    changed[which][at] ^= change;
                    assert!(
                        !judge(changed).is_verified(),
                        "{}: certificate {which}, byte {at}, ^{change:02x}",
                        golden.name
                    );
                    judged += 1;
                }
            }
        }
        // Cut off at every length.
        for length in 0..chain[0].len() {
            let mut cut = chain.clone();
            cut[0].truncate(length);
            assert!(!judge(cut).is_verified());
        }
    }
    assert!(judged > 10_000, "{judged}");
}

/// Every byte of each CRL: without the CRL as it was signed, nothing is verified that needs it.
#[test]
fn a_changed_crl_never_helps() {
    let goldens = goldens::all().unwrap();
    let mut judged = 0;
    for name in ["revocation_not_listed", "revocation_listed"] {
        let golden = goldens.iter().find(|golden| golden.name == name).unwrap();
        let pipeline = pipeline(golden);
        let config = pipeline.config();
        let time = golden.time().unwrap();
        let decode = |text: &str, label| {
            pem::blocks(text.as_bytes(), label, Around::Nothing, BOUNDS).unwrap()
        };
        let chain = decode(&golden.chain_pem, Label::Certificate);
        let crls = decode(&golden.crls_pem, Label::Crl);
        let verified = |crls: &[Vec<u8>]| {
            let crls = crls.iter().cloned().filter_map(|der| Crl::parse(der).ok());
            let revocation = Revocation::new(RevocationMode::Required, crls.collect());
            let trust = config.trust.clone().unwrap();
            ClientCert::judge(
                ForwardedChain::from_der(chain.clone(), &config.limits),
                Some(&trust.with_revocation(revocation)),
                &config.policy,
                &config.limits,
                ALGORITHMS,
                Some(time),
            )
            .is_verified()
        };
        assert_eq!(verified(&crls), name == "revocation_not_listed");
        for which in 0..crls.len() {
            for at in 0..crls[which].len() {
                for change in [0x01, 0xff] {
                    let mut changed = crls.clone();
                    changed[which][at] ^= change;
                    assert!(!verified(&changed), "{name}: CRL {which}, byte {at}");
                    judged += 1;
                }
            }
        }
    }
    assert!(judged > 1_000, "{judged}");
}
