//! What a worker does between two turns of its event loop.
//!
//! tokio calls `park` when no task is ready, right before it asks the kernel what has happened, and `unpark`
//! when the kernel has said so. What becomes ready between the two waits, for at most one rest: 300 us under
//! `tick = "auto"`, the duration that is written otherwise. After the rest the driver makes its turn, within `park`; the
//! one over epoll also waits there for its sockets, for up to 1 ms (`epoll`).
//!
//! Where somebody waits for the very bytes, a rest ends at once (`lookout`): for a connection to accept, a
//! request, a client that leaves, an upstream connection that stands, the answer's head and its first bytes, and
//! all of an answer whose length is known. What remains may be late by a whole rest:
//!
//! - the chunks of a running stream, for which rests are made, and whatever else its upstream's connection brings
//!   meanwhile: over HTTP/2 that may be a first byte for a sibling;
//! - what reaches a worker by no socket of its own: timers (a keep-alive comment, a deadline), a connection handed
//!   over by another worker, a name looked up; under epoll by 1 ms more, where no socket has anything meanwhile;
//! - what a connection that has ended one rest brings before it is read.

use std::cell::RefCell;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::Duration;

use rustix::thread::set_current_timer_slack;
use slab::Slab;
use tokio::time::Instant;

use super::tick::Tick;
use super::{epoll, lookout, uring};
use crate::config;
use crate::telemetry::Recorder;

/// By how many nanoseconds the kernel may delay the end of a rest in order to join it with other wake-ups. Its
/// default is 50 us, half of a short rest.
const TIMER_SLACK: NonZeroU64 = NonZeroU64::MIN;

/// Places that a table may keep without holding anything.
pub(super) const TRIMMED_FROM: usize = 1024;

thread_local! {
    /// This thread's, where it is a worker. The hooks of a runtime must be `Send`, so they can't hold it.
    static TURNS: RefCell<Option<Turns>> = const { RefCell::new(None) };
}

struct Turns {
    tick: Tick,
    recorder: Rc<Recorder>,
    /// When the last turn ended.
    parked: Instant,
    /// When the current one began.
    woken: Instant,
}

/// From now on the turns of this thread are counted, and rests follow them as `setting` says.
pub fn begin(setting: config::Tick, recorder: Rc<Recorder>) {
    let make = if uring::current().is_some() { Tick::of_ring } else { Tick::new };
    let (mut tick, now) = (make(setting), Instant::now());
    if !tick.is_off() {
        if let Err(error) = set_current_timer_slack(Some(TIMER_SLACK)) {
            tracing::debug!(%error, "rests may be longer than they should");
        }
        if let Err(error) = lookout::begin() {
            tracing::warn!(%error, "server.tick is off: nothing could end a rest");
            tick = Tick::new(config::Tick::Off);
        }
        // What comes in waits for the end of a rest, as it does in epoll.
        uring::pace(!tick.is_off());
    }
    TURNS.set(Some(Turns { tick, recorder, parked: now, woken: now }));
}

/// No task is ready, and what they have queued for the kernel has gone to it: the io_uring driver sees to that at
/// the end of each lap. What it has done is fetched after the rest, and what has come to the sockets of the other.
pub(super) fn park() {
    let rest = TURNS.with_borrow_mut(|turns| turns.as_mut().map_or(Duration::ZERO, Turns::end));
    if !rest.is_zero() {
        let cut = lookout::rest(rest);
        TURNS.with_borrow(|turns| {
            if let Some(turns) = turns {
                turns.recorder.reactor_rested(turns.parked.elapsed(), cut);
            }
        });
    }
    uring::turn();
    epoll::park();
}

/// Gives back what a peak of connections has left of tables on this thread. To be called now and then.
pub fn trim() {
    lookout::trim();
    uring::trim();
    epoll::trim();
}

/// Shrinks a slab that has room for four times what it holds, down to the last place that is taken.
pub(super) fn shrink<T>(slab: &mut Slab<T>) {
    if slab.capacity() > TRIMMED_FROM && slab.len() < slab.capacity() / 4 {
        slab.shrink_to_fit();
    }
}

/// Something has happened.
pub(super) fn unpark() {
    TURNS.with_borrow_mut(|turns| {
        if let Some(turns) = turns.as_mut().filter(|turns| !turns.tick.is_off()) {
            turns.woken = Instant::now();
        }
    });
}

impl Turns {
    /// Ends a turn, and says how long to rest.
    fn end(&mut self) -> Duration {
        self.recorder.reactor_turned();
        if self.tick.is_off() {
            return Duration::ZERO;
        }
        let now = Instant::now();
        // By the wall clock: the thread's own time would be a system call, and where another program has the
        // core, this one is as short of it as if it worked. The way into and out of the kernel counts as idle.
        let rest = self.tick.rest_after(self.woken - self.parked, now - self.woken);
        self.parked = now;
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peak_has_left_is_given_back_down_to_the_last_that_is_taken() {
        let mut slab: Slab<u64> = (0..10 * TRIMMED_FROM).map(|key| (key, 0)).collect();
        let keys = |slab: &Slab<u64>| slab.iter().map(|(key, _)| key).collect::<Vec<_>>();
        slab.retain(|key, _| key < 3 || key == 5 * TRIMMED_FROM);
        shrink(&mut slab);
        assert!((5 * TRIMMED_FROM..6 * TRIMMED_FROM).contains(&slab.capacity()), "{}", slab.capacity());
        slab.remove(5 * TRIMMED_FROM);
        shrink(&mut slab);
        assert!(slab.capacity() < TRIMMED_FROM, "{}", slab.capacity());
        assert_eq!(keys(&slab), [0, 1, 2]);
        assert_eq!(slab.insert(1), 3);
    }

    #[test]
    fn a_table_that_is_small_or_in_use_stays() {
        for (places, kept) in [(TRIMMED_FROM / 2, 0), (10 * TRIMMED_FROM, 5 * TRIMMED_FROM)] {
            let mut slab: Slab<u64> = (0..places).map(|key| (key, 0)).collect();
            slab.retain(|key, _| key < kept);
            let before = slab.capacity();
            shrink(&mut slab);
            assert_eq!(slab.capacity(), before);
        }
    }
}
