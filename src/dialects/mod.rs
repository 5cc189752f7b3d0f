//! Translation between the dialects of providers and clients. Pure: bytes and events in, bytes and events out; no clock, no
//! chance, no socket.
//!
//! A dialect that clients speak is a [`Front`], one that upstreams speak a [`Provider`]; some are both. Between them stands
//! the [`conversation`]. What has the same dialect on both sides does not come here at all: its bytes go on as they are.

pub mod anthropic;
pub mod aws_events;
pub mod bedrock;
pub mod chat;
pub mod cohere;
pub mod completions;
pub mod conversation;
pub mod embeddings;
mod estimate;
mod frames;
mod front;
pub mod gemini;
mod json;
pub mod ollama;
mod provider;
mod registry;
pub mod responses;
mod splice;
mod translation;

pub use estimate::estimate;
pub use frames::{Frame, Frames, Framing};
pub use front::{Asked, Encode, Front, Place, Refusal};
pub use provider::{Decoder, Lost, Machine, Malformed, Provider, Sent, Target, Unfit};
pub use registry::{CountFront, EmbedFront, count_front, embed_front, front, is_claude, provider};
pub use translation::{Task, Translator};

#[cfg(test)]
mod tests;
