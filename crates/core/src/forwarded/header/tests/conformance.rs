//! What other projects' tests say, if they are there: `forwarded/` of the conformance suites.

use std::fs;
use std::path::Path;

use super::*;

/// Cases that end otherwise here, each with its reason.
const DIVERGENCES: &[(&str, &str)] = &[
    (
        "empty-byte-sequence",
        "`::` is what HAProxy writes for no certificate",
    ),
    (
        "untrusted-proxy",
        "who is believed is not the decoder's business",
    ),
    ("not-der", "the parser's business"),
    ("Chain=hello! world!", "Envoy always quotes Chain"),
];

/// `None` where the suites are not.
fn read(file: &str) -> Option<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let folder = std::env::var_os("MTLS_GATE_CONFORMANCE").map_or(folder, Into::into);
    let text = fs::read(folder.join("forwarded").join(file)).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

fn diverges(case: &str) -> bool {
    DIVERGENCES.iter().any(|(name, _)| *name == case)
}

#[test]
fn xfcc_is_parsed_as_others_parse_it() {
    let Some(suite) = read("xfcc.json") else {
        return;
    };
    let mut run = 0;
    for case in suite["parse"].as_array().unwrap() {
        let input = case["input"].as_str().unwrap();
        let verdict = case["verdict"].as_str().unwrap();
        let found = xfcc_elements::elements(input.as_bytes(), 9);
        if verdict == "implementation-defined" || case["strict_only"] == true {
            continue;
        }
        run += 1;
        let agrees = found.is_ok() == (verdict == "accept");
        assert_ne!(agrees, diverges(input), "{case}: {found:?}");
        if !agrees || verdict != "accept" {
            continue;
        }
        let mut elements: Vec<Vec<(String, String)>> = Vec::new();
        for pair in pairs(input.as_bytes()) {
            let pair = pair.unwrap();
            elements.resize_with(pair.element + 1, Vec::new);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let found = (text(pair.key), text(&pair.value));
            elements.last_mut().unwrap().push(found);
        }
        let expected = case["elements"].as_array().unwrap();
        assert_eq!(elements.len(), expected.len(), "{case}");
        for (found, expected) in elements.iter().zip(expected) {
            for ((key, value), expected) in found.iter().zip(expected.as_array().unwrap()) {
                let expected_key = expected[0].as_str().unwrap();
                assert!(key.eq_ignore_ascii_case(expected_key), "{case}");
                assert_eq!(value, expected[1].as_str().unwrap(), "{case}");
            }
        }
    }
    assert!(run >= 50, "{run} cases");
    for case in suite["envoy_emit"].as_array().unwrap() {
        if let Some(output) = case["output"].as_str() {
            let found = xfcc_elements::elements(output.as_bytes(), 9);
            assert!(found.is_ok(), "{case}: {found:?}");
        }
    }
}

#[test]
fn rfc_9440_is_read_as_others_read_it() {
    let Some(suite) = read("rfc9440.json") else {
        return;
    };
    let source = source_of(json!({"preset": "RFC9440"}));
    for case in suite["cases"].as_array().unwrap() {
        let mut headers: Vec<(&str, String)> = Vec::new();
        for (field, name) in [
            ("client_cert", "Client-Cert"),
            ("client_cert_chain", "Client-Cert-Chain"),
        ] {
            let lines = case[field].as_array().unwrap();
            let lines = lines.iter().map(|line| line.as_str().unwrap().to_owned());
            headers.extend(lines.map(|line| (name, line)));
        }
        let lines: Vec<(&[u8], &[u8])> = headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        let mut limits = RequestLimits::default();
        if let Some(limit) = case["limit"].as_u64() {
            limits.presented_certificates = usize::try_from(limit).unwrap();
        }
        let found = source.decode(&lines, Relay::default(), &limits);
        let result = match &found {
            ForwardedChain::Absent => "absent",
            ForwardedChain::Present { others: Ok(_), .. } => "ok",
            ForwardedChain::Present { .. } | ForwardedChain::Undecodable(_) => "error",
        };
        let id = case["id"].as_str().unwrap();
        let agrees = case["result"] == result;
        assert_ne!(agrees, diverges(id), "{id}: {found:?}");
        if let (
            true,
            Some(count),
            ForwardedChain::Present {
                others: Ok(others), ..
            },
        ) = (agrees, case["certs"].as_u64(), &found)
        {
            assert_eq!(u64::try_from(others.len() + 1).unwrap(), count, "{id}");
        }
    }
}

/// Byte Sequences only; where the suite leaves a reader the choice, this one is strict.
#[test]
fn structured_fields_are_read_by_their_own_tests() {
    let bounds = Bounds {
        blocks: 9,
        der_bytes: 99,
    };
    let mut run = 0;
    for file in ["binary.json", "item.json", "list.json"] {
        let Some(suite) = read(&format!("structured-field-tests/{file}")) else {
            return;
        };
        for case in suite.as_array().unwrap() {
            let raw = case["raw"].as_array().unwrap();
            let raw: Vec<&str> = raw.iter().map(|line| line.as_str().unwrap()).collect();
            // Integers stand for members of any kind: here all are of one.
            let raw = raw
                .join(", ")
                .replace("42", ":AQ==:")
                .replace("43", ":AQ==:");
            let raw = raw.replace('1', ":AQ==:");
            let fails = case["must_fail"] == true || case["can_fail"] == true;
            let is_empty = raw.is_empty() || raw == "::";
            let found = rfc9440::byte_sequences(raw.as_bytes(), bounds);
            // A certificate is not empty, and items of the suite have blanks that Envoy trims.
            let expected = !fails && !is_empty;
            assert_eq!(found.is_ok(), expected, "{case}: {raw:?} {found:?}");
            run += 1;
        }
    }
    assert!(run >= 25, "{run} cases");
}
