//! How the cost of a request grows, with a plot for each thing that makes it.

use super::clients::{Client, Clients, far_below};
use super::load::{Order, Traffic};
use super::plan::{Plan, Section};
use super::plot::{self, Axis, Plot, Point};
use super::setup::{FEW, Filter, Front, Ours, Setup};
use super::{
    BY_HOST, BY_WASM, CACHE_MIB, COLD_HOST, COLD_WASM, FLOOR, FORGETFUL_HOST, FORGETFUL_WASM, MIB,
    NO_FILTER, Options, Report, Result, WARM, report,
};

struct Growth<'c> {
    /// Of the section and of the file with the plot.
    name: &'static str,
    title: &'static str,
    x: Axis,
    y: Axis,
    lines: Vec<Line<'c>>,
}

struct Line<'c> {
    name: &'static str,
    envoys: Envoys,
    points: Vec<(usize, Filter, Traffic<'c>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Envoys {
    /// One for the whole line: its points have one configuration, and share what is remembered.
    One,
    /// One for each point.
    Many,
}

const CPU: &str = "Envoy's CPU for a request, µs";

fn traffic(connections: usize, clients: &[Client]) -> Traffic<'_> {
    Traffic {
        connections,
        clients,
        order: Order::InTurn,
        seen_before: true,
    }
}

const OURS: Filter = Filter::Ours(Ours::DEFAULT);
const OURS_IN_WASM: Filter = Filter::Ours(Ours::IN_WASM);

pub(crate) fn connections(
    setup: &Setup<'_>,
    clients: &Clients,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let (few, all) = (&clients.all[..FEW], &clients.all[..]);
    let lines = [
        (NO_FILTER, Filter::None, few),
        (FLOOR, Filter::Floor, few),
        (WARM, OURS, few),
        (COLD_HOST, OURS, all),
        (COLD_WASM, OURS_IN_WASM, all),
    ];
    let lines = lines.map(|(name, filter, clients)| {
        let points = options.points(&[1, 8, 64, 512]);
        let points = points
            .into_iter()
            .map(|count| (count, filter, traffic(count, clients)));
        Line {
            name,
            envoys: Envoys::One,
            points: points.collect(),
        }
    });
    Growth {
        name: "connections",
        title: "More connections",
        x: Axis {
            label: "connections that are kept busy",
            logarithmic: true,
        },
        y: Axis {
            label: CPU,
            logarithmic: false,
        },
        lines: lines.into(),
    }
    .measure(setup, options, report)
}

pub(crate) fn clients(
    setup: &Setup<'_>,
    clients: &Clients,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let lines = [
        (FLOOR, Filter::Floor, Envoys::One),
        (BY_HOST, OURS, Envoys::Many),
        (BY_WASM, OURS_IN_WASM, Envoys::Many),
    ];
    let lines = lines.map(|(name, filter, envoys)| {
        let mut counts = vec![8, 64, 256, 512, 1024, 2048, 4096, 8192];
        counts.retain(|count| *count < clients.all.len());
        counts.push(clients.all.len());
        let points = options.points(&counts).into_iter().map(|count| {
            let traffic = Traffic {
                order: Order::AtRandom,
                ..traffic(32, &clients.all[..count])
            };
            (count, filter, traffic)
        });
        Line {
            name,
            envoys,
            points: points.collect(),
        }
    });
    Growth {
        name: "clients",
        title: "More clients, at random, with a cache of 16 MiB",
        x: Axis {
            label: "distinct clients",
            logarithmic: true,
        },
        y: Axis {
            label: CPU,
            logarithmic: false,
        },
        lines: lines.into(),
    }
    .measure(setup, options, report)
}

pub(crate) fn caches(
    setup: &Setup<'_>,
    clients: &Clients,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let some = &clients.all[..clients.all.len().min(4096)];
    let traffic = Traffic {
        order: Order::AtRandom,
        ..traffic(32, some)
    };
    let sizes = options.points(&[1, 2, 4, 8, CACHE_MIB, 32, 64, 128]);
    let line = |name, ours: Ours| {
        let points = sizes.iter().map(|mib| {
            let ours = ours.cache_bytes(*mib as u64 * MIB);
            (*mib, Filter::Ours(ours), traffic)
        });
        Line {
            name,
            envoys: Envoys::Many,
            points: points.collect(),
        }
    };
    let floor = (sizes[0], Filter::Floor, traffic);
    Growth {
        name: "caches",
        title: "A larger cache, for 4096 clients at random",
        x: Axis {
            label: "bound of the cache (limits.cacheBytes), MiB",
            logarithmic: true,
        },
        y: Axis {
            label: CPU,
            logarithmic: false,
        },
        lines: vec![
            Line {
                name: FLOOR,
                envoys: Envoys::One,
                points: vec![floor],
            },
            line(BY_HOST, Ours::DEFAULT),
            line(BY_WASM, Ours::IN_WASM),
        ],
    }
    .measure(setup, options, report)
}

