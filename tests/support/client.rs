//! Clients that do what a test tells them, over HTTP/1.1 and HTTP/2.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use super::driver::{block, driver};
use super::wire::{Head, Wire};

/// A part of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// The end, as the framing says it.
    End,
    /// The connection or the stream broke off.
    Broken,
}

/// How a client goes.
#[derive(Clone, Copy, Debug)]
pub enum Leave {
    /// FIN, or the end of the HTTP/2 connection.
    Close,
    /// RST, or `RST_STREAM`.
    Reset,
}

/// A body that has come to its end.
#[derive(Debug)]
pub struct Rest {
    pub bytes: Vec<u8>,
    /// Whether the framing says that it is all.
    pub whole: bool,
}

impl Rest {
    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).expect("text")
    }
}

/// An answer that comes in.
pub trait Reader {
    fn head(&mut self) -> Head;
    fn piece(&mut self) -> Piece;
    fn held(&mut self) -> &mut Vec<u8>;
    fn leave(self: Box<Self>, how: Leave);

    /// The next event or comment, with its blank line.
    fn event(&mut self) -> String {
        loop {
            if let Some(at) = self.held().windows(2).position(|pair| pair == b"\n\n") {
                return String::from_utf8(self.held().drain(..at + 2).collect()).expect("text");
            }
            match self.piece() {
                Piece::Bytes(bytes) => self.held().extend(bytes),
                other => panic!("{other:?} after {:?}", String::from_utf8_lossy(self.held())),
            }
        }
    }

