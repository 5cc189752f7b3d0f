//! Which of the targets that may be asked is asked: by weight, by open streams, by how fast they answer, or by a
//! key that shall meet the same target again.

mod hash;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::routing::chance::{fraction, mixed};

/// What is known of a target that may be asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its part of the load, beside those of the others. 0 counts as 1: whom nobody shall ask is no candidate.
    pub weight: u32,
    /// Its open streams, of all workers.
    pub open: u32,
    /// How long its first tokens take, if that is known.
    pub pace: Option<Duration>,
    /// How much of its weight it bears: 1, or less while it starts slowly after it has come back.
    pub warmth: f64,
}

/// How one of several is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In proportion to their weights.
    Weighted,
    /// The one with the fewest open streams for its weight.
    LeastStreams,
    /// The better one of two drawn by weight: fewer open streams times the time to its first token, for its
    /// weight. Two are enough to keep away from bad ones, and few enough that not all workers run to the best.
    PowerOfTwo,
    /// The one that the key belongs to, unless it bears much more than its part already.
    Hash,
}

/// The least part of its weight that a target bears: it must be asked sometimes, or it never warms up.
const WARMTH_LEAST: f64 = 0.01;

/// The shortest pace that is told apart: below it, differences are noise.
const PACE_LEAST: Duration = Duration::from_millis(1);

impl Candidate {
    /// The part of the load that it bears now, beside those of the others.
    fn share(&self) -> f64 {
        let warmth = if self.warmth.is_nan() { WARMTH_LEAST } else { self.warmth.clamp(WARMTH_LEAST, 1.0) };
        f64::from(self.weight.max(1)) * warmth
    }

    /// Open streams for its weight.
    fn load(&self) -> f64 {
        f64::from(self.open) / self.share()
    }
}

/// The position of the candidate to ask; `None` if there is none.
///
/// `ids` are the candidates' identities, in the same order, for [`Balance::Hash`] alone: they decide which keys a
/// target has, so they must stay what they are when others come and go. `key` is what shall meet the same target
/// again; without one, `Hash` picks as `LeastStreams` does.
///
/// `random` may be any number of any generator. [`Balance::Weighted`] reads it as a fraction, from its upper bits:
/// numbers that are spread evenly (a counter times 2^64 / golden ratio) give shares that are even, too, with far
/// less scatter than those of chance.
///
/// # Panics
/// In debug builds, when `ids` are needed and are not as many as `candidates`.
pub fn pick(
    balance: Balance,
    candidates: &[Candidate],
    ids: &[u64],
    key: Option<u64>,
    random: u64,
) -> Option<usize> {
    match (balance, key) {
        (Balance::Weighted, _) => weighted(candidates, |_| true, fraction(random)),
        (Balance::PowerOfTwo, _) => better_of_two(candidates, random),
        (Balance::Hash, Some(key)) => hash::pick(candidates, ids, key),
        (Balance::LeastStreams, _) | (Balance::Hash, None) => least_streams(candidates, random),
    }
}

/// Where the fraction `point` lies when the shares of those that `may` be picked are laid end to end.
fn weighted(candidates: &[Candidate], may: impl Fn(usize) -> bool, point: f64) -> Option<usize> {
    let shares = || candidates.iter().map(Candidate::share).enumerate().filter(|(index, _)| may(*index));
    let mut left = point * shares().map(|(_, share)| share).sum::<f64>();
    let mut picked = None;
    for (index, share) in shares() {
        // The last one stays if rounding has left a rest.
        picked = Some(index);
        if left < share {
            break;
        }
        left -= share;
    }
    picked
}

/// The least loaded; among equals, by weight, or else the first of them would get all that comes while all rest.
fn least_streams(candidates: &[Candidate], random: u64) -> Option<usize> {
    let least = candidates.iter().map(Candidate::load).fold(f64::INFINITY, f64::min);
    weighted(candidates, |index| candidates[index].load() <= least, fraction(random))
}

fn better_of_two(candidates: &[Candidate], random: u64) -> Option<usize> {
    let first = weighted(candidates, |_| true, fraction(random))?;
    let second = weighted(candidates, |index| index != first, fraction(mixed(random)));
    // Whose pace is unknown is taken for the fastest, so that it is tried and becomes known.
    let fastest = candidates.iter().filter_map(|candidate| candidate.pace).min().unwrap_or(PACE_LEAST);
    let cost = |index: usize| {
        let candidate = &candidates[index];
        let pace = candidate.pace.unwrap_or(fastest).max(PACE_LEAST);
        (f64::from(candidate.open) + 1.0) * pace.as_secs_f64() / candidate.share()
    };
    Some(second.filter(|second| cost(*second) < cost(first)).unwrap_or(first))
}
