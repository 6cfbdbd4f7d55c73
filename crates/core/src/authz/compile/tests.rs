use serde_json::{Value, json};

use super::*;
use crate::config;

fn compile_for(direct_peer: DirectPeer, policies: Value) -> Result<AuthzPolicies, ConfigError> {
    let policies: Vec<resources::AuthzPolicy> = config::typed(policies)?;
    let setting = Setting {
        direct_peer,
        validates: true,
        removed: &BTreeSet::new(),
    };
    AuthzPolicies::compile(&policies, setting)
}

fn refusal(policies: Value) -> String {
    match compile_for(DirectPeer::Known, policies.clone()) {
        Ok(_) => panic!("not refused: {policies}"),
        Err(error) => error.to_string(),
    }
}

/// One ALLOW policy with these fields over the usual ones.
fn policy(fields: Value) -> Value {
    let mut policy = json!({"name": "p", "action": "ALLOW", "httpRules": [{}]});
    for (name, value) in fields.as_object().unwrap() {
        policy[name] = value.clone();
    }
    policy
}

fn rule(rule: Value) -> Value {
    json!([policy(json!({"httpRules": [rule]}))])
}

fn source(source: Value) -> Value {
    rule(json!({"from": {"sources": [source]}}))
}

fn operation(operation: Value) -> Value {
    rule(json!({"to": {"operations": [operation]}}))
}

#[test]
fn whole_resources_are_read() {
    let policies = json!([{
        "name": "projects/p/locations/l/authzPolicies/a-1_B",
        "description": "d", "labels": {"a": "b"}, "etag": "e",
        "createTime": "t", "updateTime": "t",
        "target": {"loadBalancingScheme": "INTERNAL_MANAGED", "resources": ["r"]},
        "policyProfile": "REQUEST_AUTHZ",
        "networkRules": null, "customProvider": null,
        "httpRules": [{
            "from": {"sources": [{
                "principals": [
                    {"principal": {"exact": "spiffe://a/b"}},
                    {"principalSelector": "PRINCIPAL_SELECTOR_UNSPECIFIED",
                     "principal": {"prefix": "spiffe://a/"}},
                    {"principalSelector": "CLIENT_CERT_DNS_NAME_SAN",
                     "principal": {"suffix": ".test", "ignoreCase": true}},
                    {"principalSelector": "CLIENT_CERT_COMMON_NAME",
                     "principal": {"contains": "c"}}],
                "ipBlocks": [{"prefix": "10.0.0.0", "length": 8}],
                "resources": null}]},
            "to": {"notOperations": [{
                "hosts": [{"exact": "a.test"}], "paths": [{"prefix": "/"}],
                "methods": ["GET", "M-SEARCH"],
                "headerSet": {"headers": [{"name": "x-a", "value": {"exact": "b"}}]}}]}}],
        "action": "DENY"}]);
    let policies = compile_for(DirectPeer::Known, policies).unwrap();
    let names: Vec<&str> = policies.policies().map(Policy::name).collect();
    assert_eq!(names, ["projects/p/locations/l/authzPolicies/a-1_B"]);
}

#[test]
fn what_is_not_supported_is_refused_by_its_path() {
    let source_path = "authzPolicies[0].httpRules[0].from.sources[0]";
    let to = "authzPolicies[0].httpRules[0].to";
    for value in [
        json!([]),
        json!({}),
        json!(""),
        json!(false),
        json!([{"ids": ["1"]}]),
    ] {
        for (policies, path) in [
            (
                source(json!({"resources": value})),
                format!("{source_path}.resources"),
            ),
            (
                operation(json!({"snis": value})),
                format!("{to}.operations[0].snis"),
            ),
            (
                operation(json!({"mcp": value})),
                format!("{to}.operations[0].mcp"),
            ),
            (
                rule(json!({"to": {"notOperations": [{"methods": ["GET"], "mcp": value}]}})),
                format!("{to}.notOperations[0].mcp"),
            ),
            (
                rule(json!({"when": value})),
                "authzPolicies[0].httpRules[0].when".to_owned(),
            ),
            (
                json!([
                    policy(json!({})),
                    policy(json!({"name": "q", "networkRules": value}))
                ]),
                "authzPolicies[1].networkRules".to_owned(),
            ),
            (
                json!([policy(json!({"customProvider": value}))]),
                "authzPolicies[0].customProvider".to_owned(),
            ),
        ] {
            assert_eq!(refusal(policies), format!("{path}: is not supported"));
        }
    }
    assert_eq!(
        refusal(json!([policy(json!({"action": "CUSTOM"}))])),
        "authzPolicies[0].action: CUSTOM is not supported"
    );
    assert_eq!(
        refusal(json!([policy(json!({"policyProfile": "CONTENT_AUTHZ"}))])),
        "authzPolicies[0].policyProfile: CONTENT_AUTHZ is not supported"
    );
    assert!(refusal(json!([policy(json!({"unknown": 1}))])).contains("unknown field"));
    assert!(refusal(rule(json!({"unknown": 1}))).contains("unknown field"));
}

