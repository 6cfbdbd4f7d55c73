//! AuthzPolicies in the filter's handler: what a denial does to the host, and what comes before it.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::rc::Rc;

use mtls_gate::goldens::{self, Golden, testdata};
use mtls_gate_core::config::Config;
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_filter::handle::{Flow, Stream};
use mtls_gate_rustcrypto::ALGORITHMS;
use serde_json::{Value, json};
use support::{FakeHost, xfcc};

fn golden() -> Golden {
    let all = goldens::all().unwrap();
    let found = all.into_iter().find(|g| g.name == "one_intermediate");
    found.unwrap()
}

/// A GET of `/` from the golden's client, or from one without a certificate.
fn request(golden: &Golden, with_certificate: bool) -> FakeHost {
    let mut host = FakeHost {
        time: Some(golden.time().unwrap()),
        ..FakeHost::default()
    };
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (b":method".into(), b"GET".into()),
        (b":authority".into(), b"a.test".into()),
        (b":path".into(), b"/".into()),
        (b"x-internal".into(), b"yes".into()),
    ];
    if with_certificate {
        headers.push((b"x-forwarded-client-cert".into(), xfcc(golden).into()));
        let end_entity = golden.chain()[0].into();
        host.properties
            .push(("connection.peer_certificate", end_entity));
    }
    host.headers = headers.into();
    host
}

fn deny_all() -> Value {
    json!([{"name": "nobody", "action": "DENY", "httpRules": [{}]}])
}

fn stream(golden: &Golden, mode: &str, rest: Value) -> Stream {
    let mut document = golden.document();
    document["serverTlsPolicy"]["mtlsPolicy"]["clientValidationMode"] = json!(mode);
    let rest = rest.as_object().unwrap().clone();
    document.as_object_mut().unwrap().extend(rest);
    let config = Config::from_bytes(document.to_string().as_bytes()).unwrap();
    Stream::new(Some(Rc::new(Pipeline::new(config, ALGORITHMS))))
}

const ALLOW: &str = "ALLOW_INVALID_OR_MISSING_CLIENT_CERT";
const REJECT: &str = "REJECT_INVALID";

fn left(host: &FakeHost, name: &str) -> Vec<String> {
    let left = host.left.borrow();
    let found = left.iter().filter(|(found, _)| found == name);
    found.map(|(_, value)| value.clone()).collect()
}

#[test]
fn a_denial_is_answered_told_and_counted() {
    let golden = golden();
    let response = json!({"responseHeadersToAdd": [
        {"headerName": "X-Gate", "headerValue": "{client_cert_chain_verified}"}]});
    for (mode, certificate, error, counters) in [
        (
            REJECT,
            true,
            "denied_by_authz_policy",
            &["verified", "refused", "error.denied_by_authz_policy"][..],
        ),
        (
            ALLOW,
            false,
            "client_cert_not_provided,denied_by_authz_policy",
            &[
                "refused",
                "error.client_cert_not_provided",
                "error.denied_by_authz_policy",
            ],
        ),
    ] {
        let host = request(&golden, certificate);
        let sent = host.headers.borrow().clone();
        let mut stream = stream(
            &golden,
            mode,
            json!({"authzPolicies": deny_all(), "headerAction": response}),
        );
        assert_eq!(stream.on_request_headers(&host), Flow::Stop);
        assert_eq!(*host.answers.borrow(), [(403, "denied\n".to_owned())]);
        assert!(!*host.reset.borrow());
        assert_eq!(*host.headers.borrow(), sent);
        assert_eq!(left(&host, "mtls_gate_error"), [error]);
        let reason = left(&host, "mtls_gate_reason").concat();
        assert!(reason.ends_with("DENY policy nobody matches"), "{reason}");
        let counters: Vec<_> = counters.iter().map(|c| format!("mtls_gate.{c}")).collect();
        assert_eq!(*host.counters.borrow(), counters);
        // The answer comes by here, and tells nothing of the certificate.
        assert_eq!(stream.on_response_headers(&host), Flow::Continue);
        assert_eq!(*host.headers.borrow(), sent);
    }
}

