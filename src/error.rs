//! The one error of the gateway: what the client must do about it, who caused it, and whether another
//! target may be asked instead.
//!
//! Rooms keep small errors of their own and convert at their door. What a client is told comes from
//! [`crate::api::error`] alone; `Display` here is for logs.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// A boxed error: one word wide, so that `Result`s stay small.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    origin: Origin,
    retry: Retry,
    detail: Cow<'static, str>,
    param: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What happened, in terms of what the client can do about it. Closed and small on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is malformed: syntax, a missing or duplicate field, an impossible value.
    BadRequest,
    /// No endpoint at this path.
    NotFound,
    /// The endpoint exists, but not for this method.
    MethodNotAllowed,
    /// No route answers for the named model.
    ModelNotFound,
    /// No key, or not one of ours.
    Unauthenticated,
    /// A valid key that may not do this.
    Forbidden,
    /// The body is larger than the configured bound.
    BodyTooLarge,
    /// The body did not arrive in time.
    RequestTimeout,
    /// A limit of the key or of the whole gateway is used up; see the error's `retry_after`.
    RateLimited,
    /// Too many streams at once for this key or the whole gateway.
    TooManyStreams,
    /// This worker is full and sheds load, or the process is stopping.
    Overloaded,
    /// Every target of the route is left alone for a while, after it failed or asked for that; see the error's
    /// `retry_after`.
    NoTarget,
    /// Every target of the route refused the connection.
    UpstreamUnreachable,
    /// The upstream answered with something that is not an HTTP response, or broke off before its first byte.
    UpstreamBroken,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// A stream broke after its first byte.
    StreamTruncated,
    /// The stream was ended by the drain deadline.
    Drained,
    /// A fault of the gateway itself.
    Internal,
}

/// Who caused the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The client.
    Downstream,
    /// Millstream, by fault or by decision.
    Gateway,
    /// The provider.
    Upstream,
}

/// Whether the same request may be sent again, and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Never: it was or may have been seen by an upstream, or it would fail again.
    Never,
    /// On another target: nothing of it was sent.
    Elsewhere,
}

impl Error {
    /// An error of `kind` with a `detail` for logs and, where [`crate::api::error`] says so, for the client.
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            origin: kind.usual_origin(),
            retry: Retry::Never,
            detail: detail.into(),
            param: None,
            retry_after: None,
            source: None,
        }))
    }

    /// Attaches the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says whether and where the request may be sent again.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Names the request field at fault (`param` in the OpenAI error form), as the client wrote it.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.0.param = Some(param.into());
        self
    }

    /// Says when trying again makes sense.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// What happened.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Who caused it.
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// Whether and where the request may be sent again.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The sentence given to [`Error::new`].
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The request field at fault, if one is.
    pub fn param(&self) -> Option<&str> {
        self.0.param.as_deref()
    }

    /// When trying again makes sense, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl Kind {
    fn usual_origin(self) -> Origin {
        match self {
            Self::BadRequest
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::ModelNotFound
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::BodyTooLarge
            | Self::RequestTimeout => Origin::Downstream,
            Self::RateLimited | Self::TooManyStreams | Self::Overloaded | Self::Drained | Self::Internal => {
                Origin::Gateway
            }
            Self::NoTarget
            | Self::UpstreamUnreachable
            | Self::UpstreamBroken
            | Self::UpstreamTimeout
            | Self::StreamTruncated => Origin::Upstream,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.detail)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