#[test]
fn what_says_nothing_is_refused() {
    let at = "authzPolicies[0].httpRules[0]";
    let nothing = "says nothing, and would match every request";
    let empty_headers = json!({"methods": ["GET"], "headerSet": {"headers": []}});
    for (policies, error) in [
        (
            source(json!({})),
            format!("{at}.from.sources[0]: {nothing}"),
        ),
        (
            source(json!({"principals": []})),
            format!("{at}.from.sources[0]: {nothing}"),
        ),
        (
            operation(json!({})),
            format!("{at}.to.operations[0]: {nothing}"),
        ),
        (
            operation(json!({"hosts": []})),
            format!("{at}.to.operations[0]: {nothing}"),
        ),
        (
            operation(empty_headers),
            format!("{at}.to.operations[0].headerSet.headers: is empty, and would match always"),
        ),
        (
            rule(json!({"from": {"notSources": [{}]}})),
            format!("{at}.from.notSources[0]: {nothing}"),
        ),
        (
            rule(json!({"from": {}})),
            format!("{at}.from: has neither sources nor notSources"),
        ),
        (
            rule(json!({"to": {"operations": []}})),
            format!("{at}.to: has neither operations nor notOperations"),
        ),
        (
            json!([policy(json!({"httpRules": []}))]),
            "authzPolicies[0].httpRules: must hold at least one rule".to_owned(),
        ),
        (
            json!([{"name": "p", "httpRules": [{}]}]),
            "authzPolicies[0].action: must be given: ALLOW or DENY".to_owned(),
        ),
    ] {
        assert_eq!(refusal(policies), error);
    }
    let uri = json!({"principals": [{"principal": {"exact": "a"}}]});
    let both = json!({"from": {"sources": [uri], "notSources": [uri]}});
    assert!(refusal(rule(both)).starts_with(&format!("{at}.from: has both sources and not")));
}

#[test]
fn limits_hold_for_a_whole_policy() {
    let entry = json!({"exact": "/a"});
    let block = json!({"prefix": "10.0.0.0", "length": 8});
    let principal = json!({"principal": entry});
    let header = json!({"name": "x", "value": entry});
    let host = json!({"exact": "a"});
    // The place of the list, one entry, the limit, and what it counts.
    let lists = [
        ("from.sources[0].principals", principal, 50, "principals"),
        ("from.sources[0].ipBlocks", block, 10, "IP blocks"),
        ("to.operations[0].hosts", host, 10, "hosts"),
        ("to.operations[0].paths", entry, 10, "paths"),
        ("to.operations[0].methods", json!("GET"), 10, "methods"),
        ("to.operations[0].headerSet.headers", header, 10, "headers"),
    ];
    for (place, entry, limit, what) in lists {
        let rule = |count: usize| {
            let list = Value::from(vec![entry.clone(); count]);
            match place.rsplit('.').next().unwrap() {
                "headers" => {
                    json!({"to": {"operations": [{"headerSet": {"headers": list}}]}})
                }
                field if place.starts_with("from") => {
                    json!({"from": {"sources": [{field: list}]}})
                }
                field => json!({"to": {"operations": [{field: list}]}}),
            }
        };
        let rules = |counts: [usize; 2]| json!([policy(json!({"httpRules": counts.map(rule)}))]);
        let full = rules([limit - 1, 1]);
        assert!(compile_for(DirectPeer::Known, full).is_ok(), "{place}");
        assert_eq!(
            refusal(rules([limit, 1])),
            format!(
                "authzPolicies[0].httpRules[1].{place}: {} {what} in this policy, the limit \
                 is {limit}",
                limit + 1
            )
        );
    }
}

