//! The one response body type, from dispatch to the socket. What must know of an exchange's end attaches to
//! it; the type never grows.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::end::{Abort, End, Usage};
use super::relay::Relay;
use crate::signal::duplex::Duplex;
use crate::signal::rest::Rest as AtRest;
use crate::telemetry::EndReason;

/// A response body: a whole one of the gateway's own, or a relayed one.
///
/// However it ends (read to its end, failed, or dropped on the way), everything attached is told exactly
/// once, and everything attached that is only held (permits, gauges) is dropped right after.
pub struct Body {
    kind: Kind,
    attached: Vec<Attached>,
    /// Why it was dropped, if it was; asked of whoever runs the connection.
    departure: Option<Rc<dyn Departure>>,
    /// Who takes what is left when it is dropped.
    leftover: Option<Box<dyn FnOnce(Rest)>>,
    settled: bool,
}

/// What is left of a stream whose client has gone.
pub struct Rest {
    relay: Pin<Box<dyn Relayed>>,
    told: Option<Usage>,
}

/// Told of the end.
type Attached = Box<dyn FnOnce(&End)>;

/// Knows why a client's connection went away.
pub trait Departure {
    /// The reason, when asked after the fact.
    fn reason(&self) -> EndReason;
}

enum Kind {
    Whole(Bytes, u64),
    Relay(Pin<Box<dyn Relayed>>),
    Tunnel(Box<dyn Tunnelled>),
}

/// Bytes in both directions, which nobody here looks at.
pub trait Tunnelled: HttpBody<Data = Bytes, Error = Abort> + Duplex + Unpin {
    /// How it has ended, as far as it has.
    fn how_it_ended(&self) -> End;
}

/// What a relay is to its body, whatever it relays from.
trait Relayed: HttpBody<Data = Bytes, Error = Abort> + AtRest {
    fn how_it_ended(&self) -> End;
}

impl<U> Relayed for Relay<U>
where
    Self: HttpBody<Data = Bytes, Error = Abort> + AtRest,
{
    fn how_it_ended(&self) -> End {
        self.end()
    }
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    /// These bytes.
    pub fn whole(bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        Self::new(Kind::Whole(bytes, length))
    }

    /// What `relay` brings.
    pub fn relay<U>(relay: Box<Relay<U>>) -> Self
    where
        Relay<U>: HttpBody<Data = Bytes, Error = Abort> + AtRest + 'static,
    {
        Self::new(Kind::Relay(Box::into_pin(relay)))
    }

    /// What `tunnel` brings. It also takes what the client sends.
    pub fn tunnel(tunnel: Box<dyn Tunnelled>) -> Self {
        Self::new(Kind::Tunnel(tunnel))
    }

    fn new(kind: Kind) -> Self {
        Self { kind, attached: Vec::new(), departure: None, leftover: None, settled: false }
    }

    /// `read_on` gets what is left of a stream that is dropped before its end, right before the attached are told.
    pub fn read_on(&mut self, read_on: impl FnOnce(Rest) + 'static) {
        self.leftover = Some(Box::new(read_on));
    }

    /// `told` is called once with the end of the exchange. What it holds is dropped then.
    pub fn attach(&mut self, told: impl FnOnce(&End) + 'static) {
        self.attached.push(Box::new(told));
    }

    /// Where to ask why the body was dropped before its end.
    pub fn ask_on_drop(&mut self, departure: Rc<dyn Departure>) {
        self.departure = Some(departure);
    }

    fn settle(&mut self) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let mut end = match &self.kind {
            Kind::Whole(rest, length) => End {
                reason: rest.is_empty().then_some(EndReason::Completed),
                bytes: length - rest.len() as u64,
                ..End::default()
            },
            Kind::Relay(relay) => relay.how_it_ended(),
            Kind::Tunnel(tunnel) => tunnel.how_it_ended(),
        };
        let is_left = end.reason.is_none();
        if is_left {
            let departed = self.departure.as_ref().map(|departure| departure.reason());
            end.reason = Some(departed.unwrap_or(EndReason::ClientCancelled));
        }
        // Only what has begun: nobody is billed for a question that is taken back.
        if let Some(read_on) = self.leftover.take().filter(|_| is_left && end.first_token.is_some())
            && let Kind::Relay(relay) = std::mem::replace(&mut self.kind, Kind::Whole(Bytes::new(), 0))
        {
            read_on(Rest { relay, told: end.usage });
        }
        for told in self.attached.drain(..) {
            told(&end);
        }
    }
}

impl AtRest for Body {
    fn is_at_rest(&self) -> bool {
        match &self.kind {
            Kind::Whole(..) | Kind::Tunnel(_) => false,
            Kind::Relay(relay) => relay.is_at_rest(),
        }
    }

    fn came_at(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Whole(..) | Kind::Tunnel(_) => None,
            Kind::Relay(relay) => relay.came_at(),
        }
    }
}

