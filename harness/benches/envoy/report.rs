//! Medians with their spread, ratios round by round, tables.

use comfy_table::{CellAlignment, Table, presets};
use serde::{Serialize, Serializer};

use super::Result;
use super::plan::Section;

/// One number for each round.
#[derive(Clone, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Round by round: what was measured at about the same time.
    pub(crate) fn with(&self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        Self(pairs.map(|(one, other)| combine(*one, *other)).collect())
    }

    pub(crate) fn over(&self, other: &Self) -> Self {
        self.with(other, |one, other| one / other)
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.with(other, |one, other| one - other)
    }

    pub(crate) fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self(self.0.iter().copied().map(change).collect())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        middle(sorted.len().saturating_sub(1) / 2).midpoint(middle(sorted.len() / 2))
    }

    /// The lower quartile, the median, the upper quartile.
    pub(crate) fn quartiles(&self) -> [f64; 3] {
        let sorted = self.sorted();
        let quarter = sorted.len() / 4;
        let [low, high] = [sorted.get(quarter), sorted.iter().nth_back(quarter)]
            .map(|value| value.copied().unwrap_or(f64::NAN));
        [low, self.median(), high]
    }

    /// Median and quartiles: the ends tell of other work on the machine.
    pub(crate) fn show(&self, decimals: usize) -> String {
        let [low, median, high] = self.quartiles();
        format!("{median:.decimals$} ({low:.decimals$}–{high:.decimals$})")
    }
}

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Starts of Envoy until the first answer, in milliseconds.
#[derive(Serialize)]
pub(crate) struct Start {
    pub(crate) name: &'static str,
    pub(crate) time: Series,
    pub(crate) cpu: Series,
}

/// A figure that is promised.
#[derive(Serialize)]
pub(crate) struct Figure {
    what: String,
    values: Series,
    bound: Bound,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, values: Series, bound: Bound) -> Self {
        Self {
            what: what.into(),
            values,
            bound,
        }
    }
}

fn table<const N: usize>(titles: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(titles);
    table
}

fn shown(mut table: Table) -> String {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

/// CPU and throughput of a section's cases, with their ratios to the one named.
pub(crate) fn cases(section: &Section, base: &str) -> Result<String> {
    let over = format!("over {base}");
    let mut table = table([
        section.title,
        "CPU µs/request",
        &over,
        "requests/s",
        &over,
        "Envoy busy",
        "MiB",
    ]);
    let base = section.case(base)?;
    for case in &section.cases {
        table.add_row([
            case.name.clone(),
            case.cpu.show(0),
            case.cpu.over(&base.cpu).show(2),
            case.throughput.show(0),
            case.throughput.over(&base.throughput).show(2),
            case.busy.show(2),
            format!("{:.0}–{:.0}", case.resident_mib[0], case.resident_mib[1]),
        ]);
    }
    Ok(shown(table))
}

/// How long starts take, by the clock and in CPU time.
pub(crate) fn starts(starts: &[Start]) -> String {
    let mut table = table(["start of Envoy", "ms", "CPU ms"]);
    for start in starts {
        table.add_row([start.name.to_owned(), start.time.show(0), start.cpu.show(0)]);
    }
    shown(table)
}

/// Linear memory in MiB, before the first request and when the cache is full.
pub(crate) fn memory(measured: &[(String, [f64; 2])]) -> String {
    let mut table = table(["memory of the VM, MiB", "empty", "full"]);
    for (name, memory) in measured {
        let [empty, full] = memory.map(|mib| format!("{mib:.1}"));
        table.add_row([name.clone(), empty, full]);
    }
    shown(table)
}

/// What was compared, the honest chain, the worst one, the ratio, how the worst one is arranged.
pub(crate) fn worst(rows: &[[String; 5]]) -> String {
    let mut table = table(["the filter's own CPU, µs", "honest", "worst", "ratio", ""]);
    for row in rows {
        table.add_row(row);
    }
    shown(table)
}

pub(crate) fn figures(figures: &[Figure]) -> String {
    let mut table = table(["figure", "measured", "promised", ""]);
    for figure in figures {
        let median = figure.values.median();
        let (promised, holds) = match figure.bound {
            Bound::AtMost(bound) => (format!("at most {bound}"), median <= bound),
            Bound::AtLeast(bound) => (format!("at least {bound}"), median >= bound),
        };
        table.add_row([
            figure.what.clone(),
            figure.values.show(2),
            promised,
            if holds { "holds" } else { "missed" }.to_owned(),
        ]);
    }
    shown(table)
}
