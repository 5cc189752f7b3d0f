//! What must hold for any bytes at all. The fuzz targets (`fuzz/`) are these functions, and so are tests with bounded luck.

use std::rc::Rc;

use serde_json::Value;

use super::roster;
use crate::dialects::conversation::{Answer, Collector, Event, Request};
use crate::dialects::{Asked, Place, Sent, Target};

const UNIQUE: &str = "0123456789abcdef0123456789abcdef";

/// A stream: its first byte chooses the provider, the second the size of the pieces in which it comes.
pub(super) fn stream(input: &[u8]) {
    let [which, size, bytes @ ..] = input else { return };
    let providers = roster::providers();
    let (kind, provider) = *choose(&providers, *which);
    let mut decoder = provider.decoder(&sent());
    let (mut events, mut is_bad) = (Vec::new(), false);
    for piece in bytes.chunks(usize::from(*size).max(1)) {
        is_bad = is_bad || decoder.feed(piece, &mut events).is_err();
    }
    is_bad = is_bad || decoder.end(&mut events).is_err();
    let mut whole = Vec::new();
    let mut decoder = provider.decoder(&sent());
    let whole_is_bad = decoder.feed(bytes, &mut whole).and_then(|()| decoder.end(&mut whole)).is_err();
    assert_eq!(whole_is_bad, is_bad, "{kind}: pieces decide whether a stream is of the dialect");
    assert_eq!(whole, events, "{kind}: pieces change what a stream says");
    orderly(&events);
    say(&events);
}

/// A request: its first byte chooses the client's dialect. Every provider is asked what was understood.
pub(super) fn request(input: &[u8]) {
    let [which, body @ ..] = input else { return };
    let place = Place { model: Some("gull-1"), stream: Some(which % 2 == 0) };
    let fronts = roster::fronts();
    let Ok(request) = choose(&fronts, *which).front.read(body, &place) else { return };
    for (kind, provider) in roster::providers() {
        let Ok(sent) = provider.chat(&request, &Target { model: "gull-1", unique: UNIQUE }) else { continue };
        let body: Result<Value, _> = serde_json::from_slice(&sent.body);
        assert!(body.is_ok_and(|body| body.is_object()), "{kind}: a request that is no JSON object");
        assert!(sent.path.starts_with('/') && !sent.path.contains([' ', '\r', '\n']), "{kind}: {:?}", sent.path);
        if let Some(Ok(count)) = provider.count(&request, &Target { model: "gull-1", unique: UNIQUE }) {
            assert!(serde_json::from_slice::<Value>(&count.body).is_ok(), "{kind}: a count that is no JSON");
        }
    }
}

/// A document in place of an answer, of vectors, of a count or of an error: its first byte chooses the provider.
pub(super) fn document(input: &[u8]) {
    let [which, body @ ..] = input else { return };
    let providers = roster::providers();
    let (kind, provider) = *choose(&providers, *which);
    if let Ok(answer) = provider.answer(&sent(), body) {
        for speaker in roster::fronts() {
            let written = speaker.front.answer(&answer, &asked(false));
            assert!(serde_json::from_slice::<Value>(&written).is_ok(), "{}: no JSON", speaker.name);
        }
        let events = answer.into_events();
        orderly(&events);
        say(&events);
    }
    provider.embeddings(body).ok();
    provider.counted(body).ok();
    let status = 400 + u16::from(*which) % 200;
    let failure = provider.failure(status, &http::HeaderMap::new(), body);
    assert!(!failure.message.is_empty(), "{kind}: an error without words: {failure:?}");
    for speaker in roster::fronts() {
        let (status, body) = speaker.front.failure(&failure, "req_1");
        assert!((400..600).contains(&status), "{}: an error with status {status}", speaker.name);
        assert!(serde_json::from_slice::<Value>(&body).is_ok(), "{}: no JSON", speaker.name);
    }
}

/// The order that [`Event`] promises.
fn orderly(events: &[Event]) {
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Start(_) => {
                let before = events[..at].iter().any(|event| !matches!(event, Event::Ping | Event::Usage(_)));
                assert!(!before, "it begins behind {:?}", &events[..at]);
            }
            Event::End | Event::Failed(_) => assert_eq!(at + 1, events.len(), "it goes on behind its end"),
            _ => {}
        }
    }
    let mut collector = Collector::default();
    for event in events {
        if collector.event(event.clone()).is_err() {
            return;
        }
    }
    let has_end = matches!(events.last(), Some(Event::End));
    assert_eq!(collector.finish().map(|_: Answer| ()), has_end.then_some(()));
}

/// Says them in every dialect of clients.
fn say(events: &[Event]) {
    for speaker in roster::fronts() {
        let mut encoder = speaker.front.encoder(&asked(true));
        let mut out = Vec::new();
        for event in events {
            encoder.event(event, &mut out);
        }
        assert!(std::str::from_utf8(&out).is_ok(), "{}: no text", speaker.name);
    }
}

fn sent() -> Sent {
    Sent { stream: true, unique: UNIQUE.to_owned(), ..Sent::default() }
}

fn asked(stream: bool) -> Rc<Asked> {
    let request = Request { model: "gull-1".to_owned(), stream, ..Request::default() };
    Rc::new(Asked { request, unique: UNIQUE.to_owned(), now: 1_785_585_600, request_id: "req_1".to_owned() })
}

fn choose<T>(list: &[T], by: u8) -> &T {
    &list[usize::from(by) % list.len()]
}
