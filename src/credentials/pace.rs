//! When credentials are fetched again. Pure: times and chance are arguments.

use std::time::Duration;

/// Pause after the first failure; each further one doubles it.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest pause after failures: what repairs itself is then found within a minute.
const BACKOFF_MAX: Duration = Duration::from_mins(1);
/// What does not expire is read again all the same: files of credentials are rewritten by other programs.
const WITHOUT_END: Duration = Duration::from_mins(15);
/// Shortest pause after a success, however short the life: nobody gives tokens more often.
const SUCCESS_MIN: Duration = Duration::from_secs(5);
/// Longest one: a clock that has been set, or a key that was exchanged, is then noticed some day.
const SUCCESS_MAX: Duration = Duration::from_hours(12);

/// The pause after credentials have come that live for `life` more (`None`: for ever). `chance` is in 0..1.
///
/// Three quarters of a life, so that at least a quarter is left for failures; spread, so that replicas which have started
/// together do not ask together.
pub(super) fn after_success(life: Option<Duration>, chance: f64) -> Duration {
    let share = 0.75 + 0.05 * chance;
    life.map_or_else(|| WITHOUT_END.mul_f64(share + 0.2), |life| life.mul_f64(share))
        .clamp(SUCCESS_MIN, SUCCESS_MAX)
}

/// The pause after so many failures in a row, at least one.
pub(super) fn after_failures(failures: u32, chance: f64) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10));
    doubled.min(BACKOFF_MAX).mul_f64(0.5 + 0.5 * chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_a_life_is_left_for_failures() {
        for (life, least, most) in
            [(3600, 2700, 2880), (600, 450, 480), (4, 5, 5), (0, 5, 5), (1 << 40, 43_200, 43_200)]
        {
            let pauses =
                [0.0, 0.999].map(|chance| after_success(Some(Duration::from_secs(life)), chance).as_secs());
            assert!(least <= pauses[0] && pauses[0] <= pauses[1] && pauses[1] <= most, "{life}: {pauses:?}");
        }
        assert!(after_success(None, 0.5) <= WITHOUT_END);
    }

    #[test]
    fn failures_are_followed_by_longer_and_longer_pauses() {
        let pauses = [1, 2, 3, 4, 7, 100, u32::MAX].map(|failures| after_failures(failures, 1.0).as_secs());
        assert_eq!(pauses, [1, 2, 4, 8, 60, 60, 60]);
        assert_eq!(after_failures(1, 0.0), Duration::from_millis(500));
    }
}
