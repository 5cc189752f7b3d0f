//! Texts to vectors.

use super::wish::Wishes;

/// What is to be embedded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbeddingsRequest {
    /// As the client names it.
    pub model: String,
    /// In order.
    pub inputs: Vec<EmbeddingInput>,
    /// The length of the vectors.
    pub dimensions: Option<u64>,
    /// Whether the client wants vectors as base64 of little-endian 32-bit floats (`encoding_format`).
    pub base64: bool,
    /// Whether the client's dialect wants them as a list even if it is one, where it tells the two apart.
    pub is_batch: bool,
    /// What they are for, in the client's word: `query`, `document`, ...
    pub task: Option<String>,
    /// See [`super::Request`].
    pub wishes: Wishes,
}

/// One thing to embed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbeddingInput {
    /// A text.
    Text(String),
    /// A text's tokens, which only its own provider's models understand.
    Tokens(Vec<u64>),
}

/// Vectors, in the order of the inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// The model, as the provider names it; empty where it does not say.
    pub model: String,
    /// One for each input.
    pub vectors: Vec<Vec<f64>>,
    /// Tokens read, where the provider says so.
    pub tokens: Option<u64>,
}
