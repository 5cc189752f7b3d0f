//! The load: one thread, one epoll, every event checked.

mod downstream;
pub(crate) mod h2;
mod line;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::certificates::Certificates;
use crate::outcome::Tally;
use crate::scenario::{Load, Probe};
use crate::wire::{Event, now};

use downstream::Downstream;
use line::{Line, Shared};

const SECOND: u64 = 1_000_000_000;

/// Streams opened a second: quick enough to begin soon, slow enough for every accept queue.
const OPEN_RATE: u64 = 4000;

/// How long opening, and the first event of every stream, may take.
const RAMP_NS: u64 = 60 * SECOND;

/// How long streams that need not begin are given to do so.
const BACKGROUND_NS: u64 = 2 * SECOND;

/// Pause between two probes.
const PROBE_PAUSE_NS: u64 = 5_000_000;

/// How long the first event of a probe is awaited.
pub(crate) const PROBE_PATIENCE_NS: u64 = 10 * SECOND;

/// Failures after which going on would only measure failures.
const FAILURES_MAX: u64 = 1000;

struct Client<'a> {
    load: &'a Load,
    epoll: OwnedFd,
    lines: Vec<Line>,
    shared: Shared,
    /// Places for streams that were opened.
    opened: u64,
    /// Requests that were sent.
    asked: u64,
    /// When the next probe is sent.
    probe_at: Option<u64>,
    /// Streams that ask again, and when; the earliest first.
    pausing: BinaryHeap<Reverse<(u64, usize, usize)>>,
}

