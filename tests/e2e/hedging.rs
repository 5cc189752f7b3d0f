//! A second target beside a slow first: what clients gain, what upstreams pay, and how soon the loser is free.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::support::Gateway;
use crate::support::client::{Client, Leave, Reader};
use crate::support::crowd::{self, Asked, Ended, Member, Script, chosen, draw};
use crate::support::load::{Got, Load, percentile, tell};
use crate::support::setup::{CHAT, CHAT_PATH, DONE, QUIET, Setup};
use crate::support::upstream::{Exchange, Http, Upstream};

const REQUESTS: u64 = 3_000;

/// Of the first tokens, and by how much they are late.
const LATE_SHARE: f64 = 0.05;
const LATE: Duration = Duration::from_secs(2);

/// Where the tokens of an upstream are not late.
const FIRST: Duration = Duration::from_millis(100);
const FIRST_SPREAD_MICROS: u64 = 50_000;

const EXTRA_MAX: f64 = 0.08;
/// Bounds for what hangs, not figures: those are told.
const BOUND: Duration = Duration::from_secs(1);

fn sometimes_late(seed: u64) -> impl Fn(&Asked) -> Script + Send + Sync + 'static {
    move |asked| {
        let first = FIRST + Duration::from_micros(draw(seed, asked.number) % FIRST_SPREAD_MICROS);
        let late = if chosen(seed + 1, asked.number, LATE_SHARE) { LATE } else { Duration::ZERO };
        crowd::good(asked, first + late, Duration::from_millis(2))
    }
}

fn first_tokens(all: &[Got], percent: usize) -> Duration {
    percentile(all.iter().filter_map(|got| got.first), percent)
}

#[test]
fn a_slow_first_token_is_overtaken_and_the_loser_is_cancelled_at_once() {
    let members = [10, 20].map(|seed| Member::start(sometimes_late(seed)));
    let route =
        format!("{QUIET}\n[[routes]]\nmodel = \"*\"\ntiers = [[\"a\", \"b\"]]\nhedge = {{ after = \"p95\" }}");
    let gateway = Setup::new()
        .server("workers = 2\npin = false")
        .tables(&route)
        .upstream("a", members[0].address, "")
        .upstream("b", members[1].address, "")
        .start();
    let all = Load { clients: 64, ..Load::new(gateway.address(0), 0..REQUESTS) }.run();
    assert!(all.iter().all(|got| got.is_right(true)), "every answer is one answer");

    let count = members.iter().map(Member::count).sum::<usize>();
    let extra = count as f64 / REQUESTS as f64 - 1.0;
    let [half, most] = [50, 99].map(|percent| first_tokens(&all, percent));
    // Both of one mark were seen by one process with one clock.
    let seen: Vec<_> = members.each_ref().map(Member::seen).into_iter().collect();
    let spoke: HashMap<u64, _> = seen
        .iter()
        .flatten()
        .filter(|seen| seen.end.is_some_and(|(_, ended)| ended == Ended::Whole))
        .map(|seen| (seen.asked.mark, seen.spoke.expect("whole")))
        .collect();
    let lost = seen.iter().flatten().filter_map(|seen| match seen.end {
        Some((at, Ended::Left)) => Some(at.saturating_duration_since(spoke[&seen.asked.mark])),
        _ => None,
    });
    let lost: Vec<Duration> = lost.collect();
    let cancelled = percentile(lost.iter().copied(), 99);
    tell(&format!(
        "first token p50 {half:?}, p99 {most:?}; {:.1} % extra requests; {} losers cancelled, p50 {:?}, p99 {cancelled:?}",
        extra * 100.0,
        lost.len(),
        percentile(lost.iter().copied(), 50),
    ));
    assert!(most < LATE, "5 % are late, and hardly anybody sees it: {most:?}");
    assert!(extra <= EXTRA_MAX, "{extra}");
    assert!(lost.len() > 50, "{} losers", lost.len());
    assert!(cancelled < BOUND, "{cancelled:?}");

    // What the client is told of the answer is true.
    let names = ["a", "b"];
    let by: HashMap<u64, &str> = seen
        .iter()
        .zip(names)
        .flat_map(|(seen, name)| seen.iter().map(move |seen| (seen, name)))
        .filter(|(seen, _)| seen.end.is_some_and(|(_, ended)| ended == Ended::Whole))
        .map(|(seen, name)| (seen.asked.mark, name))
        .collect();
    for got in &all {
        let head = got.head.as_ref().expect("right");
        assert_eq!(head.get("x-millstream-upstream"), Some(by[&got.mark]), "{}", got.mark);
    }
    let told: u64 = all
        .iter()
        .map(|got| got.head.as_ref().expect("right").get("x-millstream-attempts").expect("told"))
        .map(|attempts| attempts.parse::<u64>().expect("a number"))
        .sum();
    let decided = |decision| gateway.metric(&format!("millstream_hedges_total{{decision=\"{decision}\"}}"));
    assert_eq!(decided("won") + decided("lost"), (told - REQUESTS) as f64, "attempts include hedged ones");
    // A second whose first speaks while it still connects is given up before its upstream has heard of it.
    assert!(told >= count as u64, "{told} attempts, of which {count} were seen");
    assert_eq!(gateway.metric("millstream_fallbacks_total{upstream=\"a\"}"), 0.0, "nobody has failed");
    gateway.until_idle();
}

