//! The seam between bytes and everything above: one connected stream socket, whichever driver moves its bytes.

use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::{epoll, uring};
use crate::config::Address;

/// A connected TCP or Unix stream socket, owned by one worker.
#[derive(Debug)]
pub struct Conn {
    /// Bytes read to find out the protocol, given back; handed to the next reader first.
    unread: Bytes,
    driver: Driver,
}

#[derive(Debug)]
enum Driver {
    Epoll(epoll::Socket),
    /// Where this worker has a ring.
    Uring(uring::Socket),
}

/// A connection between two workers: of neither's event loop.
#[derive(Debug)]
pub enum Moving {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// Unix domain socket.
    Unix(StdUnixStream),
}

/// Kernel settings of a socket. `TCP_NODELAY` is always on and not listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketOptions {
    /// `SO_RCVBUF` in bytes; the kernel doubles it. `None` leaves the kernel's own tuning on.
    pub receive_buffer_bytes: Option<usize>,
}

/// What an unused connection looks like from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Open, with nothing to read.
    Quiet,
    /// Open, with bytes that nobody asked for.
    Data,
    /// The peer has closed or reset it.
    Closed,
}

impl Conn {
    /// Takes over an accepted TCP socket.
    ///
    /// # Errors
    /// When the socket can't be configured.
    pub fn from_tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.into_std().and_then(|stream| Self::arrive(Moving::Tcp(stream)))
    }

    /// Takes over an accepted Unix socket.
    ///
    /// # Errors
    /// When the event loop can't let go of it.
    pub fn from_unix(stream: UnixStream) -> io::Result<Self> {
        stream.into_std().and_then(|stream| Self::arrive(Moving::Unix(stream)))
    }

    /// Takes the connection off this worker, to be given to another.
    ///
    /// # Errors
    /// When the event loop can't let go of it, or somebody still waits for its hang-up.
    pub fn leave(self) -> io::Result<Moving> {
        debug_assert!(self.unread.is_empty(), "nothing has been read of a connection that moves");
        match self.driver {
            Driver::Epoll(socket) => socket.leave(),
            Driver::Uring(socket) => socket.leave(),
        }
    }

    /// Takes over a connection that another worker accepted.
    ///
    /// # Errors
    /// When the socket can't be registered.
    pub fn arrive(moving: Moving) -> io::Result<Self> {
        match uring::current() {
            Some(ring) => Ok(Self::on_ring(uring::Socket::arrive(&ring, moving))),
            None => epoll::Socket::arrive(&epoll::Poller::current()?, moving).map(Self::on_epoll),
        }
    }

    /// Connects. Without a deadline of its own: the caller has one.
    ///
    /// # Errors
    /// What `connect` says.
    ///
    /// # Cancel safety
    /// Dropping the future closes the half-open socket.
    pub async fn connect(address: &Address, options: SocketOptions) -> io::Result<Self> {
        if let Some(ring) = uring::current() {
            return uring::Socket::connect(&ring, address, options).await.map(Self::on_ring);
        }
        let poller = epoll::Poller::current()?;
        epoll::Socket::connect(&poller, address, options).await.map(Self::on_epoll)
    }

    /// A socket of this worker's ring.
    pub(super) fn on_ring(socket: uring::Socket) -> Self {
        Self { unread: Bytes::new(), driver: Driver::Uring(socket) }
    }

    /// A socket of this worker's epoll instance.
    pub(super) fn on_epoll(socket: epoll::Socket) -> Self {
        Self { unread: Bytes::new(), driver: Driver::Epoll(socket) }
    }

    /// Gives bytes back: the next read returns them before anything from the socket.
    pub fn unread(&mut self, bytes: Bytes) {
        debug_assert!(self.unread.is_empty(), "only one reader gives back, and only once");
        self.unread = bytes;
    }

    /// Ends when the peer has closed its sending side or reset the connection, whether or not anybody reads,
    /// and whether or not unread bytes lie before the end. Holds no borrow of the connection.
    pub fn hangup(&self) -> impl Future<Output = ()> + use<> {
        let (epoll, uring) = match &self.driver {
            Driver::Epoll(socket) => (Some(socket.hangup()), None),
            Driver::Uring(socket) => (None, Some(socket.hangup())),
        };
        async move {
            if let Some(hangup) = epoll {
                hangup.await;
            }
            if let Some(hangup) = uring {
                hangup.await;
            }
        }
    }

    /// Whether it is known that reading would be in vain; the task is woken then when it no longer is, as if it had tried.
    /// Over io_uring that is not known.
    pub fn rests(&self, cx: &Context<'_>) -> bool {
        match &self.driver {
            Driver::Epoll(socket) => self.unread.is_empty() && socket.rests(cx),
            Driver::Uring(_) => false,
        }
    }

    /// Whether what comes here ends a rest of the worker, as it does from the beginning; otherwise it waits for
    /// the rest to be over. To be taken back where chunks of a running stream come, which a rest shall gather,
    /// and given again where the next answer is waited for. Costs nothing where it changes nothing.
    pub fn urgent(&self, urgent: bool) {
        match &self.driver {
            Driver::Epoll(socket) => socket.urgent(urgent),
            Driver::Uring(socket) => socket.urgent(urgent),
        }
    }

    /// [`Conn::urgent`] for whoever has given the connection away. Does not keep the socket open.
    pub fn urgency(&self) -> Box<dyn Fn(bool)> {
        match &self.driver {
            Driver::Epoll(socket) => Box::new(socket.urgency()),
            Driver::Uring(socket) => Box::new(socket.urgency()),
        }
    }

    /// Whether small writes may wait until all tasks that are ready have had their turn, to go to the kernel one after the
    /// other: for the chunks of a running stream, for whole answers and what asks for them, never for a first token.
    /// Taking it back sends what waits. Over io_uring all writes do.
    pub fn batch_writes(&self, batched: bool) {
        match &self.driver {
            Driver::Epoll(socket) => socket.batch_writes(batched),
            Driver::Uring(_) => {}
        }
    }

    /// Bytes that writes have taken before the socket failed, and that have never left: the last ones. 0 while it is not known
    /// whether it has.
    pub fn lost(&self) -> usize {
        match &self.driver {
            Driver::Epoll(socket) => socket.lost(),
            Driver::Uring(socket) => socket.lost(),
        }
    }

    /// From now on what comes here is acknowledged with the second segment, or after some 40 ms, instead of with
    /// each read. Until that time is over once: then the kernel acknowledges at once again, and says so to
    /// [`delays_acks`](Self::delays_acks). One system call.
    ///
    /// A peer that waits for acknowledgements before it sends more (Nagle's algorithm) is late by these 40 ms, once.
    ///
    /// # Errors
    /// Where it is no TCP socket.
    pub fn delay_acks(&self) -> io::Result<()> {
        self.driver.with_fd(|fd| Ok(sockopt::set_tcp_quickack(fd, false)?))
    }

    /// Whether it still does. One system call.
    ///
    /// # Errors
    /// Where it is no TCP socket.
    pub fn delays_acks(&self) -> io::Result<bool> {
        self.driver.with_fd(|fd| Ok(!sockopt::tcp_quickack(fd)?))
    }

    /// Looks at an unused connection without reading from it.
    pub fn look(&self) -> Idle {
        if !self.unread.is_empty() {
            return Idle::Data;
        }
        self.driver.look()
    }
}

