//! What of WebSocket (RFC 6455) a tunnel must know: who asks for it, where a frame ends, and how one says goodbye.

use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, Method};

/// A browser can set no header, so OpenAI takes keys among the subprotocols ("Realtime API with WebSockets").
const KEY_PROTOCOL: &[u8] = b"openai-insecure-api-key.";
/// What else of an account stands there.
const ACCOUNT_PROTOCOLS: [&[u8]; 3] = [KEY_PROTOCOL, b"openai-organization.", b"openai-project."];

/// Whether a request asks for a WebSocket.
pub fn is_asked_for(method: &Method, headers: &HeaderMap) -> bool {
    let has =
        |name, word: &[u8]| words(headers.get_all(name).iter()).any(|other| other.eq_ignore_ascii_case(word));
    *method == Method::GET
        && has(UPGRADE, b"websocket")
        && has(CONNECTION, b"upgrade")
        && headers.contains_key(SEC_WEBSOCKET_KEY)
}

/// The key among the subprotocols.
pub fn key_in_protocols(headers: &HeaderMap) -> Option<&[u8]> {
    words(headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter()).find_map(|word| word.strip_prefix(KEY_PROTOCOL))
}

/// Takes out what of the client's account stands among the subprotocols.
pub fn remove_account(headers: &mut HeaderMap) {
    let kept: Vec<&[u8]> = words(headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter())
        .filter(|word| !ACCOUNT_PROTOCOLS.iter().any(|account| word.starts_with(account)))
        .collect();
    let kept = HeaderValue::from_bytes(&kept.join(&b", "[..]));
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if let Some(kept) = kept.ok().filter(|kept| !kept.is_empty()) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, kept);
    }
}

fn words<'h>(values: impl Iterator<Item = &'h HeaderValue>) -> impl Iterator<Item = &'h [u8]> {
    values.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

/// A whole frame by which a server says that it goes (RFC 6455, 7.4.1: 1001).
pub const GOING_AWAY: &[u8] = &[0x88, 2, 0x03, 0xe9];

/// Where in the sequence of frames of one direction the next byte belongs. Nothing of their content is looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frames {
    /// The frame's head as far as it has come; at most 14 bytes, of which the first ten say the length.
    head: [u8; 10],
    have: usize,
    /// Bytes of the frame that are still to come, once its head is over.
    left: u64,
    closed: bool,
}

impl Frames {
    /// These come next.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let part = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= part as u64;
                bytes = &bytes[part..];
                continue;
            }
            self.head[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if let Some(left) = self.length() {
                self.closed |= self.head[0] & 0x0f == 0x8;
                self.left = left;
                self.have = 0;
            }
        }
    }

    /// Whether a new frame may begin here.
    pub fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Whether a frame has said goodbye.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Bytes behind the length, mask included, once the length is here (RFC 6455, 5.2).
    fn length(&self) -> Option<u64> {
        let second = *self.head[..self.have].get(1)?;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let length = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.head[..self.have].get(2..4)?.try_into().ok()?)),
            127 => u64::from_be_bytes(self.head[..self.have].get(2..10)?.try_into().ok()?),
            short => u64::from(short),
        };
        Some(length.saturating_add(mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_end_where_they_end_however_they_are_split() {
        let mut long = vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70];
        long.extend(vec![7; 70_000]);
        let mut middle = vec![0x81, 0xfe, 0x01, 0x00, 1, 2, 3, 4];
        middle.extend([0x88; 256]);
        let frames: [&[u8]; 4] = [&[0x81, 2, b'h', b'i'], &middle, &long, &[0x89, 0x80, 1, 2, 3, 4]];
        let all = frames.concat();
        let ends: Vec<usize> = frames
            .iter()
            .scan(0, |end, frame| {
                *end += frame.len();
                Some(*end)
            })
            .collect();
        for at in (0..400).chain([all.len() - 7, all.len() - 6, all.len() - 1, all.len()]) {
            let mut seen = Frames::default();
            seen.pass(&all[..at]);
            assert_eq!(seen.is_between(), at == 0 || ends.contains(&at), "{at}");
            seen.pass(&all[at..]);
            assert!(seen.is_between() && !seen.is_closed(), "{at}");
        }
        let mut seen = Frames::default();
        seen.pass(GOING_AWAY);
        assert!(seen.is_between() && seen.is_closed());
    }

    #[test]
    fn a_key_among_the_subprotocols_is_found_and_taken_out() {
        let mut headers = HeaderMap::new();
        let text = "realtime, openai-insecure-api-key.sk-1 ,openai-organization.o, openai-beta.realtime-v1";
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(text));
        assert_eq!(key_in_protocols(&headers), Some(&b"sk-1"[..]));
        remove_account(&mut headers);
        assert_eq!(headers[SEC_WEBSOCKET_PROTOCOL], "realtime, openai-beta.realtime-v1");
        assert_eq!(key_in_protocols(&headers), None);
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("openai-insecure-api-key.sk-1"));
        remove_account(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn a_websocket_is_asked_for_by_four_signs() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [(UPGRADE, "WebSocket"), (CONNECTION, "keep-alive, Upgrade"), (SEC_WEBSOCKET_KEY, "x")]
        {
            assert!(!is_asked_for(&Method::GET, &headers));
            headers.insert(name, HeaderValue::from_static(value));
        }
        assert!(is_asked_for(&Method::GET, &headers));
        assert!(!is_asked_for(&Method::POST, &headers));
    }
}
