//! What a full memory really holds, for each byte of its bound (`limits.cacheBytes`), natively:
//! `cargo bench -p mtls-gate --bench memory`.
//!
//! Many clients come once each. What is held is counted where it is allocated, at its most; `with the
//! allocator's own` rounds each piece as glibc does.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]
#![allow(unsafe_code)] // a global allocator is; it only counts and hands on

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use mtls_gate::fixtures::der;
use mtls_gate::fixtures::mint::{Cert, Issued};
use mtls_gate::measure::{Bound, Options, Report, table};
use mtls_gate_core::config::Config;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::variables::Variable;
use mtls_gate_rustcrypto::BACKEND;
use serde_json::json;

use support::TIME;

mod support;

/// Octets that were asked for and are not given back.
static ASKED: AtomicUsize = AtomicUsize::new(0);
/// The same, as glibc's malloc rounds each piece.
static ROUNDED: AtomicUsize = AtomicUsize::new(0);

struct Counting;

/// A word beside each piece, all in steps of 16 octets, 32 at the least.
fn rounded(size: usize) -> usize {
    (size + 8).next_multiple_of(16).max(32)
}

fn count(size: usize) {
    ASKED.fetch_add(size, Relaxed);
    ROUNDED.fetch_add(rounded(size), Relaxed);
}

fn discount(size: usize) {
    ASKED.fetch_sub(size, Relaxed);
    ROUNDED.fetch_sub(rounded(size), Relaxed);
}

// SAFETY: the system's allocator, called as this one is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        discount(layout.size());
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        discount(layout.size());
        count(size);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn held() -> [usize; 2] {
    [&ASKED, &ROUNDED].map(|one| one.load(Relaxed))
}

const CLIENTS: usize = 20_000;
/// Enough of each CA that its key is made ready.
const CLIENTS_OF_A_CA: usize = 5;
const MIB: usize = 1 << 20;

/// End entity and intermediate.
type Chain = [Vec<u8>; 2];

struct Pki {
    root: Vec<u8>,
    /// Below one intermediate.
    of_one_ca: Vec<Chain>,
    /// Below many, each of which has a key of its own.
    of_many: Vec<Chain>,
}

impl Pki {
    fn new(clients: usize) -> Self {
        let root = Cert::ca("root").self_signed();
        let ca = |number: usize| Cert::ca(&format!("issuer {number}")).by(&root);
        let key = Cert::client("client").key;
        let client = |number: usize, ca: &Issued| {
            let client = Cert {
                key: key.clone(),
                ..Cert::client(&format!("client {number}"))
            };
            [client.by(ca).der, ca.der.clone()]
        };
        let one = ca(0);
        let of_one_ca = (0..clients).map(|number| client(number, &one)).collect();
        let mut of_many = Vec::with_capacity(clients);
        for number in 0..clients.div_ceil(CLIENTS_OF_A_CA) {
            let ca = ca(number);
            of_many.extend((0..CLIENTS_OF_A_CA).map(|one| client(one, &ca)));
        }
        Self {
            root: root.der,
            of_one_ca,
            of_many,
        }
    }

    fn pipeline(&self, cache_bytes: usize, headers: &[String]) -> Pipeline {
        let document = json!({
            "trustConfig": { "trustStores": [{ "trustAnchors": [{
                "pemCertificate": der::pem("CERTIFICATE", &self.root),
            }] }] },
            "serverTlsPolicy": { "mtlsPolicy": { "clientValidationMode": "REJECT_INVALID" } },
            "customRequestHeaders": headers,
            "limits": { "cacheBytes": cache_bytes },
        });
        Pipeline::new(Config::native(document).unwrap(), BACKEND)
    }
}

/// Who comes, to what configuration.
struct Filling<'a> {
    name: &'static str,
    chains: &'a [Chain],
    headers: &'a [String],
    and_refusals: bool,
    bounds_mib: &'static [usize],
}

/// What is held at the most while they come, beyond what is held before the first.
fn fill(pipeline: &Pipeline, chains: &[Chain], and_refusals: bool) -> [usize; 2] {
    let before = held();
    let mut most = before;
    let mut judge = |chain: &Chain, is_good: bool| {
        let [end_entity, intermediate] = chain;
        let presented = Presented::Tls(&[end_entity, intermediate]);
        let judged = pipeline.judge(&presented, Some(TIME));
        assert_eq!(judged.is_verified(), is_good, "{}", judged.report.reason);
        drop(judged);
        for (most, now) in most.iter_mut().zip(held()) {
            *most = now.max(*most);
        }
    };
    for chain in chains {
        judge(chain, true);
        if and_refusals {
            let mut chain = chain.clone();
            *chain[0].last_mut().unwrap() ^= 1;
            judge(&chain, false);
        }
    }
    [most[0] - before[0], most[1] - before[1]]
}

fn main() {
    let options = Options::from_args();
    let mut report = Report::default();
    let pki = Pki::new(options.effort(CLIENTS, CLIENTS_OF_A_CA));
    let value = |one: &Variable| format!("x-{}: {{{}}}", one.name().replace('_', "-"), one.name());
    let headers: Vec<String> = Variable::ALL.iter().map(value).collect();
    let fillings = [
        Filling {
            name: "verdicts, one CA",
            chains: &pki.of_one_ca,
            headers: &[],
            and_refusals: false,
            bounds_mib: &[16],
        },
        Filling {
            name: "verdicts with 14 headers, one CA",
            chains: &pki.of_one_ca,
            headers: &headers,
            and_refusals: false,
            bounds_mib: &[16],
        },
        Filling {
            name: "verdicts, refusals, links, keys",
            chains: &pki.of_many,
            headers: &headers,
            and_refusals: true,
            bounds_mib: &[1, 4, 16],
        },
    ];
    let mut rows = Vec::new();
    for filling in fillings {
        for mib in filling.bounds_mib {
            let name = format!("{}, {mib} MiB", filling.name);
            if !options.wants(&name) {
                continue;
            }
            let bound = mib * MIB;
            let pipeline = pki.pipeline(bound, filling.headers);
            let most = fill(&pipeline, filling.chains, filling.and_refusals);
            let [asked, rounded] = most.map(|bytes| bytes as f64 / bound as f64);
            rows.push([name.clone(), format!("{asked:.2}"), format!("{rounded:.2}")].into());
            let what = format!("{name}: held over the bound");
            report.figure(what, [rounded].into_iter().collect(), Bound::AtMost(2.0));
        }
    }
    let titles = [
        "memory of a bound",
        "octets asked for over it",
        "with the allocator's own",
    ];
    report.table(table(titles.map(str::to_owned).into(), rows.into_iter()));
    report.print(&options);
}
