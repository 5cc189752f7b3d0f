//! A bounded number of HTTP/1.1 clients that ask again and again, keep what they get, and leave when they are told.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::crowd;
use super::setup::CHAT_PATH;
use super::wire::Head;

/// No answer of a test that passes takes this long.
const HANG: Duration = Duration::from_secs(30);

/// What is asked, by whom.
pub struct Load {
    pub address: SocketAddr,
    /// At once.
    pub clients: usize,
    /// Marks of the requests.
    pub marks: std::ops::Range<u64>,
    /// From one request to the next, as far as there is a client for it.
    pub every: Duration,
    pub streams: bool,
    /// Headers of a request.
    pub fields: Fields,
    /// After how long the client of this mark leaves.
    pub leave: fn(u64) -> Option<Duration>,
}

/// What a request of some mark has for headers.
pub type Fields = Box<dyn Fn(u64) -> Vec<(&'static str, String)> + Send + Sync>;

/// The same header in every request.
pub fn always(name: &'static str, value: &str) -> Fields {
    let value = value.to_owned();
    Box::new(move |_| vec![(name, value.clone())])
}

/// What came of one request.
#[derive(Debug)]
pub struct Got {
    pub mark: u64,
    /// `None` where no answer came: the client left, or the connection broke.
    pub head: Option<Head>,
    pub body: Vec<u8>,
    /// Whether the framing says that it is all.
    pub whole: bool,
    pub left: bool,
    pub began: Instant,
    /// To the first event.
    pub first: Option<Duration>,
    pub took: Duration,
}

impl Got {
    pub fn status(&self) -> u16 {
        self.head.as_ref().map_or(0, Head::status)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether it is the one right answer, to the last byte.
    pub fn is_right(&self, streams: bool) -> bool {
        self.status() == 200 && self.whole && self.body == crowd::answer(self.mark, streams).as_bytes()
    }
}

impl Load {
    pub fn new(address: SocketAddr, marks: std::ops::Range<u64>) -> Self {
        Self {
            address,
            clients: 32,
            marks,
            every: Duration::ZERO,
            streams: true,
            fields: Box::new(|_| Vec::new()),
            leave: |_| None,
        }
    }

    /// Asks everything, and returns when the last answer has come.
    pub fn run(self) -> Vec<Got> {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let next = Arc::new(AtomicU64::new(self.marks.start));
            let clients = self.clients;
            let load = Arc::new(self);
            let start = Instant::now();
            let mut tasks = JoinSet::new();
            for _ in 0..clients {
                tasks.spawn(client(Arc::clone(&load), Arc::clone(&next), start));
            }
            tasks.join_all().await.into_iter().flatten().collect()
        })
    }
}

async fn client(load: Arc<Load>, next: Arc<AtomicU64>, start: Instant) -> Vec<Got> {
    let mut all = Vec::new();
    let mut connection: Option<Connection> = None;
    loop {
        let mark = next.fetch_add(1, Ordering::SeqCst);
        if mark >= load.marks.end {
            return all;
        }
        let turn = u32::try_from(mark - load.marks.start).expect("few");
        sleep_until((start + load.every * turn).into()).await;
        let mut own = match connection.take() {
            Some(connection) => connection,
            None => Connection::to(load.address).await,
        };
        let mut got = Got {
            mark,
            head: None,
            body: Vec::new(),
            whole: false,
            left: false,
            began: Instant::now(),
            first: None,
            took: Duration::ZERO,
        };
        let body = crowd::ask(mark, load.streams);
        let patience = (load.leave)(mark);
        let fields = (load.fields)(mark);
        let exchange = timeout(patience.unwrap_or(HANG), own.exchange(&fields, &body, &mut got)).await;
        got.took = got.began.elapsed();
        match exchange {
            Ok(Some(())) => connection = Some(own),
            Ok(None) => {}
            Err(_) => {
                assert!(patience.is_some(), "no end of the answer to {mark}: {got:?}");
                got.left = true;
            }
        }
        all.push(got);
    }
}

struct Connection {
    socket: TcpStream,
    held: Vec<u8>,
}

impl Connection {
    async fn to(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.expect("the gateway accepts");
        socket.set_nodelay(true).expect("an option");
        Self { socket, held: Vec::new() }
    }

    async fn fill(&mut self) -> Option<()> {
        (self.socket.read_buf(&mut self.held).await.ok()? > 0).then_some(())
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.held, b"\r\n") {
                let line = self.held.drain(..at + 2).take(at).collect();
                return Some(String::from_utf8(line).expect("text"));
            }
            self.fill().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.held.len() < length {
            self.fill().await?;
        }
        Some(self.held.drain(..length).collect())
    }

    /// `None` when the connection can't be used again.
    async fn exchange(&mut self, fields: &[(&'static str, String)], body: &str, got: &mut Got) -> Option<()> {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "POST {CHAT_PATH} HTTP/1.1\r\nhost: gateway.test\r\ncontent-type: application/json\r\n{fields}content-length: {}\r\n\r\n",
            body.len()
        );
        self.socket.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).await.ok()?;
        let first = self.line().await?;
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let head = Head { first, fields };
        let length = head.get("content-length").map(|length| length.parse().expect("a length"));
        let closes = head.get("connection") == Some("close");
        got.head = Some(head);
        if let Some(length) = length {
            got.body = self.exactly(length).await?;
            got.first = Some(got.began.elapsed());
        } else {
            loop {
                let line = self.line().await?;
                let length = usize::from_str_radix(line.trim(), 16).expect("a chunk's length");
                let chunk = self.exactly(length).await?;
                self.line().await?;
                if chunk.is_empty() {
                    break;
                }
                got.body.extend_from_slice(&chunk);
                if got.first.is_none() && memchr::memmem::find(&got.body, b"data:").is_some() {
                    got.first = Some(got.began.elapsed());
                }
            }
        }
        got.whole = true;
        (!closes).then_some(())
    }
}

/// The value that so many hundredths of all do not exceed.
pub fn percentile(times: impl IntoIterator<Item = Duration>, percent: usize) -> Duration {
    let mut times: Vec<Duration> = times.into_iter().collect();
    times.sort_unstable();
    times[(times.len() * percent).div_ceil(100).max(1) - 1]
}

/// Tells a figure, past the capture of the test.
pub fn tell(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("written");
}
