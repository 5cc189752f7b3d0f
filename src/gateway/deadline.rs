//! The deadline of a response's head: a stream's is its first token's, another answer's its own, and the whole
//! exchange's stands above both. Once a head is out, the clocks of the relay go on from the same beginning.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, Timeout, timeout_at};
use tower::{Layer, Service};

use super::call::Call;
use crate::config::Config;
use crate::error::{Error, Kind};
use crate::middleware::Mapped;
use crate::stream::Body;

/// Where all clocks are off: beyond every timer.
const NEVER: Duration = Duration::from_hours(365 * 24);

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct DeadlineLayer {
    pub(super) config: Arc<Config>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Deadline<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline { inner, config: Arc::clone(&self.config) }
    }
}

type Outcome = Result<Response<Body>, Error>;

impl<S> Service<Call> for Deadline<S>
where
    S: Service<Call, Response = Response<Body>, Error = Error>,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = Mapped<Timeout<S::Future>, fn(Result<Outcome, Elapsed>) -> Outcome, Outcome>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let deadline = self.deadline(&call);
        Mapped::new(timeout_at(deadline, self.inner.call(call)), |outcome| {
            outcome
                .unwrap_or_else(|_| Err(Error::new(Kind::UpstreamTimeout, "the upstream did not answer in time")))
        })
    }
}

impl<S> Deadline<S> {
    fn deadline(&self, call: &Call) -> Instant {
        let clocks = &self.config.stream.clocks;
        let head = if call.streams() { clocks.first_token_timeout } else { clocks.response_timeout };
        let shortest = [head, clocks.total_timeout].into_iter().flatten().min().unwrap_or(NEVER);
        call.record.exchange.began() + shortest
    }
}
