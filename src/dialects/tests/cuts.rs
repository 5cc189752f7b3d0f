//! A stream that is cut off is not whole.
//!
//! The rule, for all framings: where an end is seen, nothing is missing that says anything of the answer: every piece and
//! every reason to end is there. What may be missing is a line end; the last word (`[DONE]`), where a reason to end has come
//! and the transfer has ended as it should; and what the answer cost, which some providers tell behind the reason.

use super::cases::{Which, each};
use super::{splits, wire};
use crate::dialects::conversation::Event;

#[test]
fn a_cut_transfer_has_an_end_only_with_everything_before_it() {
    each(Which::Streams, |case| {
        let bytes = wire::bytes(&case.kind, &case.body);
        let whole = case.events().map_err(|error| error.to_string())?;
        let mut decoder = case.provider.decoder(&case.sent());
        let mut events = Vec::new();
        for (at, byte) in bytes.iter().enumerate() {
            let before = events.len();
            decoder.feed(&[*byte], &mut events).map_err(|error| format!("byte {at}: {error}"))?;
            if events.len() == before {
                continue;
            }
            if !whole.starts_with(&events) {
                return Err(format!("byte {at} changes what was said before"));
            }
            if events.contains(&Event::End) && said(&events) != said(&whole) {
                return Err(format!("an end at byte {at} of {}", bytes.len()));
            }
        }
        Ok(())
    });
}

#[test]
fn an_end_that_comes_too_early_is_none() {
    each(Which::Streams, |case| {
        let bytes = wire::bytes(&case.kind, &case.body);
        let whole = case.events().map_err(|error| error.to_string())?;
        for at in splits::places(&bytes) {
            let mut decoder = case.provider.decoder(&case.sent());
            let mut events = Vec::new();
            decoder.feed(&bytes[..at], &mut events).map_err(|error| format!("cut at {at}: {error}"))?;
            // Half an event is not of the dialect; then there is nothing to see here.
            decoder.end(&mut events).ok();
            if events.contains(&Event::End) && said(&events) != said(&whole) {
                return Err(format!("an end although it was cut at byte {at} of {}", bytes.len()));
            }
        }
        Ok(())
    });
}

/// What says something of the answer.
pub(super) fn said(events: &[Event]) -> Vec<&Event> {
    let says = |event: &&Event| matches!(event, Event::Delta { .. } | Event::Finish { .. } | Event::Failed(_));
    events.iter().filter(says).collect()
}
