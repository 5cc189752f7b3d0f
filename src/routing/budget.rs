//! How many retries a struggling upstream is given: a share of the load there is, and never fewer than a floor.
//!
//! A fixed number of attempts per request multiplies the load just when an upstream can bear it least. A budget
//! bounds the sum instead, whatever the number of requests that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The retry budget that some requests share. Atomics alone, so nobody waits.
///
/// A retry may run if it is within the share in both senses, or if the floor has a token:
///
/// - At once: retries running are fewer than the share of live requests, as Envoy counts (20 % of active).
/// - Over time: each request that begins earns a share of a token, and a retry costs one, as linkerd counts
///   (0.2). Without this, refusals that come back within a millisecond would be retried without end as long as
///   enough long streams are alive. What is saved up is at most the share of live requests, so that quiet hours
///   do not pay for a storm.
/// - The floor (linkerd: 10 per second) is a token bucket, for times in which a share of the requests is less
///   than one. It is a floor and no supplement: what runs within the share is taken from it too, as a debt of at
///   most a full bucket, so that a share of 20 % keeps the load at 1.2 times what is offered.
#[derive(Debug)]
pub struct Budget {
    share: f64,
    floor: Floor,
    live: AtomicU32,
    running: AtomicU32,
    /// Tokens earned and not spent: the bits of an `f64`.
    earned: AtomicU64,
    /// When the floor's bucket will be full again, in nanoseconds; in the past if it is.
    full_at: AtomicU64,
}

/// The floor's bucket, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Floor {
    /// Between two tokens.
    interval: u64,
    /// In which an empty bucket fills; 0 is no floor.
    span: u64,
}

/// A request that is alive; dropping it ends that. It belongs where the request's other places are kept, until
/// the last byte of the answer.
#[derive(Debug)]
#[must_use = "the request counts until this is dropped"]
pub struct Live(Arc<Budget>);

/// The right to one retry. It is asked for before the wait that precedes the retry, and dropped when the attempt
/// has failed or has committed: it gives the place among the running ones back. What it has cost stays spent.
#[derive(Debug)]
#[must_use = "the place among running retries is given back when it is dropped"]
pub struct Withdrawn(Arc<Budget>);

impl Budget {
    /// A budget of `share` (0.2 is 20 %; a negative one is none) and `floor_per_second`, both of which may be 0.
    /// The floor's bucket holds one second of it and is full at first.
    pub fn new(share: f64, floor_per_second: u32) -> Arc<Self> {
        Self::with_burst(share, floor_per_second, floor_per_second)
    }

    /// As [`Budget::new`], with a bucket that holds `burst` tokens. What fails before anybody knows which target
    /// is bad fails at once, as many as there are requests in flight: linkerd's bucket holds ten seconds.
    pub fn with_burst(share: f64, floor_per_second: u32, burst: u32) -> Arc<Self> {
        let interval = 1_000_000_000_u64.checked_div(u64::from(floor_per_second)).unwrap_or(0);
        Arc::new(Self {
            share: share.max(0.0),
            floor: Floor { interval, span: interval.saturating_mul(u64::from(burst)) },
            live: AtomicU32::new(0),
            running: AtomicU32::new(0),
            earned: AtomicU64::new(0),
            full_at: AtomicU64::new(0),
        })
    }

