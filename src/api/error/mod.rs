//! What a client is told of an error: status, words and text, in the form of its dialect. The words of every dialect
//! stand in one table (`table.rs`).

mod anthropic;
mod gemini;
mod ollama;
mod openai;
mod table;

use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use self::table::{Row, row};
use crate::api::dialect::Dialect;
use crate::api::endpoint::Ending;
use crate::error::Error;

/// In milliseconds; the SDKs read it before `retry-after`.
pub(super) const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// The SDKs obey it before their own rules by status.
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// SDKs ignore a longer `retry-after` and come back in seconds, in vain.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);

/// What is told, whatever its form.
struct Told<'a> {
    row: Row,
    message: &'a str,
    param: Option<&'a str>,
    retry_after: Option<Duration>,
    request_id: &'a str,
}

impl<'a> Told<'a> {
    fn new(error: &'a Error, request_id: &'a str) -> Self {
        let row = row(error.kind());
        let message = row.message(error);
        Self { row, message, param: error.param(), retry_after: error.retry_after(), request_id }
    }
}

/// The HTTP status that `error` is answered with.
pub fn status(error: &Error, dialect: Dialect) -> StatusCode {
    row(error.kind()).status(dialect)
}

/// The JSON body that `error` is answered with. Detail of the gateway's and the upstreams' faults stays in
/// the log; `request_id` leads there.
pub fn body(error: &Error, dialect: Dialect, request_id: &str) -> Bytes {
    let told = Told::new(error, request_id);
    let body = match dialect {
        Dialect::OpenAi => openai::body(&told),
        Dialect::Anthropic => anthropic::body(&told),
        Dialect::Gemini => gemini::body(&told),
        Dialect::Ollama => ollama::body(&told),
    };
    body.into()
}

/// `error` as the last event of a stream that has already begun, in the dialect of streams that end in this way.
/// `sequence_number` is that of the next event, where events have one.
pub fn event(error: &Error, ending: Ending, request_id: &str, sequence_number: u64) -> Bytes {
    let told = Told::new(error, request_id);
    let event = match ending {
        Ending::Chat | Ending::Transfer => openai::chat_event(&told),
        Ending::Responses => openai::responses_event(&told, sequence_number),
        Ending::Messages => anthropic::event(&told),
        Ending::Gemini => gemini::event(&told),
        Ending::Ollama => ollama::line(&told),
    };
    event.into()
}

