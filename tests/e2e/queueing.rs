//! Waiting for a place at a target whose streams are bounded: who goes first, who leaves, and who waits too long.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Gateway;
use crate::support::client::{Client, Leave, Reader};
use crate::support::crowd::{self, Asked, Member, Script, draw};
use crate::support::load::{Fields, Got, Load, always, percentile, tell};
use crate::support::setup::{CHAT, CHAT_PATH, DONE, QUIET, Setup, token};
use crate::support::upstream::{Exchange, Http, Upstream};
use crate::support::wire::Head;

/// Streams that the upstream bears at once.
const PLACES: usize = 20;

/// An answer: the first token, and each other, which are not as far apart in every answer: or all of them would end
/// in step.
const FIRST: Duration = Duration::from_millis(20);
const GAP: Duration = Duration::from_millis(10);
const GAP_SPREAD_MICROS: u64 = 40_000;

/// Requests of each class, and from one interactive request to the next.
const BATCH: u64 = 2_600;
const INTERACTIVE: u64 = 300;
const EVERY: Duration = Duration::from_millis(40);

/// The bucket of short waits, of which is told.
const SHORT_WAIT: &str = "le=\"0.1\"";

/// Clients that leave the queue.
const LEAVING: usize = 1_000;

/// In which places that are left are free: a bound for tests that hang, not a figure.
const AT_ONCE: Duration = Duration::from_secs(10);

fn well(asked: &Asked) -> Script {
    let spread = Duration::from_micros(draw(5, asked.mark) % GAP_SPREAD_MICROS);
    crowd::good(asked, FIRST, GAP + spread)
}

fn waiting(gateway: &Gateway, class: &str) -> f64 {
    gateway.sum("millstream_target_waiting", &[&format!("class=\"{class}\"")])
}

fn queue_ends(gateway: &Gateway, class: &str, outcome: &str) -> f64 {
    gateway.metric(&format!("millstream_queue_ends_total{{class=\"{class}\",outcome=\"{outcome}\"}}"))
}

/// What batch and interactive got, each by its own way of saying which it is.
fn saturated(setup: Setup, [batch, interactive]: [Fields; 2]) {
    let member = Member::start(well);
    let more = format!("streams_limit = {PLACES}\nqueue_timeout = \"1m\"");
    let gateway =
        setup.server("workers = 2\npin = false").tables(QUIET).upstream("up", member.address, &more).start();
    let batch = Load { clients: 60, fields: batch, ..Load::new(gateway.address(0), 0..BATCH) };
    let batch = thread::spawn(move || batch.run());
    gateway.until("batch saturates the upstream", |gateway| waiting(gateway, "batch") > 20.0);
    let marks = BATCH..BATCH + INTERACTIVE;
    let load = Load { every: EVERY, fields: interactive, ..Load::new(gateway.address(0), marks) };
    let interactive = load.run();
    let still = waiting(&gateway, "batch");
    let batch = batch.join().expect("no panic");

    let right = |all: &[Got]| all.iter().all(|got| got.is_right(true));
    assert!(right(&batch) && right(&interactive), "none fails");
    let wait = |all: &[Got]| {
        [50, 99].map(|percent| {
            percentile(all.iter().map(|got| got.first.expect("right").saturating_sub(FIRST)), percent)
        })
    };
    let [half, most] = wait(&interactive);
    let [batch_half, batch_most] = wait(&batch);
    tell(&format!(
        "wait of interactive p50 {half:?}, p99 {most:?}; of batch {batch_half:?}, {batch_most:?}; {still} of batch \
         waited at the end, at most {} streams",
        member.open_max()
    ));
    assert!(still > 20.0, "batch has saturated the upstream all the time: {still}");
    // By the gateway's clock: on a machine that has other things to do, the client's has its own delays in it.
    let waits = "millstream_queue_wait_seconds";
    let [all, short] = [("_count", ""), ("_bucket", SHORT_WAIT)]
        .map(|(of, bound)| gateway.sum(&format!("{waits}{of}"), &["class=\"interactive\"", bound]));
    tell(&format!("{short} of {all} interactive requests that waited at all did so for less than 100 ms"));
    assert!(all > 50.0, "{all}");
    assert!(most < batch_half, "interactive goes first: {most:?} and {batch_half:?}");
    assert!(member.open_max() <= PLACES, "{}", member.open_max());
    assert_eq!(queue_ends(&gateway, "batch", "timeout") + queue_ends(&gateway, "batch", "full"), 0.0);
    gateway.until_idle();
}

