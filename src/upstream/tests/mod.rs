//! The pool against small scripted upstreams on real loopback sockets.

mod acks;
mod codec;
mod connecting;
mod http1;
mod http2;
mod keys;
mod pacing;

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::{BodyExt, Collected};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::{Body, BodyError, Caps, Connectors, Pool, Request, SendError};
use crate::config::{Config, Env, Upstream, parse};
use crate::reactor;
use crate::telemetry::Telemetry;
use crate::units::UpstreamId;

/// Runs a test on a runtime like a worker's. The deadline is for tests that hang, not for those that wait.
fn run(test: impl Future<Output = ()>) {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(LocalOptions::default()).expect("a runtime");
    runtime.block_on(async { timeout(Duration::from_mins(1), test).await.expect("in time") });
}

/// An upstream at this address, with bounds that no test reaches unless it sets others.
fn upstream(address: SocketAddr) -> Upstream {
    Upstream {
        connections_max: 1000,
        receive_buffer_bytes: 65_536,
        include_usage: false,
        ..config(&format!("http://{address}/v1")).upstreams.remove(0)
    }
}

/// A configuration with one upstream.
fn config(base_url: &str) -> Config {
    let text = format!("[[upstreams]]\nname = \"test\"\nbase_url = \"{base_url}\"\nkey_env = \"KEY\"\n");
    parse(&text, "x", &Env::of([("KEY", "sk-canary")])).expect("a good file")
}

/// A pool with one upstream.
struct Bench {
    pool: Rc<Pool>,
    caps: Arc<Caps>,
}

impl Bench {
    fn new(upstream: Upstream) -> Self {
        let config = Config { upstreams: vec![upstream], ..config("http://h/v1") };
        let caps = Caps::new(&config.upstreams, usize::MAX);
        let connectors = Connectors::new(&config.upstreams).expect("good settings");
        let recorder = Telemetry::new(&config, 1).recorder(0);
        let pool = Pool::new(&config.upstreams, &caps, &connectors, &recorder);
        Self { pool, caps }
    }

    async fn send(&self) -> Result<Response<Body>, SendError> {
        self.pool.send(UpstreamId::new(0), 0, &request()).await
    }

    /// Sends and reads to the end.
    async fn fetch(&self) -> Result<Bytes, BodyError> {
        Ok(self.send().await.expect("sent").collect_all().await?.to_bytes())
    }

    /// Connections open, as the cap counts them.
    fn open(&self) -> usize {
        self.caps.open(UpstreamId::new(0))
    }

    /// Lets tasks run until so many connections are open.
    async fn until_open(&self, count: usize) {
        while self.open() != count {
            yield_now().await;
        }
    }
}

fn request() -> Request {
    Request {
        method: Method::POST,
        path_and_query: "/chat/completions?x=1".into(),
        headers: Rc::new(HeaderMap::new()),
        credentials: Vec::new(),
        body: Bytes::from_static(b"{}"),
        streams: false,
    }
}

trait CollectAll {
    async fn collect_all(self) -> Result<Collected<Bytes>, BodyError>;
}

impl CollectAll for Response<Body> {
    async fn collect_all(self) -> Result<Collected<Bytes>, BodyError> {
        self.into_body().collect().await
    }
}

/// Runs `serve` for each connection, with its number from 0; the cell counts them.
async fn listen<F, S>(serve: S) -> (SocketAddr, Rc<Cell<usize>>)
where
    S: Fn(usize, TcpStream) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let count = Rc::new(Cell::new(0));
    let accepted = count.clone();
    drop(reactor::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = accepted.replace(accepted.get() + 1);
            drop(reactor::spawn(serve(number, stream)));
        }
    }));
    (address, count)
}

/// An upstream of one stream, and what makes it send each chunk. The stream ends when that is dropped.
async fn listen_paced(
    send_chunk: impl AsyncFn(&mut TcpStream) + Copy + 'static,
) -> (SocketAddr, mpsc::Sender<()>) {
    let (pace, beats) = mpsc::channel::<()>(1);
    let beats = Cell::new(Some(beats));
    let (address, _) = listen(move |_, mut stream| {
        let beats = beats.take();
        async move {
            read_request(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.expect("written");
            let mut beats = beats.expect("one connection");
            while beats.recv().await.is_some() {
                send_chunk(&mut stream).await;
            }
            stream.write_all(b"0\r\n\r\n").await.ok();
        }
    })
    .await;
    (address, pace)
}

/// Reads one request with the body `{}`; `None` at the end of the connection.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n{}") {
        match stream.read_u8().await {
            Ok(byte) => read.push(byte),
            Err(_) => return None,
        }
    }
    Some(String::from_utf8(read).expect("text"))
}
