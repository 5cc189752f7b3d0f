//! Which target a request gets, and where it goes when that one says no: what the configuration, the client, and the
//! answers so far have to say in it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Gateway;
use crate::support::client::{Client, Reader};
use crate::support::crowd::{self, Asked, Member, Script};
use crate::support::load::{Got, Load, tell};
use crate::support::setup::{CHAT, CHAT_PATH, DONE, QUIET, Setup};
use crate::support::upstream::{Exchange, Http, Upstream, nobody};
use crate::support::wire::Head;

const OK: &[u8] = b"{}";

fn quick(asked: &Asked) -> Script {
    crowd::good(asked, Duration::from_millis(2), Duration::from_millis(1))
}

fn expect_right(all: &[Got]) {
    if let Some(wrong) = all.iter().find(|got| !got.is_right(true)) {
        panic!("{wrong:?}: {}", wrong.text());
    }
}

fn upstreams() -> [Upstream; 2] {
    [Http::One, Http::One].map(Upstream::start)
}

/// Two upstreams, `a` and `b`.
fn start(pair: &[Upstream; 2], tables: &str) -> Gateway {
    Setup::new().tables(tables).upstream("a", pair[0].address(), "").upstream("b", pair[1].address(), "").start()
}

fn chat(gateway: &Gateway, fields: &[(&str, &str)], body: &str) -> Client {
    let mut client = Client::connect(gateway.address(0));
    let fields = [&[("content-type", "application/json")], fields].concat();
    client.ask("POST", CHAT_PATH, &fields, body.as_bytes());
    client
}

fn answer(exchange: Exchange, mut client: Client) -> Head {
    exchange.answer(200, &[], OK);
    let (head, rest) = client.answer();
    assert_eq!((head.status(), rest.bytes.as_slice()), (200, OK));
    head
}

fn expect_refused(mut client: Client, status: u16) -> String {
    let (head, rest) = client.answer();
    assert_eq!(head.status(), status, "{}", rest.text());
    rest.text()
}

// ---------------------------------------------------------------------------------------- keys of an upstream

const KEYS: [&str; 2] = ["sk-upstream-one-0123456789", "sk-upstream-two-0123456789"];

/// One upstream with two keys, of which the first has the rule `first`.
fn two_keys(first: impl Fn(&Asked) -> Script + Send + Sync + 'static) -> (Member, Gateway) {
    let member = Member::start(move |asked| {
        let key = asked.head.get("authorization").expect("a key");
        if key.ends_with(KEYS[0]) { first(asked) } else { quick(asked) }
    });
    let tables = format!(
        "{QUIET}\n[[upstreams]]\nname = \"up\"\nbase_url = \"http://{}/v1\"\n\
         keys = [{{ name = \"one\", key_env = \"ONE\" }}, {{ name = \"two\", key_env = \"TWO\" }}]\n\
         [[routes]]\nmodel = \"*\"\nbalance = \"weighted\"\ntargets = [\"up\"]",
        member.address
    );
    let gateway = Setup::new().env("ONE", KEYS[0]).env("TWO", KEYS[1]).tables(&tables).start();
    (member, gateway)
}

/// When requests with the first key came.
fn with_first_key(member: &Member) -> Vec<Instant> {
    let seen = member.seen().into_iter();
    let own = seen.filter(|seen| seen.asked.head.get("authorization").is_some_and(|key| key.ends_with(KEYS[0])));
    own.map(|seen| seen.came).collect()
}

#[test]
fn the_keys_of_an_upstream_share_its_requests() {
    let (member, gateway) = two_keys(quick);
    expect_right(&Load::new(gateway.address(0), 0..1_000).run());
    let first = with_first_key(&member).len();
    assert!((400..600).contains(&first), "{first} of 1000");
}

#[test]
fn a_throttled_key_is_not_asked_before_its_time_and_another_takes_over() {
    let told = Arc::new(AtomicBool::new(false));
    let (member, gateway) =
        two_keys(
            move |asked| {
                if told.swap(true, Ordering::SeqCst) { quick(asked) } else { crowd::throttling(Some("1")) }
            },
        );
    let load = Load { clients: 1, every: Duration::from_millis(5), ..Load::new(gateway.address(0), 0..600) };
    let all = load.run();
    expect_right(&all);
    let came = with_first_key(&member);
    let pause = came[1] - came[0];
    tell(&format!("after 429 with retry-after 1 the key had {pause:?} of rest, then {} requests", came.len() - 1));
    assert!(pause >= Duration::from_secs(1), "{pause:?}");
    assert!(came.len() > 10, "it is asked again");
    assert_eq!(gateway.sum("millstream_attempts_total", &["outcome=\"throttled\""]), 1.0);
}

