//! The dialects that clients speak.

use http::{HeaderMap, HeaderName};

use crate::api::endpoint;

/// Every request of Anthropic's SDKs has it, and nobody else's.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// Those of Google's SDKs have one of these.
const GOOGLE: [HeaderName; 2] =
    [HeaderName::from_static("x-goog-api-client"), HeaderName::from_static("x-goog-api-key")];

/// Whose form a client's requests have, and the answers and errors that it understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `OpenAI`'s, in which all surfaces are that are none of the others.
    #[default]
    OpenAi,
    /// Anthropic's Messages API.
    Anthropic,
    /// Gemini's `generateContent`.
    Gemini,
    /// `Ollama`'s own, below `/api`.
    Ollama,
}

impl Dialect {
    /// The dialect of a request, by its path even where nothing lives there. A list of models stands at the same path in
    /// three of them: Anthropic's and Google's clients say by a header who they are.
    pub fn of(path: &str, headers: &HeaderMap) -> Self {
        let is_below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let is = |place: &str| path == place || is_below(place);
        let is_google = || endpoint::asks_model(path) || GOOGLE.iter().any(|name| headers.contains_key(name));
        if is("/v1/models") && is_google() {
            Self::Gemini
        } else if is("/v1/messages") || is("/v1/models") && headers.contains_key(ANTHROPIC_VERSION) {
            Self::Anthropic
        } else if is_below("/v1beta") || is_below("/v1alpha") {
            Self::Gemini
        } else if is_below("/api") {
            Self::Ollama
        } else {
            Self::OpenAi
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_dialect_is_told_by_its_path_and_where_two_share_it_by_a_header() {
        use Dialect::{Anthropic, Gemini, Ollama, OpenAi};
        let plain = HeaderMap::new();
        let mut versioned = HeaderMap::new();
        versioned.insert(ANTHROPIC_VERSION, HeaderValue::from_static("2023-06-01"));
        for (path, without, with) in [
            ("/v1/chat/completions", OpenAi, OpenAi),
            ("/v1/messages", Anthropic, Anthropic),
            ("/v1/messages/count_tokens", Anthropic, Anthropic),
            ("/v1/messages/elsewhere", Anthropic, Anthropic),
            ("/v1/messagesx", OpenAi, OpenAi),
            ("/v1/models", OpenAi, Anthropic),
            ("/v1/models/a/b", OpenAi, Anthropic),
            ("/v1beta/models", Gemini, Gemini),
            ("/v1/models/a/b:generateContent", Gemini, Gemini),
            ("/v1/models/llama3:8b", OpenAi, Anthropic),
            ("/v1alpha/x", Gemini, Gemini),
            ("/v1beta1/x", OpenAi, OpenAi),
            ("/api/chat", Ollama, Ollama),
            ("/api", OpenAi, OpenAi),
            ("/apix/chat", OpenAi, OpenAi),
            ("", OpenAi, OpenAi),
        ] {
            let found = (Dialect::of(path, &plain), Dialect::of(path, &versioned));
            assert_eq!(found, (without, with), "{path}");
        }
        let mut google = HeaderMap::new();
        google.insert("x-goog-api-client", HeaderValue::from_static("google-genai-sdk"));
        assert_eq!(Dialect::of("/v1/models", &google), Gemini);
        assert_eq!(Dialect::of("/v1/chat/completions", &google), OpenAi);
    }
}
