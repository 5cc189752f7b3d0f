//! HTTP/1.1 on one client connection, in turns: hyper reads a request and writes an answer that is whole, and
//! steps aside for a stream, which is written by [`Streaming`] without it.
//!
//! hyper holds two buffers per connection and polls a body four times for each chunk. A stream lives for long
//! and needs neither: between two chunks nothing is held for it here.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use tower::Service;

use super::adapter::{Adapter, Taken};
use super::connection::{ConnectionError, Server, Settings};
use super::exchange::Inbound;
use super::link::Link;
use super::socket::Socket;
use super::streaming::Streaming;
use super::tunnel::Tunnel;
use super::watchdog::Watchdog;
use crate::reactor::{Io, warm};
use crate::signal::duplex::Duplex;
use crate::signal::rest::Rest;
use crate::signal::trail;

impl<S, B> Server<S>
where
    S: Service<Request<Inbound>, Response = Response<B>, Error = Infallible> + Clone + 'static,
    B: Body<Data = Bytes> + Rest + Duplex + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// Serves until either side has had enough.
    pub(super) async fn serve_http1(self, io: Io, link: Rc<Link>) -> Result<(), ConnectionError> {
        let hangup = io.conn().hangup();
        let (adapter, taken) = Adapter::http1(self.service, Rc::clone(&link));
        let socket = Socket::new(io, Rc::clone(&link), true);
        let mut serving = Serving {
            turns: Turns::new(socket, adapter, taken, self.settings),
            watchdog: Watchdog::new(link, self.settings, self.phase.watch()),
            hung_up: false,
            hangup: pin!(hangup),
        };
        let ended = poll_fn(|cx| warm::walk(cx, |cx| serving.poll(cx))).await;
        if matches!(ended, Err(ConnectionError::HungUp)) {
            let noticed = Instant::now();
            // Cancels everything on it; that is done when the time is recorded.
            drop(serving);
            self.recorder.cancel_propagated(noticed.elapsed());
        }
        ended
    }
}

/// A connection at work: what each of its turns looks at, in one place.
struct Serving<S, B, H>
where
    S: Service<Request<Inbound>, Response = Response<B>, Error = Infallible> + Clone + 'static,
    B: Body<Data = Bytes> + Rest + Duplex + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    turns: Turns<S, B>,
    watchdog: Watchdog,
    hung_up: bool,
    hangup: H,
}

impl<S, B, H> Serving<S, B, H>
where
    S: Service<Request<Inbound>, Response = Response<B>, Error = Infallible> + Clone + 'static,
    B: Body<Data = Bytes> + Rest + Duplex + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
    H: Future<Output = ()> + Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        trail::step(self);
        if let Poll::Ready(result) = self.turns.poll(cx) {
            return Poll::Ready(result);
        }
        if self.watchdog.shall_finish(cx) {
            self.turns.finish();
            if let Poll::Ready(result) = self.turns.poll(cx) {
                return Poll::Ready(result);
            }
        }
        self.hung_up = self.hung_up || Pin::new(&mut self.hangup).poll(cx).is_ready();
        // Nobody reads from a client that is being answered, and hyper would not see behind bytes that it has no
        // use for yet.
        if self.hung_up && self.watchdog.link.in_flight() > 0 && !self.turns.is_tunnel() {
            return Poll::Ready(Err(ConnectionError::HungUp));
        }
        self.watchdog.poll(cx, false)
    }
}

/// hyper's own bound on the fields of a head (`DEFAULT_MAX_HEADERS` in its `proto::h1::role`).
const HYPER_HEADERS_MAX: usize = 100;

/// A connection with hyper on it.
type Connection<S, B> = http1::Connection<TokioIo<Socket>, Adapter<S, B>>;

/// Whose turn it is.
enum Turn<S, B>
where
    S: Service<Request<Inbound>, Response = Response<B>, Error = Infallible> + Clone + 'static,
    B: Body<Data = Bytes> + Rest + Duplex + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// hyper's.
    Hyper(Box<Connection<S, B>>),
    /// A stream's, and then hyper's again.
    Stream(Box<Streaming<B>>, Adapter<S, B>),
    /// A tunnel's, and then nobody's.
    Tunnel(Box<Tunnel<B>>),
    /// No request comes after the last answer.
    Close(Box<Socket>),
    /// Between two of them.
    Nobody,
}

