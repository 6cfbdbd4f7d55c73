//! The 14 `client_cert_*` variables, byte for byte as Google's load balancers send them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::client_cert::ClientCert;
use crate::error::ClientCertError;
use crate::limits::{SERIAL_BYTES, SPIFFE_ID_BYTES, VARIABLE_BYTES, VARIABLE_DER_BYTES};
use crate::spiffe::{SpiffeId, is_spiffe_uri};
use crate::x509::{Certificate, Name};

/// A variable of Google's custom headers that describes the client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variable {
    /// `true` or `false`
    Present,
    /// `true` or `false`
    ChainVerified,
    /// Empty, or the error strings joined by `,`.
    Error,
    /// Base64 without padding of the SHA-256 of the end entity's DER: 43 characters.
    Sha256Fingerprint,
    /// Lower-case hexadecimal octets joined by `:`.
    SerialNumber,
    /// The SPIFFE ID as it is.
    SpiffeId,
    /// Each URI that is no SPIFFE ID in base64, joined by `,`.
    UriSans,
    /// Each DNS name in base64, joined by `,`.
    DnsnameSans,
    /// RFC 3339 with `+00:00`.
    ValidNotBefore,
    /// RFC 3339 with `+00:00`.
    ValidNotAfter,
    /// Base64 of the DER of the issuer's name.
    IssuerDn,
    /// Base64 of the DER of the subject's name.
    SubjectDn,
    /// RFC 9440 item: `:` base64 of the DER `:`.
    Leaf,
    /// RFC 9440 items joined by `, `: the path that was built, end entity and anchor left out.
    Chain,
}

impl Variable {
    /// All variables, in the order in which Google documents them.
    pub const ALL: [Self; 14] = [
        Self::Present,
        Self::ChainVerified,
        Self::Error,
        Self::Sha256Fingerprint,
        Self::SerialNumber,
        Self::SpiffeId,
        Self::UriSans,
        Self::DnsnameSans,
        Self::ValidNotBefore,
        Self::ValidNotAfter,
        Self::IssuerDn,
        Self::SubjectDn,
        Self::Leaf,
        Self::Chain,
    ];

    /// The name between braces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "client_cert_present",
            Self::ChainVerified => "client_cert_chain_verified",
            Self::Error => "client_cert_error",
            Self::Sha256Fingerprint => "client_cert_sha256_fingerprint",
            Self::SerialNumber => "client_cert_serial_number",
            Self::SpiffeId => "client_cert_spiffe_id",
            Self::UriSans => "client_cert_uri_sans",
            Self::DnsnameSans => "client_cert_dnsname_sans",
            Self::ValidNotBefore => "client_cert_valid_not_before",
            Self::ValidNotAfter => "client_cert_valid_not_after",
            Self::IssuerDn => "client_cert_issuer_dn",
            Self::SubjectDn => "client_cert_subject_dn",
            Self::Leaf => "client_cert_leaf",
            Self::Chain => "client_cert_chain",
        }
    }

    /// The variable with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|variable| variable.name() == name)
    }

    /// The string that `client_cert_error` gains when this variable is over its limit.
    #[must_use]
    pub fn size_error(self) -> Option<&'static str> {
        match self {
            Self::SerialNumber => Some("client_cert_serial_number_exceeded_size_limit"),
            Self::SpiffeId => Some("client_cert_spiffe_id_exceeded_size_limit"),
            Self::UriSans => Some("client_cert_uri_sans_exceeded_size_limit"),
            Self::DnsnameSans => Some("client_cert_dnsname_sans_exceeded_size_limit"),
            Self::IssuerDn => Some("client_cert_issuer_dn_exceeded_size_limit"),
            Self::SubjectDn => Some("client_cert_subject_dn_exceeded_size_limit"),
            Self::Leaf => Some("client_cert_validated_leaf_exceeded_size_limit"),
            Self::Chain => Some("client_cert_validated_chain_exceeded_size_limit"),
            Self::Present
            | Self::ChainVerified
            | Self::Error
            | Self::Sha256Fingerprint
            | Self::ValidNotBefore
            | Self::ValidNotAfter => None,
        }
    }
}

