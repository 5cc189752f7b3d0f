//! One worker's ring: its sockets, what is under way on them, and the turn that moves it all.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::opcode::Connect;
use io_uring::squeue;
use io_uring::types::Fd;
use rustix::io::Errno;
use slab::Slab;
use tokio::time::Instant;

use super::entry::{Entry, Role};
use super::memory::Blocks;
use super::operation::{Operation, receiver, tag};
use super::provided::Provided;
use super::queue::{Completion, Queue};
use super::{Settings, Stats};
use crate::reactor::warm;

/// Calls in one turn for work that the kernel had deferred (about twenty completions each). What is left after
/// them waits until the tasks that were woken have run.
const ROUNDS_MAX: usize = 8;

/// How long the end of a ring waits for sends that are under way, and then for cancellations.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Steps of that wait.
const END_STEP: Duration = Duration::from_millis(20);

/// Everything, behind one cell. No waker is woken or dropped inside: that may run anybody's code.
#[derive(Debug)]
pub(super) struct Core {
    /// `None` once the ring has ended.
    pub(super) queue: Option<Queue>,
    pub(super) provided: Provided,
    pub(super) blocks: Blocks,
    pub(super) entries: Slab<Entry>,
    /// Operations that found the queue full and the kernel busy.
    backlog: VecDeque<squeue::Entry>,
    /// Sockets with bytes to send. A turn makes one operation of what a socket was given since the last.
    pub(super) unsent: Vec<u32>,
    /// Sockets whose receive ended for want of buffers.
    pub(super) starving: Vec<u32>,
    /// Sockets nobody owns whose bytes are not sent, by deadline: key, serial.
    pub(super) lingering: VecDeque<(Instant, u32, u32)>,
    completions: Vec<Completion>,
    wake: Vec<Waker>,
    spent: Vec<Waker>,
    pump: Pumping,
    serials: u32,
    counts: Stats,
}

/// What the pump's task and the rest tell each other.
#[derive(Debug, Default)]
struct Pumping {
    waker: Option<Waker>,
    /// It will run before the runtime waits for anything.
    scheduled: bool,
    /// Somebody else makes the turns.
    paced: bool,
}