#[test]
fn counts_are_limited() {
    let named = |count: usize| -> Value {
        (0..count)
            .map(|i| policy(json!({"name": format!("p{i}")})))
            .collect()
    };
    assert!(compile_for(DirectPeer::Known, named(5)).is_ok());
    assert_eq!(
        refusal(named(6)),
        "authzPolicies: 6 policies, the limit is 5"
    );
    let rules = |count| json!([policy(json!({"httpRules": vec![json!({}); count]}))]);
    assert!(compile_for(DirectPeer::Known, rules(5)).is_ok());
    assert_eq!(
        refusal(rules(6)),
        "authzPolicies[0].httpRules: 6 rules, the limit is 5"
    );
    let at = "authzPolicies[0].httpRules[0]";
    for (outer, list, entry) in [
        (
            "from",
            "sources",
            json!({"principals": [{"principal": {"exact": "a"}}]}),
        ),
        (
            "from",
            "notSources",
            json!({"principals": [{"principal": {"exact": "a"}}]}),
        ),
        ("to", "operations", json!({"methods": ["GET"]})),
        ("to", "notOperations", json!({"methods": ["GET"]})),
    ] {
        assert_eq!(
            refusal(rule(json!({outer: {list: [entry, entry]}}))),
            format!("{at}.{outer}.{list}: 2 entries, the limit is 1")
        );
    }
    let long = "a".repeat(2049);
    let principal = |text: &str| source(json!({"principals": [{"principal": {"exact": text}}]}));
    assert!(compile_for(DirectPeer::Known, principal(&long[1..])).is_ok());
    assert_eq!(
        refusal(principal(&long)),
        format!(
            "{at}.from.sources[0].principals[0].principal.exact: 2049 bytes, the limit is 2048"
        )
    );
}

#[test]
fn names_identify() {
    let named = |names: &[&str]| -> Value {
        names
            .iter()
            .map(|name| policy(json!({"name": name})))
            .collect()
    };
    for names in [
        ["a", "a"],
        ["projects/x/authzPolicies/a", "projects/y/authzPolicies/a"],
    ] {
        assert_eq!(
            refusal(named(&names)),
            "authzPolicies[1].name: is the name of an earlier policy"
        );
    }
    assert!(compile_for(DirectPeer::Known, named(&["a/b", "b/a"])).is_ok());
    let id = "a".repeat(64);
    let name = format!("{}/a", "x".repeat(511));
    for bad in [
        "", "a/", "a b", "a/\u{fc}", "a\nb/c", "a b/c", "\u{fc}/c", &id, &name,
    ] {
        assert!(
            refusal(named(&[bad])).starts_with("authzPolicies[0].name: "),
            "{bad}"
        );
    }
    assert!(compile_for(DirectPeer::Known, named(&[&id[1..], &name[1..]])).is_ok());
}

#[test]
fn patterns_are_refused_by_their_path() {
    let at = "authzPolicies[0].httpRules[0]";
    let principals = format!("{at}.from.sources[0].principals[0].principal");
    let principal = |p: Value| source(json!({"principals": [{"principal": p}]}));
    let one = "must have exactly one of exact, prefix, suffix and contains";
    for several in [
        json!({}),
        json!({"ignoreCase": true}),
        json!({"exact": "a", "prefix": "a"}),
    ] {
        assert_eq!(refusal(principal(several)), format!("{principals}: {one}"));
    }
    for field in ["exact", "prefix", "suffix", "contains"] {
        assert_eq!(
            refusal(principal(json!({field: ""}))),
            format!("{principals}.{field}: is empty")
        );
        let host = operation(json!({"hosts": [{field: "*.a.test"}]}));
        assert!(refusal(host).starts_with(&format!("{at}.to.operations[0].hosts[0].{field}: ")));
    }
    assert!(refusal(principal(json!({"regex": "a"}))).contains("unknown field"));
    for field in ["exact", "prefix"] {
        assert_eq!(
            refusal(operation(json!({"paths": [{field: "admin"}]}))),
            format!(
                "{at}.to.operations[0].paths[0].{field}: begins no path: paths begin with \"/\""
            )
        );
    }
    for good in [
        json!({"exact": "*"}),
        json!({"suffix": ".php"}),
        json!({"contains": "a"}),
    ] {
        assert!(compile_for(DirectPeer::Known, operation(json!({"paths": [good]}))).is_ok());
    }
    for method in ["", "get", "G T", "GET\n"] {
        assert_eq!(
            refusal(operation(json!({"methods": ["GET", method]}))),
            format!("{at}.to.operations[0].methods[1]: is not a method in upper case")
        );
    }
    for (name, reason) in [
        ("", "is not a header name"),
        (":path", "is not a header name"),
        ("x a", "is not a header name"),
        ("Host", "is no header in HTTP/2: use hosts"),
    ] {
        let header = json!({"name": name, "value": {"exact": "a"}});
        assert_eq!(
            refusal(operation(json!({"headerSet": {"headers": [header]}}))),
            format!("{at}.to.operations[0].headerSet.headers[0].name: {reason}")
        );
    }
    let header = json!({"name": "x", "value": {"exact": ""}});
    assert_eq!(
        refusal(operation(json!({"headerSet": {"headers": [header]}}))),
        format!("{at}.to.operations[0].headerSet.headers[0].value.exact: is empty")
    );
}

