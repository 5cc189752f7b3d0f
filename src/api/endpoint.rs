//! The surfaces that Millstream serves: method and path to [`Endpoint`].
//!
//! The path is compared as it was sent, byte for byte. Nothing is normalised, so that the path which was
//! authorised is the path which the upstream sees: a dot segment, an empty segment, a trailing slash or an
//! escaped letter is simply another path, and no endpoint lives there.

use std::borrow::Cow;

use http::Method;

use crate::api::request::MODEL_BYTES_MAX;

/// Bytes of the id of a stored response, file or batch. Some gateways pack routing data into ids, so this is
/// far above OpenAI's own sixty-odd.
pub const ITEM_ID_BYTES_MAX: usize = 512;

/// Where a request's model name is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelField {
    /// The `model` field of a JSON body.
    Json,
    /// The `model` part of a `multipart/form-data` body.
    Form,
    /// Nowhere: the request goes to the default upstream.
    None,
}

/// How the end of a stream is recognised (a clean end without that evidence is a truncation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `data: [DONE]` or a finish reason for every choice (chat completions, completions).
    Chat,
    /// A terminal event: `response.completed`, `.failed`, `.incomplete`, or an `error` event (Responses API).
    Responses,
    /// The end of the transfer itself.
    Transfer,
}

/// One served surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/responses`
    Responses,
    /// `GET|DELETE /v1/responses/{id}`, `POST /v1/responses/{id}/cancel`, `GET /v1/responses/{id}/input_items`
    ResponsesItem,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `GET /v1/models`, answered from the routes.
    Models,
    /// `GET /v1/models/{id}`, answered from the routes.
    Model,
    /// `POST /v1/moderations`
    Moderations,
    /// `POST /v1/images/generations`
    ImageGenerations,
    /// `POST /v1/images/{edits,variations}` (multipart)
    ImageForms,
    /// `POST /v1/audio/speech`
    AudioSpeech,
    /// `POST /v1/audio/{transcriptions,translations}` (multipart)
    AudioForms,
    /// `POST /v1/rerank`
    Rerank,
    /// `/v1/files` and below
    Files,
    /// `/v1/batches` and below
    Batches,
}

/// What a method and a path name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched<'a> {
    /// The surface.
    pub endpoint: Endpoint,
    /// The `{id}` of the path, where it has one. A model's name is percent-decoded; the id of any other item
    /// needs no decoding, because escapes in it are refused.
    pub id: Option<Cow<'a, str>>,
}

/// Why a method and a path name nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMatch {
    /// No endpoint at this path.
    NotFound,
    /// An endpoint, but not for this method; holds the value of the `allow` header.
    MethodNotAllowed(&'static str),
}

/// The surface at `method` and `path` (without query).
pub fn find<'a>(method: &Method, path: &'a str) -> Result<Matched<'a>, NoMatch> {
    let rest = path.strip_prefix("/v1/").ok_or(NoMatch::NotFound)?;
    let (matched, allow) = collection(rest).or_else(|| item(rest)).ok_or(NoMatch::NotFound)?;
    if allow.split(", ").any(|allowed| allowed == method.as_str()) {
        Ok(matched)
    } else {
        Err(NoMatch::MethodNotAllowed(allow))
    }
}

fn collection(rest: &str) -> Option<(Matched<'static>, &'static str)> {
    let (endpoint, allow) = match rest {
        "chat/completions" => (Endpoint::ChatCompletions, "POST"),
        "completions" => (Endpoint::Completions, "POST"),
        "responses" => (Endpoint::Responses, "POST"),
        "embeddings" => (Endpoint::Embeddings, "POST"),
        "models" => (Endpoint::Models, "GET"),
        "moderations" => (Endpoint::Moderations, "POST"),
        "images/generations" => (Endpoint::ImageGenerations, "POST"),
        "images/edits" | "images/variations" => (Endpoint::ImageForms, "POST"),
        "audio/speech" => (Endpoint::AudioSpeech, "POST"),
        "audio/transcriptions" | "audio/translations" => (Endpoint::AudioForms, "POST"),
        "rerank" => (Endpoint::Rerank, "POST"),
        "files" => (Endpoint::Files, "GET, POST"),
        "batches" => (Endpoint::Batches, "GET, POST"),
        _ => return None,
    };
    Some((Matched { endpoint, id: None }, allow))
}

