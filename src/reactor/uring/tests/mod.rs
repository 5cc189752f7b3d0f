//! Sockets over real connections, on a worker with a ring and on one without.

mod ends;
mod lacks;
mod pressure;
mod streams;

use std::future::Future;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::time::timeout;

use super::{Settings, Stats, probe, stats};
use crate::reactor::Conn;
use crate::reactor::conn::Moving;
use crate::reactor::worker::{LocalFuture, start_one};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sizes with which everything runs short: every queue and every buffer is used many times over.
const TINY: Settings = Settings { submissions: 2, completions: 4, buffers: 2, buffer_bytes: 512 };

/// Runs `test` on a worker of its own, and passes its panic on. Where no ring can be had, what needs one is left
/// out: the driver says so at start, and the rest of the program does without.
fn on_worker<T, F>(ring: Option<Settings>, test: T)
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

/// Runs `test` without a ring, with one, and with one where everything is short.
fn on_each<T, F>(test: T)
where
    T: FnOnce() -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    for ring in [None, Some(Settings::default()), Some(TINY)] {
        on_worker(ring, test.clone());
    }
}

/// Runs `test` with rings alone, and checks that nothing is left behind.
fn on_rings<T, F>(test: T)
where
    T: FnOnce() -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    for ring in [Settings::default(), TINY] {
        let test = test.clone();
        on_worker(Some(ring), move || async move {
            test().await;
            until(|stats| stats.sockets == 0).await;
            nothing_left();
        });
    }
}

/// What a ring without sockets holds.
fn nothing_left() {
    let Stats { sockets, operations, receive_buffers, send_buffers, .. } = stats().expect("a ring");
    assert_eq!((sockets, operations, receive_buffers, send_buffers), (0, 0, 0, 0));
}

/// Lets the worker go round until its ring has come to this.
async fn until(reached: impl Fn(&Stats) -> bool) {
    while !reached(&stats().expect("a ring")) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn tcp() -> (StdStream, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").expect("a port");
    let near = StdStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (far, _) = listener.accept().expect("accepted");
    (near, far)
}

/// A socket of this worker's and the other end of it, which blocks.
fn tcp_pair() -> (Conn, StdStream) {
    let (near, far) = tcp();
    near.set_nonblocking(true).expect("a flag");
    (Conn::arrive(Moving::Tcp(near)).expect("taken over"), far)
}

fn unix_pair() -> (Conn, UnixStream) {
    let (near, far) = UnixStream::pair().expect("a pair");
    near.set_nonblocking(true).expect("a flag");
    (Conn::arrive(Moving::Unix(near)).expect("taken over"), far)
}

/// Both ends on this worker.
fn both_ends() -> (Conn, Conn) {
    let (near, far) = tcp();
    let [near, far] = [near, far].map(|stream| {
        stream.set_nonblocking(true).expect("a flag");
        Conn::arrive(Moving::Tcp(stream)).expect("taken over")
    });
    (near, far)
}

/// Runs something that blocks, beside the worker.
async fn aside<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(act).await.expect("no panic")
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}

/// Bytes that differ wherever one looks.
fn pattern(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

/// Polls once.
async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match Pin::new(&mut future).poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}
