//! AuthzPolicies of all shapes against requests of all shapes. An input is a list of choices, so
//! that almost every input is policies that load.

use std::sync::LazyLock;

use mtls_gate_core::authz::resources::AuthzPolicy;
use mtls_gate_core::authz::{AuthzPolicies, DirectPeer, Request, Setting, Verdict};
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::error::Refusal;
use mtls_gate_core::headers::FoldedNames;
use serde_json::{Value, json};

use crate::is_one_line;
use crate::template::verified;

static CLIENTS: LazyLock<Vec<ClientCert>> = LazyLock::new(|| {
    let unverified = |fingerprint, refusal| ClientCert::Unverified {
        fingerprint,
        refusal,
    };
    macro_rules! golden {
        ($case:literal) => {
            verified(include_bytes!(concat!(
                "../../testdata/chains/",
                $case,
                "/chain.pem"
            )))
        };
    }
    vec![
        golden!("spiffe_with_other_uris"),
        ClientCert::Off,
        unverified(None, Refusal::NotProvided),
        unverified(Some([0xfb; 32]), Refusal::NotPerformed),
        golden!("subject_empty"),
        golden!("subject_utf8"),
        golden!("uri_sans_over_512"),
        golden!("dnsname_sans_over_512"),
        golden!("subject_dn_over_512"),
        golden!("all_names_over_limit"),
    ]
});

/// What both sides are made of, so that they meet: each kind of field has its own.
type Words = &'static [&'static str];
const HOSTS: Words = &[
    "a.test",
    "A.TEST.",
    ".test",
    "a.test:8443",
    "[::1]",
    "b",
    "x@a.test",
];
const PATHS: Words = &[
    "/",
    "/admin",
    "/ADMIN",
    "/Admin?x=/admin",
    "/admin?",
    "*",
    "/\u{fc}",
    "/\u{dc}\u{212a}",
    "aab",
];
const METHODS: Words = &["GET", "get", "Get", "DELETE", ""];
const NAMES: Words = &["x-env", "X_Env", "x.env", ":x-env", "host"];
const VALUES: Words = &[
    "prod",
    "PROD",
    "dev",
    "prod, dev ,",
    ",",
    "\u{fc}k",
    "\u{dc}\u{212a}",
];
const PRINCIPALS: Words = &[
    "spiffe://mtls-gate.test/tenant/a",
    "SPIFFE://",
    "spiffe://",
    "urn:b",
    "URN:B",
    "c.test",
    "C.Test",
    "SPIFFE ID with other URIs",
    "a",
];

/// Draws from the input; at its end everything is 0.
struct Choices<'d>(&'d [u8]);

impl<'d> Choices<'d> {
    fn below(&mut self, end: usize) -> usize {
        let (byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        usize::from(*byte) % end
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    /// Words, repeated or joined, or bytes as they come.
    fn bytes(&mut self, words: Words) -> Vec<u8> {
        match self.below(16) {
            0..=12 => self.word(words).into(),
            13 => [self.word(words), self.word(words)].concat().into(),
            14 => self.word(words).repeat(1 << self.below(10)).into(),
            _ => {
                let length = self.below(64).min(self.0.len());
                let (bytes, rest) = self.0.split_at(length);
                self.0 = rest;
                bytes.into()
            }
        }
    }

    fn text(&mut self, words: Words) -> String {
        String::from_utf8_lossy(&self.bytes(words)).into_owned()
    }

    fn word(&mut self, words: Words) -> &'static str {
        words[self.below(words.len())]
    }

    fn list<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let length = self.below(most + 1);
        (0..length).map(|_| one(self)).collect()
    }

    fn pattern(&mut self, words: Words) -> Value {
        let kind = ["exact", "prefix", "suffix", "contains"][self.below(4)];
        json!({kind: self.text(words), "ignoreCase": self.one_in(2)})
    }

    fn source(&mut self) -> Value {
        let principals = self.list(3, |choices| {
            let selector = [
                "CLIENT_CERT_URI_SAN",
                "CLIENT_CERT_DNS_NAME_SAN",
                "CLIENT_CERT_COMMON_NAME",
                "PRINCIPAL_SELECTOR_UNSPECIFIED",
            ][choices.below(4)];
            json!({"principalSelector": selector, "principal": choices.pattern(PRINCIPALS)})
        });
        let blocks = self.list(2, |choices| {
            let (prefix, length) = [
                ("10.0.0.0", 8),
                ("0.0.0.0", 0),
                ("::", 0),
                ("2001:db8::", 32),
                ("::1", 127),
            ][choices.below(5)];
            json!({"prefix": prefix, "length": length})
        });
        json!({"principals": principals, "ipBlocks": blocks})
    }

    fn operation(&mut self) -> Value {
        let mut operation = json!({
            "hosts": self.list(2, |choices| choices.pattern(HOSTS)),
            "paths": self.list(2, |choices| choices.pattern(PATHS)),
            "methods": self.list(2, |choices| ["GET", "DELETE", "X"][choices.below(3)]),
        });
        let headers = self.list(
            2,
            |choices| json!({"name": choices.text(NAMES), "value": choices.pattern(VALUES)}),
        );
        if !headers.is_empty() {
            operation["headerSet"] = json!({"headers": headers});
        }
        operation
    }

