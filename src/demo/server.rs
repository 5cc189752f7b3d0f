//! Sockets and tasks of the demo upstream: HTTP/1.1, and HTTP/2 by prior knowledge.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Settings;
use super::service::{State, answer};

/// Connections that wait for accept. A gateway that starts opens thousands at once.
const BACKLOG: i32 = 4096;

/// Connections and HTTP/2 streams served at once; what comes beyond is closed.
const TASKS_MAX: usize = 65_536;

/// Pause after a failed accept (usually no file descriptor left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listening socket on a free port of 127.0.0.1.
pub(super) fn listen() -> io::Result<StdListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The thread: builds a runtime, reports whether that worked, and serves until `stopped`.
pub(super) fn run(
    listener: StdListener,
    settings: Settings,
    stopped: oneshot::Receiver<()>,
    report: &SyncSender<io::Result<()>>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            report.send(Err(error)).ok();
            return;
        }
    };
    runtime.block_on(async {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                report.send(Err(error)).ok();
                return;
            }
        };
        report.send(Ok(())).ok();
        let tasks = Tasks::default();
        tasks.execute(accept(listener, Rc::new(State::new(settings)), tasks.clone()));
        // A dropped handle counts as a stop too.
        stopped.await.ok();
    });
    // Dropping the runtime drops every task, and with it every connection.
}

/// Everything that runs on the demo's thread. Finished tasks are reaped at each spawn.
#[derive(Clone, Default)]
struct Tasks(Rc<RefCell<JoinSet<()>>>);

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        let mut set = self.0.borrow_mut();
        while set.try_join_next().is_some() {}
        if set.len() < TASKS_MAX {
            set.spawn_local(future);
        }
    }
}

async fn accept(listener: TcpListener, state: Rc<State>, tasks: Tasks) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => tasks.execute(connection(stream, Rc::clone(&state), tasks.clone())),
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, state: Rc<State>, tasks: Tasks) {
    // Without it the kernel holds small events back until the last one is acknowledged.
    stream.set_nodelay(true).ok();
    let h2 = speaks_h2(&stream).await;
    let service = service_fn(move |request| {
        let state = Rc::clone(&state);
        async move { Ok::<_, Infallible>(answer(&state, request).await) }
    });
    let io = TokioIo::new(stream);
    // A broken connection is the peer's business; there is nobody here to tell.
    if h2 {
        let connection = http2::Builder::new(tasks).max_concurrent_streams(1000).serve_connection(io, service);
        connection.await.ok();
    } else {
        // The one client is a gateway that keeps connections idle in its pool: no head timeout.
        let connection = http1::Builder::new().header_read_timeout(None).serve_connection(io, service);
        connection.await.ok();
    }
}

/// Whether the peer opens with HTTP/2's preface. No HTTP/1.1 method of this API begins with its first three
/// bytes, and every real client sends them in one segment.
async fn speaks_h2(stream: &TcpStream) -> bool {
    let mut first = [0; 3];
    matches!(stream.peek(&mut first).await, Ok(3)) && &first == b"PRI"
}
