//! Choosing variants in an example.
//!
//! ```text
//! # variant one: what it is
//! directive
//! # variant two: another
//! #directive
//! # end
//! ```
//! The first variant is in force as the file stands; the directives of the others are comments
//! without a space after the `#`. There may be several such choices in a file.

/// The example with these variants in force, the first one where none of them is to be chosen;
/// `None` if it has no such variant.
pub(super) fn with_variants(text: &str, wanted: &[&str]) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    // The variant in force, and the one of the line.
    let mut choice: Option<(&str, &str)> = None;
    for (number, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        if let Some(name) = variant_of(line) {
            let chosen = choice.map_or_else(
                || {
                    let rest = lines.iter().skip(number);
                    let mut names = rest
                        .take_while(|line| !ends(line))
                        .filter_map(|line| variant_of(line));
                    names.find(|name| wanted.contains(name)).unwrap_or(name)
                },
                |(chosen, _)| chosen,
            );
            choice = Some((chosen, name));
        } else if ends(line) {
            choice = None;
        } else if choice.is_none() || trimmed.starts_with("# ") {
            out.push_str(line);
            out.push('\n');
        } else if choice.is_some_and(|(chosen, name)| chosen == name) {
            out.push_str(&line.replacen('#', "", usize::from(trimmed.starts_with('#'))));
            out.push('\n');
        }
    }
    let has = |wanted: &&str| lines.iter().any(|line| variant_of(line) == Some(*wanted));
    wanted.iter().all(has).then_some(out)
}

fn variant_of(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("# variant ")?;
    rest.split_once(':').map(|(name, _)| name)
}

fn ends(line: &str) -> bool {
    line.trim_start() == "# end"
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
# variant three: nothing
# variant four: something
#d
# end
";

    #[test]
    fn one_variant_of_each_choice_is_in_force() {
        for (wanted, text) in [
            (&["one"][..], "before #x\n  a = \"#\"\nafter\n"),
            (&["two"], "before #x\n  b = \"#\"\n  c\nafter\n"),
            (&["two", "three"], "before #x\n  b = \"#\"\n  c\nafter\n"),
            (&["one", "four"], "before #x\n  a = \"#\"\nafter\nd\n"),
        ] {
            assert_eq!(with_variants(EXAMPLE, wanted).unwrap(), text, "{wanted:?}");
        }
        assert_eq!(with_variants(EXAMPLE, &["one", "five"]), None);
    }
}
