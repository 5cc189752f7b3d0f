//! Ends a client connection whose state lasts too long.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::connection::{ConnectionError, Settings};
use super::link::Link;
use crate::signal::alarm::Alarm;
use crate::signal::{Phase, Watch};
use crate::telemetry::EndReason;

/// Ends a connection whose state lasts too long.
pub(super) struct Watchdog {
    pub(super) link: Rc<Link>,
    settings: Settings,
    phase: Watch<Phase>,
    finishing: bool,
    first_request_by: Instant,
    served: bool,
    /// HTTP/2: when the client was told to leave.
    left_at: Option<Instant>,
    alarm: Alarm,
}

impl Watchdog {
    pub(super) fn new(link: Rc<Link>, settings: Settings, phase: Watch<Phase>) -> Self {
        let first_request_by = link.idle_since() + settings.header_timeout;
        Self {
            link,
            settings,
            phase,
            finishing: false,
            first_request_by,
            served: false,
            left_at: None,
            alarm: Alarm::default(),
        }
    }

    /// True once, when the process begins to drain.
    pub(super) fn shall_finish(&mut self, cx: &Context<'_>) -> bool {
        !self.finishing && self.phase.poll(cx) >= Phase::Finish && {
            self.finishing = true;
            true
        }
    }

    /// Notes that the connection has been idle for too long and says goodbye. Whether it had before.
    ///
    /// hyper is done with a stream when h2 has its last frame, and h2 keeps the connection until the client's
    /// window lets that frame go: without an end to this, one that never opens it would stay for ever.
    pub(super) fn leaving(&mut self) -> bool {
        let before = self.left_at.is_some();
        self.left_at.get_or_insert_with(Instant::now);
        before
    }

    /// To be polled after the connection. `Ready(Ok)` is an idle connection that shall close quietly.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, http2: bool) -> Poll<Result<(), ConnectionError>> {
        self.link.turn_ended();
        let Some((at, what)) = self.deadline(http2) else { return Poll::Pending };
        ready!(self.alarm.poll(cx, at, Instant::now()));
        if matches!(what, Err(ConnectionError::SlowReader)) {
            self.link.cut(EndReason::SlowReader);
        }
        Poll::Ready(what)
    }

    fn deadline(&mut self, http2: bool) -> Option<(Instant, Result<(), ConnectionError>)> {
        if let (Some(since), Some(timeout)) = (self.link.stalled_since(), self.settings.slow_client_timeout) {
            return Some((since + timeout, Err(ConnectionError::SlowReader)));
        }
        if self.link.in_flight() > 0 {
            self.served = true;
            return None;
        }
        if let Some(since) = self.link.lingers_since() {
            return Some((since + self.settings.header_timeout, Ok(())));
        }
        if let Some(left_at) = self.left_at {
            // What is left for the client may take as long as a head.
            let from = left_at.max(self.link.idle_since());
            return Some((from + self.settings.header_timeout, Ok(())));
        }
        if http2 {
            return Some((self.link.idle_since() + self.settings.idle_timeout, Ok(())));
        }
        match self.link.head_since() {
            Some(since) => Some((since + self.settings.header_timeout, Err(ConnectionError::HeaderTimeout))),
            None if !self.served => Some((self.first_request_by, Err(ConnectionError::HeaderTimeout))),
            None => Some((self.link.idle_since() + self.settings.idle_timeout, Ok(()))),
        }
    }
}
