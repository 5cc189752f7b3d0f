//! Property: ejections never exceed the ceiling of a tier, also where tiers share targets.

use std::time::Duration;

use proptest::prelude::*;

use crate::routing::health::tests::{Random, ms};
use crate::routing::health::{Board, Fault, HealthPolicy};
use crate::units::TargetId;

const TARGETS: usize = 12;

/// One second's traffic or more: each target with its own, changing, share of failures and pace.
fn traffic(board: &Board, random: &mut Random, now: Duration) {
    for at in (0..TARGETS).map(TargetId::new) {
        let (failing, pace) = (random.below(3) * 20, ms(100 + 1500 * random.below(3)));
        for _ in 0..40 {
            let Some(pass) = board.admit(at, 0, now).pass() else { break };
            if random.below(100) < failing {
                board.failed(pass, Fault::Status, now);
            } else {
                board.succeeded(pass, Some(pace), now);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ejections_never_exceed_the_ceiling_of_any_tier(
        seed: u64,
        share in 0.0..=1.0,
        tiers in prop::collection::vec(prop::sample::subsequence((0..TARGETS).collect::<Vec<_>>(), 0..=TARGETS), 1..5),
        steps in prop::collection::vec(200_u64..20_000, 1..12),
    ) {
        let policy = HealthPolicy { ejected_share_max: share, ..HealthPolicy::default() };
        let board = Board::new(TARGETS, policy);
        let tiers: Vec<Vec<TargetId>> =
            tiers.into_iter().map(|tier| tier.into_iter().map(TargetId::new).collect()).collect();
        let (mut random, mut now) = (Random(seed), ms(0));
        for step in steps {
            traffic(&board, &mut random, now);
            now += ms(step);
            let ejections = board.judge(&tiers, now);
            prop_assert!(ejections.iter().all(|ejection| board.is_ejected(ejection.target, now)));
            for tier in &tiers {
                let ejected = tier.iter().filter(|at| board.is_ejected(**at, now)).count();
                prop_assert!(ejected as f64 <= share * tier.len() as f64, "{ejected} of {} at {share}", tier.len());
            }
        }
    }
}