struct Turns<S, B>
where
    S: Service<Request<Inbound>, Response = Response<B>, Error = Infallible> + Clone + 'static,
    B: Body<Data = Bytes> + Rest + Duplex + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    turn: Turn<S, B>,
    taken: Rc<Taken<B>>,
    settings: Settings,
    /// The answer at hand, or the next one, is the last.
    finishing: bool,
}

impl<S, B> Turns<S, B>
where
    S: Service<Request<Inbound>, Response = Response<B>, Error = Infallible> + Clone + 'static,
    B: Body<Data = Bytes> + Rest + Duplex + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    fn new(socket: Socket, adapter: Adapter<S, B>, taken: Rc<Taken<B>>, settings: Settings) -> Self {
        Self { turn: Self::hyper(socket, adapter, settings), taken, settings, finishing: false }
    }

    fn hyper(socket: Socket, adapter: Adapter<S, B>, settings: Settings) -> Turn<S, B> {
        let mut builder = http1::Builder::new();
        // The number that hyper has room for on the stack. Named, it would fill twice that room for each request.
        if settings.headers_max != HYPER_HEADERS_MAX {
            builder.max_headers(settings.headers_max);
        }
        let connection = builder
            .timer(TokioTimer::new())
            // The watchdog has this clock: hyper's own would also close a connection between two requests.
            .header_read_timeout(None)
            .max_buf_size(settings.header_bytes_max)
            // Head and body of a small answer: copying them together costs less than handing the kernel a list.
            .writev(false)
            .serve_connection(TokioIo::new(socket), adapter);
        Turn::Hyper(Box::new(connection))
    }

    /// Whether somebody reads what the client sends, and so finds out when it has gone.
    fn is_tunnel(&self) -> bool {
        matches!(self.turn, Turn::Tunnel(_))
    }

    /// No request after the one at hand.
    fn finish(&mut self) {
        self.finishing = true;
        match &mut self.turn {
            Turn::Hyper(connection) => Pin::new(&mut **connection).graceful_shutdown(),
            Turn::Stream(stream, _) => stream.let_be_last(),
            // A tunnel ends when the process does.
            Turn::Tunnel(_) | Turn::Close(_) | Turn::Nobody => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        loop {
            match &mut self.turn {
                Turn::Hyper(connection) => {
                    if let Poll::Ready(result) = Pin::new(&mut **connection).poll(cx) {
                        return Poll::Ready(result.map_err(ConnectionError::from));
                    }
                    let Some(response) = self.taken.take() else { return Poll::Pending };
                    let Turn::Hyper(connection) = mem::replace(&mut self.turn, Turn::Nobody) else { continue };
                    let parts = connection.into_parts();
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        self.turn = Turn::Tunnel(Box::new(Tunnel::new(parts.io.into_inner(), response)));
                        continue;
                    }
                    let mut stream = Box::new(Streaming::new(parts.io.into_inner(), response));
                    // Behind a body in chunks there may be more, which nobody will read.
                    debug_assert!(
                        parts.read_buf.is_empty() || stream.is_last(),
                        "hyper gets no byte beyond a request that another may follow"
                    );
                    if self.finishing {
                        stream.let_be_last();
                    }
                    self.turn = Turn::Stream(stream, parts.service);
                }
                Turn::Stream(stream, _) => {
                    ready!(stream.poll(cx))?;
                    let Turn::Stream(stream, adapter) = mem::replace(&mut self.turn, Turn::Nobody) else {
                        continue;
                    };
                    let (socket, another) = stream.over();
                    self.turn = if another {
                        Self::hyper(socket, adapter, self.settings)
                    } else {
                        Turn::Close(Box::new(socket))
                    };
                }
                Turn::Tunnel(tunnel) => {
                    ready!(tunnel.poll(cx))?;
                    let Turn::Tunnel(tunnel) = mem::replace(&mut self.turn, Turn::Nobody) else { continue };
                    self.turn = Turn::Close(Box::new(tunnel.over()));
                }
                Turn::Close(socket) => {
                    return Pin::new(&mut **socket).poll_shutdown(cx).map_err(ConnectionError::Io);
                }
                Turn::Nobody => return Poll::Ready(Ok(())),
            }
        }
    }
}
