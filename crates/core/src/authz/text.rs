//! Google's StringMatch, on bytes.

use std::borrow::Cow;

/// What a match leads to, which says to which side doubt must fall.
///
/// A source of an ALLOW policy lets in; negated, it keeps out. A DENY policy is the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// A match makes it likelier that the request goes on.
    LetsIn,
    /// A match makes it likelier that the request is refused.
    KeepsOut,
}

/// One pattern. Values are bytes: one that is no UTF-8 is compared like any other.
#[derive(Clone, Debug)]
pub(super) struct TextMatch {
    pattern: Pattern,
    case: Case,
}

/// The four ways of `authz_policy.proto`.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// The whole value.
    Exact(Box<[u8]>),
    /// Its beginning.
    Prefix(Box<[u8]>),
    /// Its end.
    Suffix(Box<[u8]>),
    /// Anywhere in it.
    Contains(Needle),
}

impl Pattern {
    pub(super) fn contains(text: Box<[u8]>) -> Self {
        Self::Contains(Needle::new(text))
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => *value == **text,
            Self::Prefix(text) => value.starts_with(text),
            Self::Suffix(text) => value.ends_with(text),
            Self::Contains(needle) => needle.is_in(value),
        }
    }
}

/// Which letters count as one. Google says "case insensitive" and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// Every byte as it is.
    Counts,
    /// A to Z, as in Envoy: where a match lets in, U+212A (kelvin sign) is no `k`.
    Ascii,
    /// Lower case of every character, by itself (Unicode, without special casing by context): where
    /// a match keeps out, `Ü` is no way around `ü`.
    Unicode,
}

impl Case {
    pub(super) fn new(ignore_case: bool, effect: Effect) -> Self {
        match (ignore_case, effect) {
            (false, _) => Self::Counts,
            (true, Effect::LetsIn) => Self::Ascii,
            (true, Effect::KeepsOut) => Self::Unicode,
        }
    }

    pub(super) fn fold(self, value: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Counts => Cow::Borrowed(value),
            Self::Ascii => Cow::Owned(value.to_ascii_lowercase()),
            // Much faster, and what nearly every value is.
            Self::Unicode if value.is_ascii() => Cow::Owned(value.to_ascii_lowercase()),
            Self::Unicode => {
                let mut folded = Vec::with_capacity(value.len());
                let mut buffer = [0; 4];
                for chunk in value.utf8_chunks() {
                    for lower in chunk.valid().chars().flat_map(char::to_lowercase) {
                        folded.extend(lower.encode_utf8(&mut buffer).bytes());
                    }
                    folded.extend(chunk.invalid());
                }
                Cow::Owned(folded)
            }
        }
    }
}

impl TextMatch {
    /// `pattern` need not be folded.
    pub(super) fn new(pattern: fn(Box<[u8]>) -> Pattern, text: &str, case: Case) -> Self {
        Self {
            pattern: pattern(case.fold(text.as_bytes()).into()),
            case,
        }
    }

    pub(super) fn matches(&self, value: &[u8]) -> bool {
        self.pattern.matches(&self.case.fold(value))
    }

    /// The list as it is, or one of its elements without the white space around it (RFC 9110
    /// 5.6.1). Folded once: a list may be nothing but commas.
    pub(super) fn matches_in_list(&self, list: &[u8]) -> bool {
        let list = self.case.fold(list);
        self.pattern.matches(&list)
            || list
                .split(|byte| *byte == b',')
                .any(|element| self.pattern.matches(element.trim_ascii()))
    }
}

/// A pattern to look for, prepared (Knuth, Morris, Pratt): the client writes the values, so that
/// the time must not be length times length.
#[derive(Clone, Debug)]
pub(super) struct Needle {
    text: Box<[u8]>,
    /// For each beginning of the text, one byte and longer: the length of its longest proper end
    /// that is a beginning too.
    borders: Vec<usize>,
}

