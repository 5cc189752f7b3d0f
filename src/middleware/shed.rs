//! Refuses at once when this worker carries all that it may: a quick 503 is worth more than a slow one.

use std::rc::Rc;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use super::Passed;
use super::record::{BoxedResponse, RecordedRequest};
use crate::error::{Error, Kind};
use crate::telemetry::Recorder;

/// When a shed client may try again: long enough that a retry finds another moment.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// See the module.
#[derive(Clone, Debug)]
pub struct ShedLayer {
    in_flight_max: usize,
    recorder: Rc<Recorder>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Shed<S> {
    inner: S,
    layer: ShedLayer,
}

impl ShedLayer {
    /// Refuses beyond `in_flight_max` exchanges on this worker.
    pub fn new(in_flight_max: usize, recorder: Rc<Recorder>) -> Self {
        Self { in_flight_max, recorder }
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Shed { inner, layer: self.clone() }
    }
}

impl<S> Service<RecordedRequest> for Shed<S>
where
    S: Service<RecordedRequest, Response = BoxedResponse, Error = Error>,
{
    type Response = BoxedResponse;
    type Error = Error;
    type Future = Passed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: RecordedRequest) -> Self::Future {
        if request.body().record.exchange.in_flight_here() > self.layer.in_flight_max {
            self.layer.recorder.request_shed();
            let full = Error::new(Kind::Overloaded, "this worker is full").with_retry_after(RETRY_AFTER);
            return Passed::ready(Err(full));
        }
        Passed::new(self.inner.call(request))
    }
}
