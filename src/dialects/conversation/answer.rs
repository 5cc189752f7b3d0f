//! What is answered, as a whole.

use serde_json::Value;

use super::part::Part;
use super::usage::Usage;

/// One whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The provider's id of it; empty where it gives none.
    pub id: String,
    /// The model that answered, as the provider names it; empty where it does not say.
    pub model: String,
    /// Seconds since 1970, where the provider says so.
    pub created: Option<u64>,
    /// In order of their index. Usually one.
    pub choices: Vec<Choice>,
    /// What it cost.
    pub usage: Option<Usage>,
    /// The tier it was served in, in `OpenAI`'s words.
    pub service_tier: Option<String>,
    /// `OpenAI`'s mark of the backend.
    pub fingerprint: Option<String>,
}

/// One of the answers that were asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Which one.
    pub index: u32,
    /// What is said, in order.
    pub parts: Vec<Part>,
    /// Why it ends.
    pub finish: Option<Finish>,
    /// In the form of `OpenAI`'s chat: `{"content":[...],"refusal":null}`.
    pub logprobs: Option<Value>,
}

/// Why an answer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It is complete.
    Stop,
    /// A stop sequence came: this one, where the provider says which.
    StopSequence(Option<String>),
    /// The most tokens that were asked for, or that it has.
    Length,
    /// The model's window is full.
    Window,
    /// Tools are to be called.
    ToolCalls,
    /// A filter cut it.
    ContentFilter,
    /// The model will not.
    Refusal,
    /// The provider paused a long turn; the client may ask it to go on.
    Pause,
    /// Something else, in the provider's word.
    Other(String),
}