#[test]
fn a_key_whose_quota_is_spent_is_asked_once() {
    let spent = |_: &Asked| Script {
        parts: vec![(Duration::ZERO, SPENT.to_owned())],
        length: Some(SPENT.len()),
        ..crowd::throttling(None)
    };
    const SPENT: &str = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    let (member, gateway) = two_keys(spent);
    // One after the other: those under way when the first answer comes may have been sent with that key as well.
    expect_right(&Load { clients: 1, ..Load::new(gateway.address(0), 0..500) }.run());
    assert_eq!(with_first_key(&member).len(), 1);
    assert_eq!(gateway.sum("millstream_attempts_total", &["outcome=\"spent\""]), 1.0);
    assert_eq!(gateway.sum("millstream_target_state", &["key=\"one\"", "state=\"throttled\""]), 1.0);
    assert_eq!(gateway.sum("millstream_target_state", &["key=\"two\"", "state=\"closed\""]), 1.0);
}

#[test]
fn a_key_that_is_refused_is_left_alone_and_another_takes_over() {
    let (member, gateway) = two_keys(|_| crowd::failing(401));
    expect_right(&Load { clients: 1, ..Load::new(gateway.address(0), 0..500) }.run());
    let first = with_first_key(&member).len();
    assert!(first < 10, "{first} of 500");
    assert_eq!(gateway.sum("millstream_target_state", &["key=\"one\"", "state=\"open\""]), 1.0);
}

// ------------------------------------------------------------------------------------------- what clients say

const TWO_MODELS: &str = "[[routes]]\nmodel = \"x\"\naliases = [\"ex\", \"team/x\"]\ntargets = [\"a\"]\n\
                          [[routes]]\nmodel = \"y\"\ntargets = [{ upstream = \"b\", model = \"y-large\" }]";

