//! Errors: `{"error": "words"}`, in place of an answer or as a line of a stream.

use http::HeaderMap;
use serde_json::{Value, json};

use crate::api::verdict::retry_after;
use crate::dialects::conversation::{Failure, FailureKind};

/// The status and the body of an error.
pub(super) fn write(failure: &Failure) -> (u16, Vec<u8>) {
    let is_told = failure.status >= 400 && FailureKind::of_status(failure.status) == failure.kind;
    let status = if is_told { failure.status } else { status_of(failure.kind) };
    (status, object(failure).to_string().into_bytes())
}

/// The object, which is a stream's last line as well.
pub(super) fn object(failure: &Failure) -> Value {
    json!({ "error": failure.message })
}

/// Reads an error with its status.
pub(super) fn read(status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = words(&object).unwrap_or_else(|| format!("the upstream answered with status {status}"));
    Failure { retry_after: retry_after(headers), ..Failure::new(status, message) }
}

/// Reads the line of a stream that is an error.
pub(super) fn of_line(line: &Value) -> Option<Failure> {
    let message = words(line)?;
    let status = line.get("status_code").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    Some(Failure::new(status.filter(|status| (400..600).contains(status)).unwrap_or(500), message))
}

/// The words of an error; what stands before Ollama may say them in OpenAI's form.
fn words(object: &Value) -> Option<String> {
    let error = object.get("error").filter(|error| !error.is_null())?;
    let text = error.as_str().or_else(|| error.get("message")?.as_str()).filter(|text| !text.is_empty());
    Some(text.unwrap_or("the upstream failed without a word").to_owned())
}

fn status_of(kind: FailureKind) -> u16 {
    match kind {
        FailureKind::BadRequest => 400,
        FailureKind::Unauthenticated => 401,
        FailureKind::Billing => 402,
        FailureKind::Forbidden => 403,
        FailureKind::NotFound => 404,
        FailureKind::Conflict => 409,
        FailureKind::TooLarge => 413,
        FailureKind::RateLimited => 429,
        FailureKind::Timeout => 504,
        FailureKind::Overloaded => 503,
        FailureKind::Server => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_status_that_means_it() {
        for kind in FailureKind::ALL {
            assert_eq!(FailureKind::of_status(status_of(kind)), kind);
            let (status, body) = write(&Failure { kind, ..Failure::new(200, "No.") });
            assert_eq!((status, &*body), (status_of(kind), &br#"{"error":"No."}"#[..]));
        }
        assert_eq!(write(&Failure::new(502, "No.")).0, 502);
    }

    #[test]
    fn errors_are_read_in_all_forms() {
        let read = |status, body: &str| {
            let failure = read(status, &HeaderMap::new(), body.as_bytes());
            (failure.kind, failure.message)
        };
        let told = read(404, r#"{"error":"model 'x' not found"}"#);
        assert_eq!(told, (FailureKind::NotFound, "model 'x' not found".to_owned()));
        assert_eq!(read(429, r#"{"error":{"message":"slow"}}"#), (FailureKind::RateLimited, "slow".to_owned()));
        let bare = read(502, "<html>Bad Gateway</html>");
        assert_eq!(bare, (FailureKind::Server, "the upstream answered with status 502".to_owned()));
        assert!(!read(500, r#"{"error":""}"#).1.is_empty());
    }
}
