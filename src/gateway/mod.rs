//! Where the rooms meet: from a request on a connection to an upstream's answer on its way back. Holds no
//! algorithm of its own.

mod admit;
mod attempt;
mod call;
mod deadline;
mod decode;
mod dispatch;
mod headers;
mod local;
mod respond;
mod snapshot;
mod stack;
mod worker;

pub use local::LocalBoxService;
pub use snapshot::{Snapshot, SnapshotError};
pub use stack::{Stack, stack};
pub use worker::Worker;
