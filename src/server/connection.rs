//! One client connection, from its handshake to its end, and the watchdog that bounds each of its states.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};
use tower::Service;

use super::exchange::{Exchange, Inbound};
use super::executor::StreamExecutor;
use super::framing::Length;
use super::link::{Link, Peer};
use super::outbound::Outbound;
use super::socket::Socket;
use crate::reactor::load::Load;
use crate::reactor::tls::Acceptor;
use crate::reactor::{Conn, Io};
use crate::signal::alarm::Alarm;
use crate::signal::bell::Bell;
use crate::signal::{Phase, Signal, Watch};
use crate::telemetry::{EndReason, Recorder};

/// The client connection preface of HTTP/2 (RFC 9113 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Enough for the head of an SDK's request, so that finding out the protocol costs no second read.
const FIRST_READ_BYTES: usize = 4096;

/// HTTP/2 flow-control windows for request bodies, which the gateway reads as fast as they come.
const H2_STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const H2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
const H2_FRAME_BYTES_MAX: u32 = 16 * 1024;

/// Bytes that hyper may hold for one HTTP/2 stream whose client does not read, besides the frame at hand.
const H2_SEND_BUFFER_BYTES: usize = 32 * 1024;

/// Streams that a client has reset before we accepted them (CVE-2023-44487), and resets that a client
/// provokes from us (CVE-2025-8671), before the connection is closed. h2's own defaults, stated here so that
/// no upgrade loosens them unseen.
const H2_PENDING_RESETS_MAX: usize = 20;
const H2_LOCAL_RESETS_MAX: usize = 1024;

/// A connection that does not answer a ping for this long is gone: a laptop closed, a NAT entry lost.
const H2_PING_INTERVAL: Duration = Duration::from_secs(30);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Bounds of a connection's states. See [`crate::config::Server`] for what they mean.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// From the accept or a request's first byte to the end of its head; also the TLS handshake.
    pub header_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// Without progress of what waits for the client.
    pub slow_client_timeout: Option<Duration>,
    /// Of a request head, and of an HTTP/1.1 connection's write buffer.
    pub header_bytes_max: usize,
    /// Header fields of a request.
    pub headers_max: usize,
    /// Streams of an HTTP/2 connection.
    pub h2_streams_max: u32,
}

/// Serves the connections of one worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server<S> {
    service: S,
    settings: Settings,
    tls: Option<Acceptor>,
    load: Load,
    recorder: Rc<Recorder>,
    phase: Signal<Phase>,
}

/// Why a connection ended before its peer ended it. For logs.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No TLS handshake, HTTP/2 preface or request head in time.
    #[error("nothing came within the header timeout")]
    HeaderTimeout,
    /// The client took no bytes.
    #[error("the client read nothing within the slow client timeout")]
    SlowReader,
    /// The client left while its request was being answered.
    #[error("the client left")]
    HungUp,
    /// The TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    /// The socket failed before any HTTP.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// hyper's own verdict.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
}

