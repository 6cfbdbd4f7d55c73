//! The suites of `../shared/conformance`, if they are there: nothing is accepted that must not be,
//! and each class reaches the floor that was reached before.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use mtls_gate::conform::{
    self, Backend, Report, Tally, limbo, malformed, own, pkits, spiffe, wycheproof,
};

/// Passed at least, by suite and class. Raise them as the core grows; never lower one.
const FLOORS: &[(&str, &str, usize)] = &[
    ("goldens", "GOOGLE", 194),
    ("goldens", "RFC5280", 15),
    ("limbo", "path-semantics", 94),
    ("limbo", "dos", 7),
    ("limbo", "crl", 8),
    ("limbo", "depth", 5),
    ("limbo", "anchor-profile", 4),
    ("limbo", "rfc5280-profile", 3),
    ("limbo", "public-chain", 16),
    ("pkits", "4.01", 6),
    ("pkits", "4.02", 8),
    ("pkits", "4.03", 11),
    ("pkits", "4.04", 21),
    ("pkits", "4.06", 17),
    ("pkits", "4.07", 5),
    ("pkits", "4.08", 35),
    ("pkits", "4.16", 2),
    ("pkits --no-crls", "4.01", 6),
    ("pkits --no-crls", "4.02", 8),
    ("pkits --no-crls", "4.03", 11),
    ("pkits --no-crls", "4.04", 21),
    ("pkits --no-crls", "4.06", 17),
    ("pkits --no-crls", "4.07", 5),
    ("pkits --no-crls", "4.08", 35),
    ("pkits --no-crls", "4.16", 2),
    ("spiffe", "matchers", 5),
    ("spiffe", "member_of", 3),
    ("spiffe", "segments", 11),
    ("spiffe", "spiffe_id", 539),
    ("spiffe", "trust_domain", 306),
    ("spiffe", "x509svid_parse", 5),
    ("wycheproof", "ECDSA", 988),
    ("wycheproof", "EDDSA", 151),
    ("wycheproof", "RSASSA-PKCS1-v1_5", 258),
    ("wycheproof", "RSASSA-PSS", 108),
    ("malformed", "boringssl-cert", 148),
    ("malformed", "webpki-tests", 190),
];
/// The same with `--strict`.
const STRICT_FLOORS: &[(&str, &str, usize)] = &[
    ("limbo", "path-semantics", 94),
    ("limbo", "anchor-profile", 9),
    ("limbo", "rfc5280-profile", 18),
    ("limbo", "public-chain", 16),
];
/// False rejections that are left, by suite and class. Lower them as the core grows.
const FALSE_REJECTS: &[(&str, &str, usize)] = &[];

