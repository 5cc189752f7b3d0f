//! Sends one HTTP request to one upstream and hands back its answer, over a pool of connections per core.
//!
//! Inline: an exchange and then its [`Body`] own their HTTP/1.1 connection and poll it themselves, so there
//! is neither a task nor a channel of ours per stream, and a connection at rest has no buffers. HTTP/2
//! connections have one task each, because many streams share them; the streams are driven by their own
//! bodies.
//!
//! Nothing here retries what an upstream may have seen. A request is sent again only on evidence that no
//! byte of it left, or that the upstream promised not to have processed it (RFC 9113, section 8.7).

mod acks;
mod answer;
mod body;
mod cache;
mod caps;
mod chunked;
mod connect;
mod dns;
mod error;
mod exchange;
mod flight;
mod frames;
mod head;
mod http1;
mod http2;
mod incoming;
mod lease;
mod outgoing;
mod ping;
mod pool;
mod scratch;
mod singleton;
mod upgrade;
mod wire;

#[cfg(test)]
pub(crate) mod script;
#[cfg(test)]
mod tests;

pub use body::{Body, Framing};
pub use caps::Caps;
pub use connect::Connectors;
pub use error::{BodyError, BodyErrorKind, Cause, Malformed, SendError};
pub use head::Request;
pub use pool::Pool;
pub use upgrade::{Switch, Upgraded};
