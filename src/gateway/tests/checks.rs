//! What must be true of every request, and of everything when all is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::client::{Outcome, Wish, without_comments};
use super::world::{Ask, Target, World};
use crate::api::affinity;
use crate::config;
use crate::error::Kind;
use crate::gateway::worker::Worker;
use crate::routing::gate::Class;
use crate::routing::health::Standing;
use crate::telemetry::{EndReason, Telemetry};
use crate::units::{KeyId, UpstreamId};

/// Timers are right to a millisecond.
const TICK: Duration = Duration::from_millis(1);

/// What the routes that a request may take allow it.
pub(super) struct Rules {
    /// From its beginning to the end of its attempts: the longest of its routes.
    pub(super) overall: Option<Duration>,
    /// For one attempt.
    own: Option<Duration>,
    total: Option<Duration>,
    /// Whether it ends whatever its upstreams do.
    pub(super) is_bounded: bool,
    attempts_max: u32,
    same_target_max: u32,
    backoff_max: Duration,
    deadline: Option<Duration>,
    hedges: bool,
    queue: Duration,
    targets: u32,
}

impl Rules {
    pub(super) fn of(worker: &Worker, wish: &Wish) -> Self {
        let (config, table) = (&worker.snapshot.config, &worker.snapshot.table);
        let mut routes: Vec<Arc<config::Route>> = match (wish.path, wish.models) {
            ("/v1/batches", _) => vec![Arc::clone(&table.default_route().expect("a route").rules)],
            (_, Some(_)) => vec![rules(worker, "big"), rules(worker, wish.model), rules(worker, "m")],
            _ => vec![rules(worker, wish.model)],
        };
        let larger: Vec<_> =
            routes.iter().filter_map(|route| route.larger.as_deref()).map(|model| rules(worker, model)).collect();
        routes.extend(larger);
        let longest = |length: &dyn Fn(&config::Route) -> Option<Duration>| {
            routes.iter().map(|route| length(route)).try_fold(Duration::ZERO, |all, one| Some(all.max(one?)))
        };
        let overall = longest(&|route| {
            let response = route.clocks.response_timeout.filter(|_| !wish.stream);
            [response, route.clocks.total_timeout].into_iter().flatten().min()
        });
        let own = longest(&|route| {
            if wish.stream { route.clocks.first_token_timeout } else { route.retry.attempt_timeout }
        });
        let total = longest(&|route| route.clocks.total_timeout);
        let idle = longest(&|route| route.clocks.idle_timeout);
        Self {
            overall,
            own,
            total,
            is_bounded: total.is_some() || (idle.is_some() && (overall.is_some() || own.is_some())),
            attempts_max: routes.iter().map(|route| route.retry.attempts_max).max().unwrap_or(0),
            same_target_max: routes.iter().map(|route| route.retry.same_target_max).max().unwrap_or(0),
            backoff_max: routes.iter().map(|route| route.retry.backoff_max).max().unwrap_or_default(),
            deadline: longest(&|route| route.retry.deadline),
            hedges: wish.stream && routes.iter().any(|route| route.hedge.is_some()),
            queue: config
                .upstreams
                .iter()
                .filter_map(|upstream| upstream.gate.map(|gate| gate.queue_timeout))
                .max()
                .unwrap_or_default(),
            targets: u32::try_from(table.targets().len()).expect("few"),
        }
    }

    /// The longest wait for a response's head.
    fn head_max(&self) -> Option<Duration> {
        let attempts = self.targets + self.same_target_max;
        let by_attempts = self.own.map(|own| (own + self.queue + self.backoff_max) * attempts);
        [self.overall, by_attempts].into_iter().flatten().min()
    }
}

fn rules(worker: &Worker, model: &str) -> Arc<config::Route> {
    Arc::clone(&worker.snapshot.table.resolve(model).expect("a route").rules)
}

/// Ids of attempts in what a client has got.
fn ids(text: &str) -> BTreeSet<usize> {
    let parts: Vec<&str> = text.split('~').collect();
    // What stands behind the last mark may be the beginning of one.
    parts[..parts.len() - 1].iter().skip(1).step_by(2).filter_map(|id| id.parse().ok()).collect()
}

