//! What messages and answers are made of.

use serde_json::Value;

use super::signature::Signature;

/// One piece of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub content: Content,
    /// A marker of where the provider's prompt cache may end, in Anthropic's form (`{"type":"ephemeral"}`).
    pub cache: Option<Value>,
}

/// What a piece of a message is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Text, with what it refers to.
    Text {
        /// The text.
        text: String,
        /// Citations in it.
        annotations: Vec<Annotation>,
    },
    /// A picture, a sound, a document.
    Media(Media),
    /// What the model thought.
    Reasoning(Reasoning),
    /// A call that the model makes.
    ToolCall(ToolCall),
    /// What a call has given.
    ToolResult(ToolResult),
    /// The model's words in refusing to answer, where a dialect sets them apart.
    Refusal(String),
    /// Something that only the provider of one dialect understands (a search of its own, a server tool), by its type. No
    /// other provider can be told of it.
    Foreign {
        /// Its type in that dialect.
        kind: String,
        /// All of it.
        value: Value,
    },
}

/// A picture, a sound, a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// `image/png`, `audio/wav`, `application/pdf`; `None` where an address does not tell.
    pub media_type: Option<String>,
    /// What kind of thing it is, where the media type does not tell: `image`, `audio`, `video`, `file`.
    pub kind: &'static str,
    /// Where it is.
    pub source: Source,
    /// A file's name.
    pub name: Option<String>,
    /// How closely to look: `low`, `high`, `auto`.
    pub detail: Option<String>,
    /// The words spoken, of a sound that a model made.
    pub transcript: Option<String>,
    /// The signature on a model's own picture, which must go back with it.
    pub signature: Option<Signature>,
}

/// Where a medium is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Here, in base64.
    Base64(String),
    /// Here, as plain text.
    Text(String),
    /// At an address.
    Url(String),
    /// With the provider, who gave it this id.
    Id(String),
}

/// What a model thought. Providers sign it, and take it back only with their own signature.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reasoning {
    /// The thought, or a summary of it. Empty where the provider keeps it to itself.
    pub text: String,
    /// What proves it.
    pub signature: Option<Signature>,
    /// All of it, encrypted, in place of text.
    pub redacted: Option<Signature>,
    /// The provider's id of it.
    pub id: Option<String>,
}

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolCall {
    /// Pairs it with its result. Never empty: readers make one up where a dialect has none.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// Arguments as the model wrote them: a JSON object, as text.
    pub arguments: String,
    /// What proves the thought behind it (Gemini).
    pub signature: Option<Signature>,
}

/// What a call of a tool has given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolResult {
    /// That of the call.
    pub id: String,
    /// The tool's name, where it is known.
    pub name: Option<String>,
    /// What came out: texts and media.
    pub parts: Vec<Part>,
    /// Whether the call failed.
    pub is_error: bool,
}

/// Something that a text refers to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotation {
    /// The address of it.
    pub url: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// The words cited from it.
    pub cited: Option<String>,
    /// Where in the text it belongs: first character and the one behind the last, where that is known.
    pub range: Option<(u64, u64)>,
    /// The same as the provider said it.
    pub raw: Value,
}

impl Part {
    /// One without a cache marker.
    pub fn new(content: Content) -> Self {
        Self { content, cache: None }
    }

    /// A plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Content::Text { text: text.into(), annotations: Vec::new() })
    }

    /// Its text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Text { text, .. } => Some(text),
            _ => None,
        }
    }
}

impl Media {
    /// A medium of this `kind` (`image`, `audio`, `video`, `file`).
    pub fn new(kind: &'static str, media_type: Option<String>, source: Source) -> Self {
        Self { media_type, kind, source, name: None, detail: None, transcript: None, signature: None }
    }
}