    /// Requests alive.
    pub fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }

    /// Retries running.
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// Counts a request from now on, and lets it earn its share of a retry.
    pub fn began(self: &Arc<Self>) -> Live {
        let live = self.live.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        // At least one, or a single client could never save up for a retry.
        let most = (self.share * f64::from(live)).max(1.0);
        let earn = |tokens: f64| Some((tokens + self.share).min(most));
        self.change_earned(earn);
        Live(Arc::clone(self))
    }

    /// The right to one retry, if there is one. `now` is the time since some fixed moment.
    pub fn withdraw(self: &Arc<Self>, now: Duration) -> Option<Withdrawn> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let granted = self.take_share(now) || self.take_floor(now);
        granted.then(|| Withdrawn(Arc::clone(self)))
    }

    /// A place and a token within the share.
    fn take_share(&self, now: u64) -> bool {
        let most = self.share * f64::from(self.live());
        let enter = |running: u32| (f64::from(running) < most).then(|| running.saturating_add(1));
        if self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).is_err() {
            return false;
        }
        // A little less than 1 is enough: sums of shares are not exact.
        if !self.change_earned(|tokens| (tokens > 1.0 - 1e-9).then(|| (tokens - 1.0).max(0.0))) {
            self.running.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.change_full_at(|full_at| Some(self.floor.after_share(full_at, now)));
        true
    }

    /// A token of the floor.
    fn take_floor(&self, now: u64) -> bool {
        let taken = self.change_full_at(|full_at| self.floor.after_token(full_at, now));
        if taken {
            self.running.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Relaxed is enough: the counts guard nothing but themselves.
    fn change_earned(&self, change: impl Fn(f64) -> Option<f64>) -> bool {
        let change = |bits: u64| change(f64::from_bits(bits)).map(f64::to_bits);
        self.earned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }

    fn change_full_at(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

impl Floor {
    /// When the bucket will be full after a token was taken out; `None` if there is none.
    fn after_token(self, full_at: u64, now: u64) -> Option<u64> {
        let full_at = full_at.max(now).saturating_add(self.interval);
        (self.span > 0 && full_at <= now.saturating_add(self.span)).then_some(full_at)
    }

    /// When the bucket will be full after a retry within the share, which may leave it in debt.
    fn after_share(self, full_at: u64, now: u64) -> u64 {
        let deepest = now.saturating_add(self.span.saturating_mul(2));
        full_at.max(now).saturating_add(self.interval).min(deepest)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Withdrawn {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;
    use std::sync::Barrier;
    use std::thread;

    use proptest::prelude::*;

    use super::*;
    use crate::routing::backoff::backoff;
    use crate::routing::chance::mixed;

    const SECOND: Duration = Duration::from_secs(1);

    fn lives(budget: &Arc<Budget>, count: usize) -> Vec<Live> {
        (0..count).map(|_| budget.began()).collect()
    }

    fn withdrawals(budget: &Arc<Budget>, tries: usize, now: Duration) -> Vec<Withdrawn> {
        (0..tries).filter_map(|_| budget.withdraw(now)).collect()
    }

    #[test]
    fn guards_can_cross_threads() {
        fn is_send<T: Send + Sync + 'static>() {}
        is_send::<Live>();
        is_send::<Withdrawn>();
    }

    #[test]
    fn the_share_and_the_floor_are_what_can_be_had() {
        for (share, floor, live, expected) in [
            (0.2, 0, 100, 20),
            (0.2, 0, 4, 0),
            (0.2, 0, 5, 1),
            (0.0, 0, 100, 0),
            (-1.0, 0, 100, 0),
            (f64::NAN, 0, 100, 0),
            (0.0, 10, 0, 10),
            (0.0, 10, 100, 10),
            (1.0, 0, 100, 100),
            // What the share gives is taken from the floor, too.
            (0.2, 10, 20, 10),
            (0.2, 10, 100, 20),
        ] {
            let budget = Budget::new(share, floor);
            let alive = lives(&budget, live);
            let running = withdrawals(&budget, 1000, SECOND);
            assert_eq!(running.len(), expected, "{share} {floor} {live}");
            assert_eq!(usize::try_from(budget.running()), Ok(expected));
            assert_eq!(usize::try_from(budget.live()), Ok(live));
            drop((running, alive));
            assert_eq!((budget.running(), budget.live()), (0, 0));
        }
    }

    #[test]
    fn the_floor_fills_up_with_time_and_no_further() {
        let budget = Budget::new(0.0, 10);
        for (millis, expected) in [(0, 10), (0, 0), (99, 0), (100, 1), (350, 2), (1400, 10), (9000, 10), (8000, 0)]
        {
            assert_eq!(withdrawals(&budget, 50, Duration::from_millis(millis)).len(), expected, "{millis}");
        }
        let budget = Budget::with_burst(0.0, 10, 100);
        assert_eq!(withdrawals(&budget, 500, Duration::ZERO).len(), 100);
        assert_eq!(withdrawals(&budget, 500, SECOND).len(), 10);
    }

    #[test]
    fn places_come_back_and_tokens_do_not() {
        let budget = Budget::new(0.2, 0);
        let _alive = lives(&budget, 100);
        for expected in [20, 0, 0] {
            let running = withdrawals(&budget, 1000, SECOND);
            assert_eq!(running.len(), expected);
        }
        // Ten more requests earn two more.
        let _more = lives(&budget, 10);
        assert_eq!(withdrawals(&budget, 1000, SECOND).len(), 2);
    }

    #[test]
    fn what_was_saved_up_is_worth_no_more_than_the_share_of_those_alive() {
        let budget = Budget::new(0.2, 0);
        for _ in 0..100_000 {
            drop(budget.began());
        }
        assert_eq!(withdrawals(&budget, 1000, SECOND).len(), 0, "nobody is alive");
        let _alive = lives(&budget, 10);
        assert_eq!(withdrawals(&budget, 1000, SECOND).len(), 2);
    }

    #[test]
    fn threads_that_fail_all_the_time_never_exceed_share_and_floor() {
        const THREADS: u32 = 8;
        const REQUESTS: u32 = 2000;
        let budget = Budget::new(0.2, 10);
        // Alive all the time, so that the bound at once is known: at least these and at most a thread's more each.
        let alive = lives(&budget, 100);
        let start = Barrier::new(8);
        let granted: u32 = thread::scope(|scope| {
            let fail = || {
                start.wait();
                let mut granted = 0;
                for _ in 0..REQUESTS {
                    let live = budget.began();
                    let first = budget.withdraw(SECOND);
                    let second = budget.withdraw(SECOND);
                    assert!(f64::from(budget.running()) <= 0.2 * f64::from(100 + THREADS) + 1.0 + 10.0);
                    thread::yield_now();
                    granted += u32::from(first.is_some()) + u32::from(second.is_some());
                    drop((first, second, live));
                }
                granted
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(fail)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        let most = 0.2 * f64::from(THREADS * REQUESTS + 100) + 10.0;
        assert!(f64::from(granted) <= most + 1e-6, "{granted} of {most}");
        assert!(f64::from(granted) > 0.9 * 0.2 * f64::from(THREADS * REQUESTS), "{granted}: the share is used");
        drop(alive);
        assert_eq!((budget.running(), budget.live()), (0, 0));
    }

    /// What an upstream sees that fails every attempt.
    struct Outage {
        offered: u32,
        retries: u32,
        /// The most by which running retries exceeded the share of live requests.
        above_share: f64,
    }

    struct Request {
        retry: u32,
        held: (Live, Option<Withdrawn>),
    }

    /// `per_second` requests for `seconds`, each attempt failing after `attempt`, each request asking for three
    /// retries, while `streams` that began before go on. What comes after `seconds` is not counted.
    fn outage(budget: &Arc<Budget>, per_second: u32, seconds: u32, attempt: Duration, streams: usize) -> Outage {
        let _streams = lives(budget, streams);
        let offered = per_second * seconds;
        let mut result = Outage { offered, retries: 0, above_share: 0.0 };
        let mut requests: Vec<Option<Request>> = Vec::new();
        let mut failures = BinaryHeap::new();
        let (base, max) = (Duration::from_millis(100), Duration::from_secs(2));
        let arrival = |index: u32| SECOND * index / per_second;
        loop {
            let next = u32::try_from(requests.len()).expect("few");
            let failure = failures.peek().map(|Reverse((at, _))| *at);
            if next < offered && failure.is_none_or(|at| arrival(next) <= at) {
                failures.push(Reverse((arrival(next) + attempt, requests.len())));
                requests.push(Some(Request { retry: 0, held: (budget.began(), None) }));
                continue;
            }
            let Some(Reverse((now, index))) = failures.pop() else { break };
            let mut request = requests[index].take().expect("alive");
            request.held.1 = None;
            request.retry += 1;
            request.held.1 = budget.withdraw(now).filter(|_| request.retry <= 3);
            if request.held.1.is_some() {
                result.retries += u32::from(now <= SECOND * seconds);
                let wait = backoff(request.retry, base, max, mixed(u64::try_from(index).expect("few")));
                failures.push(Reverse((now + wait + attempt, index)));
                requests[index] = Some(request);
            }
            let above = f64::from(budget.running()) - 0.2 * f64::from(budget.live());
            result.above_share = result.above_share.max(above);
        }
        result
    }

    #[test]
    fn when_everything_fails_the_load_is_a_fifth_more_or_the_floor() {
        const SECONDS: u32 = 20;
        for attempt_ms in [0, 1, 50, 2000] {
            for (per_second, streams) in [(1, 0), (20, 0), (200, 0), (1000, 0), (1000, 5000), (5, 5000)] {
                for burst in [10, 100] {
                    let budget = Budget::with_burst(0.2, 10, burst);
                    let attempt = Duration::from_millis(attempt_ms);
                    let outage = outage(&budget, per_second, SECONDS, attempt, streams);
                    let case = format!("{attempt_ms} ms, {per_second}/s, {streams} streams, burst {burst}");
                    let saved = 0.2 * f64::from(u32::try_from(streams).expect("few"));
                    let share = 0.2 * f64::from(outage.offered) + saved;
                    let most = share.max(10.0 * f64::from(SECONDS)) + f64::from(burst);
                    assert!(f64::from(outage.retries) <= most, "{case}: {} of {most}", outage.retries);
                    // A retry of the floor's runs for its wait and its attempt.
                    let lasts = 0.8 + attempt.as_secs_f64();
                    let floor = f64::from(burst) + 10.0 * lasts;
                    assert!(outage.above_share <= floor + 1.0, "{case}: {} above", outage.above_share);
                    assert_eq!((budget.running(), budget.live()), (0, 0));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_order_of_events_exceeds_share_and_floor(
            share in 0.0_f64..1.0,
            floor in 0_u32..20,
            events in prop::collection::vec((0_u8..6, 0_u64..200), 0..300),
        ) {
            let budget = Budget::new(share, floor);
            let (mut alive, mut running) = (Vec::new(), Vec::new());
            let (mut now, mut began, mut granted) = (Duration::ZERO, 0_u32, 0_u32);
            for (event, millis) in events {
                match event {
                    0 | 1 => {
                        alive.push(budget.began());
                        began += 1;
                    }
                    2 => drop(alive.pop()),
                    3 => drop(running.pop()),
                    4 => now += Duration::from_millis(millis),
                    _ => {
                        let withdrawn = budget.withdraw(now);
                        granted += u32::from(withdrawn.is_some());
                        running.extend(withdrawn);
                    }
                }
                let most = share * f64::from(began) + f64::from(floor) * (1.0 + now.as_secs_f64());
                prop_assert!(f64::from(granted) <= most + 1e-6, "{granted} of {most}");
                prop_assert_eq!(usize::try_from(budget.live()), Ok(alive.len()));
                prop_assert_eq!(usize::try_from(budget.running()), Ok(running.len()));
            }
        }
    }
}
