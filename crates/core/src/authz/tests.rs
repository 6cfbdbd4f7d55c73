use serde_json::{Value, json};

use super::*;
use crate::config;
use crate::error::Refusal;
use crate::forwarded::pem::{self, Around, Bounds, Label};
use crate::x509::Certificate;

macro_rules! chain {
    ($case:literal) => {
        include_str!(concat!("../../../../testdata/chains/", $case, "/chain.pem"))
    };
}

fn end_entity(chain: &str) -> Vec<u8> {
    let bounds = Bounds {
        blocks: 20,
        der_bytes: 64 * 1024,
    };
    pem::blocks(
        chain.as_bytes(),
        Label::Certificate,
        Around::Nothing,
        bounds,
    )
    .unwrap()
    .remove(0)
}

fn verified_der(der: Vec<u8>) -> ClientCert {
    ClientCert::Verified {
        end_entity: Box::new(Certificate::parse(der).unwrap()),
        path: Vec::new(),
    }
}

fn verified(chain: &str) -> ClientCert {
    verified_der(end_entity(chain))
}

/// URIs `https://a.mtls-gate.test/`, `spiffe://mtls-gate.test/tenant/a`, `urn:b`; DNS name
/// `c.test`; common name `SPIFFE ID with other URIs`.
fn usual() -> ClientCert {
    verified(chain!("spiffe_with_other_uris"))
}

fn absent() -> ClientCert {
    ClientCert::Unverified {
        fingerprint: None,
        refusal: Refusal::NotProvided,
    }
}

fn compile(policies: &Value) -> AuthzPolicies {
    let policies: Vec<resources::AuthzPolicy> = config::typed(policies.clone()).unwrap();
    let setting = Setting {
        direct_peer: DirectPeer::Known,
        validates: true,
        removed: &BTreeSet::new(),
    };
    AuthzPolicies::compile(&policies, setting).unwrap()
}

/// One policy, whose only rule this is.
fn policy(action: &str, rule: Value) -> Value {
    json!({"name": action.to_lowercase(), "action": action, "httpRules": [rule]})
}

fn single(action: &str, rule: Value) -> AuthzPolicies {
    compile(&json!([policy(action, rule)]))
}

fn from(list: &str, source: Value) -> Value {
    json!({"from": {list: [source]}})
}

fn to(list: &str, operation: Value) -> Value {
    json!({"to": {list: [operation]}})
}

fn principals(selector: &str, value: Value) -> Value {
    json!({"principals": [{"principalSelector": selector, "principal": value}]})
}

const REQUEST: Request<'_> = Request {
    method: b"GET",
    host: b"a.test",
    path: b"/api/x?q=1",
    headers: &[],
    direct_peer: None,
};

fn allowed(policies: &AuthzPolicies, request: &Request<'_>) -> bool {
    policies.evaluate(request, &absent()).is_allowed()
}

/// Whether an ALLOW policy of this rule lets in, which must be whether a DENY policy keeps out.
#[track_caller]
fn matches(rule: &Value, request: &Request<'_>, client_cert: &ClientCert) -> bool {
    let judge = |action| {
        let policies = single(action, rule.clone());
        policies.evaluate(request, client_cert).is_allowed()
    };
    let is_let_in = judge("ALLOW");
    assert_eq!(judge("DENY"), !is_let_in, "{rule}");
    is_let_in
}

#[track_caller]
fn asks_for(operation: Value, request: &Request<'_>) -> bool {
    let is_match = matches(&to("operations", operation.clone()), request, &absent());
    let negated = matches(&to("notOperations", operation), request, &absent());
    assert_eq!(negated, !is_match);
    is_match
}

#[track_caller]
fn comes_from(source: Value, request: &Request<'_>, client_cert: &ClientCert) -> bool {
    let is_match = matches(&from("sources", source.clone()), request, client_cert);
    let negated = matches(&from("notSources", source), request, client_cert);
    assert_eq!(negated, !is_match);
    is_match
}

