//! A client's chain judged natively, beside rustls-webpki and OpenSSL on the same bytes, parse
//! included: `cargo bench -p mtls-gate --bench peers`.
//!
//! All judge an end entity below one intermediate below one of some trust anchors. rustls-webpki and we
//! verify with ring.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use mtls_gate::measure::{Bound, Cases, Options, Report, Section, locked_version};
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::forwarded::{ForwardedChain, Presented};
use mtls_gate_core::limits::RequestLimits;
use mtls_gate_core::path::{Policy, Profile};
use mtls_gate_core::trust::Trust;
use mtls_gate_core::x509::KeyPurpose;
use mtls_gate_rustls::ALGORITHMS;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::{X509, X509PurposeId, X509StoreContext};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde_json::json;

use support::{Algorithm, Pki, TIME, borrowed, pipeline, trust};

mod support;

/// More than the verdicts that [`CACHE_BYTES`] hold, so that each is a new one.
const CLIENTS: usize = 400;
const CACHE_BYTES: usize = 1 << 20;
const ANCHORS: [usize; 3] = [1, 20, 200];
const ROUNDS: u32 = 300;

const COLD: &str = "ours, nothing remembered";
const ISSUER_KNOWN: &str = "ours, issuer known";
const CLIENT_KNOWN: &str = "ours, client known";
const WEBPKI: &str = "rustls-webpki";
const OPENSSL: &str = "OpenSSL";

/// One set of trust anchors, as each of them wants it.
struct Anchors {
    ders: Vec<Vec<u8>>,
    trust: Trust,
    openssl: X509Store,
}

impl Anchors {
    fn new(ders: Vec<Vec<u8>>) -> Self {
        let mut openssl = X509StoreBuilder::new().unwrap();
        for der in &ders {
            openssl.add_cert(X509::from_der(der).unwrap()).unwrap();
        }
        let mut param = X509VerifyParam::new().unwrap();
        param.set_time(TIME.0);
        param.set_purpose(X509PurposeId::SSL_CLIENT).unwrap();
        openssl.set_param(&param).unwrap();
        Self {
            trust: trust(&ders),
            openssl: openssl.build(),
            ders,
        }
    }

    fn webpki(&self) -> Vec<TrustAnchor<'static>> {
        let anchors = self.ders.iter().map(|der| {
            let der = CertificateDer::from(der.as_slice());
            webpki::anchor_from_trusted_cert(&der).unwrap().to_owned()
        });
        anchors.collect()
    }
}

fn add<'a>(
    cases: &mut Cases<'a>,
    options: &Options,
    title: &str,
    chains: &'a [Vec<Vec<u8>>],
    anchors: &'a Anchors,
) {
    let number = Cell::new(0);
    let next = move || {
        number.set((number.get() + 1) % chains.len());
        &chains[number.get()]
    };

    let policy = Policy::new(Profile::Google, Some(KeyPurpose::ClientAuth));
    let limits = RequestLimits::default();
    let chain = next.clone();
    cases.add(options, (title, COLD), move || {
        let presented = ForwardedChain::from_der(chain().clone(), &limits);
        let trust = Some(&anchors.trust);
        let judged = ClientCert::judge(presented, trust, &policy, &limits, ALGORITHMS, Some(TIME));
        assert!(black_box(judged).is_verified());
    });

    for (name, number) in [(ISSUER_KNOWN, None), (CLIENT_KNOWN, Some(0))] {
        let pipeline = pipeline(
            &anchors.ders,
            json!({ "cacheBytes": CACHE_BYTES }),
            ALGORITHMS,
        );
        let next = next.clone();
        cases.add(options, (title, name), move || {
            let chain = number.map_or_else(&next, |number: usize| &chains[number]);
            let judged = pipeline.judge(&Presented::Tls(&borrowed(chain)), Some(TIME));
            assert!(black_box(judged).is_verified());
        });
    }

    let time = UnixTime::since_unix_epoch(Duration::from_secs(TIME.0.unsigned_abs()));
    let webpki_anchors = anchors.webpki();
    let chain = next.clone();
    cases.add(options, (title, WEBPKI), move || {
        let [end_entity, issuers @ ..] = chain().as_slice() else {
            return;
        };
        let end_entity = CertificateDer::from(end_entity.as_slice());
        let end_entity = webpki::EndEntityCert::try_from(&end_entity).unwrap();
        let issuers = [issuers[0].as_slice().into()];
        let path = end_entity.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &webpki_anchors,
            &issuers,
            time,
            webpki::KeyUsage::client_auth(),
            None,
            None,
        );
        assert!(black_box(path).is_ok());
    });

    cases.add(options, (title, OPENSSL), move || {
        let chain = next();
        let end_entity = X509::from_der(&chain[0]).unwrap();
        let mut issuers = Stack::new().unwrap();
        issuers.push(X509::from_der(&chain[1]).unwrap()).unwrap();
        let mut context = X509StoreContext::new().unwrap();
        let verified = context.init(&anchors.openssl, &end_entity, &issuers, |context| {
            context.verify_cert()
        });
        assert!(black_box(verified.unwrap()));
    });
}

