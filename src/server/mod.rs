//! Serves HTTP/1.1 and HTTP/2 on one connection for any tower service. Knows nothing of the gateway.

pub mod connection;
mod exchange;
mod executor;
mod framing;
mod link;
mod outbound;
mod socket;

pub use connection::{Server, Settings};
pub use exchange::{Exchange, Inbound};
pub use link::Peer;
pub use outbound::Outbound;
