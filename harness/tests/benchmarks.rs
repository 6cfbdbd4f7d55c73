//! The benchmarks still run. What they measure here counts for nothing.
#![allow(clippy::panic)]

use std::fs;

use clap::Parser as _;
use roxmltree::Document;

#[path = "../benches/envoy/main.rs"]
#[allow(dead_code)] // its main, and what that prints
mod envoy;

#[test]
fn every_case_in_envoy_does_what_is_measured() {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let arguments = "envoy --rounds 1 --seconds 0 --clients 16 --starts 1 --points 1 --plots";
    let folder_name = folder.path().to_string_lossy();
    let arguments = arguments.split(' ').chain([&*folder_name]);
    let report = envoy::run(&envoy::Options::parse_from(arguments))
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(report.tables.iter().all(|table| !table.contains("NaN")));

    let [floor, warm, host, wasm] = [
        envoy::FLOOR,
        envoy::WARM,
        envoy::COLD_HOST,
        envoy::COLD_WASM,
    ];
    let lines: [(&str, &[&str]); 6] = [
        ("connections", &[envoy::NO_FILTER, floor, warm, host, wasm]),
        ("clients", &[floor, envoy::BY_HOST, envoy::BY_WASM]),
        ("caches", &[floor, envoy::BY_HOST, envoy::BY_WASM]),
        ("anchors", &[floor, warm, host, wasm]),
        (
            "chains",
            &[
                floor,
                warm,
                host,
                wasm,
                envoy::FORGETFUL_HOST,
                envoy::FORGETFUL_WASM,
            ],
        ),
        (
            "memory",
            &[
                envoy::BY_HOST,
                envoy::BY_WASM,
                envoy::BOUND,
                envoy::TWICE_THE_BOUND,
            ],
        ),
    ];
    for (name, lines) in lines {
        let file = folder.path().join(format!("grow-{name}.svg"));
        let svg = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_is_plot(name, &svg, lines);
    }
}

/// Every line is there with its name, its band and its points, and nothing lies outside.
fn assert_is_plot(name: &str, svg: &str, lines: &[&str]) {
    let document = Document::parse(svg).unwrap_or_else(|error| panic!("{name}: {error}"));
    let all = |tag: &'static str| {
        let nodes = document.descendants();
        nodes.filter(move |node| node.tag_name().name() == tag)
    };
    let texts: Vec<&str> = all("text")
        .filter_map(|node| node.text())
        .map(str::trim)
        .collect();
    for line in lines {
        assert!(texts.contains(line), "{name}: {line} is not in {texts:?}");
    }
    assert!(
        !texts.iter().any(|text| text.contains("NaN")),
        "{name}: {texts:?}"
    );
    let bands = all("polygon").count();
    assert_eq!(bands, lines.len(), "{name}");
    // One value each, as said above.
    assert_eq!(all("circle").count(), bands, "{name}");
    let root = document.root_element();
    let size = ["width", "height"].map(|side| {
        let value = root
            .attribute(side)
            .and_then(|value| value.parse::<f64>().ok());
        value.unwrap_or_else(|| panic!("{name}: no {side}"))
    });
    let is_inside = |place: &str| {
        let mut place = place.split(',').zip(size);
        place.all(|(at, size)| at.parse().is_ok_and(|at: f64| (0.0..=size).contains(&at)))
    };
    let points = all("polygon").filter_map(|node| node.attribute("points"));
    for place in points.flat_map(str::split_ascii_whitespace) {
        assert!(is_inside(place), "{name}: {place}");
    }
}
