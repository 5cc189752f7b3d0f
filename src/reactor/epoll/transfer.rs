//! Reading and writing.
//!
//! A transfer shorter than the room for it says that the kernel's buffer is empty, or full. It is noted as if the
//! call had failed with `EAGAIN`, which saves that call, one per chunk. Nothing is missed: what comes after the
//! transfer is a new edge. But behind the last bytes of a peer that has closed no edge comes any more; once that is
//! known, only the end itself or `EAGAIN` counts.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, recv, send, sendmsg};
use tokio::io::ReadBuf;
use tokio::task::coop;

use super::entry::{Entry, Ready, renew};
use super::outgoing::{SEND, Sent};
use super::poller::Core;
use super::socket::Socket;
use crate::signal::trail;

/// As many pieces as one call takes (`IOV_MAX`).
const PIECES_MAX: usize = 1024;

impl Socket {
    pub(in crate::reactor) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut core = self.poller.core();
        let Core { entries, scratch, .. } = &mut *core;
        let entry = &mut entries[self.key as usize];
        if entry.ready.is(Ready::READABLE) {
            if entry.ready.is(Ready::FILLED) {
                // Somebody whose peer never pauses shall not keep the worker.
                ready!(coop::poll_proceed(cx)).made_progress();
            }
            match read(entry, scratch, buf) {
                Err(Errno::AGAIN) => entry.ready.remove(Ready::READABLE.with(Ready::FILLED)),
                result => return Poll::Ready(result.map_err(io::Error::from)),
            }
        }
        drop(core);
        self.wait(cx);
        self.poller.alive()?;
        Poll::Pending
    }

    /// Whether there is nothing to read, as the last read has shown. The task is woken then when there is.
    pub(in crate::reactor) fn rests(&self, cx: &Context<'_>) -> bool {
        let rests = !self.with(|entry| entry.ready.is(Ready::READABLE)) && self.poller.is_alive();
        if rests {
            self.wait(cx);
        }
        rests
    }

    fn wait(&self, cx: &Context<'_>) {
        let mut core = self.poller.core();
        let entry = core.entry(self.key);
        let replaced = renew(&mut entry.reader, cx);
        trail::step(entry);
        trail::waits(self.key);
        drop(core);
        drop(replaced);
    }

    pub(in crate::reactor) fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, &[IoSlice::new(buf)], |fd| send(fd, buf, SEND))
    }

    pub(in crate::reactor) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bufs = &bufs[..bufs.len().min(PIECES_MAX)];
        self.poll_send(cx, bufs, |fd| sendmsg(fd, bufs, &mut SendAncillaryBuffer::default(), SEND))
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        send: impl Fn(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        let mut core = self.poller.core();
        let Core { entries, outgoing, .. } = &mut *core;
        let entry = &entries[self.key as usize];
        trail::step(entry);
        if outgoing.takes(entry, len) {
            let pump = core.batch(self.key, bufs);
            drop(core);
            if let Some(pump) = pump {
                pump.wake();
            }
            return Poll::Ready(Ok(len));
        }
        let before = core.flush_before(self.key)?;
        let entry = core.entry(self.key);
        if entry.ready.is(Ready::WRITABLE) && before == Sent::All {
            let turn = ready!(coop::poll_proceed(cx));
            match rustix::io::retry_on_intr(|| send(entry.fd.as_fd())) {
                Ok(sent) => {
                    turn.made_progress();
                    if 0 < sent && sent < len {
                        entry.ready.remove(Ready::WRITABLE);
                    }
                    return Poll::Ready(Ok(sent));
                }
                Err(Errno::AGAIN) => entry.ready.remove(Ready::WRITABLE),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        let replaced = renew(&mut entry.writer, cx);
        drop(core);
        drop(replaced);
        self.poller.alive()?;
        Poll::Pending
    }
}

/// Reads once, and notes what the result says of the next time.
fn read(entry: &mut Entry, scratch: &mut [u8], buf: &mut ReadBuf<'_>) -> Result<(), Errno> {
    let room = buf.remaining();
    let (read, room) = if buf.initialized().len() - buf.filled().len() >= room {
        let read = receive(entry, buf.initialize_unfilled())?;
        buf.advance(read);
        (read, room)
    } else {
        let room = room.min(scratch.len());
        let read = receive(entry, &mut scratch[..room])?;
        buf.put_slice(&scratch[..read]);
        (read, room)
    };
    if read > 0 {
        entry.watched.read(&entry.fd);
    }
    if read == room {
        entry.ready.add(Ready::FILLED);
    } else if read > 0 {
        entry.ready.remove(Ready::FILLED);
        if !entry.ready.is(Ready::CLOSED) {
            entry.ready.remove(Ready::READABLE);
        }
    }
    Ok(())
}

fn receive(entry: &Entry, into: &mut [u8]) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| recv(&entry.fd, &mut *into, RecvFlags::DONTWAIT)).map(|(_, read)| read)
}