    fn rule(&mut self) -> Value {
        let mut rule = json!({});
        match self.below(3) {
            0 => {}
            1 => rule["from"] = json!({"sources": [self.source()]}),
            _ => rule["from"] = json!({"notSources": [self.source()]}),
        }
        match self.below(3) {
            0 => {}
            1 => rule["to"] = json!({"operations": [self.operation()]}),
            _ => rule["to"] = json!({"notOperations": [self.operation()]}),
        }
        rule
    }

    fn policy(&mut self, name: usize) -> Value {
        let action = ["ALLOW", "DENY"][self.below(2)];
        let mut rules = self.list(2, Self::rule);
        rules.push(self.rule());
        json!({"name": format!("p{name}"), "action": action, "httpRules": rules})
    }
}

/// What an input says.
#[derive(Debug)]
struct Case {
    policies: Vec<Value>,
    client: usize,
    method: Vec<u8>,
    host: Vec<u8>,
    path: Vec<u8>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    direct_peer: Option<&'static str>,
}

impl Case {
    fn read(data: &[u8]) -> Self {
        let mut choices = Choices(data);
        let mut name = 0;
        let policies = choices.list(5, |choices| {
            name += 1;
            choices.policy(name)
        });
        Self {
            policies,
            client: choices.below(CLIENTS.len()),
            method: choices.bytes(METHODS),
            host: choices.bytes(HOSTS),
            path: choices.bytes(PATHS),
            headers: choices.list(6, |choices| (choices.bytes(NAMES), choices.bytes(VALUES))),
            direct_peer: [None, Some("10.1.2.3"), Some("::ffff:10.1.2.3"), Some("::1")]
                [choices.below(4)],
        }
    }
}

/// `None`: refused, with a reason in one line.
fn compile(policies: &[Value]) -> Option<AuthzPolicies> {
    let policies: Vec<AuthzPolicy> =
        serde_json::from_value(json!(policies)).expect("the shape is right");
    let setting = Setting {
        direct_peer: DirectPeer::Known,
        validates: true,
        removed: &FoldedNames::default(),
    };
    AuthzPolicies::compile(&policies, setting)
        .inspect_err(|error| assert!(is_one_line(&error.to_string()), "{error}"))
        .ok()
}

fn with_action(policy: &Value, action: &str) -> Option<AuthzPolicies> {
    let mut policy = policy.clone();
    policy["action"] = json!(action);
    compile(&[policy])
}

pub fn run(data: &[u8]) {
    let mut case = Case::read(data);
    case.policies
        .retain(|policy| compile(std::slice::from_ref(policy)).is_some());
    let headers: Vec<(&[u8], &[u8])> = case
        .headers
        .iter()
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
        .collect();
    let request = Request {
        method: &case.method,
        host: &case.host,
        path: &case.path,
        headers: &headers,
        direct_peer: case.direct_peer.map(|text| text.parse().expect("address")),
    };
    let client = &CLIENTS[case.client];
    let allows = |policies: &AuthzPolicies| {
        let verdict = policies.evaluate(&request, client);
        check_words(&verdict, policies);
        // The same question has the same answer.
        assert_eq!(verdict, policies.evaluate(&request, client));
        verdict.is_allowed()
    };
    assert!(allows(&AuthzPolicies::default()), "no policy");
    let all = compile(&case.policies).expect("each of them loads");
    let is_allowed = allows(&all);
    // Their order decides nothing.
    let reversed: Vec<Value> = case.policies.iter().rev().cloned().collect();
    assert_eq!(
        compile(&reversed).map(|reversed| allows(&reversed)),
        Some(is_allowed)
    );

    let mut some_allow_policy_allows = false;
    for (index, policy) in case.policies.iter().enumerate() {
        let alone = compile(std::slice::from_ref(policy)).expect("it loads");
        let mut others = case.policies.clone();
        others.remove(index);
        let others = compile(&others).expect("each of them loads");
        if policy["action"] == "DENY" {
            // What one refuses, no other saves, and it saves nothing that others refuse.
            assert!(allows(&alone) || !is_allowed, "overturned: {policy}");
            assert!(allows(&others) || !is_allowed, "allowed by DENY: {policy}");
        } else {
            some_allow_policy_allows |= allows(&alone);
        }
        // Doubt lets nothing in that it does not keep out, too.
        if let (Some(allow), Some(deny)) =
            (with_action(policy, "ALLOW"), with_action(policy, "DENY"))
        {
            assert!(
                !(allows(&allow) && allows(&deny)),
                "on both sides: {policy}"
            );
        }
    }
    assert!(
        !is_allowed || !all.has_allow() || some_allow_policy_allows,
        "allowed by nobody"
    );
}

fn check_words(verdict: &Verdict<'_>, policies: &AuthzPolicies) {
    let detail = verdict.detail();
    assert!(is_one_line(&detail) && detail.len() < 200, "{detail:?}");
    assert!(verdict.policies().len() <= 2);
    assert_eq!(verdict.status_details().is_some(), !verdict.is_allowed());
    if let Some(name) = verdict.policy() {
        assert!(policies.policies().any(|policy| policy.name() == name));
    }
}

pub fn describe(data: &[u8]) -> String {
    let case = Case::read(data);
    let header = |(name, value): &(Vec<u8>, Vec<u8>)| {
        format!("{}: {}\n", name.escape_ascii(), value.escape_ascii())
    };
    format!(
        "{:#}\nclient {}, peer {:?}\n{} {} {}\n{}",
        json!(case.policies),
        case.client,
        case.direct_peer,
        case.method.escape_ascii(),
        case.host.escape_ascii(),
        case.path.escape_ascii(),
        case.headers.iter().map(header).collect::<String>(),
    )
}
