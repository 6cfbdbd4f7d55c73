//! What the fuzz targets run, and how their inputs are made. Each target is a module with `run`
//! (asserts what must always hold) and `describe` (an input as a person can read it); `mutate`
//! stands beside them where changing plain bytes would not get past the parser.

pub mod accept;
pub mod authz;
pub mod chain;
pub mod configuration;
pub mod der;
pub mod dice;
pub mod forwarded_header;
pub mod frames;
pub mod template;

/// Header values and log lines must hold nothing else.
pub fn is_printable_ascii(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}

/// Reasons go to logs, a line each.
pub fn is_one_line(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}
