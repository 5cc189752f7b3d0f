//! `OpenAI`'s errors, in place of an answer and inside a stream (`OpenAI` API reference, errors).

use http::HeaderMap;
use serde_json::{Value, json};

use super::members::{some_text, text};
use crate::api::verdict::retry_after;
use crate::dialects::conversation::{Failure, FailureKind};

/// Bytes of an error that is no JSON which are told.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Reads an error in place of an answer: `OpenAI`'s form, a bare `message` or `detail` as compatible servers have it, or
/// `xAI`'s, whose `error` is the text.
pub(super) fn read(status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
    let parsed = serde_json::from_slice(body).unwrap_or(Value::Null);
    let mut failure = of_object(&parsed).unwrap_or_else(|| Failure::new(status, words(body)));
    let of_words = kind_of_words(failure.code.as_deref());
    failure.status = status;
    failure.kind = of_words
        .filter(|kind| *kind == FailureKind::Billing || status == 400)
        .unwrap_or_else(|| FailureKind::of_status(status));
    failure.retry_after = retry_after(headers);
    failure
}

/// Reads the error of a stream's event, whose members are flat or in an `error` of its own, or of a failed response.
pub(super) fn of_event(value: &Value) -> Failure {
    let mut failure = of_object(value).unwrap_or_else(|| Failure::new(500, "the provider failed"));
    let kind = kind_of_words(failure.code.as_deref()).unwrap_or(FailureKind::Server);
    failure.kind = kind;
    failure.status = status(kind);
    failure
}

/// Reads the error of a whole response that failed, or that came in the place of one with the status of a success.
pub(super) fn in_answer(body: &[u8]) -> Option<Failure> {
    let response: Value = serde_json::from_slice(body).ok()?;
    let has_failed = matches!(text(&response, "status"), Some("failed" | "cancelled"));
    (has_failed || response.get("error").is_some_and(Value::is_object)).then(|| of_event(&response))
}

/// What is in an object of an error; `None` if there is nothing.
fn of_object(value: &Value) -> Option<Failure> {
    let inner = match value.get("error") {
        Some(inner @ Value::Object(_)) => inner,
        _ => value,
    };
    let message = ["message", "error", "detail"].into_iter().find_map(|name| some_text(inner, name));
    let code = match inner.get("code") {
        Some(Value::String(code)) if !code.is_empty() => Some(code.clone()),
        Some(Value::Number(code)) => Some(code.to_string()),
        _ => text(inner, "type").filter(|kind| !kind.is_empty() && *kind != "error").map(str::to_owned),
    };
    if message.is_none() && code.is_none() {
        return None;
    }
    let message = message.or(code.as_deref()).unwrap_or_default();
    Some(Failure {
        code: code.clone(),
        param: text(inner, "param").map(str::to_owned),
        ..Failure::new(500, message)
    })
}

fn words(body: &[u8]) -> String {
    let told = String::from_utf8_lossy(&body[..body.len().min(MESSAGE_BYTES_MAX)]).trim().to_owned();
    if told.is_empty() || told.starts_with('<') { "the provider gave no reason".into() } else { told }
}

/// What a code or a type means; `None` where the status says it as well.
fn kind_of_words(code: Option<&str>) -> Option<FailureKind> {
    Some(match code? {
        "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active" => FailureKind::Billing,
        "rate_limit_exceeded" | "rate_limit_error" | "tokens" | "requests" | "429" => FailureKind::RateLimited,
        "invalid_api_key" | "authentication_error" | "401" => FailureKind::Unauthenticated,
        "permission_error" | "403" => FailureKind::Forbidden,
        "model_not_found" | "not_found_error" | "DeploymentNotFound" | "404" => FailureKind::NotFound,
        "overloaded" | "overloaded_error" | "server_overloaded" | "slow_down" | "503" => FailureKind::Overloaded,
        "timeout" | "timeout_error" | "vector_store_timeout" | "504" => FailureKind::Timeout,
        "server_error" | "api_error" | "internal_error" | "500" => FailureKind::Server,
        "invalid_request_error" | "invalid_prompt" | "context_length_exceeded" | "content_filter" | "400" => {
            FailureKind::BadRequest
        }
        code if code.contains("image") || code.ends_with("_policy") || code.starts_with("invalid_") => {
            FailureKind::BadRequest
        }
        _ => return None,
    })
}

fn status(kind: FailureKind) -> u16 {
    match kind {
        FailureKind::BadRequest => 400,
        FailureKind::Unauthenticated => 401,
        FailureKind::Forbidden => 403,
        FailureKind::NotFound => 404,
        FailureKind::Conflict => 409,
        FailureKind::TooLarge => 413,
        // No credit has the status of too many requests, and its code tells it apart.
        FailureKind::RateLimited | FailureKind::Billing => 429,
        FailureKind::Timeout => 504,
        FailureKind::Overloaded => 503,
        FailureKind::Server => 500,
    }
}

