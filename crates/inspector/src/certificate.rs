//! A certificate as people read it. Whatever it holds is shown as printable text.

use mtls_gate_core::spiffe::SpiffeId;
use mtls_gate_core::x509::{
    BasicConstraints, Certificate, EcCurve, GeneralName, GeneralSubtree, KeyKind, KeyPurpose, Name,
    Span, dotted_algorithm, dotted_oid,
};
use rustls_pki_types::{AlgorithmIdentifier, alg_id};
use serde::Serialize;

/// Names shown of one certificate, and entries of any other list in it.
const LIST: usize = 50;
/// Characters shown of one value; SPIFFE IDs and DNS names are shorter.
const CHARACTERS: usize = 2100;

const SIGNATURES: [(AlgorithmIdentifier, &str); 10] = [
    (alg_id::ECDSA_SHA256, "ECDSA with SHA-256"),
    (alg_id::ECDSA_SHA384, "ECDSA with SHA-384"),
    (alg_id::ECDSA_SHA512, "ECDSA with SHA-512"),
    (alg_id::RSA_PKCS1_SHA256, "RSA PKCS#1 v1.5 with SHA-256"),
    (alg_id::RSA_PKCS1_SHA384, "RSA PKCS#1 v1.5 with SHA-384"),
    (alg_id::RSA_PKCS1_SHA512, "RSA PKCS#1 v1.5 with SHA-512"),
    (alg_id::RSA_PSS_SHA256, "RSA-PSS with SHA-256"),
    (alg_id::RSA_PSS_SHA384, "RSA-PSS with SHA-384"),
    (alg_id::RSA_PSS_SHA512, "RSA-PSS with SHA-512"),
    (alg_id::ED25519, "Ed25519"),
];

/// The fields that matter.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateView {
    /// The subject's name.
    pub subject: String,
    /// Its last common name, which people know a certificate by. Not taken from the line above: there
    /// another attribute may hold what looks like one.
    pub common_name: Option<String>,
    /// The issuer's name.
    pub issuer: String,
    /// Hexadecimal.
    pub serial: String,
    /// Hexadecimal SHA-256 of the DER.
    pub sha256: String,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// RFC 3339
    pub valid_from: String,
    /// RFC 3339
    pub valid_until: String,
    /// Kind and size.
    pub key: &'static str,
    /// Bits of an RSA modulus.
    pub key_bits: Option<usize>,
    /// How it is signed.
    pub signature: String,
    /// Subject alternative names, each with its form.
    pub names: Vec<String>,
    /// The SPIFFE ID, if there is exactly one URI and it is one.
    pub spiffe_id: Option<String>,
    /// `None`: the extension is absent.
    pub key_usage: Option<Vec<&'static str>>,
    /// `None`: the extension is absent.
    pub ext_key_usage: Option<Vec<&'static str>>,
    /// `None`: the extension is absent.
    pub basic_constraints: Option<String>,
    /// Permitted and excluded subtrees.
    pub name_constraints: Vec<String>,
    /// Object identifiers.
    pub policies: Vec<String>,
    /// Hexadecimal.
    pub subject_key_id: Option<String>,
    /// Hexadecimal.
    pub authority_key_id: Option<String>,
    /// A critical extension that is not processed, dotted.
    pub unprocessed_critical: Option<String>,
    /// Octets of DER.
    pub bytes: usize,
}

