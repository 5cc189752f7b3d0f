//! The one table from [`Kind`] to what a client is told: status, `type`, `code` and text, in OpenAI's form.

use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::error::{Error, Kind};

/// In milliseconds; the SDKs read it before `retry-after`.
pub(super) const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// The SDKs obey it before their own rules by status.
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// SDKs ignore a longer `retry-after` and come back in seconds, in vain.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);

/// What a client is told about one kind of error.
struct Row {
    status: StatusCode,
    r#type: &'static str,
    code: Option<&'static str>,
    text: Text,
    /// `x-should-retry`; `None` leaves it to the client's rules by status.
    retry: Option<bool>,
}

enum Text {
    /// The error's own detail, which was written for the client.
    Detail,
    /// Always the same: the detail may name hosts or quote an upstream.
    Fixed(&'static str),
}

impl Row {
    fn new(status: StatusCode, r#type: &'static str, code: &'static str, text: Text) -> Self {
        Self { status, r#type, code: Some(code), text, retry: None }
    }

    fn without_code(mut self) -> Self {
        self.code = None;
        self
    }

    fn never_again(mut self) -> Self {
        self.retry = Some(false);
        self
    }
}

fn row(kind: Kind) -> Row {
    const REQUEST: &str = "invalid_request_error";
    use StatusCode as S;
    use Text::{Detail, Fixed};
    match kind {
        Kind::BadRequest => Row::new(S::BAD_REQUEST, REQUEST, "", Detail).without_code().never_again(),
        Kind::NotFound => Row::new(S::NOT_FOUND, REQUEST, "unknown_url", Detail).never_again(),
        Kind::MethodNotAllowed => {
            Row::new(S::METHOD_NOT_ALLOWED, REQUEST, "method_not_supported", Detail).never_again()
        }
        Kind::ModelNotFound => Row::new(S::NOT_FOUND, REQUEST, "model_not_found", Detail).never_again(),
        Kind::Unauthenticated => {
            Row::new(S::UNAUTHORIZED, "authentication_error", "invalid_api_key", Detail).never_again()
        }
        Kind::Forbidden => Row::new(S::FORBIDDEN, "permission_error", "permission_denied", Detail).never_again(),
        Kind::BodyTooLarge => Row::new(S::PAYLOAD_TOO_LARGE, REQUEST, "request_too_large", Detail).never_again(),
        Kind::RequestTimeout => Row::new(S::REQUEST_TIMEOUT, REQUEST, "request_timeout", Detail),
        Kind::RateLimited => Row::new(S::TOO_MANY_REQUESTS, "rate_limit_error", "rate_limit_exceeded", Detail),
        Kind::TooManyStreams => {
            Row::new(S::TOO_MANY_REQUESTS, "rate_limit_error", "concurrency_limit_exceeded", Detail)
        }
        Kind::Overloaded => {
            let text = Fixed("The gateway is overloaded. Please try again shortly.");
            Row::new(S::SERVICE_UNAVAILABLE, "overloaded_error", "overloaded", text)
        }
        Kind::NoTarget => {
            let text =
                Fixed("No upstream provider of this model is available right now. Please try again shortly.");
            Row::new(S::SERVICE_UNAVAILABLE, "overloaded_error", "no_upstream_available", text)
        }
        Kind::UpstreamUnreachable => {
            let text = Fixed("The upstream provider could not be reached.");
            Row::new(S::BAD_GATEWAY, "api_error", "upstream_unreachable", text)
        }
        Kind::UpstreamBroken => {
            let text = Fixed("The upstream provider broke off before it answered.");
            Row::new(S::BAD_GATEWAY, "api_error", "upstream_error", text)
        }
        // Asking again waits as long once more, and the provider bills what it goes on generating.
        Kind::UpstreamTimeout => {
            let text = Fixed("The upstream provider did not answer in time.");
            Row::new(S::GATEWAY_TIMEOUT, "timeout_error", "upstream_timeout", text).never_again()
        }
        Kind::StreamTruncated => {
            let text = Fixed("The upstream provider broke off the stream. The answer is incomplete.");
            Row::new(S::BAD_GATEWAY, "api_error", "stream_truncated", text)
        }
        Kind::Drained => {
            let text = Fixed("The gateway is stopping and ended the stream. The answer is incomplete.");
            Row::new(S::SERVICE_UNAVAILABLE, "overloaded_error", "draining", text)
        }
        Kind::Internal => {
            let text = Fixed("The gateway failed to process the request.");
            Row::new(S::INTERNAL_SERVER_ERROR, "server_error", "internal_error", text).never_again()
        }
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Object<'a>,
}

/// OpenAI's error object: all four of its fields, always, and our request id.
#[derive(Serialize)]
struct Object<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: Option<&'static str>,
    request_id: &'a str,
}

/// The flat form of the Responses API, and its fields once more as an `error` object: the OpenAI SDK for Python
/// raises nothing but that, and would end its iteration over the flat form alone as if nothing was wrong.
#[derive(Serialize)]
struct ResponsesEvent<'a> {
    r#type: &'static str,
    code: Option<&'static str>,
    message: &'a str,
    param: Option<&'a str>,
    sequence_number: u64,
    request_id: &'a str,
    error: Object<'a>,
}

/// The HTTP status that `error` is answered with.
pub fn status(error: &Error) -> StatusCode {
    row(error.kind()).status
}

/// The JSON body that `error` is answered with. Detail of the gateway's and the upstreams' faults stays in
/// the log; `request_id` leads there.
pub fn body(error: &Error, request_id: &str) -> Bytes {
    json(&envelope(error, request_id)).into()
}

/// `error` as the last event of a stream that has already begun.
///
/// For chat completions it is un-named, because parsers of that dialect skip named events, and nothing
/// follows: SDKs raise it as they read it, and a `[DONE]` of ours would claim an end which did not come.
/// The Responses dialect has a flat form, with `sequence_number` one above that of the last event sent.
pub fn event(error: &Error, request_id: &str, responses_dialect: bool, sequence_number: u64) -> Bytes {
    let (prefix, data) = if responses_dialect {
        let row = row(error.kind());
        let code = row.code.or(Some(row.r#type));
        let event = ResponsesEvent {
            r#type: "error",
            code,
            message: message(error, &row.text),
            param: error.param(),
            sequence_number,
            request_id,
            error: Object { code, ..envelope(error, request_id).error },
        };
        ("event: error\ndata: ", json(&event))
    } else {
        ("data: ", json(&envelope(error, request_id)))
    };
    [prefix.as_bytes(), &data, b"\n\n"].concat().into()
}

/// The value of `x-should-retry`: `false` where trying again is useless, `None` where the client's own rules
/// are right.
pub fn should_retry(error: &Error) -> Option<bool> {
    if error.retry_after().is_some_and(|after| after > RETRY_AFTER_MAX) {
        return Some(false);
    }
    row(error.kind()).retry
}

/// Writes what `error` says about trying again: `retry-after` (whole seconds, rounded up, at least 1),
/// `retry-after-ms` and `x-should-retry`.
pub fn apply_retry(error: &Error, headers: &mut HeaderMap) {
    if let Some(after) = error.retry_after() {
        let millis = after.as_nanos().div_ceil(1_000_000);
        let seconds = millis.div_ceil(1000).max(1);
        headers.insert(RETRY_AFTER, number(seconds));
        headers.insert(RETRY_AFTER_MS, number(millis.max(1)));
    }
    if let Some(retry) = should_retry(error) {
        let value = if retry { "true" } else { "false" };
        headers.insert(X_SHOULD_RETRY, HeaderValue::from_static(value));
    }
}

fn number(value: u128) -> HeaderValue {
    HeaderValue::from(u64::try_from(value).unwrap_or(u64::MAX))
}

fn envelope<'a>(error: &'a Error, request_id: &'a str) -> Envelope<'a> {
    let row = row(error.kind());
    Envelope {
        error: Object {
            message: message(error, &row.text),
            r#type: row.r#type,
            param: error.param(),
            code: row.code,
            request_id,
        },
    }
}

fn message<'a>(error: &'a Error, text: &Text) -> &'a str {
    match text {
        Text::Detail => error.detail(),
        Text::Fixed(text) => text,
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers are always JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).expect("JSON")
    }

