//! What the process finds around it: its variables, and whether a person watches. The only reader of either.
//!
//! Variables are filled into strings after the file is parsed, so that no value can change its structure.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal as _};

type Lookup = Box<dyn Fn(&str) -> Option<String>>;

/// The environment, asked variable by variable so that no copy of its secrets is kept.
pub struct Env {
    lookup: Lookup,
    /// Whether log lines go to a terminal.
    terminal: bool,
}

impl Env {
    /// The environment of this process.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn process() -> Self {
        Self { lookup: Box::new(|name| env::var(name).ok()), terminal: io::stderr().is_terminal() }
    }

    /// An environment of exactly these `variables`, without a terminal.
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let lookup =
            move |wanted: &str| variables.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        Self { lookup: Box::new(lookup), terminal: false }
    }

    /// The value of a variable; `None` when it is not set or not UTF-8.
    pub fn get(&self, name: &str) -> Option<String> {
        // The standard library panics on such names where it sets variables; a file may contain anything.
        if name.is_empty() || name.contains(['=', '\0']) { None } else { (self.lookup)(name) }
    }

    /// Whether log lines go to a terminal.
    pub fn terminal(&self) -> bool {
        self.terminal
    }

    /// `text` with `${NAME}` and `${NAME:-default}` filled in (the default also stands in for an empty value)
    /// and `$$` made one dollar.
    ///
    /// # Errors
    /// Everything that is wrong, as (what, remedy).
    pub(super) fn expand(&self, text: &str) -> Result<String, Vec<(String, String)>> {
        let mut expanded = String::with_capacity(text.len());
        let mut faults = Vec::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            expanded.push_str(&rest[..dollar]);
            rest = &rest[dollar + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                expanded.push('$');
                rest = after;
            } else if let Some((reference, after)) =
                rest.strip_prefix('{').and_then(|reference| reference.split_once('}'))
            {
                match self.resolve(reference) {
                    Ok(value) => expanded.push_str(&value),
                    Err(fault) => faults.push(fault),
                }
                rest = after;
            } else {
                faults.push((
                    "a lone \"$\" means nothing".to_owned(),
                    "write ${NAME} for a variable or $$ for a dollar".to_owned(),
                ));
            }
        }
        expanded.push_str(rest);
        if faults.is_empty() { Ok(expanded) } else { Err(faults) }
    }

    /// The value of what stands between the braces.
    fn resolve(&self, reference: &str) -> Result<String, (String, String)> {
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        if !is_variable_name(name) {
            let remedy = "write ${NAME} or ${NAME:-default}, NAME of letters, digits and \"_\"";
            return Err(("\"${\" is not followed by the name of a variable".to_owned(), remedy.to_owned()));
        }
        match (self.get(name), default) {
            (Some(value), None) => Ok(value),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value),
            (_, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err((
                format!("the environment variable {name} is not set"),
                format!("set it, or write ${{{name}:-default}}"),
            )),
        }
    }
}

/// Whether `name` may name a variable in a configuration file.
pub(super) fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Values stay out of logs.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in() {
        let env = Env::of([("HOST", "example.org"), ("EMPTY", ""), ("ODD", "${HOST} \" = $")]);
        for (text, expected) in [
            ("plain", "plain"),
            ("https://${HOST}/v1", "https://example.org/v1"),
            ("${HOST}${HOST}", "example.orgexample.org"),
            ("${NONE:-a:-b}", "a:-b"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${HOST:-x}", "example.org"),
            ("$$5 and $${HOST}", "$5 and ${HOST}"),
            ("${ODD}", "${HOST} \" = $"),
        ] {
            assert_eq!(env.expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn every_fault_of_a_string_is_told() {
        let env = Env::of([]);
        for (text, expected) in [
            ("${A} ${B}", vec!["the environment variable A is not set", "the environment variable B is not set"]),
            ("$HOME/x", vec!["a lone \"$\" means nothing"]),
            ("x$", vec!["a lone \"$\" means nothing"]),
            ("${A", vec!["a lone \"$\" means nothing"]),
            ("${}", vec!["\"${\" is not followed by the name of a variable"]),
            ("${1A:-x}", vec!["\"${\" is not followed by the name of a variable"]),
            ("${A-x}", vec!["\"${\" is not followed by the name of a variable"]),
        ] {
            let faults: Vec<String> =
                env.expand(text).expect_err(text).into_iter().map(|(what, _)| what).collect();
            assert_eq!(faults, expected, "{text}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        assert!(!format!("{:?}", Env::of([("A", "canary")])).contains("canary"));
    }
}
