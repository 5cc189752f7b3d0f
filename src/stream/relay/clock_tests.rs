//! Tests of the relay: time, silence, what is awaited, and what is no event stream.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use http_body::Body as _;

use tokio::time::{advance, sleep};

use super::*;
use crate::stream::Clocks;
use crate::stream::script::{Got, Script, Step, answer, data, opaque, read, read_now, settings, wait};

const TOKEN: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const COMMENT: &str = ": keep-alive\n\n";

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn relay(clocks: Clocks, steps: impl IntoIterator<Item = Step>) -> Relay<Script> {
    let (settings, _signal) = settings();
    Relay::new(answer(Script::new(steps)), Settings { clocks, ..settings })
}

fn awaiting(clocks: Clocks, seconds: u64, result: Result<Answer<Script>, Error>) -> Relay<Script> {
    let (settings, _signal) = settings();
    let inner = self::settings().0;
    let pending = async move {
        sleep(s(seconds)).await;
        result.map(|answer| Box::new(Relay::new(answer, inner)))
    };
    Relay::awaiting(Box::pin(pending), Settings { clocks, ..settings })
}

/// The text of each frame with its second; an error event is `error` and its code.
fn seen(got: &Got) -> Vec<(u64, String)> {
    let texts = got.frames.iter().map(|frame| {
        let text = String::from_utf8_lossy(frame).into_owned();
        let code = text.strip_prefix("data: {\"error\"").and_then(|text| text.split("\"code\":\"").nth(1));
        code.and_then(|code| code.split('"').next()).map_or_else(|| text.clone(), |code| format!("error {code}"))
    });
    got.at.iter().copied().zip(texts).collect()
}