#[test]
fn without_a_share_left_nobody_is_asked_beside_a_slow_first() {
    let slow = |asked: &Asked| crowd::good(asked, Duration::from_millis(300), Duration::ZERO);
    let members = [Member::start(slow), Member::start(slow)];
    let gateway = Setup::new()
        .tables(&format!(
            "{QUIET}\n[[routes]]\nmodel = \"*\"\ntiers = [[\"a\", \"b\"]]\nhedge = {{ after = \"50ms\", share_max = 0.1 }}"
        ))
        .upstream("a", members[0].address, "")
        .upstream("b", members[1].address, "")
        .start();
    let all = Load { clients: 50, ..Load::new(gateway.address(0), 0..500) }.run();
    assert!(all.iter().all(|got| got.is_right(true)));
    let count = members.iter().map(Member::count).sum::<usize>();
    tell(&format!("all are slow: {count} upstream requests for 500"));
    assert!(count <= 500 + 50 + 5, "{count}: a share of 0.1, and what a quiet time saves up");
    assert!(gateway.metric("millstream_hedges_total{decision=\"denied\"}") > 300.0);
}

/// The first target is silent, and the second has failed of late: it is not asked beside the first, but after it.
#[test]
fn who_is_not_fit_to_be_asked_beside_a_first_is_asked_after_it() {
    let [first, second] = [Http::One, Http::One].map(Upstream::start);
    let gateway = Setup::new()
        .tables(
            "[[routes]]\nmodel = \"*\"\ntargets = [\"first\", \"second\"]\nfirst_token_timeout = \"300ms\"\n\
             hedge = { after = \"50ms\", share_max = 0.5 }\n[retry]\nsame_target_max = 0",
        )
        .upstream("first", first.address(), "")
        .upstream("second", second.address(), "")
        .start();
    let mut client = Client::connect(gateway.address(0));
    client.post(CHAT_PATH, CHAT);
    for upstream in [&first, &second] {
        upstream.next().answer(500, &[], b"{}");
    }
    assert_eq!(client.answer().0.status(), 500);

    client.post(CHAT_PATH, CHAT);
    let mut silent = first.next();
    let mut exchange = second.next();
    exchange.begin_events();
    exchange.send(DONE);
    exchange.end();
    assert_eq!(client.answer().1.text(), DONE);
    silent.until_given_up();
}

/// The failure of one of two leaves the other to wait for.
#[test]
fn a_second_that_fails_does_not_take_the_first_along() {
    let [first, second] = [Http::One, Http::One].map(Upstream::start);
    let gateway = Setup::new()
        .tables(
            "[[routes]]\nmodel = \"*\"\ntargets = [\"first\", \"second\"]\n\
             hedge = { after = \"50ms\", share_max = 0.5 }",
        )
        .upstream("first", first.address(), "")
        .upstream("second", second.address(), "")
        .start();
    let mut client = Client::connect(gateway.address(0));
    client.post(CHAT_PATH, CHAT);
    first.next().answer(200, &[], b"{}");
    client.answer();
    client.post(CHAT_PATH, CHAT);
    let mut slow = first.next();
    second.next().answer(500, &[], b"{}");
    let failed = "millstream_attempts_total{upstream=\"second\",outcome=\"status\"}";
    gateway.until(failed, |gateway| gateway.metric(failed) == 1.0);
    slow.begin_events();
    slow.send(DONE);
    slow.end();
    let (head, rest) = client.answer();
    assert_eq!((head.status(), rest.text().as_str()), (200, DONE));
    assert_eq!(head.get("x-millstream-upstream"), Some("first"));
    assert_eq!(head.get("x-millstream-attempts"), Some("2"));
}

