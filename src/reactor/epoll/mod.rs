//! The epoll driver: sockets of our own over one epoll instance per worker.
//!
//! What the rest of the reactor uses, all of it about the calling thread:
//!
//! - [`Poller::current`] is the instance of the runtime that runs, made when a socket asks for it first, or by
//!   [`install`] before that. Where there is a ring nothing asks.
//! - [`park`] makes a turn: it asks the kernel what has happened, marks the sockets and wakes whoever waits.
//! - [`uninstall`] gives the instance back, when the worker's runtime is gone.
//!
//! How it works. Sockets live in a slab (`poller`), and all that a chunk touches of one lies in a single cache line
//! (`entry`): its descriptor, what it is ready for, who waits. Readiness is edge-triggered and registered once; an
//! operation that finds the kernel's buffer empty, or sees that it has emptied it, takes the mark back
//! (`transfer`). tokio's own sockets do the same in memory that lies in four places; with a thousand streams on a
//! core, each of these is a cache miss per chunk.
//!
//! Who asks. [`park`] runs when no task is ready, right before tokio asks its own epoll. It waits for up to
//! [`PATIENCE`], so that at any load but the slightest a turn has one call that waits, and it is this one. tokio then
//! asks its own instance as well, once and without waiting (1.54, `current_thread::Context::park`): that serves
//! timers and what comes from other threads in every turn. When nobody was woken within the patience, the thread
//! sleeps in tokio's instance, and does so the next few times at once. Ours is registered there (muted while the worker
//! is busy), and a task (`pump`) makes the turn when it reports something; it also does so where `park` is not called,
//! because tasks keep each other awake or because the runtime is a test's and has no such hook.
//!
//! What this costs: timers, connections handed over by another worker, phases and names looked up may be late by the
//! patience, where sockets are silent for as long. tokio's timers tell no shorter times apart.

use std::time::Duration;

pub(super) use self::listener::Listener;
pub(super) use self::poller::Poller;
pub(super) use self::socket::Socket;
use super::{turn, warm};

mod entry;
mod listener;
mod outgoing;
mod poller;
mod pump;
mod socket;
#[cfg(test)]
mod tests;
mod transfer;

/// How long a worker waits in its own instance before it sleeps in tokio's.
const PATIENCE: Duration = Duration::from_millis(1);

/// What an instance holds and has done.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stats {
    /// Sockets and listeners.
    pub(super) sockets: usize,
    /// System calls made to ask what has happened.
    pub(super) turns: u64,
    /// What they have found.
    pub(super) events: u64,
    /// tokio's instance is told nothing.
    pub(super) is_muted: bool,
    /// The last turn found many sockets ready.
    pub(super) is_crowded: bool,
}

/// Makes this worker's instance.
///
/// # Errors
/// What the kernel says.
///
/// # Panics
/// Outside a runtime.
pub(super) fn install() -> std::io::Result<()> {
    Poller::current().map(drop)
}

/// Lets go of this thread's instance. Sockets that are left never become ready again.
pub(super) fn uninstall() {
    poller::forget();
}

/// No task is ready: sees what has happened, and waits for it a little.
pub(super) fn park() {
    if let Some(poller) = poller::only() {
        poller.park();
    }
}

/// Gives back what a peak of sockets has left.
pub(super) fn trim() {
    if let Some(poller) = poller::only() {
        let entries = &mut poller.core().entries;
        turn::shrink(entries);
        warm::trim(entries.capacity());
    }
}

/// What the instance of the runtime that runs holds and has done.
#[cfg(test)]
pub(super) fn stats() -> Option<Stats> {
    poller::find(tokio::runtime::Handle::current().id()).map(|poller| poller.stats())
}
