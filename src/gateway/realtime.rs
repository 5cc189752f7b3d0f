//! `/v1/realtime`: a WebSocket is passed through once a target has accepted it.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Collected, Limited};
use tokio::time::{Instant, timeout};

use super::authorize::authorize;
use super::call::Call;
use super::plan::{Aim, Next, Plan};
use super::respond::Held;
use super::trial::Trial;
use super::tunnel::Tunnel;
use super::worker::Worker;
use super::{attempt, headers, native, queue};
use crate::api::verdict::{self, ERROR_BYTES_MAX, Verdict};
use crate::api::websocket;
use crate::config::{Upstream, UpstreamKind};
use crate::error::{Error, Kind};
use crate::routing::health::Fault;
use crate::stream::Body;
use crate::upstream::{self, Request, Switch, Upgraded};

/// From the connection's beginning to the upstream's word on it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a target has said that is no tunnel.
struct Refusal {
    error: Error,
    /// What it said itself.
    answer: Option<Response<Bytes>>,
    /// Whether another one may be asked.
    elsewhere: bool,
}

/// Asks one target after the other for the tunnel.
///
/// # Cancel safety
/// Dropping the future cancels what is under way.
pub(super) async fn open(
    worker: Rc<Worker>,
    call: Rc<Call>,
    plan: Plan,
    held: Held,
) -> Result<Response<Body>, Error> {
    let attempts_max = plan.first().config().retry.attempts_max;
    let mut refusal = Refusal {
        error: Error::new(Kind::NoTarget, "every target of the route is left alone for a while"),
        answer: None,
        elsewhere: true,
    };
    for _ in 0..attempts_max.max(1) {
        let Next::Ask(mut aim) = plan.next() else { break };
        if let Err(failure) = queue::wait(&worker, &call, &mut aim, plan.class()).await {
            refusal = Refusal { error: failure.error, answer: None, elsewhere: true };
            continue;
        }
        match ask(&worker, &call, aim).await {
            Ok((response, trial)) => return Ok(tunnel(&worker, response, trial, held)),
            Err(failed) => refusal = failed,
        }
        if !refusal.elsewhere {
            break;
        }
    }
    match refusal.answer {
        Some(answer) => Ok(passed_on(answer)),
        None => Err(refusal.error),
    }
}

async fn ask(worker: &Rc<Worker>, call: &Call, aim: Aim) -> Result<(Response<Upgraded>, Trial), Refusal> {
    let Aim { leg, mut trial, .. } = aim;
    let target = worker.snapshot.table.target(trial.target());
    let config = &worker.snapshot.config.upstreams[target.upstream.index()];
    let model = target.model.as_deref().or_else(|| leg.model());
    let mut request = match request(config, call, model) {
        Ok(request) => request,
        Err(error) => {
            trial.abandoned();
            return Err(Refusal { error, answer: None, elsewhere: true });
        }
    };
    if let Err(not_ready) = authorize(worker, target.upstream, &mut request) {
        trial.abandoned();
        let error = Error::new(Kind::NoTarget, "there are no credentials for the upstream").with_source(not_ready);
        return Err(Refusal { error, answer: None, elsewhere: true });
    }
    trial.asked(Instant::now());
    let asking = Box::pin(worker.pool.switch(target.upstream, target.key, &request));
    match timeout(HANDSHAKE_TIMEOUT, asking).await {
        Ok(Ok(Switch::Done(response))) => {
            trial.committed(false);
            Ok((response, trial))
        }
        Ok(Ok(Switch::Refused(response))) => Err(refused(response, &mut trial).await),
        Ok(Err(failed)) => {
            let failure = attempt::unsent(failed, &leg, &mut trial);
            Err(Refusal { error: failure.error, answer: None, elsewhere: true })
        }
        Err(_) => {
            trial.failed(Fault::Late);
            let error = Error::new(Kind::UpstreamTimeout, "the upstream did not answer in time");
            Err(Refusal { error, answer: None, elsewhere: true })
        }
    }
}

/// The handshake as it goes on: the client's, but for whose it is.
fn request(upstream: &Upstream, call: &Call, model: Option<&str>) -> Result<Request, Error> {
    if !matches!(upstream.kind, UpstreamKind::OpenAi | UpstreamKind::Azure) {
        let detail = "The provider of the model has no realtime API that could be passed through.";
        return Err(Error::new(Kind::BadRequest, detail));
    }
    let mut own = Rc::clone(&call.headers);
    websocket::remove_account(Rc::make_mut(&mut own));
    Ok(Request {
        method: call.method.clone(),
        path_and_query: path(upstream, &call.path_and_query, model).into(),
        headers: own,
        credentials: Vec::new(),
        body: Bytes::new(),
        streams: true,
    })
}

/// The client's query with the target's name of the model. Azure's dated API calls it a deployment.
fn path(upstream: &Upstream, path_and_query: &str, model: Option<&str>) -> String {
    let dated = upstream.kind == UpstreamKind::Azure && upstream.api_version.is_some();
    let name = if dated { "deployment" } else { "model" };
    let query = path_and_query.split_once('?').map_or("", |(_, query)| query);
    let is_own = |pair: &&str| !pair.is_empty() && !pair.starts_with("model=") && !pair.starts_with("deployment=");
    let own = query.split('&').filter(is_own).map(str::to_owned);
    let pairs: Vec<String> =
        model.map(|model| format!("{name}={}", native::segment(model))).into_iter().chain(own).collect();
    let question = if pairs.is_empty() { "" } else { "?" };
    native::azure_path(upstream, "", &format!("/realtime{question}{}", pairs.join("&")))
}

/// What an answer that is no tunnel says of the target.
async fn refused(response: Response<upstream::Body>, trial: &mut Trial) -> Refusal {
    let (head, body) = response.into_parts();
    let body = timeout(HANDSHAKE_TIMEOUT, Limited::new(body, ERROR_BYTES_MAX).collect()).await;
    let body = body.ok().and_then(Result::ok).map(Collected::to_bytes).unwrap_or_default();
    let is_error = head.status.is_client_error() || head.status.is_server_error();
    let verdict = if is_error { verdict::of_answer(head.status, &head.headers, &body) } else { Verdict::Failed };
    let elsewhere = match verdict {
        Verdict::Failed | Verdict::KeyRefused => {
            trial.failed(Fault::Status);
            true
        }
        Verdict::Throttled(_) | Verdict::Spent(_) => {
            trial.refused(verdict);
            true
        }
        verdict => {
            trial.refused(verdict);
            false
        }
    };
    let error = Error::new(Kind::UpstreamBroken, "the upstream did not accept the WebSocket");
    let answer = is_error.then(|| Response::from_parts(head, body));
    Refusal { error, answer, elsewhere }
}

fn passed_on(answer: Response<Bytes>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    headers::downstream(&mut head.headers, false);
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

fn tunnel(worker: &Rc<Worker>, response: Response<Upgraded>, trial: Trial, held: Held) -> Response<Body> {
    let (mut head, upgraded) = response.into_parts();
    headers::downstream(&mut head.headers, false);
    head.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let Held { permit, live, .. } = held;
    let mut body = Body::tunnel(Box::new(Tunnel::new(worker, trial.upstream(), upgraded)));
    body.attach(move |end| {
        trial.ended(end);
        drop((permit, live));
    });
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = head.headers;
    response
}
