//! The few fields of a JSON request that the gateway acts on, found in one validating pass without building
//! the document.
//!
//! What is decided here must be what the upstream reads. Where two JSON parsers could disagree about one of
//! these fields, the request is refused: written twice (first or last one wins?), or with other letter case
//! (some parsers match names case-insensitively).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::api::dialect::Dialect;
use crate::error::{Error, Kind};

/// Bytes of a model name. The longest in use are paths of fine-tuned models, below 200.
pub const MODEL_BYTES_MAX: usize = 256;

/// Models of one request's list. `OpenRouter` takes fewer.
pub const MODELS_MAX: usize = 16;

const MODEL: &str = "model";
const MODELS: &str = "models";
const STREAM: &str = "stream";
const STREAM_OPTIONS: &str = "stream_options";
const N: &str = "n";
const INCLUDE_USAGE: &str = "include_usage";
/// Gemini's number of choices, and the member that it stands in, as JSON and as protocol buffers write them.
const GENERATION_CONFIG: [&str; 2] = ["generationConfig", "generation_config"];
const CANDIDATE_COUNT: [&str; 2] = ["candidateCount", "candidate_count"];

/// What the gateway needs to know of a JSON request, with the byte positions that [`crate::api::edit`] needs.
#[derive(Debug)]
pub struct Fields {
    /// Just after the opening brace of the body.
    pub(super) open: usize,
    /// Whether the body is `{}`.
    pub(super) empty: bool,
    pub(super) model: Option<Model>,
    pub(super) models: Option<Models>,
    pub(super) stream_options: StreamOptions,
    stream: Option<bool>,
    /// What an absent `stream` means.
    streams_by_default: bool,
    n: Option<u32>,
}

/// The `model` field.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: String,
    /// The value in the body, quotes included.
    pub(super) range: Range<usize>,
}

/// The `models` field.
#[derive(Debug)]
pub(super) struct Models {
    names: Vec<String>,
    /// The value in the body, brackets included.
    pub(super) range: Range<usize>,
}

/// The `stream_options` field.
#[derive(Debug)]
pub(super) enum StreamOptions {
    Absent,
    /// `null`, and where it stands.
    Null(Range<usize>),
    Object {
        /// Just after its opening brace.
        open: usize,
        /// Whether it is `{}`.
        empty: bool,
        include_usage: Option<IncludeUsage>,
    },
}

/// The `stream_options.include_usage` field.
#[derive(Debug)]
pub(super) struct IncludeUsage {
    value: bool,
    pub(super) range: Range<usize>,
}

/// Why a request body is refused. The text is written for the client and quotes nothing of the body.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ScanError {
    param: Option<&'static str>,
    text: Cow<'static, str>,
}

/// Finds the fields in `body`, which must be one JSON object and nothing else, in `OpenAI`'s dialect.
pub fn scan(body: &[u8]) -> Result<Fields, ScanError> {
    scan_in(Dialect::OpenAi, body)
}

/// Finds the fields that a dialect has. What another dialect calls so is any other member here: Gemini's requests have
/// their model in the path, and `n` means nothing to Anthropic.
pub fn scan_in(dialect: Dialect, body: &[u8]) -> Result<Fields, ScanError> {
    // Up front, because skipped strings are not checked by the JSON parser.
    let text = str::from_utf8(body).map_err(|_| ScanError::new(None, "The request body is not valid UTF-8."))?;
    let mut fields = Fields {
        open: text.find('{').map_or(0, |brace| brace + 1),
        empty: false,
        model: None,
        models: None,
        stream_options: StreamOptions::Absent,
        stream: None,
        streams_by_default: dialect == Dialect::Ollama,
        n: None,
    };
    let names: &[&str] = match dialect {
        Dialect::OpenAi => &[MODEL, MODELS, STREAM, STREAM_OPTIONS, N],
        Dialect::Anthropic | Dialect::Ollama => &[MODEL, STREAM],
        Dialect::Gemini => &GENERATION_CONFIG,
    };
    fields.empty = walk(text, names, &mut |name, value| fields.set(name, text, value))?;
    Ok(fields)
}

