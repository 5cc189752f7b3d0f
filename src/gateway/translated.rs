//! The body of an upstream's answer, in the client's dialect: as it came where both speak the same, else translated as it
//! comes.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame};

use crate::dialects::conversation::Failure;
use crate::dialects::{Malformed, Translator};
use crate::signal::rest::Rest;
use crate::upstream;

/// Bytes of an answer that must be whole before it can be translated: pictures in base64, vectors.
const WHOLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of what the upstream said that are kept for whoever judges it.
const HEARD_BYTES_MAX: usize = 16 * 1024;

/// An answer's body.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// As it came.
    Plain(upstream::Body),
    /// On the heap: it is rare beside the other, and must not widen it.
    Translated(Box<Translated>),
}

/// What an upstream has said in its own words, for whoever judges it.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    said: Option<Bytes>,
    status: Option<StatusCode>,
}

/// See [`AnswerBody`].
#[derive(Debug)]
pub(super) struct Translated {
    body: upstream::Body,
    translator: Translator,
    form: Form,
    heard: Heard,
    over: bool,
    /// What is told after the bytes that came before it.
    broken: Option<Malformed>,
}

/// What comes.
#[derive(Debug)]
enum Form {
    Stream,
    Whole(BytesMut),
    Failed(StatusCode, HeaderMap, BytesMut),
}

/// Why no more comes.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The transfer broke off.
    #[error("{0}")]
    Upstream(#[source] Box<dyn StdError + Send + Sync>),
    /// It is not of the upstream's dialect.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Heard {
    /// The upstream's own words.
    pub(super) fn said(&self) -> Option<Bytes> {
        self.0.borrow().said.clone()
    }

    /// The status of the answer in the client's dialect, where it is another.
    pub(super) fn status(&self) -> Option<StatusCode> {
        self.0.borrow().status
    }
}

impl Translated {
    /// The answer with this head; `is_stream`: it comes as one.
    pub(super) fn new(
        body: upstream::Body,
        translator: Translator,
        (status, headers): (StatusCode, &HeaderMap),
        is_stream: bool,
        heard: Heard,
    ) -> Self {
        let form = if !status.is_success() {
            Form::Failed(status, headers.clone(), BytesMut::new())
        } else if is_stream {
            Form::Stream
        } else {
            Form::Whole(BytesMut::new())
        };
        Self { body, translator, form, heard, over: false, broken: None }
    }

    fn feed(&mut self, data: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut out = Vec::new();
        match &mut self.form {
            Form::Stream => {
                let result = self.translator.feed(data, &mut out);
                self.hear_failure();
                self.broken = result.err();
            }
            Form::Whole(held) | Form::Failed(_, _, held) => {
                if held.len() + data.len() > WHOLE_BYTES_MAX {
                    return Err(Broken::Malformed(Malformed("longer than can be translated")));
                }
                held.extend_from_slice(data);
            }
        }
        if out.is_empty() { self.take_broken().map(|()| out) } else { Ok(out) }
    }

    fn end(&mut self) -> Result<Vec<u8>, Broken> {
        self.over = true;
        let mut out = Vec::new();
        match &mut self.form {
            Form::Stream => {
                let result = self.translator.end(&mut out);
                self.hear_failure();
                self.broken = result.err();
            }
            Form::Whole(held) => {
                let body = std::mem::take(held);
                out = match self.translator.whole(&body) {
                    Ok(out) => out,
                    Err(malformed) => self.mishap(&body).ok_or(malformed)?,
                };
                self.hear_failure();
            }
            Form::Failed(status, headers, held) => {
                let body = std::mem::take(held).freeze();
                let (status, text) = self.translator.failed(status.as_u16(), headers, &body);
                let mut heard = self.heard.0.borrow_mut();
                heard.status = StatusCode::from_u16(status).ok();
                heard.said = Some(body.slice(..body.len().min(HEARD_BYTES_MAX)));
                out = text;
            }
        }
        if out.is_empty() { self.take_broken().map(|()| out) } else { Ok(out) }
    }

    fn take_broken(&mut self) -> Result<(), Broken> {
        self.broken.take().map_or(Ok(()), |malformed| Err(malformed.into()))
    }

    /// Keeps the words of a failure that came in a stream, for whoever judges it.
    fn hear_failure(&mut self) {
        if let Some(failure) = self.translator.failure() {
            self.heard.0.borrow_mut().said = Some(format!("data: {}\n\n", words(failure)).into());
        }
    }

    /// The error that a whole answer is in spite of its status, in the client's dialect.
    fn mishap(&self, body: &[u8]) -> Option<Vec<u8>> {
        let (failure, (status, text)) = self.translator.mishap(body)?;
        let mut heard = self.heard.0.borrow_mut();
        heard.status = StatusCode::from_u16(status).ok();
        heard.said = Some(words(&failure).to_string().into());
        Some(text)
    }
}

/// A failure in a form that can be judged.
fn words(failure: &Failure) -> serde_json::Value {
    serde_json::json!({ "error": { "message": failure.message, "code": failure.code, "status": failure.status } })
}

impl Rest for AnswerBody {
    fn is_at_rest(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_at_rest(),
            // What was read may be less than an event, or more.
            Self::Translated(_) => false,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = match &mut *self {
            Self::Plain(body) => return Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Translated(this) => this,
        };
        if let Err(broken) = this.take_broken() {
            return Poll::Ready(Some(Err(broken.into())));
        }
        if this.over {
            return Poll::Ready(None);
        }
        let out = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => this.feed(&data),
                Err(_) => Ok(Vec::new()),
            },
            Some(Err(error)) => Err(Broken::Upstream(error.into())),
            None => this.end(),
        };
        // An empty frame is of no interest to its reader, who bounds how many it takes in one go.
        Poll::Ready(Some(out.map(|out| Frame::data(out.into())).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            Self::Translated(this) => this.over && this.broken.is_none(),
        }
    }
}