#[test]
fn deny_before_allow_and_nothing_is_allowed() {
    let get = || to("operations", json!({"methods": ["GET"]}));
    let post = || to("operations", json!({"methods": ["POST"]}));
    let no_deny = (
        None,
        "ALLOWED",
        Some("allowed_as_no_deny_policies_matched_request"),
    );
    let no_allow = (
        None,
        "DENIED",
        Some("denied_as_no_allow_policies_matched_request"),
    );
    let by = |name, result| (Some(name), result, None);
    // Policies; allowed; who decides; authzPolicyInfo.policies; why.
    let cases = [
        (
            json!([]),
            (true, None),
            vec![],
            "no DENY policy matches, and there is no ALLOW policy",
        ),
        (
            json!([policy("DENY", post())]),
            (true, None),
            vec![no_deny],
            "no DENY policy matches, and there is no ALLOW policy",
        ),
        (
            json!([policy("DENY", get())]),
            (false, Some("deny")),
            vec![by("deny", "DENIED")],
            "DENY policy deny matches",
        ),
        (
            json!([policy("ALLOW", get()), policy("DENY", get())]),
            (false, Some("deny")),
            vec![by("deny", "DENIED")],
            "DENY policy deny matches",
        ),
        (
            json!([policy("ALLOW", get()), policy("DENY", post())]),
            (true, Some("allow")),
            vec![no_deny, by("allow", "ALLOWED")],
            "ALLOW policy allow matches",
        ),
        (
            json!([policy("ALLOW", get())]),
            (true, Some("allow")),
            vec![by("allow", "ALLOWED")],
            "ALLOW policy allow matches",
        ),
        (
            json!([policy("ALLOW", post()), policy("DENY", post())]),
            (false, None),
            vec![no_deny, no_allow],
            "no ALLOW policy matches",
        ),
        (
            json!([policy("ALLOW", post())]),
            (false, None),
            vec![no_allow],
            "no ALLOW policy matches",
        ),
        // A rule that says nothing matches all.
        (
            json!([policy("DENY", json!({}))]),
            (false, Some("deny")),
            vec![by("deny", "DENIED")],
            "DENY policy deny matches",
        ),
    ];
    for (json, (is_allowed, decider), info, detail) in cases {
        let policies = compile(&json);
        let verdict = policies.evaluate(&REQUEST, &absent());
        assert_eq!(verdict.is_allowed(), is_allowed, "{json}");
        assert_eq!(verdict.result().as_str() == "ALLOWED", is_allowed);
        assert_eq!(
            verdict.status_details(),
            (!is_allowed).then_some("denied_by_authz_policy")
        );
        assert_eq!(verdict.policy(), decider, "{json}");
        assert_eq!(verdict.detail(), detail, "{json}");
        let written: Vec<_> = verdict
            .policies()
            .iter()
            .map(|entry| (entry.name, entry.result.as_str(), entry.details))
            .collect();
        assert_eq!(written, info, "{json}");
    }
    // Any of several ALLOW policies.
    let mut second = policy("ALLOW", get());
    second["name"] = json!("second");
    let policies = compile(&json!([policy("ALLOW", post()), second]));
    assert_eq!(
        policies.evaluate(&REQUEST, &absent()).policy(),
        Some("second")
    );
}

