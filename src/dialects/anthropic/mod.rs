//! Anthropic's Messages API: Claude, and all that speaks its dialect.

mod answer_out;
mod blocks_in;
mod blocks_out;
mod citation;
mod error;
mod messages_out;
mod models;
mod passthrough;
mod request_in;
mod request_out;
mod schema;
mod settings_out;
mod stream_in;
mod stream_out;
mod usage;

use std::rc::Rc;

use http::HeaderMap;
use serde_json::{Value, json};

use self::request_out::Cloud;
use self::stream_in::Reader;
use crate::dialects::conversation::{Answer, Collector, Failure, Request};
use crate::dialects::{
    Asked, Decoder, Encode, Framing, Front, Malformed, Place, Provider, Refusal, Sent, Target, Unfit,
};

pub use self::passthrough::{own_thoughts, vertex_body, vertex_target};

/// The dialect on the clients' side.
pub static FRONT: AnthropicFront = AnthropicFront;
/// The dialect as Anthropic itself speaks it.
pub static PROVIDER: AnthropicProvider = AnthropicProvider { cloud: Cloud::Anthropic };
/// The same on Google's cloud.
pub static VERTEX_PROVIDER: AnthropicProvider = AnthropicProvider { cloud: Cloud::Vertex };

/// See [`FRONT`].
#[derive(Clone, Copy, Debug)]
pub struct AnthropicFront;

/// See [`PROVIDER`] and [`VERTEX_PROVIDER`].
#[derive(Clone, Copy, Debug)]
pub struct AnthropicProvider {
    cloud: Cloud,
}

impl Front for AnthropicFront {
    fn read(&self, body: &[u8], place: &Place<'_>) -> Result<Request, Refusal> {
        request_in::read(body, place, false)
    }

    fn answer(&self, answer: &Answer, asked: &Asked) -> Vec<u8> {
        answer_out::write(answer, asked)
    }

    fn encoder(&self, asked: &Rc<Asked>) -> Box<dyn Encode> {
        Box::new(stream_out::Writer::new(asked))
    }

    fn failure(&self, failure: &Failure, request_id: &str) -> (u16, Vec<u8>) {
        error::write(failure, request_id)
    }
}

impl Provider for AnthropicProvider {
    fn chat(&self, request: &Request, target: &Target<'_>) -> Result<Sent, Unfit> {
        request_out::chat(request, target, self.cloud)
    }

    fn decoder(&self, sent: &Sent) -> Decoder {
        Decoder::new(Framing::Sse, Box::new(Reader::new(sent.form_tool.clone())))
    }

    fn answer(&self, sent: &Sent, body: &[u8]) -> Result<Answer, Malformed> {
        let message = serde_json::from_slice(body).map_err(|_| Malformed("a message that is no JSON"))?;
        let mut events = Vec::new();
        Reader::new(sent.form_tool.clone()).message(message, &mut events)?;
        let mut collector = Collector::default();
        for event in events {
            collector.event(event).map_err(|_| Malformed("a message that is an error"))?;
        }
        collector.finish().ok_or(Malformed("a message without end"))
    }

    fn failure(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
        error::of_answer(status, headers, body)
    }

    fn count(&self, request: &Request, target: &Target<'_>) -> Option<Result<Sent, Unfit>> {
        Some(request_out::count(request, target, self.cloud))
    }

    fn counted(&self, body: &[u8]) -> Result<u64, Malformed> {
        let count: Value = serde_json::from_slice(body).map_err(|_| Malformed("a count that is no JSON"))?;
        count.get("input_tokens").and_then(Value::as_u64).ok_or(Malformed("a count without a number"))
    }
}

/// Reads a request for the number of tokens of a prompt.
///
/// # Errors
/// As [`Front::read`].
pub fn read_count(body: &[u8]) -> Result<Request, Refusal> {
    request_in::read(body, &Place::default(), true)
}

/// Writes that number.
pub fn write_count(tokens: u64) -> Vec<u8> {
    json!({ "input_tokens": tokens }).to_string().into_bytes()
}
