//! Cooldowns of one target, by model: providers limit each model of a key by itself.
//!
//! Eight cells, chosen by the low 3 bits of the model's hash; a model that finds another's cooldown there overwrites
//! it. What is lost then is one cooldown, and the next 429 brings it back.
//!
//! In the word of a cell, from the low end: 40 bits of time (until when; while a probe is out: when it expires), 12
//! bits of the hash (so two models of one cell are taken for the same once in 4096), 4 bits of level (throttles without
//! a success between; 0 is no cooldown), 7 bits of generation, which counts probes, 1 bit: a probe is out.

use std::time::Duration;

use crate::routing::health::packed::{Packed, field};
use crate::routing::health::stamp::Stamp;
use crate::routing::health::{Entry, HealthPolicy, PROBE_WAIT};

const TAG: u32 = Stamp::BITS;
const TAG_BITS: u32 = 12;
const LEVEL: u32 = TAG + TAG_BITS;
const LEVEL_BITS: u32 = 4;
const GENERATION: u32 = LEVEL + LEVEL_BITS;
const GENERATION_BITS: u32 = 7;
const PROBING: u32 = GENERATION + GENERATION_BITS;

/// Cells of one target. Most targets are asked for one model; where a wildcard route passes names through, few of
/// them are throttled at once.
pub(super) const CELLS: usize = 8;

/// Where a model's cooldown stands, and by what it is known there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) cell: usize,
    pub(super) tag: u16,
}

impl Place {
    /// Of the model whose name has that hash. The low 15 bits are used.
    pub(super) fn of(model: u64) -> Self {
        Self { cell: usize::from(field(model, 0, 3)), tag: field(model, 3, TAG_BITS) }
    }
}

/// What a provider said with a 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Throttled {
    pub(super) retry_after: Option<Duration>,
    /// The quota is used up: seconds will not help.
    pub(super) spent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cooldown {
    at: Stamp,
    tag: u16,
    level: u16,
    generation: u16,
    is_probing: bool,
}

impl Packed for Cooldown {
    fn pack(self) -> u64 {
        self.at.bits()
            | u64::from(self.tag) << TAG
            | u64::from(self.level) << LEVEL
            | u64::from(self.generation) << GENERATION
            | u64::from(self.is_probing) << PROBING
    }

    fn unpack(word: u64) -> Self {
        Self {
            at: Stamp::from_bits(word),
            tag: field(word, TAG, TAG_BITS),
            level: field(word, LEVEL, LEVEL_BITS),
            generation: field(word, GENERATION, GENERATION_BITS),
            is_probing: field(word, PROBING, 1) == 1,
        }
    }
}

impl Cooldown {
    /// Whether somebody may ask for the model of `tag` now.
    pub(super) fn enter(self, tag: u16, now: Stamp, policy: &HealthPolicy) -> Entry<Self> {
        if self.level == 0 || self.tag != tag {
            return Entry::Free;
        }
        if now < self.at {
            let until = if self.is_probing { self.at.min(now.plus(PROBE_WAIT)) } else { self.at };
            return Entry::Shut(until);
        }
        let generation = (self.generation + 1) & ((1 << GENERATION_BITS) - 1);
        Entry::Probe(Self { at: now.plus(policy.probe), generation, is_probing: true, ..self })
    }

    /// The generation that the probe of this state goes by.
    pub(super) fn generation(self) -> u16 {
        self.generation
    }

    /// The state after a 429 to a request that went as probe `probe`, or as one of many.
    ///
    /// Only a probe raises the level. Of a hundred requests that are throttled together the first begins a cooldown
    /// and the others find it; they can only make it longer, by what their provider says.
    pub(super) fn on_throttled(
        self,
        tag: u16,
        probe: Option<u16>,
        said: Throttled,
        now: Stamp,
        policy: &HealthPolicy,
    ) -> Option<Self> {
        let begun = |level: u16| Self {
            at: now.plus(length(level, said, policy)),
            tag,
            level,
            is_probing: false,
            generation: self.generation,
        };
        if self.level == 0 || self.tag != tag {
            return Some(begun(1));
        }
        if self.is_out(tag, probe) {
            return Some(begun(self.level.saturating_add(1).min((1 << LEVEL_BITS) - 1)));
        }
        if self.is_probing {
            return None;
        }
        if now >= self.at {
            // Half-open, and a late answer says that it is too early.
            return Some(begun(self.level));
        }
        let at = now.plus(named(said, policy));
        (at > self.at).then_some(Self { at, ..self })
    }

