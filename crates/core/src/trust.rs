//! What a trust config trusts: a trust store, or one for each SPIFFE trust domain, and an allowlist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::revocation::Revocation;
use crate::spiffe::{self, SvidFault};
use crate::x509::{Certificate, Name};

/// A whole trust config. Immutable once built.
#[derive(Clone, Debug)]
pub struct Trust {
    stores: Stores,
    allowlist: BTreeSet<Box<[u8]>>,
}

#[derive(Clone, Debug)]
enum Stores {
    One(TrustStore),
    /// By the trust domain's name.
    Spiffe(BTreeMap<Box<str>, TrustStore>),
}

impl From<TrustStore> for Trust {
    fn from(store: TrustStore) -> Self {
        Self {
            stores: Stores::One(store),
            allowlist: BTreeSet::new(),
        }
    }
}

impl Trust {
    /// Trusts X.509-SVIDs only, each by the store of its own trust domain.
    #[must_use]
    pub fn spiffe(stores: BTreeMap<Box<str>, TrustStore>) -> Self {
        Self {
            stores: Stores::Spiffe(stores),
            allowlist: BTreeSet::new(),
        }
    }

    /// The same, with certificates that are accepted as they are.
    #[must_use]
    pub fn with_allowlist(mut self, certificates: &[Certificate]) -> Self {
        for certificate in certificates {
            self.allowlist.insert(certificate.der().into());
        }
        self
    }

    /// The same, with CRLs to look at.
    #[must_use]
    pub fn with_revocation(mut self, revocation: Revocation) -> Self {
        let revocation = Arc::new(revocation);
        for store in self.stores_mut() {
            store.revocation = Arc::clone(&revocation);
        }
        self
    }

    /// The whole certificate is on the allowlist.
    #[must_use]
    pub fn is_allowlisted(&self, der: &[u8]) -> bool {
        self.allowlist.contains(der)
    }

    /// The store that this end entity is validated against, and no other. Nothing is proven by
    /// being given one.
    ///
    /// # Errors
    /// With SPIFFE trust stores: it is no X.509-SVID, or of a trust domain that is not trusted.
    pub fn store_for(&self, end_entity: &Certificate) -> Result<&TrustStore, SvidFault> {
        match &self.stores {
            Stores::One(store) => Ok(store),
            Stores::Spiffe(stores) => {
                let id = spiffe::svid_id(end_entity)?;
                stores
                    .get(id.trust_domain().as_str())
                    .ok_or(SvidFault::UnknownTrustDomain)
            }
        }
    }

    /// Every store.
    pub fn stores(&self) -> impl Iterator<Item = &TrustStore> {
        let (one, many) = match &self.stores {
            Stores::One(store) => (Some(store), None),
            Stores::Spiffe(stores) => (None, Some(stores.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// A CA of the one, anchor or intermediate, has the key of a CA of the other.
    pub(crate) fn shares_ca(&self, other: &Self) -> bool {
        let mut keys: Vec<&[u8]> = self.cas().map(Certificate::spki).collect();
        keys.sort_unstable();
        other.cas().any(|ca| keys.binary_search(&ca.spki()).is_ok())
    }

    fn cas(&self) -> impl Iterator<Item = &Certificate> {
        self.stores()
            .flat_map(|store| store.anchors.iter().chain(&store.intermediates))
    }

    fn stores_mut(&mut self) -> impl Iterator<Item = &mut TrustStore> {
        let (one, many) = match &mut self.stores {
            Stores::One(store) => (Some(store), None),
            Stores::Spiffe(stores) => (None, Some(stores.values_mut())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// Trust anchors and configured intermediates. Immutable once built.
#[derive(Clone, Debug, Default)]
pub struct TrustStore {
    anchors: Vec<Certificate>,
    intermediates: Vec<Certificate>,
    anchors_by_subject: BTreeMap<Box<[u8]>, Vec<usize>>,
    intermediates_by_subject: BTreeMap<Box<[u8]>, Vec<usize>>,
    configured: BTreeSet<Box<[u8]>>,
    namesakes: usize,
    revocation: Arc<Revocation>,
}

impl TrustStore {
    /// Indexes the certificates by subject. One that is named twice counts once, and as an anchor
    /// if it is one.
    #[must_use]
    pub fn new(mut anchors: Vec<Certificate>, mut intermediates: Vec<Certificate>) -> Self {
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
            anchors,
            intermediates,
            revocation: Arc::default(),
        }
    }

    /// The same, with CRLs to look at.
    #[must_use]
    pub fn with_revocation(mut self, revocation: Revocation) -> Self {
        self.revocation = Arc::new(revocation);
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
