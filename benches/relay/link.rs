//! A connection of mock or client: plain, or with TLS around it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, StreamOwned};

/// How long connecting and the handshake of TLS may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket that does not block.
pub(crate) enum Link {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS, of a client.
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// With TLS, of a server.
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Link {
    /// Connects. The handshake of TLS is awaited: nothing is measured while connections are opened.
    pub(crate) fn connect(addr: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let socket = TcpStream::connect_timeout(&addr, PATIENCE)?;
        socket.set_nodelay(true)?;
        let Some(config) = tls else {
            socket.set_nonblocking(true)?;
            return Ok(Self::Plain(socket));
        };
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("localhost")?;
        let mut stream = StreamOwned::new(ClientConnection::new(Arc::clone(config), name)?, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).context("the handshake of TLS")?;
        }
        stream.sock.set_read_timeout(None)?;
        stream.sock.set_nonblocking(true)?;
        Ok(Self::Client(Box::new(stream)))
    }

    /// Takes an accepted connection on.
    pub(crate) fn accepted(socket: TcpStream, tls: Option<&Arc<ServerConfig>>) -> Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(match tls {
            None => Self::Plain(socket),
            Some(config) => {
                Self::Server(Box::new(StreamOwned::new(ServerConnection::new(Arc::clone(config))?, socket)))
            }
        })
    }

    /// What epoll watches.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Client(stream) => &stream.sock,
            Self::Server(stream) => &stream.sock,
        }
    }

    /// Reads what is there, as [`Read::read`] does.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Client(stream) => stream.read(buffer),
            Self::Server(stream) => stream.read(buffer),
        }
    }

    /// Whether bytes may be left that epoll does not know of: TLS decrypts more than it gives out at once.
    pub(crate) fn hides_bytes(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    /// Writes as much of `output` as the socket takes. It never reads: what a handshake reads along with its own
    /// bytes would lie in TLS, and epoll would not tell of it.
    pub(crate) fn flush(&mut self, output: &mut Vec<u8>) -> io::Result<()> {
        let done = match self {
            Self::Plain(socket) => write_all(output, |bytes| socket.write(bytes)),
            Self::Client(stream) => write_tls(&mut stream.conn, &mut stream.sock, output),
            Self::Server(stream) => write_tls(&mut stream.conn, &mut stream.sock, output),
        };
        done.or_else(|error| if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(error) })
    }

    /// Whether bytes that were written wait within for room in the socket.
    pub(crate) fn holds_bytes(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Client(stream) => stream.conn.wants_write(),
            Self::Server(stream) => stream.conn.wants_write(),
        }
    }
}

fn write_tls<S>(conn: &mut ConnectionCommon<S>, socket: &mut TcpStream, output: &mut Vec<u8>) -> io::Result<()> {
    loop {
        while conn.wants_write() {
            conn.write_tls(socket)?;
        }
        if output.is_empty() {
            return Ok(());
        }
        // Takes as much as may wait in it, and there is room now.
        let taken = conn.writer().write(output)?;
        output.drain(..taken);
    }
}

fn write_all(output: &mut Vec<u8>, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
    while !output.is_empty() {
        match write(output)? {
            written if written == output.len() => output.clear(),
            written => drop(output.drain(..written)),
        }
    }
    Ok(())
}
