//! What is remembered between requests changes what they cost, and nothing else.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mtls_gate::fixtures::keys::Key;
use mtls_gate::fixtures::mint::Cert;
use mtls_gate::goldens::{self, Golden};
use mtls_gate::testbed::front::pem;
use mtls_gate_core::authz::Request;
use mtls_gate_core::config::Config;
use mtls_gate_core::decision::{Decision, Outcome};
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::forwarded::pem::{self as pem_text, Around, Bounds, Label};
use mtls_gate_core::path::{Algorithms, Backend};
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::trust::Trust;
use mtls_gate_core::x509::{Certificate, UnixSeconds};
use mtls_gate_rustcrypto::BACKEND;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use serde_json::{Value, json};

/// 2026-11-21T12:00:00Z
const NOW: Option<UnixSeconds> = Some(UnixSeconds(1_795_262_400));

// --- counting what is verified ---

static VERIFIED: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
struct Counting(&'static dyn SignatureVerificationAlgorithm);

impl SignatureVerificationAlgorithm for Counting {
    fn verify_signature(
        &self,
        key: &[u8],
        text: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        VERIFIED.fetch_add(1, Ordering::SeqCst);
        self.0.verify_signature(key, text, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0.signature_alg_id()
    }
}

fn counting() -> Backend {
    static ALL: LazyLock<Vec<Counting>> = LazyLock::new(|| {
        BACKEND
            .algorithms
            .iter()
            .map(|one| Counting(*one))
            .collect()
    });
    static REFERENCES: LazyLock<Vec<&'static dyn SignatureVerificationAlgorithm>> =
        LazyLock::new(|| {
            let mut all: Vec<&'static dyn SignatureVerificationAlgorithm> = Vec::new();
            for one in ALL.iter() {
                all.push(one);
            }
            all
        });
    let algorithms: Algorithms = &REFERENCES;
    algorithms.into()
}

/// Nobody else counts meanwhile.
fn count_alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn counted(work: impl FnOnce()) -> usize {
    let before = VERIFIED.load(Ordering::SeqCst);
    work();
    VERIFIED.load(Ordering::SeqCst) - before
}

// --- documents and chains ---

fn pipeline(mut document: Value, cache_bytes: usize, backend: Backend) -> Pipeline {
    document["limits"]["cacheBytes"] = cache_bytes.into();
    let config = Config::from_bytes(document.to_string().as_bytes()).unwrap();
    Pipeline::new(config, backend)
}

fn ders(text: &str) -> Vec<Vec<u8>> {
    let bounds = Bounds {
        blocks: 1000,
        der_bytes: 1 << 24,
    };
    pem_text::blocks(text.as_bytes(), Label::Certificate, Around::AnyText, bounds)
        .unwrap_or_default()
}

fn run<'p>(pipeline: &'p Pipeline, chain: &[Vec<u8>], time: Option<UnixSeconds>) -> Decision<'p> {
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    pipeline.run(&Presented::Tls(&chain), &Request::default(), time)
}

const BYTES: usize = 16 << 20;

/// All seconds at which something of the case begins or ends, with those around them, in an order
/// that goes to and fro.
fn seconds(golden: &Golden) -> Vec<UnixSeconds> {
    let mut dates = vec![golden.time().unwrap().0];
    let mut of = |certificate: &Certificate| {
        dates.extend([certificate.not_before().0, certificate.not_after().0]);
    };
    for der in ders(&golden.chain_pem) {
        if let Ok(certificate) = Certificate::parse(der) {
            of(&certificate);
        }
    }
    let config = Config::from_bytes(golden.document().to_string().as_bytes()).unwrap();
    let stores: Vec<_> = config.trust.iter().flat_map(Trust::stores).collect();
    for store in &stores {
        store.anchors().iter().for_each(&mut of);
        store.intermediates().iter().for_each(&mut of);
    }
    for crl in stores.iter().flat_map(|store| store.revocation().crls()) {
        dates.push(crl.this_update().0);
        dates.extend(crl.next_update().map(|date| date.0));
    }
    dates.sort_unstable();
    dates.dedup();
    let around = dates
        .iter()
        .flat_map(|date| [date - 1, *date, date + 1, date + 20]);
    let mut seconds: Vec<i64> = around.collect();
    let half = seconds.len() / 2;
    seconds.extend_from_within(..);
    seconds.rotate_left(half);
    seconds.extend_from_within(..half);
    seconds.into_iter().map(UnixSeconds).collect()
}

