//! An upstream that a test plays by hand: it takes the next request, and sends, waits or breaks as it is told.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::Response;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::channel as handle_channel;
use tokio::task::AbortHandle;

use super::driver::{block, driver};
use super::wire::{HANG, Head, Wire};

/// Which HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    One,
    Two,
}

/// A listening upstream.
pub struct Upstream {
    address: Option<SocketAddr>,
    exchanges: Receiver<Exchange>,
    connections: Arc<AtomicUsize>,
}

/// A request, and the way to answer it.
pub struct Exchange {
    pub head: Head,
    pub body: Vec<u8>,
    answer: Answer,
    /// Where in its chunk a flood has stopped.
    flooded: usize,
}

enum Answer {
    /// The connection, and the way back to its thread.
    One(Option<Wire>, Sender<Wire>),
    Two {
        respond: SendResponse<Bytes>,
        body: Option<SendStream<Bytes>>,
        connection: AbortHandle,
    },
}

pub fn listen() -> (TcpListener, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("bound");
    // Accepted sockets inherit it: what a test offers and the gateway does not take must not vanish here.
    socket.set_send_buffer_size(64 * 1024).expect("an option");
    socket.listen(4096).expect("listening");
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// An address that is taken, and where nobody listens.
pub fn nobody() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("bound");
    let address = socket.local_addr().expect("an address").as_socket().expect("TCP");
    (socket, address)
}

impl Upstream {
    pub fn start(http: Http) -> Self {
        match http {
            Http::One => Self::http1(|stream| Some(Wire::tcp(stream))),
            Http::Two => Self::http2(&h2::server::Builder::new(), |stream| async { Some(stream) }),
        }
    }

    /// HTTP/1.1 over whatever `wrap` makes of an accepted socket.
    pub fn http1(wrap: impl Fn(TcpStream) -> Option<Wire> + Send + Sync + 'static) -> Self {
        let (listener, address) = listen();
        Self::accepting(Some(address), move || listener.accept().expect("a connection").0, wrap)
    }

    pub fn unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("bound");
        Self::accepting(
            None,
            move || listener.accept().expect("a connection").0,
            |stream| Some(Wire::unix(stream)),
        )
    }

    fn accepting<S: Send + 'static>(
        address: Option<SocketAddr>,
        accept: impl Fn() -> S + Send + 'static,
        wrap: impl Fn(S) -> Option<Wire> + Send + Sync + 'static,
    ) -> Self {
        let (sender, exchanges) = channel();
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        let wrap = Arc::new(wrap);
        thread::spawn(move || {
            loop {
                let socket = accept();
                count.fetch_add(1, Ordering::SeqCst);
                let (sender, wrap) = (sender.clone(), Arc::clone(&wrap));
                thread::spawn(move || {
                    if let Some(wire) = wrap(socket) {
                        serve_http1(wire, &sender);
                    }
                });
            }
        });
        Self { address, exchanges, connections }
    }

    /// HTTP/2 over whatever `wrap` makes of an accepted socket.
    pub fn http2<T, F>(
        builder: &h2::server::Builder,
        wrap: impl Fn(tokio::net::TcpStream) -> F + Send + Clone + 'static,
    ) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: Future<Output = Option<T>> + Send,
    {
        let (listener, address) = listen();
        listener.set_nonblocking(true).expect("an option");
        let (sender, exchanges) = channel();
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        let builder = builder.clone();
        driver().spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                count.fetch_add(1, Ordering::SeqCst);
                let (sender, builder, wrap) = (sender.clone(), builder.clone(), wrap.clone());
                driver().spawn(async move {
                    stream.set_nodelay(true).expect("an option");
                    if let Some(stream) = wrap(stream).await {
                        serve_http2(stream, &builder, sender).await;
                    }
                });
            }
        });
        Self { address: Some(address), exchanges, connections }
    }

    pub fn address(&self) -> SocketAddr {
        self.address.expect("a TCP listener")
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next request.
    pub fn next(&self) -> Exchange {
        self.exchanges.recv_timeout(HANG).expect("a request reaches the upstream")
    }

    /// Whether no request has come that was not taken.
    pub fn is_unasked(&self) -> bool {
        self.exchanges.try_recv().is_err()
    }
}

