//! Chunks of Gemini's answers. What a tool is called with is an object there, in which any key may stand, so chunks are
//! read, not searched.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Key, Seen, Tap, USAGE_BYTES_MAX, USAGES_MAX, is_error, key};
use crate::stream::end::Usage;

key!(FINISH_REASON, b"\"finishReason\"");
key!(USAGE_METADATA, b"\"usageMetadata\"");

/// What stands for no reason.
const UNSPECIFIED: &str = "FINISH_REASON_UNSPECIFIED";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(borrow)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow)]
    prompt_feedback: Option<Feedback<'a>>,
    usage_metadata: Option<Metadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback<'a> {
    #[serde(borrow)]
    block_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names are Google's")]
struct Metadata {
    prompt_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
}

impl Tap {
    pub(super) fn gemini_event(&mut self, data: &[u8]) -> Seen {
        if is_error(data) {
            self.failed = true;
            return Seen::Token;
        }
        let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) else {
            self.begun = true;
            return Seen::Token;
        };
        if let Some(metadata) = chunk.usage_metadata {
            self.gemini_usage(&metadata);
        }
        for candidate in chunk.candidates.iter().flatten() {
            if let Some(reason) = &candidate.finish_reason {
                self.gemini_finish(reason);
            }
            self.begun = self.begun || candidate.content.is_some_and(says_something);
        }
        if let Some(reason) = chunk.prompt_feedback.and_then(|feedback| feedback.block_reason) {
            // There will be no candidate.
            self.finishes = self.choices;
            self.finish_because(reason.as_bytes());
        }
        self.begun = self.begun || self.finishes > 0;
        if self.begun { Seen::Token } else { Seen::Preamble }
    }

    /// Of what was too long to be read as a whole, at its end.
    pub(super) fn gemini_end(&mut self, bytes: &[u8]) {
        for reason in FINISH_REASON.strings(bytes).filter_map(|reason| str::from_utf8(reason).ok()) {
            self.gemini_finish(reason);
        }
        for value in USAGE_METADATA.values(bytes).take(USAGES_MAX) {
            let value = &value[..value.len().min(USAGE_BYTES_MAX)];
            if let Some(Ok(metadata)) = serde_json::Deserializer::from_slice(value).into_iter().next() {
                self.gemini_usage(&metadata);
            }
        }
    }

    fn gemini_finish(&mut self, reason: &str) {
        if !matches!(reason, "" | UNSPECIFIED) {
            self.finishes = self.finishes.saturating_add(1);
            self.finish_because(reason.as_bytes());
        }
    }

    fn gemini_usage(&mut self, metadata: &Metadata) {
        let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0))),
        };
        self.used(Usage {
            prompt_tokens: sum(metadata.prompt_token_count, metadata.tool_use_prompt_token_count),
            completion_tokens: sum(metadata.candidates_token_count, metadata.thoughts_token_count),
        });
    }
}

/// Whether any part of a content is more than an empty text.
fn says_something(content: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        parts: Option<Vec<BTreeMap<Cow<'a, str>, &'a RawValue>>>,
    }
    let is_empty = |(name, value): (&Cow<'_, str>, &&RawValue)| name == "text" && value.get() == "\"\"";
    let content: Option<Content<'_>> = serde_json::from_str(content.get()).ok();
    content.is_none_or(|content| content.parts.iter().flatten().any(|part| !part.iter().all(is_empty)))
}
