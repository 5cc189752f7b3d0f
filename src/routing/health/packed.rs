//! States that cores share: a value in a word, replaced by compare-and-swap.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::routing::health::Entry;

/// A state that fits into 64 bits. Zero is its beginning.
pub(super) trait Packed: Copy {
    fn pack(self) -> u64;

    /// The reverse of [`Packed::pack`]; never fails, for whatever bits.
    fn unpack(word: u64) -> Self;
}

/// One shared state. Relaxed throughout: a word guards no memory but itself. The states hold no pointers, so one
/// that has come back to what it was in the midst of a swap (ABA) is the same state.
pub(super) struct Shared<T> {
    word: AtomicU64,
    state: PhantomData<fn() -> T>,
}

impl<T: Packed> Shared<T> {
    /// At its beginning.
    pub(super) fn new() -> Self {
        Self { word: AtomicU64::new(0), state: PhantomData }
    }

    pub(super) fn load(&self) -> T {
        T::unpack(self.word.load(Ordering::Relaxed))
    }

    /// Writes without regard to what others write meanwhile.
    pub(super) fn store(&self, state: T) {
        self.word.store(state.pack(), Ordering::Relaxed);
    }

    /// Replaces the state by what `next` makes of it: (before, after) of the one swap that succeeded; `None` if `next`
    /// wants no change. `next` is asked again whenever somebody else was quicker, so of many callers that want the
    /// same transition exactly one sees it.
    pub(super) fn update(&self, mut next: impl FnMut(T) -> Option<T>) -> Option<(T, T)> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let before = T::unpack(word);
            let after = next(before)?;
            match self.word.compare_exchange_weak(word, after.pack(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some((before, after)),
                Err(found) => word = found,
            }
        }
    }

    /// Goes in by what `entry` makes of the state; where that is a probe, it is put in place before this returns.
    /// With the entry comes the state as it is then.
    pub(super) fn enter(&self, entry: impl Fn(T) -> Entry<T>) -> (T, Entry<T>) {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let state = T::unpack(word);
            let found = entry(state);
            let Entry::Probe(next) = found else { return (state, found) };
            match self.word.compare_exchange_weak(word, next.pack(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return (next, found),
                Err(changed) => word = changed,
            }
        }
    }
}

impl<T: Packed + fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}

/// `bits` bits of `word` from `shift` up; at most 16.
pub(super) fn field(word: u64, shift: u32, bits: u32) -> u16 {
    let value = (word >> shift) & ((1 << bits) - 1);
    u16::try_from(value).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    impl Packed for u64 {
        fn pack(self) -> u64 {
            self
        }

        fn unpack(word: u64) -> Self {
            word
        }
    }

    #[test]
    fn no_change_is_lost_between_threads_and_each_is_seen_by_one() {
        const EACH: u64 = 50_000;
        let shared = Shared::<u64>::new();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        let (before, after) = shared.update(|count| Some(count + 1)).expect("a change");
                        assert_eq!(before + 1, after);
                    }
                });
            }
        });
        assert_eq!(shared.load(), 4 * EACH);
        assert_eq!(shared.update(|_| None), None);
    }

    #[test]
    fn each_probe_is_given_to_one_thread() {
        const PROBES: u64 = 300_000;
        let (shared, start) = (Shared::<u64>::new(), Barrier::new(4));
        let next = |count: u64| if count < PROBES { Entry::Probe(count + 1) } else { Entry::Free };
        let given: u64 = thread::scope(|scope| {
            let take = || {
                start.wait();
                let mut taken = 0;
                while let (_, Entry::Probe(_)) = shared.enter(next) {
                    taken += 1;
                }
                taken
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(given, PROBES);
    }
}
