//! From an upstream's answer to the response: the relay, with everything attached that must see its end.

use std::cell::RefCell;
use std::rc::Rc;

use http::{Response, StatusCode};
use tokio::time::Instant;

use super::attempt::Answered;
use super::call::Call;
use super::plan::Leg;
use super::translated::AnswerBody;
use super::trial::Trial;
use super::worker::Worker;
use super::{drain, headers};
use crate::accounting::permit::Permit;
use crate::config::OnCancel;
use crate::error::Error;
use crate::middleware::BoxedResponse;
use crate::routing::budget::Live;
use crate::stream::relay::Pending;
use crate::stream::{Body, Clocks, PhaseGuard, Relay, Settings};
use crate::units::UpstreamId;

/// What an exchange holds until its last byte.
pub(super) struct Held {
    pub(super) permit: Permit,
    pub(super) live: Live,
    /// What the route says of answers whose client has left.
    pub(super) on_cancel: Option<OnCancel>,
}

/// Whether the usage chunk of the answer of `upstream` is taken out: the client has not asked for it. One that nobody asked
/// this upstream for is its own, and stays.
pub(super) fn strips_usage(worker: &Worker, call: &Call, upstream: UpstreamId, translated: bool) -> bool {
    let asks = translated || worker.snapshot.config.upstreams[upstream.index()].include_usage;
    call.adds_usage() && asks
}

/// The settings of a relay for an upstream that was asked at `asked` and is counted by `phase`.
pub(super) fn settings(
    worker: &Worker,
    call: &Call,
    leg: &Leg,
    strip_usage: bool,
    (asked, phase): (Instant, PhaseGuard),
) -> Settings {
    Settings { asked, strip_usage, ..base(worker, call, leg, phase) }
}

/// `settings` for an answer that goes on with another one: the client's stream is counted already, and what the client
/// has not asked for is taken out there.
pub(super) fn for_another(worker: &Worker, settings: Settings) -> Settings {
    let phase = PhaseGuard::uncounted(Rc::clone(&worker.recorder));
    Settings { strip_usage: false, phase, ..settings }
}

/// The settings of a relay that awaits an answer.
pub(super) fn awaiting(worker: &Worker, call: &Call, leg: &Leg) -> Settings {
    base(worker, call, leg, PhaseGuard::uncounted(Rc::clone(&worker.recorder)))
}

fn base(worker: &Worker, call: &Call, leg: &Leg, phase: PhaseGuard) -> Settings {
    let stream = &worker.snapshot.config.stream;
    let clocks = &leg.config().clocks;
    let start = call.record.exchange.began();
    Settings {
        clocks: Clocks {
            first_token: clocks.first_token_timeout,
            idle: clocks.idle_timeout,
            total: clocks.total_timeout,
            keep_alive: stream.keep_alive,
        },
        start,
        asked: start,
        ending: call.endpoint.ending(),
        choices: call.choices(),
        strip_usage: false,
        event_hold_bytes_max: stream.event_hold_bytes_max,
        request_id: call.record.id.clone(),
        recall: worker.phase.watch(),
        recorder: worker.recorder.clone(),
        phase,
    }
}

/// The response of an upstream that has answered.
pub(super) fn answered(worker: &Rc<Worker>, answered: Answered, held: Held) -> BoxedResponse {
    let Answered { mut head, mut relay, trial, continuation, .. } = answered;
    headers::downstream(&mut head.headers, relay.is_stream());
    let trial = Rc::new(RefCell::new(Some(trial)));
    if let Some(continuation) = continuation {
        relay.continue_by(continuation.successors(&trial));
    }
    let body = body(worker, relay, trial, held);
    let mut response = Box::new(Response::new(body));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

/// The response of a stream whose upstream has not answered yet: its head goes out, so that comments can
/// keep the connection alive. What is then wrong can only be told as an event.
pub(super) fn early<F>(
    worker: &Rc<Worker>,
    call: &Call,
    attempts: F,
    settings: Settings,
    held: Held,
) -> BoxedResponse
where
    F: Future<Output = Result<Box<Answered>, Error>> + 'static,
{
    let head = headers::early(call.endpoint.dialect());
    let trial = Rc::new(RefCell::new(None));
    let place = Rc::clone(&trial);
    let pending: Pending<AnswerBody> = Box::pin(async move {
        let Answered { mut relay, trial, continuation, .. } = *attempts.await?;
        place.replace(Some(trial));
        if let Some(continuation) = continuation {
            relay.continue_by(continuation.successors(&place));
        }
        Ok(relay)
    });
    let relay = Box::new(Relay::awaiting(pending, settings));
    let mut response = Box::new(Response::new(body(worker, relay, trial, held)));
    *response.status_mut() = StatusCode::OK;
    *response.headers_mut() = head;
    response
}

/// `trial` is that of the answer, once there is one.
fn body(
    worker: &Rc<Worker>,
    relay: Box<Relay<AnswerBody>>,
    trial: Rc<RefCell<Option<Trial>>>,
    held: Held,
) -> Body {
    let Held { permit, live, on_cancel } = held;
    let mut body = Body::relay(relay);
    if drain::is_possible(worker, on_cancel) {
        let (worker, trial) = (Rc::clone(worker), Rc::clone(&trial));
        body.read_on(move |rest| {
            if let Some(trial) = trial.take() {
                drain::begin(&worker, trial, on_cancel, rest);
            }
        });
    }
    body.attach(move |end| {
        if let Some(trial) = trial.take() {
            trial.ended(end);
        }
        drop((permit, live));
    });
    body
}