impl Needle {
    fn new(text: Box<[u8]>) -> Self {
        let mut needle = Self {
            borders: Vec::with_capacity(text.len()),
            text,
        };
        let mut matched = 0;
        for index in 0..needle.text.len() {
            // Its own first byte would make the border as long as the text.
            if let (1.., Some(byte)) = (index, needle.text.get(index)) {
                matched = needle.after(matched, *byte);
            }
            needle.borders.push(matched);
        }
        needle
    }

    fn is_in(&self, value: &[u8]) -> bool {
        let mut matched = 0;
        value.iter().any(|byte| {
            matched = self.after(matched, *byte);
            matched == self.text.len()
        })
    }

    /// How many bytes of the text are matched once `byte` follows `matched` of them.
    fn after(&self, mut matched: usize, byte: u8) -> usize {
        loop {
            if self.text.get(matched) == Some(&byte) {
                return matched.saturating_add(1);
            }
            let Some(last) = matched.checked_sub(1) else {
                return 0;
            };
            // Shorter each time.
            matched = self.borders.get(last).copied().unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_patterns() {
        let matches = |pattern: fn(Box<[u8]>) -> Pattern, value: &[u8]| {
            TextMatch::new(pattern, "abc", Case::Counts).matches(value)
        };
        type New = fn(Box<[u8]>) -> Pattern;
        let all: [(New, &[&str], &[&str]); 4] = [
            (Pattern::Exact, &["abc"], &["abcd", "xabc", "ab", "", "ABC"]),
            (Pattern::Prefix, &["abc", "abcd"], &["xabc", "ab", "Abc"]),
            (Pattern::Suffix, &["abc", "xabc"], &["abcd", "bc", "abC"]),
            (
                Pattern::contains,
                &["abc", "xabcd", "ababc"],
                &["abxc", "ab", "aBc"],
            ),
        ];
        for (pattern, good, bad) in all {
            for value in good {
                assert!(matches(pattern, value.as_bytes()), "{value}");
            }
            for value in bad {
                assert!(!matches(pattern, value.as_bytes()), "{value}");
            }
        }
        // A byte that is no UTF-8 ends nothing.
        assert!(matches(Pattern::contains, b"\xff\xfeabc\xc3"));
        assert!(!matches(Pattern::Exact, b"abc\0"));
    }

    #[test]
    fn needles_are_found_as_by_comparing_everywhere() {
        // All texts of up to 4 letters out of 2 in all values of up to 7.
        let words = |length: u32| {
            (0..2_u32.pow(length)).map(move |bits| {
                (0..length)
                    .map(|at| if bits >> at & 1 == 0 { b'a' } else { b'b' })
                    .collect::<Vec<u8>>()
            })
        };
        for text in (1..5).flat_map(words) {
            let needle = Needle::new(text.clone().into());
            for value in (0..8).flat_map(words) {
                let found = value.windows(text.len()).any(|window| window == text);
                assert_eq!(needle.is_in(&value), found, "{text:?} in {value:?}");
            }
        }
    }

    #[test]
    fn letter_case() {
        let exact = |text, value: &str, effect| {
            TextMatch::new(Pattern::Exact, text, Case::new(true, effect)).matches(value.as_bytes())
        };
        for effect in [Effect::LetsIn, Effect::KeepsOut] {
            assert!(exact("Data", "dATA", effect));
            assert!(!exact("data", "date", effect));
        }
        for (text, value) in [
            ("m\u{fc}ller", "M\u{dc}LLER"),
            ("k", "\u{212a}"),
            ("\u{3a3}\u{3a3}", "\u{3c3}\u{3a3}"),
        ] {
            assert!(exact(text, value, Effect::KeepsOut), "{text}");
            assert!(!exact(text, value, Effect::LetsIn), "{text}");
        }
        // Broken bytes beside a letter do not save it from being folded.
        let fold = |value: &[u8]| Case::Unicode.fold(value).into_owned();
        assert_eq!(fold(b"\xc3\x9c\xffA\xc3"), b"\xc3\xbc\xffa\xc3");
    }
}
