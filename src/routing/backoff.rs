//! How long to wait before a retry.

use std::time::Duration;

use crate::routing::chance::fraction;

/// The wait before retry number `retry` (the first is 1): `base`, doubled at each further one, never above `max`,
/// of which `random` takes away up to half, so that requests that failed together do not return together.
///
/// At least half stays, because a wait near zero would ask again what has just failed.
pub fn backoff(retry: u32, base: Duration, max: Duration, random: u64) -> Duration {
    let factor = 1_u32.checked_shl(retry.saturating_sub(1)).unwrap_or(u32::MAX);
    let full = base.saturating_mul(factor).min(max);
    let jittered = full.as_secs_f64() * (0.5 + 0.5 * fraction(random));
    Duration::try_from_secs_f64(jittered).unwrap_or(full).min(full)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let (base, max) = (Duration::from_millis(100), Duration::from_secs(2));
        for (retry, full_ms) in
            [(0, 100), (1, 100), (2, 200), (3, 400), (4, 800), (5, 1600), (6, 2000), (32, 2000), (33, 2000)]
        {
            let full = Duration::from_millis(full_ms);
            assert_eq!(backoff(retry, base, max, 0), full / 2, "{retry}");
            assert_eq!(backoff(retry, base, max, u64::MAX), full, "{retry}");
        }
        assert_eq!(backoff(u32::MAX, Duration::ZERO, max, 7), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn every_wait_lies_between_half_and_the_whole(
            retry: u32,
            base in any::<Duration>(),
            max in any::<Duration>(),
            random: u64,
        ) {
            let wait = backoff(retry, base, max, random);
            let full = base.saturating_mul(1_u32.checked_shl(retry.saturating_sub(1)).unwrap_or(u32::MAX)).min(max);
            prop_assert!(wait <= full);
            // Seconds as an f64 are exact to a part in 2^52.
            prop_assert!(wait.as_secs_f64() >= full.as_secs_f64() * 0.499_999_999 - 1e-9);
        }
    }
}
