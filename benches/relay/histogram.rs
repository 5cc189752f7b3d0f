//! A histogram of nanoseconds in log-linear buckets: 1.6 % wide, 30 KB, no allocation while it runs.

/// Buckets per power of two.
const STEPS: usize = 64;

/// Counts by bucket.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// Nothing counted.
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; STEPS * 60], total: 0 }
    }

    /// Counts one value.
    pub(crate) fn add(&mut self, nanoseconds: u64) {
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    /// The value below which `share` of the values lie, in microseconds; `None` if there are none.
    pub(crate) fn quantile_us(&self, share: f64) -> Option<f64> {
        let mut left = share * self.total as f64;
        for (at, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            left -= *count as f64;
            if left <= 0.0 {
                return Some(middle(at) / 1000.0);
            }
        }
        None
    }
}

fn bucket(value: u64) -> usize {
    let steps = STEPS as u64;
    if value < steps {
        return usize::try_from(value).unwrap_or(0);
    }
    // The six bits below the highest choose the step within the power of two.
    let power = value.ilog2() - STEPS.ilog2();
    let step = (value >> power) - steps;
    let at = u64::from(power + 1) * steps + step;
    usize::try_from(at).unwrap_or(usize::MAX).min(STEPS * 60 - 1)
}

fn middle(at: usize) -> f64 {
    if at < STEPS {
        return at as f64;
    }
    let power = u32::try_from(at / STEPS - 1).unwrap_or(0);
    (STEPS as f64 + (at % STEPS) as f64 + 0.5) * 2_f64.powi(power.cast_signed())
}
