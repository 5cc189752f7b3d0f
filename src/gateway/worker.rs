//! What one worker has, for everything that it serves.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::Snapshot;
use crate::signal::{Phase, Signal};
use crate::telemetry::Recorder;
use crate::upstream::Pool;

/// See the module.
#[derive(Debug)]
pub struct Worker {
    /// Shared with all workers.
    pub snapshot: Snapshot,
    /// This worker's connections to upstreams.
    pub pool: Rc<Pool>,
    /// This worker's shard of the metrics.
    pub recorder: Rc<Recorder>,
    /// Whether the process is on its way out.
    pub phase: Signal<Phase>,
    /// State of the random numbers.
    chance: Cell<u64>,
}

impl Worker {
    /// A worker with random numbers of its own.
    pub fn new(snapshot: Snapshot, pool: Rc<Pool>, recorder: Rc<Recorder>, phase: Signal<Phase>) -> Self {
        // The standard library seeds its hash maps from the system's random numbers.
        let chance = Cell::new(RandomState::new().hash_one(0));
        Self { snapshot, pool, recorder, phase, chance }
    }

    /// With random numbers that are the same each time.
    #[cfg(test)]
    pub(super) fn seeded(self, seed: u64) -> Self {
        self.chance.set(seed);
        self
    }

    /// The time that routing goes by.
    pub fn now(&self) -> Duration {
        self.at(Instant::now())
    }

    /// The same, for a moment that is known.
    pub fn at(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.snapshot.epoch)
    }

    /// A random number: good enough to spread load, not to keep a secret. `SplitMix64`, by Vigna's reference.
    pub fn random(&self) -> u64 {
        let state = self.chance.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.chance.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
