//! The wait for a place at a target whose streams are bounded. Comments keep the client's connection alive meanwhile, as
//! before any first token; a client that leaves gives its place up.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::attempt::{Failure, Onward, latest};
use super::call::Call;
use super::plan::Aim;
use super::worker::Worker;
use crate::error::{Error, Kind};
use crate::routing::gate::Class;
use crate::telemetry::{QueueOutcome, Recorder};

/// When to come back: places become free when streams end.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Told of at its end, whatever that is.
struct Wait {
    recorder: Rc<Recorder>,
    class: Class,
    began: Instant,
    end: QueueOutcome,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.recorder.queue_ended(self.class.into(), self.end, self.began.elapsed());
    }
}

/// Returns at once where there is nothing to wait for.
///
/// # Cancel safety
/// Dropping the future frees the place in the queue at once.
pub(super) async fn wait(
    worker: &Rc<Worker>,
    call: &Call,
    aim: &mut Aim,
    class: Class,
) -> Result<(), Box<Failure>> {
    let Some(gate) = aim.trial.awaited_gate().map(Arc::clone) else { return Ok(()) };
    let began = Instant::now();
    let mut wait = Wait { recorder: Rc::clone(&worker.recorder), class, began, end: QueueOutcome::Left };
    let upstream = &worker.snapshot.config.upstreams[aim.trial.upstream().index()];
    let patience = upstream.gate.map_or(Duration::ZERO, |gate| gate.queue_timeout);
    let latest = latest(call, &aim.leg);
    let seat = match gate.enter(class, call.principal.key()) {
        Err(_) => Err((QueueOutcome::Full, "the queue before the upstream is full")),
        Ok(entering) => timeout_at((began + patience).min(latest), entering)
            .await
            .map_err(|_| (QueueOutcome::Timeout, "no place before the upstream became free in time")),
    };
    let (kind, detail) = match seat {
        // One that comes at the last moment comes too late.
        Ok(_) if Instant::now() >= latest => {
            wait.end = QueueOutcome::Timeout;
            (Kind::Overloaded, "a place before the upstream became free too late")
        }
        Ok(seat) => {
            wait.end = QueueOutcome::Seated;
            aim.trial.seated(seat);
            if aim.is_still_let_in(worker) {
                return Ok(());
            }
            (Kind::NoTarget, "the upstream has failed while the request waited for it")
        }
        Err((end, detail)) => {
            wait.end = end;
            (Kind::Overloaded, detail)
        }
    };
    let error = Error::new(kind, detail).with_retry_after(RETRY_AFTER);
    Err(Box::new(Failure::new(error, &aim.leg, &aim.trial, Onward::Elsewhere, 0)))
}
