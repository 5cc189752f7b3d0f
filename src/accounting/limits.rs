//! Admission: whether a request may start now, by the limits of its key and of the whole gateway.

use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};

use crate::accounting::headers::RateHeaders;
use crate::accounting::permit::{Full, Permit, Places};
use crate::accounting::requests::Requests;
use crate::config::{self, Key};
use crate::error::{Error, Kind};
use crate::telemetry::LimitKind;
use crate::units::KeyId;

/// When to try again after all streams were taken. When one ends is unknown; a second is the least that the
/// `retry-after` header can say.
const STREAM_RETRY_AFTER: Duration = Duration::from_secs(1);

/// All limits, shared by all workers through an `Arc`. Atomics only, so nobody waits.
#[derive(Debug)]
pub struct Limits<C: Clock = DefaultClock> {
    global: Scope<C>,
    /// By [`KeyId`].
    keys: Vec<Scope<C>>,
}

/// The limits of one key or of the gateway; `None` is no limit.
#[derive(Debug)]
struct Scope<C: Clock> {
    places: Option<Arc<Places>>,
    requests: Option<Requests<C>>,
}

/// A request may start.
#[derive(Debug)]
pub struct Admission {
    /// To be kept until the last byte of the answer.
    pub permit: Permit,
    /// To be written to the response.
    pub headers: RateHeaders,
}

/// A request may not start now; nothing was taken for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Whose limit decided.
    pub limit: LimitKind,
    /// When trying again makes sense. A guess of one second for streams.
    pub retry_after: Duration,
    /// To be written to the response.
    pub headers: RateHeaders,
}

