//! A worker that rests between turns relays the same bytes, rests only where it may, and ends a rest for whom
//! it may not keep waiting.

use crate::support::client::{Client, Reader};
use crate::support::setup::{CHAT, CHAT_PATH, DONE, Lab, Setup, token};
use crate::support::upstream::Http;

const RESTS: &str = "millstream_reactor_rest_seconds_count{worker=\"0\"}";
const CUT: &str = "millstream_reactor_rests_cut_total{worker=\"0\"}";

fn lab(http: Http, tick: &str) -> Lab {
    Setup::new().server(&format!("workers = 1\npin = false\ntick = \"{tick}\"")).lab(http)
}

/// Ten streams at once, each of twenty events that come one by one, in turns.
fn relay_in_turns(http: Http, lab: &Lab) {
    let mut streams: Vec<_> = (0..10)
        .map(|_| {
            let client = lab.chat(http);
            let mut exchange = lab.upstream.next();
            exchange.begin_events();
            (client, exchange)
        })
        .collect();
    for round in 0..20 {
        for (index, (_, exchange)) in streams.iter_mut().enumerate() {
            exchange.send(token(&format!("{round} of {index}")));
        }
        for (index, (client, _)) in streams.iter_mut().enumerate() {
            if round == 0 {
                assert_eq!(client.head().status(), 200);
            }
            assert_eq!(client.event(), token(&format!("{round} of {index}")));
        }
    }
    for (mut client, mut exchange) in streams {
        exchange.send(DONE);
        exchange.end();
        let rest = client.rest();
        assert!(rest.whole && rest.text() == DONE, "{rest:?}");
    }
    lab.until_idle();
}

#[test]
fn streams_are_the_same_with_rests() {
    for http in [Http::One, Http::Two] {
        let lab = lab(http, "500us");
        relay_in_turns(http, &lab);
        // Turns that were longer than the tick are followed by none.
        let rests = lab.gateway.metric(RESTS);
        assert!(rests > 0.0, "{http:?}");
        assert!(lab.gateway.metric("millstream_reactor_turns_total{worker=\"0\"}") > rests);
    }
}

#[test]
fn requests_and_first_tokens_end_rests() {
    for http in [Http::One, Http::Two] {
        let lab = lab(http, "2ms");
        lab.gateway.until("some are cut short", |gateway| {
            relay_in_turns(http, &lab);
            gateway.metric(CUT) > 0.0
        });
        assert!(lab.gateway.metric(RESTS) >= lab.gateway.metric(CUT));
    }
}

#[test]
fn chunks_in_midstream_end_none_and_a_client_that_nobody_reads_ends_one() {
    let lab = lab(Http::One, "2ms");
    let mut client = lab.client();
    client.post(CHAT_PATH, CHAT);
    let mut exchange = lab.upstream.next();
    exchange.begin_events();
    exchange.send(token("first"));
    assert_eq!(client.head().status(), 200);
    assert_eq!(client.event(), token("first"));
    let mut relay = |client: &mut Client| {
        for round in 0..50 {
            exchange.send(token(&format!("{round}")));
            assert_eq!(client.event(), token(&format!("{round}")));
        }
    };

    let (rests, cut) = (lab.gateway.metric(RESTS), lab.gateway.metric(CUT));
    relay(&mut client);
    assert_eq!(lab.gateway.metric(CUT), cut);
    client.post(CHAT_PATH, CHAT);
    relay(&mut client);
    assert!(lab.gateway.metric(CUT) <= cut + 1.0);
    assert!(lab.gateway.metric(RESTS) >= rests + 50.0);
}

#[test]
fn off_is_never() {
    let lab = lab(Http::One, "off");
    relay_in_turns(Http::One, &lab);
    assert_eq!(lab.gateway.metric(RESTS), 0.0);
    // How many is the machine's affair: what comes while the worker is kept from its core is all of one turn.
    assert!(lab.gateway.metric("millstream_reactor_turns_total{worker=\"0\"}") > 0.0);
}

#[test]
fn auto_rests_once_the_worker_is_busy() {
    let lab = lab(Http::One, "auto");
    lab.gateway.until("it rests", |gateway| {
        relay_in_turns(Http::One, &lab);
        gateway.metric(RESTS) > 0.0
    });
}

#[test]
fn clients_that_leave_are_missed_and_those_that_come_are_answered() {
    let lab = lab(Http::One, "2ms");
    for _ in 0..20 {
        let mut client = lab.client();
        assert_eq!(client.get("/v1/models").0.status(), 200);
        let mut stream = lab.chat(Http::One);
        let mut exchange = lab.upstream.next();
        exchange.begin_events();
        exchange.send(token("a"));
        stream.head();
        assert_eq!(stream.event(), token("a"));
        drop(stream);
        exchange.until_given_up();
    }
    let ends = "millstream_stream_ends_total{endpoint=\"chat_completions\",reason=\"client_cancelled\"}";
    lab.gateway.until("all are missed", |gateway| gateway.metric(ends) == 20.0);
}
