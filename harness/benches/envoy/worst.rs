//! The chain that costs most within the limits, over the longest honest path of the same algorithm.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use mtls_gate::fixtures::keys::{Key, RsaKeys};
use mtls_gate::measure::{Bound, Figure, Series};
use mtls_gate::testbed::envoy::Envoy;
use mtls_gate_core::limits::RequestLimits;
use openssl::rsa::Rsa;

use super::clients::{Clients, forwarded, pem, relayed};
use super::load::Wire;
use super::mazes::{self, Chain, Maze};
use super::plan::pid;
use super::process::cpu_time;
use super::setup::{Filter, Front, LISTENER, Ours, Setup};
use super::{Options, Report, Result, report};

/// Only when a thread sleeps the kernel has counted all of its time.
const SLEEP: Duration = Duration::from_micros(300);
/// How long the requests of one sample take at least, if there may be several.
const SAMPLE: Duration = Duration::from_millis(4);
/// Of those chains that cost most in a first look.
const FINALISTS: usize = 4;
/// As often a key is used before it is made ready.
const PRIMING: usize = 3;

/// The key with this label.
type KeyOf<'k> = Box<dyn Fn(&str) -> Key + 'k>;

/// Makes keys. A chain has as many different ones as it has certificates, and all have one anchor.
trait Keys {
    /// Another number, other keys.
    fn of(&self, number: usize) -> Option<KeyOf<'_>>;
}

struct Derived(fn(&str) -> Key);

impl Keys for Derived {
    fn of(&self, number: usize) -> Option<KeyOf<'_>> {
        Some(Box::new(move |label| match label {
            "anchor" => (self.0)(label),
            label => (self.0)(&format!("{label}, {number}")),
        }))
    }
}

/// RSA keys take long to make: there is one set.
struct Generated(Vec<Key>);

impl Generated {
    fn new(bits: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let keys = RsaKeys {
            folder: folder.path().to_owned(),
        };
        // Anchor, stranger, end entity, and ten that are presented beside it.
        let keys = (0..13).map(|number| {
            let key = openssl::pkey::PKey::from_rsa(Rsa::generate(bits)?)?;
            let file = folder.path().join(format!("rsa-{number}.pem"));
            fs::write(file, key.private_key_to_pem_pkcs8()?)?;
            Ok(keys.load(&number.to_string())?)
        });
        Ok(Self(keys.collect::<Result<_>>()?))
    }
}

impl Keys for Generated {
    fn of(&self, number: usize) -> Option<KeyOf<'_>> {
        let given: RefCell<BTreeMap<String, usize>> = RefCell::default();
        (number == 0).then(|| -> KeyOf<'_> {
            Box::new(move |label| {
                let mut given = given.borrow_mut();
                let next = given.len() + 1;
                let place = match label {
                    "anchor" => 0,
                    label => *given.entry(label.to_owned()).or_insert(next),
                };
                self.0[place].clone()
            })
        })
    }
}

/// What a chain costs in an Envoy.
struct Probe {
    envoy: Envoy,
    wire: Wire,
    pid: u32,
}

impl Probe {
    fn start(config: &mtls_gate::testbed::envoy::EnvoyConfig) -> Result<Self> {
        let envoy = Envoy::start(config)?;
        Ok(Self {
            wire: Wire::plain(envoy.port(LISTENER)?)?,
            pid: pid(&envoy)?,
            envoy,
        })
    }

    /// Envoy's CPU time for each of so many such requests, in microseconds.
    fn cost(&mut self, request: &[u8], times: u32) -> Result<f64> {
        thread::sleep(SLEEP);
        let before = cpu_time(self.pid)?;
        for _ in 0..times {
            self.wire.send(request)?;
            self.wire.receive()?;
        }
        thread::sleep(SLEEP);
        let time = cpu_time(self.pid)? - before;
        Ok(time.as_secs_f64() * 1e6 / f64::from(times))
    }

    fn verified(&self) -> Result<u64> {
        let stats = self.envoy.stats(super::setup::VERIFIED)?;
        Ok(stats.values().sum())
    }
}