/// The `type` of an error, and its `code` where the provider has none.
fn words_of(kind: FailureKind) -> (&'static str, Option<&'static str>) {
    const REQUEST: &str = "invalid_request_error";
    match kind {
        FailureKind::BadRequest | FailureKind::Conflict => (REQUEST, None),
        FailureKind::Unauthenticated => ("authentication_error", Some("invalid_api_key")),
        FailureKind::Billing => ("insufficient_quota", Some("insufficient_quota")),
        FailureKind::Forbidden => ("permission_error", Some("permission_denied")),
        FailureKind::NotFound => (REQUEST, Some("model_not_found")),
        FailureKind::TooLarge => (REQUEST, Some("request_too_large")),
        FailureKind::RateLimited => ("rate_limit_error", Some("rate_limit_exceeded")),
        FailureKind::Timeout => ("timeout_error", Some("upstream_timeout")),
        FailureKind::Overloaded => ("overloaded_error", Some("overloaded")),
        FailureKind::Server => ("server_error", Some("server_error")),
    }
}

/// Writes an error in place of an answer.
pub(super) fn write(failure: &Failure, request_id: &str) -> (u16, Vec<u8>) {
    let status = match failure.kind {
        // 422 is told from 400 by SDKs, and one 5xx from another by whoever reads logs.
        FailureKind::BadRequest if failure.status == 422 => 422,
        FailureKind::Server if (500..600).contains(&failure.status) => failure.status,
        kind => status(kind),
    };
    (status, json!({ "error": object(failure, request_id) }).to_string().into_bytes())
}

/// The error object.
pub(super) fn object(failure: &Failure, request_id: &str) -> Value {
    let (kind, code) = words_of(failure.kind);
    json!({
        "message": failure.message,
        "type": kind,
        "param": failure.param,
        "code": failure.code.as_deref().or(code),
        "request_id": request_id,
    })
}

/// The error of a response that failed: its code is never missing, and one of few.
pub(super) fn of_response(failure: &Failure) -> Value {
    let known = match failure.kind {
        FailureKind::RateLimited => "rate_limit_exceeded",
        FailureKind::BadRequest => "invalid_prompt",
        _ => "server_error",
    };
    json!({ "code": failure.code.as_deref().unwrap_or(known), "message": failure.message })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn every_form_is_read() {
        for (status, body, kind, message, code) in [
            (
                401,
                r#"{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
                FailureKind::Unauthenticated,
                "m",
                Some("invalid_api_key"),
            ),
            (
                429,
                r#"{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                FailureKind::Billing,
                "m",
                Some("insufficient_quota"),
            ),
            (429, r#"{"error":{"code":"429","message":"m"}}"#, FailureKind::RateLimited, "m", Some("429")),
            (
                400,
                r#"{"error":{"message":"m","type":"server_error"}}"#,
                FailureKind::Server,
                "m",
                Some("server_error"),
            ),
            (
                400,
                r#"{"code":"Client specified an invalid argument","error":"m"}"#,
                FailureKind::BadRequest,
                "m",
                Some("Client specified an invalid argument"),
            ),
            (404, r#"{"detail":"m"}"#, FailureKind::NotFound, "m", None),
            (502, "<html>", FailureKind::Server, "the provider gave no reason", None),
            (503, "busy", FailureKind::Overloaded, "busy", None),
        ] {
            let failure = read(status, &HeaderMap::new(), body.as_bytes());
            let seen = (failure.kind, &*failure.message, failure.code.as_deref(), failure.status);
            assert_eq!(seen, (kind, message, code, status), "{body}");
        }
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("7"))]);
        assert_eq!(read(429, &headers, b"{}").retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn events_have_no_status_but_words() {
        for (event, kind, status) in [
            (json!({"type":"error","code":"rate_limit_exceeded","message":"m"}), FailureKind::RateLimited, 429),
            (
                json!({"type":"error","error":{"type":"insufficient_quota","message":"m"}}),
                FailureKind::Billing,
                429,
            ),
            (json!({"code":"server_error","message":"m"}), FailureKind::Server, 500),
            (json!({"type":"error","code":null,"message":"m"}), FailureKind::Server, 500),
            (json!({"code":"invalid_image_url","message":"m"}), FailureKind::BadRequest, 400),
        ] {
            let failure = of_event(&event);
            assert_eq!((failure.kind, failure.status, &*failure.message), (kind, status, "m"), "{event}");
        }
    }

    #[test]
    fn every_kind_is_written_so_that_it_is_read_as_the_same() {
        for kind in FailureKind::ALL {
            let failure = Failure { kind, ..Failure::new(status(kind), "m") };
            let (status, body) = write(&failure, "r");
            let back = read(status, &HeaderMap::new(), &body);
            assert_eq!((back.kind, &*back.message), (kind, "m"));
            let object: Value = serde_json::from_slice(&body).expect("JSON");
            let names: Vec<&String> = object["error"].as_object().expect("an object").keys().collect();
            assert_eq!(names, ["message", "type", "param", "code", "request_id"]);
        }
    }
}
