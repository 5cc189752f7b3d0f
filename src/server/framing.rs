//! Watches the raw heads of HTTP/1.1 requests for framing that two parsers may read in two ways.
//!
//! hyper follows RFC 9112 6.3: of a length and a transfer coding it drops the length, and what it drops
//! nobody above can see. A proxy in front of us may have chosen the other one, so such a request is refused.

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
    /// Looks at the next bytes of a connection. True as soon as the head has both.
    pub(super) fn is_ambiguous(&mut self, mut bytes: &[u8]) -> bool {
        while !self.over && !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let part = &bytes[..end.unwrap_or(bytes.len())];
            self.add(part);
            let Some(end) = end else { break };
            bytes = &bytes[end + 1..];
            self.line_ends(part);
        }
        self.has_length && self.has_coding
    }

    /// The next request's head begins.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    fn add(&mut self, part: &[u8]) {
        if let Some(room) = self.line.get_mut(self.length..) {
            for (slot, byte) in room.iter_mut().zip(part) {
                *slot = byte.to_ascii_lowercase();
            }
        }
        self.length += part.len();
    }

    fn line_ends(&mut self, part: &[u8]) {
        let blank = self.length == 0 || (self.length == 1 && part.ends_with(b"\r") || self.line[..1] == *b"\r");
        if blank {
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
            let found = watch.is_ambiguous(a) | watch.is_ambiguous(b);
            assert_eq!(found, expected, "{head:?} split at {split}");
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
