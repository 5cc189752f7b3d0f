//! How much each worker carries, and which one shall take a new connection.
//!
//! `SO_REUSEPORT` spreads accepts by a hash, and streams live long: chance alone makes one core carry more.
//! So an accepted connection goes to the least loaded worker. Load is connections plus streams in flight, so that
//! one HTTP/2 connection with many streams weighs what it carries. A connection counts with a stream before it has
//! asked for one: in a burst of them, the worker that accepts has begun to serve its own while another finds those
//! handed to it still in its inbox, and would look idle.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The loads of all workers. Written by its worker alone, read by all: plain loads and stores.
#[derive(Debug)]
pub struct Loads(Box<[Slot]>);

/// Own cache line each, so that workers don't slow each other down by counting.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slot {
    connections: AtomicUsize,
    streams: AtomicUsize,
    /// Connections that have not asked for anything yet.
    newcomers: AtomicUsize,
}

/// One worker's own side of [`Loads`].
#[derive(Clone, Debug)]
pub struct Load {
    loads: Arc<Loads>,
    worker: usize,
    /// Keeps it on its thread.
    _local: std::marker::PhantomData<Rc<()>>,
}

impl Loads {
    /// All zero.
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self((0..workers).map(|_| Slot::default()).collect()))
    }

    /// Streams and requests in flight on one worker.
    pub fn streams(&self, worker: usize) -> usize {
        self.0[worker].streams.load(Ordering::Relaxed)
    }

    /// Client connections of all workers.
    pub fn total_connections(&self) -> usize {
        self.0.iter().map(|slot| slot.connections.load(Ordering::Relaxed)).sum()
    }

    fn of(&self, worker: usize) -> usize {
        let slot = &self.0[worker];
        slot.connections.load(Ordering::Relaxed)
            + slot.streams.load(Ordering::Relaxed)
            + slot.newcomers.load(Ordering::Relaxed)
    }

    /// The worker that shall serve a connection that `acceptor` has accepted: itself, unless another carries
    /// clearly less. The margin keeps near-equal workers from passing connections back and forth.
    pub fn place(&self, acceptor: usize) -> usize {
        let own = self.of(acceptor);
        let (least, load) = (0..self.0.len())
            .map(|worker| (worker, self.of(worker)))
            .min_by_key(|&(_, load)| load)
            .expect("at least one worker");
        if own > load + 2 + load / 64 { least } else { acceptor }
    }

    /// Counts a connection for a worker that will find it in its inbox, so that a burst is spread before the
    /// first of it has arrived.
    pub fn connection_sent(&self, worker: usize) {
        self.0[worker].connections.fetch_add(1, Ordering::Relaxed);
        self.0[worker].newcomers.fetch_add(1, Ordering::Relaxed);
    }
}

impl Load {
    /// Connections of this worker.
    pub fn connections(&self) -> usize {
        self.loads.0[self.worker].connections.load(Ordering::Relaxed)
    }

    /// The side of `worker`.
    pub fn new(loads: Arc<Loads>, worker: usize) -> Self {
        Self { loads, worker, _local: std::marker::PhantomData }
    }

    /// The loads of all.
    pub fn all(&self) -> &Arc<Loads> {
        &self.loads
    }

    /// This worker's index.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// A connection that stays on the worker that accepted it.
    pub fn connection_opened(&self) {
        self.loads.connection_sent(self.worker);
    }

    /// What a connection that was just counted will ask for: weighs as much as that until it is dropped.
    pub fn newcomer(&self) -> Newcomer {
        Newcomer(self.clone())
    }

    /// A connection is gone.
    pub fn connection_closed(&self) {
        self.loads.0[self.worker].connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Streams in flight on this worker.
    pub fn streams(&self) -> usize {
        self.loads.streams(self.worker)
    }

    /// One exchange begins; it ends when the guard is dropped.
    pub fn stream(&self) -> StreamGuard {
        self.loads.0[self.worker].streams.fetch_add(1, Ordering::Relaxed);
        StreamGuard(self.clone())
    }
}

/// A connection whose first request is still to come.
#[derive(Debug)]
pub struct Newcomer(Load);

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.0.loads.0[self.0.worker].newcomers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts one exchange in flight.
#[derive(Debug)]
pub struct StreamGuard(Load);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.loads.0[self.0.worker].streams.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skewed_accepts_come_out_even() {
        for workers in [1, 2, 3, 8] {
            let loads = Loads::new(workers);
            for _ in 0..8_000 {
                let target = loads.place(0);
                loads.connection_sent(target);
            }
            let counts: Vec<usize> = (0..workers).map(|worker| loads.of(worker)).collect();
            let (least, most) = (counts.iter().min().expect("some"), counts.iter().max().expect("some"));
            assert!(most - least <= most / 10, "{counts:?}");
        }
    }

    #[test]
    fn who_has_not_asked_weighs_as_much_as_who_has() {
        let loads = Loads::new(2);
        let own = Load::new(Arc::clone(&loads), 0);
        let mut streams = Vec::new();
        for _ in 0..400 {
            let target = loads.place(0);
            loads.connection_sent(target);
            if target == 0 {
                // Served at once; what was handed over waits.
                drop(own.newcomer());
                streams.push(own.stream());
            }
        }
        assert!((190..=210).contains(&streams.len()), "{}", streams.len());
    }

    #[test]
    fn equal_workers_keep_what_they_accept() {
        let loads = Loads::new(2);
        loads.connection_sent(0);
        assert_eq!(loads.place(0), 0);
    }

    #[test]
    fn a_guard_gives_back_once() {
        let load = Load::new(Loads::new(1), 0);
        let guards: Vec<StreamGuard> = (0..3).map(|_| load.stream()).collect();
        assert_eq!(load.streams(), 3);
        drop(guards);
        assert_eq!(load.streams(), 0);
    }
}
