//! For the tests of this room: an upstream's body that does what it is told, and a client that reads.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::relay::{Answer, Relay, Settings};
use super::{Abort, Clocks, End, PhaseGuard};
use crate::api::endpoint::Ending;
use crate::config;
use crate::signal::rest::Rest;
use crate::signal::{Phase, Signal};
use crate::telemetry::{EndReason, Recorder, Telemetry};
use crate::units::UpstreamId;

/// What a [`Script`] does next. It ends cleanly behind its last step.
pub(super) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Wait(Duration),
    /// Silent for ever.
    Park,
    Fail,
}

pub(super) struct Script {
    steps: VecDeque<Step>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Its other holders can see whether the script lives.
    pub(super) alive: Rc<()>,
}

impl Script {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), sleep: None, alive: Rc::new(()) }
    }

    /// `bytes`, cut at these offsets.
    pub(super) fn split(bytes: &[u8], at: &[usize]) -> Self {
        let ends = at.iter().copied().chain([bytes.len()]);
        let starts = [0].into_iter().chain(at.iter().copied());
        Self::new(starts.zip(ends).map(|(start, end)| data(&bytes[start..end])))
    }
}

pub(super) fn data(bytes: impl AsRef<[u8]>) -> Step {
    Step::Data(Bytes::copy_from_slice(bytes.as_ref()))
}

pub(super) const fn wait(seconds: u64) -> Step {
    Step::Wait(Duration::from_secs(seconds))
}

impl Rest for Script {
    fn is_at_rest(&self) -> bool {
        false
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Data(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Step::Trailers(map)) => return Poll::Ready(Some(Ok(Frame::trailers(map)))),
                Some(Step::Fail) => return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
                Some(Step::Wait(length)) => self.sleep = Some(Box::pin(sleep(length))),
                Some(Step::Park) => {
                    self.steps.push_front(Step::Park);
                    return Poll::Pending;
                }
            }
        }
    }
}

/// Settings without clocks for a chat answer; `Signal` is the process's phase.
pub(super) fn settings() -> (Settings, Signal<Phase>) {
    thread_local! {
        static RECORDER: Rc<Recorder> = Telemetry::new(&config::demo(), 1).recorder(0);
    }
    let recorder = RECORDER.with(Rc::clone);
    let signal = Signal::new(Phase::Serve);
    let settings = Settings {
        clocks: Clocks::default(),
        start: Instant::now(),
        asked: Instant::now(),
        ending: Ending::Chat,
        choices: 1,
        strip_usage: false,
        event_hold_bytes_max: 1 << 20,
        request_id: "req-1".into(),
        recall: signal.watch(),
        phase: PhaseGuard::waiting(Rc::clone(&recorder)),
        recorder,
    };
    (settings, signal)
}

pub(super) fn answer(body: Script) -> Answer<Script> {
    Answer { upstream: UpstreamId::new(0), events: true, framed: true, whole: false, body }
}

pub(super) fn opaque(body: Script) -> Answer<Script> {
    Answer { events: false, ..answer(body) }
}

/// What a client read, frame by frame.
#[derive(Debug, Default)]
pub(super) struct Got {
    pub(super) frames: Vec<Bytes>,
    /// When each frame came, in seconds.
    pub(super) at: Vec<u64>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) aborted: bool,
    /// Polls that ended in `Pending`.
    pub(super) pauses: usize,
    pub(super) end: End,
}

impl Got {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.frames.concat()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.bytes()).expect("fixtures are UTF-8")
    }

    pub(super) fn reason(&self) -> EndReason {
        self.end.reason.expect("it has ended")
    }

    /// True when there is more to read.
    fn take(&mut self, step: Option<Result<Frame<Bytes>, Abort>>) -> bool {
        match step.map(|step| step.map(Frame::into_data)) {
            None => return false,
            Some(Err(Abort(_))) => {
                self.aborted = true;
                return false;
            }
            Some(Ok(Ok(bytes))) => {
                assert!(!bytes.is_empty(), "an empty frame left");
                self.frames.push(bytes);
            }
            Some(Ok(Err(frame))) => self.trailers = frame.into_trailers().ok(),
        }
        true
    }
}

/// Reads to the end under a clock.
pub(super) async fn read(relay: Relay<Script>) -> Got {
    let mut relay = pin!(relay);
    let (mut got, start) = (Got::default(), Instant::now());
    let mut at_rest = false;
    loop {
        let step = poll_fn(|cx| {
            // A body that says so is believed, as the server believes it: it must wake its task by itself.
            let is_in_vain = std::mem::take(&mut at_rest);
            let step = if is_in_vain { Poll::Pending } else { relay.as_mut().poll_frame(cx) };
            got.pauses += usize::from(step.is_pending());
            step
        });
        let step = step.await;
        if !got.take(step) {
            break;
        }
        at_rest = relay.is_at_rest();
        got.at.push(start.elapsed().as_secs());
    }
    got.end = relay.end();
    got
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads to the end of a script without pauses, outside any runtime; a lost wake-up is a panic.
pub(super) fn read_now(relay: Relay<Script>) -> Got {
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut cx = Context::from_waker(&waker);
    let mut relay = pin!(relay);
    let mut got = Got::default();
    loop {
        match relay.as_mut().poll_frame(&mut cx) {
            Poll::Ready(step) => {
                if !got.take(step) {
                    break;
                }
            }
            Poll::Pending => {
                got.pauses += 1;
                assert!(flag.0.swap(false, Ordering::Relaxed), "pending without anybody to wake it");
            }
        }
    }
    assert!(matches!(relay.as_mut().poll_frame(&mut cx), Poll::Ready(None)), "there was something behind the end");
    got.end = relay.end();
    got
}
