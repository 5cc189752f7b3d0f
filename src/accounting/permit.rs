//! Places for streams: a bound, and permits that give their place back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A bounded number of places, shared by all workers.
#[derive(Debug)]
pub struct Places {
    max: u32,
    taken: AtomicU32,
}

/// One taken place; dropping it gives it back.
#[derive(Debug)]
pub struct Place(Arc<Places>);

/// The right to have one exchange in flight. Its places are given back when it is dropped, once, on whatever
/// thread that happens; keep it until the last byte of the answer.
#[derive(Debug, Default)]
#[must_use = "the places are given back when it is dropped"]
pub struct Permit {
    key: Option<Place>,
    global: Option<Place>,
}

/// Whose places are all taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Key,
    Global,
}

impl Places {
    /// So many places, all free.
    pub fn new(max: u32) -> Arc<Self> {
        Arc::new(Self { max, taken: AtomicU32::new(0) })
    }

    /// Places that are held now.
    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// A place, if one is free. Relaxed is enough: the count guards nothing but itself.
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        let below_max = |taken: u32| (taken < self.max).then(|| taken.saturating_add(1));
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below_max).ok()?;
        Some(Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Permit {
    /// A place of the key's and one of the gateway's, where each has a bound; both or none.
    pub(super) fn take(key: Option<&Arc<Places>>, global: Option<&Arc<Places>>) -> Result<Self, Full> {
        let take = |places: Option<&Arc<Places>>, full: Full| match places {
            Some(places) => places.take().map(Some).ok_or(full),
            None => Ok(None),
        };
        let key = take(key, Full::Key)?;
        let global = take(global, Full::Global)?;
        Ok(Self { key, global })
    }

    /// Whether any bound counts this exchange.
    pub fn is_counted(&self) -> bool {
        self.key.is_some() || self.global.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn a_permit_can_cross_threads() {
        fn is_send<T: Send + Sync + 'static>() {}
        is_send::<Permit>();
    }

    #[test]
    fn both_places_or_none() {
        let (key, global) = (Places::new(2), Places::new(1));
        let first = Permit::take(Some(&key), Some(&global)).expect("free");
        assert_eq!(Permit::take(Some(&key), Some(&global)).expect_err("full"), Full::Global);
        assert_eq!((key.taken(), global.taken()), (1, 1));
        let second = Permit::take(Some(&key), None).expect("free");
        assert_eq!(Permit::take(Some(&key), None).expect_err("full"), Full::Key);
        drop((first, second));
        assert_eq!((key.taken(), global.taken()), (0, 0));
        assert!(!Permit::take(None, None).expect("unbounded").is_counted());
    }

    #[test]
    fn a_thousand_threads_never_exceed_the_bound() {
        const THREADS: usize = 1000;
        const MAX: u32 = 7;
        let places = Places::new(MAX);
        let start = Barrier::new(THREADS);
        let admitted: usize = thread::scope(|scope| {
            let attempt = || {
                start.wait();
                let permit = Permit::take(Some(&places), None);
                assert!(places.taken() <= MAX);
                thread::yield_now();
                usize::from(permit.is_ok())
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(attempt)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert!(admitted >= MAX as usize);
        assert_eq!(places.taken(), 0);
    }
}
