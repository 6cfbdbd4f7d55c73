//! `mtls-gate config` as people run it.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use mtls_gate::fixtures::der;
use mtls_gate::fixtures::keys::{Hash, RsaKeys, Signature};
use mtls_gate::fixtures::mint::{Cert, Issued, NOT_BEFORE, UNKNOWN_EXTENSION, eku, key_usage};
use mtls_gate::goldens::{self, Golden, testdata};
use mtls_gate::testbed::client::{self, ClientIdentity, ClientOptions, Outcome};
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::envoy::{Envoy, EnvoyConfig, ServerCertificate, filter_file};
use serde_json::{Value, json};
use tempfile::TempDir;

const TIME: &str = "2026-11-21T12:00:00Z";
const ALLOW: &str = "ALLOW_INVALID_OR_MISSING_CLIENT_CERT";
const REJECT: &str = "REJECT_INVALID";

fn config(arguments: &[String]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mtls-gate"))
        .arg("config")
        .args(arguments)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What goes into the files of one run: options and texts.
#[derive(Clone, Default)]
struct Files(Vec<(&'static str, String)>);

impl Files {
    fn with(mut self, option: &'static str, content: &Value) -> Self {
        self.0.push((option, format!("{content:#}")));
        self
    }

    fn text(mut self, option: &'static str, content: &str) -> Self {
        self.0.push((option, content.to_owned()));
        self
    }

    /// `config <command>` with these files.
    fn run(&self, command: &str, more: &[&str]) -> (Output, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let mut arguments = vec![command.to_owned()];
        for (index, (option, text)) in self.0.iter().enumerate() {
            let path = folder.path().join(format!("{index}-{option}.yaml"));
            fs::write(&path, text).unwrap();
            arguments.extend([format!("--{option}"), path.to_str().unwrap().to_owned()]);
        }
        arguments.extend(more.iter().map(ToString::to_string));
        (config(&arguments), folder)
    }

    fn findings(&self, more: &[&str]) -> (Vec<Value>, Option<i32>) {
        let (output, _) = self.run("check", &[&["--json", "--time", TIME], more].concat());
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
        let findings = report["findings"].as_array().unwrap().clone();
        (findings, output.status.code())
    }

    fn ids(&self) -> BTreeSet<String> {
        let (findings, _) = self.findings(&[]);
        findings
            .iter()
            .map(|finding| finding["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn files() -> Files {
    Files::default()
}

fn entry(certificate: &Issued) -> Value {
    json!({ "pemCertificate": der::pem("CERTIFICATE", &certificate.der) })
}

fn trust(anchors: &[&Issued], intermediates: &[&Issued]) -> Value {
    let entries = |list: &[&Issued]| list.iter().copied().map(entry).collect::<Vec<_>>();
    json!({ "trustStores": [
        { "trustAnchors": entries(anchors), "intermediateCas": entries(intermediates) },
    ] })
}

fn root() -> Issued {
    Cert::ca("config root").self_signed()
}

fn usual_trust() -> Value {
    trust(&[&root()], &[&Cert::ca("config int").by(&root())])
}

fn policy(mode: &str) -> Value {
    json!({ "mtlsPolicy": { "clientValidationMode": mode } })
}

/// A trust config and a policy that nothing is wrong with.
fn usual(mode: &str) -> Files {
    files()
        .with("trust-config", &usual_trust())
        .with("server-tls-policy", &policy(mode))
}

fn headers(list: &[&str]) -> Value {
    json!({ "name": "backend", "customRequestHeaders": list })
}

fn url_map(header: &Value) -> Value {
    json!({ "name": "map", "headerAction": { "requestHeadersToAdd": [header] } })
}

/// A trust config of the usual root and this intermediate.
fn below_root(intermediate: Cert) -> Files {
    files().with(
        "trust-config",
        &trust(&[&root()], &[&intermediate.by(&root())]),
    )
}

/// The usual root, and this one beside it.
fn beside_root(anchor: Cert) -> Files {
    files().with(
        "trust-config",
        &trust(&[&root(), &anchor.self_signed()], &[]),
    )
}

fn allowlist(certificate: Cert) -> Files {
    let entry = entry(&certificate.self_signed());
    files().with(
        "trust-config",
        &json!({ "allowlistedCertificates": [entry] }),
    )
}

fn authz(action: &str, sources: &str) -> Value {
    let principal = json!({
        "principalSelector": "CLIENT_CERT_URI_SAN",
        "principal": { "exact": "spiffe://example.com/a" },
    });
    json!({
        "name": format!("{}-{sources}", action.to_lowercase()),
        "action": action,
        "httpRules": [{ "from": { sources: [{ "principals": [principal] }] } }],
    })
}

/// Each finding: input that it is not found in, and input that nothing else is found in.
fn cases() -> Vec<(&'static str, Files, Files)> {
    let ca = || Cert::ca("config int");
    let anchor = || Cert::ca("another root");
    let with = |trust_config: &Value| files().with("trust-config", trust_config);
    let changed = |change: fn(&mut Value)| {
        let mut trust_config = usual_trust();
        change(&mut trust_config);
        with(&trust_config)
    };
    let good = || with(&usual_trust());
    let header_files = |headers: &Value| usual(REJECT).with("headers", headers);
    let rsa = |name: &str| {
        let folder = testdata().join("keys");
        RsaKeys { folder }.load(name).unwrap()
    };
    let replaced = |value: &str, replace: bool| {
        header_files(&url_map(
            &json!({ "headerName": "X-A", "headerValue": value, "replace": replace }),
        ))
    };
    let custom = |header: &str| header_files(&headers(&["X-Fine:{client_cert_error}", header]));
    let named = |reference: &str| {
        let mut trust_config = usual_trust();
        trust_config["name"] = json!("mine");
        let mut policy = policy(REJECT);
        policy["mtlsPolicy"]["clientValidationTrustConfig"] = json!(format!(
            "projects/p/locations/global/trustConfigs/{reference}"
        ));
        with(&trust_config).with("server-tls-policy", &policy)
    };
    let headers_of = |count: usize| {
        let list: Vec<_> = (0..count)
            .map(|n| format!("X-{n}:{{client_cert_error}}"))
            .collect();
        header_files(&json!({ "customRequestHeaders": list }))
    };
    let open = |open: bool| {
        let mut policy = policy(REJECT);
        policy["allowOpen"] = json!(open);
        good().with("server-tls-policy", &policy)
    };
    let action = json!({ "requestHeadersToRemove": ["X-A"] });
    let behind = |relay: &Value| usual(REJECT).with("settings", &behind_relay(relay));
    let anyone_named = |ca: &Issued| relay_by_name(&trust(&[ca], &[]));
    let at = |blocks: &[&str]| behind(&json!({ "addresses": blocks }));
    vec![
        (
            "schema",
            good(),
            changed(|trust| trust["trustAnchors"] = json!([])),
        ),
        ("over-limit", headers_of(16), headers_of(17)),
        ("refused", open(false), open(true)),
        (
            "private-key",
            changed(|trust| trust["description"] = json!("the key is elsewhere")),
            changed(|trust| trust["description"] = json!("-----BEGIN PRIVATE KEY-----\nMAA=\n")),
        ),
        (
            "lenient-form",
            good(),
            changed(|trust| *trust = trust["trustStores"].take()),
        ),
        (
            "not-used",
            header_files(&headers(&["X-A:{client_cert_error}"])),
            header_files(&json!({
                "customRequestHeaders": ["X-A:{client_cert_error}"],
                "customResponseHeaders": ["X-B:b"],
            })),
        ),
        (
            "not-a-certificate",
            good(),
            changed(|trust| {
                trust["trustStores"][0]["trustAnchors"][0]["pemCertificate"] = json!("x")
            }),
        ),
        (
            "nothing-trusted",
            good(),
            with(&json!({ "trustStores": [] })),
        ),
        (
            "trust-config-missing",
            usual(REJECT),
            files().with("server-tls-policy", &policy(REJECT)),
        ),
        ("trust-config-other", named("mine"), named("theirs")),
        (
            "trust-config-unused",
            usual(ALLOW),
            good().with("server-tls-policy", &json!({ "name": "p" })),
        ),
        (
            "trust-stores-beside-spiffe",
            changed(|trust| {
                trust["spiffeTrustStores"] = json!({ "example.com": trust["trustStores"][0] });
                trust["trustStores"] = json!([]);
            }),
            changed(|trust| {
                trust["spiffeTrustStores"] = json!({ "example.com": trust["trustStores"][0] });
            }),
        ),
        (
            "validation-not-performed",
            usual(ALLOW),
            files().with("server-tls-policy", &policy(ALLOW)),
        ),
        (
            "certificate-expired",
            beside_root(anchor()),
            beside_root(anchor().expired()),
        ),
        (
            "certificate-not-yet-valid",
            below_root(ca()),
            below_root(ca().not_yet_valid()),
        ),
        (
            "certificate-expires-soon",
            below_root(ca().dates(NOT_BEFORE, "2026-12-21T12:00:00")),
            below_root(ca().dates(NOT_BEFORE, "2026-12-21T11:59:59")),
        ),
        (
            "allowlisted-expired",
            allowlist(Cert::client("config client")),
            allowlist(Cert::client("config client").expired()),
        ),
        (
            "issuer-without-client-auth",
            below_root(ca()),
            below_root(ca().eku(&[])),
        ),
        (
            "not-a-ca",
            beside_root(anchor()),
            beside_root(anchor().basic_constraints(None)),
        ),
        (
            "no-cert-sign",
            below_root(ca().key_usage(Some(key_usage::KEY_CERT_SIGN))),
            below_root(ca().key_usage(Some(key_usage::CRL_SIGN))),
        ),
        (
            "key-not-allowed",
            beside_root(anchor().key(rsa("2048-a"))),
            beside_root(anchor().key(rsa("1024-a"))),
        ),
        (
            "weak-signature",
            below_root(ca().signature(Signature::Ecdsa(Hash::Sha384))),
            below_root(ca().signature(Signature::Ecdsa(Hash::Sha1))),
        ),
        (
            "critical-extension",
            below_root(ca().extension(UNKNOWN_EXTENSION, false, vec![5, 0])),
            below_root(ca().extension(UNKNOWN_EXTENSION, true, vec![5, 0])),
        ),
        (
            "no-anchor-above",
            good(),
            with(&trust(&[&root()], &[&ca().by(&anchor().self_signed())])),
        ),
        ("header-refused", custom("X-Host:a"), custom("Host:a")),
        (
            "header-action-nested",
            usual(REJECT).with("headers", &json!({ "headerAction": action })),
            usual(REJECT).with(
                "headers",
                &json!({ "pathMatchers": [{ "routeRules": [{ "headerAction": action }] }] }),
            ),
        ),
        (
            "unknown-variable",
            custom("X-Hash:{client_cert_sha256_fingerprint}"),
            custom("X-Hash:{client_cert_hash}"),
        ),
        (
            "unsupported-variable",
            custom("X-Region:{{client_region}}"),
            custom("X-Region:{client_region}"),
        ),
        ("header-appended", replaced("a", true), replaced("a", false)),
        (
            "header-spoofable-at-google",
            replaced("{client_cert_error}", true),
            replaced("{client_cert_error}", false),
        ),
        (
            "variables-always-empty",
            usual(REJECT).with(
                "headers",
                &headers(&["X-Client-Cert-Leaf:{client_cert_leaf}"]),
            ),
            files().with(
                "headers",
                &headers(&["X-Client-Cert-Leaf:{client_cert_leaf}"]),
            ),
        ),
        (
            "authz-dodged",
            usual(ALLOW).with("authz-policy", &authz("DENY", "notSources")),
            usual(ALLOW).with("authz-policy", &authz("DENY", "sources")),
        ),
        (
            "authz-relay-address",
            behind(&anyone_named(&relay_root())).with("authz-policy", &authz("ALLOW", "sources")),
            behind(&anyone_named(&relay_root())).with("authz-policy", &from_loopback()),
        ),
        (
            "relay-anybody",
            at(&["10.0.0.0/8", "2001:db8::/32"]),
            at(&["10.0.0.0/8", "::/0"]),
        ),
        (
            "relay-closed",
            behind(&anyone_named(&relay_root())),
            usual(REJECT).with("settings", &{
                let mut closing = behind_relay(&anyone_named(&relay_root()));
                closing["rejection"] = json!({ "action": "CLOSE" });
                closing
            }),
        ),
        (
            "relay-nobody",
            behind(&anyone_named(&relay_root())),
            behind(&json!({})),
        ),
        (
            "relay-trust-shared",
            behind(&anyone_named(&relay_root())),
            behind(&anyone_named(&root())),
        ),
    ]
}

/// A CA that clients have no certificates from.
fn relay_root() -> Issued {
    Cert::ca("relay root").self_signed()
}

fn relay_by_name(trust_config: &Value) -> Value {
    json!({ "mtls": {
        "trustConfig": trust_config,
        "sanMatch": { "dnsNames": ["relay.test"] },
    } })
}

fn behind_relay(relay: &Value) -> Value {
    json!({
        "source": {
            "connection": { "directPeerAddress": "NETWORK_FILTER" },
            "header": { "preset": "RFC9440", "relay": relay },
        },
        "rejection": { "action": "RESPOND" },
    })
}

/// A policy by the direct peer's address.
fn from_loopback() -> Value {
    json!({
        "name": "from-here",
        "action": "ALLOW",
        "httpRules": [{ "from": { "sources": [{
            "ipBlocks": [{ "prefix": "127.0.0.0", "length": 8 }],
        }] } }],
    })
}

#[test]
fn every_finding_is_found_where_it_is_and_nowhere_else() {
    let mut seen = BTreeSet::new();
    for (id, good, bad) in cases() {
        let (findings, code) = good.findings(&["--strict"]);
        assert_eq!((findings.as_slice(), code), (&[][..], Some(0)), "good {id}");
        let (findings, code) = bad.findings(&[]);
        let ids: Vec<_> = findings.iter().map(|finding| &finding["id"]).collect();
        assert_eq!(ids, [id], "bad {id}: {findings:#?}");
        let finding = &findings[0];
        let is_error = finding["severity"] == "error";
        assert_eq!(code, Some(i32::from(is_error)), "{id}");
        assert_eq!(bad.findings(&["--strict"]).1, Some(1), "{id}");
        let text = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        assert!(text("file").ends_with(".yaml"), "{id}: {finding:#}");
        assert!(!text("what").is_empty() && !text("mend").is_empty(), "{id}");
        let (output, _) = bad.run("check", &["--time", TIME]);
        let table = stdout(&output);
        assert!(table.contains(id) && table.contains("→ "), "{id}: {table}");
        assert!(seen.insert(id), "{id} twice");
    }
    let documented = fs::read_to_string(testdata().join("../docs/findings.md")).unwrap();
    let documented: BTreeSet<&str> = documented
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next())
        .flat_map(|ids| {
            ids.split('`')
                .filter(|id| !id.trim_matches([',', ' ']).is_empty())
        })
        .collect();
    assert_eq!(seen, documented);
}

/// Relays, further: each way to believe anybody, and what the relays' own trust config lacks.
#[test]
fn relays_are_looked_over_like_clients() {
    let found = |settings: &Value| {
        let (findings, _) = usual(REJECT).with("settings", settings).findings(&[]);
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
        let mut found: Vec<_> = findings
            .iter()
            .map(|finding| format!("{} {}", text(finding, "id"), text(finding, "path")))
            .collect();
        found.sort();
        found
    };
    let relay = |relay: &Value| found(&behind_relay(relay));
    assert_eq!(
        relay(&json!({ "trustAnyRelay": true })),
        ["relay-anybody source.header.relay.trustAnyRelay"]
    );
    assert_eq!(
        relay(&json!({ "addresses": ["0.0.0.0/0"] })),
        ["relay-anybody source.header.relay.addresses"]
    );
    assert_eq!(
        relay(&json!({ "addresses": ["10.0.0.1/8", "10.0.0.0/8", "x"] })),
        [
            "refused source.header.relay.addresses[0]",
            "refused source.header.relay.addresses[2]"
        ]
    );
    // Nobody tells the address.
    let mut settings = behind_relay(&json!({ "addresses": ["10.0.0.0/8"] }));
    settings["source"]["connection"] = json!({});
    assert_eq!(found(&settings), ["refused source.header.relay.addresses"]);
    // The same key under another name, and as an intermediate of the clients'.
    let renamed = Cert::ca("config root").subject(der::name(&[("CN", "renamed")]));
    let shared = ["relay-trust-shared source.header.relay.mtls.trustConfig"];
    assert_eq!(
        relay(&relay_by_name(&trust(&[&renamed.self_signed()], &[]))),
        shared
    );
    let int = Cert::ca("config int").by(&root());
    assert_eq!(
        relay(&relay_by_name(&trust(&[&relay_root()], &[&int])))
            .last()
            .unwrap(),
        shared[0]
    );
    let certificates = "source.header.relay.mtls.trustConfig.trustStores[0]";
    let expired = Cert::ca("relay root").expired().self_signed();
    assert_eq!(
        relay(&relay_by_name(&trust(&[&expired, &relay_root()], &[]))),
        [format!(
            "certificate-expired {certificates}.trustAnchors[0].pemCertificate"
        )]
    );
    let mut broken = trust(&[&relay_root()], &[]);
    broken["trustStores"][0]["trustAnchors"][0]["pemCertificate"] = json!("x");
    assert_eq!(
        relay(&relay_by_name(&broken)),
        [format!(
            "not-a-certificate {certificates}.trustAnchors[0].pemCertificate"
        )]
    );
    // Without anchors, and what is wrong behind that.
    let mut nothing = relay_by_name(&json!({}));
    nothing["mtls"]["sanMatch"] = json!({ "dnsNames": ["*.test"], "uris": [""] });
    assert_eq!(
        relay(&nothing),
        [
            "nothing-trusted source.header.relay.mtls.trustConfig",
            "refused source.header.relay.mtls.sanMatch.dnsNames[0]",
            "refused source.header.relay.mtls.sanMatch.uris[0]",
        ]
    );
}

/// The key purposes again: when it is certain, when it is not, and under the other profile.
#[test]
fn a_ca_without_client_auth_is_judged_by_what_it_may_issue() {
    let severity = |files: Files| {
        let (findings, _) = files.findings(&[]);
        let of = |finding: &Value| {
            assert_eq!(finding["id"], "issuer-without-client-auth");
            finding["severity"].as_str().unwrap().to_owned()
        };
        findings.iter().map(of).collect::<Vec<_>>()
    };
    let ca = || Cert::ca("config int");
    let only = |anchor: Issued| files().with("trust-config", &trust(&[&anchor], &[]));
    let without = Cert::ca("config root").eku(&[]).self_signed();
    // A root whose clients may send a CA below it along.
    assert_eq!(severity(only(without.clone())), ["warning"]);
    // One that can issue nothing but end entities, and a CA that is not the top.
    let leaves_only = Cert::ca("config root").eku(&[]).path_len(0).self_signed();
    assert_eq!(severity(only(leaves_only)), ["error"]);
    assert_eq!(severity(only(ca().eku(&[]).by(&root()))), ["error"]);
    assert_eq!(severity(below_root(ca().eku(&[eku::ANY]))), ["error"]);
    assert_eq!(
        severity(below_root(ca().eku(&[eku::SERVER_AUTH]))),
        ["error"]
    );
    // A root above a CA that has it.
    let above = trust(&[&without], &[&ca().by(&without)]);
    assert!(severity(files().with("trust-config", &above)).is_empty());
    let rfc5280 = |certificate: Cert| {
        below_root(certificate).with("settings", &json!({ "profile": "RFC5280" }))
    };
    assert!(severity(rfc5280(ca().eku(&[]))).is_empty());
    assert!(severity(rfc5280(ca().eku(&[eku::ANY]))).is_empty());
    assert_eq!(severity(rfc5280(ca().eku(&[eku::SERVER_AUTH]))), ["error"]);
}

/// The core stops at the first error; the command does not.
#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut trust_config = trust(
        &[&root()],
        &[
            &Cert::ca("one").by(&root()),
            &Cert::ca("two").by(&root()),
            &Cert::ca("three").by(&root()),
        ],
    );
    let list = &mut trust_config["trustStores"][0]["intermediateCas"];
    list[0]["pemCertificate"] =
        json!("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    list[2]["pemCertificate"] =
        json!("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n");
    list[1]["comment"] = json!("unknown");
    trust_config["allowlistedCertificates"] = json!([{ "pemCertificate": 1 }, {}]);
    trust_config["unknown"] = json!(1);
    let mut policy = policy(REJECT);
    policy["allowOpen"] = json!(true);
    let mut list: Vec<_> = (0..18)
        .map(|n| format!("X-{n}:{{client_cert_error}}"))
        .collect();
    list[3] = "no colon".to_owned();
    list[4] = "X-4:{client_cert_subject}".to_owned();
    list[5] = "Connection:close".to_owned();
    let nested =
        json!({ "defaultRouteAction": { "weightedBackendServices": [{ "headerAction": {} }] } });
    let all = files()
        .with("trust-config", &trust_config)
        .with("server-tls-policy", &policy)
        .with("headers", &json!({ "customRequestHeaders": list }))
        .with("headers", &nested);
    let (findings, code) = all.findings(&[]);
    assert_eq!(code, Some(1));
    let mut found: Vec<_> = findings
        .iter()
        .map(|finding| {
            let text = |field: &str| finding[field].as_str().unwrap().to_owned();
            (text("id"), text("path"))
        })
        .collect();
    found.sort();
    let line = found
        .iter()
        .find(|(id, _)| id == "private-key")
        .unwrap()
        .1
        .clone();
    assert!(line.starts_with("line "), "{line}");
    let expected: Vec<_> = [
        (
            "header-action-nested",
            "defaultRouteAction.weightedBackendServices[0].headerAction",
        ),
        ("header-refused", "customRequestHeaders[3]"),
        ("header-refused", "customRequestHeaders[5]"),
        (
            "not-a-certificate",
            "trustStores[0].intermediateCas[0].pemCertificate",
        ),
        ("over-limit", "customRequestHeaders"),
        ("private-key", &line),
        ("refused", "allowOpen"),
        ("schema", "allowlistedCertificates[0].pemCertificate"),
        ("schema", "allowlistedCertificates[1]"),
        ("schema", "trustStores[0].intermediateCas[1].comment"),
        ("schema", "unknown"),
        ("unknown-variable", "customRequestHeaders[4]"),
    ]
    .map(|(id, path)| (id.to_owned(), path.to_owned()))
    .into();
    assert_eq!(found, expected);
}

/// A trust domain holds dots, as paths do.
#[test]
fn stores_of_trust_domains_are_looked_over_too() {
    let mut expired = trust(&[&root()], &[&Cert::ca("config int").expired().by(&root())]);
    let mut store = expired["trustStores"][0].take();
    store["trustAnchors"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "pemCertificate": "x" }));
    store["unknown"] = json!(1);
    let (findings, _) = files()
        .with(
            "trust-config",
            &json!({ "spiffeTrustStores": {
            "example": usual_trust()["trustStores"][0],
            "example.com": store,
        } }),
        )
        .findings(&[]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut found: Vec<_> = findings
        .iter()
        .map(|finding| format!("{} {}", text(&finding["id"]), text(&finding["path"])))
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            r#"certificate-expired spiffeTrustStores["example.com"].intermediateCas[0].pemCertificate"#,
            r#"not-a-certificate spiffeTrustStores["example.com"].trustAnchors[1].pemCertificate"#,
            "schema spiffeTrustStores.example.com.unknown",
        ]
    );
}

#[test]
fn policies_that_the_filter_refuses_are_told_by_file_and_place() {
    let mut second = authz("DENY", "notSources");
    second["networkRules"] = json!([{}]);
    let mut third = authz("ALLOW", "sources");
    third["httpRules"][0]["when"] = json!("true");
    let list = json!([authz("DENY", "sources"), second, third]);
    let (findings, code) = usual(REJECT).with("authz-policy", &list).findings(&[]);
    let found: Vec<_> = findings
        .iter()
        .map(|finding| format!("{} {}", finding["id"], finding["path"]).replace('"', ""))
        .collect();
    assert_eq!(code, Some(1));
    assert_eq!(
        found,
        ["refused [1].networkRules", "refused [2].httpRules[0].when"]
    );
    let output = usual(REJECT)
        .with("authz-policy", &list)
        .run("envoy", &[])
        .0;
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("authz-policy.yaml: [1].networkRules: is not supported"));
    // Alone, policies are looked over as far as they go.
    let alone = files().with("authz-policy", &authz("ALLOW", "sources"));
    assert!(alone.ids().is_empty(), "{:?}", alone.ids());
}

