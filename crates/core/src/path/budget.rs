//! What one validation may cost, spent in one place.

use super::error::PathFault;

/// Certificates looked at as potential issuers, per search.
/// Google, "Quotas and limits": 100 evaluations of intermediates while a chain is searched.
const CANDIDATES: u32 = 100;

/// Signatures verified. The longest honest path of 10 certificates has 9 links; half as many again
/// for cross-signed and re-keyed CAs bounds the worst chain at 1.5 times the longest honest one,
/// whatever the algorithm. Configured CAs that share a name, and that only a signature may tell
/// apart, come on top: the longest honest path tries them all.
const SIGNATURES: u32 = 13;

/// What it costs at the most to make a key ready, in signatures verified with it.
const PREPARATION: usize = 4;

/// Names compared with name constraints: 100 names under 10 constraints of each of 10 CAs. Go's
/// crypto/x509 allows 25 times that (`MaxConstraintComparisons`), which would cost more than the
/// signatures of the longest honest path.
const NAME_COMPARISONS: u32 = 10_000;

/// Policies asserted, policy mappings and nodes of the policy graph. Ours: 100 policies, each mapped
/// to another, in each of 9 certificates, and half as many again for other paths. Without it each
/// path that a search tries could cost thousands of them.
const POLICY_STEPS: u32 = 4_000;

/// Signatures of CRLs and of the certificates that vouch for their signers. Ours: a complete and a
/// delta CRL for each of the 9 certificates of the longest path, half as many again for CRLs that
/// divide the reasons among them and for signers beside the path.
const CRL_SIGNATURES: u32 = 27;

/// CRLs and potential signers looked at. Ours: CRLs are configured, and 200 of them (the most there
/// may be) may have one issuer for each of the 9 certificates of the longest path.
const CRL_LOOKUPS: u32 = 2_000;

/// What is left in this run.
#[derive(Debug)]
pub(super) struct Budget {
    candidates: u32,
    signatures: u32,
    signature_limit: u32,
    name_comparisons: u32,
    policy_steps: u32,
    crl_signatures: u32,
    crl_lookups: u32,
}

impl Budget {
    /// `namesakes`: configured certificates beside the first of one name, at the most.
    pub(super) fn new(namesakes: usize) -> Self {
        let namesakes = u32::try_from(namesakes).unwrap_or(u32::MAX);
        let signature_limit = SIGNATURES.saturating_add(namesakes);
        Self {
            candidates: CANDIDATES,
            signatures: signature_limit,
            signature_limit,
            name_comparisons: NAME_COMPARISONS,
            policy_steps: POLICY_STEPS,
            crl_signatures: CRL_SIGNATURES,
            crl_lookups: CRL_LOOKUPS,
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
        spend(&mut self.signatures, self.signature_limit, "signatures")
    }

    /// After a search that verified so many signatures a key may be made ready: the longest honest path
    /// can afford it, and no search costs more by it than one that spends all its signatures.
    pub(super) fn may_prepare(verified: usize) -> bool {
        let both = verified.saturating_add(PREPARATION);
        u32::try_from(both).is_ok_and(|both| both <= SIGNATURES)
    }

    pub(super) fn verify_crl_signature(&mut self) -> Result<(), PathFault> {
        spend(&mut self.crl_signatures, CRL_SIGNATURES, "CRL signatures")
    }

    pub(super) fn examine_crl(&mut self) -> Result<(), PathFault> {
        spend(&mut self.crl_lookups, CRL_LOOKUPS, "looks at CRLs")
    }

    pub(super) fn compare_name(&mut self) -> Result<(), PathFault> {
        spend(
            &mut self.name_comparisons,
            NAME_COMPARISONS,
            "name constraint comparisons",
        )
    }

    pub(super) fn process_policies(&mut self, steps: usize) -> Result<(), PathFault> {
        spend_many(
            &mut self.policy_steps,
            u32::try_from(steps).unwrap_or(u32::MAX),
            POLICY_STEPS,
            "policies and policy mappings",
        )
    }
}

fn spend(left: &mut u32, limit: u32, unit: &'static str) -> Result<(), PathFault> {
    spend_many(left, 1, limit, unit)
}

/// What cannot be paid for in full leaves nothing for later.
fn spend_many(
    left: &mut u32,
    amount: u32,
    limit: u32,
    unit: &'static str,
) -> Result<(), PathFault> {
    let before = core::mem::take(left);
    *left = before
        .checked_sub(amount)
        .ok_or(PathFault::BudgetSpent { limit, unit })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_honest_path_can_afford_a_key() {
        let links = crate::path::MAX_DEPTH - 1;
        assert!(Budget::may_prepare(links));
        assert!(!Budget::may_prepare(links + 1));
    }
}
