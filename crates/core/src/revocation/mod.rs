//! Revocation by CRLs (RFC 5280 section 6.3): which CRLs there are, what they say of a certificate.
//!
//! Whose key a CRL must be signed with is path validation's business (`path/search/revocation.rs`).
//! A CRL can take trust away and never give any.

mod error;
mod scope;
mod status;

use std::collections::{BTreeMap, BTreeSet};

pub use error::CrlFault;
pub(crate) use status::{Signers, Status, Unusable, status};

use crate::x509::Crl;

/// What must be known of a path's certificates, the trust anchor apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevocationMode {
    /// CRLs are not looked at, as Google does not.
    #[default]
    Off,
    /// No usable CRL that covers a certificate lists it. None at all is enough.
    BestEffort,
    /// Usable CRLs cover each certificate for all reasons, and none lists it.
    Required,
}

/// The mode and the CRLs: inputs of RFC 5280 6.3.1. Immutable.
#[derive(Clone, Debug, Default)]
pub struct Revocation {
    mode: RevocationMode,
    crls: Vec<Crl>,
    by_issuer: BTreeMap<Box<[u8]>, Vec<usize>>,
}

impl Revocation {
    /// Indexes the CRLs by issuer, the newest first. One that is given twice counts once.
    #[must_use]
    pub fn new(mode: RevocationMode, mut crls: Vec<Crl>) -> Self {
        let mut known: BTreeSet<Box<[u8]>> = BTreeSet::new();
        crls.retain(|crl| known.insert(crl.der().into()));
        // Newest first: where two of one scope differ, the later word counts.
        crls.sort_by(|a, b| {
            (b.this_update(), b.number(), b.der()).cmp(&(a.this_update(), a.number(), a.der()))
        });
        let mut by_issuer: BTreeMap<Box<[u8]>, Vec<usize>> = BTreeMap::new();
        for (position, crl) in crls.iter().enumerate() {
            by_issuer
                .entry(crl.issuer().canonical().into())
                .or_default()
                .push(position);
        }
        Self {
            mode,
            crls,
            by_issuer,
        }
    }

    /// What must be known.
    #[must_use]
    pub fn mode(&self) -> RevocationMode {
        self.mode
    }

    /// The CRLs, the newest first.
    #[must_use]
    pub fn crls(&self) -> &[Crl] {
        &self.crls
    }

    /// The CRLs of the issuer with this name, in canonical form.
    fn issued_by(&self, issuer: &[u8]) -> impl Iterator<Item = &Crl> {
        self.by_issuer
            .get(issuer)
            .into_iter()
            .flatten()
            .filter_map(|&position| self.crls.get(position))
    }
}
