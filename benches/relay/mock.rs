//! The upstream: one thread, one epoll, no allocation per event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use slab::Slab;
use socket2::{Domain, Socket, Type};

use crate::answer::Next;
use crate::certificates::Certificates;
use crate::link::Link;
use crate::talk::Talk;
use crate::wire::{Event, now};

/// Shortest sleep between two turns: bounds the turns to 10,000 a second. Events carry the time at which they
/// are really sent, so this does not enter any latency.
const TURN_NS: u64 = 100_000;

/// Writes of one flooding connection in one turn, so that all of them get on.
const FLOOD_WRITES: usize = 4;

const LISTENER: u64 = u64::MAX;
const STDIN: u64 = u64::MAX - 1;

/// What the mock saw, told when it is asked.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Connections that are open.
    pub(crate) connections: usize,
    /// Answers that were given up before their end: id, and when that was seen.
    pub(crate) abandoned: Vec<(u64, u64)>,
}

/// A connection from a gateway (or from the client itself in a direct run).
struct Peer {
    link: Link,
    talk: Talk,
    /// Distinguishes connections that use the same slot one after another.
    birth: u64,
    wants_write: bool,
    /// The moment for which it is in `due`; another entry of its is outdated.
    armed: Option<u64>,
}

struct Mock {
    epoll: OwnedFd,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    peers: Slab<Peer>,
    /// (due, slot, birth)
    due: BinaryHeap<Reverse<(u64, usize, u64)>>,
    births: u64,
    event: Event,
    buffer: Vec<u8>,
    abandoned: Vec<(u64, u64)>,
}

/// Serves until it is killed, over TLS if there are certificates. The first line on standard output is its
/// address; each line on standard input is answered by what was [`Seen`].
pub(crate) fn run(certificates: Option<&Path>) -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    epoll::add(&epoll, io::stdin(), EventData::new_u64(STDIN), EventFlags::IN)?;
    let mut mock = Mock {
        epoll,
        listener,
        tls: certificates.map(|folder| Certificates::in_folder(folder).server()).transpose()?,
        peers: Slab::new(),
        due: BinaryHeap::new(),
        births: 0,
        event: Event::new(),
        buffer: vec![0; 64 * 1024],
        abandoned: Vec::new(),
    };
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        let timeout = mock.due.peek().map(|Reverse((due, ..))| due.saturating_sub(now()).max(TURN_NS));
        let timeout = timeout.map(|ns| Timespec {
            tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(0),
            tv_nsec: i64::try_from(ns % 1_000_000_000).unwrap_or(0),
        });
        match epoll::wait(&mock.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let (data, flags) = (event.data, event.flags);
            match data.u64() {
                LISTENER => mock.accept(),
                STDIN => mock.tell()?,
                slot => mock.ready(usize::try_from(slot)?, flags),
            }
        }
        mock.send_due();
    }
}

impl Mock {
    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            if self.admit(socket).is_err() {
                // It is closed; whoever wanted it will say so.
            }
        }
    }

    fn admit(&mut self, socket: TcpStream) -> Result<()> {
        let link = Link::accepted(socket, self.tls.as_ref())?;
        self.births += 1;
        let entry = self.peers.vacant_entry();
        let data = EventData::new_u64(entry.key() as u64);
        epoll::add(&self.epoll, link.socket(), data, EventFlags::IN)?;
        entry.insert(Peer { link, talk: Talk::new(), birth: self.births, wants_write: false, armed: None });
        Ok(())
    }

    /// Answers a line by what was seen since the last one.
    fn tell(&mut self) -> Result<()> {
        if io::stdin().read_line(&mut String::new())? == 0 {
            return Ok(epoll::delete(&self.epoll, io::stdin())?);
        }
        let seen = Seen { connections: self.peers.len(), abandoned: self.abandoned.drain(..).collect() };
        Ok(writeln!(io::stdout(), "{}", serde_json::to_string(&seen)?)?)
    }

    fn ready(&mut self, slot: usize, flags: EventFlags) {
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            loop {
                let Some(peer) = self.peers.get_mut(slot) else {
                    return;
                };
                match peer.link.read(&mut self.buffer) {
                    Ok(read) if read > 0 => {
                        if !peer.talk.receive(&self.buffer[..read]) {
                            return self.close(slot);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    _ => return self.close(slot),
                }
                if !peer.link.hides_bytes() {
                    break;
                }
            }
        }
        self.note_abandoned(slot);
        self.advance(slot);
    }

    fn note_abandoned(&mut self, slot: usize) {
        let at = now();
        if let Some(peer) = self.peers.get_mut(slot) {
            self.abandoned.extend(peer.talk.abandoned().map(|id| (id, at)));
        }
    }

    fn send_due(&mut self) {
        let turn = now();
        while let Some(&Reverse((due, slot, birth))) = self.due.peek()
            && due <= turn
        {
            self.due.pop();
            let peer = self.peers.get_mut(slot).filter(|peer| peer.birth == birth && peer.armed == Some(due));
            if let Some(peer) = peer {
                peer.armed = None;
                self.advance(slot);
            }
        }
    }

    /// Writes what is due on one connection and notes what comes next.
    fn advance(&mut self, slot: usize) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        let mut writes = 0;
        let wants_write = loop {
            let next = peer.talk.produce(&self.event, now());
            if peer.link.flush(peer.talk.output()).is_err() {
                return self.close(slot);
            }
            writes += 1;
            if !peer.talk.output().is_empty() || peer.link.holds_bytes() {
                // A full socket: go on where it was when there is room again.
                break true;
            }
            match next {
                Next::More if writes < FLOOD_WRITES => {}
                Next::More => break true,
                Next::At(due) => {
                    if peer.armed.is_none_or(|armed| due < armed) {
                        peer.armed = Some(due);
                        self.due.push(Reverse((due, slot, peer.birth)));
                    }
                    break false;
                }
                Next::Complete | Next::Never => break false,
            }
        };
        if wants_write != peer.wants_write {
            peer.wants_write = wants_write;
            let flags = if wants_write { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            let data = EventData::new_u64(slot as u64);
            if epoll::modify(&self.epoll, peer.link.socket(), data, flags).is_err() {
                self.close(slot);
            }
        }
    }

    fn close(&mut self, slot: usize) {
        let at = now();
        // Closing the descriptor takes it out of the epoll.
        if let Some(mut peer) = self.peers.try_remove(slot) {
            self.abandoned.extend(peer.talk.abandoned().chain(peer.talk.open()).map(|id| (id, at)));
        }
    }
}
