//! Choosing a variant in an example.
//!
//! ```text
//! # variant one: what it is
//! directive
//! # variant two: another
//! #directive
//! # end
//! ```
//! The first variant is in force as the file stands; the directives of the others are comments
//! without a space after the `#`.

/// The example with this variant in force instead; `None` if it has no such variant.
pub(super) fn with_variant(text: &str, wanted: &str) -> Option<String> {
    let mut out = String::new();
    let mut current = None;
    let mut found = false;
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some((name, _)) = trimmed
            .strip_prefix("# variant ")
            .and_then(|rest| rest.split_once(':'))
        {
            current = Some(name);
            found |= name == wanted;
        } else if trimmed == "# end" {
            current = None;
        } else if current.is_none() || trimmed.starts_with("# ") {
            out.push_str(line);
            out.push('\n');
        } else if current == Some(wanted) {
            out.push_str(&line.replacen('#', "", usize::from(trimmed.starts_with('#'))));
            out.push('\n');
        }
    }
    found.then_some(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "\
before #x
  # variant one: the first
  a = \"#\"
  # variant two: the second
  #b = \"#\"
  #c
  # end
after
";

    #[test]
    fn one_variant_is_in_force() {
        let one = with_variant(EXAMPLE, "one").unwrap();
        assert_eq!(one, "before #x\n  a = \"#\"\nafter\n");
        let two = with_variant(EXAMPLE, "two").unwrap();
        assert_eq!(two, "before #x\n  b = \"#\"\n  c\nafter\n");
        assert_eq!(with_variant(EXAMPLE, "three"), None);
    }
}
