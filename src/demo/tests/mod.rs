//! How the tests talk to the demo upstream: through its real socket.

mod chat;
mod surfaces;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Handle, Settings, start};

pub(super) fn fast() -> Handle {
    start(Settings { tokens_per_second: 0.0, first_token: Duration::ZERO, seed: 7 }).unwrap()
}

/// Sends one request and reads to the end: the head and the decoded body.
pub(super) fn send(demo: &Handle, method: &str, path: &str, body: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(demo.addr).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    if !head.contains("transfer-encoding: chunked") {
        return (head.to_owned(), rest.to_owned());
    }
    let mut body = String::new();
    let mut rest = rest;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    (head.to_owned(), body)
}

pub(super) fn post(demo: &Handle, path: &str, body: &Value) -> Value {
    let (head, answer) = send(demo, "POST", path, body.to_string().as_bytes());
    assert!(head.starts_with("HTTP/1.1 200"), "{head}\n{answer}");
    assert!(head.contains("x-request-id: req_"), "{head}");
    serde_json::from_str(&answer).unwrap()
}

/// The data of each event; `[DONE]` is a string.
pub(super) fn stream(demo: &Handle, path: &str, mut body: Value) -> Vec<Value> {
    body["stream"] = true.into();
    let (head, answer) = send(demo, "POST", path, body.to_string().as_bytes());
    assert!(head.contains("content-type: text/event-stream"), "{head}\n{answer}");
    let data = |event: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        serde_json::from_str(line).unwrap_or_else(|_| line.into())
    };
    answer.split_terminator("\n\n").map(data).collect()
}

pub(super) fn hello() -> Value {
    json!({"model": "demo", "messages": [{"role": "user", "content": "Tell me of Paris"}]})
}

pub(super) fn with(mut body: Value, more: Value) -> Value {
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

pub(super) fn content(chunks: &[Value], choice: u64) -> String {
    let of = |chunk: &&Value| chunk["choices"][0]["index"] == choice;
    let text = |chunk: &Value| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
    chunks.iter().filter(of).filter_map(text).collect()
}

pub(super) fn weather() -> Value {
    let parameters = json!({"type": "object", "required": ["city", "unit", "days"], "properties": {
        "city": {"type": "string"}, "unit": {"enum": ["celsius", "kelvin"]}, "days": {"type": "integer"},
        "note": {"type": "string"},
    }});
    json!({"name": "weather", "parameters": parameters})
}
