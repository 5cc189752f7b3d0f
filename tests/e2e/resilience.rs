//! Crowds of upstreams of which most are bad, in one tier: what clients see of it, and what the bad ones get.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::Gateway;
use crate::support::crowd::{self, Asked, Ended, Member, Script, chosen, draw};
use crate::support::load::{Got, Load, percentile, tell};
use crate::support::setup::{QUIET, Setup};
use crate::support::upstream::nobody;

/// Requests in the first seconds, one each millisecond, and after them, of all and of one balance.
const EARLY: u64 = 2_000;
const LATER: u64 = 2_000;
const LATER_MANY: u64 = 8_000;

/// From a request to its first token, and from that to each other, where an upstream is well.
const FIRST: Duration = Duration::from_millis(5);
const GAP: Duration = Duration::from_millis(2);

/// Until another is asked: so long that a good one is never late, on a machine that has other things to do.
const FIRST_TOKEN_TIMEOUT: Duration = Duration::from_secs(2);

/// One attempt at a good upstream there, and how late others are.
const ATTEMPT: Duration = Duration::from_millis(1_500);
const LATE: Duration = Duration::from_secs(6);

fn attempts(gateway: &Gateway, upstream: &str, outcome: &str) -> f64 {
    gateway.metric(&format!("millstream_attempts_total{{upstream=\"{upstream}\",outcome=\"{outcome}\"}}"))
}

fn expect_right(all: &[Got], streams: bool) {
    if let Some(wrong) = all.iter().find(|got| !got.is_right(streams)) {
        let count = all.iter().filter(|got| !got.is_right(streams)).count();
        panic!("{count} of {} are not right, such as {wrong:?}: {}", all.len(), wrong.text());
    }
}

fn good(asked: &Asked) -> Script {
    crowd::good(asked, FIRST, GAP)
}

fn longest(all: &[Got]) -> Duration {
    all.iter().map(|got| got.took).max().expect("some")
}

fn two_workers(route: &str) -> Setup {
    let tables = format!("{QUIET}\n[[routes]]\nmodel = \"*\"\n{route}");
    Setup::new().server("workers = 2\npin = false").tables(&tables)
}

// --------------------------------------------------------------------------------------- one of five is well

/// A bad crowd with one that is good, and what it got of each.
fn one_good_of_five(balance: &str, silent: fn(&Asked) -> Script, streams: bool, later: u64) -> Duration {
    let (_taken, dead) = nobody();
    let silent = Member::start(silent);
    let erring = Member::start(|asked| {
        if asked.body.contains("\"stream\":true") { crowd::error_event() } else { crowd::failing(500) }
    });
    let throttling = Member::start(|_| crowd::throttling(None));
    let well = Member::start(good);
    let tiers = "tiers = [[\"dead\", \"silent\", \"erring\", \"throttling\", \"well\"]]";
    let route = format!("balance = {balance}\n{tiers}");
    let gateway = two_workers(&route)
        .stream(&format!("first_token_timeout = \"{}ms\"", FIRST_TOKEN_TIMEOUT.as_millis()))
        .tables("[retry]\nattempt_timeout = \"2s\"")
        .upstream("dead", dead, "")
        .upstream("silent", silent.address, "")
        .upstream("erring", erring.address, "")
        .upstream("throttling", throttling.address, "")
        .upstream("well", well.address, "")
        .start();

    let early = Load { every: Duration::from_millis(1), streams, ..Load::new(gateway.address(0), 0..EARLY) }.run();
    expect_right(&early, streams);
    let (since, refused) = (Instant::now(), attempts(&gateway, "dead", "unreachable"));
    let later =
        Load { every: Duration::from_millis(1), streams, ..Load::new(gateway.address(0), EARLY..EARLY + later) }
            .run();
    expect_right(&later, streams);

    let refused = attempts(&gateway, "dead", "unreachable") - refused;
    let bad = [&silent, &erring, &throttling].map(|member| member.count_since(since));
    let all = refused + (bad.iter().sum::<usize>() + well.count_since(since)) as f64;
    let to_bad = refused + bad.iter().sum::<usize>() as f64;
    tell(&format!(
        "{balance}: {to_bad} of {all} attempts at bad ones after the first seconds ({refused} dead, {bad:?} silent, \
         erring, throttling) in {:?}; the longest request {:?}, then {:?}",
        since.elapsed(),
        longest(&early),
        longest(&later),
    ));
    assert!(to_bad < all / 100.0, "{to_bad} of {all}");
    gateway.until_idle();
    longest(&early).max(longest(&later))
}

#[test]
fn with_one_good_of_five_no_request_fails_by_weight() {
    one_good_of_five("\"weighted\"", |_| crowd::stalling(), true, LATER);
}

#[test]
fn with_one_good_of_five_no_request_fails_by_open_streams() {
    one_good_of_five("\"least_streams\"", |_| crowd::stalling(), true, LATER);
}

#[test]
fn with_one_good_of_five_no_request_fails_by_two_choices() {
    one_good_of_five("\"p2c\"", |_| crowd::stalling(), true, LATER_MANY);
}

