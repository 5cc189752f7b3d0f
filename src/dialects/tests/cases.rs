//! Answers to try the dialects on.

use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{roster, wire};
use crate::dialects::conversation::{Answer, Event};
use crate::dialects::provider::{Malformed, Provider, Sent};

/// Stands in every [`Sent`].
pub(super) const UNIQUE: &str = "0123456789abcdef0123456789abcdef";

/// What a request said and what the answer was.
#[derive(Debug)]
pub(super) struct Case {
    /// `ollama/text-stream`.
    pub(super) name: String,
    /// Where it lies.
    pub(super) path: PathBuf,
    /// The dialect: see [`roster::provider`].
    pub(super) kind: String,
    pub(super) status: u16,
    pub(super) stream: bool,
    pub(super) body: String,
    /// In the dialect of the provider.
    pub(super) request: Value,
    /// See [`Sent::form_tool`].
    form_tool: Option<String>,
    /// Whether it is one of the project's own.
    pub(super) is_ours: bool,
    pub(super) provider: &'static dyn Provider,
}

impl Case {
    pub(super) fn sent(&self) -> Sent {
        let (form_tool, stream, unique) = (self.form_tool.clone(), self.stream, UNIQUE.to_owned());
        Sent { form_tool, stream, unique, ..Sent::default() }
    }

    /// As a file's name.
    pub(super) fn flat_name(&self) -> String {
        self.name.replace('/', "-")
    }

    /// The events of a stream, all of which has come.
    pub(super) fn events(&self) -> Result<Vec<Event>, Malformed> {
        self.decoded([&*wire::bytes(&self.kind, &self.body)])
    }

    /// The events of a stream that comes in pieces.
    pub(super) fn decoded<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Event>, Malformed> {
        let mut decoder = self.provider.decoder(&self.sent());
        let mut events = Vec::new();
        for piece in pieces {
            decoder.feed(piece, &mut events)?;
        }
        decoder.end(&mut events)?;
        Ok(events)
    }

    /// A whole answer.
    pub(super) fn answer(&self) -> Result<Answer, Malformed> {
        self.provider.answer(&self.sent(), self.body.as_bytes())
    }

    /// As events, whether it came as a stream or not.
    pub(super) fn as_events(&self) -> Result<Vec<Event>, Malformed> {
        if self.stream { self.events() } else { self.answer().map(Answer::into_events) }
    }
}

/// Which answers a promise is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Streams,
    Whole,
    Answers,
    Errors,
}

/// Shows a promise on all of them, and tells of every case that breaks it.
pub(super) fn each(which: Which, promise: impl Fn(&Case) -> Result<(), String>) {
    let mut broken = String::new();
    let mut count = 0;
    for case in all().iter().filter(|case| which.takes(case)) {
        count += 1;
        let result = catch_unwind(AssertUnwindSafe(|| promise(case))).unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            Err(format!("panicked: {}", words.or_else(|| panic.downcast_ref().copied()).unwrap_or_default()))
        });
        if let Err(words) = result {
            writeln!(broken, "  {}: {words}", case.name).expect("a String takes all");
        }
    }
    assert!(count > 0, "no case for {which:?}: the promise would hold for nothing");
    assert!(broken.is_empty(), "the promise is broken by\n{broken}");
}

impl Which {
    fn takes(self, case: &Case) -> bool {
        let is_error = case.status >= 400;
        match self {
            Self::Streams => !is_error && case.stream,
            Self::Whole => !is_error && !case.stream,
            Self::Answers => !is_error,
            Self::Errors => is_error,
        }
    }
}

/// The folder of the fixtures; from a scratch crate below `target` as well.
pub(super) fn golden() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [root.join("tests/golden"), root.join("../../tests/golden")];
    places.into_iter().find(|place| place.is_dir()).expect("the fixtures are in the repository")
}

#[expect(clippy::disallowed_methods, reason = "the folder is this machine's own: no setting of the gateway")]
fn recordings() -> Option<PathBuf> {
    std::env::var_os("RECORDINGS_DIR").map(PathBuf::from).filter(|folder| folder.is_dir())
}

pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let folders = [Some((golden(), true)), recordings().map(|folder| (folder, false))];
    for (folder, is_ours) in folders.into_iter().flatten() {
        for path in sorted(&folder).into_iter().filter(|path| path.is_dir()).flat_map(|folder| sorted(&folder)) {
            if path.extension().is_some_and(|ending| ending == "json") {
                cases.extend(read(&path, is_ours));
            }
        }
    }
    cases
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a readable folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.sort();
    paths
}

/// Whether a recorded document is what its kind says: some are vectors, jobs that have just begun, or of another endpoint.
fn is_answer(kind: &str, body: &str) -> bool {
    let document: Value = serde_json::from_str(body).unwrap_or_default();
    match kind {
        "chat" => document.get("choices").is_some(),
        "cohere-chat" => document.get("message").is_some(),
        "generateContent" => document.get("candidates").is_some() || document.get("promptFeedback").is_some(),
        "messages" => document.get("content").is_some(),
        "responses" => !matches!(document["status"].as_str(), Some("queued" | "in_progress")),
        _ => true,
    }
}

/// A stream that was recorded as its bytes.
fn binary(base64: &Value) -> Option<String> {
    STANDARD.decode(base64.as_str()?).ok().map(|bytes| wire::text_of(&bytes))
}

/// A case, if it is an answer of a model in a dialect that is spoken here.
fn read(path: &Path, is_ours: bool) -> Option<Case> {
    let text = fs::read_to_string(path).expect("a readable file");
    let file: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let (provider, kind) = (word(&file["provider"])?, word(&file["kind"])?);
    // Counts of tokens and batches are no answers.
    let place = file["request"]["path"].as_str().unwrap_or_default();
    if place.ends_with("count_tokens") || place.ends_with("batches") {
        return None;
    }
    let response = &file["response"];
    let status = u16::try_from(response["status"].as_u64()?).ok()?;
    let (stem, folder) = (path.file_stem()?.to_string_lossy(), path.parent()?.file_name()?.to_string_lossy());
    let body = word(&response["body"]).or_else(|| binary(&response["body_b64"]))?;
    if !is_ours && status < 400 && file["stream"] != true && !is_answer(&kind, &body) {
        return None;
    }
    Some(Case {
        name: format!("{folder}/{stem}"),
        path: path.to_owned(),
        status,
        stream: file["stream"] == true,
        body,
        request: file["request"]["body"].clone(),
        form_tool: word(&file["form_tool"]),
        is_ours,
        provider: roster::provider(&provider, &kind)?,
        kind,
    })
}
