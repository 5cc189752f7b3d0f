//! The board between threads: one probe at a time, counts that return to zero, ceilings that hold.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::routing::health::tests::{Random, ms, target};
use crate::routing::health::{Admission, Board, Fault, HealthPolicy, Pass};

const THREADS: u64 = 8;
const TARGETS: usize = 3;
/// In cells of their own, where none overwrites another's cooldown.
const MODELS: usize = 4;

/// Trips and comes back all the time; its probes do not expire.
fn nervous() -> HealthPolicy {
    HealthPolicy {
        breaker_failures: 3,
        open: ms(20),
        open_max: ms(100),
        throttle: ms(10),
        throttle_max: ms(50),
        probe: Duration::from_secs(1_000_000),
        ..HealthPolicy::default()
    }
}

/// How many probes are out, by target, and by target and model.
#[derive(Debug, Default)]
struct Out {
    fuses: [AtomicU32; TARGETS],
    cooldowns: [[AtomicU32; MODELS]; TARGETS],
    probes: AtomicU32,
}

impl Out {
    fn each(&self, pass: Pass, model: usize) -> impl Iterator<Item = &AtomicU32> {
        let at = pass.target().index();
        let fuse = pass.is_fuse_probe.then_some(&self.fuses[at]);
        let cooldown = pass.throttle_probe.map(|_| &self.cooldowns[at][model]);
        fuse.into_iter().chain(cooldown)
    }

    fn leave(&self, pass: Pass, model: usize, seed: u64) {
        for out in self.each(pass, model) {
            assert_eq!(out.fetch_add(1, Ordering::SeqCst), 0, "two probes at once: seed {seed}, {pass:?}");
        }
        self.probes.fetch_add(u32::from(pass.is_probe()), Ordering::Relaxed);
    }

    /// Before the report: from then on the next may leave.
    fn come_back(&self, pass: Pass, model: usize) {
        for out in self.each(pass, model) {
            out.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn report(board: &Board, pass: Pass, random: &mut Random, now: Duration) {
    match random.below(20) {
        0..6 => drop(board.succeeded(pass, Some(ms(random.below(500))), now)),
        6..14 => drop(board.failed(pass, Fault::Status, now)),
        14..17 => board.throttled(pass, None, false, now),
        _ => board.abandoned(pass, now),
    }
}

fn work(board: &Board, clock: &AtomicU64, out: &Out, seed: u64, thread: u64) {
    let mut random = Random(seed << 8 | thread);
    let mut old: Vec<Pass> = Vec::new();
    for _ in 0..3000 {
        let micros = random.below(500);
        let now = Duration::from_micros(clock.fetch_add(micros, Ordering::Relaxed) + micros);
        let (at, model) = (target(random.index(TARGETS)), random.index(MODELS));
        let Some(pass) = board.admit(at, model as u64, now).pass() else { continue };
        out.leave(pass, model, seed);
        board.began(at);
        thread::yield_now();
        board.ended(at);
        out.come_back(pass, model);
        report(board, pass, &mut random, now);
        // Results that come late, or twice, must not free what is somebody else's by then.
        old.push(pass);
        if random.below(4) == 0 {
            let late = old.swap_remove(random.index(old.len()));
            report(board, late, &mut random, now);
        }
    }
}

#[test]
fn no_two_probes_are_out_and_every_count_returns_to_zero() {
    for seed in 0..20 {
        let (board, clock, out) = (Board::new(TARGETS, nervous()), AtomicU64::new(0), Out::default());
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (board, clock, out) = (&board, &clock, &out);
                scope.spawn(move || work(board, clock, out, seed, thread));
            }
        });
        assert!(out.probes.load(Ordering::Relaxed) > 20, "seed {seed}: {out:?}");
        let later = Duration::from_hours(1);
        for at in (0..TARGETS).map(target) {
            assert_eq!(board.open(at), 0, "seed {seed}");
            for model in 0..MODELS as u64 {
                let pass = board.admit(at, model, later).pass();
                let pass = pass.unwrap_or_else(|| panic!("a place was lost: seed {seed}, {at} {model}"));
                board.succeeded(pass, None, later);
                assert!(matches!(board.admit(at, model, later), Admission::Free(_)), "seed {seed}, {at} {model}");
            }
        }
    }
}

#[test]
fn of_many_who_come_at_once_one_gets_the_probe() {
    let (board, start) = (Board::new(1, nervous()), Barrier::new(16));
    let mut now = ms(0);
    for round in 0..100 {
        while let Admission::Free(pass) = board.admit(target(0), 0, now) {
            board.failed(pass, Fault::Broken, now);
        }
        now += ms(1000);
        let passes: Vec<Pass> = thread::scope(|scope| {
            let come = || {
                start.wait();
                board.admit(target(0), 0, now).pass()
            };
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(come)).collect();
            threads.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(passes.len(), 1, "round {round}");
        assert!(passes[0].is_fuse_probe);
        board.succeeded(passes[0], None, now);
    }
}

#[test]
fn of_many_who_see_the_breaker_open_one_is_told() {
    for round in 0..100 {
        let (board, start) = (Board::new(1, HealthPolicy::default()), Barrier::new(8));
        let told: usize = thread::scope(|scope| {
            let fail = || {
                let pass = board.admit(target(0), 0, ms(0)).pass().expect("closed");
                start.wait();
                (0..5).filter(|_| board.failed(pass, Fault::Broken, ms(0))).count()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(fail)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(told, 1, "round {round}");
    }
}

#[test]
fn judges_who_come_at_once_keep_below_the_ceiling() {
    for round in 0..50 {
        let policy = HealthPolicy { ejected_share_max: 0.25, ..HealthPolicy::default() };
        let (board, start) = (Board::new(9, policy), Barrier::new(8));
        let tier: Vec<_> = (0..9).map(target).collect();
        for at in &tier {
            for attempt in 0..100 {
                let pass = board.admit(*at, 0, ms(0)).pass().expect("closed");
                // Four of nine fail at a third; two of nine may go.
                if at.index() < 4 && attempt % 3 == 0 {
                    board.failed(pass, Fault::Status, ms(0));
                } else {
                    board.succeeded(pass, Some(ms(100)), ms(0));
                }
            }
        }
        let ejected: usize = thread::scope(|scope| {
            let judge = || {
                start.wait();
                (0..20).map(|_| board.judge(&[&tier], ms(1000)).len()).sum::<usize>()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(judge)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(ejected, 2, "round {round}");
        assert_eq!(tier.iter().filter(|at| board.is_ejected(**at, ms(1000))).count(), 2);
    }
}
