//! A client of HTTP/2 that builds its frames by hand, so that it can build wrong ones.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{KEY, http1};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;

pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame from the server.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn ends(&self, stream: u32) -> bool {
        let ends = matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0;
        self.stream == stream && (ends || self.kind == RST_STREAM)
    }

    /// The error code of a `GOAWAY`.
    pub(crate) fn goes_away(&self) -> Option<u32> {
        (self.kind == GOAWAY).then(|| u32::from_be_bytes(self.payload[4..8].try_into().expect("four bytes")))
    }
}

/// One frame in bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub(crate) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let value = |(id, value): &(u16, u32)| [id.to_be_bytes().to_vec(), value.to_be_bytes().to_vec()].concat();
    frame(SETTINGS, 0, 0, &values.iter().flat_map(value).collect::<Vec<_>>())
}

pub(crate) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(crate) fn rst_stream(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// A header block of literals.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            length(&mut bytes, text.len());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// HPACK's integers with seven bits in the first byte (RFC 7541 5.1).
fn length(bytes: &mut Vec<u8>, length: usize) {
    if length < 127 {
        bytes.push(u8::try_from(length).expect("small"));
        return;
    }
    bytes.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).expect("small") | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).expect("small"));
}

/// The head of a chat completion, whose body may follow.
pub(crate) fn chat_block(more: &[(&str, &str)]) -> Vec<u8> {
    let authorization = format!("Bearer {KEY}");
    let mut fields = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/v1/chat/completions"),
        (":authority", "gateway"),
        ("authorization", authorization.as_str()),
    ];
    fields.extend(more);
    block(&fields)
}

/// A connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// Every frame read so far.
    pub(crate) read: Vec<Frame>,
}

impl Client {
    /// Connects with these settings.
    pub(crate) fn connect(address: SocketAddr, values: &[(u16, u32)]) -> Self {
        Self::over(http1::connect(address), values)
    }

    /// Speaks on this connection.
    pub(crate) fn over(stream: TcpStream, values: &[(u16, u32)]) -> Self {
        let mut client = Self { stream, read: Vec::new() };
        client.send(&[PREFACE.to_vec(), settings(values)].concat());
        client
    }

    /// A second handle, to write while another thread reads.
    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("cloned")
    }

    /// Sends bytes; says whether the server was still there.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// A whole chat completion.
    pub(crate) fn chat(&mut self, stream: u32, body: &str) {
        self.send(&frame(HEADERS, END_HEADERS, stream, &chat_block(&[])));
        self.send(&frame(DATA, END_STREAM, stream, body.as_bytes()));
    }

    /// The next frame; `None` when the connection is over, however it ended. Pings and settings are answered.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.fill(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("small")];
        self.fill(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let found = Frame { kind: head[3], flags: head[4], stream, payload };
        if matches!(found.kind, PING | SETTINGS) && found.flags & 1 == 0 {
            let payload: &[u8] = if found.kind == PING { &found.payload } else { &[] };
            let answer = frame(found.kind, 1, 0, payload);
            self.send(&answer);
        }
        self.read.push(found.clone());
        Some(found)
    }

    /// Reads until a frame is as wanted. `None` when the connection ended before.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let found = self.next()?;
            if wanted(&found) {
                return Some(found);
            }
        }
    }

    /// Reads until the connection is over. The error of its `GOAWAY`, if there was one.
    pub(crate) fn read_to_the_end(&mut self) -> Option<u32> {
        while self.next().is_some() {}
        self.read.iter().filter_map(Frame::goes_away).next_back()
    }

    /// The bytes of the body of `stream` read so far.
    pub(crate) fn body(&self, stream: u32) -> Vec<u8> {
        let data = self.read.iter().filter(|frame| frame.kind == DATA && frame.stream == stream);
        data.flat_map(|frame| frame.payload.clone()).collect()
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("nothing comes any more; read {} frames, the last: {:?}", self.read.len(), self.read.last())
            }
            Err(_) => None,
        }
    }
}

/// Writes frames until there are no more or the server is gone, from a thread, while the caller reads.
pub(crate) fn flood(mut stream: TcpStream, frames: impl Iterator<Item = Vec<u8>> + Send + 'static) {
    std::thread::spawn(move || {
        let mut batch = Vec::new();
        for frame in frames {
            batch.extend(frame);
            if batch.len() > 8 * 1024 && stream.write_all(&std::mem::take(&mut batch)).is_err() {
                return;
            }
        }
        drop(stream.write_all(&batch));
    });
}
