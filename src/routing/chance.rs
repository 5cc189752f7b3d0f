//! Numbers from a seed. What decides here draws nothing itself: the seed is an argument.

/// `value` mixed so that each of its bits moves each bit of the result: the output function of `SplitMix64`
/// (Steele, Lea and Flood 2014, constants of its reference code).
pub(super) const fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// `bits` as a fraction, at least 0 and below 1: the upper 53 bits, which is what an `f64` holds.
pub(super) fn fraction(bits: u64) -> f64 {
    const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
    (bits >> 11) as f64 * STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_stay_below_one() {
        for (bits, expected) in [(0, 0.0), (1 << 63, 0.5), (u64::MAX, 1.0 - f64::EPSILON / 2.0)] {
            assert!((fraction(bits) - expected).abs() < f64::EPSILON / 4.0, "{bits}");
            assert!(fraction(bits) < 1.0);
        }
    }

    #[test]
    fn mixing_is_that_of_the_reference_code() {
        // The first outputs of SplitMix64 from the seed 1234567.
        let seed = 1_234_567_u64;
        let step = 0x9e37_79b9_7f4a_7c15_u64;
        assert_eq!(mixed(seed), 6_457_827_717_110_365_317);
        assert_eq!(mixed(seed.wrapping_add(step)), 3_203_168_211_198_807_973);
    }
}
