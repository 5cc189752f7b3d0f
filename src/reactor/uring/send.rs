//! Sending: what was written since the last turn goes out in one operation, with those of all other sockets.

use std::io;
use std::task::{Context, Poll};

use io_uring::opcode;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, shutdown};

use super::core::Core;
use super::memory::SEND_BYTES_MAX;
use super::operation::Operation;
use crate::signal::trail;

impl Core {
    /// Takes what it can, up to 64 KiB since the last turn. Nothing while a send is under way: that is how a
    /// peer that does not read is felt.
    pub(super) fn poll_write(
        &mut self,
        key: u32,
        cx: &Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.alive()?;
        trail::step(&self.entries[key as usize]);
        let send = &mut self.entries[key as usize].send;
        if let Some(error) = send.error {
            return Poll::Ready(Err(error.into()));
        }
        let offered: usize = bufs.iter().map(|buf| buf.len()).sum();
        if offered == 0 {
            return Poll::Ready(Ok(0));
        }
        let wanted = (send.end + offered).min(SEND_BYTES_MAX);
        if send.in_flight || wanted == send.end {
            let waker = send.waker.take();
            self.entries[key as usize].send.waker = Some(self.renew(waker, cx));
            return Poll::Pending;
        }
        let mut block = match send.block.take() {
            Some(block) if block.len() >= wanted => block,
            outgrown => {
                let mut larger = self.blocks.take(wanted);
                if let Some(block) = outgrown {
                    // SAFETY: the kernel never writes to a send buffer.
                    larger.write(0, unsafe { block.bytes(0..send.end) });
                    self.blocks.give(block);
                }
                larger
            }
        };
        let before = send.end;
        for buf in bufs {
            let part = &buf[..buf.len().min(wanted - send.end)];
            block.write(send.end, part);
            send.end += part.len();
        }
        let written = send.end - before;
        send.block = Some(block);
        if !std::mem::replace(&mut send.queued, true) {
            self.unsent.push(key);
            self.schedule();
        }
        Poll::Ready(Ok(written))
    }

    /// Queues one operation for every socket that was written to.
    pub(super) fn begin_sends(&mut self) {
        let mut unsent = std::mem::take(&mut self.unsent);
        for key in unsent.drain(..) {
            if let Some(entry) = self.entries.get_mut(key as usize)
                && std::mem::take(&mut entry.send.queued)
            {
                self.begin_send(key);
            }
        }
        self.unsent = unsent;
    }

    fn begin_send(&mut self, key: u32) {
        let Some(block) = &self.entry(key).send.block else { return };
        let address = block.as_ptr();
        self.entry(key).send.in_flight = true;
        // `MSG_WAITALL`: the kernel goes on after a part, and we hear of it once.
        let flags = SendFlags::NOSIGNAL.bits() | RecvFlags::WAITALL.bits();
        // SAFETY: the block stays in the entry until the operation's completion, and the entry as long.
        unsafe {
            self.begin(key, Operation::Send, |fd, entry| {
                let rest = entry.send.end - entry.send.start;
                opcode::Send::new(
                    fd,
                    address.wrapping_add(entry.send.start),
                    u32::try_from(rest).unwrap_or(u32::MAX),
                )
                .flags(flags.cast_signed())
                .build()
            });
        }
    }

    pub(super) fn sent(&mut self, key: u32, result: Result<u32, Errno>) {
        let send = &mut self.entry(key).send;
        send.in_flight = false;
        match result {
            Ok(sent) => send.start += sent as usize,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => send.error = Some(error),
        }
        // Behind an error, what has never left.
        if send.error.is_none() {
            // A cancelled send that has sent a part says how much.
            if send.start < send.end && !send.given_up {
                return self.begin_send(key);
            }
            (send.start, send.end) = (0, 0);
        }
        let waker = send.waker.take();
        if let Some(block) = self.entry(key).send.block.take() {
            self.blocks.give(block);
        }
        self.wake(waker);
    }

    /// What was accepted is on its way, as with a kernel's socket; only its failure is told.
    pub(super) fn flush(&mut self, key: u32) -> io::Result<()> {
        self.entry(key).send.error.map_or(Ok(()), |error| Err(error.into()))
    }

    /// How much of what was accepted has not left before the socket failed.
    pub(super) fn lost(&mut self, key: u32) -> usize {
        let send = &self.entry(key).send;
        send.error.map_or(0, |_| send.end - send.start)
    }

    /// Ends the sending side, after everything that was accepted.
    pub(super) fn poll_shutdown(&mut self, key: u32, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.alive()?;
        if self.entry(key).is_sending() {
            let waker = self.entry(key).send.waker.take();
            self.entry(key).send.waker = Some(self.renew(waker, cx));
            return Poll::Pending;
        }
        let entry = self.entry(key);
        if let Some(error) = entry.send.error {
            return Poll::Ready(Err(error.into()));
        }
        Poll::Ready(match shutdown(&entry.fd, Shutdown::Write) {
            // The peer was faster.
            Err(error) if error == Errno::NOTCONN => Ok(()),
            other => other.map_err(io::Error::from),
        })
    }
}
