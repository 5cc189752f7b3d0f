//! How many places a target bears, learnt from what its answers show: additive increase, multiplicative
//! decrease. Plain state, without a clock.
//!
//! Throttling is plain: the limit falls, and grows again one by one. A target that lets requests wait instead
//! says so by later first tokens alone, and "late" needs a measure. The least time ever seen is none, since prompts
//! scatter it; the time under load is none either, since that may be a queue already. So the measure is the mean
//! of a round, and what tells a queue of our making from a slow target is a cut: less load empties the one and
//! does nothing for the other.

use std::time::Duration;

/// What an attempt has shown about how much its target bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// The first token came this long after the request was sent.
    FirstToken(Duration),
    /// No token had come after this long, and the attempt was given up.
    Late(Duration),
    /// The target said that it is asked too much (429, 529).
    Throttled,
    /// It failed otherwise. Says nothing about load: a target that is down is the breaker's affair, and a limit
    /// that fell for it would still be low when the target is back.
    Failed,
}

/// Congestion takes 30 % of the limit. TCP takes half; the 0.7 is CUBIC's (RFC 9438, 4.6), which gives less
/// away, and seven tenths of a limit that is just above the capacity are still most of it.
const CUT_NUMERATOR: u64 = 7;
const CUT_DENOMINATOR: u64 = 10;

/// The least time of a round, and between two cuts: answers that take less tell of a moment, not of load.
const ROUND_LEAST: Duration = Duration::from_secs(1);

/// First tokens that a round has at least: two limits' worth, between these. Prompts of different lengths scatter
/// first tokens by a factor of about two (a standard deviation of 0.6 to 0.8 of their logarithm); the mean of 32
/// then strays by 15 %, far from what counts as congestion. A small limit has no time for that many: one place
/// more is much to it.
const ROUND_SAMPLES: (u32, u32) = (16, 32);

/// Congestion is a round whose first tokens took this many times the usual time.
const CONGESTED: f64 = 2.0;

/// The usual time follows faster rounds by a quarter of the difference (of logarithms), so that one lucky round
/// does not become the measure.
const USUAL_FALLS: f64 = 0.25;

/// And rises by 1 % in a round whose load was not ours. Under our own load slower answers may be our own doing:
/// a usual time that kept pace with them would let the limit creep up for ever.
const USUAL_RISES: f64 = 0.01;

/// A cut that makes first tokens faster by this much (of the logarithm: 18 %) was right. Where they wait in a
/// queue of the target's, 30 % less load makes them faster by 30 % at least; where they do not, by nothing.
const CUT_HELPS: f64 = 0.2;

/// How many times to wait for a first token, after the first that was asked since a cut, until the slow ones among
/// its fellows have come too.
const SETTLES_AFTER: u32 = 3;

/// When this many cuts in a row have helped, the next follows at once, without growth between, until one does not:
/// the usual time may be that of a queue which is merely shorter after each cut.
const CUTS_BELIEVED: u32 = 2;

/// A limit that is used is cut for a trial after this many rounds, for a usual time that was learnt under too
/// much load looks like any other. Where that does not help, the cut is taken back, and the next trial comes
/// after twice as many rounds, up to the second number, where trials cost about 1 % of the places.
const TRIAL_ROUNDS: (u32, u32) = (4, 64);

/// Where the target throttled last, one step takes this many limits' worth of answers: what is known to be too
/// much is tried again, but rarely. CUBIC's plateau, in its simplest form.
const PLATEAU_TURNS: u32 = 8;

