//! RFC 5280 6.3.3 f to h: whose keys may sign the CRLs that speak about a path, and what follows
//! from them for the path.

use super::{Search, Work};
use crate::path::error::{PathError, PathFault};
use crate::path::name_constraints;
use crate::path::observe::Observer;
use crate::path::signatures::Signed;
use crate::path::validate::{self, IssuerRole};
use crate::path::{MAX_DEPTH, Policy, Profile};
use crate::revocation::{self, CrlFault, RevocationMode, Signers, Status, Unusable};
use crate::x509::{Certificate, Crl, Name};

/// RFC 5280 4.2.1.13, dotted.
const CRL_DISTRIBUTION_POINTS: &str = "2.5.29.31";

/// Certificates whose status is looked for at once: one of the path, one of a CRL's signer, one of
/// the signer of the CRL that covers that signer, and so on. Ours; no CA needs more than two.
const MAX_NESTING: usize = 4;

impl<'a, O: Observer> Search<'a, '_, O> {
    /// The certificates of a path whose signatures are verified, from the anchor down.
    pub(super) fn check_revocation(&mut self, path: &[&'a Certificate]) -> Result<(), PathError> {
        let mode = self.store.revocation().mode();
        self.refuse_critical_distribution_points(path)?;
        if mode == RevocationMode::Off {
            return Ok(());
        }
        let Some((&anchor, below)) = path.split_last() else {
            return Ok(());
        };
        for (position, &certificate) in below.iter().enumerate().rev() {
            let status = Vouching {
                path,
                anchor,
                proven_from: position.saturating_add(1),
                asked: vec![certificate],
                search: self,
            }
            .status(certificate);
            let fault = match status {
                Ok(Status::Good) => continue,
                Ok(Status::Unknown(_)) if mode == RevocationMode::BestEffort => continue,
                Ok(Status::Unknown(why)) => PathFault::RevocationUnknown { why },
                Ok(Status::Revoked(reason)) => PathFault::Revoked { reason },
                Err(stop) => stop,
            };
            return Err(PathError { position, fault });
        }
        Ok(())
    }

    /// 6.1.4 o and 6.1.5 f: where no CRL is looked at, nothing processes the extension, and nobody
    /// can process one that is malformed.
    fn refuse_critical_distribution_points(&self, path: &[&Certificate]) -> Result<(), PathError> {
        let off = self.store.revocation().mode() == RevocationMode::Off;
        let whole_anchor_counts =
            self.policy.profile == Profile::Google || self.policy.enforce_anchor_constraints;
        let counted = path.len().saturating_sub(usize::from(!whole_anchor_counts));
        let critical = |certificate: &&Certificate| {
            let extension = &certificate.extensions().crl_distribution_points;
            extension
                .as_ref()
                .is_some_and(|points| points.critical && (off || points.points.is_none()))
        };
        match path.iter().take(counted).position(critical) {
            Some(position) => Err(PathError {
                position,
                fault: PathFault::UnprocessedCriticalExtension {
                    oid: CRL_DISTRIBUTION_POINTS.to_owned(),
                },
            }),
            None => Ok(()),
        }
    }
}

/// Finds and proves the signers of CRLs for one path.
struct Vouching<'s, 'a, 'p, O> {
    search: &'s mut Search<'a, 'p, O>,
    /// The path in question, anchor last; its signatures are verified.
    path: &'s [&'a Certificate],
    anchor: &'a Certificate,
    /// From this position on, the path's certificates are not revoked.
    proven_from: usize,
    /// Certificates whose status is being looked for, the innermost last.
    asked: Vec<&'a Certificate>,
}

impl<'a, O: Observer> Vouching<'_, 'a, '_, O> {
    fn status(&mut self, certificate: &Certificate) -> Result<Status, PathFault> {
        let (store, time) = (self.search.store, self.search.time);
        revocation::status(certificate, store.revocation(), time, self)
    }

    fn is_proven(&self, certificate: &Certificate) -> bool {
        self.path
            .iter()
            .skip(self.proven_from)
            .any(|proven| *proven == certificate)
    }

