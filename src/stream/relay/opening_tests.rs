//! Tests of the commit point: what is held back, until when, and that nothing of it is lost or said twice.

use std::future::poll_fn;
use std::task::Waker;
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::stream::Clocks;
use crate::stream::script::{Got, Script, Step, answer, data, opaque, read_now, settings, wait};

const HOLD: usize = 64 * 1024;
const PREAMBLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
const TOKEN: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const ERROR: &str = "data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}\n\n";
const COMMENT: &str = ": hm\n\n";

fn relay(answer: Answer<Script>) -> Relay<Script> {
    let (settings, _signal) = settings();
    Relay::new(answer, settings)
}

fn opened(relay: &mut Relay<Script>) -> Poll<Opening> {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..100 {
        let opening = relay.poll_opening(&mut cx, HOLD);
        if opening.is_ready() {
            return opening;
        }
    }
    Poll::Pending
}

/// `-`: still waiting, `C`ommitted, `R`efused, `B`roken.
fn verdict(steps: impl IntoIterator<Item = Step>) -> char {
    match opened(&mut relay(answer(Script::new(steps)))) {
        Poll::Pending => '-',
        Poll::Ready(Opening::Committed) => 'C',
        Poll::Ready(Opening::Refused) => 'R',
        Poll::Ready(Opening::Broken(_)) => 'B',
    }
}

#[test]
fn an_answer_is_committed_to_with_its_first_token_and_not_before() {
    let (head, tail) = TOKEN.split_at(30);
    for (steps, expected) in [
        (vec![Step::Park], '-'),
        (vec![data(COMMENT), Step::Park], '-'),
        (vec![data(PREAMBLE), data(COMMENT), Step::Park], '-'),
        (vec![data(PREAMBLE), data(head), Step::Park], '-'),
        (vec![data(PREAMBLE), data(head), data(tail), Step::Park], 'C'),
        (vec![data(TOKEN), Step::Fail], 'C'),
        (vec![data(STOP), Step::Park], 'C'),
        (vec![data(DONE), Step::Park], 'C'),
        (vec![data(PREAMBLE), data(head), Step::Fail], 'B'),
        (vec![Step::Fail], 'B'),
        (vec![], 'B'),
        (vec![data(PREAMBLE)], 'B'),
        (vec![data(head)], 'B'),
        // An event that lacks nothing but its blank line is one at the end.
        (vec![data(TOKEN.trim_end())], 'C'),
        (vec![data(ERROR), Step::Park], 'R'),
        (vec![data(COMMENT), data(PREAMBLE), data(ERROR), data(DONE)], 'R'),
        (vec![data(TOKEN), data(ERROR)], 'C'),
    ] {
        let shown: Vec<String> = steps
            .iter()
            .map(
                |step| {
                    if let Step::Data(bytes) = step { String::from_utf8_lossy(bytes).into() } else { "|".into() }
                },
            )
            .collect();
        assert_eq!(verdict(steps), expected, "{shown:?}");
    }
}

#[test]
fn what_was_held_back_goes_out_as_it_came() {
    let whole = [COMMENT, PREAMBLE, TOKEN, STOP, DONE].concat();
    for at in 0..=whole.len() {
        let mut relay = relay(answer(Script::split(whole.as_bytes(), &[at])));
        assert!(matches!(opened(&mut relay), Poll::Ready(Opening::Committed)), "{at}");
        let got = read_now(relay);
        assert_eq!((got.text(), got.reason()), (whole.clone(), EndReason::Completed), "split at {at}");
        assert_eq!(got.end.events, 3);
        assert!(got.end.first_token.is_some());
    }
}

/// Over every place where a stream may break: either another upstream may be asked, and then no token has come, or
/// the answer is the client's, who gets all whole events and is told of the break.
#[test]
fn a_break_is_either_unseen_or_told() {
    let whole = [PREAMBLE, COMMENT, TOKEN, TOKEN, STOP, DONE].concat();
    let first_token = PREAMBLE.len() + COMMENT.len() + TOKEN.len();
    for at in 0..=whole.len() {
        for step in [None, Some(Step::Fail)] {
            let steps = [data(&whole[..at])].into_iter().chain(step);
            let mut relay = relay(answer(Script::new(steps)));
            let opening = opened(&mut relay);
            if at < first_token - 2 {
                assert!(matches!(opening, Poll::Ready(Opening::Broken(_))), "{at}: {opening:?}");
                continue;
            }
            if matches!(opening, Poll::Ready(Opening::Broken(_))) {
                assert!(at < first_token, "{at}");
                continue;
            }
            let got = read_now(relay);
            assert!(got.text().contains(TOKEN.trim_end()), "{at}: {}", got.text());
            let is_whole = got.reason() == EndReason::Completed;
            assert_eq!(is_whole, !got.text().contains("\"error\""), "{at}: {}", got.text());
        }
    }
}

#[test]
fn an_error_as_the_first_event_can_still_be_passed_on() {
    let whole = [COMMENT, ERROR, DONE].concat();
    let mut relay = relay(answer(Script::new([data(&whole)])));
    assert!(matches!(opened(&mut relay), Poll::Ready(Opening::Refused)));
    assert!(String::from_utf8(relay.held(HOLD)).expect("text").contains("server_error"));
    assert_eq!(relay.held(7), whole.as_bytes()[..7]);
    let got = read_now(relay);
    assert_eq!((got.text(), got.reason(), got.end.first_token), (whole, EndReason::UpstreamError, None));
}

