//! Counts an exchange in the phase that it is in.

use std::rc::Rc;

use crate::telemetry::{Phase, Recorder};

/// Counted as waiting for its first token when made, gone when dropped.
#[derive(Debug)]
pub struct PhaseGuard {
    recorder: Rc<Recorder>,
    phase: Phase,
}

impl PhaseGuard {
    /// An exchange that waits for its first token.
    pub fn waiting(recorder: Rc<Recorder>) -> Self {
        recorder.phase_changed(None, Some(Phase::WaitingFirstToken));
        Self { recorder, phase: Phase::WaitingFirstToken }
    }

    /// Its first token is here.
    pub fn streaming(&mut self) {
        if self.phase != Phase::Streaming {
            self.recorder.phase_changed(Some(self.phase), Some(Phase::Streaming));
            self.phase = Phase::Streaming;
        }
    }
}

impl Drop for PhaseGuard {
    fn drop(&mut self) {
        self.recorder.phase_changed(Some(self.phase), None);
    }
}
