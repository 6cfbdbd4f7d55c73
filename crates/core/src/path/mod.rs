//! From an end entity to a trust anchor: `search` asks who could have issued this, `validate` what
//! RFC 5280 section 6.1 and the profile say about it.

mod budget;
mod error;
mod name_constraints;
mod observe;
mod policy;
mod profile;
mod search;
mod signatures;
mod strict;
pub mod trace;
mod validate;

pub use error::{PathError, PathFault};
pub use observe::{Event, Observer, Origin};
pub use policy::PolicyInputs;
pub use profile::{KeyFault, Profile};
pub(crate) use signatures::Memory;
pub use signatures::{Algorithms, Backend, Prepare, PreparedKey, Signatures};

use crate::trust::TrustStore;
use crate::x509::{Certificate, KeyPurpose, UnixSeconds};

/// Certificates on a path at the most, end entity and anchor counted.
/// Google, "Quotas and limits": chain depth 10.
pub const MAX_DEPTH: usize = 10;

/// What a path must satisfy (RFC 5280 6.1.1).
#[derive(Clone, Debug)]
pub struct Policy {
    /// GOOGLE or RFC5280.
    pub profile: Profile,
    /// The purpose the end entity's key is used for; `None` asks for none (RFC5280 only).
    pub purpose: Option<KeyPurpose>,
    /// RFC5280 only: dates, basicConstraints and keyUsage of trust anchors count too.
    pub enforce_anchor_constraints: bool,
    /// 6.1.2 k: intermediates at the most, self-issued ones not counted; `None`: [`MAX_DEPTH`] alone.
    pub max_intermediates: Option<u32>,
    /// 6.1.1 c to f
    pub certificate_policies: PolicyInputs,
    /// Refuses certificates that break rules of RFC 5280 for those who make them, anchors too.
    pub strict: bool,
}

impl Policy {
    /// What the profile asks for when nothing else is said.
    #[must_use]
    pub fn new(profile: Profile, purpose: Option<KeyPurpose>) -> Self {
        Self {
            profile,
            purpose,
            enforce_anchor_constraints: false,
            max_intermediates: None,
            certificate_policies: PolicyInputs::default(),
            strict: false,
        }
    }
}

/// A path that was built and validated. Only [`build`] makes one.
#[derive(Clone, Debug)]
pub struct ValidatedPath<'a> {
    certificates: Vec<&'a Certificate>,
}

impl<'a> ValidatedPath<'a> {
    /// The whole path: end entity first, trust anchor last.
    #[must_use]
    pub fn certificates(&self) -> &[&'a Certificate] {
        &self.certificates
    }

    /// The path without end entity and trust anchor, the end entity's issuer first.
    #[must_use]
    pub fn intermediates(&self) -> &[&'a Certificate] {
        match self.certificates.as_slice() {
            [_, middle @ .., _] => middle,
            _ => &[],
        }
    }
}

/// Builds and validates a path from `end_entity` over `presented` and configured intermediates to a
/// trust anchor of `store`.
///
/// # Errors
/// No acceptable path was found, or the search's budget ran out. Of several paths that failed, the
/// most useful reason is given. A path that fails by key purpose alone is reported so.
pub fn build<'a, 'm>(
    end_entity: &'a Certificate,
    presented: &'a [Certificate],
    store: &'a TrustStore,
    policy: &Policy,
    signatures: impl Into<Signatures<'m>>,
    validation_time: UnixSeconds,
) -> Result<ValidatedPath<'a>, PathError> {
    build_observed(
        end_entity,
        presented,
        store,
        policy,
        signatures,
        validation_time,
        &mut (),
    )
}

/// The same, watched.
///
/// # Errors
/// As [`build`].
pub fn build_observed<'a, 'm>(
    end_entity: &'a Certificate,
    presented: &'a [Certificate],
    store: &'a TrustStore,
    policy: &Policy,
    signatures: impl Into<Signatures<'m>>,
    validation_time: UnixSeconds,
    observer: &mut impl Observer,
) -> Result<ValidatedPath<'a>, PathError> {
    search::Search::new(
        end_entity,
        presented,
        store,
        policy,
        signatures.into(),
        validation_time,
        observer,
    )
    .run()
}