impl<S, B> Server<S>
where
    S: Service<Request<Inbound>, Response = Response<B>, Error = Infallible> + Clone + 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// A server of `service`, with TLS where an acceptor is given.
    pub fn new(
        service: S,
        settings: Settings,
        tls: Option<Acceptor>,
        load: Load,
        recorder: Rc<Recorder>,
        phase: Signal<Phase>,
    ) -> Self {
        Self { service, settings, tls, load, recorder, phase }
    }

    /// Serves one connection to its end. The caller has counted it in its [`Load`].
    ///
    /// # Errors
    /// When it ended in another way than by its peer's or the process's wish.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection and cancels what runs on it.
    pub async fn serve(self, conn: Conn, peer: Peer) -> Result<(), ConnectionError> {
        let ready = timeout(self.settings.header_timeout, self.negotiate(conn, peer)).await;
        let (io, http2) = ready.map_err(|_| ConnectionError::HeaderTimeout)??;
        let link = Link::new(peer, self.load.clone(), Rc::clone(&self.recorder));
        // The rarer and larger states on the heap, so that a connection without them is not as large as with.
        if http2 { Box::pin(self.serve_http2(io, link)).await } else { self.serve_http1(io, link).await }
    }

    /// TLS where it is due, and which HTTP it is.
    async fn negotiate(&self, mut conn: Conn, peer: Peer) -> Result<(Io, bool), ConnectionError> {
        if let (Some(tls), Peer::Tcp(_)) = (&self.tls, peer) {
            let io = Box::pin(tls.accept(conn)).await.map_err(ConnectionError::Tls)?;
            let http2 = io.alpn_h2();
            return Ok((io, http2));
        }
        let http2 = speaks_http2(&mut conn).await.map_err(ConnectionError::Io)?;
        Ok((Io::Plain(conn), http2))
    }

    async fn serve_http1(self, io: Io, link: Rc<Link>) -> Result<(), ConnectionError> {
        let hangup = io.conn().hangup();
        let socket = TokioIo::new(Socket::new(io, Rc::clone(&link), true));
        let adapter = Adapter { service: self.service, link: Rc::clone(&link), executor: None };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // The watchdog has this clock: hyper's own would also close a connection between two requests.
            .header_read_timeout(None)
            .max_buf_size(self.settings.header_bytes_max)
            .max_headers(self.settings.headers_max)
            // A chunk, its size line and its end are three pieces: copying 300 bytes together costs less than
            // handing the kernel a list.
            .writev(false)
            .serve_connection(socket, adapter);
        let mut watchdog = Watchdog::new(link, self.settings, self.phase.watch());
        // Boxed once per connection, so that it can be dropped (which cancels everything on it) before the
        // time that takes is recorded.
        let mut connection = Box::pin(connection);
        let mut hangup = pin!(hangup);
        let mut hung_up = false;
        let mut bell = Bell::default();
        let ended = poll_fn(|cx| {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result.map_err(ConnectionError::from));
            }
            if watchdog.shall_finish(cx) {
                connection.as_mut().graceful_shutdown();
                if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                    return Poll::Ready(result.map_err(ConnectionError::from));
                }
            }
            hung_up = hung_up || bell.poll(cx, |cx| hangup.as_mut().poll(cx)).is_ready();
            // hyper notices a client that leaves, but not behind bytes that it has no use for yet.
            if hung_up && watchdog.link.in_flight() > 0 {
                return Poll::Ready(Err(ConnectionError::HungUp));
            }
            watchdog.poll(cx, false)
        })
        .await;
        if matches!(ended, Err(ConnectionError::HungUp)) {
            let noticed = Instant::now();
            drop(connection);
            self.recorder.cancel_propagated(noticed.elapsed());
        }
        ended
    }

    async fn serve_http2(self, io: Io, link: Rc<Link>) -> Result<(), ConnectionError> {
        let executor = StreamExecutor::new(self.settings.slow_client_timeout);
        let socket = TokioIo::new(Socket::new(io, Rc::clone(&link), false));
        let adapter = Adapter { service: self.service, link: Rc::clone(&link), executor: Some(executor.clone()) };
        let connection = http2::Builder::new(executor)
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.settings.h2_streams_max)
            .max_header_list_size(u32::try_from(self.settings.header_bytes_max).unwrap_or(u32::MAX))
            .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
            .max_frame_size(H2_FRAME_BYTES_MAX)
            .max_send_buf_size(H2_SEND_BUFFER_BYTES)
            .max_pending_accept_reset_streams(H2_PENDING_RESETS_MAX)
            .max_local_error_reset_streams(H2_LOCAL_RESETS_MAX)
            .keep_alive_interval(H2_PING_INTERVAL)
            .keep_alive_timeout(H2_PING_TIMEOUT)
            .serve_connection(socket, adapter);
        let mut watchdog = Watchdog::new(link, self.settings, self.phase.watch());
        let mut connection = pin!(connection);
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                    return Poll::Ready(result.map_err(ConnectionError::from));
                }
                if !watchdog.shall_finish(cx) {
                    break;
                }
                connection.as_mut().graceful_shutdown();
            }
            match watchdog.poll(cx, true) {
                Poll::Ready(Ok(())) if !watchdog.leaving() => {
                    // Idle for too long: GOAWAY, then whatever is still on its way, then the close.
                    connection.as_mut().graceful_shutdown();
                    if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                        return Poll::Ready(result.map_err(ConnectionError::from));
                    }
                    watchdog.poll(cx, true)
                }
                other => other,
            }
        })
        .await
    }
}

/// Reads until the first bytes are, or are not, the HTTP/2 preface, and gives them back.
async fn speaks_http2(conn: &mut Conn) -> io::Result<bool> {
    let mut read = BytesMut::with_capacity(FIRST_READ_BYTES);
    loop {
        let closed = conn.read_buf(&mut read).await? == 0;
        let seen = read.len().min(H2_PREFACE.len());
        let matches = read[..seen] == H2_PREFACE[..seen];
        if closed || !matches || seen == H2_PREFACE.len() {
            conn.unread(read.freeze());
            return Ok(matches && seen == H2_PREFACE.len());
        }
    }
}

