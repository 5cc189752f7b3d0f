//! Upstreams that play by themselves: each answers any number of requests by a rule, and keeps a ledger of what it has
//! seen, by its own clock. Each has a thread of its own, so that no other one makes it late.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::setup::{DONE, STOP, token};
use super::upstream::{head_text, listen};
use super::wire::Head;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_hours(1);

/// Tokens of an answer.
const TOKENS: usize = 3;

/// One upstream. It ends when this is dropped.
pub struct Member {
    pub address: SocketAddr,
    ledger: Arc<Mutex<Vec<Seen>>>,
    _stop: oneshot::Sender<()>,
}

/// A request as a rule sees it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How many this upstream has seen before.
    pub number: u64,
    /// What the client has marked it with ([`ask`]); 0 without a mark.
    pub mark: u64,
    pub head: Head,
    pub body: String,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub asked: Asked,
    pub came: Instant,
    /// When the first part of the body was written.
    pub spoke: Option<Instant>,
    pub end: Option<(Instant, Ended)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything was sent.
    Whole,
    /// By the rule.
    Cut,
    /// The gateway closed the connection.
    Left,
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub struct Script {
    /// Before the head.
    pub wait: Duration,
    pub status: u16,
    pub fields: Vec<(&'static str, String)>,
    /// Each after its pause.
    pub parts: Vec<(Duration, String)>,
    /// Bytes that the head promises; `None`: chunks.
    pub length: Option<usize>,
    /// The connection is closed after the last part, which is not said to be the last.
    pub cut: bool,
}

// ----------------------------------------------------------------------------------------------- requests

/// A chat that bears a mark, which its answer repeats.
pub fn ask(mark: u64, streams: bool) -> String {
    format!(r##"{{"model":"m","stream":{streams},"messages":[{{"role":"user","content":"#{mark}#"}}]}}"##)
}

fn mark_of(body: &str) -> u64 {
    body.split('#').nth(1).and_then(|mark| mark.parse().ok()).unwrap_or_default()
}

fn events(mark: u64) -> Vec<String> {
    let mut events: Vec<String> = (0..TOKENS).map(|n| token(&format!("{mark}-{n} "))).collect();
    events.push([STOP, DONE].concat());
    events
}

/// The only right answer to [`ask`].
pub fn answer(mark: u64, streams: bool) -> String {
    if streams { events(mark).concat() } else { whole(mark) }
}

fn whole(mark: u64) -> String {
    format!(
        r#"{{"id":"c","object":"chat.completion","choices":[{{"index":0,"message":{{"role":"assistant","content":"{mark}"}},"finish_reason":"stop"}}]}}"#
    )
}

// ------------------------------------------------------------------------------------------------- rules

fn plain(status: u16, fields: &[(&'static str, &str)], body: String) -> Script {
    let mut fields: Vec<_> = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    fields.push(("content-type", "application/json".to_owned()));
    let length = Some(body.len());
    Script { wait: Duration::ZERO, status, fields, parts: vec![(Duration::ZERO, body)], length, cut: false }
}

fn stream(parts: Vec<(Duration, String)>) -> Script {
    let fields = vec![("content-type", "text/event-stream".to_owned())];
    Script { wait: Duration::ZERO, status: 200, fields, parts, length: None, cut: false }
}

/// A stream whose first token comes after `first`, and each other after `gap`; or JSON after `first`.
pub fn good(asked: &Asked, first: Duration, gap: Duration) -> Script {
    if !asked.body.contains("\"stream\":true") {
        return Script { wait: first, ..plain(200, &[], whole(asked.mark)) };
    }
    let pause = |n| if n == 0 { first } else { gap };
    stream(events(asked.mark).into_iter().enumerate().map(|(n, event)| (pause(n), event)).collect())
}

/// Takes the request and never says a word.
pub fn stalling() -> Script {
    Script { wait: FOR_EVER, ..plain(200, &[], String::new()) }
}

/// 200, what stands before a first token, and an error.
pub fn error_event() -> Script {
    let role =
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let error =
        "data: {\"error\":{\"message\":\"the engine is down\",\"type\":\"server_error\",\"code\":null}}\n\n";
    stream(vec![(Duration::ZERO, role.to_owned()), (Duration::ZERO, error.to_owned())])
}

/// 429, with the seconds after which to come again, or without.
pub fn throttling(after: Option<&str>) -> Script {
    let fields = after.map(|after| ("retry-after", after));
    let body = r#"{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}"#;
    plain(429, fields.as_slice(), body.to_owned())
}

/// An error of the upstream's own.
pub fn failing(status: u16) -> Script {
    plain(status, &[], r#"{"error":{"message":"oops","type":"server_error","code":null}}"#.to_owned())
}

/// What `script` would be, broken off after so many of its parts. A whole answer breaks off in its midst.
pub fn cut(mut script: Script, after: usize) -> Script {
    script.parts.truncate(after);
    if script.length.is_some()
        && let Some((_, last)) = script.parts.last_mut()
    {
        last.truncate(last.len() / 2);
    }
    script.cut = true;
    script
}

/// A share of all numbers, the same whenever it is asked for.
pub fn chosen(seed: u64, number: u64, share: f64) -> bool {
    (draw(seed, number) >> 11) as f64 / ((1_u64 << 53) as f64) < share
}

/// A random number that depends on nothing else (`SplitMix64`).
pub fn draw(seed: u64, number: u64) -> u64 {
    let mut mixed = (seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

// ----------------------------------------------------------------------------------------------- members

type Rule = dyn Fn(&Asked) -> Script + Send + Sync;

impl Member {
    pub fn start(rule: impl Fn(&Asked) -> Script + Send + Sync + 'static) -> Self {
        Self::start_on(listen().0, rule)
    }

    pub fn start_on(listener: TcpListener, rule: impl Fn(&Asked) -> Script + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("an option");
        let ledger = Arc::<Mutex<Vec<Seen>>>::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let (rule, book): (Arc<Rule>, _) = (Arc::new(rule), Arc::clone(&ledger));
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let accepting = async {
                    loop {
                        let (socket, _) = listener.accept().await.expect("a connection");
                        tokio::spawn(serve(socket, Arc::clone(&rule), Arc::clone(&book)));
                    }
                };
                tokio::select! {
                    () = accepting => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, ledger, _stop: stop }
    }

    fn ledger(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.ledger.lock().expect("no panic")
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.ledger().clone()
    }

    /// Requests so far.
    pub fn count(&self) -> usize {
        self.ledger().len()
    }

    /// Requests that came since `moment`.
    pub fn count_since(&self, moment: Instant) -> usize {
        self.ledger().iter().filter(|seen| seen.came >= moment).count()
    }

    /// Requests whose answer has not ended.
    pub fn open(&self) -> usize {
        self.ledger().iter().filter(|seen| seen.end.is_none()).count()
    }

    /// Most requests that were open at one moment.
    pub fn open_max(&self) -> usize {
        let mut changes: Vec<(Instant, bool)> = Vec::new();
        for seen in self.ledger().iter() {
            changes.push((seen.came, true));
            changes.extend(seen.end.map(|(at, _)| (at, false)));
        }
        // Ends go first: what ended at the moment when another came was not beside it.
        changes.sort_unstable();
        let (mut open, mut most) = (0_usize, 0);
        for (_, came) in changes {
            open = if came { open + 1 } else { open - 1 };
            most = most.max(open);
        }
        most
    }
}

/// One connection.
async fn serve(socket: TcpStream, rule: Arc<Rule>, ledger: Arc<Mutex<Vec<Seen>>>) {
    socket.set_nodelay(true).expect("an option");
    let (mut reader, mut writer) = socket.into_split();
    let mut held = Vec::new();
    loop {
        let Some((head, body)) = request(&mut reader, &mut held).await else { return };
        let (script, place) = {
            let mut ledger = ledger.lock().expect("no panic");
            let place = ledger.len();
            let asked = Asked { number: place as u64, mark: mark_of(&body), head, body };
            let script = rule(&asked);
            ledger.push(Seen { asked, came: Instant::now(), spoke: None, end: None });
            (script, place)
        };
        let note = |change: &dyn Fn(&mut Seen)| change(&mut ledger.lock().expect("no panic")[place]);
        let is_cut = script.cut;
        let mut more = [0; 1];
        let ended = tokio::select! {
            biased;
            // A gateway that has something to say before it has its answer only says that it goes.
            _ = reader.read(&mut more) => Ended::Left,
            sent = play(&mut writer, script, || note(&|seen| seen.spoke = Some(Instant::now()))) => match sent {
                Err(_) => Ended::Left,
                Ok(()) if is_cut => Ended::Cut,
                Ok(()) => Ended::Whole,
            },
        };
        let now = Instant::now();
        note(&|seen| seen.end = Some((now, ended)));
        if ended != Ended::Whole {
            return;
        }
    }
}

async fn request(reader: &mut (impl tokio::io::AsyncRead + Unpin), held: &mut Vec<u8>) -> Option<(Head, String)> {
    let end = loop {
        if let Some(at) = memchr::memmem::find(held, b"\r\n\r\n") {
            break at + 4;
        }
        if reader.read_buf(held).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(held.drain(..end).collect()).expect("text");
    let mut lines = text.lines();
    let first = lines.next()?.to_owned();
    let fields = lines.filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let head = Head { first, fields };
    let length = head.get("content-length").map_or(0, |length| length.parse().expect("a length"));
    while held.len() < length {
        if reader.read_buf(held).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, String::from_utf8(held.drain(..length).collect()).expect("text")))
}

async fn play(writer: &mut OwnedWriteHalf, script: Script, spoke: impl Fn()) -> std::io::Result<()> {
    if !script.wait.is_zero() {
        sleep(script.wait).await;
    }
    let length = script.length.map(|length| length.to_string());
    let framing = length.as_deref().map_or(("transfer-encoding", "chunked"), |length| ("content-length", length));
    let mut fields: Vec<(&str, &str)> = script.fields.iter().map(|(name, value)| (*name, &**value)).collect();
    fields.push(framing);
    writer.write_all(head_text(script.status, &fields).as_bytes()).await?;
    for (n, (pause, part)) in script.parts.iter().enumerate() {
        if !pause.is_zero() {
            sleep(*pause).await;
        }
        let part = if length.is_some() { part.clone() } else { format!("{:x}\r\n{part}\r\n", part.len()) };
        writer.write_all(part.as_bytes()).await?;
        if n == 0 {
            spoke();
        }
    }
    if length.is_none() && !script.cut {
        writer.write_all(b"0\r\n\r\n").await?;
    }
    Ok(())
}