impl Fields {
    /// The model asked for: `model`, else the first of `models`. Never empty, at most [`MODEL_BYTES_MAX`] bytes, no
    /// control characters.
    pub fn model(&self) -> Option<&str> {
        let listed = || self.models.as_ref().and_then(|models| models.names.first());
        self.model.as_ref().map(|model| &model.name).or_else(listed).map(String::as_str)
    }

    /// Every model that the client would take, in its order: `model`, then `models`, as `OpenRouter` has it.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        let listed = self.models.iter().flat_map(|models| &models.names);
        let first = self.model.as_ref().map(|model| &model.name);
        first.into_iter().chain(listed.filter(move |name| Some(*name) != first)).map(String::as_str)
    }

    /// The model asked for, or what to tell a client that named none.
    pub fn require_model(&self) -> Result<&str, ScanError> {
        self.model().ok_or_else(|| ScanError::new(Some(MODEL), "You must provide a `model`."))
    }

    /// Whether `stream` is true, or absent where that means the same.
    pub fn stream(&self) -> bool {
        self.stream.unwrap_or(self.streams_by_default)
    }

    /// The number of choices asked for, at least 1.
    pub fn n(&self) -> u32 {
        self.n.unwrap_or(1)
    }

    /// Whether the client itself asked for the usage chunk.
    pub fn asks_usage(&self) -> bool {
        matches!(
            &self.stream_options,
            StreamOptions::Object { include_usage: Some(IncludeUsage { value: true, .. }), .. }
        )
    }

    fn set(&mut self, name: &'static str, text: &str, value: &str) -> Result<(), ScanError> {
        let seen = match name {
            MODEL => self.model.replace(Model::new(text, value)?).is_some(),
            // An explicit `null` counts as written, so that a second one is seen.
            STREAM => {
                let stream = if value == "null" { self.streams_by_default } else { boolean(STREAM, value)? };
                self.stream.replace(stream).is_some()
            }
            N => self.n.replace(choices(value)?).is_some(),
            MODELS => self.models.replace(Models::new(text, value)?).is_some(),
            STREAM_OPTIONS => {
                let seen = !matches!(self.stream_options, StreamOptions::Absent);
                self.stream_options = StreamOptions::new(text, value)?;
                seen
            }
            _ => {
                self.n = self.n.max(candidates(value));
                false
            }
        };
        if seen { Err(ScanError::twice(name)) } else { Ok(()) }
    }
}

impl Model {
    fn new(text: &str, value: &str) -> Result<Self, ScanError> {
        let name: String =
            serde_json::from_str(value).map_err(|_| ScanError::new(Some(MODEL), "`model` must be a string."))?;
        check_model(&name).map_err(|problem| ScanError::new(Some(MODEL), problem))?;
        Ok(Self { name, range: range_in(text, value) })
    }
}

impl Models {
    fn new(text: &str, value: &str) -> Result<Self, ScanError> {
        let refuse = |text: &'static str| ScanError::new(Some(MODELS), text);
        let names: Vec<String> =
            serde_json::from_str(value).map_err(|_| refuse("`models` must be a list of names of models."))?;
        if names.is_empty() || names.len() > MODELS_MAX {
            return Err(refuse("`models` must name 1 to 16 models."));
        }
        if names.iter().any(|name| check_model(name).is_err()) {
            return Err(refuse("Each of `models` must be a name of 1 to 256 bytes, without control characters."));
        }
        Ok(Self { names, range: range_in(text, value) })
    }
}

impl StreamOptions {
    fn new(text: &str, value: &str) -> Result<Self, ScanError> {
        if value == "null" {
            return Ok(Self::Null(range_in(text, value)));
        }
        if !value.starts_with('{') {
            return Err(ScanError::new(Some(STREAM_OPTIONS), "`stream_options` must be an object."));
        }
        let mut include_usage = None;
        let empty = walk(value, &[INCLUDE_USAGE], &mut |name, inner| {
            let found = IncludeUsage { value: boolean(name, inner)?, range: range_in(text, inner) };
            if include_usage.replace(found).is_some() { Err(ScanError::twice(name)) } else { Ok(()) }
        })?;
        Ok(Self::Object { open: range_in(text, value).start + 1, empty, include_usage })
    }
}

