//! Clients: what they ask, how they read, and when they leave.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Instant, sleep, timeout_at};
use tower::{Layer, Service};

use super::checks;
use super::draw::Draw;
use super::world::{ACT, NUMBER, World};
use crate::api::dialect::Dialect;
use crate::api::endpoint::{self, Endpoint};
use crate::api::{error as told, request};
use crate::config::OnCancel;
use crate::error::Error;
use crate::gateway::admit::{Admit, AdmitLayer};
use crate::gateway::call::{Call, Content};
use crate::gateway::dispatch::Dispatch;
use crate::gateway::worker::Worker;
use crate::middleware::Record;
use crate::middleware::at_end::Witness;
use crate::middleware::auth::Principal;
use crate::middleware::metrics::Metrics;
use crate::middleware::record::ByExchange;
use crate::routing::gate::Class;
use crate::server::Exchange;
use crate::signal::rest::Rest;
use crate::stream::{Abort, Body, End};
use crate::telemetry::EndReason;
use crate::units::{KeyId, UpstreamId};

/// Nobody waits as long: what takes longer hangs.
const FOREVER: Duration = Duration::from_hours(1);

/// What one client does.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) number: usize,
    pub(super) after: Duration,
    pub(super) path: &'static str,
    pub(super) stream: bool,
    pub(super) model: &'static str,
    pub(super) models: Option<&'static str>,
    pub(super) key: Option<KeyId>,
    pub(super) class: Class,
    /// Leaves at this time of its own.
    pub(super) leaves: Option<Duration>,
    /// Between two reads.
    pub(super) pause: Duration,
}

impl Wish {
    pub(super) fn drawn(draw: &mut Draw, number: usize, span: Duration, keys: usize) -> Self {
        let (path, stream) = match draw.below(20) {
            0..=8 => ("/v1/chat/completions", true),
            9 | 10 => ("/v1/completions", true),
            11..=13 => ("/v1/responses", true),
            14 | 15 => ("/v1/chat/completions", false),
            16 => ("/v1/embeddings", false),
            17 => ("/v1/responses", false),
            18 => ("/v1/audio/speech", false),
            _ => ("/v1/batches", false),
        };
        let key = (keys > 0).then(|| KeyId::new(draw.below(keys)));
        Self {
            number,
            after: draw.ms(0, u64::try_from(span.as_millis()).expect("short")),
            path,
            stream,
            model: if draw.percent(85) { "m" } else { "big" },
            models: draw.percent(10).then_some("[\"big\",\"m\"]"),
            key,
            class: if draw.percent(70) { Class::Interactive } else { Class::Batch },
            leaves: draw.percent(25).then(|| draw.ms(0, 2_500)),
            pause: if draw.percent(15) { draw.ms(1, 400) } else { Duration::ZERO },
        }
    }

    /// One that stays to the end.
    pub(super) fn plain(number: usize, model: &'static str) -> Self {
        Self {
            number,
            after: Duration::ZERO,
            path: "/v1/chat/completions",
            stream: true,
            model,
            models: None,
            key: None,
            class: Class::Interactive,
            leaves: None,
            pause: Duration::ZERO,
        }
    }