/// Ends a connection whose state lasts too long.
struct Watchdog {
    link: Rc<Link>,
    settings: Settings,
    phase: Watch<Phase>,
    finishing: bool,
    first_request_by: Instant,
    served: bool,
    /// HTTP/2: when the client was told to leave.
    left_at: Option<Instant>,
    alarm: Alarm,
}

impl Watchdog {
    fn new(link: Rc<Link>, settings: Settings, phase: Watch<Phase>) -> Self {
        let first_request_by = link.idle_since() + settings.header_timeout;
        Self {
            link,
            settings,
            phase,
            finishing: false,
            first_request_by,
            served: false,
            left_at: None,
            alarm: Alarm::default(),
        }
    }

    /// True once, when the process begins to drain.
    fn shall_finish(&mut self, cx: &Context<'_>) -> bool {
        !self.finishing && self.phase.poll(cx) >= Phase::Finish && {
            self.finishing = true;
            true
        }
    }

    /// Notes that the connection has been idle for too long and says goodbye. Whether it had before.
    ///
    /// hyper is done with a stream when h2 has its last frame, and h2 keeps the connection until the client's
    /// window lets that frame go: without an end to this, one that never opens it would stay for ever.
    fn leaving(&mut self) -> bool {
        let before = self.left_at.is_some();
        self.left_at.get_or_insert_with(Instant::now);
        before
    }

    /// To be polled after the connection. `Ready(Ok)` is an idle connection that shall close quietly.
    fn poll(&mut self, cx: &mut Context<'_>, http2: bool) -> Poll<Result<(), ConnectionError>> {
        self.link.turn_ended();
        let Some((at, what)) = self.deadline(http2) else { return Poll::Pending };
        ready!(self.alarm.poll(cx, at));
        if matches!(what, Err(ConnectionError::SlowReader)) {
            self.link.cut(EndReason::SlowReader);
        }
        Poll::Ready(what)
    }

    fn deadline(&mut self, http2: bool) -> Option<(Instant, Result<(), ConnectionError>)> {
        if let (Some(since), Some(timeout)) = (self.link.stalled_since(), self.settings.slow_client_timeout) {
            return Some((since + timeout, Err(ConnectionError::SlowReader)));
        }
        if self.link.in_flight() > 0 {
            self.served = true;
            return None;
        }
        if let Some(since) = self.link.lingers_since() {
            return Some((since + self.settings.header_timeout, Ok(())));
        }
        if let Some(left_at) = self.left_at {
            // What is left for the client may take as long as a head.
            let from = left_at.max(self.link.idle_since());
            return Some((from + self.settings.header_timeout, Ok(())));
        }
        if http2 {
            return Some((self.link.idle_since() + self.settings.idle_timeout, Ok(())));
        }
        match self.link.head_since() {
            Some(since) => Some((since + self.settings.header_timeout, Err(ConnectionError::HeaderTimeout))),
            None if !self.served => Some((self.first_request_by, Err(ConnectionError::HeaderTimeout))),
            None => Some((self.link.idle_since() + self.settings.idle_timeout, Ok(()))),
        }
    }
}

/// Calls a tower service for hyper, and makes the exchange that ties request, answer and connection.
struct Adapter<S> {
    service: S,
    link: Rc<Link>,
    executor: Option<StreamExecutor>,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Adapter<S>
where
    S: Service<Request<Inbound>, Response = Response<B>, Error = Infallible> + Clone,
{
    type Response = Response<Outbound<B>>;
    type Error = Infallible;
    type Future = Answering<tower::util::Oneshot<S, Request<Inbound>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let exchange = Exchange::new(&self.link);
        if let Some(executor) = &self.executor {
            executor.service_called(&exchange);
        } else {
            let length = request.body().size_hint().exact().map_or(Length::Chunked, Length::Exact);
            // Whoever stands between may take what comes next for another protocol's bytes.
            let is_last = request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE);
            exchange.framed(length, is_last);
        }
        let request = request.map(|incoming| Inbound::new(incoming, Rc::clone(&exchange)));
        let service = self.service.clone();
        let http1 = self.executor.is_none();
        Answering { future: tower::ServiceExt::oneshot(service, request), exchange: Some(exchange), http1 }
    }
}

pin_project_lite::pin_project! {
    struct Answering<F> {
        #[pin]
        future: F,
        exchange: Option<Rc<Exchange>>,
        http1: bool,
    }
}

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<Outbound<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let http1 = *this.http1;
        this.future.poll(cx).map_ok(|mut response| {
            let exchange = this.exchange.take().expect("polled no more after it is ready");
            if http1 && !exchange.may_be_followed() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                if !exchange.is_read() {
                    exchange.link.leaves_unread();
                }
            }
            response.map(|body| Outbound::new(body, exchange))
        })
    }
}
