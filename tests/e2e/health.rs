//! What targets do to their health: breakers and their probes, streams that are cut, and outliers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::Gateway;
use crate::support::client::{Client, Leave, Reader};
use crate::support::crowd::{self, Asked, Member, Script, chosen};
use crate::support::load::{Load, tell};
use crate::support::setup::{CHAT, CHAT_PATH, QUIET, Setup};
use crate::support::upstream::{Http, Upstream};

const OK: &[u8] = b"{}";

fn quick(asked: &Asked) -> Script {
    crowd::good(asked, Duration::from_millis(10), Duration::from_millis(1))
}

fn in_state(gateway: &Gateway, upstream: &str, state: &str) -> bool {
    let labels = [format!("upstream=\"{upstream}\""), format!("state=\"{state}\"")];
    gateway.sum("millstream_target_state", &labels.each_ref().map(String::as_str)) == 1.0
}

fn chat(gateway: &Gateway) -> Client {
    let mut client = Client::connect(gateway.address(0));
    client.post(CHAT_PATH, CHAT);
    client
}

#[test]
fn one_request_at_a_time_tries_a_target_that_has_failed() {
    let upstream = Upstream::start(Http::One);
    let gateway = Setup::new()
        .tables(
            "[retry]\nsame_target_max = 0\n\
             [health]\nbreaker_failures = 1\nbreaker_open = \"200ms\"\nbreaker_open_max = \"200ms\"",
        )
        .upstream("up", upstream.address(), "")
        .start();
    let until = |state: &str| gateway.until(state, |gateway| in_state(gateway, "up", state));
    let mut client = chat(&gateway);
    upstream.next().answer(500, &[], OK);
    assert_eq!(client.answer().0.status(), 500);
    assert!(in_state(&gateway, "up", "open"));
    assert_eq!(chat(&gateway).answer().0.status(), 503);

    // The one that tries it keeps the others out, and lets the next one in when its client leaves.
    until("half_open");
    let prober = chat(&gateway);
    let mut exchange = upstream.next();
    assert_eq!(chat(&gateway).answer().0.status(), 503);
    Box::new(prober).leave(Leave::Close);
    exchange.until_given_up();
    let mut prober = chat(&gateway);
    let exchange = upstream.next();
    assert_eq!(chat(&gateway).answer().0.status(), 503);
    exchange.answer(200, &[], OK);
    assert_eq!(prober.answer().0.status(), 200);
    assert!(in_state(&gateway, "up", "closed"));

    let mut client = chat(&gateway);
    upstream.next().answer(200, &[], OK);
    assert_eq!(client.answer().0.status(), 200);
    assert!(upstream.is_unasked());
}

#[test]
fn what_is_no_word_about_a_target_leaves_it_to_be_tried_again() {
    const STATUSES: [u16; 6] = [500, 400, 429, 400, 429, 429];
    let member = Member::start(|asked| match STATUSES.get(usize::try_from(asked.number).expect("few")) {
        Some(status) => crowd::failing(*status),
        None => quick(asked),
    });
    let gateway = Setup::new()
        .tables(
            "[retry]\nsame_target_max = 0\n\
             [health]\nbreaker_failures = 1\nbreaker_open = \"100ms\"\nbreaker_open_max = \"100ms\"\n\
             throttle = \"100ms\"\nthrottle_max = \"100ms\"",
        )
        .upstream("up", member.address, "")
        .start();
    let mut told = Vec::new();
    gateway.until("it is well", |gateway| {
        let status = chat(gateway).answer().0.status();
        // While it is left alone.
        if status != 503 {
            told.push(status);
        }
        status == 200
    });
    assert_eq!(told, [&STATUSES[..], &[200]].concat());
    assert!(in_state(&gateway, "up", "closed"));
}

/// Two upstreams in a tier with equal weights, of which the first has a fault that does not open its breaker.
fn beside_others(bad: impl Fn(&Asked) -> Script + Send + Sync + 'static, health: &str) -> (Gateway, [Member; 3]) {
    let members = [Member::start(bad), Member::start(quick), Member::start(quick)];
    let gateway = Setup::new()
        .server("workers = 2\npin = false")
        .tables(&format!(
            "{QUIET}\n[[routes]]\nmodel = \"*\"\nbalance = \"weighted\"\ntiers = [[\"bad\", \"b\", \"c\"]]\n{health}"
        ))
        .upstream("bad", members[0].address, "")
        .upstream("b", members[1].address, "")
        .upstream("c", members[2].address, "")
        .start();
    (gateway, members)
}

/// Requests before anybody is judged, one each 5 ms: three seconds, in which each of three has far more than the 20
/// attempts that a judgement needs; and after it.
const BEFORE: u64 = 600;
const AFTER: u64 = 1_000;

fn expect_ejected(gateway: &Gateway, members: &[Member; 3], share: f64) {
    let load = |marks| Load { every: Duration::from_millis(5), ..Load::new(gateway.address(0), marks) };
    load(0..BEFORE).run();
    gateway.until("it is left out", |gateway| gateway.sum("millstream_ejections_total", &["\"bad\""]) == 1.0);
    assert!(in_state(gateway, "bad", "ejected"));
    let before = members[0].count();
    let all = load(BEFORE..BEFORE + AFTER).run();
    assert!(all.iter().all(|got| got.is_right(true)));
    let after = members[0].count() - before;
    tell(&format!("{before} of {BEFORE} requests before it was left out, {after} of {AFTER} afterwards"));
    assert!(after as f64 <= share * AFTER as f64, "{after}");
    assert_eq!(gateway.sum("millstream_ejections_total", &[]), 1.0, "the others stay");
}

