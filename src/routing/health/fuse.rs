//! The breaker of one target: closed, open, half-open with one probe at a time.
//!
//! In the word, from the low end: 40 bits of time (closed: since when; open: until when; probing: when the probe
//! expires), 2 bits of state, 10 bits of a count (closed: failures in a row; else: trips without a success between),
//! 12 bits of generation.
//!
//! The generation counts probes. Who is let in takes it along and names it when it reports, so a result is told from
//! one of a request that began before the breaker opened: that one belongs to an earlier generation, or finds the
//! breaker open, and either way changes nothing. A late success must not close it: a stream's commit from before, or a
//! request that was already past what is broken now, says nothing of the next one, and the probe will say it within
//! the time that it stays open. A late failure must not open it again: of a thousand requests that stalled together
//! each would. A mistaken identity takes 4096 probes within one request.

use std::time::Duration;

use crate::routing::health::packed::{Packed, field};
use crate::routing::health::stamp::Stamp;
use crate::routing::health::{Entry, HealthPolicy, PROBE_WAIT};
use crate::units::TargetId;

const STATE: u32 = Stamp::BITS;
const COUNT: u32 = STATE + 2;
const COUNT_BITS: u32 = 10;
const GENERATION: u32 = COUNT + COUNT_BITS;
const GENERATION_BITS: u32 = 12;

/// The largest failures in a row, and trips, that are told apart.
const COUNT_MAX: u16 = (1 << COUNT_BITS) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Closed,
    /// Shut until its time; from then on half-open, and the probe's place is free.
    Open,
    /// Half-open, and the probe is out.
    Probing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fuse {
    pub(super) stage: Stage,
    at: Stamp,
    count: u16,
    pub(super) generation: u16,
}

impl Packed for Fuse {
    fn pack(self) -> u64 {
        let stage = match self.stage {
            Stage::Closed => 0,
            Stage::Open => 1,
            Stage::Probing => 2,
        };
        self.at.bits() | stage << STATE | u64::from(self.count) << COUNT | u64::from(self.generation) << GENERATION
    }

    fn unpack(word: u64) -> Self {
        let stage = match field(word, STATE, 2) {
            1 => Stage::Open,
            2 => Stage::Probing,
            _ => Stage::Closed,
        };
        Self {
            stage,
            at: Stamp::from_bits(word),
            count: field(word, COUNT, COUNT_BITS),
            generation: field(word, GENERATION, GENERATION_BITS),
        }
    }
}

impl Fuse {
    /// Whether somebody may go in now.
    pub(super) fn enter(self, now: Stamp, policy: &HealthPolicy) -> Entry<Self> {
        match self.stage {
            Stage::Closed => Entry::Free,
            Stage::Open if now < self.at => Entry::Shut(self.at),
            Stage::Probing if now < self.at => Entry::Shut(self.at.min(now.plus(PROBE_WAIT))),
            Stage::Open | Stage::Probing => Entry::Probe(Self {
                stage: Stage::Probing,
                at: now.plus(policy.probe),
                generation: (self.generation + 1) & ((1 << GENERATION_BITS) - 1),
                ..self
            }),
        }
    }

    /// Whether a result of that generation counts: the probe's own, or one of those let in since it closed.
    pub(super) fn hears(self, generation: u16) -> bool {
        self.stage != Stage::Open && self.generation == generation
    }

    /// Failures in a row, while closed.
    pub(super) fn row(self) -> u16 {
        if self.stage == Stage::Closed { self.count } else { 0 }
    }

    /// How often it opened without a success between; 0 while closed.
    pub(super) fn trips(self) -> u16 {
        if self.stage == Stage::Closed { 0 } else { self.count }
    }

    /// The state after a success; `None` if it says nothing new.
    pub(super) fn on_success(self, generation: u16, now: Stamp) -> Option<Self> {
        if !self.hears(generation) {
            return None;
        }
        match self.stage {
            Stage::Closed if self.count > 0 => Some(Self { count: 0, ..self }),
            // Zero would mean that it never opened.
            Stage::Probing => {
                let at = now.max(Stamp::at(Duration::from_millis(1)));
                Some(Self { stage: Stage::Closed, at, count: 0, ..self })
            }
            Stage::Closed | Stage::Open => None,
        }
    }

