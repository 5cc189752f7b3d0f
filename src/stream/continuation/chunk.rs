//! A chunk of a plain chat, with the places of what is edited in it.

use std::borrow::Cow;

use crate::api::object::{self, Member};
use crate::api::prefill::says_nothing;

/// Bytes of a value that names the stream, as written. Ids have some forty.
const IDENTITY_BYTES_MAX: usize = 512;

/// The members that name a stream: the same in all of its chunks.
pub(super) const IDENTITY: [&str; 4] = ["id", "created", "model", "system_fingerprint"];

/// Why an answer can't be continued, or can't continue one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not understood, or of more than text: tools, a refusal, reasoning, audio.
    #[error("the answer is not plain text")]
    Foreign,
    /// More choices than one.
    #[error("the answer has several choices")]
    Choices,
    /// It said itself that it failed.
    #[error("the answer contains an error")]
    Failed,
    /// It has ended: what came after its end is not missed.
    #[error("the answer is complete")]
    Finished,
    /// More text than is kept.
    #[error("the answer is too long")]
    Long,
}

#[derive(Debug)]
pub(super) struct Chunk<'t> {
    /// The whole of it.
    pub(super) text: &'t str,
    /// The values of [`IDENTITY`], as written.
    pub(super) identity: [Option<&'t str>; IDENTITY.len()],
    /// The `usage` object, as written.
    pub(super) usage: Option<&'t str>,
    pub(super) choice: Option<Choice<'t>>,
}

/// The one choice.
#[derive(Debug, Default)]
pub(super) struct Choice<'t> {
    pub(super) delta: Vec<Member<'t>>,
    /// Where in `delta` the role stands.
    pub(super) role: Option<usize>,
    /// The content as written.
    pub(super) content_value: Option<&'t str>,
    /// The text in it.
    pub(super) content: Cow<'t, str>,
    pub(super) is_finished: bool,
}

impl<'t> Chunk<'t> {
    /// Reads a chunk. What is written twice could be read in two ways, and is not understood.
    pub(super) fn read(text: &'t str) -> Result<Self, Unfit> {
        let (mut identity, mut usage) = ([None; IDENTITY.len()], None);
        let (mut choices, mut error) = (None, None);
        let mut twice = false;
        let is_object = object::members(text, |member| {
            let name = member.name();
            let place = match &*name {
                "choices" => &mut choices,
                "usage" => &mut usage,
                "error" => &mut error,
                _ => match IDENTITY.iter().position(|known| *known == name) {
                    Some(at) => &mut identity[at],
                    None => return,
                },
            };
            twice |= place.replace(member.value).is_some();
        });
        if error.is_some_and(|error| !says_nothing(error)) {
            return Err(Unfit::Failed);
        }
        let is_too_long = identity.iter().flatten().any(|value| value.len() > IDENTITY_BYTES_MAX);
        if !is_object || twice || is_too_long {
            return Err(Unfit::Foreign);
        }
        let choice = Choice::read(choices.ok_or(Unfit::Foreign)?)?;
        Ok(Self { text, identity, usage: usage.filter(|usage| !says_nothing(usage)), choice })
    }

    /// The text that it adds.
    pub(super) fn content(&self) -> &str {
        self.choice.as_ref().map_or("", |choice| &choice.content)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.choice.as_ref().is_some_and(|choice| choice.is_finished)
    }
}

impl<'t> Choice<'t> {
    fn read(choices: &'t str) -> Result<Option<Self>, Unfit> {
        let (mut first, mut count) = (None, 0_usize);
        let is_array = object::elements(choices, |choice| {
            first = first.or(Some(choice));
            count = count.saturating_add(1);
        });
        match first {
            _ if !is_array => Err(Unfit::Foreign),
            _ if count > 1 => Err(Unfit::Choices),
            None => Ok(None),
            Some(text) => Self::read_one(text).map(Some),
        }
    }

    fn read_one(text: &'t str) -> Result<Self, Unfit> {
        let (mut index, mut delta, mut finish) = (None, None, None);
        let mut twice = false;
        let is_object = object::members(text, |member| {
            let place = match &*member.name() {
                "index" => &mut index,
                "delta" => &mut delta,
                "finish_reason" => &mut finish,
                _ => return,
            };
            twice |= place.replace(member.value).is_some();
        });
        if !is_object || twice {
            return Err(Unfit::Foreign);
        }
        if index.is_some_and(|index| index != "0") {
            return Err(Unfit::Choices);
        }
        let mut choice = Self::read_delta(delta.unwrap_or("null"))?;
        // Some servers say an empty reason where others say null.
        choice.is_finished = match finish {
            None | Some("null" | "\"\"") => false,
            Some("\"error\"") => return Err(Unfit::Failed),
            Some(_) => true,
        };
        Ok(choice)
    }

