//! Streams that break off in their midst on a route that continues them: another target goes on with the text, and the
//! client sees one stream; or it is told of the break, as ever.

use serde_json::{Value, json};

use crate::support::Gateway;
use crate::support::client::{Client, Leave, Reader, Rest};
use crate::support::setup::{CHAT, CHAT_PATH, DONE, STOP, Setup, token};
use crate::support::upstream::{Exchange, Http, Upstream};

/// What the model says, to whoever asks.
const WORDS: [&str; 8] =
    ["The wheel", " turns", " because", " the water", " pushes", " it", ", and", " the stones grind."];

/// A gateway with two upstreams that can both go on with a begun answer.
fn start(http: Http, route: &str) -> (Gateway, Upstream, Upstream) {
    let (first, second) = (Upstream::start(http), Upstream::start(http));
    let more = |style| {
        let protocol = if http == Http::Two { "protocol = \"http2\"\n" } else { "" };
        format!("{protocol}prefill = \"{style}\"")
    };
    let gateway = Setup::new()
        .upstream("first", first.address(), &more("vllm"))
        .upstream("second", second.address(), &more("prefix"))
        .tables(&format!("[[routes]]\nmodel = \"*\"\n{route}"))
        .start();
    (gateway, first, second)
}

const BOTH: &str = "targets = [\"first\", \"second\"]\ncontinue = true";

/// Only the first can go on with an answer.
const ONE_OF_TWO: &str = "targets = [\"first\", { upstream = \"second\", prefill = \"off\" }]\ncontinue = true";

/// Events of the words from `known` on.
fn words(known: usize) -> Vec<String> {
    WORDS[known..].iter().map(|word| token(word)).collect()
}

/// The number of words that `exchange` is to go on behind.
fn known(exchange: &Exchange) -> usize {
    let request: Value = serde_json::from_str(exchange.text()).expect("JSON");
    let last = request["messages"].as_array().and_then(|messages| messages.last()).expect("a message");
    let begun = if last["role"] == "assistant" { last["content"].as_str().expect("text") } else { "" };
    (0..WORDS.len()).find(|known| WORDS[..*known].concat() == begun).expect("what the model says")
}

/// Answers up to the end.
fn go_on(mut exchange: Exchange) {
    let known = known(&exchange);
    exchange.begin_events();
    exchange.send(words(known).concat());
    exchange.send([STOP, DONE].concat());
    exchange.end();
}

/// The text of a stream, and how often it was gone on with.
fn text(events: &str) -> (String, usize) {
    let chunks = events.split("\n\n").filter_map(|event| event.strip_prefix("data: {"));
    let chunks = chunks.map(|rest| serde_json::from_str(&format!("{{{rest}")).expect("JSON"));
    chunks.fold((String::new(), 0), |(text, seams), chunk: Value| {
        let content = chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
        (text + content, seams + usize::from(chunk["millstream"] == json!({"continued": true})))
    })
}

fn check_whole(rest: &Rest, before: &str, about: &str) {
    let all = before.to_owned() + &rest.text();
    assert!(rest.whole && all.ends_with(&[STOP, DONE].concat()), "{about}: {all}");
    assert_eq!(text(&all), (WORDS.concat(), 1), "{about}: {all}");
    assert!(!all.contains("error"), "{about}: {all}");
}

fn continuations(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(&format!("millstream_continuations_total{{outcome=\"{outcome}\"}}"))
}