#[test]
fn ports_of_hosts_cannot_keep_out() {
    let hosts = json!({"hosts": [{"exact": "a.test:8443"}]});
    let compiles = |action: &str, list: &str| {
        let rule = json!({"to": {list: [hosts]}});
        let policies = json!([policy(json!({"action": action, "httpRules": [rule]}))]);
        compile_for(DirectPeer::Known, policies).is_ok()
    };
    assert!(compiles("ALLOW", "operations"));
    assert!(compiles("DENY", "notOperations"));
    assert!(!compiles("DENY", "operations"));
    assert!(!compiles("ALLOW", "notOperations"));
}

#[test]
fn ip_blocks_need_the_direct_peer() {
    let list = "authzPolicies[0].httpRules[0].from.sources[0].ipBlocks";
    let block =
        |prefix, length| source(json!({"ipBlocks": [{"prefix": prefix, "length": length}]}));
    assert!(compile_for(DirectPeer::Known, block("10.0.0.0", 8)).is_ok());
    let error = compile_for(DirectPeer::Unknown, block("10.0.0.0", 8)).unwrap_err();
    assert_eq!(error.path, list);
    assert!(error.reason.contains("source.connection.directPeerAddress"));
    for (prefix, length, error) in [
        ("10.0.0", 8, "prefix: is not an IPv4 or IPv6 address"),
        ("10.0.0.0", 33, "length: is not between 0 and 32"),
        ("::", -1, "length: is not between 0 and 128"),
        ("10.0.0.1", 8, "prefix: has bits set behind the first 8"),
        (
            "::ffff:10.0.0.0",
            104,
            "prefix: is an IPv4 address in IPv6 form: write it as IPv4",
        ),
    ] {
        assert_eq!(refusal(block(prefix, length)), format!("{list}[0].{error}"));
    }
    // No block, no need.
    let principals = source(json!({"principals": [{"principal": {"exact": "a"}}]}));
    assert!(compile_for(DirectPeer::Unknown, principals).is_ok());
}

#[test]
fn principals_need_certificates_that_are_validated() {
    let setting = Setting {
        direct_peer: DirectPeer::Known,
        validates: false,
        removed: &BTreeSet::new(),
    };
    let compile = |policies: Value| {
        let policies: Vec<resources::AuthzPolicy> = config::typed(policies).unwrap();
        AuthzPolicies::compile(&policies, setting)
    };
    let principals = json!([{"principal": {"exact": "spiffe://a/b"}}]);
    let error = compile(source(json!({"principals": principals}))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "authzPolicies[0].httpRules[0].from.sources[0].principals: would match nobody: \
         certificates are validated only with trustConfig"
    );
    assert!(compile(operation(json!({"methods": ["GET"]}))).is_ok());
}

#[test]
fn headers_that_policies_never_see_cannot_keep_out() {
    let removed = BTreeSet::from([FoldedName::new(b"X-Client-Cert-SPIFFE")]);
    let setting = Setting {
        direct_peer: DirectPeer::Known,
        validates: true,
        removed: &removed,
    };
    let compile = |name: &str, action: &str, list: &str| {
        let header = json!({"name": name, "value": {"prefix": "spiffe:"}});
        let rule = json!({"to": {list: [{"headerSet": {"headers": [header]}}]}});
        let policies = json!([policy(json!({"action": action, "httpRules": [rule]}))]);
        let policies: Vec<resources::AuthzPolicy> = config::typed(policies).unwrap();
        AuthzPolicies::compile(&policies, setting).map_err(|error| error.to_string())
    };
    for name in ["x-client-cert-spiffe", "X_Client_Cert.SPIFFE"] {
        for (action, list) in [("DENY", "operations"), ("ALLOW", "notOperations")] {
            assert_eq!(
                compile(name, action, list).unwrap_err(),
                format!(
                    "authzPolicies[0].httpRules[0].to.{list}[0].headerSet.headers[0].name: is set \
                     or removed here, so that it would keep nobody out"
                )
            );
        }
        assert!(compile(name, "ALLOW", "operations").is_ok());
        assert!(compile(name, "DENY", "notOperations").is_ok());
    }
    assert!(compile("x-client-cert-spiffe-id", "DENY", "operations").is_ok());
}
