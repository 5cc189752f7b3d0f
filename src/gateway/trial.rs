//! One attempt at one target, as the target's health sees it: what became of it is told once, and what it holds is
//! given back once, however it ends.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::call::Call;
use super::snapshot::Snapshot;
use super::worker::Worker;
use crate::api::verdict::Verdict;
use crate::middleware::Record;
use crate::routing::gate::{Gate, Sample, Seat};
use crate::routing::health::{Fault, Pass};
use crate::stream::End;
use crate::telemetry::{AttemptOutcome, EndReason};
use crate::units::{TargetId, UpstreamId};

/// Counted as an open stream of its target until it is dropped, also while it waits for a place there. Dropped without
/// a word it was given up: its client left, or another target was faster.
pub(super) struct Trial {
    worker: Rc<Worker>,
    record: Rc<Record>,
    target: TargetId,
    upstream: UpstreamId,
    /// With which its result is reported.
    pass: Pass,
    /// `None` until the target is asked.
    asked: Option<Instant>,
    gate: Option<Arc<Gate>>,
    /// A place of the gate's, held until the last byte.
    seat: Option<Seat>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The answer is the client's; only a break of it is still to be told.
    Committed,
    Told,
}

impl Trial {
    /// For a request that its target has let in. `seat` is a place of its gate's, if it has a gate and one was free.
    pub(super) fn new(worker: &Rc<Worker>, call: &Call, pass: Pass, seat: Option<Seat>) -> Self {
        let Snapshot { board, gates, table, .. } = &worker.snapshot;
        let target = pass.target();
        board.began(target);
        Self {
            worker: Rc::clone(worker),
            record: Rc::clone(&call.record),
            target,
            upstream: table.target(target).upstream,
            pass,
            asked: None,
            gate: gates[target.index()].clone(),
            seat,
            state: State::Open,
        }
    }

    pub(super) fn target(&self) -> TargetId {
        self.target
    }

    pub(super) fn pass(&self) -> Pass {
        self.pass
    }

    /// The target has let the request in again. The pass before is no probe's, so nobody waits for its result.
    pub(super) fn renew(&mut self, pass: Pass) {
        self.pass = pass;
    }

    pub(super) fn upstream(&self) -> UpstreamId {
        self.upstream
    }

    /// The gate, if a place there is still to be waited for.
    pub(super) fn awaited_gate(&self) -> Option<&Arc<Gate>> {
        self.gate.as_ref().filter(|_| self.seat.is_none())
    }

    /// A place at the gate.
    pub(super) fn seated(&mut self, seat: Seat) {
        self.seat = Some(seat);
    }

    /// The target is asked now.
    pub(super) fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// The answer is good so far; `streams` where what came is a first token.
    pub(super) fn committed(&mut self, streams: bool) {
        let now = Instant::now();
        let after = self.asked.filter(|_| streams).map(|asked| now - asked);
        self.worker.snapshot.board.succeeded(self.pass, after, self.worker.at(now));
        if let Some(after) = after {
            self.learn(Sample::FirstToken(after));
        }
        self.tell(AttemptOutcome::Committed);
        self.state = State::Committed;
    }

    /// It failed, through the target's fault.
    pub(super) fn failed(&mut self, fault: Fault) {
        self.worker.snapshot.board.failed(self.pass, fault, self.worker.now());
        let after = self.asked.map_or(Duration::ZERO, |asked| asked.elapsed());
        self.learn(if fault == Fault::Late { Sample::Late(after) } else { Sample::Failed });
        self.tell(match fault {
            Fault::Unreachable => AttemptOutcome::Unreachable,
            Fault::Broken => AttemptOutcome::Broken,
            Fault::Status => AttemptOutcome::Status,
            Fault::FirstEvent => AttemptOutcome::FirstEvent,
            Fault::Late => AttemptOutcome::Late,
            Fault::Aborted => AttemptOutcome::Committed,
        });
    }

    /// The target did not take the request, or the request was at fault.
    pub(super) fn refused(&mut self, verdict: Verdict) {
        let (board, now) = (&self.worker.snapshot.board, self.worker.now());
        let outcome = match verdict {
            Verdict::Throttled(after) => {
                board.throttled(self.pass, after, false, now);
                self.learn(Sample::Throttled);
                AttemptOutcome::Throttled
            }
            Verdict::Spent(after) => {
                board.throttled(self.pass, after, true, now);
                AttemptOutcome::Spent
            }
            // No word about the target: neither for it nor against it.
            _ => {
                board.abandoned(self.pass, now);
                AttemptOutcome::ClientFault
            }
        };
        self.tell(outcome);
    }

    /// It was given up, and not through the target's fault.
    pub(super) fn abandoned(&mut self) {
        self.worker.snapshot.board.abandoned(self.pass, self.worker.now());
        self.tell(if self.record.answered.get() { AttemptOutcome::HedgeLost } else { AttemptOutcome::Abandoned });
    }

    /// The exchange is over.
    pub(super) fn ended(self, end: &End) {
        let broke = matches!(
            end.reason,
            Some(
                EndReason::UpstreamError
                    | EndReason::UpstreamTruncated
                    | EndReason::IdleTimeout
                    // It was committed to for its length, and has never come to a token.
                    | EndReason::FirstTokenTimeout
            )
        );
        if self.state == State::Committed && broke {
            self.worker.snapshot.board.failed(self.pass, Fault::Aborted, self.worker.now());
        }
    }

    fn learn(&self, sample: Sample) {
        if let Some(gate) = &self.gate {
            gate.learn(sample, self.worker.now());
        }
    }

    fn tell(&mut self, outcome: AttemptOutcome) {
        self.state = State::Told;
        if outcome != AttemptOutcome::Committed {
            // What is left of a failure takes no place from an answer, also while it waits to be passed on.
            self.seat = None;
        }
        if self.asked.is_some() {
            self.worker.recorder.attempt(self.upstream, outcome);
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if self.state == State::Open {
            self.abandoned();
        }
        self.worker.snapshot.board.ended(self.target);
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial")
            .field("target", &self.target)
            .field("state", &self.state)
            .field("seat", &self.seat.is_some())
            .finish_non_exhaustive()
    }
}
