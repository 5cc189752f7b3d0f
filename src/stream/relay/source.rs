//! Where a relay reads from: an upstream's body, or the answer that one is awaited in.

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;

use super::succession::{PendingSuccessor, Successor};
use super::{Pending, Relay};
use crate::api::endpoint::Ending;
use crate::error::{Error, Kind};
use crate::signal::rest::Rest;

/// Bytes of an upstream's error answer that are read when the response head has already been sent.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;

pub(super) enum Source<U> {
    /// The head was sent early; the upstream has not answered.
    Awaited(Pending<U>),
    /// The upstream has died; another one is asked to go on.
    Succeeding(PendingSuccessor<U>),
    /// The answer.
    Body(U),
    /// Not an event stream, though the client was promised one.
    Stray(U, BytesMut),
    /// Over, one way or the other.
    Gone,
}

/// What one look at the source brought.
pub(super) enum Read<U> {
    /// The awaited answer is here.
    Answered(Box<Relay<U>>),
    /// The awaited answer that goes on with another one.
    Succeeded(Box<Successor<U>>),
    /// Bytes of the body.
    Data(Bytes),
    /// What stands behind the body.
    Trailers(HeaderMap),
    /// Something that is kept until the rest is here, or of no interest.
    Part,
    /// The whole text of an answer that is no event stream (its beginning, if it is very long).
    Stray(Bytes),
}

impl<U> Source<U>
where
    U: Body<Data = Bytes> + Rest + Unpin,
    U::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// One step; the caller bounds how many it takes in one go.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Read<U>, Error>>> {
        let read = match self {
            Self::Awaited(pending) => match ready!(pending.as_mut().poll(cx)) {
                Ok(relay) => {
                    *self = Self::Gone;
                    Ok(Read::Answered(relay))
                }
                Err(error) => Err(error),
            },
            Self::Succeeding(pending) => match ready!(pending.as_mut().poll(cx)) {
                Ok(successor) => {
                    *self = Self::Gone;
                    Ok(Read::Succeeded(successor))
                }
                Err(error) => Err(Error::new(Kind::UpstreamBroken, "nobody went on").with_source(error)),
            },
            Self::Body(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => Ok(match frame.into_data() {
                    Ok(data) if data.is_empty() => Read::Part,
                    Ok(data) => Read::Data(data),
                    Err(frame) => frame.into_trailers().map_or(Read::Part, Read::Trailers),
                }),
                Some(Err(error)) => {
                    Err(Error::new(Kind::StreamTruncated, "the upstream broke the transfer off")
                        .with_source(error))
                }
                None => return Poll::Ready(None),
            },
            Self::Stray(body, text) => match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        let room = ERROR_BODY_BYTES_MAX.saturating_sub(text.len());
                        text.extend_from_slice(&data[..data.len().min(room)]);
                    }
                    // The rest of something that long is not worth reading: it is no error of the dialect.
                    Ok(if text.len() < ERROR_BODY_BYTES_MAX { Read::Part } else { self.stray() })
                }
                Some(Err(_)) | None => Ok(self.stray()),
            },
            Self::Gone => return Poll::Ready(None),
        };
        Poll::Ready(Some(read))
    }

    /// Whether polling on is in vain.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self, Self::Body(body) if body.is_at_rest())
    }

    fn stray(&mut self) -> Read<U> {
        match std::mem::replace(self, Self::Gone) {
            Self::Stray(_, text) => Read::Stray(text.freeze()),
            _ => Read::Part,
        }
    }
}

/// An upstream's whole answer as one event, for a client that has been promised events that end in this way. Only for
/// JSON, where line ends mean nothing. Anthropic's clients know an error by its event's name, some of Google's by its not
/// being an event at all.
pub(super) fn stray_event(text: &[u8], ending: Ending) -> Bytes {
    let (name, before, after): (&[u8], &[u8], &[u8]) = match ending {
        Ending::Ollama => (b"", b"", b" "),
        Ending::Messages => (b"event: error\n", b"data: ", b"\n"),
        _ => (b"", b"data: ", b"\n"),
    };
    let mut event = BytesMut::with_capacity(text.len() + 32);
    event.extend_from_slice(name);
    for line in text.trim_ascii().split(|byte| matches!(byte, b'\n' | b'\r')) {
        event.extend_from_slice(before);
        event.extend_from_slice(line);
        event.extend_from_slice(after);
    }
    event.extend_from_slice(b"\n");
    if ending == Ending::Gemini {
        event.extend_from_slice(text.trim_ascii());
    }
    event.freeze()
}
