//! `OpenAI`'s chat completions, which clients speak and most providers, each with habits of its own.
//!
//! Forms: "Chat completions API reference" of `OpenAI`, and what the servers that are compatible with it have added to it,
//! each named where it is read.

mod answer_out;
mod choice_out;
mod error;
mod finish;
mod habits;
mod media;
mod message_in;
mod message_out;
mod request_in;
mod request_out;
mod settings_in;
mod settings_out;
mod speech;
mod stream_in;
mod stream_out;
#[cfg(test)]
mod tests;
mod thought;
mod tools_in;
mod usage;

use std::rc::Rc;

use http::HeaderMap;

use self::habits::Habits;
use self::stream_in::Chunks;
use self::stream_out::Encoder;
use super::conversation::{Answer, Embeddings, EmbeddingsRequest, Failure, Request};
use super::{
    Asked, Decoder, Encode, Framing, Front, Malformed, Place, Provider, Refusal, Sent, Target, Unfit, embeddings,
};

pub(super) use self::choice_out::model;
pub(super) use self::error::{event as error_event, write as write_error};
pub(super) use self::finish::word as finish_word;
pub(super) use self::request_in::{begun, object};
pub(super) use self::settings_in::read as setting;
pub(super) use self::usage::write as write_usage;

/// Clients of `POST /v1/chat/completions`.
pub static FRONT: ChatFront = ChatFront;
/// `OpenAI` itself, and Azure's `OpenAI`.
pub static OPENAI: ChatProvider = ChatProvider { habits: Habits::OpenAi };
/// `DeepSeek` itself.
pub static DEEPSEEK: ChatProvider = ChatProvider { habits: Habits::DeepSeek };
/// Groq.
pub static GROQ: ChatProvider = ChatProvider { habits: Habits::Groq };
/// Mistral itself.
pub static MISTRAL: ChatProvider = ChatProvider { habits: Habits::Mistral };
/// Everybody else: vLLM, `OpenRouter`, xAI, Moonshot, Google's and Amazon's servers of this dialect.
pub static COMPATIBLE: ChatProvider = ChatProvider { habits: Habits::Other };

/// Whose server speaks behind a preset of the configuration.
pub fn provider(preset: Option<&str>) -> &'static ChatProvider {
    match preset {
        Some("openai") => &OPENAI,
        Some("deepseek") => &DEEPSEEK,
        Some("groq") => &GROQ,
        Some("mistral") => &MISTRAL,
        _ => &COMPATIBLE,
    }
}

/// See [`FRONT`].
#[derive(Clone, Copy, Debug)]
pub struct ChatFront;

/// See [`provider`].
#[derive(Clone, Copy, Debug)]
pub struct ChatProvider {
    habits: Habits,
}

impl Front for ChatFront {
    fn read(&self, body: &[u8], place: &Place<'_>) -> Result<Request, Refusal> {
        request_in::read(body, place)
    }

    fn answer(&self, answer: &Answer, asked: &Asked) -> Vec<u8> {
        answer_out::write(answer, asked)
    }

    fn encoder(&self, asked: &Rc<Asked>) -> Box<dyn Encode> {
        Box::new(Encoder::new(asked))
    }

    fn failure(&self, failure: &Failure, request_id: &str) -> (u16, Vec<u8>) {
        error::write(failure, request_id)
    }
}

impl Provider for ChatProvider {
    fn chat(&self, request: &Request, target: &Target<'_>) -> Result<Sent, Unfit> {
        Ok(request_out::write(request, target, self.habits))
    }

    fn decoder(&self, sent: &Sent) -> Decoder {
        Decoder::new(Framing::Sse, Box::new(Chunks::new(&sent.unique, false)))
    }

    fn answer(&self, sent: &Sent, body: &[u8]) -> Result<Answer, Malformed> {
        stream_in::answer(body, &sent.unique)
    }

    fn mishap(&self, body: &[u8]) -> Option<Failure> {
        error::in_answer(body)
    }

    fn failure(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
        error::of_answer(status, headers, body)
    }

    fn embed(&self, request: &EmbeddingsRequest, target: &Target<'_>) -> Result<Sent, Unfit> {
        Ok(embeddings::send(request, target))
    }

    fn embeddings(&self, body: &[u8]) -> Result<Embeddings, Malformed> {
        embeddings::receive(body)
    }
}