/// A limit between `min` and `max`, which grows by one for each limit's worth of first tokens while at least
/// half of it is used, and falls by 30 % when the target throttles or a round of first tokens comes late.
#[derive(Debug)]
pub(super) struct AdaptiveLimit {
    limit: u32,
    min: u32,
    max: u32,
    /// First tokens since the limit last changed.
    successes: u32,
    round: Round,
    /// Logarithm of the usual time to the first token, in seconds; `None` before the first round has ended.
    usual: Option<f64>,
    /// When the limit was last cut.
    cut: Option<Duration>,
    /// From when on samples tell of the load since then; `None` before the first such sample.
    settled: Option<Duration>,
    /// A cut for the sake of time to the first token, until the next round has shown whether it helped.
    unproven: Option<Unproven>,
    /// What the limit was when the target last throttled; `None` when it has been higher since.
    ceiling: Option<u32>,
    /// Rounds since the last cut in which the limit was used, and at how many of them it is cut for a trial.
    rounds_used: u32,
    trial_at: u32,
    /// Cuts that helped since one that did not.
    cuts_helped: u32,
}

/// First tokens of about a second, or of about one such time if that is longer.
#[derive(Debug)]
struct Round {
    since: Duration,
    least: Duration,
    samples: u32,
    /// At least half of the limit was in use at one of them.
    used: bool,
    /// Sum of the logarithms of seconds: their mean is hardly moved by the few very long prompts that there
    /// always are.
    logarithms: f64,
}

/// How things were before a cut.
#[derive(Debug)]
struct Unproven {
    limit: u32,
    /// Of the round before, a logarithm.
    mean: f64,
}

impl AdaptiveLimit {
    pub(super) fn new(initial: u32, min: u32, max: u32) -> Self {
        let min = min.max(1);
        let max = max.max(min);
        Self {
            limit: initial.clamp(min, max),
            min,
            max,
            successes: 0,
            round: Round { since: Duration::ZERO, least: ROUND_LEAST, samples: 0, used: false, logarithms: 0.0 },
            usual: None,
            cut: None,
            settled: None,
            unproven: None,
            ceiling: None,
            rounds_used: 0,
            trial_at: TRIAL_ROUNDS.0,
            cuts_helped: 0,
        }
    }

    pub(super) fn get(&self) -> u32 {
        self.limit
    }

    /// Takes one sample in. `in_flight` are the places taken now, `now` is the time since any fixed moment;
    /// workers that read their clocks in another order than they come here do no harm.
    pub(super) fn learn(&mut self, sample: Sample, in_flight: u32, now: Duration) {
        match sample {
            Sample::FirstToken(took) => {
                let used = in_flight >= self.limit.div_ceil(2);
                if !self.is_stale(took, now) {
                    self.grow(used);
                    self.measure(took, used, now);
                }
            }
            Sample::Late(waited) => {
                if !self.is_stale(waited, now) {
                    self.measure(waited, true, now);
                }
            }
            Sample::Throttled => {
                let limit = self.limit;
                if self.cut(now) {
                    self.ceiling = Some(limit);
                }
            }
            Sample::Failed => {}
        }
    }

    /// What was asked before the limit fell tells of the load before, not of the limit as it is. And of what was
    /// asked after, the fast answers come first: they are no fair sample until the slow ones come too.
    fn is_stale(&mut self, took: Duration, now: Duration) -> bool {
        let Some(cut) = self.cut else { return false };
        if now.saturating_sub(took) < cut {
            return true;
        }
        let settled = self.settled.unwrap_or_else(|| {
            let usual = self.usual.map_or(took, |usual| Duration::try_from_secs_f64(usual.exp()).unwrap_or(took));
            now.saturating_add(usual.max(took).saturating_mul(SETTLES_AFTER))
        });
        if self.settled.is_none() {
            self.settled = Some(settled);
            self.round.clear(settled);
        }
        now < settled
    }

    fn descends(&self) -> bool {
        self.cuts_helped >= CUTS_BELIEVED && self.limit > self.min
    }

    /// A limit that nobody presses against is not tried out, so it does not grow.
    fn grow(&mut self, used: bool) {
        if !used || self.limit >= self.max || self.unproven.is_some() || self.descends() {
            return;
        }
        self.successes += 1;
        let at_ceiling = self.ceiling.is_some_and(|ceiling| self.limit + 1 >= ceiling);
        let turns = if at_ceiling { PLATEAU_TURNS } else { 1 };
        if self.successes >= self.limit.saturating_mul(turns) {
            self.successes = 0;
            self.limit += 1;
            self.ceiling = self.ceiling.filter(|ceiling| self.limit <= *ceiling);
        }
    }

