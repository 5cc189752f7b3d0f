//! One client connection: its handshake, and which HTTP it speaks.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tower::Service;

use super::exchange::Inbound;
use super::link::{Link, Peer};
use crate::reactor::load::{Load, Newcomer};
use crate::reactor::tls::Acceptor;
use crate::reactor::{Conn, Io};
use crate::signal::duplex::Duplex;
use crate::signal::rest::Rest;
use crate::signal::{Phase, Signal};
use crate::telemetry::Recorder;

/// The client connection preface of HTTP/2 (RFC 9113 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Enough for the head of an SDK's request, so that finding out the protocol costs no second read.
const FIRST_READ_BYTES: usize = 4096;

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
    pub(super) service: S,
    pub(super) settings: Settings,
    pub(super) tls: Option<Acceptor>,
    pub(super) load: Load,
    pub(super) recorder: Rc<Recorder>,
    pub(super) phase: Signal<Phase>,
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
    /// The socket failed.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// The body of an answer failed, so that its client must not take what it got for the whole.
    #[error("the answer was broken off: {0}")]
    Aborted(#[source] Box<dyn StdError + Send + Sync>),
    /// hyper's own verdict.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
}

impl<S, B> Server<S>
where
    S: Service<Request<Inbound>, Response = Response<B>, Error = Infallible> + Clone + 'static,
    B: Body<Data = Bytes> + Rest + Duplex + Unpin + 'static,
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

    /// Serves one connection to its end. The caller has counted it in its [`Load`], as a newcomer.
    ///
    /// # Errors
    /// When it ended in another way than by its peer's or the process's wish.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection and cancels what runs on it.
    pub async fn serve(self, conn: Conn, peer: Peer, newcomer: Newcomer) -> Result<(), ConnectionError> {
        let ready = timeout(self.settings.header_timeout, self.negotiate(conn, peer)).await;
        let (io, http2) = ready.map_err(|_| ConnectionError::HeaderTimeout)??;
        let link = Link::new(peer, newcomer, self.load.clone(), Rc::clone(&self.recorder));
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
