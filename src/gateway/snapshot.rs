//! What all workers share, built whole from one configuration and never changed.

use std::sync::Arc;

use crate::accounting::keys::KeyRing;
use crate::accounting::limits::Limits;
use crate::config::Config;
use crate::reactor::tls::{Acceptor, TlsError};
use crate::routing::table::Table;
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
    /// TLS towards clients.
    pub acceptor: Option<Acceptor>,
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
        Ok(Self {
            table: Arc::new(Table::new(&config)),
            keys: Arc::new(KeyRing::new(&config.keys)),
            limits: Arc::new(Limits::new(config.limits, &config.keys)),
            caps: Caps::new(&config.upstreams, upstream_connections_max),
            connectors,
            acceptor,
            config: Arc::new(config),
        })
    }
}
