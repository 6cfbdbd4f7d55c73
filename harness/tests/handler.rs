//! The filter's handler before odd hosts and odd headers: it fails closed, and no other certificate
//! is ever taken for the client's.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::rc::Rc;

use mtls_gate::goldens::{self, Golden, header_of};
use mtls_gate_core::variables::Variable;
use mtls_gate_filter::handle::{Flow, Stream};
use sha2::{Digest, Sha256};
use support::{FakeHost, pipeline, xfcc};

const FAILED: &str = "client_cert_validation_failed";

fn golden(name: &str) -> Golden {
    let all = goldens::all().unwrap();
    all.into_iter().find(|golden| golden.name == name).unwrap()
}

/// A valid client as Envoy 1.38 and later show it.
fn valid() -> (Golden, FakeHost) {
    let golden = golden("one_intermediate");
    let mut host = bare(&golden);
    host.properties
        .push(("connection.peer_certificate", golden.chain()[0].into()));
    forward(&host, &xfcc(&golden));
    (golden, host)
}

fn bare(golden: &Golden) -> FakeHost {
    FakeHost {
        time: Some(golden.time().unwrap()),
        ..FakeHost::default()
    }
}

fn forward(host: &FakeHost, value: &str) {
    let header = (
        b"x-forwarded-client-cert".to_vec(),
        value.as_bytes().to_vec(),
    );
    host.headers.borrow_mut().push(header);
}

fn run(golden: &Golden, host: &FakeHost) -> Flow {
    Stream::new(Some(Rc::new(pipeline(golden)))).on_request_headers(host)
}

/// What the backend gets for a variable.
fn seen(host: &FakeHost, variable: Variable) -> String {
    let name = header_of(variable).into_bytes();
    let headers = host.headers.borrow();
    let found: Vec<_> = headers
        .iter()
        .filter(|(present, _)| *present == name)
        .collect();
    assert_eq!(found.len(), 1, "{variable:?}");
    String::from_utf8(found[0].1.clone()).unwrap()
}

fn verdict(golden: &Golden, host: &FakeHost) -> (String, String, String) {
    assert_eq!(run(golden, host), Flow::Continue);
    (
        seen(host, Variable::Present),
        seen(host, Variable::ChainVerified),
        seen(host, Variable::Error),
    )
}

fn of(present: &str, verified: &str, error: &str) -> (String, String, String) {
    (present.into(), verified.into(), error.into())
}

#[test]
fn before_envoy_1_38_the_header_must_match_the_connection() {
    let golden = golden("one_intermediate");
    let end_entity = goldens_der(&golden);
    let digest: String = Sha256::digest(&end_entity)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let host = |digest: &str| {
        let mut host = bare(&golden);
        host.properties.push(("connection.mtls", vec![1]));
        host.properties
            .push(("connection.sha256_peer_certificate_digest", digest.into()));
        host
    };
    let matching = host(&digest);
    forward(&matching, &xfcc(&golden));
    assert_eq!(verdict(&golden, &matching), of("true", "true", ""));
    // Another certificate than the connection's is not the client's.
    let other = host(&"0".repeat(64));
    forward(&other, &xfcc(&golden));
    assert_eq!(verdict(&golden, &other), of("true", "false", FAILED));
    assert_eq!(seen(&other, Variable::Sha256Fingerprint), "");
    // A certificate that is not shown is not a missing one.
    assert_eq!(
        verdict(&golden, &host(&digest)),
        of("true", "false", FAILED)
    );
    for flag in [vec![1], b"true".to_vec()] {
        let mut unseen = bare(&golden);
        unseen.properties.push(("connection.mtls", flag));
        assert_eq!(verdict(&golden, &unseen), of("true", "false", FAILED));
    }
}

fn goldens_der(golden: &Golden) -> Vec<u8> {
    openssl::x509::X509::from_pem(golden.chain()[0].as_bytes())
        .unwrap()
        .to_der()
        .unwrap()
}

#[test]
fn without_a_certificate_the_header_counts_for_nothing() {
    let golden = golden("one_intermediate");
    for flag in [vec![], vec![0], b"false".to_vec()] {
        let mut host = bare(&golden);
        host.properties.push(("connection.mtls", flag));
        host.properties
            .push(("connection.peer_certificate", Vec::new()));
        forward(&host, &xfcc(&golden));
        let expected = of("false", "false", "client_cert_not_provided");
        assert_eq!(verdict(&golden, &host), expected);
    }
}

