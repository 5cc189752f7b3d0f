//! The epoll driver: a socket of this worker's instance, behind the [`Conn`](crate::reactor::Conn) seam.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use socket2::{Domain, SockRef};

use super::entry::{Entry, Ready, renew};
use super::outgoing::Sent;
use super::poller::Poller;
use crate::config::Address;
use crate::reactor::conn::{Idle, Moving, SocketOptions, unconnected};
use crate::reactor::lookout::Watched;

/// One handle of a socket, which is closed when the last of them is gone: the connection's owner has one, and
/// whoever waits for its hang-up.
#[derive(Debug)]
pub(in crate::reactor) struct Socket {
    pub(super) poller: Rc<Poller>,
    pub(super) key: u32,
    /// The entry was taken out of the instance.
    left: bool,
}

impl Clone for Socket {
    fn clone(&self) -> Self {
        self.with(|entry| entry.handles = entry.handles.checked_add(1).expect("a handful of handles"));
        Self { poller: Rc::clone(&self.poller), key: self.key, left: false }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if !self.left {
            self.poller.release(self.key);
        }
    }
}

/// Counts one future that waits for the hang-up.
struct Watch(Socket);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.poller.unwatch(self.0.key);
    }
}

impl Socket {
    /// Takes over a connected socket. It is taken to be ready for everything: the first to find otherwise takes
    /// that back, and the others need not wait for a turn.
    pub(in crate::reactor) fn new(poller: &Rc<Poller>, fd: OwnedFd) -> io::Result<Self> {
        let watched = Watched::new(&fd);
        Self::add(poller, fd, watched, Ready::READABLE.with(Ready::WRITABLE))
    }

    pub(super) fn add(poller: &Rc<Poller>, fd: OwnedFd, watched: Watched, ready: Ready) -> io::Result<Self> {
        let key = poller.insert(fd, watched, ready)?;
        Ok(Self { poller: Rc::clone(poller), key, left: false })
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Entry) -> T) -> T {
        act(self.poller.core().entry(self.key))
    }

    pub(in crate::reactor) fn leave(mut self) -> io::Result<Moving> {
        let (fd, watched) = self.poller.take(self.key)?;
        self.left = true;
        watched.leave(&fd);
        let unix = SockRef::from(&fd).domain()? == Domain::UNIX;
        Ok(if unix { Moving::Unix(fd.into()) } else { Moving::Tcp(fd.into()) })
    }

    pub(in crate::reactor) fn arrive(poller: &Rc<Poller>, moving: Moving) -> io::Result<Self> {
        match moving {
            Moving::Tcp(stream) => Self::new(poller, stream.into()),
            Moving::Unix(stream) => Self::new(poller, stream.into()),
        }
    }

    pub(in crate::reactor) async fn connect(
        poller: &Rc<Poller>,
        address: &Address,
        options: SocketOptions,
    ) -> io::Result<Self> {
        let (socket, address) = unconnected(address, options)?;
        let watched = Watched::connecting(&socket);
        let under_way = match socket.connect(&address) {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => true,
            Err(error) => return Err(error),
        };
        // Added only now: a socket that does not even connect counts as hung up. Writable is what says that it
        // stands, or has failed.
        let ready = if under_way { Ready::NONE } else { Ready::WRITABLE };
        let socket = Self::add(poller, socket.into(), watched, ready)?;
        poll_fn(|cx| socket.poll_writable(cx)).await?;
        socket.with(|entry| {
            socket_error(&entry.fd)??;
            entry.watched.connected(&entry.fd);
            Ok::<(), Errno>(())
        })?;
        Ok(socket)
    }

    fn poll_writable(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.with(|entry| entry.ready.is(Ready::WRITABLE)) {
            return Poll::Ready(Ok(()));
        }
        self.poller.alive()?;
        let replaced = self.with(|entry| renew(&mut entry.writer, cx));
        drop(replaced);
        Poll::Pending
    }

    pub(in crate::reactor) fn urgent(&self, urgent: bool) {
        self.with(|entry| entry.watched.urgent(&entry.fd, urgent));
    }

    /// Does something with the socket that is no input or output.
    pub(in crate::reactor) fn with_fd<T>(&self, act: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        self.with(|entry| act(entry.fd.as_fd()))
    }

    /// By name, so that it holds nothing.
    pub(in crate::reactor) fn urgency(&self) -> impl Fn(bool) + use<> {
        let (poller, key, serial) = (Rc::downgrade(&self.poller), self.key, self.with(|entry| entry.serial));
        move |urgent| {
            let Some(poller) = poller.upgrade() else { return };
            let core = poller.core();
            if let Some(entry) = core.entries.get(key as usize).filter(|entry| entry.serial == serial) {
                entry.watched.urgent(&entry.fd, urgent);
            }
        }
    }

    pub(in crate::reactor) fn hangup(&self) -> impl Future<Output = ()> + use<> {
        let watch = Watch(self.clone());
        self.with(|entry| entry.watchers = entry.watchers.saturating_add(1));
        async move { poll_fn(|cx| watch.0.poller.poll_hangup(watch.0.key, cx)).await }
    }

    /// Asks the kernel: what has come since the last turn is not marked yet.
    pub(in crate::reactor) fn look(&self) -> Idle {
        let mut byte = [0_u8; 1];
        match self.with(|entry| recv(&entry.fd, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT)) {
            Ok((0, _)) => Idle::Closed,
            Ok(_) => Idle::Data,
            Err(Errno::AGAIN | Errno::INTR) => Idle::Quiet,
            Err(_) => Idle::Closed,
        }
    }

    /// See [`Conn::batch_writes`](crate::reactor::Conn::batch_writes).
    pub(in crate::reactor) fn batch_writes(&self, batched: bool) {
        let mut core = self.poller.core();
        let ready = &mut core.entry(self.key).ready;
        if batched {
            ready.add(Ready::BATCHED);
        } else {
            ready.remove(Ready::BATCHED);
            if ready.is(Ready::QUEUED) {
                core.flush();
            }
        }
    }

    /// See [`Conn::lost`](crate::reactor::Conn::lost).
    pub(in crate::reactor) fn lost(&self) -> usize {
        self.poller.core().outgoing.lost(self.key)
    }

    /// What was taken and has failed since.
    pub(in crate::reactor) fn flush(&self) -> io::Result<()> {
        let core = self.poller.core();
        if !core.entries[self.key as usize].ready.is(Ready::LEFT) {
            return Ok(());
        }
        core.outgoing.failure(self.key).map_or(Ok(()), |errno| Err(errno.into()))
    }

    pub(in crate::reactor) fn poll_shutdown(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut core = self.poller.core();
        if core.flush_before(self.key)? == Sent::Some {
            let replaced = renew(&mut core.entry(self.key).writer, cx);
            drop(core);
            drop(replaced);
            self.poller.alive()?;
            return Poll::Pending;
        }
        Poll::Ready(match shutdown(&core.entry(self.key).fd, Shutdown::Write) {
            // The peer was faster.
            Err(Errno::NOTCONN) => Ok(()),
            other => other.map_err(io::Error::from),
        })
    }
}
