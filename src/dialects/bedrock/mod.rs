//! Amazon Bedrock's Converse API, whole and streamed (Amazon Bedrock API Reference, Converse and
//! `ConverseStream`).
//!
//! The requests are signed elsewhere.

mod answer_in;
mod embed;
mod error;
mod media_out;
mod messages_out;
mod model;
mod request_out;
mod settings_out;
mod stream_in;
#[cfg(test)]
mod tests;
mod tools_out;

use http::HeaderMap;

use super::conversation::{Answer, Embeddings, EmbeddingsRequest, Failure, Request};
use super::frames::Framing;
use super::provider::{Decoder, Malformed, Provider, Sent, Target, Unfit};

/// Bedrock as a provider.
pub static PROVIDER: BedrockProvider = BedrockProvider;

/// See [`PROVIDER`].
#[derive(Clone, Copy, Debug)]
pub struct BedrockProvider;

impl Provider for BedrockProvider {
    fn chat(&self, request: &Request, target: &Target<'_>) -> Result<Sent, Unfit> {
        request_out::chat(request, target)
    }

    fn decoder(&self, sent: &Sent) -> Decoder {
        Decoder::new(Framing::AwsEvents, Box::new(stream_in::Stream::new(sent)))
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

    fn count(&self, request: &Request, target: &Target<'_>) -> Option<Result<Sent, Unfit>> {
        request_out::count(request, target)
    }

    fn counted(&self, body: &[u8]) -> Result<u64, Malformed> {
        answer_in::counted(body)
    }
}