#[test]
fn a_broken_header_is_neither_missing_nor_promoted() {
    let golden = golden("one_intermediate");
    let chain = xfcc(&golden);
    let broken = [
        chain.replace("Chain=\"", "Chain=\"%zz"),
        chain.replace("Chain=\"-----BEGIN", "Chain=\"-----XEGIN"),
        format!(
            "Chain=\"{}",
            chain
                .split_once("Chain=\"")
                .unwrap()
                .1
                .trim_end_matches('"')
        ),
        "Chain=\"-----BEGIN%20CERTIFICATE-----AAAA\"".to_owned(),
        "Chain=\"-----BEGIN%20CERTIFICATE-----MAA=-----END%20CERTIFICATE-----\"".to_owned(),
    ];
    for header in broken {
        let mut host = bare(&golden);
        host.properties
            .push(("connection.peer_certificate", golden.chain()[0].into()));
        forward(&host, &header);
        assert_eq!(
            verdict(&golden, &host),
            of("true", "false", FAILED),
            "{header}"
        );
        // The fingerprint is the end entity's own.
        let expected = &golden.expected.variables["client_cert_sha256_fingerprint"];
        assert_eq!(&seen(&host, Variable::Sha256Fingerprint), expected);
    }
    let (golden, host) = valid();
    forward(&host, &xfcc(&golden));
    assert_eq!(
        verdict(&golden, &host),
        of("true", "false", FAILED),
        "two headers"
    );
    let (golden, host) = valid();
    host.headers.borrow_mut()[0]
        .1
        .extend(vec![b' '; 128 * 1024]);
    let expected = of("true", "false", "client_cert_exceeded_size_limit");
    assert_eq!(verdict(&golden, &host), expected);
}

#[test]
fn a_broken_end_entity_is_present_and_unverified() {
    let (golden, _) = valid();
    let second = golden.chain()[1].to_owned();
    for peer in [
        b"garbage".to_vec(),
        b"\xff\x00".to_vec(),
        b"-----BEGIN CERTIFICATE-----\nMAA\n-----END CERTIFICATE-----\n".to_vec(),
        [golden.chain()[0], second.as_str()].concat().into_bytes(),
    ] {
        let mut host = bare(&golden);
        host.properties.push(("connection.peer_certificate", peer));
        forward(&host, &xfcc(&golden));
        assert_eq!(verdict(&golden, &host), of("true", "false", FAILED));
    }
}

#[test]
fn whatever_the_host_refuses_the_stream_ends() {
    let calls: [&'static [&'static str]; 3] = [&["headers"], &["remove_header"], &["add_header"]];
    for calls in calls {
        let (golden, mut host) = valid();
        host.fails = calls;
        assert_eq!(run(&golden, &host), Flow::Stop, "{calls:?}");
        assert!(*host.reset.borrow(), "{calls:?}");
    }
    // A host that cannot reset answers; one that can do neither still stops.
    let golden = golden("no_certificate_reject");
    let mut host = bare(&golden);
    host.fails = &["reset"];
    assert_eq!(run(&golden, &host), Flow::Stop);
    assert_eq!(*host.answers.borrow(), [(403, String::new())]);
    host.fails = &["reset", "respond"];
    assert_eq!(run(&golden, &host), Flow::Stop);
    // A stream whose configuration never came.
    let host = bare(&golden);
    assert_eq!(Stream::new(None).on_request_headers(&host), Flow::Stop);
    assert_eq!(Stream::new(None).on_request_trailers(&host), Flow::Stop);
}

#[test]
fn without_a_clock_nothing_is_verified() {
    let (golden, mut host) = valid();
    host.time = None;
    assert_eq!(verdict(&golden, &host), of("true", "false", FAILED));
}

#[test]
fn counters_have_a_fixed_set_of_names() {
    let (golden, host) = valid();
    assert_eq!(verdict(&golden, &host), of("true", "true", ""));
    assert_eq!(*host.counters.borrow(), ["mtls_gate.verified"]);
    let golden = self::golden("two_variables_over_limit");
    let mut host = bare(&golden);
    host.properties
        .push(("connection.peer_certificate", golden.chain()[0].into()));
    forward(&host, &xfcc(&golden));
    assert_eq!(run(&golden, &host), Flow::Continue);
    let error = &golden.expected.variables["client_cert_error"];
    let mut expected = vec!["mtls_gate.verified".to_owned()];
    expected.extend(
        error
            .split(',')
            .map(|error| format!("mtls_gate.error.{error}")),
    );
    assert_eq!(*host.counters.borrow(), expected);
}
