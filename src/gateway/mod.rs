//! Where the rooms meet: from a request on a connection to an upstream's answer on its way back. Holds no
//! algorithm of its own.

mod admit;
mod attempt;
mod attempts;
mod authorize;
mod call;
mod continuation;
mod count;
mod decode;
mod dispatch;
mod drain;
mod headers;
mod health;
mod lane;
mod local;
mod models;
mod native;
mod plan;
pub mod probe;
mod queue;
mod realtime;
mod respond;
mod snapshot;
mod stack;
#[cfg(test)]
mod tests;
mod translated;
mod trial;
mod tunnel;
mod worker;

pub use health::Scraped;
pub use local::LocalBoxService;
pub use snapshot::{Snapshot, SnapshotError};
pub use stack::{Stack, stack};
pub use worker::Worker;