#[test]
fn the_certificate_refuses_before_any_policy() {
    let golden = golden();
    let respond = json!({"action": "RESPOND", "status": 401, "body": "no"});
    for (rejection, answers) in [(json!({}), vec![]), (respond, vec![(401, "no".to_owned())])] {
        let host = request(&golden, false);
        let rest = json!({
            "authzPolicies": deny_all(), "authzDenial": {"status": 404, "body": "policy"},
            "rejection": rejection,
        });
        let mut stream = stream(&golden, REJECT, rest);
        assert_eq!(stream.on_request_headers(&host), Flow::Stop);
        assert_eq!(*host.reset.borrow(), answers.is_empty());
        assert_eq!(*host.answers.borrow(), answers);
        let error = left(&host, "mtls_gate_error");
        assert_eq!(error, ["client_cert_not_provided"]);
    }
}

#[test]
fn a_host_that_cannot_answer_closes() {
    let golden = golden();
    for (fails, resets) in [
        (&["respond"][..], true),
        (&["respond", "reset"], false),
        (&["headers"], true),
    ] {
        let mut host = request(&golden, true);
        host.fails = fails;
        let mut stream = stream(&golden, REJECT, json!({"authzPolicies": deny_all()}));
        assert_eq!(stream.on_request_headers(&host), Flow::Stop, "{fails:?}");
        assert_eq!(*host.reset.borrow(), resets, "{fails:?}");
        assert!(host.answers.borrow().is_empty());
    }
}

#[test]
fn policies_see_the_request_as_it_goes_on() {
    let golden = golden();
    let allow = |operation: Value| json!([{"name": "p", "action": "ALLOW", "httpRules": [{"to": {"operations": [operation]}}]}]);
    let internal = json!({"headerSet": {"headers": [
        {"name": "x-internal", "value": {"exact": "yes"}}]}});
    let flow = |operation: &Value, rest: Value, change: &dyn Fn(&FakeHost)| {
        let host = request(&golden, true);
        change(&host);
        let mut rest = rest;
        rest["authzPolicies"] = allow(operation.clone());
        stream(&golden, REJECT, rest).on_request_headers(&host)
    };
    let unchanged = |_: &FakeHost| {};
    assert_eq!(flow(&internal, json!({}), &unchanged), Flow::Continue);
    // What is removed, or set anew, is not the client's to use.
    let remove = json!({"headerAction": {"requestHeadersToRemove": ["X-Internal"]}});
    assert_eq!(flow(&internal, remove, &unchanged), Flow::Stop);
    let set = json!({"customRequestHeaders": ["X_Internal:yes"]});
    assert_eq!(flow(&internal, set, &unchanged), Flow::Stop);
    // Pseudo-headers are the request; without a host nothing that asks for one is judged.
    let host =
        json!({"hosts": [{"suffix": "test"}], "methods": ["GET"], "paths": [{"exact": "/"}]});
    assert_eq!(flow(&host, json!({}), &unchanged), Flow::Continue);
    for missing in [&b":authority"[..], b":method", b":path"] {
        let remove = |host: &FakeHost| {
            host.headers
                .borrow_mut()
                .retain(|(name, _)| name != missing);
        };
        assert_eq!(flow(&host, json!({}), &remove), Flow::Stop);
    }
}

#[test]
fn the_documented_example_does_what_it_says() {
    let text = std::fs::read_to_string(testdata().join("../docs/authorization.md")).unwrap();
    let (_, behind) = text.split_once("```yaml\n").unwrap();
    let (yaml, _) = behind.split_once("```").unwrap();
    let mut example: Value = serde_saphyr::from_str(yaml).unwrap();
    let principal = "/authzPolicies/0/httpRules/0/from/sources/0/principals/0";
    assert_eq!(
        example.pointer(principal).unwrap()["principal"],
        json!({"prefix": "spiffe://example.com/tenant/"})
    );
    // The golden's client has another name, and no URI.
    *example.pointer_mut(principal).unwrap() = json!({
        "principalSelector": "CLIENT_CERT_DNS_NAME_SAN", "principal": {"suffix": ".test"}});
    let golden = golden();
    for (host, path, flow) in [
        ("api.example.com", "/v1/x", Flow::Continue),
        ("api.example.com", "/v1/ADMIN/x", Flow::Stop),
        ("api.example.com", "/v2/x", Flow::Stop),
        ("other.example.com", "/v1/x", Flow::Stop),
    ] {
        let request = request(&golden, true);
        request.headers.borrow_mut()[1].1 = host.into();
        request.headers.borrow_mut()[2].1 = path.into();
        let mut stream = stream(&golden, REJECT, example.clone());
        assert_eq!(stream.on_request_headers(&request), flow, "{host} {path}");
    }
}
