//! Reads errors (Cohere API Reference, "Errors"): an object with a `message`, whose status says the rest.

use http::HeaderMap;
use serde_json::Value;

use crate::api::verdict::retry_after;
use crate::dialects::conversation::{Failure, FailureKind};

/// Characters of an error that is no JSON and is passed on.
const TEXT_CHARS_MAX: usize = 1000;

/// An error in place of an answer.
pub(super) fn failure(status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut message = match object["message"].as_str().or_else(|| object["error"].as_str()) {
        Some(message) => message.to_owned(),
        None if object.is_null() => String::from_utf8_lossy(body).trim().chars().take(TEXT_CHARS_MAX).collect(),
        None => String::new(),
    };
    if message.trim().is_empty() {
        message = format!("the upstream answered with status {status}");
    }
    let mut failure = Failure::new(status, message);
    failure.retry_after = retry_after(headers);
    let words = failure.message.to_ascii_lowercase();
    match status {
        // Two of its own: a token that is not valid, a request that was given up.
        498 => (failure.kind, failure.status) = (FailureKind::Unauthenticated, 401),
        499 => (failure.kind, failure.status) = (FailureKind::Timeout, 408),
        // The trial's calls of a month do not come back soon.
        429 if words.contains("month") => failure.kind = FailureKind::Billing,
        400 | 413 | 422 if words.contains("too many tokens") || words.contains("context length") => {
            failure.code = Some("context_length_exceeded".to_owned());
        }
        _ => {}
    }
    failure
}

/// An error in a stream, which had begun well.
pub(super) fn of_event(word: &str, event: &Value) -> Failure {
    let message = ["error", "message"].iter().find_map(|name| event[*name].as_str());
    let status = if word == "TIMEOUT" { 504 } else { 500 };
    let message = message.unwrap_or("the model broke off");
    Failure { code: Some(word.to_owned()), ..Failure::new(status, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_words_say_what_happened() {
        for (status, message, kind, code) in [
            (400, "invalid request: message must be at least 1 token long", FailureKind::BadRequest, None),
            (
                400,
                "too many tokens: total number of tokens in the prompt cannot exceed 4081",
                FailureKind::BadRequest,
                Some("context_length_exceeded"),
            ),
            (401, "invalid api token", FailureKind::Unauthenticated, None),
            (402, "Please add or update your payment method", FailureKind::Billing, None),
            (404, "model 'x' not found", FailureKind::NotFound, None),
            (429, "You are past the per minute request limit", FailureKind::RateLimited, None),
            (429, "limited to 1000 API calls / month", FailureKind::Billing, None),
            (498, "invalid token", FailureKind::Unauthenticated, None),
            (499, "request cancelled", FailureKind::Timeout, None),
            (500, "internal server error", FailureKind::Server, None),
            (503, "service unavailable", FailureKind::Overloaded, None),
        ] {
            let body = serde_json::json!({ "id": "x", "message": message }).to_string();
            let failure = failure(status, &HeaderMap::new(), body.as_bytes());
            assert_eq!((failure.kind, failure.code.as_deref(), &*failure.message), (kind, code, message));
        }
        assert_eq!(failure(502, &HeaderMap::new(), b"<html>").message, "<html>");
    }
}