fn serve_http1(mut wire: Wire, sender: &Sender<Exchange>) {
    loop {
        let Ok(Some(head)) = wire.head() else { return };
        let length = head.get("content-length").map_or(0, |length| length.parse().expect("a length"));
        let Ok(body) = wire.exactly(length) else { return };
        let (back, returned) = channel();
        let exchange = Exchange { head, body, answer: Answer::One(Some(wire), back), flooded: 0 };
        if sender.send(exchange).is_err() {
            return;
        }
        match returned.recv() {
            Ok(next) => wire = next,
            Err(_) => return,
        }
    }
}

async fn serve_http2<T>(stream: T, builder: &h2::server::Builder, sender: Sender<Exchange>)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    let (handle, mut handles) = handle_channel::<AbortHandle>(1);
    let task = driver().spawn(async move {
        let own = handles.recv().await.expect("sent below");
        while let Some(Ok((request, respond))) = connection.accept().await {
            let (sender, own) = (sender.clone(), own.clone());
            driver().spawn(async move {
                let (parts, mut incoming) = request.into_parts();
                let mut body = Vec::new();
                while let Some(Ok(bytes)) = incoming.data().await {
                    drop(incoming.flow_control().release_capacity(bytes.len()));
                    body.extend_from_slice(&bytes);
                }
                let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
                let text = |value: &http::HeaderValue| value.to_str().expect("text").to_owned();
                let head = Head {
                    first: format!("{} {path} HTTP/2", parts.method),
                    fields: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
                };
                let answer = Answer::Two { respond, body: None, connection: own };
                drop(sender.send(Exchange { head, body, answer, flooded: 0 }));
            });
        }
    });
    handle.send(task.abort_handle()).await.expect("awaited");
}

/// A head as HTTP/1.1 writes it.
pub fn head_text(status: u16, fields: &[(&str, &str)]) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} Whatever\r\n{fields}\r\n")
}

impl Exchange {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The connection, for whatever HTTP/1.1 bytes.
    pub fn wire(&mut self) -> &mut Wire {
        match &mut self.answer {
            Answer::One(wire, _) => wire.as_mut().expect("still open"),
            Answer::Two { .. } => panic!("HTTP/1.1 only"),
        }
    }

    /// A head without a length: chunks, or an HTTP/2 stream.
    pub fn begin(&mut self, status: u16, fields: &[(&str, &str)]) {
        match &mut self.answer {
            Answer::One(..) => {
                let all = [fields, &[("transfer-encoding", "chunked")]].concat();
                self.wire().send(head_text(status, &all).as_bytes()).expect("the gateway reads");
            }
            Answer::Two { respond, body, .. } => {
                let mut response = Response::builder().status(status);
                for (name, value) in fields {
                    response = response.header(*name, *value);
                }
                let response = response.body(()).expect("a response");
                *body = Some(respond.send_response(response, false).expect("sent"));
            }
        }
    }

    pub fn begin_events(&mut self) {
        self.begin(200, &[("content-type", "text/event-stream")]);
    }