#[test]
fn a_stream_cut_at_any_chunk_goes_on_at_the_other_target() {
    for http in [Http::One, Http::Two] {
        let (gateway, first, second) = start(http, BOTH);
        let cuts: Vec<(usize, bool)> = (1..WORDS.len()).map(|at| (at, at % 2 == 0)).collect();
        for (at, reset) in &cuts {
            let about = format!("{http:?} cut at {at}");
            let mut client = Client::connect(gateway.address(0));
            client.post(CHAT_PATH, CHAT);
            let mut dying = first.next();
            dying.begin_events();
            let events = words(0);
            dying.send(events[..*at].concat() + &events[*at][..20]);
            client.head();
            // A reset may overtake what was sent before it.
            let before: String = (0..*at).map(|_| client.event()).collect();
            dying.cut(*reset);
            let exchange = second.next();
            assert_eq!(known(&exchange), *at, "{about}");
            assert!(exchange.text().contains("\"prefix\":true"), "{about}: {}", exchange.text());
            go_on(exchange);
            check_whole(&client.rest(), &before, &about);
        }
        assert!(first.is_unasked() && second.is_unasked());
        assert_eq!(continuations(&gateway, "continued"), cuts.len() as f64);
        let ends = "millstream_stream_ends_total{endpoint=\"chat_completions\",reason=\"completed\"}";
        gateway.until("all have ended", |gateway| gateway.metric(ends) == cuts.len() as f64);
        gateway.until("nothing is in flight", |gateway| {
            gateway.metric("millstream_streams_active{phase=\"streaming\"}") == 0.0
                && gateway.metric("millstream_streams_active{phase=\"waiting_first_token\"}") == 0.0
        });
    }
}

#[test]
fn an_error_event_in_the_midst_is_gone_on_behind_as_well() {
    let (gateway, first, second) = start(Http::One, BOTH);
    let mut client = Client::connect(gateway.address(0));
    client.post(CHAT_PATH, CHAT);
    let mut exchange = first.next();
    exchange.begin_events();
    exchange.send(words(0)[..2].concat());
    assert_eq!(client.head().get("x-millstream-upstream"), Some("first"));
    let before = client.event() + &client.event();
    exchange.send("data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n");
    exchange.send(DONE);
    go_on(second.next());
    check_whole(&client.rest(), &before, "an error event");
    let line = "upstream=\"second\"";
    gateway.until("the access log names who answered last", |gateway| gateway.log().contains(line));
}

#[test]
fn the_only_target_is_asked_again() {
    let (gateway, first, second) = start(Http::One, "targets = [\"first\"]\ncontinue = true");
    let mut client = Client::connect(gateway.address(0));
    client.post(CHAT_PATH, CHAT);
    let mut exchange = first.next();
    exchange.begin_events();
    exchange.send(words(0)[..3].concat());
    client.head();
    exchange.cut(false);
    let exchange = first.next();
    assert!(exchange.text().contains("\"continue_final_message\":true"), "{}", exchange.text());
    go_on(exchange);
    check_whole(&client.rest(), "", "the only one");
    assert!(second.is_unasked());
}

