//! The data of an event: read out of it, and put back into it.
//!
//! Form: WHATWG HTML, 9.2.6: the `data` lines of an event are joined with LF, one space behind the colon is no
//! part of a value, one byte order mark may precede the first line of a stream.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memchr2;

use super::chunk::Unfit;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What an event says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'e> {
    /// Comments and fields without data.
    Nothing,
    /// `[DONE]`.
    Done,
    /// Data, whatever it is.
    Data(Cow<'e, str>),
}

/// `event` without the byte order mark that a stream may begin with.
pub(super) fn without_mark(event: &[u8]) -> &[u8] {
    event.strip_prefix(BYTE_ORDER_MARK).unwrap_or(event)
}

/// Reads an event. Named ones are of another dialect (readers of this one skip them, or don't), but for an error.
pub(super) fn read(event: &[u8]) -> Result<Said<'_>, Unfit> {
    let mut name: &[u8] = b"";
    let mut data: Option<Cow<'_, [u8]>> = None;
    for (line, _) in Lines(event) {
        if let Some(value) = field(line, b"data") {
            data = Some(match data {
                None => value.into(),
                Some(before) => [&before, b"\n".as_slice(), value].concat().into(),
            });
        } else if let Some(value) = field(line, b"event") {
            name = value;
        }
    }
    let Some(data) = data.filter(|data| !data.trim_ascii().is_empty()) else { return Ok(Said::Nothing) };
    if data.trim_ascii() == b"[DONE]" {
        return Ok(Said::Done);
    }
    match name {
        b"" | b"message" => {}
        b"error" => return Err(Unfit::Failed),
        _ => return Err(Unfit::Foreign),
    }
    let text = match data {
        Cow::Borrowed(bytes) => str::from_utf8(bytes).map(Cow::Borrowed).ok(),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
    };
    text.map(Said::Data).ok_or(Unfit::Foreign)
}

/// `event` with `json` as its data, in one line; its other lines and its line ends stay.
pub(super) fn with_data(event: &[u8], json: &[u8]) -> Bytes {
    let mut edited = Vec::with_capacity(event.len() + json.len());
    let mut written = false;
    for (line, end) in Lines(event) {
        if field(line, b"data").is_none() {
            edited.extend_from_slice(line);
        } else if std::mem::replace(&mut written, true) {
            continue;
        } else {
            edited.extend_from_slice(b"data: ");
            // A line end between two pieces of JSON is as good as a space, and none stands inside a string.
            edited.extend(json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        }
        edited.extend_from_slice(end);
    }
    edited.into()
}

/// The value of a `name: value` line.
fn field<'e>(line: &'e [u8], name: &[u8]) -> Option<&'e [u8]> {
    let rest = line.strip_prefix(name)?;
    match rest.strip_prefix(b":") {
        Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        None => rest.is_empty().then_some(rest),
    }
}

/// The lines of an event, each with its end (which only the last one can lack).
struct Lines<'e>(&'e [u8]);

impl<'e> Iterator for Lines<'e> {
    type Item = (&'e [u8], &'e [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (line, rest) = self.0.split_at(memchr2(b'\n', b'\r', self.0).unwrap_or(self.0.len()));
        let end_length = if rest.starts_with(b"\r\n") { 2 } else { rest.len().min(1) };
        let (end, rest) = rest.split_at(end_length);
        self.0 = rest;
        Some((line, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str) -> Said<'_> {
        Said::Data(text.into())
    }

    #[test]
    fn data_is_read_as_the_standard_says() {
        for (event, expected) in [
            ("data: {}\n\n", Ok(data("{}"))),
            ("data:{}\r\n\r\n", Ok(data("{}"))),
            ("\n: c\rid: 1\rdata:  x\r\r", Ok(data(" x"))),
            ("data: {\ndata:\r\ndata: }\n\n", Ok(data("{\n\n}"))),
            ("event: message\ndata: 1\n\n", Ok(data("1"))),
            ("event:\ndata: 1\n\n", Ok(data("1"))),
            ("data: 1", Ok(data("1"))),
            ("data: [DONE]\n\n", Ok(Said::Done)),
            (": keep-alive\n\n", Ok(Said::Nothing)),
            ("event: ping\n\n", Ok(Said::Nothing)),
            ("data\n\n", Ok(Said::Nothing)),
            ("database: 1\n\n", Ok(Said::Nothing)),
            ("", Ok(Said::Nothing)),
            ("event: error\ndata: {}\n\n", Err(Unfit::Failed)),
            ("event: ping\ndata: {}\n\n", Err(Unfit::Foreign)),
        ] {
            assert_eq!(read(event.as_bytes()), expected, "{event:?}");
        }
        assert_eq!(read(b"data: \xff\n\n"), Err(Unfit::Foreign));
        assert_eq!(without_mark(b"\xef\xbb\xbfdata: 1\n\n"), b"data: 1\n\n");
    }

    #[test]
    fn data_is_put_back_among_the_other_lines() {
        for (event, expected) in [
            ("data: old\n\n", "data: {\"a\": 1}\n\n"),
            (": c\r\nid: 7\r\ndata:old\r\n\r\n", ": c\r\nid: 7\r\ndata: {\"a\": 1}\r\n\r\n"),
            ("data: o\rdata: l\rid: 7\rdata: d\r\r", "data: {\"a\": 1}\rid: 7\r\r"),
            ("\ndata: old", "\ndata: {\"a\": 1}"),
        ] {
            assert_eq!(with_data(event.as_bytes(), b"{\"a\":\n1}"), expected.as_bytes(), "{event:?}");
        }
    }
}