/// The values for one request. Printable ASCII only, whatever a certificate holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    present: String,
    chain_verified: String,
    error: String,
    sha256_fingerprint: String,
    serial_number: String,
    spiffe_id: String,
    uri_sans: String,
    dnsname_sans: String,
    valid_not_before: String,
    valid_not_after: String,
    issuer_dn: String,
    subject_dn: String,
    leaf: String,
    chain: String,
}

impl Variables {
    /// The value of one variable.
    #[must_use]
    pub fn get(&self, variable: Variable) -> &str {
        match variable {
            Variable::Present => &self.present,
            Variable::ChainVerified => &self.chain_verified,
            Variable::Error => &self.error,
            Variable::Sha256Fingerprint => &self.sha256_fingerprint,
            Variable::SerialNumber => &self.serial_number,
            Variable::SpiffeId => &self.spiffe_id,
            Variable::UriSans => &self.uri_sans,
            Variable::DnsnameSans => &self.dnsname_sans,
            Variable::ValidNotBefore => &self.valid_not_before,
            Variable::ValidNotAfter => &self.valid_not_after,
            Variable::IssuerDn => &self.issuer_dn,
            Variable::SubjectDn => &self.subject_dn,
            Variable::Leaf => &self.leaf,
            Variable::Chain => &self.chain,
        }
    }

    fn slot(&mut self, variable: Variable) -> &mut String {
        match variable {
            Variable::Present => &mut self.present,
            Variable::ChainVerified => &mut self.chain_verified,
            Variable::Error => &mut self.error,
            Variable::Sha256Fingerprint => &mut self.sha256_fingerprint,
            Variable::SerialNumber => &mut self.serial_number,
            Variable::SpiffeId => &mut self.spiffe_id,
            Variable::UriSans => &mut self.uri_sans,
            Variable::DnsnameSans => &mut self.dnsname_sans,
            Variable::ValidNotBefore => &mut self.valid_not_before,
            Variable::ValidNotAfter => &mut self.valid_not_after,
            Variable::IssuerDn => &mut self.issuer_dn,
            Variable::SubjectDn => &mut self.subject_dn,
            Variable::Leaf => &mut self.leaf,
            Variable::Chain => &mut self.chain,
        }
    }

    /// Sets a variable, or empties it and adds its error string.
    fn set_within(&mut self, variable: Variable, value: Option<String>) {
        match (value, variable.size_error()) {
            (Some(value), _) => *self.slot(variable) = value,
            (None, Some(error)) => {
                if !self.error.is_empty() {
                    self.error.push(',');
                }
                self.error.push_str(error);
            }
            (None, None) => {}
        }
    }
}

impl From<&ClientCert> for Variables {
    fn from(client_cert: &ClientCert) -> Self {
        let mut variables = Self::default();
        match client_cert {
            // A load balancer without mTLS expands them all to nothing.
            ClientCert::Off => {}
            ClientCert::Unverified {
                fingerprint,
                refusal,
            } => {
                variables.present = client_cert.is_present().to_string();
                variables.chain_verified = "false".to_owned();
                variables.error = ClientCertError::from(refusal).as_str().to_owned();
                variables.sha256_fingerprint = fingerprint
                    .map(|digest| STANDARD_NO_PAD.encode(digest))
                    .unwrap_or_default();
            }
            ClientCert::Verified { end_entity, path } => {
                variables.present = "true".to_owned();
                variables.chain_verified = "true".to_owned();
                variables.sha256_fingerprint = STANDARD_NO_PAD.encode(end_entity.sha256());
                variables.describe(end_entity, path);
            }
        }
        variables
    }
}

