//! What a request asks for: Google's RequestOperation.

use super::facts::Facts;
use super::host::HostMatch;
use super::text::{Effect, TextMatch};
use crate::headers::FoldedName;

/// One compiled entry of `operations` or `notOperations`. An empty list says nothing.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) effect: Effect,
    pub(super) hosts: Vec<HostMatch>,
    /// On the bytes that are forwarded, the query among them.
    pub(super) paths: Vec<TextMatch>,
    /// In upper case.
    pub(super) methods: Vec<String>,
    pub(super) headers: Vec<HeaderMatch>,
}

impl Operation {
    /// `authz_policy.proto`, To: any of a list, but every header; and all lists that are given.
    pub(super) fn matches(&self, facts: &Facts<'_>) -> bool {
        let request = facts.request;
        let hosts = || {
            let host = facts.host.as_ref();
            host.is_some_and(|host| self.hosts.iter().any(|pattern| pattern.matches(host)))
        };
        // No pattern is empty, so a request without a path (CONNECT) matches none.
        let paths = || {
            self.paths
                .iter()
                .any(|path| self.is_path(path, request.path))
        };
        let methods = || {
            let mut methods = self.methods.iter();
            methods.any(|method| self.is_method(method, request.method))
        };
        (self.hosts.is_empty() || hosts())
            && (self.paths.is_empty() || paths())
            && (self.methods.is_empty() || methods())
            && self
                .headers
                .iter()
                .all(|header| header.matches(request.headers))
    }

    /// `authz_policy.proto`: the query belongs to the path. A client can put one behind every path,
    /// so, and this is *ours*, where a match keeps out it is enough that the path without it matches.
    fn is_path(&self, pattern: &TextMatch, path: &[u8]) -> bool {
        let before_query = || path.split(|byte| *byte == b'?').next().unwrap_or_default();
        pattern.matches(path)
            || (self.effect == Effect::KeepsOut && pattern.matches(before_query()))
    }

    /// RFC 9110 9.1 and Google: letter case counts. Not for every backend, so, and this is *ours*,
    /// where a match keeps out it does not: over HTTP/2 Envoy forwards `delete`.
    fn is_method(&self, pattern: &str, method: &[u8]) -> bool {
        match self.effect {
            Effect::LetsIn => pattern.as_bytes() == method,
            Effect::KeepsOut => pattern.as_bytes().eq_ignore_ascii_case(method),
        }
    }
}

/// One of `headerSet.headers`.
#[derive(Clone, Debug)]
pub(super) struct HeaderMatch {
    /// RFC 9110 5.1: letter case does not count.
    pub(super) name: String,
    /// How a backend may read the name.
    pub(super) folded: FoldedName,
    pub(super) value: TextMatch,
    pub(super) effect: Effect,
}

impl HeaderMatch {
    /// Google joins the values of a repeated header by `,`. A client may repeat a header so that
    /// the backend picks a value that the joined one hides, and many backends take `x_env` for
    /// `x-env`. So, and this is *ours*: where a match lets in, the joined value must match, and so
    /// must every single line, in whatever spelling. Where it keeps out, it is enough that the
    /// joined value, a line or an element of a line (RFC 9110 5.6.1) matches.
    fn matches(&self, headers: &[(&[u8], &[u8])]) -> bool {
        let lines = || {
            headers
                .iter()
                // Pseudo-headers (RFC 9113 8.3) are the request itself.
                .filter(|(name, _)| !name.starts_with(b":") && self.folded.is_fold_of(name))
        };
        match self.effect {
            Effect::LetsIn => {
                let named = lines().filter(|(name, _)| self.is_named(name));
                joined(named.map(|(_, value)| *value))
                    .is_some_and(|value| self.value.matches(&value))
                    && lines().all(|(_, value)| self.value.matches(value))
            }
            Effect::KeepsOut => {
                let is_joined = || {
                    joined(lines().map(|(_, value)| *value))
                        .is_some_and(|value| self.value.matches(&value))
                };
                lines().any(|(_, value)| self.value.matches_in_list(value))
                    // One line joined is itself.
                    || (lines().nth(1).is_some() && is_joined())
            }
        }
    }

    fn is_named(&self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.name.as_bytes())
    }
}

/// `None`: no line at all.
fn joined<'a>(mut lines: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut value = lines.next()?.to_vec();
    for line in lines {
        value.push(b',');
        value.extend(line);
    }
    Some(value)
}
