//! The one table from [`Kind`] to what a client is told, with a column for each dialect that has words of its own.

use http::StatusCode;

use crate::api::dialect::Dialect;
use crate::error::{Error, Kind};

/// What a client is told about one kind of error.
pub(super) struct Row {
    status: StatusCode,
    /// `OpenAI`'s.
    pub(super) r#type: &'static str,
    pub(super) code: Option<&'static str>,
    /// Anthropic's, each of which has a status of its own.
    pub(super) anthropic: (u16, &'static str),
    /// Google's, one of the names of `google.rpc.Code`.
    pub(super) gemini: &'static str,
    text: Text,
    /// `x-should-retry`; `None` leaves it to the client's rules by status.
    pub(super) retry: Option<bool>,
}

enum Text {
    /// The error's own detail, which was written for the client.
    Detail,
    /// Always the same: the detail may name hosts or quote an upstream.
    Fixed(&'static str),
}

impl Row {
    /// In `OpenAI`'s words. Those of the others follow from its status, unless something else is said.
    fn new(status: StatusCode, r#type: &'static str, code: &'static str, text: Text) -> Self {
        let (anthropic, gemini) = usual(status);
        Self { status, r#type, code: Some(code), anthropic, gemini, text, retry: None }
    }

    fn without_code(mut self) -> Self {
        self.code = None;
        self
    }

    fn never_again(mut self) -> Self {
        self.retry = Some(false);
        self
    }

    /// The HTTP status of an answer.
    pub(super) fn status(&self, dialect: Dialect) -> StatusCode {
        match dialect {
            Dialect::Anthropic => StatusCode::from_u16(self.anthropic.0).unwrap_or(self.status),
            Dialect::OpenAi | Dialect::Gemini | Dialect::Ollama => self.status,
        }
    }

    pub(super) fn message<'a>(&self, error: &'a Error) -> &'a str {
        match self.text {
            Text::Detail => error.detail(),
            Text::Fixed(text) => text,
        }
    }
}

/// The words of Anthropic ("Errors" in its API reference) and of Google (`google.rpc.Code`) for a status. Anthropic's
/// clients know no 502 and no 503: what is an upstream's fault is 500 there, and what is full is 529.
fn usual(status: StatusCode) -> ((u16, &'static str), &'static str) {
    match status.as_u16() {
        401 => ((401, "authentication_error"), "UNAUTHENTICATED"),
        403 => ((403, "permission_error"), "PERMISSION_DENIED"),
        404 => ((404, "not_found_error"), "NOT_FOUND"),
        413 => ((413, "request_too_large"), "INVALID_ARGUMENT"),
        429 => ((429, "rate_limit_error"), "RESOURCE_EXHAUSTED"),
        503 => ((529, "overloaded_error"), "UNAVAILABLE"),
        504 => ((504, "timeout_error"), "DEADLINE_EXCEEDED"),
        status @ ..500 => ((status, "invalid_request_error"), "INVALID_ARGUMENT"),
        500.. => ((500, "api_error"), "INTERNAL"),
    }
}

/// What is told about `kind`.
pub(super) fn row(kind: Kind) -> Row {
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