/// One request.
pub(super) fn request(world: &World, worker: &Worker, wish: &Wish, outcome: &Outcome) {
    let number = wish.number;
    let rules = Rules::of(worker, wish);
    let asks = world.asks.borrow();
    let own: Vec<(usize, &Ask)> = asks.iter().enumerate().filter(|(_, ask)| ask.request == number).collect();
    attempts(world, wish, outcome, &rules, &own);
    let ids = ids(&outcome.text);
    world.expect(ids.len() <= 1, || format!("request {number} got parts of attempts {ids:?}"));
    let ends = outcome.ends.borrow();
    let has_body = outcome.status.is_some() && outcome.refused.is_none();
    world.expect(ends.len() == usize::from(has_body), || format!("request {number} ended {} times", ends.len()));
    if let Some(id) = ids.first() {
        let ask = &asks[*id];
        world.expect(ask.request == number, || format!("request {number} got an answer to {}", ask.request));
        answer(world, wish, outcome, ask, *id);
        let upstream = UpstreamId::new(ask.target.0);
        let is_right = outcome.is_early || outcome.upstream == Some(upstream);
        world.expect(is_right, || {
            format!("request {number} says {:?} answers, and it is {upstream:?}", outcome.upstream)
        });
    }
    let Some(end) = ends.first() else { return };
    world.expect(end.reason.is_some(), || format!("request {number} ended without a reason"));
    let reason = end.reason.unwrap_or(EndReason::Completed);
    let is_read = !outcome.left && outcome.aborted.is_none();
    let is_idle = reason == EndReason::IdleTimeout && end.upstream.is_none();
    world.expect(!is_idle, || format!("request {number} is idle, and nobody has answered"));
    let tells = outcome.text.contains("\"error\"") || outcome.text.contains("response.failed");
    if reason != EndReason::Completed && is_read && outcome.status == Some(200) {
        world.expect(tells, || format!("request {number} ended with {reason:?} and looks whole"));
    }
    if reason == EndReason::Completed && end.streamed {
        world.expect(!ids.is_empty(), || format!("request {number} is a success without an answer"));
    }
    // What came whole to one who reads at once is a success, whatever else happens.
    let ask = ids.first().map(|id| &asks[*id]);
    if let Some(ask) = ask.filter(|ask| ask.says.is_whole == Some(true) && wish.pause.is_zero() && is_read) {
        let is_all = without_comments(&outcome.text).starts_with(&ask.says.text);
        let is_good = reason == EndReason::Completed;
        world.expect(!is_all || is_good, || format!("request {number} has all and ended with {reason:?}"));
    }
}

fn attempts(world: &World, wish: &Wish, outcome: &Outcome, rules: &Rules, own: &[(usize, &Ask)]) {
    let number = wish.number;
    if let Some(asked) = outcome.asked_at_token {
        let later = own.iter().filter(|(id, _)| *id >= asked).count();
        world.expect(later == 0, || format!("request {number} was sent {later} times after its first token"));
    }
    let made = u32::try_from(own.len()).expect("few");
    world.expect(made == outcome.attempts, || {
        format!("request {number} says {} attempts of {made}", outcome.attempts)
    });
    let seen = u32::try_from(own.iter().filter(|(_, ask)| ask.is_seen).count()).expect("few");
    let most = if wish.path == "/v1/batches" { 1 } else { rules.attempts_max + u32::from(rules.hedges) };
    world.expect(seen <= most, || format!("request {number} was seen {seen} times, at most {most} are allowed"));
    let mut by_target: BTreeMap<&Target, u32> = BTreeMap::new();
    for (_, ask) in own {
        *by_target.entry(&ask.target).or_default() += 1;
    }
    for (target, times) in by_target {
        let most = 1 + rules.same_target_max;
        world.expect(times <= most, || format!("request {number} was sent {times} times to {target:?}"));
    }
    for (id, ask) in own {
        let after = ask.at.saturating_sub(outcome.began);
        let is_in_time = rules.overall.is_none_or(|overall| after < overall);
        world.expect(is_in_time, || format!("request {number} was sent (~{id}~) {after:?} after its beginning"));
        let is_late = rules.deadline.is_some_and(|deadline| after >= deadline);
        world.expect(!is_late, || format!("request {number} was sent (~{id}~) after its deadline, {after:?}"));
    }
    if let (Some(head), Some(most)) = (outcome.head, rules.head_max()) {
        let after = head.saturating_sub(outcome.began);
        world.expect(after <= most + TICK, || {
            format!("request {number} waited {after:?} for its head, of {most:?}")
        });
    }
    if let (true, Some(total)) = (wish.pause.is_zero(), rules.total) {
        let after = outcome.over.saturating_sub(outcome.began);
        world.expect(after <= total + TICK, || format!("request {number} took {after:?} of {total:?}"));
    }
}