async fn check(relay: Relay<Script>, expected: &[(u64, &str)], reason: EndReason) -> Got {
    let got = read(relay).await;
    let expected: Vec<(u64, String)> = expected.iter().map(|&(at, text)| (at, text.to_owned())).collect();
    assert_eq!(seen(&got), expected);
    assert_eq!(got.reason(), reason);
    assert_eq!(got.end.bytes, got.bytes().len() as u64);
    got
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn keep_alives_fill_silence_from_the_start_but_no_event() {
    let clocks = Clocks { keep_alive: Some(s(10)), ..Clocks::default() };
    let (head, tail) = TOKEN.split_at(20);
    let steps = [wait(25), data(head), wait(7), data(&tail[..5]), wait(7), data(&tail[5..]), wait(12), data(DONE)];
    let expected = [(10, COMMENT), (20, COMMENT), (30, COMMENT), (39, TOKEN), (49, COMMENT), (51, DONE)];
    let got = check(relay(clocks, steps), &expected, EndReason::Completed).await;
    assert_eq!((got.end.events, got.end.first_token), (1, Some(s(39))));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn keep_alives_have_the_form_that_their_dialect_knows() {
    for (ending, keep_alive, last) in [
        (Ending::Messages, Some(COMMENT), "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
        (Ending::Gemini, Some("data: {}\n\n"), "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n"),
        (Ending::Ollama, None, "{\"message\":{\"content\":\"a\"},\"done\":true}\n"),
    ] {
        let (settings, _signal) = settings();
        let clocks = Clocks { keep_alive: Some(s(10)), ..Clocks::default() };
        let relay =
            Relay::new(answer(Script::new([wait(11), data(last)])), Settings { clocks, ending, ..settings });
        let expected: Vec<_> = keep_alive.map(|text| (10, text)).into_iter().chain([(11, last)]).collect();
        check(relay, &expected, EndReason::Completed).await;
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn an_error_in_place_of_a_promised_stream_is_an_event_of_the_dialect() {
    let body = "{\n\"error\": {}\n}\n";
    for (ending, expected) in [
        (Ending::Messages, "event: error\ndata: {\ndata: \"error\": {}\ndata: }\n\n"),
        (Ending::Gemini, "data: {\ndata: \"error\": {}\ndata: }\n\n{\n\"error\": {}\n}"),
        (Ending::Ollama, "{ \"error\": {} } \n"),
    ] {
        let (settings, _signal) = settings();
        let inner = Settings { ending, ..self::settings().0 };
        let pending = async move { Ok(Box::new(Relay::new(opaque(Script::new([data(body)])), inner))) };
        let relay = Relay::awaiting(Box::pin(pending), Settings { ending, ..settings });
        check(relay, &[(0, expected)], EndReason::UpstreamError).await;
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn no_keep_alive_goes_into_an_event_that_is_passed_on_in_pieces() {
    let (settings, _signal) = settings();
    let clocks = Clocks { keep_alive: Some(s(10)), ..Clocks::default() };
    let settings = Settings { clocks, event_hold_bytes_max: 16, ..settings };
    let (head, tail) = TOKEN.split_at(20);
    let steps = [data(head), wait(25), data(tail), wait(11), data(DONE)];
    let relay = Relay::new(answer(Script::new(steps)), settings);
    check(relay, &[(0, head), (25, tail), (35, COMMENT), (36, DONE)], EndReason::Completed).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn keep_alives_after_an_id_have_no_blank_line() {
    let clocks = Clocks { keep_alive: Some(s(10)), ..Clocks::default() };
    let event = format!("id: 7\n{TOKEN}");
    let steps = [wait(11), data(&event), wait(11), data(DONE)];
    check(
        relay(clocks, steps),
        &[(10, COMMENT), (11, &event), (21, ": keep-alive\n"), (22, DONE)],
        EndReason::Completed,
    )
    .await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_keep_alive_makes_no_blank_line_of_half_a_line_end_and_no_text_of_a_byte_order_mark() {
    let clocks = Clocks { keep_alive: Some(s(10)), ..Clocks::default() };
    let steps = [wait(11), data("\u{feff}data: 1\r\n\r"), wait(11), data("\ndata: 2\r\n\r\n"), data(DONE)];
    let rest = format!("data: 2\r\n\r\n{DONE}");
    let expected = [(10, COMMENT), (11, "data: 1\r\n\r"), (21, COMMENT), (22, &rest)];
    check(relay(clocks, steps), &expected, EndReason::Completed).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_clock_ends_the_stream_with_an_error_event() {
    let all = Clocks { first_token: Some(s(20)), idle: Some(s(5)), total: Some(s(60)), keep_alive: None };
    check(relay(all, [Step::Park]), &[(20, "error upstream_timeout")], EndReason::FirstTokenTimeout).await;
    let comments = (0..9).flat_map(|_| [data(": hm\n\n"), wait(4)]);
    let got = read(relay(all, comments)).await;
    assert_eq!((got.reason(), got.at.last()), (EndReason::FirstTokenTimeout, Some(&20)));
    let steps = [wait(19), data(TOKEN), wait(4), data("data: x"), Step::Park];
    let expected = [(19, TOKEN), (28, "error upstream_timeout")];
    check(relay(all, steps), &expected, EndReason::IdleTimeout).await;
    let drip = (0..40).flat_map(|_| [data(TOKEN), wait(4)]);
    let got = read(relay(all, drip)).await;
    assert_eq!((got.reason(), got.at.last()), (EndReason::TotalTimeout, Some(&60)));
    // What has come in time goes out, even if it came with the last tick.
    assert_eq!(got.end.events, 16);
}

/// An upstream that forgets to close keeps nobody waiting, neither with nor without an idle clock.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn after_the_last_word_only_a_moment_is_given_to_the_end_of_the_transfer() {
    for idle in [None, Some(s(300))] {
        let clocks = Clocks { idle, keep_alive: Some(s(1)), ..Clocks::default() };
        let (settings, _signal) = settings();
        let steps = [data(TOKEN), data(DONE), wait(200), data("late")];
        let relay = Relay::new(answer(Script::new(steps)), Settings { clocks, ..settings });
        let start = Instant::now();
        let got = read(relay).await;
        assert_eq!(got.text(), [TOKEN, DONE].concat());
        assert_eq!((got.reason(), start.elapsed()), (EndReason::Completed, s(1)));
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn the_total_clock_runs_out_even_if_there_is_always_something_to_read() {
    let endless = (0..2_000).map(|_| data(TOKEN));
    let mut relay = pin!(relay(Clocks { total: Some(s(10)), ..Clocks::default() }, endless));
    for _ in 0..12 {
        let step = poll_fn(|cx| relay.as_mut().poll_frame(cx)).await;
        assert!(matches!(step, Some(Ok(_))) || relay.is_end_stream());
        advance(s(1)).await;
    }
    assert_eq!(relay.end().reason, Some(EndReason::TotalTimeout));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn silence_is_not_counted_while_nobody_listens() {
    // As much as fits one frame is read, so the upstream is not found silent before the client comes back.
    let long = vec![b'x'; 20_000];
    let long = [b": ", long.as_slice(), b"\n\n"].concat();
    let steps = [data(TOKEN), data(&long), wait(3), data(DONE)];
    let mut relay = pin!(relay(Clocks { idle: Some(s(5)), ..Clocks::default() }, steps));
    for _ in 0..2 {
        assert!(poll_fn(|cx| relay.as_mut().poll_frame(cx)).await.is_some());
        advance(s(60)).await;
    }
    assert!(poll_fn(|cx| relay.as_mut().poll_frame(cx)).await.is_some());
    assert!(poll_fn(|cx| relay.as_mut().poll_frame(cx)).await.is_none());
    assert_eq!(relay.end().reason, Some(EndReason::Completed));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn the_recall_ends_a_parked_stream_at_once() {
    for first in [vec![Step::Park], vec![data(TOKEN), data("data: half"), Step::Park]] {
        let (settings, signal) = settings();
        let sent = first.len() > 1;
        let script = Script::new(first);
        let alive = Rc::downgrade(&script.alive);
        let recall = async {
            sleep(s(3)).await;
            signal.set(Phase::Finish);
            sleep(s(3)).await;
            signal.set(Phase::End);
        };
        let (got, ()) = tokio::join!(read(Relay::new(answer(script), settings)), recall);
        let token: &[(u64, String)] = if sent { &[(0, TOKEN.to_owned())] } else { &[] };
        assert_eq!(seen(&got), [token, &[(6, seen(&got).last().expect("an error").1.clone())]].concat());
        assert!(got.text().contains("data: {\"error\"") && !got.text().contains("half"));
        assert_eq!(got.reason(), EndReason::Drain);
        assert!(alive.upgrade().is_none(), "the upstream's body outlives its relay");
    }
}

#[test]
fn a_break_inside_an_over_long_event_aborts_after_a_chance_to_flush() {
    for last in [Some(Step::Fail), None] {
        let (settings, _signal) = settings();
        let settings = Settings { event_hold_bytes_max: 4, ..settings };
        let steps = [data(TOKEN), data("data: {\"cut")].into_iter().chain(last);
        let got = read_now(Relay::new(answer(Script::new(steps)), settings));
        assert!(got.aborted && got.pauses == 1);
        assert_eq!(got.text(), format!("{TOKEN}data: {{\"cut"));
    }
}

#[test]
fn the_usage_and_the_finish_at_the_end_of_an_over_long_event_are_seen() {
    let (settings, _signal) = settings();
    let settings = Settings { event_hold_bytes_max: 100, ..settings };
    let image = "A".repeat(100_000);
    let usage = "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}";
    let event = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"image\":\"{image}\"}},\"finish_reason\":\"stop\"}}],{usage}}}\n\n"
    );
    let at: Vec<usize> = (1_000..event.len()).step_by(1_000).collect();
    let got = read_now(Relay::new(answer(Script::split(event.as_bytes(), &at)), settings));
    assert!(got.bytes() == event.as_bytes());
    assert_eq!((got.reason(), got.end.events), (EndReason::Completed, 1));
    assert_eq!(got.end.finish_reason.as_deref(), Some("stop"));
    assert_eq!(got.end.usage.and_then(|usage| usage.completion_tokens), Some(4));
    assert!(got.frames.iter().all(|frame| frame.len() <= outbox::MERGE_BYTES_MAX));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn an_awaited_answer_is_kept_alive_and_then_relayed() {
    let clocks = Clocks { keep_alive: Some(s(10)), first_token: Some(s(60)), ..Clocks::default() };
    let relay = awaiting(clocks, 15, Ok(answer(Script::new([wait(6), data(TOKEN), data(DONE)]))));
    let both = format!("{TOKEN}{DONE}");
    let got = check(relay, &[(10, COMMENT), (20, COMMENT), (21, &both)], EndReason::Completed).await;
    assert_eq!((got.end.upstream, got.end.first_token), (Some(UpstreamId::new(0)), Some(s(21))));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn an_awaited_error_becomes_an_error_event() {
    for (kind, code, reason) in [
        (Kind::UpstreamTimeout, "error upstream_timeout", EndReason::FirstTokenTimeout),
        (Kind::UpstreamUnreachable, "error upstream_unreachable", EndReason::UpstreamError),
    ] {
        let relay = awaiting(Clocks::default(), 3, Err(Error::new(kind, "as told")));
        check(relay, &[(3, code)], reason).await;
    }
    // How long the first token may take is a matter of each attempt, so nobody is in a hurry here.
    let clocks = Clocks { first_token: Some(s(5)), ..Clocks::default() };
    let relay = awaiting(clocks, 30, Ok(answer(Script::new([]))));
    check(relay, &[(30, "error stream_truncated")], EndReason::UpstreamTruncated).await;
    // Nor how long it may be silent before.
    let clocks = Clocks { idle: Some(s(5)), ..Clocks::default() };
    let relay = awaiting(clocks, 30, Ok(answer(Script::new([wait(4), data(DONE)]))));
    check(relay, &[(34, DONE)], EndReason::Completed).await;
    let relay = awaiting(clocks, 30, Ok(answer(Script::new([wait(2), data(TOKEN), Step::Park]))));
    check(relay, &[(32, TOKEN), (37, "error upstream_timeout")], EndReason::IdleTimeout).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_stray_answer_becomes_one_event() {
    let error = "{\r\n  \"error\": {\"message\": \"no\"}\r\n}\n";
    let event = "data: {\ndata: \ndata:   \"error\": {\"message\": \"no\"}\ndata: \ndata: }\n\n";
    let relay = awaiting(Clocks::default(), 0, Ok(opaque(Script::split(error.as_bytes(), &[3, 9]))));
    check(relay, &[(0, event)], EndReason::UpstreamError).await;
    let endless = [b"{\"error\":\"".as_slice(), &vec![b'x'; 70_000], b"\"}"].concat();
    let whole = b"{\"choices\":[],\"error\":null}".to_vec();
    let cut = b"{\"error\":{\"mess".to_vec();
    for text in [Vec::new(), b"<html>".to_vec(), endless, whole, cut] {
        let relay = awaiting(Clocks::default(), 0, Ok(opaque(Script::new([data(text)]))));
        check(relay, &[(0, "error upstream_error")], EndReason::UpstreamError).await;
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn other_bodies_pass_untouched_with_their_trailers() {
    let (settings, _signal) = settings();
    let clocks = Clocks { keep_alive: Some(s(1)), first_token: Some(s(1)), ..Clocks::default() };
    let trailers = HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("x"))]);
    let json =
        "{\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}";
    let steps = [wait(9), data(&json[..30]), wait(9), data(&json[30..]), Step::Trailers(trailers.clone())];
    let relay = Relay::new(opaque(Script::new(steps)), Settings { clocks, ..settings });
    let got = check(relay, &[(9, &json[..30]), (18, &json[30..])], EndReason::Completed).await;
    assert_eq!(got.trailers, Some(trailers));
    assert_eq!((got.end.streamed, got.end.events, got.end.first_token), (false, 0, None));
    assert_eq!(got.end.finish_reason.as_deref(), Some("stop"));
    assert_eq!(got.end.usage.and_then(|usage| usage.completion_tokens), Some(2));
}

#[test]
fn other_bodies_are_aborted_when_they_break() {
    let (settings, _signal) = settings();
    let got = read_now(Relay::new(opaque(Script::new([data("half"), Step::Fail])), settings));
    assert_eq!((got.text().as_str(), got.aborted, got.pauses), ("half", true, 1));
    assert_eq!(got.reason(), EndReason::UpstreamError);
}

#[test]
fn frames_are_merged_up_to_a_bound_and_a_single_one_is_not_copied() {
    let run = |steps: Vec<Step>| read_now(relay(Clocks::default(), steps.into_iter().chain([data(DONE)])));
    let small = run((0..1_000).map(|_| data(TOKEN)).collect());
    assert!(small.frames.iter().all(|frame| frame.len() <= outbox::MERGE_BYTES_MAX));
    assert!(small.frames.len() < 25, "{} frames", small.frames.len());
    let large = Bytes::from(TOKEN.repeat(1_000));
    let got = run(vec![data(TOKEN), Step::Data(large.clone()), data("")]);
    assert_eq!(got.frames.iter().map(Bytes::len).collect::<Vec<_>>(), [TOKEN.len(), large.len(), DONE.len()]);
    assert_eq!(got.frames[1].as_ptr(), large.as_ptr());
}

#[test]
fn an_upstream_of_crumbs_does_not_keep_the_core_to_itself() {
    let long = format!("data: \"{}\"\n\n", "x".repeat(1_000));
    let crumbs = long.bytes().map(|byte| data([byte])).chain((0..200).map(|_| data("")));
    let got = read_now(relay(Clocks::default(), crumbs.chain([data(DONE)])));
    assert!(got.pauses >= 1_000 / FRAMES_PER_TURN_MAX, "{} pauses", got.pauses);
    assert_eq!(got.text(), format!("{long}{DONE}"));
}

#[test]
fn nothing_of_ours_follows_an_error_of_the_upstreams() {
    let error = "data: {\"error\":{\"message\":\"no\"}}\n\n";
    let got = read_now(relay(Clocks::default(), [data(TOKEN), data(error), Step::Fail]));
    assert_eq!((got.text(), got.reason()), (format!("{TOKEN}{error}"), EndReason::UpstreamError));
    let got = read_now(relay(Clocks::default(), [data(TOKEN), data(DONE), Step::Fail]));
    assert_eq!((got.text(), got.reason()), (format!("{TOKEN}{DONE}"), EndReason::Completed));
}
