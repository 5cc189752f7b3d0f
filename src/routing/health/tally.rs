//! Successes and failures of one target, counted with a half-life.
//!
//! In the word, from the low end: 18 bits of successes and 18 of failures in sixteenths, 20 bits of time in seconds
//! (wraps after 12 days, when nothing is left anyway), 8 bits of the breaker's generation. Counts of another
//! generation are none: a breaker that closes begins with an empty tally without anybody clearing a second word.

use crate::routing::health::packed::{Packed, field};
use crate::routing::health::stamp::{Stamp, turned};

const COUNT_BITS: u32 = 18;
const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;
const FAILURES: u32 = COUNT_BITS;
const SECOND: u32 = FAILURES + COUNT_BITS;
const SECOND_BITS: u32 = 20;
const GENERATION: u32 = SECOND + SECOND_BITS;

/// One attempt. Sixteenths, so that a few attempts fade in steps too.
const ONE: u32 = 16;

/// What is left of 65536 after so many seconds: a half-life of 10 s. Long enough for 20 attempts of a target that
/// is asked twice a second, short enough that a minute ago is forgotten (1.6 %).
const LEFT: [u32; 10] = [65536, 61147, 57052, 53232, 49667, 46341, 43238, 40342, 37641, 35120];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    successes: u32,
    failures: u32,
    second: u32,
    generation: u8,
}

impl Packed for Tally {
    fn pack(self) -> u64 {
        u64::from(self.successes)
            | u64::from(self.failures) << FAILURES
            | u64::from(self.second) << SECOND
            | u64::from(self.generation) << GENERATION
    }

    fn unpack(word: u64) -> Self {
        let count = |shift: u32| u32::try_from((word >> shift) & u64::from(COUNT_MAX)).unwrap_or(COUNT_MAX);
        let second = (word >> SECOND) & ((1 << SECOND_BITS) - 1);
        Self {
            successes: count(0),
            failures: count(FAILURES),
            second: u32::try_from(second).unwrap_or(0),
            generation: field(word, GENERATION, 8).to_le_bytes()[0],
        }
    }
}

impl Tally {
    /// Nothing counted.
    pub(super) const NONE: Self = Self { successes: 0, failures: 0, second: 0, generation: 0 };

    /// The counts as they are now, for the breaker's present `generation`.
    pub(super) fn at(self, generation: u16, now: Stamp) -> Self {
        let generation = generation.to_le_bytes()[0];
        let second = now.duration().as_secs() & ((1 << SECOND_BITS) - 1);
        let second = u32::try_from(second).unwrap_or(0);
        if self.generation != generation {
            return Self { successes: 0, failures: 0, second, generation };
        }
        let seconds = turned(u64::from(second), u64::from(self.second), SECOND_BITS);
        // Whose clock lags leaves the time as it is.
        let second = if seconds == 0 { self.second } else { second };
        Self {
            successes: faded(self.successes, seconds),
            failures: faded(self.failures, seconds),
            second,
            generation,
        }
    }

    /// One success more. At 1000 and more a second the counts reach their bound; then both are halved, which keeps the
    /// share.
    pub(super) fn success(self) -> Self {
        let room = self.with_room();
        Self { successes: room.successes + ONE, ..room }
    }

    /// One failure more.
    pub(super) fn failure(self) -> Self {
        let room = self.with_room();
        Self { failures: room.failures + ONE, ..room }
    }

    /// One success less: it turned out not to be one.
    pub(super) fn take_back(self) -> Self {
        Self { successes: self.successes.saturating_sub(ONE), ..self }
    }

    fn with_room(self) -> Self {
        if self.successes.max(self.failures) + ONE <= COUNT_MAX {
            return self;
        }
        Self { successes: self.successes / 2, failures: self.failures / 2, ..self }
    }

    pub(super) fn attempts(self) -> f64 {
        f64::from(self.successes + self.failures) / f64::from(ONE)
    }

    pub(super) fn failures(self) -> f64 {
        f64::from(self.failures) / f64::from(ONE)
    }

    /// Failed of all attempts; 0 without any.
    pub(super) fn failed_share(self) -> f64 {
        if self.failures == 0 { 0.0 } else { self.failures() / self.attempts() }
    }

    /// Whether so many attempts were made that the share means something, and it is at or over `ratio`.
    pub(super) fn is_over(self, ratio: f64, attempts_least: u32) -> bool {
        self.attempts() >= f64::from(attempts_least) && self.failed_share() >= ratio
    }
}

