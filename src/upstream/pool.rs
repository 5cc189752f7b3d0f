//! The pool of one worker.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use http::Response;

use super::body::Body;
use super::cache::Cache;
use super::caps::Caps;
use super::connect::Connectors;
use super::dns::Names;
use super::error::SendError;
use super::exchange::Peer;
use super::flight::Flight;
use super::head::{Origin, Request};
use super::singleton::Singleton;
use super::upgrade::Switch;
use crate::config::{self, Protocol};
use crate::telemetry::Recorder;
use crate::units::UpstreamId;

/// Connections to every upstream, shared by all streams of one core. Lives and dies on its worker; dropping
/// it closes unused connections, while bodies in flight keep theirs to the end.
#[derive(Debug)]
pub struct Pool {
    pub(super) peers: Box<[Peer]>,
    /// Answers in the place of all peers, and where its failures are counted.
    #[cfg(test)]
    pub(super) script: Option<(Rc<dyn super::script::Script>, Rc<Recorder>)>,
}

impl Pool {
    /// A pool without connections. `caps` and `connectors` are made once per process from the same list of
    /// upstreams.
    ///
    /// # Panics
    /// When the lists differ in length, or an upstream's host or key can't stand in a header (configuration
    /// checking refuses those).
    pub fn new(
        upstreams: &[config::Upstream],
        caps: &Arc<Caps>,
        connectors: &Connectors,
        recorder: &Rc<Recorder>,
    ) -> Rc<Self> {
        let peer = |(position, upstream): (usize, &config::Upstream)| {
            let id = UpstreamId::new(position);
            Peer {
                id,
                config: upstream.clone(),
                origins: Origin::of(upstream),
                connector: connectors.of(id),
                caps: caps.clone(),
                recorder: recorder.clone(),
                names: Names::default(),
                cache: Rc::new(Cache::new(upstream.idle_timeout, upstream.lifetime_max)),
                singleton: Singleton::new(upstream.idle_timeout, upstream.lifetime_max),
                flight: Flight::default(),
                speaks: Cell::new(match upstream.protocol {
                    Protocol::Auto if !upstream.base.tls => Protocol::Http1,
                    other => other,
                }),
            }
        };
        Rc::new(Self {
            peers: upstreams.iter().enumerate().map(peer).collect(),
            #[cfg(test)]
            script: None,
        })
    }

    /// Sends `request` with one of the upstream's keys (by position; 0 where it has none) and waits for the head of
    /// the answer. The keys of an upstream share its connections. Waits as long as the upstream takes: only
    /// getting a connection has deadlines here, the first token's clock is the caller's.
    ///
    /// Sent again by itself, on another connection, only if it certainly was not sent or not processed.
    ///
    /// # Errors
    /// [`SendError`], counted by its phase.
    ///
    /// # Cancel safety
    /// Dropping the future in any phase closes what it opened: a connection being made is dropped, an
    /// HTTP/1.1 exchange closes its connection, an HTTP/2 stream is reset with `CANCEL`. Others who waited
    /// for the same connection go on, one of them in the lead.
    ///
    /// # Panics
    /// When `upstream` or `key` is of another configuration.
    pub async fn send(
        &self,
        upstream: UpstreamId,
        key: usize,
        request: &Request,
    ) -> Result<Response<Body>, SendError> {
        #[cfg(test)]
        if let Some((script, recorder)) = &self.script {
            let answer = script.send(upstream, key, request).await;
            return answer.inspect_err(|failed| recorder.upstream_failed(upstream, failed.phase));
        }
        let peer = &self.peers[upstream.index()];
        let answer = peer.send(key, request).await;
        if let Err(failed) = &answer {
            peer.recorder.upstream_failed(upstream, failed.phase);
        }
        answer
    }

    /// Asks for a tunnel over a connection of its own, of HTTP/1.1: what `request` says, and that the protocol is to be
    /// switched to WebSocket.
    ///
    /// # Errors
    /// As those of [`send`](Self::send). Nothing is sent again.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    ///
    /// # Panics
    /// When `upstream` or `key` is of another configuration.
    pub async fn switch(&self, upstream: UpstreamId, key: usize, request: &Request) -> Result<Switch, SendError> {
        let peer = &self.peers[upstream.index()];
        let switched = peer.switch(key, request).await;
        if let Err(failed) = &switched {
            peer.recorder.upstream_failed(upstream, failed.phase);
        }
        switched
    }

    /// Closes connections that the peer has closed, that are too old, or unused for too long. Called about
    /// once a second; costs one system call per unused HTTP/1.1 connection.
    pub fn sweep(&self) {
        for peer in &self.peers {
            peer.cache.sweep();
            peer.singleton.sweep();
        }
    }

    /// Closes all unused connections, such as at the start of a drain.
    pub fn close_idle(&self) {
        for peer in &self.peers {
            peer.cache.clear();
            peer.singleton.clear();
        }
    }
}