#[test]
fn what_nobody_goes_on_with_is_an_error_event() {
    for (route, outcome, is_asked) in [
        ("targets = [\"first\", \"second\"]", None, false),
        (BOTH, Some("failed"), true),
        (ONE_OF_TWO, Some("failed"), false),
    ] {
        let (gateway, first, second) = start(Http::One, route);
        let mut client = Client::connect(gateway.address(0));
        client.post(CHAT_PATH, CHAT);
        let mut exchange = first.next();
        exchange.begin_events();
        let begun = words(0)[..3].concat();
        exchange.send(&begun);
        client.head();
        exchange.cut(false);
        if is_asked {
            second.next().answer(400, &[("content-type", "application/json")], br#"{"error":{"message":"no"}}"#);
        }
        if outcome.is_some() {
            first.next().answer(503, &[], b"");
        }
        let rest = client.rest();
        let error = rest.text();
        let error = error.strip_prefix(&begun).unwrap_or_else(|| panic!("{error}"));
        assert!(
            rest.whole && error.contains("\"stream_truncated\"") && !error.contains("[DONE]"),
            "{route}: {error}"
        );
        assert!(first.is_unasked() && second.is_unasked());
        for known in ["continued", "refused", "failed", "unfit"] {
            assert_eq!(
                continuations(&gateway, known),
                f64::from(u8::from(Some(known) == outcome)),
                "{route} {known}"
            );
        }
    }
}

/// A stream that has said three words and then breaks off.
fn broken_off(gateway: &Gateway, upstream: &Upstream) -> (Client, String) {
    let mut client = Client::connect(gateway.address(0));
    client.post(CHAT_PATH, CHAT);
    let mut exchange = upstream.next();
    exchange.begin_events();
    exchange.send(words(0)[..3].concat());
    client.head();
    let before = (0..3).map(|_| client.event()).collect();
    exchange.cut(false);
    (client, before)
}

fn until_nothing_is_open(gateway: &Gateway) {
    for upstream in ["first", "second"] {
        let sample = format!("millstream_target_streams{{upstream=\"{upstream}\",key=\"default\",model=\"\"}}");
        let is_known = gateway.admin_get("/metrics").contains(&sample);
        assert!(is_known, "{}", gateway.admin_get("/metrics"));
        gateway.until(&sample, |gateway| gateway.metric(&sample) == 0.0);
    }
}

#[test]
fn a_client_that_leaves_meanwhile_gives_up_what_was_asked() {
    let (gateway, first, second) = start(Http::One, BOTH);
    let (client, _) = broken_off(&gateway, &first);
    let mut exchange = second.next();
    Box::new(client).leave(Leave::Close);
    exchange.until_given_up();
    until_nothing_is_open(&gateway);
    assert_eq!(gateway.metric("millstream_attempts_total{upstream=\"second\",outcome=\"abandoned\"}"), 1.0);
    let ends = "millstream_stream_ends_total{endpoint=\"chat_completions\",reason=\"client_cancelled\"}";
    gateway.until(ends, |gateway| gateway.metric(ends) == 1.0);
}

#[test]
fn a_death_is_told_once_and_what_follows_is_an_attempt_like_any() {
    for (failures, state) in [(1, "open"), (2, "closed")] {
        let more = format!("{BOTH}\n[health]\nbreaker_failures = {failures}");
        let (gateway, first, second) = start(Http::One, &more);
        let (mut client, before) = broken_off(&gateway, &first);
        go_on(second.next());
        check_whole(&client.rest(), &before, state);
        until_nothing_is_open(&gateway);
        for (upstream, state) in [("first", state), ("second", "closed")] {
            let target = format!("upstream=\"{upstream}\",key=\"default\",model=\"\"");
            let sample = format!("millstream_target_state{{{target},state=\"{state}\"}}");
            assert_eq!(gateway.metric(&sample), 1.0, "{sample}");
            let attempts = format!("millstream_attempts_total{{upstream=\"{upstream}\",outcome=\"committed\"}}");
            assert_eq!(gateway.metric(&attempts), 1.0);
        }
        assert_eq!(gateway.metric("millstream_fallbacks_total{upstream=\"first\"}"), 1.0);
    }
}

#[test]
fn no_stream_is_gone_on_with_beyond_the_budget() {
    let none = format!("{BOTH}\n[retry]\nbudget = 0.0\nbudget_floor = 0");
    let (gateway, first, second) = start(Http::One, &none);
    let (mut client, _) = broken_off(&gateway, &first);
    let rest = client.rest();
    assert!(rest.whole && rest.text().contains("\"stream_truncated\""), "{}", rest.text());
    assert!(first.is_unasked() && second.is_unasked());
    assert_eq!(continuations(&gateway, "failed"), 1.0);
    assert_eq!(gateway.metric("millstream_retries_total{upstream=\"first\",decision=\"denied_budget\"}"), 1.0);
    until_nothing_is_open(&gateway);
}

#[test]
fn a_chat_with_tools_is_told_of_its_break() {
    let (gateway, first, second) = start(Http::One, BOTH);
    let mut client = Client::connect(gateway.address(0));
    client.post(CHAT_PATH, &CHAT.replace("\"stream\"", "\"tools\":[{\"type\":\"function\"}],\"stream\""));
    let mut exchange = first.next();
    exchange.begin_events();
    exchange.send(&words(0)[0]);
    client.head();
    client.event();
    exchange.cut(false);
    assert!(client.rest().text().contains("\"stream_truncated\""));
    assert!(first.is_unasked() && second.is_unasked());
    assert_eq!(continuations(&gateway, "unfit"), 1.0);
}
