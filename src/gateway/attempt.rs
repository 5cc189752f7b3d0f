//! One attempt: a request to one target, and what its answer is worth.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::call::Call;
use super::continuation::Continuation;
use super::lane::{Leaving, Way};
use super::plan::Leg;
use super::translated::{AnswerBody, Heard, Translated};
use super::trial::Trial;
use super::worker::Worker;
use super::{headers, respond};
use crate::api::endpoint::Ending;
use crate::api::verdict::{self, ERROR_BYTES_MAX, Verdict};
use crate::dialects::Translator;
use crate::error::{Error, Kind};
use crate::routing::health::Fault;
use crate::stream::{Answer, Opening, PhaseGuard, Relay};
use crate::telemetry::{FailurePhase, Stage};
use crate::units::{TargetId, UpstreamId};
use crate::upstream::{self, Framing, SendError};

/// Where all clocks are off: beyond every timer.
const NEVER: Duration = Duration::from_hours(365 * 24);

/// An upstream's answer of which nothing has gone to the client.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) head: Parts,
    /// On the heap from the beginning: it is large, and each move of it would be a copy.
    pub(super) relay: Box<Relay<AnswerBody>>,
    pub(super) trial: Trial,
    pub(super) leg: Rc<Leg>,
    /// How it goes on elsewhere if it breaks off, where its route wants that.
    pub(super) continuation: Option<Continuation>,
}

/// The beginning of an answer, which a target is to go on with.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) text: String,
    pub(super) tokens: u64,
}

/// Why an attempt is no answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// What the upstream said, to be passed on if nobody has better.
    pub(super) answer: Option<Box<Answered>>,
    pub(super) onward: Onward,
    /// How many upstreams may have seen the request: two where a second was asked beside the first.
    pub(super) seen: u32,
    /// Who has failed, and by which route.
    pub(super) target: TargetId,
    pub(super) leg: Rc<Leg>,
}

/// Who may be asked after a failure: the less, the more it says of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Onward {
    /// Nobody: it is the request's fault, or there is no time left.
    Nowhere,
    /// A route for longer or other prompts, if this one names any.
    Larger,
    /// Another target.
    Elsewhere,
    /// Another target, or the same once more.
    Again,
}

impl Failure {
    /// One without an answer.
    pub(super) fn new(error: Error, leg: &Rc<Leg>, trial: &Trial, onward: Onward, seen: u32) -> Self {
        Self { error, answer: None, onward, seen, target: trial.target(), leg: Rc::clone(leg) }
    }
}

pub(super) type Outcome = Result<Box<Answered>, Box<Failure>>;

struct Opened {
    head: Parts,
    relay: Box<Relay<AnswerBody>>,
    opening: Opening,
    heard: Heard,
}

impl Opened {
    /// One of the relay's own clocks ran out. Some are the same as here, and where an upstream always has something to
    /// read that is no token, it is there that they are seen first.
    fn is_late(&self) -> bool {
        matches!(&self.opening, Opening::Broken(error) if error.kind() == Kind::UpstreamTimeout)
    }
}

/// Asks one target.
///
/// # Cancel safety
/// Dropping the future cancels the attempt: its connection closes or its stream is reset, its place is given back.
pub(super) fn run(worker: &Rc<Worker>, call: &Call, leg: &Rc<Leg>, trial: Trial) -> impl Future<Output = Outcome> {
    ask(worker, call, leg, trial, None)
}

