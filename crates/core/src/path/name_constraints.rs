//! RFC 5280 4.2.1.10: the names of every certificate below a CA lie where that CA permits.

use super::budget::Budget;
use super::error::{PathError, PathFault};
use crate::x509::{Certificate, GeneralName, GeneralSubtree, Name, NameConstraints, Span};

/// Checks all constraints of a whole path: end entity first, anchor last.
pub(super) fn check(path: &[&Certificate], budget: &mut Budget) -> Result<(), PathError> {
    for (constrained_by, ca) in path.iter().enumerate().skip(1) {
        let Some(constraints) = &ca.extensions().name_constraints else {
            continue;
        };
        let constraints = Constraints::read(constraints, ca, constrained_by);
        for (position, certificate) in path.iter().enumerate().take(constrained_by) {
            // 6.1.3 b, c: self-issued intermediates are exempt, a self-issued end entity is not.
            if position != 0 && certificate.is_self_issued() {
                continue;
            }
            constraints
                .check(certificate, budget)
                .map_err(|fault| PathError { position, fault })?;
        }
    }
    Ok(())
}

/// Names longer than this are not compared: no host, mailbox or URI that anybody uses is, and
/// comparing costs time for every octet.
const MAX_NAME_BYTES: usize = 2048;

/// A name of one of the forms that can be constrained, read once for all comparisons. `None` where
/// it cannot be understood.
enum Subject<'a> {
    Directory(&'a Name),
    Rfc822(Option<Mailbox<'a>>),
    Dns(Option<DnsName<'a>>),
    Uri(Option<&'a [u8]>),
    Ip(&'a [u8]),
    SmtpUtf8Mailbox,
    Other(u8),
}

/// A subtree's root, read once for all names. `None` where it cannot be understood.
enum Base<'a> {
    Directory(&'a Name),
    Rfc822(Option<MailboxBase<'a>>),
    Dns(Option<DomainBase<'a>>),
    Uri(Option<DomainBase<'a>>),
    Ip(Option<Network<'a>>),
    SmtpUtf8Mailbox,
    Other(u8),
}

struct Subtree<'a> {
    base: Base<'a>,
    /// 4.2.1.10: minimum and maximum are not used with any name form.
    whole: bool,
}

/// What comparing a name with a subtree gives.
enum Within {
    Yes,
    No,
    /// The subtree is of another form and says nothing about this name.
    OtherForm,
    /// The name or the subtree cannot be understood: fail closed.
    Unclear,
}

/// What one CA says.
struct Constraints<'a> {
    permitted: Vec<Subtree<'a>>,
    excluded: Vec<Subtree<'a>>,
    constrained_by: usize,
}

impl<'a> Constraints<'a> {
    fn read(constraints: &'a NameConstraints, ca: &'a Certificate, constrained_by: usize) -> Self {
        let read = |subtrees: &'a [GeneralSubtree]| -> Vec<Subtree<'a>> {
            subtrees
                .iter()
                .map(|subtree| Subtree {
                    base: Base::read(&subtree.base, ca),
                    whole: subtree.whole_subtree,
                })
                .collect()
        };
        Self {
            permitted: read(&constraints.permitted),
            excluded: read(&constraints.excluded),
            constrained_by,
        }
    }

    fn check(&self, certificate: &Certificate, budget: &mut Budget) -> Result<(), PathFault> {
        if !certificate.subject().is_empty() {
            self.check_name(&Subject::Directory(certificate.subject()), budget)?;
        }
        // 4.2.1.10 asks for this only without subject alternative names; the subject is shown to
        // backends, so its e-mail addresses always count.
        for email in certificate.subject().email_addresses() {
            self.check_name(&Subject::Rfc822(Mailbox::read(email)), budget)?;
        }
        for name in &certificate.extensions().subject_alt_names {
            self.check_name(&Subject::read(name, certificate), budget)?;
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
        for subtree in &self.excluded {
            budget.compare_name()?;
            match subtree.holds(name, Side::Excluded) {
                Within::Yes => return Err(violated()),
                Within::Unclear => return Err(unsupported()),
                Within::No | Within::OtherForm => {}
            }
        }
        let mut form_is_permitted_somewhere = false;
        for subtree in &self.permitted {
            budget.compare_name()?;
            match subtree.holds(name, Side::Permitted) {
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
}

impl Subtree<'_> {
    fn holds(&self, name: &Subject<'_>, side: Side) -> Within {
        let inside = match (name, &self.base) {
            (Subject::Directory(name), Base::Directory(base)) => Some(name.is_within(base)),
            (Subject::Rfc822(name), Base::Rfc822(base)) => {
                both(name, base).map(|(name, base)| base.holds(name))
            }
            (Subject::Dns(name), Base::Dns(base)) => {
                both(name, base).map(|(name, base)| base.holds_dns(name, side))
            }
            (Subject::Uri(name), Base::Uri(base)) => {
                both(name, base).map(|(name, base)| base.holds_host(name))
            }
            (Subject::Ip(name), Base::Ip(base)) => base.as_ref().map(|base| base.holds(name)),
            // RFC 9598 6: constraints on rfc822Name hold for these addresses too.
            (
                Subject::SmtpUtf8Mailbox,
                Base::Rfc822(_) | Base::SmtpUtf8Mailbox | Base::Other(0),
            )
            | (Subject::Other(0), Base::SmtpUtf8Mailbox) => None,
            (Subject::Other(name), Base::Other(base)) if name == base => None,
            _ => return Within::OtherForm,
        };
        match inside {
            Some(true) if self.whole => Within::Yes,
            Some(false) if self.whole => Within::No,
            _ => Within::Unclear,
        }
    }
}

fn both<'a, A, B>(name: &'a Option<A>, base: &'a Option<B>) -> Option<(&'a A, &'a B)> {
    name.as_ref().zip(base.as_ref())
}

/// Which list a subtree stands in: a wildcard is inside an excluded subtree if any of its names is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Permitted,
    Excluded,
}

impl<'a> Subject<'a> {
    fn read(name: &'a GeneralName, certificate: &'a Certificate) -> Self {
        let text = |span: &Span| {
            let text = certificate.bytes(*span);
            (text.len() <= MAX_NAME_BYTES).then_some(text)
        };
        match name {
            GeneralName::Rfc822(span) => Self::Rfc822(text(span).and_then(Mailbox::read)),
            GeneralName::Dns(span) => Self::Dns(text(span).and_then(DnsName::read)),
            GeneralName::Uri(span) => Self::Uri(text(span).and_then(uri_host)),
            GeneralName::Ip(span) => Self::Ip(certificate.bytes(*span)),
            GeneralName::Directory(name) => Self::Directory(name),
            GeneralName::SmtpUtf8Mailbox => Self::SmtpUtf8Mailbox,
            GeneralName::Other(form) => Self::Other(*form),
        }
    }

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
}

impl<'a> Base<'a> {
    fn read(base: &'a GeneralName, ca: &'a Certificate) -> Self {
        match base {
            GeneralName::Rfc822(span) => Self::Rfc822(MailboxBase::read(ca.bytes(*span))),
            GeneralName::Dns(span) => Self::Dns(DomainBase::read(ca.bytes(*span))),
            GeneralName::Uri(span) => Self::Uri(DomainBase::read(ca.bytes(*span))),
            GeneralName::Ip(span) => Self::Ip(Network::read(ca.bytes(*span))),
            GeneralName::Directory(name) => Self::Directory(name),
            GeneralName::SmtpUtf8Mailbox => Self::SmtpUtf8Mailbox,
            GeneralName::Other(form) => Self::Other(*form),
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

fn is_below(name: &[u8], domain: &[u8]) -> bool {
    is_same_or_below(name, domain) && !name.eq_ignore_ascii_case(domain)
}

/// A DNS name: a host, or `*.` before one.
struct DnsName<'a> {
    wildcard: bool,
    host: &'a [u8],
}

impl<'a> DnsName<'a> {
    fn read(name: &'a [u8]) -> Option<Self> {
        let (wildcard, host) = match name.strip_prefix(b"*.") {
            Some(parent) => (true, parent),
            None => (false, name),
        };
        is_host(host).then_some(Self { wildcard, host })
    }
}

/// Everything, a host, or with a leading dot the hosts below a domain.
enum DomainBase<'a> {
    Everything,
    Host(&'a [u8]),
    Below(&'a [u8]),
}

impl<'a> DomainBase<'a> {
    fn read(base: &'a [u8]) -> Option<Self> {
        match base.strip_prefix(b".") {
            Some(domain) => is_host(domain).then_some(Self::Below(domain)),
            None if base.is_empty() => Some(Self::Everything),
            None => is_host(base).then_some(Self::Host(base)),
        }
    }

    /// 4.2.1.10: for DNS names a host stands for itself and all below it.
    fn holds_dns(&self, name: &DnsName<'_>, side: Side) -> bool {
        let (base, inside) = match self {
            Self::Everything => return true,
            Self::Host(base) => (base, is_same_or_below(name.host, base)),
            // `*.example.com` stands for names below example.com, so it lies below that too.
            Self::Below(base) if name.wildcard => (base, is_same_or_below(name.host, base)),
            Self::Below(base) => (base, is_below(name.host, base)),
        };
        // One of the names that a wildcard stands for may be the excluded one.
        let touches = name.wildcard && side == Side::Excluded && is_same_or_below(base, name.host);
        inside || touches
    }

    /// 4.2.1.10: for URIs and mailboxes a host stands for itself alone.
    fn holds_host(&self, host: &[u8]) -> bool {
        match self {
            Self::Everything => true,
            Self::Host(base) => host.eq_ignore_ascii_case(base),
            Self::Below(domain) => is_below(host, domain),
        }
    }
}

/// An e-mail address.
struct Mailbox<'a> {
    local: &'a [u8],
    host: &'a [u8],
}

impl<'a> Mailbox<'a> {
    fn read(name: &'a [u8]) -> Option<Self> {
        if name.len() > MAX_NAME_BYTES {
            return None;
        }
        let at = name.iter().rposition(|&byte| byte == b'@')?;
        let (local, host) = name.split_at(at);
        let host = host.strip_prefix(b"@")?;
        // Quoted local parts can hide a second `@`; no certificate needs them.
        let plain =
            !local.is_empty() && !local.iter().any(|byte| matches!(byte, b'@' | b'"' | b'\\'));
        (plain && is_host(host)).then_some(Self { local, host })
    }
}

/// 4.2.1.10: one mailbox, all of a host, or with a leading dot all of the hosts below a domain.
enum MailboxBase<'a> {
    One(Mailbox<'a>),
    Of(DomainBase<'a>),
}

impl<'a> MailboxBase<'a> {
    fn read(base: &'a [u8]) -> Option<Self> {
        match Mailbox::read(base) {
            Some(mailbox) => Some(Self::One(mailbox)),
            None => DomainBase::read(base).map(Self::Of),
        }
    }

    fn holds(&self, name: &Mailbox<'_>) -> bool {
        match self {
            // RFC 5280 7.5: the local part as it is, the host without letter case.
            Self::One(one) => name.local == one.local && name.host.eq_ignore_ascii_case(one.host),
            Self::Of(hosts) => hosts.holds_host(name.host),
        }
    }
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
struct Network<'a> {
    address: &'a [u8],
    mask: &'a [u8],
}

impl<'a> Network<'a> {
    fn read(base: &'a [u8]) -> Option<Self> {
        let (address, mask) = base.split_at(base.len() / 2);
        is_prefix_mask(mask).then_some(Self { address, mask })
    }

    fn holds(&self, name: &[u8]) -> bool {
        name.len() == self.address.len()
            && name
                .iter()
                .zip(self.address)
                .zip(self.mask)
                .all(|((name, address), mask)| name & mask == address & mask)
    }
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

    #[test]
    fn dns_subtrees() {
        let within = |name: &str, base: &str, side| {
            let (name, base) = (
                DnsName::read(name.as_bytes())?,
                DomainBase::read(base.as_bytes())?,
            );
            Some(base.holds_dns(&name, side))
        };
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
        let within = |name: &str, base: &str| {
            let (name, base) = (
                Mailbox::read(name.as_bytes())?,
                MailboxBase::read(base.as_bytes())?,
            );
            Some(base.holds(&name))
        };
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
        let within = |name: &str, base: &str| {
            let (host, base) = (
                uri_host(name.as_bytes())?,
                DomainBase::read(base.as_bytes())?,
            );
            Some(base.holds_host(host))
        };
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
        let within = |name: &[u8], base: &[u8]| Some(Network::read(base)?.holds(name));
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
