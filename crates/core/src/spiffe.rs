//! SPIFFE IDs (SPIFFE-ID standard, section 2).

use crate::limits::SPIFFE_ID_BYTES;

const SCHEME: &str = "spiffe://";
/// SPIFFE-ID 2.1
const TRUST_DOMAIN_BYTES: usize = 255;

/// A valid SPIFFE ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpiffeId<'a> {
    id: &'a str,
    trust_domain: &'a str,
}

/// The URI is not a SPIFFE ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSpiffeId;

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
        let domain_byte = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')
        };
        if !(1..=TRUST_DOMAIN_BYTES).contains(&trust_domain.len())
            || !trust_domain.bytes().all(domain_byte)
        {
            return Err(NotSpiffeId);
        }
        let segment = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        };
        if let Some(path) = path.strip_prefix('/')
            && !path.split('/').all(segment)
        {
            return Err(NotSpiffeId);
        }
        Ok(Self { id, trust_domain })
    }

    /// The whole ID.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.id
    }

    /// The trust domain's name.
    #[must_use]
    pub fn trust_domain(self) -> &'a str {
        self.trust_domain
    }
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
        assert_eq!(
            SpiffeId::parse("spiffe://td/x").map(SpiffeId::trust_domain),
            Ok("td")
        );
        assert!(SpiffeId::parse(&format!("spiffe://{}", "a".repeat(256))).is_err());
    }

    #[test]
    fn scheme_is_seen_in_any_case() {
        assert!(is_spiffe_uri(b"SpIfFe:x"));
        assert!(!is_spiffe_uri(b"spiff:x"));
        assert!(!is_spiffe_uri(b"spiffe"));
    }
}
