//! One answer on its way from a provider's dialect to a client's.

use std::rc::Rc;

use http::HeaderMap;

use super::conversation::{Embeddings, EmbeddingsRequest, Event, Failure};
use super::front::{Asked, Encode, Front};
use super::provider::{Decoder, Malformed, Provider, Sent};

/// Translates one answer, which comes as a stream, as a whole, or as an error.
#[derive(Debug)]
pub struct Translator {
    front: &'static dyn Front,
    provider: &'static dyn Provider,
    asked: Rc<Asked>,
    sent: Rc<Sent>,
    task: Task,
    stream: Option<(Decoder, Box<dyn Encode>)>,
    /// What the provider has said of its failure, if that was the last event.
    failure: Option<Failure>,
}

/// What was asked for.
#[derive(Debug)]
pub enum Task {
    /// An answer.
    Answer,
    /// Vectors, and how the client's dialect writes them.
    Embeddings(EmbeddingsRequest, fn(&Embeddings, &EmbeddingsRequest) -> Vec<u8>),
    /// The number of a prompt's tokens, and how the client's dialect writes that.
    Count(fn(u64) -> Vec<u8>),
}

impl Translator {
    /// For the answer to `sent`, as `asked`. The front of a `task` other than an answer writes its errors alone.
    pub fn new(
        (front, provider): (&'static dyn Front, &'static dyn Provider),
        asked: Rc<Asked>,
        sent: Rc<Sent>,
        task: Task,
    ) -> Self {
        Self { front, provider, asked, sent, task, stream: None, failure: None }
    }

    /// Takes bytes of a stream as they come and adds to `out` what they are in the client's dialect.
    ///
    /// # Errors
    /// When they are not of the provider's dialect: nothing more can be made of this stream.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let (decoder, _) = self.begun();
        let mut events = Vec::new();
        let result = decoder.feed(bytes, &mut events);
        self.write(events, out);
        result
    }

    /// The stream's transfer has ended as it should. Whether the answer is whole shows in what was written.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let (decoder, _) = self.begun();
        let mut events = Vec::new();
        let result = decoder.end(&mut events);
        self.write(events, out);
        result
    }

    /// A whole answer in the client's dialect: as one document, or, where the client wants a stream, as one.
    ///
    /// # Errors
    /// When it is none.
    pub fn whole(&mut self, body: &[u8]) -> Result<Vec<u8>, Malformed> {
        match &self.task {
            Task::Answer => {}
            Task::Embeddings(request, write) => {
                return Ok(write(&self.provider.embeddings(body)?, request));
            }
            Task::Count(write) => return Ok(write(self.provider.counted(body)?)),
        }
        let answer = self.provider.answer(&self.sent, body);
        if !self.asked.request.stream {
            return Ok(self.front.answer(&answer?, &self.asked));
        }
        let events = match answer {
            Ok(answer) => answer.into_events(),
            Err(malformed) => vec![Event::Failed(self.provider.mishap(body).ok_or(malformed)?)],
        };
        let mut out = Vec::new();
        self.write(events, &mut out);
        Ok(out)
    }

    /// An error in place of an answer, in the client's dialect: status and body.
    pub fn failed(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> (u16, Vec<u8>) {
        self.front.failure(&self.provider.failure(status, headers, body), &self.asked.request_id)
    }

    /// What a whole answer that could not be read says of a failure, and the same in the client's dialect: status and body.
    pub fn mishap(&self, body: &[u8]) -> Option<(Failure, (u16, Vec<u8>))> {
        let failure = self.provider.mishap(body)?;
        let told = self.front.failure(&failure, &self.asked.request_id);
        Some((failure, told))
    }

    /// What the provider has said of its failure, if that was the last event.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    fn begun(&mut self) -> &mut (Decoder, Box<dyn Encode>) {
        let Self { front, provider, asked, sent, stream, .. } = self;
        stream.get_or_insert_with(|| (provider.decoder(sent), front.encoder(asked)))
    }

    fn write(&mut self, mut events: Vec<Event>, out: &mut Vec<u8>) {
        let (_, encoder) = self.begun();
        for event in &events {
            encoder.event(event, out);
        }
        if let Some(Event::Failed(failure)) = events.pop() {
            self.failure = Some(failure);
        }
    }
}
