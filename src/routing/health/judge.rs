//! Ejection of outliers: who is judged, by whom, and how many may be out at once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::routing::health::board::{Board, Health};
use crate::routing::health::fuse::Stage;
use crate::routing::health::outlier::{Cause, Showing, outliers};
use crate::routing::health::pace::Pace;
use crate::routing::health::packed::Packed;
use crate::routing::health::stamp::Stamp;
use crate::routing::health::tally::Tally;
use crate::units::TargetId;

/// A target that [`Board::judge`] has just ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Who.
    pub target: TargetId,
    /// Why.
    pub cause: Cause,
    /// Since the board was made.
    pub until: Duration,
}

/// Until when a target is or was ejected; zero if it never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ejected {
    pub(super) until: Stamp,
    /// What it showed before has been forgotten since.
    is_forgotten: bool,
}

impl Packed for Ejected {
    fn pack(self) -> u64 {
        self.until.bits() | u64::from(self.is_forgotten) << Stamp::BITS
    }

    fn unpack(word: u64) -> Self {
        Self { until: Stamp::from_bits(word), is_forgotten: word >> Stamp::BITS & 1 == 1 }
    }
}

impl Board {
    /// Judges the targets of each tier by their peers, and ejects outliers, the worst first, as far as every tier that
    /// a target is in has room under `ejected_share_max`. To be called once a second with all tiers, by anybody: while
    /// one judges, others return at once with nothing.
    ///
    /// Only targets whose breaker is closed and that have enough attempts are judged and compared with; one whose
    /// ejection is over begins anew.
    pub fn judge<T: AsRef<[TargetId]>>(&self, tiers: &[T], now: Duration) -> Vec<Ejection> {
        // Acquire and release, so that who judges next sees these ejections.
        if self.is_judging.swap(true, Ordering::Acquire) {
            return Vec::new();
        }
        let ejections = self.judge_alone(tiers, Stamp::at(now));
        self.is_judging.store(false, Ordering::Release);
        ejections
    }

    fn judge_alone<T: AsRef<[TargetId]>>(&self, tiers: &[T], now: Stamp) -> Vec<Ejection> {
        let mut ejections = Vec::new();
        for tier in tiers {
            for target in tier.as_ref() {
                self.of(*target).forget_if_back(now);
            }
        }
        for tier in tiers {
            let mut peers = Vec::new();
            let mut showings = Vec::new();
            for target in tier.as_ref() {
                if let Some(showing) = self.showing(*target, now) {
                    peers.push(*target);
                    showings.push(showing);
                }
            }
            for (position, cause) in outliers(&showings, &self.policy) {
                let target = peers[position];
                if !tiers.iter().all(|tier| self.has_room(tier.as_ref(), target, now)) {
                    continue;
                }
                let until = now.plus(self.policy.ejection);
                self.of(target).ejected.store(Ejected { until, is_forgotten: false });
                ejections.push(Ejection { target, cause, until: until.duration() });
            }
        }
        ejections
    }

    /// What the target has shown, if that is enough to be judged or to be a measure.
    fn showing(&self, target: TargetId, now: Stamp) -> Option<Showing> {
        let health = self.of(target);
        let fuse = health.fuse.load();
        let tally = health.tally.load().at(fuse.generation, now);
        let is_enough = fuse.stage == Stage::Closed
            && !health.is_ejected(now)
            && tally.attempts() >= f64::from(self.policy.outlier_attempts_least);
        is_enough.then(|| Showing { failed_share: tally.failed_share(), pace: health.pace.load().average() })
    }

    /// Whether the tier stays under its ceiling when `target` is ejected too; so it does if it does not hold it.
    fn has_room(&self, tier: &[TargetId], target: TargetId, now: Stamp) -> bool {
        let is_out = |other: &&TargetId| **other == target || self.of(**other).is_ejected(now);
        let out = tier.iter().filter(is_out).count();
        !tier.contains(&target) || out as f64 <= self.policy.ejected_share_max * tier.len() as f64
    }
}

impl Health {
    /// Begins anew once after each ejection: by what it showed before, and by what was under way then, it would be
    /// ejected again without having been asked. Only who judges writes ejections.
    fn forget_if_back(&self, now: Stamp) {
        let ejected = self.ejected.load();
        if ejected.until == Stamp::ZERO || ejected.is_forgotten || now < ejected.until {
            return;
        }
        self.ejected.store(Ejected { is_forgotten: true, ..ejected });
        self.tally.store(Tally::NONE);
        self.pace.store(Pace::NONE);
    }
}
