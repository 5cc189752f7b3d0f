//! Writes response heads of HTTP/1.1.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use http::response::Parts;
use tokio::time::Instant;

/// Appends the head of an answer in chunks.
pub(super) fn write(buffer: &mut Vec<u8>, head: &Parts) {
    begin(buffer, head);
    line(buffer, "transfer-encoding", b"chunked");
    if !head.headers.contains_key(http::header::DATE) {
        date(|date| line(buffer, "date", date));
    }
    buffer.extend_from_slice(b"\r\n");
}

/// Appends the head of an answer that has no body.
pub(super) fn write_bare(buffer: &mut Vec<u8>, head: &Parts) {
    begin(buffer, head);
    buffer.extend_from_slice(b"\r\n");
}

fn begin(buffer: &mut Vec<u8>, head: &Parts) {
    buffer.extend_from_slice(b"HTTP/1.1 ");
    buffer.extend_from_slice(head.status.as_str().as_bytes());
    buffer.push(b' ');
    buffer.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
    buffer.extend_from_slice(b"\r\n");
    for (name, value) in &head.headers {
        line(buffer, name.as_str(), value.as_bytes());
    }
}

fn line(buffer: &mut Vec<u8>, name: &str, value: &[u8]) {
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(b": ");
    buffer.extend_from_slice(value);
    buffer.extend_from_slice(b"\r\n");
}

/// Appends a number as the size line of a chunk has it.
pub(super) fn write_hex(buffer: &mut Vec<u8>, number: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - (number | 1).leading_zeros()).div_ceil(4);
    buffer.extend((0..digits).rev().map(|digit| DIGITS[number >> (4 * digit) & 0xf]));
}

/// Calls with the time of day in the form of RFC 9110 5.6.7, which is made once a second per core.
fn date(used: impl FnOnce(&[u8])) {
    thread_local! {
        static KNOWN: Cell<Option<(Instant, [u8; 29])>> = const { Cell::new(None) };
    }
    let now = Instant::now();
    let known = KNOWN.get().filter(|(made, ..)| now.saturating_duration_since(*made) < Duration::from_secs(1));
    let (_, text) = known.unwrap_or_else(|| {
        #[expect(clippy::disallowed_methods, reason = "a date is the wall clock's")]
        let time = SystemTime::now();
        let mut text = [0; 29];
        text.copy_from_slice(httpdate::fmt_http_date(time).as_bytes());
        let known = (now, text);
        KNOWN.set(Some(known));
        known
    });
    used(&text);
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Response};

    use super::*;

    #[test]
    fn a_head_has_its_status_its_headers_its_framing_and_a_date() {
        let mut response = Response::builder().status(418).body(()).expect("a response");
        response.headers_mut().append("x-a", HeaderValue::from_static("1"));
        response.headers_mut().append("x-a", HeaderValue::from_static("2"));
        let mut written = Vec::new();
        write(&mut written, &response.into_parts().0);
        let written = String::from_utf8(written).expect("text");
        let (before, date) = written.split_once("date: ").expect("a date");
        let expected = "HTTP/1.1 418 I'm a teapot\r\nx-a: 1\r\nx-a: 2\r\ntransfer-encoding: chunked\r\n";
        assert_eq!(before, expected);
        assert!(httpdate::parse_http_date(date.trim_end()).is_ok() && date.ends_with(" GMT\r\n\r\n"), "{date}");
    }

    #[test]
    fn an_upstreams_date_is_kept() {
        let response = Response::builder().header("date", "Mon, 01 Jan 2024 00:00:00 GMT").body(());
        let mut written = Vec::new();
        write(&mut written, &response.expect("a response").into_parts().0);
        assert_eq!(String::from_utf8_lossy(&written).matches("date").count(), 1);
    }

    #[test]
    fn sizes_are_hexadecimal() {
        for number in [0, 1, 9, 10, 15, 16, 255, 256, 4095, 65_536, usize::MAX] {
            let mut written = Vec::new();
            write_hex(&mut written, number);
            assert_eq!(String::from_utf8_lossy(&written), format!("{number:x}"));
        }
    }
}
