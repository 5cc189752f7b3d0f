//! The chunked transfer coding (RFC 9112, section 7.1), decoded in place and without a buffer.
//!
//! A state machine over whatever bytes a read brought. Payloads are skipped over, never looked at; the usual
//! size line, whole and without extension, is taken in one step, any other byte by byte.
//!
//! As strict as hyper: every line ends with CR LF, so that no two parties can see different chunks.

use std::mem;
use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::incoming::{Fault, Piece};

/// Digits of a size: those of a `u64`.
const DIGITS_MAX: u8 = 16;

/// Bytes of one size line's extensions, which nobody reads. Per line, because streams are long.
const EXTENSION_BYTES_MAX: u16 = 4096;

/// Bytes of all trailer lines together.
const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// Trailer fields.
const TRAILERS_MAX: usize = 200;

/// A decoder of one message.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// The size as far as it is read, then the bytes of the payload still to come.
    left: u64,
    extension_bytes: u16,
    /// The trailer lines as far as they are read; hardly ever any.
    trailers: Vec<u8>,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug)]
enum State {
    /// A digit of the size, after so many, or what ends it.
    Size(u8),
    /// White space behind the size, or what ends that.
    SizeSpace,
    Extension,
    SizeLf,
    Payload,
    PayloadCr,
    PayloadLf,
    /// The first byte of a trailer line, or of the empty line that ends the message.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    /// Nothing: the message is over.
    End,
    /// Nothing: it was no chunk.
    Broken(Fault),
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { state: State::Size(0), left: 0, extension_bytes: 0, trailers: Vec::new() }
    }

    /// Takes bytes up to the end of the message, and brings their payloads together.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> Piece {
        let mut payload = 0..0;
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Payload => at += self.skip_payload(bytes, at, &mut payload),
                State::Size(0) => {
                    let (next, length) = self.size(&bytes[at..]);
                    self.state = next;
                    at += length;
                }
                State::PayloadCr if bytes[at..].starts_with(b"\r\n") => {
                    self.state = State::Size(0);
                    at += 2;
                }
                State::End | State::Broken(_) => break,
                _ => {
                    self.state = self.step(bytes[at]);
                    at += 1;
                }
            }
        }
        Piece { payload, used: at }
    }

    /// Whether the message is over.
    ///
    /// # Errors
    /// It was no chunk.
    pub(super) fn is_end(&self) -> Result<bool, Fault> {
        match self.state {
            State::End => Ok(true),
            State::Broken(fault) => Err(fault),
            _ => Ok(false),
        }
    }

    /// Whether there are trailers to take.
    pub(super) fn has_trailers(&self) -> bool {
        !self.trailers.is_empty()
    }

    /// What stood behind the last chunk, once.
    ///
    /// # Errors
    /// When those are no fields.
    pub(super) fn take_trailers(&mut self) -> Option<Result<HeaderMap, Fault>> {
        self.has_trailers().then(|| parse_trailers(&mem::take(&mut self.trailers)))
    }

    /// Goes over what is here of a payload. The first stays where it is, the others move up to it.
    fn skip_payload(&mut self, bytes: &mut [u8], at: usize, payload: &mut Range<usize>) -> usize {
        let here = bytes.len() - at;
        let length = usize::try_from(self.left).map_or(here, |left| left.min(here));
        if payload.end == 0 {
            *payload = at..at + length;
        } else {
            bytes.copy_within(at..at + length, payload.end);
            payload.end += length;
        }
        self.left -= length as u64;
        if self.left == 0 {
            self.state = State::PayloadCr;
        }
        length
    }

    /// The beginning of a size line: all of it, if it is a usual one, or its first byte.
    fn size(&mut self, bytes: &[u8]) -> (State, usize) {
        let Some((size, length)) = size_line(bytes) else { return (self.step(bytes[0]), 1) };
        self.left = size;
        (State::Payload, length)
    }

    /// What comes after `byte`, which is none of a payload.
    fn step(&mut self, byte: u8) -> State {
        match (self.state, byte) {
            (State::Size(digits), _) if byte.is_ascii_hexdigit() => self.digit(digits, byte),
            (State::Size(1..) | State::SizeSpace, b' ' | b'\t') => State::SizeSpace,
            (State::Size(1..) | State::SizeSpace, b';') => {
                self.extension_bytes = 0;
                State::Extension
            }
            (State::Size(1..) | State::SizeSpace | State::Extension, b'\r') => State::SizeLf,
            (State::Extension, b'\n') => State::Broken(Fault::ChunkSize),
            (State::Extension, _) if self.extension_bytes == EXTENSION_BYTES_MAX => {
                State::Broken(Fault::ChunkExtension)
            }
            (State::Extension, _) => {
                self.extension_bytes += 1;
                State::Extension
            }
            (State::SizeLf, b'\n') if self.left == 0 => State::TrailerStart,
            (State::SizeLf, b'\n') => State::Payload,
            (State::Size(_) | State::SizeSpace | State::SizeLf, _) => State::Broken(Fault::ChunkSize),
            (State::PayloadCr, b'\r') => State::PayloadLf,
            (State::PayloadLf, b'\n') => State::Size(0),
            (State::PayloadCr | State::PayloadLf, _) => State::Broken(Fault::ChunkEnd),
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::EndLf, b'\n') => State::End,
            (State::TrailerStart | State::Trailer | State::TrailerLf | State::EndLf, _) => self.trailer(byte),
            (State::Payload | State::End | State::Broken(_), _) => self.state,
        }
    }

    fn digit(&mut self, digits: u8, byte: u8) -> State {
        let value = char::from(byte).to_digit(16).unwrap_or_default();
        let before = if digits == 0 { 0 } else { self.left };
        self.left = before << 4 | u64::from(value);
        if digits == DIGITS_MAX { State::Broken(Fault::ChunkSize) } else { State::Size(digits + 1) }
    }

    fn trailer(&mut self, byte: u8) -> State {
        if self.trailers.len() == TRAILER_BYTES_MAX {
            return State::Broken(Fault::Trailers);
        }
        self.trailers.push(byte);
        match (self.state, byte) {
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::TrailerLf | State::EndLf, _) | (_, b'\n') => State::Broken(Fault::Trailers),
            _ => State::Trailer,
        }
    }
}

