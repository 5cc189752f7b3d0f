//! What a dialect is that upstreams speak.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::conversation::{Answer, Embeddings, EmbeddingsRequest, Event, Failure, Request, Wish};
use super::frames::{Frames, Framing};

/// A dialect in which providers are asked.
pub trait Provider: Sync + fmt::Debug {
    /// Writes a request for an answer.
    ///
    /// # Errors
    /// When there is no way to say it.
    fn chat(&self, request: &Request, target: &Target<'_>) -> Result<Sent, Unfit>;

    /// How the events of a stream that answers `sent` are framed, and what understands them.
    fn decoder(&self, sent: &Sent) -> Decoder;

    /// Reads a whole answer to `sent`.
    ///
    /// # Errors
    /// When it is none.
    fn answer(&self, sent: &Sent, body: &[u8]) -> Result<Answer, Malformed>;

    /// The error that an answer is which [`Self::answer`] could not read: some tell errors with the status of a success.
    fn mishap(&self, body: &[u8]) -> Option<Failure> {
        let _ = body;
        None
    }

    /// Reads an error: any body, JSON or not, with a status that is no success.
    fn failure(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure;

    /// Writes a request for vectors.
    ///
    /// # Errors
    /// When the provider has none, or there is no way to say it.
    fn embed(&self, request: &EmbeddingsRequest, target: &Target<'_>) -> Result<Sent, Unfit> {
        let _ = (request, target);
        Err(Unfit::new("this provider has no embeddings"))
    }

    /// Reads vectors.
    ///
    /// # Errors
    /// When there are none.
    fn embeddings(&self, body: &[u8]) -> Result<Embeddings, Malformed> {
        let _ = body;
        Err(Malformed("embeddings of a provider that has none"))
    }

    /// Writes a request for the number of tokens of a prompt; `None` where the provider can't be asked for that.
    fn count(&self, request: &Request, target: &Target<'_>) -> Option<Result<Sent, Unfit>> {
        let _ = (request, target);
        None
    }

    /// Reads that number.
    ///
    /// # Errors
    /// When there is none.
    fn counted(&self, body: &[u8]) -> Result<u64, Malformed> {
        let _ = body;
        Err(Malformed("a count of a provider that has none"))
    }
}

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The model, as the provider names it.
    pub model: &'a str,
    /// A number that no other exchange has: 32 hexadecimal digits.
    pub unique: &'a str,
}

/// A request in a provider's dialect.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Below the upstream's base path, with its query; model names in it percent-encoded.
    pub path: String,
    /// What the dialect wants beside the key and `content-type: application/json`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// JSON.
    pub body: Vec<u8>,
    /// What could not be said.
    pub lost: Vec<Lost>,
    /// The tool that stands for the form of the answer, where the provider has no other way: its call is the answer.
    pub form_tool: Option<String>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// [`Target::unique`], for ids that the provider does not give.
    pub unique: String,
}

/// Something that the client asked for and the target can't honour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The client's name of it: `logit_bias`, `messages[2].content[0]`.
    pub name: String,
    /// The answer is the same without it: nobody is refused for its sake.
    pub is_hint: bool,
}

impl Lost {
    /// Something that matters.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), is_hint: false }
    }

    /// What a writer has left of the client's wishes.
    pub fn of_wishes(left: Vec<(Wish, &str)>) -> Vec<Self> {
        left.into_iter().map(|(wish, name)| Self { name: name.to_owned(), is_hint: wish.is_hint() }).collect()
    }
}

/// A request that can't be put to this provider at all, in words for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unfit {
    /// What is in the way.
    pub message: String,
    /// The field that is meant, as the client wrote it.
    pub param: Option<String>,
}

impl Unfit {
    /// One without a field.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), param: None }
    }

    /// One for a field.
    pub fn of(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param.into()) }
    }
}

/// An answer that is none, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream's answer is not understood: {0}")]
pub struct Malformed(pub &'static str);

/// Understands the events of one stream. Events and members that it does not know are no error.
pub trait Machine: fmt::Debug {
    /// Takes one event, whose `name` is that of its frame, where frames have names.
    ///
    /// # Errors
    /// When it is not of the dialect at all.
    fn event(&mut self, name: Option<&str>, data: &[u8], events: &mut Vec<Event>) -> Result<(), Malformed>;

    /// The transfer has ended as it should. Where the dialect has no last word, this is where [`Event::End`] comes from, if
    /// what was seen is whole.
    fn end(&mut self, events: &mut Vec<Event>) {
        let _ = events;
    }
}

/// From a stream's bytes to its events.
#[derive(Debug)]
pub struct Decoder {
    frames: Frames,
    machine: Box<dyn Machine>,
    over: bool,
}

impl Decoder {
    /// Frames, and what understands their contents.
    pub fn new(framing: Framing, machine: Box<dyn Machine>) -> Self {
        Self { frames: Frames::new(framing), machine, over: false }
    }

    /// Takes bytes as they come. What follows the last event is ignored.
    ///
    /// # Errors
    /// When they are not of the dialect; the events before are there.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Malformed> {
        let (machine, over) = (&mut self.machine, &mut self.over);
        self.frames.feed(bytes, &mut |frame| {
            if *over {
                return Ok(());
            }
            let result = machine.event(frame.name, frame.data, events);
            *over = is_over(events);
            result
        })
    }

    /// The transfer has ended as it should.
    ///
    /// # Errors
    /// When it has ended inside an event that is not of the dialect.
    pub fn end(&mut self, events: &mut Vec<Event>) -> Result<(), Malformed> {
        if self.over {
            return Ok(());
        }
        let machine = &mut self.machine;
        self.frames.end(&mut |frame| machine.event(frame.name, frame.data, events))?;
        if !is_over(events) {
            self.machine.end(events);
        }
        self.over = true;
        Ok(())
    }
}

fn is_over(events: &[Event]) -> bool {
    matches!(events.last(), Some(Event::End | Event::Failed(_)))
}
