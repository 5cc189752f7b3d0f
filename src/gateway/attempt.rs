//! The attempts of one call: target by target, until one answers or the request may have been seen.

use std::rc::Rc;

use http::StatusCode;
use http::response::Parts;

use super::call::Call;
use super::headers;
use crate::error::{Error, Kind, Retry};
use crate::routing::table::Target;
use crate::stream::Answer;
use crate::telemetry::{FailurePhase, Stage};
use crate::upstream::{self, Framing, Request, SendError};

use super::worker::Worker;

/// An upstream's answer, its head apart.
pub(super) struct Answered {
    pub(super) head: Parts,
    pub(super) answer: Answer<upstream::Body>,
}

/// Sends the call to its targets, in order, as long as nothing of it was sent.
///
/// # Cancel safety
/// Dropping the future cancels the attempt under way.
pub(super) async fn run(worker: Rc<Worker>, mut call: Call) -> Result<Answered, Error> {
    let streams = call.streams();
    let mut request = Request {
        method: call.method.clone(),
        path_and_query: std::mem::take(&mut call.path_and_query),
        headers: headers::upstream(std::mem::take(&mut call.headers), streams),
        body: bytes::Bytes::new(),
    };
    let mut last_error = None;
    for target in targets(&worker, &call)? {
        let upstream = target.upstream;
        if let Some(previous) = call.record.upstream.replace(Some(upstream)) {
            worker.recorder.fallback(previous);
        }
        let include_usage = worker.snapshot.config.upstreams[upstream.index()].include_usage;
        request.body = call.body(target.model.as_deref(), include_usage);
        worker.recorder.overhead(Stage::Route, call.decoded_at.elapsed());
        match send(&worker, &target, &request).await {
            Ok(answered) => return Ok(answered),
            Err(error) => {
                let elsewhere = error.retry() == Retry::Elsewhere;
                tracing::debug!(request_id = %call.record.id, %upstream, %error, elsewhere, "attempt failed");
                last_error = Some(error);
                if !elsewhere {
                    break;
                }
            }
        }
    }
    Err(last_error.unwrap_or_else(|| Error::new(Kind::Internal, "the route has no target")))
}

/// Where the call may go, in order.
fn targets(worker: &Worker, call: &Call) -> Result<Vec<Target>, Error> {
    let table = &worker.snapshot.table;
    let route = match call.model() {
        None => table.default_route().ok_or_else(|| {
            Error::new(Kind::NotFound, "This gateway has no upstream for requests that name no model.")
        })?,
        Some(model) => table.resolve(model).ok_or_else(|| {
            let detail = format!("The model '{model}' does not exist or you do not have access to it.");
            Error::new(Kind::ModelNotFound, detail).with_param("model")
        })?,
    };
    call.record.route.set(route.id);
    Ok(route.choices().map(|choice| table.target(choice.target).clone()).collect())
}

async fn send(worker: &Worker, target: &Target, request: &Request) -> Result<Answered, Error> {
    let upstream = target.upstream;
    let response = worker.pool.send(upstream, target.key, request).await.map_err(convert)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::new(Kind::UpstreamBroken, "the upstream switched protocols unasked"));
    }
    let (head, body) = response.into_parts();
    let events = head.status.is_success() && headers::announce_events(&head.headers);
    let framed = body.framing() != Framing::Close;
    Ok(Answered { head, answer: Answer { upstream, events, framed, body } })
}

fn convert(error: SendError) -> Error {
    let (kind, detail) = match error.phase {
        FailurePhase::Cap => (Kind::Overloaded, "the upstream's connections are all in use"),
        FailurePhase::Dns => (Kind::UpstreamUnreachable, "the upstream's name could not be resolved"),
        FailurePhase::Connect => (Kind::UpstreamUnreachable, "the upstream could not be connected to"),
        FailurePhase::Handshake => (Kind::UpstreamUnreachable, "the handshake with the upstream failed"),
        FailurePhase::Response => (Kind::UpstreamBroken, "the upstream broke off before its answer"),
    };
    let retry = if error.sent { Retry::Never } else { Retry::Elsewhere };
    Error::new(kind, detail).with_retry(retry).with_source(error)
}
