//! The board's claims, on a virtual clock.

use std::time::Duration;

use crate::routing::health::{Admission, Board, Cause, Fault, HealthPolicy, Pass, Standing, State};
use crate::units::TargetId;

/// `SplitMix64`: a seed tells all that follows.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// From 0 to below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// A position in a list of that length.
    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a length")
    }
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn target(position: usize) -> TargetId {
    TargetId::new(position)
}

const MODEL: u64 = 0x5eed;

fn board(targets: usize) -> std::sync::Arc<Board> {
    Board::new(targets, HealthPolicy::default())
}

fn free(board: &Board, at: TargetId, now: Duration) -> Pass {
    match board.admit(at, MODEL, now) {
        Admission::Free(pass) => pass,
        other => panic!("not free at {now:?}: {other:?}"),
    }
}

fn probe(board: &Board, at: TargetId, now: Duration) -> Pass {
    match board.admit(at, MODEL, now) {
        Admission::Probe(pass) => pass,
        other => panic!("no probe at {now:?}: {other:?}"),
    }
}

fn is_shut(board: &Board, at: TargetId, now: Duration) -> bool {
    matches!(board.admit(at, MODEL, now), Admission::Shut { until } if until >= now)
}

/// `successes` and then `failures`, none of them five in a row.
fn feed(board: &Board, at: TargetId, successes: u64, failures: u64, first_token: Duration, now: Duration) {
    for attempt in 0..successes + failures {
        let pass = free(board, at, now);
        if attempt * failures / (successes + failures) != (attempt + 1) * failures / (successes + failures) {
            board.failed(pass, Fault::Status, now);
        } else {
            board.succeeded(pass, Some(first_token), now);
        }
    }
}

/// Opens the breaker by a row of failures.
fn trip(board: &Board, at: TargetId, now: Duration) {
    for failure in 1..=5 {
        assert_eq!(board.failed(free(board, at, now), Fault::Broken, now), failure == 5);
    }
}

#[test]
fn it_can_be_shared_by_threads() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Board>();
    is_shared::<Pass>();
}

#[test]
fn a_new_target_is_good_warm_and_without_a_pace() {
    let board = board(2);
    assert_eq!(board.peek(target(1), MODEL, ms(0)), Standing::Good);
    let snapshot = board.snapshot(target(1), ms(0));
    assert_eq!((snapshot.state, snapshot.open, snapshot.trips, snapshot.pace), (State::Closed, 0, 0, None));
    assert!(snapshot.warmth >= 1.0 && snapshot.attempts <= 0.0);
}

#[test]
fn every_fault_opens_the_breaker_after_five_in_a_row() {
    for fault in [Fault::Unreachable, Fault::Broken, Fault::Status, Fault::FirstEvent, Fault::Late, Fault::Aborted]
    {
        let board = board(1);
        for _ in 0..5 {
            assert!(!is_shut(&board, target(0), ms(10)), "{fault:?}");
            board.failed(free(&board, target(0), ms(10)), fault, ms(10));
        }
        assert!(is_shut(&board, target(0), ms(10)), "{fault:?}");
    }
}

#[test]
fn a_target_that_fails_every_other_time_opens_by_its_ratio() {
    let board = board(1);
    for attempt in 1..=20 {
        let pass = free(&board, target(0), ms(attempt));
        if attempt % 2 == 0 {
            assert_eq!(board.failed(pass, Fault::Status, ms(attempt)), attempt == 20, "{attempt}");
        } else {
            board.succeeded(pass, None, ms(attempt));
        }
    }
    assert!(is_shut(&board, target(0), ms(20)));
}

#[test]
fn streams_that_are_all_cut_open_the_breaker_though_each_began_well() {
    let board = board(1);
    let cut_at = (1..=20).find(|attempt| {
        let pass = free(&board, target(0), ms(*attempt));
        board.succeeded(pass, Some(ms(100)), ms(*attempt));
        board.failed(pass, Fault::Aborted, ms(*attempt))
    });
    assert_eq!(cut_at, Some(20), "at the least number of attempts, because all failed");
}

