//! Errors: reads those that servers of this dialect give, and writes those that its clients understand.

use http::HeaderMap;
use serde_json::{Value, json};

use crate::api::verdict::retry_after;
use crate::dialects::conversation::{Failure, FailureKind};
use crate::dialects::json::{list, owned, some, text};

/// Bytes of a body that is no JSON which are told: a line.
const PLAIN_BYTES_MAX: usize = 300;

/// Whether an event of a stream is an error, in whichever form.
pub(super) fn is_one(chunk: &Value) -> bool {
    let says = some(chunk, "error").is_some_and(|error| match error {
        Value::String(words) => !words.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => false,
    });
    says || chunk.get("object").and_then(Value::as_str) == Some("error")
        || chunk.get("type").and_then(Value::as_str) == Some("error")
}

/// Reads an error that an event of a stream is, or that stands in it. The status was a success before: the error's own
/// words say what it would have been.
pub(super) fn in_stream(chunk: &Value) -> Failure {
    let said = Said::of(chunk);
    let status = said.status.or_else(|| of_word(&said)).unwrap_or(500);
    said.failure(status)
}

/// Reads an error that a whole answer is, or one of its choices, with the status of a success (`OpenRouter`, "Errors").
pub(super) fn in_answer(body: &[u8]) -> Option<Failure> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let found = [&answer].into_iter().chain(list(&answer, "choices")).find(|value| is_one(value));
    found.map(in_stream)
}

/// Reads an error in place of an answer.
pub(super) fn of_answer(status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
    let failure = match serde_json::from_slice::<Value>(body) {
        Ok(value) => Said::of(&value).failure(status),
        Err(_) => Failure::new(status, plain(body).unwrap_or_else(|| nothing(status))),
    };
    Failure { retry_after: retry_after(headers), ..failure }
}

/// The first line of a text; a page for humans is none.
fn plain(body: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(body).ok()?.trim().lines().next()?;
    (line.len() <= PLAIN_BYTES_MAX && !line.starts_with('<')).then(|| line.to_owned())
}

fn nothing(status: u16) -> String {
    format!("The provider answered with status {status}.")
}

/// What an error says, whatever its form: `{"error":{..}}` (`OpenAI`), `{"error":".."}` (xAI, `HuggingFace`), a list of one
/// (Google), flat (vLLM, Mistral), `detail` (`FastAPI`).
struct Said {
    message: Option<String>,
    code: Option<String>,
    kind: Option<String>,
    param: Option<String>,
    /// A code that is an HTTP status.
    status: Option<u16>,
}

impl Said {
    fn of(value: &Value) -> Self {
        let value = value.as_array().and_then(|list| list.first()).unwrap_or(value);
        let inner = some(value, "error").filter(|error| error.is_object()).unwrap_or(value);
        let flat = value.get("error").and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| {
            let code = inner.get(key)?;
            let number = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
            u16::try_from(number).ok().filter(|status| (400..600).contains(status))
        };
        // OpenRouter passes the words of whoever it asked in `metadata`.
        let raw = some(inner, "metadata").and_then(|metadata| text(metadata, "raw")).and_then(plain_raw);
        Self {
            message: raw.or_else(|| words(inner, "message")).or(flat).or_else(|| words(value, "detail")),
            code: owned(inner, "code").filter(|code| code.parse::<u16>().is_err()),
            kind: owned(inner, "type").or_else(|| owned(inner, "status")),
            param: owned(inner, "param"),
            status: number("code").or_else(|| number("status_code")).or_else(|| number("status")),
        }
    }

    fn failure(self, status: u16) -> Failure {
        let known = |word: &str| self.code.as_deref() == Some(word) || self.kind.as_deref() == Some(word);
        let spent = [
            "insufficient_quota",
            "billing_hard_limit_reached",
            "insufficient_balance",
            "exceeded_current_quota_error",
        ];
        let kind = match status {
            // Groq has no capacity left in its tier.
            498 => FailureKind::Overloaded,
            _ if spent.into_iter().any(known) => FailureKind::Billing,
            400 if known("model_not_found") => FailureKind::NotFound,
            status => FailureKind::of_status(status),
        };
        let message = self.message.unwrap_or_else(|| nothing(status));
        Failure { kind, code: self.code.or(self.kind), param: self.param, ..Failure::new(status, message) }
    }
}