impl ScanError {
    fn new(param: Option<&'static str>, text: impl Into<Cow<'static, str>>) -> Self {
        Self { param, text: text.into() }
    }

    fn twice(name: &'static str) -> Self {
        Self::new(Some(param(name)), format!("`{}` is given more than once.", param(name)))
    }

    /// The field at fault, if one is.
    pub fn param(&self) -> Option<&'static str> {
        self.param
    }
}

impl From<ScanError> for Error {
    fn from(refused: ScanError) -> Self {
        let error = Self::new(Kind::BadRequest, refused.text);
        match refused.param {
            Some(param) => error.with_param(param),
            None => error,
        }
    }
}

/// What is wrong with a model name, if anything is. The same for JSON and form bodies.
pub(super) fn check_model(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("`model` must not be empty.");
    }
    if name.len() > MODEL_BYTES_MAX {
        return Err("`model` must not be longer than 256 bytes.");
    }
    if name.chars().any(char::is_control) {
        return Err("`model` must not contain control characters.");
    }
    Ok(())
}

fn param(name: &'static str) -> &'static str {
    if name == INCLUDE_USAGE { "stream_options.include_usage" } else { name }
}

fn boolean(name: &'static str, value: &str) -> Result<bool, ScanError> {
    match value {
        "true" => Ok(true),
        "false" | "null" => Ok(false),
        _ => Err(ScanError::new(Some(param(name)), format!("`{}` must be true or false.", param(name)))),
    }
}

fn choices(value: &str) -> Result<u32, ScanError> {
    if value == "null" {
        return Ok(1);
    }
    value
        .parse()
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| ScanError::new(Some(N), "`n` must be an integer, at least 1."))
}

/// Gemini's number of choices. Nothing here is refused: it says how many must finish, and the rest is the upstream's.
fn candidates(config: &str) -> Option<u32> {
    let mut most = None;
    let mut look = |_: &'static str, value: &str| {
        most = most.max(choices(value).ok());
        Ok(())
    };
    walk(config, &CANDIDATE_COUNT, &mut look).ok()?;
    most
}

/// Where `part`, a piece of `whole`, stands in it.
fn range_in(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// What is called for each known member: its name and its value as written.
type OnMember<'f, 't> = &'f mut dyn FnMut(&'static str, &'t str) -> Result<(), ScanError>;

/// Goes over the members of the object `text`, giving those named in `names` to `known`. Says whether the
/// object is empty.
fn walk<'t>(text: &'t str, names: &'static [&'static str], known: OnMember<'_, 't>) -> Result<bool, ScanError> {
    let mut refusal = None;
    let mut json = serde_json::Deserializer::from_str(text);
    let walked = json
        .deserialize_map(Members { names, known, refusal: &mut refusal })
        .and_then(|empty| json.end().map(|()| empty));
    walked.map_err(|error| {
        refusal.unwrap_or_else(|| {
            ScanError::new(None, format!("The request body is not a valid JSON object: {error}"))
        })
    })
}

struct Members<'f, 't> {
    names: &'static [&'static str],
    known: OnMember<'f, 't>,
    /// The way out for our own error, which serde's cannot carry.
    refusal: &'f mut Option<ScanError>,
}

