//! Finds the boundaries of server-sent events, however the network splits or merges them.
//!
//! Form: WHATWG HTML, 9.2.5 and 9.2.6: lines end in LF, CRLF or CR; a blank line ends an event; a line that
//! begins with a colon is a comment; one byte order mark may precede the first line. Linear in the bytes fed,
//! whatever their split; never decodes characters, so a split inside one is no case of its own.
//!
//! A stream of JSON documents, one a line (NDJSON), has the same scanner in another mode: each line is an event.

use memchr::{memchr, memchr2};

/// The state of a stream between two feeds: just enough to know where lines and events end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scanner {
    /// Bytes have been seen in the current line.
    in_line: bool,
    /// A line with content has been seen since the last boundary.
    in_event: bool,
    /// The last byte was a CR: an LF right after it belongs to it.
    after_cr: bool,
    /// Each line is an event.
    lines: bool,
}

impl Scanner {
    /// One for events that are lines each.
    pub fn of_lines() -> Self {
        Self { lines: true, ..Self::default() }
    }

    /// One of the same mode, at the beginning of a stream.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { lines: self.lines, ..Self::default() }
    }

    /// Whether each line is an event.
    pub fn is_of_lines(&self) -> bool {
        self.lines
    }

    /// Looks at `bytes`, which follow everything fed before, up to and including the first event end in them.
    /// Returns how many bytes that is, or `None` when no event ends in them (all are consumed then).
    ///
    /// Blank lines between events belong to the event before them as far as they have been fed along with
    /// it, so what lies behind a boundary never starts with the rest of a line end.
    pub fn event_end(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.lines {
            return self.line_end(bytes);
        }
        let mut at = 0;
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            at = usize::from(bytes[0] == b'\n');
        }
        while let Some(offset) = memchr2(b'\n', b'\r', &bytes[at..]) {
            let line_end = at + offset;
            let blank = offset == 0 && !self.in_line;
            at = line_end + 1;
            if bytes[line_end] == b'\r' {
                match bytes.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    // The event is over with the CR; whether an LF follows changes nothing for its reader.
                    None => self.after_cr = true,
                }
            }
            self.in_line = false;
            if blank {
                if self.in_event {
                    self.in_event = false;
                    return Some(at);
                }
            } else {
                self.in_event = true;
            }
        }
        self.in_line |= at < bytes.len();
        None
    }

    /// The same where each line is an event, but for those with nothing in them.
    fn line_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let says = |part: &[u8]| !part.trim_ascii().is_empty();
        let mut at = 0;
        while let Some(offset) = memchr(b'\n', &bytes[at..]) {
            let ends = std::mem::take(&mut self.in_line) || says(&bytes[at..at + offset]);
            at += offset + 1;
            if ends {
                return Some(at);
            }
        }
        self.in_line = self.in_line || says(&bytes[at..]);
        None
    }

    /// Whether what was fed so far ends between two events.
    pub fn between_events(&self) -> bool {
        !self.in_line && !self.in_event
    }

    /// Whether the last byte was a CR, so that an LF right after it would belong to it.
    pub fn is_after_cr(&self) -> bool {
        self.after_cr
    }
}

/// The fields of one event that a gateway looks at, as slices of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// Value of the last `event` field.
    pub name: Option<&'a [u8]>,
    /// Value of the first `data` field.
    pub data: Option<&'a [u8]>,
    /// An `id` field is present.
    pub has_id: bool,
}

/// Reads an event's fields. `bytes` is a whole event, or the beginning of one.
pub fn event(bytes: &[u8]) -> Event<'_> {
    if let Some(data) = only_line(bytes) {
        return Event { data: Some(data), ..Event::default() };
    }
    let mut event = Event::default();
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    while !rest.is_empty() {
        let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        match line.first() {
            Some(b'd') => event.data = event.data.or_else(|| field(line, b"data")),
            Some(b'e') => event.name = field(line, b"event").or(event.name),
            Some(b'i') => event.has_id |= field(line, b"id").is_some(),
            _ => {}
        }
    }
    event
}

/// What the event says if it is of the usual form: one line of data, and the blank one.
fn only_line(bytes: &[u8]) -> Option<&[u8]> {
    let data = bytes.strip_prefix(b"data: ")?.strip_suffix(b"\n\n")?;
    memchr2(b'\n', b'\r', data).is_none().then_some(data)
}

