//! The bottom of the stack: answers from the table what is ours to answer, and has the rest attempted.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::time::sleep_until;
use tower::Service;

use super::attempts::Attempts;
use super::call::Admitted;
use super::count;
use super::local::LocalBoxFuture;
use super::models;
use super::plan::Plan;
use super::realtime;
use super::respond::{self, Held};
use super::worker::Worker;
use crate::api::endpoint::Endpoint;
use crate::error::{Error, Kind};
use crate::middleware::BoxedResponse;
use crate::signal::{Phase, Watch};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Dispatch(pub(super) Rc<Worker>);

impl Service<Admitted> for Dispatch {
    type Response = BoxedResponse;
    type Error = Error;
    type Future = LocalBoxFuture<Result<BoxedResponse, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, admitted: Admitted) -> Self::Future {
        Box::pin(dispatch(Rc::clone(&self.0), admitted))
    }
}

async fn dispatch(worker: Rc<Worker>, admitted: Admitted) -> Result<BoxedResponse, Error> {
    let Admitted { call, permit } = admitted;
    if let Some(answer) = models::answer(&worker, &call) {
        return answer.map(Box::new);
    }
    let plan = Plan::new(&worker, &call)?;
    if let Some(answer) = count::estimate(&worker, &call, &plan) {
        return answer.map(Box::new);
    }
    let first = Rc::clone(plan.first());
    let (clocks, on_cancel) = (&first.config().clocks, first.config().on_cancel);
    let held = Held { permit, live: worker.snapshot.budget.began(), on_cancel };
    let early_at =
        clocks.early_head_after.filter(|_| call.streams()).map(|after| call.record.exchange.began() + after);
    let phase = worker.phase.watch();
    if call.endpoint == Endpoint::Realtime {
        return recalled(phase, Box::pin(realtime::open(Rc::clone(&worker), call, plan, held)))
            .await
            .map(Box::new);
    }
    // Boxed where it is made: it is large, and each move of it would be a copy.
    let attempts = recalled(phase, Box::pin(Attempts::new(&worker, Rc::clone(&call), plan).run()));
    let Some(early_at) = early_at else {
        return Ok(respond::answered(&worker, *attempts.await?, held));
    };
    // And this, because it may have to go on inside the response body.
    let mut attempts = Box::pin(attempts);
    let mut patience = pin!(sleep_until(early_at));
    let in_time = poll_fn(|cx| match attempts.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => patience.as_mut().poll(cx).map(|()| None),
    });
    if let Some(result) = in_time.await {
        return Ok(respond::answered(&worker, *result?, held));
    }
    let settings = respond::awaiting(&worker, &call, &first);
    Ok(respond::early(&worker, &call, attempts, settings, held))
}

/// Gives the attempts up at the drain deadline: a client that has no answer yet is told so, as those are that
/// have a part of one.
async fn recalled<T>(phase: Watch<Phase>, mut attempts: LocalBoxFuture<Result<T, Error>>) -> Result<T, Error> {
    poll_fn(|cx| {
        if phase.poll(cx) == Phase::End {
            return Poll::Ready(Err(Error::new(Kind::Drained, "the gateway is stopping")));
        }
        attempts.as_mut().poll(cx)
    })
    .await
}
