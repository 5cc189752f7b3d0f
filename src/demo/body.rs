//! The answer's body: whole, or paced by one timer.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// Steps written into one frame when the reader was late or no pace is set. Bounds a frame to some kilobytes.
const STEPS_PER_FRAME: usize = 32;

/// Room reserved in a stream's buffer: a few chunks.
const BUFFER_BYTES: usize = 2048;

/// Appends formatted text to a buffer in memory.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {
        fmt::Write::write_fmt($out, format_args!($($arg)*)).expect("a buffer in memory takes every write")
    };
}
pub(super) use put;

/// Appends `text` as a JSON string, quotes included.
pub(super) fn put_string(out: &mut BytesMut, text: &str) {
    serde_json::to_writer(out.writer(), text).expect("a string always serialises");
}

/// What a stream says. Time is not its business: [`Paced`] decides when each part is written.
pub(super) trait Events {
    /// Number of paced steps; each writes one token of each choice.
    fn steps(&self) -> usize;
    /// Whether the opening is sent at once instead of with the first token.
    fn opens_early(&self) -> bool {
        false
    }
    /// What stands before the first token.
    fn open(&mut self, out: &mut BytesMut);
    /// Step `step`, from 0.
    fn step(&mut self, step: usize, out: &mut BytesMut);
    /// What follows the last token.
    fn close(&mut self, out: &mut BytesMut);
}

/// When tokens are due, counted from the arrival of the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    start: Instant,
    first_token: Duration,
    tokens_per_second: Option<f64>,
}

impl Pace {
    /// A pace that begins now. Without a usable `tokens_per_second` everything is due at once.
    pub(super) fn new(first_token: Duration, tokens_per_second: f64) -> Self {
        let usable = tokens_per_second.is_finite() && tokens_per_second > 0.0;
        Self { start: Instant::now(), first_token, tokens_per_second: usable.then_some(tokens_per_second) }
    }

    /// No delays.
    pub(super) fn none() -> Self {
        Self::new(Duration::ZERO, 0.0)
    }

    /// When step `step` is due: always from the start, so that late wake-ups never add up.
    pub(super) fn due(&self, step: usize) -> Instant {
        let after = self.tokens_per_second.map_or(Duration::ZERO, |rate| {
            Duration::try_from_secs_f64(step as f64 / rate).unwrap_or(Duration::MAX)
        });
        self.start.checked_add(self.first_token.saturating_add(after)).unwrap_or(self.start)
    }
}

/// A response body of the demo upstream.
pub(super) enum Body {
    /// Known from the start.
    Whole(Option<Bytes>),
    /// A stream.
    Paced(Box<Paced>),
}

impl Body {
    /// A body known from the start.
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }

    /// A stream of `events` at `pace`.
    pub(super) fn paced(events: Box<dyn Events>, pace: Pace) -> Self {
        Self::Paced(Box::new(Paced {
            opened: false,
            next: 0,
            closed: false,
            buffer: BytesMut::with_capacity(BUFFER_BYTES),
            sleep: Box::pin(sleep_until(pace.due(0))),
            events,
            pace,
        }))
    }
}

/// A stream under way.
pub(super) struct Paced {
    events: Box<dyn Events>,
    pace: Pace,
    opened: bool,
    next: usize,
    closed: bool,
    buffer: BytesMut,
    sleep: Pin<Box<Sleep>>,
}

impl Paced {
    /// Appends everything due at `now` to the buffer, within the bound of a frame.
    fn write_due(&mut self, now: Instant) {
        if !self.opened && (self.events.opens_early() || self.pace.due(0) <= now) {
            self.opened = true;
            self.events.open(&mut self.buffer);
        }
        let steps = self.events.steps();
        let bound = self.next.saturating_add(STEPS_PER_FRAME).min(steps);
        while self.next < bound && self.pace.due(self.next) <= now {
            self.events.step(self.next, &mut self.buffer);
            self.next += 1;
        }
        if self.opened && self.next == steps && !self.closed {
            self.closed = true;
            self.events.close(&mut self.buffer);
        }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            self.write_due(Instant::now());
            if !self.buffer.is_empty() {
                let bytes = self.buffer.split().freeze();
                // Takes the same memory again once the connection has written the last frame.
                self.buffer.reserve(BUFFER_BYTES);
                return Poll::Ready(Some(bytes));
            }
            if self.closed {
                return Poll::Ready(None);
            }
            self.sleep.as_mut().reset(self.pace.due(self.next));
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Paced(paced) => paced.poll_bytes(cx),
        };
        bytes.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Paced(paced) => paced.closed && paced.buffer.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Paced(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(_) => f.write_str("Body::Whole"),
            Self::Paced(paced) => write!(f, "Body::Paced at {}", paced.next),
        }
    }
}