impl CertificateView {
    /// Reads everything out of a certificate.
    #[must_use]
    pub fn new(certificate: &Certificate) -> Self {
        let extensions = certificate.extensions();
        let key_id = |span: Option<Span>| span.map(|span| hex(certificate.bytes(span), ""));
        let policies = extensions.certificate_policies.as_deref();
        Self {
            subject: name(certificate, certificate.subject()),
            common_name: Name::common_names(certificate.name_der(certificate.subject()))
                .and_then(|names| names.into_iter().next_back())
                .map(|name| shown(name.as_bytes())),
            issuer: name(certificate, certificate.issuer()),
            serial: hex(certificate.serial(), ":"),
            sha256: hex(&certificate.sha256(), ""),
            not_before: certificate.not_before().0,
            not_after: certificate.not_after().0,
            valid_from: certificate.not_before().to_string(),
            valid_until: certificate.not_after().to_string(),
            key: key_kind(certificate.key()),
            key_bits: key_bits(certificate.key()),
            signature: signature(certificate.signature_algorithm()),
            names: list(&extensions.subject_alt_names, |name| {
                general_name(certificate, name)
            }),
            spiffe_id: spiffe_id(certificate),
            key_usage: extensions.key_usage.map(|usage| usage.names().collect()),
            ext_key_usage: extensions.extended_key_usage.as_ref().map(|purposes| {
                purposes
                    .iter()
                    .take(LIST)
                    .map(|one| purpose(*one))
                    .collect()
            }),
            basic_constraints: extensions.basic_constraints.map(basic_constraints),
            name_constraints: name_constraints(certificate),
            policies: list(policies.unwrap_or_default(), |oid| {
                dotted_oid(certificate.bytes(*oid))
            }),
            subject_key_id: key_id(extensions.subject_key_id),
            authority_key_id: key_id(extensions.authority_key_id),
            unprocessed_critical: extensions.unprocessed_critical.clone(),
            bytes: certificate.der().len(),
        }
    }
}

/// Text of strangers: what cannot be seen, or turns the text around it, is escaped.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out: String = text
        .chars()
        .take(CHARACTERS)
        .flat_map(|character| {
            let quote = matches!(character, '"' | '\'').then_some(character);
            let escaped = quote.is_none().then(|| character.escape_debug());
            quote.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect();
    if text.chars().nth(CHARACTERS).is_some() {
        out.push('…');
    }
    out
}

/// A name of a certificate, for people.
#[must_use]
pub fn name(certificate: &Certificate, name: &Name) -> String {
    let text = Name::display(certificate.name_der(name));
    if text.is_empty() {
        "(empty)".to_owned()
    } else {
        text
    }
}

/// Octets in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8], separator: &str) -> String {
    let octets: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    octets.join(separator)
}

fn list<T>(entries: &[T], show: impl Fn(&T) -> String) -> Vec<String> {
    let mut shown: Vec<String> = entries.iter().take(LIST).map(show).collect();
    let more = entries.len().saturating_sub(LIST);
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown
}

fn spiffe_id(certificate: &Certificate) -> Option<String> {
    let mut uris = certificate.uri_sans();
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return None;
    };
    let id = SpiffeId::parse(core::str::from_utf8(uri).ok()?).ok()?;
    Some(id.as_str().to_owned())
}

fn general_name(certificate: &Certificate, general: &GeneralName) -> String {
    let text = |form: &str, span: &Span| format!("{form}: {}", shown(certificate.bytes(*span)));
    match general {
        GeneralName::Rfc822(span) => text("e-mail", span),
        GeneralName::Dns(span) => text("DNS", span),
        GeneralName::Uri(span) => text("URI", span),
        GeneralName::Directory(directory) => format!("DN: {}", name(certificate, directory)),
        GeneralName::Ip(span) => format!("IP: {}", ip(certificate.bytes(*span))),
        GeneralName::SmtpUtf8Mailbox => "e-mail beyond ASCII".to_owned(),
        GeneralName::Other(tag) => format!("another form [{tag}]"),
    }
}

/// An address, or in a name constraint an address and a mask (RFC 5280 4.2.1.10).
fn ip(octets: &[u8]) -> String {
    let address = |octets: &[u8]| {
        let v4 = <[u8; 4]>::try_from(octets).map(|v4| core::net::IpAddr::from(v4).to_string());
        let v6 = <[u8; 16]>::try_from(octets).map(|v6| core::net::IpAddr::from(v6).to_string());
        v4.or(v6).unwrap_or_else(|_| hex(octets, ":"))
    };
    match octets.split_at_checked(octets.len() / 2) {
        Some((base, mask)) if matches!(octets.len(), 8 | 32) => {
            format!("{}/{}", address(base), address(mask))
        }
        _ => address(octets),
    }
}

