//! What a provider says when it does not answer.

use std::time::Duration;

/// A provider's error, in a stream or in place of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it means.
    pub kind: FailureKind,
    /// The HTTP status that it came with, or would have.
    pub status: u16,
    /// The provider's words.
    pub message: String,
    /// The provider's code or type, such as `context_length_exceeded` or `RESOURCE_EXHAUSTED`.
    pub code: Option<String>,
    /// Which field of the request is meant.
    pub param: Option<String>,
    /// How long to wait.
    pub retry_after: Option<Duration>,
}

/// What an error means to a client: the classes that all SDKs tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// 400, 422: the request is wrong.
    BadRequest,
    /// 401: no key, or a wrong one.
    Unauthenticated,
    /// 402, or 429 for good: no credit.
    Billing,
    /// 403: not for this key.
    Forbidden,
    /// 404: no such model.
    NotFound,
    /// 409
    Conflict,
    /// 413: too many bytes.
    TooLarge,
    /// 429: too many requests.
    RateLimited,
    /// 408, 504: it took too long.
    Timeout,
    /// 503, 529: too much to do.
    Overloaded,
    /// 500, 502 and what nobody knows.
    Server,
}

impl FailureKind {
    /// All of them, for tables.
    pub const ALL: [Self; 11] = [
        Self::BadRequest,
        Self::Unauthenticated,
        Self::Billing,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::TooLarge,
        Self::RateLimited,
        Self::Timeout,
        Self::Overloaded,
        Self::Server,
    ];

    /// What an HTTP status means where nothing better is known.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Unauthenticated,
            402 => Self::Billing,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            409 => Self::Conflict,
            413 => Self::TooLarge,
            429 => Self::RateLimited,
            408 | 504 => Self::Timeout,
            503 | 529 => Self::Overloaded,
            400..500 => Self::BadRequest,
            _ => Self::Server,
        }
    }
}

impl Failure {
    /// One of which only its status and words are known.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::of_status(status),
            status,
            message: message.into(),
            code: None,
            param: None,
            retry_after: None,
        }
    }
}
