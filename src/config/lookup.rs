//! From a model name to the position of whoever has it: names first, then the narrowest glob.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::pattern::Pattern;

/// Names and globs, arranged for looking up.
#[derive(Debug)]
pub struct Lookup {
    exact: HashMap<Box<str>, usize>,
    /// The narrowest first.
    globs: Vec<(Pattern, usize)>,
}

impl Lookup {
    /// Of these `names`, each with the position that it stands for. Of equal ones the first counts.
    pub fn new<'n>(names: impl IntoIterator<Item = (&'n str, usize)>) -> Self {
        let mut exact = HashMap::new();
        let mut globs = Vec::new();
        for (name, position) in names {
            let pattern = Pattern::new(name);
            if pattern.is_exact() {
                exact.entry(name.into()).or_insert(position);
            } else {
                globs.push((pattern, position));
            }
        }
        // Stable: equally narrow globs stay in their order.
        globs.sort_by_key(|(pattern, _)| Reverse(pattern.specificity()));
        Self { exact, globs }
    }

    /// The position of `name`: that of exactly this name, else of the glob with the longest text before its first
    /// wildcard, else, among equals, of the first.
    pub fn resolve(&self, name: &str) -> Option<usize> {
        let glob = || self.globs.iter().find(|(pattern, _)| pattern.matches(name)).map(|(_, position)| *position);
        self.exact(name).or_else(glob)
    }

    /// The position of exactly this name.
    pub fn exact(&self, name: &str) -> Option<usize> {
        self.exact.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_before_globs_and_narrow_globs_before_wide_ones() {
        let names = ["*", "gpt-*", "gpt-4*", "gpt-?", "gpt-5", "gpt-5"];
        let lookup = Lookup::new(names.iter().enumerate().map(|(position, name)| (*name, position)));
        for (name, expected) in
            [("gpt-5", 4), ("gpt-4o", 2), ("gpt-6", 1), ("gpt-66", 1), ("claude", 0), ("a/b", 0), ("gpt-4", 2)]
        {
            assert_eq!(lookup.resolve(name), Some(expected), "{name}");
        }
        assert_eq!(Lookup::new([("gpt-*", 0)]).resolve("claude"), None);
    }
}
