//! A request on its way out: written at once if the socket takes it, which it almost always does; what it does
//! not take waits on the heap for exactly as long as that lasts.

use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::reactor::Io;

/// What of a request has left, and what has not.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    rest: Rest,
    /// Bytes that have left, or may have. Under TLS that counts plain bytes that rustls has taken, sent or not: an
    /// overestimate, which is the safe side.
    taken: usize,
}

#[derive(Debug, Default)]
enum Rest {
    /// All of it has left.
    #[default]
    Nothing,
    /// The head's rest, with small bodies in it, and the body's.
    Unwritten(Box<(Bytes, Bytes)>),
    /// Taken by TLS, and perhaps not by the socket.
    Unflushed,
    /// The rest will never leave.
    Failed(io::Error),
}

impl Outgoing {
    /// Begins a request: `head`, then `body`.
    pub(super) fn begin(io: &mut Io, cx: &mut Context<'_>, head: &[u8], body: Bytes) -> Self {
        let mut outgoing = Self::default();
        outgoing.write(io, cx, head, body);
        outgoing
    }

    /// Goes on with the request. Registers the task while something is left, and never twice.
    pub(super) fn drive(&mut self, io: &mut Io, cx: &mut Context<'_>) {
        match mem::take(&mut self.rest) {
            Rest::Unwritten(rest) => {
                let (head, body) = *rest;
                self.write(io, cx, head, body);
            }
            Rest::Unflushed => self.flush(io, cx),
            rest @ (Rest::Nothing | Rest::Failed(_)) => self.rest = rest,
        }
    }

    /// Whether all of it has left.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.rest, Rest::Nothing)
    }

    /// Whether any byte has left, or may have.
    pub(super) fn has_begun(&self) -> bool {
        self.taken > 0
    }

    /// The same after a failure: what still waits with others of its lap is sent, to see whether it can be.
    pub(super) fn may_have_left(&self, io: &Io) -> bool {
        match io {
            Io::Plain(conn) => {
                conn.batch_writes(false);
                self.taken > conn.lost()
            }
            Io::Tls(_) => self.has_begun(),
        }
    }

    /// Why the rest will never leave. The upstream may have answered before it closed, so whoever sent
    /// something looks for that first.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        match mem::take(&mut self.rest) {
            Rest::Failed(error) => Some(error),
            rest => {
                self.rest = rest;
                None
            }
        }
    }

    fn write(&mut self, io: &mut Io, cx: &mut Context<'_>, mut head: impl Buf, mut body: Bytes) {
        while head.has_remaining() || !body.is_empty() {
            match poll_write(io, cx, head.chunk(), &body) {
                Poll::Ready(Ok(0)) => {
                    self.rest = Rest::Failed(io::ErrorKind::WriteZero.into());
                    return;
                }
                Poll::Ready(Ok(written)) => {
                    self.taken += written;
                    let of_head = written.min(head.remaining());
                    head.advance(of_head);
                    body.advance(written - of_head);
                }
                Poll::Ready(Err(error)) => {
                    // tokio-rustls reports an error without saying how many records left before it.
                    self.taken += usize::from(matches!(io, Io::Tls(_)));
                    self.rest = Rest::Failed(error);
                    return;
                }
                Poll::Pending => {
                    let head = head.copy_to_bytes(head.remaining());
                    self.rest = Rest::Unwritten(Box::new((head, body)));
                    return;
                }
            }
        }
        self.flush(io, cx);
    }

    fn flush(&mut self, io: &mut Io, cx: &mut Context<'_>) {
        self.rest = match Pin::new(io).poll_flush(cx) {
            Poll::Ready(Ok(())) => Rest::Nothing,
            Poll::Ready(Err(error)) => Rest::Failed(error),
            Poll::Pending => Rest::Unflushed,
        };
    }
}

fn poll_write(io: &mut Io, cx: &mut Context<'_>, head: &[u8], body: &[u8]) -> Poll<io::Result<usize>> {
    let io = Pin::new(io);
    if body.is_empty() {
        io.poll_write(cx, head)
    } else if head.is_empty() {
        io.poll_write(cx, body)
    } else {
        io.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(body)])
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;
    use tokio::runtime::{Builder, LocalOptions};

    use super::*;
    use crate::reactor::Conn;

    fn run(test: impl Future<Output = ()>) {
        let mut builder = Builder::new_current_thread();
        builder.enable_all().build_local(LocalOptions::default()).expect("a runtime").block_on(test);
    }

    async fn begin(io: &mut Io, head: &[u8], body: &Bytes) -> Outgoing {
        poll_fn(|cx| Poll::Ready(Outgoing::begin(io, cx, head, body.clone()))).await
    }

    #[test]
    fn nothing_has_begun_where_nothing_is_taken() {
        run(async {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            drop(theirs);
            let mut io = Io::Plain(Conn::from_unix(ours).expect("a socket"));
            let mut outgoing = begin(&mut io, b"head", &Bytes::new()).await;
            assert!(!outgoing.has_begun() && !outgoing.is_done());
            assert_eq!(outgoing.take_failure().expect("failed").kind(), io::ErrorKind::BrokenPipe);
        });
    }

    #[test]
    fn what_is_not_taken_at_once_follows_in_order() {
        run(async {
            let (ours, mut theirs) = UnixStream::pair().expect("a pair");
            let mut io = Io::Plain(Conn::from_unix(ours).expect("a socket"));
            let head: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
            let body: Bytes = (1_000_000..1_500_000_u32).flat_map(u32::to_le_bytes).collect();
            let mut outgoing = begin(&mut io, &head, &body).await;
            assert!(outgoing.has_begun() && !outgoing.is_done(), "too much for a socket");
            let writing = poll_fn(|cx| {
                outgoing.drive(&mut io, cx);
                if outgoing.is_done() { Poll::Ready(()) } else { Poll::Pending }
            });
            let mut received = vec![0; head.len() + body.len()];
            let ((), read) = tokio::join!(writing, theirs.read_exact(&mut received));
            read.expect("all");
            assert!(received == [head.as_slice(), &body].concat());
        });
    }
}
