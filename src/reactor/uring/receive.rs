//! Receiving: while its reader waits, a socket has one receive under way, into whichever provided buffer is free
//! when bytes come in.
//!
//! Not multishot. A multishot receive reads on after its reader has stopped: from a peer that floods, this kernel
//! took 72 buffers (282 KiB) of one socket before a cancellation of the 16th was heard of, and the cap for it came
//! with Linux 6.17. One receive per chunk costs one more entry in a batch that is submitted anyway, and no call; it
//! holds one buffer per socket, needs no cancellation for backpressure, and leaves the rest in the kernel, whose
//! window then closes as it shall. What lies behind a full buffer is read directly into the reader's, as from epoll.

use std::io;
use std::task::{Context, Poll, ready};

use io_uring::opcode::Recv;
use io_uring::squeue::Flags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::ReadBuf;
use tokio::task::coop;

use super::core::Core;
use super::entry::{Armed, End};
use super::operation::Operation;
use super::provided::GROUP;
use super::queue::Completion;
use crate::reactor::conn::Idle;
use crate::signal::trail;

/// `IORING_RECVSEND_POLL_FIRST`: the reader has just found nothing, so trying once more before waiting is for
/// nothing.
const POLL_FIRST: u16 = 1;

impl Core {
    pub(super) fn poll_read(
        &mut self,
        key: u32,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let handed_out = self.hand_out(key, buf);
        if handed_out {
            let entry = self.entry(key);
            entry.watched.read(&entry.fd);
        }
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if self.entry(key).receive.more {
            if !handed_out {
                // Somebody whose peer never pauses shall not keep the worker.
                ready!(coop::poll_proceed(cx)).made_progress();
            }
            if self.read_on(key, buf) {
                return Poll::Ready(Ok(()));
            }
        }
        if handed_out {
            return Poll::Ready(Ok(()));
        }
        let receive = &mut self.entry(key).receive;
        match receive.end {
            Some(End::Eof) => return Poll::Ready(Ok(())),
            Some(End::Failed(error)) => {
                receive.end = Some(End::Eof);
                return Poll::Ready(Err(error.into()));
            }
            None => self.alive()?,
        }
        let waker = self.entry(key).receive.waker.take();
        self.entry(key).receive.waker = Some(self.renew(waker, cx));
        trail::step(self.entry(key));
        trail::waits(key);
        self.arm_receive(key);
        Poll::Pending
    }

    /// Copies what has come in, as much as there is room for. `false` when there is nothing.
    fn hand_out(&mut self, key: u32, buf: &mut ReadBuf<'_>) -> bool {
        let receive = &mut self.entries[key as usize].receive;
        let room = buf.remaining();
        if let Some(held) = &mut receive.held {
            let len = self.provided.take(held, room, |bytes| buf.put_slice(bytes));
            if held.len() == 0
                && let Some(held) = receive.held.take()
            {
                self.provided.give(held);
            }
            return len > 0;
        }
        if let Some(spilled) = &mut receive.spilled {
            let rest = &spilled.bytes[spilled.start..];
            let len = rest.len().min(room);
            buf.put_slice(&rest[..len]);
            spilled.start += len;
            if spilled.start == spilled.bytes.len() {
                receive.spilled = None;
            }
            return len > 0;
        }
        false
    }

