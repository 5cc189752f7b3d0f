//! From an upstream's whole answer, which is a stream of one line.

use super::stream_in::Lines;
use crate::dialects::conversation::{Answer, Collector};
use crate::dialects::provider::{Machine as _, Malformed, Sent};

/// Reads an answer.
pub(super) fn read(sent: &Sent, body: &[u8]) -> Result<Answer, Malformed> {
    let mut events = Vec::new();
    Lines::new(&sent.unique).event(None, body, &mut events)?;
    let mut collector = Collector::default();
    for event in events {
        collector.event(event).map_err(|_| Malformed("an error in place of an answer"))?;
    }
    collector.finish().ok_or(Malformed("an answer that is not done"))
}
