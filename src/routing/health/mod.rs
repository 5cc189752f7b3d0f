//! How targets fare, and whether one may be asked: a breaker, cooldowns and ejections per target, shared by all
//! workers.
//!
//! Every state is a small `Copy` value packed into one `AtomicU64` and changed by compare-and-swap with a pure
//! function of the state, the time and the policy (`packed`). Nobody waits, and no order between two of these
//! words is relied upon: each is right by itself, and where two have to agree, one carries the other's generation.
//! Time is a `Duration` since the board was made.

mod board;
mod fuse;
mod judge;
mod outlier;
mod pace;
mod packed;
mod stamp;
mod tally;
mod throttle;
mod verdict;

#[cfg(test)]
mod ceiling;
#[cfg(test)]
mod races;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use board::Board;
pub use judge::Ejection;
pub use outlier::Cause;
pub use verdict::{Admission, Pass, Snapshot, Standing, State};

/// Why an attempt counts against a target. What the client did wrong (4xx) and throttling are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Name, connection or TLS could not be had.
    Unreachable,
    /// The connection broke before there was an answer.
    Broken,
    /// A status that blames the target: 5xx, 401, 403.
    Status,
    /// 200, and then an error as the first event.
    FirstEvent,
    /// No first token in time.
    Late,
    /// Cut after the commit point. Takes back the success that was counted for the same attempt.
    Aborted,
}

/// When a target is not asked, and for how long. The defaults are meant for LLM providers, whose answers take
/// seconds: figures of Envoy and linkerd, slowed down.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthPolicy {
    /// Failures in a row that open the breaker. 5, as Envoy's `consecutive_5xx`; 1 to 1023, what the word holds.
    pub breaker_failures: u32,
    /// Share of failed attempts, over some 15 s, that opens it. 0.5: worse than a coin costs more in retries than it
    /// serves; above 0, at most 1.
    pub breaker_ratio: f64,
    /// Attempts that this share needs. 20, so that chance alone does not open it.
    pub breaker_ratio_least: u32,
    /// How long it stays open at first; doubled at each failed probe. 5 s.
    pub open: Duration,
    /// How long it stays open at most. 1 min: a target that is back is found within that.
    pub open_max: Duration,
    /// How long a probe may be out without a word before its place is free again. 1 min; longer than the wait
    /// for a first token, or a second one goes out while the first still waits.
    pub probe: Duration,
    /// The cooldown after a 429 that names none; doubled at each throttled probe. 1 s.
    pub throttle: Duration,
    /// The longest cooldown, also of those that the provider names. 5 min: a day's would outlive a raised limit.
    pub throttle_max: Duration,
    /// The cooldown when the quota is spent. 5 min: seconds will not bring it back.
    pub spent: Duration,
    /// How long an outlier is ejected. 30 s, Envoy's `base_ejection_time`.
    pub ejection: Duration,
    /// Share of a tier's targets that may be ejected at once, rounded down. 0.5: as long as most are well, the
    /// rest can be the exception; 0 to 1.
    pub ejected_share_max: f64,
    /// Share of a tier's targets that have to be available for ejections to count. 0.5, as Envoy's panic
    /// threshold: below it the load would crush those that are left; 0 to 1.
    pub panic_share: f64,
    /// Attempts, over some 15 s, that a target needs to be judged, or to be what others are compared with. 20.
    pub outlier_attempts_least: u32,
    /// An outlier fails more than this many times as often as the median of the others. 3.
    pub outlier_errors_factor: f64,
    /// And by at least this share of its attempts more often. 0.1, so that one failure among peers without any
    /// is none.
    pub outlier_errors_least: f64,
    /// An outlier's time to first token is more than this many times the median of the others. 3.
    pub outlier_slow_factor: f64,
    /// And by at least this much longer. 500 ms: what is quick for everybody is not worth an ejection.
    pub outlier_slow_least: Duration,
    /// How long a target that has come back is spared its full share. 30 s.
    pub slow_start: Duration,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            breaker_failures: 5,
            breaker_ratio: 0.5,
            breaker_ratio_least: 20,
            open: Duration::from_secs(5),
            open_max: Duration::from_mins(1),
            probe: Duration::from_mins(1),
            throttle: Duration::from_secs(1),
            throttle_max: Duration::from_mins(5),
            spent: Duration::from_mins(5),
            ejection: Duration::from_secs(30),
            ejected_share_max: 0.5,
            panic_share: 0.5,
            outlier_attempts_least: 20,
            outlier_errors_factor: 3.0,
            outlier_errors_least: 0.1,
            outlier_slow_factor: 3.0,
            outlier_slow_least: Duration::from_millis(500),
            slow_start: Duration::from_secs(30),
        }
    }
}

/// What an untaken word says to somebody who wants in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry<T> {
    /// Everybody may.
    Free,
    /// One may, as the probe, if this state can be put in place of the one that was read.
    Probe(T),
    /// Nobody may before that time.
    Shut(stamp::Stamp),
}

/// What somebody who is turned away because a probe is out may be told to wait. When the probe ends is unknown,
/// and a second is the least that `retry-after` can say.
const PROBE_WAIT: Duration = Duration::from_secs(1);
