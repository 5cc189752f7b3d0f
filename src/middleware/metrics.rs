//! Counts every exchange at its end.

use std::rc::Rc;

use super::at_end::Witness;
use super::record::Record;
use crate::stream::End;
use crate::telemetry::{Direction, EndReason, Recorder};

/// Counts in one worker's shard.
#[derive(Clone, Debug)]
pub struct Metrics {
    recorder: Rc<Recorder>,
}

impl Metrics {
    /// Counts in this worker's shard.
    pub fn new(recorder: Rc<Recorder>) -> Self {
        Self { recorder }
    }
}

impl Witness for Metrics {
    fn tell(&self, record: &Record, status: u16, end: &End) {
        let upstream = end.upstream.or_else(|| record.upstream.get());
        let endpoint = record.endpoint.get();
        self.recorder.request_ended(
            endpoint,
            record.route.get(),
            upstream,
            record.key.get(),
            status,
            record.exchange.began().elapsed(),
        );
        if let (true, Some(endpoint)) = (end.streamed, endpoint) {
            self.recorder.stream_ended(endpoint, end.reason.unwrap_or(EndReason::ClientCancelled));
        }
        if let (Some(usage), Some(upstream)) = (end.usage, upstream) {
            self.recorder.tokens(upstream, Direction::Input, usage.prompt_tokens.unwrap_or(0));
            self.recorder.tokens(upstream, Direction::Output, usage.completion_tokens.unwrap_or(0));
        }
    }
}