    #[test]
    fn kinds_have_their_status_type_and_code() {
        for (kind, expected_status, expected_type, expected_code) in [
            (Kind::BadRequest, 400, "invalid_request_error", Value::Null),
            (Kind::NotFound, 404, "invalid_request_error", json!("unknown_url")),
            (Kind::MethodNotAllowed, 405, "invalid_request_error", json!("method_not_supported")),
            (Kind::ModelNotFound, 404, "invalid_request_error", json!("model_not_found")),
            (Kind::Unauthenticated, 401, "authentication_error", json!("invalid_api_key")),
            (Kind::Forbidden, 403, "permission_error", json!("permission_denied")),
            (Kind::BodyTooLarge, 413, "invalid_request_error", json!("request_too_large")),
            (Kind::RequestTimeout, 408, "invalid_request_error", json!("request_timeout")),
            (Kind::RateLimited, 429, "rate_limit_error", json!("rate_limit_exceeded")),
            (Kind::TooManyStreams, 429, "rate_limit_error", json!("concurrency_limit_exceeded")),
            (Kind::Overloaded, 503, "overloaded_error", json!("overloaded")),
            (Kind::UpstreamUnreachable, 502, "api_error", json!("upstream_unreachable")),
            (Kind::UpstreamBroken, 502, "api_error", json!("upstream_error")),
            (Kind::UpstreamTimeout, 504, "timeout_error", json!("upstream_timeout")),
            (Kind::StreamTruncated, 502, "api_error", json!("stream_truncated")),
            (Kind::Drained, 503, "overloaded_error", json!("draining")),
            (Kind::Internal, 500, "server_error", json!("internal_error")),
        ] {
            let error = Error::new(kind, "d");
            assert_eq!(status(&error).as_u16(), expected_status, "{kind:?}");
            let object = &parsed(&body(&error, "r"))["error"];
            assert_eq!(object["type"], expected_type, "{kind:?}");
            assert_eq!(object["code"], expected_code, "{kind:?}");
        }
    }