fn forwarded_chain(chain: &Chain) -> String {
    let others = chain.presented.iter().map(Vec::as_slice);
    let ders: Vec<&[u8]> = [chain.end_entity.as_slice()]
        .into_iter()
        .chain(others)
        .collect();
    forwarded(&ders)
}

fn is_within_limits(chain: &Chain) -> bool {
    let others: usize = chain.presented.iter().map(Vec::len).sum();
    others + chain.end_entity.len() <= RequestLimits::default().payload_bytes
}

pub(crate) fn worst(
    setup: &Setup<'_>,
    _clients: &Clients,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let mut empty = Probe::start(&setup.envoy(Front::Relay, Filter::Empty))?;
    let mut rows = Vec::new();
    let algorithms = ["P-256", "P-384", "RSA-2048", "RSA-4096"];
    for name in algorithms
        .into_iter()
        .take(options.points.unwrap_or(usize::MAX))
    {
        let keys: Box<dyn Keys> = match name {
            "P-256" => Box::new(Derived(Key::p256)),
            "P-384" => Box::new(Derived(Key::p384)),
            "RSA-2048" => Box::new(Generated::new(2048)?),
            _ => Box::new(Generated::new(4096)?),
        };
        for (place, ours) in [("host", Ours::DEFAULT), ("wasm", Ours::IN_WASM)] {
            eprintln!("worst chain: {name}, {place}");
            let compared = compare(
                setup,
                keys.as_ref(),
                ours.accepting_all(),
                &mut empty,
                options,
            )?;
            for (memory, label, honest, worst) in compared {
                let ratio = worst.over(&honest);
                let what = format!("worst chain, {name}, {place}, {memory}");
                rows.push([
                    what.clone(),
                    honest.show(0),
                    worst.show(0),
                    ratio.show(2),
                    label,
                ]);
                report.figures.push(Figure::new(
                    format!("{what}, over the longest honest path"),
                    ratio,
                    Bound::AtMost(1.5),
                ));
            }
        }
    }
    report.tables.push(report::worst(&rows));
    Ok(())
}

/// What was remembered, the arrangement that cost most, what the longest honest path and it took.
type Compared = (&'static str, String, Series, Series);

/// A chain with the number of requests that make a sample.
struct Measured {
    label: String,
    request: Vec<u8>,
    times: u32,
    own: Series,
}

impl Measured {
    fn sample(&mut self, ours: &mut Probe, empty: &mut Probe) -> Result<()> {
        let time = ours.cost(&self.request, self.times)?;
        self.own.push(time - empty.cost(&self.request, self.times)?);
        Ok(())
    }
}

fn compare(
    setup: &Setup<'_>,
    keys: &dyn Keys,
    ours: Ours,
    empty: &mut Probe,
    options: &Options,
) -> Result<Vec<Compared>> {
    let first = || keys.of(0).ok_or("no keys");
    let honest = mazes::honest(&first()?);
    let anchor = pem(&honest.anchor);
    let mut forgetful = Probe::start(&setup.trusting(&anchor, ours.cache_bytes(0)))?;
    let look = |probe: &mut Probe, chain: &Chain| {
        let request = relayed(&forwarded_chain(chain));
        let one = probe.cost(&request, 1)?.max(1.0);
        let times = (SAMPLE.as_secs_f64() * 1e6 / one).ceil() as u32;
        Ok::<_, Box<dyn std::error::Error>>(Measured {
            label: chain.label.clone(),
            request,
            times: times.clamp(1, if options.rounds == 1 { 1 } else { 40 }),
            own: Series::default(),
        })
    };
    let before = forgetful.verified()?;
    let mut best = look(&mut forgetful, &honest)?;
    if forgetful.verified()? != before + 1 {
        return Err("the longest honest path is not verified".into());
    }
    let mut others = Vec::new();
    for maze in mazes::all() {
        let chain = maze.chain(&first()?, 0);
        if is_within_limits(&chain) {
            others.push((maze, look(&mut forgetful, &chain)?));
        }
    }
    for _ in 0..options.rounds.min(3) {
        for (_, other) in &mut others {
            other.sample(&mut forgetful, empty)?;
        }
    }
    if forgetful.verified()? != before + 1 {
        return Err("a chain that leads nowhere is verified".into());
    }
    let mazes: Vec<Maze> = others.iter().map(|(maze, _)| *maze).collect();
    others.sort_by(|(_, one), (_, other)| other.own.median().total_cmp(&one.own.median()));
    others.truncate(FINALISTS);
    for (_, other) in &mut others {
        other.own = Series::default();
    }
    for _ in 0..options.rounds {
        best.sample(&mut forgetful, empty)?;
        for (_, other) in &mut others {
            other.sample(&mut forgetful, empty)?;
        }
    }
    let worst = others.into_iter().map(|(_, other)| other);
    let worst = worst.max_by(|one, other| one.own.median().total_cmp(&other.own.median()));
    let worst = worst.ok_or("no chain within the limits")?;
    drop(forgetful);
    let mut compared = vec![("no cache", worst.label, best.own, worst.own)];
    if keys.of(1).is_some() {
        let remembering = Probe::start(&setup.trusting(&anchor, ours))?;
        compared.extend(with_memory(keys, &mazes, remembering, empty, options)?);
    }
    Ok(compared)
}

/// What mazes take with the default cache, whose next one has this number.
struct Remembering<'k> {
    keys: &'k dyn Keys,
    ours: Probe,
    number: usize,
    honest: Series,
}