/// A size above zero, if the line is whole, has nothing but the size, and that is below 4 GiB; and how long
/// the line is.
fn size_line(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut size = 0_u32;
    for (at, &byte) in bytes.iter().take(9).enumerate() {
        match char::from(byte).to_digit(16) {
            Some(digit) if at < 8 => size = size << 4 | digit,
            Some(_) => return None,
            None => {
                let is_whole = size > 0 && bytes[at..].starts_with(b"\r\n");
                return is_whole.then_some((size.into(), at + 2));
            }
        }
    }
    None
}

fn parse_trailers(lines: &[u8]) -> Result<HeaderMap, Fault> {
    let text = [lines, b"\r\n"].concat();
    let mut fields = [httparse::EMPTY_HEADER; TRAILERS_MAX];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&text, &mut fields) else {
        return Err(Fault::Trailers);
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Fault::Trailers)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Fault::Trailers)?;
        trailers.append(name, value);
    }
    Ok(trailers)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Payload, bytes behind the message, trailers; or what broke it.
    type Outcome = Result<(Vec<u8>, Option<usize>, usize), Fault>;

    /// Feeds pieces that end at these positions.
    fn decode(input: &[u8], cuts: &[usize]) -> Outcome {
        let mut decoder = Chunked::new();
        let (mut payload, mut end) = (Vec::new(), None);
        let mut from = 0;
        for &cut in cuts.iter().chain([&input.len()]) {
            let mut bytes = input[from..cut].to_vec();
            let piece = decoder.take(&mut bytes);
            payload.extend_from_slice(&bytes[piece.payload]);
            if decoder.is_end()? && end.is_none() {
                end = Some(input.len() - from - piece.used);
            }
            from = cut;
        }
        let trailers = decoder.take_trailers().transpose()?;
        Ok((payload, end, trailers.map_or(0, |trailers| trailers.len())))
    }

    /// However it is split, the outcome is the same.
    fn check(input: &[u8], expected: &Outcome) {
        let text = input.escape_ascii();
        assert_eq!(&decode(input, &[]), expected, "{text}");
        let every: Vec<usize> = (1..input.len()).collect();
        assert_eq!(&decode(input, &every), expected, "{text}, byte by byte");
        for first in 0..=input.len() {
            for second in first..=input.len() {
                assert_eq!(&decode(input, &[first, second]), expected, "{text}, cut at {first} and {second}");
            }
        }
    }

    fn good(input: &str, payload: &str, behind: Option<usize>, trailers: usize) {
        check(input.as_bytes(), &Ok((payload.as_bytes().to_vec(), behind, trailers)));
    }

    #[test]
    fn payloads_come_out_whole_at_every_split() {
        good("0\r\n\r\n", "", Some(0), 0);
        good("5\r\nhello\r\n0\r\n\r\n", "hello", Some(0), 0);
        good("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", Some(0), 0);
        good("5\r\nhello\r\n0\r\n\r\nHTTP/1.1", "hello", Some(8), 0);
        good("A\r\n0123456789\r\n00\r\n\r\n", "0123456789", Some(0), 0);
        good("000000000000000a\r\n0123456789\r\n0\r\n\r\n", "0123456789", Some(0), 0);
        good("1 \t\r\na\r\n1;x=\"y\"\r\nb\r\n1 ;x\r\nc\r\n0;z\r\n\r\n", "abc", Some(0), 0);
        good("1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n", "\r\n", Some(0), 0);
        good("1\r\na\r\n0\r\nx: 1\r\ny:2\r\nx: 3\r\n\r\n!", "a", Some(1), 3);
        good("5\r\nhello\r\n6\r\n wor", "hello wor", None, 0);
    }

    #[test]
    fn what_is_no_chunk_breaks_the_message_at_every_split() {
        for (input, fault) in [
            ("zz\r\n", Fault::ChunkSize),
            ("\r\n", Fault::ChunkSize),
            (" 1\r\na", Fault::ChunkSize),
            (";x\r\n", Fault::ChunkSize),
            ("-1\r\n", Fault::ChunkSize),
            ("+1\r\n", Fault::ChunkSize),
            ("0x1\r\n", Fault::ChunkSize),
            ("1 1\r\na", Fault::ChunkSize),
            ("1\na\r\n", Fault::ChunkSize),
            ("1\rxa\r\n", Fault::ChunkSize),
            ("1;\n\r\na", Fault::ChunkSize),
            ("10000000000000000\r\n", Fault::ChunkSize),
            ("fffffffffffffffff\r\n", Fault::ChunkSize),
            ("1\r\nab\r\n", Fault::ChunkEnd),
            ("1\r\na\n0\r\n", Fault::ChunkEnd),
            ("1\r\na\rx", Fault::ChunkEnd),
            ("0\r\n\rx", Fault::Trailers),
            ("0\r\n\n", Fault::Trailers),
            ("0\r\nx: 1\n\r\n", Fault::Trailers),
            ("0\r\nx: 1\rx\r\n", Fault::Trailers),
            ("0\r\nx y: 1\r\n\r\n", Fault::Trailers),
            ("0\r\nno colon\r\n\r\n", Fault::Trailers),
        ] {
            check(input.as_bytes(), &Err(fault));
        }
    }

    #[test]
    fn everything_that_is_collected_or_skipped_is_bounded() {
        let extension = |bytes: u16| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(bytes.into()));
        assert!(decode(extension(EXTENSION_BYTES_MAX).as_bytes(), &[]).is_ok());
        let over = decode(extension(EXTENSION_BYTES_MAX + 1).as_bytes(), &[]);
        assert_eq!(over, Err(Fault::ChunkExtension));
        let trailers = |count: usize| format!("0\r\n{}\r\n", "x: 1\r\n".repeat(count));
        assert_eq!(decode(trailers(TRAILERS_MAX).as_bytes(), &[]).map(|(_, _, found)| found), Ok(TRAILERS_MAX));
        assert_eq!(decode(trailers(TRAILERS_MAX + 1).as_bytes(), &[]), Err(Fault::Trailers));
        let long = format!("0\r\nx: {}\r\n\r\n", "1".repeat(TRAILER_BYTES_MAX));
        assert_eq!(decode(long.as_bytes(), &[]), Err(Fault::Trailers));
    }

    #[test]
    fn a_good_chunk_before_a_bad_one_is_given_out() {
        let mut bytes = b"5\r\nhello\r\nzz".to_vec();
        let mut decoder = Chunked::new();
        let piece = decoder.take(&mut bytes);
        assert_eq!((&bytes[piece.payload], decoder.is_end()), (b"hello".as_slice(), Err(Fault::ChunkSize)));
    }

    /// The coding as the grammar has it, over the whole message at once.
    fn reference(mut input: &[u8]) -> Option<Vec<u8>> {
        let mut payload = Vec::new();
        loop {
            let end = input.windows(2).position(|pair| pair == b"\r\n")?;
            let line = str::from_utf8(&input[..end]).ok()?;
            let digits = line.split([';', ' ', '\t']).next().unwrap_or_default();
            let size = usize::from_str_radix(digits, 16).ok()?;
            let rest = &input[end + 2..];
            if size == 0 {
                return rest.starts_with(b"\r\n").then_some(payload);
            }
            payload.extend_from_slice(rest.get(..size)?);
            input = rest[size..].strip_prefix(b"\r\n")?;
        }
    }

    fn encoded(chunks: &[(Vec<u8>, String)]) -> Vec<u8> {
        let mut input = Vec::new();
        for (payload, extension) in chunks {
            input.extend_from_slice(format!("{:x}{extension}\r\n", payload.len()).as_bytes());
            input.extend_from_slice(payload);
            input.extend_from_slice(b"\r\n");
        }
        input.extend_from_slice(b"0\r\n\r\n");
        input
    }

    proptest! {
        #[test]
        fn agrees_with_the_reference(
            chunks in vec((vec(any::<u8>(), 1..300), "( ?;[a-z=\"]{0,9})?"), 0..8),
            cuts in vec(0_usize..3000, 0..12),
        ) {
            let input = encoded(&chunks);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
            cuts.sort_unstable();
            let expected = reference(&input).expect("well formed");
            prop_assert_eq!(decode(&input, &cuts), Ok((expected, Some(0), 0)));
        }

        #[test]
        fn never_panics_and_never_depends_on_the_splits(
            input in vec(prop::sample::select(b"0123af;x \r\n:".as_slice()), 0..40),
            cuts in vec(0_usize..40, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(decode(&input, &cuts), decode(&input, &[]));
        }
    }
}
