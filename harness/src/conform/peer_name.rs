//! Whether a certificate has the name that a suite looks for. Only to tell what decides a case:
//! the product matches no host names.

use std::net::IpAddr;

use mtls_gate_core::x509::{Certificate, GeneralName};
use serde::Deserialize;

/// `PeerName` of the x509-limbo schema.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct PeerName {
    kind: String,
    value: String,
}

impl PeerName {
    /// RFC 9525 6.3 for host names, equality for the rest. A kind that is not known counts as
    /// matched: it must not hide anything.
    pub(super) fn is_one_of(&self, certificate: &Certificate) -> bool {
        let address = self.value.parse::<IpAddr>().ok();
        let names = &certificate.extensions().subject_alt_names;
        match self.kind.as_str() {
            "DNS" => certificate
                .dns_sans()
                .any(|presented| matches_host(presented, self.value.as_bytes())),
            "IP" => names.iter().any(|name| match (name, address) {
                (GeneralName::Ip(span), Some(IpAddr::V4(address))) => {
                    certificate.bytes(*span) == address.octets()
                }
                (GeneralName::Ip(span), Some(IpAddr::V6(address))) => {
                    certificate.bytes(*span) == address.octets()
                }
                _ => false,
            }),
            "RFC822" => names.iter().any(|name| match name {
                GeneralName::Rfc822(span) => certificate.bytes(*span) == self.value.as_bytes(),
                _ => false,
            }),
            _ => true,
        }
    }
}

/// A wildcard is a whole leftmost label, stands for one label, and not for a whole domain below a
/// top-level one.
fn matches_host(presented: &[u8], wanted: &[u8]) -> bool {
    let host_byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    match presented.strip_prefix(b"*.") {
        Some(domain) => {
            let rest = wanted
                .iter()
                .position(|byte| *byte == b'.')
                .and_then(|dot| wanted.get(dot.saturating_add(1)..));
            domain.contains(&b'.')
                && domain.iter().all(host_byte)
                && rest.is_some_and(|rest| rest.eq_ignore_ascii_case(domain))
        }
        None => presented.iter().all(host_byte) && presented.eq_ignore_ascii_case(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::matches_host;

    #[test]
    fn hosts() {
        for (presented, wanted) in [("a.example", "A.example"), ("*.b.example", "a.b.example")] {
            assert!(matches_host(presented.as_bytes(), wanted.as_bytes()));
        }
        for (presented, wanted) in [
            ("a.example", "b.example"),
            ("*.example", "a.example"),
            ("*.b.example", "c.a.b.example"),
            ("*.b.example", "b.example"),
            ("a*.b.example", "ab.b.example"),
            ("a_b.example", "a_b.example"),
        ] {
            assert!(!matches_host(presented.as_bytes(), wanted.as_bytes()));
        }
    }
}
