//! The verdict on a client's certificate, from what was presented to what may be told about it.

use crate::error::Refusal;
use crate::forwarded::ForwardedChain;
use crate::known_issuers::KnownIssuers;
use crate::limits::{NAME_CONSTRAINTS, RequestLimits, SAME_SUBJECT_AND_KEY};
use crate::path::{self, Observer, Policy, Signatures};
use crate::trust::{Trust, TrustStore};
use crate::window::Window;
use crate::x509::{Certificate, UnixSeconds};

/// The verdict, with no more than may leave the gate: an unverified certificate shows its
/// fingerprint only.
#[derive(Clone, Debug)]
pub enum ClientCert {
    /// Client certificates are not asked for (no `mtlsPolicy`).
    Off,
    /// Not verified.
    Unverified {
        /// SHA-256 of the end entity's DER, where there is one.
        fingerprint: Option<[u8; 32]>,
        /// Why.
        refusal: Refusal,
    },
    /// Verified: a path leads to a trust anchor, or the certificate is on the allowlist.
    Verified {
        /// The client's own certificate.
        end_entity: Certificate,
        /// The path that was built, end entity left out, anchor last; empty for an allowlisted
        /// certificate.
        path: Vec<Certificate>,
    },
}

impl ClientCert {
    /// A certificate was presented.
    #[must_use]
    pub fn is_present(&self) -> bool {
        match self {
            Self::Off => false,
            Self::Unverified { refusal, .. } => {
                !matches!(refusal, Refusal::NotProvided | Refusal::UntrustedRelay(_))
            }
            Self::Verified { .. } => true,
        }
    }

    /// The certificate is verified.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        matches!(self, Self::Verified { .. })
    }

    /// About what it holds in memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Off => 0,
            Self::Unverified { .. } => size_of::<Refusal>(),
            Self::Verified { end_entity, path } => {
                // The anchor is the configuration's.
                let intermediates = path.split_last().map_or(&[][..], |(_, below)| below);
                core::iter::once(end_entity)
                    .chain(intermediates)
                    .map(Certificate::bytes_held)
                    .fold(size_of_val(path.as_slice()), usize::saturating_add)
            }
        }
    }

    /// Judges what was presented, in the order in which Google reports (first reason wins).
    #[must_use]
    pub fn judge<'m>(
        presented: ForwardedChain,
        trust: Option<&Trust>,
        policy: &Policy,
        limits: &RequestLimits,
        signatures: impl Into<Signatures<'m>>,
        validation_time: Option<UnixSeconds>,
    ) -> Self {
        Self::judge_observed(
            presented,
            trust,
            policy,
            limits,
            signatures,
            validation_time,
            &mut (),
        )
    }

    /// The same, with the search for a path watched.
    #[must_use]
    pub fn judge_observed<'m>(
        presented: ForwardedChain,
        trust: Option<&Trust>,
        policy: &Policy,
        limits: &RequestLimits,
        signatures: impl Into<Signatures<'m>>,
        validation_time: Option<UnixSeconds>,
        observer: &mut impl Observer,
    ) -> Self {
        Self::judge_within(
            presented,
            trust,
            policy,
            limits,
            signatures.into(),
            None,
            validation_time,
            &mut Window::ALWAYS.clone(),
            observer,
        )
    }

    /// The same, and how long it holds as far as the dates of what was presented say.
    #[allow(clippy::too_many_arguments)] // the pipeline's, each once
    pub(crate) fn judge_within(
        presented: ForwardedChain,
        trust: Option<&Trust>,
        policy: &Policy,
        limits: &RequestLimits,
        signatures: Signatures<'_>,
        known: Option<&KnownIssuers>,
        validation_time: Option<UnixSeconds>,
        window: &mut Window,
        observer: &mut impl Observer,
    ) -> Self {
        // 1. Is there a certificate, and can it be read?
        let nothing_to_hash = |refusal| Self::Unverified {
            fingerprint: None,
            refusal,
        };
        let (end_entity, others) = match presented {
            ForwardedChain::Absent => return nothing_to_hash(Refusal::NotProvided),
            ForwardedChain::Undecodable(refusal) => return nothing_to_hash(refusal),
            ForwardedChain::Present { end_entity, others } => (end_entity, others),
        };
        let fingerprint = end_entity.sha256();
        let refused = |refusal| Self::Unverified {
            fingerprint: Some(fingerprint),
            refusal,
        };
        let Some(trust) = trust else {
            return refused(Refusal::NotPerformed);
        };
        // 2. Counts and sizes; the other certificates were bounded while they were decoded.
        let others = match others {
            Ok(others) => others,
            Err(refusal) => return refused(refusal),
        };
        if end_entity.der().len() > limits.payload_bytes {
            return refused(Refusal::PayloadTooLarge {
                limit_bytes: limits.payload_bytes,
            });
        }
        let end_entity = match Certificate::parse(end_entity.into_der()) {
            Ok(certificate) => certificate.with_sha256(fingerprint),
            Err(error) => return refused(Refusal::Parse { index: 0, error }),
        };
        // 3. The allowlist counts before every other rule.
        if trust.is_allowlisted(end_entity.der()) {
            return Self::Verified {
                end_entity,
                path: Vec::new(),
            };
        }
        let (others, all_known) = match parse_others(others, known) {
            Ok(parsed) => parsed,
            Err(refusal) => return refused(refusal),
        };
        // 4. Keys and sizes of the PKI.
        if let Err(refusal) = check_keys(&end_entity, &others, policy) {
            return refused(refusal);
        }
        let store = match trust.store_for(&end_entity) {
            Ok(store) => store,
            Err(fault) => return refused(fault.into()),
        };
        if let Err(refusal) = check_intermediates(&others, store) {
            return refused(refusal);
        }
        // 5. Path building and validation.
        let Some(validation_time) = validation_time else {
            return refused(Refusal::NoClock);
        };
        for certificate in core::iter::once(&end_entity).chain(&others) {
            window.narrow_to(certificate, validation_time);
        }
        let built = path::build_observed(
            &end_entity,
            &others,
            store,
            policy,
            signatures,
            validation_time,
            observer,
        );
        match built {
            Ok(built) => {
                let path = built.certificates().iter().skip(1);
                let path: Vec<Certificate> = path.copied().cloned().collect();
                if let Some(known) = known
                    && !all_known
                {
                    known.keep(others.iter().filter(|other| path.contains(other)));
                }
                Self::Verified { end_entity, path }
            }
            Err(error) => refused(error.into()),
        }
    }
}

