//! Model names with wildcards, as written in `routes.model` and `keys.models`: `*` stands for any run of
//! characters, `/` included, and `?` for exactly one. There is no escape; letter case counts.

use std::fmt;

/// A model name or a glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

/// How narrow a pattern is; the greater, the narrower. A name without wildcards is above every glob, and
/// among globs the one with the longer text before its first wildcard is above the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    exact: bool,
    literal_prefix_bytes: usize,
}

impl Pattern {
    /// The pattern `text`. Every text is one.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has no wildcard, so that it matches one name only.
    pub fn is_exact(&self) -> bool {
        self.literal_prefix().len() == self.0.len()
    }

    /// How narrow it is.
    pub fn specificity(&self) -> Specificity {
        Specificity { exact: self.is_exact(), literal_prefix_bytes: self.literal_prefix().len() }
    }

    /// Whether it stands for `name`. Takes at most (length of the pattern × length of `name`) steps, whatever
    /// the two are: only the last `*` is ever tried again, because a longer run of an earlier one could match
    /// nothing that the last cannot.
    pub fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.as_ref(), name);
        // What follows the last `*`, and where its run ends so far.
        let mut last_star: Option<(&str, &str)> = None;
        loop {
            if let Some(after_star) = pattern.strip_prefix('*') {
                last_star = Some((after_star, rest));
                pattern = after_star;
                continue;
            }
            let step = match (split_first(pattern), split_first(rest)) {
                (None, None) => return true,
                (Some((wanted, after_wanted)), Some((found, after_found))) if wanted == '?' || wanted == found => {
                    Some((after_wanted, after_found))
                }
                _ => None,
            };
            if let Some(next) = step {
                (pattern, rest) = next;
                continue;
            }
            // Not so: the last `*` takes one character more.
            let Some((after_star, run_end)) = last_star else { return false };
            let Some((_, run_end)) = split_first(run_end) else { return false };
            last_star = Some((after_star, run_end));
            (pattern, rest) = (after_star, run_end);
        }
    }

    fn literal_prefix(&self) -> &str {
        self.0.split(['*', '?']).next().unwrap_or_default()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn split_first(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    chars.next().map(|first| (first, chars.as_str()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards_match() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("", "a", false),
            ("gpt-5", "gpt-5", true),
            ("gpt-5", "gpt-5-mini", false),
            ("gpt-5", "GPT-5", false),
            ("*", "", true),
            ("*", "openai/gpt", true),
            ("gpt-*", "gpt-", true),
            ("gpt-*", "gpt-5/x", true),
            ("gpt-*", "xgpt-5", false),
            ("*-mini", "gpt-5-mini", true),
            ("*-mini", "gpt-5-mini-x", false),
            ("*-mini", "-mini-mini", true),
            ("g*t-?", "gpt-5", true),
            ("g*t-?", "gpt-", false),
            ("g*t-?", "gpt-55", false),
            ("?", "ä", true),
            ("*?", "ä", true),
            ("?*", "", false),
            ("a*b*c", "a-c-b-b-c", true),
            ("a*b*c", "a-c-b-b", false),
            ("**", "x", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_the_product_of_lengths() {
        let pattern = Pattern::new(&"a*".repeat(1000));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(999))));
        assert!(pattern.matches(&"a".repeat(20_000)));
    }

    #[test]
    fn names_come_before_globs_and_longer_prefixes_before_shorter() {
        let order = ["gpt-4", "gpt-4o-*", "gpt-4*", "gpt-?", "*-mini"];
        let specificities: Vec<_> = order.iter().map(|pattern| Pattern::new(pattern).specificity()).collect();
        assert!(specificities.is_sorted_by(|a, b| a > b), "{specificities:?}");
        assert_eq!(Pattern::new("*").specificity(), Pattern::new("?x").specificity());
    }

    /// The definition, exponential but plain.
    fn slowly(pattern: &[char], name: &[char]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ['*', rest @ ..] => (0..=name.len()).any(|run| slowly(rest, &name[run..])),
            ['?', rest @ ..] => !name.is_empty() && slowly(rest, &name[1..]),
            [letter, rest @ ..] => name.first() == Some(letter) && slowly(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_its_definition(pattern in "[abä*?]{0,8}", name in "[abä]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = slowly(&chars(&pattern), &chars(&name));
            prop_assert_eq!(Pattern::new(&pattern).matches(&name), expected);
        }
    }
}
