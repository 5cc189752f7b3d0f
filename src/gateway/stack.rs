//! The whole stack, read from top to bottom in the order of a request.

use std::convert::Infallible;
use std::rc::Rc;

use http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderName, Request, Response};
use tower::ServiceBuilder;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;

use super::admit::AdmitLayer;
use super::decode::DecodeLayer;
use super::dispatch::Dispatch;
use super::local::LocalBoxService;
use super::snapshot::Snapshot;
use super::worker::Worker;
use crate::middleware::access_log::AccessLog;
use crate::middleware::at_end::AtEndLayer;
use crate::middleware::auth::{self, AuthLayer};
use crate::middleware::body_cap::BodyCapLayer;
use crate::middleware::metrics::Metrics;
use crate::middleware::record::RecordLayer;
use crate::middleware::rescue::RescueLayer;
use crate::middleware::shed::ShedLayer;
use crate::server::Inbound;
use crate::stream::Body;

/// The stack as [`crate::server`] sees it.
pub type Stack = LocalBoxService<Request<Inbound>, Response<Body>, Infallible>;

/// Builds the stack of one worker. Cloning it is cheap: every layer holds shared parts only.
pub fn stack(worker: Rc<Worker>) -> Stack {
    let Snapshot { config, keys, limits, .. } = worker.snapshot.clone();
    let recorder = &worker.recorder;
    let secrets: Vec<HeaderName> =
        [AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL].into_iter().chain(auth::KEY_HEADERS).collect();
    let stack = ServiceBuilder::new()
        // Nothing below can print a credential by accident.
        .layer(SetSensitiveRequestHeadersLayer::new(secrets))
        // Every request has an id (a client's own is kept if it is fit to be repeated) and a record from here on: what the
        // layers below learn, the log and metrics tell.
        .layer(RecordLayer)
        // These two see what the client gets, so they stand above the rescue; what they tell is known at
        // the end of the body, so they attach to it.
        .layer(AtEndLayer(AccessLog::new(config.clone())))
        .layer(AtEndLayer(Metrics::new(recorder.clone())))
        // Below this line an error is a value; above it, a response.
        .layer(RescueLayer::new(&config.upstreams))
        // A worker that is full says so before it spends anything on the request.
        .layer(ShedLayer::new(config.server.in_flight_max, recorder.clone()))
        // Before anybody reads the body, and before anybody trusts its framing.
        .layer(BodyCapLayer::new(config.server.body_bytes_max))
        // Nobody unknown gets further, whatever the path.
        .layer(AuthLayer::new(keys.clone()))
        // From here on it is a call: which surface, which model, the body read once and within its deadline.
        .layer(DecodeLayer { config: config.clone(), recorder: recorder.clone() })
        // The key's models, then requests per minute and streams at once. The permit rides in the body.
        .layer(AdmitLayer { config, keys, limits, recorder: recorder.clone() })
        // Targets, attempts, and the relay.
        .service(Dispatch(worker));
    LocalBoxService::new(stack)
}
