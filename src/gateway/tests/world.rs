//! Everything outside the gateway: upstreams that play their acts, and a log of what they were asked.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::act::{Act, Form, Habit, Head, Mood, Says, Step};
use super::draw::Draw;
use super::setup::Setup;
use crate::units::UpstreamId;
use crate::upstream::script::{Script, Sent};
use crate::upstream::{Body, BodyError, Request};

/// Names the request to the upstreams, for the log.
pub(super) const NUMBER: &str = "x-simulated";

/// Names the attempt to the client.
pub(super) const ACT: &str = "x-act";

/// Names of a target: upstream, key, model.
pub(super) type Target = (usize, usize, String);

/// One request as an upstream saw it, or would have.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) request: usize,
    pub(super) target: Target,
    /// Whether anything of it reached the upstream.
    pub(super) is_seen: bool,
    pub(super) at: Duration,
    pub(super) says: Says,
    /// Until the gateway has let go of it.
    pub(super) is_open: bool,
    /// When that was.
    pub(super) closed: Duration,
}

pub(super) struct World {
    pub(super) draw: RefCell<Draw>,
    pub(super) began: Instant,
    moods: RefCell<Vec<[Mood; 2]>>,
    turn: Duration,
    /// All upstreams are good.
    pub(super) is_calm: Cell<bool>,
    /// By upstream: streams at once of each of its targets.
    pub(super) limits: Vec<Option<u32>>,
    pub(super) asks: RefCell<Vec<Ask>>,
    /// Since the beginning.
    pub(super) asked: Cell<usize>,
    /// What must not be.
    pub(super) faults: RefCell<Vec<String>>,
    /// What happened, for whoever looks for a fault.
    pub(super) log: Option<RefCell<Vec<String>>>,
}

impl World {
    pub(super) fn new(draw: Draw, setup: &Setup, limits: Vec<Option<u32>>, is_told: bool) -> Rc<Self> {
        Rc::new(Self {
            draw: RefCell::new(draw),
            began: Instant::now(),
            moods: RefCell::new(setup.moods.clone()),
            turn: setup.turn,
            is_calm: Cell::new(false),
            limits,
            asks: RefCell::default(),
            asked: Cell::new(0),
            faults: RefCell::default(),
            log: is_told.then(RefCell::default),
        })
    }

    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Begins anew with the ids; nobody may be asked just now.
    pub(super) fn forget(&self) {
        let asks = self.asks.take();
        self.expect(asks.iter().all(|ask| !ask.is_open), || "somebody is asked".to_owned());
    }

    /// From now on, at this upstream.
    pub(super) fn set_habit(&self, upstream: usize, habit: Habit) {
        self.moods.borrow_mut()[upstream] = [Mood(vec![habit]), Mood(vec![habit])];
    }

    pub(super) fn fault(&self, text: String) {
        self.note(|| format!("FAULT {text}"));
        self.faults.borrow_mut().push(text);
    }

    pub(super) fn note(&self, text: impl FnOnce() -> String) {
        if let Some(log) = &self.log {
            log.borrow_mut().push(format!("{:>8} {}", self.now().as_millis(), text()));
        }
    }

    /// Faults unless it holds.
    pub(super) fn expect(&self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.fault(text());
        }
    }

    fn act(&self, upstream: usize, request: &Request, id: usize) -> Act {
        let draw = &mut *self.draw.borrow_mut();
        let mood = &self.moods.borrow()[upstream][usize::from(self.now() >= self.turn)];
        let drawn = draw.of(&mood.0);
        let habit = if self.is_calm.get() { Habit::Good } else { drawn };
        let body = String::from_utf8_lossy(&request.body);
        let form = match &*request.path_and_query {
            "/audio/speech" => Form::Sound,
            _ if !body.contains("\"stream\":true") => Form::Json,
            "/completions" => Form::Completions,
            "/responses" => Form::Responses,
            _ => Form::Chat,
        };
        Act::new(habit, form, body.contains("\"include_usage\":true"), id, draw)
    }

    fn open_at(&self, target: &Target) -> usize {
        self.asks.borrow().iter().filter(|ask| ask.is_open && ask.target == *target).count()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

/// The gateway holds on to an ask.
struct Open {
    world: Rc<World>,
    id: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        let closed = self.world.now();
        let ask = &mut self.world.asks.borrow_mut()[self.id];
        (ask.is_open, ask.closed) = (false, closed);
        self.world.note(|| format!("  ~{}~ closed", self.id));
    }
}

/// Where the world's upstreams are asked.
#[derive(Debug)]
pub(super) struct Door(pub(super) Rc<World>);

impl Script for Door {
    fn send(&self, upstream: UpstreamId, key: usize, request: &Request) -> Sent {
        let world = Rc::clone(&self.0);
        let number = request.headers.get(NUMBER).and_then(|value| value.to_str().ok()?.parse().ok());
        let id = world.asks.borrow().len();
        let act = world.act(upstream.index(), request, id);
        let body = String::from_utf8_lossy(&request.body);
        let model = body.split("\"model\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let target = (upstream.index(), key, model.to_owned());
        let is_seen = !matches!(&act.head, Head::Fails(error) if !error.sent);
        world.note(|| format!("  ~{id}~ asked {target:?} by {number:?}: {:?} after {:?}", act.habit, act.wait));
        world.asked.set(world.asked.get() + 1);
        world.asks.borrow_mut().push(Ask {
            request: number.expect("every simulated request has a number"),
            target: target.clone(),
            is_seen,
            at: world.now(),
            says: act.says.clone(),
            is_open: true,
            closed: Duration::ZERO,
        });
        let (limit, open) = (world.limits[target.0], world.open_at(&target));
        world.expect(limit.is_none_or(|limit| open <= limit as usize), || format!("{open} at once at {target:?}"));
        let open = Open { world, id };
        Box::pin(play(act, open))
    }
}

async fn play(act: Act, open: Open) -> Result<Response<Body>, crate::upstream::SendError> {
    if !act.wait.is_zero() {
        sleep(act.wait).await;
    }
    let (status, headers, framing) = match act.head {
        Head::Fails(error) => return Err(error),
        Head::Never => std::future::pending().await,
        Head::Status(status, headers, framing) => (status, headers, framing),
    };
    let id = open.id;
    let rest = Rest { steps: act.steps, sleep: None, _open: open };
    let mut response = Response::new(Body::scripted(framing, Box::pin(rest)));
    *response.status_mut() = status.try_into().expect("a status");
    response.headers_mut().insert(ACT, HeaderValue::from(id));
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::try_from(value).expect("a value"));
    }
    Ok(response)
}

struct Rest {
    steps: std::collections::VecDeque<Step>,
    sleep: Option<Pin<Box<Sleep>>>,
    _open: Open,
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Piece(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Some(Step::Wait(length)) => self.sleep = Some(Box::pin(sleep(length))),
                Some(Step::Break) => {
                    let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                    return Poll::Ready(Some(Err(error.into())));
                }
                Some(Step::Park) => {
                    self.steps.push_front(Step::Park);
                    return Poll::Pending;
                }
            }
        }
    }
}
