//! The contract that clients see: OpenAI's surfaces, errors and the few request fields that routing needs.

pub mod affinity;
pub mod edit;
pub mod endpoint;
pub mod error;
pub mod form;
pub mod models;
pub mod object;
pub mod prefill;
pub mod request;
pub mod sse;
pub mod verdict;
