//! All attempts at one call: another target where one fails, the same again where that may help, a second beside a
//! slow first, and an end to it. Nothing of an answer has gone to the client until one of them is committed to.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::attempt::{self, Answered, Failure, Onward, Outcome};
use super::call::Call;
use super::continuation::Continuation;
use super::plan::{Aim, Leg, Next, Plan};
use super::queue;
use super::trial::Trial;
use super::worker::Worker;
use crate::error::{Error, Kind};
use crate::routing::backoff::backoff;
use crate::routing::budget::Withdrawn;
use crate::routing::hedge::{HedgePolicy, Hedges};
use crate::telemetry::{HedgeDecision, RetryDecision};
use crate::units::TargetId;

/// When to come back where nobody knows better.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The attempts at one call.
pub(super) struct Attempts {
    worker: Rc<Worker>,
    call: Rc<Call>,
    plan: Plan,
    /// Attempts of which an upstream saw something.
    seen: u32,
    /// Repetitions at a target that was asked before.
    repeated: u32,
}

/// What is done next, and what of the budget pays for it while it runs.
type Step = (Aim, Option<Withdrawn>);

impl Attempts {
    pub(super) fn new(worker: &Rc<Worker>, call: Rc<Call>, plan: Plan) -> Self {
        Self { worker: Rc::clone(worker), call, plan, seen: 0, repeated: 0 }
    }

    /// Runs until an answer is committed to, or none can be had: then the last that an upstream said is passed on.
    ///
    /// # Cancel safety
    /// Dropping the future cancels what is under way.
    pub(super) async fn run(mut self) -> Result<Box<Answered>, Error> {
        let first = Rc::clone(self.plan.first());
        if let Some((hedges, hedge)) = self.hedges(&first) {
            hedges.request_began(&hedge);
        }
        let mut step = self.begin()?;
        loop {
            let failure = match self.attempt(step).await {
                Ok(mut answered) => {
                    answered.continuation = Continuation::of(&self.worker, &self.call, &answered.leg);
                    return Ok(answered);
                }
                Err(failure) => failure,
            };
            self.seen += failure.seen;
            tracing::debug!(
                request_id = %self.call.record.id, target = %failure.target, error = %failure.error,
                onward = ?failure.onward, "attempt failed"
            );
            step = match self.after(&failure).await {
                Some(step) => step,
                None => return failure.answer.ok_or(failure.error),
            };
        }
    }

    /// The first attempt.
    fn begin(&mut self) -> Result<Step, Error> {
        match self.plan.next() {
            Next::Ask(aim) => Ok((aim, None)),
            Next::Nobody(until) => {
                let now = self.worker.now();
                let after = until.map_or(RETRY_AFTER, |until| until.saturating_sub(now).max(RETRY_AFTER));
                let error = Error::new(Kind::NoTarget, "every target of the route is left alone for a while");
                Err(error.with_retry_after(after))
            }
        }
    }

    /// What follows a failure; `None`: nothing.
    async fn after(&mut self, failure: &Failure) -> Option<Step> {
        let (target, leg) = (failure.target, &failure.leg);
        let retry = leg.config().retry;
        let may_repeat = failure.seen == 0 || self.call.endpoint.may_be_repeated(&self.call.method);
        if failure.onward == Onward::Nowhere || !may_repeat {
            return None;
        }
        if failure.onward == Onward::Larger {
            let larger = leg.config().larger.clone()?;
            if !self.plan.turn_to(&larger) {
                return None;
            }
        }
        if self.seen >= retry.attempts_max {
            return self.denied(target, RetryDecision::DeniedAttempts);
        }
        if !self.has_time(leg, Duration::ZERO) {
            return self.denied(target, RetryDecision::DeniedDeadline);
        }
        let mut is_denied = false;
        // Nobody has been asked yet where the wait before an upstream was in vain: the next is not one more.
        let is_first = self.seen == 0 && matches!(failure.error.kind(), Kind::Overloaded | Kind::NoTarget);
        while let Next::Ask(aim) = self.plan.next() {
            // Asking one that is well is what a tier is for. Only the others could be buried by it, and where the
            // budget spares them, somebody who is well may come after them.
            let paid = if aim.is_good || is_first { None } else { self.pay() };
            if aim.is_good || is_first || paid.is_some() {
                self.decided(target, RetryDecision::Elsewhere);
                self.worker.recorder.fallback(self.worker.snapshot.table.target(target).upstream);
                return Some((aim, paid));
            }
            is_denied = true;
        }
        if is_denied {
            return self.denied(target, RetryDecision::DeniedBudget);
        }
        if failure.onward != Onward::Again || self.repeated >= retry.same_target_max {
            return None;
        }
        self.repeated += 1;
        let pause = backoff(self.repeated, retry.backoff, retry.backoff_max, self.worker.random());
        if !self.has_time(leg, pause) {
            return self.denied(target, RetryDecision::DeniedDeadline);
        }
        let Some(paid) = self.pay() else { return self.denied(target, RetryDecision::DeniedBudget) };
        sleep(pause).await;
        let Next::Ask(aim) = self.plan.again(leg, target) else { return None };
        self.decided(target, RetryDecision::SameTarget);
        Some((aim, Some(paid)))
    }

    /// Whether an attempt may begin after `pause`.
    fn has_time(&self, leg: &Leg, pause: Duration) -> bool {
        Instant::now() + pause < attempt::latest(&self.call, leg)
    }

    fn pay(&self) -> Option<Withdrawn> {
        self.worker.snapshot.budget.withdraw(self.worker.now())
    }

    fn denied(&self, failed: TargetId, decision: RetryDecision) -> Option<Step> {
        self.decided(failed, decision);
        None
    }