    /// Everything that still comes.
    fn rest(&mut self) -> Rest {
        let mut bytes = std::mem::take(self.held());
        loop {
            match self.piece() {
                Piece::Bytes(more) => bytes.extend(more),
                end => return Rest { bytes, whole: end == Piece::End },
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------ HTTP/1.1

/// An HTTP/1.1 connection.
pub struct Client {
    pub wire: Wire,
    body: Body,
    held: Vec<u8>,
}

#[derive(Debug)]
enum Body {
    Chunked,
    Length(usize),
    ToTheEnd,
}

impl Client {
    pub fn new(wire: Wire) -> Self {
        Self { wire, body: Body::Length(0), held: Vec::new() }
    }

    pub fn connect(address: SocketAddr) -> Self {
        Self::new(Wire::tcp(TcpStream::connect(address).expect("the gateway accepts")))
    }

    pub fn connect_unix(path: &Path) -> Self {
        Self::new(Wire::unix(UnixStream::connect(path).expect("the gateway accepts")))
    }

    pub fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: gateway.test\r\n");
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        if method != "GET" {
            head += &format!("content-length: {}\r\n", body.len());
        }
        let bytes = [head.as_bytes(), b"\r\n", body].concat();
        self.wire.send(&bytes).expect("the gateway reads");
    }

    pub fn post(&mut self, path: &str, body: &str) {
        self.ask("POST", path, &[("content-type", "application/json")], body.as_bytes());
    }

    /// Head and body of the answer.
    pub fn answer(&mut self) -> (Head, Rest) {
        let head = self.head();
        let rest = self.rest();
        (head, rest)
    }

    /// Asks and waits for the whole answer.
    pub fn get(&mut self, path: &str) -> (Head, Rest) {
        self.ask("GET", path, &[], b"");
        self.answer()
    }
}

impl Reader for Client {
    fn head(&mut self) -> Head {
        let head = self.wire.head().expect("a head").expect("an answer");
        self.body = if head.get("transfer-encoding") == Some("chunked") {
            Body::Chunked
        } else if let Some(length) = head.get("content-length") {
            Body::Length(length.parse().expect("a length"))
        } else if matches!(head.status(), 204 | 304) {
            Body::Length(0)
        } else {
            Body::ToTheEnd
        };
        head
    }

    fn piece(&mut self) -> Piece {
        let piece = match self.body {
            Body::Chunked => self.wire.chunk(),
            Body::Length(length) => self.wire.exactly(length),
            Body::ToTheEnd => self.wire.some(),
        };
        match piece {
            Ok(bytes) if bytes.is_empty() => {
                self.body = Body::Length(0);
                Piece::End
            }
            Ok(bytes) => {
                if let Body::Length(length) = &mut self.body {
                    *length -= bytes.len();
                }
                Piece::Bytes(bytes)
            }
            Err(error) => {
                assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "nothing came");
                Piece::Broken
            }
        }
    }

    fn held(&mut self) -> &mut Vec<u8> {
        &mut self.held
    }

    fn leave(self: Box<Self>, how: Leave) {
        match how {
            Leave::Close => drop(self),
            Leave::Reset => self.wire.reset(),
        }
    }
}

// -------------------------------------------------------------------------------------------------- HTTP/2

/// The task that moves a connection's bytes.
type Moving = JoinHandle<Result<(), h2::Error>>;

/// An HTTP/2 connection.
pub struct H2Client {
    sender: SendRequest<Bytes>,
    connection: Option<Moving>,
}

impl H2Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, h2::client::Builder::new().initial_window_size(1 << 20))
    }

    pub fn connect_with(address: SocketAddr, builder: &h2::client::Builder) -> Self {
        let stream = TcpStream::connect(address).expect("the gateway accepts");
        stream.set_nonblocking(true).expect("an option");
        stream.set_nodelay(true).expect("an option");
        block(async {
            let stream = tokio::net::TcpStream::from_std(stream).expect("a socket");
            Self::over(stream, builder).await
        })
    }

    /// On a connection that is agreed to speak HTTP/2.
    pub async fn over<T>(stream: T, builder: &h2::client::Builder) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = builder.handshake(stream).await.expect("a handshake");
        Self { sender, connection: Some(driver().spawn(connection)) }
    }

    pub fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: Option<&[u8]>) -> H2Answer {
        let mut request = Request::builder().method(method).uri(format!("http://gateway.test{path}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        block(std::future::poll_fn(|cx| self.sender.poll_ready(cx))).expect("a connection");
        let (response, mut upload) = self.sender.send_request(request, body.is_none()).expect("sent");
        if let Some(body) = body {
            upload.send_data(Bytes::copy_from_slice(body), true).expect("sent");
        }
        H2Answer { response: Some(response), body: None, upload, held: Vec::new(), connection: None }
    }

    pub fn post(&mut self, path: &str, body: &str) -> H2Answer {
        self.ask("POST", path, &[("content-type", "application/json")], Some(body.as_bytes()))
    }

    /// The answer and its connection are one from here on.
    pub fn only(mut self, mut answer: H2Answer) -> H2Answer {
        answer.connection = self.connection.take().map(|task| (task, self.sender));
        answer
    }

    /// Waits for the end of the connection.
    pub fn ended(&mut self) -> Result<(), h2::Error> {
        block(self.connection.take().expect("waited for once")).expect("no panic")
    }
}

/// One stream.
pub struct H2Answer {
    response: Option<h2::client::ResponseFuture>,
    body: Option<RecvStream>,
    upload: SendStream<Bytes>,
    held: Vec<u8>,
    connection: Option<(Moving, SendRequest<Bytes>)>,
}

impl H2Answer {
    pub fn answer(&mut self) -> (Head, Rest) {
        let head = self.head();
        let rest = self.rest();
        (head, rest)
    }

    /// How the stream ended where it was neither its end nor ours.
    pub fn failure(&mut self) -> h2::Error {
        let response = self.response.take().expect("no head yet");
        block(response).expect_err("no answer")
    }
}

impl Reader for H2Answer {
    fn head(&mut self) -> Head {
        let response = self.response.take().expect("one head");
        let (parts, body) = block(response).expect("an answer").into_parts();
        self.body = Some(body);
        let text = |value: &http::HeaderValue| value.to_str().expect("text").to_owned();
        Head {
            first: format!("HTTP/2 {}", parts.status.as_u16()),
            fields: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        }
    }

    fn piece(&mut self) -> Piece {
        let body = self.body.as_mut().expect("the head first");
        match block(body.data()) {
            None => Piece::End,
            Some(Ok(bytes)) => {
                body.flow_control().release_capacity(bytes.len()).expect("received");
                Piece::Bytes(bytes.to_vec())
            }
            Some(Err(_)) => Piece::Broken,
        }
    }

    fn held(&mut self) -> &mut Vec<u8> {
        &mut self.held
    }

    fn leave(mut self: Box<Self>, how: Leave) {
        match how {
            Leave::Reset => self.upload.send_reset(Reason::CANCEL),
            Leave::Close => {
                let (task, sender) = self.connection.take().expect("the only stream");
                task.abort();
                drop(sender);
            }
        }
    }
}

/// A TCP connection whose receive buffer, which is what a stalled client's kernel may hold, has this size.
pub fn connect_narrow(address: SocketAddr, receive_bytes: usize) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(receive_bytes).expect("an option");
    socket.connect(&address.into()).expect("the gateway accepts");
    TcpStream::from(socket)
}
