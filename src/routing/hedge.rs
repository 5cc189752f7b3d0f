//! When a second target is asked because the first has not spoken yet, and how often that may happen.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// When a request is hedged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum After {
    /// When its first token has not come after this time.
    Fixed(Duration),
    /// When its first token is later than this part of the route's (0.95 is the 95th percentile).
    Quantile(f64),
}

/// Hedging of one route.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HedgePolicy {
    /// When.
    pub after: After,
    /// The largest part of the requests that may be hedged. It should be above what `after` asks for (5 % for the
    /// 95th percentile), or it decides alone.
    pub share_max: f64,
    /// How many first tokens must have come before a quantile of them means anything.
    pub least_samples: u32,
}

impl Default for HedgePolicy {
    /// The 95th percentile, 7 % of the requests at most, after 20 samples (of fewer, the 95th percentile is the
    /// slowest).
    fn default() -> Self {
        Self { after: After::Quantile(0.95), share_max: 0.07, least_samples: 20 }
    }
}

/// What one route knows about its first tokens, and its tokens for hedges. Shared by all workers; atomics alone,
/// so nobody waits.
///
/// # Why hedging does not bend its own measure
///
/// A request that its hedge has outrun never tells when its own first token would have come: its sample is cut
/// off. Left out, the slow ones vanish, the quantile sinks, and more are hedged. Recorded with the time of the
/// winner (the wait before the hedge and the hedge's own), a quantile that falls among such samples rises by the
/// hedge's time at each turn. Therefore such a sample is recorded with the wait before its
/// hedge: all that is known is that it was later, and how many were later than that wait stays exactly right.
/// A quantile below the wait is what it would be without hedging; one that falls among the samples cut off is the
/// wait itself, which stays where it is. What may go unnoticed is that more than 5 % are slower than the wait, by
/// at most `share_max`, for more are never hedged; a route that becomes slower as a whole shows that in the others.
#[derive(Debug)]
pub struct Hedges {
    /// Samples by first-token time, each counted [`WEIGHT`] times.
    buckets: [AtomicU32; BUCKETS],
    /// Samples recorded since the start, wrapping.
    recorded: AtomicU32,
    /// Hedges that may be sent: the bits of an `f64`.
    tokens: AtomicU64,
}

/// Buckets between 1 ms and 5 minutes, each 12 % wider than the one before. The last holds what is above, too.
const BUCKETS: usize = 113;

/// The upper edges of the buckets, in microseconds.
const EDGES: [u64; BUCKETS] = {
    let mut edges = [1000; BUCKETS];
    let mut index = 1;
    while index < BUCKETS {
        edges[index] = edges[index - 1] * 112 / 100;
        index += 1;
    }
    edges
};

/// What one sample counts when it is new. Halving rounds down; so much survives six halvings unrounded, when
/// what is left of a sample is a sixty-fourth.
const WEIGHT: u32 = 64;

/// After so many samples all counts are halved, so that a route that has changed is known after about a thousand
/// requests. Between 512 and 1024 samples are remembered: fewer would scatter more than `share_max` allows for.
const HALF_LIFE: u32 = 512;

/// How many standard errors below the wanted quantile is looked. When about 5 % of the first tokens are far
/// later than the others, the 95th percentile is either, by chance. To hedge a little early costs a little of
/// `share_max`, to hedge late costs seconds; so the lower end of what the quantile may be is taken.
const MARGIN: f64 = 1.5;

/// The most hedges that may be saved up, so that a bad minute after a quiet day is no burst.
const TOKENS_MAX: f64 = 5.0;

impl Default for Hedges {
    fn default() -> Self {
        Self::new()
    }
}

impl Hedges {
    /// Without samples and without tokens.
    pub fn new() -> Self {
        Self {
            buckets: [const { AtomicU32::new(0) }; BUCKETS],
            recorded: AtomicU32::new(0),
            tokens: AtomicU64::new(0),
        }
    }

