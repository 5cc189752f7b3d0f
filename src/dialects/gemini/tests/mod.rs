//! Shared by the tests of this dialect.

mod answers;
mod embeddings;
mod requests_in;
mod requests_out;
mod streams;

use std::rc::Rc;

use serde_json::Value;

use super::{FRONT, PROVIDER};
use crate::dialects::conversation::{Answer, Collector, Event, Request};
use crate::dialects::{Asked, Front, Place, Provider, Sent, Target};

/// A request that a client makes for a whole answer.
fn read(body: &Value) -> Request {
    let place = Place { model: Some("gemini-x"), stream: None };
    FRONT.read(body.to_string().as_bytes(), &place).expect("a request that can be read")
}

/// What the Gemini API is asked: the body, and what was lost.
fn written(request: &Request, model: &str) -> (Value, Vec<String>) {
    let sent = PROVIDER.chat(request, &Target { model, unique: UNIQUE }).expect("a request that can be written");
    let lost = sent.lost.iter().map(|lost| format!("{}{}", lost.name, if lost.is_hint { "?" } else { "" }));
    (serde_json::from_slice(&sent.body).expect("JSON"), lost.collect())
}

const UNIQUE: &str = "0123456789abcdef0123456789abcdef";

fn sent() -> Sent {
    Sent { unique: UNIQUE.to_owned(), ..Sent::default() }
}

fn asked(request: Request) -> Rc<Asked> {
    Rc::new(Asked { request, unique: UNIQUE.to_owned(), now: 0, request_id: "req_1".to_owned() })
}

/// The events of a stream that comes in these pieces and ends as it should.
fn decoded(pieces: &[&[u8]]) -> Vec<Event> {
    let mut decoder = PROVIDER.decoder(&sent());
    let mut events = Vec::new();
    for piece in pieces {
        decoder.feed(piece, &mut events).expect("Gemini's events");
    }
    decoder.end(&mut events).expect("Gemini's events");
    events
}

/// A stream as the front writes it.
fn encoded(events: &[Event], request: Request) -> String {
    let mut encoder = FRONT.encoder(&asked(request));
    let mut out = Vec::new();
    for event in events {
        encoder.event(event, &mut out);
    }
    String::from_utf8(out).expect("text")
}

/// The events of a stream as JSON.
fn responses(stream: &str) -> Vec<Value> {
    let events = stream.split("\r\n\r\n").filter_map(|event| event.trim().strip_prefix("data: "));
    events.map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

fn collected(events: &[Event]) -> Option<Answer> {
    let mut collector = Collector::default();
    for event in events {
        collector.event(event.clone()).expect("no failure");
    }
    collector.finish()
}