    /// A part of the body.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the gateway reads");
    }

    /// The same, to a gateway that may have given the exchange up.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref();
        match &mut self.answer {
            Answer::One(..) => {
                let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
                self.wire().send(&chunk)
            }
            Answer::Two { body, .. } => {
                let body = body.as_mut().expect("the head first");
                body.send_data(Bytes::copy_from_slice(bytes), false).map_err(io::Error::other)
            }
        }
    }

    /// The end of the body. An HTTP/1.1 connection takes the next request.
    pub fn end(mut self) {
        match &mut self.answer {
            Answer::One(..) => {
                self.wire().send(b"0\r\n\r\n").expect("the gateway reads");
                self.keep();
            }
            Answer::Two { body, .. } => {
                body.as_mut().expect("the head first").send_data(Bytes::new(), true).expect("sent");
            }
        }
    }

    /// A whole answer.
    pub fn answer(mut self, status: u16, fields: &[(&str, &str)], bytes: &[u8]) {
        if let Answer::One(..) = self.answer {
            let length = bytes.len().to_string();
            let mut fields = fields.to_vec();
            if status != 204 {
                fields.push(("content-length", &length));
            }
            let all = [head_text(status, &fields).as_bytes(), bytes].concat();
            self.wire().send(&all).expect("the gateway reads");
            return self.keep();
        }
        self.begin(status, fields);
        if !bytes.is_empty() {
            self.send(bytes);
        }
        self.end();
    }

    /// The connection is for another request.
    pub fn keep(self) {
        if let Answer::One(Some(wire), back) = self.answer {
            back.send(wire).expect("its thread waits");
        }
    }

    /// Closes the connection; what was sent arrives before.
    pub fn close(self) {
        match self.answer {
            Answer::One(wire, _) => drop(wire),
            Answer::Two { connection, .. } => connection.abort(),
        }
    }

    /// Resets the connection, or the stream.
    pub fn reset(self) {
        match self.answer {
            Answer::One(wire, _) => wire.expect("still open").reset(),
            Answer::Two { mut respond, body, .. } => match body {
                Some(mut body) => body.send_reset(Reason::INTERNAL_ERROR),
                None => respond.send_reset(Reason::INTERNAL_ERROR),
            },
        }
    }

    /// One of the two.
    pub fn cut(self, reset: bool) {
        if reset {
            self.reset();
        } else {
            self.close();
        }
    }

    /// Waits until the gateway has given this exchange up.
    pub fn until_given_up(&mut self) -> Instant {
        match &mut self.answer {
            Answer::One(wire, _) => wire.as_mut().expect("still open").until_closed(),
            Answer::Two { body: Some(body), .. } => drop(block(poll_fn(|cx| body.poll_reset(cx)))),
            Answer::Two { respond, .. } => drop(block(poll_fn(|cx| respond.poll_reset(cx)))),
        }
        Instant::now()
    }

    /// Sends as much as the gateway takes, and returns how much that was, once it has taken nothing for
    /// `patience`.
    pub fn flood(&mut self, patience: Duration) -> usize {
        self.flood_with(8_192, patience)
    }

    /// The same with events of so many bytes.
    pub fn flood_with(&mut self, event_bytes: usize, patience: Duration) -> usize {
        let event = format!("data: {}\n\n", "x".repeat(event_bytes - 8));
        let mut taken = 0;
        match &mut self.answer {
            Answer::One(wire, _) => {
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                let wire = wire.as_mut().expect("still open");
                loop {
                    match wire.offer(&chunk.as_bytes()[self.flooded..], patience) {
                        Ok(0) | Err(_) => return taken,
                        Ok(written) => {
                            taken += written;
                            self.flooded = (self.flooded + written) % chunk.len();
                        }
                    }
                }
            }
            Answer::Two { body, .. } => {
                let body = body.as_mut().expect("the head first");
                loop {
                    body.reserve_capacity(event.len());
                    while body.capacity() < event.len() {
                        let more = block(async {
                            tokio::time::timeout(patience, poll_fn(|cx| body.poll_capacity(cx))).await
                        });
                        if !matches!(more, Ok(Some(Ok(_)))) {
                            return taken;
                        }
                    }
                    body.send_data(Bytes::from(event.clone()), false).expect("sent");
                    taken += event.len();
                }
            }
        }
    }
}

/// Accepts TLS in front of HTTP/1.1.
pub fn tls_wire(config: &Arc<rustls::ServerConfig>, stream: TcpStream) -> Option<Wire> {
    stream.set_read_timeout(Some(HANG)).expect("an option");
    let mut connection = rustls::ServerConnection::new(Arc::clone(config)).expect("TLS");
    let mut stream = stream;
    let shaken: io::Result<Option<Infallible>> = loop {
        match connection.complete_io(&mut stream) {
            Ok(_) if connection.is_handshaking() => {}
            Ok(_) => break Ok(None),
            Err(error) => break Err(error),
        }
    };
    shaken.ok().map(|_| Wire::over(rustls::StreamOwned::new(connection, stream)))
}