impl Limits {
    /// The limits of `[limits]` and `[[keys]]`, on the monotonic clock.
    pub fn new(global: config::Limits, keys: &[Key]) -> Self {
        Self::with_clock(global, keys, &DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limits<C> {
    /// As [`Limits::new`], on a clock of the caller's.
    pub fn with_clock(global: config::Limits, keys: &[Key], clock: &C) -> Self {
        Self {
            global: Scope::new(global, clock),
            keys: keys.iter().map(|key| Scope::new(key.limits, clock)).collect(),
        }
    }
}

impl<C: Clock> Limits<C> {
    /// Decides about one request of `key`; `None` is an anonymous one, which only the gateway's limits bind.
    ///
    /// Streams are checked first: that is cheap, and a client that has its streams full spends no tokens by
    /// asking again. A refusal gives back what it took before; for that moment another request of the same key
    /// may be refused too, so that a limit errs on the safe side and never admits more.
    pub fn admit(&self, key: Option<KeyId>) -> Result<Admission, Denied> {
        let scope = key.and_then(|key| self.keys.get(key.index()));
        let places = scope.and_then(|scope| scope.places.as_ref());
        let permit = Permit::take(places, self.global.places.as_ref()).map_err(Denied::from)?;

        let requests = scope.and_then(|scope| scope.requests.as_ref());
        let take = |requests: Option<&Requests<C>>, limit: LimitKind| {
            let window = requests.map(Requests::take).transpose();
            window.map_err(|empty| Denied {
                limit,
                retry_after: empty.retry_after,
                headers: RateHeaders::new(empty.window),
            })
        };
        let key_window = take(requests, LimitKind::KeyRequests)?;
        let global_window = take(self.global.requests.as_ref(), LimitKind::GlobalRequests).inspect_err(|_| {
            if let Some(requests) = requests {
                requests.give_back();
            }
        })?;
        Ok(Admission { permit, headers: RateHeaders::nearest(key_window, global_window) })
    }

    /// Exchanges in flight that the limit of `key`, or of the gateway for `None`, counts; 0 where none is set.
    pub fn in_flight(&self, key: Option<KeyId>) -> u32 {
        let scope = match key {
            Some(key) => self.keys.get(key.index()),
            None => Some(&self.global),
        };
        scope.and_then(|scope| scope.places.as_ref()).map_or(0, |places| places.taken())
    }
}

impl<C: Clock + Clone> Scope<C> {
    fn new(limits: config::Limits, clock: &C) -> Self {
        Self {
            places: limits.streams.map(Places::new),
            requests: limits.requests_per_minute.map(|per_minute| Requests::new(per_minute, clock.clone())),
        }
    }
}

impl From<Full> for Denied {
    fn from(full: Full) -> Self {
        let limit = match full {
            Full::Key => LimitKind::KeyStreams,
            Full::Global => LimitKind::GlobalStreams,
        };
        Self { limit, retry_after: STREAM_RETRY_AFTER, headers: RateHeaders::default() }
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        let (kind, text) = match denied.limit {
            LimitKind::KeyRequests => (Kind::RateLimited, "This key has used up its requests per minute."),
            LimitKind::GlobalRequests => (Kind::RateLimited, "The gateway has used up its requests per minute."),
            LimitKind::KeyStreams => (Kind::TooManyStreams, "This key has too many requests in flight."),
            LimitKind::GlobalStreams => (Kind::TooManyStreams, "The gateway has too many requests in flight."),
        };
        Self::new(kind, text).with_retry_after(denied.retry_after)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use governor::clock::FakeRelativeClock;
    use http::HeaderMap;

    use super::*;

    fn limits(requests_per_minute: Option<u32>, streams: Option<u32>) -> config::Limits {
        config::Limits { requests_per_minute, streams }
    }

    fn key(limits: config::Limits) -> Key {
        let priority = config::Priority::Interactive;
        Key { name: "k".to_owned(), sha256: [0; 32], models: vec![], limits, priority, upstreams: vec![] }
    }

    fn fake(global: config::Limits, keys: &[Key]) -> (Limits<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limits::with_clock(global, keys, &clock), clock)
    }

    fn told(headers: RateHeaders) -> Option<(String, String)> {
        let mut map = HeaderMap::new();
        headers.apply(&mut map);
        let text = |name: &str| map.get(name).map(|value| value.to_str().expect("ASCII").to_owned());
        text("x-ratelimit-limit-requests").zip(text("x-ratelimit-remaining-requests"))
    }

    #[test]
    fn without_limits_everything_is_admitted() {
        let limits = Limits::new(config::Limits::default(), &[]);
        for key in [None, Some(KeyId::new(0))] {
            let admission = limits.admit(key).expect("no limit");
            assert!(!admission.permit.is_counted());
            assert_eq!(told(admission.headers), None);
        }
    }

    #[test]
    fn each_limit_denies_in_its_own_name() {
        use LimitKind::{GlobalRequests, GlobalStreams, KeyRequests, KeyStreams};
        for (global, key_limits, denied_by, kind, retry_secs) in [
            (limits(None, None), limits(Some(1), None), KeyRequests, Kind::RateLimited, 60),
            (limits(Some(1), None), limits(None, None), GlobalRequests, Kind::RateLimited, 60),
            (limits(None, None), limits(None, Some(1)), KeyStreams, Kind::TooManyStreams, 1),
            (limits(None, Some(1)), limits(None, None), GlobalStreams, Kind::TooManyStreams, 1),
            // Streams first: no token is asked for.
            (limits(Some(1), None), limits(Some(1), Some(1)), KeyStreams, Kind::TooManyStreams, 1),
            (limits(Some(1), None), limits(Some(1), None), KeyRequests, Kind::RateLimited, 60),
        ] {
            let (limits, _clock) = fake(global, &[key(key_limits)]);
            let _first = limits.admit(Some(KeyId::new(0))).expect("the first");
            let denied = limits.admit(Some(KeyId::new(0))).expect_err("the second");
            assert_eq!(denied.limit, denied_by);
            let error = Error::from(denied);
            assert_eq!((error.kind(), error.retry_after()), (kind, Some(Duration::from_secs(retry_secs))));
        }
    }

    #[test]
    fn a_refusal_gives_back_what_it_took() {
        let key_id = Some(KeyId::new(0));
        let (limits, clock) = fake(limits(Some(1), Some(9)), &[key(limits(Some(2), Some(9)))]);
        drop(limits.admit(key_id).expect("the first"));
        for _ in 0..10 {
            assert_eq!(limits.admit(key_id).expect_err("global").limit, LimitKind::GlobalRequests);
            assert_eq!((limits.in_flight(key_id), limits.in_flight(None)), (0, 0));
        }
        clock.advance(Duration::from_mins(1));
        let admission = limits.admit(key_id).expect("refilled");
        assert_eq!(told(admission.headers), Some(("1".to_owned(), "0".to_owned())));
    }

    #[test]
    fn full_streams_cost_no_tokens() {
        let key_id = Some(KeyId::new(0));
        let (limits, _clock) = fake(config::Limits::default(), &[key(limits(Some(2), Some(1)))]);
        let held = limits.admit(key_id).expect("the first");
        for _ in 0..10 {
            assert_eq!(limits.admit(key_id).expect_err("full").limit, LimitKind::KeyStreams);
        }
        drop(held);
        let again = limits.admit(key_id).expect("the second token is still there");
        assert_eq!(told(again.headers), Some(("2".to_owned(), "0".to_owned())));
    }

    #[test]
    fn keys_do_not_share_their_limits() {
        let (limits, _clock) =
            fake(config::Limits::default(), &[key(limits(Some(1), None)), key(limits(Some(1), None))]);
        drop(limits.admit(Some(KeyId::new(0))).expect("the first key"));
        drop(limits.admit(Some(KeyId::new(1))).expect("the second key"));
        drop(limits.admit(None).expect("nobody"));
        assert!(limits.admit(Some(KeyId::new(0))).is_err());
    }

    #[test]
    fn a_thousand_threads_never_exceed_the_limits() {
        let key_id = Some(KeyId::new(0));
        let (limits, _clock) = fake(limits(Some(300), Some(50)), &[key(limits(Some(200), Some(20)))]);
        let admitted: usize = thread::scope(|scope| {
            let attempt = || {
                let admission = limits.admit(key_id);
                assert!(limits.in_flight(key_id) <= 20 && limits.in_flight(None) <= 50);
                thread::yield_now();
                usize::from(admission.is_ok())
            };
            let threads: Vec<_> = (0..1000).map(|_| scope.spawn(attempt)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert!((20..=200).contains(&admitted), "{admitted}");
        assert_eq!((limits.in_flight(key_id), limits.in_flight(None)), (0, 0));
    }

    #[test]
    fn tokens_given_back_in_parallel_are_counted_right() {
        let key_id = Some(KeyId::new(0));
        let (limits, _clock) = fake(limits(Some(100), None), &[key(limits(Some(2000), None))]);
        let admitted: usize = thread::scope(|scope| {
            let attempt = || (0..10).filter(|_| limits.admit(key_id).is_ok()).count();
            let threads: Vec<_> = (0..100).map(|_| scope.spawn(attempt)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(admitted, 100);
        let left = limits.keys[0].requests.as_ref().expect("limited").take().expect("not used up").remaining;
        assert_eq!(left, 2000 - 100 - 1);
    }
}
