//! A WebSocket that is passed through: bytes in both directions, and what ends them.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tokio::time::Instant;

use super::worker::Worker;
use crate::api::websocket::{Frames, GOING_AWAY};
use crate::config::Realtime;
use crate::signal::alarm::Alarm;
use crate::signal::duplex::Duplex;
use crate::signal::{Phase, Watch};
use crate::stream::{Abort, End, PhaseGuard, Tunnelled};
use crate::telemetry::EndReason;
use crate::units::UpstreamId;
use crate::upstream::Upgraded;

/// Between a client and an upstream, neither of which may be silent for too long.
#[derive(Debug)]
pub(super) struct Tunnel {
    upstream: Upgraded,
    id: UpstreamId,
    /// From the upstream, and from the client.
    frames: [Frames; 2],
    bytes: u64,
    settings: Realtime,
    /// When it has taken too long.
    overdue: Instant,
    /// When somebody said something last.
    heard: Instant,
    alarm: Alarm,
    recall: Watch<Phase>,
    reason: Option<EndReason>,
    _phase: PhaseGuard,
}

impl Tunnel {
    pub(super) fn new(worker: &Worker, id: UpstreamId, upstream: Upgraded) -> Self {
        let settings = worker.snapshot.config.server.realtime;
        let now = Instant::now();
        let mut phase = PhaseGuard::waiting(Rc::clone(&worker.recorder));
        phase.streaming();
        Self {
            upstream,
            id,
            frames: [Frames::default(); 2],
            bytes: 0,
            settings,
            overdue: now + settings.total_timeout,
            heard: now,
            alarm: Alarm::default(),
            recall: worker.phase.watch(),
            reason: None,
            _phase: phase,
        }
    }

    /// Why it is to end now, if it is.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Option<EndReason> {
        if self.recall.poll(cx) == Phase::End {
            return Some(EndReason::Drain);
        }
        let silent = self.heard + self.settings.idle_timeout;
        self.alarm
            .poll(cx, silent.min(self.overdue), Instant::now())
            .is_ready()
            .then(|| if self.overdue <= silent { EndReason::TotalTimeout } else { EndReason::IdleTimeout })
    }

    /// Somebody has gone; whether the goodbye was said decides what that means.
    fn ended(&mut self, otherwise: EndReason) {
        let is_closed = self.frames.iter().any(Frames::is_closed);
        self.reason.get_or_insert(if is_closed { EndReason::Completed } else { otherwise });
    }
}

impl HttpBody for Tunnel {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let this = &mut *self;
        if this.reason.is_some() {
            return Poll::Ready(None);
        }
        if let Some(reason) = this.poll_end(cx) {
            this.reason = Some(reason);
            // In the midst of a frame nothing can be said.
            let [down, _] = &this.frames;
            let may_speak = down.is_between() && !down.is_closed();
            return Poll::Ready(may_speak.then(|| Ok(Frame::data(Bytes::from_static(GOING_AWAY)))));
        }
        let bytes = ready!(this.upstream.poll_read(cx)).unwrap_or_default();
        if bytes.is_empty() {
            this.ended(EndReason::UpstreamError);
            return Poll::Ready(None);
        }
        this.heard = Instant::now();
        this.frames[0].pass(&bytes);
        this.bytes += bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.reason.is_some()
    }
}

impl Duplex for Tunnel {
    fn poll_take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            self.ended(EndReason::ClientCancelled);
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let taken =
            ready!(self.upstream.poll_write(cx, bytes)).inspect_err(|_| self.ended(EndReason::UpstreamError))?;
        self.heard = Instant::now();
        self.frames[1].pass(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }
}

impl Tunnelled for Tunnel {
    fn how_it_ended(&self) -> End {
        End { reason: self.reason, upstream: Some(self.id), bytes: self.bytes, ..End::default() }
    }
}
