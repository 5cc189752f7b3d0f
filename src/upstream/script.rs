//! For the tests of rooms above: what an upstream does, without sockets.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use http::Response;

use super::body::Body;
use super::error::{BodyError, SendError};
use super::head::Request;
use super::pool::Pool;
use crate::telemetry::Recorder;
use crate::units::UpstreamId;

/// What becomes of a request.
pub(crate) type Sent = Pin<Box<dyn Future<Output = Result<Response<Body>, SendError>>>>;

/// The rest of an answer; see [`Body::scripted`].
pub(crate) type Rest = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError>>>;

/// Stands for all upstreams of a pool.
pub(crate) trait Script: fmt::Debug {
    /// As [`Pool::send`]; dropping the future, or the body that it brings, is what closes an exchange.
    fn send(&self, upstream: UpstreamId, key: usize, request: &Request) -> Sent;
}

impl Pool {
    /// A pool whose requests go to `script`.
    pub(crate) fn scripted(script: Rc<dyn Script>, recorder: &Rc<Recorder>) -> Rc<Self> {
        Rc::new(Self { peers: Box::default(), script: Some((script, Rc::clone(recorder))) })
    }
}
