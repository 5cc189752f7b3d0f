//! Why an exchange failed before its response head, and why a response body broke.
//!
//! Nothing here holds or prints headers, keys or bodies.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::incoming::{Fault, Truncated};
use crate::telemetry::FailurePhase;

/// An attempt failed before it had a response head. `Clone`: attempts that waited for the same connection
/// share its failure.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{} failed, {}: {source}", name(*.phase), if *.sent { "request sent" } else { "nothing sent" })]
pub struct SendError {
    /// How far it came.
    pub phase: FailurePhase,
    /// Whether any byte of the request may have left. If not, any other target may be asked.
    pub sent: bool,
    /// What went wrong.
    #[source]
    pub source: Cause,
}

/// What went wrong with an attempt.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Cause {
    /// All connections that the process may have to this upstream are taken.
    #[error("all {0} connections are taken")]
    Cap(usize),
    /// The phase took longer than it may.
    #[error("not done within {0:?}")]
    Timeout(Duration),
    /// The name has no address.
    #[error("the name resolves to no address")]
    NoAddress,
    /// Resolver, socket or TLS.
    #[error(transparent)]
    Io(Arc<io::Error>),
    /// HTTP/1.1: the connection ended before the answer's head did.
    #[error("the upstream closed the connection before its answer")]
    Closed,
    /// HTTP/1.1: no answer that could be relayed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// HTTP/2.
    #[error(transparent)]
    Http2(Arc<h2::Error>),
    /// The upstream does not speak the HTTP version that the configuration asks for.
    #[error("the upstream did not agree on HTTP/2")]
    Version,
    /// 101, which nobody asked for.
    #[error("the upstream switched protocols unasked")]
    Switched,
    /// The request has no valid form, such as a path with a space.
    #[error("not a valid request target")]
    Target,
}

/// What is wrong with the head of an HTTP/1.1 answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not in the grammar, or with too many fields.
    #[error("the answer's head can't be read: {0}")]
    Head(httparse::Error),
    /// Longer than is read.
    #[error("the answer's head is too long")]
    Long,
    /// Interim answers, and no end of them.
    #[error("too many interim answers")]
    Interims,
    /// `content-length` is no number, or several.
    #[error("the answer's content-length is no length")]
    Length,
    /// A transfer coding over HTTP/1.0, which has none.
    #[error("the answer has a transfer coding, which HTTP/1.0 does not know")]
    Coding,
}

/// A response body broke off. What was read before is good; the rest will never come.
#[derive(Debug, thiserror::Error)]
#[error("{kind}: {source}")]
pub struct BodyError {
    /// Whose fault.
    pub kind: BodyErrorKind,
    #[source]
    source: Box<dyn StdError + Send + Sync>,
}

/// How a body broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyErrorKind {
    /// Cut: the connection ended early, or the stream was reset.
    Broken,
    /// The upstream broke the protocol, such as with an impossible chunk size.
    Protocol,
}

impl SendError {
    /// Whether it says nothing of the upstream: a bound of our own, or a request that nobody could be sent.
    pub fn is_ours(&self) -> bool {
        matches!(self.source, Cause::Cap(_) | Cause::Target)
    }

    /// A failure before anything was sent.
    pub(super) fn unsent(phase: FailurePhase, source: Cause) -> Self {
        Self { phase, sent: false, source }
    }

    /// A failure after the request was handed to a connection.
    pub(super) fn response(sent: bool, source: Cause) -> Self {
        Self { phase: FailurePhase::Response, sent, source }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<h2::Error> for Cause {
    fn from(error: h2::Error) -> Self {
        Self::Http2(Arc::new(error))
    }
}

impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> Self {
        Self { kind: BodyErrorKind::Broken, source: error.into() }
    }
}

impl From<Truncated> for BodyError {
    fn from(error: Truncated) -> Self {
        Self { kind: BodyErrorKind::Broken, source: error.into() }
    }
}

impl From<Fault> for BodyError {
    fn from(error: Fault) -> Self {
        Self { kind: BodyErrorKind::Protocol, source: error.into() }
    }
}

impl From<h2::Error> for BodyError {
    fn from(error: h2::Error) -> Self {
        // `library`: h2 itself found the upstream at fault and closed the stream or the connection.
        let kind = if error.is_library() { BodyErrorKind::Protocol } else { BodyErrorKind::Broken };
        Self { kind, source: error.into() }
    }
}

impl fmt::Display for BodyErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "the response broke off",
            Self::Protocol => "the upstream broke the protocol",
        })
    }
}

fn name(phase: FailurePhase) -> &'static str {
    match phase {
        FailurePhase::Cap => "getting a connection",
        FailurePhase::Dns => "name resolution",
        FailurePhase::Connect => "connecting",
        FailurePhase::Handshake => "the handshake",
        FailurePhase::Response => "the exchange",
    }
}