/// One arrangement, with keys that were never seen, and with keys that were seen as often as it takes for
/// the next use to make one of them ready.
struct WithMemory {
    maze: Maze,
    label: String,
    fresh: Series,
    primed: Series,
}

impl WithMemory {
    fn new(maze: Maze) -> Self {
        Self {
            maze,
            label: String::new(),
            fresh: Series::default(),
            primed: Series::default(),
        }
    }
}

impl<'k> Remembering<'k> {
    fn next_keys(&mut self) -> Result<KeyOf<'k>> {
        self.number += 1;
        Ok(self.keys.of(self.number).ok_or("no keys")?)
    }

    /// As often as is said, every one in its turn.
    fn run(&mut self, mazes: &mut [WithMemory], empty: &mut Probe, rounds: u32) -> Result<()> {
        for _ in 0..rounds {
            let request = relayed(&forwarded_chain(&mazes::honest(&self.next_keys()?)));
            let time = self.ours.cost(&request, 1)? - empty.cost(&request, 1)?;
            self.honest.push(time);
            for measured in &mut *mazes {
                let keys = self.next_keys()?;
                // Other certificates each time, so that no link is remembered.
                for edition in 0..=PRIMING {
                    let chain = measured.maze.chain(&keys, edition);
                    let request = relayed(&forwarded_chain(&chain));
                    let time = self.ours.cost(&request, 1)? - empty.cost(&request, 1)?;
                    match edition {
                        0 => measured.fresh.push(time),
                        PRIMING => measured.primed.push(time),
                        _ => {}
                    }
                    measured.label = chain.label;
                }
            }
        }
        Ok(())
    }
}

/// The default cache.
fn with_memory(
    keys: &dyn Keys,
    mazes: &[Maze],
    ours: Probe,
    empty: &mut Probe,
    options: &Options,
) -> Result<Vec<Compared>> {
    let mut compared = Vec::new();
    let mut remembering = Remembering {
        keys,
        ours,
        number: 0,
        honest: Series::default(),
    };
    let mut all: Vec<WithMemory> = mazes.iter().copied().map(WithMemory::new).collect();
    remembering.run(&mut all, empty, 1)?;
    for (memory, of) in [
        ("new keys", (|one| &one.fresh) as fn(&WithMemory) -> &Series),
        ("keys about to be made ready", |one| &one.primed),
    ] {
        all.sort_by(|one, other| of(other).median().total_cmp(&of(one).median()));
        let mut finalists: Vec<WithMemory> = all
            .iter()
            .take(FINALISTS)
            .map(|one| WithMemory::new(one.maze))
            .collect();
        remembering.honest = Series::default();
        remembering.run(&mut finalists, empty, options.rounds)?;
        let worst = finalists
            .into_iter()
            .max_by(|one, other| of(one).median().total_cmp(&of(other).median()))
            .ok_or("no chain within the limits")?;
        let series = of(&worst).clone();
        compared.push((memory, worst.label, remembering.honest.clone(), series));
    }
    Ok(compared)
}