/// What the client has got against what was sent.
fn answer(world: &World, wish: &Wish, outcome: &Outcome, ask: &Ask, id: usize) {
    let number = wish.number;
    let got = without_comments(&outcome.text);
    let mine = format!("\"request_id\":\"r-{number}\"");
    // What the gateway itself has to say stands last.
    let theirs = match got.find(&mine) {
        Some(at) => {
            let before = &got[..at];
            let start = before.rfind("\n\n").map_or(0, |end| end + 2);
            &got[..start]
        }
        None => &got[..],
    };
    let stray = format!("data: {}\n\n", ask.says.text);
    let sent = [Some(&ask.says.text), ask.says.without_usage.as_ref(), (!ask.says.is_stream).then_some(&stray)];
    let is_part = sent.into_iter().flatten().any(|sent| sent.starts_with(theirs.trim_end_matches('\n')));
    world.expect(is_part, || format!("request {number} got what ~{id}~ did not send: {got:?}"));
    let is_success = outcome.ends.borrow().first().is_some_and(|end| end.reason == Some(EndReason::Completed));
    if !is_success {
        return;
    }
    if ask.says.status != 200 {
        world.expect(got == ask.says.text, || format!("request {number} got a part of the error ~{id}~"));
        return;
    }
    let has_end =
        !ask.says.is_stream || ["\"stop\"", "[DONE]", "response.completed"].iter().any(|mark| got.contains(mark));
    let is_error = ask.says.is_whole.is_none() && !ask.says.is_stream && got == ask.says.text;
    let is_whole = ask.says.is_whole.is_some() && has_end && (ask.says.is_stream || got == ask.says.text);
    world.expect(is_whole || is_error, || format!("request {number} is a success, and ~{id}~ not whole"));
}

/// A request that nobody has answered: whether somebody who is well and has room was not asked, though there was time.
pub(super) fn nothing_else(world: &World, worker: &Worker, wish: &Wish, outcome: &Outcome) {
    let Some(error) = &outcome.refused else { return };
    let (snapshot, now) = (&worker.snapshot, worker.now());
    let passed = world.now().saturating_sub(outcome.began);
    let route = rules(worker, wish.model);
    let response = route.clocks.response_timeout.filter(|_| !wish.stream);
    let clocks = [response, route.clocks.total_timeout, route.retry.deadline];
    let has_time = clocks.into_iter().flatten().all(|most| passed < most);
    let asks = world.asks.borrow();
    let own = || asks.iter().filter(|ask| ask.request == wish.number);
    let seen = u32::try_from(own().filter(|ask| ask.is_seen).count()).expect("few");
    let is_nobody = matches!(
        error.kind(),
        Kind::NoTarget
            | Kind::Overloaded
            | Kind::UpstreamUnreachable
            | Kind::UpstreamBroken
            | Kind::UpstreamTimeout
    );
    let attempts_max = snapshot.table.resolve(wish.model).map_or(0, |route| route.rules.retry.attempts_max);
    if !is_nobody || !has_time || seen >= attempts_max || wish.path == "/v1/batches" || wish.models.is_some() {
        return;
    }
    let route = snapshot.table.resolve(wish.model).expect("a route");
    // Those that are turned to for what is too long are all that is asked then; and who has waited for somebody in
    // particular does not look around once more.
    let turned = |ask: &Ask| ask.says.text.contains("context_length") || ask.says.text.contains("content_filter");
    let has_waited = own().next_back().is_some_and(|ask| ask.closed < world.now());
    if has_waited || own().any(turned) {
        return;
    }
    let allowed = wish.key.map(|key| &snapshot.config.keys[key.index()].upstreams).filter(|list| !list.is_empty());
    for choice in route.choices() {
        let target = snapshot.table.target(choice.target);
        let name = (target.upstream.index(), target.key, target.model.as_deref().unwrap_or(wish.model));
        let was_asked = own().any(|ask| (ask.target.0, ask.target.1, ask.target.2.as_str()) == name);
        let may_be = allowed.is_none_or(|allowed| allowed.contains(&target.upstream.index()));
        let standing = snapshot.board.peek(target.id, affinity::of_bytes(wish.model.as_bytes()), now);
        let is_well = standing == Standing::Good && !snapshot.board.is_ejected(target.id, now);
        // There may have been no room when its turn was.
        let has_room = snapshot.gates[target.id.index()].is_none();
        let was_possible = !was_asked && may_be && is_well && has_room;
        world.expect(!was_possible, || {
            format!("request {} failed ({error}), and {name:?} was not asked", wish.number)
        });
    }
}

