//! RFC 5280 4.2.1.10: the names of every certificate below a CA lie where that CA permits.

use super::budget::Budget;
use super::error::{PathError, PathFault};
use crate::x509::{Certificate, GeneralName, GeneralSubtree, Name, NameConstraints};

/// Checks all constraints of a whole path: end entity first, anchor last.
pub(super) fn check(path: &[&Certificate], budget: &mut Budget) -> Result<(), PathError> {
    for (constrained_by, ca) in path.iter().enumerate().skip(1) {
        let Some(constraints) = &ca.extensions().name_constraints else {
            continue;
        };
        for (position, certificate) in path.iter().enumerate().take(constrained_by) {
            // 6.1.3 b, c: self-issued intermediates are exempt, a self-issued end entity is not.
            if position != 0 && certificate.is_self_issued() {
                continue;
            }
            let constrained = Constrained {
                constraints,
                ca,
                certificate,
                constrained_by,
            };
            constrained
                .check(budget)
                .map_err(|fault| PathError { position, fault })?;
        }
    }
    Ok(())
}

/// A name of one of the forms that can be constrained.
enum Subject<'a> {
    Directory(&'a Name),
    Rfc822(&'a [u8]),
    Dns(&'a [u8]),
    Uri(&'a [u8]),
    Ip(&'a [u8]),
    SmtpUtf8Mailbox,
    Other(u8),
}

/// Names longer than this are not compared: no host, mailbox or URI that anybody uses is, and
/// comparing costs time for every octet.
const MAX_NAME_BYTES: usize = 2048;

/// What comparing a name with a subtree gives.
enum Within {
    Yes,
    No,
    /// The subtree is of another form and says nothing about this name.
    OtherForm,
    /// The name or the subtree cannot be understood: fail closed.
    Unclear,
}

struct Constrained<'a> {
    constraints: &'a NameConstraints,
    ca: &'a Certificate,
    certificate: &'a Certificate,
    constrained_by: usize,
}

impl Constrained<'_> {
    fn check(&self, budget: &mut Budget) -> Result<(), PathFault> {
        let certificate = self.certificate;
        let extensions = certificate.extensions();
        if !certificate.subject().is_empty() {
            self.check_name(&Subject::Directory(certificate.subject()), budget)?;
        }
        // 4.2.1.10 asks for this only without subject alternative names; the subject is shown to
        // backends, so its e-mail addresses always count.
        for email in certificate.subject().email_addresses() {
            self.check_name(&Subject::Rfc822(email), budget)?;
        }
        for name in &extensions.subject_alt_names {
            let subject = match name {
                GeneralName::Rfc822(span) => Subject::Rfc822(certificate.bytes(*span)),
                GeneralName::Dns(span) => Subject::Dns(certificate.bytes(*span)),
                GeneralName::Uri(span) => Subject::Uri(certificate.bytes(*span)),
                GeneralName::Ip(span) => Subject::Ip(certificate.bytes(*span)),
                GeneralName::Directory(name) => Subject::Directory(name),
                GeneralName::SmtpUtf8Mailbox => Subject::SmtpUtf8Mailbox,
                GeneralName::Other(form) => Subject::Other(*form),
            };
            self.check_name(&subject, budget)?;
        }
        Ok(())
    }

    fn check_name(&self, name: &Subject<'_>, budget: &mut Budget) -> Result<(), PathFault> {
        let form = name.form();
        let violated = || PathFault::NameConstraintViolated {
            form,
            constrained_by: self.constrained_by,
        };
        let unsupported = || PathFault::NameConstraintUnsupported {
            form,
            constrained_by: self.constrained_by,
        };
        for subtree in &self.constraints.excluded {
            budget.compare_name()?;
            match self.within(name, subtree, Side::Excluded) {
                Within::Yes => return Err(violated()),
                Within::Unclear => return Err(unsupported()),
                Within::No | Within::OtherForm => {}
            }
        }
        let mut form_is_permitted_somewhere = false;
        for subtree in &self.constraints.permitted {
            budget.compare_name()?;
            match self.within(name, subtree, Side::Permitted) {
                Within::Yes => return Ok(()),
                Within::Unclear => return Err(unsupported()),
                Within::No => form_is_permitted_somewhere = true,
                Within::OtherForm => {}
            }
        }
        if form_is_permitted_somewhere {
            Err(violated())
        } else {
            Ok(())
        }
    }

    fn within(&self, name: &Subject<'_>, subtree: &GeneralSubtree, side: Side) -> Within {
        let verdict = match (name, &subtree.base) {
            (Subject::Directory(name), GeneralName::Directory(base)) => {
                if name.is_within(base) {
                    Within::Yes
                } else {
                    Within::No
                }
            }
            (Subject::Rfc822(name), GeneralName::Rfc822(base)) => {
                rfc822_within(name, self.ca.bytes(*base))
            }
            (Subject::Dns(name), GeneralName::Dns(base)) => {
                dns_within(name, self.ca.bytes(*base), side)
            }
            (Subject::Uri(name), GeneralName::Uri(base)) => uri_within(name, self.ca.bytes(*base)),
            (Subject::Ip(name), GeneralName::Ip(base)) => ip_within(name, self.ca.bytes(*base)),
            // RFC 9598 6: constraints on rfc822Name hold for these addresses too.
            (
                Subject::SmtpUtf8Mailbox,
                GeneralName::Rfc822(_) | GeneralName::SmtpUtf8Mailbox | GeneralName::Other(0),
            )
            | (Subject::Other(0), GeneralName::SmtpUtf8Mailbox) => Within::Unclear,
            (Subject::Other(name), GeneralName::Other(base)) if name == base => Within::Unclear,
            _ => Within::OtherForm,
        };
        match verdict {
            Within::OtherForm => Within::OtherForm,
            // 4.2.1.10: minimum and maximum are not used with any name form.
            _ if !subtree.whole_subtree || name.is_too_long() => Within::Unclear,
            verdict => verdict,
        }
    }
}

/// Which list a subtree stands in: a wildcard is inside an excluded subtree if any of its names is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Permitted,
    Excluded,
}

impl Subject<'_> {
    fn form(&self) -> &'static str {
        match self {
            Self::Directory(_) => "directoryName",
            Self::Rfc822(_) => "rfc822Name",
            Self::Dns(_) => "dNSName",
            Self::Uri(_) => "uniformResourceIdentifier",
            Self::Ip(_) => "iPAddress",
            Self::SmtpUtf8Mailbox => "SmtpUTF8Mailbox",
            Self::Other(_) => "a name of another form",
        }
    }

    fn is_too_long(&self) -> bool {
        match self {
            Self::Rfc822(name) | Self::Dns(name) | Self::Uri(name) => name.len() > MAX_NAME_BYTES,
            Self::Directory(_) | Self::Ip(_) | Self::SmtpUtf8Mailbox | Self::Other(_) => false,
        }
    }
}

