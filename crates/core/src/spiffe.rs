//! SPIFFE IDs (SPIFFE-ID standard, section 2) and the certificates that hold them (X509-SVID
//! standard).

use thiserror::Error;

use crate::limits::SPIFFE_ID_BYTES;
use crate::x509::Certificate;

const SCHEME: &str = "spiffe://";
/// SPIFFE-ID 2.1
const TRUST_DOMAIN_BYTES: usize = 255;

/// A valid SPIFFE ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpiffeId<'a> {
    id: &'a str,
    trust_domain: TrustDomain<'a>,
    path: &'a str,
}

/// The URI is not a SPIFFE ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSpiffeId;

/// A valid trust domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrustDomain<'a>(&'a str);

impl<'a> TrustDomain<'a> {
    /// Parses a name, or takes it from a SPIFFE ID.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(name_or_id: &'a str) -> Result<Self, NotSpiffeId> {
        // A name holds neither `:` nor `/`, so this cannot mistake one for the other.
        if name_or_id.contains(":/") {
            return SpiffeId::parse(name_or_id).map(SpiffeId::trust_domain);
        }
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')
        };
        if (1..=TRUST_DOMAIN_BYTES).contains(&name_or_id.len()) && name_or_id.bytes().all(allowed) {
            Ok(Self(name_or_id))
        } else {
            Err(NotSpiffeId)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl<'a> SpiffeId<'a> {
    /// Parses strictly: lower-case scheme and trust domain, no user information, port, query,
    /// fragment or percent-encoding, no empty or relative path segment.
    ///
    /// # Errors
    /// Any of that is found.
    pub fn parse(id: &'a str) -> Result<Self, NotSpiffeId> {
        if id.len() > SPIFFE_ID_BYTES {
            return Err(NotSpiffeId);
        }
        let rest = id.strip_prefix(SCHEME).ok_or(NotSpiffeId)?;
        let (trust_domain, path) = match rest.find('/') {
            Some(slash) => rest.split_at_checked(slash).ok_or(NotSpiffeId)?,
            None => (rest, ""),
        };
        let trust_domain = TrustDomain::parse(trust_domain)?;
        if let Some(segments) = path.strip_prefix('/')
            && !segments.split('/').all(is_path_segment)
        {
            return Err(NotSpiffeId);
        }
        Ok(Self {
            id,
            trust_domain,
            path,
        })
    }

    /// The whole ID.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.id
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(self) -> TrustDomain<'a> {
        self.trust_domain
    }

    /// The path with its leading slash, or nothing.
    #[must_use]
    pub fn path(self) -> &'a str {
        self.path
    }
}

/// SPIFFE-ID 2.2: letters, digits, `.`, `-`, `_`, and neither empty nor relative.
#[must_use]
pub fn is_path_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// The URI has the scheme `spiffe`, valid or not.
#[must_use]
pub fn is_spiffe_uri(uri: &[u8]) -> bool {
    uri.get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"spiffe:"))
}

/// Why a certificate is no X.509-SVID of a workload, or of none that is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SvidFault {
    /// X509-SVID 2
    #[error("{count} URI alternative names, an X.509-SVID has exactly one")]
    UriCount {
        /// How many there are.
        count: usize,
    },
    /// X509-SVID 2
    #[error("the URI alternative name is not a SPIFFE ID")]
    NotSpiffeId,
    /// X509-SVID 5.2: only signing certificates do without.
    #[error("the SPIFFE ID has no path, and names a trust domain, not a workload")]
    NoPath,
    /// X509-SVID 4.1, 5.2
    #[error("an X.509-SVID of a workload is no CA")]
    IsCa,
    /// X509-SVID 4.3, 5.2
    #[error("keyUsage of an X.509-SVID holds keyCertSign")]
    KeyCertSign,
    /// X509-SVID 4.3, 5.2
    #[error("keyUsage of an X.509-SVID holds cRLSign")]
    CrlSign,
    /// X509-SVID 4.3
    #[error("keyUsage of an X.509-SVID lacks digitalSignature")]
    NoDigitalSignature,
    /// No trust store is configured for it.
    #[error("no SPIFFE trust store for the certificate's trust domain")]
    UnknownTrustDomain,
}

/// The SPIFFE ID of an end entity, if it is an X.509-SVID as section 5.2 asks for. Whether it is to
/// be believed is not asked here.
///
/// # Errors
/// The first rule that it breaks.
pub fn svid_id(end_entity: &Certificate) -> Result<SpiffeId<'_>, SvidFault> {
    let mut uris = end_entity.uri_sans();
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(SvidFault::UriCount {
            count: end_entity.uri_sans().count(),
        });
    };
    let id = core::str::from_utf8(uri)
        .ok()
        .and_then(|uri| SpiffeId::parse(uri).ok())
        .ok_or(SvidFault::NotSpiffeId)?;
    if id.path().is_empty() {
        return Err(SvidFault::NoPath);
    }
    let extensions = end_entity.extensions();
    if extensions
        .basic_constraints
        .is_some_and(|constraints| constraints.ca)
    {
        return Err(SvidFault::IsCa);
    }
    match extensions.key_usage {
        Some(usage) if usage.key_cert_sign() => Err(SvidFault::KeyCertSign),
        Some(usage) if usage.crl_sign() => Err(SvidFault::CrlSign),
        Some(usage) if !usage.digital_signature() => Err(SvidFault::NoDigitalSignature),
        _ => Ok(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_and_refuses() {
        for id in [
            "spiffe://a",
            "spiffe://caep.example/tenant/team-a-client",
            "spiffe://a_b-c.1/X.y",
        ] {
            assert!(SpiffeId::parse(id).is_ok(), "{id}");
        }
        for id in [
            "",
            "spiffe://",
            "spiffe:///a",
            "spiffe://a/",
            "spiffe://a//b",
            "spiffe://a/./b",
            "spiffe://a/..",
            "SPIFFE://a/b",
            "spiffe://A/b",
            "spiffe://a:1/b",
            "spiffe://u@a/b",
            "spiffe://a/b?c",
            "spiffe://a/b#c",
            "spiffe://a/%41",
            "https://a/b",
            "spiffe://a/\u{fc}",
        ] {
            assert_eq!(SpiffeId::parse(id), Err(NotSpiffeId), "{id}");
        }
        let id = SpiffeId::parse("spiffe://td/x/y").unwrap();
        assert_eq!((id.trust_domain().as_str(), id.path()), ("td", "/x/y"));
        assert_eq!(
            TrustDomain::parse("spiffe://td/x"),
            TrustDomain::parse("td")
        );
        assert!(TrustDomain::parse("spiffe:/td").is_err());
        assert!(SpiffeId::parse(&format!("spiffe://{}", "a".repeat(256))).is_err());
    }

    #[test]
    fn scheme_is_seen_in_any_case() {
        assert!(is_spiffe_uri(b"SpIfFe:x"));
        assert!(!is_spiffe_uri(b"spiff:x"));
        assert!(!is_spiffe_uri(b"spiffe"));
    }
}
