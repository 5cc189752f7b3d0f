//! Who asks: a virtual key becomes a [`Principal`], which nothing else can make.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Request, Response};
use tower::{Layer, Service};

use super::Mapped;
use super::record::Payload;
use crate::accounting::keys::KeyRing;
use crate::error::{Error, Kind};
use crate::stream::Body;
use crate::units::KeyId;

/// Where else SDKs put a key: Anthropic's and Azure's ways.
const KEY_HEADERS: [HeaderName; 2] = [HeaderName::from_static("x-api-key"), HeaderName::from_static("api-key")];

/// Proof that a request was authenticated, or that the gateway is open to anybody.
#[derive(Clone, Copy, Debug)]
pub struct Principal {
    key: Option<KeyId>,
}

impl Principal {
    /// Whoever a test says.
    #[cfg(test)]
    pub(crate) fn for_tests(key: Option<KeyId>) -> Self {
        Self { key }
    }

    /// The key presented; `None` where no keys are configured.
    pub fn key(&self) -> Option<KeyId> {
        self.key
    }
}

/// A request whose sender is known.
#[derive(Debug)]
pub struct Authorized {
    /// As it came.
    pub request: Request<Payload>,
    /// Who sent it.
    pub principal: Principal,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct AuthLayer {
    keys: Arc<KeyRing>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Auth<S> {
    inner: S,
    keys: Arc<KeyRing>,
}

impl AuthLayer {
    /// Accepts the keys of this ring; anybody if it is empty.
    pub fn new(keys: Arc<KeyRing>) -> Self {
        Self { keys }
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Auth { inner, keys: Arc::clone(&self.keys) }
    }
}

type Outcome = Result<Response<Body>, Error>;

impl<S> Service<Request<Payload>> for Auth<S>
where
    S: Service<Authorized, Response = Response<Body>, Error = Error>,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = Mapped<S::Future, fn(Outcome) -> Outcome, Outcome>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        match authenticate(&self.keys, request.headers()) {
            Ok(principal) => {
                request.body().record.key.set(principal.key);
                Mapped::new(self.inner.call(Authorized { request, principal }), |outcome| outcome)
            }
            Err(error) => Mapped::ready(Err(error)),
        }
    }
}

fn authenticate(keys: &KeyRing, headers: &HeaderMap) -> Result<Principal, Error> {
    if keys.is_empty() {
        return Ok(Principal { key: None });
    }
    let Some(presented) = presented(headers) else {
        let detail = "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY'.";
        return Err(Error::new(Kind::Unauthenticated, detail));
    };
    match keys.authenticate(presented) {
        Some(key) => Ok(Principal { key: Some(key) }),
        None => Err(Error::new(Kind::Unauthenticated, "Incorrect API key provided.")),
    }
}

fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, key) = value.as_bytes().split_at_checked(b"bearer ".len())?;
        return scheme.eq_ignore_ascii_case(b"bearer ").then_some(key.trim_ascii());
    }
    KEY_HEADERS.iter().find_map(|name| headers.get(name)).map(|value| value.as_bytes().trim_ascii())
}
