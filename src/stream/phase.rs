//! Counts an exchange in the phase that it is in.

use std::rc::Rc;

use crate::telemetry::{Phase, Recorder};

/// Counted as waiting for its first token when made, gone when dropped.
#[derive(Debug)]
pub struct PhaseGuard {
    recorder: Rc<Recorder>,
    /// `None` is counted nowhere.
    phase: Option<Phase>,
}

impl PhaseGuard {
    /// An exchange that waits for its first token.
    pub fn waiting(recorder: Rc<Recorder>) -> Self {
        recorder.phase_changed(None, Some(Phase::WaitingFirstToken));
        Self { recorder, phase: Some(Phase::WaitingFirstToken) }
    }

    /// For who waits for exchanges that are counted themselves.
    pub fn uncounted(recorder: Rc<Recorder>) -> Self {
        Self { recorder, phase: None }
    }

    /// Its first token is here.
    pub fn streaming(&mut self) {
        if self.phase == Some(Phase::WaitingFirstToken) {
            self.recorder.phase_changed(self.phase, Some(Phase::Streaming));
            self.phase = Some(Phase::Streaming);
        }
    }
}

impl Drop for PhaseGuard {
    fn drop(&mut self) {
        if self.phase.is_some() {
            self.recorder.phase_changed(self.phase, None);
        }
    }
}