#[test]
fn who_is_much_slower_than_the_others_of_its_tier_is_left_out() {
    let slow = |asked: &Asked| crowd::good(asked, Duration::from_millis(900), Duration::ZERO);
    let (gateway, members) = beside_others(slow, "");
    expect_ejected(&gateway, &members, 0.0);
}

#[test]
fn who_fails_much_more_often_than_the_others_of_its_tier_is_left_out() {
    let failing = |asked: &Asked| if chosen(11, asked.number, 0.3) { crowd::failing(500) } else { quick(asked) };
    let (gateway, members) = beside_others(failing, "[health]\nbreaker_failures = 100");
    expect_ejected(&gateway, &members, 0.0);
}

#[test]
fn who_cuts_its_streams_is_left_alone() {
    let cutting = |asked: &Asked| crowd::cut(quick(asked), 2);
    let (gateway, members) = beside_others(cutting, "");
    let all = Load { every: Duration::from_millis(2), ..Load::new(gateway.address(0), 0..1_000) }.run();
    let cut = members[0].count();
    tell(&format!("{cut} of 1000 streams went to an upstream that cuts all of them"));
    assert!(cut < 50, "{cut}");
    let wrong: Vec<_> = all.iter().filter(|got| !got.is_right(true)).collect();
    assert_eq!(wrong.len(), cut);
    for got in wrong {
        assert!(got.text().contains("\"error\""), "a break is told: {}", got.text());
        assert!(got.text().starts_with(&crowd::answer(got.mark, true)[..20]));
    }
}

#[test]
fn no_more_than_half_of_a_tier_is_left_out() {
    let slow = |asked: &Asked| crowd::good(asked, Duration::from_millis(700), Duration::ZERO);
    let members: Vec<Member> =
        (0..5).map(|n| if n < 3 { Member::start(quick) } else { Member::start(slow) }).collect();
    let mut setup = Setup::new().server("workers = 2\npin = false").tables(&format!(
        "{QUIET}\n[[routes]]\nmodel = \"*\"\nbalance = \"weighted\"\ntiers = [[\"u0\", \"u1\", \"u2\", \"u3\", \"u4\"]]\n\
         [health]\nejected_share_max = 0.3"
    ));
    for (n, member) in members.iter().enumerate() {
        setup = setup.upstream(&format!("u{n}"), member.address, "");
    }
    let gateway = setup.start();
    let address = gateway.address(0);
    let load = Load { clients: 64, every: Duration::from_millis(5), ..Load::new(address, 0..1_200) };
    let load = std::thread::spawn(move || load.run());
    let mut most = 0.0_f64;
    while !load.is_finished() {
        most = most.max(gateway.sum("millstream_target_state", &["state=\"ejected\""]));
        std::thread::yield_now();
    }
    assert!(load.join().expect("no panic").iter().all(|got| got.is_right(true)));
    assert_eq!(most, 1.0, "of 5 at most 1.5 may be left out, and two should be");
}

#[test]
fn a_target_that_is_back_gets_its_share_step_by_step() {
    const PART: Duration = Duration::from_millis(500);
    const SLOW_START: Duration = Duration::from_secs(3);
    let well = Arc::new(AtomicBool::new(false));
    let rule = Arc::clone(&well);
    let (gateway, members) = beside_others(
        move |asked: &Asked| if rule.load(Ordering::SeqCst) { quick(asked) } else { crowd::failing(500) },
        "[health]\nbreaker_open = \"100ms\"\nbreaker_open_max = \"100ms\"\nslow_start = \"3s\"",
    );
    let load = |marks| Load { every: Duration::from_millis(2), ..Load::new(gateway.address(0), marks) };
    assert!(load(0..200).run().iter().all(|got| got.is_right(true)));
    // No request is under way that was sent before the breaker opened.
    assert!(!in_state(&gateway, "bad", "closed"));
    let before = members.each_ref().map(Member::count);
    well.store(true, Ordering::SeqCst);
    assert!(load(200..3_200).run().iter().all(|got| got.is_right(true)));
    let came: [Vec<_>; 3] =
        [0, 1, 2].map(|n| members[n].seen().into_iter().skip(before[n]).map(|seen| seen.came).collect());
    let back = came[0][0];
    // Of all requests: how many there are in a part is the machine's affair.
    let share_of_part = |from| {
        let of_part = |came: &Vec<Instant>| {
            came.iter().filter(|came| (from..from + PART).contains(&(**came - back))).count()
        };
        let counts = came.each_ref().map(of_part);
        counts[0] as f64 / counts.iter().sum::<usize>() as f64
    };
    let shares = [Duration::ZERO, SLOW_START].map(share_of_part);
    tell(&format!("{shares:.2?} of all requests in the first half second, and in one after the slow start"));
    assert!(shares[0] * 2.0 < shares[1], "{shares:?}");
    assert!(shares[1] > 0.2, "a third of them: {shares:?}");
}