    fn decided(&self, failed: TargetId, decision: RetryDecision) {
        let upstream = self.worker.snapshot.table.target(failed).upstream;
        self.worker.recorder.retry(upstream, decision);
    }

    /// Where streams are hedged: what is known of the route's first tokens, and when to hedge.
    fn hedges(&self, leg: &Leg) -> Option<(Arc<Hedges>, HedgePolicy)> {
        let hedge = leg.config().hedge.filter(|_| self.call.streams())?;
        let hedges = self.worker.snapshot.hedges[leg.route().id?.index()].clone()?;
        Some((hedges, hedge.into()))
    }

    /// One attempt, with a second one beside it where the route says so and the first is slow.
    async fn attempt(&self, (mut aim, paid): Step) -> Outcome {
        queue::wait(&self.worker, &self.call, &mut aim, self.plan.class()).await?;
        self.note(&aim);
        let Aim { leg, trial, .. } = aim;
        let Some((hedges, hedge)) = self.hedges(&leg).filter(|_| self.seen == 0) else {
            return attempt::run(&self.worker, &self.call, &leg, trial).await;
        };
        let asked = Instant::now();
        let outcome = match hedges.delay(&hedge) {
            Some(delay) => self.race(&leg, trial, (asked, delay), &hedges).await,
            None => attempt::run(&self.worker, &self.call, &leg, trial)
                .await
                .inspect(|_| hedges.record(asked.elapsed())),
        };
        if outcome.as_ref().is_err_and(|failure| failure.error.kind() == Kind::UpstreamTimeout) {
            hedges.record(asked.elapsed());
        }
        drop(paid);
        outcome
    }

    /// The first that speaks wins; the other is dropped, which cancels it.
    async fn race(
        &self,
        leg: &Rc<Leg>,
        trial: Trial,
        (asked, delay): (Instant, Duration),
        hedges: &Hedges,
    ) -> Outcome {
        let mut first = pin!(attempt::run(&self.worker, &self.call, leg, trial));
        let mut patience = pin!(sleep_until(asked + delay));
        let early = poll_fn(|cx| match first.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => patience.as_mut().poll(cx).map(|()| None),
        });
        let spoken = |outcome: Outcome| {
            if outcome.is_ok() {
                hedges.record(asked.elapsed());
            }
            outcome
        };
        if let Some(outcome) = early.await {
            return spoken(outcome);
        }
        let Some(second) = self.second(leg, hedges) else { return spoken(first.await) };
        let record = &self.call.record;
        let asked_first = (record.route.get(), record.upstream.get());
        self.note(&second);
        let asked_second = (record.route.get(), record.upstream.get());
        // On the heap: it is rare, and its state would widen every exchange.
        let mut second = Box::pin(attempt::run(&self.worker, &self.call, &second.leg, second.trial));
        let mut failed = [None, None];
        let (outcome, is_second) = poll_fn(|cx| {
            for which in 0..2 {
                let polled = match which {
                    _ if failed[which].is_some() => continue,
                    0 => first.as_mut().poll(cx),
                    _ => second.as_mut().poll(cx),
                };
                match polled {
                    Poll::Pending => {}
                    Poll::Ready(Ok(answered)) => return Poll::Ready((Ok(answered), which == 1)),
                    // One failure leaves the other to wait for; two are a failure.
                    Poll::Ready(Err(failure)) => match failed[1 - which].take() {
                        None => failed[which] = Some(failure),
                        Some(other) => {
                            let (failure, is_others) = one_of(failure, other);
                            return Poll::Ready((Err(failure), (which == 1) != is_others));
                        }
                    },
                }
            }
            Poll::Pending
        })
        .await;
        let (route, upstream) = if is_second { asked_second } else { asked_first };
        record.route.set(route);
        record.upstream.set(upstream);
        record.answered.set(outcome.is_ok());
        if outcome.is_ok() && is_second {
            hedges.record_outrun(delay);
            self.worker.recorder.hedge(HedgeDecision::Won);
            return outcome;
        }
        self.worker.recorder.hedge(HedgeDecision::Lost);
        spoken(outcome)
    }

    /// Somebody of the same route who is well and has room, if the route's share of second attempts allows it. Whoever is
    /// not asked stays there for when the first has failed.
    fn second(&self, leg: &Leg, hedges: &Hedges) -> Option<Aim> {
        let Next::Ask(aim) = self.plan.next() else { return None };
        // The client's next model is for when this one can't be had, not for when it is slow.
        let is_own = std::ptr::eq(&raw const *aim.leg, leg);
        let has_room = aim.trial.awaited_gate().is_none();
        let is_fit = is_own && aim.is_good && has_room && self.has_time(leg, Duration::ZERO);
        let is_allowed = is_fit && hedges.allow();
        if is_fit && !is_allowed {
            self.worker.recorder.hedge(HedgeDecision::Denied);
        }
        if !is_allowed {
            self.plan.leave(&aim);
            return None;
        }
        Some(aim)
    }

    /// Who is asked, for whoever tells of it.
    fn note(&self, aim: &Aim) {
        let record = &self.call.record;
        record.route.set(aim.leg.route().id);
        record.attempts.set(record.attempts.get() + 1);
        record.upstream.set(Some(aim.trial.upstream()));
    }
}

/// Of two failures the one that says more of the request, as if it was the only one; and whether it is `other`.
fn one_of(failure: Box<Failure>, other: Box<Failure>) -> (Box<Failure>, bool) {
    let seen = failure.seen + other.seen;
    let is_other = other.onward < failure.onward;
    let mut said = if is_other { other } else { failure };
    said.seen = seen;
    (said, is_other)
}
