//! One line per exchange, when it has ended.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower::{Layer, Service};

use super::record::{Payload, Record};
use super::{Mapped, request_id};
use crate::config::Config;
use crate::server::Peer;
use crate::stream::{Body, End};
use crate::telemetry::EndReason;
use crate::telemetry::access::AccessRecord;

/// See the module.
#[derive(Clone, Debug)]
pub struct AccessLogLayer {
    config: Arc<Config>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct AccessLog<S> {
    inner: S,
    config: Arc<Config>,
}

impl AccessLogLayer {
    /// Names keys and upstreams as `config` does.
    pub fn new(config: Arc<Config>) -> Self {
        Self { config }
    }
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = AccessLog<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AccessLog { inner, config: Arc::clone(&self.config) }
    }
}

type Attach<E> = Box<dyn FnOnce(Result<Response<Body>, E>) -> Result<Response<Body>, E>>;

impl<S, E> Service<Request<Payload>> for AccessLog<S>
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
        if !AccessRecord::enabled() {
            return Mapped::new(self.inner.call(request), Box::new(|result| result));
        }
        let id: Box<str> = request_id::of(request.headers()).into();
        let record = Rc::clone(&request.body().record);
        let config = Arc::clone(&self.config);
        let attach = move |result: Result<Response<Body>, E>| {
            result.map(|mut response| {
                let status = response.status().as_u16();
                response.body_mut().attach(move |end| log(&config, &record, &id, status, end));
                response
            })
        };
        Mapped::new(self.inner.call(request), Box::new(attach))
    }
}

fn log(config: &Config, record: &Record, id: &str, status: u16, end: &End) {
    let model = record.model.borrow();
    let upstream = end.upstream.or_else(|| record.upstream.get());
    AccessRecord {
        request_id: id,
        peer: match record.exchange.peer() {
            Peer::Tcp(address) => Some(address.ip()),
            Peer::Unix => None,
        },
        method: record.method.as_str(),
        path: &record.path,
        endpoint: record.endpoint.get(),
        model: model.as_deref(),
        key: record.key.get().map(|key| config.keys[key.index()].name.as_str()),
        upstream: upstream.map(|upstream| config.upstreams[upstream.index()].name.as_str()),
        status,
        reason: end.reason.unwrap_or(EndReason::ClientCancelled),
        duration: record.exchange.began().elapsed(),
        time_to_first_token: end.first_token,
        bytes: end.bytes,
        chunks: end.events,
        input_tokens: end.usage.and_then(|usage| usage.prompt_tokens),
        output_tokens: end.usage.and_then(|usage| usage.completion_tokens),
        finish_reason: end.finish_reason.as_deref(),
    }
    .log();
}
