//! Where the process is in its life, as its surroundings may ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Whether new requests are welcome. The order is that of life, and nobody goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// Not all listeners are open yet.
    Starting,
    /// All is well.
    Ready,
    /// The process is about to stop.
    Draining,
}

/// The process's readiness. One per process: the composition root sets it, the admin listener tells it.
#[derive(Debug, Default)]
pub struct Health {
    readiness: AtomicU8,
}

impl Health {
    /// A process that starts.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Moves on to `readiness`. A move back is ignored: a start that completes during a drain changes nothing.
    pub fn reached(&self, readiness: Readiness) {
        self.readiness.fetch_max(readiness as u8, Ordering::Relaxed);
    }

    /// Where the process is.
    pub fn readiness(&self) -> Readiness {
        match self.readiness.load(Ordering::Relaxed) {
            0 => Readiness::Starting,
            1 => Readiness::Ready,
            _ => Readiness::Draining,
        }
    }
}

impl Readiness {
    /// Its word, as probes are told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draining_process_does_not_become_ready() {
        let health = Health::new();
        assert_eq!(health.readiness(), Readiness::Starting);
        health.reached(Readiness::Ready);
        assert_eq!(health.readiness(), Readiness::Ready);
        health.reached(Readiness::Draining);
        health.reached(Readiness::Ready);
        assert_eq!(health.readiness(), Readiness::Draining);
    }
}
