//! What a full cache takes: the linear memory of the VM, which only grows, beside the bound.

use std::fs;
use std::time::Duration;

use mtls_gate::measure::{Bound, Figure, Series};
use mtls_gate::testbed::envoy::Envoy;

use super::clients::{Client, Clients, far_below, of_many_issuers, refused};
use super::load::{Lane, Order, Traffic};
use super::plan::pid;
use super::plot::{Axis, Line, Plot, Point};
use super::setup::{Filter, Front, LISTENER, Ours, Setup};
use super::{
    BOUND, BY_HOST, BY_WASM, CACHE_MIB, MIB, Options, Report, Result, TWICE_THE_BOUND, report,
};

/// The resident memory of a process, in MiB.
pub(crate) fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.ok_or("no VmRSS")?.trim().parse::<f64>()? / 1024.0)
}

/// What V8 reserves for the memory of one module, so that no access needs a check.
const RESERVED: u64 = 8 << 30;

/// The largest linear memory of a wasm module in a process, in MiB. Envoy has one VM for each worker and
/// others that serve no request.
///
/// V8 makes the memory accessible from the front of what it has reserved.
fn linear_mib(pid: u32) -> Result<f64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let regions = maps.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).ok());
        Some((from?, to?, fields.next()?))
    });
    let regions: Vec<(u64, u64, &str)> = regions.collect();
    let memories = regions.windows(2).filter_map(|pair| match pair {
        [(from, middle, "rw-p"), (same, to, "---p")] if middle == same && to - from == RESERVED => {
            Some(middle - from)
        }
        _ => None,
    });
    let largest = memories
        .max()
        .ok_or("no linear memory of 8 GiB reserved by V8")?;
    Ok(largest as f64 / MIB as f64)
}

/// What is remembered: verdicts on clients near and far below the anchor, on refused ones, links, keys.
struct Guests {
    near: Vec<Client>,
    far: Vec<Client>,
    refused: Vec<Client>,
    /// Below intermediates that are met often enough for their keys to be made ready.
    keys: Vec<Client>,
    /// Each below an intermediate of its own.
    links: Vec<Client>,
}

pub(crate) fn memory(
    setup: &Setup<'_>,
    clients: &Clients,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let count = clients.all.len().min(6_000);
    let guests = Guests {
        near: far_below(1, count),
        far: far_below(8, count / 2),
        refused: refused(count / 2),
        keys: of_many_issuers(count.min(100), 5),
        links: of_many_issuers(count / 2, 1),
    };
    let mut lines = Vec::new();
    let sizes = options.points(&[1, 4, CACHE_MIB, 64]);
    for (name, ours) in [(BY_HOST, Ours::DEFAULT), (BY_WASM, Ours::IN_WASM)] {
        let mut points = Vec::new();
        for mib in sizes.iter().copied() {
            eprintln!("memory: {name}, cache of {mib} MiB");
            let [empty, full] = filled(setup, &guests, ours.cache_bytes(mib as u64 * MIB))?;
            let over = [full / mib as f64].into_iter().collect::<Series>();
            report
                .memory
                .push((format!("{name}, cache of {mib} MiB"), [empty, full]));
            if mib == CACHE_MIB {
                let what = format!("memory of the VM, cache full, over its bound, {name}");
                report
                    .figures
                    .push(Figure::new(what, over, Bound::AtMost(2.0)));
            }
            points.push((mib as f64, full));
        }
        lines.push((name, points));
    }
    let bound = |times: f64| {
        sizes
            .iter()
            .map(|mib| (*mib as f64, *mib as f64 * times))
            .collect()
    };
    lines.push((BOUND, bound(1.0)));
    lines.push((TWICE_THE_BOUND, bound(2.0)));
    let lines = lines.into_iter().map(|(name, points)| Line {
        name: name.to_owned(),
        points: points
            .into_iter()
            .map(|(x, y)| Point { x, y: [y; 3] })
            .collect(),
    });
    options.draw(
        "memory",
        &Plot {
            title: "Memory of the VM when the cache is full",
            x: Axis {
                label: "bound of the cache (limits.cacheBytes), MiB",
                logarithmic: true,
            },
            y: Axis {
                label: "linear memory, MiB",
                logarithmic: true,
            },
            lines: lines.collect(),
        },
    )?;
    report.tables.push(report::memory(&report.memory));
    Ok(())
}

/// The linear memory before the first request, and after all that fills the cache.
fn filled(setup: &Setup<'_>, guests: &Guests, ours: Ours) -> Result<[f64; 2]> {
    let filter = Filter::Ours(ours.accepting_all());
    let envoy = Envoy::start(&setup.envoy(Front::Relay, filter))?;
    let pid = pid(&envoy)?;
    let empty = linear_mib(pid)?;
    // Twice, and in an order that leaves holes: one generation makes room for the next.
    for _ in 0..2 {
        for clients in [
            &guests.near,
            &guests.keys,
            &guests.far,
            &guests.links,
            &guests.refused,
        ] {
            let traffic = Traffic {
                connections: 8,
                clients,
                order: Order::InTurn,
                seen_before: true,
            };
            let mut lane = Lane::open(envoy.port(LISTENER)?, Front::Relay, traffic)?;
            lane.warm_up(Duration::ZERO)?;
        }
    }
    Ok([empty, linear_mib(pid)?])
}
