//! The end of a socket: when its owner lets go of it, when its peer does, and when it moves to another worker.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Duration;

use io_uring::opcode::PollAdd;
use rustix::event::PollFlags;
use rustix::io::Errno;
use socket2::SockRef;
use tokio::time::Instant;

use super::core::Core;
use super::entry::{Armed, Entry, Role};
use super::operation::Operation;

/// How long bytes that were accepted may wait for a peer that does not read, once nobody owns the socket. Who
/// wants to be sure of longer awaits the shutdown.
pub(super) const LINGER: Duration = Duration::from_secs(5);

impl Core {
    /// The owner lets go. The descriptor is closed when the kernel is done with it: at once if nothing is under
    /// way, within the next turn if nothing has to be sent, else when that is sent or its time is over.
    pub(super) fn close(&mut self, key: u32) {
        if !self.entries.contains(key as usize) {
            return;
        }
        let entry = self.entry(key);
        entry.closing = true;
        let (receive, send) = (entry.receive.waker.take(), entry.send.waker.take());
        let role = match &mut entry.role {
            Role::Stream => None,
            Role::Connecting(connecting) => connecting.waker.take(),
            Role::Listening(listening) => listening.waker.take(),
        };
        for waker in [receive, send, role] {
            self.discard(waker);
        }
        self.forget_watchers(key);
        self.forget_unread(key);
        if self.queue.is_none() {
            self.entries.remove(key as usize);
            return;
        }
        self.cancel_all(key, false);
        let entry = self.entry(key);
        if entry.is_sending() {
            let due = (Instant::now() + LINGER, key, entry.serial);
            self.lingering.push_back(due);
            // For the alarm.
            self.schedule();
        }
        self.close_if_done(key);
    }

    /// Closes a socket that nobody owns when its last operation has ended.
    pub(super) fn close_if_done(&mut self, key: u32) {
        let Some(entry) = self.entries.get(key as usize) else { return };
        if !entry.closing || entry.operations > 0 || entry.is_sending() {
            return;
        }
        let entry = self.entries.remove(key as usize);
        if entry.reset {
            // close(2) resets a connection whose peer has sent what nobody read. The kernel can't know that
            // of bytes that it gave us, so it is told. Fails on other sockets than TCP's, which have no resets.
            drop(SockRef::from(&entry.fd).set_linger(Some(Duration::ZERO)));
        }
        if let Some(block) = entry.send.block {
            self.blocks.give(block);
        }
    }

    /// When the next of those must go whose bytes nobody takes.
    pub(super) fn linger_until(&mut self) -> Option<Instant> {
        while let Some((due, key, serial)) = self.lingering.front().copied() {
            if self.entries.get(key as usize).is_some_and(|entry| entry.serial == serial) {
                return Some(due);
            }
            self.lingering.pop_front();
        }
        None
    }

    /// Gives up those whose time is over.
    pub(super) fn linger_over(&mut self, now: Instant) {
        while self.linger_until().is_some_and(|due| due <= now) {
            if let Some((_, key, _)) = self.lingering.pop_front() {
                self.entry(key).reset = true;
                self.cancel_all(key, true);
            }
        }
    }

    /// Takes the descriptor out of the ring.
    ///
    /// # Errors
    /// When it was read from or written to: then it belongs here.
    pub(super) fn leave(&mut self, key: u32) -> io::Result<OwnedFd> {
        let entry = self.entry(key);
        let receive = &entry.receive;
        if entry.operations > 0 || entry.is_sending() || receive.is_unread() || receive.end.is_some() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let Entry { fd, watched, .. } = self.entries.remove(key as usize);
        watched.leave(&fd);
        Ok(fd)
    }

    // -------------------------------------------------------------------------------------------- hang-up

    pub(super) fn poll_hangup(&mut self, key: u32, cx: &Context<'_>) -> Poll<()> {
        if self.queue.is_none() {
            return Poll::Ready(());
        }
        let hangup = &mut self.entry(key).hangup;
        if hangup.hung_up {
            return Poll::Ready(());
        }
        if !hangup.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            hangup.wakers.push(cx.waker().clone());
        }
        self.arm_hangup(key);
        Poll::Pending
    }

    fn arm_hangup(&mut self, key: u32) {
        if std::mem::replace(&mut self.entry(key).hangup.armed, true) {
            return;
        }
        let events = (PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR).bits();
        // SAFETY: points to nothing.
        unsafe { self.begin(key, Operation::Hangup, |fd, _| PollAdd::new(fd, events.into()).build()) };
    }

    /// The poll has ended.
    pub(super) fn polled(&mut self, key: u32, result: Result<u32, Errno>) {
        let hangup = &mut self.entry(key).hangup;
        hangup.armed = false;
        if result != Err(Errno::CANCELED) {
            self.hung_up(key);
        } else if !hangup.wakers.is_empty() {
            // Somebody began to wait while it was being called off.
            self.arm_hangup(key);
        }
    }

    /// The poll has seen it, or a receive has.
    pub(super) fn hung_up(&mut self, key: u32) {
        let hangup = &mut self.entry(key).hangup;
        hangup.hung_up = true;
        for waker in std::mem::take(&mut hangup.wakers) {
            self.wake(Some(waker));
        }
    }

    pub(super) fn watch(&mut self, key: u32) {
        self.entry(key).hangup.watchers += 1;
    }

    /// A future that waited is gone; with the last the poll ends too.
    pub(super) fn unwatch(&mut self, key: u32) {
        let hangup = &mut self.entry(key).hangup;
        hangup.watchers -= 1;
        if hangup.watchers == 0 {
            self.forget_watchers(key);
            if self.entry(key).hangup.armed {
                self.cancel(key, Operation::Hangup);
            }
        }
    }

    fn forget_watchers(&mut self, key: u32) {
        for waker in std::mem::take(&mut self.entry(key).hangup.wakers) {
            self.discard(Some(waker));
        }
    }

    // -------------------------------------------------------------------------------------------- state

    /// Whether a receive is under way that would tell of anything new.
    pub(super) fn is_receiving(&mut self, key: u32) -> bool {
        self.entry(key).receive.armed == Armed::Yes
    }
}
