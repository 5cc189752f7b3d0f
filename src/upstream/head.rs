//! What is sent: the caller's request, and the form it takes for one upstream.

use std::fmt;
use std::io::Write;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Uri, Version};
use secrecy::{ExposeSecret, SecretString};

use super::error::Cause;
use crate::config;

/// A request as the caller sees it. Kept by the caller, so that it can be sent again elsewhere.
pub struct Request {
    /// Method.
    pub method: Method,
    /// Below the upstream's base path, such as `/chat/completions?x=1`.
    pub path_and_query: Rc<str>,
    /// End-to-end headers. `host`, `content-length`, `authorization` and hop-by-hop ones are the pool's
    /// business and skipped here, so that a client's key never leaves by accident.
    /// Shared by the attempts of one call.
    pub headers: Rc<HeaderMap>,
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

/// What all requests to one upstream with one key have in common, prepared once.
pub(super) struct Origin {
    scheme: Scheme,
    authority: Authority,
    /// Marked sensitive: never printed, and never indexed by HPACK.
    authorization: Option<HeaderValue>,
    /// HTTP/1.1: what stands between the target and the request's own fields. Holds the key.
    preamble: Vec<u8>,
    base_path: String,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("authority", &self.authority)
            .field("base_path", &self.base_path)
            .finish_non_exhaustive()
    }
}

impl Origin {
    /// One for each key of the upstream, or the one without a key.
    ///
    /// # Panics
    /// When the host or a key can't stand in a header; configuration checking refuses such.
    pub(super) fn of(upstream: &config::Upstream) -> Box<[Self]> {
        let keyed = |key: usize| Self::new(upstream, upstream.keys.get(key).map(|key| &key.secret));
        upstream.key_positions(None).map(keyed).collect()
    }

    fn new(upstream: &config::Upstream, key: Option<&SecretString>) -> Self {
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
        let authorization = key.map(|key| {
            let value = format!("Bearer {}", key.expose_secret());
            let mut value = HeaderValue::try_from(value).expect("a checked key");
            value.set_sensitive(true);
            value
        });
        let mut preamble = format!(" HTTP/1.1\r\nhost: {authority}\r\n").into_bytes();
        if let Some(value) = &authorization {
            preamble.extend_from_slice(b"authorization: ");
            preamble.extend_from_slice(value.as_bytes());
            preamble.extend_from_slice(b"\r\n");
        }
        Self {
            scheme: if base.tls { Scheme::HTTPS } else { Scheme::HTTP },
            preamble,
            authority: Authority::try_from(authority).expect("a checked host"),
            authorization,
            base_path: base.path.clone(),
        }
    }

    /// Whether the target can stand in a request line. In the request's own words, only what could end the
    /// target or the line matters: it has come through a parser of targets before.
    pub(super) fn check(&self, request: &Request) -> Result<(), Cause> {
        let mut target = self.base_path.bytes().chain(request.path_and_query.bytes());
        let is_bad = |byte| matches!(byte, 0..=b' ' | b'#' | 0x7f);
        if target.any(is_bad) { Err(Cause::Target) } else { Ok(()) }
    }

    /// Writes the head of a request whose target was checked.
    pub(super) fn http1(&self, request: &Request, head: &mut Vec<u8>) {
        head.extend_from_slice(request.method.as_str().as_bytes());
        head.push(b' ');
        let start = head.len();
        head.extend_from_slice(self.base_path.as_bytes());
        head.extend_from_slice(request.path_and_query.as_bytes());
        if head.get(start) != Some(&b'/') {
            head.insert(start, b'/');
        }
        head.extend_from_slice(&self.preamble);
        if has_length(request) {
            write!(head, "content-length: {}\r\n", request.body.len()).expect("a vector takes everything");
        }
        for (name, value) in request.headers.iter() {
            if !OURS.contains(name) {
                head.extend_from_slice(name.as_str().as_bytes());
                head.extend_from_slice(b": ");
                head.extend_from_slice(value.as_bytes());
                head.extend_from_slice(b"\r\n");
            }
        }
        head.extend_from_slice(b"\r\n");
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
        *head.headers_mut() = self.headers(request);
        Ok(head)
    }

    fn path(&self, request: &Request) -> Result<PathAndQuery, Cause> {
        let path = format!("{}{}", self.base_path, request.path_and_query);
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        PathAndQuery::from_maybe_shared(Bytes::from(path)).map_err(|_| Cause::Target)
    }

    fn headers(&self, request: &Request) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(request.headers.len() + 2);
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if has_length(request) {
            headers.insert(CONTENT_LENGTH, request.body.len().into());
        }
        for (name, value) in request.headers.iter() {
            if !OURS.contains(name) {
                headers.append(name, value.clone());
            }
        }
        headers
    }
}

/// A method that usually has a body says so even if there is none.
fn has_length(request: &Request) -> bool {
    matches!(request.method, Method::POST | Method::PUT | Method::PATCH) || !request.body.is_empty()
}

/// Headers that the pool sets, or that concern the client's connection alone.
const OURS: [HeaderName; 7] = [HOST, CONTENT_LENGTH, AUTHORIZATION, CONNECTION, TRANSFER_ENCODING, TE, UPGRADE];
