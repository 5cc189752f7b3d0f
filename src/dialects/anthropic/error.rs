//! Errors (Anthropic API reference, errors). What runs on Google's cloud has errors in Google's form too.

use http::HeaderMap;
use serde_json::{Value, json};

use crate::api::verdict;
use crate::dialects::conversation::{Failure, FailureKind};

/// What other dialects call a prompt that is too long.
const TOO_LONG: &str = "context_length_exceeded";
/// How Anthropic's message begins in that case. Clients of the dialect look for it: Claude Code then shortens its history.
const TOO_LONG_WORDS: &str = "prompt is too long";
/// How it begins when there is no credit, which has the type of a bad request.
const NO_CREDIT_WORDS: &str = "credit balance is too low";

/// Types and the status that goes with each.
const TYPES: [(&str, FailureKind, u16); 11] = [
    ("invalid_request_error", FailureKind::BadRequest, 400),
    ("authentication_error", FailureKind::Unauthenticated, 401),
    ("billing_error", FailureKind::Billing, 402),
    ("permission_error", FailureKind::Forbidden, 403),
    ("not_found_error", FailureKind::NotFound, 404),
    ("conflict_error", FailureKind::Conflict, 409),
    ("request_too_large", FailureKind::TooLarge, 413),
    ("rate_limit_error", FailureKind::RateLimited, 429),
    ("api_error", FailureKind::Server, 500),
    ("timeout_error", FailureKind::Timeout, 504),
    ("overloaded_error", FailureKind::Overloaded, 529),
];

/// An error that took the place of an answer.
pub(super) fn of_answer(status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    // Google's streams of JSON put it into a list.
    let body = body.get(0).unwrap_or(&body);
    let mut failure = read(body, Some(status));
    failure.retry_after = verdict::retry_after(headers);
    failure
}

/// The error of an `error` event.
pub(super) fn of_event(data: &Value) -> Failure {
    read(data, None)
}

/// With the status that it came with; one inside a stream has that of its type.
fn read(body: &Value, status: Option<u16>) -> Failure {
    let error = body.get("error").unwrap_or(&Value::Null);
    let text = |name: &str| error.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let code = text("type").or_else(|| text("status"));
    let known = TYPES.iter().find(|(name, ..)| Some(*name) == code);
    let google = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let status = status.or_else(|| known.map(|(.., status)| *status)).or(google).unwrap_or(500);
    let message = text("message").or_else(|| error.as_str()).or_else(|| body.get("message")?.as_str());
    let message = message.map_or_else(|| format!("The provider answered with status {status}."), str::to_owned);
    let mut failure = Failure::new(status, message);
    failure.code = code.map(str::to_owned);
    // Its types say more than its statuses, but for those of every request that is refused and of every fault.
    let is_vague = |kind: FailureKind| matches!(kind, FailureKind::BadRequest | FailureKind::Server);
    if let Some((_, kind, _)) = known.filter(|(_, kind, _)| !is_vague(*kind)) {
        failure.kind = *kind;
    }
    if failure.message.contains(NO_CREDIT_WORDS) {
        failure.kind = FailureKind::Billing;
    } else if failure.kind == FailureKind::BadRequest && failure.message.contains(TOO_LONG_WORDS) {
        failure.code = Some(TOO_LONG.to_owned());
    }
    failure
}

/// The status and the body of an error.
pub(super) fn write(failure: &Failure, request_id: &str) -> (u16, Vec<u8>) {
    let status = TYPES.iter().find(|(_, kind, _)| *kind == failure.kind).map_or(500, |(.., status)| *status);
    (status, body(failure, request_id).to_string().into_bytes())
}

/// The body, which is also what an `error` event says.
pub(super) fn body(failure: &Failure, request_id: &str) -> Value {
    let kind = TYPES.iter().find(|(_, kind, _)| *kind == failure.kind).map_or("api_error", |(name, ..)| *name);
    let is_too_long = failure.code.as_deref() == Some(TOO_LONG) && !failure.message.contains(TOO_LONG_WORDS);
    let message =
        if is_too_long { format!("{TOO_LONG_WORDS}: {}", failure.message) } else { failure.message.clone() };
    json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": request_id })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn failure(status: u16, body: &Value) -> Failure {
        of_answer(status, &HeaderMap::new(), body.to_string().as_bytes())
    }

    #[test]
    fn each_kind_has_its_type_and_comes_back() {
        for kind in FailureKind::ALL {
            let (status, body) = write(&Failure { kind, ..Failure::new(418, "m") }, "req_1");
            let back = of_answer(status, &HeaderMap::new(), &body);
            assert_eq!((back.kind, back.status, &*back.message), (kind, status, "m"));
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!((&body["type"], &body["request_id"]), (&json!("error"), &json!("req_1")));
        }
    }

    #[test]
    fn what_the_provider_says_is_understood() {
        let error = |kind: &str, message: &str| json!({"type":"error","error":{"type":kind,"message":message}});
        for (status, body, kind, code) in [
            (400, error("invalid_request_error", "prompt is too long: 9 > 8"), FailureKind::BadRequest, TOO_LONG),
            (
                400,
                error("invalid_request_error", "Your credit balance is too low"),
                FailureKind::Billing,
                "invalid_request_error",
            ),
            (503, error("api_error", "x"), FailureKind::Overloaded, "api_error"),
            (422, error("invalid_request_error", "x"), FailureKind::BadRequest, "invalid_request_error"),
            (500, error("overloaded_error", "Overloaded"), FailureKind::Overloaded, "overloaded_error"),
            (
                429,
                json!([{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED"}}]),
                FailureKind::RateLimited,
                "RESOURCE_EXHAUSTED",
            ),
        ] {
            let failure = failure(status, &body);
            assert_eq!((failure.kind, failure.code.as_deref()), (kind, Some(code)), "{body}");
        }
        let page = of_answer(502, &HeaderMap::new(), b"<html>");
        assert_eq!((page.kind, &*page.message), (FailureKind::Server, "The provider answered with status 502."));
    }

    #[test]
    fn how_long_to_wait_is_kept() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", http::HeaderValue::from_static("7"));
        assert_eq!(of_answer(429, &headers, b"{}").retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn clients_recognise_a_prompt_that_is_too_long_for_any_provider() {
        let failure = Failure { code: Some(TOO_LONG.into()), ..Failure::new(400, "maximum context length is 8") };
        let message = body(&failure, "r")["error"]["message"].clone();
        assert_eq!(message, "prompt is too long: maximum context length is 8");
    }
}
