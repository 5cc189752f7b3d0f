//! A response body as it comes off the wire: where it ends, and which of the bytes read are payload.

use std::ops::Range;

use http::HeaderMap;

use super::body::Framing;
use super::chunked::Chunked;

/// The rest of one message.
#[derive(Debug)]
pub(super) enum Incoming {
    /// Nothing is left.
    Ended,
    /// So many bytes.
    Length(u64),
    Chunked(Chunked),
    /// Whatever comes before the connection's end.
    Close,
}

/// Which of the bytes taken are payload, and how many belong to the message at all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) payload: Range<usize>,
    pub(super) used: usize,
}

/// How an upstream broke the coding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("what should be the size of a chunk is none")]
    ChunkSize,
    #[error("the extensions of a chunk are too long")]
    ChunkExtension,
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    #[error("what should be trailers are none, or too many")]
    Trailers,
}

/// The connection ended, and the body had not.
#[derive(Debug, thiserror::Error)]
#[error("the connection ended before the body did")]
pub(super) struct Truncated;

impl Incoming {
    /// A body that has not begun. `length` is of meaning with [`Framing::Length`] alone.
    pub(super) fn new(framing: Framing, length: u64) -> Self {
        match framing {
            Framing::Length => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::new()),
            Framing::Close => Self::Close,
            Framing::Empty | Framing::H2 => Self::Ended,
        }
    }

    /// Takes what belongs to the message; `bytes` may be changed.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> Piece {
        let taken = match self {
            Self::Ended => 0,
            Self::Close => bytes.len(),
            Self::Length(left) => {
                let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= taken as u64;
                taken
            }
            Self::Chunked(chunked) => return chunked.take(bytes),
        };
        Piece { payload: 0..taken, used: taken }
    }

    /// Whether everything was taken, trailers apart.
    ///
    /// # Errors
    /// The upstream broke the coding; what was taken before is good.
    pub(super) fn is_read(&self) -> Result<bool, Fault> {
        match self {
            Self::Ended | Self::Length(0) => Ok(true),
            Self::Length(_) | Self::Close => Ok(false),
            Self::Chunked(chunked) => chunked.is_end(),
        }
    }

    /// Whether everything was taken, and there are no trailers either.
    pub(super) fn is_over(&self) -> bool {
        let has_trailers = matches!(self, Self::Chunked(chunked) if chunked.has_trailers());
        self.is_read() == Ok(true) && !has_trailers
    }

    /// The trailers, once.
    ///
    /// # Errors
    /// When they are none.
    pub(super) fn take_trailers(&mut self) -> Option<Result<HeaderMap, Fault>> {
        match self {
            Self::Chunked(chunked) => chunked.take_trailers(),
            _ => None,
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// Too early.
    pub(super) fn end_of_connection(&self) -> Result<(), Truncated> {
        if matches!(self, Self::Close) || self.is_over() { Ok(()) } else { Err(Truncated) }
    }

    /// Whether it is of the kinds that streams of events come in.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Chunked(_) | Self::Close)
    }

    /// Bytes still to come, where known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            _ => None,
        }
    }
}