#[test]
fn a_probe_closes_the_breaker_and_the_target_warms_up() {
    let board = board(1);
    feed(&board, target(0), 50, 0, ms(900), ms(0));
    trip(&board, target(0), ms(0));
    assert_eq!(board.snapshot(target(0), ms(100)).state, State::Open);
    assert!(board.warmth(target(0), ms(100)) <= 0.1);
    assert!(matches!(board.peek(target(0), MODEL, ms(100)), Standing::Shut { .. }));
    assert_eq!(board.peek(target(0), MODEL, ms(6000)), Standing::Probe);
    assert_eq!(board.snapshot(target(0), ms(6000)).state, State::HalfOpen);
    let pass = probe(&board, target(0), ms(6000));
    assert!(is_shut(&board, target(0), ms(6000)));
    assert!(board.succeeded(pass, Some(ms(200)), ms(6000)), "it closes");
    assert!(!board.succeeded(pass, Some(ms(200)), ms(6000)), "once");
    assert_eq!(board.peek(target(0), MODEL, ms(6000)), Standing::Good, "the past is forgotten");
    assert!(board.pace(target(0), ms(6000)).is_some_and(|pace| pace < ms(201)), "and so is its pace");
    for (now, warmth) in [(6000, 0.1), (21_000, 0.55), (36_000, 1.0), (90_000, 1.0)] {
        assert!((board.warmth(target(0), ms(now)) - warmth).abs() < 1e-9, "{now}");
    }
}

#[test]
fn what_began_before_the_breaker_opened_neither_closes_nor_opens_it_nor_frees_the_probe() {
    let board = board(1);
    let early: Vec<Pass> = (0..1000).map(|_| free(&board, target(0), ms(0))).collect();
    trip(&board, target(0), ms(10));
    assert!(!board.succeeded(early[0], Some(ms(10)), ms(20)));
    assert!(is_shut(&board, target(0), ms(20)));
    let pass = probe(&board, target(0), ms(6000));
    for late in &early[..100] {
        board.abandoned(*late, ms(6000));
        board.failed(*late, Fault::Late, ms(6000));
        board.succeeded(*late, Some(ms(10)), ms(6000));
        assert!(is_shut(&board, target(0), ms(6000)));
    }
    board.succeeded(pass, Some(ms(10)), ms(6100));
    for late in &early {
        assert!(!board.failed(*late, Fault::Late, ms(6200)));
    }
    assert_eq!(board.peek(target(0), MODEL, ms(6200)), Standing::Good);
}

#[test]
fn a_probe_that_is_abandoned_or_lost_gives_way_to_another() {
    let board = board(1);
    trip(&board, target(0), ms(0));
    let first = probe(&board, target(0), ms(6000));
    board.abandoned(first, ms(6100));
    let second = probe(&board, target(0), ms(6100));
    board.abandoned(first, ms(6200));
    assert!(is_shut(&board, target(0), ms(6200)), "the place is the second's");
    let third = probe(&board, target(0), ms(66_100));
    board.failed(second, Fault::Late, ms(66_200));
    assert!(board.succeeded(third, None, ms(66_300)));
}

#[test]
fn a_throttled_model_is_shut_and_its_neighbours_are_not() {
    let board = board(1);
    let others: Vec<u64> = (0..8).filter(|model| *model != MODEL % 8).collect();
    board.throttled(free(&board, target(0), ms(0)), Some(ms(3000)), false, ms(0));
    assert_eq!(board.admit(target(0), MODEL, ms(10)), Admission::Shut { until: ms(3000) });
    assert_eq!(board.snapshot(target(0), ms(10)).state, State::Throttled);
    for other in others {
        assert_eq!(board.peek(target(0), other, ms(10)), Standing::Good);
    }
    assert_eq!(board.peek(target(0), MODEL, ms(3000)), Standing::Probe);
    let pass = probe(&board, target(0), ms(3000));
    assert!(is_shut(&board, target(0), ms(3000)), "one at a time");
    board.succeeded(pass, None, ms(3100));
    assert_eq!(board.peek(target(0), MODEL, ms(3100)), Standing::Good);
    assert_eq!(board.snapshot(target(0), ms(3100)).state, State::Closed);
}

