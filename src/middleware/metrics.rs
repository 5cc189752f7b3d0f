//! Counts every exchange at its end.

use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower::{Layer, Service};

use super::Mapped;
use super::record::{Payload, Record};
use crate::stream::{Body, End};
use crate::telemetry::{Direction, EndReason, Recorder};

/// See the module.
#[derive(Clone, Debug)]
pub struct MetricsLayer {
    recorder: Rc<Recorder>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Metrics<S> {
    inner: S,
    recorder: Rc<Recorder>,
}

impl MetricsLayer {
    /// Counts in this worker's shard.
    pub fn new(recorder: Rc<Recorder>) -> Self {
        Self { recorder }
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Metrics { inner, recorder: Rc::clone(&self.recorder) }
    }
}

type Attach<E> = Box<dyn FnOnce(Result<Response<Body>, E>) -> Result<Response<Body>, E>>;

impl<S, E> Service<Request<Payload>> for Metrics<S>
where
    S: Service<Request<Payload>, Response = Response<Body>, Error = E>,
    E: 'static,
{
    type Response = Response<Body>;
    type Error = E;
    type Future = Mapped<S::Future, Attach<E>, Result<Response<Body>, E>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        let record = Rc::clone(&request.body().record);
        let recorder = Rc::clone(&self.recorder);
        let attach = move |result: Result<Response<Body>, E>| {
            result.map(|mut response| {
                let status = response.status().as_u16();
                response.body_mut().attach(move |end| count(&recorder, &record, status, end));
                response
            })
        };
        Mapped::new(self.inner.call(request), Box::new(attach))
    }
}

fn count(recorder: &Recorder, record: &Record, status: u16, end: &End) {
    let upstream = end.upstream.or_else(|| record.upstream.get());
    let endpoint = record.endpoint.get();
    recorder.request_ended(
        endpoint,
        record.route.get(),
        upstream,
        record.key.get(),
        status,
        record.exchange.began().elapsed(),
    );
    if let (true, Some(endpoint)) = (end.streamed, endpoint) {
        recorder.stream_ended(endpoint, end.reason.unwrap_or(EndReason::ClientCancelled));
    }
    if let (Some(usage), Some(upstream)) = (end.usage, upstream) {
        recorder.tokens(upstream, Direction::Input, usage.prompt_tokens.unwrap_or(0));
        recorder.tokens(upstream, Direction::Output, usage.completion_tokens.unwrap_or(0));
    }
}
