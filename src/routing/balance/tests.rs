//! What the balances promise: shares, bounds, and that keys stay where they are.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const PICKS: u32 = 10_000;

fn candidate(weight: u32, open: u32) -> Candidate {
    Candidate { weight, open, pace: None, warmth: 1.0 }
}

fn candidates(weights: &[u32]) -> Vec<Candidate> {
    weights.iter().map(|weight| candidate(*weight, 0)).collect()
}

fn ids(count: usize) -> Vec<u64> {
    (0..u64::try_from(count).expect("a few")).map(|index| mixed(index + 1000)).collect()
}

/// Independent numbers of a seed.
fn chance(seed: u64) -> impl Iterator<Item = u64> {
    (0..).map(move |at: u64| mixed(mixed(seed).wrapping_add(at)))
}

/// Evenly spread numbers: a counter times 2^64 / golden ratio.
fn spread(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |at: u64| mixed(seed).wrapping_add(at.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn share_of(count: u32, total: u32) -> f64 {
    f64::from(count) / f64::from(total)
}

/// The part of the picks that each candidate got while `open` streams, each as long as the others, were open.
fn shares(
    balance: Balance,
    candidates: &mut [Candidate],
    open: usize,
    random: impl Iterator<Item = u64>,
) -> Vec<f64> {
    let mut counts = vec![0; candidates.len()];
    let mut streams = VecDeque::new();
    for random in random.take(usize::try_from(PICKS).expect("few")) {
        if streams.len() == open
            && let Some(ended) = streams.pop_front()
        {
            let ended: &mut Candidate = &mut candidates[ended];
            ended.open -= 1;
        }
        let picked = pick(balance, candidates, &[], None, random).expect("there are some");
        counts[picked] += 1;
        if open > 0 {
            candidates[picked].open += 1;
            streams.push_back(picked);
        }
    }
    counts.into_iter().map(|count| share_of(count, PICKS)).collect()
}

const WEIGHTS: &[&[u32]] =
    &[&[1], &[1, 1], &[1, 3], &[5, 3, 2], &[1, 1, 1, 1, 1], &[10, 1, 1], &[100, 50, 25, 25]];

#[test]
fn nobody_is_picked_from_nobody() {
    for balance in [Balance::Weighted, Balance::LeastStreams, Balance::PowerOfTwo, Balance::Hash] {
        for key in [None, Some(7)] {
            assert_eq!(pick(balance, &[], &[], key, 9), None);
            assert_eq!(pick(balance, &[candidate(0, 70)], &[1], key, u64::MAX), Some(0));
        }
    }
}

#[test]
fn weighted_shares_are_within_two_percent() {
    for weights in WEIGHTS {
        let total = f64::from(weights.iter().sum::<u32>());
        for seed in 0..5 {
            let by_chance = shares(Balance::Weighted, &mut candidates(weights), 0, chance(seed));
            let spread = shares(Balance::Weighted, &mut candidates(weights), 0, spread(seed));
            for (index, weight) in weights.iter().enumerate() {
                let expected = f64::from(*weight) / total;
                let off = (by_chance[index] - expected).abs();
                assert!(off < 0.02, "seed {seed} {weights:?}: {by_chance:?}");
                // Of the share itself, which chance cannot hold: 1 % has a standard error of a tenth of it.
                let off = (spread[index] / expected - 1.0).abs();
                assert!(off < 0.02, "seed {seed} {weights:?}: {spread:?}");
            }
        }
    }
}

#[test]
fn least_streams_shares_are_within_two_percent_idle_and_busy_and_within_a_stream_of_few() {
    for weights in WEIGHTS {
        let total = f64::from(weights.iter().sum::<u32>());
        // With none and with one, all candidates rest whenever one is picked.
        for (open, bound) in [(0, 0.02), (1, 0.02), (7, 1.0 / 7.0), (100, 0.02), (1000, 0.02)] {
            for seed in 0..3 {
                let got = shares(Balance::LeastStreams, &mut candidates(weights), open, chance(seed));
                for (share, weight) in got.iter().zip(*weights) {
                    let off = (share - f64::from(*weight) / total).abs();
                    assert!(off < bound, "seed {seed}, {open} open, {weights:?}: {got:?}");
                }
            }
        }
    }
}

#[test]
fn least_streams_picks_the_fewest_for_the_weight() {
    for (open_weights, expected) in [
        (&[(3, 1), (2, 1), (4, 1)][..], 1),
        (&[(6, 2), (4, 1), (9, 4)], 2),
        (&[(0, 1), (1, 100)], 0),
        (&[(u32::MAX, 1), (u32::MAX, 2)], 1),
    ] {
        let candidates: Vec<_> = open_weights.iter().map(|(open, weight)| candidate(*weight, *open)).collect();
        for random in chance(1).take(50) {
            assert_eq!(pick(Balance::LeastStreams, &candidates, &[], None, random), Some(expected));
        }
    }
}

#[test]
fn who_starts_slowly_gets_its_part_of_its_weight() {
    for balance in [Balance::Weighted, Balance::LeastStreams] {
        for (warmth, expected) in [(0.1, 0.1 / 2.1), (0.5, 0.5 / 2.5), (1.0, 1.0 / 3.0), (0.0, 0.01 / 2.01)] {
            let mut three = candidates(&[4, 4, 4]);
            three[2].warmth = warmth;
            let got = shares(balance, &mut three, 300, chance(3));
            assert!((got[2] - expected).abs() < 0.02, "{balance:?} {warmth}: {got:?}");
        }
        let mut two = candidates(&[1, 1]);
        two[1].warmth = f64::NAN;
        assert!(shares(balance, &mut two, 100, chance(3))[1] < 0.05);
    }
}

#[test]
fn of_two_the_better_one_is_picked() {
    let with = |open: u32, pace_ms: Option<u64>, weight: u32| Candidate {
        pace: pace_ms.map(Duration::from_millis),
        ..candidate(weight, open)
    };
    for (two, expected) in [
        // Fewer streams; faster; more weight; streams times pace.
        ([with(9, Some(100), 1), with(3, Some(100), 1)], 1),
        ([with(3, Some(100), 1), with(3, Some(300), 1)], 0),
        ([with(3, Some(100), 1), with(3, Some(100), 2)], 1),
        ([with(9, Some(100), 1), with(4, Some(250), 1)], 0),
        // An unknown pace is the best known one; without any, streams decide; none is shorter than a millisecond.
        ([with(4, Some(900), 1), with(3, None, 1)], 1),
        ([with(4, None, 1), with(3, None, 1)], 1),
        ([with(4, Some(0), 1), with(3, Some(1), 1)], 1),
    ] {
        for random in chance(2).take(50) {
            assert_eq!(pick(Balance::PowerOfTwo, &two, &[], None, random), Some(expected), "{two:?}");
        }
    }
    let equals = [with(4, Some(900), 1), with(4, None, 1)];
    let picked =
        |index| chance(2).take(50).any(|random| pick(Balance::PowerOfTwo, &equals, &[], None, random) == index);
    assert!(picked(Some(0)) && picked(Some(1)), "equals are drawn");
}

#[test]
fn power_of_two_keeps_away_from_slow_ones_and_stays_even_among_equals() {
    let mut five = candidates(&[1, 1, 1, 1, 1]);
    for (index, candidate) in five.iter_mut().enumerate() {
        candidate.pace = Some(Duration::from_millis(if index == 0 { 3000 } else { 100 }));
    }
    let got = shares(Balance::PowerOfTwo, &mut five, 50, chance(4));
    assert!(got[0] < 0.02, "{got:?}");
    assert!(got[1..].iter().all(|share| (share - 0.25).abs() < 0.02), "{got:?}");
    let got = shares(Balance::PowerOfTwo, &mut candidates(&[4, 4, 2]), 200, chance(5));
    assert!(got.iter().zip([0.4, 0.4, 0.2]).all(|(share, expected)| (share - expected).abs() < 0.02), "{got:?}");
}

/// Which target each key has, all keys one after the other; their streams stay open if `open`.
fn homes(targets: &[(u32, u64)], keys: u64, open: bool) -> (Vec<u64>, Vec<Candidate>) {
    let mut candidates: Vec<_> = targets.iter().map(|(weight, _)| candidate(*weight, 0)).collect();
    let ids: Vec<_> = targets.iter().map(|(_, id)| *id).collect();
    let home = |key: u64| {
        let picked = pick(Balance::Hash, &candidates, &ids, Some(mixed(key)), 0).expect("there are some");
        candidates[picked].open += u32::from(open);
        ids[picked]
    };
    ((0..keys).map(home).collect(), candidates)
}

fn without(targets: &[(u32, u64)], gone: u64) -> Vec<(u32, u64)> {
    targets.iter().copied().filter(|(_, id)| *id != gone).collect()
}

fn moved_share(before: &[u64], after: &[u64], counted: impl Fn(u64) -> bool) -> f64 {
    let moved = before.iter().zip(after).filter(|(one, other)| one != other && counted(**one)).count();
    share_of(u32::try_from(moved).expect("few"), u32::try_from(before.len()).expect("few"))
}

#[test]
fn when_a_target_leaves_its_own_keys_move_and_no_other() {
    for count in [2_usize, 3, 5, 10, 30] {
        let targets: Vec<_> = ids(count).into_iter().map(|id| (1, id)).collect();
        let (before, _) = homes(&targets, u64::from(PICKS), false);
        for (_, gone) in targets.iter().take(5) {
            let (after, _) = homes(&without(&targets, *gone), u64::from(PICKS), false);
            assert!(moved_share(&before, &after, |home| home != *gone) == 0.0, "others' keys stay");
            let moved = moved_share(&before, &after, |_| true);
            let part = 1.0 / f64::from(u32::try_from(count).expect("few"));
            assert!(moved <= part + 0.02, "{count}: {moved}");
        }
    }
}

#[test]
fn under_load_at_most_the_bound_moves_besides() {
    for count in [2_usize, 3, 5, 10, 30] {
        let targets: Vec<_> = ids(count).into_iter().map(|id| (1, id)).collect();
        let (before, _) = homes(&targets, u64::from(PICKS), true);
        let gone = targets[0].1;
        let (after, _) = homes(&without(&targets, gone), u64::from(PICKS), true);
        let moved = moved_share(&before, &after, |_| true);
        let part = 1.0 / f64::from(u32::try_from(count).expect("few"));
        assert!(moved <= part + 0.05, "{count}: {moved}");
    }
}

#[test]
fn keys_are_spread_by_weight_and_a_target_that_warms_up_takes_keys_and_gives_none() {
    let targets = [(5, 11), (3, 12), (2, 13)];
    let (homes_of, _) = homes(&targets, u64::from(PICKS), false);
    for (weight, id) in targets {
        let count = homes_of.iter().filter(|home| **home == id).count();
        let share = share_of(u32::try_from(count).expect("few"), PICKS);
        assert!((share - f64::from(weight) / 10.0).abs() < 0.02, "{id}: {share}");
    }
    let mut three = candidates(&[5, 3, 2]);
    let mut before: Option<Vec<usize>> = None;
    for warmth in [0.1, 0.3, 0.6, 1.0] {
        three[1].warmth = warmth;
        let home = |key| pick(Balance::Hash, &three, &[11, 12, 13], Some(mixed(key)), 0).expect("some");
        let after: Vec<_> = (0..u64::from(PICKS)).map(home).collect();
        if let Some(before) = before {
            assert!(before.iter().zip(&after).all(|(from, to)| from == to || *to == 1));
        }
        before = Some(after);
    }
}

#[test]
fn a_key_that_everybody_asks_for_is_spread_over_no_more_than_it_needs() {
    let (mut four, ids) = (candidates(&[1, 1, 1, 1]), ids(4));
    for total in 1..=1000_u32 {
        let picked = pick(Balance::Hash, &four, &ids, Some(42), 0).expect("some");
        four[picked].open += 1;
        let most = (1.25 * f64::from(total) / 4.0).ceil();
        assert!(four.iter().all(|candidate| f64::from(candidate.open) <= most), "{total}: {four:?}");
    }
    // Its first three choices are as good as full, 5/16 of all each; the last has the rest.
    let mut open: Vec<_> = four.iter().map(|candidate| candidate.open).collect();
    open.sort_unstable();
    assert_eq!(open, [62, 312, 313, 313]);
}

proptest! {
    #[test]
    fn every_pick_is_a_candidate(
        parts in prop::collection::vec((any::<u32>(), any::<u32>(), any::<Option<Duration>>(), any::<f64>()), 1..8),
        key: Option<u64>,
        random: u64,
    ) {
        let make = |(weight, open, pace, warmth)| Candidate { weight, open, pace, warmth };
        let candidates: Vec<_> = parts.into_iter().map(make).collect();
        let ids = ids(candidates.len());
        for balance in [Balance::Weighted, Balance::LeastStreams, Balance::PowerOfTwo, Balance::Hash] {
            let picked = pick(balance, &candidates, &ids, key, random);
            prop_assert!(picked.is_some_and(|picked| picked < candidates.len()), "{balance:?} {picked:?}");
        }
    }

    #[test]
    fn the_bound_holds_whatever_is_open(
        parts in prop::collection::vec((1_u32..50, 0_u32..50), 1..8),
        keys in prop::collection::vec(any::<u64>(), 1..50),
    ) {
        let mut candidates: Vec<_> = parts.iter().map(|(weight, open)| candidate(*weight, *open)).collect();
        let ids = ids(candidates.len());
        let weights = f64::from(parts.iter().map(|(weight, _)| weight).sum::<u32>());
        for key in keys {
            let picked = pick(Balance::Hash, &candidates, &ids, Some(key), 0).expect("some");
            candidates[picked].open += 1;
            let total: u32 = candidates.iter().map(|candidate| candidate.open).sum();
            let fair = f64::from(total) * f64::from(candidates[picked].weight) / weights;
            prop_assert!(f64::from(candidates[picked].open) <= (1.25 * fair + 1e-9).ceil());
        }
    }
}
