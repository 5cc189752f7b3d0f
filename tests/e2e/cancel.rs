//! Answers whose client has left: broken off, or read to their end where that is wanted, within bounds.

use crate::support::client::Leave;
use crate::support::setup::{DONE, Lab, STOP, Setup, token};
use crate::support::upstream::{Exchange, Http, Upstream};

const USAGE: &str = "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\n";

const BOTH: [Http; 2] = [Http::One, Http::Two];

fn lab(http: Http, more: &str) -> Lab {
    let upstream = Upstream::start(http);
    let protocol = if http == Http::Two { "protocol = \"http2\"\n" } else { "" };
    let gateway = Setup::new()
        .upstream("up", upstream.address(), &format!("{protocol}on_cancel = \"drain\"\n{more}"))
        .start();
    Lab { gateway, upstream }
}

/// A stream that a client has seen the beginning of, and left.
fn left(lab: &Lab, how: Leave) -> Exchange {
    let mut client = lab.chat(Http::One);
    let mut exchange = lab.upstream.next();
    exchange.begin_events();
    exchange.send(token("a"));
    client.head();
    client.event();
    client.leave(how);
    exchange
}

fn drains(lab: &Lab, outcome: &str) -> f64 {
    lab.gateway.sum("millstream_cancel_drains_total", &[&format!("outcome=\"{outcome}\"")])
}

fn until_drained(lab: &Lab, outcome: &str, count: f64) {
    lab.gateway.until(&format!("{count} {outcome}"), |_| drains(lab, outcome) == count);
}

fn tokens(lab: &Lab, source: &str) -> f64 {
    lab.gateway.sum("millstream_tokens_total", &[&format!("source=\"{source}\"")])
}

#[test]
fn an_answer_without_a_client_is_read_on_so_that_its_usage_is_known() {
    for http in BOTH {
        for how in [Leave::Close, Leave::Reset] {
            let lab = lab(http, "");
            let mut exchange = left(&lab, how);
            lab.until_ended("chat_completions", "client_cancelled");
            assert_eq!(lab.gateway.sum("millstream_target_streams", &[]), 1.0, "for the target it is open");
            exchange.send([&token("b"), STOP].concat());
            exchange.send([USAGE, DONE].concat());
            exchange.end();
            until_drained(&lab, "whole", 1.0);
            assert_eq!((tokens(&lab, "drained"), tokens(&lab, "provider")), (7.0, 0.0));
            lab.gateway.until_idle();
            assert_eq!(lab.gateway.sum("millstream_attempts_total", &["outcome=\"committed\""]), 1.0);
        }
    }
}

#[test]
fn reading_on_is_bounded_in_bytes() {
    for http in BOTH {
        let lab = lab(http, "drain_bytes_max = \"4KiB\"");
        let mut exchange = left(&lab, Leave::Close);
        lab.until_ended("chat_completions", "client_cancelled");
        exchange.send(token(&"x".repeat(8 * 1024)));
        exchange.until_given_up();
        until_drained(&lab, "bound", 1.0);
        lab.gateway.until_idle();
    }
}

#[test]
fn reading_on_is_bounded_in_time() {
    for http in BOTH {
        let lab = lab(http, "drain_timeout = \"100ms\"");
        let mut exchange = left(&lab, Leave::Close);
        exchange.until_given_up();
        until_drained(&lab, "bound", 1.0);
        lab.gateway.until_idle();
    }
}

#[test]
fn reading_on_is_bounded_in_number() {
    for http in BOTH {
        let lab = lab(http, "drains_max = 1");
        let mut first = left(&lab, Leave::Close);
        lab.gateway.until("it has ended", |gateway| {
            gateway.sum("millstream_stream_ends_total", &["reason=\"client_cancelled\""]) == 1.0
        });
        let mut second = left(&lab, Leave::Close);
        second.until_given_up();
        until_drained(&lab, "refused", 1.0);
        first.send(DONE);
        first.end();
        until_drained(&lab, "whole", 1.0);
        // The place is free again.
        let mut third = left(&lab, Leave::Close);
        lab.gateway.until("it has ended", |gateway| {
            gateway.sum("millstream_stream_ends_total", &["reason=\"client_cancelled\""]) == 3.0
        });
        third.send(DONE);
        third.end();
        until_drained(&lab, "whole", 2.0);
        lab.gateway.until_idle();
    }
}

#[test]
fn a_break_of_what_is_read_on_is_the_upstreams() {
    for http in BOTH {
        let lab = lab(http, "");
        let exchange = left(&lab, Leave::Close);
        lab.until_ended("chat_completions", "client_cancelled");
        exchange.reset();
        until_drained(&lab, "broken", 1.0);
        lab.gateway.until_idle();
    }
}

#[test]
fn a_route_says_otherwise_than_its_upstream() {
    let upstream = Upstream::start(Http::One);
    let gateway = Setup::new()
        .tables("[[routes]]\nmodel = \"*\"\ntargets = [\"up\"]\non_cancel = \"abort\"")
        .upstream("up", upstream.address(), "on_cancel = \"drain\"")
        .start();
    let lab = Lab { gateway, upstream };
    left(&lab, Leave::Close).until_given_up();
    lab.gateway.until_idle();
    assert_eq!(lab.gateway.sum("millstream_cancel_drains_total", &[]), 0.0);
}

/// Nothing was said yet, so there is nothing to read on: before the commit point a client that leaves takes all along.
#[test]
fn before_the_first_token_nothing_is_read_on() {
    for http in BOTH {
        let lab = lab(http, "");
        let client = lab.chat(Http::One);
        let mut exchange = lab.upstream.next();
        client.leave(Leave::Close);
        exchange.until_given_up();
        lab.gateway.until_idle();
        assert_eq!(lab.gateway.sum("millstream_cancel_drains_total", &[]), 0.0);
    }
}

#[test]
fn what_is_read_on_keeps_its_place_at_a_target_with_a_limit() {
    let lab = lab(Http::One, "streams_limit = 1");
    let mut exchange = left(&lab, Leave::Close);
    let mut waiter = lab.chat(Http::One);
    lab.gateway.until("it waits", |gateway| gateway.sum("millstream_target_waiting", &[]) == 1.0);
    assert!(lab.upstream.is_unasked());
    exchange.send(DONE);
    exchange.end();
    lab.upstream.next().answer(200, &[], b"{}");
    assert_eq!((waiter.head().status(), waiter.rest().text()), (200, "{}".to_owned()));
    lab.gateway.until_idle();
}