impl Variables {
    /// In variable order, since the error strings are joined in that order.
    fn describe(&mut self, end_entity: &Certificate, path: &[Certificate]) {
        let serial = end_entity.serial();
        self.set_within(
            Variable::SerialNumber,
            (serial.len() <= SERIAL_BYTES).then(|| hex_octets(serial)),
        );
        self.set_within(Variable::SpiffeId, spiffe_id(end_entity));
        self.set_within(Variable::UriSans, uri_sans(end_entity));
        self.set_within(Variable::DnsnameSans, dnsname_sans(end_entity));
        self.valid_not_before = end_entity.not_before().to_string();
        self.valid_not_after = end_entity.not_after().to_string();
        self.set_within(
            Variable::IssuerDn,
            base64_name(end_entity, end_entity.issuer()),
        );
        self.set_within(Variable::SubjectDn, subject_dn(end_entity));
        let leaf_bytes = end_entity.der().len();
        self.set_within(
            Variable::Leaf,
            (leaf_bytes <= VARIABLE_DER_BYTES).then(|| rfc9440_item(end_entity)),
        );
        let intermediates = match path {
            [intermediates @ .., _anchor] => intermediates,
            [] => &[],
        };
        let chain_bytes = intermediates.iter().fold(leaf_bytes, |sum, certificate| {
            sum.saturating_add(certificate.der().len())
        });
        self.set_within(
            Variable::Chain,
            (chain_bytes <= VARIABLE_DER_BYTES).then(|| {
                let items: Vec<String> = intermediates.iter().map(rfc9440_item).collect();
                items.join(", ")
            }),
        );
    }
}

/// `None`: over the limit. Invalid, or not exactly one: empty, without an error string.
fn spiffe_id(end_entity: &Certificate) -> Option<String> {
    let mut ids = end_entity.uri_sans().filter(|uri| is_spiffe_uri(uri));
    let (Some(id), None) = (ids.next(), ids.next()) else {
        return Some(String::new());
    };
    if id.len() > SPIFFE_ID_BYTES {
        return None;
    }
    let id = core::str::from_utf8(id)
        .ok()
        .and_then(|id| SpiffeId::parse(id).ok());
    Some(id.map(|id| id.as_str().to_owned()).unwrap_or_default())
}

/// `None`: over the limit.
pub(crate) fn uri_sans(end_entity: &Certificate) -> Option<String> {
    base64_list(end_entity.uri_sans().filter(|uri| !is_spiffe_uri(uri)))
}

/// `None`: over the limit.
pub(crate) fn dnsname_sans(end_entity: &Certificate) -> Option<String> {
    base64_list(end_entity.dns_sans())
}

/// `None`: over the limit.
pub(crate) fn subject_dn(end_entity: &Certificate) -> Option<String> {
    base64_name(end_entity, end_entity.subject())
}

fn base64_name(end_entity: &Certificate, name: &Name) -> Option<String> {
    let value = STANDARD.encode(end_entity.name_der(name));
    (value.len() <= VARIABLE_BYTES).then_some(value)
}

/// Stops as soon as the limit is passed: a certificate may hold thousands of names.
fn base64_list<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut list = String::new();
    for (index, value) in values.enumerate() {
        if index > 0 {
            list.push(',');
        }
        if value.len() > VARIABLE_BYTES {
            return None;
        }
        STANDARD.encode_string(value, &mut list);
        if list.len() > VARIABLE_BYTES {
            return None;
        }
    }
    Some(list)
}

fn hex_octets(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16);
    let mut text = String::with_capacity(bytes.len().saturating_mul(3));
    for byte in bytes {
        if !text.is_empty() {
            text.push(':');
        }
        text.extend([byte >> 4, byte & 0xf].into_iter().filter_map(digit));
    }
    text
}

/// RFC 9440 2.1, RFC 8941 3.3.5
fn rfc9440_item(certificate: &Certificate) -> String {
    let mut item = String::from(":");
    STANDARD.encode_string(certificate.der(), &mut item);
    item.push(':');
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for variable in Variable::ALL {
            assert_eq!(Variable::named(variable.name()), Some(variable));
        }
        assert_eq!(Variable::named("client_cert_hash"), None);
    }

    #[test]
    fn lists_end_at_512() {
        let fits = [b'a'; 384];
        assert_eq!(
            base64_list([&fits[..]].into_iter()).map(|l| l.len()),
            Some(512)
        );
        let over = [b'a'; 385];
        assert_eq!(base64_list([&over[..]].into_iter()), None);
        let both = [&b"xapi-dev.kurtkanaskie.net"[..], b"a"];
        assert_eq!(
            base64_list(both.into_iter()).as_deref(),
            Some("eGFwaS1kZXYua3VydGthbmFza2llLm5ldA==,YQ==")
        );
    }
}
