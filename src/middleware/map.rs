//! The one future that layers need: the inner one's, with something done to its result.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project_lite::pin_project! {
    /// Runs a future and passes its output through a function, or is ready with a result from the start.
    #[derive(Debug)]
    pub struct Mapped<F, M, T> {
        #[pin]
        state: State<F, M, T>,
    }
}

pin_project_lite::pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F, M, T> {
        // The inner service was called; `map` is taken when it is done.
        Inner {
            #[pin]
            future: F,
            map: Option<M>,
        },
        // It was not: this is the answer, taken when polled.
        Ready {
            output: Option<T>,
        },
    }
}

impl<F, M, T> Mapped<F, M, T> {
    /// The result of `future`, after `map`.
    pub fn new(future: F, map: M) -> Self {
        Self { state: State::Inner { future, map: Some(map) } }
    }

    /// No inner call: `output`.
    pub fn ready(output: T) -> Self {
        Self { state: State::Ready { output: Some(output) } }
    }
}

impl<F, M, T> Future for Mapped<F, M, T>
where
    F: Future,
    M: FnOnce(F::Output) -> T,
{
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.project().state.project() {
            StateProj::Inner { future, map } => {
                let output = ready!(future.poll(cx));
                Poll::Ready(map.take().expect("polled no more after it is ready")(output))
            }
            StateProj::Ready { output } => Poll::Ready(output.take().expect("polled no more after it is ready")),
        }
    }
}
