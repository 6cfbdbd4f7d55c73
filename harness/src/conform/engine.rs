//! The one place where a case of a suite meets the core: what a case asks for becomes a [`Policy`],
//! and [`judge`] gives the verdict. What the core cannot do yet is said here, so that a case that
//! needs it is skipped with a reason instead of passing by luck.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mtls_gate_core::path::{self, Algorithms, Policy, Profile};
use mtls_gate_core::revocation::{Revocation, RevocationMode};
use mtls_gate_core::trust::TrustStore;
use mtls_gate_core::x509::{Certificate, Crl, KeyPurpose, ParseError, UnixSeconds};

/// The core evaluates CRLs (RFC 5280 6.3).
pub const CRLS: bool = true;
/// The core takes the policy inputs of RFC 5280 6.1.1 c to f.
pub const POLICY_INPUTS: bool = true;
/// The core takes a limit on the path's length from the caller.
pub const DEPTH_INPUT: bool = true;

/// Which rules apply to a run.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// GOOGLE or RFC5280.
    pub profile: Profile,
    /// RFC5280 only: what the RFC asks of CAs, and of anchors, is demanded too.
    pub strict: bool,
    /// The signature backend.
    pub algorithms: Algorithms,
}

impl Rules {
    /// The name under which exceptions list them.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match (self.profile, self.strict) {
            (Profile::Google, _) => "google",
            (Profile::Rfc5280, false) => "rfc5280",
            (Profile::Rfc5280, true) => "rfc5280-strict",
        }
    }
}

/// RFC 5280 6.1.1 c to f.
#[derive(Clone, Debug, Default)]
pub struct PolicyInputs {
    /// Dotted identifiers; empty for any-policy.
    pub initial_policy_set: Vec<String>,
    /// `initial-explicit-policy`
    pub require_explicit_policy: bool,
    /// `initial-policy-mapping-inhibit`
    pub inhibit_policy_mapping: bool,
    /// `initial-any-policy-inhibit`
    pub inhibit_any_policy: bool,
}

impl PolicyInputs {
    /// They are those of any-policy.
    #[must_use]
    pub fn ask_for_nothing(&self) -> bool {
        self.initial_policy_set.is_empty()
            && !self.require_explicit_policy
            && !self.inhibit_policy_mapping
            && !self.inhibit_any_policy
    }
}

/// What a case gives to validation, as DER. Built once, borrowed by everything else.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The certificate in question.
    pub end_entity: Vec<u8>,
    /// Certificates that a path may use, in any order.
    pub candidates: Vec<Vec<u8>>,
    /// Trust anchors.
    pub anchors: Vec<Vec<u8>>,
    /// CRLs; empty: revocation is not evaluated.
    pub crls: Vec<Vec<u8>>,
    /// The validation time.
    pub time: UnixSeconds,
    /// The required purpose.
    pub purpose: Option<KeyPurpose>,
    /// Certificates between end entity and anchor at the most; `None` is the core's own limit.
    pub max_intermediates: Option<usize>,
    /// RFC 5280 6.1.1 c to f.
    pub policies: PolicyInputs,
}

/// What the core said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A path was found.
    Accepted,
    /// None was, and why.
    Refused(String),
    /// It did not come to a verdict, which is a fault whatever was expected.
    Panicked(String),
    /// It was not asked.
    NotJudged,
}

impl Verdict {
    /// One word for reports.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused(_) => "refused",
            Self::Panicked(_) => "panicked",
            Self::NotJudged => "not judged",
        }
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused(reason) | Self::Panicked(reason) => reason,
            Self::Accepted | Self::NotJudged => "",
        }
    }
}