/// And whether all of them were known.
fn parse_others(
    others: Vec<Vec<u8>>,
    known: Option<&KnownIssuers>,
) -> Result<(Vec<Certificate>, bool), Refusal> {
    let mut all_known = true;
    let mut parsed = Vec::with_capacity(others.len());
    for (index, der) in (1_usize..).zip(others) {
        parsed.push(match known.and_then(|known| known.get(&der)) {
            Some(certificate) => certificate,
            None => {
                all_known = false;
                Certificate::parse(der).map_err(|error| Refusal::Parse { index, error })?
            }
        });
    }
    Ok((parsed, all_known))
}

/// Google: algorithm before size before curve, whichever presented certificate has the fault.
fn check_keys(
    end_entity: &Certificate,
    others: &[Certificate],
    policy: &Policy,
) -> Result<(), Refusal> {
    let worst = core::iter::once(end_entity)
        .chain(others)
        .enumerate()
        .filter_map(|(index, certificate)| {
            let fault = policy.profile.check_key(certificate.key()).err()?;
            Some((fault, index))
        })
        .min();
    match worst {
        Some((fault, index)) => Err(Refusal::Key { index, fault }),
        None => Ok(()),
    }
}

/// Google's limits on presented intermediates, checked before validation.
fn check_intermediates(others: &[Certificate], store: &TrustStore) -> Result<(), Refusal> {
    check_same_subject_and_key(others, store)?;
    for (index, certificate) in (1_usize..).zip(others) {
        let constraints = &certificate.extensions().name_constraints;
        if constraints
            .as_ref()
            .is_some_and(|constraints| constraints.len() > NAME_CONSTRAINTS)
        {
            return Err(Refusal::TooManyNameConstraints {
                index,
                limit: NAME_CONSTRAINTS,
            });
        }
    }
    Ok(())
}

/// Presented and configured intermediates together; one certificate counts once.
fn check_same_subject_and_key(others: &[Certificate], store: &TrustStore) -> Result<(), Refusal> {
    for certificate in others {
        let same = |other: &&Certificate| {
            other.spki() == certificate.spki() && other.subject().matches(certificate.subject())
        };
        let mut distinct: Vec<&Certificate> = Vec::new();
        for other in others
            .iter()
            .chain(store.intermediates_named(certificate.subject()))
            .filter(same)
        {
            if !distinct.contains(&other) {
                distinct.push(other);
            }
        }
        if distinct.len() > SAME_SUBJECT_AND_KEY {
            return Err(Refusal::PkiTooLarge {
                limit: SAME_SUBJECT_AND_KEY,
            });
        }
    }
    Ok(())
}
