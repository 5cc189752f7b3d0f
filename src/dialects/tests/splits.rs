//! The network may split a stream anywhere, and merge it: the events are the same.

use super::cases::{Case, Which, each};
use super::comparable::differs;
use super::wire;
use crate::dialects::conversation::Event;

/// Streams up to here are split at every byte.
const ALL_BYTES_MAX: usize = 1024;
/// Places at which longer ones are split: half of them around the ends of events.
const SAMPLES: usize = 200;

#[test]
fn every_split_gives_the_same_events() {
    each(Which::Streams, |case| {
        let bytes = wire::bytes(&case.kind, &case.body);
        let whole = case.events().map_err(|error| error.to_string())?;
        for at in places(&bytes) {
            let (before, after) = bytes.split_at(at);
            same(case, &[before, after], &whole).map_err(|words| format!("split at {at}: {words}"))?;
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        same(case, &single, &whole).map_err(|words| format!("byte by byte: {words}"))
    });
}

fn same(case: &Case, pieces: &[&[u8]], whole: &[Event]) -> Result<(), String> {
    let events = case.decoded(pieces.iter().copied()).map_err(|error| error.to_string())?;
    differs(whole, &events)
}

/// Where a stream is split or cut: everywhere if it is short; else around the ends of its events, and in between.
pub(super) fn places(bytes: &[u8]) -> Vec<usize> {
    let all = bytes.len();
    if all <= ALL_BYTES_MAX {
        return (0..=all).collect();
    }
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', bytes).collect();
    let near = ends.iter().step_by((ends.len() * 6 / SAMPLES).max(1)).flat_map(|end| [*end, end + 1, end + 2]);
    let last = all.saturating_sub(8)..=all;
    let mut places: Vec<usize> =
        (0..SAMPLES / 2).map(|nth| nth * all * 2 / SAMPLES).chain(near).chain(last).collect();
    places.retain(|at| *at <= all);
    places.sort_unstable();
    places.dedup();
    places
}
