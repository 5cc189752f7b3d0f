//! Google's Gemini API, which clients speak and upstreams do, on Vertex AI too (Gemini API reference, v1beta; Vertex AI API
//! reference, v1).
//!
//! A model's thoughts, texts and calls carry signatures, which go back with the parts that they came with. Calls need no
//! ids here: where there are none, names and order pair calls and results.

mod answer_in;
mod answer_out;
mod candidate_in;
mod citation;
mod contents_in;
mod contents_out;
mod embedding;
mod error;
mod fields;
mod model;
mod part_out;
mod partial_args;
mod passthrough;
mod proof;
mod request_in;
mod request_out;
mod schema;
mod settings_in;
mod settings_out;
mod stream_out;

use std::rc::Rc;

use http::HeaderMap;
use serde_json::{Value, json};

use crate::dialects::conversation::{Answer, Embeddings, EmbeddingsRequest, Failure, Request};
use crate::dialects::{
    Asked, Decoder, Encode, Framing, Front, Malformed, Place, Provider, Refusal, Sent, Target, Unfit,
};

pub use self::passthrough::{own_thoughts, renamed};

/// The dialect as clients speak it.
pub static FRONT: GeminiFront = GeminiFront;
/// The Gemini API. Paths stand below `/v1beta`.
pub static PROVIDER: GeminiProvider = GeminiProvider(Cloud::Api);
/// Gemini's models on Vertex AI. Paths stand below `/v1/projects/{project}/locations/{location}`.
pub static VERTEX: GeminiProvider = GeminiProvider(Cloud::Vertex);

/// Parts that only Google's models understand.
const FOREIGN_PARTS: [&str; 4] = ["executableCode", "codeExecutionResult", "toolCall", "toolResponse"];
/// What Google says of a candidate beside its parts, and of which only Google's clients make something.
const CANDIDATE_NOTES: [&str; 3] = ["groundingMetadata", "citationMetadata", "urlContextMetadata"];

/// Where Google's models run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cloud {
    Api,
    Vertex,
}

/// Answers as Google does.
#[derive(Clone, Copy, Debug)]
pub struct GeminiFront;

/// Asks Google.
#[derive(Clone, Copy, Debug)]
pub struct GeminiProvider(Cloud);

impl GeminiFront {
    /// Reads a request for vectors: `embedContent`, or `batchEmbedContents`.
    ///
    /// # Errors
    /// What is wrong with it, in words for the client.
    pub fn read_embed(&self, body: &[u8], place: &Place<'_>) -> Result<EmbeddingsRequest, Refusal> {
        embedding::read(body, place)
    }

    /// Writes vectors: the first alone, or, for a batch, all.
    pub fn write_embed(&self, embeddings: &Embeddings, is_batch: bool) -> Vec<u8> {
        embedding::write(embeddings, is_batch).to_string().into_bytes()
    }

    /// Reads a request for a count: `countTokens`.
    ///
    /// # Errors
    /// What is wrong with it, in words for the client.
    pub fn read_count(&self, body: &[u8], place: &Place<'_>) -> Result<Request, Refusal> {
        request_in::read_count(body, place)
    }

    /// Writes a count.
    pub fn write_count(&self, tokens: u64) -> Vec<u8> {
        json!({ "totalTokens": tokens }).to_string().into_bytes()
    }
}

impl Front for GeminiFront {
    fn read(&self, body: &[u8], place: &Place<'_>) -> Result<Request, Refusal> {
        request_in::read(body, place)
    }

    fn answer(&self, answer: &Answer, asked: &Asked) -> Vec<u8> {
        answer_out::write(answer, asked).to_string().into_bytes()
    }

    fn encoder(&self, asked: &Rc<Asked>) -> Box<dyn Encode> {
        Box::new(stream_out::Writer::new(asked))
    }

    fn failure(&self, failure: &Failure, request_id: &str) -> (u16, Vec<u8>) {
        let (status, body) = error::write(failure, request_id);
        (status, body.to_string().into_bytes())
    }
}

impl Provider for GeminiProvider {
    fn chat(&self, request: &Request, target: &Target<'_>) -> Result<Sent, Unfit> {
        request_out::chat(request, target, self.0)
    }

    fn decoder(&self, sent: &Sent) -> Decoder {
        Decoder::new(Framing::Sse, Box::new(answer_in::Reader::new(&sent.unique)))
    }

    fn answer(&self, sent: &Sent, body: &[u8]) -> Result<Answer, Malformed> {
        answer_in::whole_answer(&sent.unique, body)
    }

    fn failure(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
        error::read(status, headers, body)
    }

    fn embed(&self, request: &EmbeddingsRequest, target: &Target<'_>) -> Result<Sent, Unfit> {
        embedding::ask(request, target, self.0)
    }

    fn embeddings(&self, body: &[u8]) -> Result<Embeddings, Malformed> {
        embedding::read_answer(body)
    }

    fn count(&self, request: &Request, target: &Target<'_>) -> Option<Result<Sent, Unfit>> {
        Some(request_out::count(request, target, self.0))
    }

    fn counted(&self, body: &[u8]) -> Result<u64, Malformed> {
        let body: Value = serde_json::from_slice(body).map_err(|_| Malformed("a count that is not JSON"))?;
        fields::whole(&body, "totalTokens").ok_or(Malformed("a count without a number"))
    }
}

/// What kind of thing a media type is.
fn kind_of(media_type: &str) -> &'static str {
    match media_type.split('/').next() {
        Some("image") => "image",
        Some("audio") => "audio",
        Some("video") => "video",
        _ => "file",
    }
}

#[cfg(test)]
mod tests;
