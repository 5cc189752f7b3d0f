//! Ollama's own API: one JSON document a line (Ollama API reference, `docs/api.md` and `docs/openapi.yaml` in its repository).
//!
//! Spoken on both sides: clients ask `/api/chat`, `/api/generate` and `/api/embed`, and upstreams are asked the first and
//! the last of these.

mod answer_in;
mod answer_out;
mod clock;
mod embeddings;
mod error;
mod fields;
mod front;
mod messages_out;
mod options;
mod picture;
mod request_in;
mod request_out;
mod stream_in;
mod stream_out;

pub use embeddings::{read_embed, write_embed};
pub use front::{CHAT, ChatFront, GENERATE, GenerateFront};
pub use request_out::{OllamaProvider, PROVIDER};
