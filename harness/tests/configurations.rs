//! Configurations, good and broken: natively, and in a real Envoy that must not come up with a
//! broken one and must say why in one line.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::PathBuf;

use mtls_gate::goldens::testdata;
use mtls_gate::testbed::echo::Echo;
use mtls_gate::testbed::envoy::{
    Chain, Envoy, EnvoyConfig, EnvoyError, FilterDocument, Listener, ServerCertificate, WasmFilter,
    bootstrap, filter_file,
};
use mtls_gate_core::config::Config;
use serde_json::{Value, json};

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = testdata().join("configs").join(folder);
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// Each broken configuration and the line that says why.
fn broken() -> Vec<(String, String, String)> {
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
    files("invalid", "json")
        .iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let reason = read(&path.with_extension("reason")).trim_end().to_owned();
            (name, read(path), reason)
        })
        .collect()
}

#[test]
fn good_ones_load() {
    let files = files("valid", "json");
    assert!(files.len() >= 4);
    for path in files {
        let text = fs::read(&path).unwrap();
        Config::from_bytes(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[test]
fn broken_ones_say_where_and_what() {
    let broken = broken();
    assert!(broken.len() >= 10);
    let mut wrong = Vec::new();
    for (name, text, reason) in broken {
        let error = Config::from_bytes(text.as_bytes()).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{name}: {error}");
        if error != reason {
            wrong.push(format!("{name}:\n  {error}\nexpected\n  {reason}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Broken as text, or too large to keep in the tree.
#[test]
fn odd_documents_are_refused() {
    let smallest = fs::read_to_string(testdata().join("configs/valid/smallest.json")).unwrap();
    let anchor: Value = serde_json::from_str(&smallest).unwrap();
    let anchor = &anchor["trustConfig"]["trustStores"][0]["trustAnchors"][0];
    let with = |field: &str, count: usize| {
        let mut document: Value = serde_json::from_str(&smallest).unwrap();
        document["trustConfig"]["trustStores"][0][field] = json!(vec![anchor; count]);
        document.to_string().into_bytes()
    };
    let allowlist = |count: usize| {
        let mut document: Value = serde_json::from_str(&smallest).unwrap();
        document["trustConfig"]["allowlistedCertificates"] = json!(vec![anchor; count]);
        document.to_string().into_bytes()
    };
    let store = "trustConfig.trustStores[0]";
    let cases: Vec<(Vec<u8>, String)> = vec![
        (Vec::new(), "configuration: is empty".into()),
        (
            b"{".into(),
            "configuration: EOF while parsing an object at line 1 column 1".into(),
        ),
        (
            b"[]".into(),
            "configuration: invalid type: list, expected an object".into(),
        ),
        (
            b"{}{}".into(),
            "configuration: trailing characters at line 1 column 3".into(),
        ),
        (
            br#"{"profile":"GOOGLE","profile":"RFC5280"}"#.into(),
            "configuration: duplicate field `profile` at line 1 column 29".into(),
        ),
        (
            b"\x00\x01\x02".into(),
            "configuration: is neither JSON text nor a google.protobuf.Struct".into(),
        ),
        (
            vec![b' '; 8 * 1024 * 1024 + 1],
            "configuration: is longer than 8388608 bytes".into(),
        ),
        (
            with("trustAnchors", 201),
            format!("{store}: 201 trust anchors and intermediates, the limit is 200"),
        ),
        (
            with("intermediateCas", 101),
            format!("{store}.intermediateCas: 101 intermediates, the limit is 100"),
        ),
        (
            allowlist(501),
            "trustConfig.allowlistedCertificates: 501 certificates, the limit is 500".into(),
        ),
    ];
    for (bytes, reason) in cases {
        let error = Config::from_bytes(&bytes).unwrap_err().to_string();
        assert_eq!(error, reason);
    }
    for fits in [
        with("trustAnchors", 200),
        with("intermediateCas", 100),
        allowlist(500),
    ] {
        assert!(Config::from_bytes(&fits).is_ok());
    }
}

/// Where this process is the proxy itself.
#[test]
fn a_network_filters_document_is_for_nobody_else() {
    let path = testdata().join("configs/valid/network_filter.json");
    let document: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let error = Config::native(document).unwrap_err().to_string();
    assert_eq!(error, "role: is NETWORK_FILTER, and there is none here");
    let path = testdata().join("configs/valid/smallest.json");
    let mut document: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    for backend in ["HOST", "WASM"] {
        document["signatureBackend"] = backend.into();
        let error = Config::native(document.clone()).unwrap_err();
        assert_eq!(error.path, "signatureBackend");
    }
    document["signatureBackend"] = "AUTO".into();
    Config::native(document).unwrap();
}

#[test]
fn envoy_does_not_come_up_with_a_broken_one() {
    let echo = Echo::start().unwrap();
    let certificate = ServerCertificate::self_signed(&["gate.test"]).unwrap();
    for (index, (name, text, reason)) in broken().into_iter().enumerate() {
        // A Struct cannot say that a number has a fraction and is an integer elsewhere, so text
        // and Struct take turns.
        let document = if index % 2 == 0 {
            FilterDocument::RawText(text)
        } else {
            FilterDocument::Struct(serde_json::from_str(&text).unwrap())
        };
        let chain = Chain::new(&["gate.test"], &certificate)
            .filter(WasmFilter::new(&filter_file(), document));
        let listener = Listener {
            name: "gate".to_owned(),
            chains: vec![chain],
        };
        let config = EnvoyConfig::new(bootstrap(&[listener], echo.address(), false));
        match Envoy::start(&config) {
            Err(EnvoyError::Exited { status, log }) => {
                assert!(!status.success(), "{name}");
                let said = format!("configuration refused: {reason}");
                let lines: Vec<_> = log.lines().filter(|line| line.contains(&said)).collect();
                assert!(!lines.is_empty(), "{name}: {reason}\n{log}");
            }
            other => panic!("{name}: Envoy came up: {other:?}"),
        }
    }
}
