//! Who fails or dawdles where its peers do not. Pure; the board collects, and applies the ceiling.

use std::time::Duration;

use crate::routing::health::HealthPolicy;

/// Why a target is an outlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It fails more often than its peers.
    Errors,
    /// It takes longer than its peers until the first token.
    Slow,
}

/// What a target of a tier has shown lately.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Showing {
    /// Failed of all attempts, streams that were cut among them.
    pub(super) failed_share: f64,
    pub(super) pace: Option<Duration>,
}

/// Fewer others are no measure: of two that differ, either may be the odd one.
const OTHERS_LEAST: usize = 2;

/// The outliers among `peers`, by position, the worst first: those that fail before those that are slow.
pub(super) fn outliers(peers: &[Showing], policy: &HealthPolicy) -> Vec<(usize, Cause)> {
    let mut found: Vec<(usize, Cause, f64)> = Vec::new();
    for (position, peer) in peers.iter().enumerate() {
        let others = || peers.iter().enumerate().filter(|(other, _)| *other != position).map(|(_, other)| other);
        let shares = others().map(|other| other.failed_share).collect();
        if let Some(median) = median(shares)
            && peer.failed_share > median * policy.outlier_errors_factor
            && peer.failed_share >= median + policy.outlier_errors_least
        {
            found.push((position, Cause::Errors, peer.failed_share));
            continue;
        }
        let paces = others().filter_map(|other| other.pace).map(|pace| pace.as_secs_f64()).collect();
        if let (Some(pace), Some(median)) = (peer.pace.map(|pace| pace.as_secs_f64()), median(paces))
            && pace > median * policy.outlier_slow_factor
            && pace >= median + policy.outlier_slow_least.as_secs_f64()
        {
            found.push((position, Cause::Slow, pace));
        }
    }
    found.sort_by(|(_, cause, worse), (_, than, other)| {
        let slow = |cause: &Cause| *cause == Cause::Slow;
        slow(cause).cmp(&slow(than)).then(other.total_cmp(worse))
    });
    found.into_iter().map(|(position, cause, _)| (position, cause)).collect()
}

/// The middle, or the mean of the two in the middle; `None` of too few.
fn median(mut values: Vec<f64>) -> Option<f64> {
    if values.len() < OTHERS_LEAST {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let (below, above) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    Some(f64::midpoint(below, above))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_are_well_above_the_median_of_the_others() {
        // (failed share in percent, pace in ms or 0 for none) of each, and who is found, the worst first.
        type Case = (&'static [(u32, u64)], &'static [(usize, Cause)]);
        let cases: &[Case] = &[
            (&[], &[]),
            (&[(100, 100)], &[]),
            (&[(100, 100), (0, 100)], &[]),
            (&[(0, 100), (0, 100), (0, 100)], &[]),
            (&[(100, 100), (0, 100), (0, 100)], &[(0, Cause::Errors)]),
            (&[(0, 100), (9, 100), (0, 100)], &[]),
            (&[(0, 100), (10, 100), (0, 100)], &[(1, Cause::Errors)]),
            // All suffer, one somewhat more: no outlier. One much more: an outlier.
            (&[(20, 100), (50, 100), (20, 100)], &[]),
            (&[(20, 100), (70, 100), (20, 100)], &[(1, Cause::Errors)]),
            // Most are bad: the median says that this is what is normal now.
            (&[(90, 100), (90, 100), (0, 100), (90, 100)], &[]),
            (&[(30, 100), (80, 100), (0, 100), (0, 100), (0, 100)], &[(1, Cause::Errors), (0, Cause::Errors)]),
            // Slow: three times the others and half a second more.
            (&[(0, 290), (0, 100), (0, 100)], &[]),
            (&[(0, 590), (0, 100), (0, 100)], &[]),
            (&[(0, 610), (0, 100), (0, 100)], &[(0, Cause::Slow)]),
            (&[(0, 2900), (0, 1000), (0, 1000)], &[]),
            (&[(0, 3100), (0, 1000), (0, 1000)], &[(0, Cause::Slow)]),
            (&[(0, 3100), (0, 1000), (0, 0)], &[]),
            (&[(0, 0), (0, 1000), (0, 1000)], &[]),
            (&[(0, 9000), (40, 100), (0, 100), (0, 100)], &[(1, Cause::Errors), (0, Cause::Slow)]),
        ];
        for (peers, expected) in cases {
            let showings: Vec<_> = peers
                .iter()
                .map(|(percent, millis)| Showing {
                    failed_share: f64::from(*percent) / 100.0,
                    pace: (*millis > 0).then(|| Duration::from_millis(*millis)),
                })
                .collect();
            assert_eq!(outliers(&showings, &HealthPolicy::default()), *expected, "{peers:?}");
        }
    }
}
