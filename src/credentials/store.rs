//! What is there, for whoever sends a request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use http::{HeaderName, HeaderValue, Method};

use super::sign::Signer;
use crate::config::{self, AwsIdentity, AwsSource, Identity};
use crate::units::UpstreamId;

/// What a request gets that shows who sends it. All values are marked sensitive.
pub type Signed = Vec<(HeaderName, HeaderValue)>;

/// A request as far as its signature covers it.
#[derive(Clone, Copy)]
pub struct Unsigned<'r> {
    /// Its method.
    pub method: &'r Method,
    /// Its `host` (HTTP/2: `:authority`).
    pub host: &'r str,
    /// Its target, exactly as it stands in the request line.
    pub path_and_query: &'r str,
    /// Headers that are to be signed besides `host`.
    pub headers: &'r [(HeaderName, HeaderValue)],
    /// Its body.
    pub body: &'r [u8],
    /// When it is sent.
    pub now: SystemTime,
}

/// Why a request can't be authorized now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Nobody has given any yet.
    #[error("there are no credentials for the upstream yet")]
    Pending,
    /// They could not be refreshed in time.
    #[error("the credentials for the upstream have expired and could not be refreshed")]
    Expired,
    /// The request can't be signed.
    #[error("the request can't be signed")]
    Unsignable,
}

/// The credentials for all upstreams. Shared by all threads; readers do not wait.
#[derive(Debug)]
pub struct Store {
    /// By upstream; `None` where it has no identity.
    slots: Box<[Option<Slot>]>,
}

/// The credentials for one upstream.
pub(super) struct Slot {
    current: ArcSwapOption<Current>,
    /// Whether it is known whether there are any: after the first answer, good or bad.
    tried: AtomicBool,
}

/// Credentials that are there.
pub(super) struct Current {
    pub(super) form: Form,
    /// `None`: never.
    pub(super) expires: Option<SystemTime>,
}

/// What becomes of them in a request.
pub(super) enum Form {
    /// They stand in it.
    Headers(Signed),
    /// They sign it.
    Signer(Signer),
}

impl Store {
    /// Without any but those that stand in the configuration.
    pub fn new(upstreams: &[config::Upstream]) -> Arc<Self> {
        let slot = |upstream: &config::Upstream| upstream.identity.as_ref().map(Slot::new);
        Arc::new(Self { slots: upstreams.iter().map(slot).collect() })
    }

    /// Whether requests to `upstream` are authorized here.
    pub fn is_for(&self, upstream: UpstreamId) -> bool {
        self.slot(upstream).is_some()
    }

    /// What `request` gets; nothing for an upstream that has no identity.
    ///
    /// # Errors
    /// When there is nothing to be had now.
    pub fn authorize(&self, upstream: UpstreamId, request: &Unsigned<'_>) -> Result<Signed, NotReady> {
        let Some(slot) = self.slot(upstream) else { return Ok(Signed::new()) };
        let current = slot.current.load();
        let current = current.as_deref().ok_or(NotReady::Pending)?;
        if current.expires.is_some_and(|expires| expires <= request.now) {
            return Err(NotReady::Expired);
        }
        match &current.form {
            Form::Headers(headers) => Ok(headers.clone()),
            Form::Signer(signer) => signer.sign(request).map_err(|()| NotReady::Unsignable),
        }
    }

    pub(super) fn slot(&self, upstream: UpstreamId) -> Option<&Slot> {
        self.slots.get(upstream.index())?.as_ref()
    }
}

impl Slot {
    fn new(identity: &Identity) -> Self {
        let fixed = match identity {
            Identity::Aws(AwsIdentity { region, source: AwsSource::Fixed { id, secret, session_token } }) => {
                let signer = Signer::fixed(region, id, secret, session_token.as_ref());
                Some(Arc::new(Current { form: Form::Signer(signer), expires: None }))
            }
            _ => None,
        };
        Self { tried: AtomicBool::new(fixed.is_some()), current: ArcSwapOption::new(fixed) }
    }

    pub(super) fn put(&self, fresh: Current) {
        self.current.store(Some(Arc::new(fresh)));
        self.tried();
    }

    /// An attempt has ended.
    pub(super) fn tried(&self) {
        self.tried.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_tried(&self) -> bool {
        self.tried.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expires = self.current.load().as_ref().map(|current| current.expires);
        f.debug_struct("Slot").field("expires", &expires).finish_non_exhaustive()
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl fmt::Debug for Unsigned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsigned").field("method", &self.method).field("host", &self.host).finish_non_exhaustive()
    }
}
