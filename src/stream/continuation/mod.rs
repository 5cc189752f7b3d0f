//! One stream out of two: when an upstream dies in the midst of a plain chat, another target continues the answer.
//!
//! [`Transcript`] keeps what the client has been told; `api::prefill` makes the request out of it that lets a
//! target continue; [`Splice`] makes its events those of the one stream. Pure: events in, events out. It is opt-in,
//! and whatever does not fit exactly is refused, which leaves what there is without it: an error event.

mod chunk;
mod event;
#[cfg(test)]
pub(in crate::stream) mod model;
mod seam;
mod splice;
#[cfg(test)]
mod tests;
mod transcript;

pub use chunk::Unfit;
pub use splice::{Refusal, Splice};
pub use transcript::Transcript;
