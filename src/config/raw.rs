//! The file as written: tables and values that know their place.
//!
//! Keys are taken out of a [`Table`] one by one; those that nobody took are reported as unknown when the table
//! goes out of scope, so no reader can forget it.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::env::Env;
use super::problem::{Problem, did_you_mean, one_line, place};

/// A text being read, and what was found wrong with it so far.
pub(super) struct Document<'d> {
    file: &'d str,
    text: &'d str,
    /// Where `${NAME}` and `key_env` are looked up.
    pub(super) env: &'d Env,
    problems: RefCell<Vec<(usize, Problem)>>,
}

impl<'d> Document<'d> {
    /// A document without problems.
    pub(super) fn new(file: &'d str, text: &'d str, env: &'d Env) -> Self {
        Self { file, text, env, problems: RefCell::default() }
    }

    /// The root table.
    pub(super) fn root(&'d self, table: &'d DeTable<'d>) -> Table<'d> {
        Table { document: self, path: String::new(), span: 0..0, entries: Some(table), known: Vec::new() }
    }

    /// Records a problem of `key` at `span`; an empty span at 0 means the whole file.
    pub(super) fn report(
        &self,
        span: &Range<usize>,
        key: &str,
        written: Option<String>,
        what: String,
        remedy: String,
    ) {
        let place = (*span != (0..0)).then(|| place(self.text, span.start));
        let (file, key) = (self.file.to_owned(), key.to_owned());
        self.problems.borrow_mut().push((span.start, Problem { file, place, key, written, what, remedy }));
    }

    /// The problems in the order of their places.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|(offset, _)| *offset);
        problems.into_iter().map(|(_, problem)| problem).collect()
    }

    /// `path` as seen from the directory of the file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        Path::new(self.file).parent().map_or_else(|| PathBuf::from(path), |directory| directory.join(path))
    }
}

/// One table of the document, or its absence, which reads like an empty one.
pub(super) struct Table<'d> {
    document: &'d Document<'d>,
    path: String,
    span: Range<usize>,
    entries: Option<&'d DeTable<'d>>,
    known: Vec<&'static str>,
}

impl<'d> Table<'d> {
    /// Whether the file has this table.
    pub(super) fn is_present(&self) -> bool {
        self.entries.is_some()
    }

    /// Takes the value of `key`, which is known from now on.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'d>> {
        self.known.push(key);
        let (_, value) = self.entries?.get_key_value(key)?;
        Some(Value {
            document: self.document,
            path: join(&self.path, key),
            node: value.get_ref(),
            span: value.span(),
        })
    }

    /// Takes the value of `key`; its absence is a problem that `example` cures.
    pub(super) fn require(&mut self, key: &'static str, example: &str) -> Option<Value<'d>> {
        let value = self.take(key);
        if value.is_none() {
            self.refuse(key, "missing".to_owned(), format!("write {key} = {example}"));
        }
        value
    }

    /// Takes the table `key`.
    pub(super) fn table(&mut self, key: &'static str) -> Self {
        let value = self.take(key);
        let found = value.as_ref().and_then(|value| value.table(&format!("write [{}]", value.path)));
        found.unwrap_or_else(|| Self {
            document: self.document,
            path: join(&self.path, key),
            span: 0..0,
            entries: None,
            known: Vec::new(),
        })
    }

    /// Takes the array of tables `key`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let remedy = format!("write [[{}]]", value.path);
        if !matches!(value.node, DeValue::Array(_)) {
            value.refuse_unseen("expected an array of tables".to_owned(), remedy);
            return Vec::new();
        }
        value.elements().iter().filter_map(|element| element.table(&remedy)).collect()
    }

    /// Whether the file sets `key` here.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// Takes whatever is left, under names that are the file's own.
    pub(super) fn rest(mut self) -> Vec<(&'d str, Value<'d>)> {
        let entries = self.entries.take().into_iter().flatten();
        let mut rest = Vec::new();
        for (key, value) in entries.filter(|(key, _)| !self.known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref().as_ref();
            let path = join(&self.path, &quoted(name));
            rest.push((name, Value { document: self.document, path, node: value.get_ref(), span: value.span() }));
        }
        rest
    }

    /// Records a problem of `key`, at its place where the file has it.
    pub(super) fn refuse_at(&self, key: &'static str, what: String, remedy: String) {
        let value = self.entries.and_then(|entries| entries.get_key_value(key));
        let span = value.map_or_else(|| self.span.clone(), |(_, value)| value.span());
        self.document.report(&span, &join(&self.path, key), None, what, remedy);
    }

    /// Records a problem of `key` in this table, at the place of the table.
    pub(super) fn refuse(&self, key: &str, what: String, remedy: String) {
        self.document.report(&self.span, &join(&self.path, key), None, what, remedy);
    }

    /// The document that the table stands in.
    pub(super) fn document(&self) -> &'d Document<'d> {
        self.document
    }
}

