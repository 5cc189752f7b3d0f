//! From hyper to the service and back: ties request, answer and connection together, and takes the answers of
//! HTTP/1.1 that are written without hyper.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use tower::Service;
use tower::util::Oneshot;

use super::exchange::{Exchange, Inbound};
use super::executor::StreamExecutor;
use super::framing::Length;
use super::link::Link;
use super::outbound::Outbound;

/// Calls a tower service for hyper.
pub(super) struct Adapter<S, B> {
    service: S,
    link: Rc<Link>,
    version: OfVersion<B>,
}

enum OfVersion<B> {
    Http1(Rc<Taken<B>>),
    Http2(StreamExecutor),
}

/// An answer that hyper never sees, on its way to whoever writes it instead.
pub(super) struct Taken<B>(Cell<Option<Response<Outbound<B>>>>);

impl<B> Taken<B> {
    pub(super) fn take(&self) -> Option<Response<Outbound<B>>> {
        self.0.take()
    }
}

impl<S, B> Adapter<S, B> {
    /// Also gives the place where answers with a body of unknown length appear. hyper waits for each of them in
    /// vain: whoever takes one has to take the connection out of hyper too.
    pub(super) fn http1(service: S, link: Rc<Link>) -> (Self, Rc<Taken<B>>) {
        let taken = Rc::new(Taken(Cell::default()));
        (Self { service, link, version: OfVersion::Http1(Rc::clone(&taken)) }, taken)
    }

    pub(super) fn http2(service: S, link: Rc<Link>, executor: StreamExecutor) -> Self {
        Self { service, link, version: OfVersion::Http2(executor) }
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Adapter<S, B>
where
    S: Service<Request<Inbound>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes>,
{
    type Response = Response<Outbound<B>>;
    type Error = Infallible;
    type Future = Answering<Oneshot<S, Request<Inbound>>, B>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let exchange = Exchange::new(&self.link);
        let mut taken = None;
        match &self.version {
            OfVersion::Http2(executor) => executor.service_called(&exchange),
            OfVersion::Http1(place) => {
                let length = request.body().size_hint().exact().map_or(Length::Chunked, Length::Exact);
                // Whoever stands between may take what comes next for another protocol's bytes.
                let is_upgrade = request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE);
                exchange.framed(length, is_upgrade || asks_to_close(request.headers()));
                // hyper knows what has no body, and what to do for clients that know no chunks.
                let takes_chunks = request.method() != Method::HEAD && request.version() == Version::HTTP_11;
                taken = takes_chunks.then(|| (Rc::clone(place), is_upgrade));
            }
        }
        let http1 = matches!(self.version, OfVersion::Http1(_));
        let request = request.map(|incoming| Inbound::new(incoming, Rc::clone(&exchange)));
        let future = tower::ServiceExt::oneshot(self.service.clone(), request);
        Answering { future, exchange: Some(exchange), http1, taken }
    }
}

pin_project_lite::pin_project! {
    pub(super) struct Answering<F, B> {
        #[pin]
        future: F,
        // `None` once it has answered.
        exchange: Option<Rc<Exchange>>,
        http1: bool,
        // Where to put an answer that is written without hyper, if this request can have one; and whether that is a tunnel.
        taken: Option<(Rc<Taken<B>>, bool)>,
    }
}

impl<F, B> Future for Answering<F, B>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<Outbound<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Taken: whoever took it takes the connection away before it is polled again.
        let Some(exchange) = this.exchange.as_ref() else { return Poll::Pending };
        let Ok(mut response) = ready!(this.future.poll(cx));
        let is_read = exchange.is_read();
        let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if *this.http1 && !is_tunnel && !exchange.may_be_followed() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            if !is_read {
                exchange.link.leaves_unread();
            }
        }
        let exchange = this.exchange.take().expect("seen above");
        let response = response.map(|body| Outbound::new(body, exchange));
        match this.taken {
            Some((taken, upgrades)) if is_read && if *upgrades { is_tunnel } else { is_stream(&response) } => {
                taken.0.set(Some(response));
                Poll::Pending
            }
            _ => Poll::Ready(Ok(response)),
        }
    }
}

/// RFC 9112 9.6.
fn asks_to_close(headers: &HeaderMap) -> bool {
    let mut options =
        headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Whether it has a body that comes as it comes. One whose length is known is over soon, and costs less to leave to
/// hyper than to set hyper aside for.
fn is_stream<B: Body<Data = Bytes>>(response: &Response<B>) -> bool {
    let (status, body) = (response.status(), response.body());
    let may_have_body = status.is_success() || status.is_client_error() || status.is_server_error();
    let has_length = body.size_hint().exact().is_some() || response.headers().contains_key(CONTENT_LENGTH);
    may_have_body && status != 204 && !body.is_end_stream() && !has_length
}
