//! Tests of the relay: an upstream dies and another one goes on, or the client is told as if there were no other.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{poll_fn, ready};
use std::task::Waker;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::*;
use crate::api::prefill::{self, Prefill};
use crate::stream::Clocks;
use crate::stream::continuation::Transcript;
use crate::stream::continuation::model::{Model, Random, Read};
use crate::stream::script::{Got, Script, Step, answer, data, read, read_now, settings, wait};

const HOLD: usize = 64 * 1024;
const SEEDS: usize = 1_000;
const DONE: &str = "data: [DONE]\n\n";
const ERROR: &str = "data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}\n\n";
const COMMENT: &str = ": keep-alive\n\n";
/// What the model says.
const TOKENS: [&str; 5] = ["The wheel", " turns", ", and the", " water", " falls."];

/// What the relay has asked its successors for: what was said, and how the one before died.
type Asked = Rc<RefCell<Vec<(String, Option<EndReason>)>>>;

/// What a successor does: nothing for so long, then these steps; no steps are no answer.
struct Turn {
    after: u64,
    steps: Vec<Step>,
    strip_usage: bool,
}

/// A successor for each time somebody is asked for.
struct Turns {
    turns: VecDeque<Turn>,
    asked: Asked,
}

impl Successors<Script> for Turns {
    fn next(&mut self, said: &Transcript, died: Option<EndReason>) -> Option<PendingSuccessor<Script>> {
        self.asked.borrow_mut().push((said.text().to_owned(), died));
        let Turn { after, steps, strip_usage } = self.turns.pop_front()?;
        Some(Box::pin(async move {
            if after > 0 {
                sleep(Duration::from_secs(after)).await;
            }
            successor(steps, Prefill::Vllm, strip_usage).await
        }))
    }
}

/// As the gateway asks one.
async fn successor(steps: Vec<Step>, style: Prefill, strip_usage: bool) -> Result<Box<Successor<Script>>, Error> {
    let (settings, _signal) = settings();
    let mut relay = Box::new(Relay::new(answer(Script::new(steps)), settings).unheard());
    match poll_fn(|cx| relay.poll_opening(cx, HOLD)).await {
        Opening::Committed => Ok(Box::new(Successor { relay, upstream: UpstreamId::new(7), style, strip_usage })),
        _ => Err(Error::new(Kind::UpstreamBroken, "it did not answer")),
    }
}

fn turn(steps: impl IntoIterator<Item = Step>) -> Turn {
    Turn { after: 0, steps: steps.into_iter().collect(), strip_usage: false }
}

fn relay_with(settings: Settings, steps: Vec<Step>, turns: Vec<Turn>) -> (Relay<Script>, Asked) {
    let asked = Asked::default();
    let mut relay = Relay::new(answer(Script::new(steps)), settings);
    relay.continue_by(Some(Box::new(Turns { turns: turns.into(), asked: Rc::clone(&asked) })));
    (relay, asked)
}

/// Reads a stream of `steps`, with `turns` behind it.
fn continued(steps: Vec<Step>, turns: Vec<Turn>) -> (Got, Vec<(String, Option<EndReason>)>) {
    let (settings, _signal) = settings();
    let (relay, asked) = relay_with(settings, steps, turns);
    (read_now(relay), asked.take())
}

/// The same without anybody to go on.
fn alone(steps: Vec<Step>) -> Got {
    let (settings, _signal) = settings();
    read_now(Relay::new(answer(Script::new(steps)), settings))
}