/// Asks one target, where there is one for the rest of an answer that another one has `begun`.
///
/// # Cancel safety
/// As that of [`run`].
pub(super) async fn ask(
    worker: &Rc<Worker>,
    call: &Call,
    leg: &Rc<Leg>,
    mut trial: Trial,
    begun: Option<&Begun>,
) -> Outcome {
    let asked = Instant::now();
    let (own, overall) = deadlines(call, leg, asked);
    let target = worker.snapshot.table.target(trial.target());
    let leaving = match (Way { worker, call, leg, target }).leave(begun) {
        Ok(leaving) => leaving,
        Err(error) => {
            trial.abandoned();
            return Err(Box::new(Failure::new(error, leg, &trial, Onward::Elsewhere, 0)));
        }
    };
    let Leaving { request, translator, dropped } = leaving;
    let (upstream, key) = (target.upstream, target.key);
    trial.asked(asked);
    // From here on, not from its answer: most of the wait for a first token may be for the head.
    let phase = PhaseGuard::waiting(Rc::clone(&worker.recorder));
    worker.recorder.overhead(Stage::Route, asked.saturating_duration_since(call.decoded_at));
    // In its place from the beginning: it is large, and each move of it would be a copy.
    let asking = pin!(async {
        let response = worker.pool.send(upstream, key, &request).await?;
        let (mut head, body) = response.into_parts();
        let heard = Heard::default();
        let strips_usage = respond::strips_usage(worker, call, upstream, translator.is_some());
        let answer = match translator {
            None => answer(worker, call, upstream, &head, body),
            Some(translator) => translated(call, upstream, &mut head, (body, *translator, &heard)),
        };
        headers::tell_dropped(&mut head.headers, &dropped);
        let settings = respond::settings(worker, call, leg, strips_usage, (asked, phase));
        let mut relay = Box::new(match begun {
            None => Relay::new(answer, settings),
            Some(_) => Relay::new(answer, respond::for_another(worker, settings)).unheard(),
        });
        let bytes_max = worker.snapshot.config.stream.commit_bytes_max;
        let opening = poll_fn(|cx| relay.poll_opening(cx, bytes_max)).await;
        Ok(Opened { head, relay, opening, heard })
    });
    match timeout_at(own.min(overall), asking).await {
        Ok(Ok(opened)) if !opened.is_late() => judge(call, leg, opened, trial),
        Ok(Err(failed)) => Err(Box::new(unsent(failed, leg, &mut trial))),
        Ok(Ok(_)) | Err(_) => {
            trial.failed(Fault::Late);
            let error = Error::new(Kind::UpstreamTimeout, "the upstream did not answer in time");
            let onward = if Instant::now() < overall { Onward::Elsewhere } else { Onward::Nowhere };
            Err(Box::new(Failure::new(error, leg, &trial, onward, 1)))
        }
    }
}

/// When this attempt, and when the whole exchange has taken too long.
fn deadlines(call: &Call, leg: &Leg, asked: Instant) -> (Instant, Instant) {
    let (clocks, retry) = (&leg.config().clocks, &leg.config().retry);
    let (own, overall) = if call.streams() {
        (clocks.first_token_timeout, clocks.total_timeout)
    } else {
        (retry.attempt_timeout, [clocks.response_timeout, clocks.total_timeout].into_iter().flatten().min())
    };
    (asked + own.unwrap_or(NEVER), call.record.exchange.began() + overall.unwrap_or(NEVER))
}

/// Before when an attempt must begin.
pub(super) fn latest(call: &Call, leg: &Leg) -> Instant {
    let began = call.record.exchange.began();
    let (_, overall) = deadlines(call, leg, began);
    leg.config().retry.deadline.map_or(overall, |deadline| overall.min(began + deadline))
}

fn answer(
    worker: &Worker,
    call: &Call,
    upstream: UpstreamId,
    head: &Parts,
    body: upstream::Body,
) -> Answer<AnswerBody> {
    let events = head.status.is_success() && headers::announce_events(&head.headers, call.endpoint.dialect());
    let framed = body.framing() != Framing::Close;
    let whole = !events && is_for_whole(worker, head);
    Answer { upstream, events, framed, whole, body: AnswerBody::Plain(body) }
}

/// An answer that is translated as it comes, with the head that it has then.
fn translated(
    call: &Call,
    upstream: UpstreamId,
    head: &mut Parts,
    (body, translator, heard): (upstream::Body, Translator, &Heard),
) -> Answer<AnswerBody> {
    let events = head.status.is_success() && call.streams();
    let is_stream = events && headers::announce_any_stream(&head.headers);
    let body = Translated::new(body, translator, (head.status, &head.headers), is_stream, heard.clone());
    headers::of_translated(&mut head.headers, call.endpoint.dialect(), events);
    // What was written says itself whether it is whole, where its dialect has a last word.
    let framed = !events || call.endpoint.ending() == Ending::Gemini;
    Answer { upstream, events, framed, whole: !events, body: AnswerBody::Translated(Box::new(body)) }
}

