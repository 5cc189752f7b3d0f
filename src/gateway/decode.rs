//! From an authorized request to a [`Call`]: which surface, and its body, read once.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Uri, Version};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};
use tower::{Layer, Service, ServiceExt};

use super::call::{Call, Content};
use super::headers;
use super::local::LocalBoxFuture;
use crate::api::endpoint::{self, Endpoint, Matched, ModelField, NoMatch};
use crate::api::{form, gemini, request, websocket};
use crate::config::{Config, Priority};
use crate::error::{Error, Kind};
use crate::middleware::auth::{Authorized, Principal};
use crate::middleware::{BoxedResponse, Payload, body_cap};
use crate::routing::gate::Class;
use crate::telemetry::{Recorder, Stage};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct DecodeLayer {
    pub(super) config: Arc<Config>,
    pub(super) recorder: Rc<Recorder>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Decode<S> {
    inner: S,
    layer: Rc<DecodeLayer>,
}

impl<S> Layer<S> for DecodeLayer {
    type Service = Decode<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Decode { inner, layer: Rc::new(self.clone()) }
    }
}

impl<S> Service<Authorized> for Decode<S>
where
    S: Service<Rc<Call>, Response = BoxedResponse, Error = Error> + Clone + 'static,
{
    type Response = BoxedResponse;
    type Error = Error;
    type Future = LocalBoxFuture<Result<BoxedResponse, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, authorized: Authorized) -> Self::Future {
        let layer = Rc::clone(&self.layer);
        let inner = self.inner.clone();
        Box::pin(async move {
            let call = decode(&layer, authorized).await?;
            inner.oneshot(call).await
        })
    }
}

async fn decode(layer: &DecodeLayer, authorized: Authorized) -> Result<Rc<Call>, Error> {
    let Authorized { request, principal } = authorized;
    let (parts, payload) = request.into_parts();
    let record = Rc::clone(&payload.record);
    let matched = endpoint::find(&parts.method, parts.uri.path()).map_err(|no_match| match no_match {
        NoMatch::NotFound => {
            Error::new(Kind::NotFound, format!("Unknown request URL: {} {}.", parts.method, parts.uri.path()))
        }
        NoMatch::MethodNotAllowed(allow) => {
            record.allow.set(Some(allow));
            let detail = format!("Not allowed to {} on {}.", parts.method, parts.uri.path());
            Error::new(Kind::MethodNotAllowed, detail)
        }
    })?;
    record.endpoint.set(Some(matched.endpoint));
    let path_and_query = path(&matched, &parts.uri)?;
    let item = match matched.endpoint {
        Endpoint::Realtime => realtime_model(&parts, principal)?,
        _ => matched.id.as_deref().map(Rc::from),
    };

    let began = record.exchange.began();
    let server = &layer.config.server;
    let body = in_time(server.body_timeout, read(payload, server.body_bytes_max)).await?;
    let decoded_at = Instant::now();
    layer.recorder.overhead(Stage::Body, decoded_at.saturating_duration_since(began));

    let content = content(matched.endpoint, &parts.headers, body)?;
    let of_gateway = headers::of_gateway(&parts.headers);
    let class = class(&layer.config, principal, of_gateway.and_then(|headers| headers.get(&headers::PRIORITY)))?;
    let upstream = of_gateway.and_then(|headers| headers.get(&headers::CHOSEN_UPSTREAM)).cloned();
    let mut call = Call {
        endpoint: matched.endpoint,
        item,
        path_and_query,
        method: parts.method,
        headers: Rc::default(),
        class,
        upstream,
        content,
        principal,
        record,
        decoded_at,
    };
    call.headers = Rc::new(headers::upstream(parts.headers, call.streams()));
    call.record.model.replace(call.model().map(Rc::from));
    Ok(Rc::new(call))
}

/// What `read` comes to. Most bodies are here with their head; those do without a clock.
async fn in_time(limit: Duration, read: impl Future<Output = Result<Bytes, Error>>) -> Result<Bytes, Error> {
    let mut read = pin!(read);
    if let Poll::Ready(body) = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
        return body;
    }
    let late = |_| Error::new(Kind::RequestTimeout, "The request body did not arrive in time.");
    timeout(limit, read).await.map_err(late)?
}