/// A member that is a text, or a list of findings (`FastAPI`).
fn words(value: &Value, key: &str) -> Option<String> {
    match some(value, key)? {
        Value::String(words) => Some(words.clone()).filter(|words| !words.is_empty()),
        Value::Object(_) => words(&value[key], "detail").or_else(|| words(&value[key], "message")),
        Value::Array(findings) => {
            let findings = findings.iter().filter_map(|finding| text(finding, "msg").or(finding.as_str()));
            Some(findings.collect::<Vec<_>>().join("; ")).filter(|words| !words.is_empty())
        }
        _ => None,
    }
}

/// What stands in a raw body, if it is an error.
fn plain_raw(raw: &str) -> Option<String> {
    let value: Value = serde_json::from_str(raw).ok()?;
    let inner = some(&value, "error").unwrap_or(&value);
    words(inner, "message")
}

/// The status that an error would have come with, by its words.
fn of_word(said: &Said) -> Option<u16> {
    [&said.code, &said.kind].into_iter().flatten().find_map(|word| {
        Some(match word.as_str() {
            "invalid_request_error" | "bad_request" | "INVALID_ARGUMENT" | "BadRequestError" => 400,
            "authentication_error" | "invalid_api_key" | "UNAUTHENTICATED" => 401,
            "permission_error" | "permission_denied" | "PERMISSION_DENIED" => 403,
            "not_found_error" | "model_not_found" | "NOT_FOUND" => 404,
            "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" | "RESOURCE_EXHAUSTED" => 429,
            "overloaded_error" | "overloaded" | "engine_overloaded_error" | "UNAVAILABLE" => 503,
            "timeout" | "timeout_error" | "DEADLINE_EXCEEDED" => 504,
            _ => return None,
        })
    })
}

/// Writes an error in place of an answer: the status, by which the SDKs choose what they raise, and the body.
pub(crate) fn write(failure: &Failure, request_id: &str) -> (u16, Vec<u8>) {
    let status = row(failure).0;
    (status, json!({ "error": object(failure, Some(request_id)) }).to_string().into_bytes())
}

/// An error as the last event of a stream.
pub(crate) fn event(failure: &Failure, request_id: &str) -> String {
    format!("data: {}\n\n", json!({ "error": object(failure, Some(request_id)) }))
}

fn object(failure: &Failure, request_id: Option<&str>) -> Value {
    let (_, kind, code) = row(failure);
    json!({
        "message": failure.message,
        "type": kind,
        "param": failure.param,
        "code": code,
        "request_id": request_id,
    })
}

/// Status, `type` and `code`.
fn row(failure: &Failure) -> (u16, &'static str, Option<&str>) {
    const REQUEST: &str = "invalid_request_error";
    // Other dialects' names of a kind say nothing that `type` does not.
    let own = failure
        .code
        .as_deref()
        .filter(|code| !code.ends_with("_error") && !code.ends_with("Error") && !code.contains(' '));
    let status = failure.status;
    match failure.kind {
        FailureKind::BadRequest => {
            let code = if is_too_long(&failure.message) { Some("context_length_exceeded") } else { own };
            (if status == 422 { 422 } else { 400 }, REQUEST, code)
        }
        FailureKind::Unauthenticated => (401, "authentication_error", own.or(Some("invalid_api_key"))),
        FailureKind::Billing => (429, "insufficient_quota", Some("insufficient_quota")),
        FailureKind::Forbidden => (403, "permission_error", own.or(Some("permission_denied"))),
        FailureKind::NotFound => (404, REQUEST, own.or(Some("model_not_found"))),
        FailureKind::Conflict => (409, REQUEST, own.or(Some("conflict"))),
        FailureKind::TooLarge => (413, REQUEST, own.or(Some("request_too_large"))),
        FailureKind::RateLimited => (429, "rate_limit_error", own.or(Some("rate_limit_exceeded"))),
        FailureKind::Timeout => (if status == 408 { 408 } else { 504 }, "timeout_error", own.or(Some("timeout"))),
        FailureKind::Overloaded => (503, "overloaded_error", own.or(Some("overloaded"))),
        FailureKind::Server => {
            (if (500..600).contains(&status) { status } else { 500 }, "server_error", own.or(Some("server_error")))
        }
    }
}

/// Whether a prompt is too long for its model. Clients shorten it when they see `OpenAI`'s code, and nobody else has it.
fn is_too_long(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let words = [
        "prompt is too long",
        "maximum context length",
        "context window",
        "input is too long",
        "exceeds the maximum number of tokens",
    ];
    words.into_iter().any(|words| message.contains(words))
}
