//! Who could have issued this certificate? A depth-first search from the end entity to an anchor.
//!
//! Names, dates, constraints and key purposes cut branches as they are met; signatures are verified
//! only on paths that have reached an anchor, from the anchor down, and each link at most once.

mod revocation;

use super::budget::Budget;
use super::error::{PathError, PathFault};
use super::observe::{Event, Observer, Origin};
use super::signatures::{Proof, Signatures, Signed};
use super::validate::{self, IssuerRole};
use super::{MAX_DEPTH, Policy, Profile, ValidatedPath};
use crate::trust::TrustStore;
use crate::x509::{Certificate, Crl, UnixSeconds, dotted_algorithm};

/// One search; everything it needs and what it has learnt.
pub(super) struct Search<'a, 'p, O> {
    end_entity: &'a Certificate,
    presented: Vec<&'a Certificate>,
    store: &'a TrustStore,
    policy: &'p Policy,
    signatures: Signatures<'p>,
    time: UnixSeconds,
    budget: Budget,
    /// Links already tried: issuer, subject, verdict. Certificates are told apart by address.
    links: Vec<(
        *const Certificate,
        *const Certificate,
        Result<(), PathFault>,
    )>,
    /// CRLs already tried: signer, CRL, verdict.
    crl_signatures: Vec<(*const Certificate, *const Crl, Result<(), PathFault>)>,
    /// The most useful reason so far.
    best: Option<PathError>,
    /// The first certificate that failed by its purpose while purposes were enforced.
    purpose: Option<PathError>,
    /// A branch was cut because it became too long.
    too_deep: Option<PathError>,
    enforce_purpose: bool,
    /// The keys that signatures were verified with, by address, once for each signature.
    verified: Vec<*const [u8]>,
    observer: &'p mut O,
}

/// What a signature is verified for: each has a budget of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Path,
    Crl,
}

/// A branch ended without a path.
enum Branch {
    /// Try the next one.
    Dead,
    /// Nothing more may be tried.
    Stop(PathError),
}

/// How well a potential issuer's key identifier fits; smaller is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum KeyIdFit {
    Match,
    Unknown,
    Mismatch,
}

/// A certificate whose subject is the name that is looked for.
#[derive(Clone, Copy)]
struct PotentialIssuer<'a> {
    certificate: &'a Certificate,
    role: IssuerRole,
    fit: KeyIdFit,
    origin: Origin,
}

impl<'a, 'p, O: Observer> Search<'a, 'p, O> {
    pub(super) fn new(
        end_entity: &'a Certificate,
        presented: &'a [Certificate],
        store: &'a TrustStore,
        policy: &'p Policy,
        signatures: Signatures<'p>,
        time: UnixSeconds,
        observer: &'p mut O,
    ) -> Self {
        let mut distinct: Vec<&Certificate> = Vec::with_capacity(presented.len());
        for certificate in presented {
            let known = certificate == end_entity
                || distinct.contains(&certificate)
                || store.contains(certificate);
            if !known {
                distinct.push(certificate);
            }
        }
        Self {
            end_entity,
            presented: distinct,
            store,
            policy,
            signatures,
            time,
            budget: Budget::new(store.namesakes()),
            links: Vec::new(),
            crl_signatures: Vec::new(),
            best: None,
            purpose: None,
            too_deep: None,
            enforce_purpose: true,
            verified: Vec::new(),
            observer,
        }
    }

