//! A tier of five targets under load, on a virtual clock: who is asked how often, and who has to wait.
//!
//! The picker is as simple as can be: who stands for a probe, else one of the good ones, else one of the doubtful, by
//! chance. A request goes from target to target until one answers or none is left.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use crate::routing::health::tests::{Random, ms, target};
use crate::routing::health::{Admission, Board, Fault, HealthPolicy, Pass, Standing};
use crate::units::TargetId;

const TARGETS: usize = 5;
const MODEL: u64 = 7;
/// The wait for a first token.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two requests: 200 a second, and 50 where much time has to pass.
const GAP: Duration = Duration::from_millis(5);
const LONG_GAP: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Habit {
    Dead,
    Stalling,
    Erroring,
    Throttling,
    /// Speaks, and cuts its streams after a second.
    Cutting,
    Good,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Answer { request: usize, asked: usize, habit: Habit, first_token: Duration },
    End { asked: usize, is_cut: bool },
    Judgement,
}

#[derive(Debug, Default)]
struct Request {
    begun: Duration,
    tried: [bool; TARGETS],
    pass: Option<Pass>,
}

#[derive(Debug)]
struct World {
    board: Arc<Board>,
    tier: Vec<TargetId>,
    random: Random,
    gap: Duration,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, usize, Event, usize)>>,
    pushed: usize,
    requests: Vec<Request>,
    /// By target, and of these by time: begun after `counted_from`.
    attempts: [usize; TARGETS],
    counted_from: Duration,
    counted: [usize; TARGETS],
    served: usize,
    refused: usize,
    longest: Duration,
}

impl World {
    fn new(seed: u64, gap: Duration, counted_from: Duration) -> Self {
        Self {
            board: Board::new(TARGETS, HealthPolicy::default()),
            tier: (0..TARGETS).map(target).collect(),
            random: Random(seed),
            gap,
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            pushed: 0,
            requests: Vec::new(),
            attempts: [0; TARGETS],
            counted_from,
            counted: [0; TARGETS],
            served: 0,
            refused: 0,
            longest: Duration::ZERO,
        }
    }

    fn push(&mut self, after: Duration, event: Event, request: usize) {
        self.pushed += 1;
        self.events.push(Reverse((self.now + after, self.pushed, event, request)));
    }

    /// Lets requests arrive until `until`, and what is under way end after that.
    fn run(&mut self, habits: [Habit; TARGETS], until: Duration) {
        self.push(Duration::ZERO, Event::Arrival, 0);
        self.push(Duration::ZERO, Event::Judgement, 0);
        while let Some(Reverse((now, _, event, request))) = self.events.pop() {
            self.now = now;
            match event {
                Event::Arrival => {
                    self.requests.push(Request { begun: now, ..Request::default() });
                    self.ask(self.requests.len() - 1, habits);
                    if now + self.gap < until {
                        self.push(self.gap, Event::Arrival, 0);
                    }
                }
                Event::Answer { request, asked, habit, first_token } => {
                    self.answer(request, asked, habit, first_token, habits);
                }
                Event::End { asked, is_cut } => {
                    let pass = self.requests[request].pass.expect("it was asked");
                    if is_cut {
                        self.board.failed(pass, Fault::Aborted, now);
                    }
                    self.board.ended(target(asked));
                }
                Event::Judgement => {
                    let ejections = self.board.judge(&[&self.tier], now);
                    let ejected = self.tier.iter().filter(|at| self.board.is_ejected(**at, now)).count();
                    assert!(ejected <= TARGETS / 2, "{ejections:?}");
                    if now < until {
                        self.push(Duration::from_secs(1), Event::Judgement, 0);
                    }
                }
            }
        }
        for at in &self.tier {
            assert_eq!(self.board.open(*at), 0, "an open stream was lost");
        }
    }

    fn pick(&mut self, request: usize) -> Option<Pass> {
        let panics = self.board.panics(&self.tier, self.now);
        loop {
            let mut found: [Vec<usize>; 3] = Default::default();
            for at in 0..TARGETS {
                let is_out = self.board.is_ejected(target(at), self.now) && !panics;
                if self.requests[request].tried[at] || is_out {
                    continue;
                }
                match self.board.peek(target(at), MODEL, self.now) {
                    Standing::Probe => found[0].push(at),
                    Standing::Good => found[1].push(at),
                    Standing::Doubtful => found[2].push(at),
                    Standing::Shut { until } => assert!(until > self.now),
                }
            }
            let among = found.into_iter().find(|found| !found.is_empty())?;
            let at = among[self.random.index(among.len())];
            match self.board.admit(target(at), MODEL, self.now) {
                Admission::Free(pass) | Admission::Probe(pass) => return Some(pass),
                Admission::Shut { .. } => self.requests[request].tried[at] = true,
            }
        }
    }

    /// The request has its answer, or its refusal.
    fn over(&mut self, request: usize) {
        self.longest = self.longest.max(self.now.saturating_sub(self.requests[request].begun));
    }

