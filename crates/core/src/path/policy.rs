//! Certificate policies: RFC 5280 6.1.2 to 6.1.5, on the graph of RFC 9618.
//!
//! RFC 5280 describes a tree whose size an attacker can make exponential; the graph has one node
//! for each policy at each depth and gives the same answer.

use std::collections::BTreeMap;

use super::budget::Budget;
use super::error::{PathError, PathFault};
use crate::x509::{ANY_POLICY, Certificate, Span};

/// The inputs of RFC 5280 6.1.1 c to f.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyInputs {
    /// `user-initial-policy-set`: object identifiers, content octets. Empty means any-policy.
    pub initial_policy_set: Vec<Vec<u8>>,
    /// `initial-explicit-policy`
    pub require_explicit_policy: bool,
    /// `initial-policy-mapping-inhibit`
    pub inhibit_policy_mapping: bool,
    /// `initial-any-policy-inhibit`
    pub inhibit_any_policy: bool,
}

type Oid<'a> = &'a [u8];

/// The policies that are valid at one depth.
struct Level<'a> {
    nodes: BTreeMap<Oid<'a>, Node<'a>>,
    /// The node anyPolicy.
    any: bool,
}

#[derive(Default)]
struct Node<'a> {
    /// The policies of the level above that this one comes from; none: it comes from anyPolicy.
    parents: Vec<Oid<'a>>,
    /// The certificate of this level maps it to others.
    mapped: bool,
}

/// Processes the policies of a whole path: end entity first, anchor last.
pub(super) fn check(
    path: &[&Certificate],
    inputs: &PolicyInputs,
    budget: &mut Budget,
) -> Result<(), PathError> {
    let Some((_anchor, certificates)) = path.split_last() else {
        return Ok(());
    };
    // 6.1.2 d to f
    let n = u32::try_from(certificates.len()).unwrap_or(u32::MAX);
    let initially = |inhibited: bool| if inhibited { 0 } else { n.saturating_add(1) };
    let mut explicit_policy = initially(inputs.require_explicit_policy);
    let mut inhibit_any_policy = initially(inputs.inhibit_any_policy);
    let mut policy_mapping = initially(inputs.inhibit_policy_mapping);
    // 6.1.2 a
    let mut level = Level {
        nodes: BTreeMap::new(),
        any: true,
    };
    let mut levels: Vec<Level<'_>> = Vec::with_capacity(certificates.len());

    for (position, certificate) in certificates.iter().enumerate().rev() {
        let fails = |fault| PathError { position, fault };
        let extensions = certificate.extensions();
        let last = position == 0;
        let self_issued = certificate.is_self_issued();
        budget
            .process_policies(level.steps(certificate))
            .map_err(fails)?;
        // 6.1.3 d, e
        let any_counts = inhibit_any_policy > 0 || (!last && self_issued);
        level.restrict(certificate, any_counts);
        // 6.1.3 f
        if explicit_policy == 0 && level.is_empty() {
            return Err(fails(PathFault::NoValidPolicy));
        }
        if last {
            // 6.1.5 a, b
            explicit_policy = explicit_policy.saturating_sub(1);
            let constraints = extensions.policy_constraints;
            if constraints.and_then(|constraints| constraints.require_explicit) == Some(0) {
                explicit_policy = 0;
            }
            levels.push(level);
            break;
        }
        // 6.1.4 a, b
        let next = level
            .mapped_by(certificate, policy_mapping > 0)
            .map_err(fails)?;
        levels.push(level);
        level = next;
        // 6.1.4 h
        if !self_issued {
            explicit_policy = explicit_policy.saturating_sub(1);
            policy_mapping = policy_mapping.saturating_sub(1);
            inhibit_any_policy = inhibit_any_policy.saturating_sub(1);
        }
        // 6.1.4 i, j
        if let Some(constraints) = extensions.policy_constraints {
            explicit_policy = explicit_policy.min(constraints.require_explicit.unwrap_or(u32::MAX));
            policy_mapping = policy_mapping.min(constraints.inhibit_mapping.unwrap_or(u32::MAX));
        }
        inhibit_any_policy =
            inhibit_any_policy.min(extensions.inhibit_any_policy.unwrap_or(u32::MAX));
    }

    // 6.1.5 g
    if explicit_policy == 0 && !satisfies(&mut levels, &inputs.initial_policy_set) {
        return Err(PathError {
            position: 0,
            fault: PathFault::NoValidPolicy,
        });
    }
    Ok(())
}

