//! Fewer acknowledgements for fast streams.
//!
//! Read as it comes, each small chunk is acknowledged by itself, which is one more packet through the kernel. It can wait
//! for the second segment instead ([`Conn::delay_acks`]), and stops waiting by itself as soon as one chunk has come alone
//! for some 40 ms. A slow stream gains nothing then, and an upstream that holds small segments back until the last one is acknowledged
//! (Nagle's algorithm, without `TCP_NODELAY`) has held back one of its own chunks for as long.
//!
//! So it is tried by one stream first. Has the kernel not had to stop within [`READS_PER_LOOK`] reads, then this
//! upstream sends small segments without waiting, and all its streams do it; else none does for [`TRY_AGAIN`].

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::reactor::Conn;

/// After how many reads a stream looks whether the kernel still waits, and lets it wait again if that has paid.
const READS_PER_LOOK: u8 = 16;

/// For how long nobody tries after it did not pay. One chunk of one stream may be late by 40 ms in that time, if its
/// upstream does not send before it is acknowledged.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// How much better than worse it has to have gone lately; with none left nobody does it.
const CREDIT_MOST: u8 = 8;

/// What is known of one upstream's streams on this core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nothing.
    Unknown,
    /// Since then one stream tries.
    Tried(Instant),
    /// It pays; by so much.
    Pays(u8),
    /// At that time it did not.
    Fails(Instant),
}

impl Trust {
    /// Whether a stream may begin, and what is known then.
    fn begin(self, now: Instant) -> (bool, Self) {
        match self {
            Self::Pays(_) => (true, self),
            Self::Tried(at) | Self::Fails(at) if now.saturating_duration_since(at) < TRY_AGAIN => (false, self),
            Self::Unknown | Self::Tried(_) | Self::Fails(_) => (true, Self::Tried(now)),
        }
    }

    /// A stream that had begun has looked.
    fn learn(self, still: bool, now: Instant) -> Self {
        match (self, still) {
            (Self::Pays(credit), true) => Self::Pays(CREDIT_MOST.min(credit + 1)),
            (_, true) => Self::Pays(1),
            (Self::Pays(credit), false) if credit > 1 => Self::Pays(credit - 1),
            (_, false) => Self::Fails(now),
        }
    }
}

/// One upstream's, on this core.
#[derive(Debug)]
pub(super) struct Acks(Cell<Trust>);

impl Default for Acks {
    fn default() -> Self {
        Self(Cell::new(Trust::Unknown))
    }
}

impl Acks {
    #[cfg(test)]
    pub(super) fn trust(&self) -> Trust {
        self.0.get()
    }
}

/// One stream's. Two bytes: a stream holds them for as long as it lives.
#[derive(Debug)]
pub(super) struct Pace {
    reads: u8,
    delayed: bool,
}

impl Pace {
    /// A stream has begun. One that tries does so later: its first token shall not be the one that is late.
    pub(super) fn begin(acks: &Acks, conn: &Conn) -> Self {
        let pays = matches!(acks.0.get(), Trust::Pays(_));
        Self { reads: 0, delayed: pays && conn.delay_acks().is_ok() }
    }

    /// A piece of it has been read.
    pub(super) fn read(&mut self, acks: &Acks, conn: &Conn) {
        self.reads += 1;
        if self.reads < READS_PER_LOOK {
            return;
        }
        self.reads = 0;
        let now = Instant::now();
        if self.delayed {
            self.delayed = conn.delays_acks().unwrap_or(false);
            acks.0.set(acks.0.get().learn(self.delayed, now));
        }
        if !self.delayed {
            let (may, trust) = acks.0.get().begin(now);
            acks.0.set(trust);
            self.delayed = may && conn.delay_acks().is_ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stream_tries_first() {
        let now = Instant::now();
        let (may, trust) = Trust::Unknown.begin(now);
        assert!(may);
        let soon = now + TRY_AGAIN / 2;
        assert_eq!(trust.begin(soon), (false, trust));
        let pays = trust.learn(true, soon);
        assert!(pays.begin(soon).0);
        let fails = trust.learn(false, soon);
        assert_eq!(fails.begin(soon), (false, fails));
        assert_eq!(fails.begin(now + TRY_AGAIN), (false, fails), "counted from the failure");
        assert_eq!(fails.begin(soon + TRY_AGAIN), (true, Trust::Tried(soon + TRY_AGAIN)));
    }

    #[test]
    fn one_that_tried_and_was_never_heard_of_again_is_followed_by_another() {
        let now = Instant::now();
        let (_, trust) = Trust::Unknown.begin(now);
        assert!(trust.begin(now + TRY_AGAIN).0);
    }

    #[test]
    fn a_gap_now_and_then_ends_nothing_and_many_do() {
        let now = Instant::now();
        let told =
            |stills: &[bool]| stills.iter().fold(Trust::Tried(now), |trust, still| trust.learn(*still, now));
        assert_eq!(told(&[true, true, false, true, false, true]), Trust::Pays(2));
        assert_eq!(told(&[true, true, false, false]), Trust::Fails(now));
        let long = told(&[true; 100]);
        assert_eq!(long, Trust::Pays(CREDIT_MOST));
        let changed = (0..CREDIT_MOST).fold(long, |trust, _| trust.learn(false, now));
        assert_eq!(changed, Trust::Fails(now));
    }
}
