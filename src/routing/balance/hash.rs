//! The same key to the same target, so that its prefix cache hits: rendezvous hashing with bounded load.
//!
//! Each pair of key and target has a rank; the lowest wins. When a target leaves, its own keys move, each to its
//! second choice, and no other does; when its weight grows, keys move to it alone. A table of points on a ring
//! would give the same only in approximation, and would have to be built.
//!
//! The bound (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2017) keeps a key that
//! everybody asks for from drowning the target that it belongs to.

use crate::routing::balance::Candidate;
use crate::routing::chance::{fraction, mixed};

/// How much more than its part of all open streams a target may bear. A smaller factor moves more keys when many
/// streams are open, a greater one lets a hot target fall behind; with a quarter, the tests show either.
const LOAD_MAX: f64 = 1.25;

/// The first choice of `key` among the candidates that have room, one of which always has.
pub(super) fn pick(candidates: &[Candidate], ids: &[u64], key: u64) -> Option<usize> {
    debug_assert_eq!(candidates.len(), ids.len(), "each candidate has an identity");
    let open: f64 = candidates.iter().map(|candidate| f64::from(candidate.open)).sum();
    let shares: f64 = candidates.iter().map(Candidate::share).sum();
    let has_room = |candidate: &Candidate| {
        let most = (LOAD_MAX * (open + 1.0) * candidate.share() / shares).ceil();
        f64::from(candidate.open) < most
    };
    let with_room = candidates.iter().zip(ids).enumerate().filter(|(_, (candidate, _))| has_room(candidate));
    let ranked = with_room.map(|(index, (candidate, id))| (index, rank(key, *id, candidate.share())));
    ranked.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(index, _)| index)
}

/// The place of a target in the order of a key's choices: the lowest is the first. It is a draw from an
/// exponential distribution whose rate is the share, and of several such draws each is the lowest with the
/// probability of its share (weighted rendezvous; Schindelhauer and Schomaker, "Weighted Distributed Hash
/// Tables", 2005).
fn rank(key: u64, id: u64, share: f64) -> f64 {
    -(-fraction(mixed(key ^ mixed(id)))).ln_1p() / share
}
