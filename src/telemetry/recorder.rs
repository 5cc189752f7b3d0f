//! What a worker tells about its work.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::api::endpoint::Endpoint;
use crate::units::{KeyId, RouteId, UpstreamId};

use super::labels::{AcceptError, Outcome, Source, Value, endpoint_position};
use super::metrics::Recorded;
use super::series::{LocalSeries, Series, SeriesKey};
use super::shard::Shard;
use super::{
    AttemptOutcome, CancelDrainOutcome, ConnectionState, ContinuationOutcome, Direction, EndReason, FailurePhase,
    HedgeDecision, LimitKind, Phase, QueueClass, QueueOutcome, RetryDecision, Stage,
};

/// One worker's recorder. Not `Send`: each worker gets its own and shares it by `Rc`.
#[derive(Debug)]
pub struct Recorder {
    shard: Arc<Shard>,
    requests: LocalSeries,
    /// The shard has one writer; its thread is where this is.
    not_send: PhantomData<Rc<()>>,
}

impl Recorder {
    /// Writes to `shard`, which no other thread may write to.
    pub(super) fn new(shard: Arc<Shard>, series: Arc<Series>) -> Self {
        Self { shard, requests: LocalSeries::new(series), not_send: PhantomData }
    }

    /// A client connection was opened on this worker.
    pub fn connection_opened(&self) {
        self.shard.add(Recorded::Connections, &[], 1);
        self.shard.count(Recorded::ConnectionsTotal, &[], 1);
    }

    /// A client connection was closed on this worker.
    pub fn connection_closed(&self) {
        self.shard.add(Recorded::Connections, &[], -1);
    }

    /// A connection was refused at the connection cap.
    pub fn connection_refused(&self) {
        self.shard.count(Recorded::ConnectionsRefused, &[], 1);
    }

    /// `accept` failed, for want of descriptors (`true`) or otherwise.
    pub fn accept_failed(&self, out_of_descriptors: bool) {
        let kind = if out_of_descriptors { AcceptError::OutOfDescriptors } else { AcceptError::Other };
        self.shard.count(Recorded::AcceptErrors, &[kind.position()], 1);
    }

    /// An accepted connection was handed to a less loaded worker.
    pub fn connection_handed_over(&self) {
        self.shard.count(Recorded::ConnectionsHandedOver, &[], 1);
    }

    /// The exchange's phase changed; `None` is 'not there'. Gauge: the caller keeps the pairs balanced.
    pub fn phase_changed(&self, from: Option<Phase>, to: Option<Phase>) {
        if let Some(phase) = from {
            self.shard.add(Recorded::StreamsActive, &[phase.position()], -1);
        }
        if let Some(phase) = to {
            self.shard.add(Recorded::StreamsActive, &[phase.position()], 1);
        }
        self.shard.add(Recorded::Streams, &[], i64::from(to.is_some()) - i64::from(from.is_some()));
    }

    /// An exchange was answered: once per request, at the end of its body.
    pub fn request_ended(
        &self,
        endpoint: Option<Endpoint>,
        route: Option<RouteId>,
        upstream: Option<UpstreamId>,
        key: Option<KeyId>,
        status: u16,
        elapsed: Duration,
    ) {
        self.requests.increment(SeriesKey { endpoint, route, upstream, key, code: status });
        self.shard.observe(Recorded::RequestDuration, &[endpoint_position(endpoint)], elapsed);
    }

    /// A stream ended: once per streamed exchange.
    pub fn stream_ended(&self, endpoint: Endpoint, reason: EndReason) {
        self.shard.count(Recorded::StreamEnds, &[endpoint.position(), reason.position()], 1);
    }

    /// From the request's arrival to its first event.
    pub fn first_token(&self, upstream: UpstreamId, after: Duration) {
        self.shard.observe(Recorded::TimeToFirstToken, &[upstream.index()], after);
    }

    /// Between two events (or groups of events read at once) of one stream.
    pub fn chunk_gap(&self, upstream: UpstreamId, gap: Duration) {
        self.shard.observe(Recorded::ChunkGap, &[upstream.index()], gap);
    }

    /// Events relayed.
    pub fn chunks(&self, upstream: UpstreamId, count: u64) {
        self.shard.count(Recorded::Chunks, &[upstream.index()], count);
    }

    /// From a chunk read off the upstream socket to it being written to the client's.
    pub fn forward_delay(&self, delay: Duration) {
        self.shard.observe(Recorded::ChunkForwardDelay, &[], delay);
    }

    /// The gateway's own share of a request's time.
    pub fn overhead(&self, stage: Stage, time: Duration) {
        self.shard.observe(Recorded::Overhead, &[stage.position()], time);
    }

    /// Tokens, as the provider reported them in an answer that the client had.
    pub fn tokens(&self, upstream: UpstreamId, direction: Direction, count: u64) {
        self.count_tokens(upstream, direction, Source::Provider, count);
    }

