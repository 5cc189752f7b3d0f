//! The contract that clients see: OpenAI's surfaces, errors and the few request fields that routing needs.

pub mod endpoint;
pub mod error;