fn name_constraints(certificate: &Certificate) -> Vec<String> {
    let Some(constraints) = &certificate.extensions().name_constraints else {
        return Vec::new();
    };
    let subtrees = |what: &str, subtrees: &[GeneralSubtree]| {
        list(subtrees, |subtree| {
            format!("{what} {}", general_name(certificate, &subtree.base))
        })
    };
    [
        subtrees("permitted", &constraints.permitted),
        subtrees("excluded", &constraints.excluded),
    ]
    .concat()
}

fn basic_constraints(constraints: BasicConstraints) -> String {
    match (constraints.ca, constraints.path_len) {
        (true, Some(path_len)) => format!("CA:TRUE, pathLenConstraint {path_len}"),
        (true, None) => "CA:TRUE".to_owned(),
        (false, _) => "CA:FALSE".to_owned(),
    }
}

fn purpose(purpose: KeyPurpose) -> &'static str {
    match purpose {
        KeyPurpose::Any => "anyExtendedKeyUsage",
        KeyPurpose::ServerAuth => "serverAuth",
        KeyPurpose::ClientAuth => "clientAuth",
        KeyPurpose::CodeSigning => "codeSigning",
        KeyPurpose::EmailProtection => "emailProtection",
        KeyPurpose::TimeStamping => "timeStamping",
        KeyPurpose::OcspSigning => "OCSPSigning",
        KeyPurpose::Other => "another purpose",
    }
}

fn key_kind(key: KeyKind) -> &'static str {
    match key {
        KeyKind::Rsa { .. } => "RSA",
        KeyKind::RsaPss { .. } => "RSA-PSS",
        KeyKind::Ec(EcCurve::P256) => "EC P-256",
        KeyKind::Ec(EcCurve::P384) => "EC P-384",
        KeyKind::Ec(EcCurve::P521) => "EC P-521",
        KeyKind::Ec(EcCurve::Other) => "EC on another curve",
        KeyKind::Ed25519 => "Ed25519",
        KeyKind::Other => "another algorithm",
    }
}

fn key_bits(key: KeyKind) -> Option<usize> {
    match key {
        KeyKind::Rsa { modulus_bits } | KeyKind::RsaPss { modulus_bits } => Some(modulus_bits),
        KeyKind::Ec(_) | KeyKind::Ed25519 | KeyKind::Other => None,
    }
}

fn signature(algorithm: &[u8]) -> String {
    let known = SIGNATURES
        .iter()
        .find(|(known, _)| known.as_ref() == algorithm);
    match known {
        Some((_, name)) => (*name).to_owned(),
        None => format!("algorithm {}", dotted_algorithm(algorithm)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        assert_eq!(shown(b"o'neil \"x\""), "o'neil \"x\"");
        assert_eq!(shown("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(
            shown("a\u{200b}\u{feff}b".as_bytes()),
            "a\\u{200b}\\u{feff}b"
        );
        assert_eq!(shown(b"a\r\n\0\x1b[0m"), "a\\r\\n\\0\\u{1b}[0m");
        assert_eq!(shown("ü <b>".as_bytes()), "ü <b>");
        assert_eq!(shown(b"\xff"), "\u{fffd}");
        assert_eq!(shown(&[b'a'; 3000]).chars().count(), CHARACTERS + 1);
    }

    #[test]
    fn addresses_and_masks() {
        assert_eq!(ip(&[10, 0, 0, 1]), "10.0.0.1");
        assert_eq!(ip(&[10, 0, 0, 0, 255, 0, 0, 0]), "10.0.0.0/255.0.0.0");
        assert_eq!(ip(&[0; 16]), "::");
        assert_eq!(ip(&[1, 2, 3]), "01:02:03");
    }
}
