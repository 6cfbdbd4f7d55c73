//! What decoding a forwarded header allocates: in proportion to the header, whatever is in it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![allow(unsafe_code)] // a global allocator is; it only counts and hands on

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use mtls_gate::goldens;
use mtls_gate::testbed::forwarded::forms;
use mtls_gate_core::config;
use mtls_gate_core::forwarded::ForwardedChain;
use mtls_gate_core::forwarded::connection::Connection;
use mtls_gate_core::forwarded::header::{HeaderSource, Relay};
use mtls_gate_core::limits::RequestLimits;
use serde_json::{Value, json};

thread_local! {
    /// Octets asked for on this thread, also those given back since.
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: usize) {
    ALLOCATED.set(ALLOCATED.get() + bytes);
}

// SAFETY: the system's allocator, called as this one is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Octets allocated for each one of the headers, and beside that. An honest chain in JSON takes 6.
const FACTOR: usize = 8;
const CONSTANT: usize = 4096;

type Lines = Vec<(String, Vec<u8>)>;

fn allocated<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATED.get();
    let done = work();
    (ALLOCATED.get() - before, done)
}

fn source(document: &Value) -> HeaderSource {
    config::source(&config::typed(document.clone()).unwrap()).unwrap()
}

/// Decodes, and looks at what that took.
fn decode(what: &str, source: &HeaderSource, lines: &Lines) -> ForwardedChain {
    let lines: Vec<(&[u8], &[u8])> = lines
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_slice()))
        .collect();
    let input: usize = lines
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    let (bytes, chain) = allocated(|| source.decode(&lines, Relay::default(), &RequestLimits::MAX));
    within(what, input, bytes);
    chain
}

fn within(what: &str, input: usize, bytes: usize) {
    assert!(
        bytes <= FACTOR * input + CONSTANT,
        "{what}: {bytes} bytes for {input}"
    );
}

/// All forms, and the parts that no preset has.
fn sources() -> Vec<(HeaderSource, String)> {
    let more = [
        json!({"preset": "HAPROXY", "certificateHeader": "x-cert", "chainHeader": "x-chain"}),
        json!({"preset": "APACHE", "certificateHeader": "x-cert", "numberedChainHeaders": "x-chain-"}),
        json!({"encoding": "RFC9440", "certificateHeader": "x-cert", "certificateHeaderHasChain": true}),
    ];
    let golden = goldens::named("one_intermediate").unwrap();
    let forms = forms(&golden.chain());
    let documents = forms.into_iter().map(|form| form.source).chain(more);
    documents
        .map(|document| (source(&document), document.to_string()))
        .collect()
}

/// What opens a value, what is repeated in it, and what closes it.
const HOSTILE: &[(&str, &str, &str)] = &[
    ("", "A", ""),
    ("", ",", ""),
    ("", ";", ""),
    ("", "=", ""),
    ("", "a=b;", ""),
    ("", "Hash=00,", ""),
    ("", "Hash=\"\\\"\",", ""),
    ("Cert=\"", "\\\"", "\""),
    ("Cert=\"", "%41", "\""),
    ("Hash=00;Cert=\"", "%0A", "\""),
    ("", "%", ""),
    ("", "%41", ""),
    ("", " ", "A"),
    ("", ":", ""),
    ("", ":MAA=:, ", ":MAA=:"),
    ("", ":MAA=:;a=1, ", ""),
    ("", ":AA==:,", ""),
    ("", "MAA=,", "MAA="),
    ("", "MAAA", ""),
    ("", "MIAA", ""),
    (
        "",
        "-----BEGIN CERTIFICATE-----MAA=-----END CERTIFICATE-----",
        "",
    ),
    ("", "-----BEGIN CERTIFICATE-----", ""),
    (
        "",
        "-----BEGIN%20CERTIFICATE-----%0AMAA=%0A-----END%20CERTIFICATE-----%0A",
        "",
    ),
    (
        "-----BEGIN CERTIFICATE-----",
        "MAAA",
        "-----END CERTIFICATE-----",
    ),
    (
        "-----BEGIN CERTIFICATE-----",
        "MAAA\n",
        "-----END CERTIFICATE-----",
    ),
    ("[", "[", ""),
    ("[", "{},", "{}]"),
    ("[", "{\"hash\":\"\"},", "{}]"),
    ("[{\"hash\":\"", "\\u0041", "\"}]"),
    ("[{\"hash\":\"", "a", "\"}]"),
    ("[{\"chain\":[", "\"\",", "\"\"]}]"),
    ("[{\"chain\":[", "\"\\n\",", "\"\"]}]"),
    ("[{\"uri\":[", "\"\",", "\"\"]}]"),
    ("[{\"uri\":[", "0,", "0]}]"),
    ("[{\"x\":", "{\"x\":", ""),
    ("[{", "\"a\":0,", "\"a\":0}]"),
];