impl<'t> Visitor<'t> for Members<'_, 't> {
    /// Whether there was no member.
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut empty = true;
        while let Some(name) = map.next_key_seed(NameSeed(self.names))? {
            empty = false;
            let result = match name {
                Name::Other => map.next_value::<IgnoredAny>().map(|_| Ok(()))?,
                Name::Known(name) => (self.known)(name, map.next_value::<&RawValue>()?.get()),
                Name::Misspelt(name) => Err(ScanError::new(
                    Some(param(name)),
                    format!("`{}` must be written in lower case.", param(name)),
                )),
            };
            if let Err(refused) = result {
                *self.refusal = Some(refused);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(empty)
    }
}

enum Name {
    Known(&'static str),
    /// Equal to a known name but for letter case, which is the same name to some parsers.
    Misspelt(&'static str),
    Other,
}

/// Compares a member's name, escapes resolved, with the known ones.
struct NameSeed(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, written: &str) -> Result<Name, E> {
        for name in self.0 {
            if written == *name {
                return Ok(Name::Known(name));
            }
            if folds_to(written, name) {
                return Ok(Name::Misspelt(name));
            }
        }
        Ok(Name::Other)
    }
}

/// Whether `written` equals `name` (lower-case ASCII) under Unicode's simple case folding, as Go's
/// `encoding/json` compares. Beyond ASCII only the long s folds to a letter of our names.
fn folds_to(written: &str, name: &str) -> bool {
    let fold = |letter: char| if letter == 'ſ' { 's' } else { letter.to_ascii_lowercase() };
    written.chars().map(fold).eq(name.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Summary<'a> = (Option<&'a str>, bool, u32, bool);

    fn check(body: &str, expected: Summary<'_>) {
        let fields = scan(body.as_bytes()).expect(body);
        assert_eq!((fields.model(), fields.stream(), fields.n(), fields.asks_usage()), expected, "{body}");
        if let Some(model) = &fields.model {
            let value: String = serde_json::from_str(&body[model.range.clone()]).expect("a string");
            assert_eq!(value, model.name, "{body}");
        }
    }

    #[test]
    fn fields_are_found() {
        for (body, expected) in [
            ("{}", (None, false, 1, false)),
            (r#" {"model" : "m" } "#, (Some("m"), false, 1, false)),
            (r#"{"messages":[{"model":"x","n":9}],"model":"m","stream":true}"#, (Some("m"), true, 1, false)),
            (r#"{"mod\u0065l":"a\/b\u00e4","n":3}"#, (Some("a/bä"), false, 3, false)),
            (r#"{"stream":null,"n":null,"stream_options":null}"#, (None, false, 1, false)),
            (r#"{"stream_options":{"include_usage":true}}"#, (None, false, 1, true)),
            (r#"{"stream_options":{"include_usage":false}}"#, (None, false, 1, false)),
            (r#"{"stream_options":{"include_obfuscation":true}}"#, (None, false, 1, false)),
            (r#"{"stream_options":{}}"#, (None, false, 1, false)),
            (r#"{"a":1E400,"a":[[{"x":null}]],"b":"\ud83d\ude00","nn":0}"#, (None, false, 1, false)),
        ] {
            check(body, expected);
        }
    }

    #[test]
    fn ambiguous_or_impossible_bodies_are_refused() {
        for (body, param, text) in [
            ("", None, "not a valid JSON object"),
            ("[]", None, "not a valid JSON object"),
            ("\"model\"", None, "not a valid JSON object"),
            ("{\"model\":\"m\"", None, "not a valid JSON object"),
            ("{\"model\":\"m\"}x", None, "not a valid JSON object"),
            ("{\"model\":\"m\"}{}", None, "not a valid JSON object"),
            ("{\"model\":\"m\",}", None, "not a valid JSON object"),
            ("\u{feff}{}", None, "not a valid JSON object"),
            (r#"{"model":"a","model":"a"}"#, Some("model"), "more than once"),
            (r#"{"model":"a","mod\u0065l":"b"}"#, Some("model"), "more than once"),
            (r#"{"model":"a","Model":"b"}"#, Some("model"), "lower case"),
            (r#"{"\u017ftream":true}"#, Some("stream"), "lower case"),
            (r#"{"stream":null,"stream":true}"#, Some("stream"), "more than once"),
            (r#"{"n":1,"n":1}"#, Some("n"), "more than once"),
            (r#"{"stream_options":null,"stream_options":{}}"#, Some("stream_options"), "more than once"),
            (
                r#"{"stream_options":{"include_usage":true,"include\u005fusage":false}}"#,
                Some("stream_options.include_usage"),
                "more than once",
            ),
            (r#"{"stream_options":{"Include_Usage":true}}"#, Some("stream_options.include_usage"), "lower case"),
            (r#"{"stream_options":{"include_usage":1}}"#, Some("stream_options.include_usage"), "true or false"),
            (r#"{"stream_options":[]}"#, Some("stream_options"), "an object"),
            (r#"{"stream":"true"}"#, Some("stream"), "true or false"),
            (r#"{"n":0}"#, Some("n"), "at least 1"),
            (r#"{"n":-1}"#, Some("n"), "at least 1"),
            (r#"{"n":1.5}"#, Some("n"), "at least 1"),
            (r#"{"n":4294967296}"#, Some("n"), "at least 1"),
            (r#"{"model":null}"#, Some("model"), "a string"),
            (r#"{"model":["m"]}"#, Some("model"), "a string"),
            (r#"{"model":""}"#, Some("model"), "empty"),
            (r#"{"model":"a\nb"}"#, Some("model"), "control"),
            (r#"{"model":"\ud800"}"#, Some("model"), "a string"),
        ] {
            let refused = scan(body.as_bytes()).expect_err(body);
            assert_eq!(refused.param(), param, "{body}");
            assert!(refused.to_string().contains(text), "{body}: {refused}");
        }
        let long = format!(r#"{{"model":"{}"}}"#, "a".repeat(MODEL_BYTES_MAX + 1));
        assert_eq!(scan(long.as_bytes()).expect_err("too long").param(), Some("model"));
        assert!(scan(b"{\"a\":\"\xff\"}").expect_err("not UTF-8").to_string().contains("UTF-8"));
    }

    #[test]
    fn each_dialect_has_fields_of_its_own() {
        use Dialect::{Anthropic, Gemini, Ollama, OpenAi};
        for (dialect, body, expected) in [
            (Anthropic, r#"{"model":"m","n":0,"stream_options":7,"models":1}"#, (Some("m"), false, 1)),
            (Anthropic, r#"{"model":"m","stream":true}"#, (Some("m"), true, 1)),
            (Ollama, r#"{"model":"m"}"#, (Some("m"), true, 1)),
            (Ollama, r#"{"model":"m","stream":null}"#, (Some("m"), true, 1)),
            (Ollama, r#"{"model":"m","stream":false}"#, (Some("m"), false, 1)),
            (OpenAi, r#"{"generationConfig":{"candidateCount":3}}"#, (None, false, 1)),
            (Gemini, r#"{"model":7,"stream":"x","generationConfig":{"candidateCount":3}}"#, (None, false, 3)),
            (Gemini, r#"{"generation_config":{"candidate_count":2},"generationConfig":7}"#, (None, false, 2)),
            (Gemini, r#"{"generationConfig":{"candidateCount":"many"}}"#, (None, false, 1)),
        ] {
            let fields = scan_in(dialect, body.as_bytes()).expect(body);
            assert_eq!((fields.model(), fields.stream(), fields.n()), expected, "{dialect:?} {body}");
        }
        for (dialect, body) in
            [(Anthropic, r#"{"model":"a","model":"b"}"#), (Ollama, r#"{"model":"a","Model":"b"}"#), (Gemini, "[]")]
        {
            scan_in(dialect, body.as_bytes()).expect_err(body);
        }
    }

    #[test]
    fn deep_nesting_needs_no_stack() {
        let depth = 1_000_000;
        let body = format!(r#"{{"a":{}{},"model":"m"}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(scan(body.as_bytes()).expect("valid").model(), Some("m"));
    }

    #[test]
    fn a_missing_model_is_named() {
        let error = Error::from(scan(b"{}").expect("valid").require_model().expect_err("none"));
        assert_eq!((error.kind(), error.param()), (Kind::BadRequest, Some("model")));
    }
}
