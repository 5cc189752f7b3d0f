//! Limits: requests per minute and streams at once, of the key and of the whole gateway.
//!
//! The permit goes on with the call and rides in the response body: a limit that ends with the response head
//! forgets the stream.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use super::call::{Admitted, Call};
use crate::accounting::keys::KeyRing;
use crate::accounting::limits::Limits;
use crate::config::{self, Config};
use crate::error::{Error, Kind};
use crate::middleware::{BoxedResponse, Passed};
use crate::telemetry::{LimitKind, Recorder};
use crate::units::KeyId;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct AdmitLayer {
    pub(super) config: Arc<Config>,
    pub(super) keys: Arc<KeyRing>,
    pub(super) limits: Arc<Limits>,
    pub(super) recorder: Rc<Recorder>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Admit<S> {
    inner: S,
    layer: Rc<AdmitLayer>,
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Admit { inner, layer: Rc::new(self.clone()) }
    }
}

impl<S> Service<Rc<Call>> for Admit<S>
where
    S: Service<Admitted, Response = BoxedResponse, Error = Error>,
{
    type Response = BoxedResponse;
    type Error = Error;
    type Future = Passed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Rc<Call>) -> Self::Future {
        match self.layer.admit(call) {
            Ok(admitted) => Passed::new(self.inner.call(admitted)),
            Err(error) => Passed::ready(Err(error)),
        }
    }
}

impl AdmitLayer {
    fn admit(&self, call: Rc<Call>) -> Result<Admitted, Error> {
        let key = call.principal.key();
        if let Some(key) = key {
            self.permit_model(key, &call)?;
        }
        match self.limits.admit(key) {
            Ok(admission) => {
                self.count_allowed(key);
                call.record.rate.set(Some(admission.headers));
                Ok(Admitted { call, permit: admission.permit })
            }
            Err(denied) => {
                self.recorder.limit_decided(denied.limit, false);
                call.record.rate.set(Some(denied.headers));
                Err(denied.into())
            }
        }
    }

    /// Before any limit is touched: what is forbidden costs nothing of the key's allowance.
    fn permit_model(&self, key: KeyId, call: &Call) -> Result<(), Error> {
        if let Some(model) = call.models().find(|model| !self.keys.allows(key, model)) {
            let detail = format!("This API key may not use the model '{model}'.");
            return Err(Error::new(Kind::Forbidden, detail).with_param("model"));
        }
        match call.model() {
            // The list shows what the key may use; everything else without a model could reach any of them
            // (a batch names its own) or another key's stored answers.
            None if self.keys.restricted(key) && !call.endpoint.is_local() => {
                let detail = "This API key may use certain models only, and this request names none.";
                Err(Error::new(Kind::Forbidden, detail))
            }
            _ => Ok(()),
        }
    }

    fn count_allowed(&self, key: Option<KeyId>) {
        let count = |limits: config::Limits, requests: LimitKind, streams: LimitKind| {
            if limits.requests_per_minute.is_some() {
                self.recorder.limit_decided(requests, true);
            }
            if limits.streams.is_some() {
                self.recorder.limit_decided(streams, true);
            }
        };
        if let Some(key) = key {
            count(self.config.keys[key.index()].limits, LimitKind::KeyRequests, LimitKind::KeyStreams);
        }
        count(self.config.limits, LimitKind::GlobalRequests, LimitKind::GlobalStreams);
    }
}