#[test]
fn interactive_requests_hardly_wait_while_batch_saturates_an_upstream_by_header() {
    saturated(Setup::new(), [always("x-millstream-priority", "batch"), Box::new(|_| Vec::new())]);
}

#[test]
fn interactive_requests_hardly_wait_while_batch_saturates_an_upstream_by_key() {
    let keys = "[[keys]]\nname = \"people\"\nkey_env = \"PEOPLE\"\n\
                [[keys]]\nname = \"nightly\"\nkey_env = \"NIGHTLY\"\npriority = \"batch\"";
    let key = |name: &str| format!("sk-millstream-{name}-0123456789");
    let setup = Setup::new().tables(keys).env("PEOPLE", &key("people")).env("NIGHTLY", &key("nightly"));
    let field = |name| always("authorization", &format!("Bearer {}", key(name)));
    saturated(setup, [field("nightly"), field("people")]);
}

#[test]
fn a_key_of_batch_can_not_put_itself_before_others() {
    let upstream = Upstream::start(Http::One);
    let gateway = Setup::new()
        .tables("[[keys]]\nname = \"nightly\"\nkey_env = \"NIGHTLY\"\npriority = \"batch\"")
        .env("NIGHTLY", "sk-millstream-nightly-0123456789")
        .upstream("up", upstream.address(), "")
        .start();
    let mut client = Client::connect(gateway.address(0));
    for (class, status) in [("interactive", 403), ("urgent", 400)] {
        let fields = [
            ("content-type", "application/json"),
            ("authorization", "Bearer sk-millstream-nightly-0123456789"),
            ("x-millstream-priority", class),
        ];
        client.ask("POST", CHAT_PATH, &fields, CHAT.as_bytes());
        assert_eq!(client.answer().0.status(), status, "{class}");
    }
    assert!(upstream.is_unasked());
}

// ------------------------------------------------------------------------------------------- the queue itself

/// A gateway before one upstream with one place, which is taken.
struct Full {
    gateway: Gateway,
    upstream: Upstream,
    holder: Client,
    held: Exchange,
}

impl Full {
    fn start(stream: &str, more: &str) -> Self {
        let upstream = Upstream::start(Http::One);
        let gateway = Setup::new()
            .stream(stream)
            .tables(QUIET)
            .upstream("up", upstream.address(), &format!("streams_limit = 1\n{more}"))
            .start();
        let mut holder = Client::connect(gateway.address(0));
        holder.post(CHAT_PATH, CHAT);
        let mut held = upstream.next();
        held.begin_events();
        held.send(token("held"));
        holder.head();
        assert_eq!(holder.event(), token("held"));
        Self { gateway, upstream, holder, held }
    }

    fn client(&self) -> Client {
        Client::connect(self.gateway.address(0))
    }

    fn until_waiting(&self, count: f64) {
        self.gateway.until(&format!("{count} wait"), |gateway| waiting(gateway, "interactive") == count);
    }

    /// The place becomes free.
    fn free(mut self) -> (Gateway, Upstream) {
        self.held.send(DONE);
        self.held.end();
        assert!(self.holder.rest().whole);
        (self.gateway, self.upstream)
    }
}

#[test]
fn a_thousand_clients_that_leave_the_queue_free_their_places_at_once() {
    let full = Full::start("", &format!("queue_max = {}", LEAVING + 1));
    let waiters: Vec<Client> = (0..LEAVING)
        .map(|_| {
            let mut client = full.client();
            client.post(CHAT_PATH, CHAT);
            client
        })
        .collect();
    full.until_waiting(LEAVING as f64);
    let mut patient = full.client();
    patient.post(CHAT_PATH, CHAT);
    full.until_waiting(LEAVING as f64 + 1.0);
    let went = Instant::now();
    for (n, waiter) in waiters.into_iter().enumerate() {
        Box::new(waiter).leave(if n % 2 == 0 { Leave::Close } else { Leave::Reset });
    }
    full.until_waiting(1.0);
    let took = went.elapsed();
    tell(&format!("{LEAVING} clients left the queue within {took:?}"));
    assert!(took < AT_ONCE, "{took:?}");
    let (gateway, upstream) = full.free();
    let mut exchange = upstream.next();
    exchange.begin_events();
    exchange.send(DONE);
    exchange.end();
    assert_eq!(patient.answer().1.text(), DONE, "the next in line is seated");
    assert!(upstream.is_unasked(), "whoever has left asks nothing");
    assert_eq!(queue_ends(&gateway, "interactive", "left"), LEAVING as f64);
    assert_eq!(queue_ends(&gateway, "interactive", "seated"), 1.0);
    gateway.until_idle();
}

