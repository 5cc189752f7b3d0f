//! The head of an HTTP/1.1 answer: found in what was read, parsed, and with it what follows about the body and
//! the connection.
//!
//! `httparse` reads it, the parser that hyper uses, with hyper's strictness: a missing reason and bare LF pass,
//! white space before a colon and folded lines don't (nobody sends them, and no two parties read them alike).

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};
use httparse::{Header, ParserConfig, Status};
use memchr::memchr_iter;

use super::body::Framing;
use super::error::Malformed;
use super::scratch::READ_BYTES;

/// Fields that an answer gets on its way to a client: ids, limits, who has answered, no buffering.
const ADDED_FIELDS: usize = 8;

/// Fields of a head.
const HEADERS_MAX: usize = 200;

/// Interim answers (1xx) before the one that counts. Two are usual at most; whoever sends them for ever never
/// answers.
const INTERIMS_MAX: u8 = 16;

/// Bytes of empty lines before a head. Servers of old sent one too many behind a body.
const EMPTY_BYTES_MAX: usize = 64;

/// A head and what it says.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// Of the body, with [`Framing::Length`].
    pub(super) length: u64,
    /// Whether the connection may carry another exchange after this one.
    pub(super) reusable: bool,
    /// What was read behind the head.
    pub(super) rest: BytesMut,
}

/// A head as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The beginning of a head whose end is not here yet. Empty almost always: heads come in one piece.
    kept: Vec<u8>,
    interims: u8,
    /// Bytes of empty lines that were left out.
    empty: usize,
}

enum Parsed {
    Partial,
    /// An interim answer of so many bytes.
    Interim(usize),
    Whole(Head),
}

impl Reading {
    /// What must stand before the bytes read next.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Takes bytes that begin with those kept.
    ///
    /// # Errors
    /// When they are no head, or too much of one.
    pub(super) fn take(&mut self, bytes: &[u8], method: &Method) -> Result<Option<Head>, Malformed> {
        let before = self.kept.len();
        if before > 0 && !holds_end(bytes, before) {
            return self.keep(before, bytes).map(|()| None);
        }
        let mut rest = bytes;
        loop {
            let begin = rest.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
            rest = &rest[begin..];
            self.empty += begin;
            if self.empty > EMPTY_BYTES_MAX {
                return Err(Malformed::Long);
            }
            match parse(rest, method)? {
                Parsed::Partial => return self.keep(0, rest).map(|()| None),
                Parsed::Interim(length) => {
                    self.interims += 1;
                    if self.interims > INTERIMS_MAX {
                        return Err(Malformed::Interims);
                    }
                    rest = &rest[length..];
                }
                Parsed::Whole(head) => return Ok(Some(head)),
            }
        }
    }

    fn keep(&mut self, before: usize, bytes: &[u8]) -> Result<(), Malformed> {
        self.kept.truncate(before);
        self.kept.extend_from_slice(&bytes[before..]);
        if self.kept.len() < READ_BYTES { Ok(()) } else { Err(Malformed::Long) }
    }
}

/// Whether an empty line ends at `from` or behind it. Looked for only when a head comes in pieces, so that it
/// is not parsed again with each.
fn holds_end(bytes: &[u8], from: usize) -> bool {
    memchr_iter(b'\n', &bytes[from..]).any(|at| {
        let line = &bytes[..from + at];
        line.ends_with(b"\n") || line.ends_with(b"\n\r")
    })
}

fn parse(bytes: &[u8], method: &Method) -> Result<Parsed, Malformed> {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let status = ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
    let Status::Complete(length) = status.map_err(Malformed::Head)? else { return Ok(Parsed::Partial) };
    let code = StatusCode::from_u16(response.code.unwrap_or_default());
    let status = code.map_err(|_| Malformed::Head(httparse::Error::Status))?;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Parsed::Interim(length));
    }
    let version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    // One copy of all that was read: the values are slices of it, and so is the beginning of the body.
    let mut rest = BytesMut::from(bytes);
    let text = rest.split_to(length).freeze();
    // With room for what is added on the way to the client: a map that grows is built anew.
    let mut headers = HeaderMap::with_capacity(response.headers.len() + ADDED_FIELDS);
    let mut told = Told::default();
    for field in &*response.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let name = name.map_err(|_| Malformed::Head(httparse::Error::HeaderName))?;
        told.note(&name, field.value);
        headers.append(name, value(bytes, &text, field.value)?);
    }
    let (framing, length) = told.framing(version, status, method, &mut headers)?;
    let persistent = !told.close && (version == Version::HTTP_11 || told.keep_alive);
    // Where both are told, somebody on the way may have gone by the other.
    let ambiguous = told.chunked.is_some() && told.length != Length::Untold;
    let reusable = persistent && !ambiguous && framing != Framing::Close;
    Ok(Parsed::Whole(Head { status, version, headers, framing, length, reusable, rest }))
}