fn item(rest: &str) -> Option<(Matched<'_>, &'static str)> {
    let (collection, item) = rest.split_once('/')?;
    if collection == "models" {
        let id = Some(model_name(item)?);
        return Some((Matched { endpoint: Endpoint::Model, id }, "GET"));
    }
    let (id, action) = match item.split_once('/') {
        Some((id, action)) => (id, Some(action)),
        None => (item, None),
    };
    let (endpoint, allow) = match (collection, action) {
        ("responses", None) => (Endpoint::ResponsesItem, "GET, DELETE"),
        ("responses", Some("cancel")) => (Endpoint::ResponsesItem, "POST"),
        ("responses", Some("input_items")) => (Endpoint::ResponsesItem, "GET"),
        ("files", None) => (Endpoint::Files, "GET, DELETE"),
        ("files", Some("content")) => (Endpoint::Files, "GET"),
        ("batches", None) => (Endpoint::Batches, "GET"),
        ("batches", Some("cancel")) => (Endpoint::Batches, "POST"),
        _ => return None,
    };
    is_item_id(id).then_some((Matched { endpoint, id: Some(Cow::Borrowed(id)) }, allow))
}

/// Ids go on to the upstream as part of its path, so nothing that some server could read as more than one
/// plain segment is let through: no `%`, no dot segment, no `;` parameters.
fn is_item_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:=+@".contains(&byte);
    (1..=ITEM_ID_BYTES_MAX).contains(&id.len()) && id != "." && id != ".." && id.bytes().all(plain)
}

/// Model names may contain slashes, bare or escaped. They are only looked up here, never sent on as a path;
/// dot and empty segments are refused all the same, for the sake of whatever stands before or behind.
fn model_name(escaped: &str) -> Option<Cow<'_, str>> {
    let name = percent_decode(escaped)?;
    let ok = name.len() <= MODEL_BYTES_MAX
        && !name.chars().any(char::is_control)
        && name.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    ok.then_some(name)
}

fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