    fn measure(&mut self, took: Duration, used: bool, now: Duration) {
        self.round.add(took, used);
        let samples_least = self.limit.saturating_mul(2).clamp(ROUND_SAMPLES.0, ROUND_SAMPLES.1);
        if self.round.samples < samples_least || now.saturating_sub(self.round.since) < self.round.least {
            return;
        }
        let (mean, used) = (self.round.mean(), self.round.used);
        self.round.begin(mean, now);
        let usual = self.usual.unwrap_or(mean);
        self.usual = Some(match self.unproven.take() {
            Some(before) => self.judge_cut(&before, mean, usual),
            None => self.judge_load(mean, usual, used, now),
        });
    }

    /// Keeps a cut that has made first tokens faster, and takes any other back. Returns the new usual time.
    fn judge_cut(&mut self, before: &Unproven, mean: f64, usual: f64) -> f64 {
        if mean < before.mean - CUT_HELPS {
            self.trial_at = TRIAL_ROUNDS.0;
            self.cuts_helped += 1;
            return mean.min(usual);
        }
        self.cuts_helped = 0;
        // Less load was no faster, so this is the target's own time. Halfway, for this was one round.
        self.limit = before.limit;
        self.trial_at = self.trial_at.saturating_mul(2).min(TRIAL_ROUNDS.1);
        usual.midpoint(mean)
    }

    /// Cuts the limit when first tokens come late, and when a trial is due. Returns the new usual time.
    fn judge_load(&mut self, mean: f64, usual: f64, used: bool, now: Duration) -> f64 {
        let ours = used && self.limit > self.min;
        let usual = match mean {
            _ if mean < usual => usual + (mean - usual) * USUAL_FALLS,
            _ if ours => usual,
            _ => mean.min(usual + USUAL_RISES),
        };
        self.rounds_used += u32::from(ours);
        if self.descends() || mean > usual + CONGESTED.ln() || self.rounds_used >= self.trial_at {
            let limit = self.limit;
            if self.cut(now) {
                self.unproven = Some(Unproven { limit, mean });
            }
        }
        usual
    }

    /// Whether the limit could fall now: at most once in a round, for of many requests that are throttled
    /// together the first has said it all.
    fn cut(&mut self, now: Duration) -> bool {
        let too_soon = self.cut.is_some_and(|cut| now.saturating_sub(cut) < self.round.least);
        if too_soon || self.limit <= self.min {
            return false;
        }
        let cut = u64::from(self.limit) * CUT_NUMERATOR / CUT_DENOMINATOR;
        self.limit = u32::try_from(cut).unwrap_or(u32::MAX).max(self.min);
        self.cut = Some(now);
        self.settled = None;
        self.successes = 0;
        self.rounds_used = 0;
        self.unproven = None;
        self.round.clear(now);
        true
    }
}

impl Round {
    fn add(&mut self, took: Duration, used: bool) {
        self.samples += 1;
        self.used |= used;
        // Below a millisecond there is nothing to tell apart, and zero has no logarithm.
        self.logarithms += took.as_secs_f64().max(0.001).ln();
    }

    fn mean(&self) -> f64 {
        self.logarithms / f64::from(self.samples.max(1))
    }

    /// The next round, after one whose mean (a logarithm) is known.
    fn begin(&mut self, mean: f64, now: Duration) {
        self.least = Duration::try_from_secs_f64(mean.exp()).unwrap_or(ROUND_LEAST).max(ROUND_LEAST);
        self.clear(now);
    }