#[test]
fn the_models_of_a_list_are_asked_in_their_order() {
    let pair = upstreams();
    for body in [r#"{"models":["x","y"],"n":1}"#, r#"{"model":"x","models":["x","y"],"n":1}"#] {
        let gateway = start(&pair, TWO_MODELS);
        let client = chat(&gateway, &[], body);
        let exchange = pair[0].next();
        assert_eq!(exchange.text().replace(r#""model":"x","#, ""), r#"{"n":1}"#, "the list goes no further");
        exchange.answer(429, &[("retry-after", "0")], OK);
        let exchange = pair[1].next();
        assert_eq!(exchange.text().replace(r#""model":"y-large","#, ""), r#"{"n":1}"#);
        let head = answer(exchange, client);
        assert_eq!(head.get("x-millstream-upstream"), Some("b"));
        assert_eq!(head.get("x-millstream-attempts"), Some("2"));
        expect_refused(chat(&gateway, &[], r#"{"models":["x","none"]}"#), 404);
    }
    assert!(pair[0].is_unasked() && pair[1].is_unasked());
}

#[test]
fn an_alias_is_another_name_of_its_route() {
    let pair = upstreams();
    let gateway = start(&pair, TWO_MODELS);
    for name in ["x", "ex", "team/x"] {
        let client = chat(&gateway, &[], &format!(r#"{{"model":"{name}"}}"#));
        let exchange = pair[0].next();
        assert_eq!(exchange.text(), r#"{"model":"x"}"#, "upstreams know the model by its own name");
        answer(exchange, client);
    }
    expect_refused(chat(&gateway, &[], r#"{"model":"exx"}"#), 404);
}

#[test]
fn a_client_chooses_among_the_upstreams_of_its_route() {
    let pair = upstreams();
    let tables = format!("[[routes]]\nmodel = \"m\"\ntargets = [\"a\", \"b\"]\n{TWO_MODELS}");
    let gateway = start(&pair, &tables);
    for (name, upstream) in [("a", &pair[0]), ("b", &pair[1])] {
        let client = chat(&gateway, &[("x-millstream-upstream", name)], CHAT);
        let exchange = upstream.next();
        assert_eq!(exchange.head.get("x-millstream-upstream"), None, "that is between the client and us");
        let head = answer(exchange, client);
        assert_eq!(head.get("x-millstream-upstream"), Some(name));
    }
    // It stays with its choice.
    let mut client = chat(&gateway, &[("x-millstream-upstream", "b")], CHAT);
    pair[1].next().answer(429, &[("retry-after", "0")], OK);
    assert_eq!(client.answer().0.status(), 429);
    for (name, model, status) in
        [("c", "m", 400), ("http://127.0.0.1:1/v1", "m", 400), ("A", "m", 400), ("", "m", 400), ("b", "x", 403)]
    {
        let body = format!(r#"{{"model":"{model}"}}"#);
        let text = expect_refused(chat(&gateway, &[("x-millstream-upstream", name)], &body), status);
        assert!(!text.contains("127.0.0.1"), "{text}");
    }
    assert!(pair[0].is_unasked() && pair[1].is_unasked());
}

#[test]
fn a_key_uses_its_own_upstreams_only() {
    const KEY: &str = "sk-millstream-team-0123456789";
    let pair = upstreams();
    let tables = format!(
        "[[keys]]\nname = \"team\"\nkey_env = \"TEAM\"\nupstreams = [\"b\"]\n\
         [[routes]]\nmodel = \"m\"\ntargets = [\"a\", \"b\"]\n{TWO_MODELS}"
    );
    let gateway = Setup::new()
        .env("TEAM", KEY)
        .tables(&tables)
        .upstream("a", pair[0].address(), "")
        .upstream("b", pair[1].address(), "")
        .start();
    let bearer = format!("Bearer {KEY}");
    let key = ("authorization", bearer.as_str());
    let client = chat(&gateway, &[key], CHAT);
    let head = answer(pair[1].next(), client);
    assert_eq!(head.get("x-millstream-attempts"), Some("1"));
    for (fields, model, status) in [
        (vec![key, ("x-millstream-upstream", "a")], "m", 400),
        (vec![key], "x", 403),
        (vec![key, ("x-millstream-upstream", "b")], "x", 403),
    ] {
        let text = expect_refused(chat(&gateway, &fields, &format!(r#"{{"model":"{model}"}}"#)), status);
        assert!(!text.contains(KEY), "{text}");
    }
    // Nor does it get to the others when its own fails.
    let mut client = chat(&gateway, &[key], CHAT);
    pair[1].next().answer(429, &[("retry-after", "0")], OK);
    assert_eq!(client.answer().0.status(), 429);
    assert!(pair[0].is_unasked());
}

// ------------------------------------------------------------------------------------------- what routes say

const TOO_LONG: &[u8] = br#"{"error":{"message":"This model's maximum context length is 8 tokens","type":"invalid_request_error","code":"context_length_exceeded"}}"#;
const POLICY: &[u8] =
    br#"{"error":{"message":"flagged","type":"invalid_request_error","code":"content_policy_violation"}}"#;

#[test]
fn what_is_too_long_or_refused_for_its_content_goes_to_the_larger_model() {
    let pair = upstreams();
    let tables = "[[routes]]\nmodel = \"m\"\ntargets = [\"a\"]\nlarger = \"long\"\n\
                  [[routes]]\nmodel = \"plain\"\ntargets = [\"a\", \"b\"]\n\
                  [[routes]]\nmodel = \"long\"\ntargets = [{ upstream = \"b\", model = \"larger\" }]";
    let gateway = start(&pair, tables);
    for refusal in [TOO_LONG, POLICY] {
        let client = chat(&gateway, &[], r#"{"model":"m"}"#);
        pair[0].next().answer(400, &[], refusal);
        let exchange = pair[1].next();
        assert_eq!(exchange.text(), r#"{"model":"larger"}"#);
        answer(exchange, client);

        // Where the route names none, it is the client's to know.
        let mut client = chat(&gateway, &[], r#"{"model":"plain"}"#);
        pair[0].next().answer(400, &[], refusal);
        let (head, rest) = client.answer();
        assert_eq!((head.status(), rest.bytes.as_slice()), (400, refusal));
    }
    assert!(pair[1].is_unasked());
    for state in ["open", "throttled", "ejected"] {
        let label = format!("state=\"{state}\"");
        assert_eq!(gateway.sum("millstream_target_state", &[&label]), 0.0, "it is no fault of the target");
    }
}

#[test]
fn the_clients_own_faults_are_its_own() {
    let pair = upstreams();
    let gateway = start(&pair, "[[routes]]\nmodel = \"*\"\ntargets = [\"a\", \"b\"]");
    for status in [400, 404, 413, 422] {
        for _ in 0..10 {
            let mut client = chat(&gateway, &[], CHAT);
            pair[0].next().answer(status, &[], OK);
            let (head, rest) = client.answer();
            assert_eq!((head.status(), rest.bytes.as_slice()), (status, OK));
        }
    }
    assert!(pair[1].is_unasked());
    assert_eq!(gateway.sum("millstream_attempts_total", &["outcome=\"client_fault\""]), 40.0);
}

#[test]
fn the_defaults_of_a_route_are_for_what_requests_lack() {
    let pair = upstreams();
    let defaults = "[[routes]]\nmodel = \"*\"\ntargets = [\"a\"]\n[routes.defaults]\n\
                    headers = { x-title = \"millstream\", openai-beta = \"b\" }\nbody = { max_tokens = 7, stop = [\"x\"] }";
    let gateway = start(&pair, defaults);
    for (own, expected) in [
        (r#"{"model":"m"}"#, r#"{"max_tokens":7,"model":"m","stop":["x"]}"#),
        (r#"{"model":"m","max_tokens":1}"#, r#"{"max_tokens":1,"model":"m","stop":["x"]}"#),
        (
            r#"{"model":"m","max_completion_tokens":1,"stop":null}"#,
            r#"{"max_completion_tokens":1,"model":"m","stop":null}"#,
        ),
    ] {
        let client = chat(&gateway, &[("openai-beta", "own")], own);
        let exchange = pair[0].next();
        let [sent, expected] =
            [exchange.text(), expected].map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
        assert_eq!(sent, expected);
        assert_eq!(exchange.head.get("x-title"), Some("millstream"));
        assert_eq!(exchange.head.get("openai-beta"), Some("own"));
        answer(exchange, client);
    }
}

#[test]
fn a_whole_answer_that_breaks_off_in_its_midst_is_had_elsewhere() {
    let broken = Member::start(|asked| crowd::cut(quick(asked), 1));
    let well = Member::start(quick);
    let gateway = Setup::new()
        .tables(&format!("{QUIET}\n[[routes]]\nmodel = \"*\"\ntargets = [\"a\", \"b\"]"))
        .upstream("a", broken.address, "")
        .upstream("b", well.address, "")
        .start();
    let all = Load { streams: false, clients: 4, ..Load::new(gateway.address(0), 0..100) }.run();
    assert!(all.iter().all(|got| got.is_right(false)));
    assert_eq!(well.count(), 100);
    assert_eq!(all[0].head.as_ref().expect("right").get("x-millstream-attempts"), Some("2"));
    assert!(broken.count() < 10, "{}: then it is left alone", broken.count());
}

#[test]
fn a_repetition_at_the_only_target_is_no_fallback() {
    let pair = upstreams();
    let gateway = start(&pair, "[[routes]]\nmodel = \"*\"\ntargets = [\"a\"]\n[retry]\nbackoff = \"20ms\"");
    let client = chat(&gateway, &[], CHAT);
    pair[0].next().answer(500, &[], OK);
    let head = answer(pair[0].next(), client);
    assert_eq!(head.get("x-millstream-attempts"), Some("2"));
    assert_eq!(gateway.sum("millstream_fallbacks_total", &[]), 0.0);
    assert_eq!(gateway.sum("millstream_retries_total", &["decision=\"same_target\""]), 1.0);
}

// ---------------------------------------------------------------------------------------------------- balance

fn three(rule: fn(&Asked) -> Script, route: &str) -> ([Member; 3], Gateway) {
    let members = [(); 3].map(|()| Member::start(rule));
    let mut setup = Setup::new().tables(&format!("{QUIET}\n[[routes]]\nmodel = \"*\"\n{route}"));
    for (name, member) in ["a", "b", "c"].into_iter().zip(&members) {
        setup = setup.upstream(name, member.address, "");
    }
    (members, setup.start())
}

#[test]
fn weights_are_shares() {
    // So that as many streams are open as there are clients: of few, no shares can be made.
    let slow = |asked: &Asked| crowd::good(asked, Duration::from_millis(50), Duration::ZERO);
    for balance in ["weighted", "least_streams"] {
        let route = format!(
            "balance = \"{balance}\"\n\
             tiers = [[{{ upstream = \"a\", weight = 5 }}, {{ upstream = \"b\", weight = 3 }}, {{ upstream = \"c\", weight = 2 }}]]"
        );
        let (members, gateway) = three(slow, &route);
        expect_right(&Load { clients: 40, ..Load::new(gateway.address(0), 0..3_000) }.run());
        let counts = members.each_ref().map(Member::count);
        tell(&format!("{balance}: {counts:?} of weights 5, 3 and 2"));
        for (count, expected) in counts.into_iter().zip([1_500, 900, 600]) {
            assert!(count.abs_diff(expected) < 150, "{balance}: {counts:?}");
        }
    }
}

const SESSIONS: u64 = 60;

/// Where each session has been.
fn homes(members: &[Member], sessions: u64) -> HashMap<u64, HashSet<usize>> {
    let mut homes = HashMap::<u64, HashSet<usize>>::new();
    for (place, member) in members.iter().enumerate() {
        for seen in member.seen() {
            homes.entry(seen.asked.mark % sessions).or_default().insert(place);
        }
    }
    homes
}

fn by_session(gateway: &Gateway, marks: std::ops::Range<u64>) -> Load {
    let fields = |mark: u64| vec![("x-session-id", format!("session-{}", mark % SESSIONS))];
    // One at a time: where many are open at once, a full target passes some of its sessions on.
    Load { clients: 1, fields: Box::new(fields), ..Load::new(gateway.address(0), marks) }
}

#[test]
fn a_session_stays_with_its_target_while_that_is_there() {
    let (members, gateway) =
        three(quick, "balance = \"hash\"\nhash_on = \"session\"\ntiers = [[\"a\", \"b\", \"c\"]]");
    expect_right(&by_session(&gateway, 0..SESSIONS * 5).run());
    let before = homes(&members, SESSIONS);
    assert!(before.values().all(|homes| homes.len() == 1), "{before:?}");
    let used: HashSet<usize> = before.values().flatten().copied().collect();
    assert_eq!(used.len(), 3);

    let [a, b, c] = members;
    drop(c);
    let all = by_session(&gateway, SESSIONS * 5..SESSIONS * 15).run();
    expect_right(&all);
    let after = homes(&[a, b], SESSIONS);
    for (session, homes) in &before {
        if !homes.contains(&2) {
            assert_eq!(&after[session], homes, "session {session} had no reason to move");
        }
    }
}

#[test]
fn a_target_with_more_than_its_part_passes_sessions_on() {
    const CLIENTS: usize = 40;
    // A quarter more than a third of all, and what one cannot be divided by three.
    const BOUND: usize = 18;
    let slow = |asked: &Asked| crowd::good(asked, Duration::from_millis(40), Duration::ZERO);
    let (members, gateway) =
        three(slow, "balance = \"hash\"\nhash_on = \"session\"\ntiers = [[\"a\", \"b\", \"c\"]]");
    expect_right(&Load { clients: CLIENTS, ..by_session(&gateway, 0..SESSIONS * 40) }.run());
    let mut homes = HashMap::<u64, [usize; 3]>::new();
    for (place, member) in members.iter().enumerate() {
        for seen in member.seen() {
            homes.entry(seen.asked.mark % SESSIONS).or_default()[place] += 1;
        }
    }
    let at_home: usize = homes.values().map(|counts| counts.iter().max().expect("three")).sum();
    let most = members.each_ref().map(Member::open_max);
    tell(&format!("{at_home} of {} requests at their session's target; at most {most:?} streams", SESSIONS * 40));
    assert!(at_home as u64 > SESSIONS * 40 * 2 / 3, "{at_home}");
    assert!(most.into_iter().all(|most| most <= BOUND), "{most:?}");
}

// ----------------------------------------------------------------------------------------------------- probes

#[test]
fn a_probe_finds_out_that_an_upstream_goes_and_comes_back() {
    let is_well = Arc::new(AtomicBool::new(true));
    let rule = Arc::clone(&is_well);
    let probed =
        Member::start(move |asked| if rule.load(Ordering::SeqCst) { quick(asked) } else { crowd::failing(503) });
    let (_taken, dead) = nobody();
    let gateway = Setup::new()
        .tables(&format!(
            "{QUIET}\n[[routes]]\nmodel = \"*\"\ntargets = [\"probed\"]\n\
             [health]\nbreaker_open = \"100ms\"\nbreaker_open_max = \"100ms\""
        ))
        .upstream(
            "probed",
            probed.address,
            "probe = \"/models\"\nprobe_interval = \"100ms\"\nprobe_timeout = \"100ms\"",
        )
        .upstream("unprobed", dead, "")
        .start();
    let in_state = |state: &str| {
        let labels = ["upstream=\"probed\"", &format!("state=\"{state}\"")];
        gateway.sum("millstream_target_state", &labels) == 1.0
    };
    assert!(in_state("closed"));
    gateway.until("it is asked", |_| probed.count() > 1);
    is_well.store(false, Ordering::SeqCst);
    gateway.until("it is left alone", |_| in_state("open"));
    is_well.store(true, Ordering::SeqCst);
    gateway.until("it is back", |_| in_state("closed"));
    let seen = probed.seen();
    assert!(seen.iter().all(|seen| seen.asked.head.first == "GET /v1/models HTTP/1.1"), "no client's request");
    assert_eq!(gateway.sum("millstream_requests_total", &[]), 0.0);
    let mut client = chat(&gateway, &[], &crowd::ask(1, true));
    let (head, rest) = client.answer();
    assert_eq!((head.status(), head.get("x-millstream-attempts")), (200, Some("1")));
    assert_eq!(rest.text(), crowd::answer(1, true));
    assert!(rest.text().ends_with(DONE));
}

// ---------------------------------------------------------------------------------------- bounds of repetition

#[test]
fn no_more_attempts_are_made_than_are_allowed() {
    let pair = upstreams();
    let gateway = start(
        &pair,
        "[[routes]]\nmodel = \"*\"\ntargets = [\"a\", { upstream = \"a\", model = \"other\" }, \"b\"]\n\
         [retry]\nattempts_max = 2",
    );
    let mut client = chat(&gateway, &[], CHAT);
    for _ in 0..2 {
        pair[0].next().answer(500, &[], OK);
    }
    let (head, _) = client.answer();
    assert_eq!((head.status(), head.get("x-millstream-attempts")), (500, Some("2")));
    assert!(pair[1].is_unasked());
    assert_eq!(gateway.sum("millstream_retries_total", &["decision=\"denied_attempts\""]), 1.0);
}

#[test]
fn after_its_deadline_nobody_else_is_asked() {
    let pair = upstreams();
    let gateway = start(
        &pair,
        "[[routes]]\nmodel = \"*\"\ntargets = [\"a\", \"b\"]\nfirst_token_timeout = \"300ms\"\n\
         [retry]\ndeadline = \"100ms\"",
    );
    let mut client = chat(&gateway, &[], CHAT);
    let mut silent = pair[0].next();
    let (head, rest) = client.answer();
    assert_eq!((head.status(), head.get("x-millstream-attempts")), (504, Some("1")), "{}", rest.text());
    silent.until_given_up();
    assert!(pair[1].is_unasked());
    assert_eq!(gateway.sum("millstream_retries_total", &["decision=\"denied_deadline\""]), 1.0);
}

/// What the budget denies is another try at somebody who fails; one who is well may always be asked.
#[test]
fn without_a_budget_a_tier_that_is_well_is_still_asked() {
    let failing = [(); 2].map(|()| Member::start(|_| crowd::failing(500)));
    let well = Member::start(quick);
    let gateway = Setup::new()
        .tables(&format!(
            "{QUIET}\n[[routes]]\nmodel = \"*\"\ntiers = [[\"a\", \"b\"], [\"c\"]]\n\
             [retry]\nbudget = 0.0\nbudget_floor = 0\n[health]\nbreaker_open = \"100ms\"\nbreaker_open_max = \"100ms\""
        ))
        .upstream("a", failing[0].address, "")
        .upstream("b", failing[1].address, "")
        .upstream("c", well.address, "")
        .start();
    let load = Load { every: Duration::from_millis(2), ..Load::new(gateway.address(0), 0..500) };
    expect_right(&load.run());
    let count = failing.iter().map(Member::count).sum::<usize>();
    tell(&format!("without a budget {count} requests went to those who fail, of 500"));
}

#[test]
fn when_all_are_throttled_the_client_is_told_when_the_first_may_be_asked_again() {
    let pair = upstreams();
    let gateway = start(&pair, "[[routes]]\nmodel = \"*\"\ntargets = [\"a\", \"b\"]");
    let mut client = chat(&gateway, &[], CHAT);
    pair[0].next().answer(429, &[("retry-after", "70")], OK);
    pair[1].next().answer(429, &[("retry-after", "40")], OK);
    let (head, _) = client.answer();
    assert_eq!((head.status(), head.get("retry-after")), (429, Some("40")), "the last word is passed on");
    let began = Instant::now();
    let (head, rest) = {
        let mut client = chat(&gateway, &[], CHAT);
        client.answer()
    };
    assert_eq!(head.status(), 503, "{}", rest.text());
    let after: u64 = head.get("retry-after").expect("told").parse().expect("seconds");
    assert!((38..=40).contains(&after), "{after}");
    assert!(began.elapsed() < Duration::from_secs(1) && pair[0].is_unasked() && pair[1].is_unasked());
}

// ------------------------------------------------------------------------------------------------- early heads

#[test]
fn after_an_early_head_another_target_still_has_its_time() {
    let pair = upstreams();
    let gateway = start(
        &pair,
        "[[routes]]\nmodel = \"*\"\ntargets = [\"a\", \"b\"]\nearly_head_after = \"100ms\"\n\
         first_token_timeout = \"600ms\"",
    );
    let mut client = chat(&gateway, &[], CHAT);
    let began = Instant::now();
    let mut silent = pair[0].next();
    assert_eq!(client.head().status(), 200);
    let mut exchange = pair[1].next();
    silent.until_given_up();
    // So long that the first one's time and this one's own until then are over together, but not this one's.
    gateway.until("it has had most of its time", |_| began.elapsed() > Duration::from_secs(1));
    exchange.begin_events();
    exchange.send(DONE);
    exchange.end();
    let rest = client.rest();
    assert!(rest.whole && rest.text().ends_with(DONE) && !rest.text().contains("error"), "{}", rest.text());
}

#[test]
fn after_an_early_head_a_failure_of_all_is_an_event() {
    let pair = upstreams();
    let gateway = start(
        &pair,
        "[[routes]]\nmodel = \"*\"\ntargets = [\"a\", \"b\"]\nearly_head_after = \"100ms\"\n[retry]\nsame_target_max = 0",
    );
    let mut client = chat(&gateway, &[], CHAT);
    let (first, head) = (pair[0].next(), client.head());
    assert_eq!(head.status(), 200);
    first.answer(500, &[], OK);
    pair[1].next().answer(503, &[], br#"{"error":{"message":"busy","type":"server_error","code":null}}"#);
    let rest = client.rest();
    assert!(rest.whole && rest.text().contains("\"error\""), "{}", rest.text());
}

/// Whoever sends the client's name of the model on is another target for another name.
#[test]
fn one_upstream_is_asked_for_each_model_of_a_list() {
    let pair = upstreams();
    let gateway = start(&pair, "[[routes]]\nmodel = \"*\"\ntargets = [\"a\"]");
    for status in [429, 500] {
        let client = chat(&gateway, &[], r#"{"models":["x","y"]}"#);
        let exchange = pair[0].next();
        assert_eq!(exchange.text(), r#"{"model":"x"}"#);
        exchange.answer(status, &[], OK);
        let exchange = pair[0].next();
        assert_eq!(exchange.text(), r#"{"model":"y"}"#);
        let head = answer(exchange, client);
        assert_eq!(head.get("x-millstream-attempts"), Some("2"));
        gateway.until("x is asked again", |gateway| {
            gateway.sum("millstream_target_state", &["state=\"throttled\""]) == 0.0
        });
    }
}

#[test]
fn the_larger_model_may_be_the_same_upstreams() {
    let pair = upstreams();
    let tables = "[[routes]]\nmodel = \"m\"\ntargets = [\"a\"]\nlarger = \"m-long\"\n\
                  [[routes]]\nmodel = \"m-long\"\ntargets = [\"a\"]";
    let gateway = start(&pair, tables);
    let client = chat(&gateway, &[], r#"{"model":"m"}"#);
    pair[0].next().answer(400, &[], TOO_LONG);
    let exchange = pair[0].next();
    assert_eq!(exchange.text(), r#"{"model":"m-long"}"#);
    answer(exchange, client);
}