#[test]
fn or_within_lists_and_between_fields() {
    let get = |path| Request { path, ..REQUEST };
    // A list: any.
    let paths = json!({"paths": [{"exact": "/a"}, {"exact": "/b"}]});
    assert!(asks_for(paths.clone(), &get(b"/b")));
    assert!(!asks_for(paths, &get(b"/c")));
    let hosts = json!({"hosts": [{"exact": "b.test"}, {"exact": "a.test"}]});
    assert!(asks_for(hosts, &REQUEST));
    let other = json!({"principal": {"exact": "urn:c"}});
    let this = json!({"principal": {"exact": "urn:b"}});
    let two = json!({"principals": [other, this]});
    assert!(comes_from(two, &REQUEST, &usual()));
    let two = json!({"principals": [other, other]});
    assert!(!comes_from(two, &REQUEST, &usual()));
    let blocks = json!({"ipBlocks": [
        {"prefix": "10.0.0.0", "length": 8}, {"prefix": "2001:db8::", "length": 32}]});
    let v6 = Request {
        direct_peer: Some("2001:db8::1".parse().unwrap()),
        ..REQUEST
    };
    assert!(comes_from(blocks, &v6, &absent()));
    // Fields of one operation: all.
    let both = json!({"paths": [{"exact": "/a"}], "methods": ["POST", "GET"]});
    assert!(asks_for(both.clone(), &get(b"/a")));
    assert!(!asks_for(both.clone(), &get(b"/b")));
    let put = Request {
        method: b"PUT",
        ..get(b"/a")
    };
    assert!(!asks_for(both, &put));
    // Fields of one source: all.
    let peer = |address: &str| Request {
        direct_peer: Some(address.parse().unwrap()),
        ..REQUEST
    };
    let mut source = principals("CLIENT_CERT_URI_SAN", json!({"exact": "urn:b"}));
    source["ipBlocks"] = json!([{"prefix": "10.0.0.0", "length": 8}]);
    assert!(comes_from(source.clone(), &peer("10.1.1.1"), &usual()));
    assert!(!comes_from(source.clone(), &peer("11.1.1.1"), &usual()));
    assert!(!comes_from(source, &peer("10.1.1.1"), &absent()));
    // from and to: both.
    let mut rule = from(
        "sources",
        principals("CLIENT_CERT_URI_SAN", json!({"exact": "urn:b"})),
    );
    rule["to"] = json!({"operations": [{"methods": ["GET"]}]});
    assert!(matches(&rule, &REQUEST, &usual()));
    assert!(!matches(&rule, &REQUEST, &absent()));
    assert!(!matches(&rule, &put, &usual()));
    // Rules: any.
    let methods = |method| to("operations", json!({"methods": [method]}));
    let rules = json!([{
        "name": "p", "action": "ALLOW", "httpRules": [methods("POST"), methods("GET")]}]);
    assert!(allowed(&compile(&rules), &REQUEST));
    assert!(!allowed(&compile(&rules), &put));
    // Headers: all.
    let headers = json!({"headerSet": {"headers": [
        {"name": "x-a", "value": {"exact": "1"}}, {"name": "x-b", "value": {"exact": "2"}}]}});
    let with = |headers| Request { headers, ..REQUEST };
    assert!(asks_for(
        headers.clone(),
        &with(&[(b"x-b", b"2"), (b"x-a", b"1")])
    ));
    assert!(!asks_for(headers.clone(), &with(&[(b"x-a", b"1")])));
    assert!(!asks_for(headers, &with(&[(b"x-b", b"3"), (b"x-a", b"1")])));
}

#[test]
fn methods_and_paths_are_compared_as_they_are() {
    let method = |method| Request { method, ..REQUEST };
    let get = || json!({"methods": ["GET"]});
    assert!(asks_for(get(), &REQUEST));
    for other in [&b"GETS"[..], b"GE", b""] {
        assert!(!asks_for(get(), &method(other)));
    }
    // In other letters it is let in nowhere, and kept out as the method itself.
    for (action, list) in [
        ("ALLOW", "operations"),
        ("DENY", "operations"),
        ("ALLOW", "notOperations"),
        ("DENY", "notOperations"),
    ] {
        let policies = single(action, to(list, get()));
        assert!(!allowed(&policies, &method(b"get")), "{action} {list}");
    }
    let path = |path| Request { path, ..REQUEST };
    let exact = || json!({"paths": [{"exact": "/api/x?q=1"}]});
    assert!(asks_for(exact(), &REQUEST));
    assert!(!asks_for(exact(), &path(b"/api/x")));
    let suffix = || json!({"paths": [{"suffix": "q=1"}]});
    assert!(asks_for(suffix(), &REQUEST));
    assert!(!asks_for(suffix(), &path(b"/api/x?q=12")));
    let prefix = || json!({"paths": [{"prefix": "/api/"}]});
    assert!(asks_for(prefix(), &path(b"/api/\xff\0")));
    assert!(!asks_for(prefix(), &path(b"/API/")));
    assert!(!asks_for(prefix(), &path(b"/%61pi/")));
    let folded = || json!({"paths": [{"prefix": "/Api/", "ignoreCase": true}]});
    assert!(asks_for(folded(), &path(b"/aPI/\xff")));
    assert!(!asks_for(folded(), &path(b"/bpi/")));
    // CONNECT has no path, which no pattern matches.
    let connect = Request {
        method: b"CONNECT",
        path: b"",
        ..REQUEST
    };
    assert!(!asks_for(json!({"paths": [{"contains": "a"}]}), &connect));
    assert!(!asks_for(prefix(), &connect));
}