/// No target is ejected above the ceiling of its tiers.
pub(super) fn ceiling(world: &World, worker: &Worker) {
    let (board, now) = (&worker.snapshot.board, worker.now());
    let share = worker.snapshot.config.health.ejected_share_max;
    for tier in worker.snapshot.table.routes().iter().flat_map(|route| &route.tiers) {
        let out = tier.iter().filter(|choice| board.is_ejected(choice.target, now)).count();
        let is_below = out as f64 <= share * tier.len() as f64;
        world.expect(is_below, || format!("{out} of {} are ejected, of {share} at most", tier.len()));
    }
}

/// Nothing is held when all is over.
pub(super) fn rest(world: &World, worker: &Worker, telemetry: &Arc<Telemetry>) {
    let snapshot = &worker.snapshot;
    for target in snapshot.table.targets() {
        let open = snapshot.board.open(target.id);
        world.expect(open == 0, || format!("{open} streams are open at {}", target.id));
        if let Some(gate) = &snapshot.gates[target.id.index()] {
            let held = (gate.in_flight(), gate.waiting(Class::Interactive), gate.waiting(Class::Batch));
            world.expect(held == (0, 0, 0), || format!("the gate of {} holds {held:?}", target.id));
        }
    }
    let budget = (snapshot.budget.live(), snapshot.budget.running());
    world.expect(budget == (0, 0), || format!("the budget has {budget:?} live and running"));
    for key in (0..snapshot.config.keys.len()).map(|key| Some(KeyId::new(key))).chain([None]) {
        let held = snapshot.limits.in_flight(key);
        world.expect(held == 0, || format!("{held} permits of {key:?} are held"));
    }
    for (upstream, places) in snapshot.drains.iter().enumerate() {
        world.expect(places.taken() == 0, || format!("{} answers of {upstream} are read on", places.taken()));
    }
    let open: Vec<usize> =
        world.asks.borrow().iter().enumerate().filter(|(_, ask)| ask.is_open).map(|(id, _)| id).collect();
    world.expect(open.is_empty(), || format!("attempts {open:?} are open"));
    let scraped = telemetry.encode();
    // Of each attempt is told once what became of it.
    let told: f64 = scraped
        .lines()
        .filter(|line| line.starts_with("millstream_attempts_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    let asked = world.asked.get();
    world.expect((told - asked as f64).abs() < 0.5, || {
        format!("{told} attempts are told of, and {asked} were made")
    });
    let active: Vec<&str> = scraped
        .lines()
        .filter(|line| line.starts_with("millstream_streams_active{") && !line.ends_with(" 0"))
        .collect();
    world.expect(active.is_empty(), || format!("the gauges say {active:?}"));
}

/// No probe is out: everybody may be asked.
pub(super) fn all_open(world: &World, worker: &Worker) {
    let (board, now) = (&worker.snapshot.board, worker.now());
    for target in worker.snapshot.table.targets() {
        for model in ["m", "big", ""] {
            let standing = board.peek(target.id, affinity::of_bytes(model.as_bytes()), now);
            let is_shut = matches!(standing, Standing::Shut { .. });
            world.expect(!is_shut, || format!("{} stays {standing:?} for {model:?}", target.id));
        }
    }
}
