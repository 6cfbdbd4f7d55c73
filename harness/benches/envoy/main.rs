//! What the filter costs in Envoy, beside no filter, an empty wasm filter, a wasm filter that makes
//! the same host calls and validates nothing (the floor), and Lua: `make bench-envoy`.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing
)]

mod clients;
mod grow;
mod load;
#[path = "../support/mazes.rs"]
mod mazes;
mod memory;
mod plan;
mod plot;
#[path = "../support/process.rs"]
mod process;
mod report;
mod setup;
mod worst;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use mtls_gate::measure::{self, Bound, Figure, Series};
use mtls_gate::testbed::envoy::Envoy;
use serde::Serialize;
use serde_json::json;

use clients::Clients;
use load::{Lane, Order, Traffic};
use plan::{Plan, Section, pid};
use plot::Plot;
use process::cpu_time;
use report::Start;
use setup::{FEW, Filter, Front, LISTENER, Ours, SIGNATURES, Setup};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures the filter in Envoy
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// What to measure; everything if not said
    #[arg(value_enum)]
    pub(crate) parts: Vec<Part>,
    /// How often each case has its turn
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// How long a turn lasts
    #[arg(long, default_value_t = 0.1)]
    pub(crate) seconds: f64,
    /// Distinct clients: more than the cache holds, or they do not stay unknown to it
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    pub(crate) clients: u32,
    /// How often Envoy is started with each filter
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) starts: u32,
    /// At how many values what grows is measured; at all of them if not said
    #[arg(long)]
    pub(crate) points: Option<usize>,
    /// The folder to write plots to
    #[arg(long)]
    pub(crate) plots: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// What cargo says to benchmarks
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Plain HTTP from a relay, which forwards the chain
    Relay,
    /// TLS with client certificates
    Tls,
    /// As connections grow in number
    Connections,
    /// As clients grow in number
    Clients,
    /// As the cache grows
    Caches,
    /// As trust anchors grow in number
    Anchors,
    /// As chains grow longer
    Chains,
    /// The memory of full caches
    Memory,
    /// The chain that costs most
    Worst,
    /// Until the filter serves
    Load,
}

