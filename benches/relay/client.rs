//! The load: one thread, one epoll, every event checked.

use std::io::{self, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Result, bail};
use memchr::memmem;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::framing::{Framing, Item};
use crate::outcome::Tally;
use crate::scenario::Scenario;
use crate::wire::{DONE, Event, KEY, Wish, now, unary_mark};

const SECOND: u64 = 1_000_000_000;

/// Connections opened a second: quick enough to begin soon, slow enough for every accept queue.
const OPEN_RATE: u64 = 4000;

/// How long opening, and the first event of every stream, may take.
const RAMP_NS: u64 = 60 * SECOND;

/// Pause between two probes.
const PROBE_PAUSE_NS: u64 = 5_000_000;

/// Failures after which going on would only measure failures.
const FAILURES_MAX: u64 = 1000;

struct Downstream {
    stream: TcpStream,
    framing: Framing,
    id: u64,
    turn: u64,
    wish: Wish,
    sent_at: u64,
    /// Number of the event that has to come next.
    sequence: u64,
    done: bool,
    status: u16,
    /// Whether its first events are timed: of probes only, where there are probes.
    timed: bool,
    /// Whether its very first event or answer has come.
    begun: bool,
    /// When the next probe is sent.
    next_at: Option<u64>,
    /// Body of a whole answer so far.
    answer: Vec<u8>,
}

struct Client<'a> {
    addr: SocketAddr,
    scenario: &'a Scenario,
    epoll: OwnedFd,
    downstreams: Vec<Downstream>,
    begun: u64,
    tally: Tally,
    event: Event,
    buffer: Vec<u8>,
}

/// Opens the streams, says `steady`, measures for `seconds`, says the outcome, and holds everything open until
/// a line comes in, so that the gateway's memory can be read in the meantime.
pub(crate) fn run(addr: SocketAddr, scenario: &Scenario, seconds: u32) -> Result<()> {
    let mut client = Client {
        addr,
        scenario,
        epoll: epoll::create(CreateFlags::CLOEXEC)?,
        downstreams: Vec::new(),
        begun: 0,
        tally: Tally::new(),
        event: Event::new(),
        buffer: vec![0; 256 * 1024],
    };
    let total = scenario.streams + u64::from(scenario.probe);
    let begin = now();
    while client.begun < total {
        let elapsed = now() - begin;
        if elapsed > RAMP_NS {
            bail!("only {} of {total} streams began within a minute", client.begun);
        }
        let wanted = total.min(elapsed * OPEN_RATE / SECOND + 1);
        while (client.downstreams.len() as u64) < wanted {
            client.open()?;
        }
        client.turn(1_000_000)?;
    }
    writeln!(io::stdout(), "steady")?;
    client.tally.open();
    let begin = now();
    let end = begin + u64::from(seconds) * SECOND;
    while now() < end {
        client.turn((end - now().min(end)).min(PROBE_PAUSE_NS))?;
    }
    let seconds = (now() - begin) as f64 / SECOND as f64;
    let outcome = client.tally.finish(seconds);
    writeln!(io::stdout(), "{}", serde_json::to_string(&outcome)?)?;
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

impl Client<'_> {
    fn open(&mut self) -> Result<()> {
        let stream = TcpStream::connect_timeout(&self.addr, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let id = self.downstreams.len() as u64;
        epoll::add(&self.epoll, &stream, EventData::new_u64(id), EventFlags::IN)?;
        let mut downstream = Downstream {
            stream,
            framing: Framing::default(),
            id,
            turn: 0,
            wish: self.scenario.wish(id, 0),
            sent_at: 0,
            sequence: 0,
            done: false,
            status: 0,
            timed: !self.scenario.probe || id >= self.scenario.streams,
            begun: false,
            next_at: None,
            answer: Vec::new(),
        };
        downstream.ask(self.addr)?;
        self.downstreams.push(downstream);
        Ok(())
    }

    /// Waits for at most `ns`, and takes in what came.
    fn turn(&mut self, ns: u64) -> Result<()> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::try_from(ns).unwrap_or(0) };
        let mut events = Vec::with_capacity(1024);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let data = event.data;
            self.receive(usize::try_from(data.u64())?)?;
        }
        if self.scenario.probe
            && let Some(probe) = self.downstreams.last_mut()
            && probe.next_at.is_some_and(|at| at <= now())
        {
            probe.again(self.scenario, self.addr)?;
        }
        if self.tally.failures() > FAILURES_MAX {
            // The outcome carries the first failure; here only the measuring ends.
            let outcome = serde_json::to_string(&self.take_tally().finish(0.0))?;
            bail!("too many failures: {outcome}");
        }
        Ok(())
    }

    fn take_tally(&mut self) -> Tally {
        mem::replace(&mut self.tally, Tally::new())
    }

    fn receive(&mut self, at: usize) -> Result<()> {
        let downstream = &mut self.downstreams[at];
        let read = match (&downstream.stream).read(&mut self.buffer) {
            Ok(read) if read > 0 => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Ok(_) => bail!("the gateway closed connection {at} at event {}", downstream.sequence),
            Err(error) => bail!("connection {at}: {error}"),
        };
        let arrived = now();
        let mut framing = mem::take(&mut downstream.framing);
        let mut ended = false;
        let (tally, event) = (&mut self.tally, &self.event);
        let result = framing.read(&self.buffer[..read], &mut |item| match item {
            Item::Head { status } => downstream.status = status,
            Item::Piece(piece) => downstream.piece(piece, event, arrived, tally),
            Item::End => {
                ended = true;
                downstream.end(arrived, tally);
            }
        });
        if let Err(why) = result {
            bail!("connection {at}: {why}");
        }
        downstream.framing = framing;
        if !downstream.begun && (downstream.sequence > 0 || ended) {
            downstream.begun = true;
            self.begun += 1;
        }
        if ended && downstream.id >= self.scenario.streams {
            downstream.next_at = Some(arrived + PROBE_PAUSE_NS);
        } else if ended {
            downstream.again(self.scenario, self.addr)?;
        }
        Ok(())
    }
}

