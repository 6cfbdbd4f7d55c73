//! What is done to headers: which names go, which values come.

use core::borrow::Borrow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A header name as backends may come to compare names: letter case aside, and every character that
/// is no letter or digit as `-`, since CGI and its heirs fold `-` to `_`, and some of them all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoldedName(Vec<u8>);

/// In the same order as its octets.
impl Borrow<[u8]> for FoldedName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl FoldedName {
    /// Folds a name.
    #[must_use]
    pub fn new(name: &[u8]) -> Self {
        Self(name.iter().map(fold).collect())
    }

    /// `name` folds to this.
    #[must_use]
    pub fn is_fold_of(&self, name: &[u8]) -> bool {
        self.0.len() == name.len() && name.iter().map(fold).eq(self.0.iter().copied())
    }
}

/// RFC 9110 5.6.2: what header names and methods are made of.
pub(crate) fn is_token(text: &[u8]) -> bool {
    let is_tchar = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
    };
    !text.is_empty() && text.iter().all(is_tchar)
}

fn fold(byte: &u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'-'
    }
}

/// One header to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedHeader {
    /// The name, as configured.
    pub name: String,
    /// The value: printable ASCII.
    pub value: String,
}

/// What is done to one message's headers: first all names in `remove`, then every addition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits<'a> {
    /// Folded names that go, in every spelling.
    pub remove: Option<&'a BTreeSet<FoldedName>>,
    /// A header that stays in exactly this spelling, though its folded name goes.
    pub keep: Option<&'static str>,
    /// Headers that come, in order.
    pub add: Arc<[AddedHeader]>,
}

impl HeaderEdits<'_> {
    /// Which of the `names` present go: each spelling once.
    pub fn removals<'n>(&self, names: impl Iterator<Item = &'n [u8]>) -> Vec<&'n [u8]> {
        let Some(remove) = self.remove else {
            return Vec::new();
        };
        let mut folded = Vec::new();
        let mut removals: Vec<&[u8]> = names
            // Pseudo-headers (RFC 9113 8.3) are the request itself.
            .filter(|name| !name.starts_with(b":"))
            .filter(|name| self.keep.map(str::as_bytes) != Some(*name))
            .filter(|name| {
                folded.clear();
                folded.extend(name.iter().map(fold));
                remove.contains(folded.as_slice())
            })
            .collect();
        removals.sort_unstable();
        removals.dedup();
        removals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_alike() {
        let folded = FoldedName::new(b"X-Env");
        assert!(folded.is_fold_of(b"x_eNV"));
        assert!(!folded.is_fold_of(b"x-env2"));
        assert!(!folded.is_fold_of(b"xxenv"));
    }

    #[test]
    fn every_spelling_goes_once() {
        let remove: BTreeSet<_> = [
            &b"X-Client-Cert-Leaf"[..],
            b"x-forwarded-client-cert",
            b"-path",
        ]
        .map(FoldedName::new)
        .into();
        let edits = HeaderEdits {
            remove: Some(&remove),
            keep: Some("x-forwarded-client-cert"),
            add: Arc::default(),
        };
        let names: [&[u8]; 9] = [
            b":path",
            b"x.client.cert.leaf",
            b"x-client-cert-leaf",
            b"X_Client-Cert_Leaf",
            b"x-client-cert-leaf",
            b"x-client-cert-leaf2",
            b"x-forwarded-client-cert",
            b"x_forwarded_client_cert",
            b"\xff",
        ];
        let gone = edits.removals(names.into_iter());
        assert_eq!(
            gone,
            [
                &b"X_Client-Cert_Leaf"[..],
                b"x-client-cert-leaf",
                b"x.client.cert.leaf",
                b"x_forwarded_client_cert"
            ]
        );
    }
}