/// `None`, and a line that says so, where the suites are not.
fn data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance");
    let folder = std::env::var_os("MTLS_GATE_CONFORMANCE").map_or(folder, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    // Past the test harness, which shows what is printed only if a test fails.
    let line = format!(
        "skipped: no suites at {}; they come from {}\n",
        folder.display(),
        conform::SOURCES
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}

/// Nothing unexpected but the false rejections that are known; every floor is reached.
fn check(report: &Report, floors: &[(&'static str, &str, usize)]) {
    let mut table = Vec::new();
    report.write_table(&mut table).unwrap();
    let table = String::from_utf8(table).unwrap();
    let tallies = report.tallies();
    let mut wrong = report.stale.clone();
    for ((suite, class), tally) in &tallies {
        if tally.false_accepts > 0 {
            wrong.push(format!("{suite} {class}: accepts what it must not"));
        }
        let known = FALSE_REJECTS
            .iter()
            .find(|(s, c, _)| s == suite && c == class);
        let known = known.map_or(0, |(_, _, count)| *count);
        if tally.false_rejects > known {
            wrong.push(format!("{suite} {class}: more than {known} false rejects"));
        }
    }
    for (suite, class, floor) in floors {
        let tally: Option<&Tally> = tallies.get(&(*suite, *class));
        let passed = tally.map_or(0, |tally| tally.passed);
        // A class that has left the suites is no quiet success.
        if tally.is_none() || passed < *floor {
            wrong.push(format!("{suite} {class}: {passed} passed, not {floor}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{table}", wrong.join("\n"));
}

fn floors_of(suites: &[&str]) -> Vec<(&'static str, &'static str, usize)> {
    FLOORS
        .iter()
        .filter(|(suite, _, _)| suites.contains(suite))
        .copied()
        .collect()
}

#[test]
fn limbo_cases() {
    let Some(data) = data() else { return };
    let mut options = limbo::Options::of(&data.join("limbo"));
    check(&limbo::run(&options).unwrap(), &floors_of(&["limbo"]));
    options.strict = true;
    check(&limbo::run(&options).unwrap(), STRICT_FLOORS);
    // Without classes the same cases must come out right by their names and exceptions.
    for strict in [false, true] {
        options.strict = strict;
        options.classes = None;
        check(&limbo::run(&options).unwrap(), &[]);
    }
}

#[test]
fn limbo_exceptions_are_of_the_suite() {
    let Some(data) = data() else { return };
    let suite = fs::read_to_string(data.join("limbo/limbo-core.json")).unwrap();
    let exceptions = include_str!("../../testdata/conformance/limbo-exceptions.toml");
    let missing: Vec<&str> = exceptions
        .lines()
        .filter_map(|line| line.strip_prefix("id = "))
        .filter(|id| !suite.contains(*id))
        .collect();
    assert!(missing.is_empty(), "no such cases: {missing:?}");
}

#[test]
fn pkits_rows() {
    let Some(data) = data() else { return };
    for (suite, crls) in [("pkits", true), ("pkits --no-crls", false)] {
        let options = pkits::Options::of(&data.join("pkits"), crls);
        check(&pkits::run(&options).unwrap(), &floors_of(&[suite]));
    }
}

#[test]
fn wycheproof_vectors() {
    let Some(data) = data() else { return };
    let files = fs::read_dir(data.join("wycheproof")).unwrap();
    let files = files.map(|entry| entry.unwrap().path()).filter(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    let mut options = wycheproof::Options::of(files.collect());
    for backend in [
        Backend::Rustcrypto,
        Backend::Ring,
        Backend::Prepared,
        Backend::PreparedAsInWasm,
    ] {
        options.backend = backend;
        check(
            &wycheproof::run(&options).unwrap(),
            &floors_of(&["wycheproof"]),
        );
    }
}

#[test]
fn spiffe_verdicts() {
    let Some(data) = data() else { return };
    let options = spiffe::Options::of(&data.join("spiffe/spiffe.json"));
    check(&spiffe::run(&options).unwrap(), &floors_of(&["spiffe"]));
}

#[test]
fn malformed_files() {
    let Some(data) = data() else { return };
    let options = malformed::Options::of(&data.join("malformed"));
    check(
        &malformed::run(&options).unwrap(),
        &floors_of(&["malformed"]),
    );
}

#[test]
fn own_goldens() {
    check(&own::run().unwrap(), &floors_of(&["goldens"]));
}

/// A small suite from a golden: one end entity with its anchor and a verdict that is given.
fn small_suite(folder: &Path, expected: &str) -> limbo::Options {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/chains/rfc5280_any_eku");
    let read = |name: &str| fs::read_to_string(golden.join(name)).unwrap();
    let chain = read("chain.pem");
    let mut blocks: Vec<String> = chain
        .split_inclusive("-----END CERTIFICATE-----\n")
        .map(str::to_owned)
        .collect();
    let end_entity = blocks.remove(0);
    let suite = serde_json::json!({
        "version": 1,
        "later": "tolerated",
        "testcases": [{
            "id": "own::case",
            "a_new_field": [1],
            "description": "",
            "validation_kind": "CLIENT",
            "trusted_certs": [read("anchors.pem")],
            "untrusted_intermediates": blocks,
            "peer_certificate": end_entity,
            "validation_time": "2026-11-21T12:00:00.9Z",
            "signature_algorithms": [],
            "key_usage": [],
            "extended_key_usage": ["clientAuth"],
            "expected_result": expected,
            "expected_peer_names": [],
        }],
    });
    let mut options = limbo::Options::of(folder);
    options.suite = folder.join("suite.json");
    options.classes = None;
    fs::write(&options.suite, suite.to_string()).unwrap();
    options
}

#[test]
fn false_accepts_and_stale_exceptions_fail_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let good = |options: &limbo::Options| limbo::run(options).unwrap().is_good();
    let mut right = small_suite(folder.path(), "SUCCESS");
    assert!(good(&right));
    let exceptions = folder.path().join("exceptions.toml");
    fs::write(
        &exceptions,
        "[[exception]]\nid = \"own::case\"\nreason = \"to see\"\n",
    )
    .unwrap();
    right.exceptions = Some(exceptions.clone());
    assert!(!good(&right), "stale");

    let mut wrong = small_suite(folder.path(), "FAILURE");
    let report = limbo::run(&wrong).unwrap();
    assert!(!report.is_good());
    assert_eq!(report.total().false_accepts, 1);
    wrong.exceptions = Some(exceptions);
    assert!(good(&wrong), "listed");
}

#[test]
fn what_is_not_of_the_schema_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = limbo::Options::of(folder.path());
    assert!(limbo::run(&options).is_err());
    options.suite = folder.path().join("suite.json");
    options.classes = None;
    for text in ["", "{}", r#"{"version": 2, "testcases": []}"#] {
        fs::write(&options.suite, text).unwrap();
        assert!(limbo::run(&options).is_err(), "{text}");
    }
}

#[test]
fn json_has_a_line_for_each_case() {
    let report = own::run().unwrap();
    let mut out = Vec::new();
    report.write_json(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let outcome = line["outcome"].as_str().unwrap().to_owned();
        *outcomes.entry(outcome).or_default() += 1;
    }
    assert_eq!(
        outcomes,
        BTreeMap::from([("pass".to_owned(), mtls_gate::goldens::all().unwrap().len())])
    );
}
