//! What is learnt of an exchange on its way through the stack, for those who tell of it at its end.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower::{Layer, Service};

use super::{Mapped, request_id};
use crate::accounting::headers::RateHeaders;
use crate::api::dialect::Dialect;
use crate::api::endpoint::Endpoint;
use crate::server::{Exchange, Inbound};
use crate::stream::{Body, Departure};
use crate::telemetry::EndReason;
use crate::units::{KeyId, RouteId, UpstreamId};

/// One exchange's record. Layers write what they find out; the access log and the metrics read it last.
#[derive(Debug)]
pub struct Record {
    /// The exchange on its connection.
    pub exchange: Rc<Exchange>,
    /// The request's id, which is in its headers too.
    pub id: Rc<str>,
    /// Of the request.
    pub method: Method,
    /// Path of the request. Copied: a `Uri` is a slice of the connection's read buffer and would keep all
    /// of it for as long as the stream runs.
    pub path: Box<str>,
    /// In which the client is answered, errors included.
    pub dialect: Dialect,
    /// Which surface was asked.
    pub endpoint: Cell<Option<Endpoint>>,
    /// Who asks, once known.
    pub key: Cell<Option<KeyId>>,
    /// Which route was taken.
    pub route: Cell<Option<RouteId>>,
    /// Who answered, or was asked last.
    pub upstream: Cell<Option<UpstreamId>>,
    /// How many attempts were made at targets.
    pub attempts: Cell<u32>,
    /// One of several attempts under way has brought the answer: the others are given up.
    pub answered: Cell<bool>,
    /// The model as the client named it.
    pub model: RefCell<Option<Rc<str>>>,
    /// `allow` of a 405.
    pub allow: Cell<Option<&'static str>>,
    /// `x-ratelimit-*` of the answer, whichever it will be.
    pub rate: Cell<Option<RateHeaders>>,
}

/// A request's body with its record.
#[derive(Debug)]
pub struct Payload {
    /// The body.
    pub inbound: Inbound,
    /// The record.
    pub record: Rc<Record>,
}

/// A request with its record, on the heap: half a dozen layers hand it on, and each move of it would be a copy.
pub type RecordedRequest = Box<Request<Payload>>;

/// A response, on the heap for the same reason.
pub type BoxedResponse = Box<Response<Body>>;

/// Why the client's connection dropped a body.
#[derive(Debug)]
pub struct ByExchange(pub Rc<Exchange>);

impl Departure for ByExchange {
    fn reason(&self) -> EndReason {
        self.0.departure()
    }
}

impl HttpBody for Payload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.inbound).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inbound.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inbound.size_hint()
    }
}

/// Gives each request its record.
#[derive(Clone, Copy, Debug)]
pub struct RecordLayer;

/// See [`RecordLayer`].
#[derive(Clone, Debug)]
pub struct RecordService<S>(S);

impl<S> Layer<S> for RecordLayer {
    type Service = RecordService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RecordService(inner)
    }
}

/// The response as those above the record know it.
type Unboxed<E> = Result<Response<Body>, E>;

impl<S> Service<Request<Inbound>> for RecordService<S>
where
    S: Service<RecordedRequest, Response = BoxedResponse>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Mapped<S::Future, fn(Result<BoxedResponse, S::Error>) -> Unboxed<S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Inbound>) -> Self::Future {
        let (mut parts, inbound) = request.into_parts();
        let record = Rc::new(Record {
            exchange: Rc::clone(inbound.exchange()),
            id: request_id::ensure(&mut parts.headers),
            method: parts.method.clone(),
            path: parts.uri.path().into(),
            dialect: Dialect::of(parts.uri.path(), &parts.headers),
            endpoint: Cell::default(),
            key: Cell::default(),
            route: Cell::default(),
            upstream: Cell::default(),
            attempts: Cell::default(),
            answered: Cell::default(),
            model: RefCell::default(),
            allow: Cell::default(),
            rate: Cell::default(),
        });
        let request = Box::new(Request::from_parts(parts, Payload { inbound, record }));
        Mapped::new(self.0.call(request), |answered| answered.map(|response| *response))
    }
}
