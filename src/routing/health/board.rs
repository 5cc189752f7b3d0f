//! The shared health of all targets: who may be asked, and what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::routing::health::fuse::{Fuse, Stage};
use crate::routing::health::judge::Ejected;
use crate::routing::health::pace::Pace;
use crate::routing::health::packed::Shared;
use crate::routing::health::stamp::Stamp;
use crate::routing::health::tally::Tally;
use crate::routing::health::throttle::{CELLS, Cooldown, Place, Throttled};
use crate::routing::health::verdict::{Admission, Pass, Snapshot, Standing, State};
use crate::routing::health::{Entry, Fault, HealthPolicy};
use crate::units::TargetId;

/// The health of all targets, shared by all workers. Atomics only, so nobody waits; a target that is well costs two
/// loads to be admitted, and two swaps when it succeeds.
///
/// Every `now` is the time since the board was made, by the caller's clock. Methods that take a [`TargetId`] panic
/// when it lies beyond the number of targets that the board was made for.
#[derive(Debug)]
pub struct Board {
    pub(super) policy: HealthPolicy,
    targets: Box<[Health]>,
    /// Whether somebody judges. Two at once could each see room under a ceiling for one.
    pub(super) is_judging: AtomicBool,
}

/// One target's. Own cache lines, so that a busy target does not slow down its neighbours'.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Health {
    open: AtomicU32,
    pub(super) fuse: Shared<Fuse>,
    pub(super) tally: Shared<Tally>,
    pub(super) pace: Shared<Pace>,
    pub(super) ejected: Shared<Ejected>,
    cooldowns: [Shared<Cooldown>; CELLS],
}

/// The share of its load that a target bears when it has just come back. A tenth shows within seconds whether it is
/// well, and few suffer if not.
const WARMTH_LEAST: f64 = 0.1;

/// From this share of failures on, a target is doubtful.
const DOUBTFUL_SHARE: f64 = 0.1;

/// And from so many on, as the tally has them: a single failure counts for less after 10 s.
const DOUBTFUL_FAILURES: f64 = 0.5;

impl Board {
    /// All targets well, with no history: closed, warm, nobody ejected.
    pub fn new(targets: usize, policy: HealthPolicy) -> Arc<Self> {
        let targets = (0..targets).map(|_| Health::new()).collect();
        Arc::new(Self { policy, targets, is_judging: AtomicBool::new(false) })
    }

    /// Streams that are open to the target.
    pub fn open(&self, target: TargetId) -> u32 {
        self.of(target).open.load(Ordering::Relaxed)
    }

    /// An attempt at the target begins; call [`Board::ended`] once for each.
    pub fn began(&self, target: TargetId) {
        self.of(target).open.fetch_add(1, Ordering::Relaxed);
    }

