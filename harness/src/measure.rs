//! Paired measurement, for benchmarks: cases take turns in rounds, so that the machine's moods hit all
//! alike, and a ratio is taken between what was measured in one round.
//!
//! Times are of this thread on the CPU: what others do meanwhile is left out, as far as it can be.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde_json::json;
use thiserror::Error;

/// How long a turn of something short lasts.
const TURN: Duration = Duration::from_micros(500);

/// What people may say to a benchmark
#[derive(Clone, Debug, Default, Parser)]
pub struct Options {
    /// Measure only what has one of these in its name
    pub filters: Vec<String>,
    /// How often each case has its turn
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rounds: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Do each case once, and measure nothing
    #[arg(long)]
    pub test: bool,
    /// What cargo says to benchmarks
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Options {
    /// From the command line. Without `--bench` it is `cargo test` that runs this, and whatever else it
    /// says is for other tests.
    #[must_use]
    pub fn from_args() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            Self::parse()
        } else {
            Self {
                test: true,
                ..Self::default()
            }
        }
    }

    /// How often each case has its turn, if nothing else was said.
    #[must_use]
    pub fn rounds(&self, usual: u32) -> u32 {
        if self.test {
            1
        } else {
            self.rounds.unwrap_or(usual)
        }
    }

    /// So many where it is measured, so few where it is only tried.
    #[must_use]
    pub fn effort<T>(&self, measured: T, tried: T) -> T {
        if self.test { tried } else { measured }
    }

    /// It is to be measured.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|part| name.contains(part))
    }
}

/// Runs while this thread does.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Duration);

impl Stopwatch {
    /// From now on.
    #[must_use]
    pub fn start() -> Self {
        Self(Self::now())
    }

    /// The time since then.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Self::now().saturating_sub(self.0)
    }

    fn now() -> Duration {
        clock_gettime(ClockId::ThreadCPUTime)
            .try_into()
            .unwrap_or_default()
    }
}

/// One number for each round.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Series(Vec<f64>);

impl Series {
    /// Adds the next round's.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Each round's, changed.
    #[must_use]
    pub fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        self.0.iter().copied().map(change).collect()
    }

    /// Round by round: what was measured at about the same time.
    #[must_use]
    pub fn with(&self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        pairs.map(|(one, other)| combine(*one, *other)).collect()
    }

    /// The ratio.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        self.with(other, |one, other| one / other)
    }

    /// The difference.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.with(other, |one, other| one - other)
    }

    /// The number at this part of the way from the least to the greatest.
    fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[allow(
            clippy::as_conversions,
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let at = |round: fn(f64) -> f64| {
            let place = round(sorted.len().saturating_sub(1) as f64 * part);
            sorted.get(place as usize).copied().unwrap_or(f64::NAN)
        };
        at(f64::floor).midpoint(at(f64::ceil))
    }

    /// What it costs when nothing else runs: other work on the machine only adds.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.quantile(0.0)
    }

    /// The median.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The lower quartile, the median, the upper quartile.
    #[must_use]
    pub fn quartiles(&self) -> [f64; 3] {
        [0.25, 0.5, 0.75].map(|part| self.quantile(part))
    }

    /// Median and quartiles, which tell of other work on the machine; a single number alone.
    #[must_use]
    pub fn show(&self, decimals: usize) -> String {
        let [low, median, high] = self.quartiles();
        if self.0.len() == 1 {
            return format!("{median:.decimals$}");
        }
        format!("{median:.decimals$} ({low:.decimals$}–{high:.decimals$})")
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// A section, and a case in it.
pub type Place<'p> = (&'p str, &'p str);

/// What takes turns.
#[derive(Default)]
pub struct Cases<'a> {
    turns: Vec<Turn<'a>>,
    sections: Vec<Section>,
}

struct Turn<'a> {
    /// Where each of its numbers goes: section and case, by their indices.
    places: Vec<(usize, usize)>,
    work: Box<dyn FnMut() -> Vec<f64> + 'a>,
}

impl<'a> Cases<'a> {
    /// A case: `work` is done so often that a turn is long enough to be timed.
    pub fn add(&mut self, options: &Options, place: Place<'_>, mut work: impl FnMut() + 'a) {
        let mut times = u32::from(options.test);
        self.add_timed([place], move || {
            if times == 0 {
                // The first time is not like the others where something is remembered.
                work();
                let since = Stopwatch::start();
                while since.elapsed() < TURN {
                    work();
                    times = times.saturating_add(1);
                }
            }
            let since = Stopwatch::start();
            (0..times).for_each(|_| work());
            [since.elapsed().div_f64(f64::from(times))]
        });
    }