    /// Tokens, as the provider reported them in an answer that was read on after the client had left. The same
    /// tokens are not told to [`Recorder::tokens`].
    pub fn tokens_drained(&self, upstream: UpstreamId, direction: Direction, count: u64) {
        self.count_tokens(upstream, direction, Source::Drained, count);
    }

    fn count_tokens(&self, upstream: UpstreamId, direction: Direction, source: Source, count: u64) {
        let positions = [upstream.index(), direction.position(), source.position()];
        self.shard.count(Recorded::Tokens, &positions, count);
    }

    /// Connections to an upstream changed in number.
    pub fn upstream_connections(&self, upstream: UpstreamId, state: ConnectionState, delta: i64) {
        self.shard.add(Recorded::UpstreamConnections, &[upstream.index(), state.position()], delta);
    }

    /// A new connection to an upstream was made in this time.
    pub fn upstream_connected(&self, upstream: UpstreamId, time: Duration) {
        self.shard.observe(Recorded::UpstreamConnect, &[upstream.index()], time);
    }

    /// An attempt failed before a response head.
    pub fn upstream_failed(&self, upstream: UpstreamId, phase: FailurePhase) {
        self.shard.count(Recorded::UpstreamFailures, &[upstream.index(), phase.position()], 1);
    }

    /// The request went to another target than the first.
    pub fn fallback(&self, from: UpstreamId) {
        self.shard.count(Recorded::Fallbacks, &[from.index()], 1);
    }

    /// An attempt at this upstream ended: once per attempt, when its outcome is known.
    pub fn attempt(&self, upstream: UpstreamId, outcome: AttemptOutcome) {
        self.shard.count(Recorded::Attempts, &[upstream.index(), outcome.position()], 1);
    }

    /// After `failed` had failed in a way that may be tried again, this was decided. Beside it,
    /// [`Recorder::fallback`] counts requests, not attempts.
    pub fn retry(&self, failed: UpstreamId, decision: RetryDecision) {
        self.shard.count(Recorded::Retries, &[failed.index(), decision.position()], 1);
    }

    /// A hedge was due: once, when it is known what became of it.
    pub fn hedge(&self, decision: HedgeDecision) {
        self.shard.count(Recorded::Hedges, &[decision.position()], 1);
    }

    /// Waiting for a place at a target ended after `waited`. Not for requests that had a place at once. With
    /// [`QueueOutcome::Full`] nobody waited, and `waited` is not used.
    pub fn queue_ended(&self, class: QueueClass, outcome: QueueOutcome, waited: Duration) {
        self.shard.count(Recorded::QueueEnds, &[class.position(), outcome.position()], 1);
        if outcome != QueueOutcome::Full {
            self.shard.observe(Recorded::QueueWait, &[class.position()], waited);
        }
    }

    /// An upstream broke off a stream of a route that continues them.
    pub fn continuation(&self, outcome: ContinuationOutcome) {
        self.shard.count(Recorded::Continuations, &[outcome.position()], 1);
    }

    /// An answer of this upstream was to be read on after its client had left.
    pub fn cancel_drain(&self, upstream: UpstreamId, outcome: CancelDrainOutcome) {
        self.shard.count(Recorded::CancelDrains, &[upstream.index(), outcome.position()], 1);
    }

    /// A target of this upstream was ejected: once per ejection, by the worker that judged.
    pub fn ejected(&self, upstream: UpstreamId) {
        self.shard.count(Recorded::Ejections, &[upstream.index()], 1);
    }

    /// A limit said yes or no.
    pub fn limit_decided(&self, limit: LimitKind, allowed: bool) {
        let outcome = if allowed { Outcome::Allowed } else { Outcome::Denied };
        self.shard.count(Recorded::RatelimitDecisions, &[limit.position(), outcome.position()], 1);
    }

    /// A worker shed a request because it is full.
    pub fn request_shed(&self) {
        self.shard.count(Recorded::RequestsShed, &[], 1);
    }

    /// From a client's hang-up noticed to the upstream connection closed or reset.
    pub fn cancel_propagated(&self, after: Duration) {
        self.shard.observe(Recorded::CancelPropagation, &[], after);
    }

    /// How long one turn of the event loop took (sampled).
    pub fn loop_turn(&self, time: Duration) {
        self.shard.observe(Recorded::LoopTurn, &[], time);
    }

    /// A turn of the event loop is over.
    pub fn reactor_turned(&self) {
        self.shard.count(Recorded::ReactorTurns, &[], 1);
    }

    /// The worker rested for this long before its next turn; `cut` where something urgent ended it early.
    pub fn reactor_rested(&self, time: Duration, cut: bool) {
        self.shard.observe(Recorded::ReactorRest, &[], time);
        if cut {
            self.shard.count(Recorded::ReactorRestsCut, &[], 1);
        }
    }
}
