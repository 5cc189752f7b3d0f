//! The surfaces that Millstream serves: method and path to [`Endpoint`].
//!
//! The path is compared as it was sent, byte for byte. Nothing is normalised, so that the path which was
//! authorised is the path which the upstream sees: a dot segment, an empty segment, a trailing slash or an
//! escaped letter is simply another path, and no endpoint lives there.

use std::borrow::Cow;

use http::Method;

use crate::api::dialect::Dialect;
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
    /// The path.
    Path,
    /// The query.
    Query,
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
    /// `message_stop`, or an `error` event (Anthropic's Messages API).
    Messages,
    /// A finish reason for every candidate, or the reason why there is none (Gemini).
    Gemini,
    /// `"done": true`, in lines of JSON (`Ollama`).
    Ollama,
    /// The end of the transfer itself.
    Transfer,
}

impl Ending {
    /// Whether each line of such a stream is an event.
    pub fn is_of_lines(self) -> bool {
        self == Self::Ollama
    }
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
    /// `GET /v1/realtime`, a WebSocket.
    Realtime,
    /// `POST /v1/messages`, Anthropic's.
    Messages,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
    /// `POST /v1beta/models/{model}:generateContent`, Gemini's, as all below `/v1beta` and `/v1alpha`.
    GenerateContent,
    /// `POST /v1beta/models/{model}:streamGenerateContent`
    StreamGenerateContent,
    /// `POST /v1beta/models/{model}:countTokens`
    GeminiCountTokens,
    /// `POST /v1beta/models/{model}:{embedContent,batchEmbedContents}`
    GeminiEmbed,
    /// `GET /v1beta/models`, answered from the routes.
    GeminiModels,
    /// `GET /v1beta/models/{id}`, answered from the routes.
    GeminiModel,
    /// `POST /api/chat`, `Ollama`'s, as all below `/api`.
    OllamaChat,
    /// `POST /api/generate`
    OllamaGenerate,
    /// `POST /api/embed` and, its older form, `/api/embeddings`
    OllamaEmbed,
    /// `GET /api/tags`, answered from the routes.
    OllamaTags,
    /// `GET /api/version`, answered here.
    OllamaVersion,
}

/// What a method and a path name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched<'a> {
    /// The surface.
    pub endpoint: Endpoint,
    /// The `{id}` of the path, where it has one. A model's name is percent-decoded; the id of any other item
    /// needs no decoding, because escapes in it are refused.
    pub id: Option<Cow<'a, str>>,
    /// What is to be done with a model, where the path says that (Gemini).
    pub verb: Option<&'static str>,
}

impl Matched<'static> {
    fn of(endpoint: Endpoint) -> Self {
        Self { endpoint, id: None, verb: None }
    }
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
    let (version, rest) = path.strip_prefix('/').and_then(|path| path.split_once('/')).ok_or(NoMatch::NotFound)?;
    let found = match version {
        "v1" if asks_model(rest) => gemini_call(rest),
        "v1" => collection(rest).or_else(|| item(rest)),
        "v1beta" | "v1alpha" => gemini(rest),
        "api" => ollama(rest),
        _ => None,
    };
    let (matched, allow) = found.ok_or(NoMatch::NotFound)?;
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
        "realtime" => (Endpoint::Realtime, "GET"),
        "messages" => (Endpoint::Messages, "POST"),
        "messages/count_tokens" => (Endpoint::CountTokens, "POST"),
        _ => return None,
    };
    Some((Matched::of(endpoint), allow))
}

/// What Gemini's models are asked for, each by its verb.
const VERBS: [(&str, Endpoint); 5] = [
    (":generateContent", Endpoint::GenerateContent),
    (":streamGenerateContent", Endpoint::StreamGenerateContent),
    (":countTokens", Endpoint::GeminiCountTokens),
    (":embedContent", Endpoint::GeminiEmbed),
    (":batchEmbedContents", Endpoint::GeminiEmbed),
];

/// Whether a path ends in one of Gemini's verbs. A model's name may have a colon in it too, as `Ollama`'s have.
pub(super) fn asks_model(path: &str) -> bool {
    VERBS.iter().any(|(verb, _)| path.ends_with(verb))
}