const SIZES: [usize; 4] = [1 << 10, 1 << 12, 1 << 14, 1 << 17];

fn filled((start, unit, end): (&str, &str, &str), size: usize) -> Vec<u8> {
    let room = size.saturating_sub(start.len() + end.len());
    [start, &unit.repeat(room / unit.len()), end]
        .concat()
        .into()
}

/// In the end entity's header, in the chain's behind a good one, and spread over many lines.
#[test]
fn hostile_headers_cost_in_proportion() {
    let good = goldens::named("one_intermediate").unwrap();
    let good = forms(&good.chain());
    let rfc9440 = good.iter().find(|form| form.name == "RFC 9440").unwrap();
    let base64 = rfc9440.lines[0].1.trim_matches(':').to_owned();
    for (source, name) in sources() {
        for size in SIZES {
            for shape in HOSTILE {
                let what = format!("{name} {shape:?} {size}");
                let value = filled(*shape, size);
                decode(&what, &source, &vec![(source.name.clone(), value.clone())]);
                for chain in ["client-cert-chain", "x-chain", "x-chain-0"] {
                    for end_entity in [&base64, &format!(":{base64}:")] {
                        let first = (source.name.clone(), end_entity.clone().into_bytes());
                        decode(
                            &what,
                            &source,
                            &vec![first, (chain.to_owned(), value.clone())],
                        );
                    }
                }
            }
            let lines = |name: &dyn Fn(usize) -> String| {
                let count = size / 32;
                (0..count)
                    .map(|number| (name(number), b"MAA=".to_vec()))
                    .collect()
            };
            let end_entity = &source.name;
            for lines in [
                lines(&|_| end_entity.clone()),
                lines(&|_| "client-cert-chain".to_owned()),
                lines(&|number| format!("x-chain-{number}")),
                lines(&|number| format!("x-chain-{}", usize::MAX - number)),
                lines(&|_| "x-other".to_owned()),
            ] {
                decode(&format!("{name} lines {size}"), &source, &lines);
            }
        }
    }
}

/// Chains of 1 to 100 certificates, all of which are found.
#[test]
fn honest_headers_cost_in_proportion() {
    let golden = goldens::named("one_intermediate").unwrap();
    let chain = golden.chain();
    for count in [0, 1, 3, 10, 30, 100] {
        let intermediates = std::iter::repeat_n(chain[1], count);
        let chain: Vec<&str> = std::iter::once(chain[0]).chain(intermediates).collect();
        for form in forms(&chain) {
            let source = source(&form.source);
            let lines: Lines = form
                .lines
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes()))
                .collect();
            let found = decode(&format!("{} {count}", form.name), &source, &lines);
            let ForwardedChain::Present { others, .. } = found else {
                panic!("{} {count}: {found:?}", form.name);
            };
            assert_eq!(others.unwrap().len(), count, "{}", form.name);
        }
    }
}

/// The header of the Envoy that the filter runs in, of which only `Chain=` is decoded.
#[test]
fn the_own_header_costs_in_proportion() {
    let golden = goldens::named("one_intermediate").unwrap();
    let peer = golden.chain()[0].as_bytes();
    let own = peer.len();
    for size in SIZES {
        for shape in HOSTILE {
            for prefix in ["", "Hash=00;Chain=\""] {
                let value = [prefix.as_bytes(), &filled(*shape, size - prefix.len())].concat();
                let connection = Connection {
                    peer_certificate: Some(peer),
                    forwarded: &[&value],
                    ..Connection::default()
                };
                let (bytes, _) = allocated(|| connection.decode(&RequestLimits::MAX));
                within(
                    &format!("{prefix} {shape:?} {size}"),
                    own + value.len(),
                    bytes,
                );
            }
        }
    }
}
