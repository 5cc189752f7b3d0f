//! A connection with or without TLS: one type, so that nothing above is generic over it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use super::Conn;

/// Plain or encrypted bytes of one connection.
#[derive(Debug)]
pub enum Io {
    /// As they are.
    Plain(Conn),
    /// Under TLS, either side of it. Boxed: its state is a kilobyte.
    Tls(Box<TlsStream<Conn>>),
}

impl Io {
    /// The socket below.
    pub fn conn(&self) -> &Conn {
        match self {
            Self::Plain(conn) => conn,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// See [`Conn::rests`]. Under TLS nobody knows.
    pub fn rests(&self, cx: &Context<'_>) -> bool {
        match self {
            Self::Plain(conn) => conn.rests(cx),
            Self::Tls(_) => false,
        }
    }

    /// Whether ALPN chose HTTP/2. Always false without TLS.
    pub fn alpn_h2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

macro_rules! forward {
    ($self:expr, $io:ident => $body:expr) => {
        match $self.get_mut() {
            Self::Plain($io) => {
                let $io = Pin::new($io);
                $body
            }
            Self::Tls($io) => {
                let $io = Pin::new(&mut **$io);
                $body
            }
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, io => io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(conn) => conn.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_shutdown(cx))
    }
}
