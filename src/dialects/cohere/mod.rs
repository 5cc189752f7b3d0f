//! Cohere's API, version 2: chat, whole and streamed, and embeddings (Cohere API Reference, `v2/chat`, `v2/embed`).
//!
//! The base path ends in `/v2`.

mod answer_in;
mod citation_in;
mod embed;
mod error;
mod messages_out;
mod request_out;
mod settings_out;
mod stream_in;
#[cfg(test)]
mod tests;

use http::HeaderMap;

use super::conversation::{Answer, Embeddings, EmbeddingsRequest, Failure, Request};
use super::frames::Framing;
use super::provider::{Decoder, Malformed, Provider, Sent, Target, Unfit};

/// Cohere as a provider.
pub static PROVIDER: CohereProvider = CohereProvider;

/// See [`PROVIDER`].
#[derive(Clone, Copy, Debug)]
pub struct CohereProvider;

impl Provider for CohereProvider {
    fn chat(&self, request: &Request, target: &Target<'_>) -> Result<Sent, Unfit> {
        request_out::chat(request, target)
    }

    fn decoder(&self, sent: &Sent) -> Decoder {
        Decoder::new(Framing::Sse, Box::new(stream_in::Stream::new(sent)))
    }

    fn answer(&self, sent: &Sent, body: &[u8]) -> Result<Answer, Malformed> {
        answer_in::answer(sent, body)
    }

    fn failure(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
        error::failure(status, headers, body)
    }

    fn embed(&self, request: &EmbeddingsRequest, target: &Target<'_>) -> Result<Sent, Unfit> {
        embed::request(request, target)
    }

    fn embeddings(&self, body: &[u8]) -> Result<Embeddings, Malformed> {
        embed::vectors(body)
    }
}
