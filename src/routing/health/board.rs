//! The shared health of all targets: who may be asked, and what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::routing::health::fuse::{Fuse, Stage};
use crate::routing::health::outlier::{Cause, Showing, outliers};
use crate::routing::health::pace::Pace;
use crate::routing::health::packed::{Packed, Shared};
use crate::routing::health::stamp::Stamp;
use crate::routing::health::tally::Tally;
use crate::routing::health::throttle::{CELLS, Cooldown, Place, Throttled};
use crate::routing::health::{Entry, Fault, HealthPolicy};
use crate::units::TargetId;

/// The health of all targets, shared by all workers. Atomics only, so nobody waits; a target that is well costs two
/// loads to be admitted, and two swaps when it succeeds.
///
/// Every `now` is the time since the board was made, by the caller's clock. Methods that take a [`TargetId`] panic
/// when it lies beyond the number of targets that the board was made for.
#[derive(Debug)]
pub struct Board {
    policy: HealthPolicy,
    targets: Box<[Health]>,
    /// Whether somebody judges. Two at once could each see room under a ceiling for one.
    is_judging: AtomicBool,
}

/// One target's. Own cache lines, so that a busy target does not slow down its neighbours'.
#[derive(Debug)]
#[repr(align(128))]
struct Health {
    open: AtomicU32,
    fuse: Shared<Fuse>,
    tally: Shared<Tally>,
    pace: Shared<Pace>,
    ejected: Shared<Ejected>,
    cooldowns: [Shared<Cooldown>; CELLS],
}

/// Until when a target is or was ejected; zero if it never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ejected {
    until: Stamp,
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

/// Whether a request may go to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a probe that nobody reports holds its place until it expires"]
pub enum Admission {
    /// It may, as others do.
    Free(Pass),
    /// It may, as the one probe: it has to report what came of it, or that nothing did ([`Board::abandoned`]).
    Probe(Pass),
    /// Not before `until`, at the least; while somebody else's probe is out, that is a guess of one second.
    Shut {
        /// Since the board was made.
        until: Duration,
    },
}

/// The right to ask a target once, and what its result is reported with. It says when the request was let in, so that
/// results from before the breaker opened, and of probes whose place is another's by now, are told from those that
/// count. May be used more than once: a success at the commit point, [`Fault::Aborted`] if the stream is then cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    target: TargetId,
    place: Place,
    /// The breaker's.
    generation: u16,
    /// The breaker's probe.
    pub(super) is_fuse_probe: bool,
    /// The cooldown's probe, by its generation.
    pub(super) throttle_probe: Option<u16>,
}

/// What [`Board::admit`] would say, without taking anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All is well.
    Good,
    /// May be asked, but has failed lately: at the last attempt, or at 10 % of the last seconds'. A single failure is
    /// forgiven after 10 s, a hundred after some 75 s, so that preferring good targets starves no doubtful one.
    Doubtful,
    /// Half-open, and the probe's place is free. Somebody has to take it, or the target never comes back: a request
    /// that can still go elsewhere should.
    Probe,
    /// As [`Admission::Shut`].
    Shut {
        /// Since the board was made.
        until: Duration,
    },
}

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

/// A target's state in one word, for metrics; the first that holds of those listed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The breaker is open.
    Open,
    /// The breaker waits for a probe, or for its result.
    HalfOpen,
    /// Ejected from its tiers.
    Ejected,
    /// At least one model is cooling down after a 429.
    Throttled,
    /// None of these.
    Closed,
}

/// A target's health at one moment, for metrics. Its parts are read one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Snapshot {
    /// In one word.
    pub state: State,
    /// Open streams.
    pub open: u32,
    /// Attempts of the last seconds (half-life 10 s).
    pub attempts: f64,
    /// Failed of these; 0 without any.
    pub failed_share: f64,
    /// How often the breaker opened without a success between; 0 while closed.
    pub trips: u32,
    /// As [`Board::pace`].
    pub pace: Option<Duration>,
    /// As [`Board::warmth`].
    pub warmth: f64,
}

/// The share of its load that a target bears when it has just come back. A tenth shows within seconds whether it is
/// well, and few suffer if not.
const WARMTH_LEAST: f64 = 0.1;

/// From this share of failures on, a target is doubtful.
const DOUBTFUL_SHARE: f64 = 0.1;

/// And from so many on, as the tally has them: a single failure counts for less after 10 s.
const DOUBTFUL_FAILURES: f64 = 0.5;

impl Admission {
    /// What to report with, if the request may go.
    pub fn pass(self) -> Option<Pass> {
        match self {
            Self::Free(pass) | Self::Probe(pass) => Some(pass),
            Self::Shut { .. } => None,
        }
    }
}

impl Pass {
    /// The target that may be asked.
    pub fn target(self) -> TargetId {
        self.target
    }

    /// Whether this is the one probe.
    pub fn is_probe(self) -> bool {
        self.is_fuse_probe || self.throttle_probe.is_some()
    }
}

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

    fn of(&self, target: TargetId) -> &Health {
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

    fn is_ejected(&self, now: Stamp) -> bool {
        now < self.ejected.load().until
    }

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