    /// A case that does something once for each turn, and times itself what is to be timed of it.
    pub fn add_timed<const N: usize>(
        &mut self,
        places: [Place<'_>; N],
        mut work: impl FnMut() -> [Duration; N] + 'a,
    ) {
        let places = places
            .iter()
            .map(|(section, case)| self.place(section, case))
            .collect();
        let work = Box::new(move || work().map(|time| time.as_secs_f64() * 1e6).into());
        self.turns.push(Turn { places, work });
    }

    fn place(&mut self, section: &str, case: &str) -> (usize, usize) {
        let known = self.sections.iter().position(|one| one.title == section);
        let index = known.unwrap_or_else(|| {
            self.sections.push(Section {
                title: section.to_owned(),
                cases: Vec::new(),
            });
            self.sections.len().saturating_sub(1)
        });
        let cases = self.sections.get_mut(index).map(|one| &mut one.cases);
        let place = cases.map_or(0, |cases| {
            cases.push(Case {
                name: case.to_owned(),
                micros: Series::default(),
            });
            cases.len().saturating_sub(1)
        });
        (index, place)
    }

    /// Each case has its turn in each round. One round before those is not counted.
    #[must_use]
    pub fn measure(mut self, options: &Options, usual_rounds: u32) -> Vec<Section> {
        let rounds = options.rounds(usual_rounds);
        let shown = std::io::stderr().is_terminal();
        for round in u32::from(options.test)..=rounds {
            if shown {
                eprint!("\rround {round} of {rounds} ");
            }
            let turns = self.turns.len();
            for turn in 0..turns {
                // Another one begins in every round.
                let first = usize::try_from(round).unwrap_or_default();
                let index = turn.saturating_add(first).checked_rem(turns);
                let Some(turn) = index.and_then(|index| self.turns.get_mut(index)) else {
                    continue;
                };
                let micros = (turn.work)();
                if round == 0 {
                    continue;
                }
                for ((section, case), micros) in turn.places.iter().zip(micros) {
                    let section = self.sections.get_mut(*section);
                    if let Some(case) = section.and_then(|one| one.cases.get_mut(*case)) {
                        case.micros.0.push(micros);
                    }
                }
            }
        }
        if shown {
            eprintln!();
        }
        self.sections
    }
}

/// Cases that are shown in one table.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// What they have in common.
    pub title: String,
    /// In the order in which they were added.
    pub cases: Vec<Case>,
}

/// What was measured of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// As it was added.
    pub name: String,
    /// Microseconds, round by round.
    pub micros: Series,
}

/// A case that was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("nothing was measured of {case:?} in {section:?}")]
pub struct NotMeasured {
    section: String,
    case: String,
}

impl Section {
    /// What was measured of this case.
    ///
    /// # Errors
    /// There is no such case.
    pub fn of(&self, name: &str) -> Result<&Series, NotMeasured> {
        let case = self.cases.iter().find(|case| case.name == name);
        case.map(|case| &case.micros).ok_or_else(|| NotMeasured {
            section: self.title.clone(),
            case: name.to_owned(),
        })
    }

    /// Times, and what they are over those of some cases.
    ///
    /// # Errors
    /// There is no such case.
    pub fn table(&self, decimals: usize, bases: &[&str]) -> Result<String, NotMeasured> {
        let bases = bases.iter().map(|name| Ok((*name, self.of(name)?)));
        let bases: Vec<_> = bases.collect::<Result<_, _>>()?;
        let mut titles = vec![self.title.clone(), "µs".to_owned()];
        titles.extend(bases.iter().map(|(name, _)| format!("over {name}")));
        let rows = self.cases.iter().map(|case| {
            let mut row = vec![case.name.clone(), case.micros.show(decimals)];
            for (name, base) in &bases {
                let is_itself = *name == case.name;
                row.push(match is_itself {
                    true => "1".to_owned(),
                    false => case.micros.over(base).show(2),
                });
            }
            row
        });
        Ok(table(titles, rows))
    }
}

/// A table as all benchmarks print it: numbers to the right.
#[must_use]
pub fn table(titles: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(titles);
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

/// What is promised of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Bound {
    /// It is this or less.
    AtMost(f64),
    /// It is this or more.
    AtLeast(f64),
}

/// A figure that is promised.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    what: String,
    values: Series,
    bound: Bound,
}

impl Figure {
    /// A figure beside what is promised of it.
    pub fn new(what: impl Into<String>, values: Series, bound: Bound) -> Self {
        let what = what.into();
        Self {
            what,
            values,
            bound,
        }
    }
}

/// What one run found out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    versions: BTreeMap<&'static str, String>,
    sections: Vec<Section>,
    figures: Vec<Figure>,
    #[serde(skip)]
    tables: Vec<String>,
}

