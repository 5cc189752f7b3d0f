//! Points in time that fit into a word beside something else.

use std::time::Duration;

/// Milliseconds since the board was made, in 40 bits: 34 years. What lies beyond is that end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(u64);

impl Stamp {
    pub(super) const BITS: u32 = 40;
    const MAX: u64 = (1 << Self::BITS) - 1;

    /// The beginning.
    pub(super) const ZERO: Self = Self(0);

    /// The last whole millisecond.
    pub(super) fn at(now: Duration) -> Self {
        Self(u64::try_from(now.as_millis()).unwrap_or(Self::MAX).min(Self::MAX))
    }

    /// The lower 40 bits of `word`.
    pub(super) fn from_bits(word: u64) -> Self {
        Self(word & Self::MAX)
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    pub(super) fn plus(self, length: Duration) -> Self {
        Self(self.0.saturating_add(Self::at(length).0).min(Self::MAX))
    }

    /// From `earlier` to this; zero if it is later. Clocks of two cores are read at two times, so a word may have
    /// been written by somebody whose now lies a little ahead.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// From the beginning to this.
    pub(super) fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// What of a counter that wraps at `bits` bits went by between `then` and `now`. The last sixteenth of a turn is taken
/// for a `now` that was read before `then`, and is zero.
pub(super) fn turned(now: u64, then: u64, bits: u32) -> u64 {
    let mask = (1 << bits) - 1;
    let steps = now.wrapping_sub(then) & mask;
    if steps > mask - mask / 16 { 0 } else { steps }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_ends_after_34_years_and_does_not_wrap() {
        let years = |years: u64| Duration::from_secs(years * 365 * 24 * 3600);
        assert_eq!(Stamp::at(years(34)).duration(), years(34));
        assert_eq!(Stamp::at(years(35)), Stamp::at(Duration::MAX));
        assert_eq!(Stamp::at(years(34)).plus(years(34)), Stamp::at(Duration::MAX));
        assert_eq!(Stamp::from_bits(Stamp::at(Duration::MAX).bits()), Stamp::at(Duration::MAX));
    }

    #[test]
    fn a_clock_that_lags_sees_no_time_pass() {
        let (early, late) = (Stamp::at(Duration::from_secs(1)), Stamp::at(Duration::from_secs(3)));
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
        let turn = 1 << 20;
        for (now, then, steps) in
            [(5, 3, 2), (3, 3, 0), (3, 5, 0), (2, turn - 1, 3), (turn - 1, 2, 0), (turn / 2, 2, turn / 2 - 2)]
        {
            assert_eq!(turned(now, then, 20), steps, "{then} to {now}");
        }
    }
}
