//! Listening sockets: one `SO_REUSEPORT` socket per worker and address, bound before the first worker starts,
//! so that an address that can't be had is an error at start.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Conn, epoll, uring};

/// Connections that wait to be accepted. Large, for bursts of reconnects; the kernel caps it at `somaxconn`.
const BACKLOG: i32 = 4096;

/// How long an accept loop rests when the process is out of descriptors: long enough not to spin, short
/// enough that nobody notices once one is free again.
pub const OUT_OF_DESCRIPTORS_PAUSE: Duration = Duration::from_millis(50);

/// A bound and listening socket, not yet of any worker.
#[derive(Debug)]
pub enum Bound {
    /// TCP.
    Tcp(TcpListener),
    /// Unix domain socket.
    Unix(UnixListener),
}

/// A listening socket of one worker.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Epoll(epoll::Listener),
    /// Where this worker has a ring.
    Uring(uring::Listener),
}

/// An accepted connection.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, of the worker that accepted it.
    pub conn: Conn,
    /// Who connected; `None` on Unix sockets.
    pub peer: Option<SocketAddr>,
}

/// Why nothing was accepted.
#[derive(Debug)]
pub enum AcceptError {
    /// This connection is gone already; the next may be fine.
    Connection,
    /// The process or the machine is out of descriptors or socket memory.
    OutOfDescriptors,
    /// The listener is broken.
    Listener(io::Error),
}

/// Removes a Unix socket's file when the process ends.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is fine, and at this point nobody could act on anything else.
        drop(fs::remove_file(&self.0));
    }
}

/// Binds `address` once per worker. The address returned is the bound one: port 0 is replaced by the
/// kernel's choice, the same for all.
///
/// # Errors
/// What the kernel says of the address.
pub fn bind_tcp(address: SocketAddr, workers: usize, send_buffer: usize) -> io::Result<(Vec<Bound>, SocketAddr)> {
    let mut bound = address;
    let mut listeners = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            // `[::]` means IPv6 alone: whoever wants both lists both, and no bind depends on a sysctl.
            socket.set_only_v6(true)?;
        }
        // Accepted sockets inherit both.
        socket.set_tcp_nodelay(true)?;
        socket.set_send_buffer_size(send_buffer)?;
        socket.bind(&bound.into())?;
        socket.listen(BACKLOG)?;
        bound = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        listeners.push(Bound::Tcp(socket.into()));
    }
    Ok((listeners, bound))
}

/// Binds a Unix socket. There is no `SO_REUSEPORT` for those: one worker accepts for all.
///
/// # Errors
/// What the kernel says; `AddrInUse` when another process listens there.
pub fn bind_unix(path: &Path, send_buffer: usize) -> io::Result<(Bound, SocketFile)> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && UnixStream::connect(path).is_err() => {
            // Nobody listens: a file left by a process that was killed.
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        other => other?,
    };
    listener.set_nonblocking(true)?;
    SockRef::from(&listener).set_send_buffer_size(send_buffer)?;
    Ok((Bound::Unix(listener), SocketFile(path.to_owned())))
}

impl Listener {
    /// Watched by this worker's event loop from here on.
    ///
    /// # Errors
    /// When the loop can't take it.
    pub fn new(bound: Bound) -> io::Result<Self> {
        let listener = match bound {
            Bound::Tcp(listener) => listener.into(),
            Bound::Unix(listener) => listener.into(),
        };
        Ok(Self(match uring::current() {
            Some(ring) => Kind::Uring(uring::Listener::new(&ring, listener)),
            None => Kind::Epoll(epoll::Listener::new(&epoll::Poller::current()?, listener)?),
        }))
    }

    /// The next connection.
    ///
    /// # Errors
    /// See [`AcceptError`]; only `Listener` is final.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Accepted, AcceptError>> {
        let accepted = match &self.0 {
            Kind::Epoll(listener) => {
                ready!(listener.poll_accept(cx)).map(|(socket, peer)| (Conn::on_epoll(socket), peer))
            }
            Kind::Uring(listener) => {
                ready!(listener.poll_accept(cx)).map(|(socket, peer)| (Conn::on_ring(socket), peer))
            }
        };
        let accepted = accepted.map(|(conn, peer)| Accepted { conn, peer });
        Poll::Ready(accepted.map_err(classify))
    }
}

fn classify(error: io::Error) -> AcceptError {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        // The last is epoll's, of the limit on watches.
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC) => {
            AcceptError::OutOfDescriptors
        }
        // accept(2): errors of the connection itself, to be treated like `EAGAIN`.
        Some(
            Errno::CONNABORTED
            | Errno::INTR
            | Errno::PERM
            | Errno::PROTO
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::OPNOTSUPP,
        ) => AcceptError::Connection,
        _ => AcceptError::Listener(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_zero_is_one_port_for_all_workers() -> io::Result<()> {
        let (listeners, bound) = bind_tcp("127.0.0.1:0".parse().expect("an address"), 3, 65_536)?;
        assert_eq!(listeners.len(), 3);
        assert_ne!(bound.port(), 0);
        for listener in &listeners {
            let Bound::Tcp(listener) = listener else { panic!("TCP") };
            assert_eq!(listener.local_addr()?, bound);
        }
        Ok(())
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("m.sock");
        drop(UnixListener::bind(&path)?);
        let (live, _file) = bind_unix(&path, 65_536)?;
        assert_eq!(bind_unix(&path, 65_536).expect_err("in use").kind(), io::ErrorKind::AddrInUse);
        drop(live);
        Ok(())
    }
}