    /// The state after the success of probe `probe`; `None` for everybody else: what was admitted before the cooldown
    /// says nothing of what is admitted now.
    pub(super) fn on_success(self, tag: u16, probe: Option<u16>) -> Option<Self> {
        self.is_out(tag, probe).then_some(Self { level: 0, is_probing: false, ..self })
    }

    /// The state after probe `probe` ended without a verdict: its place is free at once. `None` for everybody else.
    pub(super) fn on_abandoned(self, tag: u16, probe: Option<u16>, now: Stamp) -> Option<Self> {
        self.is_out(tag, probe).then_some(Self { at: now, is_probing: false, ..self })
    }

    /// Whether requests are turned away because of a 429.
    pub(super) fn is_shut(self, now: Stamp) -> bool {
        self.level > 0 && (self.is_probing || now < self.at)
    }

    fn is_out(self, tag: u16, probe: Option<u16>) -> bool {
        self.is_probing && self.level > 0 && self.tag == tag && probe == Some(self.generation)
    }
}

/// How long the cooldown of `level` lasts: what the provider names, or longer.
///
/// A provider that names a time is believed twice, so that a client which does as it was told, and has no other target,
/// finds the third try open; one that names it over and over is not.
fn length(level: u16, said: Throttled, policy: &HealthPolicy) -> Duration {
    let believed = 1 + u16::from(said.retry_after.is_some_and(|after| !after.is_zero()));
    if level <= believed && believed > 1 {
        return named(said, policy);
    }
    let doubled = policy.throttle.saturating_mul(2_u32.saturating_pow(u32::from(level.saturating_sub(believed))));
    doubled.min(policy.throttle_max).max(named(said, policy))
}

