//! An upstream that keeps every byte it gets, with a parser of its own: strict, and not hyper's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The gateway's own key for it.
pub(crate) const KEY: &str = "sk-upstream-canary-0123456789";

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: Mutex<Vec<Recorded>>,
    /// Answers under way.
    open: AtomicUsize,
}

/// See the module. What it answers depends on the body: one that says `hang` gets nothing, `endless` a stream
/// without end, and any other a short JSON object.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &seen));
            }
        });
        Self { address, seen }
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.seen.requests.lock().expect("not poisoned").clone()
    }

    /// Requests so far with `text` somewhere in them.
    pub(crate) fn with(&self, text: &str) -> Vec<Recorded> {
        let has =
            |found: &Recorded| found.head.contains(text) || String::from_utf8_lossy(&found.body).contains(text);
        self.requests().into_iter().filter(has).collect()
    }

    /// Answers under way.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }
}

impl Recorded {
    /// Values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

fn serve(mut stream: TcpStream, seen: &Seen) {
    let mut read = Vec::new();
    while let Some(request) = next(&mut stream, &mut read) {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        seen.requests.lock().expect("not poisoned").push(request);
        seen.open.fetch_add(1, Ordering::SeqCst);
        let answered = answer(&mut stream, &body);
        seen.open.fetch_sub(1, Ordering::SeqCst);
        if answered.is_err() {
            return;
        }
    }
}

/// The next request. Panics in the upstream's thread would be lost, so a malformed one is recorded as it is.
fn next(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Recorded> {
    let end = loop {
        if let Some(at) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        fill(stream, read)?;
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let mut request = Recorded { head, body: Vec::new() };
    let length = match request.header("content-length")[..] {
        [] => 0,
        [length] if length.bytes().all(|byte| byte.is_ascii_digit()) => length.parse().expect("a length"),
        _ => usize::MAX - end,
    };
    while read.len() < end + length {
        if fill(stream, read).is_none() {
            break;
        }
    }
    let to = read.len().min(end + length);
    request.body = read[end..to].to_vec();
    read.drain(..to);
    Some(request)
}

fn fill(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    let mut part = [0; 16 * 1024];
    let count = stream.read(&mut part).ok().filter(|count| *count > 0)?;
    read.extend_from_slice(&part[..count]);
    Some(())
}

fn answer(stream: &mut TcpStream, body: &str) -> std::io::Result<()> {
    if body.contains("hang") {
        // Until the gateway closes.
        return match stream.read(&mut [0])? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => panic!("bytes behind a request"),
        };
    }
    if body.contains("endless") {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")?;
        let event = format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
            "x".repeat(4096)
        );
        loop {
            stream.write_all(event.as_bytes())?;
        }
    }
    let body = "{\"object\":\"recorded\"}";
    let length = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
}
