//! What a relay is made of.

use std::rc::Rc;

use tokio::time::Instant;

use crate::api::endpoint::Ending;
use crate::signal::{Phase, Watch};
use crate::stream::phase::PhaseGuard;
use crate::stream::timers::Clocks;
use crate::telemetry::Recorder;
use crate::units::UpstreamId;

/// What a relay needs to know of its exchange.
#[derive(Debug)]
pub struct Settings {
    /// The stream's clocks, counted from `start` but for the first token's.
    pub clocks: Clocks,
    /// When the request came.
    pub start: Instant,
    /// When this upstream was asked: the first token's clock runs from here.
    pub asked: Instant,
    /// How the end of the answer is recognised, and which dialect errors are told in.
    pub ending: Ending,
    /// The request's `n`.
    pub choices: u32,
    /// Remove the chunk that carries nothing but the usage: the client did not ask for it.
    pub strip_usage: bool,
    /// Bytes of an incomplete event that are kept back at most.
    pub event_hold_bytes_max: usize,
    /// For error events.
    pub request_id: Rc<str>,
    /// Ends the stream at the drain deadline.
    pub recall: Watch<Phase>,
    /// Where chunks and first tokens are counted.
    pub recorder: Rc<Recorder>,
    /// Counts the stream in its phase.
    pub phase: PhaseGuard,
}

/// An upstream's answer, its head already read.
#[derive(Debug)]
pub struct Answer<U> {
    /// Who answers.
    pub upstream: UpstreamId,
    /// The body is an event stream that we can read (not compressed).
    pub events: bool,
    /// The transfer has an end mark of its own (length, chunks or HTTP/2), so that a cut can't pass for an end.
    pub framed: bool,
    /// Nobody can use a part of it, such as of a JSON document: [`Relay::poll_opening`](super::Relay::poll_opening) waits for all of it.
    pub whole: bool,
    /// The body.
    pub body: U,
}
