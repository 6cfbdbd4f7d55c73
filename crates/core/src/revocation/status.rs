//! RFC 5280 6.3.3: the status of one certificate.

use super::scope::Point;
use super::{CrlFault, Revocation};
use crate::path::PathFault;
use crate::x509::{Certificate, Crl, EntryStatus, Reasons, RevocationReason, UnixSeconds};

/// What CRLs say of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Not listed, and covered for all reasons.
    Good,
    /// Listed.
    Revoked(RevocationReason),
    /// Not listed where anybody may look, but not covered for all reasons.
    Unknown(CrlFault),
}

/// Why nothing may be concluded from a CRL.
pub(crate) enum Unusable {
    /// This one does not serve; another may.
    Fault(CrlFault),
    /// The budget is spent.
    Stop(PathFault),
}

/// Who vouches for CRLs: path validation, with a budget.
pub(crate) trait Signers {
    /// The certificate whose key signed.
    type Signer: Copy;

    /// One more CRL is looked at.
    fn examine_crl(&mut self) -> Result<(), PathFault>;

    /// 6.3.3 f, g: a certificate of the CRL's issuer that may sign CRLs, has a valid path to the
    /// trust anchor of the path in question, and whose key verifies the CRL's signature.
    fn signer(&mut self, crl: &Crl) -> Result<Self::Signer, Unusable>;

    /// 6.3.3 h: the same key verifies this CRL.
    fn verifies(&mut self, signer: Self::Signer, crl: &Crl) -> Result<(), Unusable>;
}

/// What is known so far.
struct Inquiry<'a> {
    certificate: &'a Certificate,
    revocation: &'a Revocation,
    time: UnixSeconds,
    /// `reasons_mask`
    covered: Reasons,
    /// The most useful reason why the status is unknown.
    fault: CrlFault,
    /// An expired CRL lists the certificate, and no later one says otherwise.
    listed_when_expired: Option<Listing>,
}

/// What an expired CRL says of a certificate.
struct Listing {
    reason: RevocationReason,
    this_update: UnixSeconds,
    /// The reasons that the CRL speaks about.
    scope: Reasons,
}

/// Tells the status of `certificate`.
///
/// # Errors
/// The budget is spent.
pub(crate) fn status(
    certificate: &Certificate,
    revocation: &Revocation,
    time: UnixSeconds,
    signers: &mut impl Signers,
) -> Result<Status, PathFault> {
    let mut inquiry = Inquiry {
        certificate,
        revocation,
        time,
        covered: Reasons::NONE,
        fault: CrlFault::NoCrl,
        listed_when_expired: None,
    };
    let mut points = Vec::new();
    if let Some(extension) = &certificate.extensions().crl_distribution_points {
        match &extension.points {
            Some(explicit) => points.extend(
                explicit
                    .iter()
                    .map(|point| Point::explicit(point, certificate)),
            ),
            None => inquiry.note(CrlFault::MalformedDistributionPoints),
        }
    }
    points.push(Point::implied(certificate));
    for point in &points {
        for issuer in point.issuers(certificate) {
            for crl in revocation.issued_by(issuer).filter(|crl| !crl.is_delta()) {
                signers.examine_crl()?;
                match inquiry.ask(point, crl, signers) {
                    Ok(None) => {}
                    Ok(Some(reason)) => return Ok(Status::Revoked(reason)),
                    Err(Unusable::Fault(fault)) => inquiry.note(fault),
                    Err(Unusable::Stop(fault)) => return Err(fault),
                }
                if inquiry.covered.contains(Reasons::ALL) {
                    return Ok(inquiry.conclude());
                }
            }
        }
    }
    Ok(inquiry.conclude())
}

impl<'a> Inquiry<'a> {
    /// What follows where no current CRL lists the certificate.
    fn conclude(mut self) -> Status {
        // Ours: what was revoked stays so until a later CRL says otherwise.
        if let Some(listing) = self.listed_when_expired {
            return Status::Revoked(listing.reason);
        }
        if self.covered.contains(Reasons::ALL) {
            return Status::Good;
        }
        if self.covered != Reasons::NONE {
            self.note(CrlFault::SomeReasonsOnly);
        }
        Status::Unknown(self.fault)
    }

