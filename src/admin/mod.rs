//! Metrics and health, on a listener of their own, so that they answer when the client listeners are full.

mod server;

pub use self::server::serve;
