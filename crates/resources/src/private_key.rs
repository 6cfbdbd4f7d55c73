//! Private keys in what people hand over, which belong nowhere in here.

/// The label of PEM that must not be shown to anybody (RFC 7468 sections 10, 11 and 13).
pub const LABEL: &str = "PRIVATE KEY-----";

/// The lines on which private keys begin, from 1.
pub fn lines(text: &str) -> impl Iterator<Item = usize> {
    (1_usize..)
        .zip(text.lines())
        .filter(|(_, line)| line.contains(LABEL) && line.contains("-----BEGIN"))
        .map(|(number, _)| number)
}