    fn note(&mut self, fault: CrlFault) {
        if fault.rank() > self.fault.rank() {
            self.fault = fault;
        }
    }

    /// Asks one complete CRL at one point. `Some`: the certificate is revoked.
    fn ask<S: Signers>(
        &mut self,
        point: &Point,
        crl: &Crl,
        signers: &mut S,
    ) -> Result<Option<RevocationReason>, Unusable> {
        // b, d, e: only a CRL that adds a reason.
        let reasons = point.reasons_of(crl, self.certificate);
        if self.covered.contains(reasons) {
            return Ok(None);
        }
        usable(crl, self.time)?;
        let entry = self.entry(crl);
        let deltas = self.deltas(crl);
        let expired = expiry(crl, self.time).err();
        // An expired CRL without a delta that renews it tells nothing but what it lists.
        if let Some(fault) = &expired
            && deltas.is_empty()
            && !matches!(entry, Some(EntryStatus::Revoked(_)))
        {
            return Err(Unusable::Fault(fault.clone()));
        }
        // f, g
        let signer = signers.signer(crl)?;
        // h: the newest delta that the same key signed.
        let mut delta = None;
        for candidate in deltas {
            signers.examine_crl().map_err(Unusable::Stop)?;
            match signers.verifies(signer, candidate) {
                Ok(()) => {
                    delta = Some(candidate);
                    break;
                }
                Err(Unusable::Fault(fault)) => self.note(fault),
                Err(stop) => return Err(stop),
            }
        }
        if let Some(fault) = expired
            && delta.is_none()
        {
            if let Some(EntryStatus::Revoked(reason)) = entry {
                self.listed_when_expired.get_or_insert_with(|| Listing {
                    reason,
                    this_update: crl.this_update(),
                    scope: reasons,
                });
            }
            return Err(Unusable::Fault(fault));
        }
        // i, j: the delta's word counts before that of the complete CRL.
        match delta.and_then(|delta| self.entry(delta)).or(entry) {
            Some(EntryStatus::Revoked(reason)) => Ok(Some(reason)),
            // k, l
            Some(EntryStatus::Removed) | None => {
                let newest = delta.unwrap_or(crl).this_update();
                if self.listed_when_expired.as_ref().is_some_and(|listing| {
                    newest > listing.this_update && reasons.contains(listing.scope)
                }) {
                    self.listed_when_expired = None;
                }
                self.covered = self.covered.union(reasons);
                Ok(None)
            }
        }
    }

    fn entry(&self, crl: &Crl) -> Option<EntryStatus> {
        crl.entry(
            self.certificate.issuer().canonical(),
            self.certificate.serial(),
        )
    }

    /// 5.2.4 and 6.3.3 c: current delta CRLs that may be combined with `crl`, the newest first.
    fn deltas(&self, crl: &Crl) -> Vec<&'a Crl> {
        let Some(number) = crl.number() else {
            return Vec::new();
        };
        self.revocation
            .issued_by(crl.issuer().canonical())
            .filter(|delta| {
                // 5.2.4 c and d: based on this CRL or an earlier one, and later than this one.
                let based = delta.base_number().is_some_and(|base| number >= base)
                    && delta.number().is_some_and(|later| later > number);
                based
                    // c 2
                    && delta.issuing_distribution_point() == crl.issuing_distribution_point()
                    // c 3
                    && delta.authority_key_id() == crl.authority_key_id()
                    && usable(delta, self.time).is_ok()
                    && expiry(delta, self.time).is_ok()
            })
            .collect()
    }
}

/// Whatever it says of itself, without its end and without its signature.
fn usable(crl: &Crl, time: UnixSeconds) -> Result<(), Unusable> {
    if let Some(defect) = crl.defect() {
        return Err(Unusable::Fault(defect.clone().into()));
    }
    let this_update = crl.this_update();
    if time < this_update {
        return Err(Unusable::Fault(CrlFault::NotYetIssued { this_update }));
    }
    Ok(())
}

/// 6.3.3 a: current at `time`.
fn expiry(crl: &Crl, time: UnixSeconds) -> Result<(), CrlFault> {
    match crl.next_update() {
        None => Err(CrlFault::NextUpdateMissing),
        Some(next_update) if time > next_update => Err(CrlFault::Expired { next_update }),
        Some(_) => Ok(()),
    }
}