    /// Reads what a choice adds. A list of what may be there, for a list of what may not would miss the next
    /// provider's name for its reasoning: whatever else says something is no plain text.
    fn read_delta(delta: &'t str) -> Result<Self, Unfit> {
        let mut choice = Self::default();
        if delta == "null" {
            return Ok(choice);
        }
        let mut is_plain = true;
        let is_object = object::members(delta, |member| {
            match &*member.name() {
                "role" => is_plain &= choice.role.replace(choice.delta.len()).is_none(),
                "content" => is_plain &= choice.content_value.replace(member.value).is_none(),
                _ => is_plain &= says_nothing(member.value),
            }
            if is_plain {
                choice.delta.push(member);
            }
        });
        choice.content = match choice.content_value {
            None | Some("null") => Cow::default(),
            Some(value) => object::string(value).ok_or(Unfit::Foreign)?,
        };
        if is_plain && is_object { Ok(choice) } else { Err(Unfit::Foreign) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_chunks_are_understood() {
        for (choices, content, is_finished) in [
            (r"[]", "", false),
            (r#"[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]"#, "", false),
            (r#"[{"delta":{"content":"a\u00e4"},"finish_reason":""}]"#, "aä", false),
            (
                r#"[{"index":0,"delta":{"content":null,"refusal":null,"tool_calls":[]},"logprobs":null}]"#,
                "",
                false,
            ),
            (r#"[{"index":0,"delta":{},"finish_reason":"stop"}]"#, "", true),
            (r#"[{"index":0,"delta":{"content":"z"},"finish_reason":"length"}]"#, "z", true),
            (r#"[{"index":0,"finish_reason":"stop","delta":null}]"#, "", true),
        ] {
            let text = format!(r#"{{"id":"i","choices":{choices},"usage":null,"error":null,"x":1}}"#);
            let chunk = Chunk::read(&text).expect(&text);
            assert_eq!((chunk.content(), chunk.is_finished()), (content, is_finished), "{text}");
            assert_eq!((chunk.identity[0], chunk.usage), (Some("\"i\""), None));
        }
    }

    #[test]
    fn what_is_not_plain_is_told_apart() {
        let delta = |delta: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{{delta}}}}}]}}"#);
        for (text, expected) in [
            (delta(r#""tool_calls":[{"index":0}]"#), Unfit::Foreign),
            (delta(r#""function_call":{"name":"f"}"#), Unfit::Foreign),
            (delta(r#""refusal":"I""#), Unfit::Foreign),
            (delta(r#""content":"","reasoning_content":"so""#), Unfit::Foreign),
            (delta(r#""reasoning":"so""#), Unfit::Foreign),
            (delta(r#""thinking":"so""#), Unfit::Foreign),
            (delta(r#""audio":{"id":"a"}"#), Unfit::Foreign),
            (delta(r#""content":[{"type":"text"}]"#), Unfit::Foreign),
            (delta(r#""content":"\ud83d""#), Unfit::Foreign),
            (delta(r#""content":"a","content":"b""#), Unfit::Foreign),
            (delta(r#""role":"a","role":"b""#), Unfit::Foreign),
            (r#"{"choices":[{"index":1,"delta":{}}]}"#.to_owned(), Unfit::Choices),
            (r#"{"choices":[{"index":0},{"index":1}]}"#.to_owned(), Unfit::Choices),
            (r#"{"error":{"message":"m"}}"#.to_owned(), Unfit::Failed),
            (r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#.to_owned(), Unfit::Failed),
            (r#"{"choices":null}"#.to_owned(), Unfit::Foreign),
            (r#"{"choices":[],"choices":[]}"#.to_owned(), Unfit::Foreign),
            (r#"{"choices":[{"delta":[]}]}"#.to_owned(), Unfit::Foreign),
            (r#"{"choices":[1]}"#.to_owned(), Unfit::Foreign),
            (r#"{"type":"ping"}"#.to_owned(), Unfit::Foreign),
            (r#"{"choices":[]"#.to_owned(), Unfit::Foreign),
            (format!(r#"{{"id":"{}","choices":[]}}"#, "a".repeat(600)), Unfit::Foreign),
            ("no".to_owned(), Unfit::Foreign),
        ] {
            assert_eq!(Chunk::read(&text).err(), Some(expected), "{text}");
        }
    }
}
