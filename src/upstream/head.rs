//! What is sent: the caller's request, and the form it takes for one upstream.

use std::fmt;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Uri, Version};
use http_body_util::Full;
use secrecy::ExposeSecret;

use super::error::Cause;
use crate::config;

/// A request as the caller sees it. Kept by the caller, so that it can be sent again elsewhere.
pub struct Request {
    /// Method.
    pub method: Method,
    /// Below the upstream's base path, such as `/chat/completions?x=1`.
    pub path_and_query: String,
    /// End-to-end headers. `host`, `content-length`, `authorization` and hop-by-hop ones are the pool's
    /// business and skipped here, so that a client's key never leaves by accident.
    pub headers: HeaderMap,
    /// The whole body; whoever received it has bounded it. Cheap to clone.
    pub body: Bytes,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path_and_query", &self.path_and_query)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What all requests to one upstream have in common, prepared once.
#[derive(Debug)]
pub(super) struct Origin {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    /// Marked sensitive: never printed, and never indexed by HPACK.
    authorization: Option<HeaderValue>,
    base_path: String,
}

impl Origin {
    /// # Panics
    /// When the host or the key can't stand in a header; configuration checking refuses such.
    pub(super) fn new(upstream: &config::Upstream) -> Self {
        let base = &upstream.base;
        let name = match base.host.as_str() {
            // A Unix socket has no name, but HTTP/1.1 wants one.
            "" => "localhost".to_owned(),
            literal if literal.contains(':') => format!("[{literal}]"),
            name => name.to_owned(),
        };
        let usual_port = if base.tls { 443 } else { 80 };
        let authority =
            if base.unix.is_some() || base.port == usual_port { name } else { format!("{name}:{}", base.port) };
        let authorization = upstream.key.as_ref().map(|key| {
            let value = format!("Bearer {}", key.expose_secret());
            let mut value = HeaderValue::try_from(value).expect("a checked key");
            value.set_sensitive(true);
            value
        });
        Self {
            scheme: if base.tls { Scheme::HTTPS } else { Scheme::HTTP },
            host: HeaderValue::try_from(authority.as_str()).expect("a checked host"),
            authority: Authority::try_from(authority).expect("a checked host"),
            authorization,
            base_path: base.path.clone(),
        }
    }

    pub(super) fn http1(&self, request: &Request) -> Result<http::Request<Full<Bytes>>, Cause> {
        let mut head = http::Request::new(Full::new(request.body.clone()));
        *head.method_mut() = request.method.clone();
        *head.uri_mut() = self.path(request)?.into();
        *head.headers_mut() = self.headers(request, Some(&self.host));
        Ok(head)
    }

    pub(super) fn http2(&self, request: &Request) -> Result<http::Request<()>, Cause> {
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(self.path(request)?)
            .build()
            .map_err(|_| Cause::Target)?;
        let mut head = http::Request::new(());
        *head.method_mut() = request.method.clone();
        *head.uri_mut() = uri;
        *head.version_mut() = Version::HTTP_2;
        *head.headers_mut() = self.headers(request, None);
        Ok(head)
    }

    fn path(&self, request: &Request) -> Result<PathAndQuery, Cause> {
        let path = format!("{}{}", self.base_path, request.path_and_query);
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        PathAndQuery::from_maybe_shared(Bytes::from(path)).map_err(|_| Cause::Target)
    }

    fn headers(&self, request: &Request, host: Option<&HeaderValue>) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(request.headers.len() + 3);
        if let Some(host) = host {
            headers.insert(HOST, host.clone());
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let has_body = matches!(request.method, Method::POST | Method::PUT | Method::PATCH);
        if has_body || !request.body.is_empty() {
            headers.insert(CONTENT_LENGTH, request.body.len().into());
        }
        for (name, value) in &request.headers {
            if !OURS.contains(name) {
                headers.append(name, value.clone());
            }
        }
        headers
    }
}

/// Headers that the pool sets, or that concern the client's connection alone.
const OURS: [HeaderName; 7] = [HOST, CONTENT_LENGTH, AUTHORIZATION, CONNECTION, TRANSFER_ENCODING, TE, UPGRADE];