/// Rounded down, so that nothing lingers.
fn faded(count: u32, seconds: u64) -> u32 {
    let halvings = u32::try_from(seconds / 10).unwrap_or(u32::MAX);
    let rest = usize::try_from(seconds % 10).unwrap_or(0);
    let left = (u64::from(count) * u64::from(LEFT[rest])) >> 16;
    u32::try_from(left).unwrap_or(COUNT_MAX).checked_shr(halvings).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Stamp {
        Stamp::at(Duration::from_secs(seconds))
    }

    fn counted(successes: u32, failures: u32, second: u64) -> Tally {
        let tally = Tally::unpack(0).at(0, at(second));
        let tally = (0..successes).fold(tally, |tally, _| tally.success());
        (0..failures).fold(tally, |tally, _| tally.failure())
    }

    #[test]
    fn every_tally_survives_its_packing() {
        for count in [0, 1, ONE, COUNT_MAX] {
            for other in [0, 7, COUNT_MAX] {
                for second in [0, 1, (1 << SECOND_BITS) - 1] {
                    for generation in [0, 1, 255] {
                        let tally = Tally { successes: count, failures: other, second, generation };
                        assert_eq!(Tally::unpack(tally.pack()), tally);
                    }
                }
            }
        }
    }

    #[test]
    fn counts_halve_in_ten_seconds() {
        for (seconds, left) in
            [(0, 200.0), (1, 186.6), (5, 141.4), (9, 107.2), (10, 100.0), (25, 35.36), (400, 0.0)]
        {
            let tally = counted(100, 100, 7).at(0, at(7 + seconds));
            assert!((tally.attempts() - left).abs() <= 0.2, "{seconds} s: {}", tally.attempts());
            let share = if left > 0.0 { 0.5 } else { 0.0 };
            assert!((tally.failed_share() - share).abs() < 0.01, "{seconds} s: {}", tally.failed_share());
        }
        assert!((f64::from(LEFT[3]) / 65536.0 - 0.5_f64.powf(0.3)).abs() < 1e-4);
    }

    #[test]
    fn fading_often_and_fading_once_differ_by_the_rounding_only() {
        let often = (1..=30).fold(counted(1000, 500, 0), |tally, second| tally.at(0, at(second)));
        let once = counted(1000, 500, 0).at(0, at(30));
        assert!((often.attempts() - once.attempts()).abs() < 4.0, "{} {}", often.attempts(), once.attempts());
        let last = (1..=60).fold(counted(0, 1, 0), |tally, second| tally.at(0, at(second)));
        assert!(last.failures() <= 0.0, "a single failure goes away");
    }

    #[test]
    fn a_clock_that_lags_neither_fades_nor_turns_back() {
        let tally = counted(10, 0, 100);
        assert_eq!(tally.at(0, at(99)), tally);
        assert_eq!(tally.at(0, at(99)).at(0, at(100)), tally);
    }

    #[test]
    fn a_flood_keeps_the_share() {
        let tally = (0..200_000).fold(Tally::unpack(0), |tally, attempt| match attempt % 4 {
            0 => tally.failure(),
            _ => tally.success(),
        });
        assert!((tally.failed_share() - 0.25).abs() < 0.01, "{}", tally.failed_share());
        assert!(tally.attempts() > 8000.0);
    }

    #[test]
    fn another_generation_begins_empty() {
        let tally = counted(10, 10, 5);
        assert!(tally.at(0, at(5)).attempts() > 19.0);
        assert!(tally.at(1, at(5)).attempts() <= 0.0);
        assert!(tally.at(256, at(5)).attempts() > 19.0, "the low 8 bits count");
    }

    #[test]
    fn the_ratio_needs_attempts() {
        for (successes, failures, over) in
            [(0, 19, false), (0, 20, true), (10, 10, true), (11, 10, false), (0, 0, false)]
        {
            let tally = counted(successes, failures, 0);
            assert_eq!(tally.is_over(0.5, 20), over, "{successes} {failures}");
        }
    }

    #[test]
    fn what_is_taken_back_was_one_attempt() {
        let tally = counted(5, 0, 0).take_back().failure();
        assert!((tally.attempts() - 5.0).abs() < 1e-9 && (tally.failures() - 1.0).abs() < 1e-9);
        assert!(counted(0, 0, 0).take_back().attempts() <= 0.0);
    }
}
