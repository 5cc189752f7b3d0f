//! What all workers share, built whole from one configuration and never changed but for its atomics.

use std::sync::Arc;

use tokio::time::Instant;

use super::health;
use crate::accounting::keys::KeyRing;
use crate::accounting::limits::Limits;
use crate::accounting::permit::Places;
use crate::api::affinity;
use crate::config::{self, Config, OnCancel};
use crate::credentials::Store;
use crate::reactor::tls::{Acceptor, TlsError};
use crate::routing::budget::Budget;
use crate::routing::gate::Gate;
use crate::routing::health::Board;
use crate::routing::hedge::Hedges;
use crate::routing::table::{Table, Target};
use crate::upstream::{Caps, Connectors};

/// The runtime view of a [`Config`].
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it was built from.
    pub config: Arc<Config>,
    /// Model names to targets.
    pub table: Arc<Table>,
    /// Virtual keys.
    pub keys: Arc<KeyRing>,
    /// Limits, shared by all workers.
    pub limits: Arc<Limits>,
    /// Process-wide caps on upstream connections.
    pub caps: Arc<Caps>,
    /// TLS towards upstreams.
    pub connectors: Connectors,
    /// Who we are to upstreams that want more than a key.
    pub credentials: Arc<Store>,
    /// TLS towards clients.
    pub acceptor: Option<Acceptor>,
    /// How the targets are.
    pub board: Arc<Board>,
    /// By target: what bounds its streams.
    pub gates: Arc<[Option<Arc<Gate>>]>,
    /// By target: a number that every process gives it which knows it by the same names.
    pub identities: Arc<[u64]>,
    /// By the position of a route: its first tokens, where it hedges.
    pub hedges: Arc<[Option<Arc<Hedges>>]>,
    /// What retries may cost.
    pub budget: Arc<Budget>,
    /// By upstream: answers that may be read on at once after their clients have left.
    pub drains: Arc<[Arc<Places>]>,
    /// Whether any upstream wants that.
    pub drains_somewhere: bool,
    /// Where the time of `board` and `budget` begins.
    pub epoch: Instant,
}

/// What only shows when the configuration is put to work.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The listeners' certificate or key.
    #[error("server.tls: {0}")]
    Server(#[source] TlsError),
    /// An upstream's certificate authorities.
    #[error("upstream {0:?}: {1}")]
    Upstream(String, #[source] TlsError),
}

impl Snapshot {
    /// Puts a configuration to work, with at most so many connections to all upstreams together.
    ///
    /// # Errors
    /// When TLS material can't be loaded.
    pub fn new(config: Config, upstream_connections_max: usize) -> Result<Self, SnapshotError> {
        let acceptor = config.server.tls.as_ref().map(Acceptor::new).transpose().map_err(SnapshotError::Server)?;
        let connectors =
            Connectors::new(&config.upstreams).map_err(|(name, error)| SnapshotError::Upstream(name, error))?;
        let table = Table::new(&config);
        let targets = table.targets();
        let gate = |target: &Target| {
            config.upstreams[target.upstream.index()].gate.map(|gate| Gate::new(health::gate_policy(&gate)))
        };
        Ok(Self {
            board: Board::new(targets.len(), health::policy(&config.health)),
            gates: targets.iter().map(gate).collect(),
            identities: targets.iter().map(|target| identity(&config, target)).collect(),
            hedges: table.routes().iter().map(|route| route.rules.hedge.map(|_| Arc::default())).collect(),
            budget: budget(&config.retry_budget),
            drains: config
                .upstreams
                .iter()
                .map(|upstream| Places::new(u32::try_from(upstream.drain.at_once_max).unwrap_or(u32::MAX)))
                .collect(),
            drains_somewhere: config.upstreams.iter().any(|upstream| upstream.on_cancel == OnCancel::Drain),
            epoch: Instant::now(),
            table: Arc::new(table),
            keys: Arc::new(KeyRing::new(&config.keys)),
            limits: Arc::new(Limits::new(config.limits, &config.keys)),
            caps: Caps::new(&config.upstreams, upstream_connections_max),
            connectors,
            credentials: Store::new(&config.upstreams),
            acceptor,
            config: Arc::new(config),
        })
    }
}

/// With a bucket of ten seconds' floor, as linkerd's: what fails before anybody knows which target is bad fails at once,
/// as many as there are requests in flight.
fn budget(budget: &config::RetryBudget) -> Arc<Budget> {
    let burst = budget.floor_per_second.saturating_mul(10);
    Budget::with_burst(budget.share, budget.floor_per_second, burst)
}

fn identity(config: &Config, target: &Target) -> u64 {
    let upstream = &config.upstreams[target.upstream.index()];
    let key = upstream.keys.get(target.key).map_or("", |key| key.name.as_str());
    let model = target.model.as_deref().unwrap_or_default();
    affinity::of_bytes(format!("{}\n{key}\n{model}", upstream.name).as_bytes())
}
