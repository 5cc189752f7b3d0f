//! The io_uring driver: a socket on this worker's ring, behind the [`Conn`](crate::reactor::Conn) seam.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use socket2::{Domain, SockRef};
use tokio::io::ReadBuf;

use super::core::{Core, Ring};
use super::entry::{Connecting, Role};
use crate::config::Address;
use crate::reactor::conn::{Idle, Moving, SocketOptions, unconnected};

/// Turns taken to learn what has happened to one socket, when somebody asks right now.
const LOOK_TURNS_MAX: usize = 8;

/// Shared between the connection's owner and whoever waits for its hang-up.
#[derive(Clone, Debug)]
pub(in crate::reactor) struct Socket(Rc<Handle>);

/// Closes what it stands for when the last of its owners is gone.
#[derive(Debug)]
struct Handle {
    ring: Rc<Ring>,
    key: u32,
    /// The entry was taken out of the ring.
    left: std::cell::Cell<bool>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.left.get() {
            self.ring.with(|core| core.close(self.key));
        }
    }
}

/// Counts one future that waits for the hang-up.
struct Watch(Socket);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.with(Core::unwatch);
    }
}

impl Socket {
    /// Takes over a connected socket.
    pub(in crate::reactor) fn new(ring: &Rc<Ring>, fd: OwnedFd) -> Self {
        Self::with_role(ring, fd, Role::Stream)
    }

    pub(super) fn with_role(ring: &Rc<Ring>, fd: OwnedFd, role: Role) -> Self {
        let key = ring.with(|core| core.insert(fd, role));
        Self(Rc::new(Handle { ring: Rc::clone(ring), key, left: false.into() }))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Core, u32) -> T) -> T {
        self.0.ring.with(|core| act(core, self.0.key))
    }

    pub(in crate::reactor) fn leave(self) -> io::Result<Moving> {
        if Rc::strong_count(&self.0) > 1 {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let fd = self.with(Core::leave)?;
        self.0.left.set(true);
        let unix = SockRef::from(&fd).domain()? == Domain::UNIX;
        Ok(if unix { Moving::Unix(fd.into()) } else { Moving::Tcp(fd.into()) })
    }

    pub(in crate::reactor) fn arrive(ring: &Rc<Ring>, moving: Moving) -> Self {
        match moving {
            Moving::Tcp(stream) => Self::new(ring, stream.into()),
            Moving::Unix(stream) => Self::new(ring, stream.into()),
        }
    }

    pub(in crate::reactor) async fn connect(
        ring: &Rc<Ring>,
        address: &Address,
        options: SocketOptions,
    ) -> io::Result<Self> {
        let (socket, address) = unconnected(address, options)?;
        let connecting = Connecting { address, result: None, waker: None };
        let socket = Self::with_role(ring, socket.into(), Role::Connecting(Box::new(connecting)));
        socket.with(Core::begin_connect);
        poll_fn(|cx| socket.with(|core, key| core.poll_connect(key, cx))).await?;
        Ok(socket)
    }

    pub(in crate::reactor) fn urgent(&self, urgent: bool) {
        self.with(|core, key| core.urgent(key, urgent));
    }

    /// Does something with the socket that is no input or output.
    pub(in crate::reactor) fn with_fd<T>(&self, act: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        self.with(|core, key| act(core.entry(key).fd.as_fd()))
    }

    pub(in crate::reactor) fn urgency(&self) -> impl Fn(bool) + use<> {
        let socket = Rc::downgrade(&self.0);
        move |urgent| {
            if let Some(socket) = socket.upgrade() {
                Self(socket).urgent(urgent);
            }
        }
    }

    pub(in crate::reactor) fn hangup(&self) -> impl Future<Output = ()> + use<> {
        self.with(Core::watch);
        let watch = Watch(self.clone());
        async move { poll_fn(|cx| watch.0.with(|core, key| core.poll_hangup(key, cx))).await }
    }

    pub(in crate::reactor) fn look(&self) -> Idle {
        self.catch_up();
        self.with(Core::look)
    }

    /// Learns what has come in since the last turn, if anything has on any socket: an armed receive knows no
    /// more than the last turn told it.
    fn catch_up(&self) {
        for _ in 0..LOOK_TURNS_MAX {
            let behind = self.with(|core, key| core.is_receiving(key) && core.has_work());
            if !behind {
                return;
            }
            self.0.ring.with(Core::turn);
        }
    }

    pub(in crate::reactor) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|core, key| core.poll_read(key, cx, buf))
    }

    pub(in crate::reactor) fn poll_write_vectored(
        &self,
        cx: &Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|core, key| core.poll_write(key, cx, bufs))
    }

    pub(in crate::reactor) fn flush(&self) -> io::Result<()> {
        self.with(Core::flush)
    }

    pub(in crate::reactor) fn lost(&self) -> usize {
        self.with(Core::lost)
    }

    pub(in crate::reactor) fn poll_shutdown(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.with(|core, key| core.poll_shutdown(key, cx))
    }
}

/// A listening socket on this worker's ring.
#[derive(Debug)]
pub(in crate::reactor) struct Listener(Socket);

impl Listener {
    /// Takes over a socket that listens and does not block.
    pub(in crate::reactor) fn new(ring: &Rc<Ring>, fd: OwnedFd) -> Self {
        Self(Socket::with_role(ring, fd, Role::Listening(Box::default())))
    }

    /// The next connection, and who connected if that has an address.
    pub(in crate::reactor) fn poll_accept(
        &self,
        cx: &Context<'_>,
    ) -> Poll<io::Result<(Socket, Option<SocketAddr>)>> {
        let accepted = ready!(self.0.with(|core, key| core.poll_accept(key, cx)));
        Poll::Ready(accepted.map(|(fd, peer)| (Socket::new(&self.0.0.ring, fd), peer)))
    }
}
