//! Whole runs from a seed: any configuration, any upstreams, any clients. What must always be true stands in `checks`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::{interval, sleep};

use super::act::{Habit, Mood};
use super::checks::{self, Rules};
use super::client::{self, Outcome, Wish, gateway};
use super::draw::Draw;
use super::setup::Setup;
use super::world::{Door, World};
use crate::config::{Env, StreamsLimit};
use crate::gateway::health;
use crate::gateway::snapshot::Snapshot;
use crate::gateway::worker::Worker;
use crate::reactor::spawn;
use crate::routing::health::{Board, HealthPolicy};
use crate::signal::{Phase, Signal};
use crate::telemetry::{EndReason, Telemetry};
use crate::upstream::Pool;

/// Runs of one test, of the seeds from 0 on.
const SEEDS: u64 = 2_000;

/// Which other seeds to run: `7` alone, which then tells all that happens in it, or those of `2000..50000`.
const VARIABLE: &str = "MILLSTREAM_SEEDS";

/// Runs that are told of when many fail.
const SHOWN_MAX: usize = 300;

/// Seeds beyond those that have found something: a second attempt beside the first after the deadline; a place in a queue
/// that came at the very moment at which the request's time was over.
const KNOWN: &[u64] = &[7_899, 8_831];

/// Longer than anything of a run goes on, and than any target is left alone.
pub(super) const CALM: Duration = Duration::from_mins(20);

/// A world and a worker in it.
pub(super) struct Stage {
    pub(super) world: Rc<World>,
    pub(super) worker: Rc<Worker>,
    pub(super) telemetry: std::sync::Arc<Telemetry>,
    pub(super) phase: Signal<Phase>,
}

impl Stage {
    pub(super) fn new(setup: &Setup, mut draw: Draw, is_told: bool) -> Self {
        let config = setup.config();
        let limit = |upstream: &crate::config::Upstream| match upstream.gate?.limit {
            StreamsLimit::Fixed(limit) => Some(limit),
            StreamsLimit::Adaptive { .. } => None,
        };
        let limits = config.upstreams.iter().map(limit).collect();
        let telemetry = Telemetry::new(&config, 1);
        let recorder = telemetry.recorder(0);
        let chance = draw.next();
        let world = World::new(draw, setup, limits, is_told);
        let mut snapshot = Snapshot::new(config, 1_000).expect("no TLS");
        // Few requests are enough for a verdict, and a probe that nobody reports is never forgotten.
        let policy = HealthPolicy {
            outlier_attempts_least: 3,
            probe: Duration::from_hours(24),
            ..health::policy(&snapshot.config.health)
        };
        snapshot.board = Board::new(snapshot.table.targets().len(), policy);
        let pool = Pool::scripted(Rc::new(Door(Rc::clone(&world))), &recorder);
        let phase = Signal::new(Phase::Serve);
        let worker = Rc::new(Worker::new(snapshot, pool, recorder, phase.clone()).seeded(chance));
        Self { world, worker, telemetry, phase }
    }

    async fn play(&self, setup: &Setup) {
        let Self { world, worker, .. } = self;
        let keys = worker.snapshot.config.keys.len();
        let gateway = gateway(worker);
        let mut clients = Vec::new();
        for number in 0..setup.requests {
            let mut wish = Wish::drawn(&mut world.draw.borrow_mut(), number, setup.span, keys);
            if !Rules::of(worker, &wish).is_bounded {
                wish.leaves = wish.leaves.or(Some(Duration::from_secs(30)));
            }
            let (world, worker) = (Rc::clone(world), Rc::clone(worker));
            clients.push(spawn(client::run(world, worker, gateway.clone(), wish)));
        }
        let (judged, judging) = (Rc::clone(world), Rc::clone(worker));
        let judge = spawn(async move {
            let mut second = interval(Duration::from_secs(1));
            loop {
                second.tick().await;
                judging.judge_targets();
                checks::ceiling(&judged, &judging);
            }
        });
        if let Some(at) = setup.recall {
            let (phase, world) = (self.phase.clone(), Rc::clone(world));
            drop(spawn(async move {
                sleep(at).await;
                world.note(|| "the process ends".to_owned());
                phase.set(Phase::Finish);
                phase.set(Phase::End);
            }));
        }
        for client in clients {
            let (wish, outcome) = client.await.expect("a client does not panic");
            checks::request(world, worker, &wish, &outcome);
        }
        judge.abort();
        sleep(CALM).await;
        checks::rest(world, worker, &self.telemetry);
        checks::all_open(world, worker);
        if setup.recall.is_none() {
            self.calm(setup.requests, "m").await;
            self.calm(setup.requests + 1, "big").await;
            checks::rest(world, worker, &self.telemetry);
        }
    }