#[test]
fn a_query_is_no_way_around_a_path_that_keeps_out() {
    let is_allowed = |action: &str, list: &str, pattern: &Value, path: &[u8]| {
        let policies = single(action, to(list, json!({"paths": [pattern]})));
        allowed(&policies, &Request { path, ..REQUEST })
    };
    let exact = json!({"exact": "/admin"});
    let suffix = json!({"suffix": ".PHP", "ignoreCase": true});
    for (pattern, path) in [
        (&exact, &b"/admin?"[..]),
        (&exact, b"/admin?a=b?c"),
        (&suffix, b"/x.php?a"),
    ] {
        for (action, list) in [("DENY", "operations"), ("ALLOW", "notOperations")] {
            assert!(
                !is_allowed(action, list, pattern, path),
                "{action} {pattern}"
            );
        }
        // Where a match lets in, the query belongs to the path.
        for (action, list) in [("ALLOW", "operations"), ("DENY", "notOperations")] {
            assert!(
                !is_allowed(action, list, pattern, path),
                "{action} {pattern}"
            );
        }
    }
    for path in [&b"/admin2?"[..], b"/a?/admin", b"?/admin"] {
        assert!(is_allowed("DENY", "operations", &exact, path));
    }
    let query = json!({"suffix": "?a=b"});
    assert!(!is_allowed("DENY", "operations", &query, b"/x?a=b"));
    assert!(is_allowed("ALLOW", "operations", &query, b"/x?a=b"));
}

#[test]
fn one_host_is_one_host_however_it_is_written() {
    let host = |host| Request { host, ..REQUEST };
    let exact = || json!({"hosts": [{"exact": "Admin.test"}]});
    for same in [
        &b"admin.test"[..],
        b"ADMIN.test",
        b"admin.test.",
        b"admin.test:443",
    ] {
        assert!(asks_for(exact(), &host(same)), "{}", same.escape_ascii());
    }
    for other in [&b"admin.tes"[..], b"xadmin.test", b"admin.test.evil.test"] {
        assert!(!asks_for(exact(), &host(other)), "{}", other.escape_ascii());
    }
    // What may be read in two ways is refused as soon as any policy looks at hosts.
    for odd in [
        &b""[..],
        b"admin.test..",
        b"x@admin.test",
        b"admin.test\xff",
        b"a,admin.test",
    ] {
        for action in ["ALLOW", "DENY"] {
            for list in ["operations", "notOperations"] {
                let policies = single(action, to(list, exact()));
                let verdict = policies.evaluate(&host(odd), &absent());
                assert!(!verdict.is_allowed());
                assert_eq!(
                    verdict.detail(),
                    format!(
                        "policy {} cannot be judged: the request's host is missing or malformed",
                        action.to_lowercase()
                    )
                );
            }
        }
        let no_hosts = single("DENY", to("operations", json!({"methods": ["PUT"]})));
        assert!(allowed(&no_hosts, &host(odd)));
    }
}

