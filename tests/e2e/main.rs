//! The real binary over real sockets, between clients and upstreams that do exactly what each test says. The same
//! tests run over io_uring in `tests/e2e_io_uring`.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::float_cmp,
    clippy::format_collect,
    clippy::format_push_string,
    unreachable_pub,
    reason = "tests wait on sockets in real time, on threads of their own"
)]

#[path = "../support/mod.rs"]
mod support;

mod cancel;
mod chat;
mod choice;
mod continuation;
mod credentials;
mod dialects;
mod disconnect;
mod drain;
mod faults;
mod health;
mod hedging;
mod limits;
mod pool;
mod queueing;
mod reactor;
mod realtime;
mod resilience;
mod routing;
mod secrets;
mod slow;
mod tick;
mod tls;
mod workers;

use support::suite::{self, Suite};

/// What gateways run on.
const SUITE: Suite = suite::EPOLL;