    pub(super) fn run(mut self) -> Result<ValidatedPath<'a>, PathError> {
        let error = match self.search_once() {
            Ok(path) => {
                self.remember_keys(&path);
                return Ok(path);
            }
            Err(error) => error,
        };
        let Some(purpose) = self.purpose.take() else {
            return Err(error);
        };
        // A purpose was wrong somewhere. Was that all? The path found now is not given away, and
        // signatures already verified are not verified again.
        self.enforce_purpose = false;
        self.best = None;
        self.too_deep = None;
        self.budget.renew_candidates();
        match self.search_once() {
            Ok(_) => Err(purpose),
            Err(error) => Err(error),
        }
    }

    /// Nobody but a trusted CA has keys remembered, and none is made ready before all is decided.
    fn remember_keys(&self, path: &ValidatedPath<'a>) {
        let worked = |issuer: &&Certificate| {
            let key: *const [u8] = issuer.key_bits();
            self.verified.contains(&key)
        };
        let issuers = path.certificates.iter().copied().skip(1).filter(worked);
        let may_prepare = Budget::may_prepare(self.verified.len());
        self.signatures.met(issuers, may_prepare);
    }

    fn search_once(&mut self) -> Result<ValidatedPath<'a>, PathError> {
        self.observer.see(Event::Begun {
            end_entity: self.end_entity,
            purposes: self.enforce_purpose,
        });
        let mut path = vec![self.end_entity];
        let at_end_entity = |fault| PathError { position: 0, fault };
        validate::end_entity(self.end_entity, self.policy, self.time).map_err(|fault| {
            self.rejected(&path, None, 0, &fault);
            at_end_entity(fault)
        })?;
        if self.enforce_purpose
            && let Err(fault) = validate::purpose(self.end_entity, 0, None, self.policy)
        {
            self.rejected(&path, None, 0, &fault);
            let error = at_end_entity(fault);
            self.purpose = Some(error.clone());
            return Err(error);
        }
        match self.extend(&mut path) {
            Ok(()) => {
                self.observer.see(Event::Accepted { path: &path });
                Ok(ValidatedPath { certificates: path })
            }
            Err(Branch::Stop(error)) => Err(error),
            Err(Branch::Dead) => {
                Err(self
                    .too_deep
                    .take()
                    .or_else(|| self.best.take())
                    .unwrap_or(PathError {
                        position: 0,
                        fault: PathFault::UnknownIssuer,
                    }))
            }
        }
    }

    /// Leads `path` on to an anchor; on success it is whole and proven.
    fn extend(&mut self, path: &mut Vec<&'a Certificate>) -> Result<(), Branch> {
        let Some(&subject) = path.last() else {
            return Err(Branch::Dead);
        };
        let position = path.len();
        let candidates = self.potential_issuers(subject);
        if candidates.is_empty() {
            let own_issuer = position == 1 && subject.is_self_issued();
            let fault = match self.policy.profile {
                Profile::Google if own_issuer => PathFault::SelfSigned,
                _ => PathFault::UnknownIssuer,
            };
            let at = position.saturating_sub(1);
            self.rejected(path, None, at, &fault);
            self.note(at, fault);
        }
        for candidate in candidates {
            let issuer = Some(candidate.certificate);
            self.observer.see(Event::Tried {
                path,
                issuer: candidate.certificate,
                origin: candidate.origin,
            });
            self.budget.examine_candidate().map_err(|fault| {
                self.rejected(path, issuer, position, &fault);
                Branch::Stop(PathError { position, fault })
            })?;
            if position >= MAX_DEPTH {
                let fault = PathFault::DepthExceeded { limit: MAX_DEPTH };
                self.rejected(path, issuer, position, &fault);
                self.too_deep.get_or_insert(PathError { position, fault });
                continue;
            }
            if let Err(fault) = self.acceptable(&candidate, path) {
                let at = match fault {
                    PathFault::SelfSigned => 0,
                    _ => position,
                };
                self.rejected(path, issuer, at, &fault);
                self.note(at, fault);
                continue;
            }
            if self.enforce_purpose
                && let Err(fault) = validate::purpose(
                    candidate.certificate,
                    position,
                    Some(candidate.role),
                    self.policy,
                )
            {
                self.rejected(path, issuer, position, &fault);
                self.purpose.get_or_insert(PathError { position, fault });
                continue;
            }
            path.push(candidate.certificate);
            let outcome = match candidate.role {
                IssuerRole::Anchor => self.prove(path).map_err(|error| {
                    self.rejected(path, None, error.position, &error.fault);
                    self.dead_or_stop(error)
                }),
                IssuerRole::Intermediate => self.extend(path),
            };
            match outcome {
                Err(Branch::Dead) => {
                    path.pop();
                }
                proven_or_stopped => return proven_or_stopped,
            }
        }
        Err(Branch::Dead)
    }

    /// All that can be said about a candidate before a path is whole.
    fn acceptable(
        &self,
        candidate: &PotentialIssuer<'a>,
        path: &[&'a Certificate],
    ) -> Result<(), PathFault> {
        let certificate = candidate.certificate;
        // Google: the issuer's subject key identifier is the authority key identifier below.
        if candidate.fit == KeyIdFit::Mismatch && self.policy.profile == Profile::Google {
            return Err(PathFault::KeyIdentifierMismatch);
        }
        if let [end_entity] = path {
            validate::not_self_signed(end_entity, certificate, self.policy)?;
        }
        // The same name and key again adds nothing but length (a loop of cross-signatures).
        let repeats = candidate.role == IssuerRole::Intermediate
            && path.iter().any(|earlier| {
                earlier.subject().matches(certificate.subject())
                    && earlier.spki() == certificate.spki()
            });
        if repeats {
            return Err(PathFault::UnknownIssuer);
        }
        validate::issuer(certificate, candidate.role, path, self.policy, self.time)
    }

    /// The path has reached an anchor: what remains to be checked, signatures last.
    fn prove(&mut self, path: &[&'a Certificate]) -> Result<(), PathError> {
        validate::whole_path(path, self.policy, &mut self.budget)?;
        // From the anchor down, so that nothing below an unproven key costs a signature.
        for (position, pair) in path.windows(2).enumerate().rev() {
            let [subject, issuer] = pair else { continue };
            self.verify_link(issuer, subject, Work::Path)
                .map_err(|fault| PathError { position, fault })?;
        }
        // 6.1.3 a 3, last: a CRL says something only of a path whose keys are proven.
        self.check_revocation(path)
    }

    fn dead_or_stop(&mut self, error: PathError) -> Branch {
        if matches!(error.fault, PathFault::BudgetSpent { .. }) {
            Branch::Stop(error)
        } else {
            self.note(error.position, error.fault);
            Branch::Dead
        }
    }

    /// RFC 5280 6.1.3 a 1: `issuer`'s key verifies `subject`'s signature.
    fn verify_link(
        &mut self,
        issuer: &'a Certificate,
        subject: &'a Certificate,
        work: Work,
    ) -> Result<(), PathFault> {
        let link: (*const Certificate, *const Certificate) = (issuer, subject);
        if let Some((.., verdict)) = self.links.iter().find(|(from, to, _)| (*from, *to) == link) {
            return verdict.clone();
        }
        let signed = Signed {
            key_algorithm: issuer.key_algorithm(),
            key_bits: issuer.key_bits(),
            algorithm: subject.signature_algorithm(),
            message: subject.tbs(),
            signature: subject.signature(),
        };
        let recurs = !core::ptr::eq(subject, self.end_entity);
        let verdict = self.verify_signed(&signed, recurs, work);
        self.links.push((link.0, link.1, verdict.clone()));
        verdict
    }

    /// The budget is spent whether or not the signature was verified before.
    fn verify_signed(
        &mut self,
        signed: &Signed<'_>,
        recurs: bool,
        work: Work,
    ) -> Result<(), PathFault> {
        match self.signatures.algorithm(signed) {
            Some(algorithm) if self.policy.profile.allows_signature(signed.algorithm) => {
                match work {
                    Work::Path => self.budget.verify_signature()?,
                    Work::Crl => self.budget.verify_crl_signature()?,
                }
                let proof = self.signatures.verify(algorithm, signed, recurs);
                if !matches!(proof, Ok(Proof::Remembered)) {
                    self.verified.push(signed.key_bits);
                }
                proof.map(|_| ()).map_err(|_| PathFault::InvalidSignature)
            }
            _ => Err(PathFault::UnsupportedSignatureAlgorithm {
                oid: dotted_algorithm(signed.algorithm),
            }),
        }
    }

    /// Certificates whose subject is `subject`'s issuer, the most promising first. The order
    /// depends on the certificates alone, not on how they were presented.
    fn potential_issuers(&self, subject: &Certificate) -> Vec<PotentialIssuer<'a>> {
        let store = self.store;
        let rank = |certificate: &'a Certificate, role, origin| PotentialIssuer {
            certificate,
            role,
            fit: key_id_fit(certificate, subject),
            origin,
        };
        let anchors = store
            .anchors_named(subject.issuer())
            .map(|certificate| rank(certificate, IssuerRole::Anchor, Origin::Anchor));
        let configured = store
            .intermediates_named(subject.issuer())
            .map(|certificate| rank(certificate, IssuerRole::Intermediate, Origin::Configured));
        let presented = self
            .presented
            .iter()
            .filter(|certificate| certificate.subject().matches(subject.issuer()))
            .map(|certificate| rank(certificate, IssuerRole::Intermediate, Origin::Presented));
        let mut candidates: Vec<_> = anchors.chain(configured).chain(presented).collect();
        candidates.sort_by(|a, b| {
            (a.fit, a.origin)
                .cmp(&(b.fit, b.origin))
                .then_with(|| a.certificate.der().cmp(b.certificate.der()))
        });
        candidates
    }

    fn rejected(
        &mut self,
        path: &[&Certificate],
        issuer: Option<&Certificate>,
        position: usize,
        fault: &PathFault,
    ) {
        self.observer.see(Event::Rejected {
            path,
            issuer,
            position,
            fault,
        });
    }

    fn note(&mut self, position: usize, fault: PathFault) {
        let better = self
            .best
            .as_ref()
            .is_none_or(|best| fault.rank() > best.fault.rank());
        if better {
            self.best = Some(PathError { position, fault });
        }
    }
}

/// RFC 5280 4.2.1.1: the authority key identifier names the issuer's key.
fn key_id_fit(issuer: &Certificate, subject: &Certificate) -> KeyIdFit {
    let authority = subject.extensions().authority_key_id;
    let own = issuer.extensions().subject_key_id;
    match (authority, own) {
        (Some(authority), Some(own)) => {
            if subject.bytes(authority) == issuer.bytes(own) {
                KeyIdFit::Match
            } else {
                KeyIdFit::Mismatch
            }
        }
        _ => KeyIdFit::Unknown,
    }
}
