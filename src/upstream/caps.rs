//! The process-wide bounds on connections, per upstream and together: the one thing here that cores share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config;
use crate::units::UpstreamId;

/// How many connections there are to each upstream, over all workers, and how many there may be.
#[derive(Debug)]
pub struct Caps {
    each: Box<[Cap]>,
    /// What the file limit leaves for all of them: the streams of few clients must not use up the descriptors
    /// that others, and the admin listener, need.
    all: Cap,
}

#[derive(Debug)]
struct Cap {
    open: AtomicUsize,
    max: usize,
}

/// The right to hold one connection open; given back on drop, on whichever thread that happens.
pub(super) struct Permit {
    caps: Arc<Caps>,
    upstream: UpstreamId,
}

impl Caps {
    /// One counter per upstream, in their order, and one for at most `total_max` connections to all.
    pub fn new(upstreams: &[config::Upstream], total_max: usize) -> Arc<Self> {
        let each = upstreams.iter().map(|upstream| Cap::new(upstream.connections_max)).collect();
        Arc::new(Self { each, all: Cap::new(total_max) })
    }

    /// Connections to `upstream` that are open or being made, over all workers.
    ///
    /// # Panics
    /// When `upstream` is of another configuration.
    pub fn open(&self, upstream: UpstreamId) -> usize {
        self.each[upstream.index()].open.load(Ordering::Relaxed)
    }

    /// A permit, unless the upstream's connections, or those to all upstreams, are all taken.
    pub(super) fn acquire(self: &Arc<Self>, upstream: UpstreamId) -> Option<Permit> {
        if !self.each[upstream.index()].take() {
            return None;
        }
        if !self.all.take() {
            self.each[upstream.index()].give_back();
            return None;
        }
        Some(Permit { caps: self.clone(), upstream })
    }
}

impl Cap {
    fn new(max: usize) -> Self {
        Self { open: AtomicUsize::new(0), max }
    }

    /// Relaxed, like all here: the counter guards no other memory.
    fn take(&self) -> bool {
        let one_more = |open: usize| (open < self.max).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    fn give_back(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.caps.all.give_back();
        self.caps.each[self.upstream.index()].give_back();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.upstream).finish()
    }
}