    /// The state after a failure; `None` if it says nothing new. `over_ratio`: whether the target fails too often
    /// even without a row.
    pub(super) fn on_failure(
        self,
        generation: u16,
        over_ratio: bool,
        target: TargetId,
        now: Stamp,
        policy: &HealthPolicy,
    ) -> Option<Self> {
        if !self.hears(generation) {
            return None;
        }
        let count = self.count.saturating_add(1).min(COUNT_MAX);
        let trips = match self.stage {
            Stage::Closed if over_ratio || u32::from(count) >= policy.breaker_failures => 1,
            Stage::Closed => return Some(Self { count, ..self }),
            Stage::Open | Stage::Probing => count,
        };
        let at = now.plus(open_for(target, trips, policy));
        Some(Self { stage: Stage::Open, at, count: trips, ..self })
    }

    /// The state after a probe without a verdict: its place is free at once. `None` for everybody else.
    pub(super) fn on_abandoned(self, generation: u16, now: Stamp) -> Option<Self> {
        let is_probe = self.stage == Stage::Probing && self.generation == generation;
        is_probe.then_some(Self { stage: Stage::Open, at: now, ..self })
    }

    /// When it last closed after having been open; `None` while it is not closed. The beginning if it never opened.
    pub(super) fn closed_since(self) -> Option<Stamp> {
        (self.stage == Stage::Closed).then_some(self.at)
    }

    /// Whether it is open and its time is not over.
    pub(super) fn is_open(self, now: Stamp) -> bool {
        self.stage == Stage::Open && now < self.at
    }
}