/// Gemini's surfaces below any of its versions. The newest of its SDKs take `v1`, where lists of models are `OpenAI`'s.
fn gemini_call(rest: &str) -> Option<(Matched<'_>, &'static str)> {
    let item = rest.strip_prefix("models/")?;
    let asked =
        |(verb, endpoint): &(&'static str, Endpoint)| Some((item.strip_suffix(verb)?, &verb[1..], *endpoint));
    let (model, verb, endpoint) = VERBS.iter().find_map(asked)?;
    Some((Matched { endpoint, id: Some(model_name(model)?), verb: Some(verb) }, "POST"))
}

fn gemini(rest: &str) -> Option<(Matched<'_>, &'static str)> {
    if rest == "models" {
        return Some((Matched::of(Endpoint::GeminiModels), "GET"));
    }
    if asks_model(rest) {
        return gemini_call(rest);
    }
    let id = Some(model_name(rest.strip_prefix("models/")?)?);
    Some((Matched { endpoint: Endpoint::GeminiModel, id, verb: None }, "GET"))
}

fn ollama(rest: &str) -> Option<(Matched<'static>, &'static str)> {
    let (endpoint, allow) = match rest {
        "chat" => (Endpoint::OllamaChat, "POST"),
        "generate" => (Endpoint::OllamaGenerate, "POST"),
        "embed" | "embeddings" => (Endpoint::OllamaEmbed, "POST"),
        "tags" => (Endpoint::OllamaTags, "GET"),
        "version" => (Endpoint::OllamaVersion, "GET"),
        _ => return None,
    };
    Some((Matched::of(endpoint), allow))
}

/// What of a path, with its query, stands below the version: the part that an upstream's `base_url` has instead.
pub fn below_version(path_and_query: &str) -> &str {
    let version = path_and_query.get(1..).and_then(|rest| rest.find('/'));
    version.map_or(path_and_query, |slash| &path_and_query[slash + 1..])
}

fn item(rest: &str) -> Option<(Matched<'_>, &'static str)> {
    let (collection, item) = rest.split_once('/')?;
    if collection == "models" {
        let id = Some(model_name(item)?);
        return Some((Matched { endpoint: Endpoint::Model, id, verb: None }, "GET"));
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
    is_item_id(id).then_some((Matched { endpoint, id: Some(Cow::Borrowed(id)), verb: None }, allow))
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

/// A value in a query, unescaped; `None` where it is no text of a bounded length.
pub fn query_value(escaped: &str) -> Option<Cow<'_, str>> {
    percent_decode(escaped).filter(|text| text.len() <= MODEL_BYTES_MAX && !text.chars().any(char::is_control))
}

pub(super) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
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
    pub const ALL: [Self; 29] = [
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
        Self::Realtime,
        Self::Messages,
        Self::CountTokens,
        Self::GenerateContent,
        Self::StreamGenerateContent,
        Self::GeminiCountTokens,
        Self::GeminiEmbed,
        Self::GeminiModels,
        Self::GeminiModel,
        Self::OllamaChat,
        Self::OllamaGenerate,
        Self::OllamaEmbed,
        Self::OllamaTags,
        Self::OllamaVersion,
    ];

    /// The name in metrics and logs. One of [`Endpoint::ALL`]'s, whatever the path was.
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
            Self::Realtime => "realtime",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::GenerateContent => "generate_content",
            Self::StreamGenerateContent => "stream_generate_content",
            Self::GeminiCountTokens => "gemini_count_tokens",
            Self::GeminiEmbed => "gemini_embed",
            Self::GeminiModels => "gemini_models",
            Self::GeminiModel => "gemini_model",
            Self::OllamaChat => "ollama_chat",
            Self::OllamaGenerate => "ollama_generate",
            Self::OllamaEmbed => "ollama_embed",
            Self::OllamaTags => "ollama_tags",
            Self::OllamaVersion => "ollama_version",
        }
    }

    /// The dialect that it belongs to.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::Messages | Self::CountTokens => Dialect::Anthropic,
            Self::GenerateContent
            | Self::StreamGenerateContent
            | Self::GeminiCountTokens
            | Self::GeminiEmbed
            | Self::GeminiModels
            | Self::GeminiModel => Dialect::Gemini,
            Self::OllamaChat
            | Self::OllamaGenerate
            | Self::OllamaEmbed
            | Self::OllamaTags
            | Self::OllamaVersion => Dialect::Ollama,
            _ => Dialect::OpenAi,
        }
    }

    /// Whether the gateway answers it itself, from its routes.
    pub fn is_local(self) -> bool {
        matches!(
            self,
            Self::Models
                | Self::Model
                | Self::GeminiModels
                | Self::GeminiModel
                | Self::OllamaTags
                | Self::OllamaVersion
        )
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
            | Self::Rerank
            | Self::Messages
            | Self::CountTokens
            | Self::OllamaChat
            | Self::OllamaGenerate
            | Self::OllamaEmbed => ModelField::Json,
            Self::ImageForms | Self::AudioForms => ModelField::Form,
            Self::GenerateContent | Self::StreamGenerateContent | Self::GeminiCountTokens | Self::GeminiEmbed => {
                ModelField::Path
            }
            Self::Realtime => ModelField::Query,
            Self::ResponsesItem
            | Self::Models
            | Self::Model
            | Self::Files
            | Self::Batches
            | Self::GeminiModels
            | Self::GeminiModel
            | Self::OllamaTags
            | Self::OllamaVersion => ModelField::None,
        }
    }

    /// How a stream of this surface ends. A stored response can be streamed again, hence the same ending.
    pub fn ending(self) -> Ending {
        match self {
            Self::ChatCompletions | Self::Completions => Ending::Chat,
            Self::Responses | Self::ResponsesItem => Ending::Responses,
            Self::Messages => Ending::Messages,
            Self::GenerateContent | Self::StreamGenerateContent => Ending::Gemini,
            Self::OllamaChat | Self::OllamaGenerate => Ending::Ollama,
            _ => Ending::Transfer,
        }
    }

    /// Whether a request may be sent once more after an upstream may have seen it: at worst it is answered twice. Where
    /// something is stored or begun by it, it would be there twice.
    pub fn may_be_repeated(self, method: &Method) -> bool {
        method == Method::GET || self.model_field() != ModelField::None
    }

    /// Whether `"stream": true` in a JSON body, or the path itself, means that the answer must be a stream of events.
    /// Other surfaces may stream too; their answers are passed on as they come.
    pub fn may_stream(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions
                | Self::Completions
                | Self::Responses
                | Self::Messages
                | Self::StreamGenerateContent
                | Self::OllamaChat
                | Self::OllamaGenerate
        )
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

    use http::HeaderMap;

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
            ("GET /v1/realtime", Realtime, None),
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
            "/v1/realtime/sessions",
        ] {
            check(&format!("GET {path}"), &Err(NoMatch::NotFound));
            check(&format!("POST {path}"), &Err(NoMatch::NotFound));
        }
        check(&format!("GET /v1/models/{}", "a".repeat(257)), &Err(NoMatch::NotFound));
        check(&format!("GET /v1/files/{}", "a".repeat(513)), &Err(NoMatch::NotFound));
    }

    #[test]
    fn the_surfaces_of_other_dialects_are_found() {
        use Endpoint::*;
        for (request, endpoint, id) in [
            ("POST /v1/messages", Messages, None),
            ("POST /v1/messages/count_tokens", CountTokens, None),
            ("POST /v1beta/models/gemini-3:generateContent", GenerateContent, Some("gemini-3")),
            ("POST /v1alpha/models/a/b%3Ac:streamGenerateContent", StreamGenerateContent, Some("a/b:c")),
            ("POST /v1/models/a/b:generateContent", GenerateContent, Some("a/b")),
            ("POST /v1beta/models/llama3:8b:countTokens", GeminiCountTokens, Some("llama3:8b")),
            ("POST /v1beta/models/e:embedContent", GeminiEmbed, Some("e")),
            ("POST /v1beta/models/e:batchEmbedContents", GeminiEmbed, Some("e")),
            ("GET /v1beta/models", GeminiModels, None),
            ("GET /v1beta/models/llama3:8b", GeminiModel, Some("llama3:8b")),
            ("POST /api/chat", OllamaChat, None),
            ("POST /api/generate", OllamaGenerate, None),
            ("POST /api/embed", OllamaEmbed, None),
            ("POST /api/embeddings", OllamaEmbed, None),
            ("GET /api/tags", OllamaTags, None),
            ("GET /api/version", OllamaVersion, None),
        ] {
            check(request, &Ok((endpoint, id)));
            let path = request.split_once(' ').expect("method and path").1;
            assert_eq!(endpoint.dialect(), Dialect::of(path, &HeaderMap::new()), "{request}");
        }
        for request in [
            "POST /v1beta/messages",
            "POST /v1beta/models/:generateContent",
            "POST /v1beta/models/../x:generateContent",
            "POST /v1beta/models/%2e%2e:generateContent",
            "POST /v1beta/tunedModels/m:generateContent",
            "POST /api/chat/",
            "POST /api",
            "POST /chat",
        ] {
            let (method, path) = request.split_once(' ').expect("method and path");
            let found = find(&Method::from_bytes(method.as_bytes()).expect("a method"), path);
            assert!(found.is_err(), "{request}: {found:?}");
        }
        check("GET /v1beta/models/m:generateContent", &Err(NoMatch::MethodNotAllowed("POST")));
        check("POST /v1beta/models/m", &Err(NoMatch::MethodNotAllowed("GET")));
    }

    #[test]
    fn an_upstream_has_a_version_of_its_own() {
        for (path, expected) in [
            ("/v1/chat/completions?a=/b", "/chat/completions?a=/b"),
            ("/v1beta/models/m", "/models/m"),
            ("/api/chat", "/chat"),
        ] {
            assert_eq!(below_version(path), expected);
        }
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
