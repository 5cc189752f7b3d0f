//! What a model name means, whom to ask for it, and what is learnt from the answers: decisions without a socket and
//! without a clock. Time and randomness are arguments.

pub mod backoff;
pub mod balance;
pub mod budget;
mod chance;
pub mod gate;
pub mod health;
pub mod hedge;
pub mod table;
