//! Reads errors (Amazon Bedrock API Reference, Converse and `ConverseStream`, "Errors"; Smithy, "AWS JSON protocols": where
//! an error's name is).

use http::HeaderMap;
use serde_json::Value;

use crate::api::verdict::retry_after;
use crate::dialects::conversation::{Failure, FailureKind};

/// Characters of an error that is no JSON and is passed on.
const TEXT_CHARS_MAX: usize = 1000;

/// An error in place of an answer.
pub(super) fn failure(status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    let header = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let word = header.or_else(|| object["__type"].as_str()).or_else(|| object["code"].as_str());
    let mut message = message(&object);
    if message.is_empty() && object.is_null() {
        message = String::from_utf8_lossy(body).trim().chars().take(TEXT_CHARS_MAX).collect();
    }
    let mut failure = of(status, word.map(name), message);
    failure.retry_after = retry_after(headers);
    original(&object, &mut failure);
    failure
}

/// An exception or an error in a stream, by its name.
pub(super) fn of_event(word: &str, body: &Value) -> Failure {
    let mut message = message(body);
    if let Some(original) = body["originalMessage"].as_str().filter(|original| !message.contains(original)) {
        message = format!("{message} ({original})");
    }
    let mut failure = of(500, Some(word), message);
    original(body, &mut failure);
    failure
}

/// Where the model itself failed, the API tells the status that the model gave, which says more.
fn original(body: &Value, failure: &mut Failure) {
    let status = body["originalStatusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
    if let Some(status) = status.filter(|status| (400..600).contains(status)) {
        (failure.kind, failure.status) = (FailureKind::of_status(status), status);
    }
}

fn message(object: &Value) -> String {
    let words = ["message", "Message", "errorMessage"];
    words.iter().find_map(|word| object[*word].as_str()).unwrap_or_default().to_owned()
}

/// The name alone, of `com.amazon.coral.service#ThrottlingException` or `ThrottlingException:http://...`.
fn name(word: &str) -> &str {
    let word = word.split(':').next().unwrap_or(word);
    word.rsplit('#').next().unwrap_or(word)
}

fn of(status: u16, name: Option<&str>, mut message: String) -> Failure {
    if message.trim().is_empty() {
        message = name.map_or_else(|| format!("the upstream answered with status {status}"), str::to_owned);
    }
    let known = name.and_then(known);
    let (mut kind, mut status) = match known {
        Some((kind, known)) => (kind, known),
        None if status == 424 => (FailureKind::Server, status),
        None => (FailureKind::of_status(status), status),
    };
    let mut code = name.map(str::to_owned);
    if kind == FailureKind::BadRequest {
        if is_too_long(&message) {
            code = Some("context_length_exceeded".to_owned());
        } else if message.contains("model identifier is invalid") {
            (kind, status) = (FailureKind::NotFound, 404);
        }
    }
    Failure { kind, code, ..Failure::new(status, message) }
}

/// What a name means. Those of a stream's exceptions begin with a small letter, and some have no `Exception` at the end.
fn known(name: &str) -> Option<(FailureKind, u16)> {
    let name = name.to_ascii_lowercase();
    Some(match name.strip_suffix("exception").unwrap_or(&name) {
        "validation" | "serialization" => (FailureKind::BadRequest, 400),
        "accessdenied" => (FailureKind::Forbidden, 403),
        "unrecognizedclient"
        | "expiredtoken"
        | "invalidsignature"
        | "incompletesignature"
        | "missingauthenticationtoken"
        | "invalidclienttokenid"
        | "unauthorized" => (FailureKind::Unauthenticated, 401),
        "resourcenotfound" | "unknownoperation" => (FailureKind::NotFound, 404),
        "conflict" => (FailureKind::Conflict, 409),
        "requestentitytoolarge" => (FailureKind::TooLarge, 413),
        "throttling" | "throttled" | "toomanyrequests" | "servicequotaexceeded" | "modelnotready" => {
            (FailureKind::RateLimited, 429)
        }
        "modeltimeout" | "requesttimeout" => (FailureKind::Timeout, 408),
        "modelerror" | "modelstreamerror" => (FailureKind::Server, 424),
        "serviceunavailable" => (FailureKind::Overloaded, 503),
        "internalserver" | "internalfailure" | "internalerror" => (FailureKind::Server, 500),
        _ => return None,
    })
}

/// What the makers of the models say of a request that does not fit.
fn is_too_long(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "input is too long",
        "prompt is too long",
        "input tokens exceeded",
        "maximum context length",
        "context window",
    ]
    .iter()
    .any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    #[test]
    fn names_say_what_happened() {
        for (status, header, body, kind, code) in [
            (429, "ThrottlingException", r#"{"message":"slow"}"#, FailureKind::RateLimited, "ThrottlingException"),
            (
                400,
                "ServiceQuotaExceededException:http://internal.amazon.com/coral/",
                r#"{"Message":"quota"}"#,
                FailureKind::RateLimited,
                "ServiceQuotaExceededException",
            ),
            (
                403,
                "",
                r#"{"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"bad"}"#,
                FailureKind::Unauthenticated,
                "UnrecognizedClientException",
            ),
            (403, "AccessDeniedException", "{}", FailureKind::Forbidden, "AccessDeniedException"),
            (
                400,
                "ValidationException",
                r#"{"message":"Input is too long for requested model."}"#,
                FailureKind::BadRequest,
                "context_length_exceeded",
            ),
            (
                400,
                "ValidationException",
                r#"{"message":"The provided model identifier is invalid."}"#,
                FailureKind::NotFound,
                "ValidationException",
            ),
            (424, "ModelErrorException", "{}", FailureKind::Server, "ModelErrorException"),
            (408, "ModelTimeoutException", "{}", FailureKind::Timeout, "ModelTimeoutException"),
            (503, "ServiceUnavailableException", "{}", FailureKind::Overloaded, "ServiceUnavailableException"),
        ] {
            let mut headers = HeaderMap::new();
            if !header.is_empty() {
                headers.insert("x-amzn-errortype", HeaderValue::from_static(header));
            }
            let failure = failure(status, &headers, body.as_bytes());
            assert_eq!((failure.kind, failure.code.as_deref()), (kind, Some(code)), "{header}{body}");
        }
        let plain = failure(502, &HeaderMap::new(), b"<html>bad gateway</html>");
        assert_eq!((plain.kind, &*plain.message), (FailureKind::Server, "<html>bad gateway</html>"));
    }

    #[test]
    fn exceptions_in_streams_have_their_class() {
        let body = json!({ "message": "broke", "originalStatusCode": 500, "originalMessage": "no memory" });
        let failure = of_event("modelStreamErrorException", &body);
        assert_eq!((failure.kind, &*failure.message), (FailureKind::Server, "broke (no memory)"));
        let body = json!({ "message": "too fast", "originalStatusCode": 429 });
        assert_eq!(of_event("modelStreamErrorException", &body).kind, FailureKind::RateLimited);
        assert_eq!(of_event("throttlingException", &json!({})).kind, FailureKind::RateLimited);
        assert_eq!(of_event("InternalError", &json!({})).kind, FailureKind::Server);
        assert_eq!(of_event("news", &json!({})).kind, FailureKind::Server);
    }
}
