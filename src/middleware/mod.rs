//! The layers of the stack. Their order, and why, stands in [`crate::gateway::stack`].
//!
//! Each layer is one small service. What one layer learns and another needs is a field: of [`Payload`]
//! (what every request carries), [`auth::Authorized`], or the gateway's own call types. There is no bag of
//! extensions whose contents a compiler can't see.

pub mod access_log;
pub mod at_end;
pub mod auth;
pub mod body_cap;
mod map;
pub mod metrics;
pub mod record;
pub mod request_id;
pub mod rescue;
pub mod shed;

pub use map::{Mapped, Passed};
pub use record::{BoxedResponse, Payload, Record};
