//! One part of the work, so many times, for callgrind to count: `scripts/instructions.sh`.
//!
//! Signatures count as good unread where the name does not say otherwise: those of a crypto provider
//! would hide everything else.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::cell::Cell;
use std::hint::black_box;

use mtls_gate::goldens::{self, header_of};
use mtls_gate::testbed::forwarded::xfcc;
use mtls_gate_core::authz::Request;
use mtls_gate_core::config::Config;
use mtls_gate_core::forwarded::header::{HeaderSource, Relay};
use mtls_gate_core::forwarded::{ForwardedChain, Presented};
use mtls_gate_core::limits::RequestLimits;
use mtls_gate_core::path::{Algorithms, Backend, Policy, Profile};
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::variables::{Variable, Variables};
use mtls_gate_core::x509::{Certificate, KeyPurpose, UnixSeconds};
use mtls_gate_core::{client_cert::ClientCert, forwarded::presets::Preset};
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use serde_json::json;

/// End entity, intermediate, and another above it; all of P-256.
const CHAIN: &str = "eku_upper_intermediate_without";

#[derive(Debug)]
struct Unread;

impl SignatureVerificationAlgorithm for Unread {
    fn verify_signature(&self, _: &[u8], _: &[u8], _: &[u8]) -> Result<(), InvalidSignature> {
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA256
    }
}

const UNREAD: Algorithms = &[&Unread];

/// As many as fill the memory for verdicts several times.
const CLIENTS: usize = 400;

struct Case {
    time: UnixSeconds,
    header: String,
    source: HeaderSource,
    limits: RequestLimits,
}

impl Case {
    fn new() -> Self {
        let golden = goldens::named(CHAIN).unwrap();
        Self {
            time: golden.time().unwrap(),
            header: xfcc(&golden.chain()),
            source: Preset::Envoy.source(),
            limits: RequestLimits::default(),
        }
    }

    fn pipeline(cache_bytes: usize, backend: impl Into<Backend>) -> Pipeline {
        let mut document = goldens::named(CHAIN).unwrap().document();
        document["limits"]["cacheBytes"] = cache_bytes.into();
        document["source"] =
            json!({ "header": { "preset": "ENVOY", "relay": { "trustAnyRelay": true } } });
        let config = Config::from_bytes(document.to_string().as_bytes()).unwrap();
        Pipeline::new(config, backend)
    }

    fn decode(&self) -> ForwardedChain {
        let lines: [(&[u8], &[u8]); 1] = [(b"x-forwarded-client-cert", self.header.as_bytes())];
        self.source.decode(&lines, Relay::default(), &self.limits)
    }

    fn ders(&self) -> Vec<Vec<u8>> {
        let ForwardedChain::Present { end_entity, others } = self.decode() else {
            panic!("not decoded");
        };
        core::iter::once(end_entity.into_der())
            .chain(others.unwrap())
            .collect()
    }

    fn judge(&self, pipeline: &Pipeline) -> ClientCert {
        ClientCert::judge(
            self.decode(),
            pipeline.config().trust.as_ref(),
            &Policy::new(Profile::Google, Some(KeyPurpose::ClientAuth)),
            &self.limits,
            UNREAD,
            Some(self.time),
        )
    }

    /// The header as other clients of the same CAs would have it: new to the verdicts that are
    /// remembered, and the certificates are the same.
    fn new_clients(&self) -> Vec<String> {
        let header = |number| format!("{};URI=spiffe://bench.test/{number:06}", self.header);
        (0..CLIENTS).map(header).collect()
    }

    fn request(&self, pipeline: &Pipeline, header: &str) {
        let headers: [(&[u8], &[u8]); 3] = [
            (b"x-forwarded-client-cert", header.as_bytes()),
            (b"user-agent", b"bench"),
            (b"accept", b"*/*"),
        ];
        let request = Request {
            method: b"GET",
            host: b"gate.test",
            path: b"/",
            headers: &headers,
            direct_peer: None,
        };
        let decision = pipeline.run(&Presented::Tls(&[]), &request, Some(self.time));
        let names = headers.iter().map(|(name, _)| *name);
        assert_eq!(decision.request.removals(names).len(), 1);
        assert!(decision.report.verified);
        assert_eq!(decision.request.add[0].name, header_of(Variable::ALL[0]));
        black_box(decision);
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|one| one != "--bench");
    let name = arguments.next().unwrap_or_else(|| "all".to_owned());
    let times: usize = arguments.next().map_or(1, |times| times.parse().unwrap());
    let case = Case::new();
    let cold = Case::pipeline(0, UNREAD);
    let warm = Case::pipeline(1 << 24, UNREAD);
    let rustcrypto = Case::pipeline(0, mtls_gate_rustcrypto::BACKEND);
    let ders = case.ders();
    let verified = case.judge(&cold);
    assert!(verified.is_verified());
    case.request(&warm, &case.header);
    let small = Case::pipeline(1 << 20, UNREAD);
    let clients = case.new_clients();
    clients
        .iter()
        .for_each(|header| case.request(&small, header));
    let turn = Cell::new(0);
    let request_new = || {
        turn.set((turn.get() + 1) % clients.len());
        case.request(&small, &clients[turn.get()]);
    };
    let decode = || drop(black_box(case.decode()));
    let parse = || {
        for der in &ders {
            black_box(Certificate::parse(der.clone()).unwrap());
        }
    };
    let judge = || drop(black_box(case.judge(&cold)));
    let variables = || drop(black_box(Variables::from(&verified)));
    let request_cold = || case.request(&cold, &case.header);
    let request_warm = || case.request(&warm, &case.header);
    let request_rustcrypto = || case.request(&rustcrypto, &case.header);
    let cases: [(&str, &dyn Fn()); 8] = [
        ("decode", &decode),
        ("parse", &parse),
        ("judge", &judge),
        ("variables", &variables),
        ("request_cold", &request_cold),
        ("request_warm", &request_warm),
        ("request_new", &request_new),
        ("request_cold_rustcrypto", &request_rustcrypto),
    ];
    for (of, work) in cases {
        if name == of || name == "all" {
            for _ in 0..times {
                work();
            }
        }
    }
}
