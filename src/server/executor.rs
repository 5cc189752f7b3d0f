//! Runs hyper's HTTP/2 streams, each with an eye on a client that does not read.
//!
//! On HTTP/2 a slow reader holds back its own stream by flow control while the connection goes on. hyper
//! does not ask the body for more then, so no clock inside the body runs: this one does.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::exchange::Exchange;
use crate::reactor::spawn;
use crate::signal::alarm::Alarm;
use crate::telemetry::EndReason;
use hyper::rt::Executor;

/// Spawns on this worker. One per connection.
#[derive(Clone, Debug)]
pub(super) struct StreamExecutor {
    /// The exchange whose service was called last: hyper calls the service and then hands over the future
    /// that serves its stream, with nothing in between.
    called: Rc<RefCell<Option<Rc<Exchange>>>>,
    slow_client_timeout: Option<Duration>,
}

impl StreamExecutor {
    pub(super) fn new(slow_client_timeout: Option<Duration>) -> Self {
        Self { called: Rc::default(), slow_client_timeout }
    }

    pub(super) fn service_called(&self, exchange: &Rc<Exchange>) {
        self.called.borrow_mut().replace(Rc::clone(exchange));
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, stream: F) {
        let exchange = self.called.borrow_mut().take();
        drop(spawn(Guarded { stream, exchange, timeout: self.slow_client_timeout, alarm: Alarm::default() }));
    }
}

pin_project_lite::pin_project! {
    /// One stream of an HTTP/2 connection. Ends early, which resets the stream, when the client takes
    /// nothing of what waits for it.
    struct Guarded<F> {
        #[pin]
        stream: F,
        exchange: Option<Rc<Exchange>>,
        timeout: Option<Duration>,
        alarm: Alarm,
    }
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(exchange) = this.exchange else { return Poll::Pending };
        let (Some(since), Some(timeout)) = (exchange.blocked_since.get(), *this.timeout) else {
            return Poll::Pending;
        };
        ready!(this.alarm.poll(cx, since + timeout, Instant::now()));
        exchange.cut(EndReason::SlowReader);
        Poll::Ready(())
    }
}
