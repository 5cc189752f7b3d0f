//! Lets somebody see every exchange when it has ended: the access log, the metrics.
//!
//! Attached to the response's body, which outlives the service's future and knows how it ended.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use super::record::{BoxedResponse, Record, RecordedRequest};
use crate::stream::End;

/// Sees exchanges at their end.
pub trait Witness: Clone + 'static {
    /// Whether there is anything to see for it now.
    fn is_interested(&self) -> bool {
        true
    }

    /// Told once per exchange, after its last byte or whatever came instead.
    fn tell(&self, record: &Record, status: u16, end: &End);
}

/// The layer of one witness.
#[derive(Clone, Copy, Debug)]
pub struct AtEndLayer<W>(pub W);

/// See [`AtEndLayer`].
#[derive(Clone, Debug)]
pub struct AtEnd<S, W> {
    inner: S,
    witness: W,
}

impl<S, W: Clone> Layer<S> for AtEndLayer<W> {
    type Service = AtEnd<S, W>;

    fn layer(&self, inner: S) -> Self::Service {
        AtEnd { inner, witness: self.0.clone() }
    }
}

impl<S, W> Service<RecordedRequest> for AtEnd<S, W>
where
    S: Service<RecordedRequest, Response = BoxedResponse>,
    W: Witness,
{
    type Response = BoxedResponse;
    type Error = S::Error;
    type Future = Attaching<S::Future, W>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: RecordedRequest) -> Self::Future {
        let attached =
            self.witness.is_interested().then(|| (self.witness.clone(), Rc::clone(&request.body().record)));
        Attaching { future: self.inner.call(request), attached }
    }
}

pin_project_lite::pin_project! {
    /// Waits for the response and attaches the witness to its body.
    #[derive(Debug)]
    pub struct Attaching<F, W> {
        #[pin]
        future: F,
        attached: Option<(W, Rc<Record>)>,
    }
}

impl<F, W, E> Future for Attaching<F, W>
where
    F: Future<Output = Result<BoxedResponse, E>>,
    W: Witness,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.future.poll(cx).map_ok(|mut response| {
            if let Some((witness, record)) = this.attached.take() {
                let status = response.status().as_u16();
                response.body_mut().attach(move |end| witness.tell(&record, status, end));
            }
            response
        })
    }
}
