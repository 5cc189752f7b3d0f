//! Amazon's event stream, `application/vnd.amazon.eventstream`.
//!
//! Form (Smithy, "Amazon Event Stream Specification"): each message is the total length, the headers' length (both 32 bits,
//! big endian) and a CRC-32 of these eight bytes; the headers; the payload; a CRC-32 of everything before it. A header is
//! the length of its name, the name, a type, a value. Which headers say what: Smithy, "Event streams": `:message-type` is
//! `event`, `exception` or `error`; then `:event-type`, `:exception-type`, or `:error-code` and `:error-message`.

use super::frames::{Frame, Take};
use super::provider::Malformed;

/// Bytes of one message, which is the specification's bound on a payload.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of its headers, which is the specification's bound.
const HEADERS_BYTES_MAX: usize = 128 * 1024;
/// The two lengths and their checksum.
const PRELUDE_BYTES: usize = 12;
/// A checksum.
const CRC_BYTES: usize = 4;

/// Stands before the name of a frame that is an exception of the service's model: `exception:throttlingException`.
pub const EXCEPTION: &str = "exception:";
/// Stands before the name of a frame that is an error outside that model: `error:InternalError`. Its data is an object with
/// the `message`.
pub const ERROR: &str = "error:";

/// How long the message is that begins here, or `None` while too little of it is there. Known before the message is held.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    if bytes.len() < PRELUDE_BYTES {
        return Ok(None);
    }
    let total = number(bytes);
    let headers = number(&bytes[4..]);
    if crc32fast::hash(&bytes[..8]) != word(&bytes[8..]) {
        return Err(Malformed("an event whose lengths do not match their checksum"));
    }
    if headers > HEADERS_BYTES_MAX || total > MESSAGE_BYTES_MAX {
        return Err(Malformed("an event that is too long"));
    }
    if total < PRELUDE_BYTES + headers + CRC_BYTES {
        return Err(Malformed("an event that is shorter than its headers"));
    }
    Ok(Some(total))
}

/// Gives one message, which is whole and whose [`length`] is that of `bytes`, to `take`.
pub(super) fn message(bytes: &[u8], take: Take<'_>) -> Result<(), Malformed> {
    let (rest, crc) = bytes.split_at(bytes.len() - CRC_BYTES);
    if crc32fast::hash(rest) != word(crc) {
        return Err(Malformed("an event that does not match its checksum"));
    }
    let (headers, payload) = rest[PRELUDE_BYTES..].split_at(number(&rest[4..]));
    let headers = Headers::of(headers)?;
    let payload = payload.trim_ascii();
    let data = if payload.is_empty() { b"{}" } else { payload };
    match headers.message_type {
        None | Some("event") => match headers.event_type {
            Some(name) => take(Frame { name: Some(name), data }),
            None => Ok(()),
        },
        Some("exception") => {
            let name = format!("{EXCEPTION}{}", headers.exception_type.unwrap_or_default());
            take(Frame { name: Some(&name), data })
        }
        Some("error") => {
            let name = format!("{ERROR}{}", headers.error_code.unwrap_or_default());
            let text = serde_json::json!({ "message": headers.error_message.unwrap_or_default() }).to_string();
            take(Frame { name: Some(&name), data: text.as_bytes() })
        }
        Some(_) => Ok(()),
    }
}

/// One message, whose headers are strings: for whoever plays a provider.
///
/// # Panics
/// When a name or a value is longer than its length field can say, or the message is longer than 4 GiB.
pub fn encode(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; PRELUDE_BYTES];
    for (name, value) in headers {
        bytes.push(u8::try_from(name.len()).expect("a short name"));
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(STRING);
        bytes.extend_from_slice(&u16::try_from(value.len()).expect("a short value").to_be_bytes());
        bytes.extend_from_slice(value.as_bytes());
    }
    let of = |length: usize| u32::try_from(length).expect("a short message").to_be_bytes();
    let headers = of(bytes.len() - PRELUDE_BYTES);
    bytes.extend_from_slice(payload);
    let total = of(bytes.len() + CRC_BYTES);
    bytes[..4].copy_from_slice(&total);
    bytes[4..8].copy_from_slice(&headers);
    let crc = crc32fast::hash(&bytes[..8]).to_be_bytes();
    bytes[8..PRELUDE_BYTES].copy_from_slice(&crc);
    let crc = crc32fast::hash(&bytes).to_be_bytes();
    bytes.extend_from_slice(&crc);
    bytes
}

/// The type of a header that is a string.
const STRING: u8 = 7;

/// The headers that say what a message is.
#[derive(Debug, Default)]
struct Headers<'a> {
    message_type: Option<&'a str>,
    event_type: Option<&'a str>,
    exception_type: Option<&'a str>,
    error_code: Option<&'a str>,
    error_message: Option<&'a str>,
}

