//! Who speaks what.

use crate::dialects::{Front, Provider, anthropic, bedrock, chat, cohere, completions, gemini, ollama, responses};

/// Who understands the answers of a provider's endpoint, by the kinds that recordings tell apart.
pub(super) fn provider(provider: &str, kind: &str) -> Option<&'static dyn Provider> {
    match (kind, provider) {
        ("chat", "openai" | "azure") => Some(&chat::OPENAI),
        ("chat", "deepseek") => Some(&chat::DEEPSEEK),
        ("chat", "groq") => Some(&chat::GROQ),
        ("chat", "mistral") => Some(&chat::MISTRAL),
        ("chat", _) => Some(&chat::COMPATIBLE),
        ("cohere-chat", _) => Some(&cohere::PROVIDER),
        ("converse" | "converse-stream", _) => Some(&bedrock::PROVIDER),
        ("generateContent", "vertex") => Some(&gemini::VERTEX),
        ("generateContent", _) => Some(&gemini::PROVIDER),
        ("messages", "vertex") => Some(&anthropic::VERTEX_PROVIDER),
        ("messages", _) => Some(&anthropic::PROVIDER),
        ("ollama-chat", _) => Some(&ollama::PROVIDER),
        ("responses", _) => Some(&responses::PROVIDER),
        _ => None,
    }
}

/// Every provider's dialect, by its kind.
pub(super) fn providers() -> Vec<(&'static str, &'static dyn Provider)> {
    let kinds = [
        ("openai", "chat"),
        ("deepseek", "chat"),
        ("groq", "chat"),
        ("mistral", "chat"),
        ("", "chat"),
        ("", "cohere-chat"),
        ("", "converse-stream"),
        ("", "generateContent"),
        ("vertex", "generateContent"),
        ("", "messages"),
        ("vertex", "messages"),
        ("", "ollama-chat"),
        ("", "responses"),
    ];
    kinds.into_iter().filter_map(|(name, kind)| Some((kind, provider(name, kind)?))).collect()
}

/// A dialect of clients.
pub(super) struct Speaker {
    pub(super) name: &'static str,
    pub(super) front: &'static dyn Front,
    /// The same dialect as that of a provider, where there is such: it understands what the front writes.
    pub(super) back: Option<&'static dyn Provider>,
}

/// Every dialect of clients; the names are the kinds of recordings, where there are such.
pub(super) fn fronts() -> Vec<Speaker> {
    let speaker = |name, front, back| Speaker { name, front, back };
    vec![
        speaker("chat", &chat::FRONT, Some(&chat::COMPATIBLE)),
        speaker("completions", &completions::FRONT, None),
        speaker("generateContent", &gemini::FRONT, Some(&gemini::PROVIDER)),
        speaker("messages", &anthropic::FRONT, Some(&anthropic::PROVIDER)),
        speaker("ollama-chat", &ollama::CHAT, Some(&ollama::PROVIDER)),
        speaker("ollama-generate", &ollama::GENERATE, None),
        speaker("responses", &responses::FRONT, Some(&responses::PROVIDER)),
    ]
}

impl Speaker {
    pub(super) fn is_lines(&self) -> bool {
        self.name.starts_with("ollama")
    }
}
