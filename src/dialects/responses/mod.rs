//! `OpenAI`'s Responses API, which clients speak and providers (`OpenAI`, Azure, `xAI`, Bedrock and servers of open models).
//!
//! An answer is a list of items: messages, thoughts, calls. A stream says where each item and each piece of it begins and
//! ends, numbers its events, and ends with the whole response.

mod annotation;
mod answer_in;
mod content_in;
mod content_out;
mod envelope;
mod error;
mod items_in;
mod items_out;
mod members;
mod message_out;
mod passthrough;
mod request_in;
mod request_out;
mod short;
mod slot;
mod stream_in;
mod stream_out;
mod thought;
mod tools_in;
mod wire;

use std::rc::Rc;

use http::HeaderMap;

use super::conversation::{Answer, Embeddings, EmbeddingsRequest, Failure, Request};
use super::embeddings;
use super::frames::Framing;
use super::front::{Asked, Encode, Front, Place, Refusal};
use super::provider::{Decoder, Malformed, Provider, Sent, Target, Unfit};

pub use self::passthrough::own_thoughts;

/// The dialect for clients.
pub static FRONT: ResponsesFront = ResponsesFront;

/// The dialect of providers.
pub static PROVIDER: ResponsesProvider = ResponsesProvider;

/// The dialect for clients.
#[derive(Debug)]
pub struct ResponsesFront;

/// The dialect of providers.
#[derive(Debug)]
pub struct ResponsesProvider;

impl Front for ResponsesFront {
    fn read(&self, body: &[u8], _: &Place<'_>) -> Result<Request, Refusal> {
        request_in::read(body)
    }

    fn answer(&self, answer: &Answer, asked: &Asked) -> Vec<u8> {
        stream_out::whole(answer, asked)
    }

    fn encoder(&self, asked: &Rc<Asked>) -> Box<dyn Encode> {
        Box::new(stream_out::Encoder::new(Rc::clone(asked)))
    }

    fn failure(&self, failure: &Failure, request_id: &str) -> (u16, Vec<u8>) {
        error::write(failure, request_id)
    }
}

impl Provider for ResponsesProvider {
    fn chat(&self, request: &Request, target: &Target<'_>) -> Result<Sent, Unfit> {
        request_out::write(request, target)
    }

    fn decoder(&self, _: &Sent) -> Decoder {
        Decoder::new(Framing::Sse, Box::new(stream_in::Responses::default()))
    }

    fn answer(&self, _: &Sent, body: &[u8]) -> Result<Answer, Malformed> {
        answer_in::read(body)
    }

    // Who has this surface has the other's for vectors.
    fn embed(&self, request: &EmbeddingsRequest, target: &Target<'_>) -> Result<Sent, Unfit> {
        Ok(embeddings::send(request, target))
    }

    fn embeddings(&self, body: &[u8]) -> Result<Embeddings, Malformed> {
        embeddings::receive(body)
    }

    fn count(&self, request: &Request, target: &Target<'_>) -> Option<Result<Sent, Unfit>> {
        Some(request_out::write_count(request, target))
    }

    fn counted(&self, body: &[u8]) -> Result<u64, Malformed> {
        answer_in::read_count(body)
    }

    fn mishap(&self, body: &[u8]) -> Option<Failure> {
        error::in_answer(body)
    }

    fn failure(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
        error::read(status, headers, body)
    }
}

#[cfg(test)]
mod tests;