    /// Every certificate with this subject: the path's own, then configured, then presented ones.
    fn named(&self, subject: &Name) -> Vec<&'a Certificate> {
        let store = self.search.store;
        let everywhere = self
            .path
            .iter()
            .rev()
            .copied()
            .chain(store.intermediates_named(subject))
            .chain(self.search.presented.iter().copied())
            .chain(store.anchors_named(subject));
        let mut named: Vec<&'a Certificate> = Vec::new();
        for certificate in everywhere {
            if certificate.subject().matches(subject) && !named.contains(&certificate) {
                named.push(certificate);
            }
        }
        named
    }

    /// 6.3.3 f: a valid path leads from this signer to the same anchor.
    fn prove_signer(&mut self, signer: &'a Certificate) -> Result<(), Unusable> {
        if self.is_proven(signer) {
            return Ok(());
        }
        let policy = self.signer_policy();
        validate::end_entity(signer, &policy, self.search.time)
            .map_err(|_| Unusable::Fault(CrlFault::NoSigner))?;
        let mut chain = vec![signer];
        let mut fault = CrlFault::NoSigner;
        if self.climb(&mut chain, &mut fault)? {
            Ok(())
        } else {
            Err(Unusable::Fault(fault))
        }
    }

    /// A signer of CRLs may be a CA, whatever the profile says of end entities.
    fn signer_policy(&self) -> Policy {
        Policy {
            enforce_anchor_constraints: self.search.policy.enforce_anchor_constraints,
            ..Policy::new(Profile::Rfc5280, None)
        }
    }

    /// Leads `chain` on to the anchor; `true`: it is whole, proven and not revoked.
    fn climb(
        &mut self,
        chain: &mut Vec<&'a Certificate>,
        fault: &mut CrlFault,
    ) -> Result<bool, Unusable> {
        let Some(&subject) = chain.last() else {
            return Ok(false);
        };
        if chain.len() >= MAX_DEPTH {
            return Ok(false);
        }
        for issuer in self.named(subject.issuer()) {
            self.search.budget.examine_crl().map_err(Unusable::Stop)?;
            let role = if issuer == self.anchor {
                IssuerRole::Anchor
            } else {
                IssuerRole::Intermediate
            };
            let search = &self.search;
            let fits = !chain.contains(&issuer)
                && validate::issuer(issuer, role, chain, search.policy, search.time).is_ok();
            if !fits {
                continue;
            }
            chain.push(issuer);
            let whole = match role {
                IssuerRole::Anchor => self.prove_chain(chain, fault)?,
                IssuerRole::Intermediate => self.climb(chain, fault)?,
            };
            if whole {
                return Ok(true);
            }
            chain.pop();
        }
        Ok(false)
    }

    /// What can be said of a signer's chain that has reached the anchor.
    fn prove_chain(
        &mut self,
        chain: &[&'a Certificate],
        fault: &mut CrlFault,
    ) -> Result<bool, Unusable> {
        // Certificate policies say for what a path's end entity may be used; a signer of CRLs is
        // used for nothing else.
        match name_constraints::check(chain, &mut self.search.budget) {
            Ok(()) => {}
            Err(error) if matches!(error.fault, PathFault::BudgetSpent { .. }) => {
                return Err(Unusable::Stop(error.fault));
            }
            Err(_) => return Ok(false),
        }
        for pair in chain.windows(2).rev() {
            let [subject, issuer] = pair else { continue };
            match self.search.verify_link(issuer, subject, Work::Crl) {
                Ok(()) => {}
                Err(stop @ PathFault::BudgetSpent { .. }) => return Err(Unusable::Stop(stop)),
                Err(_) => return Ok(false),
            }
        }
        for (position, &certificate) in chain.iter().enumerate().rev().skip(1) {
            let is_signer = position == 0;
            if !self.is_good(certificate, is_signer)? {
                *fault = CrlFault::SignerNotGood;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A CRL's signer must not be revoked itself.
    fn is_good(&mut self, certificate: &'a Certificate, is_signer: bool) -> Result<bool, Unusable> {
        if self.is_proven(certificate) {
            return Ok(true);
        }
        if self.asked.contains(&certificate) {
            // A signer may be covered by a CRL that its own key signs: the question answers itself
            // unless that CRL lists it. The path's own certificate, and a CA above a signer, may
            // not vouch for themselves.
            return Ok(is_signer && self.asked.first() != Some(&certificate));
        }
        if self.asked.len() >= MAX_NESTING {
            return Ok(false);
        }
        self.asked.push(certificate);
        let status = self.status(certificate);
        self.asked.pop();
        match status.map_err(Unusable::Stop)? {
            Status::Good => Ok(true),
            Status::Revoked(_) => Ok(false),
            Status::Unknown(_) => {
                Ok(self.search.store.revocation().mode() == RevocationMode::BestEffort)
            }
        }
    }
}

impl<'a, O: Observer> Signers for Vouching<'_, 'a, '_, O> {
    type Signer = &'a Certificate;

    fn examine_crl(&mut self) -> Result<(), PathFault> {
        self.search.budget.examine_crl()
    }

    fn signer(&mut self, crl: &Crl) -> Result<Self::Signer, Unusable> {
        let mut candidates = self.named(crl.issuer());
        // What is proven costs nothing; after that the key identifier tells the likeliest.
        candidates.sort_by_key(|candidate| {
            let fits = match (
                crl.authority_key_id(),
                candidate.extensions().subject_key_id,
            ) {
                (Some(authority), Some(own)) => authority == candidate.bytes(own),
                _ => false,
            };
            (!self.is_proven(candidate), !fits)
        });
        let mut best: Option<CrlFault> = None;
        for candidate in candidates {
            self.examine_crl().map_err(Unusable::Stop)?;
            let fault = match self.vouch(candidate, crl) {
                Ok(()) => return Ok(candidate),
                Err(Unusable::Fault(fault)) => fault,
                Err(stop) => return Err(stop),
            };
            if best.as_ref().is_none_or(|best| fault.rank() > best.rank()) {
                best = Some(fault);
            }
        }
        Err(Unusable::Fault(best.unwrap_or(CrlFault::NoSigner)))
    }

    fn verifies(&mut self, signer: Self::Signer, crl: &Crl) -> Result<(), Unusable> {
        self.search.verify_crl(signer, crl)
    }
}

impl<'a, O: Observer> Vouching<'_, 'a, '_, O> {
    fn vouch(&mut self, candidate: &'a Certificate, crl: &Crl) -> Result<(), Unusable> {
        // 6.3.3 f, of an anchor too: what a CA does not claim for its key is not assumed.
        if candidate
            .extensions()
            .key_usage
            .is_some_and(|usage| !usage.crl_sign())
        {
            return Err(Unusable::Fault(CrlFault::CrlSignMissing));
        }
        let profile = self.search.policy.profile;
        if profile.check_key(candidate.key()).is_err() {
            return Err(Unusable::Fault(CrlFault::NoSigner));
        }
        // The path before the signature: a presented certificate that leads nowhere must not cost
        // the digest of a long list.
        self.prove_signer(candidate)?;
        self.search.verify_crl(candidate, crl)
    }
}

impl<'a, O: Observer> Search<'a, '_, O> {
    /// 6.3.3 g, each CRL and key at most once.
    fn verify_crl(&mut self, signer: &'a Certificate, crl: &Crl) -> Result<(), Unusable> {
        let key: (*const Certificate, *const Crl) = (signer, crl);
        let known = self
            .crl_signatures
            .iter()
            .find(|(from, on, _)| (*from, *on) == key);
        let verdict = match known {
            Some((.., verdict)) => verdict.clone(),
            None => {
                let signed = Signed {
                    key_algorithm: signer.key_algorithm(),
                    key_bits: signer.key_bits(),
                    algorithm: crl.signature_algorithm(),
                    message: crl.tbs(),
                    signature: crl.signature(),
                };
                // A list may have megabytes: too many to be kept, and compared, once more.
                let verdict = self.verify_signed(&signed, false, Work::Crl);
                self.crl_signatures.push((key.0, key.1, verdict.clone()));
                verdict
            }
        };
        verdict.map_err(|fault| match fault {
            PathFault::UnsupportedSignatureAlgorithm { oid } => {
                Unusable::Fault(CrlFault::UnsupportedSignatureAlgorithm { oid })
            }
            PathFault::BudgetSpent { .. } => Unusable::Stop(fault),
            _ => Unusable::Fault(CrlFault::InvalidSignature),
        })
    }
}
