//! Which headers go on, in either direction.

use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::api::dialect::Dialect;
use crate::middleware::request_id;

/// An upstream's own request id, beside ours.
const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");

/// What of a request its target was not told.
const DROPPED: HeaderName = HeaderName::from_static("x-millstream-dropped");

/// Bytes of that header; beyond, it is cut.
const DROPPED_BYTES_MAX: usize = 2048;

/// Stops buffering in nginx and its kin.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The client's choice among the upstreams of a route. The answer has it too: who has given it.
pub(super) const CHOSEN_UPSTREAM: HeaderName = HeaderName::from_static("x-millstream-upstream");

/// The client's word on who goes first, where its key leaves it one.
pub(super) const PRIORITY: HeaderName = HeaderName::from_static("x-millstream-priority");

/// The headers of a request that says something to the gateway itself; hardly any does, and one look at the names is less
/// than a search for each.
pub(super) fn of_gateway(headers: &HeaderMap) -> Option<&HeaderMap> {
    headers.keys().any(|name| name.as_str().starts_with("x-millstream-")).then_some(headers)
}

/// Of one connection only (RFC 9110 7.6.1), whatever `connection` says.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// A client's business with us, not with the upstream: its credentials, its address, and what would choose
/// an account on ours.
fn is_not_for_upstream(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "cookie"
            | "content-length"
            | "expect"
            | "forwarded"
            | "host"
            | "via"
            | "api-key"
            | "openai-organization"
            | "openai-project"
            | "x-millstream-upstream"
            | "x-millstream-priority"
            | "x-api-key"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-goog-api-key"
            | "x-goog-user-project"
            | "x-real-ip"
    )
}

/// An upstream's business with us: its account, its cookies, and promises about its own host name.
fn is_not_for_client(name: &str) -> bool {
    matches!(
        name,
        "alt-svc"
            | "set-cookie"
            | "strict-transport-security"
            | "anthropic-organization-id"
            | "authorization"
            | "openai-organization"
            | "openai-project"
    )
}

/// The headers of a request on its way up. A stream is asked for uncompressed, so that it can be read.
pub(super) fn upstream(mut headers: HeaderMap, streams: bool) -> HeaderMap {
    let is_removed = |name: &str| is_hop_by_hop(name) || is_not_for_upstream(name);
    // To a CGI-like server `_` and `-` in a name are the same.
    remove_where(&mut headers, |name| {
        is_removed(name) || name.contains('_') && is_removed(&name.replace('_', "-"))
    });
    if streams {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    headers
}

/// The headers of an answer on its way down. `events`: an event stream that may get comments.
pub(super) fn downstream(headers: &mut HeaderMap, events: bool) {
    remove_where(headers, |name| is_hop_by_hop(name) || is_not_for_client(name));
    if headers.keys().any(|name| matches!(name.as_str(), "x-request-id" | "request-id")) {
        let ids = [request_id::HEADER, request_id::ANTHROPIC].map(|name| headers.remove(name));
        if let Some(id) = ids.into_iter().flatten().next() {
            headers.insert(UPSTREAM_REQUEST_ID, id);
        }
    }
    if events {
        headers.remove(CONTENT_LENGTH);
        not_buffered(headers);
    }
}

/// The headers of a stream of this dialect whose upstream has not answered yet.
pub(super) fn early(dialect: Dialect) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let content_type = match dialect {
        Dialect::OpenAi | Dialect::Anthropic | Dialect::Gemini => "text/event-stream; charset=utf-8",
        Dialect::Ollama => "application/x-ndjson",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    not_buffered(&mut headers);
    headers
}

/// Whether these headers announce a stream of the dialect's events that can be read: not a compressed one.
pub(super) fn announce_events(headers: &HeaderMap, dialect: Dialect) -> bool {
    let content_type: &[u8] = match dialect {
        Dialect::OpenAi | Dialect::Anthropic | Dialect::Gemini => b"text/event-stream",
        Dialect::Ollama => b"application/x-ndjson",
    };
    let is_events = headers.get(CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        essence.eq_ignore_ascii_case(content_type)
    });
    let plain =
        headers.get(CONTENT_ENCODING).is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    is_events && plain
}