pub(crate) fn anchors(
    setup: &Setup<'_>,
    clients: &Clients,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let (few, all) = (traffic(32, &clients.all[..FEW]), traffic(32, &clients.all));
    let counts = options.points(&[1, 10, 50, 100, 200]);
    let line = |name, ours: Ours, traffic| {
        let points = counts.iter().map(|count| {
            let ours = ours.anchors(*count);
            (*count, Filter::Ours(ours), traffic)
        });
        Line {
            name,
            envoys: Envoys::Many,
            points: points.collect(),
        }
    };
    let floor = (counts[0], Filter::Floor, few);
    Growth {
        name: "anchors",
        title: "More trust anchors",
        x: Axis {
            label: "trust anchors configured",
            logarithmic: false,
        },
        y: Axis {
            label: CPU,
            logarithmic: false,
        },
        lines: vec![
            Line {
                name: FLOOR,
                envoys: Envoys::One,
                points: vec![floor],
            },
            line(WARM, Ours::DEFAULT, few),
            line(COLD_HOST, Ours::DEFAULT, all),
            line(COLD_WASM, Ours::IN_WASM, all),
        ],
    }
    .measure(setup, options, report)
}

/// Each length has clients of its own; enough for none to be remembered when its turn comes again.
pub(crate) fn chains(
    setup: &Setup<'_>,
    clients: &Clients,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let count = clients.all.len().min(4000);
    let lengths = options.points(&[1, 2, 3, 5, 7, 9]);
    let minted: Vec<(usize, Vec<Client>)> = lengths
        .into_iter()
        .map(|length| (length, far_below(length - 1, count)))
        .collect();
    let line = |name, filter, count: usize| {
        let points = minted.iter().map(|(length, clients)| {
            let clients = &clients[..count.min(clients.len())];
            (*length, filter, traffic(32, clients))
        });
        Line {
            name,
            envoys: Envoys::One,
            points: points.collect(),
        }
    };
    let forgetting = |ours: Ours| Filter::Ours(ours.cache_bytes(0));
    Growth {
        name: "chains",
        title: "Longer chains",
        x: Axis {
            label: "certificates presented (the anchor is not)",
            logarithmic: false,
        },
        y: Axis {
            label: CPU,
            logarithmic: true,
        },
        lines: vec![
            line(FLOOR, Filter::Floor, FEW),
            line(WARM, OURS, FEW),
            line(COLD_HOST, OURS, count),
            line(COLD_WASM, OURS_IN_WASM, count),
            line(FORGETFUL_HOST, forgetting(Ours::DEFAULT), FEW),
            line(FORGETFUL_WASM, forgetting(Ours::IN_WASM), FEW),
        ],
    }
    .measure(setup, options, report)
}

impl Growth<'_> {
    fn measure(&self, setup: &Setup<'_>, options: &Options, report: &mut Report) -> Result<()> {
        let mut plan = Plan::new(self.name, Front::Relay);
        for line in &self.lines {
            for (index, (x, filter, traffic)) in line.points.iter().enumerate() {
                let case = self.case(line, *x);
                if index > 0 && line.envoys == Envoys::One {
                    plan.same_envoy(case, *traffic);
                } else {
                    plan.case(case, *filter, *traffic);
                }
            }
        }
        let section = plan.measure(setup, options)?;
        options.draw(self.name, &self.plot(&section)?)?;
        let base = &section.cases.first().ok_or("no lines")?.name;
        report.tables.push(report::cases(&section, base)?);
        report.sections.push(section);
        Ok(())
    }

    fn case(&self, line: &Line<'_>, x: usize) -> String {
        format!("{}: {x} {}", line.name, self.name)
    }

    /// A line with one point is the same everywhere.
    fn plot(&self, section: &Section) -> Result<Plot> {
        let xs = self.lines.iter().flat_map(|line| &line.points);
        let xs = || xs.clone().map(|(x, ..)| *x);
        let mut ends = vec![xs().min(), xs().max()];
        ends.dedup();
        let ends: Vec<usize> = ends.into_iter().flatten().collect();
        let mut lines = Vec::new();
        for line in &self.lines {
            let mut points = Vec::new();
            for (x, ..) in &line.points {
                let y = section.case(&self.case(line, *x))?.cpu.quartiles();
                let xs = if line.points.len() == 1 {
                    &ends[..]
                } else {
                    &[*x]
                };
                points.extend(xs.iter().map(|x| Point { x: *x as f64, y }));
            }
            lines.push(plot::Line {
                name: line.name.to_owned(),
                points,
            });
        }
        Ok(Plot {
            title: self.title,
            x: self.x,
            y: self.y,
            lines,
        })
    }
}
