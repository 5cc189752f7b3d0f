//! What is counted and measured, and the log. Counters live in one shard per worker and are summed at scrape.
//!
//! A worker writes to its own [`Recorder`] and waits for nobody; a scrape, on another thread, reads all of
//! them. Every family is listed in `metrics.rs`.

pub mod access;
pub mod health;
pub mod log;
mod collect;
mod credentials;
mod decisions;
mod labels;
mod metrics;
mod process;
mod recorder;
mod series;
mod shard;
mod targets;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use prometheus::{Registry, TextEncoder};

use crate::config::Config;

use self::collect::Scrape;
use self::credentials::Credentials;
pub use self::credentials::RefreshOutcome;
pub use self::decisions::{
    AttemptOutcome, CancelDrainOutcome, ContinuationOutcome, HedgeDecision, QueueClass, QueueOutcome,
    RetryDecision,
};
use self::labels::{Names, Value};
pub use self::recorder::Recorder;
use self::series::Series;
use self::shard::{Layout, Shard};
pub use self::targets::{TargetLimit, TargetSample, TargetState, Targets};

/// Media type of [`Telemetry::encode`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

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
pub struct Telemetry {
    shared: Arc<Shared>,
    registry: Registry,
}

/// What recorders and the scrape have in common.
#[derive(Debug)]
struct Shared {
    names: Names,
    layout: Arc<Layout>,
    /// One per worker.
    shards: Vec<Arc<Shard>>,
    /// The workers' indices as label values.
    workers: Vec<String>,
    series: Arc<Series>,
    draining: AtomicBool,
    /// Which reactor runs, and why; once it is known.
    reactor: OnceLock<[&'static str; 2]>,
    /// Who knows the targets; once they exist.
    targets: OnceLock<Arc<dyn Targets>>,
    /// By upstream.
    credentials: Box<[Credentials]>,
}

impl Telemetry {
    /// Label values are taken from `config`, once; `workers` is the number of shards.
    pub fn new(config: &Config, workers: usize) -> Arc<Self> {
        Self::with_names(Names::new(config), workers)
    }

    /// For the tests of any room: one upstream, one route and one key.
    #[cfg(test)]
    pub(crate) fn for_tests(workers: usize) -> Arc<Self> {
        let names = |name: &str| vec![name.to_owned()];
        Self::with_names(Names { upstreams: names("up"), routes: names("model"), keys: names("key") }, workers)
    }

    fn with_names(names: Names, workers: usize) -> Arc<Self> {
        let layout = Arc::new(Layout::new(names.upstreams.len()));
        let shared = Arc::new(Shared {
            credentials: names.upstreams.iter().map(|_| Credentials::default()).collect(),
            names,
            shards: (0..workers).map(|_| Arc::new(Shard::new(Arc::clone(&layout)))).collect(),
            layout,
            workers: (0..workers).map(|worker| worker.to_string()).collect(),
            series: Arc::default(),
            draining: AtomicBool::new(false),
            reactor: OnceLock::new(),
            targets: OnceLock::new(),
        });
        let registry = Registry::new();
        registry
            .register(Box::new(Scrape::new(Arc::clone(&shared))))
            .expect("an empty registry takes a list of distinct families");
        Arc::new(Self { shared, registry })
    }

    /// The recorder of the worker with this index. A worker has one and shares it by `Rc`: increments are
    /// lost if two threads record to the same shard.
    ///
    /// # Panics
    /// When there is no such worker.
    pub fn recorder(self: &Arc<Self>, worker: usize) -> Rc<Recorder> {
        Rc::new(Recorder::new(Arc::clone(&self.shared.shards[worker]), Arc::clone(&self.shared.series)))
    }

    /// The text exposition of everything, for a scrape.
    pub fn encode(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("a registry leaves empty families out, and strings take every write")
    }

    /// Says whether the process drains (`millstream_draining`).
    pub fn set_draining(&self, draining: bool) {
        self.shared.draining.store(draining, Ordering::Relaxed);
    }

    /// Says which reactor runs, and why (`millstream_reactor_info`), each a word of a closed set. The first call
    /// counts.
    pub fn set_reactor(&self, reactor: &'static str, reason: &'static str) {
        self.shared.reactor.get_or_init(|| [reactor, reason]);
    }

    /// Says who knows the targets (`millstream_target_*`). The first call counts.
    pub fn set_targets(&self, targets: Arc<dyn Targets>) {
        self.shared.targets.get_or_init(|| targets);
    }
}

impl EndReason {
    /// Its word in metrics and logs.
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}