/// Reports the keys that nobody took.
impl Drop for Table<'_> {
    fn drop(&mut self) {
        for (key, _) in self.entries.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let remedy = if matches!(name, "key" | "api_key") && self.known.contains(&"key_env") {
                "secrets stay out of this file: write key_env = \"NAME\" or key_file = \"/path\"".to_owned()
            } else {
                did_you_mean(name, &self.known)
            };
            let path = join(&self.path, &quoted(name));
            self.document.report(&key.span(), &path, None, "unknown key".to_owned(), remedy);
        }
    }
}

/// One value of the document.
#[derive(Clone)]
pub(super) struct Value<'d> {
    document: &'d Document<'d>,
    path: String,
    node: &'d DeValue<'d>,
    span: Range<usize>,
}

impl<'d> Value<'d> {
    /// The value as TOML sees it.
    pub(super) fn raw(&self) -> &'d DeValue<'d> {
        self.node
    }

    /// The document that the value stands in.
    pub(super) fn document(&self) -> &'d Document<'d> {
        self.document
    }

    /// Whether it is a string.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.node, DeValue::String(_))
    }

    /// Whether it is an array.
    pub(super) fn is_array(&self) -> bool {
        matches!(self.node, DeValue::Array(_))
    }

    /// Whether it is a string into which a variable is filled.
    pub(super) fn has_variable(&self) -> bool {
        matches!(self.node, DeValue::String(text) if text.contains("${"))
    }

    /// Records a problem and repeats the value as written (unless it is a whole array or table).
    pub(super) fn refuse(&self, what: String, remedy: String) {
        let written = match self.node {
            DeValue::Array(_) | DeValue::Table(_) => None,
            _ => self.document.text.get(self.span.clone()).map(one_line),
        };
        self.document.report(&self.span, &self.path, written, what, remedy);
    }

    /// Records a problem without repeating the value, which may be a secret.
    pub(super) fn refuse_unseen(&self, what: String, remedy: String) {
        self.document.report(&self.span, &self.path, None, what, remedy);
    }

    /// The string with its variables filled in; anything else is a problem.
    pub(super) fn text(&self) -> Option<String> {
        self.expand(Self::refuse)
    }

    /// As [`Value::text`], for a string beside or instead of which somebody may have written a secret.
    pub(super) fn text_unseen(&self) -> Option<String> {
        self.expand(Self::refuse_unseen)
    }

    fn expand(&self, refuse: fn(&Self, String, String)) -> Option<String> {
        let DeValue::String(text) = self.node else {
            refuse(self, "expected a string".to_owned(), String::new());
            return None;
        };
        match self.document.env.expand(text) {
            Ok(text) => Some(text),
            Err(faults) => {
                for (what, remedy) in faults {
                    refuse(self, what, remedy);
                }
                None
            }
        }
    }

    /// The elements of an array; any other value counts as its own only element.
    pub(super) fn elements(&self) -> Vec<Self> {
        let DeValue::Array(array) = self.node else { return vec![self.clone()] };
        let element = |(index, element): (usize, &'d toml::Spanned<DeValue<'d>>)| {
            let mut path = self.path.clone();
            write!(path, "[{index}]").expect("a String takes everything");
            Self { document: self.document, path, node: element.get_ref(), span: element.span() }
        };
        array.iter().enumerate().map(element).collect()
    }

    /// The table that this value is; anything else is a problem that `remedy` cures.
    pub(super) fn table(&self, remedy: &str) -> Option<Table<'d>> {
        let DeValue::Table(table) = self.node else {
            self.refuse_unseen("expected a table".to_owned(), remedy.to_owned());
            return None;
        };
        Some(Table {
            document: self.document,
            path: self.path.clone(),
            span: self.span.clone(),
            entries: Some(table),
            known: Vec::new(),
        })
    }
}

/// The path of `key` below `path`; either may be empty.
fn join(path: &str, key: &str) -> String {
    let dot = if path.is_empty() || key.is_empty() { "" } else { "." };
    format!("{path}{dot}{key}")
}

/// `key` as it has to be written in a path: bare where that is possible, else quoted and shortened.
fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { one_line(key) } else { format!("\"{}\"", one_line(key)) }
}
