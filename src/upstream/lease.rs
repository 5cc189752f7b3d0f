//! What every connection carries besides its socket: its permit, its place in the gauges, its birth.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::caps::Permit;
use crate::telemetry::{ConnectionState, Recorder};
use crate::units::UpstreamId;

/// Held exactly as long as the connection; gives the permit back and leaves the gauges on drop.
#[derive(Debug)]
pub(super) struct Lease {
    recorder: Rc<Recorder>,
    upstream: UpstreamId,
    state: Cell<ConnectionState>,
    born: Instant,
    _permit: Permit,
}

impl Lease {
    /// For a connection that now stands; it counts as active.
    pub(super) fn new(recorder: Rc<Recorder>, upstream: UpstreamId, permit: Permit) -> Self {
        recorder.upstream_connections(upstream, ConnectionState::Active, 1);
        Self {
            recorder,
            upstream,
            state: Cell::new(ConnectionState::Active),
            born: Instant::now(),
            _permit: permit,
        }
    }

    /// Moves the connection between the gauges. Saying the same twice is harmless.
    pub(super) fn set(&self, state: ConnectionState) {
        let before = self.state.replace(state);
        if before != state {
            self.recorder.upstream_connections(self.upstream, before, -1);
            self.recorder.upstream_connections(self.upstream, state, 1);
        }
    }

    /// How long the connection has existed.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.born)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.recorder.upstream_connections(self.upstream, self.state.get(), -1);
    }
}