fn expect_told(head: &Head, text: &str) {
    assert_eq!((head.status(), head.get("retry-after")), (503, Some("1")), "{text}");
    let body: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(body["error"]["code"], "overloaded");
}

#[test]
fn whoever_waits_too_long_is_told_to_come_back() {
    let full = Full::start("early_head_after = \"off\"", "queue_timeout = \"200ms\"");
    let mut client = full.client();
    let began = Instant::now();
    client.post(CHAT_PATH, CHAT);
    let (head, rest) = client.answer();
    assert!(began.elapsed() >= Duration::from_millis(200));
    expect_told(&head, &rest.text());
    assert_eq!(queue_ends(&full.gateway, "interactive", "timeout"), 1.0);
    full.until_waiting(0.0);
    assert!(full.upstream.is_unasked());
}

#[test]
fn whoever_finds_the_queue_full_is_told_at_once() {
    let full = Full::start("", "queue_max = 1");
    let mut waiter = full.client();
    waiter.post(CHAT_PATH, CHAT);
    full.until_waiting(1.0);
    let mut client = full.client();
    client.post(CHAT_PATH, CHAT);
    let (head, rest) = client.answer();
    expect_told(&head, &rest.text());
    assert_eq!(queue_ends(&full.gateway, "interactive", "full"), 1.0);
    let (_gateway, upstream) = full.free();
    upstream.next().answer(200, &[], b"{}");
    assert_eq!(waiter.answer().1.text(), "{}");
}

#[test]
fn comments_flow_while_somebody_waits() {
    let full = Full::start("early_head_after = \"100ms\"\nkeep_alive = \"1s\"", "");
    let mut client = full.client();
    client.post(CHAT_PATH, CHAT);
    let head = client.head();
    assert_eq!(head.status(), 200);
    assert!(head.get("content-type").expect("a type").starts_with("text/event-stream"));
    for _ in 0..2 {
        assert!(client.event().starts_with(':'), "a comment");
    }
    full.until_waiting(1.0);
    let (_gateway, upstream) = full.free();
    let mut exchange = upstream.next();
    exchange.begin_events();
    exchange.send([&token("a"), DONE].concat());
    exchange.end();
    assert_eq!(client.event(), token("a"));
    assert_eq!(client.event(), DONE);
    assert!(client.rest().whole);
}

#[test]
fn a_client_that_has_an_early_head_leaves_the_queue_as_well() {
    let full = Full::start("early_head_after = \"100ms\"", "");
    let mut client = full.client();
    client.post(CHAT_PATH, CHAT);
    assert_eq!(client.head().status(), 200);
    full.until_waiting(1.0);
    Box::new(client).leave(Leave::Close);
    full.until_waiting(0.0);
    let (gateway, upstream) = full.free();
    gateway.until_idle();
    assert!(upstream.is_unasked());
}

#[test]
fn whoever_waits_when_the_gateway_stops_is_told() {
    let full = Full::start("early_head_after = \"off\"", "\n[drain]\ndelay = \"0s\"\ntimeout = \"300ms\"");
    let mut client = full.client();
    client.post(CHAT_PATH, CHAT);
    full.until_waiting(1.0);
    full.gateway.signal("TERM");
    let (head, rest) = client.answer();
    assert_eq!(head.status(), 503, "{}", rest.text());
    assert!(full.gateway.wait().success());
    assert!(full.upstream.is_unasked());
}