/// How long it stays open: doubled with each trip, up to the longest, then up to 10 % more or less, so that targets
/// that failed together are not probed together. The jitter is a hash, so that it can be told beforehand.
fn open_for(target: TargetId, trips: u16, policy: &HealthPolicy) -> Duration {
    let doubled = policy.open.saturating_mul(2_u32.saturating_pow(u32::from(trips.saturating_sub(1))));
    // SplitMix64's finalizer over (target, trips); three decimal digits of it are plenty.
    let mut hash = (u64::from(trips) << 16 | target.index() as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    let thousandths = 900 + u32::try_from(hash % 201).unwrap_or(100);
    doubled.min(policy.open_max).saturating_mul(thousandths) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: fn() -> TargetId = || TargetId::new(3);

    fn at(millis: u64) -> Stamp {
        Stamp::at(Duration::from_millis(millis))
    }

    fn closed() -> Fuse {
        Fuse::unpack(0)
    }

    fn tripped(now: Stamp, policy: &HealthPolicy) -> Fuse {
        (0..policy.breaker_failures)
            .fold(closed(), |fuse, _| fuse.on_failure(0, false, TARGET(), now, policy).expect("counted"))
    }

    fn probe(fuse: Fuse, now: Stamp, policy: &HealthPolicy) -> Fuse {
        match fuse.enter(now, policy) {
            Entry::Probe(next) => next,
            other => panic!("no probe: {other:?}"),
        }
    }

    #[test]
    fn every_state_survives_its_packing() {
        for stage in [Stage::Closed, Stage::Open, Stage::Probing] {
            for at in [Stamp::ZERO, at(1), Stamp::at(Duration::MAX)] {
                for count in [0, 1, 5, COUNT_MAX] {
                    for generation in [0, 1, (1 << GENERATION_BITS) - 1] {
                        let fuse = Fuse { stage, at, count, generation };
                        assert_eq!(Fuse::unpack(fuse.pack()), fuse);
                    }
                }
            }
        }
        assert_eq!(closed(), Fuse { stage: Stage::Closed, at: Stamp::ZERO, count: 0, generation: 0 });
    }

    #[test]
    fn it_opens_after_a_row_of_failures_and_a_success_breaks_the_row() {
        // (S)uccesses and (F)ailures, and whether it is open after them.
        for (results, opens) in [
            ("", false),
            ("FFFF", false),
            ("FFFFF", true),
            ("FFFFSFFFF", false),
            ("FFFFSFFFFF", true),
            ("SFSFSFSFSFSF", false),
        ] {
            let policy = HealthPolicy::default();
            let fuse = results.chars().fold(closed(), |fuse, result| {
                let next = match result {
                    'S' => fuse.on_success(0, at(10)),
                    _ => fuse.on_failure(0, false, TARGET(), at(10), &policy),
                };
                next.unwrap_or(fuse)
            });
            assert_eq!(fuse.stage == Stage::Open, opens, "{results}");
        }
        let over = closed().on_failure(0, true, TARGET(), at(10), &HealthPolicy::default()).expect("counted");
        assert_eq!(over.stage, Stage::Open, "too many without a row");
    }

    #[test]
    fn it_stays_open_twice_as_long_after_each_failed_probe_up_to_the_longest() {
        let policy = HealthPolicy::default();
        let mut now = at(1000);
        let mut fuse = tripped(now, &policy);
        for nominal in [5, 10, 20, 40, 60, 60, 60] {
            let Entry::Shut(until) = fuse.enter(now, &policy) else { panic!("shut: {fuse:?}") };
            let length = until.since(now).as_secs_f64();
            assert!((length / f64::from(nominal) - 1.0).abs() <= 0.1001, "{length} for {nominal}");
            now = until;
            fuse = probe(fuse, now, &policy);
            fuse = fuse.on_failure(fuse.generation, false, TARGET(), now, &policy).expect("the probe's");
        }
        fuse = probe(fuse, now.plus(Duration::from_secs(70)), &policy);
        fuse = fuse.on_success(fuse.generation, now).expect("the probe's");
        assert_eq!((fuse.stage, fuse.trips(), fuse.row()), (Stage::Closed, 0, 0));
    }

    #[test]
    fn the_jitter_differs_between_targets_and_not_between_runs() {
        let policy = HealthPolicy::default();
        let lengths: std::collections::BTreeSet<_> =
            (0..100).map(|target| open_for(TargetId::new(target), 1, &policy)).collect();
        assert!(lengths.len() > 60, "{} lengths", lengths.len());
        assert!(lengths.iter().all(|length| (4500..=5500).contains(&length.as_millis())));
        assert_eq!(open_for(TARGET(), 2, &policy), open_for(TARGET(), 2, &policy));
    }

    #[test]
    fn while_a_probe_is_out_nobody_else_goes_in() {
        let policy = HealthPolicy::default();
        let out = probe(tripped(at(0), &policy), at(6000), &policy);
        assert_eq!(out.enter(at(6000), &policy), Entry::Shut(at(7000)));
        assert_eq!(out.enter(at(65_500), &policy), Entry::Shut(at(66_000)));
        let second = probe(out, at(66_000), &policy);
        assert_ne!(second.generation, out.generation);
        assert_eq!(second.on_success(out.generation, at(66_001)), None, "the expired probe's word comes too late");
        assert_eq!(second.on_failure(out.generation, false, TARGET(), at(66_001), &policy), None);
        assert_eq!(second.on_abandoned(out.generation, at(66_001)), None);
    }

    #[test]
    fn an_expired_probe_is_heard_while_nobody_has_taken_its_place() {
        let policy = HealthPolicy::default();
        let out = probe(tripped(at(0), &policy), at(6000), &policy);
        assert_eq!(out.on_success(out.generation, at(900_000)).expect("heard").stage, Stage::Closed);
    }

    #[test]
    fn an_abandoned_probe_leaves_its_place_once() {
        let policy = HealthPolicy::default();
        let out = probe(tripped(at(0), &policy), at(6000), &policy);
        let left = out.on_abandoned(out.generation, at(6100)).expect("free again");
        assert_eq!(left.trips(), 1, "it is not a failure");
        assert_eq!(left.on_abandoned(out.generation, at(6100)), None);
        let second = probe(left, at(6100), &policy);
        assert_eq!(second.on_abandoned(out.generation, at(6200)), None, "the place is another's by now");
    }

    #[test]
    fn late_results_change_nothing() {
        let policy = HealthPolicy::default();
        let open = tripped(at(0), &policy);
        let out = probe(open, at(6000), &policy);
        let closed_again = out.on_success(out.generation, at(6500)).expect("closes");
        for fuse in [open, out, closed_again] {
            assert_eq!(fuse.on_success(0, at(7000)), None, "{fuse:?}");
            assert_eq!(fuse.on_failure(0, true, TARGET(), at(7000), &policy), None, "{fuse:?}");
            assert_eq!(fuse.on_abandoned(0, at(7000)), None, "{fuse:?}");
        }
        let cut = closed_again.on_failure(out.generation, false, TARGET(), at(8000), &policy);
        assert_eq!(cut.expect("counts").row(), 1, "the probe that closed it may still be cut");
    }

    #[test]
    fn the_generation_wraps() {
        let policy = HealthPolicy::default();
        let last = Fuse { generation: (1 << GENERATION_BITS) - 1, ..tripped(at(0), &policy) };
        assert_eq!(probe(last, at(6000), &policy).generation, 0);
    }
}
