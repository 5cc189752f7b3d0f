//! The two queues shared with the kernel, and the calls on them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, squeue};
use rustix::event::{EventfdFlags, eventfd};

use super::Settings;

/// Run deferred work and flush an overflow.
const GET_EVENTS: u32 = 1;

/// What the kernel says of one operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) tag: u64,
    /// Of the call it stands for; a negative error number.
    pub(super) result: i32,
    flags: u32,
}

impl Completion {
    /// The operation goes on: there will be another completion of it.
    pub(super) fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// More bytes lay behind those that were received.
    pub(super) fn nonempty(self) -> bool {
        cqueue::sock_nonempty(self.flags)
    }

    /// The provided buffer that was received into.
    pub(super) fn buffer(self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

/// The ring proper.
pub(super) struct Queue {
    ring: IoUring,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Queue").field(&self.ring.as_raw_fd()).finish()
    }
}

impl Queue {
    /// `SINGLE_ISSUER | DEFER_TASKRUN`: completions are made when this thread asks for them and at no other
    /// time, so a turn is a batch and nothing interrupts a stream. `TASKRUN_FLAG`: whether there are any can be
    /// seen without a call. `SUBMIT_ALL`: one bad entry does not hold back those behind it.
    pub(super) fn new(settings: &Settings) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(settings.completions)
            .dontfork()
            .build(settings.submissions)?;
        Ok(Self { ring })
    }

    pub(super) fn ring(&self) -> &IoUring {
        &self.ring
    }

    /// A descriptor that becomes readable when there is something to reap. Not readable again before the next
    /// completion, if watched for edges.
    pub(super) fn event(&self) -> io::Result<OwnedFd> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        self.ring.submitter().register_eventfd(event.as_fd().as_raw_fd())?;
        Ok(event)
    }

    /// Queues an operation. `false` when the queue is full.
    ///
    /// # Safety
    /// Everything that the entry points to must live until the operation's last completion.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    /// Operations that the kernel has not seen.
    pub(super) fn unsubmitted(&mut self) -> usize {
        self.ring.submission().len()
    }

    /// Whether an [`enter`](Self::enter) would make completions.
    pub(super) fn has_deferred(&mut self) -> bool {
        let queue = self.ring.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// Completions were made that the queue had no room for; the kernel keeps them until asked.
    pub(super) fn overflown(&mut self) -> bool {
        self.ring.submission().cq_overflow()
    }

    /// Whether there is anything to reap, now or after an [`enter`](Self::enter).
    pub(super) fn has_work(&mut self) -> bool {
        self.has_deferred() || !self.ring.completion().is_empty()
    }

    /// Submits everything. With `reap`, also lets the kernel make the completions that it has deferred, about
    /// twenty at a time: [`has_deferred`](Self::has_deferred) tells whether there are more.
    pub(super) fn enter(&mut self, reap: bool) -> io::Result<usize> {
        let len = u32::try_from(self.unsubmitted()).unwrap_or(u32::MAX);
        let flags = if reap { GET_EVENTS } else { 0 };
        // SAFETY: no argument is passed, and the entries' own demands were met when they were pushed.
        unsafe { self.ring.submitter().enter::<()>(len, 0, flags, None) }
    }

    /// Submits everything and waits for a completion, for the end of a ring.
    pub(super) fn wait(&mut self, timeout: Duration) {
        let timeout = Timespec::from(timeout);
        let args = SubmitArgs::new().timespec(&timeout);
        // Its time is over, or a signal came: both are looked at by whoever counts the time.
        drop(self.ring.submitter().submit_with_args(1, &args));
    }

    /// Moves all completions to `into`.
    pub(super) fn reap(&mut self, into: &mut Vec<Completion>) {
        into.extend(self.ring.completion().map(|entry| Completion {
            tag: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
    }

    /// Whether completions make the event descriptor readable. Off while we reap anyway: each would be one
    /// more wake-up of epoll, for nothing.
    pub(super) fn signal(&mut self, on: bool) {
        let queue = self.ring.completion();
        if on {
            queue.enable_eventfd();
            // The kernel adds work first and looks at this flag then; we do it the other way round, and with
            // the barrier one of the two sees the other.
            fence(Ordering::SeqCst);
        } else {
            queue.disable_eventfd();
        }
    }
}