impl<'a> Headers<'a> {
    fn of(mut bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut headers = Self::default();
        while let Some((&length, rest)) = bytes.split_first() {
            let (name, rest) = split(rest, length.into())?;
            let (&kind, rest) = rest.split_first().ok_or(CUT)?;
            let (value, rest) = value(kind, rest)?;
            bytes = rest;
            let place = match name {
                b":message-type" => &mut headers.message_type,
                b":event-type" => &mut headers.event_type,
                b":exception-type" => &mut headers.exception_type,
                b":error-code" => &mut headers.error_code,
                b":error-message" => &mut headers.error_message,
                _ => continue,
            };
            if kind == STRING {
                *place = std::str::from_utf8(value).ok();
            }
        }
        Ok(headers)
    }
}

const CUT: Malformed = Malformed("an event whose headers are cut off");

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), Malformed> {
    bytes.split_at_checked(at).ok_or(CUT)
}

/// A header's value, and what follows it.
fn value(kind: u8, bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    match kind {
        // True, false.
        0 | 1 => split(bytes, 0),
        // Whole numbers of 1, 2, 4 and 8 bytes, and a time.
        2 => split(bytes, 1),
        3 => split(bytes, 2),
        4 => split(bytes, 4),
        5 | 8 => split(bytes, 8),
        // Bytes and strings tell their length.
        6 | STRING => {
            let (length, rest) = bytes.split_first_chunk().ok_or(CUT)?;
            split(rest, u16::from_be_bytes(*length).into())
        }
        // A UUID.
        9 => split(bytes, 16),
        _ => Err(Malformed("an event with a header of an unknown type")),
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn number(bytes: &[u8]) -> usize {
    usize::try_from(word(bytes)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::frames::{Frames, Framing};

    fn event(name: &str, payload: &str) -> Vec<u8> {
        let headers = [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")];
        encode(&headers, payload.as_bytes())
    }

    fn frames(pieces: &[&[u8]]) -> Result<Vec<String>, Malformed> {
        let mut frames = Frames::new(Framing::AwsEvents);
        let mut seen = Vec::new();
        let mut take = |frame: Frame<'_>| {
            seen.push(format!("{}|{}", frame.name.unwrap_or(""), String::from_utf8_lossy(frame.data)));
            Ok(())
        };
        for piece in pieces {
            frames.feed(piece, &mut take)?;
        }
        frames.end(&mut take)?;
        Ok(seen)
    }

    fn stream() -> Vec<u8> {
        let exception = [(":exception-type", "throttlingException"), (":message-type", "exception")];
        let error =
            [(":error-code", "InternalError"), (":error-message", "a \"word\""), (":message-type", "error")];
        let mut bytes = event("one", "{\"a\":1}");
        bytes.extend(event("two", ""));
        bytes.extend(encode(&[(":message-type", "news"), (":event-type", "x")], b"{}"));
        bytes.extend(encode(&exception, b"{\"message\":\"slow\"}"));
        bytes.extend(encode(&error, b""));
        bytes
    }

    #[test]
    fn every_split_gives_the_same_events() {
        let bytes = stream();
        let expected = vec![
            "one|{\"a\":1}",
            "two|{}",
            "exception:throttlingException|{\"message\":\"slow\"}",
            "error:InternalError|{\"message\":\"a \\\"word\\\"\"}",
        ];
        for at in 0..bytes.len() {
            let (one, two) = bytes.split_at(at);
            assert_eq!(frames(&[one, two]).expect("events"), expected, "split at {at}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(frames(&single).expect("events"), expected);
    }

    #[test]
    fn no_bit_may_be_wrong() {
        let bytes = event("one", "{\"a\":1}");
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut wrong = bytes.clone();
                wrong[at] ^= 1 << bit;
                assert!(frames(&[&wrong]).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_stream_that_ends_inside_an_event_is_none() {
        let bytes = event("one", "{}");
        for at in 1..bytes.len() {
            assert!(frames(&[&bytes[..at]]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_held() {
        for (total, headers) in [(16 * 1024 * 1024 + 1, 0), (1024 * 1024, 128 * 1024 + 1), (15, 0), (30, 20)] {
            let mut prelude = Vec::new();
            prelude.extend(u32::to_be_bytes(total));
            prelude.extend(u32::to_be_bytes(headers));
            prelude.extend(crc32fast::hash(&prelude).to_be_bytes());
            assert!(length(&prelude).is_err(), "{total} {headers}");
        }
    }

    #[test]
    fn headers_of_every_type_are_passed_over() {
        let mut headers: Vec<u8> = Vec::new();
        for (kind, length) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)] {
            headers.extend([1, b'x', kind]);
            headers.extend(vec![7; length]);
        }
        headers.extend([1, b'b', 6, 0, 2, 1, 2]);
        headers.extend([11]);
        headers.extend(b":event-type\x07\x00\x03now");
        assert_eq!(Headers::of(&headers).expect("headers").event_type, Some("now"));
        for cut in 1..headers.len() {
            // What is cut between two headers is a shorter list of them.
            assert!(Headers::of(&headers[..cut]).map_or(true, |found| found.event_type.is_none()));
        }
        assert!(Headers::of(b"\x01x\x0a").is_err());
    }
}
