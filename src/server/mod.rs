//! Serves HTTP/1.1 and HTTP/2 on one connection for any tower service. Knows nothing of the gateway.

pub mod connection;
mod adapter;
mod exchange;
mod executor;
mod framing;
mod head;
mod http1;
mod http2;
mod link;
mod outbound;
mod socket;
mod streaming;
mod tunnel;
mod watchdog;

pub use connection::{Server, Settings};
pub use exchange::{Exchange, Inbound};
pub use link::Peer;
pub use outbound::Outbound;
