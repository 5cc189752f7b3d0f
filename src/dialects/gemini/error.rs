//! Google's errors, read and written (Google Cloud API design guide, "Errors"; `google.rpc.Status`).

use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};

use super::fields::{get, list, many, text, whole};
use crate::api::verdict::retry_after;
use crate::dialects::conversation::{Failure, FailureKind};

/// Reads an error that came in place of an answer.
pub(super) fn read(status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
    let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let mut failure = of_value(&body, status);
    failure.status = status;
    failure.retry_after = retry_after(headers).or(failure.retry_after);
    failure
}

/// Reads an error object, alone or in a list, as streams have it. `status` is that of an error that does not say.
pub(super) fn of_value(body: &Value, status: u16) -> Failure {
    let error = many(body).iter().find_map(|one| get(one, "error"));
    let Some(error) = error.filter(|error| error.is_object()) else {
        let words = error.and_then(Value::as_str).map(str::to_owned);
        return Failure::new(status, words.unwrap_or_else(|| format!("the provider answered {status}")));
    };
    let code = whole(error, "code").and_then(|code| u16::try_from(code).ok());
    let status = code.filter(|code| (400..600).contains(code)).unwrap_or(status);
    let message = text(error, "message").unwrap_or_default();
    let word = text(error, "status");
    let details = list(error, "details");
    let of_type =
        |name: &str| details.iter().find(|detail| text(detail, "@type").is_some_and(|kind| kind.ends_with(name)));
    let reason = of_type("google.rpc.ErrorInfo").and_then(|info| text(info, "reason"));
    let kind = kind(status, word, reason, message);
    let violation = of_type("google.rpc.BadRequest").map(|detail| list(detail, "fieldViolations"));
    let violation = violation.and_then(<[Value]>::first);
    let is_too_long = kind == FailureKind::BadRequest && message.contains("exceeds the maximum number of tokens");
    Failure {
        kind,
        status,
        message: if message.is_empty() { format!("the provider answered {status}") } else { message.to_owned() },
        code: if is_too_long { Some("context_length_exceeded".to_owned()) } else { word.map(str::to_owned) },
        param: violation.and_then(|violation| text(violation, "field")).map(str::to_owned),
        retry_after: of_type("google.rpc.RetryInfo").and_then(|info| text(info, "retryDelay")).and_then(seconds),
    }
}

fn kind(status: u16, word: Option<&str>, reason: Option<&str>, message: &str) -> FailureKind {
    match (word.unwrap_or_default(), reason.unwrap_or_default()) {
        // A wrong key is 400 INVALID_ARGUMENT.
        (_, "API_KEY_INVALID" | "API_KEY_EXPIRED") | ("UNAUTHENTICATED", _) => FailureKind::Unauthenticated,
        (_, "BILLING_DISABLED") => FailureKind::Billing,
        ("RESOURCE_EXHAUSTED", _) if message.contains("credits are depleted") => FailureKind::Billing,
        ("RESOURCE_EXHAUSTED", _) => FailureKind::RateLimited,
        ("PERMISSION_DENIED", _) => FailureKind::Forbidden,
        ("NOT_FOUND", _) => FailureKind::NotFound,
        ("ALREADY_EXISTS" | "ABORTED", _) => FailureKind::Conflict,
        ("DEADLINE_EXCEEDED", _) => FailureKind::Timeout,
        ("UNAVAILABLE", _) => FailureKind::Overloaded,
        ("INTERNAL" | "UNKNOWN" | "DATA_LOSS" | "UNIMPLEMENTED" | "CANCELLED", _) => FailureKind::Server,
        ("INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE", _) if status != 413 => {
            FailureKind::BadRequest
        }
        _ => FailureKind::of_status(status),
    }
}

/// proto3 JSON writes a duration as `34.07s`.
fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.strip_suffix('s')?.parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The status and the word for it, which the SDKs go by.
pub(super) fn status_of(kind: FailureKind) -> (u16, &'static str) {
    match kind {
        FailureKind::BadRequest => (400, "INVALID_ARGUMENT"),
        FailureKind::Unauthenticated => (401, "UNAUTHENTICATED"),
        FailureKind::Forbidden => (403, "PERMISSION_DENIED"),
        FailureKind::NotFound => (404, "NOT_FOUND"),
        FailureKind::Conflict => (409, "ABORTED"),
        FailureKind::TooLarge => (413, "INVALID_ARGUMENT"),
        FailureKind::Billing | FailureKind::RateLimited => (429, "RESOURCE_EXHAUSTED"),
        FailureKind::Server => (500, "INTERNAL"),
        FailureKind::Overloaded => (503, "UNAVAILABLE"),
        FailureKind::Timeout => (504, "DEADLINE_EXCEEDED"),
    }
}

/// Writes an error. The SDKs look for `{"error":` at the beginning of an event.
pub(super) fn write(failure: &Failure, request_id: &str) -> (u16, Value) {
    let (status, word) = status_of(failure.kind);
    let kind = |name: &str| format!("type.googleapis.com/google.rpc.{name}");
    let mut details = Vec::new();
    if !request_id.is_empty() {
        details.push(json!({ "@type": kind("RequestInfo"), "requestId": request_id }));
    }
    if let Some(after) = failure.retry_after {
        let delay = format!("{}s", after.as_secs_f64());
        details.push(json!({ "@type": kind("RetryInfo"), "retryDelay": delay }));
    }
    let mut error = json!({ "code": status, "message": failure.message, "status": word });
    if !details.is_empty() {
        error["details"] = Value::Array(details);
    }
    (status, json!({ "error": error }))
}