/// What the provider asks for, as far as it is believed.
fn named(said: Throttled, policy: &HealthPolicy) -> Duration {
    let retry_after = said.retry_after.unwrap_or_default().min(policy.throttle_max);
    if said.spent { retry_after.max(policy.spent) } else { retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: u16 = 0xabc;
    const PLAIN: Throttled = Throttled { retry_after: None, spent: false };

    fn at(millis: u64) -> Stamp {
        Stamp::at(Duration::from_millis(millis))
    }

    fn after(seconds: u64) -> Throttled {
        Throttled { retry_after: Some(Duration::from_secs(seconds)), spent: false }
    }

    fn fresh() -> Cooldown {
        Cooldown::unpack(0)
    }

    fn throttled(cooldown: Cooldown, probe: Option<u16>, said: Throttled, now: Stamp) -> Cooldown {
        cooldown.on_throttled(TAG, probe, said, now, &HealthPolicy::default()).unwrap_or(cooldown)
    }

    fn probe(cooldown: Cooldown, now: Stamp) -> Cooldown {
        match cooldown.enter(TAG, now, &HealthPolicy::default()) {
            Entry::Probe(next) => next,
            other => panic!("no probe: {other:?}"),
        }
    }

    #[test]
    fn every_cooldown_survives_its_packing() {
        for at in [Stamp::ZERO, at(1), Stamp::at(Duration::MAX)] {
            for tag in [0, 1, (1 << TAG_BITS) - 1] {
                for (level, generation) in [(0, 0), (1, 127), (15, 1)] {
                    for is_probing in [false, true] {
                        let cooldown = Cooldown { at, tag, level, generation, is_probing };
                        assert_eq!(Cooldown::unpack(cooldown.pack()), cooldown);
                    }
                }
            }
        }
        assert_eq!(
            fresh().enter(0, at(0), &HealthPolicy::default()),
            Entry::Free,
            "a new board holds nobody back"
        );
        assert_eq!(Place::of(u64::MAX), Place { cell: CELLS - 1, tag: (1 << TAG_BITS) - 1 });
    }

    #[test]
    fn the_cooldown_is_what_the_provider_names_within_bounds() {
        let day = Throttled { retry_after: Some(Duration::from_hours(24)), spent: false };
        let spent = Throttled { retry_after: None, spent: true };
        for (said, millis) in [(PLAIN, 1000), (after(0), 1000), (after(7), 7000), (day, 300_000), (spent, 300_000)]
        {
            let shut = throttled(fresh(), None, said, at(500));
            assert_eq!(
                shut.enter(TAG, at(500), &HealthPolicy::default()),
                Entry::Shut(at(500 + millis)),
                "{said:?}"
            );
        }
    }

    #[test]
    fn each_throttled_probe_doubles_it_up_to_the_longest() {
        let mut now = at(0);
        let mut cooldown = throttled(fresh(), None, PLAIN, now);
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let length = Duration::from_secs(seconds);
            assert_eq!(cooldown.enter(TAG, now, &HealthPolicy::default()), Entry::Shut(now.plus(length)));
            now = now.plus(length);
            cooldown = probe(cooldown, now);
            cooldown = throttled(cooldown, Some(cooldown.generation()), PLAIN, now);
        }
        cooldown = probe(cooldown, now.plus(Duration::from_mins(5)));
        cooldown = cooldown.on_success(TAG, Some(cooldown.generation())).expect("the probe's");
        assert_eq!(cooldown.enter(TAG, now, &HealthPolicy::default()), Entry::Free);
        let again = throttled(cooldown, None, PLAIN, now);
        assert_eq!(again.level, 1, "a success begins anew");
    }

    #[test]
    fn a_time_that_is_named_is_kept_to_twice() {
        let mut now = at(0);
        let tenth = Throttled { retry_after: Some(Duration::from_millis(100)), spent: false };
        let mut cooldown = throttled(fresh(), None, tenth, now);
        for millis in [100, 100, 2_000, 4_000] {
            assert_eq!(
                cooldown.enter(TAG, now, &HealthPolicy::default()),
                Entry::Shut(now.plus(Duration::from_millis(millis)))
            );
            now = now.plus(Duration::from_millis(millis));
            cooldown = probe(cooldown, now);
            cooldown = throttled(cooldown, Some(cooldown.generation()), tenth, now);
        }
    }

    #[test]
    fn a_hundred_requests_throttled_together_are_one_throttle() {
        let first = throttled(fresh(), None, PLAIN, at(0));
        let all = (1..100).fold(first, |cooldown, millis| throttled(cooldown, None, PLAIN, at(millis)));
        assert_eq!(all, first);
        let longer = throttled(first, None, after(9), at(100));
        assert_eq!((longer.level, longer.at), (1, at(9100)));
        assert_eq!(throttled(longer, None, after(2), at(200)), longer, "never shorter");
        let late = throttled(first, None, PLAIN, at(1500));
        assert_eq!((late.level, late.at), (1, at(2500)), "late, it shuts again and does not double");
    }

    #[test]
    fn one_probe_at_a_time_and_only_its_word_counts() {
        let policy = HealthPolicy::default();
        let out = probe(throttled(fresh(), None, PLAIN, at(0)), at(1000));
        assert_eq!(out.enter(TAG, at(1000), &policy), Entry::Shut(at(2000)));
        for other in [None, Some(out.generation() + 1)] {
            assert_eq!(out.on_success(TAG, other), None);
            assert_eq!(out.on_abandoned(TAG, other, at(1100)), None);
            assert_eq!(out.on_throttled(TAG, other, after(60), at(1100), &policy), None);
        }
        let own = Some(out.generation());
        let left = out.on_abandoned(TAG, own, at(1100)).expect("free again");
        assert_eq!(left.on_abandoned(TAG, own, at(1100)), None);
        assert_ne!(probe(left, at(1100)).generation(), out.generation());
        let expired = probe(out, at(61_000));
        assert_eq!(expired.on_success(TAG, own), None, "the place is another's by now");
    }

    #[test]
    fn a_model_of_the_same_cell_overwrites_and_is_not_held_back() {
        let policy = HealthPolicy::default();
        let out = probe(throttled(fresh(), None, PLAIN, at(0)), at(1000));
        assert_eq!(out.enter(1, at(1000), &policy), Entry::Free);
        let others = out.on_throttled(1, None, PLAIN, at(1000), &policy).expect("begins");
        assert_eq!(others.enter(1, at(1000), &policy), Entry::Shut(at(2000)));
        assert_eq!(others.enter(TAG, at(1000), &policy), Entry::Free);
        assert_eq!(others.on_success(TAG, Some(out.generation())), None, "a probe whose place is gone");
    }
}
