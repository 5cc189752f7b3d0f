//! The one table from [`Kind`] to what a client is told: status, `type`, `code` and text, in OpenAI's form.

use bytes::Bytes;
use crate::error::Error;
use crate::error::Kind;
/// x
pub fn event(_e: &Error, _r: &str, _d: bool, _s: u64) -> Bytes { let _ = Kind::Internal; Bytes::new() }
