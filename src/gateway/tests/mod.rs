//! Routing as a whole, from an admitted call to the last byte of its answer: on a virtual clock, with scripts in the
//! place of upstreams.

mod act;
mod checks;
mod client;
mod cuts;
mod draw;
mod scenarios;
mod setup;
mod simulation;
mod world;