#[test]
fn every_golden_is_judged_alike_at_all_times() {
    let mut wrong = Vec::new();
    let mut changes = 0;
    for golden in goldens::all().unwrap() {
        let chain = ders(&golden.chain_pem);
        let remembering = pipeline(golden.document(), BYTES, BACKEND);
        let forgetting = pipeline(golden.document(), 0, BACKEND.algorithms.into());
        let mut last = None;
        for time in seconds(&golden) {
            let [found, expected] =
                [&remembering, &forgetting].map(|one| run(one, &chain, Some(time)));
            let same = found.outcome == expected.outcome
                && found.variables == expected.variables
                && found.request.add == expected.request.add
                && found.report == expected.report;
            if !same {
                wrong.push(format!("{} {time:?}: {:?}", golden.name, found.report));
            }
            if last.replace(expected.report.verified) == Some(!expected.report.verified) {
                changes += 1;
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // Verdicts that stay what they are would prove little.
    assert!(changes > 300, "{changes}");
}

fn document(anchor: &str) -> Value {
    json!({
        "trustConfig": {"trustStores": [{"trustAnchors": [{"pemCertificate": anchor}]}]},
        "serverTlsPolicy": {"mtlsPolicy": {"clientValidationMode": "REJECT_INVALID"}},
    })
}

#[test]
fn the_same_again_verifies_nothing() {
    let _alone = count_alone();
    let root = Cert::ca("root").self_signed();
    let issuer = Cert::ca("issuer").by(&root);
    let client = |name: &str| vec![Cert::client(name).by(&issuer).der, issuer.der.clone()];
    let gate = pipeline(document(&pem(&root)), BYTES, counting());
    let cost = |chain: &[Vec<u8>], outcome: Outcome| {
        counted(|| assert_eq!(run(&gate, chain, NOW).outcome, outcome))
    };
    let first = client("first");
    assert_eq!(cost(&first, Outcome::Forward), 2);
    assert_eq!(cost(&first, Outcome::Forward), 0);
    // Another end entity below an issuer that is proven.
    let second = client("second");
    assert_eq!(cost(&second, Outcome::Forward), 1);
    assert_eq!(cost(&second, Outcome::Forward), 0);
    // One octet is another, in the signature of either.
    let mut forged = first.clone();
    *forged[0].last_mut().unwrap() ^= 1;
    assert_eq!(cost(&forged, Outcome::Close), 1);
    assert_eq!(cost(&forged, Outcome::Close), 0);
    let mut forged = first.clone();
    *forged[1].last_mut().unwrap() ^= 1;
    assert_eq!(cost(&forged, Outcome::Close), 1);
    // The issuer's certificate with another signature is not a proven link, and what is refused
    // changes nothing of what is known.
    assert_eq!(cost(&first, Outcome::Forward), 0);
    // Without the issuer it is another question.
    assert_eq!(cost(&first[..1], Outcome::Close), 0);

    let forgets = pipeline(document(&pem(&root)), 0, counting());
    for _ in 0..2 {
        let verified = counted(|| assert!(run(&forgets, &first, NOW).report.verified));
        assert_eq!(verified, 2);
    }
    // Without a clock nothing is remembered, and nothing is verified.
    for _ in 0..2 {
        assert_eq!(run(&gate, &first, None).outcome, Outcome::Close);
    }
    assert_eq!(cost(&first, Outcome::Forward), 0);
}

/// What is known of an issuer is known of all its bytes: of its name, its key or its signature alone
/// nothing follows.
#[test]
fn a_known_issuer_is_all_of_its_bytes() {
    let _alone = count_alone();
    let root = Cert::ca("root").self_signed();
    let issuer = Cert::ca("issuer").by(&root);
    let client = Cert::client("client").by(&issuer).der;
    let knows = pipeline(document(&pem(&root)), BYTES, BACKEND);
    let forgets = pipeline(document(&pem(&root)), 0, BACKEND);
    let verified = |others: &[&[u8]]| {
        let others = others.iter().map(|der| der.to_vec());
        let chain: Vec<_> = std::iter::once(client.clone()).chain(others).collect();
        let known = run(&knows, &chain, NOW);
        assert_eq!(known.report, run(&forgets, &chain, NOW).report);
        assert_eq!(known.variables, run(&forgets, &chain, NOW).variables);
        known.report.verified
    };
    // Of the same name: signed by a stranger, or for another key.
    let key = |label| Key::p256(label);
    let stranger = Cert::ca("root").key(key("stranger")).self_signed();
    let impostors = [
        Cert::ca("issuer").key(key("another")).by(&stranger).der,
        Cert::ca("issuer").key(key("another")).by(&root).der,
        Cert::ca("issuer").by(&stranger).der,
        // Of the same key too, and signed by the root.
        Cert::ca("issuer").expired().by(&root).der,
        Cert::ca("issuer").basic_constraints(None).by(&root).der,
    ];
    for _ in 0..2 {
        for impostor in &impostors {
            assert!(!verified(&[impostor]));
            assert!(verified(&[&issuer.der, impostor]));
            assert!(verified(&[impostor, &issuer.der]));
            assert!(verified(&[&issuer.der, &root.der]));
        }
    }
    for at in 0..issuer.der.len() {
        let mut changed = issuer.der.clone();
        changed[at] ^= 1;
        assert!(!verified(&[&changed]), "octet {at}");
    }
    assert!(verified(&[&issuer.der]));
}

/// Whoever has no trusted certificate pushes out nobody's verdict.
#[test]
fn refusals_push_out_refusals_only() {
    let _alone = count_alone();
    let root = Cert::ca("root").self_signed();
    let good = vec![Cert::client("good").by(&root).der];
    let gate = pipeline(document(&pem(&root)), 400_000, counting());
    assert_eq!(run(&gate, &good, NOW).outcome, Outcome::Forward);
    let stranger = Cert::client("stranger")
        .by(&Cert::ca("elsewhere").self_signed())
        .der;
    for number in 0..2000_u32 {
        // What is presented beside it is looked at, so each is another question.
        let chain = vec![stranger.clone(), number.to_be_bytes().to_vec()];
        assert_eq!(run(&gate, &chain, NOW).outcome, Outcome::Close);
    }
    let again = counted(|| assert_eq!(run(&gate, &good, NOW).outcome, Outcome::Forward));
    assert_eq!(again, 0);
}

/// A verdict ends with what it rests on, even if nobody asks in between.
#[test]
fn a_verdict_ends_with_its_path() {
    let golden = goldens::named("one_intermediate").unwrap();
    let chain = ders(&golden.chain_pem);
    let gate = pipeline(golden.document(), BYTES, BACKEND);
    let ends = chain
        .iter()
        .map(|der| Certificate::parse(der.clone()).unwrap().not_after());
    let last = ends.min().unwrap();
    let verified = |time: i64| run(&gate, &chain, Some(UnixSeconds(time))).report.verified;
    assert!(verified(golden.time().unwrap().0));
    assert!(verified(last.0));
    assert!(!verified(last.0 + 1));
    assert!(verified(last.0));
}

/// What a relay forwards is judged for itself: the relay's own verdict, remembered or not, is never the
/// client's.
#[test]
fn relay_and_client_are_remembered_apart() {
    let relays = Cert::ca("relays").self_signed();
    let clients = Cert::ca("clients").self_signed();
    let name = mtls_gate::fixtures::mint::dns("relay.test");
    let relay = Cert::client("relay").sans(vec![name]).by(&relays);
    let client = Cert::client("client").by(&clients);
    let mut document = document(&pem(&clients));
    document["source"] = json!({"header": {"preset": "RFC9440", "relay": {"mtls": {
        "trustConfig": {"trustStores": [{"trustAnchors": [{"pemCertificate": pem(&relays)}]}]},
        "sanMatch": {"dnsNames": ["relay.test"]},
    }}}});
    let gate = pipeline(document, BYTES, BACKEND);
    let forwards = |peer: &[u8], certificate: &[u8]| {
        let value = format!(":{}:", openssl::base64::encode_block(certificate));
        let headers: [(&[u8], &[u8]); 1] = [(b"client-cert", value.as_bytes())];
        let request = Request {
            headers: &headers,
            ..Request::default()
        };
        gate.run(&Presented::Tls(&[peer]), &request, NOW).outcome == Outcome::Forward
    };
    for _ in 0..3 {
        assert!(forwards(&relay.der, &client.der));
        assert!(!forwards(&relay.der, &relay.der));
        assert!(!forwards(&client.der, &client.der));
        assert!(!forwards(&client.der, &relay.der));
    }
}
