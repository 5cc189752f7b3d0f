//! One request and the head of its answer: on a used connection if there is one, on a new one otherwise,
//! and again only when it certainly was not sent.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use http::Response;
use tokio::time::{Instant, timeout_at};

use super::body::Body;
use super::cache::Cache;
use super::caps::Caps;
use super::connect::connect;
use super::dns::Names;
use super::error::{Cause, SendError};
use super::flight::{Flight, Turn};
use super::head::{Origin, Request};
use super::http1;
use super::http2::{self, Ticket};
use super::lease::Lease;
use super::singleton::Singleton;
use super::upgrade::Switch;
use crate::config::{self, Protocol};
use crate::reactor::tls::Connector;
use crate::telemetry::{FailurePhase, Recorder, Stage};
use crate::units::UpstreamId;

/// Attempts at one request, the first included. When three connections in a row were stale, so are the rest:
/// the last attempt closes those and makes its own.
const ATTEMPTS_MAX: usize = 4;

/// One upstream as one core knows it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: UpstreamId,
    pub(super) config: config::Upstream,
    /// One for each key of the upstream, at least one.
    pub(super) origins: Box<[Origin]>,
    pub(super) connector: Option<Connector>,
    pub(super) caps: Arc<Caps>,
    pub(super) recorder: Rc<Recorder>,
    pub(super) names: Names,
    /// Unused HTTP/1.1 connections; bodies hold it too, to give theirs back.
    pub(super) cache: Rc<Cache>,
    /// HTTP/2 connections.
    pub(super) singleton: Singleton,
    /// Who makes the next shared connection.
    pub(super) flight: Flight<SendError>,
    /// What is spoken here; `Auto` until ALPN has said it once.
    pub(super) speaks: Cell<Protocol>,
}

/// A connection's room for one exchange.
enum Line {
    Http1 { link: Box<http1::Link>, reused: bool },
    Http2(Ticket),
}

impl Peer {
    /// See [`Pool::send`](super::Pool::send).
    pub(super) async fn send(&self, key: usize, request: &Request) -> Result<Response<Body>, SendError> {
        let origin = &self.origins[key];
        let mut avoid: Option<Rc<http2::Link>> = None;
        let mut attempt = 1;
        loop {
            if attempt == ATTEMPTS_MAX {
                self.cache.clear();
            }
            let began = Instant::now();
            let line = self.line(avoid.as_ref()).await?;
            self.recorder.overhead(Stage::Connect, began.elapsed());
            let failed = match line {
                Line::Http1 { link, reused } => {
                    origin.check(request).map_err(|cause| SendError::response(false, cause))?;
                    match link.exchange(origin, request, &self.cache).await {
                        // A new connection that does not take a request is no accident of timing.
                        Err(failed) if !reused => return Err(failed),
                        other => other,
                    }
                }
                Line::Http2(ticket) => {
                    let head = origin.http2(request).map_err(|cause| SendError::response(false, cause))?;
                    avoid = Some(ticket.link().clone());
                    ticket.exchange(head, request.body.clone()).await
                }
            };
            match failed {
                Err(failed) if !failed.sent && attempt < ATTEMPTS_MAX => {
                    tracing::debug!(upstream = %self.config.name, error = %failed, "not sent, trying again");
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    /// See [`Pool::switch`](super::Pool::switch).
    pub(super) async fn switch(&self, key: usize, request: &Request) -> Result<Switch, SendError> {
        let origin = &self.origins[key];
        origin.check(request).map_err(|cause| SendError::unsent(FailurePhase::Response, cause))?;
        let permit = self.caps.acquire(self.id).ok_or_else(|| self.at_cap())?;
        let started = Instant::now();
        let connector = self.connector.as_ref().map(Connector::http1);
        let (io, _) = Box::pin(connect(&self.config, &self.names, connector.as_ref())).await?;
        self.recorder.upstream_connected(self.id, started.elapsed());
        let lease = Lease::new(self.recorder.clone(), self.id, permit);
        http1::Link::new(io, lease).switch(origin, request, &self.cache).await
    }

    fn at_cap(&self) -> SendError {
        SendError::unsent(FailurePhase::Cap, Cause::Cap(self.config.connections_max))
    }

    /// A used connection or a new one.
    async fn line(&self, avoid: Option<&Rc<http2::Link>>) -> Result<Line, SendError> {
        loop {
            if self.speaks.get() == Protocol::Http1 {
                return match self.cache.take() {
                    Some(link) => Ok(Line::Http1 { link, reused: true }),
                    None => self.open().await,
                };
            }
            if let Some(ticket) = self.singleton.reserve(avoid) {
                return Ok(Line::Http2(ticket));
            }
            // Whoever comes while a shared connection is being made will want a place on it.
            match self.flight.join().await {
                Turn::Landed(outcome) => outcome?,
                Turn::Lead(leader) => {
                    let made = self.open().await;
                    leader.landed(made.as_ref().map(|_| ()).map_err(Clone::clone));
                    return made;
                }
            }
        }
    }

    /// Makes a connection.
    async fn open(&self) -> Result<Line, SendError> {
        let config = &self.config;
        let permit = self.caps.acquire(self.id).ok_or_else(|| self.at_cap())?;
        let started = Instant::now();
        // On the heap: connecting is rare, and its state would widen every exchange.
        let (io, deadline) = Box::pin(connect(config, &self.names, self.connector.as_ref())).await?;
        let spoken = match config.protocol {
            Protocol::Auto if io.alpn_h2() => Protocol::Http2,
            Protocol::Auto => Protocol::Http1,
            // Without an answer from ALPN it still may: the preface will tell.
            fixed => fixed,
        };
        let lease = Lease::new(self.recorder.clone(), self.id, permit);
        let line = if spoken == Protocol::Http2 {
            let limit = config.handshake_timeout;
            let made = Box::pin(http2::Link::new(io, config.h2_streams_max, lease));
            let late = |_| SendError::unsent(FailurePhase::Handshake, Cause::Timeout(limit));
            let link = timeout_at(deadline, made).await.map_err(late)??;
            Line::Http2(self.singleton.add(link))
        } else {
            Line::Http1 { link: http1::Link::new(io, lease), reused: false }
        };
        self.speaks.set(spoken);
        self.recorder.upstream_connected(self.id, started.elapsed());
        Ok(line)
    }
}
