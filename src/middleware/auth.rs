//! Who asks: a virtual key becomes a [`Principal`], which nothing else can make.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Uri};
use tower::{Layer, Service};

use super::Passed;
use super::record::{BoxedResponse, RecordedRequest};
use crate::accounting::keys::KeyRing;
use crate::api::dialect::Dialect;
use crate::api::gemini::{self, Cleaned};
use crate::api::websocket;
use crate::error::{Error, Kind};
use crate::units::KeyId;

/// Where else SDKs put a key: Anthropic's, Azure's and Gemini's ways.
pub const KEY_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

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
    pub request: RecordedRequest,
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

impl<S> Service<RecordedRequest> for Auth<S>
where
    S: Service<Authorized, Response = BoxedResponse, Error = Error>,
{
    type Response = BoxedResponse;
    type Error = Error;
    type Future = Passed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: RecordedRequest) -> Self::Future {
        let dialect = request.body().record.dialect;
        let in_query = match dialect {
            Dialect::Gemini => take_from_query(request.uri_mut()),
            _ => None,
        };
        let presented = presented(request.headers()).or_else(|| in_query.as_deref().map(str::as_bytes));
        match authenticate(&self.keys, presented, dialect) {
            Ok(principal) => {
                request.body().record.key.set(principal.key);
                Passed::new(self.inner.call(Authorized { request, principal }))
            }
            Err(error) => Passed::ready(Err(error)),
        }
    }
}

fn authenticate(keys: &KeyRing, presented: Option<&[u8]>, dialect: Dialect) -> Result<Principal, Error> {
    if keys.is_empty() {
        return Ok(Principal { key: None });
    }
    let Some(presented) = presented else {
        let header = match dialect {
            Dialect::OpenAi | Dialect::Ollama => "Authorization: Bearer",
            Dialect::Anthropic => "x-api-key:",
            Dialect::Gemini => "x-goog-api-key:",
        };
        let detail = format!("You didn't provide an API key. Send it as '{header} YOUR_KEY'.");
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
    let in_header =
        KEY_HEADERS.iter().find_map(|name| headers.get(name)).map(|value| value.as_bytes().trim_ascii());
    in_header.or_else(|| websocket::key_in_protocols(headers))
}

/// The key that stands in the address, as Google's APIs allow. It is taken out there, so that it goes nowhere else.
fn take_from_query(uri: &mut Uri) -> Option<String> {
    let Cleaned { query, key } = gemini::without_credentials(uri.query()?)?;
    let mark = if query.is_empty() { "" } else { "?" };
    let mut parts = std::mem::take(uri).into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", |path| path.path());
    parts.path_and_query = format!("{path}{mark}{query}").parse().ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_address_is_taken_out_of_it() {
        for (before, after, key) in [
            ("/v1beta/models?key=sk-1", "/v1beta/models", Some("sk-1")),
            ("http://h/v1beta/models/m:x?alt=sse&key=k", "http://h/v1beta/models/m:x?alt=sse", Some("k")),
            ("/v1beta/models?alt=sse", "/v1beta/models?alt=sse", None),
            ("/v1beta/models", "/v1beta/models", None),
        ] {
            let mut uri: Uri = before.parse().expect("an address");
            assert_eq!(take_from_query(&mut uri).as_deref(), key, "{before}");
            assert_eq!(uri.to_string(), after);
        }
    }
}
