//! What came out of a suite: outcomes, the table for people, a line of JSON for each case.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::engine::{Inputs, Verdict};

/// What the suite says must come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Accepted.
    Accept,
    /// Refused.
    Refuse,
    /// Any verdict, as long as there is one.
    Either,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As the suite says.
    Pass,
    /// Not judged, or not for us to judge, and why.
    Skip(String),
    /// Otherwise than the suite says, on purpose, and why.
    KnownDivergence(String),
    /// Not accepted, against the suite: a false rejection, or no verdict at all.
    UnexpectedFailure,
    /// Accepted, against the suite: a false acceptance.
    UnexpectedSuccess,
}

/// One case and what became of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// `limbo`, `pkits` and so on.
    pub suite: &'static str,
    /// The row of the table it is counted in.
    pub class: String,
    /// As the suite names it.
    pub id: String,
    /// What the suite says.
    pub expected: Expected,
    /// What the core says.
    pub verdict: Verdict,
    /// How it ended.
    pub outcome: Outcome,
    /// How long the core took.
    pub took: Duration,
    /// Whatever else tells about the verdict, for the JSON.
    pub detail: Option<Value>,
    /// What the core was asked, where others can be asked the same.
    pub inputs: Option<Box<Inputs>>,
}

impl Case {
    /// A case that was judged, without any exception.
    #[must_use]
    pub fn judged(
        suite: &'static str,
        class: &str,
        id: String,
        expected: Expected,
        (verdict, took): (Verdict, Duration),
    ) -> Self {
        let outcome = match (expected, &verdict) {
            (_, Verdict::NotJudged) => Outcome::Skip("not judged".to_owned()),
            (_, Verdict::Panicked(_)) => Outcome::UnexpectedFailure,
            (Expected::Refuse, Verdict::Accepted) => Outcome::UnexpectedSuccess,
            (Expected::Accept, Verdict::Refused(_)) => Outcome::UnexpectedFailure,
            _ => Outcome::Pass,
        };
        Self {
            suite,
            class: class.to_owned(),
            id,
            expected,
            verdict,
            outcome,
            took,
            detail: None,
            inputs: None,
        }
    }

    /// A case that the core is not asked about.
    #[must_use]
    pub fn skipped(
        suite: &'static str,
        class: &str,
        id: String,
        expected: Expected,
        reason: &str,
    ) -> Self {
        Self {
            suite,
            class: class.to_owned(),
            id,
            expected,
            verdict: Verdict::NotJudged,
            outcome: Outcome::Skip(reason.to_owned()),
            took: Duration::ZERO,
            detail: None,
            inputs: None,
        }
    }

    /// The same, with what was asked.
    #[must_use]
    pub fn asking(mut self, inputs: Inputs) -> Self {
        self.inputs = Some(Box::new(inputs));
        self
    }

    /// Neither as the suite says nor listed.
    #[must_use]
    pub fn is_unexpected(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::UnexpectedFailure | Outcome::UnexpectedSuccess
        )
    }

    fn to_json(&self) -> Value {
        let (outcome, note) = match &self.outcome {
            Outcome::Pass => ("pass", None),
            Outcome::Skip(reason) => ("skip", Some(reason)),
            Outcome::KnownDivergence(reason) => ("known-divergence", Some(reason)),
            Outcome::UnexpectedFailure => ("unexpected-failure", None),
            Outcome::UnexpectedSuccess => ("unexpected-success", None),
        };
        let mut line = json!({
            "suite": self.suite,
            "class": self.class,
            "id": self.id,
            "expected": match self.expected {
                Expected::Accept => "accept",
                Expected::Refuse => "refuse",
                Expected::Either => "either",
            },
            "verdict": self.verdict.word(),
            "reason": self.verdict.reason(),
            "outcome": outcome,
            "micros": u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
        });
        if let Some(fields) = line.as_object_mut() {
            if let Some(note) = note {
                fields.insert("note".to_owned(), note.as_str().into());
            }
            if let Some(detail) = &self.detail {
                fields.insert("detail".to_owned(), detail.clone());
            }
        }
        line
    }
}

/// The cases of one or more suites.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order of the suites.
    pub cases: Vec<Case>,
    /// Exceptions that no longer describe what happens.
    pub stale: Vec<String>,
}

/// Counts of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub cases: usize,
    /// As the suite says.
    pub passed: usize,
    /// Skipped.
    pub skipped: usize,
    /// Accepted against the suite, listed.
    pub listed_accepts: usize,
    /// Refused against the suite, listed.
    pub listed_rejects: usize,
    /// Accepted against the suite, not listed.
    pub false_accepts: usize,
    /// Refused against the suite, or without a verdict; not listed.
    pub false_rejects: usize,
    /// The slowest case.
    pub slowest: Duration,
}

