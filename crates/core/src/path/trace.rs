//! A search as it went, for people: every potential issuer that was tried, and what became of it.

use super::observe::{Event, Observer, Origin};
use super::{PathError, PathFault};
use crate::x509::Certificate;

/// What was seen of a run. Its size is bounded by the search's budget.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    certificates: Vec<Certificate>,
    searches: Vec<TracedSearch>,
}

/// One search, or both if key purposes may be all that is wrong.
#[derive(Clone, Debug)]
pub struct TracedSearch {
    /// Key purposes count.
    pub purposes: bool,
    /// In the order in which they were taken; the first is the end entity.
    pub steps: Vec<Step>,
}

/// A certificate at one place of the tree that a search walks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which certificate, of [`Trace::certificates`].
    pub certificate: usize,
    /// The position on the path: 0 is the end entity.
    pub position: usize,
    /// The step with the certificate that this one may have issued.
    pub below: Option<usize>,
    /// Where it comes from; `None` for the end entity.
    pub origin: Option<Origin>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a potential issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is wrong with it, and every branch above it was rejected.
    Fits,
    /// The branch ends here.
    Rejected {
        /// Which certificate is at fault, of [`Trace::certificates`].
        certificate: usize,
        /// Its position and the rule.
        error: PathError,
    },
    /// It is on the path that was found.
    Accepted,
}

impl Trace {
    /// Every certificate that was looked at, once; the first is the end entity.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The searches, in order.
    #[must_use]
    pub fn searches(&self) -> &[TracedSearch] {
        &self.searches
    }

    fn index(&mut self, certificate: &Certificate) -> usize {
        let known = self
            .certificates
            .iter()
            .position(|known| known == certificate);
        known.unwrap_or_else(|| {
            self.certificates.push(certificate.clone());
            self.certificates.len().saturating_sub(1)
        })
    }

    fn tried(&mut self, path: &[&Certificate], issuer: &Certificate, origin: Origin) {
        let certificate = self.index(issuer);
        if let Some(search) = self.searches.last_mut() {
            search.steps.push(Step {
                certificate,
                position: path.len(),
                below: search.last_at(path.len().saturating_sub(1)),
                origin: Some(origin),
                outcome: Outcome::Fits,
            });
        }
    }

    fn rejected(
        &mut self,
        path: &[&Certificate],
        issuer: Option<&Certificate>,
        position: usize,
        fault: &PathFault,
    ) {
        let whole: Vec<&Certificate> = path.iter().copied().chain(issuer).collect();
        let Some(at_fault) = whole.get(position) else {
            return;
        };
        let outcome = Outcome::Rejected {
            certificate: self.index(at_fault),
            error: PathError {
                position,
                fault: fault.clone(),
            },
        };
        if let Some(search) = self.searches.last_mut() {
            let last = search.last_at(whole.len().saturating_sub(1));
            search.set(last, outcome);
        }
    }
}

impl TracedSearch {
    /// The step taken last at a position.
    fn last_at(&self, position: usize) -> Option<usize> {
        self.steps
            .iter()
            .rposition(|step| step.position == position)
    }

    fn set(&mut self, step: Option<usize>, outcome: Outcome) -> Option<usize> {
        let step = self.steps.get_mut(step?)?;
        step.outcome = outcome;
        step.below
    }
}

impl Observer for Trace {
    fn see(&mut self, event: Event<'_>) {
        match event {
            Event::Begun {
                end_entity,
                purposes,
            } => {
                let certificate = self.index(end_entity);
                self.searches.push(TracedSearch {
                    purposes,
                    steps: vec![Step {
                        certificate,
                        position: 0,
                        below: None,
                        origin: None,
                        outcome: Outcome::Fits,
                    }],
                });
            }
            Event::Tried {
                path,
                issuer,
                origin,
            } => self.tried(path, issuer, origin),
            Event::Rejected {
                path,
                issuer,
                position,
                fault,
            } => self.rejected(path, issuer, position, fault),
            Event::Accepted { path } => {
                if let Some(search) = self.searches.last_mut() {
                    let mut step = search.last_at(path.len().saturating_sub(1));
                    while step.is_some() {
                        step = search.set(step, Outcome::Accepted);
                    }
                }
            }
        }
    }
}
