//! One problem of a configuration: where it is, what was written, what is wrong with it, what to write instead.

use std::fmt;

/// Longest value that a problem repeats, in characters.
const WRITTEN_MAX: usize = 60;

/// A problem as told to the person who wrote the file. It never holds the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named to us.
    pub file: String,
    /// Line and column, both from 1, columns in characters; `None` when the whole file is meant.
    pub place: Option<(usize, usize)>,
    /// Path of the key, such as `upstreams[1].base_url`; empty when no key is meant.
    pub key: String,
    /// The value as written, before variables are filled in; `None` for secrets and whole tables.
    pub written: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do about it; may be empty.
    pub remedy: String,
}

impl Problem {
    /// A problem of the whole `file`.
    pub(super) fn of_file(file: &str, what: String) -> Self {
        Self { file: file.to_owned(), place: None, key: String::new(), written: None, what, remedy: String::new() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            f.write_str(&self.key)?;
            if let Some(written) = &self.written {
                write!(f, " = {written}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// `text` on one line and of bounded length.
pub(super) fn one_line(text: &str) -> String {
    let mut line: String = text.chars().take(WRITTEN_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(WRITTEN_MAX).is_some() {
        line.push('…');
    }
    line
}

/// Line and column of the byte `offset` of `text`, both from 1. Linear: problems are few.
pub(super) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Advice for a `name` that is not among `known`: the nearest one, or all of them when none is near.
pub(super) fn did_you_mean(name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, candidate)) if distance <= (name.chars().count() / 3).max(1) => {
            format!("did you mean \"{candidate}\"?")
        }
        Some(_) => format!("known are {}", known.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "a\nbä = 1\n";
        for (offset, expected) in [(0, (1, 1)), (2, (2, 1)), (4, (2, 2)), (5, (2, 3)), (99, (3, 1))] {
            assert_eq!(place(text, offset), expected, "offset {offset}");
        }
    }

    #[test]
    fn a_near_name_is_proposed_and_otherwise_all_are_listed() {
        let known = ["protocol", "base_url"];
        assert_eq!(did_you_mean("protocl", &known), "did you mean \"protocol\"?");
        assert_eq!(did_you_mean("baseurl", &known), "did you mean \"base_url\"?");
        assert_eq!(did_you_mean("colour", &known), "known are protocol, base_url");
        assert_eq!(did_you_mean("x", &[]), "");
    }

    #[test]
    fn long_and_broken_values_become_one_short_line() {
        assert_eq!(one_line("a\nb"), "a b");
        assert_eq!(one_line(&"x".repeat(100)).chars().count(), WRITTEN_MAX + 1);
    }
}
