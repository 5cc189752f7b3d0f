//! Millstream, a gateway for LLM streams.
//!
//! # Life of a request
//!
//! A worker of the [`reactor`] accepts a connection, [`server`] runs HTTP over it, and the tower stack of
//! [`gateway`] (whose layers live in [`middleware`]) authenticates, limits and routes the request. The
//! [`upstream`] pool sends it to a provider; the answer comes back as a [`stream::Body`], which is the relay
//! itself: polling it polls the upstream connection, so there is no task and no channel of ours per stream.
//! At its end every exchange ends exactly once, and everything attached to its body is told how.
//!
//! The modules stand in reading order: each may import only those above it (`tests/tidy.rs` holds that).

pub mod units;
pub mod signal;
pub mod error;
pub mod config;
pub mod api;
pub mod dialects;
pub mod telemetry;
pub mod stream;
pub mod accounting;
pub mod routing;
pub mod reactor;
pub mod server;
pub mod upstream;
pub mod credentials;
pub mod demo;
pub mod middleware;
pub mod gateway;
pub mod admin;
pub mod app;
pub mod cli;
