//! The trust store: anchors, configured intermediates, allowlist.

use std::collections::{BTreeMap, BTreeSet};

use crate::revocation::Revocation;
use crate::x509::{Certificate, Name};

/// What a configuration trusts. Immutable once built.
#[derive(Clone, Debug, Default)]
pub struct TrustStore {
    anchors: Vec<Certificate>,
    intermediates: Vec<Certificate>,
    anchors_by_subject: BTreeMap<Box<[u8]>, Vec<usize>>,
    intermediates_by_subject: BTreeMap<Box<[u8]>, Vec<usize>>,
    configured: BTreeSet<Box<[u8]>>,
    allowlist: BTreeSet<Box<[u8]>>,
    namesakes: usize,
    revocation: Revocation,
}

impl TrustStore {
    /// Indexes the certificates by subject. One that is named twice counts once, and as an anchor
    /// if it is one.
    #[must_use]
    pub fn new(
        mut anchors: Vec<Certificate>,
        mut intermediates: Vec<Certificate>,
        allowlist: &[Certificate],
    ) -> Self {
        let mut configured: BTreeSet<Box<[u8]>> = BTreeSet::new();
        let mut first = |certificate: &Certificate| configured.insert(certificate.der().into());
        anchors.retain(&mut first);
        intermediates.retain(&mut first);
        let anchors_by_subject = by_subject(&anchors);
        let intermediates_by_subject = by_subject(&intermediates);
        let namesakes = anchors_by_subject
            .values()
            .chain(intermediates_by_subject.values())
            .map(|same| same.len().saturating_sub(1))
            .max()
            .unwrap_or(0);
        Self {
            anchors_by_subject,
            intermediates_by_subject,
            namesakes,
            configured,
            allowlist: allowlist
                .iter()
                .map(|certificate| certificate.der().into())
                .collect(),
            anchors,
            intermediates,
            revocation: Revocation::default(),
        }
    }

    /// The same, with CRLs to look at.
    #[must_use]
    pub fn with_revocation(mut self, revocation: Revocation) -> Self {
        self.revocation = revocation;
        self
    }

    /// Which certificates are known to be revoked, and how much must be known.
    #[must_use]
    pub fn revocation(&self) -> &Revocation {
        &self.revocation
    }

    /// The trust anchors, in configured order.
    #[must_use]
    pub fn anchors(&self) -> &[Certificate] {
        &self.anchors
    }

    /// The configured intermediates, in configured order.
    #[must_use]
    pub fn intermediates(&self) -> &[Certificate] {
        &self.intermediates
    }

    /// The whole certificate is on the allowlist.
    #[must_use]
    pub fn is_allowlisted(&self, der: &[u8]) -> bool {
        self.allowlist.contains(der)
    }

    /// How many configured certificates beside the first share one name, at the most.
    pub(crate) fn namesakes(&self) -> usize {
        self.namesakes
    }

    /// The certificate is a configured anchor or intermediate.
    pub(crate) fn contains(&self, certificate: &Certificate) -> bool {
        self.configured.contains(certificate.der())
    }

    pub(crate) fn anchors_named(&self, subject: &Name) -> impl Iterator<Item = &Certificate> {
        named(&self.anchors, &self.anchors_by_subject, subject)
    }

    pub(crate) fn intermediates_named(&self, subject: &Name) -> impl Iterator<Item = &Certificate> {
        named(&self.intermediates, &self.intermediates_by_subject, subject)
    }
}

fn by_subject(certificates: &[Certificate]) -> BTreeMap<Box<[u8]>, Vec<usize>> {
    let mut index: BTreeMap<Box<[u8]>, Vec<usize>> = BTreeMap::new();
    for (position, certificate) in certificates.iter().enumerate() {
        index
            .entry(certificate.subject().canonical().into())
            .or_default()
            .push(position);
    }
    index
}

fn named<'a>(
    certificates: &'a [Certificate],
    index: &'a BTreeMap<Box<[u8]>, Vec<usize>>,
    subject: &Name,
) -> impl Iterator<Item = &'a Certificate> + use<'a> {
    index
        .get(subject.canonical())
        .into_iter()
        .flatten()
        .filter_map(|&position| certificates.get(position))
}
