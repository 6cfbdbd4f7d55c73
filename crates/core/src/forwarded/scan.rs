//! Octets looked for in text, eight at a time: texts are long, and what is looked for is rare.

/// The first octet that `marks` finds. It sets the high bit of the first one it finds in a word, and
/// may set those of octets behind it; an octet 0xff it does not find.
pub(super) fn find(text: &[u8], marks: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, rest) = text.as_chunks::<OCTETS>();
    let first = |word: &[u8; OCTETS]| match marks(u64::from_le_bytes(*word)) {
        0 => None,
        marks => usize::try_from(marks.trailing_zeros() / 8).ok(),
    };
    for (index, word) in words.iter().enumerate() {
        if let Some(octet) = first(word) {
            return Some(index.saturating_mul(OCTETS).saturating_add(octet));
        }
    }
    let mut last = [0xff; OCTETS];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let octet = first(&last)?;
    Some(words.len().saturating_mul(OCTETS).saturating_add(octet))
}

/// Marks octets that are this one.
pub(super) fn equal(word: u64, octet: u8) -> u64 {
    below(word ^ all(octet), 1)
}

/// Marks octets below this one, which is 0x80 at most.
pub(super) fn below(word: u64, octet: u8) -> u64 {
    word.wrapping_sub(all(octet)) & !word & all(0x80)
}

const OCTETS: usize = size_of::<u64>();

/// The octet eight times.
fn all(octet: u8) -> u64 {
    u64::from_le_bytes([octet; OCTETS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_is_found_wherever_it_is() {
        let is_quote = |word| equal(word, b'"') | equal(word, b'\\');
        let is_white = |word| below(word, 0x21);
        for length in 0..40 {
            for octet in [
                0_u8, 0x1f, b' ', b'!', b'"', b'#', b'\\', 0x7f, 0x80, 0xa2, 0xff,
            ] {
                for filler in [b'#', b'A', 0x80, 0xff] {
                    for at in 0..length {
                        let mut text = vec![filler; length];
                        text[at] = octet;
                        text[length - 1] = if at % 2 == 0 { octet } else { text[length - 1] };
                        let slow = |is: &dyn Fn(u8) -> bool| text.iter().position(|one| is(*one));
                        let quote = slow(&|one| matches!(one, b'"' | b'\\'));
                        assert_eq!(find(&text, is_quote), quote, "{text:?}");
                        assert_eq!(find(&text, is_white), slow(&|one| one < 0x21), "{text:?}");
                    }
                }
            }
        }
    }
}