impl Endpoint {
    /// Every surface, for tables that hold one entry each.
    pub const ALL: [Self; 15] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::ResponsesItem,
        Self::Embeddings,
        Self::Models,
        Self::Model,
        Self::Moderations,
        Self::ImageGenerations,
        Self::ImageForms,
        Self::AudioSpeech,
        Self::AudioForms,
        Self::Rerank,
        Self::Files,
        Self::Batches,
    ];

    /// The name in metrics and logs. One of [`Endpoint::ALL`]'s fifteen, whatever the path was.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::ResponsesItem => "responses_item",
            Self::Embeddings => "embeddings",
            Self::Models => "models",
            Self::Model => "model",
            Self::Moderations => "moderations",
            Self::ImageGenerations => "image_generations",
            Self::ImageForms => "image_forms",
            Self::AudioSpeech => "audio_speech",
            Self::AudioForms => "audio_forms",
            Self::Rerank => "rerank",
            Self::Files => "files",
            Self::Batches => "batches",
        }
    }

    /// Whether the gateway answers it itself, from its routes.
    pub fn is_local(self) -> bool {
        matches!(self, Self::Models | Self::Model)
    }

    /// Where the model name of a request to this surface is found.
    pub fn model_field(self) -> ModelField {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Responses
            | Self::Embeddings
            | Self::Moderations
            | Self::ImageGenerations
            | Self::AudioSpeech
            | Self::Rerank => ModelField::Json,
            Self::ImageForms | Self::AudioForms => ModelField::Form,
            Self::ResponsesItem | Self::Models | Self::Model | Self::Files | Self::Batches => ModelField::None,
        }
    }

    /// How a stream of this surface ends. A stored response can be streamed again, hence the same ending.
    pub fn ending(self) -> Ending {
        match self {
            Self::ChatCompletions | Self::Completions => Ending::Chat,
            Self::Responses | Self::ResponsesItem => Ending::Responses,
            _ => Ending::Transfer,
        }
    }

    /// Whether a request may be sent once more after an upstream may have seen it: at worst it is answered twice. Where
    /// something is stored or begun by it, it would be there twice.
    pub fn may_be_repeated(self, method: &Method) -> bool {
        method == Method::GET || self.model_field() != ModelField::None
    }

    /// Whether `"stream": true` in a JSON body means that the answer must be a stream of events. Other
    /// surfaces may stream too; their answers are passed on as they come.
    pub fn may_stream(self) -> bool {
        matches!(self, Self::ChatCompletions | Self::Completions | Self::Responses)
    }

    /// Whether the surface knows `stream_options.include_usage`. The Responses API does not: it reports
    /// usage without being asked, and refuses the field.
    pub fn takes_include_usage(self) -> bool {
        matches!(self, Self::ChatCompletions | Self::Completions)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn check(request: &str, expected: &Result<(Endpoint, Option<&str>), NoMatch>) {
        let (method, path) = request.split_once(' ').expect("method and path");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let found = find(&method, path);
        let found = found.as_ref().map(|found| (found.endpoint, found.id.as_deref())).map_err(|none| *none);
        assert_eq!(found, *expected, "{request}");
    }

    #[test]
    fn every_surface_is_found() {
        use Endpoint::*;
        for (request, endpoint, id) in [
            ("POST /v1/chat/completions", ChatCompletions, None),
            ("POST /v1/completions", Completions, None),
            ("POST /v1/responses", Responses, None),
            ("GET /v1/responses/resp_1", ResponsesItem, Some("resp_1")),
            ("DELETE /v1/responses/resp_1", ResponsesItem, Some("resp_1")),
            ("POST /v1/responses/resp_1/cancel", ResponsesItem, Some("resp_1")),
            ("GET /v1/responses/resp_1/input_items", ResponsesItem, Some("resp_1")),
            ("POST /v1/embeddings", Embeddings, None),
            ("GET /v1/models", Models, None),
            ("GET /v1/models/gpt-5", Model, Some("gpt-5")),
            ("GET /v1/models/openai/gpt-oss-120b", Model, Some("openai/gpt-oss-120b")),
            ("GET /v1/models/openai%2Fgpt-oss%3a120b", Model, Some("openai/gpt-oss:120b")),
            ("GET /v1/models/%C3%A4", Model, Some("ä")),
            ("GET /v1/models/a%252Fb", Model, Some("a%2Fb")),
            ("POST /v1/moderations", Moderations, None),
            ("POST /v1/images/generations", ImageGenerations, None),
            ("POST /v1/images/edits", ImageForms, None),
            ("POST /v1/images/variations", ImageForms, None),
            ("POST /v1/audio/speech", AudioSpeech, None),
            ("POST /v1/audio/transcriptions", AudioForms, None),
            ("POST /v1/audio/translations", AudioForms, None),
            ("POST /v1/rerank", Rerank, None),
            ("GET /v1/files", Files, None),
            ("POST /v1/files", Files, None),
            ("GET /v1/files/file-a.b", Files, Some("file-a.b")),
            ("DELETE /v1/files/file-a", Files, Some("file-a")),
            ("GET /v1/files/file-a/content", Files, Some("file-a")),
            ("GET /v1/batches", Batches, None),
            ("POST /v1/batches", Batches, None),
            ("GET /v1/batches/b", Batches, Some("b")),
            ("POST /v1/batches/b/cancel", Batches, Some("b")),
        ] {
            check(request, &Ok((endpoint, id)));
        }
    }

    #[test]
    fn anything_else_is_not_found() {
        for path in [
            "",
            "/",
            "*",
            "/v1",
            "/v1/",
            "/v2/models",
            "//v1/models",
            "/v1//models",
            "/v1/./models",
            "/v1/chat/../models",
            "/v1/models/",
            "/v1/models/a/",
            "/v1/models/a//b",
            "/v1/models/../files",
            "/v1/models/a/%2e%2e/b",
            "/v1/models/%",
            "/v1/models/%4",
            "/v1/models/%+1",
            "/v1/models/%ff",
            "/v1/models/a%0ab",
            "/v1/chat/completions/",
            "/v1/chat/completions/x",
            "/v1/chat/completions2",
            "/v1/chat%2Fcompletions",
            "/v1/%63ompletions",
            "/V1/completions",
            "/v1/completions;x=1",
            "/v1/responses/",
            "/v1/responses//cancel",
            "/v1/responses/..",
            "/v1/responses/../cancel",
            "/v1/responses/a%2Fb",
            "/v1/responses/a;b",
            "/v1/responses/a/cancel/",
            "/v1/responses/a/b",
            "/v1/files/a/content/x",
            "/v1/batches/a/content",
            "/v1/realtime",
        ] {
            check(&format!("GET {path}"), &Err(NoMatch::NotFound));
            check(&format!("POST {path}"), &Err(NoMatch::NotFound));
        }
        check(&format!("GET /v1/models/{}", "a".repeat(257)), &Err(NoMatch::NotFound));
        check(&format!("GET /v1/files/{}", "a".repeat(513)), &Err(NoMatch::NotFound));
    }

    #[test]
    fn another_method_is_told_which_are_allowed() {
        for (request, allow) in [
            ("GET /v1/chat/completions", "POST"),
            ("HEAD /v1/models", "GET"),
            ("post /v1/completions", "POST"),
            ("DELETE /v1/models/a", "GET"),
            ("PUT /v1/files", "GET, POST"),
            ("POST /v1/files/a", "GET, DELETE"),
            ("GET /v1/responses/a/cancel", "POST"),
            ("POST /v1/responses/a/input_items", "GET"),
        ] {
            check(request, &Err(NoMatch::MethodNotAllowed(allow)));
        }
    }

    #[test]
    fn names_are_distinct() {
        let names: HashSet<_> = Endpoint::ALL.iter().map(|endpoint| endpoint.name()).collect();
        assert_eq!(names.len(), Endpoint::ALL.len());
    }
}