impl Downstream {
    /// Sends the request. A fresh or drained socket takes it whole.
    fn ask(&mut self, addr: SocketAddr) -> Result<()> {
        let stream = !matches!(self.wish, Wish::Unary { .. });
        let body = format!(
            "{{\"model\":\"bench\",\"stream\":{stream},\"user\":\"{}\",\"messages\":[{{\"role\":\"system\",\
             \"content\":\"You are a miller.\"}},{{\"role\":\"user\",\"content\":\"How does the wheel turn?\"}}]}}",
            self.wish.text()
        );
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer {KEY}\r\n\
             content-type: application/json\r\naccept: */*\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.sent_at = now();
        (&self.stream).write_all(request.as_bytes())?;
        Ok(())
    }

    /// Begins the next request on the same connection.
    fn again(&mut self, scenario: &Scenario, addr: SocketAddr) -> Result<()> {
        self.turn += 1;
        self.wish = scenario.wish(self.id, self.turn);
        self.sequence = 0;
        self.done = false;
        self.next_at = None;
        self.answer.clear();
        self.ask(addr)
    }

    /// One event, or a piece of a whole answer.
    fn piece(&mut self, piece: &[u8], event: &Event, arrived: u64, tally: &mut Tally) {
        if self.status != 200 || matches!(self.wish, Wish::Unary { .. }) {
            self.answer.extend_from_slice(piece);
            return;
        }
        if let Some(marks) = event.read(piece) {
            if marks.id != self.id || marks.sequence != self.sequence || self.done {
                tally.wrong();
            }
            if self.sequence == 0 && self.timed {
                tally.first(arrived.saturating_sub(self.sent_at));
            }
            tally.unit(arrived.saturating_sub(marks.at));
            self.sequence = marks.sequence + 1;
        } else if piece == DONE {
            self.done = true;
        } else if !piece.starts_with(b":") {
            // Comments keep a connection alive; everything else is not what the mock sent.
            tally.wrong();
        }
    }

    /// The response is complete: was it the right one?
    fn end(&mut self, arrived: u64, tally: &mut Tally) {
        let expected = match self.wish {
            _ if self.status != 200 => {
                let text: String = String::from_utf8_lossy(&self.answer).chars().take(200).collect();
                return tally.failed(&format!("status {}: {text}", self.status));
            }
            Wish::Unary { id, turn } => {
                tally.unit(arrived.saturating_sub(self.sent_at));
                if memmem::find(&self.answer, unary_mark(id, turn).as_bytes()).is_none() {
                    return tally.wrong();
                }
                return tally.ended();
            }
            Wish::Paced { count, .. } | Wish::Flood { count, .. } => count,
            Wish::Silent { .. } => u64::MAX,
        };
        if self.done && self.sequence == expected {
            tally.ended();
        } else {
            tally.truncated();
        }
    }
}
