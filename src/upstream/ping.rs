//! Finds out that an HTTP/2 peer is gone although its socket says nothing.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

/// How often a connection with streams is asked.
const INTERVAL: Duration = Duration::from_secs(30);

/// How long the answer may take: far more than any round trip, even behind a full window.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The pings of one connection.
pub(super) struct Pings {
    peer: PingPong,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Pings {
    pub(super) fn new(pings: PingPong) -> Self {
        Self { peer: pings, timer: Box::pin(sleep(INTERVAL)), waiting: false }
    }

    /// Ready when the peer owes an answer for too long. An unused connection (`busy` is false) is not asked:
    /// some servers count pings without streams as abuse.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, busy: bool) -> Poll<()> {
        if self.waiting && self.peer.poll_pong(cx).is_ready() {
            self.waiting = false;
            self.timer.as_mut().reset(Instant::now() + INTERVAL);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.waiting {
                return Poll::Ready(());
            }
            self.waiting = busy && self.peer.send_ping(Ping::opaque()).is_ok();
            let next = if self.waiting { ANSWER_TIMEOUT } else { INTERVAL };
            self.timer.as_mut().reset(Instant::now() + next);
            if self.waiting && self.peer.poll_pong(cx).is_ready() {
                self.waiting = false;
            }
        }
    }
}