impl Report {
    /// Whose version the figures depend on.
    pub fn version(&mut self, of: &'static str, version: impl Into<String>) {
        self.versions.insert(of, version.into());
    }

    /// What was measured; JSON has it round by round.
    pub fn section(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// How it is shown.
    pub fn table(&mut self, table: String) {
        self.tables.push(table);
    }

    /// A figure beside what is promised of it.
    pub fn figure(&mut self, what: impl Into<String>, values: Series, bound: Bound) {
        self.figures.push(Figure::new(what, values, bound));
    }

    /// Shows it, unless nothing was measured.
    pub fn print(&self, options: &Options) {
        if options.test {
            return;
        }
        if options.json {
            println!("{}", json!(self));
            return;
        }
        let versions = self.versions.iter();
        let versions: Vec<_> = versions
            .map(|(of, version)| format!("{of} {version}"))
            .collect();
        let figures = (!self.figures.is_empty()).then(|| figures(&self.figures));
        let parts = [versions.join(", ")].into_iter();
        let parts = parts.chain(self.tables.iter().cloned()).chain(figures);
        let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
        println!("{}\n", parts.join("\n\n"));
    }
}

/// Figures beside their goals.
#[must_use]
pub fn figures(figures: &[Figure]) -> String {
    let titles = ["figure", "measured", "goal", ""];
    let rows = figures.iter().map(|figure| {
        let median = figure.values.median();
        let (goal, holds) = match figure.bound {
            Bound::AtMost(bound) => (format!("at most {bound}"), median <= bound),
            Bound::AtLeast(bound) => (format!("at least {bound}"), median >= bound),
        };
        let holds = if holds { "" } else { "missed" };
        vec![
            figure.what.clone(),
            figure.values.show(2),
            goal,
            holds.to_owned(),
        ]
    });
    table(titles.map(str::to_owned).into(), rows)
}

/// The version of a dependency, as `Cargo.lock` has it.
#[must_use]
pub fn locked_version(package: &str) -> Option<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let lock: toml::Table = toml::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
    let is_it = |one: &&toml::Value| one.get("name").and_then(toml::Value::as_str) == Some(package);
    let found = lock.get("package")?.as_array()?.iter().find(is_it)?;
    Some(found.get("version")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn series(values: &[f64]) -> Series {
        values.iter().copied().collect()
    }

    #[test]
    fn median_and_quartiles() {
        assert_eq!(series(&[5.0, 1.0, 3.0, 2.0, 4.0]).show(1), "3.0 (2.0–4.0)");
        assert_eq!(series(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(series(&[4.0, 1.0, 2.0, 3.0]).least(), 1.0);
        assert_eq!(series(&[7.0]).show(0), "7");
        assert!(series(&[]).median().is_nan());
    }

    /// Not the ratio of the medians: that would pair what was measured at different times.
    #[test]
    fn ratios_are_taken_within_a_round() {
        let [ours, theirs] = [[1.0, 20.0, 3.0], [2.0, 40.0, 3.0]].map(|one| series(&one));
        assert_eq!(ours.over(&theirs).median(), 0.5);
        assert_eq!(ours.median() / theirs.median(), 1.0);
    }

    #[test]
    fn each_case_has_its_turn_in_each_round_and_another_one_begins() {
        let order = RefCell::new(String::new());
        let mut cases = Cases::default();
        for name in ["a", "b", "c"] {
            let order = &order;
            cases.add_timed([("all", name), (name, "alone")], move || {
                order.borrow_mut().push_str(name);
                [Duration::from_micros(7); 2]
            });
        }
        let options = Options {
            rounds: Some(2),
            ..Options::default()
        };
        let sections = cases.measure(&options, 100);
        assert_eq!(order.take(), "abcbcacab");
        let titles: Vec<_> = sections.iter().map(|one| one.title.as_str()).collect();
        assert_eq!(titles, ["all", "a", "b", "c"]);
        for case in sections.iter().flat_map(|section| &section.cases) {
            assert_eq!(case.micros.show(0), "7 (7–7)");
        }
        assert!(sections.iter().all(|section| section.of("d").is_err()));
    }

    #[test]
    fn as_a_test_each_case_is_done_once() {
        let mut count = 0;
        let mut cases = Cases::default();
        let options = Options {
            test: true,
            rounds: Some(5),
            ..Options::default()
        };
        cases.add(&options, ("all", "one"), || count += 1);
        drop(cases.measure(&options, 100));
        assert_eq!(count, 1);
    }

    #[test]
    fn versions_are_those_of_the_lock() {
        assert!(locked_version("rustls-webpki").is_some_and(|version| version.starts_with("0.")));
        assert_eq!(locked_version("no-such-package"), None);
    }
}
