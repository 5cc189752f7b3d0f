//! Client and upstream in one thread, in step with the gateway between them: the next event is sent when the last
//! one has arrived. So each costs one turn of the gateway, every time.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use memchr::memmem;

use crate::gateway::{Gateway, PATIENCE};

/// Length of an event's payload, as that of the other benchmark.
const EVENT_BYTES: usize = 270;

/// One stream of `count` events.
pub(crate) fn events(gateway: &Gateway, count: u64) -> Result<()> {
    let mut client = End::new(TcpStream::connect(gateway.addr)?)?;
    client.send(&request(true))?;
    let mut upstream = End::new(gateway.upstream.accept()?.0)?;
    upstream.until(b"\"messages\":[]}")?;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
    for number in 0..count {
        let mark = format!("\"mark\":\"{number:08}\"");
        let mut event = format!(
            "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,\
             \"model\":\"bench\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}},\"logprobs\":null,\
             \"finish_reason\":null}}],{mark}}}\n\n",
            "water "
        );
        let missing = EVENT_BYTES.saturating_sub(event.len());
        event = event.replace("water ", &format!("water {}", "~".repeat(missing)));
        upstream.send(&format!("{:x}\r\n{event}\r\n", event.len()))?;
        client.until(format!("{mark}}}\n\n").as_bytes())?;
    }
    upstream.send("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")?;
    client.until(b"data: [DONE]\n\n")
}

/// One stream of `count` events in Anthropic's dialect, for a client that speaks OpenAI's.
pub(crate) fn translated(gateway: &Gateway, count: u64) -> Result<()> {
    let mut client = End::new(TcpStream::connect(gateway.addr)?)?;
    client.send(&request_for("claude", true, "{\"role\":\"user\",\"content\":\"last word\"}"))?;
    let mut upstream = End::new(gateway.upstream.accept()?.0)?;
    upstream.until(b"last word")?;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
    let mut event = |kind: &str, members: &str| {
        let event = format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{members}}}\n\n");
        upstream.send(&format!("{:x}\r\n{event}\r\n", event.len()))
    };
    event(
        "message_start",
        ",\"message\":{\"id\":\"msg_bench\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude\",\"content\":[],\
         \"stop_reason\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}",
    )?;
    event("content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}")?;
    // As long as the text of the other stream.
    let text = "~".repeat(EVENT_BYTES - 180);
    for number in 0..count {
        let mark = format!("mark{number:08}");
        let delta = format!("{{\"type\":\"text_delta\",\"text\":\"{text}{mark}\"}}");
        event("content_block_delta", &format!(",\"index\":0,\"delta\":{delta}"))?;
        client.until(mark.as_bytes())?;
    }
    event("content_block_stop", ",\"index\":0")?;
    event("message_delta", ",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}")?;
    event("message_stop", "")?;
    upstream.send("0\r\n\r\n")?;
    client.until(b"data: [DONE]\n\n")
}

/// `count` requests on one connection, each answered whole.
pub(crate) fn requests(gateway: &Gateway, count: u64) -> Result<()> {
    let mut client = End::new(TcpStream::connect(gateway.addr)?)?;
    let mut upstream = None;
    for number in 0..count {
        client.send(&request(false))?;
        let upstream = match &mut upstream {
            Some(open) => open,
            None => upstream.insert(End::new(gateway.upstream.accept()?.0)?),
        };
        upstream.until(b"\"messages\":[]}")?;
        let mark = format!("\"mark\":\"{number:08}\"}}");
        let body = format!(
            "{{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1767225600,\"model\":\"bench\",\
             \"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{}\"}},\
             \"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":30,\
             \"total_tokens\":39}},{mark}",
            "water over the wheel ".repeat(10),
        );
        upstream.send(&format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))?;
        client.until(mark.as_bytes())?;
    }
    Ok(())
}

fn request(stream: bool) -> String {
    request_for("bench", stream, "")
}

fn request_for(model: &str, stream: bool, message: &str) -> String {
    let body = format!("{{\"model\":\"{model}\",\"stream\":{stream},\"messages\":[{message}]}}");
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One end of a connection.
struct End {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl End {
    fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, seen: Vec::new() })
    }

    fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.write_all(text.as_bytes())?)
    }

    /// Reads until `mark` has come, which is the last of what was sent.
    fn until(&mut self, mark: &[u8]) -> Result<()> {
        let mut buffer = [0; 4096];
        while memmem::find(&self.seen, mark).is_none() {
            let read = self.stream.read(&mut buffer).context("nothing comes")?;
            let seen = String::from_utf8_lossy(&self.seen);
            ensure!(read > 0, "the connection was closed after: {seen}");
            self.seen.extend_from_slice(&buffer[..read]);
        }
        self.seen.clear();
        Ok(())
    }
}