    /// A request that may be hedged has begun: it earns its part of a hedge.
    pub fn request_began(&self, policy: &HedgePolicy) {
        self.change_tokens(|tokens| Some((tokens + policy.share_max.max(0.0)).min(TOKENS_MAX)));
    }

    /// The first target asked has spoken after `first_token`, or was given up then; whether it was hedged or not.
    pub fn record(&self, first_token: Duration) {
        let micros = u64::try_from(first_token.as_micros()).unwrap_or(u64::MAX);
        let index = EDGES.partition_point(|edge| *edge < micros).min(BUCKETS - 1);
        self.buckets[index].fetch_add(WEIGHT, Ordering::Relaxed);
        let recorded = self.recorded.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if recorded.is_multiple_of(HALF_LIFE) {
            for bucket in &self.buckets {
                // What others add meanwhile is halved or not; nothing is lost.
                let halved = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| Some(count / 2));
                debug_assert!(halved.is_ok(), "halving refuses nothing");
            }
        }
    }

    /// The hedge spoke before the first target asked. `delay` is what [`Hedges::delay`] had said for the request,
    /// not the time that was measured: a timer is always late, and the estimate would creep up.
    pub fn record_outrun(&self, delay: Duration) {
        self.record(delay);
    }

    /// How long to wait for a first token before hedging; `None` while too little is known.
    pub fn delay(&self, policy: &HedgePolicy) -> Option<Duration> {
        match policy.after {
            After::Fixed(delay) => Some(delay),
            After::Quantile(quantile) => self.quantile(quantile.clamp(0.0, 1.0), policy.least_samples.max(1)),
        }
    }

    /// Whether one more request may be hedged; if so, it is counted. To be asked when the delay is over.
    pub fn allow(&self) -> bool {
        // A little less than 1: sums of shares are not exact.
        self.change_tokens(|tokens| (tokens > 1.0 - 1e-9).then(|| (tokens - 1.0).max(0.0)))
    }

    /// The upper edge of the bucket in which the lower end of the quantile lies.
    fn quantile(&self, quantile: f64, least: u32) -> Option<Duration> {
        let counts = || self.buckets.iter().map(|bucket| f64::from(bucket.load(Ordering::Relaxed)));
        let total: f64 = counts().sum();
        let samples = total / f64::from(WEIGHT);
        if samples < f64::from(least) {
            return None;
        }
        let error = (quantile * (1.0 - quantile) / samples).sqrt();
        let wanted = (quantile - MARGIN * error).max(0.0) * total;
        let mut below = 0.0;
        let reaches = |count: f64| {
            below += count;
            below >= wanted && below > 0.0
        };
        let index = counts().position(reaches).unwrap_or(BUCKETS - 1);
        Some(Duration::from_micros(EDGES[index]))
    }

    /// Relaxed is enough: the count guards nothing but itself.
    fn change_tokens(&self, change: impl Fn(f64) -> Option<f64>) -> bool {
        let change = |bits: u64| change(f64::from_bits(bits)).map(f64::to_bits);
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;
    use std::f64::consts::TAU;
    use std::thread;

    use proptest::prelude::*;

    use super::*;
    use crate::routing::chance::{fraction, mixed};

    const POLICY: HedgePolicy = HedgePolicy { after: After::Quantile(0.95), share_max: 0.07, least_samples: 20 };

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Independent fractions of a seed.
    struct Draws(u64);

    impl Draws {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(1);
            fraction(mixed(mixed(self.0)))
        }

        fn between(&mut self, least: Duration, most: Duration) -> Duration {
            least + most.saturating_sub(least).mul_f64(self.next())
        }
    }

    /// First-token times of request number `at`.
    type Times<'a> = &'a dyn Fn(&mut Draws, u32) -> Duration;

    /// 100 to 150 ms, and `share` of them 2 s later.
    fn some_late(share: f64) -> impl Fn(&mut Draws, u32) -> Duration {
        move |draws, _| {
            let late = if draws.next() < share { ms(2000) } else { ms(0) };
            late + draws.between(ms(100), ms(150))
        }
    }

    /// Log-normal, median 400 ms, its 95th percentile 1.5 s.
    fn skewed(draws: &mut Draws, _: u32) -> Duration {
        let (radius, angle) = ((-2.0 * (-draws.next()).ln_1p()).sqrt(), TAU * draws.next());
        ms(400).mul_f64((0.8 * radius * angle.cos()).exp())
    }

    /// How a request that was outrun is recorded.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Outrun {
        ByItsDelay,
        ByTheWinner,
        NotAtAll,
    }

    struct Run {
        waits: Vec<Duration>,
        hedged: u32,
        /// The delay that each request was given.
        delays: Vec<Option<Duration>>,
    }

    impl Run {
        fn percentile(&self, percent: usize) -> Duration {
            let mut waits = self.waits.clone();
            waits.sort_unstable();
            waits[(waits.len() * percent).div_ceil(100) - 1]
        }

        fn hedged_share(&self) -> f64 {
            f64::from(self.hedged) / f64::from(u32::try_from(self.waits.len()).expect("few"))
        }

        /// The shortest and the longest delay of the requests from number `from` on.
        fn delays_from(&self, from: usize) -> (Duration, Duration) {
            let known = || self.delays[from..].iter().flatten().copied();
            (known().min().expect("known"), known().max().expect("known"))
        }
    }

    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Event {
        Begins,
        IsLate { alone: Duration, delay: Duration },
        Speaks { after: Duration },
        IsOutrun { after: Duration, delay: Duration },
    }

    /// Requests, a hundred per second, each learnt from when it is answered.
    fn run(seed: u64, requests: u32, outrun: Outrun, times: Times<'_>) -> Run {
        let (hedges, mut draws) = (Hedges::new(), Draws(mixed(seed)));
        let mut run = Run { waits: Vec::new(), hedged: 0, delays: Vec::new() };
        let mut events = BinaryHeap::from([Reverse((Duration::ZERO, 0, Event::Begins))]);
        while let Some(Reverse((now, at, event))) = events.pop() {
            match event {
                Event::Begins => {
                    hedges.request_began(&POLICY);
                    let (alone, delay) = (times(&mut draws, at), hedges.delay(&POLICY));
                    run.delays.push(delay);
                    let next = match delay.filter(|delay| *delay < alone) {
                        Some(delay) => (now + delay, at, Event::IsLate { alone, delay }),
                        None => (now + alone, at, Event::Speaks { after: alone }),
                    };
                    events.push(Reverse(next));
                    if at + 1 < requests {
                        events.push(Reverse((now + ms(10), at + 1, Event::Begins)));
                    }
                }
                Event::IsLate { alone, delay } => {
                    let hedged = hedges.allow();
                    run.hedged += u32::from(hedged);
                    let after = if hedged { delay + times(&mut draws, at) } else { alone };
                    let began = now.saturating_sub(delay);
                    let next = if after < alone {
                        (began + after, at, Event::IsOutrun { after, delay })
                    } else {
                        (began + alone, at, Event::Speaks { after: alone })
                    };
                    events.push(Reverse(next));
                }
                Event::Speaks { after } => {
                    run.waits.push(after);
                    hedges.record(after);
                }
                Event::IsOutrun { after, delay } => {
                    run.waits.push(after);
                    match outrun {
                        Outrun::ByItsDelay => hedges.record_outrun(delay),
                        Outrun::ByTheWinner => hedges.record(after),
                        Outrun::NotAtAll => {}
                    }
                }
            }
        }
        run
    }

    #[test]
    fn one_in_twenty_two_seconds_late_is_hidden_for_five_percent_more_requests() {
        let times = some_late(0.05);
        for seed in 0..20 {
            let run = run(seed, 10_000, Outrun::ByItsDelay, &times);
            assert!(run.percentile(99) < ms(400), "seed {seed}: {:?}", run.percentile(99));
            assert!(run.hedged_share() < 0.07, "seed {seed}: {}", run.hedged_share());
        }
        let unhedged = {
            let (mut draws, mut waits) = (Draws(1), Vec::new());
            waits.resize_with(10_000, || times(&mut draws, 0));
            Run { waits, hedged: 0, delays: Vec::new() }
        };
        assert!(unhedged.percentile(99) > ms(2000));
    }

    #[test]
    fn samples_cut_off_neither_lift_nor_lower_the_delay_over_time() {
        for late in [0.01, 0.04, 0.05, 0.06] {
            let delays = run(1, 30_000, Outrun::ByItsDelay, &some_late(late)).delays_from(1000);
            assert!(delays.0 >= ms(140) && delays.1 <= ms(170), "{late}: {delays:?}");
        }
        // More are late than the quantile leaves out: it may be any of theirs, and goes no further.
        for late in [0.08, 0.2, 1.0] {
            let delays = run(1, 30_000, Outrun::ByItsDelay, &some_late(late)).delays_from(1000);
            assert!(delays.0 >= ms(140) && delays.1 <= ms(2150).mul_f64(1.12), "{late}: {delays:?}");
        }
    }

    #[test]
    fn of_a_broad_distribution_the_delay_stays_at_its_quantile() {
        let mut truth: Vec<Duration> = Vec::new();
        let mut draws = Draws(77);
        truth.resize_with(30_000, || skewed(&mut draws, 0));
        truth.sort_unstable();
        let below = |delay: Duration| truth.partition_point(|time| *time <= delay) as f64 / truth.len() as f64;
        let own = run(2, 30_000, Outrun::ByItsDelay, &skewed);
        let (shortest, longest) = own.delays_from(1000);
        assert!(below(shortest) > 0.89 && below(longest) < 0.97, "{shortest:?} to {longest:?}");
        assert!((0.05..0.07).contains(&own.hedged_share()), "{}", own.hedged_share());
        // Why it is done so: left out, samples cut off lower the delay; with the winner's time, they lift it.
        let average = |run: &Run| run.delays.iter().flatten().sum::<Duration>() / 30_000;
        let lowered = run(2, 30_000, Outrun::NotAtAll, &skewed);
        assert!(average(&lowered) < average(&own), "{:?} {:?}", average(&lowered), average(&own));
        let times = some_late(0.065);
        let lifted = run(2, 30_000, Outrun::ByTheWinner, &times).delays_from(1000);
        assert!(lifted.1 > ms(500), "{lifted:?}");
        assert!(run(2, 30_000, Outrun::ByItsDelay, &times).delays_from(1000).1 <= ms(170));
    }

    #[test]
    fn a_route_that_changes_is_followed() {
        // All first tokens take three times as long between requests number 3000 and 6000.
        let times = |draws: &mut Draws, at: u32| {
            let time = draws.between(ms(100), ms(150));
            if (3000..6000).contains(&at) { time * 3 } else { time }
        };
        let run = run(3, 10_000, Outrun::ByItsDelay, &times);
        let delay = |at: usize| run.delays[at].expect("known");
        for (at, least, most) in [(2999, 140, 170), (3200, 300, 510), (5999, 440, 510), (8500, 140, 170)] {
            assert!(delay(at) >= ms(least) && delay(at) <= ms(most), "{at}: {:?}", delay(at));
        }
    }

    #[test]
    fn nothing_is_said_before_there_are_samples_enough() {
        let hedges = Hedges::default();
        for recorded in 0..40 {
            assert_eq!(hedges.delay(&POLICY).is_some(), recorded >= 20, "{recorded}");
            hedges.record(ms(100));
        }
        let none_needed = HedgePolicy { least_samples: 0, ..HedgePolicy::default() };
        assert_eq!(Hedges::new().delay(&none_needed), None);
        let fixed = HedgePolicy { after: After::Fixed(ms(700)), ..POLICY };
        assert_eq!(Hedges::new().delay(&fixed), Some(ms(700)));
    }

    #[test]
    fn the_delay_is_the_upper_edge_of_a_bucket_twelve_percent_wide() {
        for (sample, least, most) in [
            (Duration::ZERO, ms(1), ms(1)),
            (ms(1), ms(1), ms(1)),
            (ms(100), ms(100), ms(112)),
            (Duration::from_mins(5), Duration::from_mins(5), Duration::from_secs(336)),
            (Duration::MAX, Duration::from_mins(5), Duration::from_secs(336)),
        ] {
            let hedges = Hedges::new();
            (0..30).for_each(|_| hedges.record(sample));
            let delay = hedges.delay(&POLICY).expect("enough");
            assert!((least..=most).contains(&delay), "{sample:?}: {delay:?}");
            // Its own edge lies in the bucket: recording the delay leaves it what it is.
            (0..2000).for_each(|_| hedges.record_outrun(delay));
            assert_eq!(hedges.delay(&POLICY), Some(delay));
        }
    }

    #[test]
    fn hedges_are_a_share_of_the_requests_and_few_at_once() {
        let hedges = Hedges::new();
        assert!(!hedges.allow(), "nobody has earned one");
        let allowed = |requests: u32| {
            (0..requests).for_each(|_| hedges.request_began(&POLICY));
            (0..1000).filter(|_| hedges.allow()).count()
        };
        for (requests, expected) in [(14, 0), (1, 1), (100, 5), (100_000, 5)] {
            // 14 earn 0.98 of a hedge, and one more 1.05.
            assert_eq!(allowed(requests).min(5), expected.min(5), "{requests}");
        }
        let none = HedgePolicy { share_max: -1.0, ..POLICY };
        hedges.request_began(&none);
        assert!(!hedges.allow());
    }

    #[test]
    fn threads_lose_no_sample_and_exceed_no_share() {
        const THREADS: u32 = 8;
        const REQUESTS: u32 = 4000;
        let hedges = Hedges::new();
        let allowed: u32 = thread::scope(|scope| {
            let request = || {
                let each = (0..REQUESTS).map(|_| {
                    hedges.request_began(&POLICY);
                    hedges.record(ms(100));
                    u32::from(hedges.allow())
                });
                each.sum()
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(request)).collect();
            threads.into_iter().map(|thread| -> u32 { thread.join().expect("no panic") }).sum()
        });
        assert!(f64::from(allowed) <= 0.07 * f64::from(THREADS * REQUESTS) + 1e-6, "{allowed}");
        assert_eq!(hedges.recorded.load(Ordering::Relaxed), THREADS * REQUESTS);
        let samples: u32 =
            hedges.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum::<u32>() / WEIGHT;
        assert!((400..=1100).contains(&samples), "{samples}");
        assert_eq!(hedges.delay(&POLICY), hedges.delay(&HedgePolicy { after: After::Quantile(0.5), ..POLICY }));
    }

    proptest! {
        #[test]
        fn the_delay_is_a_time_that_was_recorded(
            samples in prop::collection::vec(1_u64..300_000, 1..300),
            quantile in 0.0_f64..=1.0,
        ) {
            let hedges = Hedges::new();
            for sample in &samples {
                hedges.record(ms(*sample));
            }
            let policy = HedgePolicy { after: After::Quantile(quantile), share_max: 0.07, least_samples: 1 };
            let delay = hedges.delay(&policy).expect("enough");
            let holds = |sample: &u64| ms(*sample) <= delay && delay <= ms(*sample).mul_f64(1.1201);
            prop_assert!(samples.iter().any(holds), "{delay:?}");
            // Never above the quantile itself: what is above the delay is at least what the quantile leaves out.
            let above = samples.iter().filter(|sample| ms(**sample).mul_f64(1.1201) < delay).count();
            prop_assert!(above as f64 <= quantile * samples.len() as f64 + 1.0);
        }
    }
}
