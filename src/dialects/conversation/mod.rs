//! The one form in the middle: what a conversation, an answer and its stream are, whatever dialect they are said in.
//!
//! Each dialect reads into it and writes from it, so that N dialects need 2 N translations and not N².

mod answer;
mod collect;
mod embeddings;
mod event;
mod failure;
mod part;
mod request;
mod signature;
mod usage;
mod wish;

pub use answer::{Answer, Choice, Finish};
pub use collect::Collector;
pub use embeddings::{EmbeddingInput, Embeddings, EmbeddingsRequest};
pub use event::{Delta, Event, Start};
pub use failure::{Failure, FailureKind};
pub use part::{Annotation, Content, Media, Part, Reasoning, Source, ToolCall, ToolResult};
pub use request::{Effort, Format, Message, Request, Role, Thinking, Tool, ToolChoice};
pub use signature::{Family, Signature};
pub use usage::Usage;
pub use wish::{Open, Wish, Wishes};
