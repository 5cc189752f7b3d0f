//! The upstream: one thread, one epoll, no allocation per event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use slab::Slab;
use socket2::{Domain, Socket, Type};

use crate::exchange::{Exchange, Next};
use crate::wire::{Event, now};

/// Shortest sleep between two turns: bounds the turns to 10,000 a second. Events carry the time at which they
/// are really sent, so this does not enter any latency.
const TURN_NS: u64 = 100_000;

/// Writes of one flooding stream in one turn, so that all of them get on.
const FLOOD_WRITES: usize = 4;

const LISTENER: u64 = u64::MAX;

/// A connection from a gateway (or from the client itself in a direct run).
struct Peer {
    stream: TcpStream,
    exchange: Exchange,
    /// Distinguishes connections that use the same slot one after another.
    birth: u64,
    wants_write: bool,
}

struct Mock {
    epoll: OwnedFd,
    listener: TcpListener,
    peers: Slab<Peer>,
    /// (due, slot, birth)
    due: BinaryHeap<Reverse<(u64, usize, u64)>>,
    births: u64,
    event: Event,
    buffer: Vec<u8>,
}

/// Serves until it is killed. The first line on standard output is its address.
pub(crate) fn run() -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut mock = Mock {
        epoll,
        listener,
        peers: Slab::new(),
        due: BinaryHeap::new(),
        births: 0,
        event: Event::new(),
        buffer: vec![0; 64 * 1024],
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
            if data.u64() == LISTENER {
                mock.accept();
            } else if let Ok(slot) = usize::try_from(data.u64()) {
                mock.ready(slot, flags);
            }
        }
        mock.send_due();
    }
}

impl Mock {
    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_err() || stream.set_nodelay(true).is_err() {
                continue;
            }
            self.births += 1;
            let entry = self.peers.vacant_entry();
            let data = EventData::new_u64(entry.key() as u64);
            if epoll::add(&self.epoll, &stream, data, EventFlags::IN).is_ok() {
                entry.insert(Peer {
                    stream,
                    exchange: Exchange::default(),
                    birth: self.births,
                    wants_write: false,
                });
            }
        }
    }

    fn ready(&mut self, slot: usize, flags: EventFlags) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            match (&peer.stream).read(&mut self.buffer) {
                Ok(read) if read > 0 => {
                    if !peer.exchange.receive(&self.buffer[..read]) {
                        return self.close(slot);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return self.close(slot),
            }
        }
        self.advance(slot);
    }

    fn send_due(&mut self) {
        let turn = now();
        while let Some(&Reverse((due, slot, birth))) = self.due.peek()
            && due <= turn
        {
            self.due.pop();
            if self.peers.get(slot).is_some_and(|peer| peer.birth == birth) {
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
            let next = peer.exchange.produce(&self.event, now());
            if !flush(&peer.stream, &mut peer.exchange.output) {
                return self.close(slot);
            }
            writes += 1;
            if !peer.exchange.output.is_empty() {
                // A full socket: go on where it was when there is room again.
                break true;
            }
            match next {
                Next::More if writes < FLOOD_WRITES => {}
                Next::More => break true,
                Next::At(due) => {
                    self.due.push(Reverse((due, slot, peer.birth)));
                    break false;
                }
                Next::Nothing => break false,
            }
        };
        if wants_write != peer.wants_write {
            peer.wants_write = wants_write;
            let flags = if wants_write { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            if epoll::modify(&self.epoll, &peer.stream, EventData::new_u64(slot as u64), flags).is_err() {
                self.close(slot);
            }
        }
    }

    fn close(&mut self, slot: usize) {
        // Closing the descriptor takes it out of the epoll.
        self.peers.try_remove(slot);
    }
}

/// Writes as much of `output` as the socket takes; `false` if it is broken.
fn flush(mut stream: &TcpStream, output: &mut Vec<u8>) -> bool {
    while !output.is_empty() {
        match stream.write(output) {
            Ok(written) if written == output.len() => output.clear(),
            Ok(written) => drop(output.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
    }
    true
}