/// A host name of letters, digits, `-` and `_`, in labels of 1 to 63.
fn is_host(name: &[u8]) -> bool {
    name.len() <= 253
        && name.split(|&byte| byte == b'.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

/// `name` is `base` or ends in `.base`, letter case aside.
fn is_same_or_below(name: &[u8], base: &[u8]) -> bool {
    let Some(split) = name.len().checked_sub(base.len()) else {
        return false;
    };
    let (front, back) = name.split_at(split);
    back.eq_ignore_ascii_case(base) && (front.is_empty() || front.last() == Some(&b'.'))
}

/// A base of `.example.com` means hosts below it; without the dot the host itself counts too.
fn dns_within(name: &[u8], base: &[u8], side: Side) -> Within {
    let (wildcard, host) = match name.strip_prefix(b"*.") {
        Some(parent) => (true, parent),
        None => (false, name),
    };
    if !is_host(host) {
        return Within::Unclear;
    }
    if base.is_empty() {
        return Within::Yes;
    }
    let (below_only, base) = match base.strip_prefix(b".") {
        Some(base) => (true, base),
        None => (false, base),
    };
    if !is_host(base) {
        return Within::Unclear;
    }
    // `*.example.com` stands for names below example.com, so it lies below whatever that does.
    let inside = is_same_or_below(host, base)
        && (wildcard || !below_only || !host.eq_ignore_ascii_case(base));
    // One of the names it stands for may be the excluded one.
    let touches = wildcard && side == Side::Excluded && is_same_or_below(base, host);
    if inside || touches {
        Within::Yes
    } else {
        Within::No
    }
}

/// 4.2.1.10: a mailbox, all mailboxes of a host, or with a leading dot all hosts below a domain.
fn rfc822_within(name: &[u8], base: &[u8]) -> Within {
    let Some((local, host)) = mailbox(name) else {
        return Within::Unclear;
    };
    let inside = if let Some((base_local, base_host)) = mailbox(base) {
        // RFC 5280 7.5: the local part as it is, the host without letter case.
        local == base_local && host.eq_ignore_ascii_case(base_host)
    } else if let Some(domain) = base.strip_prefix(b".") {
        if !is_host(domain) {
            return Within::Unclear;
        }
        is_same_or_below(host, domain) && !host.eq_ignore_ascii_case(domain)
    } else if base.is_empty() {
        true
    } else if is_host(base) {
        host.eq_ignore_ascii_case(base)
    } else {
        return Within::Unclear;
    };
    if inside { Within::Yes } else { Within::No }
}

fn mailbox(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = name.iter().rposition(|&byte| byte == b'@')?;
    let (local, host) = name.split_at(at);
    let host = host.strip_prefix(b"@")?;
    // Quoted local parts can hide a second `@`; no certificate needs them.
    let plain = !local.is_empty() && !local.iter().any(|byte| matches!(byte, b'@' | b'"' | b'\\'));
    (plain && is_host(host)).then_some((local, host))
}

/// 4.2.1.10: the host of the authority; a URI without one, or with an address, is refused.
fn uri_within(name: &[u8], base: &[u8]) -> Within {
    let Some(host) = uri_host(name) else {
        return Within::Unclear;
    };
    let inside = match base.strip_prefix(b".") {
        Some(domain) if is_host(domain) => {
            is_same_or_below(host, domain) && !host.eq_ignore_ascii_case(domain)
        }
        None if base.is_empty() => true,
        None if is_host(base) => host.eq_ignore_ascii_case(base),
        _ => return Within::Unclear,
    };
    if inside { Within::Yes } else { Within::No }
}

/// RFC 3986 3.2: the host between `://` and port or path. Readers disagree about user information
/// and about characters that no URI holds, so there is no host in a URI with either.
fn uri_host(uri: &[u8]) -> Option<&[u8]> {
    let allowed =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(byte);
    if !uri.iter().all(allowed) {
        return None;
    }
    let colon = uri.iter().position(|&byte| byte == b':')?;
    let (scheme, rest) = uri.split_at(colon);
    let valid_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !valid_scheme {
        return None;
    }
    let rest = rest.strip_prefix(b"://")?;
    let authority = rest
        .split(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .next()?;
    let mut parts = authority.splitn(2, |&byte| byte == b':');
    let host = parts.next()?;
    if parts
        .next()
        .is_some_and(|port| !port.iter().all(u8::is_ascii_digit))
    {
        return None;
    }
    // An IPv4 address is written in the letters of a host name: RFC 3986 3.2.2 reads it first.
    let address = host
        .iter()
        .all(|byte| byte.is_ascii_digit() || *byte == b'.');
    (is_host(host) && !address).then_some(host)
}

/// 4.2.1.10: address and mask, as in RFC 4632.
fn ip_within(name: &[u8], base: &[u8]) -> Within {
    let (network, mask) = base.split_at(base.len() / 2);
    if !is_prefix_mask(mask) {
        return Within::Unclear;
    }
    if name.len() != network.len() {
        return Within::No;
    }
    let inside = name
        .iter()
        .zip(network)
        .zip(mask)
        .all(|((name, network), mask)| name & mask == network & mask);
    if inside { Within::Yes } else { Within::No }
}

/// Ones, then zeros.
fn is_prefix_mask(mask: &[u8]) -> bool {
    let mut seen_zero = false;
    for &octet in mask {
        if seen_zero && octet != 0 {
            return false;
        }
        if octet
            .leading_ones()
            .saturating_add(octet.trailing_zeros().min(8))
            < 8
        {
            return false;
        }
        seen_zero |= octet != 0xff;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yes(within: Within) -> Option<bool> {
        match within {
            Within::Yes => Some(true),
            Within::No => Some(false),
            Within::OtherForm | Within::Unclear => None,
        }
    }

    #[test]
    fn dns_subtrees() {
        let within =
            |name: &str, base: &str, side| yes(dns_within(name.as_bytes(), base.as_bytes(), side));
        use Side::{Excluded, Permitted};
        assert_eq!(within("example.com", "example.com", Permitted), Some(true));
        assert_eq!(
            within("a.EXAMPLE.com", "example.com", Permitted),
            Some(true)
        );
        assert_eq!(
            within("notexample.com", "example.com", Permitted),
            Some(false)
        );
        assert_eq!(
            within("example.com", ".example.com", Permitted),
            Some(false)
        );
        assert_eq!(
            within("a.example.com", ".example.com", Permitted),
            Some(true)
        );
        assert_eq!(within("anything", "", Permitted), Some(true));
        assert_eq!(
            within("*.example.com", "example.com", Permitted),
            Some(true)
        );
        assert_eq!(within("*.com", "example.com", Permitted), Some(false));
        assert_eq!(within("*.com", "example.com", Excluded), Some(true));
        assert_eq!(
            within("*.example.com", "a.example.com", Excluded),
            Some(true)
        );
        assert_eq!(within("a..b", "example.com", Permitted), None);
        assert_eq!(within("example.com.", "example.com", Excluded), None);
        assert_eq!(within("", "example.com", Permitted), None);
    }

    #[test]
    fn mail_subtrees() {
        let within = |name: &str, base: &str| yes(rfc822_within(name.as_bytes(), base.as_bytes()));
        assert_eq!(within("a@example.com", "example.com"), Some(true));
        assert_eq!(within("a@sub.example.com", "example.com"), Some(false));
        assert_eq!(within("a@sub.example.com", ".example.com"), Some(true));
        assert_eq!(within("a@example.com", ".example.com"), Some(false));
        assert_eq!(within("a@Example.com", "a@example.com"), Some(true));
        assert_eq!(within("A@example.com", "a@example.com"), Some(false));
        assert_eq!(within("\"x@y\"@example.com", "example.com"), None);
        assert_eq!(within("example.com", "example.com"), None);
    }

    #[test]
    fn uri_subtrees() {
        let within = |name: &str, base: &str| yes(uri_within(name.as_bytes(), base.as_bytes()));
        assert_eq!(within("spiffe://example.org/a", "example.org"), Some(true));
        assert_eq!(
            within("https://a.example.org:8/x", ".example.org"),
            Some(true)
        );
        assert_eq!(within("https://example.org", ".example.org"), Some(false));
        assert_eq!(within("https://a.example.org", "example.org"), Some(false));
        assert_eq!(
            within("https://evil.org#@example.org", "example.org"),
            Some(false)
        );
        for confusing in [
            "https://u@a.example.org/",
            "https://evil.org\\\\@example.org/",
            "https://evil.org \\n@example.org/",
            "https://evil.org;@example.org",
            "https://example.org:8a/",
        ] {
            assert_eq!(within(confusing, "example.org"), None, "{confusing}");
        }
        assert_eq!(within("urn:a:b", "example.org"), None);
        assert_eq!(within("https://10.0.0.1/", "example.org"), None);
        assert_eq!(within("https://[::1]/", "example.org"), None);
    }

    #[test]
    fn address_subtrees() {
        let within = |name: &[u8], base: &[u8]| yes(ip_within(name, base));
        assert_eq!(
            within(&[10, 1, 2, 3], &[10, 0, 0, 0, 255, 0, 0, 0]),
            Some(true)
        );
        assert_eq!(
            within(&[11, 1, 2, 3], &[10, 0, 0, 0, 255, 0, 0, 0]),
            Some(false)
        );
        assert_eq!(within(&[10, 1, 2, 3], &[10, 0, 0, 0, 255, 0, 255, 0]), None);
        assert_eq!(within(&[0; 16], &[10, 0, 0, 0, 255, 0, 0, 0]), Some(false));
        assert!(is_prefix_mask(&[255, 240, 0, 0]));
        assert!(!is_prefix_mask(&[255, 241, 0, 0]));
        assert!(is_prefix_mask(&[0, 0]));
    }
}