/// The value of a `name: value` line, without the one space that may stand before it.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    match rest.strip_prefix(b":") {
        Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        // A line without a colon is a field with an empty value.
        None => rest.is_empty().then_some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of `pieces`, fed one after the other, each as text; the last entry is what is left over.
    fn events(pieces: &[&[u8]]) -> Vec<String> {
        events_by(Scanner::default(), pieces)
    }

    fn events_by(mut scanner: Scanner, pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut current = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while let Some(end) = scanner.event_end(rest) {
                current.extend_from_slice(&rest[..end]);
                found.push(String::from_utf8_lossy(&std::mem::take(&mut current)).into_owned());
                rest = &rest[end..];
            }
            current.extend_from_slice(rest);
        }
        found.push(String::from_utf8_lossy(&current).into_owned());
        found
    }

    /// Line ends that were split off an event by the network are the start of the next: compare without them.
    fn trimmed(events: &[String]) -> Vec<String> {
        events.iter().map(|event| event.trim_matches(['\r', '\n']).to_owned()).collect()
    }

    #[test]
    fn every_split_gives_the_same_events() {
        for text in [
            "data: a\n\ndata: b\n\n",
            "data: a\r\n\r\ndata: b\r\n\r\n",
            "data: a\r\rdata: b\r\r",
            ": comment\n\nevent: x\ndata: {\"a\":1}\ndata: more\n\n\n\ndata: [DONE]\n\n",
            "\u{feff}data: \u{1f300}\u{e9}\n\n",
            "data: unfinished\n",
            "\n\ndata: a\n\n",
            "data\n\n",
        ] {
            let whole = trimmed(&events(&[text.as_bytes()]));
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let bytes = text.as_bytes();
                    let split = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    assert_eq!(trimmed(&events(&split)), whole, "{text:?} split at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn a_line_is_an_event_where_lines_are() {
        let text = b"{\"a\":1}\n\r\n \n{\"b\":\"\xf0\x9f\xa6\x80\"}\r\n\n{\"c\"";
        let whole = events_by(Scanner::of_lines(), &[text]);
        assert_eq!(whole, ["{\"a\":1}\n", "\r\n \n{\"b\":\"🦀\"}\r\n", "\n{\"c\""]);
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(events_by(Scanner::of_lines(), &pieces), whole, "split at {first} and {second}");
            }
        }
        let mut scanner = Scanner::of_lines();
        assert_eq!((scanner.event_end(b"{}\n \r"), scanner.event_end(b" \r")), (Some(3), None));
        assert!(scanner.between_events());
        assert_eq!(scanner.event_end(b"{"), None);
        assert!(!scanner.between_events() && scanner.anew().between_events() && scanner.anew().is_of_lines());
    }

    #[test]
    fn an_event_ends_with_its_blank_line() {
        check("data: a\n\ndata: b\n\n", &["data: a\n\n", "data: b\n\n", ""]);
        check("data: a\r\n\r\ndata: b", &["data: a\r\n\r\n", "data: b"]);
        check("data: a\n", &["data: a\n"]);
        check(": ka\n\ndata: a\n\n", &[": ka\n\n", "data: a\n\n", ""]);
        check("\n\ndata: a\n\n\n", &["\n\ndata: a\n\n", "\n"]);
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(events(&[text.as_bytes()]), expected);
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        let found = event(b"event: error\nid: 7\ndata:{\"a\":1}\ndata: second\n\n");
        assert_eq!(found, Event { name: Some(b"error"), data: Some(b"{\"a\":1}"), has_id: true });
        assert_eq!(event(b"data:  two spaces\r\n\r\n").data, Some(&b" two spaces"[..]));
        assert_eq!(event(b": data: no\n\n"), Event::default());
        assert_eq!(event(b"database: no\n\n"), Event::default());
        assert_eq!(event(b"\xef\xbb\xbfdata: bom\n\n").data, Some(&b"bom"[..]));
    }

    #[test]
    fn the_short_cut_for_the_usual_form_leads_to_the_same() {
        for text in [
            "data: a\n\n",
            "data: \n\n",
            "data:  a \n\n",
            "data: a\rid: 1\n\n",
            "data: a\nid: 1\n\n",
            "data: a\n",
            "data: a\n\n\n",
            "data: a\r\n\n",
            "data:a\n\n",
            "data: a\n\ndata: b\n\n",
            "data: \n",
            "\ndata: a\n\n",
        ] {
            // The same lines, which the short cut does not know.
            let long = format!(": comment\n{text}");
            assert_eq!(event(text.as_bytes()), event(long.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn a_long_event_in_tiny_pieces_takes_linear_time() {
        // Quadratic scanning would need 4 MiB x 64 Ki steps here and never end.
        let mut scanner = Scanner::default();
        let piece = [b'x'; 64];
        for _ in 0..65_536 {
            assert_eq!(scanner.event_end(&piece), None);
        }
        assert_eq!(scanner.event_end(b"\n\n"), Some(2));
    }
}
