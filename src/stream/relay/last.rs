//! What a relay has left to do when its source is gone.

use crate::error::{Error, Kind};
use crate::stream::timers::Due;
use crate::telemetry::EndReason;

pub(super) enum Last {
    /// Nothing is known yet: the source is alive.
    Nothing,
    /// The upstream ended its transfer.
    Ended,
    /// It can't go on, and the client must be told.
    Broken(Error, EndReason),
    /// Tell the client's connection to break off. The flag: it has had its turn to flush.
    Abort(EndReason, bool),
    /// All is said.
    Over,
}

impl Last {
    pub(super) fn broken(error: Error) -> Self {
        let reason = match error.kind() {
            Kind::UpstreamTimeout => EndReason::FirstTokenTimeout,
            Kind::Drained => EndReason::Drain,
            _ => EndReason::UpstreamError,
        };
        Self::Broken(error, reason)
    }

    /// The transfer ended as it should, the answer did not.
    pub(super) fn truncated() -> Self {
        Self::Broken(Self::truncated_error(), EndReason::UpstreamTruncated)
    }

    pub(super) fn truncated_error() -> Error {
        Error::new(Kind::StreamTruncated, "the upstream ended the stream before its end")
    }

    pub(super) fn idle_error() -> Error {
        Error::new(Kind::UpstreamTimeout, "the upstream fell silent")
    }

    pub(super) fn stray() -> Self {
        Self::broken(Error::new(Kind::UpstreamBroken, "the upstream answered with something else than a stream"))
    }

    pub(super) fn broken_by(due: Due) -> Self {
        let late = |detail| Error::new(Kind::UpstreamTimeout, detail);
        let (error, reason) = match due {
            Due::FirstToken => (late("the upstream sent no first token in time"), EndReason::FirstTokenTimeout),
            Due::Idle | Due::KeepAlive => (Self::idle_error(), EndReason::IdleTimeout),
            Due::Total => (late("the answer took too long"), EndReason::TotalTimeout),
        };
        Self::Broken(error, reason)
    }
}
