//! Where a stream that its upstream broke off is gone on with: at a target of the same route that can continue a begun
//! answer, asked, paid for and judged like any other.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use super::attempt::{self, Answered, Begun};
use super::call::Call;
use super::plan::{Aim, Leg, Next, Plan};
use super::queue;
use super::translated::AnswerBody;
use super::trial::Trial;
use super::worker::Worker;
use crate::api::edit::Changes;
use crate::api::endpoint::Endpoint;
use crate::api::prefill;
use crate::error::{Error, Kind};
use crate::routing::budget::Withdrawn;
use crate::stream::continuation::Transcript;
use crate::stream::relay::PendingSuccessor;
use crate::stream::{End, Successor, Successors};
use crate::telemetry::{EndReason, RetryDecision};
use crate::units::{TargetId, UpstreamId};

/// The trial of whoever answers now.
type Place = Rc<RefCell<Option<Trial>>>;

/// The exchange of a stream on a route that continues them.
#[derive(Clone)]
pub(super) struct Continuation {
    worker: Rc<Worker>,
    call: Rc<Call>,
    leg: Rc<Leg>,
}

/// All that go on with one stream.
struct Others {
    of: Continuation,
    place: Place,
    round: Option<Rc<Round>>,
    /// Who died, in order.
    died: Vec<TargetId>,
    /// Whose answers did not fit.
    refused: Vec<TargetId>,
}

/// Those that are asked after one death.
struct Round {
    plan: Plan,
    /// Who died and is asked again when everybody else was.
    again: Cell<Option<TargetId>>,
    /// Attempts of which an upstream saw something.
    seen: Cell<u32>,
    /// Who died last.
    upstream: UpstreamId,
}

impl Continuation {
    /// For an answer to `call` on the route of `leg`, unless it is of no interest there.
    pub(super) fn of(worker: &Rc<Worker>, call: &Rc<Call>, leg: &Rc<Leg>) -> Option<Self> {
        if !leg.config().continues || call.endpoint != Endpoint::ChatCompletions || !call.streams() {
            return None;
        }
        Some(Self { worker: Rc::clone(worker), call: Rc::clone(call), leg: Rc::clone(leg) })
    }

    /// Who goes on with it, if it is an answer that can be gone on with. `place` is that of its trial.
    pub(super) fn successors(self, place: &Place) -> Option<Box<dyn Successors<AnswerBody>>> {
        // As targets are asked, with what the route adds.
        let defaults = self.leg.body_defaults();
        let request = self.call.body(Changes { model: self.leg.model(), include_usage: false, defaults });
        if !prefill::eligible(&request) {
            return None;
        }
        let place = Rc::clone(place);
        Some(Box::new(Others { of: self, place, round: None, died: Vec::new(), refused: Vec::new() }))
    }

    /// Runs until somebody answers, or nobody is left.
    ///
    /// # Cancel safety
    /// Dropping the future cancels what is under way.
    async fn ask(self, round: Rc<Round>, begun: Begun, place: Place) -> Result<Box<Successor<AnswerBody>>, Error> {
        loop {
            let (aim, paid) = self.next(&round)?;
            let (target, upstream) = (aim.trial.target(), aim.trial.upstream());
            let failure = match self.attempt(aim, &round, &begun).await {
                Ok(Answered { relay, trial, .. }) => {
                    place.replace(Some(trial));
                    let Self { worker, call, .. } = &self;
                    let style = worker.snapshot.table.target(target).prefill.ok_or_else(nobody)?.into();
                    let adds_usage = worker.snapshot.config.upstreams[upstream.index()].include_usage;
                    let strip_usage = call.adds_usage() && adds_usage;
                    return Ok(Box::new(Successor { relay, upstream, style, strip_usage }));
                }
                Err(failure) => failure,
            };
            drop(paid);
            round.seen.set(round.seen.get() + failure.seen);
            tracing::debug!(
                request_id = %self.call.record.id, %target, error = %failure.error, "did not go on with an answer"
            );
        }
    }

    async fn attempt(
        &self,
        mut aim: Aim,
        round: &Round,
        begun: &Begun,
    ) -> Result<Answered, Box<attempt::Failure>> {
        let Self { worker, call, leg } = self;
        queue::wait(worker, call, &mut aim, round.plan.class()).await?;
        call.record.attempts.set(call.record.attempts.get() + 1);
        if let Some(previous) = call.record.upstream.replace(Some(aim.trial.upstream())) {
            worker.recorder.fallback(previous);
        }
        attempt::ask(worker, call, leg, aim.trial, Some(begun)).await.map(|answered| *answered)
    }

    /// Whom to ask next. Each is paid for: the stream that it replaces was an attempt of its own.
    fn next(&self, round: &Round) -> Result<(Aim, Withdrawn), Error> {
        let Self { worker, call, leg } = self;
        let retry = leg.config().retry;
        let is_late = retry.deadline.is_some_and(|deadline| call.record.exchange.began().elapsed() >= deadline);
        let aim = if is_late {
            Err(RetryDecision::DeniedDeadline)
        } else if round.seen.get() >= retry.attempts_max {
            Err(RetryDecision::DeniedAttempts)
        } else {
            let aim = match round.plan.next() {
                Next::Nobody(_) => match round.again.take() {
                    Some(target) => round.plan.again(leg, target),
                    None => Next::Nobody(None),
                },
                next @ Next::Ask(_) => next,
            };
            let Next::Ask(aim) = aim else { return Err(nobody()) };
            let paid = worker.snapshot.budget.withdraw(worker.now());
            paid.map(|paid| (aim, paid)).ok_or(RetryDecision::DeniedBudget)
        };
        aim.map_err(|denied| {
            worker.recorder.retry(round.upstream, denied);
            nobody()
        })
    }
}

impl Successors<AnswerBody> for Others {
    fn next(&mut self, said: &Transcript, died: Option<EndReason>) -> Option<PendingSuccessor<AnswerBody>> {
        // Not there any more, the client is gone as well.
        let trial = self.place.take()?;
        let (target, upstream) = (trial.target(), trial.upstream());
        trial.ended(&End { reason: died, ..End::default() });
        let Continuation { worker, call, leg } = &self.of;
        match died {
            Some(_) => self.died.push(target),
            None => self.refused.push(target),
        }
        if died.is_some() || self.round.is_none() {
            let passed_over = [&self.died[..], &self.refused].concat();
            let can_go_on = |target: &&TargetId| worker.snapshot.table.target(**target).prefill.is_some();
            self.round = Some(Rc::new(Round {
                plan: Plan::of_successors(worker, call, leg, passed_over).ok()?,
                again: Cell::new(self.died.iter().find(can_go_on).copied()),
                seen: Cell::new(0),
                upstream,
            }));
        }
        let begun = Begun { text: said.text().to_owned(), tokens: said.tokens() };
        let asking = self.of.clone().ask(Rc::clone(self.round.as_ref()?), begun, Rc::clone(&self.place));
        Some(Box::pin(asking))
    }
}

impl fmt::Debug for Continuation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Continuation")
    }
}

fn nobody() -> Error {
    Error::new(Kind::NoTarget, "no target is left that could go on with the answer")
}
