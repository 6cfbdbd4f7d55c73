//! `mtls-gate verify` as people run it.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mtls_gate::goldens::{self, Golden};
use mtls_gate::testbed::forwarded::{base64_der, byte_sequence, percent_encoded, xfcc, xfcc_json};
use mtls_gate_core::variables::Variable;
use serde_json::{Value, json};
use tempfile::TempDir;

fn verify(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mtls-gate"))
        .arg("verify")
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

fn golden(name: &str) -> Golden {
    let all = goldens::all().unwrap();
    all.into_iter().find(|golden| golden.name == name).unwrap()
}

fn write(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The file of a golden case.
fn case_file(case: &str, file: &str) -> String {
    let path = goldens::testdata().join("chains").join(case).join(file);
    path.to_str().unwrap().to_owned()
}

#[test]
fn goldens_give_the_same_variables() {
    let folder = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for golden in goldens::all().unwrap() {
        let document = golden.document();
        // verify asks for a trust config and a chain, and has the default limits.
        if document.get("trustConfig").is_none()
            || golden.chain_pem.is_empty()
            || !golden.case.limits.is_empty()
        {
            continue;
        }
        let trust_config = write(&folder, "trust.json", &document["trustConfig"].to_string());
        let chain = write(&folder, "chain.pem", &golden.chain_pem);
        let crls = write(&folder, "crls.pem", &golden.crls_pem);
        let profile = golden.case.profile.to_ascii_lowercase();
        let mut arguments = vec![
            "--trust-config",
            &trust_config,
            "--chain",
            &chain,
            "--time",
            &golden.case.time,
            "--profile",
            &profile,
            "--json",
        ];
        let mode = golden.case.revocation.as_ref();
        let mode = mode.map(|mode| mode.to_ascii_lowercase().replace('_', "-"));
        if let Some(mode) = &mode {
            arguments.extend(["--revocation", mode, "--crls", &crls]);
        }
        let output = verify(&arguments);
        let verdict: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", golden.name, stderr(&output)));
        for variable in Variable::ALL {
            assert_eq!(
                verdict["variables"][variable.name()],
                golden.expected.variables[variable.name()].as_str(),
                "{} {}",
                golden.name,
                variable.name()
            );
        }
        let verified = golden.expected.variables["client_cert_chain_verified"] == "true";
        assert_eq!(verdict["verified"], verified, "{}", golden.name);
        assert_eq!(
            output.status.code(),
            Some(i32::from(!verified)),
            "{}",
            golden.name
        );
        assert!(
            golden.names_the_rule(verdict["reason"].as_str().unwrap()),
            "{}",
            golden.name
        );
        checked += 1;
    }
    assert!(checked > 170, "{checked}");
}

#[test]
fn anchors_and_intermediates_come_from_pem_files() {
    let case = "intermediate_only_configured";
    let (anchors, intermediates, chain) = (
        case_file(case, "anchors.pem"),
        case_file(case, "intermediates.pem"),
        case_file(case, "chain.pem"),
    );
    let good = verify(&[
        "--anchors",
        &anchors,
        "--intermediates",
        &intermediates,
        "--chain",
        &chain,
    ]);
    assert_eq!(good.status.code(), Some(0), "{}", stderr(&good));
    let text = stdout(&good);
    assert!(text.starts_with("verified\n"), "{text}");
    for expected in [
        "end entity",
        "intermediate 1",
        "trust anchor",
        "client_cert_leaf",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let without = verify(&["--anchors", &anchors, "--chain", &chain]);
    assert_eq!(without.status.code(), Some(1));
    assert!(
        stdout(&without)
            .starts_with("not verified: end entity: no certificate found for its issuer\n"),
        "{}",
        stdout(&without)
    );
}

#[test]
fn time_profile_and_purpose_change_the_verdict() {
    let chain = case_file("one_intermediate", "chain.pem");
    let anchors = case_file("one_intermediate", "anchors.pem");
    let code = |more: &[&str]| {
        let mut arguments = vec!["--anchors", &anchors, "--chain", &chain];
        arguments.extend(more);
        verify(&arguments).status.code()
    };
    assert_eq!(code(&["--time", "2026-11-21T12:00:00Z"]), Some(0));
    assert_eq!(code(&["--time", "2061-01-01T00:00:00+01:00"]), Some(1));
    assert_eq!(code(&["--time", "2019-12-31T23:59:59Z"]), Some(1));
    assert_eq!(code(&["--eku", "server"]), Some(1));
    assert_eq!(code(&["--eku", "any"]), Some(0));
    assert_eq!(code(&["--profile", "rfc5280", "--eku", "server"]), Some(1));
    let (chain, anchors) = (
        case_file("rfc5280_no_eku_anywhere", "chain.pem"),
        case_file("rfc5280_no_eku_anywhere", "anchors.pem"),
    );
    let arguments = ["--anchors", &anchors, "--chain", &chain];
    assert_eq!(verify(&arguments).status.code(), Some(1));
    let rfc5280 = [&arguments[..], &["--profile", "rfc5280"]].concat();
    assert_eq!(verify(&rfc5280).status.code(), Some(0));
}

/// Google's guides, as they stand: a string with `\n` escapes below a bare list, and a map of
/// stores with block scalars and another spelling.
#[test]
fn trust_configs_of_the_guides_are_read_with_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let golden = golden("intermediate_only_configured");
    let document = golden.document();
    let store = &document["trustConfig"]["trustStores"][0];
    let pem = |list: &str| {
        store[list][0]["pemCertificate"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (root, intermediate) = (pem("trustAnchors"), pem("intermediateCas"));
    let one_line = |pem: &str| pem.replace('\n', "\\n");
    let block = |pem: &str| pem.replace('\n', "\n        ");
    let bare_list = format!(
        "- trustAnchors:\n    - pemCertificate: \"{}\"\n  intermediateCas:\n    - pemCertificate: \"{}\"\n",
        one_line(&root),
        one_line(&intermediate)
    );
    let map = format!(
        "trustStores:\n  TRUST_CONFIG_NAME:\n    trustAnchors:\n    - pemCertificate: |\n        {}\n    \
         intermediateCAs:\n    - pemCertificate: |\n        {}\n",
        block(&root),
        block(&intermediate)
    );
    let usual = format!("trustStores:\n{bare_list}");
    let chain = write(&folder, "chain.pem", &golden.chain_pem);
    for (yaml, warnings) in [
        (usual, vec![]),
        (bare_list, vec!["a bare list is read as trustStores"]),
        (
            map,
            vec![
                "trustStores is a map, read as a list",
                "intermediateCAs is read as intermediateCas",
            ],
        ),
    ] {
        let file = write(&folder, "trust_config.yaml", &yaml);
        let output = verify(&["--trust-config", &file, "--chain", &chain, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{yaml}\n{}", stderr(&output));
        let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(verdict["warnings"], json!(warnings));
    }
}

#[test]
fn unusable_input_exits_2_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let chain = case_file("one_intermediate", "chain.pem");
    let anchors = case_file("one_intermediate", "anchors.pem");
    let file = |name: &str, text: &str| write(&folder, name, text);
    let unknown = file("unknown.yaml", "trustStores: []\ntrustAnchors: []\n");
    let broken = file("broken.yaml", "trustStores: [\n");
    let twice = file("twice.yaml", "trustStores: []\ntrustStores: []\n");
    let empty = file("empty.pem", "");
    let cut = file("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB");
    let not_a_certificate = file(
        "not.pem",
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    );
    let missing = folder.path().join("missing.pem");
    let missing = missing.to_str().unwrap();
    for (arguments, expected) in [
        (
            vec!["--trust-config", &unknown, "--chain", &chain],
            "unknown.yaml: trustAnchors: unknown field",
        ),
        (
            vec!["--trust-config", &broken, "--chain", &chain],
            "broken.yaml: not YAML:",
        ),
        (
            vec!["--trust-config", &twice, "--chain", &chain],
            "duplicate",
        ),
        (
            vec!["--anchors", missing, "--chain", &chain],
            "missing.pem: No such file",
        ),
        (
            vec!["--anchors", &anchors, "--chain", &empty],
            "empty.pem: no certificate",
        ),
        (
            vec!["--anchors", &anchors, "--chain", &cut],
            "cut.pem: PEM block 0: no END CERTIFICATE",
        ),
        (
            vec!["--anchors", &not_a_certificate, "--chain", &chain],
            "not.pem: certificate 0: not an X.509 certificate: certificate",
        ),
    ] {
        let output = verify(&arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stdout(&output)
        );
        let said = stderr(&output);
        assert!(
            said.starts_with("error: ") && said.contains(expected),
            "{said}"
        );
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
    for arguments in [
        vec![],
        vec!["--chain", &chain],
        vec!["--anchors", &anchors],
        vec![
            "--anchors",
            &anchors,
            "--chain",
            &chain,
            "--time",
            "tomorrow",
        ],
        vec![
            "--anchors",
            &anchors,
            "--trust-config",
            &unknown,
            "--chain",
            &chain,
        ],
        vec![
            "--anchors",
            &anchors,
            "--chain",
            &chain,
            "--profile",
            "other",
        ],
    ] {
        assert_eq!(verify(&arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert!(Path::new(&chain).exists());
}

#[test]
fn a_crl_that_cannot_be_read_is_left_out_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let golden = golden("revocation_not_listed");
    // The first CRL cut short in its outer length.
    let broken = golden.crls_pem.replacen("MIHQ", "MIHA", 1);
    assert_ne!(broken, golden.crls_pem);
    let broken = write(&folder, "crls.pem", &broken);
    let (anchors, chain, crls) = (
        case_file(&golden.name, "anchors.pem"),
        case_file(&golden.name, "chain.pem"),
        case_file(&golden.name, "crls.pem"),
    );
    let run = |crls: &str, mode: &str| {
        verify(&[
            "--anchors",
            &anchors,
            "--chain",
            &chain,
            "--crls",
            crls,
            "--revocation",
            mode,
        ])
    };
    assert_eq!(run(&crls, "required").status.code(), Some(0));
    let without = run(&broken, "required");
    assert_eq!(without.status.code(), Some(1), "{}", stderr(&without));
    let warning = stderr(&without);
    assert!(warning.starts_with("warning: "), "{warning}");
    assert!(warning.contains("CRL 0 is left out: not "), "{warning}");
    let text = stdout(&without);
    assert!(text.contains("no CRL covers it"), "{text}");
    assert_eq!(run(&broken, "best-effort").status.code(), Some(0));
    let text = stdout(&run(&broken, "off"));
    assert!(text.starts_with("verified\n"), "{text}");
}

/// A way to forward a chain: the options that name it, and the lines of one with an end entity and
/// an intermediate.
struct Forwarding {
    options: Vec<&'static str>,
    lines: Vec<(&'static str, String)>,
}

fn forwarding(options: &[&'static str], lines: &[(&'static str, String)]) -> Forwarding {
    Forwarding {
        options: options.to_vec(),
        lines: lines.to_vec(),
    }
}

/// One preset of each family that forwards the whole chain.
fn forwardings(golden: &Golden) -> Vec<Forwarding> {
    let chain = golden.chain();
    let [end_entity, intermediate] = chain[..] else {
        panic!("{}", golden.name);
    };
    let named = |preset| vec!["--preset", preset, "--certificate-header", "X-Cert"];
    let der = |pem: &str| STANDARD.decode(base64_der(pem)).unwrap();
    let joined = base64_der(end_entity) + "," + &base64_der(intermediate);
    vec![
        forwarding(
            &["--preset", "ENVOY"],
            &[("x-forwarded-client-cert", xfcc(&chain))],
        ),
        forwarding(
            &["--preset", "envoy", "--elements", "1"],
            &[("X-Forwarded-Client-Cert", xfcc_json(&chain))],
        ),
        forwarding(
            &["--preset", "RFC9440"],
            &[
                ("Client-Cert", byte_sequence(end_entity)),
                ("Client-Cert-Chain", byte_sequence(intermediate)),
            ],
        ),
        forwarding(
            &[&named("GOOGLE_ALB")[..], &["--chain-header", "X-Chain"]].concat(),
            &[
                ("X-Cert", byte_sequence(end_entity)),
                ("X-Chain", byte_sequence(intermediate)),
            ],
        ),
        forwarding(
            &["--preset", "aws-alb-passthrough"],
            &[("X-Amzn-Mtls-Clientcert", percent_encoded(&golden.chain_pem))],
        ),
        forwarding(
            &[&named("HAPROXY")[..], &["--chain-header", "X-Chain"]].concat(),
            &[
                ("X-Cert", STANDARD.encode(der(end_entity))),
                ("X-Chain", STANDARD.encode(der(intermediate))),
            ],
        ),
        forwarding(
            &[
                &named("APACHE")[..],
                &["--numbered-chain-headers", "X-Chain-"],
            ]
            .concat(),
            &[
                ("X-Cert", end_entity.replace('\n', " ")),
                ("X-Chain-0", intermediate.replace('\n', " ")),
            ],
        ),
        forwarding(
            &["--preset", "TRAEFIK"],
            &[("X-Forwarded-Tls-Client-Cert", joined)],
        ),
    ]
}

/// `verify --header` of these lines against the golden's anchors, and what it says in JSON.
fn verify_header(golden: &Golden, options: &[&str], lines: &str) -> (Option<i32>, Value) {
    let folder = tempfile::tempdir().unwrap();
    let header = write(&folder, "headers.txt", lines);
    let anchors = case_file(&golden.name, "anchors.pem");
    let time = &golden.case.time;
    let usual = [
        "--anchors",
        &anchors,
        "--time",
        time,
        "--json",
        "--header",
        &header,
    ];
    let output = verify(&[&usual, options].concat());
    let verdict = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{options:?}: {error}: {}", stderr(&output)));
    (output.status.code(), verdict)
}

fn text(lines: &[(&str, String)]) -> String {
    let lines = lines
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"));
    lines.collect()
}

#[test]
fn a_forwarded_chain_is_judged_like_one_in_a_file() {
    let golden = golden("one_intermediate");
    for Forwarding { options, lines } in forwardings(&golden) {
        let (code, verdict) = verify_header(&golden, &options, &text(&lines));
        assert_eq!(code, Some(0), "{options:?}: {verdict:#}");
        let names: Vec<String> = lines.iter().map(|(name, _)| name.to_lowercase()).collect();
        let presented = &verdict["presented"];
        assert_eq!(presented["headers"], json!(names), "{options:?}");
        assert_eq!(presented["certificates"].as_array().unwrap().len(), 2);
        assert_eq!(
            presented["certificates"][0], verdict["path"][0]["sha256"],
            "{options:?}"
        );
        for variable in Variable::ALL {
            let name = variable.name();
            let expected = golden.expected.variables[name].as_str();
            assert_eq!(verdict["variables"][name], expected, "{options:?} {name}");
        }
    }
}

/// The end entity's value with its first `MII`, where DER begins, spoilt; and all that stands for
/// no certificate.
#[test]
fn malformed_and_missing_headers_are_told_apart() {
    let golden = golden("one_intermediate");
    let error = |verdict: &Value| {
        let error = &verdict["variables"]["client_cert_error"];
        error.as_str().unwrap().to_owned()
    };
    for Forwarding { options, lines } in forwardings(&golden) {
        let mut broken = lines.clone();
        let value = &mut broken[0].1;
        assert!(value.contains("MII"), "{value}");
        *value = value.replacen("MII", "M!I", 1);
        let (code, verdict) = verify_header(&golden, &options, &text(&broken));
        assert_eq!(code, Some(1), "{options:?}");
        assert_eq!(error(&verdict), "client_cert_validation_failed");
        let reason = verdict["reason"].as_str().unwrap();
        assert!(
            reason.contains("not base64") || reason.contains("not a Byte Sequence"),
            "{options:?}: {reason}"
        );
        assert_eq!(verdict["presented"]["certificates"], json!([]));
        assert!(
            !verdict["presented"]["headers"]
                .as_array()
                .unwrap()
                .is_empty()
        );
        let empty: Vec<_> = lines
            .iter()
            .map(|(name, _)| (*name, String::new()))
            .collect();
        for nothing in [text(&empty), "X-Other: MII\n".to_owned(), String::new()] {
            let (code, verdict) = verify_header(&golden, &options, &nothing);
            assert_eq!(code, Some(1), "{options:?}");
            assert_eq!(error(&verdict), "client_cert_not_provided");
            assert_eq!(verdict["presented"]["certificates"], json!([]));
        }
        let twice = [&lines[..1], &lines].concat();
        let (code, verdict) = verify_header(&golden, &options, &text(&twice));
        assert_eq!(
            (code, error(&verdict).as_str()),
            (Some(1), "client_cert_validation_failed")
        );
        let reason = verdict["reason"].as_str().unwrap();
        assert!(reason.contains("occurs 2 times"), "{options:?}: {reason}");
    }
}

/// The lines as `curl -v` prints them, folded ones, a List on several lines, and the whole of
/// `source.header` in a file.
#[test]
fn header_files_are_read_as_they_come() {
    let golden = golden("eku_upper_intermediate_without");
    let chain = golden.chain();
    assert_eq!(chain.len(), 3);
    let lines = format!(
        "> Host: a.test\r\n> Client-Cert: {}\r\n> client-cert-chain: {}\r\n\r\nClient-Cert-Chain:{}\n",
        byte_sequence(chain[0]),
        byte_sequence(chain[1]),
        byte_sequence(chain[2])
    );
    let (_, verdict) = verify_header(&golden, &["--preset", "RFC9440"], &lines);
    let presented = &verdict["presented"];
    assert_eq!(
        presented["headers"],
        json!(["client-cert", "client-cert-chain"])
    );
    assert_eq!(presented["certificates"].as_array().unwrap().len(), 3);
    let folded = chain.join("").trim_end().replace('\n', "\n\t");
    let folder = tempfile::tempdir().unwrap();
    let source = json!({ "header": {
        "encoding": "PEM",
        "certificateHeader": "X-SSL-Cert",
        "certificateHeaderHasChain": true,
        "relay": { "addresses": ["10.0.0.0/8"] },
    } });
    let source = write(&folder, "source.yaml", &source.to_string());
    let lines = format!("X-SSL-Cert: {folded}\n");
    let (_, by_file) = verify_header(&golden, &["--source", &source], &lines);
    assert_eq!(by_file["presented"]["headers"], json!(["x-ssl-cert"]));
    assert_eq!(
        by_file["presented"]["certificates"],
        presented["certificates"]
    );
    assert_eq!(by_file["reason"], verdict["reason"]);
    let header = write(&folder, "headers.txt", &lines);
    let anchors = case_file(&golden.name, "anchors.pem");
    let output = verify(&[
        "--anchors",
        &anchors,
        "--header",
        &header,
        "--source",
        &source,
    ]);
    let said = stdout(&output);
    assert!(
        said.contains("\nforwarded: 3 certificates in x-ssl-cert\n"),
        "{said}"
    );
}

#[test]
fn unusable_headers_and_forms_exit_2_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let anchors = case_file("one_intermediate", "anchors.pem");
    let chain = case_file("one_intermediate", "chain.pem");
    let file = |name: &str, text: &str| write(&folder, name, text);
    let fine = file("fine.txt", "Client-Cert: ::\n");
    let no_header = file("no_header.txt", "Client-Cert: ::\nGET / HTTP/1.1\n");
    let no_name = file("no_name.txt", " folded: from nothing\n");
    let connection = file("connection.yaml", "connection: {}\n");
    let unknown = file("unknown.yaml", "header: { presets: RFC9440 }\n");
    let neither = file("neither.yaml", "header: {}\n");
    let with = |header: &str, more: &[&str]| {
        let usual = ["--anchors", &anchors, "--header", header];
        verify(&[&usual, more].concat())
    };
    for (header, more, expected) in [
        (
            &no_header,
            vec!["--preset", "RFC9440"],
            "no_header.txt: line 2: not `Name: value`",
        ),
        (
            &no_name,
            vec!["--preset", "RFC9440"],
            "no_name.txt: line 1: not `Name: value`",
        ),
        (
            &"/nowhere".to_owned(),
            vec!["--preset", "RFC9440"],
            "/nowhere: No such file",
        ),
        (
            &fine,
            vec!["--preset", "NGINX"],
            "--preset: header.certificateHeader: is missing",
        ),
        (
            &fine,
            vec!["--preset", "RFC9440", "--elements", "2"],
            "--preset: header.elements: goes with XFCC only",
        ),
        (
            &fine,
            vec!["--preset", "ENVOY", "--certificate-header", "X-Cert"],
            "header.certificateHeader: is not for this preset",
        ),
        (
            &fine,
            vec!["--source", &connection],
            "connection.yaml: header: is missing",
        ),
        (
            &fine,
            vec!["--source", &unknown],
            "unknown.yaml: header.presets: unknown field",
        ),
        (
            &fine,
            vec!["--source", &neither],
            "neither.yaml: header: has neither a preset nor an encoding",
        ),
    ] {
        let output = with(header, &more);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {said}");
        assert!(
            said.starts_with("error: ") && said.contains(expected),
            "{said}"
        );
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
    for (more, expected) in [
        (vec![], "--preset <PRESET>"),
        (
            vec!["--preset", "SQUID"],
            "expected one of `ENVOY`, `RFC9440`",
        ),
        (
            vec!["--preset", "RFC9440", "--chain", &chain],
            "cannot be used with",
        ),
        (
            vec!["--preset", "RFC9440", "--source", &neither],
            "cannot be used with",
        ),
        (
            vec!["--source", &neither, "--elements", "1"],
            "cannot be used with",
        ),
    ] {
        let output = with(&fine, &more);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {said}");
        assert!(said.contains(expected), "{said}");
    }
    let without = verify(&[
        "--anchors",
        &anchors,
        "--chain",
        &chain,
        "--preset",
        "RFC9440",
    ]);
    assert_eq!(without.status.code(), Some(2));
}