impl Core {
    /// # Errors
    /// What the kernel says.
    pub(super) fn new(settings: &Settings) -> io::Result<(Self, OwnedFd)> {
        let queue = Queue::new(settings)?;
        let event = queue.event()?;
        // SAFETY: both are fields of the same value, and the ring is dropped first, after its last operation.
        let provided =
            unsafe { Provided::register(&queue.ring().submitter(), settings.buffers, settings.buffer_bytes) }?;
        let core = Self {
            queue: Some(queue),
            provided,
            blocks: Blocks::default(),
            entries: Slab::new(),
            backlog: VecDeque::new(),
            unsent: Vec::new(),
            starving: Vec::new(),
            lingering: VecDeque::new(),
            completions: Vec::new(),
            wake: Vec::new(),
            spent: Vec::new(),
            // Spawned beside this, so it will run.
            pump: Pumping { waker: None, scheduled: true, paced: false },
            serials: 0,
            counts: Stats::default(),
        };
        Ok((core, event))
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            sockets: self.entries.len(),
            operations: self.entries.iter().map(|(_, entry)| entry.operations as usize).sum(),
            receive_buffers: self.provided.out(),
            send_buffers: self.blocks.out(),
            ..self.counts
        }
    }

    pub(super) fn counts(&mut self) -> &mut Stats {
        &mut self.counts
    }

    // ------------------------------------------------------------------------------------------- sockets

    pub(super) fn insert(&mut self, fd: OwnedFd, role: Role) -> u32 {
        self.serials = self.serials.wrapping_add(1);
        let key = self.entries.insert(Entry::new(fd, self.serials, role));
        u32::try_from(key).expect("fewer sockets than descriptors")
    }

    /// The entry under `key`, which the caller's handle or operation keeps.
    pub(super) fn entry(&mut self, key: u32) -> &mut Entry {
        self.entries.get_mut(key as usize).expect("a socket lives as long as its handle and its operations")
    }

    /// Fails once the ring has ended.
    pub(super) fn alive(&self) -> io::Result<()> {
        if self.queue.is_some() { Ok(()) } else { Err(io::Error::other("this worker's ring has ended")) }
    }

    // -------------------------------------------------------------------------------------------- wakers

    /// Wakes when the cell is free again.
    pub(super) fn wake(&mut self, waker: Option<Waker>) {
        self.wake.extend(waker);
    }

    /// Drops when the cell is free again.
    pub(super) fn discard(&mut self, waker: Option<Waker>) {
        self.spent.extend(waker);
    }

    /// Puts the task's waker into a slot taken from an entry, and gives back what to put there.
    pub(super) fn renew(&mut self, old: Option<Waker>, cx: &Context<'_>) -> Waker {
        match old {
            Some(waker) if waker.will_wake(cx.waker()) => waker,
            old => {
                self.discard(old);
                cx.waker().clone()
            }
        }
    }

    /// Moves what waits to be woken and dropped to the caller's lists.
    pub(super) fn take_wakers(&mut self, wake: &mut Vec<Waker>, spent: &mut Vec<Waker>) {
        std::mem::swap(&mut self.wake, wake);
        std::mem::swap(&mut self.spent, spent);
    }

    pub(super) fn has_wakers(&self) -> bool {
        !self.wake.is_empty() || !self.spent.is_empty()
    }

    /// Sees to it that a turn comes before the runtime waits.
    pub(super) fn schedule(&mut self) {
        if !self.pump.scheduled {
            self.pump.scheduled = true;
            self.wake.extend(self.pump.waker.clone());
        }
    }

    /// The pump runs. What is scheduled from here on wakes it again.
    pub(super) fn pump_runs(&mut self, cx: &Context<'_>) {
        self.pump.scheduled = false;
        let waker = self.pump.waker.take();
        self.pump.waker = Some(self.renew(waker, cx));
    }

    pub(super) fn pace(&mut self, on: bool) {
        self.pump.paced = on;
    }

    pub(super) fn is_paced(&self) -> bool {
        self.pump.paced
    }

    // ---------------------------------------------------------------------------------------- operations

    /// Queues an operation on the socket `key`.
    ///
    /// # Safety
    /// What `build`'s entry points to must live until the operation's last completion.
    pub(super) unsafe fn begin(
        &mut self,
        key: u32,
        operation: Operation,
        build: impl FnOnce(Fd, &mut Entry) -> squeue::Entry,
    ) {
        let entry = self.entry(key);
        let fd = Fd(entry.fd.as_raw_fd());
        let operation = build(fd, entry).user_data(tag(key, operation));
        entry.operations += 1;
        self.schedule();
        self.push(operation);
    }

    fn push(&mut self, operation: squeue::Entry) {
        let Some(queue) = &mut self.queue else { return };
        // Order is kept: nothing overtakes the backlog.
        if self.backlog.is_empty() {
            // SAFETY: promised to `begin`.
            if unsafe { queue.push(&operation) } {
                return;
            }
            self.counts.enters += 1;
            if let Ok(submitted) = queue.enter(false) {
                self.counts.submitted += submitted as u64;
            }
            // SAFETY: promised to `begin`.
            if unsafe { queue.push(&operation) } {
                return;
            }
        }
        self.backlog.push_back(operation);
    }

    fn push_backlog(&mut self) {
        let Some(queue) = &mut self.queue else { return };
        while let Some(operation) = self.backlog.front() {
            // SAFETY: promised to `begin`.
            if !unsafe { queue.push(operation) } {
                return;
            }
            self.backlog.pop_front();
        }
    }

    // ---------------------------------------------------------------------------------------------- turn

    /// Submits everything, lets the kernel make its completions, and acts on all of them. Returns how many.
    pub(super) fn turn(&mut self) -> usize {
        self.begin_sends();
        self.counts.turns += 1;
        warm::anew();
        let mut reaped = 0;
        for _ in 0..ROUNDS_MAX {
            self.push_backlog();
            let Some(queue) = &mut self.queue else { return reaped };
            if queue.overflown() {
                self.counts.overflows += 1;
            }
            if queue.unsubmitted() > 0 || queue.has_deferred() {
                queue.signal(false);
                self.counts.enters += 1;
                match queue.enter(true) {
                    Ok(submitted) => self.counts.submitted += submitted as u64,
                    // Interrupted, or short of memory for a moment: what is queued stays queued.
                    Err(error) => tracing::trace!(%error, "io_uring_enter"),
                }
            }
            let found = self.reap();
            reaped += found;
            let Some(queue) = &mut self.queue else { return reaped };
            if found == 0 || !queue.has_deferred() {
                break;
            }
        }
        self.feed();
        self.rest();
        reaped
    }

    /// Submits without looking for completions.
    pub(super) fn submit(&mut self) {
        self.begin_sends();
        self.push_backlog();
        let Some(queue) = &mut self.queue else { return };
        if queue.unsubmitted() > 0 {
            self.counts.enters += 1;
            if let Ok(submitted) = queue.enter(false) {
                self.counts.submitted += submitted as u64;
            }
        }
        if self.has_unsubmitted() {
            self.schedule();
        }
    }

    /// Leaves the ring so that whatever happens next wakes somebody: by the event descriptor, or, if it has
    /// happened already or is still to be submitted, by the pump.
    fn rest(&mut self) {
        let Some(queue) = &mut self.queue else { return };
        queue.signal(true);
        if self.is_behind() {
            self.schedule();
        }
    }

    /// Whether what comes to this socket ends a rest of the worker.
    pub(super) fn urgent(&mut self, key: u32, urgent: bool) {
        let entry = self.entry(key);
        entry.watched.urgent(&entry.fd, urgent);
    }

    /// Whether there is something to reap that a turn would bring.
    pub(super) fn has_work(&mut self) -> bool {
        self.queue.as_mut().is_some_and(Queue::has_work)
    }

    /// Whether the kernel has not seen everything that was asked of it.
    pub(super) fn has_unsubmitted(&mut self) -> bool {
        !self.backlog.is_empty() || self.queue.as_mut().is_some_and(|queue| queue.unsubmitted() > 0)
    }

    /// Whether a turn would bring anything, or the kernel could bring something after it.
    pub(super) fn is_behind(&mut self) -> bool {
        self.has_work() || self.has_unsubmitted()
    }

    fn reap(&mut self) -> usize {
        let Some(queue) = &mut self.queue else { return 0 };
        let mut completions = std::mem::take(&mut self.completions);
        queue.reap(&mut completions);
        let found = completions.len();
        warm::ahead(completions.iter().copied().filter_map(receiver));
        for completion in completions.drain(..) {
            self.complete(completion);
        }
        self.completions = completions;
        self.counts.completed += found as u64;
        found
    }

    // ----------------------------------------------------------------------------------------------- end

    /// Cancels and drains everything, for at most two seconds, and ends the ring. Sockets that still have an
    /// owner are closed by it.
    pub(super) fn end(&mut self) {
        if self.queue.is_none() {
            return;
        }
        self.begin_sends();
        let keys: Vec<u32> = self.entries.iter().filter_map(|(key, _)| u32::try_from(key).ok()).collect();
        for key in &keys {
            self.cancel_all(*key, false);
        }
        self.drain();
        for key in keys {
            if self.entries.contains(key as usize) {
                self.cancel_all(key, true);
            }
        }
        self.drain();
        let left: u32 = self.entries.iter().map(|(_, entry)| entry.operations).sum();
        if left > 0 {
            // The kernel may still use their memory. This happens in no case that we know of.
            tracing::warn!(operations = left, "a ring ended with operations under way");
            self.leak();
        }
        self.backlog.clear();
        self.queue = None;
        for (_, entry) in &mut self.entries {
            entry.operations = 0;
        }
        self.lingering.clear();
        self.entries.retain(|_, entry| !entry.closing);
        self.wake_all();
    }

    fn drain(&mut self) {
        let until = Instant::now() + END_TIMEOUT;
        while self.entries.iter().any(|(_, entry)| entry.operations > 0) && Instant::now() < until {
            self.push_backlog();
            if let Some(queue) = &mut self.queue {
                queue.wait(END_STEP);
            }
            self.reap();
        }
    }

    /// Forgets, without freeing it, all memory that an operation may use.
    fn leak(&mut self) {
        for (_, entry) in &mut self.entries {
            if let Some(block) = entry.send.block.take() {
                Box::leak(Box::new(block));
            }
            if let Role::Connecting(_) = &entry.role {
                Box::leak(Box::new(std::mem::replace(&mut entry.role, Role::Stream)));
            }
        }
        self.provided.leak();
    }

    /// Nobody shall wait for a ring that has ended.
    fn wake_all(&mut self) {
        for (_, entry) in &mut self.entries {
            self.wake.extend(entry.receive.waker.take());
            self.wake.extend(entry.send.waker.take());
            self.wake.append(&mut entry.hangup.wakers);
            match &mut entry.role {
                Role::Stream => {}
                Role::Connecting(connecting) => self.wake.extend(connecting.waker.take()),
                Role::Listening(listening) => self.wake.extend(listening.waker.take()),
            }
        }
        self.wake.extend(self.pump.waker.take());
    }

    // -------------------------------------------------------------------------------------------- connect

    pub(super) fn begin_connect(&mut self, key: u32) {
        if self.queue.is_none() {
            return;
        }
        let Role::Connecting(connecting) = &self.entry(key).role else { return };
        let (address, len) = (connecting.address.as_ptr(), connecting.address.len());
        // SAFETY: the address lies in a box that the entry keeps until the operation's completion.
        unsafe { self.begin(key, Operation::Connect, |fd, _| Connect::new(fd, address.cast(), len).build()) };
    }

    pub(super) fn poll_connect(&mut self, key: u32, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if let Err(ended) = self.alive() {
            return Poll::Ready(Err(ended));
        }
        let Role::Connecting(connecting) = &mut self.entry(key).role else { return Poll::Ready(Ok(())) };
        if let Some(result) = connecting.result {
            let entry = self.entry(key);
            entry.role = Role::Stream;
            entry.watched.connected(&entry.fd);
            return Poll::Ready(result.map_err(io::Error::from));
        }
        let waker = connecting.waker.take();
        let waker = self.renew(waker, cx);
        if let Role::Connecting(connecting) = &mut self.entry(key).role {
            connecting.waker = Some(waker);
        }
        Poll::Pending
    }

    pub(super) fn connected(&mut self, key: u32, result: Result<u32, Errno>) {
        if let Role::Connecting(connecting) = &mut self.entry(key).role {
            connecting.result = Some(result.map(drop));
            let waker = connecting.waker.take();
            self.wake(waker);
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.end();
    }
}

/// The ring as its sockets know it.
#[derive(Debug)]
pub(in crate::reactor) struct Ring(RefCell<Core>);

impl Ring {
    pub(super) fn new(core: Core) -> Rc<Self> {
        Rc::new(Self(core.into()))
    }

    /// The one way in. Wakes whom `act` has found to be woken, after it.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.0.borrow_mut();
        let result = act(&mut core);
        if core.has_wakers() {
            let (mut wake, mut spent) = (Vec::new(), Vec::new());
            core.take_wakers(&mut wake, &mut spent);
            drop(core);
            wake.drain(..).for_each(Waker::wake);
            spent.clear();
            // Their memory is used again, unless somebody needed the lists meanwhile.
            let mut core = self.0.borrow_mut();
            if !core.has_wakers() {
                core.take_wakers(&mut wake, &mut spent);
            }
        }
        result
    }
}