/// The value, which stands in `bytes`, as a slice of their copy.
fn value(bytes: &[u8], copy: &Bytes, value: &[u8]) -> Result<HeaderValue, Malformed> {
    if value.is_empty() {
        return Ok(HeaderValue::from_static(""));
    }
    let at = value.as_ptr().addr() - bytes.as_ptr().addr();
    let value = HeaderValue::from_maybe_shared(copy.slice(at..at + value.len()));
    value.map_err(|_| Malformed::Head(httparse::Error::HeaderValue))
}

/// What the fields say that concern the message and the connection.
#[derive(Debug, Default)]
struct Told {
    close: bool,
    keep_alive: bool,
    /// Whether the last transfer coding is `chunked`; `None` without any.
    chunked: Option<bool>,
    length: Length,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Length {
    #[default]
    Untold,
    Once(u64),
    /// Several times the same, which is one.
    Repeated(u64),
    /// No number, or not the same number.
    Invalid,
}

impl Told {
    fn note(&mut self, name: &HeaderName, value: &[u8]) {
        if *name == CONTENT_LENGTH {
            self.length = items(value).fold(self.length, |before, item| before.and(digits(item)));
        } else if *name == TRANSFER_ENCODING {
            let last = items(value).next_back().unwrap_or_default();
            self.chunked = Some(last.eq_ignore_ascii_case(b"chunked"));
        } else if *name == CONNECTION {
            self.close |= items(value).any(|option| option.eq_ignore_ascii_case(b"close"));
            self.keep_alive |= items(value).any(|option| option.eq_ignore_ascii_case(b"keep-alive"));
        }
    }

    /// RFC 9112, section 6.3. Leaves in `headers` at most one length, and only one that holds.
    fn framing(
        &self,
        version: Version,
        status: StatusCode,
        method: &Method,
        headers: &mut HeaderMap,
    ) -> Result<(Framing, u64), Malformed> {
        let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless || *method == Method::HEAD || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok((Framing::Empty, 0));
        }
        if let Some(chunked) = self.chunked {
            // HTTP/1.0 has no codings, so somebody on the way has not understood it.
            if version == Version::HTTP_10 {
                return Err(Malformed::Coding);
            }
            headers.remove(CONTENT_LENGTH);
            return Ok((if chunked { Framing::Chunked } else { Framing::Close }, 0));
        }
        let length = match self.length {
            Length::Untold => return Ok((Framing::Close, 0)),
            Length::Invalid => return Err(Malformed::Length),
            Length::Once(length) => length,
            Length::Repeated(length) => {
                headers.insert(CONTENT_LENGTH, length.into());
                length
            }
        };
        Ok((if length == 0 { Framing::Empty } else { Framing::Length }, length))
    }
}

impl Length {
    fn and(self, other: Option<u64>) -> Self {
        match (self, other) {
            (Self::Untold, Some(length)) => Self::Once(length),
            (Self::Once(before) | Self::Repeated(before), Some(length)) if before == length => {
                Self::Repeated(length)
            }
            _ => Self::Invalid,
        }
    }
}