/// What follows that event in a chunk of its own, if anything. Google's SDKs for JavaScript and Go take an error in an event
/// for an answer without content; what they raise is an error that comes as it would in place of the stream.
pub fn behind_event(error: &Error, ending: Ending, request_id: &str) -> Option<Bytes> {
    (ending == Ending::Gemini).then(|| body(error, Dialect::Gemini, request_id))
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

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers are always JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::error::Kind;

    const DIALECTS: [Dialect; 4] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini, Dialect::Ollama];
    const ENDINGS: [Ending; 6] =
        [Ending::Chat, Ending::Responses, Ending::Messages, Ending::Gemini, Ending::Ollama, Ending::Transfer];

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
            assert_eq!(status(&error, Dialect::OpenAi).as_u16(), expected_status, "{kind:?}");
            let object = &parsed(&body(&error, Dialect::OpenAi, "r"))["error"];
            assert_eq!(object["type"], expected_type, "{kind:?}");
            assert_eq!(object["code"], expected_code, "{kind:?}");
        }
    }

    #[test]
    fn all_fields_are_present_and_escaped() {
        let error = Error::new(Kind::BadRequest, "a \"quote\"\n").with_param("model");
        let expected = r#"{"error":{"message":"a \"quote\"\n","type":"invalid_request_error","param":"model","code":null,"request_id":"id-1"}}"#;
        assert_eq!(body(&error, Dialect::OpenAi, "id-1"), expected);
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
            let bodies = DIALECTS.map(|dialect| body(&error, dialect, "r"));
            let events = ENDINGS.map(|ending| event(&error, ending, "r", 0));
            for told in bodies.into_iter().chain(events) {
                assert!(!String::from_utf8_lossy(&told).contains("canary"), "{kind:?}");
            }
        }
    }

    #[test]
    fn events_have_the_form_of_their_dialect() {
        let error = Error::new(Kind::StreamTruncated, "");
        let chat = event(&error, Ending::Chat, "r", 7);
        let data = chat.strip_prefix(b"data: ").and_then(|rest| rest.strip_suffix(b"\n\n")).expect("an event");
        assert_eq!(parsed(data)["error"]["code"], "stream_truncated");
        assert!(!data.contains(&b'\n'));

        let responses = event(&error, Ending::Responses, "r", 7);
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
    fn kinds_have_their_words_in_other_dialects() {
        for (kind, of_anthropic, anthropic, of_gemini, gemini) in [
            (Kind::BadRequest, 400, "invalid_request_error", 400, "INVALID_ARGUMENT"),
            (Kind::NotFound, 404, "not_found_error", 404, "NOT_FOUND"),
            (Kind::MethodNotAllowed, 405, "invalid_request_error", 405, "INVALID_ARGUMENT"),
            (Kind::ModelNotFound, 404, "not_found_error", 404, "NOT_FOUND"),
            (Kind::Unauthenticated, 401, "authentication_error", 401, "UNAUTHENTICATED"),
            (Kind::Forbidden, 403, "permission_error", 403, "PERMISSION_DENIED"),
            (Kind::BodyTooLarge, 413, "request_too_large", 413, "INVALID_ARGUMENT"),
            (Kind::RequestTimeout, 408, "invalid_request_error", 408, "INVALID_ARGUMENT"),
            (Kind::RateLimited, 429, "rate_limit_error", 429, "RESOURCE_EXHAUSTED"),
            (Kind::TooManyStreams, 429, "rate_limit_error", 429, "RESOURCE_EXHAUSTED"),
            (Kind::Overloaded, 529, "overloaded_error", 503, "UNAVAILABLE"),
            (Kind::NoTarget, 529, "overloaded_error", 503, "UNAVAILABLE"),
            (Kind::UpstreamUnreachable, 500, "api_error", 502, "INTERNAL"),
            (Kind::UpstreamBroken, 500, "api_error", 502, "INTERNAL"),
            (Kind::UpstreamTimeout, 504, "timeout_error", 504, "DEADLINE_EXCEEDED"),
            (Kind::StreamTruncated, 500, "api_error", 502, "INTERNAL"),
            (Kind::Drained, 529, "overloaded_error", 503, "UNAVAILABLE"),
            (Kind::Internal, 500, "api_error", 500, "INTERNAL"),
        ] {
            let error = Error::new(kind, "d");
            assert_eq!(status(&error, Dialect::Anthropic).as_u16(), of_anthropic, "{kind:?}");
            let told = parsed(&body(&error, Dialect::Anthropic, "r"));
            let message = &told["error"]["message"];
            let expected = json!({
                "type": "error", "error": { "type": anthropic, "message": message }, "request_id": "r"
            });
            assert_eq!(told, expected, "{kind:?}");

            assert_eq!(status(&error, Dialect::Gemini).as_u16(), of_gemini, "{kind:?}");
            let told = parsed(&body(&error, Dialect::Gemini, "r"));
            assert_eq!(told["error"]["code"], of_gemini, "{kind:?}");
            assert_eq!(told["error"]["status"], gemini, "{kind:?}");
            assert_eq!(told["error"]["message"], *message, "{kind:?}");

            assert_eq!(status(&error, Dialect::Ollama), status(&error, Dialect::OpenAi), "{kind:?}");
            assert_eq!(parsed(&body(&error, Dialect::Ollama, "r")), json!({ "error": message }), "{kind:?}");
        }
    }

    #[test]
    fn clients_of_anthropic_are_told_that_no_conversation_is_held() {
        let told = |param: &'static str| {
            parsed(&body(&Error::new(Kind::BadRequest, "d").with_param(param), Dialect::Anthropic, "r"))
        };
        let expected = json!({ "error_code": "thread_unsupported_request" });
        assert_eq!(told("thread")["error"]["details"], expected);
        assert_eq!(told("model")["error"].get("details"), None);
    }

    #[test]
    fn details_have_googles_form() {
        let error =
            Error::new(Kind::RateLimited, "d").with_param("p").with_retry_after(Duration::from_micros(1_500_001));
        let expected = json!([
            { "@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "r" },
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{ "field": "p", "description": "d" }]
            },
            { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.501s" },
        ]);
        assert_eq!(parsed(&body(&error, Dialect::Gemini, "r"))["error"]["details"], expected);
    }

    #[test]
    fn events_of_other_dialects_are_their_bodies_framed() {
        let error = Error::new(Kind::StreamTruncated, "");
        for (ending, dialect, before, after) in [
            (Ending::Messages, Dialect::Anthropic, "event: error\ndata: ", "\n\n"),
            (Ending::Gemini, Dialect::Gemini, "data: ", "\n\n"),
            (Ending::Ollama, Dialect::Ollama, "", "\n"),
        ] {
            let body = body(&error, dialect, "r");
            let expected = [before.as_bytes(), &body, after.as_bytes()].concat();
            assert_eq!(event(&error, ending, "r", 7), expected, "{ending:?}");
        }
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
