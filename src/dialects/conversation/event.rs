//! What is answered, piece by piece.

use serde_json::Value;

use super::answer::Finish;
use super::failure::Failure;
use super::part::{Annotation, Media};
use super::signature::Signature;
use super::usage::Usage;

/// One step of a streamed answer. In order: `Start` once; then `Delta`s, of several choices mixed; `Finish` once per
/// choice, behind its deltas; `Usage` anywhere and repeatedly, each replacing what the one before said; `End` last.
/// `Failed` is the last one as well. A decoder that is cut off just stops.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It begins.
    Start(Start),
    /// A piece of a choice.
    Delta {
        /// Which choice: 0 where only one was asked for.
        choice: u32,
        /// The piece.
        delta: Delta,
    },
    /// A choice is complete.
    Finish {
        /// Which one.
        choice: u32,
        /// Why.
        finish: Finish,
    },
    /// What it has cost so far.
    Usage(Usage),
    /// The provider is still there.
    Ping,
    /// It broke off, and the provider says so.
    Failed(Failure),
    /// It is whole: there is evidence that nothing is missing.
    End,
}

/// What a stream says of itself first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// See [`super::Answer`].
    pub id: String,
    /// See [`super::Answer`].
    pub model: String,
    /// See [`super::Answer`].
    pub created: Option<u64>,
    /// See [`super::Answer`].
    pub service_tier: Option<String>,
    /// See [`super::Answer`].
    pub fingerprint: Option<String>,
}

/// A piece of a choice. Consecutive pieces of one kind belong to one part, unless `Delta::Part` stands between them.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// A new part of whatever kind begins. Needed only between two neighbours of the same kind; harmless elsewhere.
    Part,
    /// Text.
    Text(String),
    /// Thought.
    Reasoning(String),
    /// The signature on the thought so far. Ends that part.
    Signature(Signature),
    /// A whole encrypted thought.
    Redacted(Signature),
    /// The provider's id of the thought that begins or has just ended.
    ReasoningId(String),
    /// A call begins. `call` counts the calls of this choice from 0 and is the key of what follows.
    ToolCall {
        /// Which call.
        call: u32,
        /// See [`super::ToolCall`]. Never empty.
        id: String,
        /// Which tool.
        name: String,
        /// See [`super::ToolCall`].
        signature: Option<Signature>,
    },
    /// More of a call's arguments. Several calls may be mixed.
    Arguments {
        /// Which call.
        call: u32,
        /// JSON text, cut anywhere.
        text: String,
    },
    /// A call's arguments are whole, where the provider tells that before the end.
    ToolCallEnd {
        /// Which call.
        call: u32,
    },
    /// Words of a refusal, where the provider sets them apart.
    Refusal(String),
    /// What the text just said refers to.
    Annotation(Annotation),
    /// Of the tokens just said: the `content` list of `OpenAI`'s chat form.
    Logprobs(Value),
    /// A picture or sound that the model made, whole or one piece of a sound.
    Media(Media),
    /// Something that only one dialect understands: see [`super::Content::Foreign`].
    Foreign {
        /// Its type in that dialect.
        kind: String,
        /// All of it.
        value: Value,
    },
}

impl Event {
    /// A piece of the only choice.
    pub fn delta(delta: Delta) -> Self {
        Self::Delta { choice: 0, delta }
    }
}
