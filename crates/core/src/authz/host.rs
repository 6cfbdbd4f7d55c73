//! The host a request names, and Google's `hosts`.
//!
//! Google says that hosts are compared with letter case unless `ignoreCase` is set, and nothing of
//! ports and trailing dots. *Ours*: what names the same host matches the same, since a client
//! chooses how it writes it. Letter case never counts (RFC 9110 4.2.3), nor do one dot at the end
//! (RFC 1034 3.1) and, unless the pattern names one, the port.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::text::{Case, Effect, Pattern, TextMatch};

/// `uri-host [":" port]` (RFC 9110 7.2) in the form in which equal hosts have equal bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    name: String,
    with_port: Option<String>,
}

impl Host {
    /// `None`: not a host with a port at most. No percent-encoding, user information or letters
    /// outside ASCII: whoever reads such a host may find another in it than we do.
    pub(super) fn read(host: &[u8]) -> Option<Self> {
        let host = core::str::from_utf8(host).ok()?;
        let (name, port) = if let Some(literal) = host.strip_prefix('[') {
            let (address, rest) = literal.split_once(']')?;
            (literal_name(address.parse().ok()?)?, rest)
        } else {
            let (name, port) = host.split_at_checked(host.find(':').unwrap_or(host.len()))?;
            let name = name.strip_suffix('.').unwrap_or(name);
            let readable =
                name.chars().all(is_name_character) && !name.split('.').any(str::is_empty);
            if !readable {
                return None;
            }
            let name = name.to_ascii_lowercase();
            if !is_one_address_if_any(&name) {
                return None;
            }
            (name, port)
        };
        let with_port = match port.strip_prefix(':') {
            // RFC 3986 3.2.3: an empty port is none.
            None | Some("") if matches!(port, "" | ":") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let port: u16 = digits.parse().ok()?;
                Some(format!("{name}:{port}"))
            }
            _ => return None,
        };
        Some(Self { name, with_port })
    }
}

/// An IPv6 literal; one that stands for an IPv4 address (RFC 4291 2.5.5) is that address. What a
/// gateway makes another address of (RFC 6052 and 8215, RFC 3056, RFC 2765, RFC 4380) is no host here:
/// which one it is cannot be told from the text.
fn literal_name(address: Ipv6Addr) -> Option<String> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] => address.to_ipv4_mapped().map(|v4| v4.to_string()),
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => address.to_ipv4().map(|v4| v4.to_string()),
        [0x64, 0xff9b, ..] | [0x2002, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x2001, 0, ..] => None,
        _ => Some(format!("[{address}]")),
    }
}

/// inet_aton(3) reads `0x7f.1`, `2130706433` and `127.1` as addresses, where a pattern sees other text:
/// what ends in a number is an address in its usual form, or no host (WHATWG URL 3.5).
fn is_one_address_if_any(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    !is_number || name.parse::<Ipv4Addr>().is_ok()
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_' | '~')
}

/// One of `hosts`.
#[derive(Clone, Debug)]
pub(super) struct HostMatch {
    text: TextMatch,
    names_port: bool,
}

impl HostMatch {
    /// The host must be read already: one that cannot be is refused before any pattern is tried.
    pub(super) fn matches(&self, host: &Host) -> bool {
        if self.names_port {
            host.with_port
                .as_ref()
                .is_some_and(|host| self.text.matches(host.as_bytes()))
        } else {
            self.text.matches(host.name.as_bytes())
        }
    }

    /// A pattern that no host can match is an error: a DENY policy would do nothing.
    pub(super) fn exact(text: &str, effect: Effect) -> Result<Self, &'static str> {
        let Some(Host { name, with_port }) = Host::read(text.as_bytes()) else {
            return Err(NOT_A_HOST);
        };
        let names_port = with_port.is_some();
        check_port(names_port, effect)?;
        Ok(Self {
            text: TextMatch::new(
                Pattern::Exact,
                &with_port.unwrap_or(name),
                // Both sides are in lower case.
                Case::Counts,
            ),
            names_port,
        })
    }

    pub(super) fn prefix(text: &str, effect: Effect) -> Result<Self, &'static str> {
        Self::part(Pattern::Prefix, text, effect)
    }

    pub(super) fn suffix(text: &str, effect: Effect) -> Result<Self, &'static str> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(NOT_A_HOST);
        }
        Self::part(Pattern::Suffix, text, effect)
    }

    pub(super) fn contains(text: &str, effect: Effect) -> Result<Self, &'static str> {
        if text.contains(':') {
            return Err("names a port, which only exact, prefix and suffix can");
        }
        Self::part(Pattern::contains, text, effect)
    }

    fn part(
        pattern: fn(Box<[u8]>) -> Pattern,
        text: &str,
        effect: Effect,
    ) -> Result<Self, &'static str> {
        if !text.chars().all(|c| is_name_character(c) || c == ':') {
            return Err(NOT_A_HOST);
        }
        let names_port = text.contains(':');
        check_port(names_port, effect)?;
        Ok(Self {
            text: TextMatch::new(pattern, &text.to_ascii_lowercase(), Case::Counts),
            names_port,
        })
    }
}

const NOT_A_HOST: &str = "is in no host: there are ASCII letters, digits, \"-\", \".\", \"_\", \"~\" \
     and at the end a port in one; international names are written in their xn-- form, and an IPv6 \
     address, in brackets, goes with exact only";

