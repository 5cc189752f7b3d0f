//! From an upstream's answer to the response: the relay, with everything attached that must see its end.

use http::{Response, StatusCode};

use super::attempt::Answered;
use super::call::Call;
use super::headers;
use super::worker::Worker;
use crate::accounting::permit::Permit;
use crate::error::Error;
use crate::stream::relay::Pending;
use crate::stream::{Body, Clocks, PhaseGuard, Relay, Settings};
use crate::upstream;

/// What a relay needs of its call, taken before the call goes on to its attempts.
pub(super) fn settings(worker: &Worker, call: &Call, phase: PhaseGuard) -> Settings {
    let stream = &worker.snapshot.config.stream;
    Settings {
        clocks: Clocks {
            first_token: stream.clocks.first_token_timeout,
            idle: stream.clocks.idle_timeout,
            total: stream.clocks.total_timeout,
            keep_alive: stream.keep_alive,
        },
        start: call.record.exchange.began(),
        ending: call.endpoint.ending(),
        choices: call.choices(),
        strip_usage: call.adds_usage(),
        event_hold_bytes_max: stream.event_hold_bytes_max,
        request_id: call.record.id.clone(),
        recall: worker.phase.watch(),
        recorder: worker.recorder.clone(),
        phase,
    }
}

/// The response of an upstream that has answered.
pub(super) fn answered(
    worker: &Worker,
    answered: Answered,
    mut settings: Settings,
    permit: Permit,
) -> Response<Body> {
    let Answered { mut head, answer } = answered;
    // A usage chunk that nobody asked this upstream for is its own, and stays.
    settings.strip_usage &= worker.snapshot.config.upstreams[answer.upstream.index()].include_usage;
    headers::downstream(&mut head.headers, answer.events);
    let mut response = Response::new(body(Relay::new(answer, settings), permit));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

/// The response of a stream whose upstream has not answered yet: its head goes out, so that comments can
/// keep the connection alive. What is then wrong can only be told as an event.
pub(super) fn early<F>(attempts: F, settings: Settings, permit: Permit) -> Response<Body>
where
    F: Future<Output = Result<Answered, Error>> + 'static,
{
    let pending: Pending<upstream::Body> = Box::pin(async move { attempts.await.map(|answered| answered.answer) });
    let mut response = Response::new(body(Relay::awaiting(pending, settings), permit));
    *response.status_mut() = StatusCode::OK;
    *response.headers_mut() = headers::early();
    response
}

fn body(relay: Relay<upstream::Body>, permit: Permit) -> Body {
    let mut body = Body::relay(relay);
    body.attach(move |_| drop(permit));
    body
}