/// Whether these headers announce a stream in whatever framing.
pub(super) fn announce_any_stream(headers: &HeaderMap) -> bool {
    const STREAMS: [&[u8]; 4] = [
        b"text/event-stream",
        b"application/x-ndjson",
        b"application/vnd.amazon.eventstream",
        b"application/stream+json",
    ];
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        STREAMS.iter().any(|stream| essence.eq_ignore_ascii_case(stream))
    })
}

/// Makes the headers of an answer those of the same in another dialect.
pub(super) fn of_translated(headers: &mut HeaderMap, dialect: Dialect, events: bool) {
    for name in [CONTENT_LENGTH, CONTENT_ENCODING] {
        headers.remove(name);
    }
    let content_type = match (events, dialect) {
        (false, _) => "application/json",
        (true, Dialect::Ollama) => "application/x-ndjson",
        (true, _) => "text/event-stream; charset=utf-8",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
}

/// Names what a request has asked for and its target was not told.
pub(super) fn tell_dropped(headers: &mut HeaderMap, dropped: &[String]) {
    if dropped.is_empty() {
        return;
    }
    let is_plain = |c: &char| c.is_ascii_graphic() || *c == ' ';
    let text: String = dropped.join(", ").chars().filter(is_plain).take(DROPPED_BYTES_MAX).collect();
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(DROPPED, value);
    }
}

fn not_buffered(headers: &mut HeaderMap) {
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
}

/// Goes through the few headers that there are: looking each of two dozen names up costs more. What `connection` names
/// goes with it.
fn remove_where(headers: &mut HeaderMap, is_unwanted: impl Fn(&str) -> bool) {
    let mut unwanted: Vec<HeaderName> =
        headers.keys().filter(|name| is_unwanted(name.as_str())).cloned().collect();
    if unwanted.contains(&CONNECTION) {
        let named =
            headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
        unwanted.extend(named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()));
    }
    for name in unwanted {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a value"));
        }
        map
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_is_for_one_hop_stays_on_it() {
        let headers = map(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("authorization", "Bearer sk-client"),
            ("x-api-key", "sk-client"),
            ("x-goog-api-key", "sk-client"),
            ("x_goog_api_key", "sk-client"),
            ("anthropic-beta", "a"),
            ("cookie", "a=b"),
            ("openai-beta", "assistants=v2"),
            ("content_length", "1"),
            ("transfer_encoding", "chunked"),
            ("x_api-key", "sk-client"),
            ("trace_id", "1"),
            ("traceparent", "00-1-1-00"),
        ]);
        let kept = upstream(headers.clone(), false);
        assert_eq!(names(&kept), ["anthropic-beta", "openai-beta", "trace_id", "traceparent"]);
        assert_eq!(upstream(headers, true)[ACCEPT_ENCODING], "identity");
    }

    #[test]
    fn answers_lose_cookies_and_keep_the_upstreams_request_id_beside_ours() {
        let mut headers = map(&[
            ("set-cookie", "a=b"),
            ("transfer-encoding", "chunked"),
            ("x-request-id", "req_1"),
            ("content-length", "10"),
            ("openai-processing-ms", "7"),
        ]);
        downstream(&mut headers, true);
        assert_eq!(
            names(&headers),
            ["cache-control", "openai-processing-ms", "x-accel-buffering", "x-upstream-request-id"]
        );
    }

    #[test]
    fn event_streams_are_known_by_their_type() {
        for (headers, expected) in [
            (&[("content-type", "text/event-stream")][..], true),
            (&[("content-type", "Text/Event-Stream; charset=utf-8")][..], true),
            (&[("content-type", "text/event-stream"), ("content-encoding", "gzip")][..], false),
            (&[("content-type", "text/event-streams")][..], false),
            (&[("content-type", "application/json")][..], false),
            (&[][..], false),
        ] {
            assert_eq!(announce_events(&map(headers), Dialect::OpenAi), expected, "{headers:?}");
        }
        let lines = map(&[("content-type", "application/x-ndjson")]);
        assert!(announce_events(&lines, Dialect::Ollama) && !announce_events(&lines, Dialect::Gemini));
        assert_eq!(early(Dialect::Ollama)[CONTENT_TYPE], "application/x-ndjson");
    }
}
