//! What tests of both drivers need: workers of their own, and connected pairs.

use std::future::Future;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::time::timeout;

use super::Conn;
use super::conn::Moving;
use super::uring::{Settings, probe};
use super::worker::{LocalFuture, start_one};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `test` on a worker of its own, and passes its panic on. Where no ring can be had, what needs one is left
/// out: the driver says so at start, and the rest of the program does without.
pub(super) fn on_worker<T, F>(ring: Option<Settings>, test: T)
where
    T: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    if ring.is_some_and(|settings| probe(settings).is_err()) {
        return;
    }
    let (done, finished) = sync_channel(1);
    let main = move || -> LocalFuture {
        Box::pin(async move {
            timeout(PATIENCE, test()).await.expect("in time");
            done.send(()).expect("somebody waits");
        })
    };
    let thread = start_one(0, None, ring).expect("a worker").run(main);
    let ended = finished.recv();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
    ended.expect("the test ran");
}

pub(super) fn tcp() -> (StdStream, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").expect("a port");
    let near = StdStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (far, _) = listener.accept().expect("accepted");
    (near, far)
}

/// A socket of this worker's and the other end of it, which blocks.
pub(super) fn tcp_pair() -> (Conn, StdStream) {
    let (near, far) = tcp();
    near.set_nonblocking(true).expect("a flag");
    (Conn::arrive(Moving::Tcp(near)).expect("taken over"), far)
}

pub(super) fn unix_pair() -> (Conn, UnixStream) {
    let (near, far) = UnixStream::pair().expect("a pair");
    near.set_nonblocking(true).expect("a flag");
    (Conn::arrive(Moving::Unix(near)).expect("taken over"), far)
}

/// Both ends on this worker.
pub(super) fn both_ends() -> (Conn, Conn) {
    let (near, far) = tcp();
    let [near, far] = [near, far].map(|stream| {
        stream.set_nonblocking(true).expect("a flag");
        Conn::arrive(Moving::Tcp(stream)).expect("taken over")
    });
    (near, far)
}

/// Runs something that blocks, beside the worker.
pub(super) async fn aside<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(act).await.expect("no panic")
}

/// An address where nobody listens.
pub(super) fn nobody() -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}

/// Bytes that differ wherever one looks.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

/// Polls once.
pub(super) async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match Pin::new(&mut future).poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}
