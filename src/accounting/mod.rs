//! Who may use the gateway, and how much: virtual keys, requests per minute, streams at once.

// Arithmetic that is wrong here is a limit that does not hold.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

pub mod headers;
pub mod keys;
pub mod limits;
pub mod permit;
mod requests;
