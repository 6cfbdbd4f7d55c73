//! SPIFFE IDs (SPIFFE-ID standard, section 2).

use crate::limits::SPIFFE_ID_BYTES;

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
