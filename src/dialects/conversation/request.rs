//! What is asked.

use serde_json::Value;

use super::part::Part;
use super::wish::Wishes;

/// One request for an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// As the client names it.
    pub model: String,
    /// Whether the answer is to come as a stream.
    pub stream: bool,
    /// In order, those of the system and the developer included. Two neighbours may have the same role.
    pub messages: Vec<Message>,
    /// What the model may call, in order.
    pub tools: Vec<Tool>,
    /// Whether it must; `None` leaves it to the provider's default, which is everywhere that it may.
    pub tool_choice: Option<ToolChoice>,
    /// The form of the answer; `None` is text.
    pub format: Option<Format>,
    /// How much it is to think; `None` leaves that to the model.
    pub thinking: Option<Thinking>,
    /// Everything else that was asked for. What a target's writer does not take is what the target can't honour.
    pub wishes: Wishes,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub parts: Vec<Part>,
    /// The participant's name, where a dialect has such.
    pub name: Option<String>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions.
    System,
    /// Instructions of the application, where a dialect tells them from the system's.
    Developer,
    /// The human.
    User,
    /// The model.
    Assistant,
    /// Results of tools, and nothing else: the parts are all `Content::ToolResult`.
    Tool,
}

/// A function that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// JSON Schema of its arguments; `None`: it takes none.
    pub schema: Option<Value>,
    /// Whether the arguments must follow the schema strictly; `None` says nothing of it.
    pub strict: Option<bool>,
    /// A marker of where the provider's prompt cache may end, in Anthropic's form.
    pub cache: Option<Value>,
}

/// Whether tools must be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// As the model likes.
    Auto,
    /// None may be.
    None,
    /// At least one must be.
    Required,
    /// This one must be.
    Named(String),
}

/// The form of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// Any JSON object.
    JsonObject,
    /// JSON by a schema.
    JsonSchema {
        /// The schema's name, where it was given one.
        name: Option<String>,
        /// What the answer is for.
        description: Option<String>,
        /// JSON Schema.
        schema: Value,
        /// Whether it must be followed strictly; `None` says nothing of it.
        strict: Option<bool>,
    },
}

/// How much a model is to think before it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thinking {
    /// Off although the model would: `Some(false)`; on as the model sees fit: `Some(true)` without more.
    pub enabled: Option<bool>,
    /// In words.
    pub effort: Option<Effort>,
    /// In tokens.
    pub budget: Option<u64>,
    /// Whether a summary (or the text) of it is to be shown, in the client's word: `auto`, `concise`, `detailed`, `none`.
    pub summary: Option<String>,
}

/// Words for how much a model is to think, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words are the providers' own")]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

impl Effort {
    /// Every word.
    pub const ALL: [Self; 7] =
        [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::XHigh, Self::Max];

    /// The word, which all dialects have in common.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
            Self::Max => "max",
        }
    }

    /// What a word means.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effort| effort.word() == word)
    }

    /// A budget of tokens that means about the same, for providers that count: the table that `LiteLLM` and `OpenRouter`
    /// users know, capped by what models take.
    pub fn budget(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Minimal => 1024,
            Self::Low => 2048,
            Self::Medium => 8192,
            Self::High => 16_384,
            Self::XHigh | Self::Max => 32_768,
        }
    }

    /// The least effort whose budget is at least this many tokens, for providers that have words.
    pub fn of_budget(tokens: u64) -> Self {
        let words = [Self::None, Self::Low, Self::Medium, Self::High, Self::XHigh];
        words.into_iter().find(|effort| tokens <= effort.budget()).unwrap_or(Self::XHigh)
    }
}