    /// An attempt at the target has ended, however. One too many is ignored.
    pub fn ended(&self, target: TargetId) {
        // `Err` only where there was nothing to take away.
        self.of(target).open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| open.checked_sub(1)).ok();
    }

    /// Whether a request for the model (by the hash of the client's name for it) may go to the target; takes the
    /// probe's place where that is how. Ejection is asked for apart ([`Board::is_ejected`]): it is a matter of the
    /// tier.
    pub fn admit(&self, target: TargetId, model: u64, now: Duration) -> Admission {
        let (health, place, now) = (self.of(target), Place::of(model), Stamp::at(now));
        let shut = |until: Stamp| Admission::Shut { until: until.duration() };
        if let Entry::Shut(until) = health.fuse.load().enter(now, &self.policy) {
            return shut(until);
        }
        // Both places or none. While the first is held, others are turned away: one request may miss its turn, but no
        // second probe goes out.
        let cooldown = &health.cooldowns[place.cell];
        let (state, entry) = cooldown.enter(|state| state.enter(place.tag, now, &self.policy));
        let throttle_probe = match entry {
            Entry::Free => None,
            Entry::Probe(_) => Some(state.generation()),
            Entry::Shut(until) => return shut(until),
        };
        let (fuse, entry) = health.fuse.enter(|fuse| fuse.enter(now, &self.policy));
        if let Entry::Shut(until) = entry {
            cooldown.update(|state| state.on_abandoned(place.tag, throttle_probe, now));
            return shut(until);
        }
        let is_fuse_probe = matches!(entry, Entry::Probe(_));
        let pass = Pass { target, place, generation: fuse.generation, is_fuse_probe, throttle_probe };
        if pass.is_probe() { Admission::Probe(pass) } else { Admission::Free(pass) }
    }

    /// As [`Board::admit`], without taking the probe's place; and whether there are doubts.
    pub fn peek(&self, target: TargetId, model: u64, now: Duration) -> Standing {
        let (health, place, now) = (self.of(target), Place::of(model), Stamp::at(now));
        let fuse = health.fuse.load();
        let cooldown = health.cooldowns[place.cell].load();
        let entries = (fuse.enter(now, &self.policy), cooldown.enter(place.tag, now, &self.policy));
        let shut = |until: Stamp| Standing::Shut { until: until.duration() };
        match entries {
            (Entry::Shut(until), Entry::Shut(other)) => return shut(until.max(other)),
            (Entry::Shut(until), _) | (_, Entry::Shut(until)) => return shut(until),
            (Entry::Probe(_), _) | (_, Entry::Probe(_)) => return Standing::Probe,
            (Entry::Free, Entry::Free) => {}
        }
        let tally = health.tally.load().at(fuse.generation, now);
        // Also a row of failures is forgiven with time: where all go to good targets, none would ever end it.
        let has_failed = fuse.row() > 0 || tally.failed_share() >= DOUBTFUL_SHARE;
        let is_doubtful = has_failed && tally.failures() >= DOUBTFUL_FAILURES;
        if is_doubtful { Standing::Doubtful } else { Standing::Good }
    }

    /// The attempt committed: a first token, or a whole answer. `first_token` is how long that took, where it can be
    /// told. Returns whether this closed the breaker.
    pub fn succeeded(&self, pass: Pass, first_token: Option<Duration>, now: Duration) -> bool {
        let (health, now) = (self.of(pass.target), Stamp::at(now));
        if let Some(probe) = pass.throttle_probe {
            health.cooldown(pass).update(|state| state.on_success(pass.place.tag, Some(probe)));
        }
        if !health.fuse.load().hears(pass.generation) {
            return false;
        }
        health.tally.update(|tally| Some(tally.at(pass.generation, now).success()));
        let turned = health.fuse.update(|fuse| fuse.on_success(pass.generation, now));
        let closed = turned.is_some_and(|(before, _)| before.stage == Stage::Probing);
        if closed {
            // What it was like before says nothing of what it is like now.
            health.pace.store(Pace::NONE);
        }
        if let Some(first_token) = first_token {
            health.pace.update(|pace| Some(pace.sample(first_token, now)));
        }
        closed
    }

    /// The attempt failed by the target's fault. Returns whether this opened the breaker.
    pub fn failed(&self, pass: Pass, fault: Fault, now: Duration) -> bool {
        let (health, now) = (self.of(pass.target), Stamp::at(now));
        self.leave_cooldown(pass, now);
        if !health.fuse.load().hears(pass.generation) {
            return false;
        }
        let failure = |tally: Tally| {
            let tally = tally.at(pass.generation, now);
            Some(if fault == Fault::Aborted { tally.take_back().failure() } else { tally.failure() })
        };
        let over = health
            .tally
            .update(failure)
            .is_some_and(|(_, tally)| tally.is_over(self.policy.breaker_ratio, self.policy.breaker_ratio_least));
        let next = |fuse: Fuse| fuse.on_failure(pass.generation, over, pass.target, now, &self.policy);
        health.fuse.update(next).is_some_and(|(_, after)| after.stage == Stage::Open)
    }

    /// The target said 429, 529 or the like: the model gets a cooldown there, and the breaker learns nothing, neither
    /// good nor bad. `retry_after`: what the provider named; `spent`: no quota is left, so that seconds will not help.
    pub fn throttled(&self, pass: Pass, retry_after: Option<Duration>, spent: bool, now: Duration) {
        let (health, now) = (self.of(pass.target), Stamp::at(now));
        let said = Throttled { retry_after, spent };
        let next =
            |state: Cooldown| state.on_throttled(pass.place.tag, pass.throttle_probe, said, now, &self.policy);
        // The cooldown first: between the two, somebody could take the breaker's place that is free again.
        health.cooldown(pass).update(next);
        self.leave_fuse(pass, now);
    }

    /// The attempt ended without a verdict on the target: the client left or is to blame (4xx), a hedge lost. A
    /// probe's place is free again; else nothing happens.
    pub fn abandoned(&self, pass: Pass, now: Duration) {
        let now = Stamp::at(now);
        self.leave_cooldown(pass, now);
        self.leave_fuse(pass, now);
    }

    /// The time to first token to expect: a moving average with a half-life of 10 s, in which no sample weighs more
    /// than a quarter. Without samples it fades, so that a slow target gets another chance. `None` before the first.
    pub fn pace(&self, target: TargetId, now: Duration) -> Option<Duration> {
        self.of(target).pace.load().expected(Stamp::at(now))
    }

    /// The share of its weight that a target should bear: 0.1 when it has just come back from an open breaker or an
    /// ejection, and before; 1 after `slow_start`, and if it never was away.
    pub fn warmth(&self, target: TargetId, now: Duration) -> f64 {
        let (health, now) = (self.of(target), Stamp::at(now));
        let Some(closed) = health.fuse.load().closed_since() else { return WARMTH_LEAST };
        let back = closed.max(health.ejected.load().until);
        let away_never = back == Stamp::ZERO;
        let (since, whole) = (now.since(back), self.policy.slow_start);
        if away_never || since >= whole {
            return 1.0;
        }
        WARMTH_LEAST + (1.0 - WARMTH_LEAST) * since.as_secs_f64() / whole.as_secs_f64()
    }

    /// Whether the target is ejected from its tiers.
    pub fn is_ejected(&self, target: TargetId, now: Duration) -> bool {
        self.of(target).is_ejected(Stamp::at(now))
    }

    /// Whether so few of a tier's targets are available (breaker closed, not ejected) that its ejections should be
    /// disregarded. Never of breakers: an outlier is worse than others, and better than nothing; a target whose
    /// breaker is open is nothing.
    pub fn panics(&self, tier: &[TargetId], now: Duration) -> bool {
        let now = Stamp::at(now);
        let is_available = |target: &&TargetId| {
            let health = self.of(**target);
            health.fuse.load().stage == Stage::Closed && !health.is_ejected(now)
        };
        let available = tier.iter().filter(is_available).count();
        (available as f64) < self.policy.panic_share * tier.len() as f64
    }

    /// For metrics.
    pub fn snapshot(&self, target: TargetId, now: Duration) -> Snapshot {
        let (health, at) = (self.of(target), Stamp::at(now));
        let fuse = health.fuse.load();
        let tally = health.tally.load().at(fuse.generation, at);
        let state = match fuse.stage {
            Stage::Open if fuse.is_open(at) => State::Open,
            Stage::Open | Stage::Probing => State::HalfOpen,
            Stage::Closed if health.is_ejected(at) => State::Ejected,
            Stage::Closed if health.cooldowns.iter().any(|state| state.load().is_shut(at)) => State::Throttled,
            Stage::Closed => State::Closed,
        };
        Snapshot {
            state,
            open: self.open(target),
            attempts: tally.attempts(),
            failed_share: tally.failed_share(),
            trips: u32::from(fuse.trips()),
            pace: self.pace(target, now),
            warmth: self.warmth(target, now),
        }
    }

    pub(super) fn of(&self, target: TargetId) -> &Health {
        &self.targets[target.index()]
    }

    /// Frees the place of a cooldown's probe, if the pass holds it.
    fn leave_cooldown(&self, pass: Pass, now: Stamp) {
        if let Some(probe) = pass.throttle_probe {
            let cooldown = self.of(pass.target).cooldown(pass);
            cooldown.update(|state| state.on_abandoned(pass.place.tag, Some(probe), now));
        }
    }

    /// Frees the place of the breaker's probe, if the pass holds it.
    fn leave_fuse(&self, pass: Pass, now: Stamp) {
        if pass.is_fuse_probe {
            self.of(pass.target).fuse.update(|fuse| fuse.on_abandoned(pass.generation, now));
        }
    }
}

impl Health {
    fn new() -> Self {
        Self {
            open: AtomicU32::new(0),
            fuse: Shared::new(),
            tally: Shared::new(),
            pace: Shared::new(),
            ejected: Shared::new(),
            cooldowns: std::array::from_fn(|_| Shared::new()),
        }
    }

    fn cooldown(&self, pass: Pass) -> &Shared<Cooldown> {
        &self.cooldowns[pass.place.cell]
    }

    pub(super) fn is_ejected(&self, now: Stamp) -> bool {
        now < self.ejected.load().until
    }
}
