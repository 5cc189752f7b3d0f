//! The one place where an error becomes a response.

use std::convert::Infallible;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tower::{Layer, Service};

use super::record::{BoxedResponse, ByExchange, Record, RecordedRequest};
use super::{Mapped, request_id};
use crate::api::dialect::Dialect;
use crate::api::error as told;
use crate::config;
use crate::error::{Error, Kind, Origin};
use crate::stream::Body;

/// See the module.
#[derive(Clone, Debug)]
pub struct RescueLayer {
    /// Names of upstreams, by position.
    upstreams: Rc<[HeaderValue]>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Rescue<S> {
    inner: S,
    upstreams: Rc<[HeaderValue]>,
}

/// Which upstream's answer it is.
const UPSTREAM: HeaderName = HeaderName::from_static("x-millstream-upstream");
/// How many attempts it took, hedged ones included.
const ATTEMPTS: HeaderName = HeaderName::from_static("x-millstream-attempts");

impl RescueLayer {
    /// For these upstreams.
    ///
    /// # Panics
    /// When a name can't stand in a header; configuration checking refuses such.
    pub fn new(upstreams: &[config::Upstream]) -> Self {
        let name = |upstream: &config::Upstream| HeaderValue::from_str(&upstream.name).expect("a checked name");
        Self { upstreams: upstreams.iter().map(name).collect() }
    }
}

impl<S> Layer<S> for RescueLayer {
    type Service = Rescue<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Rescue { inner, upstreams: Rc::clone(&self.upstreams) }
    }
}

type Finish = Box<dyn FnOnce(Result<BoxedResponse, Error>) -> Result<BoxedResponse, Infallible>>;

impl<S> Service<RecordedRequest> for Rescue<S>
where
    S: Service<RecordedRequest, Response = BoxedResponse, Error = Error>,
{
    type Response = BoxedResponse;
    type Error = Infallible;
    type Future = Mapped<S::Future, Finish>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Every layer below is ready always; an error there would belong to no request.
        self.inner.poll_ready(cx).map(|_| Ok(()))
    }

    fn call(&mut self, request: RecordedRequest) -> Self::Future {
        let record = Rc::clone(&request.body().record);
        let upstreams = Rc::clone(&self.upstreams);
        let finish = move |result: Result<BoxedResponse, Error>| {
            let mut response = result.unwrap_or_else(|error| Box::new(refuse(&error, &record)));
            if let Some(rate) = record.rate.take() {
                rate.apply(response.headers_mut());
            }
            if let (Some(upstream), attempts @ 1..) = (record.upstream.get(), record.attempts.get()) {
                let headers = response.headers_mut();
                headers.insert(UPSTREAM, upstreams[upstream.index()].clone());
                headers.insert(ATTEMPTS, HeaderValue::from(attempts));
            }
            let headers = response.headers_mut();
            let id = request_id::header(&record.id);
            if record.dialect == Dialect::Anthropic {
                headers.insert(request_id::ANTHROPIC, id.clone());
            }
            headers.insert(request_id::HEADER, id);
            response.body_mut().ask_on_drop(Rc::new(ByExchange(Rc::clone(&record.exchange))));
            Ok(response)
        };
        Mapped::new(self.inner.call(request), Box::new(finish))
    }
}

fn refuse(error: &Error, record: &Record) -> Response<Body> {
    let id = &*record.id;
    let dialect = record.dialect;
    let status = told::status(error, dialect);
    match error.origin() {
        Origin::Downstream => tracing::debug!(request_id = id, %error, "refused"),
        Origin::Gateway | Origin::Upstream => {
            let source = std::error::Error::source(error).map(tracing::field::display);
            tracing::warn!(request_id = id, status = status.as_u16(), %error, source, "failed");
        }
    }
    let mut response = Response::new(Body::whole(told::body(error, dialect, id)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    told::apply_retry(error, headers);
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let (Kind::MethodNotAllowed, Some(allow)) = (error.kind(), record.allow.get()) {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}
