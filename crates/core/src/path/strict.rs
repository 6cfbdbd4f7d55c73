//! Rules of RFC 5280 section 4 for those who make certificates. Validation (section 6) does not ask
//! for them; the strict switch does.

use super::error::PathFault;
use super::validate::IssuerRole;
use crate::x509::{Certificate, ExtensionKind as Kind, GeneralName};

/// 4.1.2.2
const MAX_SERIAL_BYTES: usize = 20;

/// Checks one certificate; `role` is `None` for the end entity.
pub(super) fn check(certificate: &Certificate, role: Option<IssuerRole>) -> Result<(), PathFault> {
    let extensions = certificate.extensions();
    let criticality = |kind| extensions.criticality(kind);
    let is_ca = role.is_some();
    let is_anchor = role == Some(IssuerRole::Anchor);
    let broken = |rule| Err(PathFault::Strict { rule });

    let serial = certificate.serial();
    let positive = serial.first().is_some_and(|first| first & 0x80 == 0)
        && serial.iter().any(|octet| *octet != 0);
    // Anchors are trusted as they are: widely used ones have the serial number 0.
    if !positive && !is_anchor {
        return broken("serialNumber is not positive (RFC 5280 4.1.2.2)");
    }
    if serial.len() > MAX_SERIAL_BYTES && !is_anchor {
        return broken("serialNumber is longer than 20 octets (RFC 5280 4.1.2.2)");
    }
    if is_ca && certificate.subject().is_empty() {
        return broken("the subject of a CA is empty (RFC 5280 4.1.2.6)");
    }
    match criticality(Kind::AuthorityKeyIdentifier) {
        Some(true) => return broken("authorityKeyIdentifier is critical (RFC 5280 4.2.1.1)"),
        // 4.2.1.1 lets self-signed certificates leave it out, and nothing is looked for above an
        // anchor.
        None if !is_anchor => {
            return broken("authorityKeyIdentifier is absent (RFC 5280 4.2.1.1)");
        }
        _ => {}
    }
    match criticality(Kind::SubjectKeyIdentifier) {
        Some(true) => return broken("subjectKeyIdentifier is critical (RFC 5280 4.2.1.2)"),
        None if is_ca => {
            return broken("subjectKeyIdentifier of a CA is absent (RFC 5280 4.2.1.2)");
        }
        _ => {}
    }
    if is_ca && criticality(Kind::BasicConstraints) == Some(false) {
        return broken("basicConstraints of a CA is not critical (RFC 5280 4.2.1.9)");
    }
    let ca = extensions
        .basic_constraints
        .is_some_and(|constraints| constraints.ca);
    if !ca
        && extensions
            .key_usage
            .is_some_and(|usage| usage.key_cert_sign())
    {
        return broken("keyCertSign without cA (RFC 5280 4.2.1.3)");
    }
    match criticality(Kind::NameConstraints) {
        Some(_) if !ca => return broken("nameConstraints outside of a CA (RFC 5280 4.2.1.10)"),
        Some(false) => return broken("nameConstraints is not critical (RFC 5280 4.2.1.10)"),
        _ => {}
    }
    let dotted_base = extensions
        .name_constraints
        .as_ref()
        .is_some_and(|constraints| {
            let subtrees = constraints.permitted.iter().chain(&constraints.excluded);
            subtrees
                .filter_map(|subtree| match &subtree.base {
                    GeneralName::Dns(span) => Some(certificate.bytes(*span)),
                    _ => None,
                })
                .any(|base| base.starts_with(b"."))
        });
    if dotted_base {
        return broken("a dNSName constraint begins with a dot (RFC 5280 4.2.1.10)");
    }
    if criticality(Kind::PolicyConstraints) == Some(false) {
        return broken("policyConstraints is not critical (RFC 5280 4.2.1.11)");
    }
    if certificate.subject().is_empty() && criticality(Kind::SubjectAltName) != Some(true) {
        return broken("empty subject without critical subjectAltName (RFC 5280 4.2.1.6)");
    }
    if certificate.dns_sans().any(|name| name.contains(&b'_')) {
        return broken("a dNSName holds an underscore (RFC 5280 4.2.1.6, RFC 1034 3.5)");
    }
    Ok(())
}
