//! Where the events of a stream begin and end.

use bytes::{Buf, BytesMut};

use super::aws_events;
use super::provider::Malformed;
use crate::api::sse::Scanner;

/// Bytes of one event. The longest that providers send are pictures in base64, of some megabytes.
const EVENT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How events are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// One JSON document a line.
    Lines,
    /// Amazon's event stream, in binary messages with checksums. A frame's name is that of its event; one of an exception
    /// begins with [`aws_events::EXCEPTION`], one of an error with [`aws_events::ERROR`].
    AwsEvents,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its name, where frames have names.
    pub name: Option<&'a str>,
    /// What it says. Never empty.
    pub data: &'a [u8],
}

/// Finds events, however the network splits or merges them.
#[derive(Debug)]
pub struct Frames {
    framing: Framing,
    scanner: Scanner,
    /// The incomplete event at the end of what was fed.
    held: BytesMut,
    /// Bytes of `held` in which no line end was found.
    searched: usize,
}

/// Who gets the events.
pub(super) type Take<'a> = &'a mut dyn FnMut(Frame<'_>) -> Result<(), Malformed>;

impl Frames {
    /// None yet.
    pub fn new(framing: Framing) -> Self {
        Self { framing, scanner: Scanner::default(), held: BytesMut::new(), searched: 0 }
    }

    /// Gives every event that is whole to `take`.
    ///
    /// # Errors
    /// Those of `take`, when an event is longer than 32 MiB, and when a binary one is broken.
    pub fn feed(&mut self, bytes: &[u8], take: Take<'_>) -> Result<(), Malformed> {
        match self.framing {
            Framing::Sse => self.feed_sse(bytes, take)?,
            Framing::Lines => self.feed_lines(bytes, take)?,
            Framing::AwsEvents => self.feed_aws(bytes, take)?,
        }
        if self.held.len() > EVENT_BYTES_MAX {
            return Err(Malformed("an event without end"));
        }
        Ok(())
    }

    /// Gives the event at the end to `take`, if it lacks nothing but its end mark.
    ///
    /// # Errors
    /// Those of `take`, and when a binary event is cut off.
    pub fn end(&mut self, take: Take<'_>) -> Result<(), Malformed> {
        let rest = std::mem::take(&mut self.held);
        match self.framing {
            Framing::Sse => sse(&rest, take),
            Framing::Lines => line(&rest, take),
            Framing::AwsEvents if rest.is_empty() => Ok(()),
            Framing::AwsEvents => Err(Malformed("a stream that ends inside an event")),
        }
    }

    fn feed_sse(&mut self, mut bytes: &[u8], take: Take<'_>) -> Result<(), Malformed> {
        while let Some(end) = self.scanner.event_end(bytes) {
            let (event, rest) = bytes.split_at(end);
            bytes = rest;
            if self.held.is_empty() {
                sse(event, take)?;
            } else {
                self.held.extend_from_slice(event);
                let event = std::mem::take(&mut self.held);
                sse(&event, take)?;
            }
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    fn feed_lines(&mut self, bytes: &[u8], take: Take<'_>) -> Result<(), Malformed> {
        self.held.extend_from_slice(bytes);
        while let Some(at) = memchr::memchr(b'\n', &self.held[self.searched..]) {
            let end = self.searched + at;
            self.searched = 0;
            let result = line(&self.held[..end], take);
            self.held.advance(end + 1);
            result?;
        }
        self.searched = self.held.len();
        Ok(())
    }

    fn feed_aws(&mut self, bytes: &[u8], take: Take<'_>) -> Result<(), Malformed> {
        self.held.extend_from_slice(bytes);
        while let Some(length) = aws_events::length(&self.held)? {
            if self.held.len() < length {
                break;
            }
            let message = self.held.split_to(length);
            aws_events::message(&message, take)?;
        }
        Ok(())
    }
}

fn line(bytes: &[u8], take: Take<'_>) -> Result<(), Malformed> {
    let data = bytes.trim_ascii();
    if data.is_empty() { Ok(()) } else { take(Frame { name: None, data }) }
}

/// One event's fields: its last name, and its data, the lines of which are joined by line feeds (WHATWG HTML, 9.2.6).
fn sse(bytes: &[u8], take: Take<'_>) -> Result<(), Malformed> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (mut name, mut one, mut all) = (None, None, Vec::new());
    for line in bytes.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => name = std::str::from_utf8(value).ok(),
            b"data" => {
                if let Some(first) = one.take() {
                    all.extend_from_slice(first);
                }
                if all.is_empty() {
                    one = Some(value);
                } else {
                    all.push(b'\n');
                    all.extend_from_slice(value);
                }
            }
            _ => {}
        }
    }
    let data = one.unwrap_or(&all).trim_ascii();
    if data.is_empty() { Ok(()) } else { take(Frame { name, data }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(framing: Framing, pieces: &[&[u8]]) -> Vec<String> {
        let mut frames = Frames::new(framing);
        let mut seen = Vec::new();
        let mut take = |frame: Frame<'_>| {
            seen.push(format!("{}|{}", frame.name.unwrap_or(""), String::from_utf8_lossy(frame.data)));
            Ok(())
        };
        for piece in pieces {
            frames.feed(piece, &mut take).expect("short events");
        }
        frames.end(&mut take).expect("a short event");
        seen
    }

    #[test]
    fn every_split_gives_the_same_events() {
        for (framing, text, expected) in [
            (
                Framing::Sse,
                "\u{feff}: hi\n\nevent: a\ndata: {\"x\":\r\ndata: 1}\r\n\r\ndata:2\n\ndata: \n\nevent: b\n\ndata: 3",
                vec!["a|{\"x\":\n1}", "|2", "|3"],
            ),
            (
                Framing::Lines,
                "{\"a\":1}\n\n {\"b\":2} \r\n{\"c\":3}",
                vec!["|{\"a\":1}", "|{\"b\":2}", "|{\"c\":3}"],
            ),
        ] {
            assert_eq!(frames(framing, &[text.as_bytes()]), expected);
            for at in 0..text.len() {
                let (one, two) = text.as_bytes().split_at(at);
                assert_eq!(frames(framing, &[one, two]), expected, "split at {at}");
            }
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(frames(framing, &bytes), expected);
        }
    }
}
