//! HTTP/2 on one client connection: hyper's, under the watchdog.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tower::Service;

use super::adapter::Adapter;
use super::connection::{ConnectionError, Server};
use super::exchange::Inbound;
use super::executor::StreamExecutor;
use super::link::Link;
use super::socket::Socket;
use super::watchdog::Watchdog;
use crate::reactor::Io;
use crate::signal::duplex::Duplex;
use crate::signal::rest::Rest;

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

impl<S, B> Server<S>
where
    S: Service<Request<Inbound>, Response = Response<B>, Error = Infallible> + Clone + 'static,
    B: Body<Data = Bytes> + Rest + Duplex + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// Serves until either side has had enough.
    pub(super) async fn serve_http2(self, io: Io, link: Rc<Link>) -> Result<(), ConnectionError> {
        let executor = StreamExecutor::new(self.settings.slow_client_timeout);
        let socket = TokioIo::new(Socket::new(io, Rc::clone(&link), false));
        let adapter = Adapter::http2(self.service, Rc::clone(&link), executor.clone());
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