    /// Reads on from the kernel after a full buffer. `false` when there was nothing.
    fn read_on(&mut self, key: u32, buf: &mut ReadBuf<'_>) -> bool {
        let entry = self.entry(key);
        let room = buf.remaining();
        // SAFETY: `recv` only writes initialised bytes.
        let unfilled = unsafe { buf.unfilled_mut() };
        match recv(&entry.fd, unfilled, RecvFlags::DONTWAIT).map(|((read, _), _)| read.len()) {
            Ok(0) => entry.receive.end = Some(End::Eof),
            Ok(read) => {
                // SAFETY: the kernel has written them.
                unsafe { buf.assume_init(read) };
                buf.advance(read);
                // Less than there was room for: it is empty now.
                entry.receive.more = read == room;
                return true;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => entry.receive.end = Some(End::Failed(error)),
        }
        entry.receive.more = false;
        false
    }

    /// Begins to receive, unless that is under way.
    fn arm_receive(&mut self, key: u32) {
        let receive = &mut self.entry(key).receive;
        if receive.armed != Armed::No || receive.starving {
            return;
        }
        receive.armed = Armed::Yes;
        // SAFETY: points to nothing of ours; the group of buffers lives as long as the ring.
        unsafe {
            self.begin(key, Operation::Receive, |fd, _| {
                // The buffer says how long.
                let receive = Recv::new(fd, std::ptr::null_mut(), 0).buf_group(GROUP).ioprio(POLL_FIRST);
                receive.build().flags(Flags::BUFFER_SELECT)
            });
        }
    }

    pub(super) fn received(&mut self, key: u32, completion: Completion, result: Result<u32, Errno>) {
        let entry = &mut self.entries[key as usize];
        let receive = &mut entry.receive;
        receive.armed = Armed::No;
        let len = result.unwrap_or(0) as usize;
        if let Some(id) = completion.buffer() {
            let held = self.provided.received(id, len, key);
            if len == 0 || entry.closing {
                entry.reset |= len > 0;
                self.provided.give(held);
            } else {
                receive.held = Some(held);
                receive.more = completion.nonempty() || len == self.provided.buffer_bytes();
            }
        }
        match result {
            Ok(0) => receive.end = Some(End::Eof),
            // Called off, or to be tried again.
            Ok(_) | Err(Errno::CANCELED | Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::NOBUFS) => {
                receive.starving = true;
                self.starving.push(key);
                self.counts().starved += 1;
            }
            Err(error) => receive.end = Some(End::Failed(error)),
        }
        let entry = self.entry(key);
        if entry.closing || entry.receive.starving {
            return;
        }
        if entry.receive.held.is_none() && entry.receive.end.is_none() {
            // Nothing came of it, and the reader still waits.
            return self.arm_receive(key);
        }
        let ended = entry.receive.end.is_some();
        let waker = entry.receive.waker.take();
        self.wake(waker);
        if ended {
            self.hung_up(key);
        }
    }

    /// Arms those again that found no buffer. First everybody's bytes are copied away: a buffer that lies with
    /// somebody who does not read, because his client doesn't, must not be missed by the others.
    pub(super) fn feed(&mut self) {
        if self.starving.is_empty() {
            return;
        }
        for owner in self.provided.owners() {
            self.spill(owner);
        }
        let mut starving = std::mem::take(&mut self.starving);
        for key in starving.drain(..) {
            if let Some(entry) = self.entries.get_mut(key as usize)
                && std::mem::take(&mut entry.receive.starving)
                && !entry.closing
            {
                self.arm_receive(key);
            }
        }
        self.starving = starving;
    }

    fn spill(&mut self, key: u32) {
        let Some(entry) = self.entries.get_mut(key as usize) else { return };
        let Some(mut held) = entry.receive.held.take() else { return };
        let spilled = entry.receive.spilled.get_or_insert_default();
        self.provided.take(&mut held, usize::MAX, |bytes| spilled.bytes.extend_from_slice(bytes));
        self.provided.give(held);
        self.counts().spills += 1;
    }

    /// Looks without reading. Asks the kernel only where no receive would tell.
    pub(super) fn look(&mut self, key: u32) -> Idle {
        let is_seen = !self.has_unsubmitted();
        let entry = self.entry(key);
        if entry.receive.is_unread() {
            return Idle::Data;
        }
        if entry.receive.end.is_some() {
            return Idle::Closed;
        }
        if entry.receive.armed == Armed::Yes && is_seen {
            return Idle::Quiet;
        }
        let mut byte = [0_u8; 1];
        match recv(&entry.fd, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((0, _)) => Idle::Closed,
            Ok(_) => Idle::Data,
            Err(error) if error == Errno::AGAIN || error == Errno::INTR => Idle::Quiet,
            Err(_) => Idle::Closed,
        }
    }

    /// Frees what a closing socket has not read.
    pub(super) fn forget_unread(&mut self, key: u32) {
        let entry = &mut self.entries[key as usize];
        entry.reset |= entry.receive.is_unread();
        entry.receive.spilled = None;
        if let Some(held) = entry.receive.held.take() {
            self.provided.give(held);
        }
    }
}