#[test]
fn no_more_is_held_back_than_may_be() {
    let comments = COMMENT.repeat(HOLD / COMMENT.len() + 1);
    let mut relay = relay(answer(Script::new([data(&comments), data(TOKEN), data(DONE)])));
    assert!(matches!(opened(&mut relay), Poll::Ready(Opening::Committed)));
    assert_eq!(read_now(relay).text(), [&*comments, TOKEN, DONE].concat());
}

fn document(steps: impl IntoIterator<Item = Step>) -> Relay<Script> {
    relay(Answer { whole: true, ..opaque(Script::new(steps)) })
}

#[test]
fn a_document_is_committed_to_as_a_whole() {
    assert!(opened(&mut document([data("{\"a\":"), Step::Park])).is_pending());
    let mut whole = document([data("{\"a\":"), data("1}")]);
    assert!(matches!(opened(&mut whole), Poll::Ready(Opening::Committed)));
    assert_eq!(whole.held(HOLD), b"{\"a\":1}");
    let got = read_now(whole);
    assert_eq!((got.text().as_str(), got.reason()), ("{\"a\":1}", EndReason::Completed));
    let mut broken = document([data("{\"a\":"), Step::Fail]);
    assert!(matches!(opened(&mut broken), Poll::Ready(Opening::Broken(_))));
    let long = "x".repeat(HOLD + 1);
    let mut too_long = document([data(&long), Step::Fail]);
    assert!(matches!(opened(&mut too_long), Poll::Ready(Opening::Committed)));
    assert!(read_now(too_long).aborted, "and is broken off where it breaks");
    // Of a download nothing is read ahead.
    let mut download = relay(opaque(Script::new([Step::Park])));
    assert!(matches!(opened(&mut download), Poll::Ready(Opening::Committed)));
}

/// How an answer with these clocks opens, and after how many seconds; `None`: no clock has run out after an hour.
async fn opened_by(clocks: Clocks, answer: Answer<Script>) -> Option<(Opening, u64)> {
    let (settings, _signal) = settings();
    let mut relay = Relay::new(answer, Settings { clocks, ..settings });
    let began = Instant::now();
    let opening = poll_fn(|cx| relay.poll_opening(cx, HOLD));
    let opening = timeout(Duration::from_hours(1), opening).await.ok()?;
    Some((opening, began.elapsed().as_secs()))
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn silence_before_the_first_token_is_bounded_where_the_first_token_has_no_clock() {
    let s = Duration::from_secs;
    let idle = Clocks { idle: Some(s(5)), keep_alive: Some(s(1)), ..Clocks::default() };
    let comments = |then: Step| [data(COMMENT), wait(4), data(PREAMBLE), wait(4), data(COMMENT), then];
    for (answer, after) in [
        (answer(Script::new(comments(Step::Park))), 13),
        (Answer { whole: true, ..opaque(Script::new([data("{"), wait(4), data("\n"), Step::Park])) }, 9),
    ] {
        let (opening, at) = opened_by(idle, answer).await.expect("an end");
        let Opening::Broken(error) = opening else { panic!("{opening:?}") };
        assert_eq!((error.kind(), at), (Kind::UpstreamTimeout, after));
    }
    let (opening, at) = opened_by(idle, answer(Script::new(comments(data(TOKEN))))).await.expect("an end");
    assert!(matches!(opening, Opening::Committed) && at == 8, "{opening:?} {at}");
    // Its own clock is its caller's.
    let both = Clocks { first_token: Some(s(20)), ..idle };
    assert!(opened_by(both, answer(Script::new(comments(Step::Park)))).await.is_none());
    assert!(opened_by(Clocks::default(), answer(Script::new([Step::Park]))).await.is_none());
}

/// A client with an early head gets what was held back of the answer that it waited for.
fn adopted(steps: impl IntoIterator<Item = Step>, whole: bool) -> Got {
    let mut inner = if whole { document(steps) } else { relay(answer(Script::new(steps))) };
    let pending = async move {
        let opening = poll_fn(|cx| inner.poll_opening(cx, HOLD)).await;
        assert!(!matches!(opening, Opening::Broken(_)));
        Ok(Box::new(inner))
    };
    let (settings, _signal) = settings();
    read_now(Relay::awaiting(Box::pin(pending), settings))
}

#[test]
fn an_awaited_answer_goes_on_where_it_was_opened() {
    let whole = [PREAMBLE, TOKEN, STOP, DONE].concat();
    for at in 0..=whole.len() {
        let got = adopted([data(&whole[..at]), data(&whole[at..])], false);
        assert_eq!((got.text(), got.reason(), got.end.events), (whole.clone(), EndReason::Completed, 3), "{at}");
        assert!(got.end.first_token.is_some() && got.end.upstream.is_some());
    }
    let got = adopted([data(TOKEN), Step::Fail], false);
    assert_eq!(got.reason(), EndReason::UpstreamError);
    let got = adopted([data("{\"error\":{\"message\":\"no\"}}")], true);
    assert_eq!(
        (got.text().as_str(), got.reason()),
        ("data: {\"error\":{\"message\":\"no\"}}\n\n", EndReason::UpstreamError)
    );
}
