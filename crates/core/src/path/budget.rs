//! What one validation may cost, spent in one place.

use super::error::PathFault;

/// Certificates looked at as potential issuers, per search.
/// Google, "Quotas and limits": 100 evaluations of intermediates while a chain is searched.
const CANDIDATES: u32 = 100;

/// Signatures verified. The longest honest path of 10 certificates has 9 links; half as many again
/// for cross-signed and re-keyed CAs bounds the worst chain at 1.5 times the longest honest one,
/// whatever the algorithm.
const SIGNATURES: u32 = 13;

/// Names compared with name constraints.
/// Go's crypto/x509 takes the same number for the same work (`MaxConstraintComparisons`).
const NAME_COMPARISONS: u32 = 250_000;

/// What is left in this run.
#[derive(Debug)]
pub(super) struct Budget {
    candidates: u32,
    signatures: u32,
    name_comparisons: u32,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            candidates: CANDIDATES,
            signatures: SIGNATURES,
            name_comparisons: NAME_COMPARISONS,
        }
    }

    /// A second search over the same certificates; signatures stay spent.
    pub(super) fn renew_candidates(&mut self) {
        self.candidates = CANDIDATES;
    }

    pub(super) fn examine_candidate(&mut self) -> Result<(), PathFault> {
        spend(&mut self.candidates, CANDIDATES, "potential issuers")
    }

    pub(super) fn verify_signature(&mut self) -> Result<(), PathFault> {
        spend(&mut self.signatures, SIGNATURES, "signatures")
    }

    pub(super) fn compare_name(&mut self) -> Result<(), PathFault> {
        spend(
            &mut self.name_comparisons,
            NAME_COMPARISONS,
            "name constraint comparisons",
        )
    }
}

fn spend(left: &mut u32, limit: u32, unit: &'static str) -> Result<(), PathFault> {
    *left = left
        .checked_sub(1)
        .ok_or(PathFault::BudgetSpent { limit, unit })?;
    Ok(())
}