#[test]
fn with_one_good_of_five_no_request_fails_by_hash() {
    one_good_of_five("\"hash\"\nhash_on = \"prompt\"", |_| crowd::stalling(), true, LATER);
}

#[test]
fn with_one_good_of_five_no_whole_answer_fails() {
    one_good_of_five("\"p2c\"", |_| crowd::stalling(), false, LATER);
}

#[test]
fn a_late_first_token_costs_no_more_than_its_timeout_and_one_attempt() {
    let late = |asked: &Asked| crowd::good(asked, LATE, GAP);
    let longest = one_good_of_five("\"p2c\"", late, true, LATER);
    assert!(longest < FIRST_TOKEN_TIMEOUT + ATTEMPT, "{longest:?}");
}

// ---------------------------------------------------------------------------------------------- none is well

/// What all of them do until they are well.
#[derive(Clone, Copy, Debug)]
enum Ill {
    Failing,
    FirstEvent,
    Refusing,
}

/// Requests while nobody is well, one each 2 ms.
const VAIN: u64 = 2_000;

/// Long enough for every breaker to have opened.
const OPENED: Duration = Duration::from_secs(1);

/// In which somebody is told that nobody is there.
const FAIL_FAST: Duration = Duration::from_millis(250);

fn all_ill(ill: Ill) {
    let is_well = Arc::new(AtomicBool::new(false));
    let rule = |is_well: &Arc<AtomicBool>| {
        let is_well = Arc::clone(is_well);
        move |asked: &Asked| match ill {
            _ if is_well.load(Ordering::SeqCst) => good(asked),
            Ill::FirstEvent => crowd::error_event(),
            Ill::Failing | Ill::Refusing => crowd::failing(500),
        }
    };
    let mut members = Vec::new();
    let mut taken = Vec::new();
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for _ in 0..3 {
        if let Ill::Refusing = ill {
            let (socket, address) = nobody();
            taken.push(socket);
            addresses.push(address);
        } else {
            members.push(Member::start(rule(&is_well)));
            addresses.push(members.last().expect("one").address);
        }
    }
    let mut setup = two_workers("tiers = [[\"up0\", \"up1\"], [\"up2\"]]")
        .tables("[health]\nbreaker_open = \"1s\"\nbreaker_open_max = \"2s\"\nslow_start = \"1s\"");
    for (n, address) in addresses.iter().enumerate() {
        setup = setup.upstream(&format!("up{n}"), *address, "");
    }
    let gateway = setup.start();

    let began = Instant::now();
    let all = Load { every: Duration::from_millis(2), ..Load::new(gateway.address(0), 0..VAIN) }.run();
    let refused: f64 = (0..3).map(|n| attempts(&gateway, &format!("up{n}"), "unreachable")).sum();
    let seen = members.iter().map(Member::count).sum::<usize>() as f64 + refused;
    assert!(seen <= 1.2 * VAIN as f64, "{seen} of {VAIN} requests");
    let late: Vec<&Got> = all.iter().filter(|got| got.began > began + OPENED).collect();
    let told: Vec<&&Got> = late.iter().filter(|got| got.status() == 503).collect();
    let quickly = percentile(told.iter().map(|got| got.took), 99);
    tell(&format!(
        "{ill:?}: {seen} upstream requests for {VAIN}; then {} of {} told 503, 99 % within {quickly:?}",
        told.len(),
        late.len()
    ));
    assert!(told.len() * 100 > late.len() * 98, "{} of {}", told.len(), late.len());
    assert!(quickly < FAIL_FAST, "{quickly:?}");
    for got in &told {
        let head = got.head.as_ref().expect("answered");
        let after: u64 = head.get("retry-after").expect("when to come back").parse().expect("seconds");
        assert!((1..=3).contains(&after), "{head:?}");
        assert!(got.text().contains("\"error\"") && head.get("x-millstream-attempts").is_none(), "{got:?}");
    }

    is_well.store(true, Ordering::SeqCst);
    let _members: Vec<Member> = taken
        .into_iter()
        .map(|socket| {
            socket.listen(1024).expect("listening");
            Member::start_on(socket.into(), rule(&is_well))
        })
        .collect();
    let healed = Instant::now();
    let last = VAIN + 2_000;
    let all = Load { every: Duration::from_millis(2), ..Load::new(gateway.address(0), VAIN..last) }.run();
    let first = all.iter().filter(|got| got.status() == 200).map(|got| got.began).min().expect("it recovers");
    tell(&format!("{ill:?}: well again after {:?}", first.saturating_duration_since(healed)));
    let after: Vec<Got> = all.into_iter().filter(|got| got.began > healed + Duration::from_secs(3)).collect();
    expect_right(&after, true);
    gateway.until_idle();
}

#[test]
fn when_all_fail_they_are_left_alone_until_they_are_well() {
    all_ill(Ill::Failing);
}

#[test]
fn when_all_say_errors_as_their_first_events_they_are_left_alone_until_they_are_well() {
    all_ill(Ill::FirstEvent);
}

