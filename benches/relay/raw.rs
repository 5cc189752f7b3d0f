//! The least that a relay can do: bytes from one socket to the other over epoll, in one thread, as they come. It reads no
//! HTTP, checks nothing and counts nothing, so what it costs is what the kernel costs: the floor under all peers.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, Socket, Type};

const WATCHED: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);

/// Events that one wait takes.
const EVENTS: usize = 512;

/// Accepts on `listen` and relays to `to` until it is killed.
pub(crate) fn run(listen: SocketAddr, to: SocketAddr) -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&listen.into())?;
    socket.listen(4096)?;
    let listener = TcpListener::from(socket);
    let mut relay = Relay {
        epoll: epoll::create(CreateFlags::CLOEXEC)?,
        ends: HashMap::new(),
        buffer: vec![0; 64 * 1024],
        to,
    };
    epoll::add(&relay.epoll, &listener, data(listener.as_raw_fd()), EventFlags::IN)?;
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        epoll::wait(&relay.epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            let fd = RawFd::try_from(event.data.u64())?;
            if fd == listener.as_raw_fd() {
                relay.accept(&listener)?;
            } else if relay.pass_on(fd).is_err() {
                relay.close(fd);
            }
        }
    }
}

struct Relay {
    epoll: OwnedFd,
    /// Each socket, and the one that its bytes go to.
    ends: HashMap<RawFd, (TcpStream, RawFd)>,
    buffer: Vec<u8>,
    to: SocketAddr,
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        while let Ok((client, _)) = listener.accept() {
            let upstream = TcpStream::connect(self.to)?;
            let (down, up) = (client.as_raw_fd(), upstream.as_raw_fd());
            for (stream, other) in [(client, up), (upstream, down)] {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                epoll::add(&self.epoll, &stream, data(stream.as_raw_fd()), WATCHED)?;
                self.ends.insert(stream.as_raw_fd(), (stream, other));
            }
        }
        Ok(())
    }

    /// What has come on `fd`. An error is the end of both.
    fn pass_on(&mut self, fd: RawFd) -> io::Result<()> {
        let Some((from, other)) = self.ends.get(&fd) else { return Ok(()) };
        let Some((to, _)) = self.ends.get(other) else { return Ok(()) };
        loop {
            let (mut from, mut to) = (from, to);
            let read = match from.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let mut left = &self.buffer[..read];
            while !left.is_empty() {
                match to.write(left) {
                    Ok(written) => left = &left[written..],
                    // Backpressure in its simplest form: everybody waits.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        poll(&mut [PollFd::new(to, PollFlags::OUT)], None)?;
                    }
                    Err(error) => return Err(error),
                }
            }
            // Less than there was room for: what comes next is a new event.
            if read < self.buffer.len() {
                return Ok(());
            }
        }
    }

    fn close(&mut self, fd: RawFd) {
        if let Some((_, other)) = self.ends.remove(&fd) {
            self.ends.remove(&other);
        }
    }
}

fn data(fd: RawFd) -> EventData {
    EventData::new_u64(u64::try_from(fd).unwrap_or(u64::MAX))
}