#[derive(Default, Serialize)]
pub(crate) struct Report {
    sections: Vec<Section>,
    starts: Vec<Start>,
    figures: Vec<Figure>,
    /// Of VMs, in MiB: before the first request, and when the cache is full.
    memory: Vec<(String, [f64; 2])>,
    #[serde(skip)]
    pub(crate) tables: Vec<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(report) if options.json => println!("{}", json!(report)),
        Ok(report) => println!("{}", report.tables.join("\n\n")),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Measures; fails if a case does not do what is measured.
pub(crate) fn run(options: &Options) -> Result<Report> {
    eprintln!("minting {} clients", options.clients);
    let clients = Clients::mint(options.clients as usize);
    let setup = Setup::new(&clients)?;
    let mut report = Report::default();
    let all = options.parts.is_empty();
    let wanted = |part| all || options.parts.contains(&part);
    if wanted(Part::Relay) {
        relay(&setup, &clients, options, &mut report)?;
    }
    if wanted(Part::Tls) {
        tls(&setup, &clients, options, &mut report)?;
    }
    let others: [(Part, Measure); 7] = [
        (Part::Connections, grow::connections),
        (Part::Clients, grow::clients),
        (Part::Caches, grow::caches),
        (Part::Anchors, grow::anchors),
        (Part::Chains, grow::chains),
        (Part::Memory, memory::memory),
        (Part::Worst, worst::worst),
    ];
    for (part, measure) in others {
        if wanted(part) {
            measure(&setup, &clients, options, &mut report)?;
        }
    }
    if wanted(Part::Load) {
        load_time(&setup, &clients, options, &mut report)?;
    }
    report.tables.push(measure::figures(&report.figures));
    Ok(report)
}

type Measure = fn(&Setup<'_>, &Clients, &Options, &mut Report) -> Result<()>;

impl Options {
    /// The first values, and the last one, as many as are wanted.
    fn points(&self, values: &[usize]) -> Vec<usize> {
        let Some((last, others)) = values.split_last() else {
            return Vec::new();
        };
        let count = self.points.unwrap_or(usize::MAX);
        let others = others.iter().take(count.saturating_sub(1));
        others.chain([last]).copied().collect()
    }

    /// Writes a plot, if plots are wanted.
    fn draw(&self, name: &str, plot: &Plot) -> Result<()> {
        if let Some(folder) = &self.plots {
            fs::write(folder.join(format!("grow-{name}.svg")), plot::draw(plot)?)?;
        }
        Ok(())
    }
}

pub(crate) const NO_FILTER: &str = "no filter";
const EMPTY: &str = "empty wasm filter";
pub(crate) const FLOOR: &str = "floor filter";
const LUA: &str = "Lua filter";
pub(crate) const WARM: &str = "ours, warm";
pub(crate) const COLD_HOST: &str = "ours, cold, host crypto";
pub(crate) const COLD_WASM: &str = "ours, cold, wasm";
const PLAIN: &str = "ours, plain";
/// Cold or warm, as it happens.
pub(crate) const BY_HOST: &str = "ours, signatures by the host";
pub(crate) const BY_WASM: &str = "ours, signatures in wasm";
pub(crate) const FORGETFUL_HOST: &str = "nothing remembered, host crypto";
pub(crate) const FORGETFUL_WASM: &str = "nothing remembered, wasm";
pub(crate) const BOUND: &str = "the bound";
pub(crate) const TWICE_THE_BOUND: &str = "twice the bound";
const SIGNATURE: &str = "verify_signature, 8 times";

fn without_headers(name: &str) -> String {
    format!("{name}, no headers set")
}

fn relay(
    setup: &Setup<'_>,
    clients: &Clients,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let few = Traffic {
        connections: 32,
        clients: &clients.all[..FEW],
        order: Order::InTurn,
        seen_before: true,
    };
    // More than the cache holds: each is new to it when its turn comes again.
    let all = Traffic {
        clients: &clients.all,
        ..few
    };
    let mut plan = Plan::new("behind a relay", Front::Relay);
    plan.case(NO_FILTER, Filter::None, few);
    plan.case(EMPTY, Filter::Empty, few);
    plan.case(FLOOR, Filter::Floor, few);
    plan.case(WARM, Filter::Ours(Ours::DEFAULT), few);
    plan.case(LUA, Filter::Lua, few);
    plan.case(SIGNATURE, Filter::Signatures, few);
    for (name, ours, traffic) in [
        (COLD_HOST, Ours::DEFAULT, all),
        (COLD_WASM, Ours::IN_WASM, all),
        (PLAIN, Ours::PLAIN, few),
    ] {
        plan.case(name, Filter::Ours(ours), traffic);
        let ours = ours.without_headers();
        plan.case(without_headers(name), Filter::Ours(ours), traffic);
    }
    let section = plan.measure(setup, options)?;
    let cpu = |name: &str| section.case(name).map(|case| &case.cpu);
    let throughput = |name: &str| section.case(name).map(|case| &case.throughput);
    let own = |name: &str| Ok::<_, Box<dyn Error>>(cpu(&without_headers(name))?.minus(cpu(EMPTY)?));
    let signature = cpu(SIGNATURE)?
        .minus(cpu(EMPTY)?)
        .map(|all| all / f64::from(SIGNATURES));
    let plain = own(PLAIN)?;
    report.figures.extend([
        Figure::new(
            "relay, warm, CPU over the floor",
            cpu(WARM)?.over(cpu(FLOOR)?),
            Bound::AtMost(1.08),
        ),
        Figure::new(
            "relay, warm, throughput over the floor",
            throughput(WARM)?.over(throughput(FLOOR)?),
            Bound::AtLeast(0.95),
        ),
        Figure::new(
            "cold, host crypto, own time over one verify_signature",
            own(COLD_HOST)?.over(&signature),
            Bound::AtMost(2.5),
        ),
        Figure::new(
            "plain, own time over that of cold, host crypto",
            plain.over(&own(COLD_HOST)?),
            Bound::AtLeast(5.0),
        ),
        Figure::new(
            "cold, wasm, own time over that of plain",
            own(COLD_WASM)?.over(&plain),
            Bound::AtMost(0.5),
        ),
    ]);
    report.tables.push(report::cases(&section, FLOOR)?);
    report.sections.push(section);
    Ok(())
}

fn tls(setup: &Setup<'_>, clients: &Clients, options: &Options, report: &mut Report) -> Result<()> {
    let kept = Traffic {
        connections: 32,
        clients: &clients.all[..FEW],
        order: Order::InTurn,
        seen_before: true,
    };
    let few = Traffic {
        connections: 0,
        ..kept
    };
    // So many that none comes twice.
    let all = Traffic {
        clients: &clients.all,
        seen_before: false,
        ..few
    };
    let mut plan = Plan::new("TLS", Front::Tls);
    for (name, filter) in [
        (NO_FILTER, Filter::None),
        (EMPTY, Filter::Empty),
        (FLOOR, Filter::Floor),
        (WARM, Filter::Ours(Ours::DEFAULT)),
        (LUA, Filter::Lua),
    ] {
        plan.case(name, filter, kept);
        plan.same_envoy(new_connections(name), few);
    }
    for (name, ours) in [
        (COLD_HOST, Ours::DEFAULT),
        (COLD_WASM, Ours::IN_WASM),
        (PLAIN, Ours::PLAIN),
    ] {
        plan.case(new_connections(name), Filter::Ours(ours), all);
    }
    let section = plan.measure(setup, options)?;
    let (warm, floor) = (section.case(WARM)?, section.case(FLOOR)?);
    report.figures.extend([
        Figure::new(
            "TLS, warm, CPU over the floor",
            warm.cpu.over(&floor.cpu),
            Bound::AtMost(1.08),
        ),
        Figure::new(
            "TLS, warm, throughput over the floor",
            warm.throughput.over(&floor.throughput),
            Bound::AtLeast(0.95),
        ),
    ]);
    report.tables.push(report::cases(&section, FLOOR)?);
    report.sections.push(section);
    Ok(())
}

fn new_connections(name: &str) -> String {
    format!("{name}, new connections")
}

/// The default of `limits.cacheBytes`.
const CACHE_MIB: usize = 16;
const MIB: u64 = 1 << 20;

/// From the start of the process to the first answer.
fn load_time(
    setup: &Setup<'_>,
    clients: &Clients,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let one = Traffic {
        connections: 1,
        clients: &clients.all[..1],
        order: Order::InTurn,
        seen_before: true,
    };
    let mut starts = [
        (NO_FILTER, Filter::None),
        (EMPTY, Filter::Empty),
        (FLOOR, Filter::Floor),
        ("ours", Filter::Ours(Ours::DEFAULT)),
    ]
    .map(|(name, filter)| {
        let start = Start {
            name,
            time: Series::default(),
            cpu: Series::default(),
        };
        (filter, start)
    });
    for round in 0..options.starts {
        eprintln!("start of Envoy: round {} of {}", round + 1, options.starts);
        for (filter, start) in &mut starts {
            let config = setup.envoy(Front::Relay, *filter);
            let since = Instant::now();
            let envoy = Envoy::start(&config)?;
            let mut lane = Lane::open(envoy.port(LISTENER)?, Front::Relay, one)?;
            lane.run(Duration::ZERO, 1)?;
            start.time.push(since.elapsed().as_secs_f64() * 1e3);
            let cpu = cpu_time(pid(&envoy)?)?;
            start.cpu.push(cpu.as_secs_f64() * 1e3);
        }
    }
    let starts = starts.map(|(_, start)| start);
    let [none, _, floor, ours] = &starts;
    let load = |start: &Start| start.time.minus(&none.time);
    report.figures.push(Figure::new(
        "load, less 50 ms, over that of the floor",
        load(ours).map(|time| time - 50.0).over(&load(floor)),
        Bound::AtMost(1.5),
    ));
    report.tables.push(report::starts(&starts));
    report.starts.extend(starts);
    Ok(())
}
