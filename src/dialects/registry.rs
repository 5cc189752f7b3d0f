//! Which dialect is whose: one line each.

use super::conversation::{Embeddings, EmbeddingsRequest, Request};
use super::front::{Front, Place, Refusal};
use super::provider::Provider;
use super::{anthropic, bedrock, chat, cohere, completions, embeddings, gemini, ollama, responses};
use crate::api::endpoint::Endpoint;
use crate::config::{OpenAiApi, Upstream, UpstreamKind};

/// How a dialect asks for vectors and gets them.
#[derive(Clone, Copy, Debug)]
pub struct EmbedFront {
    /// Reads a request.
    pub read: fn(&[u8], &Place<'_>) -> Result<EmbeddingsRequest, Refusal>,
    /// Writes an answer.
    pub write: fn(&Embeddings, &EmbeddingsRequest) -> Vec<u8>,
}

/// How a dialect asks for the number of a prompt's tokens and gets it.
#[derive(Clone, Copy, Debug)]
pub struct CountFront {
    /// Reads a request.
    pub read: fn(&[u8], &Place<'_>) -> Result<Request, Refusal>,
    /// Writes an answer.
    pub write: fn(u64) -> Vec<u8>,
}

/// The dialect in which a client asks at `endpoint`, where that can be translated. For vectors and counts it is the one
/// that their errors are told in.
pub fn front(endpoint: Endpoint) -> Option<&'static dyn Front> {
    Some(match endpoint {
        Endpoint::ChatCompletions | Endpoint::Embeddings => &chat::FRONT,
        Endpoint::Completions => &completions::FRONT,
        Endpoint::Responses => &responses::FRONT,
        Endpoint::Messages | Endpoint::CountTokens => &anthropic::FRONT,
        Endpoint::GenerateContent
        | Endpoint::StreamGenerateContent
        | Endpoint::GeminiCountTokens
        | Endpoint::GeminiEmbed => &gemini::FRONT,
        Endpoint::OllamaChat | Endpoint::OllamaEmbed => &ollama::CHAT,
        Endpoint::OllamaGenerate => &ollama::GENERATE,
        _ => return None,
    })
}

/// How vectors are asked for at `endpoint`.
pub fn embed_front(endpoint: Endpoint) -> Option<EmbedFront> {
    Some(match endpoint {
        Endpoint::Embeddings => EmbedFront { read: embeddings::read, write: embeddings::write },
        Endpoint::GeminiEmbed => EmbedFront {
            read: |body, place| gemini::FRONT.read_embed(body, place),
            // Who asks for one gets one, in a form of its own.
            write: |vectors, asked| gemini::FRONT.write_embed(vectors, asked.is_batch),
        },
        Endpoint::OllamaEmbed => EmbedFront {
            read: |body, _| ollama::read_embed(body),
            write: |vectors, asked| ollama::write_embed(vectors, asked),
        },
        _ => return None,
    })
}

/// How tokens are counted at `endpoint`.
pub fn count_front(endpoint: Endpoint) -> Option<CountFront> {
    Some(match endpoint {
        Endpoint::CountTokens => {
            CountFront { read: |body, _| anthropic::read_count(body), write: anthropic::write_count }
        }
        Endpoint::GeminiCountTokens => CountFront {
            read: |body, place| gemini::FRONT.read_count(body, place),
            write: |tokens| gemini::FRONT.write_count(tokens),
        },
        _ => return None,
    })
}

/// Whether a model on Google's cloud is Anthropic's.
pub fn is_claude(model: &str) -> bool {
    model.contains("claude")
}

/// The dialect in which `upstream` is asked for a `model` of its own.
pub fn provider(upstream: &Upstream, model: &str) -> &'static dyn Provider {
    match upstream.kind {
        UpstreamKind::OpenAi | UpstreamKind::Azure if upstream.api == OpenAiApi::Responses => &responses::PROVIDER,
        UpstreamKind::Azure => &chat::OPENAI,
        UpstreamKind::OpenAi | UpstreamKind::Demo => chat::provider(upstream.preset),
        UpstreamKind::Gemini => &gemini::PROVIDER,
        UpstreamKind::Vertex if is_claude(model) => &anthropic::VERTEX_PROVIDER,
        UpstreamKind::Vertex => &gemini::VERTEX,
        UpstreamKind::Bedrock => &bedrock::PROVIDER,
        UpstreamKind::Cohere => &cohere::PROVIDER,
        UpstreamKind::Ollama => &ollama::PROVIDER,
        UpstreamKind::Anthropic => &anthropic::PROVIDER,
    }
}