/// Opens the streams, says `steady`, measures for `seconds`, says the outcome, and holds everything open until
/// a line comes in, so that the gateway's memory can be read in the meantime.
pub(crate) fn run(addr: SocketAddr, load: &Load, seconds: u32, certificates: Option<&Path>) -> Result<()> {
    let h2 = load.per_connection.is_some();
    let protocol: &[u8] = if h2 { b"h2" } else { b"http/1.1" };
    let tls = certificates.map(|folder| Certificates::in_folder(folder).client(protocol)).transpose()?;
    let (event, tally) = (Event::new(), Tally::new());
    let mut client = Client {
        load,
        epoll: epoll::create(CreateFlags::CLOEXEC)?,
        lines: Vec::new(),
        shared: Shared { addr, tls, h2, event, tally, buffer: vec![0; 256 * 1024] },
        opened: 0,
        asked: 0,
        probe_at: None,
        pausing: BinaryHeap::new(),
    };
    client.ramp()?;
    writeln!(io::stdout(), "steady")?;
    client.shared.tally.open();
    let begin = now();
    let end = begin + u64::from(seconds) * SECOND;
    while now() < end && !client.is_done() {
        client.turn((end - now().min(end)).min(PROBE_PAUSE_NS))?;
    }
    let seconds = (now() - begin) as f64 / SECOND as f64;
    let outcome = client.shared.tally.finish(seconds);
    writeln!(io::stdout(), "{}", serde_json::to_string(&outcome)?)?;
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

impl Client<'_> {
    /// Opens everything and waits until it has begun.
    fn ramp(&mut self) -> Result<()> {
        let streams = self.load.streams + self.load.stuck;
        let total = streams + u64::from(self.load.probe.is_some());
        let begin = now();
        let mut opened_at = None;
        loop {
            let elapsed = now() - begin;
            let wanted = streams.min(elapsed * OPEN_RATE / SECOND + 1);
            while self.opened < wanted {
                self.open()?;
            }
            // The probe comes last, on a connection of its own.
            if self.opened == streams && streams < total {
                self.open_probe()?;
            }
            self.turn(1_000_000)?;
            let begun =
                self.lines.iter().flat_map(|line| &line.streams).filter(|stream| stream.begun).count() as u64;
            if self.opened == total {
                let opened_at = *opened_at.get_or_insert_with(now);
                if begun == total || self.load.background && now() - opened_at > BACKGROUND_NS {
                    return Ok(());
                }
            }
            if elapsed > RAMP_NS {
                bail!("only {begun} of {total} streams began within a minute");
            }
        }
    }

    fn line(&mut self) -> Result<usize> {
        let line = Line::open(&self.shared)?;
        let at = self.lines.len();
        epoll::add(&self.epoll, line.link.socket(), EventData::new_u64(at as u64), EventFlags::IN)?;
        self.lines.push(line);
        Ok(at)
    }

    /// Opens the next stream.
    fn open(&mut self) -> Result<()> {
        let id = self.opened;
        let per_line = self.load.per_connection.unwrap_or(1);
        let at = if id.is_multiple_of(per_line) { self.line()? } else { self.lines.len() - 1 };
        self.opened += 1;
        self.begin(at, Downstream::new(id, self.load))
    }

    fn open_probe(&mut self) -> Result<()> {
        let at = self.line()?;
        self.opened += 1;
        let id = self.load.streams + self.load.stuck;
        self.begin(at, Downstream::new(id, self.load))
    }

    fn begin(&mut self, at: usize, stream: Downstream) -> Result<()> {
        self.asked += 1;
        let line = &mut self.lines[at];
        line.streams.push(stream);
        line.ask(line.streams.len() - 1, &self.shared)
    }

    /// Whether the load has an end, and it was reached.
    fn is_done(&self) -> bool {
        let mut streams = self.lines.iter().flat_map(|line| &line.streams);
        self.is_enough() && streams.all(|stream| stream.ended)
    }

    /// Whether no other request shall be sent.
    fn is_enough(&self) -> bool {
        self.load.total.is_some_and(|total| self.asked >= total)
    }

    /// Replaces connection `at` by a new one, and sends the next request on it.
    fn renew(&mut self, at: usize) -> Result<()> {
        // Not left to the drop: what the old one did must not be measured after the new one was opened.
        self.lines[at].link.socket().shutdown(Shutdown::Both).ok();
        let mut streams = mem::take(&mut self.lines[at].streams);
        let fresh = Line::open(&self.shared)?;
        epoll::add(&self.epoll, fresh.link.socket(), EventData::new_u64(at as u64), EventFlags::IN)?;
        // The old one is closed here, and leaves the epoll with that.
        self.lines[at] = fresh;
        for mut stream in streams.drain(..) {
            stream.again(self.load);
            self.begin(at, stream)?;
        }
        Ok(())
    }

    /// Waits for at most `ns`, and takes in what came.
    fn turn(&mut self, ns: u64) -> Result<()> {
        let ns = self.pausing.peek().map_or(ns, |Reverse((when, ..))| ns.min(when.saturating_sub(now())));
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
        while let Some((_, at, stream)) = self.pop_due() {
            self.again(at, stream)?;
        }
        self.probe()?;
        if self.shared.tally.failures() > FAILURES_MAX {
            // The outcome carries the first failure; here only the measuring ends.
            let tally = mem::replace(&mut self.shared.tally, Tally::new());
            bail!("too many failures: {}", serde_json::to_string(&tally.finish(0.0))?);
        }
        Ok(())
    }

    fn receive(&mut self, at: usize) -> Result<()> {
        let line = &mut self.lines[at];
        line.receive(&mut self.shared)?;
        let arrived = now();
        let first = line.streams.first().context("a connection without streams")?;
        let (id, turn, begun) = (first.id, first.turn, first.begun);
        let closes = line.closes() || self.load.renews(id, turn);
        if id >= self.load.streams + self.load.stuck {
            if first.ended && self.probe_at.is_none() {
                self.probe_at = Some(now() + PROBE_PAUSE_NS);
                if line.closes() {
                    // That the gateway closes it too is no failure.
                    epoll::delete(&self.epoll, line.link.socket())?;
                }
            }
            return Ok(());
        }
        if id >= self.load.streams {
            // It has begun; from here on it does not read.
            return if begun { Ok(epoll::delete(&self.epoll, line.link.socket())?) } else { Ok(()) };
        }
        if first.leaves() {
            let id = first.wish.id();
            self.shared.tally.left(id, now());
            return self.renew(at);
        }
        if first.ended && closes && !self.is_enough() {
            return self.renew(at);
        }
        for stream in 0..self.lines[at].streams.len() {
            if !self.lines[at].streams[stream].ended || self.is_enough() {
                continue;
            }
            if self.load.period_ms == 0 {
                self.again(at, stream)?;
                continue;
            }
            // By its own clock, not by the answer's: else answers that came together, and all after a stall of the machine,
            // would be followed by requests that do, for ever.
            let period = self.load.period_ms * 1_000_000;
            let place = &mut self.lines[at].streams[stream];
            place.due_at += (arrived.saturating_sub(place.due_at) / period + 1) * period;
            self.pausing.push(Reverse((place.due_at, at, stream)));
        }
        Ok(())
    }

    /// The next stream whose time to ask again has come.
    fn pop_due(&mut self) -> Option<(u64, usize, usize)> {
        let Reverse((when, ..)) = self.pausing.peek()?;
        if *when > now() {
            return None;
        }
        self.pausing.pop().map(|Reverse(due)| due)
    }

    /// Sends the next request of a stream on the same connection.
    fn again(&mut self, at: usize, stream: usize) -> Result<()> {
        self.asked += 1;
        let line = &mut self.lines[at];
        line.streams[stream].again(self.load);
        line.ask(stream, &self.shared)
    }

    /// Sends the next probe when it is time, and gives up one that takes too long.
    fn probe(&mut self) -> Result<()> {
        if !self.load.probe.is_some() || self.opened <= self.load.streams + self.load.stuck {
            return Ok(());
        }
        let at = self.lines.len() - 1;
        let waits = self.lines[at].streams.first().is_some_and(|probe| {
            !probe.ended && probe.sequence == 0 && now().saturating_sub(probe.sent_at) > PROBE_PATIENCE_NS
        });
        if waits {
            self.shared.tally.late(PROBE_PATIENCE_NS);
            return self.renew(at);
        }
        if self.probe_at.is_none_or(|when| when > now()) {
            return Ok(());
        }
        self.probe_at = None;
        if self.load.probe == Probe::Fresh { self.renew(at) } else { self.again(at, 0) }
    }
}
