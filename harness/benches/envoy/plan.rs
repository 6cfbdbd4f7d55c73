//! What is measured beside what, and the measuring: every case of a plan has its turn in every
//! round.

use std::thread;
use std::time::{Duration, Instant};

use mtls_gate::measure::Series;
use mtls_gate::testbed::envoy::Envoy;
use serde::Serialize;

use super::load::{Lane, Traffic};
use super::memory::resident_mib;
use super::process::cpu_time;
use super::setup::{Filter, Front, LISTENER, Setup, VERIFIED};
use super::{Options, Result};

/// Cases that are measured interleaved.
pub(crate) struct Plan<'c> {
    pub(crate) title: &'static str,
    front: Front,
    filters: Vec<Filter>,
    cases: Vec<Case<'c>>,
}

struct Case<'c> {
    name: String,
    /// The index of its filter. Each filter has an Envoy of its own; cases may share one.
    filter: usize,
    traffic: Traffic<'c>,
}

/// What came out for one case, one number for each round.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Measured {
    pub(crate) name: String,
    /// Of the Envoy process, for each request, in microseconds.
    pub(crate) cpu: Series,
    /// Requests for each second.
    pub(crate) throughput: Series,
    /// The part of the time in which Envoy had the CPU.
    pub(crate) busy: Series,
    /// Resident memory of the Envoy process, in MiB: before the first request, at the end.
    pub(crate) resident_mib: [f64; 2],
}

/// What came out for a plan.
#[derive(Serialize)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) cases: Vec<Measured>,
}

impl Section {
    pub(crate) fn case(&self, name: &str) -> Result<&Measured> {
        let found = self.cases.iter().find(|case| case.name == name);
        found.ok_or_else(|| format!("{} has no case {name:?}", self.title).into())
    }
}

impl<'c> Plan<'c> {
    pub(crate) fn new(title: &'static str, front: Front) -> Self {
        Self {
            title,
            front,
            filters: Vec::new(),
            cases: Vec::new(),
        }
    }

    /// A case with an Envoy of its own.
    pub(crate) fn case(&mut self, name: impl Into<String>, filter: Filter, traffic: Traffic<'c>) {
        self.filters.push(filter);
        self.same_envoy(name, traffic);
    }

    /// A case with the Envoy of the one before.
    pub(crate) fn same_envoy(&mut self, name: impl Into<String>, traffic: Traffic<'c>) {
        self.cases.push(Case {
            name: name.into(),
            filter: self.filters.len() - 1,
            traffic,
        });
    }

    pub(crate) fn measure(&self, setup: &Setup<'_>, options: &Options) -> Result<Section> {
        eprintln!("{}: {} Envoys start", self.title, self.filters.len());
        let envoys = thread::scope(|scope| {
            let start = |filter: &Filter| {
                let config = setup.envoy(self.front, *filter);
                scope.spawn(move || Envoy::start(&config))
            };
            let starting: Vec<_> = self.filters.iter().map(start).collect();
            starting
                .into_iter()
                .map(|thread| Ok(thread.join().map_err(|_| "a thread panicked")??))
                .collect::<Result<Vec<Envoy>>>()
        })?;
        let mut lanes = Vec::new();
        let mut measured = Vec::new();
        for case in &self.cases {
            let envoy = &envoys[case.filter];
            let before = resident_mib(pid(envoy)?)?;
            let port = envoy.port(LISTENER)?;
            lanes.push(Lane::open(port, self.front, case.traffic)?);
            measured.push(Measured {
                name: case.name.clone(),
                cpu: Series::default(),
                throughput: Series::default(),
                busy: Series::default(),
                resident_mib: [before, before],
            });
        }

        let slice = Duration::from_secs_f64(options.seconds);
        eprintln!("{}: warming up", self.title);
        for lane in &mut lanes {
            // Caches hold what they can hold, V8 has compiled what it will compile.
            lane.warm_up(slice * 2)?;
        }
        for round in 0..options.rounds {
            eprintln!("{}: round {} of {}", self.title, round + 1, options.rounds);
            for turn in 0..lanes.len() {
                // Another one begins in every round.
                let index = (turn + round as usize) % lanes.len();
                let (lane, measured) = (&mut lanes[index], &mut measured[index]);
                let pid = pid(&envoys[self.cases[index].filter])?;
                let answered = lane.answered;
                let (cpu, since) = (cpu_time(pid)?, Instant::now());
                lane.run(slice, 1)?;
                let (wall, cpu) = (since.elapsed().as_secs_f64(), cpu_time(pid)? - cpu);
                let requests = (lane.answered - answered) as f64;
                measured.cpu.push(cpu.as_secs_f64() * 1e6 / requests);
                measured.throughput.push(requests / wall);
                measured.busy.push(cpu.as_secs_f64() / wall);
            }
        }

        for (index, filter) in self.filters.iter().enumerate() {
            let mut answered = 0;
            for (case, lane) in self.cases.iter().zip(&lanes) {
                if case.filter == index {
                    answered += lane.answered;
                }
            }
            did_its_work(&envoys[index], filter, answered)?;
        }
        for (case, measured) in self.cases.iter().zip(&mut measured) {
            measured.resident_mib[1] = resident_mib(pid(&envoys[case.filter])?)?;
        }
        Ok(Section {
            title: self.title,
            cases: measured,
        })
    }
}

/// An answer says that nothing failed, but not that anything was done.
fn did_its_work(envoy: &Envoy, filter: &Filter, answered: u64) -> Result<()> {
    let counter = match filter {
        Filter::None | Filter::Empty | Filter::Signatures => return Ok(()),
        Filter::Floor => "wasmcustom.floor.verified",
        Filter::Lua => {
            let stats = envoy.stats("http.ingress.lua")?;
            return match stats.get("http.ingress.lua.errors") {
                Some(0) => Ok(()),
                _ => Err(format!("the Lua filter failed: {stats:?}").into()),
            };
        }
        Filter::Ours(_) => VERIFIED,
    };
    let counted = envoy.stats(counter)?.get(counter).copied();
    if counted == Some(answered) {
        Ok(())
    } else {
        Err(format!("{answered} requests, but {counter} is {counted:?} with {filter:?}").into())
    }
}

pub(crate) fn pid(envoy: &Envoy) -> Result<u32> {
    envoy.pid().ok_or_else(|| "Envoy has no process id".into())
}