/// A socket that does not block and is to connect to `address`, and the form in which the kernel takes that.
pub(super) fn unconnected(address: &Address, options: SocketOptions) -> io::Result<(Socket, SockAddr)> {
    match address {
        Address::Tcp(address) => {
            let socket =
                Socket::new(Domain::for_address(*address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
            if let Some(bytes) = options.receive_buffer_bytes {
                socket.set_recv_buffer_size(bytes)?;
            }
            socket.set_tcp_nodelay(true)?;
            Ok((socket, SockAddr::from(*address)))
        }
        Address::Unix(path) => {
            Ok((Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?, SockAddr::unix(path)?))
        }
    }
}

impl Driver {
    fn with_fd<T>(&self, act: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        match self {
            Self::Epoll(socket) => socket.with_fd(act),
            Self::Uring(socket) => socket.with_fd(act),
        }
    }

    fn look(&self) -> Idle {
        match self {
            Self::Epoll(socket) => socket.look(),
            Self::Uring(socket) => socket.look(),
        }
    }
}

impl AsyncRead for Conn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let len = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread[..len]);
            self.unread.advance(len);
            if self.unread.is_empty() {
                // An empty rest would keep the whole buffer for as long as the connection lives.
                self.unread = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        match &self.driver {
            Driver::Epoll(socket) => socket.poll_read(cx, buf),
            Driver::Uring(socket) => socket.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &self.driver {
            Driver::Epoll(socket) => socket.poll_write(cx, buf),
            Driver::Uring(socket) => socket.poll_write_vectored(cx, &[io::IoSlice::new(buf)]),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &self.driver {
            Driver::Epoll(socket) => socket.poll_write_vectored(cx, bufs),
            Driver::Uring(socket) => socket.poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match &self.driver {
            Driver::Epoll(socket) => socket.flush(),
            Driver::Uring(socket) => socket.flush(),
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.driver {
            Driver::Epoll(socket) => socket.poll_shutdown(cx),
            Driver::Uring(socket) => socket.poll_shutdown(cx),
        }
    }
}
