//! What RFC 5280 section 6.1 and the profile demand of each certificate and of a whole path.
//! Who could have issued what is `search`'s question, not asked here.

use super::budget::Budget;
use super::error::{PathError, PathFault};
use super::{Policy, Profile, name_constraints, policy, strict};
use crate::x509::{Certificate, KeyPurpose, UnixSeconds};

/// What a certificate does on the path, the end entity apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IssuerRole {
    Intermediate,
    Anchor,
}

/// The end entity's own rules.
pub(super) fn end_entity(
    certificate: &Certificate,
    policy: &Policy,
    time: UnixSeconds,
) -> Result<(), PathFault> {
    version_and_issuer(certificate)?;
    policy
        .profile
        .check_key(certificate.key())
        .map_err(|_| PathFault::UnsupportedKey)?;
    within_validity(certificate, time)?;
    critical_extensions(certificate)?;
    if policy.strict {
        strict::check(certificate, None)?;
    }
    // Google, "Certificate requirements": the client certificate is no CA.
    let constraints = certificate.extensions().basic_constraints;
    if policy.profile == Profile::Google && constraints.is_some_and(|constraints| constraints.ca) {
        return Err(PathFault::EndEntityIsCa);
    }
    Ok(())
}

/// Google: a self-signed end entity never forms a path, whatever is trusted. Self-issued with the
/// key that would have signed it, that is: a CA may give an end entity its own name.
pub(super) fn not_self_signed(
    end_entity: &Certificate,
    issuer: &Certificate,
    policy: &Policy,
) -> Result<(), PathFault> {
    let self_signed = end_entity.is_self_issued() && end_entity.spki() == issuer.spki();
    if policy.profile == Profile::Google && self_signed {
        Err(PathFault::SelfSigned)
    } else {
        Ok(())
    }
}

/// The rules of a certificate that issues the one below it; `below` is the path from the end
/// entity up to that one.
pub(super) fn issuer(
    certificate: &Certificate,
    role: IssuerRole,
    below: &[&Certificate],
    policy: &Policy,
    time: UnixSeconds,
) -> Result<(), PathFault> {
    policy
        .profile
        .check_key(certificate.key())
        .map_err(|_| PathFault::UnsupportedKey)?;
    // RFC 5280 6.1.1 d: of an anchor only subject, key and constraints are inputs. Google keeps
    // the whole certificate.
    let whole_certificate_counts = role == IssuerRole::Intermediate
        || policy.profile == Profile::Google
        || policy.enforce_anchor_constraints
        || policy.strict;
    if !whole_certificate_counts {
        return Ok(());
    }
    if role == IssuerRole::Intermediate {
        version_and_issuer(certificate)?;
    }
    // 6.1.3 a 2
    within_validity(certificate, time)?;
    let extensions = certificate.extensions();
    // 6.1.4 k; a version 1 certificate has no basicConstraints and is no CA here.
    let constraints = match extensions.basic_constraints {
        Some(constraints) if constraints.ca => constraints,
        _ => return Err(PathFault::NotCa),
    };
    // 6.1.4 n
    match extensions.key_usage {
        Some(usage) if !usage.key_cert_sign() => return Err(PathFault::KeyCertSignMissing),
        // Google, "Certificate requirements": issuers carry keyCertSign.
        None if policy.profile == Profile::Google => return Err(PathFault::KeyCertSignMissing),
        _ => {}
    }
    // 6.1.4 l, m
    if let Some(path_len) = constraints.path_len
        && intermediates(below) > path_len
    {
        return Err(PathFault::PathLenExceeded { path_len });
    }
    if policy.strict {
        strict::check(certificate, Some(role))?;
    }
    // 6.1.4 o
    critical_extensions(certificate)
}

/// Intermediates on the path so far: the end entity and self-issued ones are not counted.
fn intermediates(path: &[&Certificate]) -> u32 {
    let counted = path
        .iter()
        .skip(1)
        .filter(|certificate| !certificate.is_self_issued());
    u32::try_from(counted.count()).unwrap_or(u32::MAX)
}

/// A version 1 certificate says nothing about what its key is for; 4.1.2.4: issuers have names.
fn version_and_issuer(certificate: &Certificate) -> Result<(), PathFault> {
    const VERSION_3: u32 = 2;
    if certificate.version() != VERSION_3 {
        return Err(PathFault::NotVersion3);
    }
    if certificate.issuer().is_empty() {
        return Err(PathFault::EmptyIssuer);
    }
    Ok(())
}

/// RFC 5280 4.2.1.12 as each profile reads it. `depth` is the certificate's position on the path.
pub(super) fn purpose(
    certificate: &Certificate,
    depth: usize,
    role: Option<IssuerRole>,
    policy: &Policy,
) -> Result<(), PathFault> {
    let Some(required) = policy.purpose else {
        return Ok(());
    };
    let purposes = certificate.extensions().extended_key_usage.as_deref();
    match policy.profile {
        Profile::Google => {
            // Google: the client certificate and the certificate that issued it.
            if depth > 1 {
                return Ok(());
            }
            let purposes = purposes.unwrap_or_default();
            if !purposes.contains(&required) {
                return Err(PathFault::PurposeMissing);
            }
            const FORBIDDEN: [KeyPurpose; 3] = [
                KeyPurpose::CodeSigning,
                KeyPurpose::TimeStamping,
                KeyPurpose::OcspSigning,
            ];
            if depth == 0 && purposes.iter().any(|purpose| FORBIDDEN.contains(purpose)) {
                return Err(PathFault::PurposeForbidden);
            }
            Ok(())
        }
        Profile::Rfc5280 => {
            if role == Some(IssuerRole::Anchor) && !policy.enforce_anchor_constraints {
                return Ok(());
            }
            match purposes {
                Some(purposes)
                    if !purposes.contains(&required) && !purposes.contains(&KeyPurpose::Any) =>
                {
                    Err(PathFault::PurposeMissing)
                }
                _ => Ok(()),
            }
        }
    }
}

/// What only a whole path can tell, signatures apart: end entity first, anchor last.
pub(super) fn whole_path(
    path: &[&Certificate],
    policy: &Policy,
    budget: &mut Budget,
) -> Result<(), PathError> {
    // 6.1.2 k
    if let (Some(limit), [below @ .., _anchor]) = (policy.max_intermediates, path)
        && intermediates(below) > limit
    {
        return Err(PathError {
            position: below.len(),
            fault: PathFault::TooManyIntermediates { limit },
        });
    }
    // 6.1.3 d to f, 6.1.4 a, b, h to j, 6.1.5 a, b, g
    policy::check(path, &policy.certificate_policies, budget)?;
    // 6.1.3 b, c and 6.1.4 g
    name_constraints::check(path, budget)
}

/// 6.1.3 a 2; both ends belong to the validity (4.1.2.5).
fn within_validity(certificate: &Certificate, time: UnixSeconds) -> Result<(), PathFault> {
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    if time < not_before {
        Err(PathFault::NotYetValid { not_before })
    } else if time > not_after {
        Err(PathFault::Expired { not_after })
    } else {
        Ok(())
    }
}

/// 6.1.4 o and 6.1.5 f
fn critical_extensions(certificate: &Certificate) -> Result<(), PathFault> {
    match &certificate.extensions().unprocessed_critical {
        Some(oid) => Err(PathFault::UnprocessedCriticalExtension { oid: oid.clone() }),
        None => Ok(()),
    }
}
