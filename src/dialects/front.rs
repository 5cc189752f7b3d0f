//! What a dialect is that clients speak.

use std::fmt;
use std::rc::Rc;

use super::conversation::{Answer, Event, Failure, Request};

/// A dialect in which clients ask for answers.
pub trait Front: Sync + fmt::Debug {
    /// Reads a request, whose body is one JSON object.
    ///
    /// # Errors
    /// What is wrong with it, in words for the client.
    fn read(&self, body: &[u8], place: &Place<'_>) -> Result<Request, Refusal>;

    /// Writes a whole answer.
    fn answer(&self, answer: &Answer, asked: &Asked) -> Vec<u8>;

    /// Begins a streamed answer.
    fn encoder(&self, asked: &Rc<Asked>) -> Box<dyn Encode>;

    /// Writes an error that takes the place of an answer: the status and the body. `request_id` is ours.
    fn failure(&self, failure: &Failure, request_id: &str) -> (u16, Vec<u8>);
}

/// Writes a streamed answer, event by event, framed as the dialect wants it.
pub trait Encode: fmt::Debug {
    /// Writes what an event is in the dialect, which may be nothing, at once: nothing waits for an event that it does not
    /// need. After [`Event::End`] or [`Event::Failed`] nothing follows.
    fn event(&mut self, event: &Event, out: &mut Vec<u8>);
}

/// What a request's address says of it, in dialects where that says something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// The model.
    pub model: Option<&'a str>,
    /// Whether a stream is wanted.
    pub stream: Option<bool>,
}

/// What was asked, for whoever writes the answer.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The request.
    pub request: Request,
    /// A number that no other exchange has, for ids that a provider does not give: 32 hexadecimal digits.
    pub unique: String,
    /// Seconds since 1970, for times that a provider does not give.
    pub now: u64,
    /// Our id of the exchange, for errors.
    pub request_id: String,
}

/// Why a request is refused, in words for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// The field that is meant, as the client wrote it.
    pub param: Option<String>,
}

impl Refusal {
    /// One for a field.
    pub fn of(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param.into()) }
    }
}