/// Path and query below the version. One with a model's name in it is written anew, so that it has one reading.
fn path(matched: &Matched<'_>, uri: &Uri) -> Result<Rc<str>, Error> {
    if matched.endpoint == Endpoint::StreamGenerateContent && !uri.query().is_some_and(gemini::asks_events) {
        let detail = "A stream is served as server-sent events only: add the query parameter 'alt=sse'.";
        return Err(Error::new(Kind::BadRequest, detail).with_param("alt"));
    }
    let path_and_query = uri.path_and_query().map_or("", |path| path.as_str());
    Ok(match (&matched.id, matched.verb) {
        (Some(model), Some(verb)) => gemini::path(model, verb, uri.query()).into(),
        _ => endpoint::below_version(path_and_query).into(),
    })
}

/// The model that a WebSocket is asked for.
fn realtime_model(parts: &Parts, principal: Principal) -> Result<Option<Rc<str>>, Error> {
    if parts.version != Version::HTTP_11 || !websocket::is_asked_for(&parts.method, &parts.headers) {
        let detail = "This endpoint is a WebSocket: ask for it with 'Upgrade: websocket', over HTTP/1.1.";
        return Err(Error::new(Kind::BadRequest, detail));
    }
    // Browsers let any page open one, to this machine too: only a key tells whose page it is.
    if principal.key().is_none() && parts.headers.contains_key(ORIGIN) {
        let detail = "Browsers may open a WebSocket only where the gateway has keys.";
        return Err(Error::new(Kind::Forbidden, detail));
    }
    let mut named =
        parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("model="));
    let (model, another) = (named.next().filter(|model| !model.is_empty()), named.next());
    if another.is_some() {
        return Err(Error::new(Kind::BadRequest, "The query names two models.").with_param("model"));
    }
    let Some(model) = model else { return Ok(None) };
    let model = endpoint::query_value(model);
    let model =
        model.ok_or_else(|| Error::new(Kind::BadRequest, "Not the name of a model.").with_param("model"))?;
    Ok(Some(Rc::from(&*model)))
}

/// Who goes first: what the key says, unless the request `says` that it goes behind.
fn class(config: &Config, principal: Principal, says: Option<&HeaderValue>) -> Result<Class, Error> {
    let key = principal.key().map_or(Priority::Interactive, |key| config.keys[key.index()].priority);
    match says.map(HeaderValue::as_bytes) {
        None => Ok(match key {
            Priority::Interactive => Class::Interactive,
            Priority::Batch => Class::Batch,
        }),
        Some(b"batch") => Ok(Class::Batch),
        Some(b"interactive") if key == Priority::Interactive => Ok(Class::Interactive),
        Some(b"interactive") => {
            Err(Error::new(Kind::Forbidden, "This API key may not use the priority 'interactive'."))
        }
        Some(_) => Err(Error::new(Kind::BadRequest, "x-millstream-priority must be 'interactive' or 'batch'.")),
    }
}

/// The whole body, at most `bytes_max`. One that comes in one piece is not copied.
async fn read(payload: Payload, bytes_max: usize) -> Result<Bytes, Error> {
    let mut payload = payload;
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    let announced = usize::try_from(Pin::new(&payload).size_hint().lower()).unwrap_or(bytes_max).min(bytes_max);
    while let Some(frame) = payload.frame().await {
        let frame = frame.map_err(|error| {
            Error::new(Kind::BadRequest, "The request body could not be read.").with_source(error)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > bytes_max {
            return Err(body_cap::too_large(bytes_max));
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.reserve(announced);
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn content(endpoint: Endpoint, headers: &HeaderMap, body: Bytes) -> Result<Content, Error> {
    if endpoint.model_field() != ModelField::None
        && headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(Error::new(Kind::BadRequest, "A compressed request body is not supported."));
    }
    match endpoint.model_field() {
        ModelField::None | ModelField::Query => Ok(Content::Opaque(body)),
        ModelField::Json | ModelField::Path => {
            let fields = request::scan_in(endpoint.dialect(), &body)?;
            if model_is_required(endpoint) {
                fields.require_model()?;
            }
            Ok(Content::Json(body, fields))
        }
        ModelField::Form => {
            let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let form = form::model(content_type, &body)?;
            Ok(Content::Form(body, form))
        }
    }
}

/// Where the API itself has a default model (or takes it from a stored prompt), its upstream knows it.
fn model_is_required(endpoint: Endpoint) -> bool {
    endpoint.model_field() == ModelField::Json
        && !matches!(endpoint, Endpoint::Responses | Endpoint::Moderations | Endpoint::ImageGenerations)
}