/// Or each of those who wait would find out for itself.
#[test]
fn whoever_waits_for_an_upstream_that_fails_meanwhile_does_not_ask_it() {
    const WAITING: usize = 50;
    let health =
        "same_target_max = 0\n[health]\nbreaker_failures = 2\nbreaker_open = \"1h\"\nbreaker_open_max = \"1h\"";
    let upstream = Upstream::start(Http::One);
    let gateway = Setup::new()
        .tables(&format!("{QUIET}\n[retry]\n{health}"))
        .upstream("up", upstream.address(), "streams_limit = 1")
        .start();
    let ask = || {
        let mut client = Client::connect(gateway.address(0));
        client.post(CHAT_PATH, CHAT);
        client
    };
    let mut first = ask();
    let exchange = upstream.next();
    let mut waiters: Vec<Client> = (0..WAITING).map(|_| ask()).collect();
    gateway.until("all wait", |gateway| waiting(gateway, "interactive") == WAITING as f64);
    exchange.answer(500, &[], b"{}");
    upstream.next().answer(500, &[], b"{}");
    assert_eq!(first.answer().0.status(), 500);
    let told = waiters.iter_mut().map(|waiter| waiter.answer().0.status()).filter(|status| *status == 503).count();
    assert_eq!(told, WAITING - 1);
    assert!(upstream.is_unasked());
    gateway.until_idle();
}

#[test]
fn whoever_has_waited_in_vain_goes_to_the_next_tier_even_if_that_has_failed_of_late() {
    let (first, second) = (Upstream::start(Http::One), Upstream::start(Http::One));
    let gateway = Setup::new()
        .tables(
            "[[routes]]\nmodel = \"*\"\ntargets = [\"up\", \"second\"]\n[retry]\nbudget = 0.0\nbudget_floor = 0",
        )
        .upstream("up", first.address(), "streams_limit = 1\nqueue_timeout = \"100ms\"")
        .upstream("second", second.address(), "")
        .start();
    let mut client = Client::connect(gateway.address(0));
    client.post(CHAT_PATH, CHAT);
    for upstream in [&first, &second] {
        upstream.next().answer(500, &[], b"{}");
    }
    assert_eq!(client.answer().0.status(), 500);
    let mut holder = Client::connect(gateway.address(0));
    holder.post(CHAT_PATH, CHAT);
    let held = first.next();
    client.post(CHAT_PATH, CHAT);
    second.next().answer(200, &[], b"{}");
    assert_eq!(client.answer().1.text(), "{}");
    held.answer(200, &[], b"{}");
    assert_eq!(holder.answer().1.text(), "{}");
}

/// One key that keeps a hundred waiting does not keep another from its turn.
#[test]
fn keys_take_turns_in_the_queue() {
    const KEYS: [&str; 2] = ["sk-millstream-many-0123456789", "sk-millstream-few-0123456789"];
    let member = Member::start(well);
    let gateway = Setup::new()
        .env("MANY", KEYS[0])
        .env("FEW", KEYS[1])
        .tables(&format!(
            "{QUIET}\n[[keys]]\nname = \"many\"\nkey_env = \"MANY\"\n[[keys]]\nname = \"few\"\nkey_env = \"FEW\""
        ))
        .upstream("up", member.address, "streams_limit = 5")
        .start();
    let load = |key: &str, marks| {
        let fields = always("authorization", &format!("Bearer {key}"));
        Load { fields, ..Load::new(gateway.address(0), marks) }
    };
    let many = Load { clients: 100, ..load(KEYS[0], 0..400) };
    let many = thread::spawn(move || many.run());
    gateway.until("many wait", |gateway| waiting(gateway, "interactive") > 50.0);
    let few = Load { clients: 1, ..load(KEYS[1], 1_000..1_030) }.run();
    assert!(waiting(&gateway, "interactive") > 10.0, "many wait all the time");
    let many = many.join().expect("no panic");
    assert!(many.iter().chain(&few).all(|got| got.is_right(true)), "none fails");
    let [few, many] = [&few, &many].map(|all| percentile(all.iter().filter_map(|got| got.first), 50));
    tell(&format!(
        "first token, p50: {few:?} of the key with one request at once, {many:?} of that with a hundred"
    ));
    assert!(few * 4 < many, "{few:?} {many:?}");
}