#[test]
fn headers_cannot_be_hidden_or_added_by_repetition() {
    let rule = |list: &str, value: Value| {
        to(
            list,
            json!({"headerSet": {"headers": [{"name": "X-Env", "value": value}]}}),
        )
    };
    let is_allowed = |action: &str, list: &str, headers: &[(&[u8], &[u8])]| {
        let policies = single(action, rule(list, json!({"exact": "prod"})));
        allowed(&policies, &Request { headers, ..REQUEST })
    };
    // What is plain, and what is somebody else's.
    for (headers, is_match) in [
        (&[(&b"x-env"[..], &b"prod"[..])][..], true),
        (&[(b"X-ENV", b"prod")], true),
        (&[(b"a", b"b"), (b"x-env", b"prod")], true),
        (&[(b"x-env", b"Prod")], false),
        (&[(b"x-env", b"dev")], false),
        (&[(b"x-env2", b"prod")], false),
        (&[(b":x-env", b"prod")], false),
        (&[], false),
    ] {
        assert_eq!(
            is_allowed("ALLOW", "operations", headers),
            is_match,
            "{headers:?}"
        );
        assert_eq!(
            is_allowed("DENY", "operations", headers),
            !is_match,
            "{headers:?}"
        );
        assert_eq!(
            is_allowed("ALLOW", "notOperations", headers),
            !is_match,
            "{headers:?}"
        );
        assert_eq!(
            is_allowed("DENY", "notOperations", headers),
            is_match,
            "{headers:?}"
        );
    }
    // What one backend reads as prod and another does not: never let in, always kept out.
    for headers in [
        &[(&b"x-env"[..], &b"prod"[..]), (b"x-env", b"dev")][..],
        &[(b"x-env", b"dev"), (b"x-env", b"prod")],
        &[(b"x-env", b"prod"), (b"X-Env", b"prod")],
        &[(b"x-env", b"prod"), (b"x_env", b"dev")],
        &[(b"x_env", b"prod")],
        &[(b"x.env", b"prod"), (b"x-env", b"dev")],
        &[(b"x-env", b"dev, prod ,x")],
        &[(b"x-env", b"\xff"), (b"x-env", b"prod")],
    ] {
        for (action, list) in [
            ("ALLOW", "operations"),
            ("DENY", "operations"),
            ("ALLOW", "notOperations"),
            ("DENY", "notOperations"),
        ] {
            assert!(
                !is_allowed(action, list, headers),
                "{action} {list} {headers:?}"
            );
        }
    }
    // A pseudo-header is no header, whatever backends make of its name.
    let named = json!({"headerSet": {"headers": [{"name": "-path", "value": {"exact": "/"}}]}});
    let pseudo: &[(&[u8], &[u8])] = &[(b":path", b"/")];
    let request = Request {
        headers: pseudo,
        ..REQUEST
    };
    assert!(allowed(&single("DENY", to("operations", named)), &request));
    // Letter case in an element of a list.
    let folded = rule("operations", json!({"exact": "pROD", "ignoreCase": true}));
    let list: &[(&[u8], &[u8])] = &[(b"x-env", b"dev, PRod")];
    let request = Request {
        headers: list,
        ..REQUEST
    };
    assert!(!allowed(&single("DENY", folded), &request));
    // The joined value (Google): both lines together, and each must match to let in.
    let lines: &[(&[u8], &[u8])] = &[(b"x-env", b"a"), (b"x-env", b"b")];
    let request = Request {
        headers: lines,
        ..REQUEST
    };
    assert!(!allowed(
        &single("DENY", rule("operations", json!({"exact": "a,b"}))),
        &request
    ));
    assert!(allowed(
        &single("DENY", rule("operations", json!({"exact": "b,a"}))),
        &request
    ));
    let prefix = json!({"prefix": "a"});
    assert!(!allowed(
        &single("ALLOW", rule("operations", prefix.clone())),
        &request
    ));
    let lines: &[(&[u8], &[u8])] = &[(b"x-env", b"a1"), (b"x-env", b"a2")];
    let request = Request {
        headers: lines,
        ..REQUEST
    };
    assert!(allowed(
        &single("ALLOW", rule("operations", prefix)),
        &request
    ));
}

