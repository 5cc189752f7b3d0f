//! How soon a target speaks: a moving average of the time to the first token.
//!
//! In the word, from the low end: the average in seconds (the 32 bits of an `f32`, whose fractions small weights need),
//! 28 bits of time in milliseconds (wraps after 3 days; a sample then counts for less than it might, or a stale
//! average looks fresh, until the next), 4 bits of how many samples there were, up to 8.
//!
//! A sample weighs by the time since the one before, with a half-life of 10 s: a thousand samples a second smooth as
//! much as ten do. By number instead, 8 samples would be 8 ms there, and one long prompt would move the pick. But no
//! sample weighs more than a quarter: with one in a minute, the last prompt's length would be the average. The first 8
//! count alike, so that a slow first one (a cold cache) does not stay.

use std::time::Duration;

use crate::routing::health::packed::{Packed, field};
use crate::routing::health::stamp::{Stamp, turned};

const MILLIS: u32 = 32;
const MILLIS_BITS: u32 = 28;
const SAMPLES: u32 = MILLIS + MILLIS_BITS;

/// Samples that count alike.
const EVEN: u8 = 8;
/// The most that a later one weighs.
const WEIGHT_MAX: f32 = 0.25;
const HALF_LIFE: Duration = Duration::from_secs(10);
/// Longer than any wait for a first token that makes sense.
const SAMPLE_MAX: Duration = Duration::from_hours(1);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    seconds: f32,
    millis: u32,
    samples: u8,
}

impl Packed for Pace {
    fn pack(self) -> u64 {
        u64::from(self.seconds.to_bits()) | u64::from(self.millis) << MILLIS | u64::from(self.samples) << SAMPLES
    }

    fn unpack(word: u64) -> Self {
        let low = u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0);
        Self {
            seconds: f32::from_bits(low),
            millis: u32::try_from((word >> MILLIS) & ((1 << MILLIS_BITS) - 1)).unwrap_or(0),
            samples: field(word, SAMPLES, 4).to_le_bytes()[0],
        }
    }
}

impl Pace {
    /// No sample yet.
    pub(super) const NONE: Self = Self { seconds: 0.0, millis: 0, samples: 0 };

    /// With one sample more. Of those in the same millisecond only the first counts, once there are 8.
    pub(super) fn sample(self, first_token: Duration, now: Stamp) -> Self {
        let even = if self.samples < EVEN { 1.0 / (f32::from(self.samples) + 1.0) } else { 0.0 };
        let age = self.age(now);
        let by_age = 1.0 - (-age.as_secs_f32() / HALF_LIFE.as_secs_f32()).exp2();
        let weight = by_age.min(WEIGHT_MAX).max(even);
        let sample = first_token.min(SAMPLE_MAX).as_secs_f32();
        Self {
            seconds: self.seconds + (sample - self.seconds) * weight,
            // Whose clock lags leaves the time as it is.
            millis: if age.is_zero() && self.samples > 0 { self.millis } else { millis(now) },
            samples: (self.samples + 1).min(EVEN),
        }
    }

    /// The average.
    pub(super) fn average(self) -> Option<Duration> {
        (self.samples > 0).then(|| Duration::try_from_secs_f32(self.seconds).unwrap_or_default())
    }

    /// What to expect now: the average, which fades when nobody has renewed it for a half-life. A target that was slow
    /// is not asked, so it could never show that it has become quick; so after a while it looks quick, and one sample
    /// says whether it is.
    pub(super) fn expected(self, now: Stamp) -> Option<Duration> {
        let stale = self.age(now).saturating_sub(HALF_LIFE);
        let fade = (-stale.as_secs_f32() / HALF_LIFE.as_secs_f32()).exp2();
        self.average().map(|average| average.mul_f32(fade))
    }

    fn age(self, now: Stamp) -> Duration {
        Duration::from_millis(turned(u64::from(millis(now)), u64::from(self.millis), MILLIS_BITS))
    }
}

fn millis(now: Stamp) -> u32 {
    u32::try_from(now.bits() & ((1 << MILLIS_BITS) - 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Stamp {
        Stamp::at(Duration::from_millis(millis))
    }

    fn close(pace: Pace, millis: f64, by: f64) {
        let average = pace.average().expect("samples").as_secs_f64() * 1000.0;
        assert!((average - millis).abs() <= by, "{average} ms, not {millis}");
    }

    /// `samples` of `value` ms, one each `every` ms, from `from`.
    fn fed(pace: Pace, samples: u64, value: u64, every: u64, from: u64) -> Pace {
        (0..samples)
            .fold(pace, |pace, sample| pace.sample(Duration::from_millis(value), at(from + sample * every)))
    }

    #[test]
    fn every_pace_survives_its_packing() {
        for seconds in [0.0, 0.123, 3600.0] {
            for millis in [0, 1, (1 << MILLIS_BITS) - 1] {
                for samples in [0, 1, 8] {
                    let pace = Pace { seconds, millis, samples };
                    assert_eq!(Pace::unpack(pace.pack()), pace);
                }
            }
        }
        assert_eq!(Pace::unpack(0), Pace::NONE);
        assert_eq!(Pace::NONE.average(), None);
    }

    #[test]
    fn the_first_eight_count_alike() {
        let pace = fed(Pace::NONE, 1, 4000, 0, 0);
        close(pace, 4000.0, 1.0);
        close(fed(pace, 7, 100, 0, 0), 587.5, 1.0);
    }

    #[test]
    fn a_change_is_half_seen_after_ten_seconds_at_any_rate() {
        for every in [1, 10, 100, 1000] {
            let steady = fed(Pace::NONE, 20_000 / every, 100, every, 0);
            close(steady, 100.0, 0.1);
            close(fed(steady, 10_000 / every, 1100, every, 20_000), 600.0, 40.0);
        }
    }

    #[test]
    fn a_rare_sample_weighs_a_quarter() {
        let steady = fed(Pace::NONE, 20, 100, 1000, 0);
        close(steady.sample(Duration::from_millis(1100), at(3_600_000)), 350.0, 1.0);
    }

    #[test]
    fn one_long_prompt_among_many_moves_little() {
        let steady = fed(Pace::NONE, 20_000, 100, 1, 0);
        close(steady.sample(Duration::from_secs(30), at(20_001)), 100.0, 5.0);
    }

    #[test]
    fn what_nobody_renews_fades_and_comes_back_with_a_sample() {
        let pace = fed(Pace::NONE, 10, 800, 10, 0);
        for (now, expected) in [(90, 800.0), (10_090, 800.0), (20_090, 400.0), (40_090, 100.0)] {
            let found = pace.expected(at(now)).expect("samples").as_secs_f64() * 1000.0;
            assert!((found - expected).abs() < 1.0, "{now}: {found}");
        }
        let slow = pace.sample(Duration::from_millis(800), at(40_090));
        close(slow, 800.0, 1.0);
    }

    #[test]
    fn a_clock_that_lags_and_one_that_wraps_do_no_harm() {
        let pace = fed(Pace::NONE, 10, 100, 10, 5000);
        assert_eq!(pace.sample(Duration::from_secs(9), at(4000)), pace);
        let wraps = fed(Pace::NONE, 10, 100, 10, (1 << MILLIS_BITS) - 50);
        close(wraps, 100.0, 0.1);
        close(fed(Pace::NONE, 1, u64::MAX, 0, 0), 3_600_000.0, 1.0);
    }
}
