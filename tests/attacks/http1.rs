//! A client of HTTP/1.1 that sends what it is told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::KEY;

/// Far above every deadline of these tests: running into it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The `code` of an error in OpenAI's form; its `type` where there is no code.
    pub(crate) fn error(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        let error = &body["error"];
        error["code"].as_str().or_else(|| error["type"].as_str()).unwrap_or_default().to_owned()
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.set_write_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// A request head without the blank line, for more headers to follow.
pub(crate) fn head(request: &str) -> String {
    format!("{request} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n")
}

/// A chat completion of `model`.
pub(crate) fn chat(model: &str) -> String {
    post("/v1/chat/completions", &format!("{{\"model\":\"{model}\"}}"))
}

/// A POST with a body.
pub(crate) fn post(path: &str, body: &str) -> String {
    format!("{}content-length: {}\r\n\r\n{body}", head(&format!("POST {path}")), body.len())
}

/// Everything until the server closes, however it does.
pub(crate) fn read_all(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let mut part = [0; 16 * 1024];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("the connection stays open after {:?}", String::from_utf8_lossy(&all))
            }
            Err(_) => return all,
        }
    }
}

/// The answers in `bytes`, of which only the last may be unfinished.
pub(crate) fn answers(bytes: &[u8]) -> Vec<Answer> {
    let mut rest = bytes;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let answer = read_answer(&mut rest);
        if answer.status != 100 {
            found.push(answer);
        }
    }
    found
}

/// The next answer, whose body has a length.
pub(crate) fn read_answer(stream: &mut impl Read) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let read = stream.read(&mut byte).expect("an answer in time");
        assert_eq!(read, 1, "closed behind {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("ASCII");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
    stream.read_exact(&mut body).expect("a whole body");
    Answer { status, head, body: String::from_utf8(body).expect("text") }
}

/// Sends `bytes` on a connection of its own and reads one answer.
pub(crate) fn ask(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    let mut stream = connect(address);
    stream.write_all(bytes.as_ref()).expect("sent");
    read_answer(&mut stream)
}

/// Sends `bytes` on a connection of its own and reads until it is closed.
pub(crate) fn ask_to_the_end(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<Answer> {
    let mut stream = connect(address);
    // It may be closed before all is sent.
    drop(stream.write_all(bytes.as_ref()));
    answers(&read_all(&mut stream))
}

/// Sends `bytes` one by one, as long as the server takes them, at intervals far below any deadline. How many
/// were taken.
pub(crate) fn drip(stream: &mut TcpStream, bytes: impl Iterator<Item = u8>) -> usize {
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("set");
    let mut sent = 0;
    for byte in bytes {
        if stream.write_all(&[byte]).is_err() {
            break;
        }
        sent += 1;
        // The pause between two bytes, and the end.
        match stream.peek(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    sent
}
