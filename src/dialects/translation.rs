//! One answer on its way from a provider's dialect to a client's.

use std::rc::Rc;

use http::HeaderMap;

use super::conversation::{Event, Failure};
use super::front::{Asked, Encode, Front};
use super::provider::{Decoder, Malformed, Provider, Sent};

/// Translates one answer, which comes as a stream, as a whole, or as an error.
#[derive(Debug)]
pub struct Translator {
    front: &'static dyn Front,
    provider: &'static dyn Provider,
    asked: Rc<Asked>,
    sent: Rc<Sent>,
    stream: Option<(Decoder, Box<dyn Encode>)>,
    /// What the provider has said of its failure, if that was the last event.
    failure: Option<Failure>,
}

impl Translator {
    /// For the answer to `sent`, as `asked`.
    pub fn new(
        front: &'static dyn Front,
        provider: &'static dyn Provider,
        asked: Rc<Asked>,
        sent: Rc<Sent>,
    ) -> Self {
        Self { front, provider, asked, sent, stream: None, failure: None }
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
        let answer = self.provider.answer(&self.sent, body)?;
        if !self.asked.request.stream {
            return Ok(self.front.answer(&answer, &self.asked));
        }
        let mut out = Vec::new();
        self.write(answer.into_events(), &mut out);
        Ok(out)
    }

    /// An error in place of an answer, in the client's dialect: status and body.
    pub fn failed(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> (u16, Vec<u8>) {
        self.front.failure(&self.provider.failure(status, headers, body), &self.asked.request_id)
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
