//! What an answer cost is told so that nothing is counted twice: each part of a total is within it.

use super::cases::{Which, each};
use crate::dialects::conversation::{Event, Usage};

#[test]
fn parts_are_within_their_totals() {
    each(Which::Answers, |case| {
        let events = case.as_events().map_err(|error| error.to_string())?;
        let told =
            events.iter().filter_map(|event| if let Event::Usage(usage) = event { Some(usage) } else { None });
        told.into_iter().try_for_each(within)
    });
}

fn within(usage: &Usage) -> Result<(), String> {
    let cached = usage.cache_read.unwrap_or(0) + usage.cache_write.unwrap_or(0);
    let parts = [
        ("the cache", cached, usage.input),
        ("the cache of an hour", usage.cache_write_1h.unwrap_or(0), usage.cache_write.unwrap_or(0)),
        ("sound that was read", usage.input_audio.unwrap_or(0), usage.input),
        ("thought", usage.reasoning.unwrap_or(0), usage.output),
        ("sound that was made", usage.output_audio.unwrap_or(0), usage.output),
    ];
    let wrong = parts.into_iter().find(|(_, part, whole)| part > whole);
    wrong.map_or(Ok(()), |(name, part, whole)| Err(format!("{name} has {part} of {whole} tokens: {usage:?}")))
}