    /// One request, and what became of it.
    pub(super) async fn ask(&self, wish: Wish) -> Outcome {
        let Self { world, worker, .. } = self;
        let (wish, outcome) = client::run(Rc::clone(world), Rc::clone(worker), gateway(worker), wish).await;
        checks::request(world, worker, &wish, &outcome);
        outcome
    }

    /// When all upstreams are well again, so are answers.
    async fn calm(&self, number: usize, model: &'static str) {
        let world = &self.world;
        world.is_calm.set(true);
        let outcome = self.ask(Wish::plain(number, model)).await;
        let end = outcome.ends.borrow().first().and_then(|end| end.reason);
        world.expect(end == Some(EndReason::Completed), || format!("all are well, and {model} has {outcome:?}"));
    }
}

/// Plays `scene` on a stage of its own, with this configuration and upstreams of these habits; nothing may be wrong.
pub(super) fn on_stage(text: &str, habits: &[&[Habit]], scene: impl AsyncFnOnce(&Stage)) {
    let moods = habits.iter().map(|habits| [Mood(habits.to_vec()), Mood(habits.to_vec())]).collect();
    let text = text.to_owned();
    let setup = Setup { text, moods, turn: Duration::ZERO, requests: 0, span: Duration::ZERO, recall: None };
    in_time(async {
        let stage = Stage::new(&setup, Draw::new(1), true);
        scene(&stage).await;
        sleep(CALM).await;
        checks::rest(&stage.world, &stage.worker, &stage.telemetry);
        let (faults, log) = (stage.world.faults.take(), stage.world.log.as_ref().expect("it is told").take());
        assert!(faults.is_empty(), "{faults:?}\n{}", log.join("\n"));
    });
}

/// On a clock that moves when nothing else does.
fn in_time<F: Future>(play: F) -> F::Output {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    LocalSet::new().block_on(&runtime, play)
}

/// One run, and what is wrong with it; with all that happens in it, if that is to be told.
fn run(seed: u64, is_told: bool) -> Vec<String> {
    let mut draw = Draw::new(seed);
    let setup = Setup::drawn(&mut draw);
    in_time(async {
        let stage = Stage::new(&setup, draw, is_told);
        stage.play(&setup).await;
        let mut faults = stage.world.faults.take();
        if let Some(log) = &stage.world.log {
            faults.push(format!("{}\n{}", setup.text, log.borrow().join("\n")));
        }
        faults
    })
}

/// What [`VARIABLE`] asks for, and whether it is one to be told of.
fn wanted() -> (Vec<u64>, bool) {
    let number = |text: &str| text.trim().parse().expect("a seed");
    match Env::process().get(VARIABLE) {
        None => (KNOWN.iter().copied().chain(0..SEEDS).collect(), false),
        Some(text) => match text.split_once("..") {
            Some((first, end)) => ((number(first)..number(end)).collect(), false),
            None => (vec![number(&text)], true),
        },
    }
}

#[test]
fn every_run_keeps_its_promises() {
    let (seeds, is_told) = wanted();
    let faulty = |seeds: &[u64]| -> Vec<String> {
        let ran = |seed: &u64| {
            let ran = catch_unwind(AssertUnwindSafe(|| run(*seed, is_told)));
            let faults = ran.unwrap_or_else(|_| vec!["a panic".to_owned()]);
            (!faults.is_empty()).then(|| format!("seed {seed}: {}", faults.join("; ")))
        };
        seeds.iter().filter_map(ran).collect()
    };
    let (first, second) = seeds.split_at(seeds.len() / 2);
    let failed = thread::scope(|scope| {
        let first = scope.spawn(|| faulty(first));
        let mut failed = faulty(second);
        failed.extend(first.join().expect("panics are caught"));
        failed
    });
    let shown: Vec<&str> = failed.iter().take(SHOWN_MAX).map(String::as_str).collect();
    assert!(failed.is_empty(), "{} runs failed:\n{}", failed.len(), shown.join("\n"));
}
