//! Requests per minute: governor's GCRA with the whole minute as burst, and a way to give a token back.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::accounting::headers::Window;

/// A bucket of one minute's requests, refilled evenly.
#[derive(Debug)]
pub(super) struct Requests<C: Clock> {
    limiter: RateLimiter<NotKeyed, Shared, C, StateInformationMiddleware>,
    state: Shared,
    quota: Quota,
}

/// The limiter's state, which the limiter alone would not let us correct.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<InMemoryState>);

impl StateStore for Shared {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, decide)
    }
}

/// No token now.
#[derive(Debug)]
pub(super) struct Empty {
    pub(super) retry_after: Duration,
    pub(super) window: Window,
}

impl<C: Clock> Requests<C> {
    /// `per_minute` of 0 is refused by the configuration's check and counts as 1 here.
    pub(super) fn new(per_minute: u32, clock: C) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
        let state = Shared::default();
        let limiter = RateLimiter::new(quota, state.clone(), clock);
        Self { limiter, state, quota }
    }

    /// Takes a token.
    pub(super) fn take(&self) -> Result<Window, Empty> {
        let limit = self.quota.burst_size().get();
        let interval = self.quota.replenish_interval();
        match self.limiter.check() {
            Ok(snapshot) => {
                let remaining = snapshot.remaining_burst_capacity();
                let reset = interval.saturating_mul(limit.saturating_sub(remaining));
                Ok(Window { limit, remaining, reset })
            }
            Err(not_until) => {
                let retry_after = not_until.wait_time_from(self.limiter.clock().now());
                let after_that = interval.saturating_mul(limit.saturating_sub(1));
                let reset = retry_after.saturating_add(after_that);
                Err(Empty { retry_after, window: Window { limit, remaining: 0, reset } })
            }
        }
    }

    /// Gives a token back: what GCRA keeps is the time at which the bucket is full again, and that is earlier
    /// by one interval. Exact also when others took tokens in between.
    pub(super) fn give_back(&self) {
        let interval = Nanos::from(self.quota.replenish_interval());
        let earlier = |full_at: Option<Nanos>| {
            let full_at = full_at.unwrap_or_default();
            Ok::<_, Infallible>(((), full_at.saturating_sub(interval)))
        };
        let Ok(()) = self.state.measure_and_replace(&NotKeyed::NonKey, earlier);
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn a_minutes_requests_at_once_then_one_by_one() {
        let clock = FakeRelativeClock::default();
        let requests = Requests::new(60, clock.clone());
        for taken in 1..=60 {
            let window = requests.take().expect("within the burst");
            assert_eq!((window.limit, window.remaining), (60, 60 - taken));
            assert_eq!(window.reset, Duration::from_secs(taken.into()));
        }
        let empty = requests.take().expect_err("used up");
        assert_eq!(empty.retry_after, Duration::from_secs(1));
        assert_eq!((empty.window.remaining, empty.window.reset), (0, Duration::from_mins(1)));

        clock.advance(Duration::from_millis(999));
        assert_eq!(requests.take().expect_err("not yet").retry_after, Duration::from_millis(1));
        clock.advance(Duration::from_millis(1));
        assert_eq!(requests.take().expect("refilled").remaining, 0);
        clock.advance(Duration::from_hours(1));
        assert_eq!(requests.take().expect("full, not fuller").remaining, 59);
    }

    #[test]
    fn a_token_given_back_can_be_taken_again() {
        let clock = FakeRelativeClock::default();
        clock.advance(Duration::from_secs(5));
        let requests = Requests::new(2, clock.clone());
        requests.give_back();
        for _ in 0..2 {
            requests.take().expect("within the burst");
        }
        requests.take().expect_err("used up");
        requests.give_back();
        requests.take().expect("given back");
        requests.take().expect_err("used up");
        // More given back than taken makes the bucket full, never fuller.
        for _ in 0..9 {
            requests.give_back();
        }
        clock.advance(Duration::from_secs(1));
        for _ in 0..2 {
            requests.take().expect("within the burst");
        }
        requests.take().expect_err("used up");
    }

    #[test]
    fn zero_is_one() {
        let requests = Requests::new(0, FakeRelativeClock::default());
        requests.take().expect("one");
        assert_eq!(requests.take().expect_err("no more").retry_after, Duration::from_mins(1));
    }
}