#[test]
fn principals_are_those_of_a_verified_certificate() {
    let unverified = ClientCert::Unverified {
        fingerprint: Some([0; 32]),
        refusal: Refusal::NotPerformed,
    };
    let uri = |value| principals("CLIENT_CERT_URI_SAN", value);
    for (source, is_match) in [
        (
            uri(json!({"exact": "spiffe://mtls-gate.test/tenant/a"})),
            true,
        ),
        (uri(json!({"exact": "https://a.mtls-gate.test/"})), true),
        (uri(json!({"exact": "urn:b"})), true),
        (
            uri(json!({"prefix": "spiffe://mtls-gate.test/tenant/"})),
            true,
        ),
        (uri(json!({"suffix": "/tenant/a"})), true),
        (uri(json!({"contains": "tenant"})), true),
        (uri(json!({"exact": "URN:B", "ignoreCase": true})), true),
        (uri(json!({"exact": "urn:"})), false),
        // Every selector looks at its own names only.
        (uri(json!({"exact": "c.test"})), false),
        (
            json!({"principals": [{"principal": {"exact": "urn:b"}}]}),
            true,
        ),
        (
            principals("CLIENT_CERT_DNS_NAME_SAN", json!({"exact": "c.test"})),
            true,
        ),
        (
            principals("CLIENT_CERT_DNS_NAME_SAN", json!({"exact": "urn:b"})),
            false,
        ),
        (
            principals(
                "CLIENT_CERT_COMMON_NAME",
                json!({"exact": "SPIFFE ID with other URIs"}),
            ),
            true,
        ),
        (
            principals(
                "CLIENT_CERT_COMMON_NAME",
                json!({"exact": "SPIFFE ID with"}),
            ),
            false,
        ),
        (
            principals("CLIENT_CERT_COMMON_NAME", json!({"exact": "c.test"})),
            false,
        ),
    ] {
        assert_eq!(
            comes_from(source.clone(), &REQUEST, &usual()),
            is_match,
            "{source}"
        );
        for nobody in [ClientCert::Off, absent(), unverified.clone()] {
            assert!(!comes_from(source.clone(), &REQUEST, &nobody), "{source}");
        }
    }
    // No common name is the empty value.
    let any = principals("CLIENT_CERT_COMMON_NAME", json!({"contains": "a"}));
    assert!(!comes_from(
        any,
        &REQUEST,
        &verified(chain!("subject_empty"))
    ));
    // Other spellings of a name count where it keeps out only.
    for names in [
        principals("CLIENT_CERT_DNS_NAME_SAN", json!({"exact": "C.TEST"})),
        principals("CLIENT_CERT_URI_SAN", json!({"exact": "URN:B"})),
        principals(
            "CLIENT_CERT_COMMON_NAME",
            json!({"exact": "spiffe id WITH other URIs"}),
        ),
    ] {
        for (action, list) in [
            ("ALLOW", "sources"),
            ("DENY", "sources"),
            ("ALLOW", "notSources"),
        ] {
            let policies = single(action, from(list, names.clone()));
            assert!(
                !policies.evaluate(&REQUEST, &usual()).is_allowed(),
                "{action} {list} {names}"
            );
        }
    }
}

/// In YAML, what is left of a field whose content is commented out.
#[test]
fn nothing_said_is_not_everybody() {
    for field in ["from", "to"] {
        let rule = json!({ field: null });
        let refused: Result<Vec<resources::AuthzPolicy>, _> =
            config::typed(json!([policy("ALLOW", rule)]));
        assert!(refused.is_err(), "{field}");
    }
}

#[test]
fn attributes_that_are_unfit_refuse_whoever_uses_them() {
    const URI: &str = "CLIENT_CERT_URI_SAN";
    const DNS: &str = "CLIENT_CERT_DNS_NAME_SAN";
    const CN: &str = "CLIENT_CERT_COMMON_NAME";
    let patched = |chain: &str, old: &[u8], new: &[u8]| {
        let mut der = end_entity(chain);
        let places: Vec<usize> = (0..der.len())
            .filter(|at| der[*at..].starts_with(old))
            .collect();
        assert!(!places.is_empty());
        for at in places {
            der[at..at + new.len()].copy_from_slice(new);
        }
        verified_der(der)
    };
    let usual_chain = chain!("spiffe_with_other_uris");
    // The organization becomes a second common name; the common name becomes an OCTET STRING.
    let two_names = patched(usual_chain, &[0x55, 0x04, 0x0a], &[0x55, 0x04, 0x03]);
    let no_text = patched(
        usual_chain,
        &[0x55, 0x04, 0x03, 0x0c],
        &[0x55, 0x04, 0x03, 0x04],
    );
    let uris = "the certificate's URI names are over their size limit";
    for (client_cert, unfit) in [
        (usual(), vec![]),
        (verified(chain!("uri_sans_512")), vec![]),
        (verified(chain!("uri_sans_over_512")), vec![(URI, uris)]),
        (verified(chain!("spiffe_2048_bytes")), vec![]),
        (verified(chain!("spiffe_2049_bytes")), vec![(URI, uris)]),
        (verified(chain!("spiffe_two")), vec![]),
        (verified(chain!("dnsname_sans_512")), vec![]),
        (
            verified(chain!("dnsname_sans_over_512")),
            vec![(DNS, "the certificate's DNS names are over their size limit")],
        ),
        (verified(chain!("subject_dn_512")), vec![]),
        (
            verified(chain!("subject_dn_over_512")),
            vec![(CN, "the certificate's subject is over its size limit")],
        ),
        (
            two_names,
            vec![(CN, "the certificate has several common names")],
        ),
        (
            no_text,
            vec![(CN, "the certificate's common name is no text")],
        ),
    ] {
        for selector in [URI, DNS, CN] {
            let why = unfit.iter().find(|(unfit, _)| *unfit == selector);
            // Neither pattern matches, so that only the attribute itself can refuse.
            let nobody = || principals(selector, json!({"exact": "nobody"}));
            for (action, list) in [("DENY", "sources"), ("ALLOW", "notSources")] {
                let policies = single(action, from(list, nobody()));
                let verdict = policies.evaluate(&REQUEST, &client_cert);
                assert_eq!(verdict.is_allowed(), why.is_none(), "{selector} {unfit:?}");
                if let Some((_, why)) = why {
                    let policy = action.to_lowercase();
                    assert_eq!(verdict.policy(), Some(&*policy));
                    assert_eq!(
                        verdict.detail(),
                        format!("policy {policy} cannot be judged: {why}")
                    );
                    assert_eq!(verdict.policies().len(), 1);
                    assert_eq!(verdict.policies()[0].result, PolicyResult::Denied);
                }
            }
            // Also where another policy would allow.
            let mut users = policy("ALLOW", from("sources", nobody()));
            users["name"] = json!("users");
            let policies = compile(&json!([policy("ALLOW", json!({})), users]));
            let verdict = policies.evaluate(&REQUEST, &client_cert);
            assert_eq!(verdict.is_allowed(), why.is_none(), "{selector} {unfit:?}");
        }
    }
}

