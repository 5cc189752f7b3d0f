//! What has been said of one item of a provider's stream.

use std::collections::BTreeMap;

use serde_json::Value;

use super::members::some_text;

/// Kinds of texts in an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Of the answer.
    Text,
    /// Of a refusal.
    Refusal,
    /// What was thought.
    Thought,
    /// A summary of that.
    Summary,
}

/// One item.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Its id.
    pub(super) id: Option<String>,
    /// A thought has been announced.
    pub(super) has_begun: bool,
    /// All of it has been said.
    pub(super) is_done: bool,
    /// Which call it is.
    pub(super) call: Option<u32>,
    /// Bytes of the call's arguments.
    pub(super) arguments: usize,
    /// Citations, by piece.
    pub(super) annotations: BTreeMap<u64, usize>,
    /// Tokens whose probabilities were said, by piece.
    pub(super) logprobs: BTreeMap<u64, usize>,
    /// Bytes, by kind and piece.
    bytes: BTreeMap<(Kind, u64), usize>,
}

impl Slot {
    /// Takes the item's id: the first one stays.
    pub(super) fn know(&mut self, item: &Value) {
        if self.id.is_none() {
            self.id = some_text(item, "id").map(str::to_owned);
        }
    }

    /// Bytes that have been said of a piece.
    pub(super) fn said(&self, kind: Kind, piece: u64) -> usize {
        self.bytes.get(&(kind, piece)).copied().unwrap_or_default()
    }

    /// More have been.
    pub(super) fn count(&mut self, kind: Kind, piece: u64, bytes: usize) {
        *self.bytes.entry((kind, piece)).or_default() += bytes;
    }

    /// Pieces of a thought.
    pub(super) fn thought_texts(&self) -> usize {
        self.bytes.keys().filter(|(kind, _)| matches!(kind, Kind::Thought | Kind::Summary)).count()
    }
}