fn title(algorithm: Algorithm, anchors: usize) -> String {
    let plural = if anchors == 1 { "" } else { "s" };
    format!("{}, {anchors} anchor{plural}", algorithm.name())
}

/// For one anchor, as most have it, and what many cost.
fn goals(report: &mut Report, algorithm: Algorithm, one: &Section, many: &Section) {
    let of = |name| one.of(name).unwrap();
    let (cold, issuer_known) = (of(COLD), of(ISSUER_KNOWN));
    let webpki = of(WEBPKI);
    let more_anchors = |name| many.of(name).unwrap().over(of(name));
    for (what, values, goal) in [
        (
            "nothing remembered, over rustls-webpki",
            cold.over(webpki),
            1.05,
        ),
        (
            "issuer known, over rustls-webpki",
            issuer_known.over(webpki),
            0.6,
        ),
        (
            "nothing remembered, over OpenSSL",
            cold.over(of(OPENSSL)),
            0.5,
        ),
        (
            "nothing remembered, 200 anchors over 1",
            more_anchors(COLD),
            1.05,
        ),
        (
            "issuer known, 200 anchors over 1",
            more_anchors(ISSUER_KNOWN),
            1.05,
        ),
    ] {
        let what = format!("{}: {what}", algorithm.name());
        report.figure(what, values, Bound::AtMost(goal));
    }
}

fn main() {
    let options = Options::from_args();
    let mut report = Report::default();
    for package in ["rustls-webpki", "ring"] {
        report.version(package, locked_version(package).unwrap());
    }
    let openssl = openssl::version::version();
    report.version("OpenSSL", openssl.trim_start_matches("OpenSSL "));
    for algorithm in Algorithm::ALL {
        let wanted = ANCHORS.map(|count| options.wants(&title(algorithm, count)));
        if wanted == [false; ANCHORS.len()] {
            continue;
        }
        let pki = Pki::new(algorithm, 1, options.effort(CLIENTS, 2));
        let anchors = ANCHORS.map(|count| Anchors::new(pki.anchors(count)));
        let mut cases = Cases::default();
        for (count, anchors) in ANCHORS.into_iter().zip(&anchors) {
            let title = title(algorithm, count);
            add(&mut cases, &options, &title, &pki.chains, anchors);
        }
        let sections = cases.measure(&options, ROUNDS);
        if let [one, .., many] = sections.as_slice() {
            goals(&mut report, algorithm, one, many);
        }
        for section in sections {
            report.table(section.table(1, &[WEBPKI, OPENSSL]).unwrap());
            report.section(section);
        }
    }
    report.print(&options);
}