    fn clear(&mut self, now: Duration) {
        self.since = now;
        self.samples = 0;
        self.used = false;
        self.logarithms = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Sample = Sample::FirstToken(Duration::from_millis(200));

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Learns `count` samples, one each 100 ms from `from` on, and returns when it ended.
    fn learn(limit: &mut AdaptiveLimit, sample: Sample, in_flight: u32, count: u64, from: Duration) -> Duration {
        for nth in 1..=count {
            limit.learn(sample, in_flight, from + at(100 * nth));
        }
        from + at(100 * count)
    }

    #[test]
    fn a_limits_worth_of_first_tokens_is_one_place_more() {
        let mut limit = AdaptiveLimit::new(10, 1, 12);
        let now = learn(&mut limit, FAST, 10, 9, at(0));
        assert_eq!(limit.get(), 10);
        let now = learn(&mut limit, FAST, 10, 1, now);
        assert_eq!(limit.get(), 11);
        learn(&mut limit, FAST, 10, 30, now);
        assert_eq!(limit.get(), 12, "the maximum");
    }

    #[test]
    fn a_limit_that_is_not_half_used_does_not_grow() {
        let mut limit = AdaptiveLimit::new(10, 1, 100);
        let now = learn(&mut limit, FAST, 4, 500, at(0));
        assert_eq!(limit.get(), 10);
        learn(&mut limit, FAST, 5, 10, now);
        assert_eq!(limit.get(), 11);
    }

    #[test]
    fn many_throttled_together_cut_once_and_never_below_the_minimum() {
        let mut limit = AdaptiveLimit::new(100, 40, 100);
        for millis in [0, 10, 999] {
            limit.learn(Sample::Throttled, 100, at(5000 + millis));
        }
        assert_eq!(limit.get(), 70);
        limit.learn(Sample::Throttled, 100, at(6000));
        assert_eq!(limit.get(), 49);
        limit.learn(Sample::Throttled, 100, at(8000));
        assert_eq!(limit.get(), 40);
        let mut least = AdaptiveLimit::new(1, 0, 10);
        least.learn(Sample::Throttled, 1, at(0));
        assert_eq!(least.get(), 1);
    }

    #[test]
    fn a_failure_that_is_not_for_load_changes_nothing() {
        let mut limit = AdaptiveLimit::new(10, 1, 100);
        learn(&mut limit, Sample::Failed, 10, 1000, at(0));
        assert_eq!(limit.get(), 10);
    }

    #[test]
    fn a_round_of_late_answers_cuts_and_one_late_answer_does_not() {
        let mut limit = AdaptiveLimit::new(10, 1, 10);
        let now = learn(&mut limit, FAST, 10, 40, at(0));
        limit.learn(Sample::Late(Duration::from_secs(10)), 10, now);
        let now = learn(&mut limit, FAST, 10, 19, now);
        assert_eq!(limit.get(), 10);
        learn(&mut limit, Sample::Late(Duration::from_secs(10)), 10, 20, now);
        assert_eq!(limit.get(), 7);
    }

    #[test]
    fn what_was_asked_before_a_cut_does_not_count_after_it() {
        let mut limit = AdaptiveLimit::new(10, 1, 100);
        limit.learn(Sample::Throttled, 10, at(10_000));
        assert_eq!(limit.get(), 7);
        for _ in 0..1000 {
            limit.learn(Sample::FirstToken(at(1000)), 10, at(10_900));
        }
        assert_eq!(limit.get(), 7);
    }

    #[test]
    fn clocks_that_go_back_and_times_without_end_do_no_harm() {
        let mut limit = AdaptiveLimit::new(10, 1, u32::MAX);
        for now in [Duration::MAX, at(5), Duration::ZERO] {
            for took in [Duration::MAX, Duration::ZERO] {
                limit.learn(Sample::Throttled, u32::MAX, now);
                for _ in 0..100 {
                    limit.learn(Sample::FirstToken(took), u32::MAX, now);
                    limit.learn(Sample::Late(took), 0, now);
                }
            }
        }
        assert!(limit.get() >= 1);
    }
}