    #[test]
    fn all_fields_are_present_and_escaped() {
        let error = Error::new(Kind::BadRequest, "a \"quote\"\n").with_param("model");
        let expected = r#"{"error":{"message":"a \"quote\"\n","type":"invalid_request_error","param":"model","code":null,"request_id":"id-1"}}"#;
        assert_eq!(body(&error, "id-1"), expected);
    }

    #[test]
    fn faults_of_the_gateway_and_upstreams_keep_their_detail() {
        for kind in [
            Kind::Internal,
            Kind::Overloaded,
            Kind::Drained,
            Kind::UpstreamUnreachable,
            Kind::UpstreamBroken,
            Kind::UpstreamTimeout,
            Kind::StreamTruncated,
        ] {
            let error = Error::new(kind, "sk-canary at 10.0.0.1").with_source("sk-canary");
            for told in [body(&error, "r"), event(&error, "r", false, 0), event(&error, "r", true, 0)] {
                assert!(!String::from_utf8_lossy(&told).contains("canary"), "{kind:?}");
            }
        }
    }

    #[test]
    fn events_have_the_form_of_their_dialect() {
        let error = Error::new(Kind::StreamTruncated, "");
        let chat = event(&error, "r", false, 7);
        let data = chat.strip_prefix(b"data: ").and_then(|rest| rest.strip_suffix(b"\n\n")).expect("an event");
        assert_eq!(parsed(data)["error"]["code"], "stream_truncated");
        assert!(!data.contains(&b'\n'));

        let responses = event(&error, "r", true, 7);
        let data = responses.strip_prefix(b"event: error\ndata: ").expect("a named event");
        let object = parsed(data);
        assert_eq!(object["type"], "error");
        assert_eq!(object["code"], "stream_truncated");
        assert_eq!(object["param"], Value::Null);
        assert_eq!(object["sequence_number"], 7);
        assert!(object["message"].is_string());
        for field in ["message", "param", "code", "request_id"] {
            assert_eq!(object["error"][field], object[field], "{field}");
        }
        assert_eq!(object["error"]["type"], "api_error");
        assert!(data.ends_with(b"}\n\n"));
    }

    #[test]
    fn retry_headers_round_up() {
        for (kind, after_us, seconds, millis, should) in [
            (Kind::RateLimited, Some(1), Some("1"), Some("1"), None),
            (Kind::RateLimited, Some(1_000_000), Some("1"), Some("1000"), None),
            (Kind::RateLimited, Some(1_000_001), Some("2"), Some("1001"), None),
            (Kind::RateLimited, Some(61_000_000), Some("61"), Some("61000"), Some("false")),
            (Kind::Overloaded, None, None, None, None),
            (Kind::BadRequest, None, None, None, Some("false")),
        ] {
            let mut error = Error::new(kind, "");
            if let Some(micros) = after_us {
                error = error.with_retry_after(Duration::from_micros(micros));
            }
            let mut headers = HeaderMap::new();
            apply_retry(&error, &mut headers);
            let value = |name: &str| headers.get(name).map(|value| value.to_str().expect("ASCII"));
            assert_eq!(
                (value("retry-after"), value("retry-after-ms"), value("x-should-retry")),
                (seconds, millis, should),
                "{kind:?} {after_us:?}"
            );
        }
    }
}