#[test]
fn a_spent_quota_is_not_asked_for_five_minutes() {
    let board = board(1);
    board.throttled(free(&board, target(0), ms(0)), None, true, ms(0));
    assert_eq!(board.admit(target(0), MODEL, ms(1)), Admission::Shut { until: ms(300_000) });
}

#[test]
fn throttling_says_nothing_to_the_breaker_but_gives_its_probe_back() {
    let board = board(1);
    for round in 0..50 {
        board.throttled(free(&board, target(0), ms(0)), None, false, ms(round));
        let again = probe(&board, target(0), ms(1_000_000 * (round + 1)));
        board.succeeded(again, None, ms(0));
    }
    trip(&board, target(0), ms(0));
    let pass = probe(&board, target(0), ms(6000));
    board.throttled(pass, None, false, ms(6000));
    assert!(is_shut(&board, target(0), ms(6999)));
    let both = probe(&board, target(0), ms(7000));
    assert!(both.is_fuse_probe && both.throttle_probe.is_some(), "one request is the probe of both");
    board.failed(both, Fault::Status, ms(7000));
    assert_eq!(board.snapshot(target(0), ms(7000)).trips, 2);
    let later = probe(&board, target(0), ms(20_000));
    assert!(board.succeeded(later, None, ms(20_000)));
    let _ = free(&board, target(0), ms(20_000));
}

#[test]
fn who_finds_the_breaker_shut_takes_no_cooldowns_probe() {
    let board = board(1);
    board.throttled(free(&board, target(0), ms(0)), None, false, ms(0));
    for _ in 0..5 {
        // Another model opens the breaker.
        let Admission::Free(pass) = board.admit(target(0), MODEL + 1, ms(500)) else { panic!("free") };
        board.failed(pass, Fault::Broken, ms(500));
    }
    assert!(is_shut(&board, target(0), ms(2000)));
    let pass = probe(&board, target(0), ms(7000));
    assert!(pass.is_fuse_probe && pass.throttle_probe.is_some());
}

#[test]
fn a_target_is_doubtful_after_a_failure_and_with_a_tenth_of_failures() {
    // Successes, failures in between, then seconds; and the standing.
    for (successes, failures, seconds, standing) in [
        (0, 1, 0, Standing::Doubtful),
        (0, 1, 9, Standing::Doubtful),
        (0, 1, 12, Standing::Good),
        (0, 4, 20, Standing::Doubtful),
        (1, 0, 0, Standing::Good),
        (95, 5, 0, Standing::Good),
        (85, 15, 0, Standing::Doubtful),
        (85, 15, 30, Standing::Doubtful),
        (85, 15, 75, Standing::Good),
    ] {
        let board = board(1);
        feed(&board, target(0), successes, failures, ms(100), ms(0));
        if successes > 1 {
            board.succeeded(free(&board, target(0), ms(0)), None, ms(0));
        }
        let found = board.peek(target(0), MODEL, Duration::from_secs(seconds));
        assert_eq!(found, standing, "{successes} {failures} {seconds}");
    }
}