/// The items of a list, white space apart.
fn items(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// A number without a sign, which Rust's parser would let pass.
fn digits(text: &[u8]) -> Option<u64> {
    let number = str::from_utf8(text).ok().filter(|_| text.iter().all(u8::is_ascii_digit))?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
        Reading::default().take(bytes, &Method::POST)
    }

    /// Framing, length, whether the connection can be used again.
    fn told(head: &str) -> Option<(Framing, u64, bool)> {
        let head = read(format!("{head}\r\n\r\n").as_bytes()).ok()?.expect("whole");
        Some((head.framing, head.length, head.reusable))
    }

    #[test]
    fn the_framing_is_what_the_rfc_says() {
        let cases = [
            ("content-length: 5", Some((Framing::Length, 5, true))),
            ("content-length: 0", Some((Framing::Empty, 0, true))),
            ("content-length: 5\r\ncontent-length: 5", Some((Framing::Length, 5, true))),
            ("content-length: 5, 5", Some((Framing::Length, 5, true))),
            ("content-length: 5\r\ncontent-length: 6", None),
            ("content-length: 5, 6", None),
            ("content-length: +5", None),
            ("content-length: -5", None),
            ("content-length: 5 5", None),
            ("content-length: 0x5", None),
            ("content-length:", None),
            ("content-length: 18446744073709551616", None),
            ("transfer-encoding: chunked", Some((Framing::Chunked, 0, true))),
            ("transfer-encoding: gzip, Chunked", Some((Framing::Chunked, 0, true))),
            ("transfer-encoding: gzip\r\ntransfer-encoding: chunked", Some((Framing::Chunked, 0, true))),
            ("transfer-encoding: chunked, gzip", Some((Framing::Close, 0, false))),
            ("transfer-encoding: identity", Some((Framing::Close, 0, false))),
            ("transfer-encoding: chunked\r\ncontent-length: 5", Some((Framing::Chunked, 0, false))),
            ("content-length: x\r\ntransfer-encoding: chunked", Some((Framing::Chunked, 0, false))),
            ("x: 1", Some((Framing::Close, 0, false))),
            ("connection: close\r\ncontent-length: 5", Some((Framing::Length, 5, false))),
            ("connection: x, Close\r\ncontent-length: 5", Some((Framing::Length, 5, false))),
            (
                "connection: close\r\nconnection: keep-alive\r\ncontent-length: 5",
                Some((Framing::Length, 5, false)),
            ),
        ];
        for (fields, expected) in cases {
            assert_eq!(told(&format!("HTTP/1.1 200 OK\r\n{fields}")), expected, "{fields}");
        }
        let old = [
            ("content-length: 5", Some((Framing::Length, 5, false))),
            ("connection: Keep-Alive\r\ncontent-length: 5", Some((Framing::Length, 5, true))),
            ("connection: keep-alive", Some((Framing::Close, 0, false))),
            ("transfer-encoding: chunked", None),
        ];
        for (fields, expected) in old {
            assert_eq!(told(&format!("HTTP/1.0 200 OK\r\n{fields}")), expected, "1.0, {fields}");
        }
        for status in ["204 No Content", "304 Not Modified"] {
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: 5");
            assert_eq!(told(&head), Some((Framing::Empty, 0, true)), "{status}");
        }
        let head = Reading::default().take(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", &Method::HEAD);
        assert_eq!(head.expect("good").expect("whole").framing, Framing::Empty);
    }

    #[test]
    fn the_head_that_is_handed_on_has_one_length_or_none() {
        let cases = [
            ("content-length: 5\r\ncontent-length: 5", Some("5")),
            ("content-length: 5, 5", Some("5")),
            ("content-length: 5\r\ntransfer-encoding: chunked", None),
            ("transfer-encoding: gzip\r\ncontent-length: 5\r\ncontent-length: 6", None),
        ];
        for (fields, expected) in cases {
            let head = read(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").as_bytes());
            let headers = head.expect("good").expect("whole").headers;
            let lengths: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
            assert_eq!(lengths, expected.into_iter().collect::<Vec<_>>(), "{fields}");
        }
    }

    #[test]
    fn servers_may_be_a_little_off() {
        for text in [
            "HTTP/1.1 200\r\nx: 1\r\n\r\n",
            "HTTP/1.1 200 \r\nx: 1\r\n\r\n",
            "HTTP/1.1 200 \u{fc}ber gut\r\nx: 1\r\n\r\n",
            "HTTP/1.1 200 OK\nx:1\n\n",
            "\r\n\r\nHTTP/1.0 200 OK\r\nX: \t 1 \r\n\r\n",
        ] {
            let head = read(text.as_bytes()).expect(text).expect(text);
            assert_eq!((head.status, &head.headers["x"]), (StatusCode::OK, &HeaderValue::from_static("1")));
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/1.1 099 Low\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx : 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: 1\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "<html>",
        ] {
            assert!(matches!(read(text.as_bytes()), Err(Malformed::Head(_))), "{text}");
        }
    }

    #[test]
    fn a_head_is_the_same_wherever_it_is_split() {
        let text = b"\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n\
                     content-length: 9\r\nx-empty:\r\nx: 1\r\n\r\nbody";
        let head = text.len() - 4;
        for step in 1..=text.len() {
            let mut reading = Reading::default();
            let mut whole = None;
            for piece in text.chunks(step) {
                let bytes = [reading.kept(), piece].concat();
                whole = reading.take(&bytes, &Method::POST).expect("good");
                if whole.is_some() {
                    break;
                }
            }
            let whole = whole.expect("whole");
            assert_eq!((whole.status, whole.length, whole.headers.len()), (StatusCode::OK, 9, 3), "by {step}");
            assert_eq!(
                (&whole.headers["x"], &whole.headers["x-empty"]),
                (&"1".parse().unwrap(), &"".parse().unwrap())
            );
            let read = head.div_ceil(step) * step;
            assert_eq!(whole.rest, text[head..read.min(text.len())], "by {step}");
        }
    }

    #[test]
    fn heads_are_bounded() {
        let many = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: 1\r\n".repeat(count));
        assert!(read(many(HEADERS_MAX).as_bytes()).is_ok());
        let over = read(many(HEADERS_MAX + 1).as_bytes());
        assert_eq!(over.expect_err("too many"), Malformed::Head(httparse::Error::TooManyHeaders));
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "1".repeat(READ_BYTES));
        assert_eq!(read(&long.as_bytes()[..READ_BYTES]).expect_err("too long"), Malformed::Long);
        assert_eq!(read(&[b'\n'; EMPTY_BYTES_MAX + 1]).expect_err("nothing"), Malformed::Long);
        let interims = |count: u8| "HTTP/1.1 103 Hints\r\n\r\n".repeat(count.into()) + "HTTP/1.1 200 OK\r\n\r\n";
        assert!(read(interims(INTERIMS_MAX).as_bytes()).expect("good").is_some());
        assert_eq!(read(interims(INTERIMS_MAX + 1).as_bytes()).expect_err("endless"), Malformed::Interims);
    }
}
