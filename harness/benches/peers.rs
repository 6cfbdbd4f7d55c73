//! A client's chain judged natively, beside rustls-webpki and OpenSSL on the same bytes, parse
//! included: `cargo bench -p mtls-gate --bench peers`.
//!
//! All judge an end entity below one intermediate below one of some trust anchors. rustls-webpki and we
//! verify with ring.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use mtls_gate::fixtures::keys::{Key, RsaKeys};
use mtls_gate::fixtures::mint::{Cert, Issued};
use mtls_gate::goldens::testdata;
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::config::Config;
use mtls_gate_core::forwarded::{ForwardedChain, Presented};
use mtls_gate_core::limits::RequestLimits;
use mtls_gate_core::path::{Policy, Profile};
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::trust::{Trust, TrustStore};
use mtls_gate_core::x509::{Certificate, KeyPurpose, UnixSeconds};
use mtls_gate_rustls::ALGORITHMS;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::{X509, X509PurposeId, X509StoreContext};
use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::json;

/// 2026-11-21T12:00:00Z
const TIME: i64 = 1_795_262_400;
/// More than the verdicts that [`CACHE_BYTES`] hold, so that each is a new one.
const CLIENTS: usize = 400;
const CACHE_BYTES: usize = 1 << 20;

/// Clients of one CA.
struct Pki {
    name: String,
    chains: Vec<[Vec<u8>; 2]>,
    anchors: Vec<Vec<u8>>,
}

impl Pki {
    /// `anchors`: the one that counts is the last.
    fn new(name: &str, keys: [Key; 3], anchors: usize) -> Self {
        let [root_key, issuer_key, client_key] = keys;
        let root = Cert::ca("root").key(root_key).self_signed();
        let issuer = Cert::ca("issuer").key(issuer_key).by(&root);
        let client = |number| {
            let client = Cert::client(&format!("client {number}")).key(client_key.clone());
            [client.by(&issuer).der, issuer.der.clone()]
        };
        let other = |number| Cert::ca(&format!("other {number}")).self_signed();
        let others = (1..anchors).map(other);
        let der = |issued: Issued| issued.der;
        Self {
            name: name.to_owned(),
            chains: (0..CLIENTS).map(client).collect(),
            anchors: others.chain([root]).map(der).collect(),
        }
    }

    fn pipeline(&self) -> Pipeline {
        let anchors: Vec<_> = self
            .anchors
            .iter()
            .map(|der| {
                let pem = X509::from_der(der).unwrap().to_pem().unwrap();
                json!({"pemCertificate": String::from_utf8(pem).unwrap()})
            })
            .collect();
        let document = json!({
            "trustConfig": {"trustStores": [{"trustAnchors": anchors}]},
            "serverTlsPolicy": {"mtlsPolicy": {"clientValidationMode": "REJECT_INVALID"}},
            "limits": {"cacheBytes": CACHE_BYTES},
        });
        Pipeline::new(Config::native(document).unwrap(), ALGORITHMS)
    }

    fn trust(&self) -> Trust {
        let parse = |der: &Vec<u8>| Certificate::parse(der.clone()).unwrap();
        TrustStore::new(self.anchors.iter().map(parse).collect(), Vec::new()).into()
    }

    fn store(&self) -> X509Store {
        let mut store = X509StoreBuilder::new().unwrap();
        for der in &self.anchors {
            store.add_cert(X509::from_der(der).unwrap()).unwrap();
        }
        let mut param = X509VerifyParam::new().unwrap();
        param.set_time(TIME);
        param.set_purpose(X509PurposeId::SSL_CLIENT).unwrap();
        store.set_param(&param).unwrap();
        store.build()
    }
}

/// The chains in turn.
struct Turn<'a>(&'a Pki, AtomicUsize);

impl<'a> Turn<'a> {
    fn next(&self) -> &'a [Vec<u8>; 2] {
        let number = self.1.fetch_add(1, Ordering::Relaxed);
        &self.0.chains[number % CLIENTS]
    }
}

fn compare(group: &mut BenchmarkGroup<'_, WallTime>, pki: &Pki) {
    let turn = Turn(pki, AtomicUsize::new(0));
    let name = |who: &str| format!("{}/{who}", pki.name);

    let trust = pki.trust();
    let policy = Policy::new(Profile::Google, Some(KeyPurpose::ClientAuth));
    let limits = RequestLimits::default();
    group.bench_function(name("ours, nothing remembered"), |bencher| {
        bencher.iter(|| {
            let presented = ForwardedChain::from_der(turn.next().to_vec(), &limits);
            let time = Some(UnixSeconds(TIME));
            let judged =
                ClientCert::judge(presented, Some(&trust), &policy, &limits, ALGORITHMS, time);
            assert!(black_box(judged).is_verified());
        });
    });

    let pipeline = pki.pipeline();
    let judge = |chain: &[Vec<u8>; 2]| {
        let chain = [&chain[0][..], &chain[1][..]];
        let judged = pipeline.judge(&Presented::Tls(&chain), Some(UnixSeconds(TIME)));
        assert!(black_box(judged).is_verified());
    };
    group.bench_function(name("ours, issuer known"), |bencher| {
        bencher.iter(|| judge(turn.next()));
    });
    group.bench_function(name("ours, client known"), |bencher| {
        bencher.iter(|| judge(&pki.chains[0]));
    });

    let anchors: Vec<CertificateDer<'_>> = pki
        .anchors
        .iter()
        .map(|der| der.as_slice().into())
        .collect();
    let anchors: Vec<_> = anchors
        .iter()
        .map(|der| webpki::anchor_from_trusted_cert(der).unwrap())
        .collect();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(TIME.unsigned_abs()));
    group.bench_function(name("rustls-webpki"), |bencher| {
        bencher.iter(|| {
            let [end_entity, issuer] = turn.next();
            let end_entity = CertificateDer::from(end_entity.as_slice());
            let end_entity = webpki::EndEntityCert::try_from(&end_entity).unwrap();
            let issuers = [issuer.as_slice().into()];
            let path = end_entity.verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                &issuers,
                time,
                webpki::KeyUsage::client_auth(),
                None,
                None,
            );
            assert!(black_box(path).is_ok());
        });
    });

    let store = pki.store();
    group.bench_function(name("OpenSSL"), |bencher| {
        bencher.iter(|| {
            let [end_entity, issuer] = turn.next();
            let end_entity = X509::from_der(end_entity).unwrap();
            let mut chain = Stack::new().unwrap();
            chain.push(X509::from_der(issuer).unwrap()).unwrap();
            let mut context = X509StoreContext::new().unwrap();
            let verified =
                context.init(&store, &end_entity, &chain, |context| context.verify_cert());
            assert!(black_box(verified.unwrap()));
        });
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("peers");
    let folder = testdata().join("keys");
    let rsa = RsaKeys { folder };
    let rsa = |name| rsa.load(name).unwrap();
    let p256 = ["root", "issuer", "client"].map(Key::p256);
    let p384 = ["root", "issuer", "client"].map(Key::p384);
    let rsa = ["2048-a", "2048-b", "2048-c"].map(rsa);
    compare(&mut group, &Pki::new("P-256", p256.clone(), 1));
    compare(&mut group, &Pki::new("P-256, 200 anchors", p256, 200));
    compare(&mut group, &Pki::new("RSA-2048", rsa, 1));
    compare(&mut group, &Pki::new("P-384", p384, 1));
    group.finish();
    criterion.final_summary();
}
