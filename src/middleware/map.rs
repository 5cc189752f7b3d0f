//! The futures that layers need: the inner one's as it is, and with something done to its result.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project_lite::pin_project! {
    /// Runs a future, or is ready with a result from the start.
    #[derive(Debug)]
    pub struct Passed<F: Future> {
        #[pin]
        state: State<F, F::Output>,
    }
}

pin_project_lite::pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F, T> {
        // The inner service was called.
        Inner {
            #[pin]
            future: F,
        },
        // It was not: this is the answer, taken when polled.
        Ready {
            output: Option<T>,
        },
    }
}

impl<F: Future> Passed<F> {
    /// The result of `future`.
    pub fn new(future: F) -> Self {
        Self { state: State::Inner { future } }
    }

    /// No inner call: `output`.
    pub fn ready(output: F::Output) -> Self {
        Self { state: State::Ready { output: Some(output) } }
    }
}

impl<F: Future> Future for Passed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().state.project() {
            StateProj::Inner { future } => future.poll(cx),
            StateProj::Ready { output } => Poll::Ready(output.take().expect("polled no more after it is ready")),
        }
    }
}

pin_project_lite::pin_project! {
    /// Runs a future and passes its output through a function.
    #[derive(Debug)]
    pub struct Mapped<F, M> {
        #[pin]
        future: F,
        // Taken when it is done.
        map: Option<M>,
    }
}

impl<F, M> Mapped<F, M> {
    /// The result of `future`, after `map`.
    pub fn new(future: F, map: M) -> Self {
        Self { future, map: Some(map) }
    }
}

impl<F, M, T> Future for Mapped<F, M>
where
    F: Future,
    M: FnOnce(F::Output) -> T,
{
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.project();
        let output = ready!(this.future.poll(cx));
        Poll::Ready(this.map.take().expect("polled no more after it is ready")(output))
    }
}