/// Whether an answer is worth waiting for all of it: errors, and JSON that is not too long to be held back.
fn is_for_whole(worker: &Worker, head: &Parts) -> bool {
    let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let fits = length.is_none_or(|length| length <= worker.snapshot.config.stream.commit_bytes_max);
    fits && (!head.status.is_success() || is_json(&head.headers))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        essence.eq_ignore_ascii_case(b"application/json")
    })
}

fn judge(call: &Call, leg: &Rc<Leg>, opened: Opened, mut trial: Trial) -> Outcome {
    let Opened { mut head, relay, opening, heard } = opened;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        trial.failed(Fault::Broken);
        let error = Error::new(Kind::UpstreamBroken, "the upstream switched protocols unasked");
        return Err(Box::new(Failure::new(error, leg, &trial, Onward::Elsewhere, 1)));
    }
    let is_stream = relay.is_stream();
    let said = || heard.said().map_or_else(|| relay.held(ERROR_BYTES_MAX), |said| said.to_vec());
    let (verdict, fault) = match opening {
        Opening::Broken(source) => {
            trial.failed(Fault::Broken);
            let error = Error::new(Kind::UpstreamBroken, "the upstream broke off before it had said anything");
            let error = error.with_source(source);
            return Err(Box::new(Failure::new(error, leg, &trial, Onward::Again, 1)));
        }
        Opening::Refused => (verdict::of_event(&said()), Fault::FirstEvent),
        Opening::Committed if head.status.is_success() => {
            // An error in spite of its status has got another one in the client's dialect.
            let is_error = heard.status().is_some();
            let stray = (is_error || call.streams() && !is_stream).then(said);
            (stray.map_or(Verdict::Fine, |text| verdict::of_stray(&text)), Fault::FirstEvent)
        }
        Opening::Committed => (verdict::of_answer(head.status, &head.headers, &said()), Fault::Status),
    };
    if let Some(status) = heard.status() {
        head.status = status;
        // An error is a document, whatever was asked for.
        headers::of_translated(&mut head.headers, call.endpoint.dialect(), false);
    }
    let onward = match verdict {
        Verdict::Fine => {
            trial.committed(is_stream);
            return Ok(Box::new(Answered { head, relay, trial, leg: Rc::clone(leg), continuation: None }));
        }
        Verdict::Client => Onward::Nowhere,
        Verdict::TooLong | Verdict::Policy => Onward::Larger,
        Verdict::Throttled(_) | Verdict::Spent(_) | Verdict::KeyRefused => Onward::Elsewhere,
        Verdict::Failed => Onward::Again,
    };
    match verdict {
        Verdict::Failed | Verdict::KeyRefused => trial.failed(fault),
        verdict => trial.refused(verdict),
    }
    let error = Error::new(Kind::UpstreamBroken, format!("the upstream answered {}: {verdict:?}", head.status));
    let mut failure = Failure::new(error, leg, &trial, onward, 1);
    failure.answer = Some(Box::new(Answered { head, relay, trial, leg: Rc::clone(leg), continuation: None }));
    Err(Box::new(failure))
}

/// No answer at all.
pub(super) fn unsent(failed: SendError, leg: &Rc<Leg>, trial: &mut Trial) -> Failure {
    let (kind, detail) = match failed.phase {
        FailurePhase::Cap => (Kind::Overloaded, "the upstream's connections are all in use"),
        FailurePhase::Dns => (Kind::UpstreamUnreachable, "the upstream's name could not be resolved"),
        FailurePhase::Connect => (Kind::UpstreamUnreachable, "the upstream could not be connected to"),
        FailurePhase::Handshake => (Kind::UpstreamUnreachable, "the handshake with the upstream failed"),
        FailurePhase::Response => (Kind::UpstreamBroken, "the upstream broke off before its answer"),
    };
    let (seen, cause) = (u32::from(failed.sent), failed.is_ours());
    match failed.phase {
        // Our own bound, or a request that can't be sent to anybody.
        _ if cause => trial.abandoned(),
        FailurePhase::Response => trial.failed(Fault::Broken),
        _ => trial.failed(Fault::Unreachable),
    }
    // A name that does not resolve and a certificate that is not trusted are no accidents of a moment.
    let is_lasting = matches!(failed.phase, FailurePhase::Dns | FailurePhase::Handshake);
    let onward = if cause || is_lasting { Onward::Elsewhere } else { Onward::Again };
    Failure::new(Error::new(kind, detail).with_source(failed), leg, trial, onward, seen)
}
