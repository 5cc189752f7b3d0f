//! The series of `millstream_requests_total`: few of very many combinations, so each is made when it is met.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
#[expect(clippy::disallowed_types, reason = "taken when a worker first meets a series, and by a scrape")]
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use crate::api::endpoint::Endpoint;
use crate::units::{KeyId, RouteId, UpstreamId};

/// Series of the whole process. What comes after them is counted in one more series, the overflow.
pub(super) const SERIES_MAX: usize = 10_000;

/// What tells one series from another; `None` is an empty label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeriesKey {
    pub(super) endpoint: Option<Endpoint>,
    pub(super) route: Option<RouteId>,
    pub(super) upstream: Option<UpstreamId>,
    pub(super) key: Option<KeyId>,
    pub(super) code: u16,
}

impl Hash for SeriesKey {
    /// In one piece: field by field the hasher is called nine times, at the end of each request.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let place = |index: Option<usize>| index.map_or(0, |index| index as u128 + 1);
        let places = [
            place(self.endpoint.map(|endpoint| endpoint as usize)),
            place(self.route.map(RouteId::index)),
            place(self.upstream.map(UpstreamId::index)),
            place(self.key.map(KeyId::index)),
            self.code.into(),
        ];
        state.write_u128(places.into_iter().fold(0, |all, place| all << 24 | place));
    }
}

/// A counter that one worker writes.
type Count = Arc<AtomicU64>;

/// Every series, with one counter for each worker that has met it. `None` is the overflow.
#[derive(Debug, Default)]
pub(super) struct Series {
    #[expect(clippy::disallowed_types, reason = "taken when a worker first meets a series, and by a scrape")]
    counts: Mutex<HashMap<Option<SeriesKey>, Vec<Count>>>,
}

/// The series that one worker has met.
#[derive(Debug)]
pub(super) struct LocalSeries {
    shared: Arc<Series>,
    counts: RefCell<HashMap<SeriesKey, Count>>,
    overflow: Count,
    /// The process has all the series it may have: what this worker does not know goes to the overflow, and
    /// the lock is not taken again.
    full: Cell<bool>,
}

impl Series {
    /// The sum of each series over the workers; `None` is the overflow, absent while empty.
    pub(super) fn sums(&self) -> Vec<(Option<SeriesKey>, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |counts: &Vec<Count>| counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        let mut sums: Vec<_> = counts.iter().map(|(&key, counts)| (key, sum(counts))).collect();
        sums.retain(|&(key, sum): &(_, u64)| key.is_some() || sum > 0);
        sums
    }

    /// A new counter of the series, or `None` if there are too many of them.
    fn join(&self, key: Option<SeriesKey>) -> Option<Count> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if key.is_some() && !counts.contains_key(&key) && counts.len() > SERIES_MAX {
            return None;
        }
        let count = Count::default();
        counts.entry(key).or_default().push(Arc::clone(&count));
        Some(count)
    }
}

impl LocalSeries {
    /// For one worker.
    pub(super) fn new(shared: Arc<Series>) -> Self {
        // The overflow is there from the start, and is the one entry above SERIES_MAX.
        let overflow = shared.join(None).unwrap_or_default();
        Self { shared, counts: RefCell::default(), overflow, full: Cell::new(false) }
    }

    /// Counts one.
    pub(super) fn increment(&self, key: SeriesKey) {
        let mut counts = self.counts.borrow_mut();
        if let Some(count) = counts.get(&key) {
            return bump(count);
        }
        if !self.full.get() {
            if let Some(count) = self.shared.join(Some(key)) {
                return bump(counts.entry(key).or_insert(count));
            }
            self.full.set(true);
        }
        bump(&self.overflow);
    }
}

/// One more, by the only writer.
fn bump(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(route: usize, code: u16) -> SeriesKey {
        SeriesKey { endpoint: None, route: Some(RouteId::new(route)), upstream: None, key: None, code }
    }

    #[test]
    fn workers_are_summed() {
        let shared = Arc::new(Series::default());
        let workers = [LocalSeries::new(Arc::clone(&shared)), LocalSeries::new(Arc::clone(&shared))];
        for worker in &workers {
            worker.increment(key(1, 200));
            worker.increment(key(1, 200));
        }
        workers[1].increment(key(1, 429));
        let sums: HashMap<_, _> = shared.sums().into_iter().collect();
        assert_eq!(sums, HashMap::from([(Some(key(1, 200)), 4), (Some(key(1, 429)), 1)]));
    }

    #[test]
    fn what_exceeds_the_bound_overflows_and_is_still_counted() {
        let shared = Arc::new(Series::default());
        let worker = LocalSeries::new(Arc::clone(&shared));
        for route in 0..SERIES_MAX + 5 {
            worker.increment(key(route, 200));
        }
        worker.increment(key(0, 200));
        let sums: HashMap<_, _> = shared.sums().into_iter().collect();
        assert_eq!(sums.len(), SERIES_MAX + 1);
        assert_eq!(sums[&None], 5);
        assert_eq!(sums[&Some(key(0, 200))], 2);
    }
}