fn chunk(id: &str, delta: &str, finish: &str) -> String {
    format!(
        "data: {{\"id\":\"{id}\",\"choices\":[{{\"index\":0,\"delta\":{{{delta}}},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

fn token(id: &str, text: &str) -> String {
    chunk(id, &format!("\"content\":{}", json!(text)), "null")
}

/// All that a server says behind the first `known` tokens.
fn rest(id: &str, known: usize) -> String {
    let mut all = chunk(id, r#""role":"assistant","content":"""#, "null");
    for text in &TOKENS[known..] {
        all += &token(id, text);
    }
    all + &chunk(id, "", "\"stop\"") + DONE
}

/// All that a server says behind `said`.
fn behind(id: &str, said: &str) -> String {
    let known = (0..=TOKENS.len()).find(|known| TOKENS[..*known].concat() == said);
    rest(id, known.expect("the model has said that"))
}

/// Goes on behind whatever was said.
struct Faithful(Asked);

impl Successors<Script> for Faithful {
    fn next(&mut self, said: &Transcript, died: Option<EndReason>) -> Option<PendingSuccessor<Script>> {
        self.0.borrow_mut().push((said.text().to_owned(), died));
        let steps = vec![data(behind("b", said.text()))];
        Some(Box::pin(successor(steps, Prefill::Vllm, false)))
    }
}

fn read_of(got: &Got) -> Read {
    Read::new(&got.frames)
}

/// Whether all of the answer came, as one stream with one seam.
fn check_whole(got: &Got, about: &str) {
    let read = read_of(got);
    assert_eq!(read.text, TOKENS.concat(), "{about}: {}", got.text());
    assert_eq!((read.finish.as_deref(), read.done, read.marks), (Some("stop"), true, 1), "{about}");
    assert!(read.roles <= 1 && read.identities.len() == 1, "{about}: {}", got.text());
    assert_eq!((got.reason(), got.aborted), (EndReason::Completed, false), "{about}");
    assert!(!got.text().contains("error"), "{about}");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    Broken,
    Ended,
    Error,
}

#[test]
fn a_stream_cut_anywhere_is_one_stream_or_told_as_ever() {
    for line_end in ["\n", "\r\n", "\r"] {
        let whole = rest("a", 0).replace('\n', line_end);
        let finish = whole.find("\"stop\"").expect("it stops");
        for (cut, split) in [(Cut::Broken, 0), (Cut::Ended, 0), (Cut::Broken, 1), (Cut::Ended, 7), (Cut::Error, 0)]
        {
            for at in 0..=whole.len() {
                let is_boundary = at == 0 || whole[..at].ends_with(&line_end.repeat(2));
                if cut == Cut::Error && !is_boundary {
                    continue;
                }
                let steps = || {
                    let (first, second) = whole[..at].split_at(at.saturating_sub(split));
                    let mut steps = vec![data(first), data(second)];
                    match cut {
                        Cut::Broken => steps.push(Step::Fail),
                        Cut::Ended => {}
                        Cut::Error => steps.extend([data(ERROR), data(DONE)]),
                    }
                    steps
                };
                let about = format!("{line_end:?} {cut:?} at {at}");
                let plain = alone(steps());
                let (settings, _signal) = settings();
                let mut relay = Relay::new(answer(Script::new(steps())), settings);
                let asked = Asked::default();
                relay.continue_by(Some(Box::new(Faithful(Rc::clone(&asked)))));
                let got = read_now(relay);
                let is_told_finish = plain.text().contains("\"stop\"");
                if plain.reason() == EndReason::Completed || is_told_finish {
                    let is_same = got.bytes() == plain.bytes() || cut == Cut::Error;
                    assert!(is_same && got.reason() == plain.reason(), "{about}: {}", got.text());
                    assert!(asked.borrow().is_empty(), "{about}");
                    continue;
                }
                check_whole(&got, &about);
                let kept = plain.text().find("data: {\"error\"").expect("an error event");
                assert!(got.bytes().starts_with(&plain.bytes()[..kept]), "{about}");
                assert_eq!(got.end.upstream, Some(UpstreamId::new(7)), "{about}");
                let reason =
                    if cut == Cut::Ended { EndReason::UpstreamTruncated } else { EndReason::UpstreamError };
                let asked = asked.take();
                assert_eq!((asked.len(), asked[0].1), (1, Some(reason)), "{about}");
                assert!(at <= finish + 60, "{about}");
            }
        }
    }
}

#[test]
fn without_successors_every_cut_is_told_as_ever() {
    let whole = rest("a", 0);
    for at in 0..=whole.len() {
        for fail in [false, true] {
            let steps = || {
                let mut steps = vec![data(&whole[..at])];
                steps.extend(fail.then_some(Step::Fail));
                steps
            };
            let plain = alone(steps());
            for is_asked in [false, true] {
                let (settings, _signal) = settings();
                let mut relay = Relay::new(answer(Script::new(steps())), settings);
                let nobody = Turns { turns: VecDeque::new(), asked: Asked::default() };
                relay.continue_by(is_asked.then(|| Box::new(nobody) as Box<dyn Successors<Script>>));
                let got = read_now(relay);
                assert_eq!((got.text(), got.reason()), (plain.text(), plain.reason()), "{at} {fail} {is_asked}");
                assert_eq!(got.end.events, plain.end.events);
            }
        }
    }
}

#[test]
fn what_was_held_back_until_the_first_token_is_gone_on_with() {
    let begun =
        [chunk("a", r#""role":"assistant""#, "null"), token("a", TOKENS[0]), token("a", TOKENS[1])].concat();
    for at in 0..=begun.len() {
        for fail in [false, true] {
            let mut steps = vec![data(&begun[..at]), data(&begun[at..])];
            steps.extend(fail.then_some(Step::Fail));
            let (settings, _signal) = settings();
            let mut relay = Relay::new(answer(Script::new(steps)), settings);
            let opening = poll_once(&mut relay);
            assert!(matches!(opening, Poll::Ready(Opening::Committed)), "{at}: {opening:?}");
            let asked = Asked::default();
            relay.continue_by(Some(Box::new(Faithful(Rc::clone(&asked)))));
            check_whole(&read_now(relay), &at.to_string());
            assert_eq!(asked.borrow()[0].0, TOKENS[..2].concat());
        }
    }
}

fn poll_once(relay: &mut Relay<Script>) -> Poll<Opening> {
    let mut cx = Context::from_waker(Waker::noop());
    relay.poll_opening(&mut cx, HOLD)
}

#[test]
fn an_early_head_is_gone_on_with_too() {
    let mut inner = {
        let (settings, _signal) = settings();
        Relay::new(answer(Script::new([data(token("a", TOKENS[0])), Step::Fail])), settings)
    };
    let pending = async move {
        assert!(matches!(poll_fn(|cx| inner.poll_opening(cx, HOLD)).await, Opening::Committed));
        inner.continue_by(Some(Box::new(Faithful(Asked::default()))));
        Ok(Box::new(inner))
    };
    let (settings, _signal) = settings();
    check_whole(&read_now(Relay::awaiting(Box::pin(pending), settings)), "early");
}

#[test]
fn a_refused_answer_is_not_seen_and_the_next_one_is_asked() {
    let said = TOKENS[..3].concat();
    let first = || vec![data(TOKENS[..3].iter().map(|text| token("a", text)).collect::<String>()), Step::Fail];
    let restarted = || turn([data(token("b", "The wheel turns, as all wheels do."))]);
    let tools = || turn([data(chunk("b", r#""tool_calls":[{"index":0}]"#, "null"))]);
    let empty = || turn([data(DONE)]);
    let long = || turn([data(token("b", " wa")), data(format!("data: \"{}", "x".repeat(2 << 20))), Step::Park]);
    let document = || turn([data(token("b", " w")), data("data: no\n\n")]);
    for refused in [restarted, tools, empty, long, document] {
        let (got, asked) = continued(first(), vec![refused(), turn([data(rest("c", 3))])]);
        check_whole(&got, "refused once");
        let died = Some(EndReason::UpstreamError);
        assert_eq!(asked, [(said.clone(), died), (said.clone(), None)]);
        // Nobody but those who don't fit: then it is as if there were nobody.
        let (got, asked) = continued(first(), vec![refused(), refused(), refused()]);
        let plain = alone(first());
        assert_eq!((got.text(), got.reason()), (plain.text(), plain.reason()));
        assert_eq!(asked.len(), 4);
    }
}

#[test]
fn an_upstreams_own_error_is_passed_on_when_nobody_goes_on() {
    let steps = || vec![data([token("a", TOKENS[0]), ERROR.to_owned(), DONE.to_owned()].concat()), Step::Park];
    for turns in [vec![], vec![turn([])], vec![turn([Step::Fail])], vec![turn([data(ERROR)])]] {
        let (got, asked) = continued(steps(), turns);
        assert_eq!(got.text(), token("a", TOKENS[0]) + ERROR);
        assert_eq!((got.reason(), got.end.events), (EndReason::UpstreamError, 2));
        assert_eq!(asked.len(), 1);
    }
    // What would be refused anywhere is not asked elsewhere.
    let policy = "data: {\"error\":{\"message\":\"no\",\"code\":\"content_filter\",\"type\":\"invalid_request_error\"}}\n\n";
    let steps = || vec![data([&token("a", TOKENS[0]), policy, DONE].concat())];
    let (got, asked) = continued(steps(), vec![turn([data(rest("b", 1))])]);
    assert_eq!((got.text(), got.reason()), (alone(steps()).text(), EndReason::UpstreamError));
    assert!(asked.is_empty());
}

#[test]
fn two_deaths_are_gone_on_behind_and_a_third_is_told() {
    let part = |id: &str, known: usize| {
        // One token and half of the next one's event.
        let next = token(id, TOKENS[known + 1]);
        vec![data(token(id, TOKENS[known])), data(&next[..next.len() / 2]), Step::Fail]
    };
    let long = |id: &str, text: &str| vec![data(token(id, text)), Step::Fail];
    let (new, newer) =
        (" has turned since the days of our grandfathers", ", and of theirs, for all that anybody knows");
    let (got, asked) =
        continued(part("a", 0), vec![turn(long("b", new)), turn(long("c", newer)), turn([data(rest("d", 3))])]);
    assert_eq!(asked.len(), 2);
    let expected = TOKENS[0].to_owned() + new + newer;
    assert_eq!(asked[1], (TOKENS[0].to_owned() + new, Some(EndReason::UpstreamError)));
    let text = got.text();
    let (events, error) = text.split_at(text.find("data: {\"error\"").expect("told"));
    assert_eq!(Read::new(&[events.to_owned().into()]).text, expected);
    assert!(error.contains("stream_truncated"));
    assert_eq!(got.reason(), EndReason::UpstreamError);
    // One that dies before its text was judged leaves no trace, but has died.
    let first = || vec![data(token("a", &TOKENS[..3].concat())), Step::Fail];
    let (got, asked) = continued(first(), vec![turn(part("b", 3)), turn([data(rest("c", 3))])]);
    check_whole(&got, "died before the seam");
    assert_eq!(asked[1], (TOKENS[..3].concat(), Some(EndReason::UpstreamError)));
    let turns = vec![turn(part("b", 3)), turn(part("c", 3)), turn([data(rest("d", 3))])];
    let (got, asked) = continued(first(), turns);
    assert_eq!((got.text(), asked.len()), (alone(first()).text(), 2));
}

#[test]
fn what_is_more_than_text_is_told_as_ever() {
    let tools = chunk("a", r#""tool_calls":[{"index":0}]"#, "null");
    let long = format!("data: {{\"id\":\"{}\"", "x".repeat(2 << 20));
    for steps in [
        vec![data([token("a", TOKENS[0]), tools, token("a", TOKENS[1])].concat()), Step::Fail],
        vec![data(token("a", TOKENS[0])), data(&long), data("}\n\n"), data(token("a", TOKENS[1])), Step::Fail],
        vec![data(token("a", TOKENS[0])), data(&long), Step::Fail],
    ] {
        let copy = steps.iter().map(|step| if let Step::Data(bytes) = step { data(bytes) } else { Step::Fail });
        let plain = alone(copy.collect());
        let (got, asked) = continued(steps, vec![turn([data(rest("b", 1))])]);
        assert!(got.bytes() == plain.bytes() && asked.is_empty());
        assert_eq!((got.reason(), got.aborted), (plain.reason(), plain.aborted));
    }
}

#[test]
fn usage_is_added_up_and_stripped_where_nobody_asked_for_it() {
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":13,\"completion_tokens\":3,\"total_tokens\":16}}\n\n";
    let first = || vec![data([token("a", TOKENS[0]), token("a", TOKENS[1])].concat()), Step::Fail];
    let second = rest("b", 2).replace(DONE, usage) + DONE;
    for strip_usage in [false, true] {
        let turn = Turn { after: 0, steps: vec![data(&second)], strip_usage };
        let (got, _) = continued(first(), vec![turn]);
        check_whole(&got, "usage");
        assert_eq!(got.text().contains("total_tokens"), !strip_usage);
        let usage = got.end.usage.expect("counted all the same");
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(11), Some(5)));
        assert_eq!(got.end.finish_reason.as_deref(), Some("stop"));
    }
}

#[test]
fn a_burst_goes_out_in_one_piece_before_the_seam_and_behind_it() {
    let burst = |id: &str| {
        let numbers = if id == "a" { 0..500 } else { 500..1_000 };
        numbers.map(|number| token(id, &format!(" {number}"))).collect::<String>()
    };
    let end = chunk("b", "", "\"stop\"") + DONE;
    let (got, _) = continued(vec![data(burst("a")), Step::Fail], vec![turn([data(burst("b") + &end)])]);
    assert_eq!((read_of(&got).marks, got.reason()), (1, EndReason::Completed));
    assert!(got.frames.len() <= 4, "{}", got.frames.len());
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(got: &Got) -> Vec<(u64, String)> {
    let text = |frame: &Bytes| match String::from_utf8_lossy(frame).into_owned() {
        text if text.starts_with("data: {\"error\"") => {
            let code = text.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next());
            format!("error {}", code.unwrap_or_default())
        }
        text if text == COMMENT => "comment".to_owned(),
        text => format!("{} events", text.matches("data: ").count()),
    };
    got.at.iter().copied().zip(got.frames.iter().map(text)).collect()
}

fn expected(seen: &[(u64, &str)]) -> Vec<(u64, String)> {
    seen.iter().map(|&(at, what)| (at, what.to_owned())).collect()
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn comments_fill_the_wait_for_an_answer_that_may_take_longer_than_silence() {
    let clocks = Clocks { idle: Some(s(5)), keep_alive: Some(s(4)), ..Clocks::default() };
    let (settings, _signal) = settings();
    let steps = vec![data(token("a", TOKENS[0])), data("data: {\"half"), Step::Park];
    let turn = Turn { after: 10, ..turn([data(rest("b", 1))]) };
    let (relay, asked) = relay_with(Settings { clocks, ..settings }, steps, vec![turn]);
    let got = read(relay).await;
    check_whole(&got, "silent");
    assert_eq!(asked.borrow()[0].1, Some(EndReason::IdleTimeout));
    let seen = [(0, "1 events"), (4, "comment"), (8, "comment"), (12, "comment"), (15, "6 events")];
    assert_eq!(at(&got), expected(&seen));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn the_whole_streams_time_and_the_gateways_end_are_told_while_an_answer_is_awaited() {
    let clocks = Clocks { total: Some(s(20)), ..Clocks::default() };
    let steps = || vec![data(token("a", TOKENS[0])), wait(5), Step::Fail];
    let turns = || vec![Turn { after: 60, ..turn([data(rest("b", 1))]) }];
    let (settings, _kept) = settings();
    let (relay, _) = relay_with(Settings { clocks, ..settings }, steps(), turns());
    let got = read(relay).await;
    assert_eq!(at(&got), expected(&[(0, "1 events"), (20, "error upstream_timeout")]));
    assert_eq!(got.reason(), EndReason::TotalTimeout);
    let (settings, signal) = self::settings();
    let (relay, asked) = relay_with(settings, steps(), turns());
    let (got, ()) = tokio::join!(read(relay), async {
        sleep(s(7)).await;
        signal.set(Phase::End);
    });
    assert_eq!((got.reason(), asked.borrow().len()), (EndReason::Drain, 1));
    assert_eq!(got.at, [0, 7]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn neither_the_end_of_the_time_nor_the_gateways_is_gone_on_behind() {
    let clocks = Clocks { total: Some(s(20)), ..Clocks::default() };
    let (settings, _kept) = settings();
    let steps = || vec![data(token("a", TOKENS[0])), Step::Park];
    let turns = || vec![turn([data(rest("b", 1))])];
    let (relay, asked) = relay_with(Settings { clocks, ..settings }, steps(), turns());
    assert_eq!(read(relay).await.reason(), EndReason::TotalTimeout);
    assert!(asked.borrow().is_empty());
    let (settings, signal) = self::settings();
    let (relay, asked) = relay_with(settings, steps(), turns());
    let (got, ()) = tokio::join!(read(relay), async {
        sleep(s(7)).await;
        signal.set(Phase::End);
    });
    assert_eq!((got.reason(), asked.borrow().len()), (EndReason::Drain, 0));
}

/// Servers of one model, the first `deaths` of which die.
struct Servers {
    model: Model,
    request: String,
    random: Random,
    deaths: u64,
    /// They may say so many tokens.
    allowed: u64,
    /// One died when all of them were said.
    exhausted: Rc<Cell<bool>>,
}

impl Servers {
    fn new(seed: u64, deaths: u64) -> Self {
        let mut random = Random(seed);
        let model = Model::new(&mut random);
        let mut request = json!({"stream": true, "messages": [{"role": "user", "content": "Tell of \"mills\"."}]});
        let mut allowed = u64::MAX;
        if random.below(4) == 0 {
            allowed = 1 + random.below(100);
            request["max_tokens"] = json!(allowed);
        }
        let request = request.to_string();
        Self { model, request, random, deaths, allowed, exhausted: Rc::default() }
    }

    /// An answer to `request`, cut at some byte before its end if it is one of those that die.
    fn steps(&mut self, name: &str, request: &[u8], sends_back: bool) -> Vec<Step> {
        let events = self.model.answer(name, request, sends_back, &mut self.random);
        let reason = format!("\"{}\"", self.model.finish);
        let is_end = |event: &String| event.contains(&reason) || event.contains("\"length\"");
        let end = events.iter().position(is_end).expect("it ends");
        let mut bytes = events.concat().into_bytes();
        let dies = self.deaths > 0;
        if dies {
            self.deaths -= 1;
            let before_end = events[..end].concat().len() as u64;
            bytes.truncate(usize::try_from(self.random.below(before_end + 1)).expect("small"));
        }
        let mut steps = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = usize::try_from(1 + self.random.below(400)).expect("small").min(rest.len());
            steps.push(data(&rest[..length]));
            rest = &rest[length..];
        }
        if dies && self.random.below(2) == 0 {
            steps.push(Step::Fail);
        }
        steps
    }
}

impl Successors<Script> for Servers {
    fn next(&mut self, said: &Transcript, died: Option<EndReason>) -> Option<PendingSuccessor<Script>> {
        assert!(died.is_some(), "what the model says was refused");
        if said.tokens() >= self.allowed {
            self.exhausted.set(true);
            return None;
        }
        loop {
            let (style, sends_back) = match self.random.below(3) {
                0 => (Prefill::Vllm, false),
                other => (Prefill::Prefix, other == 1),
            };
            let request =
                prefill::body(self.request.as_bytes(), said.text(), style, said.tokens()).expect("a chat");
            let steps = self.steps("another", &request, sends_back);
            let mut asking = Box::pin(successor(steps, style, false));
            let mut cx = Context::from_waker(Waker::noop());
            let answered = loop {
                if let Poll::Ready(answered) = asking.as_mut().poll(&mut cx) {
                    break answered;
                }
            };
            // Who dies before a first token was never answering.
            if answered.is_ok() {
                return Some(Box::pin(ready(answered)));
            }
        }
    }
}

/// Whether the stream of this seed, which dies so often, was one that can be continued. Panics if it is not the uncut
/// one then.
fn run(seed: u64, deaths: u64) -> bool {
    let mut uncut = Servers::new(seed, 0);
    let request = uncut.request.clone();
    let uncut = uncut.model.answer("a", request.as_bytes(), false, &mut uncut.random);
    let uncut = Read::new(&uncut.into_iter().map(Bytes::from).collect::<Vec<_>>());
    let mut servers = Servers::new(seed, deaths);
    let exhausted = Rc::clone(&servers.exhausted);
    let steps = servers.steps("first", request.as_bytes(), false);
    let (settings, _signal) = settings();
    let mut relay = Relay::new(answer(Script::new(steps)), settings);
    relay.continue_by(Some(Box::new(servers)));
    let got = read_now(relay);
    if exhausted.get() {
        return false;
    }
    let read = read_of(&got);
    assert_eq!((&read.text, &read.finish, read.done), (&uncut.text, &uncut.finish, true), "seed {seed}");
    assert_eq!((got.reason(), got.aborted), (EndReason::Completed, false), "seed {seed}");
    assert_eq!(read.usage, uncut.usage, "seed {seed}");
    assert!(read.identities.len() == 1 && (1..=2).contains(&read.marks), "seed {seed}: {read:?}");
    true
}

#[test]
fn a_stream_cut_at_a_random_byte_comes_out_as_the_uncut_one() {
    assert_eq!((0..).filter(|seed| run(*seed, 1)).take(SEEDS).count(), SEEDS);
}

#[test]
fn a_stream_cut_twice_comes_out_as_the_uncut_one() {
    assert_eq!((1_000_000..).filter(|seed| run(*seed, 2)).take(SEEDS / 4).count(), SEEDS / 4);
}