#[test]
fn an_unknown_direct_peer_lets_nobody_in() {
    let block = || json!({"ipBlocks": [{"prefix": "10.0.0.0", "length": 8}]});
    let peer = |address: &str| Request {
        direct_peer: Some(address.parse().unwrap()),
        ..REQUEST
    };
    for inside in ["10.1.2.3", "::ffff:10.1.2.3"] {
        assert!(comes_from(block(), &peer(inside), &absent()), "{inside}");
    }
    for outside in ["11.1.2.3", "::ffff:11.1.2.3", "::a01:203"] {
        assert!(!comes_from(block(), &peer(outside), &absent()), "{outside}");
    }
    for action in ["ALLOW", "DENY"] {
        for list in ["sources", "notSources"] {
            assert!(
                !allowed(&single(action, from(list, block())), &REQUEST),
                "{action} {list}"
            );
        }
    }
    // Where a match would let in, there is no match, and others may still allow.
    let mut other = policy("ALLOW", json!({}));
    other["name"] = json!("other");
    let policies = compile(&json!([
        policy("ALLOW", from("sources", block())),
        other.clone()
    ]));
    assert!(allowed(&policies, &REQUEST));
    // Where it would keep out, nobody can tell.
    let policies = compile(&json!([
        policy("ALLOW", from("notSources", block())),
        other
    ]));
    assert_eq!(
        policies.evaluate(&REQUEST, &absent()).detail(),
        "policy allow cannot be judged: the direct peer's address is not known"
    );
}

#[test]
fn policies_that_no_certificate_dodges() {
    let uri = || principals("CLIENT_CERT_URI_SAN", json!({"exact": "urn:b"}));
    for (action, rule, is_dodged) in [
        ("DENY", from("sources", uri()), true),
        ("ALLOW", from("notSources", uri()), true),
        ("ALLOW", from("sources", uri()), false),
        ("DENY", from("notSources", uri()), false),
        ("DENY", to("operations", json!({"methods": ["GET"]})), false),
        (
            "DENY",
            from(
                "sources",
                json!({"ipBlocks": [{"prefix": "10.0.0.0", "length": 8}]}),
            ),
            false,
        ),
    ] {
        let policies = single(action, rule.clone());
        assert_eq!(policies.has_allow(), action == "ALLOW");
        let only = policies.policies().next().unwrap();
        assert_eq!(
            only.dodged_by_no_certificate(),
            is_dodged,
            "{action} {rule}"
        );
        assert_eq!(only.action() == Action::Allow, action == "ALLOW");
        // It is what it says.
        if rule.to_string().contains("principals") {
            let dodges = !policies.evaluate(&REQUEST, &usual()).is_allowed()
                && policies.evaluate(&REQUEST, &absent()).is_allowed();
            assert_eq!(dodges, is_dodged, "{action} {rule}");
        }
    }
    assert!(!AuthzPolicies::default().has_allow());
}
