//! What the instance knows of one socket: one cache line.

use std::os::fd::OwnedFd;
use std::task::{Context, Waker};

use crate::reactor::lookout::Watched;

/// One socket. Lives until its last handle is gone.
///
/// Of the size of a cache line and nowhere across two: a chunk touches no more of a socket than this.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Entry {
    pub(super) fd: OwnedFd,
    /// What comes here may end a rest of the worker.
    pub(super) watched: Watched,
    /// Tells it from an earlier one under the same key.
    pub(super) serial: u32,
    pub(super) handles: u16,
    /// Futures that wait for the hang-up; not counted beyond 255.
    pub(super) watchers: u8,
    pub(super) ready: Ready,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// Whoever waits for the hang-up, if that is one. The others stand in a list aside.
    pub(super) hangup: Option<Waker>,
}

/// What a socket is known to be ready for, and what else is true of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ready(u8);

impl Ready {
    /// A read may find something.
    pub(super) const READABLE: Self = Self(1);
    /// A write may be taken.
    pub(super) const WRITABLE: Self = Self(1 << 1);
    /// The peer has closed its sending side, or the connection has failed. Stays.
    pub(super) const CLOSED: Self = Self(1 << 2);
    /// The last read filled its buffer: there is probably more.
    pub(super) const FILLED: Self = Self(1 << 3);
    /// More than one task waits for the hang-up.
    pub(super) const CROWDED: Self = Self(1 << 4);

    /// Small writes may wait for the end of the lap.
    pub(super) const BATCHED: Self = Self(1 << 5);
    /// One of them does.
    pub(super) const QUEUED: Self = Self(1 << 6);
    /// What waited could not be sent to its end: no other write may go before the rest.
    pub(super) const LEFT: Self = Self(1 << 7);

    pub(super) const NONE: Self = Self(0);

    #[must_use]
    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn is(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

/// Puts the task's waker into `slot`, and returns the one that it replaces: to be dropped when nothing is borrowed.
#[must_use = "a waker that is dropped may run anybody's code"]
pub(super) fn renew(slot: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => None,
        slot => slot.replace(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use slab::Slab;

    use super::Entry;

    #[test]
    fn a_socket_is_one_cache_line() {
        assert_eq!((size_of::<Entry>(), align_of::<Entry>()), (64, 64));
        // As it lies in the slab, which knows of each place whether it is taken.
        let mut slab = Slab::<Entry>::with_capacity(1);
        slab.reserve_exact(1);
        assert_eq!(size_of::<Vacancy>(), 64);
    }

    /// What the slab's own entry is made like.
    #[expect(dead_code, reason = "only measured")]
    enum Vacancy {
        Vacant(usize),
        Occupied(Entry),
    }
}