impl<E: ToString> From<Result<(), E>> for Verdict {
    fn from(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::Accepted,
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}

/// The core's policy for a case.
#[must_use]
pub fn policy_of(inputs: &Inputs, rules: &Rules) -> Policy {
    let inputs_c_to_f = &inputs.policies;
    Policy {
        enforce_anchor_constraints: rules.strict,
        max_intermediates: inputs
            .max_intermediates
            .map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        certificate_policies: path::PolicyInputs {
            initial_policy_set: inputs_c_to_f
                .initial_policy_set
                .iter()
                .map(|dotted| oid(dotted))
                .collect(),
            require_explicit_policy: inputs_c_to_f.require_explicit_policy,
            inhibit_policy_mapping: inputs_c_to_f.inhibit_policy_mapping,
            inhibit_any_policy: inputs_c_to_f.inhibit_any_policy,
        },
        strict: rules.strict,
        ..Policy::new(rules.profile, inputs.purpose)
    }
}

/// A dotted identifier as the content octets of its DER.
fn oid(dotted: &str) -> Vec<u8> {
    let mut arcs = dotted.split('.').map(|arc| arc.parse::<u64>().unwrap_or(0));
    let first = arcs.next().unwrap_or(0).saturating_mul(40);
    let first = first.saturating_add(arcs.next().unwrap_or(0));
    let mut content = Vec::new();
    for arc in core::iter::once(first).chain(arcs) {
        let mut groups = vec![arc & 0x7f];
        let mut rest = arc >> 7;
        while rest > 0 {
            groups.push((rest & 0x7f) | 0x80);
            rest >>= 7;
        }
        content.extend(
            groups
                .iter()
                .rev()
                .filter_map(|group| u8::try_from(*group).ok()),
        );
    }
    content
}

/// What the case needs and the core does not do.
#[must_use]
pub fn not_done(inputs: &Inputs) -> Option<&'static str> {
    if !CRLS && !inputs.crls.is_empty() {
        Some("needs CRLs, which the core does not evaluate yet")
    } else if !POLICY_INPUTS && !inputs.policies.ask_for_nothing() {
        Some("needs the policy inputs of RFC 5280 6.1.1 c to f, which the core does not take yet")
    } else if !DEPTH_INPUT && inputs.max_intermediates.is_some_and(below_own_limit) {
        Some("needs a limit on the path's length, which the core does not take yet")
    } else {
        None
    }
}

/// Tighter than the core's limit, which counts end entity and anchor.
fn below_own_limit(max_intermediates: usize) -> bool {
    max_intermediates < path::MAX_DEPTH.saturating_sub(2)
}

/// The core's verdict on a case, and how long it took, parsing included.
#[must_use]
pub fn judge(inputs: &Inputs, rules: &Rules) -> (Verdict, Duration) {
    timed(|| build(inputs, rules).into())
}

/// Runs one question to the core; a panic is a verdict too.
pub fn timed(question: impl FnOnce() -> Verdict) -> (Verdict, Duration) {
    let start = Instant::now();
    let verdict = catch_unwind(AssertUnwindSafe(question)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Verdict::Panicked(message.unwrap_or("no message").to_owned())
    });
    (verdict, start.elapsed())
}

fn build(inputs: &Inputs, rules: &Rules) -> Result<(), String> {
    let policy = policy_of(inputs, rules);
    let parse = |der: &Vec<u8>| Certificate::parse(der.clone());
    let end_entity = parse(&inputs.end_entity).map_err(|error| format!("end entity: {error}"))?;
    policy
        .profile
        .check_key(end_entity.key())
        .map_err(|fault| format!("end entity: key is not allowed: {fault:?}"))?;
    let (anchors, anchor_fault) = readable(&inputs.anchors, parse);
    let (candidates, candidate_fault) = readable(&inputs.candidates, parse);
    let store = TrustStore::new(anchors, Vec::new()).with_revocation(revocation(inputs));
    path::build(
        &end_entity,
        &candidates,
        &store,
        &policy,
        rules.algorithms,
        inputs.time,
    )
    .map(|_| ())
    .map_err(|error| {
        let mut reason = error.to_string();
        for (what, fault) in [("anchor", anchor_fault), ("candidate", candidate_fault)] {
            if let Some(fault) = fault {
                reason.push_str(&format!(" (one {what} passed over: {fault})"));
            }
        }
        reason
    })
}

/// Where a case has CRLs, every certificate but the anchor must be covered by one. A list that cannot
/// be read covers nothing.
fn revocation(inputs: &Inputs) -> Revocation {
    let mode = if inputs.crls.is_empty() {
        RevocationMode::Off
    } else {
        RevocationMode::Required
    };
    let crls = inputs
        .crls
        .iter()
        .filter_map(|der| Crl::parse(der.clone()).ok())
        .collect();
    Revocation::new(mode, crls)
}

/// A certificate that cannot be read can be on no path; the others may still make one.
fn readable(
    ders: &[Vec<u8>],
    parse: impl Fn(&Vec<u8>) -> Result<Certificate, ParseError>,
) -> (Vec<Certificate>, Option<ParseError>) {
    let mut fault = None;
    let certificates = ders
        .iter()
        .filter_map(|der| parse(der).map_err(|error| fault = Some(error)).ok())
        .collect();
    (certificates, fault)
}
