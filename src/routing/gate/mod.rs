//! A bound on what a target has in flight: a limit that may learn, and a fair wait in front of it.
//!
//! [`Gate`] stands before one target. Who comes when a place is free gets a [`Seat`]; who comes when none is
//! waits in [`Entering`], a future. Three parts, of which two are plain state that is tested without tasks:
//!
//! - `queue`: who gets the next place, by class and tenant. Knows tickets, no wakers, no clock.
//! - `adaptive`: how many places there are, learnt from times to the first token and from throttling.
//! - `entry`: the lock around both, and the wakers of those who wait. The only part that knows tasks.
//!
//! The lock is the one exception to "cores share atomics": a queue in order, from which anybody may leave at
//! any time, is no word that a compare-and-swap could change. Targets without a limit have no gate.

mod adaptive;
mod entry;
mod queue;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use self::adaptive::Sample;
pub use self::entry::{Entering, Gate, Seat};

/// How urgent a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Somebody waits for the answer: goes first.
    Interactive,
    /// Nobody waits: gets what is left, every sixteenth place that both classes want, and never all places.
    Batch,
}

/// How many requests a target may have in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Always this many; 0 is taken for 1, for a gate that nobody passes is a target that is switched off.
    Fixed(u32),
    /// As many as the target was seen to bear ([`Gate::learn`]).
    Adaptive {
        /// Before anything was learnt; brought between `min` and `max`. The limit grows by one for each
        /// limit's worth of answers, so a good guess is worth having.
        initial: u32,
        /// Never fewer; 0 is taken for 1.
        min: u32,
        /// Never more; `min` if it is less than that.
        max: u32,
    },
}

/// What a [`Gate`] is made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GatePolicy {
    /// Places.
    pub limit: Limit,
    /// The share of the places that batch may hold, in (0, 1], rounded down but at least one place. The rest is
    /// where an interactive request finds room without waiting for the end of a stream.
    pub batch_share_max: f64,
    /// How many may wait in each class; 0 is no queue. Each class has its own bound, so that batch which fills
    /// its queue turns no interactive request away. For the same reason between tenants, a tenant that has
    /// fewer waiting than its equal share of this bound still gets in when others have filled it; at twice the
    /// bound nobody does.
    pub queue_max: u32,
}

/// As many wait as may: nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the wait queue is full")]
pub struct Full;
