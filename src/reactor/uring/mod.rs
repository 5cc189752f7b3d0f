//! The io_uring driver: one ring per worker, turned by a task of the worker's own runtime.
//!
//! What the rest of the reactor uses, all of it about the calling thread:
//!
//! - [`probe()`] tells, at start and on any thread, whether rings can be had, and if not, why.
//! - [`install`] gives the worker its ring; called inside its runtime (in the future given to `block_on`, before
//!   anything else). From then on [`Conn`](super::Conn) and [`Listener`](super::listener::Listener) use it.
//! - [`turn()`] submits what is queued and hands out what has come in. Nobody has to call it: the pump task does, see
//!   `pump`. It costs nothing when there is nothing to do, so a runtime's `on_thread_park` may.
//! - [`pace`] is for a worker that holds wake-ups for a moment, so that one turn serves many streams: what was
//!   written still goes out at the end of each lap, but what comes in waits for the worker's own [`turn()`].
//! - [`uninstall`] ends the ring, when the worker's main future has ended, before or after its runtime is dropped.
//!
//! How it works. Sockets live in a slab (`core`, `entry`); a completion names its socket's key and its operation
//! (`operation`), and an entry stays until the last completion of its last operation, so none finds a stranger
//! there. Receives (`receive`) are into buffers shared by all sockets (`provided`), one at a time. Writes (`send`) are copied and go out with the next turn. `close` has the end: nothing accepted is
//! lost, no descriptor and no buffer leaks, and a peer hears of it within one turn.
//!
//! All `unsafe` of the house is here, but for one instruction in `warm`: in `memory`, `provided` and `queue` for what the kernel shares with us, and at
//! each operation for what it points to.

#![expect(unsafe_code, reason = "the one place where memory is shared with the kernel")]

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use self::core::{Core, Ring};
use self::pump::Pump;
use super::{spawn, turn, warm};

pub use self::probe::Missing;
pub(super) use self::socket::{Listener, Socket};

mod accept;
mod close;
mod core;
mod entry;
mod memory;
mod operation;
mod probe;
mod provided;
mod pump;
mod queue;
mod receive;
mod send;
mod socket;
#[cfg(test)]
mod tests;

/// Sizes of one ring. Each of the first three is rounded by the kernel to a power of two, or must be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Operations that can be queued between two turns; more are submitted early. 64 bytes each.
    pub submissions: u32,
    /// Completions that wait to be reaped; the kernel keeps more, at a price. 16 bytes each. Several times the
    /// above: what waits for its peer is not in the queue of submissions any more.
    pub completions: u32,
    /// Receive buffers, a power of two. Shared by all sockets of the worker, and only held between a receive
    /// and the reader's next poll: as many as there are sockets that receive within one lap.
    pub buffers: u16,
    /// Bytes of each. A stream's chunk is a few hundred; more than one page would only be address space.
    pub buffer_bytes: u32,
}

impl Default for Settings {
    /// 320 KiB of queues. The buffers are 4 MiB of address space, of which memory is what was ever used at once.
    fn default() -> Self {
        Self { submissions: 1024, completions: 16 * 1024, buffers: 1024, buffer_bytes: 4096 }
    }
}

/// What a ring holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sockets and listeners, also those that are being closed.
    pub sockets: usize,
    /// Operations under way.
    pub operations: usize,
    /// Receive buffers with bytes that nobody has read.
    pub receive_buffers: usize,
    /// Send buffers with bytes that the kernel has not taken.
    pub send_buffers: usize,
    /// Turns made.
    pub turns: u64,
    /// System calls made for them.
    pub enters: u64,
    /// Operations begun.
    pub submitted: u64,
    /// Completions reaped.
    pub completed: u64,
    /// Receives that found no buffer.
    pub starved: u64,
    /// Times that a socket's unread bytes were copied away to free its buffers.
    pub spills: u64,
    /// Turns that found more completions than there was room for.
    pub overflows: u64,
}

thread_local! {
    static RING: RefCell<Option<Rc<Ring>>> = const { RefCell::new(None) };
}

/// Whether a ring with these settings can be had. Leaves nothing behind.
///
/// # Errors
/// What is missing.
pub fn probe(settings: Settings) -> Result<(), Missing> {
    probe::probe(&settings)
}

/// Gives this thread its ring.
///
/// # Errors
/// What is missing; the thread is as before then.
///
/// # Panics
/// Outside a worker's runtime, or when there is a ring already.
pub fn install(settings: Settings) -> Result<(), Missing> {
    assert!(!is_installed(), "one ring per worker");
    let refused = |error: io::Error| probe::refused(&error, probe::disabled());
    let (core, event) = Core::new(&settings).map_err(refused)?;
    // SAFETY: the descriptor is owned by what is registered, which never gives it away.
    let event = unsafe { AsyncFd::register_with_interest(event, Interest::READABLE) }
        .map_err(|error| Missing::Event(error.to_string()))?;
    let ring = Ring::new(core);
    drop(spawn(Pump::new(Rc::clone(&ring), event)));
    RING.set(Some(ring));
    Ok(())
}

/// Ends this thread's ring, if it has one: sends what was accepted and cancels the rest, for at most two seconds.
/// Sockets that are left fail from then on.
pub fn uninstall() {
    if let Some(ring) = RING.take() {
        ring.with(Core::end);
    }
}

/// Whether this thread has a ring.
pub fn is_installed() -> bool {
    RING.with_borrow(Option::is_some)
}

/// Submits what is queued and hands out what has come in, if there is anything. Returns how many completions there
/// were.
pub fn turn() -> usize {
    current().map_or(0, |ring| ring.with(|core| if core.is_behind() { core.turn() } else { 0 }))
}

/// Gives back what a peak of sockets has left.
pub fn trim() {
    if let Some(ring) = current() {
        ring.with(|core| {
            turn::shrink(&mut core.entries);
            warm::trim(core.entries.capacity());
        });
    }
}

/// With `true`, what comes in waits for [`turn()`], as long as that is called. `false` at first.
pub fn pace(on: bool) {
    if let Some(ring) = current() {
        ring.with(|core| core.pace(on));
    }
}

/// What this thread's ring holds and has done.
pub fn stats() -> Option<Stats> {
    current().map(|ring| ring.with(|core| core.stats()))
}

/// This thread's ring. `None` also when the thread is about to end.
pub(super) fn current() -> Option<Rc<Ring>> {
    RING.try_with(|ring| ring.borrow().clone()).ok().flatten()
}