impl Tally {
    fn add(&mut self, case: &Case) {
        let count = |counter: &mut usize| *counter = counter.saturating_add(1);
        count(&mut self.cases);
        self.slowest = self.slowest.max(case.took);
        match &case.outcome {
            Outcome::Pass => count(&mut self.passed),
            Outcome::Skip(_) => count(&mut self.skipped),
            Outcome::KnownDivergence(_) if case.verdict == Verdict::Accepted => {
                count(&mut self.listed_accepts);
            }
            Outcome::KnownDivergence(_) => count(&mut self.listed_rejects),
            Outcome::UnexpectedSuccess => count(&mut self.false_accepts),
            Outcome::UnexpectedFailure => count(&mut self.false_rejects),
        }
    }

    fn row(&self, suite: &str, class: &str) -> Vec<String> {
        let mut row = vec![suite.to_owned(), class.to_owned()];
        let counts = [
            self.passed,
            self.cases,
            self.false_accepts,
            self.false_rejects,
            self.listed_accepts,
            self.listed_rejects,
            self.skipped,
        ];
        row.extend(counts.iter().map(usize::to_string));
        row.push(format!("{:.1} ms", self.slowest.as_secs_f64() * 1000.0));
        row
    }
}

impl Report {
    /// Appends another report.
    pub fn extend(&mut self, other: Self) {
        self.cases.extend(other.cases);
        self.stale.extend(other.stale);
    }

    /// Nothing is unexpected and no exception is stale.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.stale.is_empty() && !self.cases.iter().any(Case::is_unexpected)
    }

    /// Counts by suite and class.
    #[must_use]
    pub fn tallies(&self) -> BTreeMap<(&'static str, &str), Tally> {
        let mut tallies: BTreeMap<_, Tally> = BTreeMap::new();
        for case in &self.cases {
            tallies
                .entry((case.suite, case.class.as_str()))
                .or_default()
                .add(case);
        }
        tallies
    }

    /// Counts of everything.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        for case in &self.cases {
            total.add(case);
        }
        total
    }

    /// A line of JSON for each case.
    ///
    /// # Errors
    /// Writing failed.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        for case in &self.cases {
            writeln!(out, "{}", case.to_json())?;
        }
        Ok(())
    }

    /// The table, then what was skipped and why, then everything unexpected.
    ///
    /// # Errors
    /// Writing failed.
    pub fn write_table(&self, err: &mut impl Write) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            "suite",
            "class",
            "passed",
            "of",
            "false accepts",
            "false rejects",
            "listed accepts",
            "listed rejects",
            "skipped",
            "slowest",
        ]);
        for ((suite, class), tally) in self.tallies() {
            table.add_row(tally.row(suite, class));
        }
        table.add_row(self.total().row("all", ""));
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(err, "{}", table.trim_fmt())?;

        let mut skips: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for case in &self.cases {
            if let Outcome::Skip(reason) = &case.outcome {
                let count = skips.entry((case.suite, reason)).or_default();
                *count = count.saturating_add(1);
            }
        }
        for ((suite, reason), count) in skips {
            writeln!(err, "skipped: {suite}: {count}: {reason}")?;
        }
        for case in self.cases.iter().filter(|case| case.is_unexpected()) {
            let what = match (&case.outcome, &case.verdict) {
                (Outcome::UnexpectedSuccess, _) => "FALSE ACCEPT",
                (_, Verdict::Panicked(_)) => "PANIC",
                _ => "FALSE REJECT",
            };
            let reason = case.verdict.reason();
            writeln!(err, "{what}: {} {}: {reason}", case.suite, case.id)?;
        }
        for stale in &self.stale {
            writeln!(err, "STALE EXCEPTION: {stale}")?;
        }
        Ok(())
    }
}

/// A count on stderr while long work is done, if people watch.
#[derive(Debug)]
pub(super) struct Progress {
    label: &'static str,
    total: usize,
    done: usize,
    next: Option<Instant>,
}

impl Progress {
    const EVERY: Duration = Duration::from_millis(200);

    pub(super) fn new(label: &'static str, total: usize) -> Self {
        Self {
            label,
            total,
            done: 0,
            next: io::stderr()
                .is_terminal()
                .then(|| Instant::now().checked_add(Self::EVERY))
                .flatten(),
        }
    }

    pub(super) fn step(&mut self) {
        self.done = self.done.saturating_add(1);
        let now = Instant::now();
        if self.next.is_some_and(|next| now >= next) {
            eprint!("\r{}: {} of {}", self.label, self.done, self.total);
            self.next = now.checked_add(Self::EVERY);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.next.is_some() {
            // Back to an empty line.
            eprint!("\r\x1b[K");
        }
    }
}