/// The guides as they stand.
#[test]
fn samples_of_the_guides_are_read() {
    let one_line = der::pem("CERTIFICATE", &root().der).replace('\n', "\\n");
    let trust_config = format!("- trustAnchors:\n    - pemCertificate: \"{one_line}\"\n");
    let policy = "    clientValidationMode: REJECT_INVALID\n    clientValidationTrustConfig: \
                  projects/p/locations/global/trustConfigs/mine\n";
    let list = "      - headerName: \"X-Client-Cert-Present\"\n        headerValue: \
                \"{client_cert_present}\"\n      - headerName: \"X-Client-Cert-Error\"\n        \
                headerValue: \"{client_cert_error}\"\n";
    let map = format!(
        "defaultService: regions/R/backendServices/B\nname: regional-lb-map\nregion: region/R\n\
         headerAction:\n      requestHeadersToAdd:\n{list}"
    );
    let without_line = format!("name: map\nrequestHeadersToAdd:\n{list}");
    let samples = |headers: &str| {
        files()
            .text("trust-config", &trust_config)
            .text("server-tls-policy", policy)
            .text("headers", headers)
    };
    for (headers, lenient) in [(&map, 2), (&without_line, 3), (&list.to_owned(), 3)] {
        let (findings, code) = samples(headers).findings(&[]);
        let count = |id: &str| {
            findings
                .iter()
                .filter(|finding| finding["id"] == id)
                .count()
        };
        assert_eq!(count("lenient-form"), lenient, "{findings:#?}");
        assert_eq!(count("header-spoofable-at-google"), 2, "{findings:#?}");
        assert_eq!((findings.len(), code), (lenient + 2, Some(0)));
        let (output, _) = samples(headers).run("envoy", &["--part", "document", "--json"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            stderr(&output).lines().count(),
            lenient,
            "{}",
            stderr(&output)
        );
        assert_eq!(
            document["serverTlsPolicy"]["mtlsPolicy"]["clientValidationMode"],
            REJECT
        );
        let added = &document["headerAction"]["requestHeadersToAdd"];
        assert_eq!(added[1]["headerValue"], "{client_cert_error}");
        let anchor = &document["trustConfig"]["trustStores"][0]["trustAnchors"][0];
        assert_eq!(anchor, &entry(&root()));
    }
}

#[test]
fn header_rules_below_the_top_level_are_refused_with_their_path() {
    let action = json!({ "requestHeadersToRemove": ["X-A"] });
    for (map, at) in [
        (
            json!({ "pathMatchers": [{ "headerAction": action }] }),
            "pathMatchers[0].headerAction",
        ),
        (
            json!({ "pathMatchers": [{ "pathRules": [{ "routeAction": {
                "weightedBackendServices": [{ "headerAction": action }],
            } }] }] }),
            "pathMatchers[0].pathRules[0].routeAction.weightedBackendServices[0].headerAction",
        ),
        (
            json!({ "headerAction": action, "pathMatchers": [{}, { "headerAction": action }] }),
            "pathMatchers[1].headerAction",
        ),
    ] {
        let (output, _) = usual(REJECT).with("headers", &map).run("envoy", &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(&format!(": {at}: header rules below the top level")));
    }
}

#[test]
fn policies_come_alone_in_lists_and_in_several_documents() {
    let dodged = |text: &str| {
        let all = usual(ALLOW).text("authz-policy", text);
        let (findings, _) = all.findings(&[]);
        let path = |finding: &Value| {
            assert_eq!(finding["id"], "authz-dodged");
            finding["path"].as_str().unwrap().to_owned()
        };
        findings.iter().map(path).collect::<Vec<_>>()
    };
    let (deny, allow) = (authz("DENY", "sources"), authz("ALLOW", "notSources"));
    let source = "httpRules[0].from.sources[0].principals";
    let not_source = "httpRules[0].from.notSources[0].principals";
    assert_eq!(dodged(&deny.to_string()), [source]);
    assert_eq!(dodged(&allow.to_string()), [not_source]);
    assert_eq!(
        dodged(&json!([deny, allow]).to_string()),
        [format!("[0].{source}"), format!("[1].{not_source}")]
    );
    assert_eq!(
        dodged(&format!("---\n{deny}\n---\n{allow}\n---\n")),
        [
            format!("document[0].{source}"),
            format!("document[1].{not_source}")
        ]
    );
    // By method anybody can be refused, and an ALLOW that names principals is not evaded.
    let by_method = json!({
        "name": "by-method",
        "action": "DENY",
        "httpRules": [{ "to": { "operations": [{ "methods": ["POST"] }] } }],
    });
    assert!(dodged(&json!([by_method, authz("ALLOW", "sources")]).to_string()).is_empty());
    let strict = usual(REJECT).with("authz-policy", &json!([deny, allow]));
    assert!(strict.ids().is_empty());
}

#[test]
fn bad_usage_and_unreadable_input_exit_2_in_one_line() {
    let map = headers(&["X-A:{client_cert_error}"]);
    for (files, expected) in [
        (files().text("trust-config", "trustStores: ["), "not YAML"),
        (
            files().text("trust-config", ""),
            "not YAML: the file is empty",
        ),
        (
            files().text("trust-config", "a: 1\n---\nb: 1\n"),
            "more than one document",
        ),
        (
            files().text("trust-config", "-----BEGIN CERTIFICATE-----"),
            "PEM, not YAML",
        ),
        (
            files().text("headers", "name: x"),
            "neither customRequestHeaders nor headerAction",
        ),
        (
            files().text("headers", "[1]"),
            "not a backend service or a URL map",
        ),
        (
            files().text("authz-policy", "[1]"),
            "not an authorization policy",
        ),
        (
            files().text("settings", "[]"),
            "not an object with settings",
        ),
        (
            files().with("settings", &json!({ "trustConfig": {} })),
            "trustConfig has a file and an option of its own",
        ),
        (
            files().with("headers", &map).with("headers", &map),
            "customRequestHeaders is in ",
        ),
    ] {
        for command in ["check", "envoy"] {
            let (output, _) = files.run(command, &[]);
            assert_eq!(output.status.code(), Some(2), "{expected}");
            let said = stderr(&output);
            assert!(
                said.starts_with("error: ") && said.contains(expected),
                "{said}"
            );
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
    for command in ["check", "envoy"] {
        assert_eq!(files().run(command, &[]).0.status.code(), Some(2));
        let missing = ["--trust-config", "/nowhere/trust.yaml"];
        assert_eq!(files().run(command, &missing).0.status.code(), Some(2));
    }
    for more in [
        ["--upstream", "nowhere"],
        ["--upstream", "a b:1"],
        ["--listen", "localhost:1"],
    ] {
        assert_eq!(usual(REJECT).run("envoy", &more).0.status.code(), Some(2));
    }
    assert_eq!(
        config(&["check".into(), "--time".into(), "now".into()])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn a_configuration_that_the_filter_would_refuse_is_not_written() {
    let mut trust_config = usual_trust();
    trust_config["trustStores"][0]["trustAnchors"][0]["pemCertificate"] = json!("x");
    let all = files()
        .with("trust-config", &trust_config)
        .with("server-tls-policy", &policy(REJECT));
    let (output, folder) = all.run("envoy", &[]);
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(2), "")
    );
    let path = folder.path().join("0-trust-config.yaml");
    assert_eq!(
        stderr(&output),
        format!(
            "error: {}: trustStores[0].trustAnchors[0].pemCertificate: not one PEM certificate: block \
             0: text outside BEGIN and END\n",
            path.display()
        )
    );
    // The place in JSON text that nobody wrote is no help.
    let all = files()
        .with("server-tls-policy", &json!({ "mtlsPolicy": {} }))
        .with("trust-config", &usual_trust());
    let (output, folder) = all.run("envoy", &["--part", "document"]);
    let path = folder.path().join("0-server-tls-policy.yaml");
    assert_eq!(
        stderr(&output),
        format!(
            "error: {}: mtlsPolicy: missing field `clientValidationMode`\n",
            path.display()
        )
    );
}

fn readme_bootstrap() -> Value {
    let readme = fs::read_to_string(testdata().join("../README.md")).unwrap();
    let (_, behind) = readme.split_once("<!-- envoy.yaml").unwrap();
    let (_, yaml) = behind.split_once("```yaml\n").unwrap();
    let (yaml, _) = yaml.split_once("```").unwrap();
    serde_saphyr::from_str(yaml).unwrap()
}

/// One bootstrap, written once by hand for people to read and once by the command.
#[test]
fn the_bootstrap_is_the_readme_s() {
    let mut bootstrap = readme_bootstrap();
    let filter =
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0";
    let document = format!("{filter}/typed_config/config/configuration/value");
    *bootstrap
        .pointer_mut(&format!("{document}/trustConfig"))
        .unwrap() = trust(&[&root()], &[]);
    let filter = bootstrap.pointer(filter).unwrap();
    let document = bootstrap.pointer(&document).unwrap();
    let all = files()
        .with("trust-config", &document["trustConfig"])
        .with("server-tls-policy", &document["serverTlsPolicy"])
        .with(
            "headers",
            &json!({ "customRequestHeaders": document["customRequestHeaders"] }),
        );
    for (part, expected) in [
        ("bootstrap", &bootstrap),
        ("filter", filter),
        ("document", document),
    ] {
        let (yaml, folder) = all.run("envoy", &["--part", part]);
        let text = stdout(&yaml);
        assert_eq!(
            &serde_saphyr::from_str::<Value>(&text).unwrap(),
            expected,
            "{part}"
        );
        assert!(text.contains("pemCertificate: |\n"), "{text}");
        let (json, _) = all.run("envoy", &["--part", part, "--json"]);
        assert_eq!(
            &serde_json::from_slice::<Value>(&json.stdout).unwrap(),
            expected,
            "{part}"
        );
        let file = folder.path().join("out.yaml");
        let (output, _) = all.run(
            "envoy",
            &["--part", part, "--output", file.to_str().unwrap()],
        );
        assert_eq!(
            (output.status.code(), stdout(&output).as_str()),
            (Some(0), "")
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn addresses_and_names_of_backends_are_told_apart() {
    let cluster = |upstream: &str| {
        let (output, _) = usual(REJECT).run("envoy", &["--json", "--upstream", upstream]);
        let bootstrap: Value = serde_json::from_slice(&output.stdout).unwrap();
        let cluster = &bootstrap["static_resources"]["clusters"][0];
        let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        let address = &endpoint["address"]["socket_address"];
        format!(
            "{} {} {}",
            cluster["type"], address["address"], address["port_value"]
        )
    };
    assert_eq!(cluster("10.0.0.1:80"), r#""STATIC" "10.0.0.1" 80"#);
    assert_eq!(cluster("[::1]:80"), r#""STATIC" "::1" 80"#);
    assert_eq!(
        cluster("backend.internal:80"),
        r#""STRICT_DNS" "backend.internal" 80"#
    );
}

/// Both filters of `--network-filter`, in a real Envoy: the one closes connections and tells the
/// address, the other goes by it.
#[test]
fn envoy_serves_the_network_filter_that_is_written() {
    let gate = Gate::new();
    let policies = from_loopback();
    let document = gate.golden.document();
    let write = |more: &[&str]| {
        let set = files()
            .with("trust-config", &document["trustConfig"])
            .with("server-tls-policy", &policy(REJECT))
            .with("authz-policy", &policies);
        gate.write(set, more)
    };
    // Without it, nobody tells the address, and the policy is refused.
    let refused = write(&[]).unwrap_err();
    assert!(refused.contains("ipBlocks"), "{refused}");
    let envoy = gate.start(&write(&["--network-filter"]).unwrap());
    // The intermediate is presented, not configured: the network filter cannot see it.
    let closed = gate.get(&envoy, true);
    assert!(closed.closed_silently(), "{closed:?}");
    assert!(gate.get(&envoy, false).closed_silently());
    let answering = json!({ "rejection": { "action": "RESPOND", "status": 418 } });
    let set = files()
        .with("trust-config", &document["trustConfig"])
        .with("server-tls-policy", &policy(REJECT))
        .with("authz-policy", &policies)
        .with("settings", &answering);
    let envoy = gate.start(&gate.write(set, &["--network-filter"]).unwrap());
    let status = |outcome: Outcome| outcome.response().map(|response| response.status);
    assert_eq!(status(gate.get(&envoy, true)), Some(200));
    assert_eq!(status(gate.get(&envoy, false)), Some(418));
}

/// What an Envoy needs beside the files that the command reads.
struct Gate {
    golden: Golden,
    folder: TempDir,
    echo: Echo,
}

impl Gate {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = ServerCertificate::self_signed(&["gate.test"]).unwrap();
        fs::write(folder.path().join("cert"), &certificate.certificate_pem).unwrap();
        fs::write(folder.path().join("key"), &certificate.key_pem).unwrap();
        Self {
            golden: goldens::named("one_intermediate").unwrap(),
            folder,
            echo: Echo::start().unwrap(),
        }
    }

    /// The bootstrap, or what is wrong.
    fn write(&self, files: Files, more: &[&str]) -> Result<Value, String> {
        let file = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let (cert, key) = (file("cert"), file("key"));
        let wasm = fs::canonicalize(filter_file()).unwrap();
        let upstream = self.echo.address().to_string();
        let mut arguments = vec![
            "--listen",
            "127.0.0.1:0",
            "--cert",
            &cert,
            "--key",
            &key,
            "--wasm",
            wasm.to_str().unwrap(),
            "--upstream",
            &upstream,
        ];
        arguments.extend(more);
        let (output, _) = files.run("envoy", &arguments);
        if output.status.code() != Some(0) {
            return Err(stderr(&output));
        }
        Ok(serde_saphyr::from_str(&stdout(&output)).unwrap())
    }

    fn start(&self, bootstrap: &Value) -> Envoy {
        let mut bootstrap = bootstrap.clone();
        bootstrap["admin"] = json!({
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } }
        });
        Envoy::start(&EnvoyConfig::new(bootstrap)).unwrap()
    }

    fn get(&self, envoy: &Envoy, with_certificate: bool) -> Outcome {
        let identity = self.golden.identity();
        let identity = with_certificate.then_some(&identity);
        self.get_as(envoy, identity, &["X-On: off"])
    }

    fn get_as(&self, envoy: &Envoy, peer: Option<&ClientIdentity>, lines: &[&str]) -> Outcome {
        let port = envoy.port("gate").unwrap();
        let options = ClientOptions::default();
        let mut connection = client::connect(port, "gate.test", peer, &options).unwrap();
        connection.get("gate.test", "/", lines).unwrap()
    }
}

/// The YAML as it is written, in a real Envoy.
#[test]
fn envoy_serves_what_is_written() {
    let gate = Gate::new();
    let set = files()
        .with("trust-config", &gate.golden.document()["trustConfig"])
        .with("server-tls-policy", &policy(REJECT))
        .with(
            "headers",
            &headers(&["X-Client-Cert-Leaf:{client_cert_leaf}"]),
        )
        .with(
            "headers",
            &url_map(&json!({ "headerName": "X-On", "headerValue": "on", "replace": true })),
        )
        .with(
            "settings",
            &json!({ "rejection": { "action": "RESPOND", "status": 418 } }),
        );
    let envoy = gate.start(&gate.write(set, &[]).unwrap());
    let get = |with_certificate| match gate.get(&envoy, with_certificate) {
        Outcome::Response(response) => response,
        _ => panic!("closed\n{}", envoy.log()),
    };
    let good = get(true);
    assert_eq!(good.status, 200);
    let reply = EchoReply::parse(&good.body).unwrap();
    assert_eq!(reply.all("x-on"), ["on"]);
    assert_eq!(
        reply.all("x-client-cert-leaf"),
        [gate.golden.expected.variables["client_cert_leaf"].as_str()]
    );
    assert_eq!(get(false).status, 418);
}

/// What Envoy does to its own header depends on whose it is.
#[test]
fn the_header_of_another_envoy_is_left_alone() {
    let details = |header: Value| {
        let mut settings = behind_relay(&json!({}));
        settings["source"]["header"] = header;
        let set = usual(REJECT).with("settings", &settings);
        let (output, _) = set.run("envoy", &["--json", "--network-filter"]);
        let bootstrap: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
        let filters = "/static_resources/listeners/0/filter_chains/0/filters/1/typed_config";
        let manager = bootstrap.pointer(filters).unwrap();
        assert!(manager.get("set_current_client_cert_details").is_none());
        let details = manager["forward_client_cert_details"].as_str();
        details.unwrap().to_owned()
    };
    let named = relay_by_name(&trust(&[&relay_root()], &[]));
    let by_address = json!({ "addresses": ["10.0.0.0/8"] });
    let anybody = json!({ "trustAnyRelay": true });
    let envoy = |relay: &Value| json!({ "preset": "ENVOY", "relay": relay });
    assert_eq!(details(envoy(&named)), "FORWARD_ONLY");
    assert_eq!(details(envoy(&by_address)), "ALWAYS_FORWARD_ONLY");
    assert_eq!(details(envoy(&anybody)), "ALWAYS_FORWARD_ONLY");
    assert_eq!(details(envoy(&json!({}))), "SANITIZE");
    let encoding =
        |name: Value| json!({ "encoding": "XFCC", "certificateHeader": name, "relay": named });
    assert_eq!(
        details(encoding(json!("X-Forwarded-Client-Cert"))),
        "FORWARD_ONLY"
    );
    assert_eq!(details(encoding(json!("X-Other"))), "SANITIZE");
    assert_eq!(
        details(json!({ "preset": "RFC9440", "relay": named })),
        "SANITIZE"
    );
}

/// The bootstrap for a relay with a certificate, and for one without, in a real Envoy.
#[test]
fn envoy_believes_the_relay_that_is_written() {
    let gate = Gate::new();
    let relay = goldens::named("direct_from_anchor").unwrap();
    let start = |mode: &str, believed: &Value, more: &[&str]| {
        let settings = json!({ "source": { "header": { "preset": "ENVOY", "relay": believed } } });
        let set = files()
            .with("trust-config", &gate.golden.document()["trustConfig"])
            .with("server-tls-policy", &policy(mode))
            .with(
                "headers",
                &headers(&["X-Client-Cert-Leaf:{client_cert_leaf}"]),
            )
            .with("settings", &settings);
        gate.start(&gate.write(set, more).unwrap())
    };
    let line = format!(
        "x-forwarded-client-cert: {}",
        gate.golden.forwarded_header()
    );
    let seen = |envoy: &Envoy, peer: Option<&ClientIdentity>, lines: &[&str]| {
        let outcome = gate.get_as(envoy, peer, lines);
        let response = outcome.response()?;
        let reply = EchoReply::parse(&response.body).unwrap();
        assert!(reply.all("x-forwarded-client-cert").is_empty());
        Some(reply.all("x-client-cert-leaf")[0].to_owned())
    };
    let leaf = &gate.golden.expected.variables["client_cert_leaf"];
    let some = |leaf: &str| Some(leaf.to_owned());
    let named = json!({ "mtls": {
        "trustConfig": relay.document()["trustConfig"],
        "sanMatch": { "dnsNames": ["client.mtls-gate.test"] },
    } });
    let envoy = start(ALLOW, &named, &[]);
    let identity = relay.identity();
    assert_eq!(seen(&envoy, Some(&identity), &[&line]), some(leaf));
    assert_eq!(seen(&envoy, Some(&identity), &[]), some(""));
    assert_eq!(seen(&envoy, None, &[&line]), some(""));
    // The network filter tells the address, and leaves the rest to the other.
    let here = json!({ "addresses": ["127.0.0.0/8"] });
    let envoy = start(REJECT, &here, &["--network-filter"]);
    assert_eq!(seen(&envoy, None, &[&line]), some(leaf));
    assert_eq!(seen(&envoy, None, &[]), None);
    let elsewhere = json!({ "addresses": ["192.0.2.0/24"] });
    let envoy = start(REJECT, &elsewhere, &["--network-filter"]);
    assert_eq!(seen(&envoy, None, &[&line]), None);
}
