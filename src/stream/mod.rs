//! Everything between an upstream's frames and the client's: event boundaries, the tap that only looks, the
//! clocks of a stream, and the one response body type. No sockets.

pub mod body;
pub mod continuation;
pub mod end;
pub mod phase;
pub mod relay;
pub mod tap;
mod timers;
mod window;
#[cfg(test)]
mod script;

pub use body::{Body, Departure, Rest, Tunnelled};
pub use end::{Abort, End, Usage};
pub use phase::PhaseGuard;
pub use relay::{Answer, Opening, Relay, Settings, Successor, Successors};
pub use timers::Clocks;