#[test]
fn when_all_refuse_connections_they_are_left_alone_until_they_are_well() {
    all_ill(Ill::Refusing);
}

#[test]
fn an_upstream_that_fails_every_other_request_is_not_buried_by_repetitions() {
    const SHARE: f64 = 0.4;
    /// Repetitions that may be in any second, and one bucket of them at first.
    const FLOOR: f64 = 1.0;
    let member = Member::start(|asked| {
        let failing = Script { wait: FIRST, ..crowd::failing(500) };
        if chosen(7, asked.number, SHARE) { failing } else { good(asked) }
    });
    let gateway = two_workers("targets = [\"up\"]")
        .tables("[health]\nbreaker_failures = 1000\nbreaker_ratio = 1.0\n[retry]\nbackoff = \"10ms\"\nbudget_floor = 1")
        .upstream("up", member.address, "")
        .start();
    let began = Instant::now();
    let all = Load { every: Duration::from_millis(2), ..Load::new(gateway.address(0), 0..VAIN) }.run();
    let failed = all.iter().filter(|got| got.status() != 200).count();
    let (seen, took) = (member.count(), began.elapsed());
    tell(&format!("4 of 10 fail: {seen} upstream requests for {VAIN} in {took:?}, {failed} failed"));
    let budget = 1.2 * VAIN as f64 + FLOOR * (took.as_secs_f64() + 1.0);
    assert!(seen as f64 <= budget, "{seen} of {VAIN}");
    assert!((failed as f64) < SHARE * VAIN as f64, "{failed}: repetitions are of use");
    let right: Vec<Got> = all.into_iter().filter(|got| got.status() == 200).collect();
    expect_right(&right, true);
}

// ------------------------------------------------------------------------------------------------ nothing stays

/// Requests of which half are left by their clients.
const LEFT: u64 = 3_000;

fn impatient(mark: u64) -> Option<Duration> {
    (mark % 2 == 1).then(|| Duration::from_micros(draw(3, mark) % 40_000))
}

/// Five faults in so many answers.
fn faults(seed: u64, of: u64) -> impl Fn(&Asked) -> Script + Send + Sync + 'static {
    move |asked| {
        let fault = draw(seed, asked.number);
        match fault % of {
            0 => crowd::stalling(),
            1 => crowd::error_event(),
            2 => crowd::throttling(Some("0")),
            3 => crowd::failing(500),
            4 => crowd::cut(good(asked), usize::try_from(fault >> 32).unwrap_or(0) % 4),
            5 => crowd::good(asked, Duration::from_millis(150), GAP),
            _ => good(asked),
        }
    }
}

#[test]
fn after_faults_and_clients_that_leave_nothing_stays() {
    let (_taken, dead) = nobody();
    let members = [(1, 24), (2, 100), (3, 24), (4, 100)].map(|(seed, of)| Member::start(faults(seed, of)));
    let route = "tiers = [[\"dead\", \"limited\", \"learning\", \"read_on\"], [\"last\"]]\n\
                 first_token_timeout = \"200ms\"\nearly_head_after = \"100ms\"\nhedge = { after = \"50ms\" }";
    let health = "[health]\nbreaker_open = \"100ms\"\nbreaker_open_max = \"200ms\"\nthrottle = \"50ms\"\n\
                  throttle_max = \"100ms\"\nejection = \"200ms\"\nslow_start = \"100ms\"";
    let limited = "streams_limit = 4\nqueue_timeout = \"100ms\"\nqueue_max = 16";
    let learning = "streams_limit = \"adaptive\"\nqueue_timeout = \"100ms\"\nstreams_limit_initial = 4";
    let read_on = "on_cancel = \"drain\"\ndrain_timeout = \"1s\"\ndrains_max = 8";
    let gateway = two_workers(route)
        .tables(health)
        .upstream("dead", dead, "")
        .upstream("limited", members[0].address, limited)
        .upstream("learning", members[1].address, learning)
        .upstream("read_on", members[2].address, read_on)
        .upstream("last", members[3].address, "")
        .start();
    let all = Load {
        every: Duration::from_millis(2),
        clients: 64,
        leave: impatient,
        ..Load::new(gateway.address(0), 0..LEFT)
    }
    .run();
    let left = all.iter().filter(|got| got.left).count();
    let right = all.iter().filter(|got| got.is_right(true)).count();
    tell(&format!("{left} of {LEFT} left, {right} right, {} others", all.len() - left - right));
    // What is said to be whole is one answer, or an honest error.
    for got in all.iter().filter(|got| got.whole && got.status() == 200) {
        let text = got.text();
        assert!(got.is_right(true) || text.contains("\"error\""), "{got:?}: {text}");
    }
    gateway.until_idle();
    let open: Vec<usize> = members.iter().map(Member::open).collect();
    assert_eq!(open, [0; 4], "what has no client is given up");
    let ends = members.iter().flat_map(Member::seen).filter_map(|seen| seen.end);
    assert!(ends.filter(|(_, ended)| *ended == Ended::Left).count() > 100, "most clients leave in the midst");
}
