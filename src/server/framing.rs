//! Keeps the messages of an HTTP/1.1 connection apart, below hyper, and finds framing that two parsers may
//! read in two ways.
//!
//! hyper follows RFC 9112 6.3: of a length and a transfer coding it drops the length, and what it drops
//! nobody above can see. A proxy in front of us may have chosen the other one, so such a request is refused.
//!
//! That needs a sight of every head, of pipelined ones too. So hyper gets no byte of a request before the one
//! before it is answered: its head ends where the blank line is, and its body where hyper itself says. There
//! is no second opinion on lengths; a body in chunks, whose end only hyper's parser finds, is the last thing
//! read from its connection.

/// What hyper made of a request's framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// So many bytes, or none.
    Exact(u64),
    /// In chunks.
    Chunked,
}

/// Where in the sequence of messages the next byte belongs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// In a request head.
    Head(HeadWatch),
    /// Behind a head that hyper has not acted upon yet.
    HeadOver,
    /// In a body with so many bytes to come; behind the whole message when there are none.
    Body(u64),
    /// In a body of unknown length.
    Chunks,
}

/// Longest header name looked for.
const NAME_BYTES_MAX: usize = b"transfer-encoding".len() + 1;

/// Line by line through one request head, however it is split over reads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeadWatch {
    /// The beginning of the current line, in lower case.
    line: [u8; NAME_BYTES_MAX],
    /// Bytes in the current line, without its end; counts on beyond what `line` holds.
    length: usize,
    has_length: bool,
    has_coding: bool,
    /// The blank line has been seen; what follows is a body.
    over: bool,
    /// A line with content has been seen: blank lines before a request line are skipped.
    begun: bool,
}

impl HeadWatch {
    /// Looks at the next bytes of a connection. How many of them belong to the head, once it is over.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while !self.over {
            let line = memchr::memchr(b'\n', &bytes[at..]);
            let part = &bytes[at..line.map_or(bytes.len(), |length| at + length)];
            self.add(part);
            at += line? + 1;
            self.line_ends();
        }
        Some(at)
    }

    /// Whether more than blank lines has come.
    pub(super) fn has_begun(&self) -> bool {
        self.begun || self.length > 0
    }

    /// Whether the head so far has both a length and a coding.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.has_length && self.has_coding
    }

    fn add(&mut self, part: &[u8]) {
        if let Some(room) = self.line.get_mut(self.length..) {
            for (slot, byte) in room.iter_mut().zip(part) {
                *slot = byte.to_ascii_lowercase();
            }
        }
        self.length += part.len();
    }

    fn line_ends(&mut self) {
        if self.length == 0 || (self.length == 1 && self.line[0] == b'\r') {
            self.over = self.begun;
        } else {
            self.begun = true;
            let line = &self.line[..self.length.min(NAME_BYTES_MAX)];
            self.has_length |= line.starts_with(b"content-length:");
            self.has_coding |= line.starts_with(b"transfer-encoding:");
        }
        self.line = [0; NAME_BYTES_MAX];
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, expected: bool) {
        for split in 0..=head.len() {
            let mut watch = HeadWatch::default();
            let (a, b) = head.as_bytes().split_at(split);
            if watch.end(a).is_none() {
                watch.end(b);
            }
            assert_eq!(watch.is_ambiguous(), expected, "{head:?} split at {split}");
        }
    }

    #[test]
    fn a_head_ends_at_its_blank_line_however_it_is_split() {
        for (head, rest) in [
            ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", "GET /"),
            ("\r\n\n\r\nGET / HTTP/1.1\n\n", "\r\n"),
            ("GET / HTTP/1.1\r\n\rx: y\r\n\r\r\n\r\n", ""),
        ] {
            let all = format!("{head}{rest}");
            for split in 0..=all.len() {
                let mut watch = HeadWatch::default();
                let (a, b) = all.as_bytes().split_at(split);
                let end = watch.end(a).or_else(|| watch.end(b).map(|end| end + split));
                assert_eq!(end, Some(head.len()), "{all:?} split at {split}");
            }
            let mut watch = HeadWatch::default();
            assert_eq!(watch.end(&head.as_bytes()[..head.len() - 1]), None);
        }
    }

    #[test]
    fn a_length_beside_a_coding_is_ambiguous_in_any_order_and_case() {
        check("POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", true);
        check("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nhost: x\r\nCONTENT-LENGTH: 5\r\n\r\n", true);
        check("\r\nPOST / HTTP/1.1\ncontent-length: 5\ntransfer-encoding: chunked\n\n", true);
    }

    #[test]
    fn one_of_them_is_not_and_a_body_is_not_a_head() {
        check("POST / HTTP/1.1\r\nContent-Length: 50\r\n\r\ntransfer-encoding: chunked\r\n", false);
        check("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\ncontent-length: 1\r\n", false);
        check("GET / HTTP/1.1\r\nx-content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", false);
    }
}
