//! What upstreams speak, and where well-known ones are.

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamKind {
    /// OpenAI's API, by OpenAI or anybody else.
    OpenAi,
    /// The same on Azure.
    Azure,
    /// Anthropic's Messages API.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
    /// Gemini and Claude models on Google Cloud.
    Vertex,
    /// Amazon Bedrock's Converse API.
    Bedrock,
    /// Cohere's API, version 2.
    Cohere,
    /// Ollama's own API.
    Ollama,
    /// The demo upstream inside this process.
    Demo,
}

/// Which of OpenAI's APIs an upstream is asked by, whatever its clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenAiApi {
    /// Chat completions, which everybody has; and Responses for who speaks that, where it is there.
    Chat,
    /// Responses alone.
    Responses,
}

/// What happens to a request that its target can't honour in all that it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// It is refused, with the name of the field.
    Refuse,
    /// It is sent without, and a header of the answer names the field.
    Drop,
}

impl UpstreamKind {
    /// Every kind, by its name in the file.
    pub const ALL: [(&'static str, Self); 9] = [
        ("openai", Self::OpenAi),
        ("azure", Self::Azure),
        ("anthropic", Self::Anthropic),
        ("gemini", Self::Gemini),
        ("vertex", Self::Vertex),
        ("bedrock", Self::Bedrock),
        ("cohere", Self::Cohere),
        ("ollama", Self::Ollama),
        ("demo", Self::Demo),
    ];

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Where it is if the file does not say.
    pub(super) fn base_url(self) -> Option<&'static str> {
        match self {
            Self::Anthropic => Some("https://api.anthropic.com/v1"),
            Self::Gemini => Some("https://generativelanguage.googleapis.com/v1beta"),
            Self::Cohere => Some("https://api.cohere.com/v2"),
            Self::Ollama => Some("http://127.0.0.1:11434"),
            Self::OpenAi | Self::Azure | Self::Vertex | Self::Bedrock | Self::Demo => None,
        }
    }
}

/// A well-known upstream of the kind `openai`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its name in the file.
    pub name: &'static str,
    pub(super) base_url: &'static str,
    /// Whether it has the Responses API.
    pub(super) responses: bool,
}

const fn preset(name: &'static str, base_url: &'static str, responses: bool) -> Preset {
    Preset { name, base_url, responses }
}

/// Addresses and surfaces as the providers' own documentation has them (November 2026). What runs on one's own machine is
/// at its usual port.
pub(super) const PRESETS: [Preset; 18] = [
    preset("openai", "https://api.openai.com/v1", true),
    preset("groq", "https://api.groq.com/openai/v1", true),
    preset("deepseek", "https://api.deepseek.com/v1", false),
    preset("mistral", "https://api.mistral.ai/v1", false),
    preset("together", "https://api.together.xyz/v1", false),
    preset("fireworks", "https://api.fireworks.ai/inference/v1", true),
    preset("openrouter", "https://openrouter.ai/api/v1", true),
    preset("xai", "https://api.x.ai/v1", true),
    preset("perplexity", "https://api.perplexity.ai", false),
    preset("cerebras", "https://api.cerebras.ai/v1", false),
    preset("nvidia", "https://integrate.api.nvidia.com/v1", false),
    preset("moonshot", "https://api.moonshot.ai/v1", false),
    preset("zai", "https://api.z.ai/api/paas/v4", false),
    preset("ollama", "http://127.0.0.1:11434/v1", false),
    preset("vllm", "http://127.0.0.1:8000/v1", true),
    preset("sglang", "http://127.0.0.1:30000/v1", false),
    preset("llama.cpp", "http://127.0.0.1:8080/v1", false),
    preset("lmstudio", "http://127.0.0.1:1234/v1", true),
];