impl<'a> Level<'a> {
    fn is_empty(&self) -> bool {
        self.nodes.is_empty() && !self.any
    }

    /// What it takes to go through this level with the certificate's policies and mappings.
    fn steps(&self, certificate: &Certificate) -> usize {
        let extensions = certificate.extensions();
        let asserted = extensions.certificate_policies.as_ref().map_or(0, Vec::len);
        self.nodes
            .len()
            .saturating_add(asserted)
            .saturating_add(extensions.policy_mappings.len())
    }

    /// 6.1.3 d, e: leaves what the certificate asserts.
    fn restrict(&mut self, certificate: &'a Certificate, any_counts: bool) {
        let Some(policies) = &certificate.extensions().certificate_policies else {
            self.nodes.clear();
            self.any = false;
            return;
        };
        let oid = |span: &Span| certificate.bytes(*span);
        let asserted = sorted(policies.iter().map(oid).collect());
        let asserts = |policy: Oid<'_>| asserted.binary_search(&policy).is_ok();
        let any_before = self.any;
        if !asserts(ANY_POLICY) || !any_counts {
            self.nodes.retain(|policy, _| asserts(policy));
            self.any = false;
        }
        if any_before {
            // d 1 ii: what anyPolicy above allows.
            for policy in asserted {
                if policy != ANY_POLICY {
                    self.nodes.entry(policy).or_default();
                }
            }
        }
    }

    /// 6.1.4 a, b: the level that the next certificate starts from.
    fn mapped_by(
        &mut self,
        certificate: &'a Certificate,
        mapping_allowed: bool,
    ) -> Result<Self, PathFault> {
        let mut next = Level {
            nodes: BTreeMap::new(),
            any: self.any,
        };
        let mappings = &certificate.extensions().policy_mappings;
        for mapping in mappings {
            let from = certificate.bytes(mapping.issuer_domain);
            let to = certificate.bytes(mapping.subject_domain);
            // a
            if from == ANY_POLICY || to == ANY_POLICY {
                return Err(PathFault::AnyPolicyMapped);
            }
            if !mapping_allowed {
                // b 2
                self.nodes.remove(from);
                continue;
            }
            // b 1: what anyPolicy covers can be mapped too.
            if self.any {
                self.nodes.entry(from).or_default();
            }
            if let Some(node) = self.nodes.get_mut(from) {
                node.mapped = true;
                next.nodes.entry(to).or_default().parents.push(from);
            }
        }
        for (policy, node) in &self.nodes {
            if !node.mapped {
                next.nodes.entry(policy).or_default().parents.push(policy);
            }
        }
        Ok(next)
    }
}

fn sorted(mut policies: Vec<Oid<'_>>) -> Vec<Oid<'_>> {
    policies.sort_unstable();
    policies.dedup();
    policies
}

/// 6.1.5 g: some policy of the last level comes from one that the user asked for.
fn satisfies(levels: &mut [Level<'_>], wanted: &[Vec<u8>]) -> bool {
    let Some((last, above)) = levels.split_last() else {
        return false;
    };
    if last.is_empty() {
        return false;
    }
    let wants_any = wanted.is_empty() || wanted.iter().any(|policy| policy == ANY_POLICY);
    if wants_any || last.any {
        return true;
    }
    let is_wanted = |policy: Oid<'_>| wanted.iter().any(|wanted| wanted == policy);
    // The keys of a map are sorted.
    let mut reachable: Vec<Oid<'_>> = last.nodes.keys().copied().collect();
    for level in core::iter::once(last).chain(above.iter().rev()) {
        let mut parents = Vec::new();
        for (policy, node) in &level.nodes {
            if reachable.binary_search(policy).is_err() {
                continue;
            }
            // The authority that first named the policy named one that is wanted.
            if node.parents.is_empty() && is_wanted(policy) {
                return true;
            }
            parents.extend(node.parents.iter().copied());
        }
        reachable = sorted(parents);
    }
    false
}
