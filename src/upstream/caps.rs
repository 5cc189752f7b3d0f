//! The process-wide bound on connections per upstream: the one thing here that cores share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config;
use crate::units::UpstreamId;

/// How many connections there are to each upstream, over all workers, and how many there may be.
#[derive(Debug)]
pub struct Caps(Box<[Cap]>);

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
    /// One counter per upstream, in their order.
    pub fn new(upstreams: &[config::Upstream]) -> Arc<Self> {
        let cap = |upstream: &config::Upstream| Cap { open: AtomicUsize::new(0), max: upstream.connections_max };
        Arc::new(Self(upstreams.iter().map(cap).collect()))
    }

    /// Connections to `upstream` that are open or being made, over all workers.
    ///
    /// # Panics
    /// When `upstream` is of another configuration.
    pub fn open(&self, upstream: UpstreamId) -> usize {
        self.0[upstream.index()].open.load(Ordering::Relaxed)
    }

    /// A permit, unless the upstream's connections are all taken.
    pub(super) fn acquire(self: &Arc<Self>, upstream: UpstreamId) -> Option<Permit> {
        let cap = &self.0[upstream.index()];
        // Relaxed: the counter guards no other memory.
        let one_more = |open: usize| (open < cap.max).then_some(open + 1);
        cap.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Permit { caps: self.clone(), upstream })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.caps.0[self.upstream.index()].open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.upstream).finish()
    }
}