#[test]
fn an_outlier_is_ejected_for_thirty_seconds_and_begins_anew() {
    for (failures, first_token, cause) in [(30, ms(100), Cause::Errors), (0, ms(2000), Cause::Slow)] {
        let board = board(4);
        let tier: Vec<_> = (0..4).map(target).collect();
        for peer in &tier[1..] {
            feed(&board, *peer, 100, 0, ms(100), ms(0));
        }
        feed(&board, target(0), 100 - failures, failures, first_token, ms(0));
        let ejections = board.judge(&[&tier], ms(1000));
        assert_eq!(ejections.len(), 1, "{ejections:?}");
        assert_eq!((ejections[0].target, ejections[0].cause), (target(0), cause));
        assert_eq!(ejections[0].until, ms(31_000));
        assert!(board.is_ejected(target(0), ms(30_999)) && !board.is_ejected(target(0), ms(31_000)));
        assert_eq!(board.snapshot(target(0), ms(2000)).state, State::Ejected);
        assert_eq!(board.judge(&[&tier], ms(2000)), [], "once");

        // Streams that it had, and its peers' traffic, go on.
        feed(&board, target(0), 700, 300, first_token, ms(30_000));
        for peer in &tier[1..] {
            feed(&board, *peer, 100, 0, ms(100), ms(31_000));
        }
        assert_eq!(board.judge(&[&tier], ms(31_500)), [], "it was not asked since");
        assert_eq!(board.pace(target(0), ms(31_500)), None);
        assert!((board.warmth(target(0), ms(46_000)) - 0.55).abs() < 1e-9);
        feed(&board, target(0), 70, failures, first_token, ms(32_000));
        assert_eq!(board.judge(&[&tier], ms(32_500)).len(), 1, "it has not changed");
    }
}

#[test]
fn while_one_judges_another_ejects_nobody() {
    let board = board(3);
    let tier: Vec<_> = (0..3).map(target).collect();
    for peer in &tier {
        let failures = if peer.index() == 0 { 30 } else { 0 };
        feed(&board, *peer, 100 - failures, failures, ms(100), ms(0));
    }
    // The tier is looked at while the first judges.
    let nosy = Nosy { board: &board, tier: &tier };
    assert_eq!(board.judge(&[nosy], ms(0)).len(), 1);
    assert!(board.is_ejected(target(0), ms(0)));
}

/// A tier that judges when it is looked at.
#[derive(Debug)]
struct Nosy<'a> {
    board: &'a Board,
    tier: &'a [TargetId],
}

impl AsRef<[TargetId]> for Nosy<'_> {
    fn as_ref(&self) -> &[TargetId] {
        assert_eq!(self.board.judge(&[self.tier], ms(0)), []);
        self.tier
    }
}

#[test]
fn nobody_is_judged_by_fewer_than_two_others_or_by_few_attempts() {
    for (peers, attempts, ejected) in [(2, 100, 0), (3, 100, 1), (3, 15, 0)] {
        let board = board(peers);
        let tier: Vec<_> = (0..peers).map(target).collect();
        for peer in &tier[1..] {
            feed(&board, *peer, attempts, 0, ms(100), ms(0));
        }
        feed(&board, target(0), attempts / 10 * 7, attempts / 10 * 3, ms(100), ms(0));
        assert_eq!(board.judge(&[&tier], ms(0)).len(), ejected, "{peers} {attempts}");
    }
}

#[test]
fn a_tier_that_is_half_gone_panics() {
    let board = board(4);
    let tier: Vec<_> = (0..4).map(target).collect();
    for (gone, panics) in [(0, false), (1, false), (2, true)] {
        // The third of four: one is left.
        trip(&board, target(gone), ms(0));
        assert_eq!(board.panics(&tier, ms(0)), panics, "{gone}");
    }
    assert!(!board.panics(&[], ms(0)));
}

#[test]
fn open_streams_are_counted_and_never_below_none() {
    let board = board(2);
    board.began(target(0));
    board.began(target(0));
    assert_eq!((board.open(target(0)), board.open(target(1))), (2, 0));
    for _ in 0..3 {
        board.ended(target(0));
    }
    assert_eq!(board.open(target(0)), 0);
}