    /// As it is, at another place.
    pub(super) fn at(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    fn body(&self) -> Bytes {
        let (model, stream) = (self.model, self.stream);
        let models = self.models.map(|models| format!(",\"models\":{models}")).unwrap_or_default();
        let user = self.number % 5;
        format!("{{\"model\":\"{model}\"{models},\"stream\":{stream},\"user\":\"{user}\",\"messages\":[]}}").into()
    }

    fn call(&self, worker: &Worker) -> Call {
        let method = Method::POST;
        let matched = endpoint::find(&method, self.path).expect("an endpoint");
        let exchange = Exchange::for_tests(&worker.recorder);
        let record = Record {
            id: format!("r-{}", self.number).into(),
            method: method.clone(),
            path: self.path.into(),
            dialect: matched.endpoint.dialect(),
            endpoint: Cell::new(Some(matched.endpoint)),
            key: Cell::new(self.key),
            route: Cell::default(),
            upstream: Cell::default(),
            attempts: Cell::default(),
            answered: Cell::default(),
            model: RefCell::default(),
            allow: Cell::default(),
            rate: Cell::default(),
            exchange,
        };
        let body = self.body();
        let content = match matched.endpoint {
            Endpoint::Batches => Content::Opaque(body),
            _ => Content::Json(body.clone(), request::scan(&body).expect("a good request")),
        };
        let mut headers = HeaderMap::new();
        headers.insert(NUMBER, HeaderValue::from(self.number));
        Call {
            endpoint: matched.endpoint,
            item: None,
            path_and_query: self.path.strip_prefix("/v1").expect("a prefix").into(),
            method,
            headers: Rc::new(headers),
            class: self.class,
            upstream: None,
            content,
            principal: Principal::for_tests(self.key),
            record: Rc::new(record),
            decoded_at: Instant::now(),
        }
    }
}

/// What became of one request.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// When it began.
    pub(super) began: Duration,
    /// When the response's head came, or an error in its place.
    pub(super) head: Option<Duration>,
    /// When all was over for the client.
    pub(super) over: Duration,
    pub(super) refused: Option<Error>,
    pub(super) status: Option<u16>,
    /// The head went out before there was an answer.
    pub(super) is_early: bool,
    pub(super) upstream: Option<UpstreamId>,
    pub(super) attempts: u32,
    pub(super) text: String,
    /// Attempts there were when the first byte of a token had come.
    pub(super) asked_at_token: Option<usize>,
    /// The client left.
    pub(super) left: bool,
    /// The body failed.
    pub(super) aborted: Option<Abort>,
    /// Told to what was attached.
    pub(super) ends: Rc<RefCell<Vec<End>>>,
}

impl Outcome {
    /// How the exchange ended, if there was a response.
    pub(super) fn reason(&self) -> Option<EndReason> {
        self.ends.borrow().first().and_then(|end| end.reason)
    }
}

/// The lower half of the stack.
pub(super) type Gateway = Admit<Dispatch>;

pub(super) fn gateway(worker: &Rc<Worker>) -> Gateway {
    let snapshot = &worker.snapshot;
    let layer = AdmitLayer {
        config: snapshot.config.clone(),
        keys: snapshot.keys.clone(),
        limits: snapshot.limits.clone(),
        recorder: worker.recorder.clone(),
    };
    layer.layer(Dispatch(Rc::clone(worker)))
}

/// Asks, reads and leaves as `wish` has it.
pub(super) async fn run(
    world: Rc<World>,
    worker: Rc<Worker>,
    mut gateway: Gateway,
    wish: Wish,
) -> (Wish, Outcome) {
    sleep(wish.after).await;
    let call = wish.call(&worker);
    let record = Rc::clone(&call.record);
    let number = wish.number;
    world.note(|| format!("{number} {} {} {:?} leaves {:?}", wish.path, wish.model, wish.class, wish.leaves));
    let mut outcome = Outcome { began: world.now(), ..Outcome::default() };
    let leaves = Instant::now() + wish.leaves.unwrap_or(FOREVER);
    match timeout_at(leaves, gateway.call(Rc::new(call))).await {
        Err(_) => outcome.left = true,
        Ok(Err(error)) => {
            world.note(|| format!("{number} refused: {error}"));
            outcome.head = Some(world.now());
            outcome.status = Some(told::status(&error, Dialect::OpenAi).as_u16());
            outcome.refused = Some(error);
            checks::nothing_else(&world, &worker, &wish, &outcome);
        }
        Ok(Ok(response)) => {
            outcome.head = Some(world.now());
            outcome.status = Some(response.status().as_u16());
            outcome.is_early = !response.headers().contains_key(ACT);
            outcome.upstream = record.upstream.get();
            world.note(|| format!("{number} head {} of {:?}", response.status(), record.upstream.get()));
            let body = attached(*response, &record, &worker, &outcome);
            read(&world, &wish, body, leaves, &mut outcome).await;
            world.note(|| format!("{number} ended {:?} {:?}", outcome.ends.borrow(), outcome.aborted));
        }
    }
    outcome.attempts = record.attempts.get();
    outcome.over = world.now();
    if outcome.left {
        world.note(|| format!("{number} left"));
        let is_impatient = wish.leaves.is_some();
        world.expect(is_impatient, || format!("request {number} hangs"));
    }
    let open = world.asks.borrow().iter().filter(|ask| ask.request == number && ask.is_open).count();
    let may_drain = outcome.left && outcome.head.is_some() && drains(&worker);
    world.expect(open == 0 || (may_drain && open == 1), || format!("{open} attempts outlive request {number}"));
    (wish, outcome)
}

