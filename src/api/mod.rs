//! The contract that clients see: surfaces, errors and the few request fields that routing needs.

pub mod affinity;
pub mod dialect;
pub mod edit;
pub mod endpoint;
pub mod error;
pub mod form;
pub mod gemini;
pub mod models;
pub mod object;
pub mod prefill;
pub mod request;
pub mod sse;
pub mod verdict;
pub mod websocket;
