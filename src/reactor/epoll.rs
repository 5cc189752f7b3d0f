//! The epoll driver: tokio's sockets behind the [`Conn`](super::Conn) seam.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use tokio::io::{Interest, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixSocket, UnixStream};

use super::conn::{Idle, Moving, SocketOptions};
use super::lookout::Watched;
use crate::config::Address;

/// Shared between the connection's owner and whoever waits for its hang-up.
#[derive(Clone, Debug)]
pub(super) struct Socket(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: Stream,
    watched: Watched,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The same method on either kind of socket.
macro_rules! either {
    ($self:expr, $stream:ident => $body:expr) => {
        match &$self.0.stream {
            Stream::Tcp($stream) => $body,
            Stream::Unix($stream) => $body,
        }
    };
}

impl Socket {
    pub(super) fn from_tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let watched = Watched::new(&stream);
        Ok(Self::new(Stream::Tcp(stream), watched))
    }

    pub(super) fn from_unix(stream: UnixStream) -> Self {
        let watched = Watched::new(&stream);
        Self::new(Stream::Unix(stream), watched)
    }

    fn new(stream: Stream, watched: Watched) -> Self {
        Self(Rc::new(Shared { stream, watched }))
    }

    pub(super) fn leave(self) -> io::Result<Moving> {
        let Shared { stream, watched } = Rc::into_inner(self.0).ok_or(io::ErrorKind::ResourceBusy)?;
        match stream {
            Stream::Tcp(stream) => {
                watched.leave(&stream);
                stream.into_std().map(Moving::Tcp)
            }
            Stream::Unix(stream) => {
                watched.leave(&stream);
                stream.into_std().map(Moving::Unix)
            }
        }
    }

    pub(super) fn arrive(moving: Moving) -> io::Result<Self> {
        match moving {
            Moving::Tcp(stream) => Self::from_tcp(TcpStream::from_std(stream)?),
            Moving::Unix(stream) => UnixStream::from_std(stream).map(Self::from_unix),
        }
    }

    pub(super) async fn connect(address: &Address, options: SocketOptions) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => {
                let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                if let Some(bytes) = options.receive_buffer_bytes {
                    socket.set_recv_buffer_size(u32::try_from(bytes).unwrap_or(u32::MAX))?;
                }
                let watched = Watched::connecting(&socket);
                let stream = socket.connect(*address).await?;
                watched.connected(&stream);
                stream.set_nodelay(true)?;
                Ok(Self::new(Stream::Tcp(stream), watched))
            }
            Address::Unix(path) => {
                let socket = UnixSocket::new_stream()?;
                let watched = Watched::connecting(&socket);
                let stream = socket.connect(path).await?;
                watched.connected(&stream);
                Ok(Self::new(Stream::Unix(stream), watched))
            }
        }
    }

    pub(super) fn urgent(&self, urgent: bool) {
        self.0.watched.urgent(self.as_fd(), urgent);
    }

    pub(super) fn urgency(&self) -> impl Fn(bool) + use<> {
        let socket = Rc::downgrade(&self.0);
        move |urgent| {
            if let Some(socket) = socket.upgrade() {
                Self(socket).urgent(urgent);
            }
        }
    }

    pub(super) fn hangup(&self) -> impl Future<Output = ()> + use<> {
        let socket = self.clone();
        async move {
            // Tokio's 'priority' mask is urgent data or 'read closed', and a stream socket is registered for
            // the latter. 'Readable' would end at once whenever stray bytes lie in the socket, which is just
            // the case that hyper can't see past.
            either!(socket, stream => while let Ok(ready) = stream.ready(Interest::PRIORITY).await {
                if ready.is_read_closed() {
                    return;
                }
                // Urgent data, which no HTTP client sends: look again when the event loop comes round.
                tokio::task::yield_now().await;
            });
        }
    }

    pub(super) fn look(&self) -> Idle {
        let mut byte = [0_u8; 1];
        match recv(self.as_fd(), &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((0, _)) => Idle::Closed,
            Ok(_) => Idle::Data,
            Err(error) if error == Errno::AGAIN || error == Errno::INTR => Idle::Quiet,
            Err(_) => Idle::Closed,
        }
    }

    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        loop {
            ready!(either!(self, stream => stream.poll_read_ready(cx)))?;
            match either!(self, stream => stream.try_read_buf(buf)) {
                Ok(read) => {
                    if read > 0 && read < room {
                        self.drained(Interest::READABLE);
                    }
                    if read > 0 {
                        self.0.watched.read(self.as_fd());
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, buf.len(), |socket| either!(socket, stream => stream.try_write(buf)))
    }

    pub(super) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        self.poll_write_with(cx, len, |socket| either!(socket, stream => stream.try_write_vectored(bufs)))
    }

    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        len: usize,
        write: impl Fn(&Self) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(self, stream => stream.poll_write_ready(cx)))?;
            match write(self) {
                Ok(written) => {
                    if written > 0 && written < len {
                        self.drained(Interest::WRITABLE);
                    }
                    return Poll::Ready(Ok(written));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Notes that the kernel's buffer is empty (or full) without asking it again: a transfer shorter than the
    /// room for it says so, epoll is edge-triggered here, and what changes after it is a new edge. Saves the
    /// call that would only return `EAGAIN`, one per chunk.
    fn drained(&self, interest: Interest) {
        let blocked: io::Result<()> =
            either!(self, stream => stream.try_io(interest, || Err(io::ErrorKind::WouldBlock.into())));
        debug_assert!(blocked.is_err(), "the closure only fails");
    }

    pub(super) fn shutdown(&self) -> io::Result<()> {
        match shutdown(self.as_fd(), Shutdown::Write) {
            // The peer was faster.
            Err(error) if error == Errno::NOTCONN => Ok(()),
            other => other.map_err(io::Error::from),
        }
    }

    pub(super) fn with_fd<T>(&self, act: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        act(self.as_fd())
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self, stream => stream.as_fd())
    }
}
