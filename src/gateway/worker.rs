//! What one worker has, for everything that it serves.

use std::rc::Rc;

use super::snapshot::Snapshot;
use crate::signal::{Phase, Signal};
use crate::telemetry::Recorder;
use crate::upstream::Pool;

/// See the module.
#[derive(Debug)]
pub struct Worker {
    /// Shared with all workers.
    pub snapshot: Snapshot,
    /// This worker's connections to upstreams.
    pub pool: Rc<Pool>,
    /// This worker's shard of the metrics.
    pub recorder: Rc<Recorder>,
    /// Whether the process is on its way out.
    pub phase: Signal<Phase>,
}