/// A client need not send the port, so a host with one would keep nobody out.
fn check_port(names_port: bool, effect: Effect) -> Result<(), &'static str> {
    if names_port && effect == Effect::KeepsOut {
        Err(
            "names a port, which a client may leave out of its host: without the port, the \
             pattern matches with every port",
        )
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_has_one_form() {
        let form = |host: &str| {
            Host::read(host.as_bytes()).map(|host| (host.name.clone(), host.with_port.clone()))
        };
        let name = |name: &str| Some((name.to_owned(), None));
        let port = |name: &str, port| Some((name.to_owned(), Some(format!("{name}:{port}"))));
        for host in ["admin.test", "ADMIN.test", "admin.test.", "admin.test.:"] {
            assert_eq!(form(host), name("admin.test"), "{host}");
        }
        for host in [
            "0x7f.1",
            "127.1",
            "2130706433",
            "127.0.0.01",
            "1.2.3.4.5",
            "a.0x",
            "a.7",
        ] {
            assert_eq!(form(host), None, "{host}");
        }
        assert_eq!(form("127.0.0.1."), name("127.0.0.1"));
        assert_eq!(form("[::ffff:10.9.9.9]"), name("10.9.9.9"));
        assert_eq!(form("[::ffff:a09:909]:80"), port("10.9.9.9", 80));
        assert_eq!(form("[::10.9.9.9]"), name("10.9.9.9"));
        for literal in [
            "64:ff9b::a09:909",
            "2002:a09:909::",
            "::ffff:0:10.9.9.9",
            "2001::1",
        ] {
            assert_eq!(form(&format!("[{literal}]")), None, "{literal}");
        }
        for host in ["admin.test:8443", "Admin.Test.:8443", "admin.test:08443"] {
            assert_eq!(form(host), port("admin.test", 8443), "{host}");
        }
        assert_eq!(form("[0:0::1]"), name("[::1]"));
        assert_eq!(form("[::1]:80"), port("[::1]", 80));
        assert_eq!(form("192.0.2.1:80"), port("192.0.2.1", 80));
        for host in [
            "",
            ".",
            "..",
            ":80",
            "admin.test..",
            ".admin.test",
            "admin..test",
            "admin.test:80:80",
            "admin.test:+80",
            "admin.test:65536",
            "admin.test:x",
            "user@admin.test",
            "admin.test/",
            "admin%2etest",
            "admin.test,other.test",
            "admin.test ",
            "admin.test\0",
            "\u{e4}dmin.test",
            "[::1",
            "[::1]80",
            "[fe80::1%25eth0]",
            "::1",
        ] {
            assert_eq!(form(host), None, "{host}");
        }
        assert_eq!(Host::read(b"admin\xff.test"), None);
    }

    #[test]
    fn patterns() {
        let matches = |pattern: Result<HostMatch, &str>, host: &str| {
            pattern
                .unwrap()
                .matches(&Host::read(host.as_bytes()).unwrap())
        };
        for effect in [Effect::LetsIn, Effect::KeepsOut] {
            let exact = || HostMatch::exact("Admin.test.", effect);
            for host in ["admin.test", "ADMIN.test:443", "admin.test."] {
                assert!(matches(exact(), host), "{host}");
            }
            assert!(!matches(exact(), "xadmin.test"));
            assert!(matches(HostMatch::suffix(".Test.", effect), "a.test.:8443"));
            assert!(!matches(HostMatch::suffix(".test", effect), "a.test2"));
            assert!(!matches(HostMatch::suffix("443", effect), "a.test:8443"));
            assert!(matches(HostMatch::prefix("Admin.", effect), "admin.test"));
            assert!(!matches(HostMatch::prefix("admin.", effect), "admin-test"));
            assert!(matches(HostMatch::contains("MIN.T", effect), "admin.test"));
            assert!(!matches(HostMatch::contains("min.t", effect), "adminxt"));
            assert!(matches(HostMatch::exact("[::0:1]", effect), "[::1]:80"));
            for never in ["*.test", "a b", "\u{e4}.test", "a..test", "[::1"] {
                assert_eq!(HostMatch::exact(never, effect).err(), Some(NOT_A_HOST));
            }
            for never in ["*.test", "[::", "\u{e4}"] {
                assert!(HostMatch::prefix(never, effect).is_err(), "{never}");
                assert!(HostMatch::suffix(never, effect).is_err(), "{never}");
                assert!(HostMatch::contains(never, effect).is_err(), "{never}");
            }
            assert!(HostMatch::contains("t:8", effect).is_err());
            assert!(HostMatch::suffix(".", effect).is_err());
        }
        // A port in a pattern lets in with that port only, and cannot keep out.
        type New = fn(&str, Effect) -> Result<HostMatch, &'static str>;
        let all: [(New, &str); 3] = [
            (HostMatch::exact, "a.test:8443"),
            (HostMatch::prefix, "a.test:8"),
            (HostMatch::suffix, "test:8443"),
        ];
        for (pattern, good) in all {
            assert!(matches(pattern(good, Effect::LetsIn), "a.test:8443"));
            for other in ["a.test", "a.test:443", "b.tes:8443"] {
                assert!(!matches(pattern(good, Effect::LetsIn), other), "{other}");
            }
            assert!(pattern(good, Effect::KeepsOut).is_err());
        }
    }
}
