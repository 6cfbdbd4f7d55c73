//! The inspector: its answers as the page gets them, and the page in a real browser. `make inspector`
//! builds the page, `make tools` fetches the browser.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

use mtls_gate::goldens::{self, Golden};
use mtls_gate::testbed::browser::{Browser, END, TAB};
use mtls_gate::testbed::serve::Serve;
use mtls_gate_core::variables::Variable;
use mtls_gate_inspector::{admit, from_fragment, inspect, timeline, to_fragment};
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use serde_json::{Value, json};

/// WebDriver's code for the key.
const ENTER: &str = "\u{e007}";
/// 2026-11-18
const NOW: f64 = 1_795_000_000.0;

fn ask(state: &Value) -> Value {
    serde_json::from_str(&inspect(&state.to_string(), NOW)).unwrap()
}

fn state(name: &str) -> Value {
    goldens::named(name).unwrap().inspector_state().unwrap()
}

fn with(mut state: Value, field: &str, value: impl Into<Value>) -> Value {
    state[field] = value.into();
    state
}

#[test]
fn goldens_give_the_same_variables() {
    let mut wrong = Vec::new();
    for golden in goldens::all().unwrap() {
        let report = ask(&golden.inspector_state().unwrap());
        wrong.extend(differences(&golden, &report));
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn differences(golden: &Golden, report: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(problem) = report.get("problem") {
        return vec![format!("{}: {problem}", golden.name)];
    }
    let found = report["variables"].as_array().unwrap();
    for (variable, found) in Variable::ALL.into_iter().zip(found) {
        let expected = &golden.expected.variables[variable.name()];
        if found["name"] != variable.name() || found["value"] != expected.as_str() {
            wrong.push(format!("{} {}: {found}", golden.name, variable.name()));
        }
    }
    let forwarded = golden.expected.decision == "forward";
    if report["headers"]["forwarded"] != forwarded {
        wrong.push(format!("{}: {}", golden.name, report["verdict"]));
    }
    if !golden.names_the_rule(report["verdict"]["sentence"].as_str().unwrap()) {
        wrong.push(format!(
            "{}: {}",
            golden.name, report["verdict"]["sentence"]
        ));
    }
    wrong
}

#[test]
fn every_reason_marks_a_field_and_says_how_it_is_mended() {
    for golden in goldens::all().unwrap() {
        let report = ask(&golden.inspector_state().unwrap());
        let refused = golden.expected.variables["client_cert_chain_verified"] != "true";
        let mend = report["verdict"]["mend"].as_str().unwrap();
        assert!(!refused || mend.ends_with('.'), "{}: {mend:?}", golden.name);
        let nodes = report["certificates"].as_array().unwrap();
        let on_path = nodes.iter().filter(|node| node["onPath"] == true).count();
        let sentence = report["verdict"]["sentence"].as_str().unwrap();
        let has_path = !refused && !sentence.contains("allowlist");
        assert_eq!(on_path > 1, has_path, "{}: {sentence}", golden.name);
        for edge in report["edges"].as_array().unwrap() {
            let rejected = edge["state"] == "rejected";
            assert_eq!(rejected, edge["label"] != "", "{}: {edge}", golden.name);
        }
    }
    for (name, index, field) in [
        ("expired_end_entity", 0, "validity"),
        ("eku_issuer_missing", 1, "extKeyUsage"),
        ("rsa_1024_end_entity", 0, "key"),
        ("issuer_ca_false", 1, "basicConstraints"),
        ("name_constraint_dns_violated", 0, "names"),
        ("spiffe_two_uri_sans", 0, "names"),
        ("revocation_listed", 0, "revocation"),
    ] {
        let report = ask(&state(name));
        let faults = &report["certificates"][index]["faults"];
        assert_eq!(faults[0]["field"], field, "{name}: {faults}");
    }
}

#[test]
fn the_search_is_told_as_it_went() {
    let report = ask(&state("cross_signed_one_expired"));
    let steps = report["searches"][0]["steps"].as_array().unwrap();
    let told: Vec<(&str, &str)> = steps
        .iter()
        .map(|step| {
            (
                step["origin"].as_str().unwrap(),
                step["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("end entity", "accepted"),
        ("presented", "rejected"),
        ("presented", "accepted"),
        ("trust anchor", "accepted"),
    ];
    assert_eq!(told, expected);
    assert_eq!(steps[1]["reason"], "expired at 2021-01-01T00:00:00+00:00");
    assert_eq!(steps[1]["below"], 0);
    assert_eq!(steps[3]["below"], 2);
    // A path that fails by key purposes alone is looked for twice.
    let report = ask(&state("eku_issuer_missing"));
    let searches = report["searches"].as_array().unwrap();
    let purposes: Vec<&Value> = searches.iter().map(|search| &search["purposes"]).collect();
    assert_eq!(purposes, [true, false]);
    // A signature is the whole path's matter.
    let report = ask(&state("impostor_root"));
    let steps = report["searches"][0]["steps"].as_array().unwrap();
    let unproven = steps.iter().find(|step| {
        let reason = step["reason"].as_str().unwrap();
        reason.contains("signature does not verify")
    });
    let unproven = unproven.unwrap();
    assert_eq!(
        (&unproven["origin"], &unproven["outcome"]),
        (&json!("trust anchor"), &json!("rejected"))
    );
}

#[test]
fn explain_prints_the_same_search() {
    let golden = goldens::named("eku_issuer_missing").unwrap();
    let file = |name: &str| {
        let path = goldens::testdata()
            .join("chains")
            .join(&golden.name)
            .join(name);
        path.to_str().unwrap().to_owned()
    };
    let run = |more: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_mtls-gate"))
            .args([
                "explain",
                "--anchors",
                &file("anchors.pem"),
                "--chain",
                &file("chain.pem"),
            ])
            .args(["--time", &golden.case.time])
            .args(more)
            .output()
            .unwrap()
    };
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text.lines().take(2).collect::<Vec<_>>(),
        [
            "not verified: issuer at position 1: extKeyUsage lacks the required purpose",
            "client_cert_error client_cert_chain_invalid_eku"
        ]
    );
    for line in [
        "search for a path",
        "    O=mtls-gate, CN=mtls-gate test CA without EKU (presented): rejected: extKeyUsage lacks the required purpose",
        "the same with key purposes left aside",
        "      O=mtls-gate, CN=mtls-gate test root P-256 (trust anchor): accepted",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let output = run(&["--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let report = ask(&golden.inspector_state().unwrap());
    assert_eq!(json["searches"], report["searches"]);
    assert_eq!(json["mend"], report["verdict"]["mend"]);
    let output = run(&["--profile", "rfc5280"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .starts_with("verified\n")
    );
}

#[test]
fn time_changes_the_verdict_where_a_validity_ends() {
    let good = state("one_intermediate");
    let answer: Value = serde_json::from_str(&timeline(&good.to_string())).unwrap();
    let segments = answer["segments"].as_array().unwrap();
    let states: Vec<&str> = segments
        .iter()
        .map(|one| one["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["passedOn", "accepted", "passedOn"]);
    let last = segments[1]["to"].as_i64().unwrap();
    assert_eq!(
        ask(&with(good.clone(), "time", last))["verdict"]["state"],
        "accepted"
    );
    assert_eq!(
        ask(&with(good.clone(), "time", last + 1))["verdict"]["state"],
        "passedOn"
    );
    // Without a time of its own a state is judged now.
    let mut now = good;
    now.as_object_mut().unwrap().remove("time");
    assert_eq!(ask(&now)["time"].as_f64(), Some(NOW));
}

#[test]
fn headers_of_other_proxies_are_read() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let golden = goldens::named("one_intermediate").unwrap();
    let der: Vec<String> = golden
        .chain()
        .iter()
        .map(|pem| pem.lines().filter(|line| !line.starts_with('-')).collect())
        .collect();
    let hash: String = {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(STANDARD.decode(&der[0]).unwrap());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let escaped = |pem: &str| {
        pem.replace('\n', "%0A")
            .replace(' ', "%20")
            .replace('+', "%2B")
    };
    let xfcc = format!(
        "Hash={hash};Cert=\"{}\";Chain=\"{}\"",
        escaped(golden.chain()[0]),
        escaped(&golden.chain_pem)
    );
    let (leaf, issuer) = (&der[0], &der[1]);
    for (format, preset, chain) in [
        ("AUTO", "ENVOY", xfcc.clone()),
        ("AUTO", "ENVOY", format!("x-forwarded-client-cert: {xfcc}")),
        (
            "AUTO",
            "RFC9440",
            format!("Client-Cert: :{leaf}:\nClient-Cert-Chain: :{issuer}:\n"),
        ),
        (
            "RFC9440",
            "RFC9440",
            format!("X-Leaf: :{leaf}:\nX-Chain: :{issuer}:\n"),
        ),
        (
            "GOOGLE_ALB",
            "GOOGLE_ALB",
            format!("X-Leaf: :{leaf}:\nX-Chain: :{issuer}:\n"),
        ),
        (
            "HAPROXY",
            "HAPROXY",
            format!("X-Leaf: {leaf}\nX-Chain: {issuer}\n"),
        ),
        (
            "APACHE",
            "APACHE",
            format!(
                "X-Leaf: {}\nX-Chain-0: {}\n",
                escaped(golden.chain()[0]),
                escaped(golden.chain()[1])
            ),
        ),
        (
            "AUTO",
            "AWS_ALB_PASSTHROUGH",
            format!("X-Amzn-Mtls-Clientcert: {}", escaped(&golden.chain_pem)),
        ),
        ("TRAEFIK", "TRAEFIK", format!("{leaf},{issuer}")),
    ] {
        let mut state = golden.inspector_state().unwrap();
        state["chain"] = json!(chain);
        state["format"] = json!(format);
        let report = ask(&state);
        assert_eq!(report["form"], format!("header, {preset}"), "{report}");
        assert_eq!(
            report["verdict"]["state"], "accepted",
            "{preset}: {}",
            report["verdict"]
        );
        // Nothing of this page believes anybody elsewhere.
        let document = report["configuration"]["document"].as_str().unwrap();
        assert!(
            document.contains(&format!("preset: {preset}")),
            "{document}"
        );
        assert!(!document.contains("trustAnyRelay"), "{document}");
    }
    for (format, preset, chain) in [
        ("AUTO", "NGINX", escaped(golden.chain()[0])),
        (
            "NGINX",
            "NGINX",
            format!("ssl-client-cert: {}", escaped(golden.chain()[0])),
        ),
        ("AUTO", "HAPROXY", leaf.clone()),
        ("AUTO", "RFC9440", format!(":{leaf}:")),
        ("CADDY", "CADDY", leaf.clone()),
        (
            "AUTO",
            "AZURE_APP_SERVICE",
            format!("X-ARR-ClientCert: {leaf}"),
        ),
        (
            "AUTO",
            "CLOUDFLARE_LEGACY",
            format!("Cf-Client-Cert-Der-Base64: {leaf}"),
        ),
        (
            "AZURE_APPLICATION_GATEWAY",
            "AZURE_APPLICATION_GATEWAY",
            escaped(golden.chain()[0]),
        ),
        ("CLOUDFLARE", "CLOUDFLARE", format!(":{leaf}:")),
        (
            "AWS_ALB_VERIFY",
            "AWS_ALB_VERIFY",
            escaped(golden.chain()[0]),
        ),
    ] {
        let mut state = golden.inspector_state().unwrap();
        state["chain"] = json!(chain);
        state["format"] = json!(format);
        let report = ask(&state);
        assert_eq!(report["form"], format!("header, {preset}"), "{report}");
        assert_eq!(
            report["certificates"].as_array().unwrap()[0]["kind"],
            "endEntity",
            "{preset}"
        );
        let sentence = report["verdict"]["sentence"].as_str().unwrap();
        assert!(
            sentence.contains("no certificate found for its issuer"),
            "{preset}: {sentence}"
        );
    }
    let other_hash = xfcc.replacen(&hash, &"0".repeat(64), 1);
    let report = ask(&with(
        golden.inspector_state().unwrap(),
        "chain",
        other_hash,
    ));
    let state = with(golden.inspector_state().unwrap(), "format", "AUTO");
    assert!(report["problem"].is_object(), "{report}");
    let report = ask(&with(
        state,
        "chain",
        xfcc.replacen(&hash, &"0".repeat(64), 1),
    ));
    let sentence = report["verdict"]["sentence"].as_str().unwrap();
    assert!(sentence.contains("Hash is not that of Cert"), "{sentence}");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let good = state("one_intermediate");
    let chain = good["chain"].as_str().unwrap();
    let bundle = goldens::testdata().join("chains/one_intermediate/anchors.pem");
    let bundle = fs::read_to_string(bundle).unwrap();
    assert_eq!(
        ask(&with(good.clone(), "trust", bundle.clone()))["verdict"]["state"],
        "accepted"
    );
    let second = chain.rfind("-----BEGIN").unwrap();
    let line = chain[..second].lines().count() + 1;
    let broken = format!(
        "{}{}",
        &chain[..second],
        chain[second..].replacen("MI", "M*", 1)
    );
    for (field, text, expected) in [
        (
            "chain",
            broken,
            format!("Client certificate, line {line}: PEM block 2 cannot be read: not base64."),
        ),
        (
            "chain",
            "hello".to_owned(),
            "Client certificate: there is no block BEGIN CERTIFICATE in it.".to_owned(),
        ),
        (
            "trust",
            bundle.replacen("MI", "M*", 1),
            "Trust config, line 1: PEM block 1 cannot be read: not base64.".to_owned(),
        ),
        (
            "trust",
            "trustStores: [\n".to_owned(),
            "Trust config: not YAML: ".to_owned(),
        ),
        (
            "trust",
            "trustStores: []\ntrustAnchors: []\n".to_owned(),
            "Trust config: trustAnchors: unknown field".to_owned(),
        ),
        (
            "headers",
            "X-A:{client_cert_hash}".to_owned(),
            "The configuration is refused: customRequestHeaders[0]: unknown variable".to_owned(),
        ),
        (
            "policy",
            "mtlsPolicy: {clientValidationMode: MAYBE}".to_owned(),
            String::new(),
        ),
        (
            "settings",
            "limits: {payloadBytes: 1000000000}".to_owned(),
            "Settings: limits.payloadBytes: ".to_owned(),
        ),
        (
            "settings",
            "authzPolicies: []".to_owned(),
            "Settings: authzPolicies has a file and an option of its own.".to_owned(),
        ),
    ] {
        let report = ask(&with(good.clone(), field, text.clone()));
        if expected.is_empty() {
            // The mode beside it takes the place of the policy's.
            assert_eq!(report["verdict"]["state"], "accepted", "{report}");
            continue;
        }
        let sentence = report["problem"]["sentence"]
            .as_str()
            .unwrap_or_else(|| panic!("{report}"));
        assert!(sentence.starts_with(&expected), "{sentence}\n{expected}");
        assert_eq!(sentence.lines().count(), 1);
    }
    assert!(inspect("{", NOW).contains("This is no state"));
    assert!(inspect(r#"{"chain":"","more":1}"#, NOW).contains("unknown field"));
}

#[test]
fn files_are_taken_as_text_or_der() {
    let admit = |name: &str, bytes: &[u8]| -> Value {
        serde_json::from_str(&admit("chain", name, bytes)).unwrap()
    };
    let golden = goldens::named("one_intermediate").unwrap();
    let block = golden.chain()[0];
    let base64: String = block
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let der = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD
            .decode(base64)
            .unwrap()
    };
    assert_eq!(admit("a.der", &der)["text"], block);
    assert_eq!(admit("a.pem", block.as_bytes())["text"], block);
    assert_eq!(admit("a", "\u{feff}a".as_bytes())["text"], "a");
    let noise: Vec<u8> = (0..200_000_u64).map(|n| (n * n).to_le_bytes()[1]).collect();
    for (bytes, expected) in [
        (
            &noise[..],
            "noise.bin: neither text nor one certificate in DER (not strict DER).",
        ),
        (
            &der[..200],
            "noise.bin: neither text nor one certificate in DER (not strict DER).",
        ),
        (
            b"a\0b",
            "noise.bin: neither text nor one certificate in DER (not strict DER).",
        ),
        (
            &vec![b'a'; 2_000_000],
            "noise.bin: 2000000 bytes are too many, the limit is 1048576.",
        ),
    ] {
        assert_eq!(admit("noise.bin", bytes)["problem"]["sentence"], expected);
    }
    // A name may hold anything.
    let odd = admit("a\u{202e}<b>", b"\0")["problem"]["sentence"].clone();
    assert!(
        odd.as_str().unwrap().starts_with("a\\u{202e}<b>: "),
        "{odd}"
    );
    for state in [
        with(json!({}), "chain", "a".repeat(2_000_000)),
        with(json!({}), "settings", "-".repeat(1_100_000)),
    ] {
        assert!(
            ask(&state)["problem"]["sentence"]
                .as_str()
                .unwrap()
                .contains("are too many")
        );
    }
}

#[test]
fn private_keys_go_nowhere() {
    let golden = goldens::named("one_intermediate").unwrap();
    let key = &golden.key_pem;
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let der = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD
            .decode(&body)
            .unwrap()
    };
    let parse = |answer: String| serde_json::from_str::<Value>(&answer).unwrap();
    let refused = |answer: Value, what: &str| {
        assert_eq!(answer["problem"]["privateKey"], true, "{what}: {answer}");
        assert!(!answer.to_string().contains(&body[..40]), "{what}");
    };
    for field in ["chain", "trust", "policy", "headers", "settings"] {
        for text in [
            key.clone(),
            format!("{}{key}", golden.chain_pem),
            body.clone(),
        ] {
            let state = with(json!({}), field, text.clone());
            refused(ask(&state), field);
            refused(parse(timeline(&state.to_string())), field);
            refused(parse(to_fragment(&state.to_string())), field);
            refused(parse(admit(field, "key.pem", text.as_bytes())), field);
        }
        refused(parse(admit(field, "key.der", &der)), field);
    }
    let answer = parse(admit("chain", "key.pem", format!("\n\n{key}").as_bytes()));
    assert_eq!(answer["problem"]["line"], 3);
    let sentence = answer["problem"]["sentence"].as_str().unwrap();
    assert!(
        sentence.starts_with("key.pem, line 3: this holds a private key."),
        "{sentence}"
    );
    // No golden is mistaken for one.
    for golden in goldens::all().unwrap() {
        let state = golden.inspector_state().unwrap();
        assert!(
            parse(to_fragment(&state.to_string()))["problem"]["privateKey"] != true,
            "{}",
            golden.name
        );
    }
}

#[test]
fn links_hold_the_state_and_nothing_else_opens() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let parse = |answer: String| serde_json::from_str::<Value>(&answer).unwrap();
    let state = state("one_intermediate");
    let fragment = parse(to_fragment(&state.to_string()))["fragment"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(fragment.starts_with("v1."));
    let opened = parse(from_fragment(&fragment))["state"].clone();
    for (field, value) in state.as_object().unwrap() {
        let empty = value == "" && opened.get(field).is_none();
        assert!(empty || opened[field] == *value, "{field}");
    }
    let encode = |json: &str| format!("v1.{}", URL_SAFE_NO_PAD.encode(json));
    let key = goldens::named("one_intermediate").unwrap().key_pem;
    for (fragment, why) in [
        (String::new(), "another version"),
        ("v2.e30".to_owned(), "another version"),
        ("v1.*".to_owned(), "cut off or changed"),
        (fragment[..fragment.len() - 3].to_owned(), ""),
        (encode("[]"), "no state"),
        (encode(r#"{"chain":1}"#), "no state"),
        (encode(r#"{"onload":"x"}"#), "no state"),
        (encode(r#"{"time":1e400}"#), "no state"),
        (encode(&"[".repeat(50_000)), "no state"),
        (format!("v1.{}", "a".repeat(200_000)), "too long"),
        (encode(&json!({ "trust": key }).to_string()), "private key"),
    ] {
        let answer = parse(from_fragment(&fragment));
        let sentence = answer["problem"]["sentence"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"));
        assert!(sentence.contains(why), "{sentence}");
        assert_eq!(sentence.lines().count(), 1);
    }
    let large = with(state, "trust", "x".repeat(200_000));
    let answer = parse(to_fragment(&large.to_string()));
    assert!(
        answer["problem"]["sentence"]
            .as_str()
            .unwrap()
            .contains("too much for a link")
    );
    // A time that no calendar has, and JavaScript cannot say.
    let odd = with(
        goldens::named("one_intermediate")
            .unwrap()
            .inspector_state()
            .unwrap(),
        "time",
        i64::MAX,
    );
    assert_eq!(ask(&odd)["problem"]["field"], "time");
}

#[test]
fn the_examples_are_the_goldens() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/inspector/web/examples.json");
    let committed: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(
        committed,
        goldens::examples().unwrap(),
        "`make fixtures` writes them anew"
    );
    assert!(!committed.to_string().contains("PRIVATE KEY"));
}

// --- in a browser -----------------------------------------------------------

/// The page, served by the command, in a browser.
struct Page {
    // Before the server: fields are dropped in order.
    browser: Browser,
    server: Serve,
}

impl Page {
    fn open() -> Self {
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/inspector");
        let binary = Path::new(env!("CARGO_BIN_EXE_mtls-gate"));
        let files = files.to_str().unwrap();
        let server = Serve::start_as(binary, "inspector", &["--files", files]).unwrap();
        let browser = Browser::start(1400, 1000).unwrap();
        let page = Self { browser, server };
        let permissions = json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": page.origin() });
        page.browser
            .devtools("Browser.grantPermissions", permissions)
            .unwrap();
        page.load("");
        page
    }

    fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    fn load(&self, fragment: &str) {
        // Another page first: a fragment alone loads nothing.
        self.browser.open("about:blank").unwrap();
        self.browser
            .open(&format!("{}/{fragment}", self.origin()))
            .unwrap();
        self.wait_for(
            "document.documentElement.dataset.ready && document.querySelector('[data-example]')",
        );
    }

    fn wait_for(&self, expression: &str) {
        self.browser.wait_for(expression).unwrap_or_else(|error| {
            let seen = self
                .browser
                .run("return document.body.innerText;", json!([]));
            panic!("{error}\n{seen:?}\n{:?}", self.browser.console());
        });
    }

    fn wait_for_state(&self, state: &str) {
        self.wait_for(&format!(
            "document.getElementById('verdict').dataset.state === '{state}'"
        ));
    }

    fn text(&self, id: &str) -> String {
        let text = self.browser.run(
            "return document.getElementById(arguments[0]).innerText;",
            json!([id]),
        );
        text.unwrap().as_str().unwrap().to_owned()
    }

    fn value(&self, id: &str) -> String {
        let value = self.browser.run(
            "return document.getElementById(arguments[0]).value;",
            json!([id]),
        );
        value.unwrap().as_str().unwrap().to_owned()
    }

    fn choose(&self, example: &str) {
        self.browser
            .click(&format!("[data-example='{example}']"))
            .unwrap();
    }

    /// The page did nothing that it should not.
    fn is_quiet(&self) {
        assert_eq!(self.browser.console().unwrap(), [""; 0]);
        let requests = self.browser.requests().unwrap();
        assert!(!requests.is_empty());
        for request in requests {
            let own = request.starts_with(&format!("{}/", self.origin()));
            // The browser's own icons in form fields are data.
            let nowhere = request == "about:blank" || request.starts_with("data:");
            assert!(own || nowhere, "{request}");
        }
    }

    /// Keeps a picture, for the documentation.
    fn picture(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/inspector-pictures");
        fs::create_dir_all(&folder).unwrap();
        let picture = self.browser.screenshot().unwrap();
        assert!(picture.starts_with(b"\x89PNG"));
        fs::write(folder.join(name), picture).unwrap();
    }

    fn resize(&self, width: u32, height: u32, scheme: &str) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.browser
            .devtools("Emulation.setDeviceMetricsOverride", size)
            .unwrap();
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.browser
            .devtools("Emulation.setEmulatedMedia", media)
            .unwrap();
    }
}

#[test]
fn the_page_is_used_as_people_use_it() {
    let page = Page::open();
    // An example.
    page.choose("one_intermediate");
    page.wait_for_state("accepted");
    assert!(
        page.text("verdict-sentence")
            .starts_with("Accepted: a path of 3 certificates")
    );
    page.wait_for("document.querySelectorAll('#graph .node.on-path').length === 3");
    page.wait_for("document.querySelectorAll('#graph .edge.accepted').length === 2");
    page.wait_for("document.querySelectorAll('#variables tbody tr').length === 14");

    // The time moves past the end, and back.
    page.wait_for("!document.getElementById('times').hidden");
    page.browser.focus("#slider").unwrap();
    page.browser.press(END).unwrap();
    page.wait_for_state("passedOn");
    assert!(page.text("verdict-sentence").contains("expired at"));
    assert_eq!(
        page.text("verdict-error"),
        "client_cert_error client_cert_validation_failed"
    );
    assert!(page.text("verdict-mend").contains("Renew the certificate."));
    page.wait_for("document.querySelector('.card [data-field=validity].wrong .fault')");
    page.browser.click("#now").unwrap();
    page.wait_for_state("accepted");

    // A chain is pasted; a broken one says where.
    let golden = goldens::named("one_intermediate").unwrap();
    let other = goldens::named("end_entity_signature_wrong").unwrap();
    page.browser.paste("#chain", &other.chain_pem).unwrap();
    page.wait_for_state("passedOn");
    assert_eq!(page.value("chain"), other.chain_pem);
    page.wait_for("document.querySelector('#graph .node.wrong')");
    page.browser
        .paste("#chain", &golden.chain_pem.replacen("MI", "M*", 1))
        .unwrap();
    page.wait_for("!document.getElementById('chain-problem').hidden");
    assert_eq!(
        page.text("chain-problem"),
        "Client certificate, line 1: PEM block 1 cannot be read: not base64."
    );
    page.wait_for_state("none");
    page.browser.paste("#chain", &golden.chain_pem).unwrap();
    page.wait_for_state("accepted");
    page.wait_for("document.getElementById('chain-problem').hidden");

    // Copies.
    page.browser
        .click("[data-variable='client_cert_sha256_fingerprint'] .copy")
        .unwrap();
    page.wait_for("document.getElementById('said').textContent.includes('Copied')");
    let copied = page.browser.clipboard().unwrap();
    assert_eq!(
        copied,
        golden.expected.variables["client_cert_sha256_fingerprint"]
    );
    page.browser
        .click("[data-yaml='document'] summary")
        .unwrap();
    page.browser.click("[data-yaml='document'] .copy").unwrap();
    page.wait_for("document.querySelector('[data-yaml=document] .copy').textContent === 'Copied'");
    let yaml = page.browser.clipboard().unwrap();
    assert!(yaml.starts_with("customRequestHeaders:\n"), "{yaml}");

    // A link holds it all.
    page.browser.click("#link").unwrap();
    page.wait_for("document.getElementById('link').textContent === 'Copied'");
    let link = page.browser.clipboard().unwrap();
    let (before, fragment) = link.split_once('#').unwrap();
    assert_eq!(before, format!("{}/", page.origin()));
    page.load(&format!("#{fragment}"));
    page.wait_for_state("accepted");
    assert_eq!(page.value("chain"), golden.chain_pem);
    page.is_quiet();
}

#[test]
fn nothing_that_was_given_is_lost() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let page = Page::open();
    let run = |script: &str, arguments: Value| page.browser.run(script, arguments).unwrap();
    page.choose("one_intermediate");
    page.wait_for_state("accepted");
    let chain = page.value("chain");

    // The link over the fields leaves them alone, and so do fragments that are no state.
    page.browser.focus(".skip").unwrap();
    page.browser.press(ENTER).unwrap();
    page.wait_for("document.activeElement.id === 'results'");
    run("location.hash = '#results';", json!([]));
    settle(&page);
    assert_eq!(page.value("chain"), chain);
    page.wait_for("document.getElementById('link-problem').hidden");
    run("location.hash = '#v1.e30x';", json!([]));
    page.wait_for("!document.getElementById('link-problem').hidden && location.hash === ''");
    settle(&page);
    assert_eq!(page.value("chain"), chain);

    // A link leaves what is wrong on show.
    page.browser.paste("#chain", "hello").unwrap();
    page.wait_for("!document.getElementById('chain-problem').hidden");
    page.browser.click("#link").unwrap();
    page.wait_for("document.getElementById('link').textContent === 'Copied'");
    page.wait_for("!document.getElementById('chain-problem').hidden");

    // What is answered after the page has changed is dropped.
    let paste = "const data = new DataTransfer(); data.setData('text/plain', arguments[0]); \
                 if (arguments[1]) data.items.add(new File(['picture'], 'picture')); \
                 document.getElementById('chain').dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, cancelable: true }));";
    let then_choose =
        format!("{paste} document.querySelector('[data-example=one_intermediate]').click();");
    run(&then_choose, json!(["late", false]));
    settle(&page);
    page.wait_for_state("accepted");
    assert_eq!(page.value("chain"), chain);
    // Text goes before a file that comes with it, to where the cursor is.
    run(
        "document.getElementById('chain').setSelectionRange(0, 0);",
        json!([]),
    );
    run(paste, json!(["# copied\n", true]));
    page.wait_for("document.getElementById('chain').value.startsWith('# copied')");
    // A drop beside the fields does not leave the page.
    for name in ["dragover", "drop"] {
        let drop = "return document.body.dispatchEvent(new DragEvent(arguments[0], { bubbles: true, cancelable: true }));";
        assert_eq!(run(drop, json!([name])), false, "{name}");
    }

    // Pastes do not add up past the limit.
    page.browser.paste("#trust", &"a".repeat(600_000)).unwrap();
    page.wait_for("document.getElementById('trust').value.length === 600000");
    page.browser.press("\u{e009}v").unwrap();
    page.wait_for("document.getElementById('trust-problem').textContent === 'Trust config: 1200000 bytes are too many, the limit is 1048576.'");
    assert_eq!(page.value("trust").len(), 600_000);

    // Numbers that JavaScript or the core would read as others.
    page.choose("one_intermediate");
    page.wait_for_state("accepted");
    let number = "const field = document.getElementById('elements'); field.value = arguments[0]; \
                  field.dispatchEvent(new Event('change'));";
    for (text, right) in [("1e30", false), ("1.5", false), ("2", true)] {
        run(number, json!([text]));
        page.wait_for(&format!(
            "document.getElementById('elements-problem').hidden === {right}"
        ));
    }
    // A time that no page has written, in a link; the page goes on.
    let state = json!({ "time": i64::MAX }).to_string();
    page.load(&format!("#v1.{}", URL_SAFE_NO_PAD.encode(state)));
    page.wait_for("!document.getElementById('time-problem').hidden && location.hash === ''");
    page.choose("one_intermediate");
    page.wait_for_state("accepted");
    page.wait_for("document.getElementById('time-problem').hidden");
    page.is_quiet();
}

/// Until the worker has answered all that it was asked, and a little longer.
fn settle(page: &Page) {
    let settle = "const { ask } = await import('./core.js'); \
                  for (let round = 0; round < 3; round += 1) { \
                    await new Promise((resolve) => setTimeout(resolve, 100)); \
                    await ask('admit', 'chain', 'nothing', new Uint8Array()); \
                  }";
    page.browser.run(settle, json!([])).unwrap();
}

#[test]
fn every_private_key_leaves_the_page() {
    let page = Page::open();
    let key = goldens::named("one_intermediate").unwrap().key_pem;
    let put = "for (const id of ['chain', 'trust', 'settings']) document.getElementById(id).value = arguments[0]; \
               document.getElementById('trust').dispatchEvent(new Event('input', { bubbles: true }));";
    page.browser.run(put, json!([key])).unwrap();
    for field in ["chain", "trust", "settings"] {
        page.wait_for(&format!(
            "document.getElementById('{field}').value === '' && document.getElementById('{field}-problem').textContent.includes('private key')"
        ));
    }
    // What is refused in the meantime neither keeps a key on the page nor is hidden by the judgement.
    let both = "const trust = document.getElementById('trust'); trust.value = arguments[0]; \
                trust.dispatchEvent(new Event('input', { bubbles: true })); \
                const data = new DataTransfer(); data.items.add(new File([new Uint8Array(2000000)], 'large')); \
                document.getElementById('chain').dispatchEvent(new DragEvent('drop', { dataTransfer: data, cancelable: true }));";
    page.browser.run(both, json!([key])).unwrap();
    page.wait_for("document.getElementById('trust').value === ''");
    settle(&page);
    page.wait_for("document.getElementById('chain-problem').textContent.startsWith('large: 2000000 bytes are too many')");
    page.wait_for("document.getElementById('trust-problem').textContent.includes('private key')");
    page.is_quiet();
}

#[test]
fn a_slow_or_broken_judgement_is_said_and_the_page_goes_on() {
    let page = Page::open();
    page.choose("one_intermediate");
    page.wait_for_state("accepted");
    settle(&page);
    // A verdict does not stand beside other input for long.
    let hold = "window.seen = []; const results = document.getElementById('results'); \
                new MutationObserver(() => seen.push([results.ariaBusy, document.getElementById('verdict').dataset.state].join())) \
                  .observe(results, { attributeFilter: ['aria-busy'] }); \
                const { ask } = await import('./core.js'); \
                const enough = performance.now() + 1500; \
                const hold = () => ask('inspect', arguments[0], 0).then(() => performance.now() < enough && hold()); \
                for (let n = 0; n < 50; n += 1) hold(); \
                document.querySelector('[data-example=expired_end_entity]').click();";
    let state = state("one_intermediate").to_string();
    page.browser.run(hold, json!([state])).unwrap();
    page.wait_for_state("passedOn");
    page.wait_for("seen.join(' ').startsWith('true,none')");
    page.wait_for("document.getElementById('results').ariaBusy === 'false'");

    // One that cannot be shown is not the last.
    let take = "window.graph = document.getElementById('graph'); graph.removeAttribute('id');";
    page.browser.run(take, json!([])).unwrap();
    page.choose("one_intermediate");
    page.wait_for(
        "document.getElementById('state-problem').textContent.startsWith('This cannot be shown')",
    );
    page.browser
        .run("graph.setAttribute('id', 'graph');", json!([]))
        .unwrap();
    page.choose("one_intermediate");
    page.wait_for_state("accepted");
    page.wait_for("document.getElementById('state-problem').hidden");

    // The worker that hangs is replaced, and only what it hung on goes without an answer. Loading takes
    // longer here than an answer may.
    let hang = "const [RealWorker, realTimeout] = [Worker, setTimeout]; \
                window.Worker = class extends EventTarget { \
                  constructor() { super(); realTimeout(() => { this.ready = true; this.say({ ready: 1 }); this.work(); }, 600); this.asked = []; } \
                  say(data) { this.dispatchEvent(new MessageEvent('message', { data })); } \
                  postMessage(call) { this.asked.push(call); this.work(); } \
                  work() { while (this.ready && this.asked.length && this.asked[0].name !== 'hang') { \
                    const { id, name, parameters } = this.asked.shift(); \
                    this.say(name === 'break' ? { id, broken: 'trap' } : { id, answer: [name, ...parameters].join() }); } } \
                  terminate() { this.ready = false; this.asked = []; } }; \
                window.setTimeout = (call, time) => realTimeout(call, time === 20000 ? 200 : time); \
                try { \
                  const { ask } = await import('./core.js?fake'); \
                  const answers = await Promise.all([ask('one', 1), ask('hang'), ask('two', 2), ask('break'), ask('three', 3)]); \
                  return answers.map((answer) => answer.problem?.sentence ?? answer); \
                } finally { window.Worker = RealWorker; window.setTimeout = realTimeout; }";
    assert_eq!(
        page.browser.run(hang, json!([])).unwrap(),
        json!([
            "one,1",
            "This took longer than 20 seconds and was stopped.",
            "two,2",
            "This could not be judged: trap.",
            "three,3",
        ])
    );
    page.is_quiet();
}

#[test]
fn what_strangers_hand_over_does_no_harm() {
    let page = Page::open();
    let golden = goldens::named("one_intermediate").unwrap();

    // A private key is in no field, in no link, not on the page.
    let body = golden.key_pem.lines().nth(1).unwrap();
    for text in [
        golden.key_pem.clone(),
        format!("{}{}", golden.chain_pem, golden.key_pem),
    ] {
        page.browser.paste("#chain", &text).unwrap();
        page.wait_for(
            "document.getElementById('chain-problem').textContent.includes('private key')",
        );
        assert_eq!(page.value("chain"), "");
    }
    // However it came into a field.
    let put = "const field = document.getElementById('trust'); field.value = arguments[0]; \
               field.dispatchEvent(new Event('input', { bubbles: true }));";
    page.browser.run(put, json!([golden.key_pem])).unwrap();
    page.wait_for("document.getElementById('trust').value === ''");
    page.wait_for("document.getElementById('trust-problem').textContent.includes('private key')");
    let html = page
        .browser
        .run(
            "return document.documentElement.outerHTML + location.href;",
            json!([]),
        )
        .unwrap();
    assert!(!html.as_str().unwrap().contains(body));
    let stored = page.browser.run(
        "return localStorage.length + sessionStorage.length + document.cookie.length;",
        json!([]),
    );
    assert_eq!(stored.unwrap(), 0);

    // Too much, and noise.
    page.browser
        .paste("#chain", &"a".repeat(2_000_000))
        .unwrap();
    page.wait_for("document.getElementById('chain-problem').textContent.includes('2000000 bytes are too many')");
    let drop = "const bytes = new Uint8Array(arguments[0]).map((_, n) => (n * 7919) >> 3); \
                const data = new DataTransfer(); data.items.add(new File([bytes], 'noise.bin')); \
                document.getElementById('chain').dispatchEvent(new DragEvent('drop', { dataTransfer: data, cancelable: true }));";
    page.browser.run(drop, json!([500_000])).unwrap();
    page.wait_for("document.getElementById('chain-problem').textContent.startsWith('noise.bin: neither text')");
    page.browser.run(drop, json!([50_000_000])).unwrap();
    page.wait_for("document.getElementById('chain-problem').textContent.includes('50000000 bytes are too many')");
    page.browser
        .paste("#trust", &"trustStores: [".repeat(50_000))
        .unwrap();
    page.wait_for("!document.getElementById('trust-problem').hidden");
    assert!(page.text("trust-problem").starts_with("Trust config: "));

    // The page goes on.
    page.choose("expired_end_entity");
    page.wait_for_state("passedOn");

    // Links that are none.
    for fragment in ["#v2.x", "#v1.!", "#%3Cscript%3E", "#v1.e30x"] {
        page.load(fragment);
        page.wait_for("!document.getElementById('link-problem').hidden");
        assert!(
            page.text("link-problem")
                .starts_with("This link cannot be opened: ")
        );
    }

    // What a certificate says is text, whatever it looks like.
    let identity = markup_identity();
    page.browser.paste("#chain", &identity).unwrap();
    page.wait_for("document.querySelectorAll('#graph .node').length > 0");
    assert!(page.text("certificates").contains("<img src=x>"));
    assert!(page.text("certificates").contains("\\u{202e}"));
    page.wait_for("document.getElementById('graph').textContent.includes('<img src=x>')");
    page.wait_for("document.querySelectorAll('main img').length === 0");
    page.is_quiet();
}

/// A certificate with markup and a turned direction in its names.
fn markup_identity() -> String {
    let key = PKey::from_ec_key(
        EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap(),
    )
    .unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    for text in ["<img src=x>", "a\u{202e}b"] {
        name.append_entry_by_nid(Nid::COMMONNAME, text).unwrap();
    }
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(9).unwrap())
        .unwrap();
    let names = SubjectAlternativeName::new()
        .dns("<img src=x onerror=alert(1)>")
        .build(&builder.x509v3_context(None, None))
        .unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    String::from_utf8(builder.build().to_pem().unwrap()).unwrap()
}

#[test]
fn the_module_in_a_browser_gives_the_golden_variables() {
    let page = Page::open();
    let goldens = goldens::all().unwrap();
    let load = "const module = await import('./inspector.js'); \
                const packed = await fetch('./inspector_bg.wasm.gz'); \
                const bytes = packed.body.pipeThrough(new DecompressionStream('gzip')); \
                await module.default({ module_or_path: await new Response(bytes).arrayBuffer() }); \
                window.inspector = module;";
    page.browser.run(load, json!([])).unwrap();
    let mut wrong = Vec::new();
    for some in goldens.chunks(40) {
        let states: Vec<String> = some
            .iter()
            .map(|golden| golden.inspector_state().unwrap().to_string())
            .collect();
        let judge = "return arguments[0].map((state) => inspector.inspect(state, 0));";
        let reports = page.browser.run(judge, json!([states])).unwrap();
        for (golden, report) in some.iter().zip(reports.as_array().unwrap()) {
            let report = serde_json::from_str(report.as_str().unwrap()).unwrap();
            wrong.extend(differences(golden, &report));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_keyboard_and_narrow_or_dark_windows_are_enough() {
    let page = Page::open();
    // From the top: the link over the fields, then the first example.
    page.browser.press(TAB).unwrap();
    page.wait_for("document.activeElement.className === 'skip'");
    page.browser.press(TAB).unwrap();
    page.wait_for("document.activeElement.dataset.example === 'one_intermediate'");
    page.browser.press(" ").unwrap();
    page.wait_for_state("accepted");
    // The graph leads to the certificates.
    page.browser.focus("#graph .node:last-of-type").unwrap();
    page.browser.press(ENTER).unwrap();
    page.wait_for("document.activeElement.closest('#certificate-2')");
    // Everything that can be used has a name.
    let unnamed = "return [...document.querySelectorAll('button, input, select, textarea, [role=button]')]\
                   .filter((one) => !one.hidden && !(one.labels?.length || one.getAttribute('aria-label') || one.textContent.trim()))\
                   .map((one) => one.outerHTML);";
    assert_eq!(page.browser.run(unnamed, json!([])).unwrap(), json!([]));

    for (example, width, height, scheme, picture) in [
        (
            "cross_signed_one_expired",
            1300,
            740,
            "light",
            "inspector.png",
        ),
        (
            "eku_issuer_missing",
            1300,
            740,
            "dark",
            "inspector-dark.png",
        ),
        (
            "expired_end_entity",
            400,
            860,
            "light",
            "inspector-narrow.png",
        ),
    ] {
        page.resize(width, height, scheme);
        page.browser
            .run("window.scrollTo(0, 0);", json!([]))
            .unwrap();
        page.choose(example);
        let shown = "return document.getElementById('verdict-sentence').textContent;";
        page.wait_for(
            "!document.getElementById('report').hidden && !document.getElementById('times').hidden",
        );
        assert_ne!(page.browser.run(shown, json!([])).unwrap(), "");
        // Nothing but what scrolls by itself is wider than the window.
        page.wait_for("document.documentElement.scrollWidth <= innerWidth");
        // In one column the verdict stands below the fields.
        if width < 900 {
            let to_verdict = "document.getElementById('results').scrollIntoView();";
            page.browser.run(to_verdict, json!([])).unwrap();
        }
        page.picture(picture);
    }
    page.is_quiet();
}

#[test]
fn only_the_page_is_served() {
    let page = Page::open();
    let ask = "const response = await fetch(arguments[0], { method: arguments[1] }); \
               return [response.status, Object.fromEntries(response.headers)];";
    for (path, method, status) in [
        ("/", "GET", 200),
        ("/index.html", "HEAD", 200),
        ("/inspector.js", "GET", 200),
        ("/inspector_bg.wasm", "GET", 404),
        ("/..%2f..%2fCargo.toml", "GET", 404),
        ("/.", "GET", 200),
        ("//index.html", "GET", 404),
        ("/", "POST", 405),
        ("/", "DELETE", 405),
    ] {
        let url = format!("{}{path}", page.origin());
        let answer = page.browser.run(ask, json!([url, method])).unwrap();
        assert_eq!(answer[0], status, "{method} {path}");
        let policy = answer[1]["content-security-policy"].as_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; "),
            "{policy}"
        );
        assert!(policy.ends_with("; frame-ancestors 'none'"), "{policy}");
        assert_eq!(answer[1]["x-content-type-options"], "nosniff");
    }
    // What the first visit costs, bytes as any server hands them over.
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/inspector");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let bytes: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes < 1_000_000, "{bytes}");
    // A directory without the page says how it is made.
    let empty = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mtls-gate"))
        .args(["inspector", "--files", empty.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("index.html: ") && said.contains("make inspector"),
        "{said}"
    );
}
