//! What every dialect must do, shown on every answer that is there: the fixtures in `tests/golden`, and, where
//! `RECORDINGS_DIR` says so, a folder of recorded ones.
//!
//! Each file here is one promise. [`roster`] says who speaks what; a new dialect adds itself there and is held to all of
//! them.

mod cases;
mod comparable;
mod costs;
mod cuts;
mod errors;
mod fronts;
mod golden;
mod hostile;
mod hostility;
mod requests;
mod roster;
mod splits;
mod unknown;
mod wire;
