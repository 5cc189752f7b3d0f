//! Streams as they are on the wire, and taken apart into events.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::dialects::{Frame, Frames, Framing, aws_events};

/// One event: its name, where it has one, and what it says.
pub(super) type Event = (Option<String>, String);

/// The bytes of a recorded stream. Those that are binary were recorded as the text of their events.
pub(super) fn bytes(kind: &str, body: &str) -> Vec<u8> {
    if is_binary(kind) { join(kind, &events(kind, body)) } else { body.as_bytes().to_vec() }
}

/// The events of a recorded stream.
pub(super) fn events(kind: &str, body: &str) -> Vec<Event> {
    if is_lines(kind) {
        return body.lines().filter(|line| !line.trim().is_empty()).map(|line| (None, line.to_owned())).collect();
    }
    let body = body.replace("\r\n", "\n").replace('\r', "\n");
    body.split("\n\n").filter_map(event).collect()
}

/// Events put together again.
pub(super) fn join(kind: &str, events: &[Event]) -> Vec<u8> {
    let write = |(name, data): &Event| {
        if is_binary(kind) {
            return message(name.as_deref(), data);
        }
        if is_lines(kind) {
            return format!("{data}\n").into_bytes();
        }
        let name = name.as_ref().map(|name| format!("event: {name}\n")).unwrap_or_default();
        let lines: Vec<&str> = data.lines().collect();
        format!("{name}data: {}\n\n", lines.join("\ndata: ")).into_bytes()
    };
    events.iter().flat_map(write).collect()
}

/// Whether a stream is one document a line.
pub(super) fn is_lines(kind: &str) -> bool {
    kind.starts_with("ollama")
}

/// Whether a stream is Amazon's.
fn is_binary(kind: &str) -> bool {
    kind == "converse-stream"
}

/// One of Amazon's messages, which was recorded as `{"name": payload}`.
fn message(name: Option<&str>, data: &str) -> Vec<u8> {
    let only = serde_json::from_str::<Map<String, Value>>(data).ok().and_then(|event| event.into_iter().next());
    let (name, payload) = match (name, only) {
        (None, Some((name, payload))) => (name, payload.to_string()),
        (name, _) => (name.unwrap_or_default().to_owned(), data.to_owned()),
    };
    let is_exception = name.ends_with("Exception");
    let (header, kind) = if is_exception { (":exception-type", "exception") } else { (":event-type", "event") };
    aws_events::encode(&[(header, &name), (":message-type", kind)], payload.as_bytes())
}

/// Binary messages as the text of their events.
pub(super) fn text_of(binary: &[u8]) -> String {
    let mut text = String::new();
    let mut take = |frame: Frame<'_>| {
        let name = frame.name.unwrap_or_default().trim_start_matches(aws_events::EXCEPTION);
        write!(text, "data: {{\"{name}\":{}}}\n\n", String::from_utf8_lossy(frame.data))
            .expect("a String takes all");
        Ok(())
    };
    Frames::new(Framing::AwsEvents).feed(binary, &mut take).expect("whole messages");
    text
}

fn event(text: &str) -> Option<Event> {
    let mut name = None;
    let mut data = Vec::new();
    for line in text.lines() {
        let (field, value) = line.split_once(':')?;
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = Some(value.to_owned()),
            "data" => data.push(value),
            _ => {}
        }
    }
    (!data.is_empty()).then(|| (name, data.join("\n")))
}