/// Two targets of which the second is asked beside the first, which is silent; and the client that waits.
fn both_asked(http: Http) -> ([Upstream; 2], Gateway, Client, [Exchange; 2]) {
    let pair = [http, http].map(Upstream::start);
    let more = if http == Http::Two { "protocol = \"http2\"" } else { "" };
    let gateway = Setup::new()
        .tables(
            "[[routes]]\nmodel = \"*\"\ntargets = [\"first\", \"second\"]\n\
             hedge = { after = \"50ms\", share_max = 1.0 }",
        )
        .upstream("first", pair[0].address(), more)
        .upstream("second", pair[1].address(), more)
        .start();
    let mut client = Client::connect(gateway.address(0));
    client.post(CHAT_PATH, CHAT);
    let exchanges = pair.each_ref().map(Upstream::next);
    (pair, gateway, client, exchanges)
}

#[test]
fn the_loser_is_cancelled_over_both_protocols_whichever_it_is() {
    for http in [Http::One, Http::Two] {
        for winner in [0, 1] {
            let (pair, gateway, mut client, exchanges) = both_asked(http);
            let [first, second] = exchanges;
            let (mut wins, mut loses) = if winner == 0 { (first, second) } else { (second, first) };
            let began = Instant::now();
            wins.begin_events();
            wins.send(DONE);
            wins.end();
            let took = loses.until_given_up().saturating_duration_since(began);
            assert!(took < BOUND, "{took:?}");
            let (head, rest) = client.answer();
            assert_eq!(rest.text(), DONE);
            assert_eq!(head.get("x-millstream-upstream"), Some(["first", "second"][winner]));
            gateway.until_idle();
            assert!(pair.iter().all(Upstream::is_unasked));
            let lost = gateway.sum("millstream_attempts_total", &["outcome=\"hedge_lost\""]);
            assert_eq!(lost, 1.0, "a loser is no failure");
        }
    }
}

#[test]
fn a_client_that_leaves_takes_both_along() {
    for http in [Http::One, Http::Two] {
        let (_pair, gateway, client, exchanges) = both_asked(http);
        Box::new(client).leave(Leave::Close);
        for mut exchange in exchanges {
            exchange.until_given_up();
        }
        gateway.until_idle();
        assert_eq!(gateway.sum("millstream_attempts_total", &["outcome=\"abandoned\""]), 2.0);
    }
}

/// The models of a list are for when one can't be had.
#[test]
fn the_next_model_of_a_list_is_not_asked_beside_a_slow_one() {
    let pair = [Http::One, Http::One].map(Upstream::start);
    let hedge = "hedge = { after = \"50ms\", share_max = 1.0 }";
    let gateway = Setup::new()
        .tables(&format!(
            "[[routes]]\nmodel = \"x\"\ntargets = [\"first\"]\nfirst_token_timeout = \"400ms\"\n{hedge}\n\
             [[routes]]\nmodel = \"y\"\ntargets = [\"second\"]\n{hedge}"
        ))
        .upstream("first", pair[0].address(), "")
        .upstream("second", pair[1].address(), "")
        .start();
    let mut client = Client::connect(gateway.address(0));
    client.post(CHAT_PATH, r#"{"models":["x","y"],"stream":true}"#);
    let began = Instant::now();
    let mut slow = pair[0].next();
    let mut next = pair[1].next();
    assert!(began.elapsed() > Duration::from_millis(300), "{:?}", began.elapsed());
    slow.until_given_up();
    next.begin_events();
    next.send(DONE);
    next.end();
    assert_eq!(client.answer().1.text(), DONE);
}
