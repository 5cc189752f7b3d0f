//! What is sent: the caller's request, and the form it takes for one upstream.

use std::fmt;
use std::io::Write;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Uri, Version};
use secrecy::{ExposeSecret, SecretString};

use super::error::Cause;
use crate::config::{self, UpstreamKind};

/// A request as the caller sees it. Kept by the caller, so that it can be sent again elsewhere.
pub struct Request {
    /// Method.
    pub method: Method,
    /// Below the upstream's base path, such as `/chat/completions?x=1`.
    pub path_and_query: Rc<str>,
    /// End-to-end headers. `host`, `content-length`, hop-by-hop ones and those that credentials stand in are the
    /// pool's business and skipped here, so that a client's key never leaves by accident.
    /// Shared by the attempts of one call.
    pub headers: Rc<HeaderMap>,
    /// What shows who we are, where that is not a key of the upstream's, which is then left out.
    pub credentials: Vec<(HeaderName, HeaderValue)>,
    /// The whole body; whoever received it has bounded it. Cheap to clone.
    pub body: Bytes,
    /// A stream is asked for: its first token is waited for, so the request leaves at once. Others may leave together with
    /// those of their turn.
    pub streams: bool,
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
    key: Option<(HeaderName, HeaderValue)>,
    /// HTTP/1.1: what stands between the target and the request's own fields. Holds the key.
    preamble: Vec<u8>,
    /// How much of it is without the key.
    keyless: usize,
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
        let authority = base.authority();
        let key = key.map(|key| {
            let (name, scheme) = key_header(upstream.kind);
            let value = format!("{scheme}{}", key.expose_secret());
            let mut value = HeaderValue::try_from(value).expect("a checked key");
            value.set_sensitive(true);
            (name, value)
        });
        let mut preamble = format!(" HTTP/1.1\r\nhost: {authority}\r\n").into_bytes();
        let keyless = preamble.len();
        if let Some((name, value)) = &key {
            write_field(&mut preamble, name, value);
        }
        Self {
            scheme: if base.tls { Scheme::HTTPS } else { Scheme::HTTP },
            preamble,
            keyless,
            authority: Authority::try_from(authority).expect("a checked host"),
            key,
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
        let keyed = if request.credentials.is_empty() { self.preamble.len() } else { self.keyless };
        head.extend_from_slice(&self.preamble[..keyed]);
        for (name, value) in &request.credentials {
            write_field(head, name, value);
        }
        if has_length(request) {
            write!(head, "content-length: {}\r\n", request.body.len()).expect("a vector takes everything");
        }
        for (name, value) in request.headers.iter() {
            if !is_ours(name) {
                write_field(head, name, value);
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
        let mut headers = HeaderMap::with_capacity(request.headers.len() + request.credentials.len() + 2);
        let key = self.key.as_ref().filter(|_| request.credentials.is_empty());
        for (name, value) in key.into_iter().chain(&request.credentials) {
            headers.insert(name.clone(), value.clone());
        }
        if has_length(request) {
            headers.insert(CONTENT_LENGTH, request.body.len().into());
        }
        for (name, value) in request.headers.iter() {
            if !is_ours(name) {
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

fn write_field(head: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    head.extend_from_slice(name.as_str().as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value.as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// The header in which an upstream of this kind is sent its key, and what stands before it there.
fn key_header(kind: UpstreamKind) -> (HeaderName, &'static str) {
    match kind {
        UpstreamKind::Anthropic => (X_API_KEY, ""),
        UpstreamKind::Gemini | UpstreamKind::Vertex => (X_GOOG_API_KEY, ""),
        UpstreamKind::Azure => (API_KEY, ""),
        UpstreamKind::OpenAi
        | UpstreamKind::Bedrock
        | UpstreamKind::Cohere
        | UpstreamKind::Ollama
        | UpstreamKind::Demo => (AUTHORIZATION, "Bearer "),
    }
}

const API_KEY: HeaderName = HeaderName::from_static("api-key");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// Headers that the pool sets, that concern the client's connection alone, or that say who somebody is.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host"
            | "content-length"
            | "authorization"
            | "connection"
            | "transfer-encoding"
            | "te"
            | "upgrade"
            | "api-key"
            | "x-api-key"
            | "x-goog-api-key"
            | "x-amz-date"
            | "x-amz-security-token"
            | "x-amz-content-sha256"
            | "x-goog-user-project"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(kind: UpstreamKind) -> Origin {
        let text = "[[upstreams]]\nname = \"u\"\nbase_url = \"http://h/v1\"\nkey_env = \"KEY\"";
        let mut config = config::parse(text, "config.toml", &config::Env::of([("KEY", "canary")])).expect("fine");
        config.upstreams[0].kind = kind;
        Origin::of(&config.upstreams[0]).into_vec().remove(0)
    }

    fn request(credentials: Vec<(HeaderName, HeaderValue)>) -> Request {
        let names =
            ["authorization", "api-key", "x-api-key", "x-goog-api-key", "x-amz-date", "x-goog-user-project"];
        let headers = names.map(|name| (HeaderName::from_static(name), HeaderValue::from_static("the-client's")));
        let headers =
            headers.into_iter().chain([(HeaderName::from_static("x-own"), HeaderValue::from_static("1"))]);
        Request {
            method: Method::POST,
            path_and_query: "/chat".into(),
            headers: Rc::new(headers.collect()),
            credentials,
            body: Bytes::new(),
            streams: false,
        }
    }

    /// The fields beside `host`, `content-length` and the client's own, in HTTP/1.1 and in HTTP/2.
    fn shown(origin: &Origin, request: &Request) -> Vec<String> {
        let mut head = Vec::new();
        origin.http1(request, &mut head);
        let head = String::from_utf8(head).expect("ASCII");
        let is_ours = |line: &&str| !["host", "content-length", "x-own"].iter().any(|name| line.starts_with(name));
        let lines = head.lines().skip(1).filter(|line| !line.is_empty()).filter(is_ours);
        let first: Vec<String> = lines.map(str::to_owned).collect();
        let head = origin.http2(request).expect("a target");
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            assert!(value.is_sensitive() || ["content-length", "x-own"].contains(&name.as_str()), "{name}");
            format!("{name}: {}", value.to_str().expect("ASCII"))
        };
        let lines: Vec<String> = head.headers().iter().map(line).collect();
        let second: Vec<&str> = lines.iter().map(String::as_str).filter(is_ours).collect();
        assert_eq!(first, second);
        assert!(head.headers().contains_key("x-own"));
        first
    }

    #[test]
    fn a_key_stands_in_the_header_of_its_kind_and_a_clients_nowhere() {
        for (kind, expected) in [
            (UpstreamKind::OpenAi, "authorization: Bearer canary"),
            (UpstreamKind::Azure, "api-key: canary"),
            (UpstreamKind::Anthropic, "x-api-key: canary"),
            (UpstreamKind::Gemini, "x-goog-api-key: canary"),
            (UpstreamKind::Vertex, "x-goog-api-key: canary"),
            (UpstreamKind::Bedrock, "authorization: Bearer canary"),
            (UpstreamKind::Cohere, "authorization: Bearer canary"),
        ] {
            let origin = origin(kind);
            assert_eq!(shown(&origin, &request(Vec::new())), [expected], "{kind:?}");
            assert!(!format!("{origin:?}").contains("canary"));
        }
    }

    #[test]
    fn other_credentials_take_the_place_of_the_key() {
        let mut token = HeaderValue::from_static("Bearer token-canary");
        token.set_sensitive(true);
        let request = request(vec![(AUTHORIZATION, token)]);
        assert!(!format!("{request:?}").contains("canary"));
        for kind in [UpstreamKind::OpenAi, UpstreamKind::Azure, UpstreamKind::Vertex] {
            assert_eq!(shown(&origin(kind), &request), ["authorization: Bearer token-canary"], "{kind:?}");
        }
    }
}
