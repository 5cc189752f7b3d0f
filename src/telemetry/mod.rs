//! What is counted and measured, and the log. Counters live in one shard per worker and are summed at scrape.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::api::endpoint::Endpoint;
use crate::config::Config;
use crate::units::{KeyId, RouteId, UpstreamId};

/// Where a stream or request is in its life (`millstream_streams_active{phase}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Sent or being sent upstream; no event yet.
    WaitingFirstToken,
    /// Events flow.
    Streaming,
}

/// How an exchange ended (`millstream_stream_ends_total{reason}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// As it should.
    Completed,
    /// The client left.
    ClientCancelled,
    /// The upstream said so in an error event, or broke the transfer.
    UpstreamError,
    /// The upstream ended cleanly without the evidence of an end.
    UpstreamTruncated,
    /// No first event in time.
    FirstTokenTimeout,
    /// Silence between events.
    IdleTimeout,
    /// The whole exchange took too long.
    TotalTimeout,
    /// The client took no bytes.
    SlowReader,
    /// The drain deadline.
    Drain,
}

/// Whose limit decided (`millstream_ratelimit_decisions_total{limit}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// Requests per minute of a key.
    KeyRequests,
    /// Streams of a key.
    KeyStreams,
    /// Requests per minute of the gateway.
    GlobalRequests,
    /// Streams of the gateway.
    GlobalStreams,
}

/// What part of the gateway's own time was spent where (`millstream_overhead_seconds{stage}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// From the head's arrival to the end of its body.
    Body,
    /// From the end of the body to the request handed to a connection: scan, limits, route.
    Route,
    /// Getting a connection: from the pool or new.
    Connect,
}

/// Tokens in or out (`millstream_tokens_total{direction}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Prompt.
    Input,
    /// Completion.
    Output,
}

/// State of upstream connections (`millstream_upstream_connections{state}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// Carries at least one exchange.
    Active,
    /// Kept for the next.
    Idle,
}

/// Why an attempt at an upstream failed before a response head (`millstream_upstream_failures_total{phase}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailurePhase {
    /// The process-wide cap on connections.
    Cap,
    /// Name resolution.
    Dns,
    /// TCP or Unix socket connect.
    Connect,
    /// TLS or HTTP/2 handshake.
    Handshake,
    /// After the request was handed over.
    Response,
}

/// The whole process's metrics: shards, names and the encoder. One per process; shared by all threads.
#[derive(Debug)]
pub struct Telemetry {}

/// One worker's recorder. Not `Send`: each worker gets its own and shares it by `Rc`.
#[derive(Debug)]
pub struct Recorder {}

impl Telemetry {
    /// Label values are taken from `config`, once; `workers` is the number of shards.
    pub fn new(_config: &Config, _workers: usize) -> Arc<Self> {
        Arc::new(Self {})
    }

    /// The recorder of the worker with this index.
    pub fn recorder(self: &Arc<Self>, _worker: usize) -> Rc<Recorder> {
        Rc::new(Recorder {})
    }

    /// The text exposition of everything, for a scrape.
    pub fn encode(&self) -> String {
        String::new()
    }

    /// Says whether the process drains (`millstream_draining`).
    pub fn set_draining(&self, _draining: bool) {}
}

#[expect(clippy::unused_self, reason = "the interface, before its implementation")]
impl Recorder {
    /// A client connection was opened on this worker.
    pub fn connection_opened(&self) {}
    /// A client connection was closed on this worker.
    pub fn connection_closed(&self) {}
    /// A connection was refused at the connection cap.
    pub fn connection_refused(&self) {}
    /// `accept` failed, for want of descriptors (`true`) or otherwise.
    pub fn accept_failed(&self, _out_of_descriptors: bool) {}
    /// An accepted connection was handed to a less loaded worker.
    pub fn connection_handed_over(&self) {}
    /// The exchange's phase changed; `None` is 'not there'. Gauge: the caller keeps the pairs balanced.
    pub fn phase_changed(&self, _from: Option<Phase>, _to: Option<Phase>) {}
    /// An exchange was answered: once per request, at the end of its body.
    pub fn request_ended(
        &self,
        _endpoint: Option<Endpoint>,
        _route: Option<RouteId>,
        _upstream: Option<UpstreamId>,
        _key: Option<KeyId>,
        _status: u16,
        _elapsed: Duration,
    ) {
    }
    /// A stream ended: once per streamed exchange.
    pub fn stream_ended(&self, _endpoint: Endpoint, _reason: EndReason) {}
    /// From the request's arrival to its first event.
    pub fn first_token(&self, _upstream: UpstreamId, _after: Duration) {}
    /// Between two events (or groups of events read at once) of one stream.
    pub fn chunk_gap(&self, _upstream: UpstreamId, _gap: Duration) {}
    /// Events relayed.
    pub fn chunks(&self, _upstream: UpstreamId, _count: u64) {}
    /// From a chunk read off the upstream socket to it being written to the client's.
    pub fn forward_delay(&self, _delay: Duration) {}
    /// The gateway's own share of a request's time.
    pub fn overhead(&self, _stage: Stage, _time: Duration) {}
    /// Tokens, as the provider reported them.
    pub fn tokens(&self, _upstream: UpstreamId, _direction: Direction, _count: u64) {}
    /// Connections to an upstream changed in number.
    pub fn upstream_connections(&self, _upstream: UpstreamId, _state: ConnectionState, _delta: i64) {}
    /// A new connection to an upstream was made in this time.
    pub fn upstream_connected(&self, _upstream: UpstreamId, _time: Duration) {}
    /// An attempt failed before a response head.
    pub fn upstream_failed(&self, _upstream: UpstreamId, _phase: FailurePhase) {}
    /// The request went to another target than the first.
    pub fn fallback(&self, _from: UpstreamId) {}
    /// A limit said yes or no.
    pub fn limit_decided(&self, _limit: LimitKind, _allowed: bool) {}
    /// A worker shed a request because it is full.
    pub fn request_shed(&self) {}
    /// From a client's hang-up noticed to the upstream connection closed or reset.
    pub fn cancel_propagated(&self, _after: Duration) {}
    /// How long one turn of the event loop took (sampled).
    pub fn loop_turn(&self, _time: Duration) {}
}
