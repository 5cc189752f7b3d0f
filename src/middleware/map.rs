//! The one future that layers need: the inner one's, with something done to its result.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project_lite::pin_project! {
    /// Runs a future and passes its output through a function, or is ready with a result from the start.
    #[project = MappedProj]
    #[derive(Debug)]
    pub enum Mapped<F, M, T> {
        /// The inner service was called.
        Inner {
            /// The inner service's future.
            #[pin]
            future: F,
            /// Taken when it is done.
            map: Option<M>,
        },
        /// It was not: this is the answer.
        Ready {
            /// Taken when polled.
            output: Option<T>,
        },
    }
}

impl<F, M, T> Mapped<F, M, T> {
    /// The result of `future`, after `map`.
    pub fn new(future: F, map: M) -> Self {
        Self::Inner { future, map: Some(map) }
    }

    /// No inner call: `output`.
    pub fn ready(output: T) -> Self {
        Self::Ready { output: Some(output) }
    }
}

impl<F, M, T> Future for Mapped<F, M, T>
where
    F: Future,
    M: FnOnce(F::Output) -> T,
{
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.project() {
            MappedProj::Inner { future, map } => {
                let output = ready!(future.poll(cx));
                Poll::Ready(map.take().expect("polled no more after it is ready")(output))
            }
            MappedProj::Ready { output } => Poll::Ready(output.take().expect("polled no more after it is ready")),
        }
    }
}