    fn ask(&mut self, request: usize, habits: [Habit; TARGETS]) {
        let Some(pass) = self.pick(request) else {
            self.refused += 1;
            self.over(request);
            return;
        };
        let asked = pass.target().index();
        self.requests[request].tried[asked] = true;
        self.requests[request].pass = Some(pass);
        self.attempts[asked] += 1;
        self.counted[asked] += usize::from(self.now >= self.counted_from);
        self.board.began(pass.target());
        let habit = habits[asked];
        let first_token = match habit {
            Habit::Dead => ms(2),
            Habit::Stalling => PATIENCE,
            Habit::Throttling => ms(20),
            Habit::Erroring | Habit::Cutting | Habit::Good => ms(100 + self.random.below(50)),
        };
        self.push(first_token, Event::Answer { request, asked, habit, first_token }, request);
    }

    fn answer(
        &mut self,
        request: usize,
        asked: usize,
        habit: Habit,
        first_token: Duration,
        habits: [Habit; TARGETS],
    ) {
        let pass = self.requests[request].pass.expect("it was asked");
        let fault = match habit {
            Habit::Good | Habit::Cutting => {
                self.board.succeeded(pass, Some(first_token), self.now);
                self.served += 1;
                self.over(request);
                let length = ms(1000 + self.random.below(2000));
                self.push(length, Event::End { asked, is_cut: habit == Habit::Cutting }, request);
                return;
            }
            Habit::Throttling => {
                self.board.throttled(pass, None, false, self.now);
                None
            }
            Habit::Dead => Some(Fault::Unreachable),
            Habit::Stalling => Some(Fault::Late),
            Habit::Erroring => Some(Fault::FirstEvent),
        };
        if let Some(fault) = fault {
            self.board.failed(pass, fault, self.now);
        }
        self.board.ended(target(asked));
        self.ask(request, habits);
    }
}

#[test]
fn after_the_first_seconds_bad_targets_get_less_than_one_percent_and_no_request_fails() {
    let habits = [Habit::Dead, Habit::Stalling, Habit::Erroring, Habit::Throttling, Habit::Good];
    for seed in 0..10 {
        let mut world = World::new(seed, GAP, Duration::from_secs(10));
        world.run(habits, Duration::from_secs(50));
        assert_eq!((world.served, world.refused), (10_000, 0), "seed {seed}");
        let bad: usize = world.counted[..4].iter().sum();
        let all: usize = world.counted.iter().sum();
        assert!(bad * 100 < all, "seed {seed}: {bad} of {all}, {:?}", world.counted);
        assert!(world.longest <= PATIENCE + ms(2 + 150 + 20 + 150), "seed {seed}: {:?}", world.longest);
    }
}

#[test]
fn a_target_that_cuts_its_streams_is_shut_too() {
    let habits = [Habit::Cutting, Habit::Good, Habit::Good, Habit::Good, Habit::Good];
    for seed in 0..5 {
        let mut world = World::new(seed, GAP, Duration::from_secs(10));
        world.run(habits, Duration::from_secs(50));
        assert_eq!((world.served, world.refused), (10_000, 0), "seed {seed}");
        let all: usize = world.counted.iter().sum();
        assert!(world.counted[0] * 10 < all, "seed {seed}: {:?}", world.counted);
    }
}

#[test]
fn when_all_fail_the_load_falls_to_the_probes_and_comes_back_with_the_targets() {
    let mixed = [Habit::Dead, Habit::Stalling, Habit::Erroring, Habit::Throttling, Habit::Dead];
    for (case, habits) in
        [mixed, [Habit::Dead; 5], [Habit::Stalling; 5], [Habit::Erroring; 5], [Habit::Throttling; 5]]
            .into_iter()
            .enumerate()
    {
        for seed in 0..2 {
            let mut world = World::new(seed, LONG_GAP, Duration::from_secs(10));
            world.run(habits, Duration::from_secs(100));
            assert_eq!((world.served, world.refused), (0, 5000), "case {case}, seed {seed}");
            // From 10 to 100 s: breakers probe at some 10, 15, 35 and 75 s, cooldowns at some 7, 15, 31 and 63 s.
            for (at, attempts) in world.counted.iter().enumerate() {
                assert!((1..=5).contains(attempts), "case {case}, seed {seed}: {attempts} at {at}");
            }
            let all: usize = world.attempts.iter().sum();
            assert!(all < 5000, "case {case}, seed {seed}: {all} attempts are more than were offered");

            // All are well again; within the longest time that a breaker is open, so are all answers.
            let back = world.now + Duration::from_secs(20);
            (world.now, world.served, world.refused) = (back, 0, 0);
            world.run([Habit::Good; TARGETS], back + Duration::from_secs(100));
            assert!(world.refused < 50 * 67, "case {case}, seed {seed}: {} refused", world.refused);
            let closed = |at: &TargetId| world.board.peek(*at, MODEL, world.now) == Standing::Good;
            assert!(world.tier.iter().all(closed), "case {case}, seed {seed}");
        }
    }
}