fn drains(worker: &Worker) -> bool {
    let config = &worker.snapshot.config;
    let on_route = config.routes.iter().any(|route| route.on_cancel == Some(OnCancel::Drain));
    on_route || worker.snapshot.drains_somewhere
}

fn attached(response: Response<Body>, record: &Rc<Record>, worker: &Rc<Worker>, outcome: &Outcome) -> Body {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    body.ask_on_drop(Rc::new(ByExchange(Rc::clone(&record.exchange))));
    let (ends, record, metrics) =
        (Rc::clone(&outcome.ends), Rc::clone(record), Metrics::new(worker.recorder.clone()));
    body.attach(move |end| {
        metrics.tell(&record, status, end);
        ends.borrow_mut().push(end.clone());
    });
    body
}

async fn read(world: &World, wish: &Wish, body: Body, leaves: Instant, outcome: &mut Outcome) {
    let mut body = body;
    let mut at_rest = false;
    loop {
        let frame = poll_fn(|cx| {
            // As the server does: who says that it rests is polled when it has woken its task.
            let is_in_vain = std::mem::take(&mut at_rest);
            if is_in_vain { Poll::Pending } else { Pin::new(&mut body).poll_frame(cx) }
        });
        match timeout_at(leaves, frame).await {
            Err(_) => {
                outcome.left = true;
                return;
            }
            Ok(None) => return,
            Ok(Some(Err(abort))) => {
                outcome.aborted = Some(abort);
                return;
            }
            Ok(Some(Ok(frame))) => take(world, wish, frame, outcome),
        }
        at_rest = body.is_at_rest();
        if !wish.pause.is_zero() {
            if timeout_at(leaves, sleep(wish.pause)).await.is_err() {
                outcome.left = true;
                return;
            }
            at_rest = false;
        }
    }
}

fn take(world: &World, wish: &Wish, frame: Frame<Bytes>, outcome: &mut Outcome) {
    let Ok(data) = frame.into_data() else { return };
    outcome.text.push_str(std::str::from_utf8(&data).expect("all acts are ASCII"));
    world.expect(!data.is_empty(), || format!("request {} got an empty frame", wish.number));
    let asks = world.asks.borrow();
    if outcome.asked_at_token.is_some() {
        return;
    }
    // Preambles have no token, and neither has a comment.
    let text = without_comments(&outcome.text);
    let is_token = asks.iter().filter(|ask| ask.request == wish.number).any(|ask| {
        let Some(at) = ask.says.token_at.filter(|at| text.len() > *at) else { return false };
        let until = (at + 16).min(text.len());
        ask.says.text.as_bytes().get(..until) == text.as_bytes().get(..until)
    });
    if is_token {
        outcome.asked_at_token = Some(asks.len());
        let open = asks.iter().filter(|ask| ask.request == wish.number && ask.is_open).count();
        drop(asks);
        world.expect(open <= 1, || format!("request {} has a token, and {open} attempts run", wish.number));
    }
}

pub(super) fn without_comments(text: &str) -> String {
    text.replace(": keep-alive\n\n", "")
}