impl Duplex for Body {
    fn poll_take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Tunnel(tunnel) => tunnel.poll_take(cx, bytes),
            Kind::Whole(..) | Kind::Relay(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let frame = match &mut self.kind {
            Kind::Whole(bytes, _) if bytes.is_empty() => None,
            Kind::Whole(bytes, _) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Kind::Relay(relay) => ready!(relay.as_mut().poll_frame(cx)),
            Kind::Tunnel(tunnel) => ready!(Pin::new(tunnel).poll_frame(cx)),
        };
        if !matches!(frame, Some(Ok(_))) || self.is_end_stream() {
            self.settle();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes, _) => bytes.is_empty(),
            Kind::Relay(relay) => relay.is_end_stream(),
            Kind::Tunnel(tunnel) => tunnel.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes, _) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Relay(_) | Kind::Tunnel(_) => SizeHint::default(),
        }
    }
}

impl Rest {
    /// Reads on: how many bytes there were, or `None` at the end. The clocks of the stream go on.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<usize, Abort>>> {
        let frame = ready!(self.relay.as_mut().poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.data_ref().map_or(0, Bytes::len))))
    }

    /// How it has ended, as far as it has.
    pub fn end(&self) -> End {
        self.relay.how_it_ended()
    }

    /// The usage that the attached were told of.
    pub fn told(&self) -> Usage {
        self.told.unwrap_or_default()
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").finish_non_exhaustive()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.settle();
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("settled", &self.settled).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::task::Waker;

    use super::*;
    use crate::stream::script::{Script, Step, answer, data, settings};

    /// What was told, in order; `dropped` stands for the end of what an attachment held.
    type Told = Rc<RefCell<Vec<String>>>;

    struct Permit(Told);

    impl Drop for Permit {
        fn drop(&mut self) {
            self.0.borrow_mut().push("dropped".to_owned());
        }
    }

    struct Slow;

    impl Departure for Slow {
        fn reason(&self) -> EndReason {
            EndReason::SlowReader
        }
    }

    /// Polls `body` that often, drops it, and checks what its attachment was told.
    fn check(mut body: Body, polls: usize, reason: EndReason, bytes: u64) {
        let told = Told::default();
        for _ in 0..2 {
            let (log, permit) = (Rc::clone(&told), Permit(Rc::clone(&told)));
            body.attach(move |end| {
                log.borrow_mut().push(format!("{:?} {}", end.reason.expect("a reason"), end.bytes));
                drop(permit);
            });
        }
        for _ in 0..polls {
            assert!(Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())).is_ready());
        }
        drop(body);
        let end = format!("{reason:?} {bytes}");
        assert_eq!(*told.borrow(), [end.as_str(), "dropped", end.as_str(), "dropped"]);
    }

    fn relayed(steps: impl IntoIterator<Item = Step>) -> Body {
        let (settings, _signal) = settings();
        Body::relay(Box::new(Relay::new(answer(Script::new(steps)), settings)))
    }

    #[test]
    fn a_whole_body_is_told_of_once_however_it_ends() {
        check(Body::empty(), 0, EndReason::Completed, 0);
        check(Body::empty(), 2, EndReason::Completed, 0);
        check(Body::whole(Bytes::from_static(b"four")), 0, EndReason::ClientCancelled, 0);
        check(Body::whole(Bytes::from_static(b"four")), 1, EndReason::Completed, 4);
        check(Body::whole(Bytes::from_static(b"four")), 3, EndReason::Completed, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_relayed_body_is_told_of_once_however_it_ends() {
        const TOKEN: &str = "data: 1\n\n";
        const DONE: &str = "data: [DONE]\n\n";
        check(relayed([data(TOKEN), data(DONE)]), 0, EndReason::ClientCancelled, 0);
        check(relayed([data(TOKEN), data(DONE)]), 3, EndReason::Completed, 23);
        check(relayed([data(TOKEN), Step::Park]), 1, EndReason::ClientCancelled, 9);
        // The client may leave as soon as it has the last word, or what went for it.
        check(relayed([data(TOKEN), data(DONE), Step::Park]), 1, EndReason::Completed, 23);
        check(relayed([data("data: {\"error\":\"no\"}\n\n"), Step::Park]), 1, EndReason::UpstreamError, 22);
        check(relayed([data(TOKEN), Step::Fail]), 1, EndReason::UpstreamError, 9);
        check(relayed([data(TOKEN)]), 1, EndReason::UpstreamTruncated, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_runs_the_connection_says_why_a_body_was_dropped() {
        for (polls, reason) in [(1, EndReason::SlowReader), (2, EndReason::UpstreamError)] {
            let steps = [data("data: 1\n\n".repeat(4_000)), Step::Fail];
            let mut body = relayed(steps);
            body.ask_on_drop(Rc::new(Slow));
            let bytes = 36_000;
            if polls == 1 {
                check(body, polls, reason, bytes);
            } else {
                let told = Rc::new(RefCell::new(None));
                let log = Rc::clone(&told);
                body.attach(move |end| *log.borrow_mut() = end.reason);
                while !body.is_end_stream() {
                    assert!(Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())).is_ready());
                }
                assert_eq!(*told.borrow(), Some(reason), "told at the end, not at the drop");
            }
        }
    }

    #[test]
    fn the_length_of_a_whole_body_is_known() {
        assert_eq!(Body::whole(Bytes::from_static(b"four")).size_hint().exact(), Some(4));
        assert!(Body::empty().is_end_stream());
        assert_eq!(relayed([]).size_hint().exact(), None);
    }
}
